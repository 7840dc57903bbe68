"""What is known of a case while a run lasts, and of its visit in the pass under way: what is due, what ended it."""

from __future__ import annotations

from dataclasses import dataclass, field

from convbench.engine.client import WorkerClient
from convbench.engine.pool import WorkerPool
from convbench.measure import schedule
from convbench.model.case import Case
from convbench.model.result import (
    NO_FACTS,
    UNMEASURED,
    WRONG,
    Block,
    CaseFacts,
    Measure,
    Status,
    StopReason,
    Visit,
    pack_blocks,
    unpack_blocks,
)

#: What can still be timed: a wrong or imprecise layer is timed too, but never ranked.
TIMED = frozenset({Status.PASSED, *WRONG})


@dataclass(slots=True, kw_only=True)
class CaseState:
    """What is known of a case while the run lasts; `clients` are where its workers run.

    `cut_short` holds, by pass, visits that a process which is gone stored before it could complete them. `apart` says
    that the case is not interleaved with all others of its problem.
    """

    position: int
    case: Case
    id: str
    pool: WorkerPool
    apart: bool = False
    done: set[int] = field(default_factory=set)
    cut_short: dict[int, Visit] = field(default_factory=dict)
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

    def passes_left(self, measure: Measure, *, since: int) -> int:
        """How many passes from `since` on will still visit this case, as far as is known."""
        return sum(self.blocks(index, measure) > 0 for index in range(since, measure.passes))

    def remember(self, visit: Visit, measure: Measure) -> None:
        """Take in what a visit found; of one that is not complete the blocks are kept until it is."""
        if not visit.complete:
            self.cut_short[visit.pass_index] = visit
            return
        self.cut_short.pop(visit.pass_index, None)
        blocks = unpack_blocks(visit.blocks, visit.layout)
        self.done.add(visit.pass_index)
        self.minima += [(block.pass_index, block.minimum_s) for block in blocks]
        self.iteration_s = min((minimum for _, minimum in self.minima), default=None)
        if self.status is Status.PASSED or visit.status in UNMEASURED:
            self.status = visit.status
        self.checked = self.checked or visit.facts.check is not None
        self.settled = schedule.is_settled(self.minima, measure.precision)

    def stop_reason(self, measure: Measure, *, since: int) -> StopReason:
        """Why no more blocks follow from pass `since` on, or `unfinished`."""
        if self.status not in TIMED:
            return StopReason.STATUS
        if self.settled:
            return StopReason.SETTLED
        if self.passes_left(measure, since=since):
            return StopReason.UNFINISHED
        short = self.iteration_s is not None and (
            schedule.blocks_in_run(self.iteration_s, measure) < measure.passes * measure.rounds
        )
        return StopReason.TIME if short else StopReason.ROUNDS


@dataclass(slots=True, kw_only=True)
class Visiting:
    """One case during one pass; `client` is where it was prepared, and `facts` what was found then."""

    state: CaseState
    client: WorkerClient | None = None
    facts: CaseFacts | None = None
    status: Status = Status.PASSED
    reason: str | None = None
    blocks: list[Block] = field(default_factory=list)
    system: Visiting | None = None  # the same case under the system's allocator
    kernels: Visiting | None = None  # the kernels that its backward calls, without autograd
    beside: Visiting | None = None  # the case that this one is measured beside
    kernels_alone: bool = False  # whether it is the kernels alone
    kept_rounds: frozenset[int] = frozenset()  # whose blocks an earlier process took

    @classmethod
    def of(cls, state: CaseState, pass_index: int) -> Visiting:
        """The visit of a case in a pass, with the blocks that an earlier process took of it."""
        visiting = cls(state=state)
        before = state.cut_short.get(pass_index)
        if before is not None:
            visiting.keep(before.blocks, before.layout)
        return visiting

    def keep(self, packed: bytes, layout: int) -> None:
        """Begin with blocks that an earlier process took: their rounds are not taken again."""
        self.blocks = list(unpack_blocks(packed, layout))
        self.kept_rounds = frozenset(block.round_index for block in self.blocks)

    def end(self, status: Status, reason: str | None) -> None:
        """No more blocks of this case."""
        self.status, self.reason = status, reason

    @property
    def over(self) -> bool:
        """Whether no more blocks can be taken."""
        return self.status not in TIMED

    @property
    def key(self) -> int:
        """What the worker knows it by."""
        return 2 * self.state.position + self.kernels_alone

    def visit(self, pass_index: int, *, complete: bool) -> Visit:
        """What is to be stored of it."""
        return Visit(
            case_id=self.state.id,
            pass_index=pass_index,
            status=self.status,
            reason=self.reason,
            facts=self.facts or NO_FACTS,
            blocks=pack_blocks(self.blocks),
            system_blocks=pack_blocks(self.system.blocks) if self.system else b"",
            kernel_blocks=pack_blocks(self.kernels.blocks) if self.kernels else b"",
            complete=complete,
        )
