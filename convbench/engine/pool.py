"""The clients of one pass: a fresh worker for each kind of process that its cases need, replaced when it dies."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Protocol

from convbench.engine.client import Description, WorkerClient
from convbench.engine.machine import HostState
from convbench.errors import RequestError, WorkerDiedError, WorkerError, WorkerTimedOutError
from convbench.model.case import Allocator, WorkerSettings
from convbench.model.operators import OPERATORS

#: How long a worker may take to import torch and answer for the first time, seconds, where requests have less: 2.5 s
#: were usual, and ten times that on a machine that reads torch from a slow disk.
START_DEADLINE_S = 30.0
#: Signal number of a kill that was not ours: the kernel was out of memory.
SIGKILL = 9
#: How often workers of the same settings are replaced that ended while they waited, until all workers are ended. What a
#: layer left behind, a thread that crashes later say, would otherwise go on for ever.
MOST_REPLACED = 3


class Engine(Protocol):
    """Where workers run."""

    def start(self, settings: WorkerSettings) -> WorkerClient:
        """A client whose worker is starting; raises WorkerStartError where none can."""

    def fall_back(self) -> bool:
        """Change how a steady allocator is asked for; False where there is nothing left to try, which comes soon."""


class WorkerPool:
    """Clients by their settings. `start_s` adds up the seconds spent waiting for workers to start.

    A worker may take `timeout_s` to start, but never less than START_DEADLINE_S.
    """

    def __init__(self, engine: Engine, *, timeout_s: float = START_DEADLINE_S) -> None:
        self._engine = engine
        self._start_deadline_s = max(START_DEADLINE_S, timeout_s)
        self._pool: dict[WorkerSettings, WorkerClient] = {}
        self._described: dict[WorkerSettings, Description] = {}
        self._replaced: Counter[WorkerSettings] = Counter()
        self.start_s = 0.0

    def start(self, wanted: Iterable[WorkerSettings]) -> None:
        """Have workers start for these settings, without waiting for them."""
        for settings in wanted:
            if settings not in self._pool:
                self._pool[settings] = self._engine.start(settings)

    def keep(self, wanted: Collection[WorkerSettings]) -> None:
        """End all workers but those of these settings, and have those start that are not there."""
        for settings in self._pool.keys() - set(wanted):
            self.drop(settings)
        self.start(wanted)

    def client(self, settings: WorkerSettings) -> WorkerClient:
        """The client for these settings, up and described; started where there is none. Raises WorkerError.

        A worker that ended while it waited is replaced: nothing that it was asked ended it.
        """
        if settings in self._described and not self._pool[settings].is_alive():
            self.drop(settings)
            self._replaced[settings] += 1
        if self._replaced[settings] > MOST_REPLACED:
            raise WorkerDiedError(f"workers ended while they waited, {MOST_REPLACED} were replaced")
        self.start([settings])
        if settings not in self._described:
            began = time.monotonic()
            description = self._describe(settings)
            steady = settings.allocator is Allocator.STEADY and description.host.has_steady_allocator
            # What a case sets for itself says nothing of how a steady allocator is to be asked for.
            steady = steady and not settings.env
            while steady and not description.keeps_memory and self._engine.fall_back():
                self.drop(settings)
                self.start([settings])
                description = self._describe(settings)
            self._described[settings] = description
            self.start_s += time.monotonic() - began
        return self._pool[settings]

    def _describe(self, settings: WorkerSettings) -> Description:
        """What a worker that has started says of itself; one that dies over it is replaced once."""
        try:
            return self._pool[settings].describe(deadline_s=self._start_deadline_s)
        except WorkerError:
            self.drop(settings)
            self.start([settings])
            return self._pool[settings].describe(deadline_s=self._start_deadline_s)

    def current(self, settings: WorkerSettings) -> WorkerClient | None:
        """The client for these settings where there is one now."""
        return self._pool.get(settings)

    def description(self, settings: WorkerSettings) -> Description:
        """What the worker of these settings says of itself."""
        self.client(settings)
        return self._described[settings]

    def host_state(self, *, deadline_s: float) -> HostState:
        """How the machine is, as a worker that is up tells it; nothing is known where none is.

        One that dies over it is dropped: another may tell.
        """
        for settings in list(self._described):
            try:
                return self._pool[settings].host_state(deadline_s=deadline_s)
            except WorkerError:
                self.drop(settings)
        return HostState()

    def find_modules(self, wanted: Iterable[WorkerSettings], *, deadline_s: float) -> None:
        """Have each of the user's modules imported once, so that a typo ends a run before anything is measured.

        Workers that have started import their own module. The modules of the others are imported one after the other
        in one worker for each set of environment variables, which is ended before the next one starts. Raises
        RequestError for a module that is not there or that ends its worker twice. A worker that the kernel killed, for
        want of memory, says nothing of its module: the module's cases will tell.
        """
        own = [settings for settings in wanted if settings.module not in OPERATORS]
        waiting = [settings for settings in own if settings not in self._pool]
        for settings in own:
            if settings in self._pool:
                self._import(settings, settings.module, deadline_s)
        shared: WorkerSettings | None = None
        for settings in sorted(waiting, key=lambda each: each.env):
            if shared is not None and shared.env != settings.env:
                self.drop(shared)
            shared = WorkerSettings(env=settings.env, allocator=Allocator.SYSTEM, module="")
            try:
                self.client(shared).find_module(settings.module, deadline_s=deadline_s)
            except (RequestError, WorkerError):
                # What was imported there before may be the reason: only a worker of its own tells.
                self.drop(shared)
                self._import(settings, settings.module, deadline_s)
                self.drop(settings)
        if shared is not None:
            self.drop(shared)

    def _import(self, settings: WorkerSettings, module: str, deadline_s: float) -> None:
        """Have the worker of these settings import a module; one that ends meanwhile is replaced once."""
        for last in (False, True):
            try:
                return self.client(settings).find_module(module, deadline_s=deadline_s)
            except WorkerError as error:
                self.drop(settings)
                if last and error.signal == SIGKILL:
                    return None
                if last or isinstance(error, WorkerTimedOutError):
                    raise RequestError(f"module {module} cannot be imported: {error}") from None
        return None

    def drop(self, settings: WorkerSettings) -> None:
        """Forget a client whose worker is gone; the next `client` starts another."""
        self._described.pop(settings, None)
        client = self._pool.pop(settings, None)
        if client:
            client.close()

    def release(self, *, deadline_s: float) -> None:
        """Have all workers forget their layers; one that does not answer is dropped."""
        for settings in list(self._described):
            try:
                self._pool[settings].release(deadline_s=deadline_s)
            except WorkerError:
                self.drop(settings)

    def close(self) -> None:
        """End all workers."""
        for settings in list(self._pool):
            self.drop(settings)
        self._replaced.clear()
