"""What moved over time, for the pages and the API: layers, changes since a day, the noise of machines.

Values are computed in processes beside the service and kept as long as the runs that they are of stay the same.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from convbench.actions import kept_changes, over_time
from convbench.actions.over_time import Change, LayerHistory
from convbench.errors import ConvbenchError, RunNotFoundError
from convbench.store import layers, listing
from convbench.store.layers import Layer
from convbench.store.listing import EndedRun
from convbench.store.store import Store
from convbench.web.background import Background, Task
from convbench.web.helper import Helper

#: Seconds that a layer, the changes of a sweep, and the noise of a run may take.
LAYER_S, CHANGES_S, NOISE_S = 60.0, 300.0, 60.0
#: Seconds that a reader of a page waits for what is not computed yet.
WAIT_S = 0.5
#: Seconds that the history of a layer stays as it is while a run with it is being written.
FRESH_S = 10.0
#: The fewest runs with a step: two levels of three runs each.
FEWEST_RUNS = 6
#: Results that the changes of one sweep on one machine are computed from, which takes 3 s. More cases get fewer runs.
MOST_RESULTS = 50_000
#: Runs of a sweep on a machine at most, and those whose noise is shown.
MOST_RUNS, NOISY_RUNS = 1000, 50
#: Histories of layers that are kept.
MOST_LAYERS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The newest runs of a sweep on one machine that changes are computed from, the newest first.

    `is_cut` is whether older ones are left out.
    """

    sweep: str
    machine: str
    runs: tuple[EndedRun, ...]
    is_cut: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Changes at runs that began on a day or later: the slower ones, then the faster ones, each the largest first.

    `waiting` are groups of runs whose changes are still computed. `short` are those of which older runs are not looked
    at. `failed` are those that cannot be read, and why.
    """

    slower: tuple[Change, ...]
    faster: tuple[Change, ...]
    waiting: tuple[Group, ...]
    short: tuple[Group, ...]
    failed: tuple[tuple[Group, str], ...]

    @property
    def is_settled(self) -> bool:
        """Whether only the database says what is in it: everything is computed."""
        return not self.waiting and not self.failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """The newest runs of each machine, the oldest first, with their noise as a ratio minus 1.

    It is None where no probe ran, and where it is not computed yet; `waiting` is the number of these runs.
    """

    runs: Mapping[str, Sequence[tuple[EndedRun, float | None]]]
    waiting: int


class OverTime:
    """What moved over the runs of a database."""

    def __init__(self, store: Store, db: str | None, helper: Helper, *, keep_in: Path | None = None) -> None:
        """Changes are also kept in files in the folder `keep_in`, for the service that comes next."""
        self._store, self._db, self._helper, self._keep_in = store, db, helper, keep_in
        self._own = Helper()
        self._changes = Background[tuple[Change, ...]](self._own, timeout_s=CHANGES_S)
        self._noises = Background[float | None](self._own, timeout_s=NOISE_S)
        self._lock = threading.Lock()
        self._histories = Background[LayerHistory](helper, timeout_s=LAYER_S, most=MOST_LAYERS)
        self._labels: Mapping[str, Layer] = {}
        self._labels_of: tuple[int, str] | None = None

    def layer(self, case_id: str, *, wait_s: float = LAYER_S) -> LayerHistory | None:
        """The history of the layer with this id; None where it is not computed within `wait_s` seconds.

        While a run is being written, what is there may be some seconds old. Raises RunNotFoundError where no run has
        the layer, and the error of the computation.
        """
        state = layers.state(self._store, case_id)
        if not state:
            raise RunNotFoundError(f"no run has a layer {case_id!r}", hint="search for it at /layers")
        if state[-1]:  # more results come
            state = (*state, int(time.monotonic() // FRESH_S))
        task = Task(state, over_time.layer, (case_id, self._db))
        found = self._histories.get({(case_id,): task}, wait_s=wait_s)
        for error in found.failed.values():
            raise error.with_traceback(None)  # it is kept, and would keep the frames of every reader
        return found.values.get((case_id,))

    def prepare(self) -> None:
        """Start the process that computes histories of layers, where a reader may ask for one next."""
        if not self._helper.is_running:
            threading.Thread(target=self._prepare, name="prepare", daemon=True).start()

    def _prepare(self) -> None:
        with suppress(ConvbenchError):  # a reader that asks for a layer gets the error
            self._helper.call(over_time.prepare, timeout_s=LAYER_S)

    def layers(self, run_id: str | None = None) -> list[Layer]:
        """All layers by their labels, or those of a run in the order of its sweep."""
        wanted = layers.ids(self._store) if run_id is None else layers.ids_of_run(self._store, run_id)
        known = self._labelled(wanted)
        found = [known[one] for one in wanted if one in known]
        return found if run_id is not None else sorted(found, key=lambda one: (one.label, one.case_id))

    def _labelled(self, case_ids: Sequence[str]) -> Mapping[str, Layer]:
        """Layers by id, with the label that the newest run gives each. Those that are known are not read again."""
        with self._lock:
            known, newest = self._labels, self._labels_of
        now = layers.newest(self._store)
        new = {one for one in case_ids if one not in known}
        if newest is not None and now is not None and now != newest:
            new |= set(layers.ids_since(self._store, min(now[0], newest[0])))
        if new:
            known = {**known, **{one.case_id: one for one in layers.layers(self._store, new)}}
        with self._lock:
            self._labels, self._labels_of = known, now
        return known

    def groups(self) -> list[Group]:
        """The groups of finished runs, the one with the newest run first."""
        found: dict[tuple[str, str], list[EndedRun]] = {}
        for run in listing.ended(self._store):
            found.setdefault((run.sweep, run.machine), []).append(run)
        made = []
        for (sweep, machine), runs in found.items():
            most = max(FEWEST_RUNS, min(MOST_RUNS, MOST_RESULTS // max(1, *(run.cases for run in runs[:MOST_RUNS]))))
            made.append(Group(sweep=sweep, machine=machine, runs=tuple(runs[:most]), is_cut=len(runs) > most))
        return made

    def changes(self, since: str, groups: Sequence[Group], *, wait_s: float = WAIT_S) -> Changes:
        """The changes of these groups since a day, `2026-11-01`, as far as they are computed within `wait_s` seconds.

        What is not computed by then is computed later, for the next reader.
        """
        wanted: dict[tuple[str, ...], Group] = {
            (one.sweep, one.machine): one
            for one in groups
            if len(one.runs) >= FEWEST_RUNS and one.runs[0].started_at >= since
        }
        tasks: dict[tuple[str, ...], Task[tuple[Change, ...]]] = {
            name: self._task(name, one) for name, one in wanted.items()
        }
        found = self._changes.get(tasks, wait_s=wait_s)
        every = [one for some in found.values.values() for one in some if one.new_at >= since]
        slower = sorted((one for one in every if one.ratio > 1), key=lambda one: one.ratio, reverse=True)
        faster = sorted((one for one in every if one.ratio <= 1), key=lambda one: one.ratio)
        return Changes(
            slower=tuple(slower),
            faster=tuple(faster),
            waiting=tuple(wanted[name] for name in found.waiting),
            short=tuple(one for one in wanted.values() if one.is_cut and one.runs[-1].started_at > since),
            failed=tuple((wanted[name], error.message) for name, error in found.failed.items()),
        )

    def _task(self, name: tuple[str, ...], of: Group) -> Task[tuple[Change, ...]]:
        """How the changes of a group are made: from the file of the last service, or from its runs."""
        state = tuple((run.run_id, run.finished_at) for run in of.runs)
        path = kept_changes.path_of(self._keep_in, str(self._store.place), *name)
        return Task(state, kept_changes.changes, (path, state, [run.run_id for run in of.runs], self._db))

    def noise(self, *, wait_s: float = WAIT_S) -> Noise:
        """The noise of each machine, as far as it is computed within `wait_s` seconds."""
        runs: dict[str, list[EndedRun]] = {}
        for run in listing.ended(self._store):
            of_machine = runs.setdefault(run.machine, [])
            if len(of_machine) < NOISY_RUNS:
                of_machine.append(run)
        work: Callable[..., float | None] = over_time.noise
        tasks: dict[tuple[str, ...], Task[float | None]] = {
            (run.run_id,): Task(run.finished_at, work, (run.run_id, self._db)) for some in runs.values() for run in some
        }
        found = self._noises.get(tasks, wait_s=wait_s)
        return Noise(
            runs={
                machine: [(run, found.values.get((run.run_id,))) for run in reversed(some)]
                for machine, some in runs.items()
            },
            waiting=len(found.waiting),
        )

    def rest(self) -> None:
        """Give memory back that nothing has needed for a while."""
        self._own.rest()

    def close(self) -> None:
        """End what is computed."""
        self._histories.close()
        self._changes.close()
        self._noises.close()
        self._own.close()
