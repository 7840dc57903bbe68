"""Two environments side by side: in each epoch both start afresh and take the same rounds of the same cases.

What differs between two hours, or between two processes of one hour, does so by more than what is looked for; what two
processes see that take turns block by block, over many fresh pairs of them, does not (measurement.md, fact 7).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from convbench.conduct.passes import Progress
from convbench.conduct.rounds import Place, Rounds
from convbench.conduct.visiting import TIMED, CaseState, Visiting
from convbench.engine.pool import WorkerPool
from convbench.measure import schedule
from convbench.model.case import Case
from convbench.model.result import UNMEASURED, Status, StopReason, Visit

#: Rounds of an epoch, and how long a block lasts, seconds: what the procedure stood up with (measurement.md, fact 7).
ROUNDS = 5
BLOCK_S = 0.015
#: Timed seconds of a case on a side in an epoch: slower ones get fewer rounds, never fewer than one.
LONGEST_S = 0.5


@dataclass(slots=True, kw_only=True)
class _Side:
    """One environment while it is measured."""

    pool: WorkerPool
    states: tuple[CaseState, ...]


def _side(pool: WorkerPool, cases: Sequence[Case]) -> _Side:
    states = [CaseState(position=i, case=case, id=case.id, pool=pool) for i, case in enumerate(cases)]
    return _Side(pool=pool, states=tuple(states))


_T = TypeVar("_T")
#: A case on both sides in one epoch.
_Pair = tuple[Visiting, Visiting]


@dataclass(slots=True, kw_only=True)
class _Stage:
    """How far some epochs are: `done` of `cases` in epoch `number`, after `before` in those that are over."""

    name: str
    epochs: int
    number: int = 0
    cases: int = 0
    before: int = 0
    done: float = 0.0

    def begin(self, number: int, cases: int) -> None:
        """The next epoch."""
        self.before += self.cases
        self.number, self.cases, self.done = number, cases, 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The visits of some epochs, by the case's position, on either side."""

    a: Mapping[int, list[Visit]]
    b: Mapping[int, list[Visit]]


class Epochs:
    """Takes epochs of the given cases, which both sides have in the same order.

    `timeout_s` is for each request to a worker, `memory_limit` what the layers of both sides may fill together, bytes;
    at most `most_workers` workers of both sides are alive at once. `cache_bytes` is the last-level cache.
    A case that a side cannot measure, or gets wrong, is left out of later epochs on both.
    """

    def __init__(
        self,
        sides: tuple[tuple[WorkerPool, Sequence[Case]], tuple[WorkerPool, Sequence[Case]]],
        *,
        seed: int,
        timeout_s: float,
        memory_limit: int,
        most_workers: int = schedule.MOST_WORKERS,
        cache_bytes: int = schedule.CACHE_BYTES,
        progressed: Callable[[Progress], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sides = _side(*sides[0]), _side(*sides[1])
        self._timeout_s = timeout_s
        self._memory_limit = memory_limit
        self._most_workers = most_workers
        self._cache_bytes = cache_bytes
        self._progressed = progressed
        self._rounds = Rounds(seed=seed, block_s=BLOCK_S, timeout_s=timeout_s, clock=clock)
        self._epoch = 0
        self._stage = _Stage(name="", epochs=0)

    def take(self, epochs: int, positions: Collection[int], *, stage: str) -> Taken:
        """So many further epochs of the cases at these positions; what is being done is called `stage`."""
        taken = Taken(a={position: [] for position in positions}, b={position: [] for position in positions})
        self._stage = _Stage(name=stage, epochs=epochs)
        for number in range(epochs):
            wanted = [i for i in sorted(positions) if all(s.states[i].status is Status.PASSED for s in self._sides)]
            if not wanted:
                break
            self._stage.begin(number, len(wanted))
            try:
                self._take_epoch(wanted, taken)
            finally:
                for side in self._sides:
                    side.pool.close()
            self._epoch += 1
        return taken

    def _take_epoch(self, wanted: Sequence[int], taken: Taken) -> None:
        over = 0
        for cohorts in self._batches(wanted):
            positions = [position for cohort in cohorts for position in cohort.positions]
            for side in self._in_turn(self._sides):
                side.pool.keep(dict.fromkeys(side.states[i].case.worker for i in positions))
            for cohort in cohorts:
                over = self._take_cohort(cohort, taken, over=over)

    def _take_cohort(self, cohort: schedule.Cohort, taken: Taken, *, over: int) -> int:
        """The cases of a cohort; returns how many of the epoch are over then, with those that were before."""
        positions = cohort.positions
        pairs = self._take_together(positions, cohort.index, over=over)
        if len(positions) > 1:
            for index, pair in enumerate(pairs):
                if any(visit.status is Status.OUT_OF_MEMORY for visit in pair):
                    pairs[index] = self._take_alone(positions[index], cohort.index, over=over)
        for position, (a, b) in zip(positions, pairs, strict=True):
            taken.a[position].append(self._over(a))
            taken.b[position].append(self._over(b))
        over += len(positions)
        self._tell(over)
        return over

    def _take_alone(self, position: int, cohort: int, *, over: int) -> _Pair:
        """A case that ran out of memory among others, in fresh workers: what others left in these is in the way."""
        for side in self._sides:
            side.pool.drop(side.states[position].case.worker)
        [pair] = self._take_together([position], cohort, over=over)
        return pair

    def _take_together(self, positions: Sequence[int], cohort: int, *, over: int) -> list[_Pair]:
        """The cases of one cohort on both sides, interleaved; both sides of a case get equal numbers of blocks.

        So many cases of the epoch were over before.
        """
        a, b = self._sides
        pairs = [(Visiting(state=a.states[i]), Visiting(state=b.states[i])) for i in positions]
        both = [visit for pair in pairs for visit in self._in_turn(pair)]
        twins = {id(visit): pair for pair in pairs for visit in pair}

        def due(visit: Visiting, round_index: int) -> bool:
            pair = twins[id(visit)]
            slowest = max((each.state.iteration_s or 0.0) for each in pair)
            return not any(each.over for each in pair) and round_index < rounds_of(slowest)

        for visit in both:
            self._rounds.ready(visit)
        place = Place(pass_index=self._epoch, cohort=cohort)
        self._rounds.take(
            both,
            place,
            rounds=ROUNDS,
            due=due,
            progressed=lambda round_index: self._tell(over + len(positions) * round_index / ROUNDS),
        )
        self._rounds.verify(both)
        for side in self._sides:
            side.pool.release(deadline_s=self._timeout_s)
        return pairs

    def _in_turn(self, sides: tuple[_T, _T]) -> tuple[_T, _T]:
        """Who is first in this epoch comes first."""
        return sides if self._epoch % 2 == 0 else sides[::-1]

    def _over(self, visiting: Visiting) -> Visit:
        """What a visit found; the state remembers how it ended."""
        state = visiting.state
        visit = visiting.visit(self._epoch, complete=True)
        state.checked = state.checked or visit.facts.check is not None
        state.status = visit.status
        if visit.status not in TIMED:
            return replace(visit, stop_reason=StopReason.STATUS)
        slow = rounds_of(state.iteration_s or 0.0) < ROUNDS
        return replace(visit, stop_reason=StopReason.TIME if slow else StopReason.ROUNDS)

    def _batches(self, wanted: Sequence[int]) -> schedule.Batches:
        """The cases that are measured interleaved: both sides of each hold their memory and their workers at once."""
        a, b = ([side.states[i].case for i in wanted] for side in self._sides)
        other = dict(zip(a, b, strict=True))
        found = schedule.grouped(
            a,
            lambda case: (("A", case.worker), ("B", other[case].worker)),
            most_workers=self._most_workers,
            memory_limit=self._memory_limit // 2,
            cache_bytes=self._cache_bytes,
        )
        return tuple(
            tuple(replace(cohort, positions=tuple(wanted[i] for i in cohort.positions)) for cohort in batch)
            for batch in found
        )

    def _tell(self, done: float) -> None:
        """So many cases of the epoch are over, in shares of their rounds; what is tried again takes nothing back."""
        stage = self._stage
        stage.done = max(stage.done, done)
        a, b = self._sides
        statuses = [{one.status, other.status} for one, other in zip(a.states, b.states, strict=True)]
        self._progressed(
            Progress(
                stage=stage.name,
                pass_index=stage.number,
                passes=stage.epochs,
                pass_cases=stage.cases,
                pass_done=int(stage.done),
                visits_done=stage.before + stage.done,
                visits_planned=stage.before + (stage.epochs - stage.number) * stage.cases,
                cases=len(statuses),
                failed=sum(Status.FAILED in pair for pair in statuses),
                imprecise=sum(Status.IMPRECISE in pair for pair in statuses),
                unmeasured=sum(not pair.isdisjoint(UNMEASURED) for pair in statuses),
                busy_s=self._rounds.busy_s,
                start_s=sum(side.pool.start_s for side in self._sides),
            )
        )


def rounds_of(iteration_s: float) -> int:
    """Rounds of a case in an epoch by its time per iteration, 0 while that is unknown; both sides get as many."""
    if iteration_s <= BLOCK_S:
        return ROUNDS
    return max(1, min(ROUNDS, math.floor(LONGEST_S / iteration_s)))
