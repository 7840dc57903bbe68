"""Which block comes next and when to stop: pure, from numbers to numbers. The method is docs/measurement.md's."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from convbench.case import DTYPES, Cache, Case
from convbench.problem import Direction, Problem
from convbench.result import Measure

#: A block lasts no longer: many short blocks find a quiet moment, few long ones do not. Seconds.
LONGEST_BLOCK_S = 0.025
#: Cases measured interleaved: enough to spread each over many seconds, few enough to fit in memory.
COHORT_SIZE = 32
#: Blocks of what is measured beside a case in the first pass (the system's allocator, kernels alone): enough to see
#: what users pay.
COMPANION_BLOCKS = 3
#: Blocks and passes that must agree before a case is settled. "The 3 lowest agree" stopped up to 20 % too high, the 5
#: lowest erred by 0.5 % at most; blocks of one process are not independent.
SETTLED_BLOCKS = 5
SETTLED_PASSES = 3


def block_seconds(measure: Measure) -> float:
    """How long one block lasts: max_time shared among all passes and rounds, 25 ms at most."""
    return min(LONGEST_BLOCK_S, measure.max_time / (measure.passes * measure.rounds))


def blocks_in_run(iteration_s: float, measure: Measure) -> int:
    """How many blocks a case gets over all passes.

    All rounds of all passes, unless an iteration is longer than a block: then as many as `max_time` holds, but one in
    each of two passes at least (one, if there is one pass).
    """
    affordable = math.floor(measure.max_time / max(block_seconds(measure), iteration_s) + 1e-9)
    return max(min(2, measure.passes), min(measure.passes * measure.rounds, affordable))


def blocks_in_pass(total: int, pass_index: int, passes: int) -> int:
    """The share of pass `pass_index` of `total` blocks, spread evenly, the first pass never without one."""
    before = (total * pass_index + passes - 1) // passes
    return (total * (pass_index + 1) + passes - 1) // passes - before


def is_settled(minima: Iterable[tuple[int, float]], precision: float) -> bool:
    """Whether the lowest block minima agree: five of them, from three passes, within `precision` of the floor.

    `minima` are (pass index, block minimum in seconds). Any five will do, not only the very lowest five: those may all
    come from one lucky pass while the other passes stand a hair above it.
    """
    known = list(minima)
    if len(known) < SETTLED_BLOCKS:
        return False
    limit = min(value for _, value in known) * (1 + precision)
    agreeing = [pass_index for pass_index, value in known if value <= limit]
    return len(agreeing) >= SETTLED_BLOCKS and len(set(agreeing)) >= SETTLED_PASSES


#: The last-level cache that is reckoned with where none is told, bytes; how much of it copies fill (worker/cold.py).
CACHE_BYTES = 64 * 2**20
BEYOND_CACHE = 2


def memory_bytes(case: Case, cache_bytes: int = CACHE_BYTES) -> int:
    """What a case holds while it is prepared, roughly: its operands, its results, and reordered copies of both.

    With a cold cache also the copies that leave a cache of `cache_bytes` before their turn comes.
    """
    copies = BEYOND_CACHE * cache_bytes if case.cache is Cache.COLD else 0
    return copies + 2 * _elements_held(case.problem, case.direction is Direction.FORWARD) * DTYPES[case.dtype]


@lru_cache(maxsize=65536)
def _elements_held(problem: Problem, forward_only: bool) -> int:
    return problem.elements_moved(Direction.FORWARD if forward_only else Direction.TRAIN_STEP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """Cases measured interleaved, as their positions in the sweep."""

    index: int
    positions: tuple[int, ...]


def cohorts(cases: Sequence[Case], *, memory_limit: int, cache_bytes: int = CACHE_BYTES) -> tuple[Cohort, ...]:
    """Share the cases out, in the order of the sweep.

    Cases of one problem differ only in settings whose effect is wanted: they stay together, since only what is
    interleaved is free of drift, even where that makes a cohort larger; memory alone may part them.
    """
    by_problem: dict[Problem, list[int]] = {}
    for position, case in enumerate(cases):
        by_problem.setdefault(case.problem, []).append(position)
    groups: list[list[int]] = [[]]
    held = 0
    for positions in by_problem.values():
        sizes = [memory_bytes(cases[position], cache_bytes) for position in positions]
        too_many = len(groups[-1]) + len(positions) > COHORT_SIZE
        if groups[-1] and (too_many or held + sum(sizes) > memory_limit):
            groups.append([])
            held = 0
        for position, size in zip(positions, sizes, strict=True):
            if groups[-1] and held + size > memory_limit:
                groups.append([])
                held = 0
            groups[-1].append(position)
            held += size
    return tuple(Cohort(index=i, positions=tuple(group)) for i, group in enumerate(groups) if group)


def shuffled(items: Sequence[int], *, seed: int, pass_index: int, cohort: int, round_index: int) -> list[int]:
    """The order of one round: random, and the same again for the same seed."""
    order = list(items)
    random.Random(f"{seed}/{pass_index}/{cohort}/{round_index}").shuffle(order)
    return order
