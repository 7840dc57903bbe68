"""The worker: builds, checks and times layers in a separate process.

It imports only torch and the standard library and has Python 3.9 syntax, so that it can run in another interpreter than
the conductor. It communicates with the conductor only through the JSON lines of `channel.py`.
"""
