"""The worker clients of one process of a run: one worker for each set of settings, replaced when it dies."""

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

#: Minimum time limit for a worker to import torch and answer for the first time, seconds. 2.5 s are usual; a slow disk
#: can take ten times as long.
START_DEADLINE_S = 30.0
#: The signal number with which the kernel kills a worker when memory runs out.
SIGKILL = 9
#: Maximum number of replacements for idle workers of the same settings that ended, until all workers are ended. A layer
#: may leave a thread that crashes later, and its workers would be replaced without end.
MOST_REPLACED = 3


class Engine(Protocol):
    """Where workers run."""

    def start(self, settings: WorkerSettings) -> WorkerClient:
        """A client whose worker is starting; raises WorkerStartError where it cannot start."""

    def fall_back(self) -> bool:
        """Change the settings of a steady allocator; False if there are no others. Few calls return True."""

    def close(self) -> None:
        """End what the engine keeps beside its workers; `start` may still be called."""


class WorkerPool:
    """Clients by their settings. `start_s` is the sum of seconds spent waiting for workers to start.

    A worker has `timeout_s` seconds to start, but at least START_DEADLINE_S.
    """

    def __init__(self, engine: Engine, *, timeout_s: float = START_DEADLINE_S) -> None:
        self._engine = engine
        self._start_deadline_s = max(START_DEADLINE_S, timeout_s)
        self._pool: dict[WorkerSettings, WorkerClient] = {}
        self._described: dict[WorkerSettings, Description] = {}
        self._replaced: Counter[WorkerSettings] = Counter()
        self.start_s = 0.0

    def start(self, wanted: Iterable[WorkerSettings]) -> None:
        """Start workers for these settings without waiting for them."""
        for settings in wanted:
            if settings not in self._pool:
                self._pool[settings] = self._engine.start(settings)

    def keep(self, wanted: Collection[WorkerSettings]) -> None:
        """End all workers except those of these settings, and start missing ones."""
        for settings in self._pool.keys() - set(wanted):
            self.drop(settings)
        self.start(wanted)

    def client(self, settings: WorkerSettings) -> WorkerClient:
        """The client for these settings, started if necessary, after its worker has answered. Raises WorkerError.

        An idle worker that ended is replaced: no request ended it.
        """
        if settings in self._described and not self._pool[settings].is_alive():
            self.drop(settings)
            self._replaced[settings] += 1
        if self._replaced[settings] > MOST_REPLACED:
            raise WorkerDiedError(f"idle workers ended, {MOST_REPLACED} were replaced")
        self.start([settings])
        if settings not in self._described:
            began = time.monotonic()
            description = self._describe(settings)
            steady = settings.allocator is Allocator.STEADY and description.host.has_steady_allocator
            # The variables of a case may change the allocator, so they say nothing about these settings.
            steady = steady and not settings.env
            while steady and not description.keeps_memory and self._engine.fall_back():
                self.drop(settings)
                self.start([settings])
                description = self._describe(settings)
            self._described[settings] = description
            self.start_s += time.monotonic() - began
        return self._pool[settings]

    def _describe(self, settings: WorkerSettings) -> Description:
        """The description of a started worker; a worker that dies meanwhile is replaced once."""
        try:
            return self._pool[settings].describe(deadline_s=self._start_deadline_s)
        except WorkerError:
            self.drop(settings)
            self.start([settings])
            return self._pool[settings].describe(deadline_s=self._start_deadline_s)

    def has_started(self, settings: WorkerSettings) -> bool:
        """Whether the worker of these settings has answered, so that nobody waits for its start."""
        return settings in self._described

    def current(self, settings: WorkerSettings) -> WorkerClient | None:
        """The present client for these settings, or None."""
        return self._pool.get(settings)

    def description(self, settings: WorkerSettings) -> Description:
        """The description of the worker of these settings."""
        self.client(settings)
        return self._described[settings]

    def host_state(self, *, deadline_s: float) -> HostState:
        """The machine's state, as a running worker reports it; unknown if none is running.

        A worker that dies meanwhile is dropped, and the next one is asked.
        """
        for settings in list(self._described):
            try:
                return self._pool[settings].host_state(deadline_s=deadline_s)
            except WorkerError:
                self.drop(settings)
        return HostState()

    def find_modules(self, wanted: Iterable[WorkerSettings], *, deadline_s: float) -> None:
        """Import each of the user's modules once, so that a typo ends a run before anything is measured.

        Running workers import their own module. For the others one worker per set of environment variables imports the
        modules one after the other, and ends before the next one starts. Raises RequestError for a missing module, or
        one that ends its worker twice. A worker that the kernel killed is ignored: memory may have run out, and the
        module's cases will show it.
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
                # A module imported before may be the reason, so try again in a separate worker.
                self.drop(shared)
                self._import(settings, settings.module, deadline_s)
                self.drop(settings)
        if shared is not None:
            self.drop(shared)

    def _import(self, settings: WorkerSettings, module: str, deadline_s: float) -> None:
        """Import a module in the worker of these settings; a worker that ends meanwhile is replaced once."""
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
        """Close a client and remove it; the next call of `client` starts another one."""
        self._described.pop(settings, None)
        client = self._pool.pop(settings, None)
        if client:
            client.close()

    def release(self, *, deadline_s: float) -> None:
        """Release the layers of all workers; a worker that does not answer is dropped."""
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
