"""A service at the usual priority. Its own is low, and its pages have the lowest there is.

Beside other tests on two cores they would then be made in minutes rather than seconds.
`python -m usual_priority serve ...` is `convbench serve ...`.
"""

from __future__ import annotations

from multiprocessing.connection import Connection

from convbench.web import priority


def _as_it_is(niceness: int = 0) -> None:
    """Leave the priority of this thread."""


# Before other modules import them: in a service's process, and in each that it starts, which imports this module again.
priority.PAGES = 0
priority.lower_this_thread = _as_it_is


def helping(connection: Connection, most_bytes: int | None) -> None:
    """What a process beside the service does."""
    from convbench.web.helper import _serve

    _serve(connection, most_bytes)


if __name__ == "__main__":
    from convbench import cli

    cli.main()
