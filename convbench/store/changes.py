"""Finds whether anything in an SQLite database has changed, without reading it."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import suppress

from convbench.store.place import Place


class Changes:
    """The change counter of a database, on a connection of its own; a server's database has none.

    SQLite raises `PRAGMA data_version` for each commit of another connection. This one never writes, so that every
    commit is another connection's, in this process too.
    """

    def __init__(self, place: Place) -> None:
        self._path = place.path
        self._connection: sqlite3.Connection | None = None
        self._opened = 0
        self._lock = threading.Lock()

    def counter(self) -> tuple[int, int] | None:
        """What is equal at two moments only if nothing was committed between them; None where nobody can say."""
        if self._path is None:
            return None
        with self._lock:
            try:
                if self._connection is None:
                    uri = f"{self._path.absolute().as_uri()}?mode=ro"
                    self._connection = sqlite3.connect(uri, uri=True, timeout=0, check_same_thread=False)
                    self._opened += 1
                return self._opened, int(self._connection.execute("PRAGMA data_version").fetchone()[0])
            except sqlite3.Error:
                self._close()
                return None

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
