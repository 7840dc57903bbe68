"""A process beside the service for work that takes memory and time: it checks sweeps, or makes pages.

It starts when it is needed and ends when it was idle for a while, so that an idle service stays small. A sweep that
takes too long to check, or too much memory, ends this process and not the service.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

from convbench.errors import ConvbenchError, LaterError
from convbench.web.priority import PAGES

#: Seconds after which an idle process ends.
IDLE_S = 60.0

_SPAWN = multiprocessing.get_context("spawn")


class Helper:
    """One process that answers one call after another. `most_bytes` limits its memory."""

    def __init__(self, *, most_bytes: int | None = None) -> None:
        self._most_bytes = most_bytes
        self._lock, self._ending = threading.Lock(), threading.Lock()
        self._process: SpawnProcess | None = None
        self._connection: Connection | None = None
        self._used_at = 0.0
        self._is_closed = False

    def call(self, work: Callable[..., Any], *arguments: object, timeout_s: float) -> Any:
        """What `work` returns there; it must be a function of a module.

        Raises the error of convbench that it raises. Raises LaterError where it takes longer than `timeout_s`
        seconds, waiting for earlier calls included, and where its process ended.
        """
        end = time.monotonic() + timeout_s
        if not self._lock.acquire(timeout=timeout_s):
            raise BusyError("the service is busy with other work of this kind", hint="try again in a minute")
        try:
            connection = self._started()
            connection.send((work, arguments))
            if not connection.poll(max(0.0, end - time.monotonic())):
                self._end()
                raise TooLongError(f"it took longer than {timeout_s:.0f} s", hint="give less at a time")
            is_error, answer = connection.recv()
        except (EOFError, OSError):
            self._end()
            raise TooLongError("it took more memory than there is for it", hint="give less at a time") from None
        finally:
            self._used_at = time.monotonic()
            self._lock.release()
        if is_error:
            raise answer
        return answer

    @property
    def is_running(self) -> bool:
        """Whether there is a process, which may be busy."""
        return self._process is not None

    def rest(self) -> None:
        """End the process where it was idle for a while."""
        if self._process is not None and self._lock.acquire(blocking=False):
            try:
                if time.monotonic() - self._used_at > IDLE_S:
                    self._end()
            finally:
                self._lock.release()

    def close(self) -> None:
        """End the process now, and start none again; a call under way raises LaterError."""
        with self._ending:
            self._is_closed = True
        self._end()

    def _started(self) -> Connection:
        with self._ending:
            if self._process is not None and self._connection is not None and self._process.is_alive():
                return self._connection
        self._end()
        connection, theirs = _SPAWN.Pipe()
        process = _SPAWN.Process(target=_serve, args=(theirs, self._most_bytes), daemon=True)
        process.start()
        theirs.close()
        with self._ending:
            self._process, self._connection = process, connection
            is_closed = self._is_closed
        if is_closed:
            self._end()
            raise BusyError("the service stops")
        return connection

    def _end(self) -> None:
        with self._ending:  # `close` ends what a call of another thread waits for, and that thread comes here too
            process, self._process = self._process, None
            connection, self._connection = self._connection, None
        if process is not None:
            process.kill()
            process.join()
            process.close()
        if connection is not None:
            with suppress(OSError):
                connection.close()


class BusyError(LaterError):
    """Earlier calls took all the time of this one."""


class TooLongError(LaterError):
    """The work took more time or memory than it may."""


def _serve(connection: Connection, most_bytes: int | None) -> None:
    """Answer calls until the service ends; at the lowest priority, since a block may be timed on the same cores."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which ends this process
    with suppress(OSError):
        os.nice(PAGES)
    if most_bytes is not None:
        resource.setrlimit(resource.RLIMIT_AS, (most_bytes, most_bytes))
    with suppress(EOFError, OSError):  # the service has ended
        while True:
            work, arguments = connection.recv()
            try:
                answer = (False, work(*arguments))
            except ConvbenchError as error:
                answer = (True, _plain(error))
            except MemoryError:
                return
            except Exception as error:
                answer = (True, ConvbenchError(f"{type(error).__name__}: {error}"))
            connection.send(answer)


def _plain(error: ConvbenchError) -> ConvbenchError:
    """The error without what it came from, which may not travel between processes."""
    error.__cause__ = error.__context__ = None
    return error
