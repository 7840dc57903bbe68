"""The passes of a run: fresh workers visit every cohort, prepare its cases, take their blocks, hand the visits on.

Knows nothing of databases or reports: `Hooks` tells whoever conducts what happened, between blocks only.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter
from typing import TypeAlias

from convbench.conduct.rounds import Rounds, RoundsPosition
from convbench.conduct.visiting import CaseState, Visiting
from convbench.engine.machine import HostState
from convbench.engine.pool import WorkerPool
from convbench.errors import ConvbenchError, WorkerError
from convbench.measure import schedule
from convbench.model.case import Case, Fp32Precision, WorkerSettings
from convbench.model.result import UNMEASURED, Measure, PassFacts, Roof, Status, StopReason, Visit

#: Between two times that blocks of a group under way are handed on, seconds.
STORE_EVERY_S = 2.0
#: What a roof belongs to: a device, a number of threads, a precision of float32.
_RoofKey: TypeAlias = tuple[str, int | None, Fp32Precision]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is.

    `stage` is what is under way, in parts like passes: part `pass_index` of `passes`, with `pass_cases` visited in it
    and `pass_done` of them already. Visits planned for the whole run shrink as cases settle; `visits_done` counts a
    cohort under way by its blocks. `busy_s` are seconds in blocks and their warm-up. `is_waiting` says that results
    wait on this disk, for their server does not answer.
    """

    pass_index: int
    passes: int
    pass_cases: int
    pass_done: int
    visits_done: float
    visits_planned: int
    cases: int
    failed: int
    imprecise: int
    unmeasured: int
    busy_s: float
    start_s: float
    stage: str = "pass"
    is_waiting: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What is called while a run lasts, always between blocks.

    `stored` gets a visit that is under way again and again, not `complete`, until it is.
    """

    stored: Callable[[Sequence[Visit]], None]
    progressed: Callable[[Progress], None]
    pass_noted: Callable[[PassFacts], None]
    pass_finished: Callable[[int], None]


class Passes:
    """All passes over the given cases. `history` holds the visits of an earlier process that was cut short.

    `memory_limit` is what the layers of a cohort may fill, bytes; at most `most_workers` workers are alive at once;
    `cache_bytes` is the last-level cache. With `has_steady_allocator` the first pass tries the system's beside it.
    Times of blocks count from `clock()`'s zero.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        measure: Measure,
        *,
        seed: int,
        pool: WorkerPool,
        memory_limit: int,
        hooks: Hooks,
        most_workers: int = schedule.MOST_WORKERS,
        cache_bytes: int = schedule.CACHE_BYTES,
        has_steady_allocator: bool = False,
        history: Iterable[Visit] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._measure = measure
        self._pool = pool
        self._has_steady_allocator = has_steady_allocator
        self._hooks = hooks
        self._rounds = Rounds(
            seed=seed, block_s=schedule.block_seconds(measure), timeout_s=measure.timeout, clock=clock
        )
        self._first_batches, self._later_batches = (
            schedule.grouped(
                cases,
                partial(schedule.workers_of, pass_index=pass_index, has_steady_allocator=has_steady_allocator),
                most_workers=most_workers,
                memory_limit=memory_limit,
                cache_bytes=cache_bytes,
            )
            for pass_index in (0, 1)
        )
        apart = schedule.apart(cases, self._first_batches) | schedule.apart(cases, self._later_batches)
        self._states = [
            CaseState(position=i, case=case, id=case.id, pool=pool, apart=i in apart) for i, case in enumerate(cases)
        ]
        self._stored_at = time.monotonic()
        self._pass_index = 0
        self._visits_done = 0
        self._under_way = 0.0
        self._pass_cases = 0
        self._pass_done = 0
        by_id = {state.id: state for state in self._states}
        for visit in history:
            by_id[visit.case_id].remember(visit, measure)
        self._ended = Counter(state.status for state in self._states)
        self._visits_left = sum(state.passes_left(measure, since=0) for state in self._states)

    def run(self) -> None:
        """Visit all cohorts in all passes.

        On KeyboardInterrupt the blocks taken so far are handed on as visits that are not complete, and it goes on up.
        """
        finished: int | None = None
        try:
            for pass_index in range(self._measure.passes):
                self._pass_index = pass_index
                wanting = [state for state in self._states if state.blocks(pass_index, self._measure)]
                if not wanting:
                    continue
                self._pass_cases, self._pass_done = len(wanting), 0
                tellers = self._roof_tellers(wanting)
                roofs: list[Roof] = []
                began: float | None = None
                for cohorts in self._first_batches if pass_index == 0 else self._later_batches:
                    positions = [position for cohort in cohorts for position in cohort.positions]
                    due = [state for i in positions if (state := self._states[i]).blocks(pass_index, self._measure)]
                    if not due:
                        continue
                    workers = dict.fromkeys(worker for state in due for worker in self._workers(state.case))
                    self._pool.keep(workers)
                    if finished is not None:
                        # While the next workers import torch there is time to show what is known so far.
                        self._hooks.pass_finished(finished)
                        finished = None
                    if began is None:
                        began, before = time.monotonic() - self._pool.start_s, self._first_state(workers)
                    roofs += self._measure_roofs({key: of for key, of in tellers.items() if of[0] in workers})
                    for cohort in cohorts:
                        self._visit([self._states[position] for position in cohort.positions], cohort.index)
                after = self._pool.host_state(deadline_s=self._measure.timeout)
                self._pool.close()
                assert began is not None, "some case is due"
                self._hooks.pass_noted(
                    _facts(
                        pass_index,
                        time.monotonic() - self._pool.start_s - began,
                        before,
                        after,
                        roofs=tuple(roofs),
                        twin_ratios=self._rounds.twin_ratios,
                    )
                )
                self._rounds.twin_ratios = []
                finished = pass_index
        finally:
            self._pool.close()
        if finished is not None:
            self._hooks.pass_finished(finished)

    def _first_state(self, workers: Collection[WorkerSettings]) -> HostState:
        """How the machine is once a worker is up; where none comes up the cases will tell."""
        with contextlib.suppress(WorkerError):
            self._pool.client(min(workers, key=attrgetter("peculiarities")))
        return self._pool.host_state(deadline_s=self._measure.timeout)

    def _roof_tellers(self, wanting: Sequence[CaseState]) -> dict[_RoofKey, tuple[WorkerSettings, list[str]]]:
        """Which worker measures what a device can do with a number of threads, and in which dtypes its cases are."""
        dtypes: dict[_RoofKey, dict[str, None]] = {}
        tellers: dict[_RoofKey, WorkerSettings] = {}
        for case in (state.case for state in wanting):
            key = (case.device, case.threads, case.fp32_precision)
            dtypes.setdefault(key, {})[case.compute_dtype] = None
            tellers[key] = min(tellers.get(key, case.worker), case.worker, key=attrgetter("peculiarities"))
        return {key: (teller, list(dtypes[key])) for key, teller in tellers.items()}

    def _measure_roofs(self, tellers: Mapping[_RoofKey, tuple[WorkerSettings, list[str]]]) -> list[Roof]:
        """What the machine can do at best, as these workers tell it."""
        roofs: list[Roof] = []
        for (device, _, _), (settings, dtypes) in tellers.items():
            try:
                client = self._pool.client(settings)
                roofs += client.roofs(dtypes, device, deadline_s=self._measure.timeout)
            except WorkerError:
                self._pool.drop(settings)
        return roofs

    def _visit(self, states: Sequence[CaseState], cohort: int) -> None:
        """One cohort in this pass; a case that ran out of memory among others is tried once alone."""
        visiting = [
            Visiting.of(state, self._pass_index) for state in states if state.blocks(self._pass_index, self._measure)
        ]
        try:
            self._measure_together(visiting, cohort)
            if len(visiting) > 1:
                for index, visit in enumerate(visiting):
                    if visit.status is Status.OUT_OF_MEMORY:
                        # A fresh worker: what the others left in this one's memory is in the way.
                        self._pool.drop(visit.state.case.worker)
                        visiting[index] = Visiting.of(visit.state, self._pass_index)
                        self._measure_together([visiting[index]], cohort)
        except (KeyboardInterrupt, ConvbenchError):
            self._store([visit for visit in visiting if visit.blocks and not visit.over], complete=False)
            self._store([visit for visit in visiting if visit.over])
            raise
        self._store(visiting)

    def _measure_together(self, visiting: Sequence[Visiting], cohort: int) -> None:
        for visit in visiting:
            self._rounds.ready(visit)
            self._tell()
        # What is compared with a case stands in the same rounds: it sees the same conditions.
        both = [*visiting, *(beside for visit in visiting for beside in self._companions(visit))]

        def progressed(round_index: int) -> None:
            self._under_way = len(visiting) * (round_index + 1) / (self._measure.rounds + 1)
            self._tell()
            self._store_so_far(visiting)

        place = RoundsPosition(pass_index=self._pass_index, cohort=cohort)
        self._rounds.take(both, place, rounds=self._measure.rounds, due=self._due, progressed=progressed)
        if self._pass_index == 0:
            for visit in visiting:
                self._rounds.take_peak_memory(visit)
            self._rounds.verify(visiting)
        self._pool.release(deadline_s=self._measure.timeout)

    def _workers(self, case: Case) -> tuple[WorkerSettings, ...]:
        """The workers that a case needs in this pass."""
        return schedule.workers_of(case, pass_index=self._pass_index, has_steady_allocator=self._has_steady_allocator)

    def _companions(self, visit: Visiting) -> tuple[Visiting, ...]:
        """What explains a case and is measured beside it in the first pass; what fails of it is left out."""
        if self._pass_index or visit.over:
            return ()
        state = replace(visit.state, checked=True)
        _, *system = schedule.variants(
            state.case, pass_index=self._pass_index, has_steady_allocator=self._has_steady_allocator
        )
        before = state.cut_short.get(self._pass_index)
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
        return not visit.over and round_index < main.state.blocks(self._pass_index, self._measure)

    def _store(self, visiting: Sequence[Visiting], *, complete: bool = True) -> None:
        """Hand the visits on, and take them in."""
        visits = []
        for visiting_case in visiting:
            state = visiting_case.state
            visit = visiting_case.visit(self._pass_index, complete=complete)
            before, status = state.passes_left(self._measure, since=self._pass_index), state.status
            state.remember(visit, self._measure)
            self._visits_left += state.passes_left(self._measure, since=self._pass_index) - before
            self._ended[status] -= 1
            self._ended[state.status] += 1
            reason = state.stop_reason(self._measure, since=self._pass_index) if complete else StopReason.INTERRUPTED
            visits.append(replace(visit, stop_reason=reason))
        if visits:
            self._visits_done += len(visits)
            self._pass_done += len(visits)
            self._under_way = 0.0
            self._hand_on(visits)
            self._tell()

    def _store_so_far(self, visiting: Sequence[Visiting]) -> None:
        """Every few seconds: hand on the blocks taken so far, so that a kill costs no more than these seconds."""
        now = time.monotonic()
        if now - self._stored_at >= STORE_EVERY_S:
            self._hand_on(
                [visit.visit(self._pass_index, complete=False) for visit in visiting if visit.blocks and not visit.over]
            )
            self._stored_at = time.monotonic()

    def _hand_on(self, visits: Sequence[Visit]) -> None:
        """Have the visits stored, even where Ctrl-C comes just then: storing again does no harm."""
        try:
            self._hooks.stored(visits)
        except KeyboardInterrupt:
            self._hooks.stored(visits)
            raise

    def _tell(self) -> None:
        self._hooks.progressed(
            Progress(
                pass_index=self._pass_index,
                passes=self._measure.passes,
                pass_cases=self._pass_cases,
                pass_done=int(self._pass_done + self._under_way),
                visits_done=self._visits_done + self._under_way,
                visits_planned=self._visits_done + self._visits_left,
                cases=len(self._states),
                failed=self._ended[Status.FAILED],
                imprecise=self._ended[Status.IMPRECISE],
                unmeasured=sum(self._ended[status] for status in UNMEASURED),
                busy_s=self._rounds.busy_s,
                start_s=self._pool.start_s,
            )
        )


def _facts(
    pass_index: int,
    seconds: float,
    before: HostState,
    after: HostState,
    *,
    roofs: tuple[Roof, ...],
    twin_ratios: Sequence[float],
) -> PassFacts:
    """How the machine was meanwhile."""
    return PassFacts(
        pass_index=pass_index,
        seconds=max(0.0, seconds),
        roofs=roofs,
        load=after.load,
        stolen=after.stolen_since(before),
        frequency_hz=after.frequency_hz,
        throttled=after.throttled_since(before),
        twin_ratio=statistics.median(twin_ratios) if twin_ratios else None,
    )
