"""The passes of a run: fresh workers visit every cohort, prepare its cases, take their blocks, hand the visits on.

Knows nothing of databases or reports: `Hooks` tells whoever conducts what happened, between blocks only.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

from convbench.case import Allocator, Case, Fp32Precision, WorkerSettings
from convbench.engine import machine
from convbench.engine.lanes import Lanes
from convbench.errors import ConvbenchError, WorkerError
from convbench.measure import schedule
from convbench.result import (
    UNMEASURED,
    Measure,
    PassFacts,
    Roof,
    Status,
    StopReason,
    Visit,
)
from convbench.rounds import Place, Rounds
from convbench.visiting import TIMED, CaseState, Visiting


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is.

    `stage` is what is under way, in parts like passes: part `pass_index` of `passes`, with `pass_cases` visited in it
    and `pass_done` of them already. Visits planned for the whole run shrink as cases settle; `visits_done` counts a
    cohort under way by its blocks. `busy_s` are seconds in blocks and their warm-up.
    """

    pass_index: int
    passes: int
    pass_cases: int
    pass_done: int
    visits_done: float
    visits_planned: int
    cases: int
    failed: int
    unmeasured: int
    busy_s: float
    start_s: float
    stage: str = "pass"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What is called while a run lasts, always between blocks."""

    stored: Callable[[Sequence[Visit]], None]
    progressed: Callable[[Progress], None]
    pass_noted: Callable[[PassFacts], None]
    pass_finished: Callable[[int], None]


class Passes:
    """All passes over the given cases. `history` holds complete visits of an earlier, interrupted process.

    Times of blocks count from `clock()`'s zero.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        measure: Measure,
        *,
        seed: int,
        lanes: Lanes,
        memory_limit: int,
        hooks: Hooks,
        history: Iterable[Visit] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._measure = measure
        self._lanes = lanes
        self._hooks = hooks
        self._rounds = Rounds(
            seed=seed, block_s=schedule.block_seconds(measure), timeout_s=measure.timeout, clock=clock
        )
        self._states = [CaseState(position=i, case=case, id=case.id, lanes=lanes) for i, case in enumerate(cases)]
        cache_bytes = machine.cache_bytes(3) or schedule.CACHE_BYTES
        self._cohorts = schedule.cohorts(cases, memory_limit=memory_limit, cache_bytes=cache_bytes)
        self._pass_index = 0
        self._visits_done = 0
        self._under_way = 0.0
        self._pass_cases = 0
        self._pass_done = 0
        by_id = {state.id: state for state in self._states}
        for visit in history:
            by_id[visit.case_id].remember(visit, measure)
        self._failed = sum(state.status is Status.FAILED for state in self._states)
        self._unmeasured = sum(state.status in UNMEASURED for state in self._states)
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
                self._lanes.start(
                    dict.fromkeys(case.worker for state in wanting for case in self._variants(state.case))
                )
                if finished is not None:
                    # While the next workers import torch there is time to show what is known so far.
                    self._hooks.pass_finished(finished)
                began, before = time.monotonic() - self._lanes.start_s, machine.Load.now()
                roofs = self._measure_roofs(wanting)
                for cohort in self._cohorts:
                    self._visit([self._states[position] for position in cohort.positions], cohort.index)
                self._lanes.close()
                self._hooks.pass_noted(
                    _facts(
                        pass_index,
                        time.monotonic() - self._lanes.start_s - began,
                        before,
                        roofs=roofs,
                        twin_ratios=self._rounds.twin_ratios,
                    )
                )
                self._rounds.twin_ratios = []
                finished = pass_index
        finally:
            self._lanes.close()
        if finished is not None:
            self._hooks.pass_finished(finished)

    def _measure_roofs(self, wanting: Sequence[CaseState]) -> tuple[Roof, ...]:
        """What the machine can do at best, on each device with each number of threads, in the dtypes its cases have."""
        wanted: dict[tuple[str, int | None, Fp32Precision], dict[str, None]] = {}
        tellers: dict[tuple[str, int | None, Fp32Precision], WorkerSettings] = {}
        for case in (state.case for state in wanting):
            key = (case.device, case.threads, case.fp32_precision)
            wanted.setdefault(key, {})[case.compute_dtype] = None
            tellers[key] = min(tellers.get(key, case.worker), case.worker, key=attrgetter("oddness"))
        roofs: list[Roof] = []
        for key, dtypes in wanted.items():
            try:
                lane = self._lanes.lane(tellers[key])
                roofs += lane.roofs(list(dtypes), key[0], deadline_s=self._measure.timeout)
            except WorkerError:
                self._lanes.drop(tellers[key])
        return tuple(roofs)

    def _visit(self, states: Sequence[CaseState], cohort: int) -> None:
        """One cohort in this pass; a case that ran out of memory among others is tried once alone."""
        visiting = [Visiting(state=state) for state in states if state.blocks(self._pass_index, self._measure)]
        try:
            self._measure_together(visiting, cohort)
            if len(visiting) > 1:
                for index, visit in enumerate(visiting):
                    if visit.status is Status.OUT_OF_MEMORY:
                        # A fresh worker: what the others left in this one's memory is in the way.
                        self._lanes.drop(visit.state.case.worker)
                        visiting[index] = Visiting(state=visit.state)
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
        # What is compared with a case stands in the same rounds: it sees the same weather.
        both = [*visiting, *(beside for visit in visiting for beside in self._companions(visit))]

        def progressed(round_index: int) -> None:
            self._under_way = len(visiting) * (round_index + 1) / (self._measure.rounds + 1)
            self._tell()

        place = Place(pass_index=self._pass_index, cohort=cohort)
        self._rounds.take(both, place, rounds=self._measure.rounds, due=self._due, progressed=progressed)
        if self._pass_index == 0:
            for visit in visiting:
                self._rounds.take_peak_memory(visit)
            self._rounds.verify(visiting)
        self._lanes.release(deadline_s=self._measure.timeout)

    def _variants(self, case: Case) -> tuple[Case, ...]:
        """The case, and in the first pass the same under the system's allocator, where that is another one."""
        steady = case.allocator is Allocator.STEADY and case.device == "cpu" and self._lanes.has_steady_allocator
        if self._pass_index or not steady:
            return (case,)
        return (case, replace(case, allocator=Allocator.SYSTEM))

    def _companions(self, visit: Visiting) -> tuple[Visiting, ...]:
        """What explains a case and is measured beside it in the first pass; what fails of it is left out."""
        if self._pass_index or visit.over:
            return ()
        state = replace(visit.state, checked=True)
        _, *system = self._variants(state.case)
        if system:
            visit.system = Visiting(state=replace(state, case=system[0]), beside=visit)
        if state.case.is_one_backward_kernel:
            visit.kernels = Visiting(state=state, beside=visit, kernels_alone=True)
        return tuple(companion for companion in (visit.system, visit.kernels) if companion)

    def _due(self, visit: Visiting, round_index: int) -> bool:
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
            self._failed += state.status is Status.FAILED and status is Status.PASSED
            self._unmeasured += state.status in UNMEASURED and status in TIMED
            reason = state.stop_reason(self._measure, since=self._pass_index) if complete else StopReason.INTERRUPTED
            visits.append(replace(visit, stop_reason=reason))
        if visits:
            self._visits_done += len(visits)
            self._pass_done += len(visits)
            self._under_way = 0.0
            self._hand_on(visits)
            self._tell()

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
                failed=self._failed,
                unmeasured=self._unmeasured,
                busy_s=self._rounds.busy_s,
                start_s=self._lanes.start_s,
            )
        )


def _facts(
    pass_index: int, seconds: float, before: machine.Load, *, roofs: tuple[Roof, ...], twin_ratios: Sequence[float]
) -> PassFacts:
    """How the machine was between `before` and now."""
    now = machine.Load.now()
    throttled = None
    if now.throttled is not None and before.throttled is not None:
        throttled = max(0, now.throttled - before.throttled)  # less where a core went offline
    return PassFacts(
        pass_index=pass_index,
        seconds=max(0.0, seconds),
        roofs=roofs,
        load=machine.load_average(),
        stolen=machine.stolen_share(before.ticks, now.ticks),
        frequency_hz=machine.frequency_hz(),
        throttled=throttled,
        twin_ratio=statistics.median(twin_ratios) if twin_ratios else None,
    )
