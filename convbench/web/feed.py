"""Wakes the streams of a job's events when the job has new ones. The events themselves are read from the database."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class Feed:
    """Who waits for the events of which job. `notify` may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal, which stops the service, may come inside it
        self._waiting: defaultdict[str, set[tuple[asyncio.AbstractEventLoop, asyncio.Event]]] = defaultdict(set)
        self.is_closed = False

    @contextmanager
    def watching(self, job_id: str) -> Iterator[asyncio.Event]:
        """An event that is set when the job has new events, or the service stops; of the running event loop."""
        mine = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            self._waiting[job_id].add(mine)
        try:
            yield mine[1]
        finally:
            with self._lock:
                self._waiting[job_id].discard(mine)
                if not self._waiting[job_id]:
                    del self._waiting[job_id]

    def notify(self, job_id: str) -> None:
        """Wake the streams of a job."""
        with self._lock:
            self._wake(self._waiting.get(job_id, set()))

    def close(self) -> None:
        """End all streams: the service stops."""
        self.is_closed = True
        with self._lock:
            for some in self._waiting.values():
                self._wake(some)

    @property
    def streams(self) -> int:
        """The number of streams that are open."""
        with self._lock:
            return sum(map(len, self._waiting.values()))

    @staticmethod
    def _wake(some: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
        for loop, event in some:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)
