"""The torch room: builds, checks and times layers in a process of its own.

Needs nothing but torch and the standard library, and keeps to Python 3.9 syntax, so that it can run under another
interpreter than its conductor. It knows the conductor only through the JSON lines of `channel.py`.
"""
