"""The passes of a run: fresh workers visit every cohort, prepare its cases, take their blocks, hand the visits on.

Knows nothing of databases or reports: `Hooks` tells whoever conducts what happened, between blocks only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from convbench.case import Allocator, Case, WorkerSettings
from convbench.engine import machine
from convbench.engine.lane import Lane, Prepared, Refusal
from convbench.engine.lanes import Lanes
from convbench.errors import WorkerDiedError, WorkerTimedOutError
from convbench.measure import schedule
from convbench.result import (
    NAN,
    UNMEASURED,
    Block,
    Measure,
    PassFacts,
    Roof,
    Status,
    StopReason,
    Visit,
    pack_blocks,
    unpack_blocks,
)

#: Signal number of a kill that was not ours: the kernel was out of memory.
SIGKILL = 9
#: A pause when the worker changes, seconds: the last one falls asleep first.
CHANGE_PAUSE_S = 0.001
#: What can still be timed: a wrong layer is timed too, but never ranked.
TIMED = frozenset({Status.PASSED, Status.FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is.

    `pass_cases` are visited in this pass, `pass_done` of them already. Visits planned for the whole run shrink as cases
    settle; `visits_done` counts a cohort under way by its blocks. `busy_s` are seconds in blocks and their warm-up.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What is called while a run lasts, always between blocks."""

    stored: Callable[[Sequence[Visit]], None]
    progressed: Callable[[Progress], None]
    pass_noted: Callable[[PassFacts], None]
    pass_finished: Callable[[int], None]


@dataclass(slots=True, kw_only=True)
class CaseState:
    """What is known of a case while the run lasts."""

    position: int
    case: Case
    id: str
    done: set[int] = field(default_factory=set)
    minima: list[tuple[int, float]] = field(default_factory=list)
    iteration_s: float | None = None
    status: Status = Status.PASSED
    checked: bool = False
    settled: bool = False

    def blocks(self, pass_index: int, measure: Measure) -> int:
        """Blocks of this case in this pass; all rounds while its speed is unknown, none once it is over."""
        if pass_index in self.done or self.settled or self.status not in TIMED:
            return 0
        if self.iteration_s is None:
            return measure.rounds
        total = schedule.blocks_in_run(self.iteration_s, measure)
        return schedule.blocks_in_pass(total, pass_index, measure.passes)

    def passes_left(self, measure: Measure) -> int:
        """How many passes will still visit this case, as far as is known."""
        return sum(self.blocks(index, measure) > 0 for index in range(measure.passes))

    def remember(self, visit: Visit, measure: Measure) -> None:
        """Take in what a complete visit found."""
        blocks = unpack_blocks(visit.blocks, visit.layout)
        self.done.add(visit.pass_index)
        self.minima += [(block.pass_index, block.minimum_s) for block in blocks]
        if blocks and self.iteration_s is None:
            self.iteration_s = blocks[0].median_s
        if self.status is Status.PASSED or visit.status in UNMEASURED:
            self.status = visit.status
        self.checked = self.checked or visit.check is not None
        self.settled = schedule.is_settled(self.minima, measure.precision)

    def stop_reason(self, measure: Measure) -> StopReason:
        """Why no more blocks follow, or `unfinished`."""
        if self.status not in TIMED:
            return StopReason.STATUS
        if self.settled:
            return StopReason.SETTLED
        if self.passes_left(measure):
            return StopReason.UNFINISHED
        short = self.iteration_s is not None and (
            schedule.blocks_in_run(self.iteration_s, measure) < measure.passes * measure.rounds
        )
        return StopReason.TIME if short else StopReason.ROUNDS


@dataclass(slots=True, kw_only=True)
class Visiting:
    """One case during one pass; `lane` is where it was prepared."""

    state: CaseState
    lane: Lane | None = None
    prepared: Prepared | None = None
    status: Status = Status.PASSED
    reason: str | None = None
    blocks: list[Block] = field(default_factory=list)
    system: Visiting | None = None  # the same case under the system's allocator

    def end(self, status: Status, reason: str | None) -> None:
        """No more blocks of this case."""
        self.status, self.reason = status, reason

    @property
    def over(self) -> bool:
        """Whether no more blocks can be taken."""
        return self.status not in TIMED


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
        self._seed = seed
        self._lanes = lanes
        self._hooks = hooks
        self._clock = clock
        self._states = [CaseState(position=i, case=case, id=case.id) for i, case in enumerate(cases)]
        self._cohorts = schedule.cohorts(cases, memory_limit=memory_limit)
        self._pass_index = 0
        self._order = 0
        self._busy_s = 0.0
        self._visits_done = 0
        self._under_way = 0.0
        self._pass_cases = 0
        self._pass_done = 0
        self._memory_canary_s = NAN
        self._last_lane: Lane | None = None
        by_id = {state.id: state for state in self._states}
        for visit in history:
            by_id[visit.case_id].remember(visit, measure)
        self._failed = sum(state.status is Status.FAILED for state in self._states)
        self._unmeasured = sum(state.status in UNMEASURED for state in self._states)
        self._visits_left = sum(state.passes_left(measure) for state in self._states)

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
                    _facts(pass_index, time.monotonic() - self._lanes.start_s - began, before, roofs)
                )
                finished = pass_index
        finally:
            self._lanes.close()
        if finished is not None:
            self._hooks.pass_finished(finished)

    def _measure_roofs(self, wanting: Sequence[CaseState]) -> tuple[Roof, ...]:
        """What the machine can do at best, in each kind of worker and on each device, in the dtypes its cases have."""
        wanted: dict[tuple[WorkerSettings, str], dict[str, None]] = {}
        for state in wanting:
            wanted.setdefault((state.case.worker, state.case.device), {})[state.case.dtype] = None
        roofs: list[Roof] = []
        for (settings, device), dtypes in wanted.items():
            try:
                roofs += self._lanes.lane(settings).roofs(list(dtypes), device, deadline_s=self._measure.timeout)
            except (WorkerDiedError, WorkerTimedOutError):
                self._lanes.drop(settings)
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
        except KeyboardInterrupt:
            self._store([visit for visit in visiting if visit.blocks and not visit.over], complete=False)
            self._store([visit for visit in visiting if visit.over])
            raise
        self._store(visiting)

    def _measure_together(self, visiting: Sequence[Visiting], cohort: int) -> None:
        for visit in visiting:
            self._ready(visit)
            self._tell()
        for round_index in range(self._measure.rounds):
            self._under_way = len(visiting) * (round_index + 1) / (self._measure.rounds + 1)
            due = [i for i, visit in enumerate(visiting) if self._due(visit, round_index)]
            if not due:
                break
            order = schedule.shuffled(
                due, seed=self._seed, pass_index=self._pass_index, cohort=cohort, round_index=round_index
            )
            self._take_memory_canary(visiting[order[0]])
            for index in order:
                if self._due(visiting[index], round_index):
                    self._take_block(visiting[index], round_index)
                    self._tell()
        self._take_system_blocks(visiting, cohort)
        self._lanes.release(deadline_s=self._measure.timeout)

    def _variants(self, case: Case) -> tuple[Case, ...]:
        """The case, and in the first pass the same under the system's allocator, where that is another one."""
        steady = case.allocator is Allocator.STEADY and case.device == "cpu" and self._lanes.has_steady_allocator
        if self._pass_index or not steady:
            return (case,)
        return (case, replace(case, allocator=Allocator.SYSTEM))

    def _take_system_blocks(self, visiting: Sequence[Visiting], cohort: int) -> None:
        """A few blocks of each case that was measured, under the system's allocator; what fails here is left out."""
        for visit in visiting:
            _, *system = self._variants(visit.state.case)
            if system and visit.blocks and not visit.over:
                state = replace(visit.state, case=system[0], checked=True)
                visit.system = Visiting(state=state)
        due = [index for index, visit in enumerate(visiting) if visit.system]
        for round_index in range(schedule.SYSTEM_BLOCKS):
            order = schedule.shuffled(
                due,
                seed=self._seed,
                pass_index=self._pass_index,
                cohort=cohort,
                round_index=self._measure.rounds + round_index,
            )
            for index in order:
                visit = visiting[index]
                if visit.system and not visit.system.over and round_index < len(visit.blocks):
                    self._take_block(visit.system, round_index)
                    self._tell()

    def _due(self, visit: Visiting, round_index: int) -> bool:
        return not visit.over and round_index < visit.state.blocks(self._pass_index, self._measure)

    def _ready(self, visit: Visiting) -> Lane | None:
        """The lane in which the case is prepared, preparing it where it is not; None where that ended the case."""
        state = visit.state
        lane = self._lanes.lane(state.case.worker)
        if visit.lane is lane:
            return lane
        check = not state.checked and visit.prepared is None
        timeout = self._measure.timeout
        try:
            prepared = lane.prepare(state.position, state.case, check=check, seed=self._seed, deadline_s=timeout)
        except (WorkerDiedError, WorkerTimedOutError) as error:
            self._bury(visit, error)
            return None
        if prepared.status not in TIMED:
            visit.end(prepared.status, prepared.reason)
            return None
        if visit.prepared is None:
            visit.prepared, visit.status, visit.reason = prepared, prepared.status, prepared.reason
        visit.lane = lane
        return lane

    def _take_memory_canary(self, visit: Visiting) -> None:
        lane = self._ready(visit)
        if lane is not None:
            try:
                self._memory_canary_s = lane.memory_canary(deadline_s=self._measure.timeout)
            except (WorkerDiedError, WorkerTimedOutError):
                self._lanes.drop(visit.state.case.worker)

    def _take_block(self, visit: Visiting, round_index: int) -> None:
        lane = self._ready(visit)
        if lane is None:
            return
        if self._last_lane is not lane:
            time.sleep(CHANGE_PAUSE_S)
            self._last_lane = lane
        state, start_s = visit.state, self._clock()
        seconds = schedule.block_seconds(self._measure)
        try:
            timing = lane.block(state.position, seconds, deadline_s=self._measure.timeout)
        except (WorkerDiedError, WorkerTimedOutError) as error:
            self._bury(visit, error)
            return
        if isinstance(timing, Refusal):
            visit.end(timing.status, timing.reason)
            return
        self._order += 1
        self._busy_s += timing.busy_s
        if state.iteration_s is None:
            state.iteration_s = timing.median_s
        visit.blocks.append(
            Block(
                pass_index=self._pass_index,
                round_index=round_index,
                order=self._order,
                start_s=start_s,
                iterations=timing.iterations,
                samples=timing.samples,
                minimum_s=timing.minimum_s,
                q1_s=timing.q1_s,
                median_s=timing.median_s,
                q3_s=timing.q3_s,
                p95_s=timing.p95_s,
                mean_s=timing.mean_s,
                host_s=timing.host_s,
                compute_canary_s=timing.compute_canary_s,
                memory_canary_s=self._memory_canary_s,
                page_faults=timing.page_faults,
            )
        )

    def _bury(self, visit: Visiting, error: WorkerDiedError | WorkerTimedOutError) -> None:
        """The worker died serving this case: the case bears it, the lane is replaced when next needed."""
        if isinstance(error, WorkerTimedOutError):
            visit.end(Status.TIMED_OUT, error.message)
        elif error.signal == SIGKILL:
            visit.end(Status.OUT_OF_MEMORY, f"{error.message}: probably the system was out of memory")
        else:
            visit.end(Status.CRASHED, error.message)
        self._lanes.drop(visit.state.case.worker)

    def _store(self, visiting: Sequence[Visiting], *, complete: bool = True) -> None:
        """Hand the visits on, and take them in."""
        visits = []
        for visiting_case in visiting:
            state, prepared = visiting_case.state, visiting_case.prepared
            visit = Visit(
                case_id=state.id,
                pass_index=self._pass_index,
                status=visiting_case.status,
                reason=visiting_case.reason,
                check=prepared.check if prepared else None,
                implementation=prepared.implementation if prepared else None,
                threads=prepared.threads if prepared else None,
                timer=prepared.timer if prepared else None,
                note=prepared.note if prepared else None,
                blocks=pack_blocks(visiting_case.blocks),
                system_blocks=pack_blocks(visiting_case.system.blocks) if visiting_case.system else b"",
                complete=complete,
            )
            before, status = state.passes_left(self._measure), state.status
            state.remember(visit, self._measure)
            self._visits_left += state.passes_left(self._measure) - before
            self._failed += state.status is Status.FAILED and status is Status.PASSED
            self._unmeasured += state.status in UNMEASURED and status in TIMED
            reason = state.stop_reason(self._measure) if complete else StopReason.INTERRUPTED
            visits.append(replace(visit, stop_reason=reason))
        if visits:
            self._visits_done += len(visits)
            self._pass_done += len(visits)
            self._under_way = 0.0
            self._hooks.stored(visits)
            self._tell()

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
                busy_s=self._busy_s,
                start_s=self._lanes.start_s,
            )
        )


def _facts(pass_index: int, seconds: float, before: machine.Load, roofs: tuple[Roof, ...]) -> PassFacts:
    """How the machine was between `before` and now."""
    now = machine.Load.now()
    throttled = None if now.throttled is None or before.throttled is None else now.throttled - before.throttled
    return PassFacts(
        pass_index=pass_index,
        seconds=seconds,
        roofs=roofs,
        load=machine.load_average(),
        stolen=machine.stolen_share(before.ticks, now.ticks),
        frequency_hz=machine.frequency_hz(),
        throttled=throttled,
    )
