"""Measures cases interleaved: prepares them in their workers and takes blocks, round by round in random order.

Interleaved cases and environments see the same conditions, which makes them comparable.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from convbench.conduct.budget import Budget
from convbench.conduct.references import ReferenceRounds
from convbench.conduct.visiting import TIMED, Visiting
from convbench.engine.client import Refusal, WorkerClient
from convbench.engine.nvidia import Nvidia
from convbench.engine.pool import SIGKILL
from convbench.errors import WorkerError, WorkerTimedOutError
from convbench.measure import schedule
from convbench.model.case import Allocator
from convbench.model.result import NAN, Block, Status
from convbench.model.samples import BlockSamples

#: The note of a case whose worker does not keep freed memory although it should.
RETURNS_MEMORY = "freed memory goes back to the system"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundsPosition:
    """Process and cohort of some rounds; together with the seed they determine the order of blocks."""

    process_index: int
    cohort: int


class Rounds:
    """Takes blocks. `busy_s` is the sum of seconds in blocks and their warm-up. The caller empties `twin_ratios`.

    A block lasts `block_s` seconds; a worker has `timeout_s` seconds for each request, and more to
    compile a layer. `clock()` gives the start times
    of blocks. Each round begins with the `references`, if they are given. A worker that has not answered when the
    `budget` is spent is ended, and its case is skipped. `samples` is whether those of each case are kept; a companion's
    are not. `lost_s` is the sum of seconds in requests that ended a case. `nvidia` reads the clocks of devices after
    their blocks.
    """

    def __init__(
        self,
        *,
        seed: int,
        block_s: float,
        timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
        references: ReferenceRounds | None = None,
        budget: Budget | None = None,
        samples: bool = False,
        nvidia: Nvidia | None = None,
    ) -> None:
        self._seed = seed
        self._block_s = block_s
        self._timeout_s = timeout_s
        self._budget = budget or Budget()
        self._clock = clock
        self._references = references
        self._samples = samples
        self._nvidia = nvidia
        self._looked: set[str] = set()  # devices whose state was read in this round
        self._order = 0
        self._memory_probe_s = NAN
        self._last_client: WorkerClient | None = None
        self.busy_s = 0.0
        self.lost_s = 0.0
        self.twin_ratios: list[float] = []

    def take(
        self,
        visiting: Sequence[Visiting],
        place: RoundsPosition,
        *,
        rounds: int,
        due: Callable[[Visiting, int], bool],
        progressed: Callable[[int], None],
    ) -> None:
        """Take `rounds` rounds of the visits that are `due`; calls `progressed` with the round after each block."""
        for round_index in range(rounds):
            wanted = [i for i, visit in enumerate(visiting) if due(visit, round_index)]
            if not wanted:
                continue
            order = schedule.shuffled(
                wanted, seed=self._seed, process_index=place.process_index, cohort=place.cohort, round_index=round_index
            )
            # Workers that are still starting come last, so that the first figures of a run do not wait for them.
            order.sort(key=lambda index: not visiting[index].has_started)
            self._take_probes(visiting[order[0]])
            self._looked.clear()
            if self._references:
                self._references.take([visiting[index] for index in wanted])
                self._last_client = None  # the next block is another worker's, or may be
            for index in order:
                if due(visiting[index], round_index):
                    self._take_block(visiting[index], place.process_index, round_index)
                    progressed(round_index)

    def ready(self, visit: Visiting) -> WorkerClient | None:
        """The client in which the case is prepared, after preparing it if necessary; None if that ended the case."""
        state = visit.state
        pool, settings = state.pool, state.case.worker
        again = state.compares(self._block_s) and not visit.beside
        check = state.wants_check and visit.facts is None and not visit.beside
        began = self._clock()
        try:
            client = pool.client(settings)
            if visit.client is client:
                return client
            prepared = client.prepare(
                visit.key,
                state.case,
                check=check,
                seed=self._seed,
                deadline_s=self._budget.deadline_s(schedule.prepare_limit_s(state.case, self._timeout_s)),
                kernels=visit.kernels_alone,
                digest=state.digest,
                again=again,
                repeats=not visit.beside and Status.FAILED not in (state.status, visit.status),
            )
        except WorkerError as error:
            self._end_case(visit, error, began)
            return None
        if prepared.status not in TIMED:
            visit.end(prepared.status, prepared.reason)
            return None
        if visit.facts is None:
            description = pool.description(settings)
            asked = settings.allocator is Allocator.STEADY and description.host.has_steady_allocator
            visit.facts = prepared.facts
            visit.note(RETURNS_MEMORY if asked and not description.keeps_memory else None)
            visit.note(schedule.APART if state.apart else None)
            visit.note(state.changed_implementation(prepared.facts.implementation))
            visit.status, visit.reason = prepared.status, prepared.reason
        elif visit.status is Status.PASSED:  # another worker of the same process
            visit.status, visit.reason = prepared.status, prepared.reason
        state.digest, state.compared = state.digest or prepared.digest, state.compared or again
        visit.client = client
        return client

    def verify(self, visiting: Sequence[Visiting]) -> None:
        """Check again each layer that passed before it was timed. A worker that has died since is skipped."""
        for visit in visiting:
            pool, settings = visit.state.pool, visit.state.case.worker
            alive = visit.client is not None and visit.client is pool.current(settings)
            right = visit.status in (Status.PASSED, Status.IMPRECISE)
            if right and visit.facts and visit.facts.check and visit.client and alive:
                try:
                    wrong = visit.client.verify(visit.key, deadline_s=self._budget.deadline_s(self._timeout_s))
                except WorkerError:
                    pool.drop(settings)
                else:
                    if wrong:
                        visit.end(wrong.status, wrong.reason)

    def take_peak_memory(self, visit: Visiting) -> None:
        """Measure the memory of an iteration besides operands and results, where the device reports it."""
        client = self.ready(visit) if visit.blocks and not visit.over else None
        if client is not None and visit.facts is not None:
            try:
                found = client.peak_memory(visit.key, deadline_s=self._budget.deadline_s(self._timeout_s))
                visit.facts = replace(visit.facts, peak_bytes=found)
            except WorkerError:
                visit.state.pool.drop(visit.state.case.worker)

    def _take_probes(self, visit: Visiting) -> None:
        """Once per round: the memory probe, and the twin ratio if the case uses all cores."""
        client, settings = self.ready(visit), visit.state.case.worker
        if client is None:
            return
        pool = visit.state.pool
        try:
            self._memory_probe_s = client.memory_probe(deadline_s=self._budget.deadline_s(self._timeout_s))
            description = pool.description(settings)
            if description.threads >= description.host.cores:
                self.twin_ratios.append(client.twin_ratio(deadline_s=self._timeout_s))
        except WorkerError:
            pool.drop(settings)

    def _take_block(self, visit: Visiting, process_index: int, round_index: int) -> None:
        client = self.ready(visit)
        if client is None:
            return
        if self._last_client is not client:
            time.sleep(schedule.CHANGE_PAUSE_S)
            self._last_client = client
        state, start_s = visit.state, self._clock()
        try:
            wanted, deadline_s = self._samples and visit.beside is None, self._budget.deadline_s(self._timeout_s)
            timing = client.block(visit.key, self._block_s, deadline_s=deadline_s, samples=wanted)
        except WorkerError as error:
            self._end_case(visit, error, start_s)
            return
        if isinstance(timing, Refusal):
            visit.end(timing.status, timing.reason)
            return
        if timing.wrong is not None:
            visit.end(Status.FAILED, timing.wrong)
        visit.note(timing.note)
        self._order += 1
        self.busy_s += timing.busy_s
        state.iteration_s = min(
            getattr(timing, state.lead.column), math.inf if state.iteration_s is None else state.iteration_s
        )
        visit.blocks.append(
            Block(
                process_index=process_index,
                round_index=round_index,
                order=self._order,
                start_s=start_s,
                memory_probe_s=self._memory_probe_s,
                **timing.facts | self._after_block(visit, timing.clock_hz),
            )
        )
        if timing.each_s is not None:
            visit.samples.append(BlockSamples(round_index=round_index, seconds=timing.each_s))

    def _after_block(self, visit: Visiting, clock_hz: float | None) -> dict[str, float]:
        """What is known of the device after a block: `clock_hz`, as the worker measured it if it can, and `throttled`.

        Once a round, the library of the device reads its whole state.
        """
        measured = {} if clock_hz is None else {"clock_hz": clock_hz}
        device = visit.state.case.device
        if self._nvidia is None or device == "cpu":
            return measured
        found = self._nvidia.after_block(device)
        if device not in self._looked:
            self._looked.add(device)
            self._nvidia.look(device)
        return found | measured

    def _end_case(self, visit: Visiting, error: WorkerError, began: float) -> None:
        """End a case whose worker failed in a request that began then. The next use of the client starts another."""
        self.lost_s += self._clock() - began
        if isinstance(error, WorkerTimedOutError) and self._budget.is_spent():
            if not (visit.blocks or visit.state.done):
                visit.end(Status.SKIPPED, self._budget.reason)
        elif isinstance(error, WorkerTimedOutError):
            visit.end(Status.TIMED_OUT, error.message)
        elif error.signal == SIGKILL:
            visit.end(Status.OUT_OF_MEMORY, f"{error.message}: the system was probably out of memory")
        else:
            visit.end(Status.CRASHED, error.message)
        visit.state.pool.drop(visit.state.case.worker)
