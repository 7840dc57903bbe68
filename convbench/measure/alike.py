"""Reduces the blocks of several runs to equal numbers of processes and blocks, and computes their floors. Pure.

A minimum falls with the number of blocks (docs/measurement.md), so only floors of equal numbers are compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convbench.measure.estimate import BlockTable, Floats, Integers

Booleans = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessFloors:
    """The process floors of both sides over equal numbers of blocks, (cases, processes), seconds; NaN where missing.

    `processes` and `blocks` count what is used of each case per side. `near` is the share of blocks whose minimum is
    within `NEAR` of their side's floor, on the side with fewer of them. `used` says of each block of either table
    whether it is used.
    """

    base: Floats
    new: Floats
    processes: Integers
    blocks: Integers
    near: Floats
    used: tuple[Booleans, Booleans]


#: A block whose minimum is within this ratio of its side's floor estimates the floor well enough for a comparison. A
#: process with such a block is called quiet.
NEAR = 0.04


def process_floors(base: BlockTable, new: BlockTable) -> ProcessFloors:
    """The process floors of both sides, whose tables hold the same cases in the same order.

    Processes are paired in their order, as many as both sides have. Of each pair the first rounds that both have count.
    """
    sides = [_Visits.of(base), _Visits.of(new)]
    width = min(side.counts.shape[1] for side in sides)
    common = np.minimum(sides[0].counts[:, :width], sides[1].counts[:, :width])
    kept = [side.kept(common) for side in sides]
    floors = [side.floors(some, common.shape) for side, some in zip(sides, kept, strict=True)]
    used = sides[0].in_table_order(kept[0]), sides[1].in_table_order(kept[1])
    blocks = common.sum(axis=1)
    near = [side.near(some, _lowest(floor)) for side, some, floor in zip(sides, kept, floors, strict=True)]
    with np.errstate(invalid="ignore"):
        share = np.minimum(*near) / blocks
    return ProcessFloors(
        base=floors[0], new=floors[1], processes=(common > 0).sum(axis=1), blocks=blocks, near=share, used=used
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualFloors:
    """The floors of one case in several runs, seconds; NaN where a run has no block.

    The floors of runs that are `alike` use equal numbers: `processes` processes with `blocks` blocks in all. The other
    runs have too few blocks to be comparable; their floors use all their blocks.
    """

    floor_s: Floats
    alike: Booleans
    processes: int
    blocks: int


#: A run with a smaller share of the median run's blocks is not `alike`: it would reduce the blocks used of all others.
FEWEST_OF_MEDIAN = 0.5


def equal_floors(blocks: BlockTable) -> EqualFloors:
    """The floors of one case in several runs; the table has one entry per run."""
    visits = _Visits.of(blocks)
    total = visits.counts.sum(axis=1)
    measured = total > 0
    if not measured.any():
        return EqualFloors(floor_s=np.full(len(total), np.nan), alike=measured, processes=0, blocks=0)
    alike = measured & (total >= FEWEST_OF_MEDIAN * np.median(total[measured]))
    common = visits.counts[alike].min(axis=0)
    allowed = np.where(alike[:, np.newaxis], common, visits.counts)
    lowest = _lowest(visits.floors(visits.kept(allowed), allowed.shape))
    return EqualFloors(
        floor_s=np.where(measured, lowest, np.nan),
        alike=alike,
        processes=int((common > 0).sum()),
        blocks=int(common.sum()),
    )


def _lowest(floors: Floats) -> Floats:
    lowest: Floats = np.min(floors, axis=1, initial=np.inf, where=np.isfinite(floors))
    return lowest


@dataclass(frozen=True, slots=True, kw_only=True)
class _Visits:
    """The blocks of one side by visit (one case in one process), ordered by case, process and round.

    `counts` is the number of blocks of each visit, (cases, maximum number of processes), 0 without a visit.
    """

    minimum: Floats
    order: Integers  # of the blocks, as rows of the table
    starts: Integers  # of each visit among the blocks
    case: Integers  # of each visit
    rank: Integers  # of each visit among those of its case
    counts: Integers

    @classmethod
    def of(cls, blocks: BlockTable) -> _Visits:
        process_index, round_index = blocks.integers("process_index"), blocks.integers("round_index")
        visit = blocks.cases * (process_index.max(initial=0) + 1) + process_index
        place = visit * (round_index.max(initial=0) + 1) + round_index
        minimum = blocks.column("minimum_s")
        order = np.arange(len(place))
        if np.any(place[1:] < place[:-1]):
            order = np.argsort(place, kind="stable")
            visit, minimum = visit[order], minimum[order]
        starts = np.flatnonzero(np.diff(visit, prepend=-1))
        case = visit[starts] // (process_index.max(initial=0) + 1)
        rank = np.arange(len(starts)) - np.searchsorted(case, case)
        counts = np.zeros((len(blocks.offsets) - 1, int(rank.max(initial=-1)) + 1), dtype=np.int64)
        counts[case, rank] = np.diff(starts, append=len(minimum))
        return cls(minimum=minimum, order=order, starts=starts, case=case, rank=rank, counts=counts)

    @property
    def sizes(self) -> Integers:
        """The blocks of each visit."""
        return np.diff(self.starts, append=len(self.minimum))

    def in_table_order(self, kept: Booleans) -> Booleans:
        """The same for the blocks as rows of the table."""
        found = np.empty_like(kept)
        found[self.order] = kept
        return found

    def kept(self, common: Integers) -> Booleans:
        """Whether each block is used: the first `common` blocks of a visit are. `common` is (cases, processes)."""
        within = self.rank < common.shape[1]
        allowed = np.zeros(len(self.starts), dtype=np.int64)
        allowed[within] = common[self.case[within], self.rank[within]]
        if np.array_equal(allowed, self.sizes):
            return np.ones(len(self.minimum), dtype=bool)
        at = np.arange(len(self.minimum)) - np.repeat(self.starts, self.sizes)
        kept: Booleans = at < np.repeat(allowed, self.sizes)
        return kept

    def floors(self, kept: Booleans, shape: tuple[int, ...]) -> Floats:
        """The lowest block minimum of each process, (cases, processes), over the blocks that are `kept`."""
        floors = np.full(shape, np.nan)
        if len(self.starts) and shape[1]:
            lowest = np.minimum.reduceat(np.where(kept, self.minimum, np.inf), self.starts)
            known = (self.rank < shape[1]) & np.isfinite(lowest)
            floors[self.case[known], self.rank[known]] = lowest[known]
        return floors

    def near(self, kept: Booleans, floor: Floats) -> Integers:
        """The number of `kept` blocks of each case that are within `NEAR` of its floor."""
        if not len(self.starts):
            return np.zeros(len(floor), dtype=np.int64)
        near = kept & (self.minimum <= np.repeat(floor[self.case] * (1 + NEAR), self.sizes))
        of_visit = np.add.reduceat(near, self.starts, dtype=np.int64)
        return np.bincount(self.case, weights=of_visit, minlength=len(floor)).astype(np.int64)
