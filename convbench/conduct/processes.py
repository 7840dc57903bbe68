"""The processes of a run: fresh workers visit each cohort, prepare its cases and take their blocks.

This module does not use databases or reports: `Hooks` receives visits and progress, between blocks only.
"""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter, mul
from typing import TypeAlias

from convbench.conduct.budget import Budget
from convbench.conduct.references import ReferenceRounds
from convbench.conduct.rounds import Rounds, RoundsPosition
from convbench.conduct.visiting import CaseState, Visiting
from convbench.engine.machine import HostState
from convbench.engine.nvidia import Nvidia
from convbench.engine.pool import WorkerPool
from convbench.errors import ConvbenchError, WorkerError
from convbench.measure import schedule
from convbench.model.case import Case, Fp32Precision, WorkerSettings
from convbench.model.references import ReferenceKey
from convbench.model.result import (
    UNMEASURED,
    DeviceState,
    Measure,
    ProcessFacts,
    ReferenceBlocks,
    Roof,
    Status,
    StopReason,
    Visit,
)

#: Interval for storing blocks of an unfinished cohort, seconds.
STORE_EVERY_S = 2.0
#: Device, number of threads and precision of float32: each combination has roofs of its own.
_RoofKey: TypeAlias = tuple[str, int | None, Fp32Precision]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The progress of a run.

    `stage` names the current stage. It is in process (or pair) `process_index` of `processes`, which has visited
    `process_done` of `process_cases`. `visits_planned` of the whole run shrinks as cases settle. `visits_done` counts
    an unfinished cohort in fractions by blocks. `busy_s` is seconds in blocks and their warm-up, `start_s` seconds
    waiting for workers to start. `most_left_s` is what is left of the budget in seconds. `is_waiting` means that
    results wait on this disk because the server does not answer. `untried` cases have no visit yet. Of the cases that
    were visited for the first time since the run began or was resumed, `lost` could not be measured, in `lost_s`.
    """

    process_index: int
    processes: int
    process_cases: int
    process_done: int
    visits_done: float
    visits_planned: int
    cases: int
    failed: int
    imprecise: int
    unmeasured: int
    busy_s: float
    start_s: float
    most_left_s: float = math.inf
    untried: int = 0
    lost: int = 0
    lost_s: float = 0.0
    stage: str = "process"
    is_waiting: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Callbacks during a run, always called between blocks.

    `stored` receives an unfinished visit several times, with `complete` False, and then the complete one.
    """

    stored: Callable[[Sequence[Visit]], None]
    progressed: Callable[[Progress], None]
    process_noted: Callable[[ProcessFacts], None]
    process_finished: Callable[[int], None]


class Processes:
    """All processes over the given cases. `history` holds the visits of an interrupted run.

    `memory_limit` bounds the layers of a cohort, in bytes; those in `device_limits` bound it on devices. `most_workers`
    bounds the workers alive at once. `cache_bytes` is the last-level cache. With `has_steady_allocator` the first
    process also measures with the system's allocator. `records` are the lowest times of the reference layers in earlier
    runs. `clock()` gives the start times of blocks, in seconds. Where the `budget` is spent, no further case is
    visited, and cases without a visit are skipped. Blocks of an unfinished cohort are stored every `store_every_s`
    seconds. `nvidia` reads the clocks of devices.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        measure: Measure,
        *,
        seed: int,
        pool: WorkerPool,
        memory_limit: int,
        device_limits: Mapping[str, int] = schedule.NO_LIMITS,
        hooks: Hooks,
        most_workers: int = schedule.MOST_WORKERS,
        cache_bytes: int = schedule.CACHE_BYTES,
        has_steady_allocator: bool = False,
        history: Iterable[Visit] = (),
        records: Mapping[ReferenceKey, tuple[float, ...]] | None = None,
        clock: Callable[[], float] = time.monotonic,
        budget: Budget | None = None,
        nvidia: Nvidia | None = None,
        store_every_s: float = STORE_EVERY_S,
    ) -> None:
        self._nvidia = nvidia
        self._measure = measure
        self._budget = budget or Budget()
        self._pool = pool
        self._has_steady_allocator = has_steady_allocator
        self._hooks = hooks
        self._references = ReferenceRounds(
            block_s=schedule.reference_seconds(len(cases), measure),
            timeout_s=measure.timeout,
            clock=clock,
            records=records or {},
        )
        self._rounds = Rounds(
            seed=seed,
            block_s=schedule.block_seconds(measure),
            timeout_s=measure.timeout,
            clock=clock,
            references=self._references,
            budget=self._budget,
            samples=measure.samples,
            nvidia=nvidia,
        )
        is_limited = self._budget.is_limited
        self._weights = schedule.budget_weights(cases) if is_limited else (1.0,) * len(cases)
        order = schedule.heaviest_first(cases, self._weights)
        self._first_batches, self._later_batches = (
            schedule.placed(
                schedule.grouped(
                    [cases[position] for position in order],
                    partial(
                        schedule.workers_of, process_index=process_index, has_steady_allocator=has_steady_allocator
                    ),
                    most_workers=most_workers,
                    memory_limit=memory_limit,
                    device_limits=device_limits,
                    cache_bytes=cache_bytes,
                ),
                order,
            )
            for process_index in (0, 1)
        )
        apart = schedule.apart(cases, self._first_batches) | schedule.apart(cases, self._later_batches)
        self._states = [
            CaseState(position=i, case=case, id=case.id, pool=pool, apart=i in apart) for i, case in enumerate(cases)
        ]
        self._store_every_s = store_every_s
        self._stored_at = time.monotonic()
        self._process_index = 0
        self._visits_done = 0
        self._under_way = 0.0
        self._first_under_way = self._lost_under_way = 0  # cases that are visited for the first time now; and lost now
        self._check_s = 0.0
        self._process_cases = 0
        self._process_done = 0
        by_id = {state.id: state for state in self._states}
        for visit in history:
            by_id[visit.case_id].remember(visit, measure)
        self._ended = Counter(state.status for state in self._states)
        self._untried = sum(not state.done for state in self._states)
        self._lost = 0
        left = [state.processes_left(measure, since=0) for state in self._states]
        self._visits_left = sum(left)
        self._weight_left = sum(map(mul, self._weights, left))

    def run(self) -> None:
        """Visit all cohorts in all processes.

        On KeyboardInterrupt it stores the blocks taken so far as incomplete visits, and raises again.
        """
        finished: int | None = None
        try:
            for process_index in range(self._measure.processes):
                self._process_index = process_index
                wanting = [state for state in self._states if state.blocks(process_index, self._measure)]
                if not wanting or self._budget.is_spent():
                    continue
                self._process_cases, self._process_done = len(wanting), 0
                workers_by_roof = self._roof_workers(wanting)
                roofs: list[Roof] = []
                began: float | None = None
                for cohorts in self._first_batches if process_index == 0 else self._later_batches:
                    positions = [position for cohort in cohorts for position in cohort.positions]
                    due = [state for i in positions if (state := self._states[i]).blocks(process_index, self._measure)]
                    if not due or (self._budget.is_spent() and began is not None):
                        continue
                    workers = dict.fromkeys(worker for state in due for worker in self._workers(state.case))
                    self._pool.keep(workers)
                    if finished is not None:
                        # The next workers are importing torch, which leaves time to write a report.
                        self._hooks.process_finished(finished)
                        finished = None
                    if began is None:
                        began, before = time.monotonic() - self._pool.start_s, self._first_state(workers)
                    roofs += self._measure_roofs({key: of for key, of in workers_by_roof.items() if of[0] in workers})
                    for cohort in cohorts:
                        if self._budget.is_spent():
                            break
                        self._visit([self._states[position] for position in cohort.positions], cohort.index)
                after = self._pool.host_state(deadline_s=self._measure.timeout)
                self._pool.close()
                assert began is not None, "some case is due"
                self._hooks.process_noted(
                    _facts(
                        process_index,
                        time.monotonic() - self._pool.start_s - began,
                        before,
                        after,
                        roofs=tuple(roofs),
                        twin_ratios=self._rounds.twin_ratios,
                        references=self._references.taken(),
                        device_states=self._nvidia.taken() if self._nvidia else (),
                    )
                )
                self._rounds.twin_ratios = []
                finished = process_index
        finally:
            self._pool.close()
        self._skip_unreached()
        if finished is not None:
            self._hooks.process_finished(finished)

    def _skip_unreached(self) -> None:
        """Store a skipped visit of each case that the budget left no time for."""
        if not self._budget.is_limited:
            return
        unreached = [Visiting(state=state) for state in self._states if not (state.done or state.cut_short)]
        for visit in unreached:
            visit.end(Status.SKIPPED, self._budget.reason)
        self._process_index = 0
        self._store(unreached)

    def _first_state(self, workers: Collection[WorkerSettings]) -> HostState:
        """The state of the machine after a worker has started; a worker that does not start ends its cases later."""
        with contextlib.suppress(WorkerError):
            self._pool.client(min(workers, key=attrgetter("special_settings")))
        return self._pool.host_state(deadline_s=self._measure.timeout)

    def _roof_workers(self, wanting: Sequence[CaseState]) -> dict[_RoofKey, tuple[WorkerSettings, list[str]]]:
        """The worker that measures each roof, and the dtypes of the cases below it."""
        dtypes: dict[_RoofKey, dict[str, None]] = {}
        workers_by_roof: dict[_RoofKey, WorkerSettings] = {}
        for case in (state.case for state in wanting):
            key = (case.device, case.threads, case.fp32_precision)
            dtypes.setdefault(key, {})[case.compute_dtype] = None
            workers_by_roof[key] = min(
                workers_by_roof.get(key, case.worker), case.worker, key=attrgetter("special_settings")
            )
        return {key: (worker, list(dtypes[key])) for key, worker in workers_by_roof.items()}

    def _measure_roofs(self, workers_by_roof: Mapping[_RoofKey, tuple[WorkerSettings, list[str]]]) -> list[Roof]:
        """The roofs that these workers measure."""
        roofs: list[Roof] = []
        for (device, _, _), (settings, dtypes) in workers_by_roof.items():
            try:
                client = self._pool.client(settings)
                roofs += client.roofs(dtypes, device, deadline_s=self._measure.timeout)
            except WorkerError:
                self._pool.drop(settings)
        return roofs

    def _visit(self, states: Sequence[CaseState], cohort: int) -> None:
        """Visit one cohort in this process; a case that ran out of memory among others is measured again alone."""
        visiting = [
            Visiting.of(state, self._process_index)
            for state in states
            if state.blocks(self._process_index, self._measure)
        ]
        if not visiting:
            return
        self._share_out([visit.state for visit in visiting])
        try:
            visiting = self._measure_together(visiting, cohort)
            if len(visiting) > 1:
                for index, visit in enumerate(visiting):
                    if visit.status is Status.OUT_OF_MEMORY:
                        # A fresh worker has the memory that the other cases occupied.
                        self._pool.drop(visit.state.case.worker)
                        again = Visiting.of(visit.state, self._process_index)
                        visiting[index] = next(iter(self._measure_together([again], cohort)), visit)
        except (KeyboardInterrupt, ConvbenchError):
            self._store([visit for visit in visiting if visit.blocks and not visit.over], complete=False)
            self._store([visit for visit in visiting if visit.over])
            raise
        self._store(visiting)

    def _share_out(self, states: Sequence[CaseState]) -> None:
        """Give the next cases their part of the budget, and keep what later processes need to start."""
        starts = self._measure.processes - self._process_index - 1
        kept_s = starts * self._pool.start_s / (self._process_index + 1)
        here = sum(self._weights[state.position] for state in states)
        self._budget.share(here / max(here, self._weight_left), kept_s=kept_s)

    def _measure_together(self, wanted: Sequence[Visiting], cohort: int) -> list[Visiting]:
        """Measure the visits that the budget leaves time for, and return them."""
        visiting: list[Visiting] = []
        spent_s = longest_s = 0.0
        for visit in wanted:
            # First blocks and a second check take about as long as preparing; the next case may be the largest.
            if self._budget.is_spent(spent_s + 2 * longest_s):
                break
            began = self._budget.now()
            self._rounds.ready(visit)
            took_s = self._budget.now() - began
            spent_s, longest_s = spent_s + took_s, max(longest_s, took_s)
            visiting.append(visit)
            self._report_progress()
        self._check_s = spent_s if self._process_index == 0 else 0.0
        # Companions are measured in the same rounds as their case, so that they see the same conditions.
        both = [*visiting, *(beside for visit in visiting for beside in self._companions(visit))]

        def progressed(round_index: int) -> None:
            self._under_way = len(visiting) * (round_index + 1) / (self._measure.rounds + 1)
            self._first_under_way = sum(not visit.state.done for visit in visiting)
            self._lost_under_way = sum(visit.status in UNMEASURED for visit in visiting)
            self._store_so_far(visiting)
            self._report_progress()

        place = RoundsPosition(process_index=self._process_index, cohort=cohort)
        self._rounds.take(both, place, rounds=self._measure.rounds, due=self._due, progressed=progressed)
        if self._process_index == 0:
            for visit in visiting:
                if not self._budget.is_share_spent(self._check_s):
                    self._rounds.take_peak_memory(visit)
            self._rounds.verify(visiting)
        self._pool.release(deadline_s=self._measure.timeout)
        return visiting

    def _workers(self, case: Case) -> tuple[WorkerSettings, ...]:
        """The workers that a case needs in this process."""
        return schedule.workers_of(
            case, process_index=self._process_index, has_steady_allocator=self._has_steady_allocator
        )

    def _companions(self, visit: Visiting) -> tuple[Visiting, ...]:
        """The companions of a case in the first process; one that fails is left out."""
        if self._process_index or visit.over:
            return ()
        state = replace(visit.state, checked=True)
        _, *system = schedule.variants(
            state.case, process_index=self._process_index, has_steady_allocator=self._has_steady_allocator
        )
        before = state.cut_short.get(self._process_index)
        if system:
            visit.system = Visiting(state=replace(state, case=system[0]), beside=visit)
            if before is not None:
                visit.system.keep(before.system_blocks, before.layout)
        if state.case.is_one_backward_kernel:
            visit.kernels = Visiting(state=state, beside=visit, kernels_alone=True)
            if before is not None:
                visit.kernels.keep(before.kernel_blocks, before.layout)
        return tuple(companion for companion in (visit.system, visit.kernels) if companion)

    def _due(self, visit: Visiting, round_index: int) -> bool:
        if round_index in visit.kept_rounds:
            return False
        if visit.beside and (visit.beside.over or round_index >= schedule.COMPANION_BLOCKS):
            return False
        main = visit.beside or visit
        if visit.over or round_index >= main.state.blocks(self._process_index, self._measure):
            return False
        is_first = round_index == 0 and not (visit.beside or main.state.times or main.blocks)
        return is_first or not self._budget.is_share_spent(self._check_s + (main.state.iteration_s or 0.0))

    def _store(self, visiting: Sequence[Visiting], *, complete: bool = True) -> None:
        """Store the visits and update the states of their cases."""
        visits = []
        for visiting_case in visiting:
            state = visiting_case.state
            visit = visiting_case.visit(self._process_index, complete=complete)
            before, status = state.processes_left(self._measure, since=self._process_index), state.status
            if complete:
                self._untried -= not state.done
                self._lost += visit.status in UNMEASURED
            state.remember(visit, self._measure)
            fewer = before - state.processes_left(self._measure, since=self._process_index)
            self._visits_left -= fewer
            self._weight_left -= fewer * self._weights[state.position]
            self._ended[status] -= 1
            self._ended[state.status] += 1
            reason = state.stop_reason(self._measure, since=self._process_index) if complete else StopReason.INTERRUPTED
            visits.append(replace(visit, stop_reason=reason))
        if visits:
            self._visits_done += len(visits)
            self._process_done += len(visits)
            self._under_way = 0.0
            self._first_under_way = self._lost_under_way = 0
            self._store_visits(visits)
            self._report_progress()

    def _store_so_far(self, visiting: Sequence[Visiting]) -> None:
        """Store the blocks taken so far every few seconds, so that a kill loses at most these seconds."""
        now = time.monotonic()
        if now - self._stored_at >= self._store_every_s:
            self._store_visits(
                [
                    visit.visit(self._process_index, complete=False)
                    for visit in visiting
                    if visit.blocks and not visit.over
                ]
            )
            self._stored_at = time.monotonic()

    def _store_visits(self, visits: Sequence[Visit]) -> None:
        """Give the visits to the hook; after Ctrl-C once more, because storing a visit twice is harmless."""
        try:
            self._hooks.stored(visits)
        except KeyboardInterrupt:
            self._hooks.stored(visits)
            raise

    def _report_progress(self) -> None:
        self._hooks.progressed(
            Progress(
                process_index=self._process_index,
                processes=self._measure.processes,
                process_cases=self._process_cases,
                process_done=int(self._process_done + self._under_way),
                visits_done=self._visits_done + self._under_way,
                visits_planned=self._visits_done + self._visits_left,
                cases=len(self._states),
                failed=self._ended[Status.FAILED],
                imprecise=self._ended[Status.IMPRECISE],
                unmeasured=sum(self._ended[status] for status in UNMEASURED),
                busy_s=self._rounds.busy_s + self._references.busy_s,
                start_s=self._pool.start_s,
                most_left_s=self._budget.left_s,
                untried=self._untried - self._first_under_way,
                lost=self._lost + self._lost_under_way,
                lost_s=self._rounds.lost_s,
            )
        )


def _facts(
    process_index: int,
    seconds: float,
    before: HostState,
    after: HostState,
    *,
    roofs: tuple[Roof, ...],
    twin_ratios: Sequence[float],
    references: tuple[ReferenceBlocks, ...],
    device_states: tuple[DeviceState, ...],
) -> ProcessFacts:
    """The state of the machine during a process that took `seconds`."""
    return ProcessFacts(
        process_index=process_index,
        seconds=max(0.0, seconds),
        roofs=roofs,
        load=after.load,
        stolen=after.stolen_since(before),
        frequency_hz=after.frequency_hz,
        throttled=after.throttled_since(before),
        twin_ratio=statistics.median(twin_ratios) if twin_ratios else None,
        references=references,
        device_states=device_states,
    )
