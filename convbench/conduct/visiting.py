"""The state of a case during a run and of its visit in the current process: due blocks, status, reason to stop."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from convbench.engine.client import WorkerClient
from convbench.engine.pool import WorkerPool
from convbench.measure import schedule
from convbench.model.case import Case
from convbench.model.lead import Lead, lead_of
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
    joined_notes,
    pack_blocks,
    unpack_blocks,
)
from convbench.model.samples import BlockSamples, pack_samples, unpack_samples

#: Statuses of cases that are timed. Wrong and imprecise layers are timed too, but not ranked.
TIMED = frozenset({Status.PASSED, *WRONG})


@dataclass(slots=True, kw_only=True)
class CaseState:
    """The state of a case during a run; `pool` holds the clients of its workers.

    `cut_short` holds the incomplete visits of an interrupted run, by process. `times` are (process index, leading
    time of a block in seconds). `apart` means that the case is not interleaved with all others of its problem. `digest`
    is the checksum of its results on integers in an earlier process of this run. `compared` is whether a process has
    compared its own results with it. `implementation` is what the first process that checked it ran.
    """

    position: int
    case: Case
    id: str
    pool: WorkerPool
    apart: bool = False
    done: set[int] = field(default_factory=set)
    cut_short: dict[int, Visit] = field(default_factory=dict)
    times: list[tuple[int, float]] = field(default_factory=list)
    iteration_s: float | None = None
    status: Status = Status.PASSED
    checked: bool = False
    digest: str | None = None
    compared: bool = False
    implementation: str | None = None
    settled: bool = False

    @property
    def lead(self) -> Lead:
        """The figure of its blocks that leads."""
        return lead_of(self.case.device)

    def blocks(self, process_index: int, measure: Measure) -> int:
        """Blocks of this case in this process: all rounds while its speed is unknown, 0 after it has ended."""
        if process_index in self.done or self.settled or self.status not in TIMED:
            return 0
        if self.iteration_s is None:
            return measure.rounds
        total = schedule.blocks_in_run(self.iteration_s, measure)
        return schedule.blocks_in_process(total, process_index, measure.processes)

    def processes_left(self, measure: Measure, *, since: int) -> int:
        """The expected number of processes from `since` on that visit this case."""
        return sum(self.blocks(index, measure) > 0 for index in range(since, measure.processes))

    @property
    def wants_check(self) -> bool:
        """Whether the next process checks in full and names the implementation.

        The first one does, and one that has no digest to compare with. Where cuDNN tries its algorithms in each
        process, each of them may choose another one.
        """
        return not self.checked or self.case.cudnn_benchmark or (self.digest is None and self.status is Status.PASSED)

    def changed_implementation(self, ran: str | None) -> str | None:
        """A note where this process ran another implementation than the first one that named its own."""
        self.implementation = self.implementation or ran
        return None if ran in (None, self.implementation) else f"not every process ran the same kernels: one ran {ran}"

    def compares(self, block_s: float) -> bool:
        """Whether the next process compares its results with the digest: the second, and others where it is cheap."""
        slow = schedule.COMPARED_ITERATIONS * (self.iteration_s or 0.0) > schedule.COMPARED_SHARE * block_s
        return self.digest is not None and not (self.compared and slow)

    def remember(self, visit: Visit, measure: Measure) -> None:
        """Update the state from a visit; an incomplete one is kept in `cut_short`."""
        if not visit.complete:
            self.cut_short[visit.process_index] = visit
            return
        self.cut_short.pop(visit.process_index, None)
        blocks = unpack_blocks(visit.blocks, visit.layout)
        self.done.add(visit.process_index)
        self.times += [(block.process_index, getattr(block, self.lead.column)) for block in blocks]
        self.iteration_s = min((time for _, time in self.times), default=None)
        is_worse = self.status is Status.IMPRECISE and visit.status is Status.FAILED
        if self.status is Status.PASSED or is_worse or visit.status in UNMEASURED:
            self.status = visit.status
        self.checked = self.checked or visit.facts.check is not None
        self.settled = schedule.is_settled(self.times, measure.precision, self.lead)

    def stop_reason(self, measure: Measure, *, since: int) -> StopReason:
        """Why no more blocks follow from process `since` on, or `unfinished`."""
        if self.status not in TIMED:
            return StopReason.STATUS
        if self.settled:
            return StopReason.SETTLED
        if self.processes_left(measure, since=since):
            return StopReason.UNFINISHED
        short = self.iteration_s is not None and (
            schedule.blocks_in_run(self.iteration_s, measure) < measure.processes * measure.rounds
        )
        return StopReason.TIME if short else StopReason.ROUNDS


@dataclass(slots=True, kw_only=True)
class Visiting:
    """The visit of one case in one process; `client` is where it was prepared, `facts` are what was found then."""

    state: CaseState
    client: WorkerClient | None = None
    facts: CaseFacts | None = None
    status: Status = Status.PASSED
    reason: str | None = None
    blocks: list[Block] = field(default_factory=list)
    samples: list[BlockSamples] = field(default_factory=list)
    system: Visiting | None = None  # the companion with the system's allocator
    kernels: Visiting | None = None  # the companion that calls the kernels of the backward pass without autograd
    beside: Visiting | None = None  # the case of this companion
    kernels_alone: bool = False  # whether this is the companion without autograd
    kept_rounds: frozenset[int] = frozenset()  # rounds whose blocks an interrupted run took

    @classmethod
    def of(cls, state: CaseState, process_index: int) -> Visiting:
        """The visit of a case in a process, with the blocks that an interrupted run took of it."""
        visiting = cls(state=state)
        before = state.cut_short.get(process_index)
        if before is not None:
            visiting.keep(before.blocks, before.layout)
            visiting.samples = list(unpack_samples(before.samples))
        return visiting

    def keep(self, packed: bytes, layout: int) -> None:
        """Start with the blocks of an interrupted run: their rounds are not taken again."""
        self.blocks = list(unpack_blocks(packed, layout))
        self.kept_rounds = frozenset(block.round_index for block in self.blocks)

    def end(self, status: Status, reason: str | None) -> None:
        """End the visit: no more blocks are taken."""
        self.status, self.reason = status, reason

    def note(self, text: str | None) -> None:
        """Add a note to the facts of the case, once."""
        if text and self.facts:
            self.facts = replace(self.facts, note=joined_notes(self.facts.note, text))

    @property
    def has_started(self) -> bool:
        """Whether the worker of the case has started."""
        return self.state.pool.has_started(self.state.case.worker)

    @property
    def over(self) -> bool:
        """Whether the case has ended: no more blocks are taken."""
        return self.status not in TIMED

    @property
    def key(self) -> int:
        """The key of this visit's layer in the worker."""
        return 2 * self.state.position + self.kernels_alone

    def visit(self, process_index: int, *, complete: bool) -> Visit:
        """The record to store."""
        return Visit(
            case_id=self.state.id,
            process_index=process_index,
            status=self.status,
            reason=self.reason,
            facts=self.facts or NO_FACTS,
            blocks=pack_blocks(self.blocks),
            system_blocks=pack_blocks(self.system.blocks) if self.system else b"",
            kernel_blocks=pack_blocks(self.kernels.blocks) if self.kernels else b"",
            samples=pack_samples(self.samples),
            complete=complete,
        )
