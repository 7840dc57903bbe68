"""Runs' blocks of the same cases, cut to equal numbers of processes and blocks, and their floors. Pure.

A minimum falls with the number of blocks (measurement.md, fact 5), so that only equal numbers may be compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convbench.measure.estimate import BlockTable, Floats, Integers

Booleans = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessFloors:
    """The process floors of both sides after the cut, (cases, processes), seconds; NaN beyond the processes of a case.

    `processes` and `blocks` count what is left of each case on either side. `near` is the share of those blocks whose
    minimum is within `NEAR` of their side's floor, on the side where they are fewer.
    """

    base: Floats
    new: Floats
    processes: Integers
    blocks: Integers
    near: Floats


#: A block within this ratio of its side's floor would have given the floor to all the precision that a comparison asks
#: for: a process is said to be quiet where one of its blocks is.
NEAR = 0.04


def process_floors(base: BlockTable, new: BlockTable) -> ProcessFloors:
    """The process floors of both sides, whose tables hold the same cases in the same order.

    The first processes that both sides have are paired in their order, and of each two the first rounds that both have.
    """
    sides = [_Visits.of(base), _Visits.of(new)]
    width = min(side.counts.shape[1] for side in sides)
    common = np.minimum(sides[0].counts[:, :width], sides[1].counts[:, :width])
    kept = [side.kept(common) for side in sides]
    floors = [side.floors(some, common.shape) for side, some in zip(sides, kept, strict=True)]
    blocks = common.sum(axis=1)
    near = [side.near(some, _lowest(floor)) for side, some, floor in zip(sides, kept, floors, strict=True)]
    with np.errstate(invalid="ignore"):
        share = np.minimum(*near) / blocks
    return ProcessFloors(base=floors[0], new=floors[1], processes=(common > 0).sum(axis=1), blocks=blocks, near=share)


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualFloors:
    """The floors of one case in several runs, seconds; NaN where a run has no block.

    Those of runs that are `alike` are over equal numbers: so many `processes`, and `blocks` blocks in all. The others
    have too few blocks to be held against them; their floors are over what they have.
    """

    floor_s: Floats
    alike: Booleans
    processes: int
    blocks: int


#: Runs with under this share of the median run's blocks are left aside: all others would have to be cut to their few.
FEWEST_OF_MEDIAN = 0.5


def equal_floors(blocks: BlockTable) -> EqualFloors:
    """The floors of one case in several runs, which are the table's entries."""
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
    """The blocks of one side by visit (one process of one case), in the order of cases, processes and rounds.

    `counts` has the blocks of each visit, (cases, most processes of any), 0 where there is none.
    """

    minimum: Floats
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
        if np.any(place[1:] < place[:-1]):
            order = np.argsort(place, kind="stable")
            visit, minimum = visit[order], minimum[order]
        starts = np.flatnonzero(np.diff(visit, prepend=-1))
        case = visit[starts] // (process_index.max(initial=0) + 1)
        rank = np.arange(len(starts)) - np.searchsorted(case, case)
        counts = np.zeros((len(blocks.offsets) - 1, int(rank.max(initial=-1)) + 1), dtype=np.int64)
        counts[case, rank] = np.diff(starts, append=len(minimum))
        return cls(minimum=minimum, starts=starts, case=case, rank=rank, counts=counts)

    @property
    def sizes(self) -> Integers:
        """The blocks of each visit."""
        return np.diff(self.starts, append=len(self.minimum))

    def kept(self, common: Integers) -> Booleans:
        """Whether each block is among the first that `common`, (cases, processes), leaves of its visit."""
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
            told = (self.rank < shape[1]) & np.isfinite(lowest)
            floors[self.case[told], self.rank[told]] = lowest[told]
        return floors

    def near(self, kept: Booleans, floor: Floats) -> Integers:
        """How many blocks of each case are within `NEAR` of its floor, among those that are `kept`."""
        if not len(self.starts):
            return np.zeros(len(floor), dtype=np.int64)
        near = kept & (self.minimum <= np.repeat(floor[self.case] * (1 + NEAR), self.sizes))
        of_visit = np.add.reduceat(near, self.starts, dtype=np.int64)
        return np.bincount(self.case, weights=of_visit, minlength=len(floor)).astype(np.int64)
