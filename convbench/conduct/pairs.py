"""Takes pairs: in each pair both environments start fresh processes and take the same rounds of the same cases.

Times differ between hours, and between processes, by more than the changes to detect. Two processes whose blocks
alternate see the same conditions, and many fresh pairs average out the processes (docs/measurement.md).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from convbench.conduct.processes import Progress
from convbench.conduct.rounds import Rounds, RoundsPosition
from convbench.conduct.visiting import TIMED, CaseState, Visiting
from convbench.engine.pool import WorkerPool
from convbench.measure import schedule
from convbench.model.case import Case
from convbench.model.result import UNMEASURED, Status, StopReason, Visit

#: Rounds of a pair, and the duration of a block in seconds.
ROUNDS = 5
BLOCK_S = 0.015
#: Maximum time for a case on one side of a pair, seconds: slow cases get fewer rounds, but at least one.
LONGEST_S = 0.5


@dataclass(slots=True, kw_only=True)
class _SideState:
    """One environment during a measurement."""

    pool: WorkerPool
    states: tuple[CaseState, ...]


def _side(pool: WorkerPool, cases: Sequence[Case]) -> _SideState:
    states = [CaseState(position=i, case=case, id=case.id, pool=pool) for i, case in enumerate(cases)]
    return _SideState(pool=pool, states=tuple(states))


_T = TypeVar("_T")
#: The visits of a case on both sides in one pair.
_BothSides = tuple[Visiting, Visiting]


@dataclass(slots=True, kw_only=True)
class _Stage:
    """Progress of a stage: `done` of `cases` visited in pair `number`, and `before` cases in earlier pairs."""

    name: str
    pairs: int
    number: int = 0
    cases: int = 0
    before: int = 0
    done: float = 0.0

    def begin(self, number: int, cases: int) -> None:
        """Start the next pair."""
        self.before += self.cases
        self.number, self.cases, self.done = number, cases, 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PairVisits:
    """The visits of some pairs on each side, by the case's position."""

    a: Mapping[int, list[Visit]]
    b: Mapping[int, list[Visit]]


class ProcessPairs:
    """Takes pairs of the given cases, which both sides have in the same order.

    `timeout_s` bounds each request to a worker, in seconds. `memory_limit` bounds the layers of both sides together, in
    bytes, and those in `device_limits` bound it on devices. `most_workers` bounds the workers of both sides alive at
    once. `cache_bytes` is the last-level cache. If a side cannot measure a case, or its result is wrong, later pairs
    leave it out on both sides.
    """

    def __init__(
        self,
        sides: tuple[tuple[WorkerPool, Sequence[Case]], tuple[WorkerPool, Sequence[Case]]],
        *,
        seed: int,
        timeout_s: float,
        memory_limit: int,
        device_limits: Mapping[str, int] = schedule.NO_LIMITS,
        most_workers: int = schedule.MOST_WORKERS,
        cache_bytes: int = schedule.CACHE_BYTES,
        progressed: Callable[[Progress], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sides = _side(*sides[0]), _side(*sides[1])
        self._timeout_s = timeout_s
        self._memory_limit = memory_limit
        self._device_limits = device_limits
        self._most_workers = most_workers
        self._cache_bytes = cache_bytes
        self._progressed = progressed
        self._rounds = Rounds(seed=seed, block_s=BLOCK_S, timeout_s=timeout_s, clock=clock)
        self._pair = 0
        self._stage = _Stage(name="", pairs=0)

    def take(self, pairs: int, positions: Collection[int], *, stage: str) -> PairVisits:
        """Take `pairs` further pairs of the cases at these positions; `stage` is the name shown as progress."""
        taken = PairVisits(a={position: [] for position in positions}, b={position: [] for position in positions})
        self._stage = _Stage(name=stage, pairs=pairs)
        for number in range(pairs):
            wanted = [i for i in sorted(positions) if all(s.states[i].status is Status.PASSED for s in self._sides)]
            if not wanted:
                break
            self._stage.begin(number, len(wanted))
            try:
                self._take_pair(wanted, taken)
            finally:
                for side in self._sides:
                    side.pool.close()
            self._pair += 1
        return taken

    def _take_pair(self, wanted: Sequence[int], taken: PairVisits) -> None:
        over = 0
        for cohorts in self._batches(wanted):
            positions = [position for cohort in cohorts for position in cohort.positions]
            for side in self._in_turn(self._sides):
                side.pool.keep(dict.fromkeys(side.states[i].case.worker for i in positions))
            for cohort in cohorts:
                over = self._take_cohort(cohort, taken, over=over)

    def _take_cohort(self, cohort: schedule.Cohort, taken: PairVisits, *, over: int) -> int:
        """Take the cases of a cohort; `over` cases of the pair were finished before. Returns the new number."""
        positions = cohort.positions
        both_sides = self._take_together(positions, cohort.index, over=over)
        if len(positions) > 1:
            for index, two in enumerate(both_sides):
                if any(visit.status is Status.OUT_OF_MEMORY for visit in two):
                    both_sides[index] = self._take_alone(positions[index], cohort.index, over=over)
        for position, (a, b) in zip(positions, both_sides, strict=True):
            taken.a[position].append(self._over(a))
            taken.b[position].append(self._over(b))
        over += len(positions)
        self._report_progress(over)
        return over

    def _take_alone(self, position: int, cohort: int, *, over: int) -> _BothSides:
        """Take a case that ran out of memory among others again, in fresh workers with all their memory free."""
        for side in self._sides:
            side.pool.drop(side.states[position].case.worker)
        [two] = self._take_together([position], cohort, over=over)
        return two

    def _take_together(self, positions: Sequence[int], cohort: int, *, over: int) -> list[_BothSides]:
        """Take the cases of one cohort interleaved; both sides of a case get equal numbers of blocks.

        `over` cases of the pair were finished before.
        """
        a, b = self._sides
        both_sides = [(Visiting(state=a.states[i]), Visiting(state=b.states[i])) for i in positions]
        both = [visit for two in both_sides for visit in self._in_turn(two)]
        both_of = {id(visit): two for two in both_sides for visit in two}

        def due(visit: Visiting, round_index: int) -> bool:
            two = both_of[id(visit)]
            slowest = max((each.state.iteration_s or 0.0) for each in two)
            return not any(each.over for each in two) and round_index < rounds_of(slowest)

        for visit in both:
            self._rounds.ready(visit)
        place = RoundsPosition(process_index=self._pair, cohort=cohort)
        self._rounds.take(
            both,
            place,
            rounds=ROUNDS,
            due=due,
            progressed=lambda round_index: self._report_progress(over + len(positions) * round_index / ROUNDS),
        )
        self._rounds.verify(both)
        for side in self._sides:
            side.pool.release(deadline_s=self._timeout_s)
        return both_sides

    def _in_turn(self, sides: tuple[_T, _T]) -> tuple[_T, _T]:
        """Both sides in the order of this pair: the first side alternates from pair to pair."""
        return sides if self._pair % 2 == 0 else sides[::-1]

    def _over(self, visiting: Visiting) -> Visit:
        """The finished visit; also updates the case's state."""
        state = visiting.state
        visit = visiting.visit(self._pair, complete=True)
        state.checked = state.checked or visit.facts.check is not None
        state.status = visit.status
        if visit.status not in TIMED:
            return replace(visit, stop_reason=StopReason.STATUS)
        slow = rounds_of(state.iteration_s or 0.0) < ROUNDS
        return replace(visit, stop_reason=StopReason.TIME if slow else StopReason.ROUNDS)

    def _batches(self, wanted: Sequence[int]) -> schedule.Batches:
        """Group cases to measure interleaved; a case needs the memory and the workers of both sides at once."""
        a, b = ([side.states[i].case for i in wanted] for side in self._sides)
        other = dict(zip(a, b, strict=True))
        found = schedule.grouped(
            a,
            lambda case: (("A", case.worker), ("B", other[case].worker)),
            most_workers=self._most_workers,
            memory_limit=self._memory_limit // 2,
            device_limits={name: limit // 2 for name, limit in self._device_limits.items()},
            cache_bytes=self._cache_bytes,
        )
        return schedule.placed(found, wanted)

    def _report_progress(self, done: float) -> None:
        """Report `done` finished cases of the pair, in fractions by rounds; a repeated case does not lower it."""
        stage = self._stage
        stage.done = max(stage.done, done)
        a, b = self._sides
        statuses = [{one.status, other.status} for one, other in zip(a.states, b.states, strict=True)]
        self._progressed(
            Progress(
                stage=stage.name,
                process_index=stage.number,
                processes=stage.pairs,
                process_cases=stage.cases,
                process_done=int(stage.done),
                visits_done=stage.before + stage.done,
                visits_planned=stage.before + (stage.pairs - stage.number) * stage.cases,
                cases=len(statuses),
                failed=sum(Status.FAILED in two for two in statuses),
                imprecise=sum(Status.IMPRECISE in two for two in statuses),
                unmeasured=sum(not two.isdisjoint(UNMEASURED) for two in statuses),
                busy_s=self._rounds.busy_s,
                start_s=sum(side.pool.start_s for side in self._sides),
            )
        )


def rounds_of(iteration_s: float) -> int:
    """Rounds of a case in a pair, from its seconds per iteration (0 while unknown). Both sides get equal numbers."""
    if iteration_s <= BLOCK_S:
        return ROUNDS
    return max(1, min(ROUNDS, math.floor(LONGEST_S / iteration_s)))
