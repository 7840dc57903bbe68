"""The order of blocks and when to stop, as docs/measurement.md describes. Pure."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeAlias, TypeVar

from convbench.model.case import DTYPES, Allocator, Cache, Case, CompileMode, Execution, WorkerSettings
from convbench.model.lead import Lead
from convbench.model.problem import Direction, Problem
from convbench.model.result import Measure
from convbench.model.samples import SAMPLE_BYTES
from convbench.model.threshold import FEWEST_PROCESSES

#: The longest block, seconds: many short blocks find a quiet moment, few long ones do not.
LONGEST_BLOCK_S = 0.025
#: Number of cases measured interleaved: enough to spread each over many seconds, few enough for the memory.
COHORT_SIZE = 32
#: Blocks of a companion of a case in the first process (the system's allocator, or the kernels without autograd):
#: enough to show the difference.
COMPANION_BLOCKS = 3
#: Blocks and processes that must agree before a case is settled. With 3 blocks the floor was up to 20 % too high, with
#: 5 at most 0.5 %. Blocks of one process are not independent, and a comparison needs so many processes.
SETTLED_BLOCKS = 5
SETTLED_PROCESSES = FEWEST_PROCESSES


#: A later process compares its results with the first process's check, in about this number of iterations. The second
#: process always does so. The others do where it takes at most this share of a block, a twentieth of five blocks.
COMPARED_ITERATIONS = 3
COMPARED_SHARE = 0.25


def block_seconds(measure: Measure) -> float:
    """The duration of one block in seconds: max_time divided by all processes and rounds, 25 ms at most."""
    return min(LONGEST_BLOCK_S, measure.max_time / (measure.processes * measure.rounds))


#: The shortest sample, seconds: more iterations share one where they are shorter (worker/timer.py).
SHORTEST_SAMPLE_S = 10e-6


def samples_bytes(cases: Sequence[Case], measure: Measure) -> int:
    """The bytes of the raw samples of a run, at most: those of its fastest cases take as many."""
    of_block = math.ceil(block_seconds(measure) / SHORTEST_SAMPLE_S) * SAMPLE_BYTES
    return len(cases) * measure.processes * measure.rounds * of_block


#: Seconds that a worker has to compile a layer, beyond those of a request. Loading the compiler took 63 s and a layer
#: 8 s beside five busy processes a core. With max-autotune the compiler tries kernels.
COMPILE_LIMIT_S = 300.0
AUTOTUNE_LIMIT_S = 1800.0


def prepare_limit_s(case: Case, timeout_s: float) -> float:
    """The seconds that a worker has to prepare a case, where it has `timeout_s` for other requests."""
    if case.execution is not Execution.COMPILED:
        return timeout_s
    return timeout_s + (COMPILE_LIMIT_S if case.compile_mode is CompileMode.DEFAULT else AUTOTUNE_LIMIT_S)


#: Pause between blocks of different workers, seconds: the previous worker goes to sleep in it.
CHANGE_PAUSE_S = 0.001
#: In a sweep of more cases than this, the block of a reference layer lasts this share of a case's block. A round of 30
#: cases becomes at most a tenth longer. In a small sweep references may cost more, and repeat better. Where a case has
#: fewer seconds than this they may not: in `convbench time` they would take twice as long as all cases.
FEW_CASES, FEWEST_SECONDS = 10, 0.5
REFERENCE_SHARE = 0.2


def reference_seconds(cases: int, measure: Measure) -> float:
    """The duration of a reference layer's block in a sweep of so many cases, in seconds."""
    is_long = cases <= FEW_CASES and measure.max_time >= FEWEST_SECONDS
    return block_seconds(measure) * (1 if is_long else REFERENCE_SHARE)


def blocks_in_run(iteration_s: float, measure: Measure) -> int:
    """The number of blocks of a case over all processes.

    It is all rounds of all processes, unless an iteration is longer than a block. Then it is as many as fit into
    `max_time`, but at least one in each of `FEWEST_PROCESSES` processes, or in all if there are fewer.
    """
    affordable = math.floor(measure.max_time / max(block_seconds(measure), iteration_s) + 1e-9)
    return max(min(FEWEST_PROCESSES, measure.processes), min(measure.processes * measure.rounds, affordable))


def blocks_in_process(total: int, process_index: int, processes: int) -> int:
    """The blocks of process `process_index` of `total`, distributed evenly; the first process has at least one."""
    before = (total * process_index + processes - 1) // processes
    return (total * (process_index + 1) + processes - 1) // processes - before


def is_settled(times: Iterable[tuple[int, float]], precision: float, lead: Lead) -> bool:
    """Whether the leading times of the blocks agree, given as (process index, seconds).

    Where the floor leads, five of them, from four processes, are within `precision` of the lowest. Any five blocks
    count, not only the lowest five: these may all come from one fast process, with the other processes slightly above.
    Where the median leads, the medians of four processes, and of more than half of all, are within `precision` of the
    median of all blocks.
    """
    known = list(times)
    if len(known) < SETTLED_BLOCKS:
        return False
    time = lead.of(value for _, value in known)
    if lead is Lead.MEDIAN:
        by_process: dict[int, list[float]] = {}
        for process_index, value in known:
            by_process.setdefault(process_index, []).append(value)
        agree = [
            time <= own * (1 + precision) and own <= time * (1 + precision) for own in map(lead.of, by_process.values())
        ]
        return sum(agree) >= max(SETTLED_PROCESSES, len(agree) // 2 + 1)
    limit = time * (1 + precision)
    agreeing = [process_index for process_index, value in known if value <= limit]
    return len(agreeing) >= SETTLED_BLOCKS and len(set(agreeing)) >= SETTLED_PROCESSES


#: The assumed last-level cache if its size is unknown, bytes. Copies for a cold cache fill twice that (worker/cold.py).
CACHE_BYTES = 64 * 2**20
COPIES_PER_CACHE = 2


#: Bytes of an integer of the check.
INTEGER_BYTES = 1


def memory_bytes(case: Case, cache_bytes: int = CACHE_BYTES) -> int:
    """The approximate memory of a prepared case in bytes: operands, results, and reordered copies of both.

    With a cold cache also the copies that displace each other from a cache of `cache_bytes`.
    """
    copies = COPIES_PER_CACHE * cache_bytes if case.cache is Cache.COLD else 0
    return copies + 2 * _elements_held(case.problem, case.direction is Direction.FORWARD) * DTYPES[case.dtype]


def check_bytes(case: Case) -> int:
    """The approximate memory of a case's check beside `memory_bytes`: copies of all operands, and integers for them."""
    elements = _elements_held(case.problem, case.direction is Direction.FORWARD)
    return elements * (DTYPES[case.dtype] + INTEGER_BYTES)


@lru_cache(maxsize=65536)
def _elements_held(problem: Problem, forward_only: bool) -> int:
    return problem.elements_moved(Direction.FORWARD if forward_only else Direction.TRAIN_STEP)


#: The memory of devices is that of the machine where they do not report their own.
NO_LIMITS: Mapping[str, int] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """Cases measured interleaved, by their positions in the sweep."""

    index: int
    positions: tuple[int, ...]


def cohorts(
    cases: Sequence[Case],
    *,
    memory_limit: int,
    device_limits: Mapping[str, int] = NO_LIMITS,
    cache_bytes: int = CACHE_BYTES,
) -> tuple[Cohort, ...]:
    """Divide the cases into cohorts, in the order of the sweep.

    Cases of one problem differ only in settings whose effect is to be measured. They stay in one cohort, as only
    interleaved cases see the same drift. A cohort may become larger for this; only lack of memory divides them. Each
    device has cohorts of its own, because an accelerator that waits for cases of the CPU lowers its clock. Its memory
    is that of `device_limits` in bytes, else `memory_limit`.
    """
    groups: list[list[int]] = []
    for device in dict.fromkeys(case.device for case in cases):
        limit = device_limits.get(device, memory_limit)
        groups.append([])
        held = 0
        by_problem: dict[Problem, list[int]] = {}
        for position, case in enumerate(cases):
            if case.device == device:
                by_problem.setdefault(case.problem, []).append(position)
        for positions in by_problem.values():
            sizes = [memory_bytes(cases[position], cache_bytes) for position in positions]
            too_many = len(groups[-1]) + len(positions) > COHORT_SIZE
            if groups[-1] and (too_many or held + sum(sizes) > limit):
                groups.append([])
                held = 0
            for position, size in zip(positions, sizes, strict=True):
                if groups[-1] and held + size > limit:
                    groups.append([])
                    held = 0
                groups[-1].append(position)
                held += size
    return tuple(Cohort(index=i, positions=tuple(group)) for i, group in enumerate(groups))


#: Maximum and minimum of worker processes alive at once: a case and its companion need two.
MOST_WORKERS, FEWEST_WORKERS = 8, 2
#: Private memory of a worker without its layers, bytes: 145 MiB after importing the CPU build of torch 2.13. The memory
#: probe's copy adds 128 MiB, the kernels and the check of the first layer 35 MiB.
WORKER_START_BYTES = 145 * 2**20
WORKER_GROWTH_BYTES = 165 * 2**20
#: The share of the free memory that workers may use without their layers.
WORKER_MEMORY_SHARE = 0.3


def workers_at_once(free_bytes: int, start_bytes: int | None = None) -> int:
    """The maximum number of workers alive at once with `free_bytes` of free memory.

    `start_bytes` is the private memory of a worker after its start. It counts as WORKER_START_BYTES at least: a forked
    worker shares torch with its parent, which is one for each environment.
    """
    worker_bytes = max(WORKER_START_BYTES, start_bytes or 0) + WORKER_GROWTH_BYTES
    fitting = int(free_bytes * WORKER_MEMORY_SHARE) // worker_bytes
    return max(FEWEST_WORKERS, min(MOST_WORKERS, fitting))


def variants(case: Case, *, process_index: int, has_steady_allocator: bool) -> tuple[Case, ...]:
    """The case, and in the first process the same case with the system's allocator, if that differs.

    A compiled case has none: it would be compiled again in that worker.
    """
    steady = (
        case.execution is Execution.EAGER
        and case.allocator is Allocator.STEADY
        and case.device == "cpu"
        and has_steady_allocator
    )
    if process_index or not steady:
        return (case,)
    return (case, replace(case, allocator=Allocator.SYSTEM))


def workers_of(case: Case, *, process_index: int, has_steady_allocator: bool) -> tuple[WorkerSettings, ...]:
    """The workers that a case needs in a process."""
    return tuple(
        variant.worker
        for variant in variants(case, process_index=process_index, has_steady_allocator=has_steady_allocator)
    )


Worker = TypeVar("Worker", bound=Hashable)


def batches(
    cases: Sequence[Case], needed: Callable[[Case], Sequence[Worker]], *, most: int
) -> tuple[tuple[int, ...], ...]:
    """Divide the cases into batches that need at most `most` workers each; positions in the order of the sweep.

    Cases of one problem stay in one batch if their workers fit. A case that needs more workers is a batch of its own.
    """
    by_problem: dict[Problem, list[int]] = {}
    for position, case in enumerate(cases):
        by_problem.setdefault(case.problem, []).append(position)
    found: list[tuple[set[Worker], list[int]]] = []
    known: dict[frozenset[Worker], int] = {}  # the batch of a set of workers
    for positions in by_problem.values():
        needs = [frozenset(needed(cases[position])) for position in positions]
        for workers, members in _parts(positions, needs, most):
            if workers not in known:
                fitting = (i for i, (held, _) in enumerate(found) if len(held | workers) <= most)
                known[workers] = next(fitting, len(found))
                if known[workers] == len(found):
                    found.append((set(), []))
                found[known[workers]][0].update(workers)
            found[known[workers]][1].extend(members)
    return tuple(tuple(sorted(positions)) for _, positions in found)


def _parts(
    positions: Sequence[int], needs: Sequence[frozenset[Worker]], most: int
) -> list[tuple[frozenset[Worker], list[int]]]:
    """Divide the cases of one problem into parts of at most `most` workers; cases with equal workers stay together."""
    by_need: dict[frozenset[Worker], list[int]] = {}
    for position, need in zip(positions, needs, strict=True):
        by_need.setdefault(need, []).append(position)
    parts: list[tuple[frozenset[Worker], list[int]]] = []
    for need, members in by_need.items():
        held = parts[-1][0] | need if parts else need
        if parts and len(held) <= most:
            parts[-1] = (held, parts[-1][1] + members)
        else:
            parts.append((need, members))
    return parts


#: The batches of a process in their order, each with its cohorts.
Batches: TypeAlias = tuple[tuple[Cohort, ...], ...]


def grouped(
    cases: Sequence[Case],
    needed: Callable[[Case], Sequence[Worker]],
    *,
    most_workers: int,
    memory_limit: int,
    device_limits: Mapping[str, int] = NO_LIMITS,
    cache_bytes: int = CACHE_BYTES,
) -> Batches:
    """Divide the cases into batches and these into cohorts; cohorts are numbered across batches."""
    found: list[tuple[Cohort, ...]] = []
    for positions in batches(cases, needed, most=most_workers):
        before = sum(map(len, found))
        found.append(
            tuple(
                Cohort(index=before + cohort.index, positions=tuple(positions[i] for i in cohort.positions))
                for cohort in cohorts(
                    [cases[position] for position in positions],
                    memory_limit=memory_limit,
                    device_limits=device_limits,
                    cache_bytes=cache_bytes,
                )
            )
        )
    return tuple(found)


#: The part of a network's budget that all cases share equally; the rest goes by `cost`.
EQUAL_PART = 0.5


#: A core reads one byte from memory in about the time of this many FLOP.
FLOPS_PER_BYTE = 10


def cost(case: Case) -> float:
    """What a network spends in a case, in FLOPs of the same time: count times the larger of FLOPs and bytes moved."""
    return case.count * max(case.flops, FLOPS_PER_BYTE * case.bytes)


def budget_weights(cases: Sequence[Case]) -> tuple[float, ...]:
    """The share of a budget for each case, relative to the mean: more for the costly layers of a network.

    Cases with labels or counts are a network.
    """
    costs = [cost(case) for case in cases]
    if not any(case.count > 1 or case.given_label for case in cases) or not any(costs):
        return (1.0,) * len(cases)
    mean = sum(costs) / len(costs)
    return tuple(EQUAL_PART + (1 - EQUAL_PART) * each / mean for each in costs)


def heaviest_first(cases: Sequence[Case], weights: Sequence[float]) -> list[int]:
    """The positions of the cases, those of the problems with the largest weights first; equal ones keep their order."""
    sums: dict[Problem, float] = {}
    for case, weight in zip(cases, weights, strict=True):
        sums[case.problem] = sums.get(case.problem, 0.0) + weight
    return sorted(range(len(cases)), key=lambda position: -sums[cases[position].problem])


def placed(batches: Batches, order: Sequence[int]) -> Batches:
    """Batches of the cases in this order, with the positions that stand in it."""
    return tuple(
        tuple(replace(cohort, positions=tuple(order[i] for i in cohort.positions)) for cohort in batch)
        for batch in batches
    )


#: The note of a case that is not interleaved with all other settings of its layer.
APART = "not interleaved with all other settings of its layer, which did not fit at once"


def apart(cases: Sequence[Case], batches: Batches) -> frozenset[int]:
    """The positions of cases that are not interleaved with all others of their problem on their device."""
    where: dict[tuple[Problem, str], set[int]] = {}
    for cohort in (cohort for batch in batches for cohort in batch):
        for case in (cases[position] for position in cohort.positions):
            where.setdefault((case.problem, case.device), set()).add(cohort.index)
    return frozenset(i for i, case in enumerate(cases) if len(where[case.problem, case.device]) > 1)


def shuffled(items: Sequence[int], *, seed: int, process_index: int, cohort: int, round_index: int) -> list[int]:
    """The order of one round: random, and equal for equal seeds."""
    order = list(items)
    random.Random(f"{seed}/{process_index}/{cohort}/{round_index}").shuffle(order)
    return order
