"""Reduces the blocks of several runs to equal numbers of processes and blocks, and computes their times. Pure.

A minimum falls with the number of blocks (docs/measurement.md), so only times over equal numbers are compared. A time
is the leading one: the floor, or the median on a device (model/lead.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convbench.measure.estimate import BlockTable, Booleans, Floats, Integers, is_near, leading_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessTimes:
    """The times of both sides over equal numbers of blocks, in seconds; NaN where missing.

    `base` and `new` are those of the processes, (cases, processes), `base_s` and `new_s` those of the cases.
    `by_median` says whose median leads. `processes` and `blocks` count what is used of each case per side. `near` is
    the share of blocks within `NEAR` of their side's time, on the side with fewer of them. `used` says of each block of
    either table whether it is used.
    """

    base: Floats
    new: Floats
    base_s: Floats
    new_s: Floats
    by_median: Booleans
    processes: Integers
    blocks: Integers
    near: Floats
    used: tuple[Booleans, Booleans]


#: A block within this ratio of its side's time estimates that time well enough for a comparison. A process with such a
#: block is called quiet.
NEAR = 0.04


def process_times(base: BlockTable, new: BlockTable) -> ProcessTimes:
    """The times of both sides, whose tables hold the same cases in the same order.

    Processes are paired in their order, as many as both sides have. Of each pair the first rounds that both have count.
    """
    sides = [_Visits.of(base), _Visits.of(new)]
    width = min(side.counts.shape[1] for side in sides)
    common = np.minimum(sides[0].counts[:, :width], sides[1].counts[:, :width])
    kept = [side.kept(common) for side in sides]
    of_processes = [side.of_processes(some, common.shape) for side, some in zip(sides, kept, strict=True)]
    of_cases = [side.of_cases(some) for side, some in zip(sides, kept, strict=True)]
    used = sides[0].in_table_order(kept[0]), sides[1].in_table_order(kept[1])
    blocks = common.sum(axis=1)
    near = [side.near(some, time_s) for side, some, time_s in zip(sides, kept, of_cases, strict=True)]
    with np.errstate(invalid="ignore"):
        share = np.minimum(*near) / blocks
    return ProcessTimes(
        base=of_processes[0],
        new=of_processes[1],
        base_s=of_cases[0],
        new_s=of_cases[1],
        by_median=new.by_median,
        processes=(common > 0).sum(axis=1),
        blocks=blocks,
        near=share,
        used=used,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualTimes:
    """The times of one case in several runs, seconds; NaN where a run has no block.

    The times of runs that are `alike` use equal numbers: `processes` processes with `blocks` blocks in all. The other
    runs have too few blocks to be comparable; their times use all their blocks.
    """

    time_s: Floats
    alike: Booleans
    processes: int
    blocks: int


#: A run with a smaller share of the median run's blocks is not `alike`: it would reduce the blocks used of all others.
FEWEST_OF_MEDIAN = 0.5


def equal_times(blocks: BlockTable) -> EqualTimes:
    """The times of one case in several runs; the table has one entry per run."""
    visits = _Visits.of(blocks)
    total = visits.counts.sum(axis=1)
    measured = total > 0
    if not measured.any():
        return EqualTimes(time_s=np.full(len(total), np.nan), alike=measured, processes=0, blocks=0)
    alike = measured & (total >= FEWEST_OF_MEDIAN * np.median(total[measured]))
    common = visits.counts[alike].min(axis=0)
    allowed = np.where(alike[:, np.newaxis], common, visits.counts)
    times = visits.of_cases(visits.kept(allowed))
    return EqualTimes(
        time_s=np.where(measured, times, np.nan),
        alike=alike,
        processes=int((common > 0).sum()),
        blocks=int(common.sum()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Visits:
    """The blocks of one side by visit (one case in one process), ordered by case, process and round.

    `counts` is the number of blocks of each visit, (cases, maximum number of processes), 0 without a visit.
    """

    leading: Floats  # of the blocks, in their order
    by_median: Booleans  # of each case
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
        leading = blocks.leading
        order = np.arange(len(place))
        if np.any(place[1:] < place[:-1]):
            order = np.argsort(place, kind="stable")
            visit, leading = visit[order], leading[order]
        starts = np.flatnonzero(np.diff(visit, prepend=-1))
        case = visit[starts] // (process_index.max(initial=0) + 1)
        rank = np.arange(len(starts)) - np.searchsorted(case, case)
        counts = np.zeros((len(blocks.offsets) - 1, int(rank.max(initial=-1)) + 1), dtype=np.int64)
        counts[case, rank] = np.diff(starts, append=len(leading))
        return cls(
            leading=leading,
            by_median=blocks.by_median,
            order=order,
            starts=starts,
            case=case,
            rank=rank,
            counts=counts,
        )

    @property
    def sizes(self) -> Integers:
        """The blocks of each visit."""
        return np.diff(self.starts, append=len(self.leading))

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
            return np.ones(len(self.leading), dtype=bool)
        at = np.arange(len(self.leading)) - np.repeat(self.starts, self.sizes)
        kept: Booleans = at < np.repeat(allowed, self.sizes)
        return kept

    def of_processes(self, kept: Booleans, shape: tuple[int, ...]) -> Floats:
        """The leading time of each process, (cases, processes), over the blocks that are `kept`."""
        visit, times = self._times(kept, np.arange(len(self.starts)))
        found = np.full(shape, np.nan)
        found[self.case[visit], self.rank[visit]] = times
        return found

    def of_cases(self, kept: Booleans) -> Floats:
        """The leading time of each case, (cases,), over the blocks that are `kept`."""
        case, times = self._times(kept, self.case)
        found = np.full(len(self.counts), np.nan)
        found[case] = times
        return found

    def _times(self, kept: Booleans, group: Integers) -> tuple[Integers, Floats]:
        """The groups of visits that have a `kept` block, and their leading times; `group` is ascending."""
        of_block = np.repeat(group, self.sizes)[kept]
        case = np.repeat(self.case, self.sizes)[kept]
        starts = np.flatnonzero(np.diff(of_block, prepend=-1))
        return of_block[starts], leading_of(self.leading[kept], starts, self.by_median[case[starts]])

    def near(self, kept: Booleans, time_s: Floats) -> Integers:
        """The number of `kept` blocks of each case that are within `NEAR` of its time."""
        case = np.repeat(self.case, self.sizes)
        near = kept & is_near(self.leading, time_s[case], NEAR)
        return np.bincount(case[near], minlength=len(time_s)).astype(np.int64)
