"""The lanes of one pass: a fresh worker for each kind of process that its cases need, replaced when it dies."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Protocol

from convbench.case import Allocator, WorkerSettings
from convbench.engine.lane import Description, Lane
from convbench.errors import WorkerError

#: How long a worker may take to import torch and answer for the first time, seconds.
START_DEADLINE_S = 180.0


class Engine(Protocol):
    """Where workers run."""

    @property
    def has_steady_allocator(self) -> bool:
        """Whether the steady allocator is another than the system's."""

    def start(self, settings: WorkerSettings) -> Lane:
        """A lane whose worker is starting."""

    def fall_back(self) -> bool:
        """Change how a steady allocator is asked for; False where there is nothing left to try."""


class Lanes:
    """Lanes by their settings. `start_s` adds up the seconds spent waiting for workers to start."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lanes: dict[WorkerSettings, Lane] = {}
        self._described: dict[WorkerSettings, Description] = {}
        self.start_s = 0.0

    @property
    def has_steady_allocator(self) -> bool:
        """Whether the steady allocator is another than the system's."""
        return self._engine.has_steady_allocator

    def start(self, wanted: Iterable[WorkerSettings]) -> None:
        """Have workers start for these settings, without waiting for them."""
        for settings in wanted:
            if settings not in self._lanes:
                self._lanes[settings] = self._engine.start(settings)

    def lane(self, settings: WorkerSettings) -> Lane:
        """The lane for these settings, up and described; started where there is none. Raises WorkerError."""
        self.start([settings])
        if settings not in self._described:
            began = time.monotonic()
            description = self._describe(settings)
            steady = settings.allocator is Allocator.STEADY
            # What a case sets for itself says nothing of how a steady allocator is to be asked for.
            steady = steady and not settings.env
            while steady and not description.keeps_memory and self._engine.fall_back():
                self.drop(settings)
                self.start([settings])
                description = self._describe(settings)
            self._described[settings] = description
            self.start_s += time.monotonic() - began
        return self._lanes[settings]

    def _describe(self, settings: WorkerSettings) -> Description:
        """What a worker that has started says of itself; one that dies over it is replaced once."""
        try:
            return self._lanes[settings].describe(deadline_s=START_DEADLINE_S)
        except WorkerError:
            self.drop(settings)
            self.start([settings])
            return self._lanes[settings].describe(deadline_s=START_DEADLINE_S)

    def current(self, settings: WorkerSettings) -> Lane | None:
        """The lane for these settings where there is one now."""
        return self._lanes.get(settings)

    def description(self, settings: WorkerSettings) -> Description:
        """What the worker of these settings says of itself."""
        self.lane(settings)
        return self._described[settings]

    def drop(self, settings: WorkerSettings) -> None:
        """Forget a lane whose worker is gone; the next `lane` starts another."""
        self._described.pop(settings, None)
        lane = self._lanes.pop(settings, None)
        if lane:
            lane.close()

    def release(self, *, deadline_s: float) -> None:
        """Have all workers forget their layers; one that does not answer is dropped."""
        for settings in list(self._described):
            try:
                self._lanes[settings].release(deadline_s=deadline_s)
            except WorkerError:
                self.drop(settings)

    def close(self) -> None:
        """End all workers."""
        for settings in list(self._lanes):
            self.drop(settings)
