"""Values that take seconds to compute: a thread has them made one after another, and they are kept for later readers.

A reader waits a moment at most, and gets what is there by then.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from convbench.errors import ConvbenchError, DatabaseError
from convbench.web.helper import BusyError, Helper
from convbench.web.logs import logger

T = TypeVar("T")

#: Values that are kept; the ones that were asked for last stay.
MOST_KEPT = 5000


#: Errors after which the next reader has the value made again, and the state that stands for that.
_PASSING, _AGAIN = (DatabaseError, BusyError), object()


@dataclass(frozen=True, slots=True)
class Task(Generic[T]):
    """How a value is made: by `work` of the arguments, in the process for it.

    A value of another `state` is outdated.
    """

    state: object
    work: Callable[..., T]
    arguments: tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(Generic[T]):
    """What is there of the values that were asked for, by name.

    `failed` are the errors of values that cannot be made. `waiting` are the names of those that are missing or
    outdated.
    """

    values: Mapping[tuple[str, ...], T]
    failed: Mapping[tuple[str, ...], ConvbenchError]
    waiting: tuple[tuple[str, ...], ...]


class Background(Generic[T]):
    """Values by name, `most` of them. `timeout_s` is the longest time that one may take, seconds."""

    def __init__(self, helper: Helper, *, timeout_s: float, most: int = MOST_KEPT) -> None:
        self._helper, self._timeout_s, self._most = helper, timeout_s, most
        self._changed = threading.Condition()
        self._queue: OrderedDict[tuple[str, ...], Task[T]] = OrderedDict()
        self._kept: OrderedDict[tuple[str, ...], tuple[object, T | ConvbenchError]] = OrderedDict()
        self._thread: threading.Thread | None = None
        self._closed = False

    def get(self, tasks: Mapping[tuple[str, ...], Task[T]], *, wait_s: float) -> Found[T]:
        """The values of these tasks, as far as they are made within `wait_s` seconds; the others are made later."""
        with self._changed:
            for name, task in tasks.items():
                if self._is_missing(name, task):
                    if not self._closed:
                        self._queue[name] = task
                else:
                    self._kept.move_to_end(name)
            self._start()
            self._changed.wait_for(lambda: not any(name in self._queue for name in tasks), wait_s)
            there = {name: self._kept[name][1] for name in tasks if name in self._kept}
            return Found(
                values={name: value for name, value in there.items() if not isinstance(value, ConvbenchError)},
                failed={name: value for name, value in there.items() if isinstance(value, ConvbenchError)},
                waiting=tuple(self._missing(tasks)),
            )

    def close(self) -> None:
        """Make nothing more."""
        with self._changed:
            self._closed = True
            self._queue.clear()

    def _missing(self, tasks: Mapping[tuple[str, ...], Task[T]]) -> list[tuple[str, ...]]:
        return [name for name, task in tasks.items() if self._is_missing(name, task)]

    def _is_missing(self, name: tuple[str, ...], task: Task[T]) -> bool:
        return name not in self._kept or self._kept[name][0] != task.state

    def _start(self) -> None:
        if self._queue and self._thread is None and not self._closed:
            self._thread = threading.Thread(target=self._work, name="background", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        """Make what is wanted, then end."""
        while True:
            with self._changed:
                if not self._queue:
                    self._thread = None
                    return
                name, task = next(iter(self._queue.items()))
            try:
                value: T | ConvbenchError = self._helper.call(task.work, *task.arguments, timeout_s=self._timeout_s)
            except ConvbenchError as error:
                value = error
            except Exception as error:  # a reader must not wait for ever for what a fault ended
                logger.exception("a fault in the background")
                value = ConvbenchError(f"{type(error).__name__}: {error}")
            with self._changed:
                if self._queue.get(name) == task:
                    del self._queue[name]
                self._kept[name] = (_AGAIN if isinstance(value, _PASSING) else task.state, value)
                self._kept.move_to_end(name)
                while len(self._kept) > self._most:
                    self._kept.popitem(last=False)
                self._changed.notify_all()
