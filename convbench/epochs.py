"""Two environments side by side: in each epoch both start afresh and take the same rounds of the same cases.

What differs between two hours, or between two processes of one hour, does so by more than what is looked for; what two
processes see that alternate within milliseconds, over many fresh pairs of them, does not (measurement.md, fact 7).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from convbench.case import Case
from convbench.engine import machine
from convbench.engine.lanes import Lanes
from convbench.measure import schedule
from convbench.passes import Progress
from convbench.result import UNMEASURED, StopReason, Visit
from convbench.rounds import Place, Rounds
from convbench.visiting import TIMED, CaseState, Visiting

#: Rounds of an epoch, and how long a block lasts, seconds: what the procedure stood up with (measurement.md, fact 7).
ROUNDS = 5
BLOCK_S = 0.015
#: Timed seconds of a case on a side in an epoch: slower ones get fewer rounds, never fewer than one.
LONGEST_S = 0.5


@dataclass(slots=True, kw_only=True)
class _Side:
    """One environment while it is measured."""

    lanes: Lanes
    states: tuple[CaseState, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The visits of some epochs, by the case's position, on either side."""

    a: Mapping[int, list[Visit]] = field(default_factory=dict)
    b: Mapping[int, list[Visit]] = field(default_factory=dict)


class Epochs:
    """Takes epochs of the given cases, which both sides have in the same order.

    `timeout_s` is for each request to a worker, `memory_limit` what the layers of both sides may fill together, bytes.
    A case that cannot be measured on a side is left out of later epochs on both.
    """

    def __init__(
        self,
        sides: tuple[tuple[Lanes, Sequence[Case]], tuple[Lanes, Sequence[Case]]],
        *,
        seed: int,
        timeout_s: float,
        memory_limit: int,
        progressed: Callable[[Progress], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sides = tuple(
            _Side(
                lanes=lanes,
                states=tuple(CaseState(position=i, case=case, id=case.id, lanes=lanes) for i, case in enumerate(cases)),
            )
            for lanes, cases in sides
        )
        self._timeout_s = timeout_s
        self._memory_limit = memory_limit
        self._progressed = progressed
        self._rounds = Rounds(seed=seed, block_s=BLOCK_S, timeout_s=timeout_s, clock=clock)
        self._epoch = 0

    def take(self, epochs: int, positions: Collection[int], *, stage: str) -> Taken:
        """So many further epochs of the cases at these positions; what is being done is called `stage`."""
        taken = Taken(a={position: [] for position in positions}, b={position: [] for position in positions})
        for number in range(epochs):
            wanted = [i for i in sorted(positions) if all(side.states[i].status in TIMED for side in self._sides)]
            if not wanted:
                break
            try:
                self._take_epoch(wanted, taken, stage=stage, number=number, epochs=epochs)
            finally:
                for side in self._sides:
                    side.lanes.close()
            self._epoch += 1
        return taken

    def _take_epoch(self, wanted: Sequence[int], taken: Taken, *, stage: str, number: int, epochs: int) -> None:
        order = self._sides if self._epoch % 2 == 0 else self._sides[::-1]
        for side in order:
            side.lanes.start(dict.fromkeys(side.states[i].case.worker for i in wanted))
        for cohort, positions in enumerate(self._cohorts(wanted)):
            pairs = [tuple(Visiting(state=side.states[i]) for side in order) for i in positions]
            both = [visit for pair in pairs for visit in pair]
            twins = {id(visit): pair for pair in pairs for visit in pair}

            def due(visit: Visiting, round_index: int, twins: dict[int, tuple[Visiting, ...]] = twins) -> bool:
                pair = twins[id(visit)]
                slowest = max((each.state.iteration_s or 0.0) for each in pair)
                return not any(each.over for each in pair) and round_index < rounds_of(slowest)

            def progressed(round_index: int, positions: Sequence[int] = positions) -> None:
                share = len(positions) * (round_index + 1) / ROUNDS
                self._tell(stage, number, epochs, len(wanted), done=wanted.index(positions[0]) + share)

            for visit in both:
                self._rounds.ready(visit)
            place = Place(pass_index=self._epoch, cohort=cohort)
            self._rounds.take(both, place, rounds=ROUNDS, due=due, progressed=progressed)
            if self._epoch == 0:
                self._rounds.verify(both)
            for position, pair in zip(positions, pairs, strict=True):
                for side, visits in zip(self._sides, (taken.a, taken.b), strict=True):
                    visit = pair[order.index(side)]
                    visits[position].append(self._over(visit))
            for side in self._sides:
                side.lanes.release(deadline_s=self._timeout_s)

    def _over(self, visiting: Visiting) -> Visit:
        """What a visit found; the state remembers how it ended."""
        state = visiting.state
        visit = visiting.visit(self._epoch, complete=True)
        state.checked = state.checked or visit.check is not None
        if state.status not in UNMEASURED:
            state.status = visit.status
        return replace(visit, stop_reason=StopReason.STATUS if visit.status in UNMEASURED else StopReason.ROUNDS)

    def _cohorts(self, wanted: Sequence[int]) -> list[list[int]]:
        """The cases that are measured interleaved: both sides of each hold their memory at once."""
        cases = [self._sides[0].states[i].case for i in wanted]
        cache_bytes = machine.cache_bytes(3) or schedule.CACHE_BYTES
        found = schedule.cohorts(cases, memory_limit=self._memory_limit // 2, cache_bytes=cache_bytes)
        return [[wanted[i] for i in cohort.positions] for cohort in found]

    def _tell(self, stage: str, number: int, epochs: int, cases: int, *, done: float) -> None:
        states = [side.states for side in self._sides]
        self._progressed(
            Progress(
                stage=stage,
                pass_index=number,
                passes=epochs,
                pass_cases=cases,
                pass_done=int(done),
                visits_done=number * cases + done,
                visits_planned=epochs * cases,
                cases=len(states[0]),
                failed=0,
                unmeasured=sum(any(state.status in UNMEASURED for state in pair) for pair in zip(*states, strict=True)),
                busy_s=self._rounds.busy_s,
                start_s=sum(side.lanes.start_s for side in self._sides),
            )
        )


def rounds_of(iteration_s: float) -> int:
    """Rounds of a case in an epoch by its time per iteration, 0 while that is unknown; both sides get as many."""
    if iteration_s <= BLOCK_S:
        return ROUNDS
    return max(1, min(ROUNDS, math.floor(LONGEST_S / iteration_s)))
