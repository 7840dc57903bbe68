"""Computes figures from blocks: leading time, floor, typical, spread, support and noise. Pure, for many cases at once.

docs/measurement.md defines the terms, and model/lead.py says which time leads. No figure depends on the order of the
blocks. All blocks are rows of one table, and a case is a group of rows. So 100,000 cases take a few operations on
arrays.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convbench.model.lead import Lead, lead_of
from convbench.model.result import BLOCK_FACTS, BLOCK_LAYOUTS, LAYOUT, NAN, Result

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

#: A block supports the leading time when its own is within this ratio of it (docs/measurement.md).
SUPPORT_RATIO = 0.03

#: The facts of a block that are shown of the median one, in the order that decides between equal medians, last first.
_SHOWN = sorted(name for name, row in BLOCK_FACTS.items() if row.heading)
_COLUMN = {name: position for position, name in enumerate(BLOCK_LAYOUTS[LAYOUT])}
_ITEM = np.dtype("<f4")


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockTable:
    """The blocks of many cases in one table.

    `values` is (blocks, columns of the newest layout), float32. The rows of case i are offsets[i] to offsets[i + 1].
    `by_median` says of each case whether its median leads, else its floor does.
    """

    values: NDArray[np.float32]
    offsets: Integers
    by_median: Booleans

    def column(self, name: str) -> Floats:
        """One field of every block, (blocks,)."""
        return self.values[:, _COLUMN[name]].astype(np.float64)

    def integers(self, name: str) -> Integers:
        """One integer field of every block, (blocks,)."""
        return self.values[:, _COLUMN[name]].astype(np.int64)

    @property
    def leading(self) -> Floats:
        """The leading time of every block, in seconds (blocks,): its minimum, or its median where that leads."""
        found = self.column(Lead.FLOOR.column)
        if self.by_median.any():
            found = np.where(self.by_median[self.cases], self.column(Lead.MEDIAN.column), found)
        return found

    @property
    def counts(self) -> Integers:
        """Blocks of each case, (cases,)."""
        return np.diff(self.offsets)

    @property
    def cases(self) -> Integers:
        """The position of the case that each block belongs to, (blocks,)."""
        return np.repeat(np.arange(len(self.offsets) - 1), self.counts)


def table(results: Iterable[Result | None], kind: str = "blocks") -> BlockTable:
    """The blocks of each result, none for None; `kind` is one of the fields in `PACKED`.

    Raises ValueError for an unknown layout or a torn row.
    """
    held = [(getattr(result, kind), lead_of(result.case.device)) if result else ((), Lead.FLOOR) for result in results]
    return table_of([parts for parts, _ in held], [lead for _, lead in held])


def table_of(cases: Iterable[Iterable[tuple[int, bytes]]], leads: Sequence[Lead]) -> BlockTable:
    """The blocks of each case, given as (layout, packed) parts as in `Result.blocks`, and its leading figure."""
    held = [*map(tuple, cases)]
    parts = [
        packed if layout == LAYOUT else _in_newest_layout(packed, layout)
        for layout, packed in itertools.chain.from_iterable(held)
    ]
    ends = np.cumsum([0, *map(len, parts)], dtype=np.int64)
    offsets = ends[np.cumsum([0, *map(len, held)], dtype=np.int64)]
    row = len(_COLUMN) * _ITEM.itemsize
    if np.any(offsets % row):
        raise ValueError(f"the blocks of a case are not a whole number of rows of {row} bytes")
    values = np.frombuffer(b"".join(parts), dtype=_ITEM).reshape(-1, len(_COLUMN))
    by_median = np.fromiter((lead is Lead.MEDIAN for lead in leads), dtype=bool, count=len(held))
    return BlockTable(values=values, offsets=offsets // row, by_median=by_median)


def _in_newest_layout(packed: bytes, layout: int) -> bytes:
    """Rows of an older layout in the newest layout; fields that it lacks are NaN."""
    if layout not in BLOCK_LAYOUTS:
        raise ValueError(f"unknown block layout {layout}, this convbench knows {sorted(BLOCK_LAYOUTS)}")
    names = BLOCK_LAYOUTS[layout]
    old = np.frombuffer(packed, dtype=_ITEM).reshape(-1, len(names))
    new = np.full((len(old), len(_COLUMN)), NAN, dtype=_ITEM)
    for position, name in enumerate(names):
        if name in _COLUMN:
            new[:, _COLUMN[name]] = old[:, position]
    return new.tobytes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimates:
    """The figures of many cases, one element per case. Times are seconds per iteration; NaN without a block.

    Cases are ranked by `time_s`: the floor, or on a device the median. `spread` and `support` are of the same figure.
    """

    time_s: Floats  # the leading time
    floor_s: Floats  # lowest block minimum over all processes
    typical_s: Floats  # median of the block medians
    spread: Floats  # highest leading time of a process over the lowest, minus 1; NaN with fewer than two processes
    support: Floats  # share of blocks whose leading time is within 3 % of the case's
    processes: Integers
    blocks: Integers
    samples: Integers
    #: facts with a column, of the block whose median is the median of all (the lower of the middle two).
    median_block: Mapping[str, Floats]


def estimate(blocks: BlockTable) -> Estimates:
    """The figures of every case of the table, in its order."""
    total = len(blocks.offsets) - 1
    counts = blocks.counts
    filled = np.flatnonzero(counts)
    starts = blocks.offsets[:-1][filled]
    owner = blocks.cases
    floor = _spread_out(_reduce(np.minimum, blocks.column("minimum_s"), starts), filled, total)
    samples = _spread_out(_reduce(np.add, blocks.column("samples"), starts), filled, total, empty=0)
    leading = blocks.leading
    processes, spread = _over_processes(blocks, owner, leading, total)

    median = blocks.column("median_s")
    # Equal medians are sorted by the other figures, so that the result does not depend on the order of blocks.
    order = np.lexsort((*(blocks.column(name) for name in _SHOWN), median, owner))
    lower = order[starts + (counts[filled] - 1) // 2]
    upper = order[starts + counts[filled] // 2]
    typical = _spread_out((median[lower] + median[upper]) / 2, filled, total)
    time = np.where(blocks.by_median, typical, floor)
    support = _spread_out(
        _reduce(np.add, is_near(leading, time[owner], SUPPORT_RATIO).astype(np.float64), starts) / counts[filled],
        filled,
        total,
    )

    return Estimates(
        time_s=time,
        floor_s=floor,
        typical_s=typical,
        spread=spread,
        support=support,
        processes=processes,
        blocks=counts,
        samples=samples.astype(np.int64),
        median_block={name: _spread_out(blocks.values[lower, _COLUMN[name]], filled, total) for name in _SHOWN},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Blocks of each case's companion, and those of the case in the same rounds of the same process.

    Times are seconds per iteration, over equal numbers of blocks. NaN for a case without a companion.
    """

    time_s: Floats  # of the companion
    own_s: Floats  # the case's own
    own_highest_s: Floats  # that of the case's slowest block


def beside(blocks: BlockTable, companions: BlockTable) -> Beside:
    """The leading times of each case's companion and of the case itself, over the same rounds of the same process."""
    total, counts = len(companions.offsets) - 1, companions.counts
    tried = np.flatnonzero(counts)
    if not len(tried):
        return Beside(time_s=np.full(total, NAN), own_s=np.full(total, NAN), own_highest_s=np.full(total, NAN))
    starts = companions.offsets[:-1][tried]
    process_index = _spread_out(companions.values[starts, _COLUMN["process_index"]], tried, total)
    owner = blocks.cases
    same = (blocks.column("process_index") == process_index[owner]) & (blocks.column("round_index") < counts[owner])
    own, own_starts = blocks.leading[same], np.flatnonzero(np.diff(owner[same], prepend=-1))
    filled = owner[same][own_starts]
    return Beside(
        time_s=_spread_out(leading_of(companions.leading, starts, companions.by_median[tried]), tried, total),
        own_s=_spread_out(leading_of(own, own_starts, blocks.by_median[filled]), filled, total),
        own_highest_s=_spread_out(_reduce(np.maximum, own, own_starts), filled, total),
    )


def _over_processes(blocks: BlockTable, owner: Integers, leading: Floats, total: int) -> tuple[Integers, Floats]:
    """The number of processes of each case, and the spread of their leading times."""
    if not len(leading):
        return np.zeros(total, dtype=np.int64), np.full(total, NAN)
    index = blocks.column("process_index").astype(np.int64)
    key = owner * (int(index.max()) + 1) + index
    order = np.argsort(key, kind="stable")
    key, leading, owner = key[order], leading[order], owner[order]
    first = np.flatnonzero(np.diff(key, prepend=-1))
    of_process, process_owner = leading_of(leading, first, blocks.by_median[owner[first]]), owner[first]
    filled, starts, processes = np.unique(process_owner, return_index=True, return_counts=True)
    highest = np.maximum.reduceat(of_process, starts)
    lowest = np.minimum.reduceat(of_process, starts)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # a time of 0 seconds has no spread
        spread = np.where((processes > 1) & (lowest > 0), highest / lowest - 1, NAN)
    return _spread_out(processes, filled, total, empty=0).astype(np.int64), _spread_out(spread, filled, total)


def leading_of(values: Floats, starts: Integers, by_median: Booleans) -> Floats:
    """The leading time of each group of consecutive values: the lowest, or the median of groups that are `by_median`.

    `starts` are the groups' first positions; no group is empty.
    """
    found = _reduce(np.minimum, values, starts)
    some = np.flatnonzero(by_median)
    if len(some):
        sizes = np.diff(starts, append=len(values))
        owner = np.repeat(np.arange(len(starts)), sizes)
        ranked = values[np.lexsort((values, owner))]
        lower, upper = (starts[some] + (sizes[some] - 1 + more) // 2 for more in (0, 1))
        found[some] = (ranked[lower] + ranked[upper]) / 2
    return found


def leading_along(values: Floats, by_median: Booleans) -> Floats:
    """The leading time of each row over its last axis, without NaN; NaN for a row of nothing else.

    `by_median` has an element for each position on the first axis.
    """
    known = np.isfinite(values)
    low: Floats = np.min(values, axis=-1, initial=np.inf, where=known)
    found = np.where(np.isfinite(low), low, NAN)
    if by_median.any():
        found[by_median] = median_along(values[by_median])
    return found


def median_along(values: Floats) -> Floats:
    """The median of each row over its finite values; NaN where it has none."""
    if not values.shape[-1]:
        return np.full(values.shape[:-1], NAN)
    ordered = np.sort(np.where(np.isfinite(values), values, NAN), axis=-1)  # NaN last
    known = np.isfinite(ordered).sum(axis=-1)
    last = np.maximum(known - 1, 0)
    low, high = (
        np.take_along_axis(ordered, at[..., np.newaxis], axis=-1)[..., 0] for at in (last // 2, (last + 1) // 2)
    )
    return np.where(known > 0, (low + high) / 2, NAN)


def is_near(values: Floats, time: Floats, ratio: float) -> Booleans:
    """Whether each value is within this ratio minus 1 of a time, above or below."""
    return (values <= time * (1 + ratio)) & (values * (1 + ratio) >= time)


def _reduce(function: np.ufunc, values: Floats, starts: Integers) -> Floats:
    """`function` over each group; reduceat fails on an empty array."""
    reduced: Floats = function.reduceat(values, starts) if len(starts) else values[:0]
    return reduced


def _spread_out(values: NDArray[np.generic], positions: Integers, total: int, *, empty: float = NAN) -> Floats:
    """`values` at `positions` of an array of `total` elements, `empty` elsewhere."""
    result = np.full(total, empty, dtype=np.float64)
    result[positions] = values
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttled:
    """What lowered clocks of devices cost, one element per case; NaN where no block says whether its clock was lowered.

    `share` is the share of such blocks. `cost` is their leading time over that of the case's other blocks, minus 1. It
    is NaN where all blocks are alike.
    """

    share: Floats
    cost: Floats


def throttled(blocks: BlockTable) -> Throttled:
    """The blocks whose device lowered its clock, and what that cost."""
    total, flag = len(blocks.offsets) - 1, blocks.column("throttled")
    owner, leading = blocks.cases, blocks.leading
    known = np.bincount(owner[np.isfinite(flag)], minlength=total)
    slow = np.bincount(owner[flag == 1], minlength=total)

    def time(some: Booleans) -> Floats:
        starts = np.flatnonzero(np.diff(owner[some], prepend=-1))
        filled = owner[some][starts]
        return _spread_out(leading_of(leading[some], starts, blocks.by_median[filled]), filled, total)

    with np.errstate(divide="ignore", invalid="ignore"):
        return Throttled(share=slow / np.where(known > 0, known, NAN), cost=time(flag == 1) / time(flag == 0) - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """The machine's noise, from the compute probe that ran before each block; NaN without a probe.

    Each probe's time is divided by the lowest of its client, which ran the same work with the same settings. `ratio` is
    the median quotient of the run, `quiet` the share of at most 1.05, `of_case` the median of each case.
    """

    ratio: float
    quiet: float
    probes: int
    of_case: Floats


#: A probe is quiet if its time is within this ratio of its floor. It took 324 us when quiet, 345-410 us when not.
QUIET_RATIO = 0.05


def noise(blocks: BlockTable, pool: Sequence[Hashable]) -> Noise:
    """The machine's noise; `pool` identifies for each case the settings of its worker."""
    numbers: dict[Hashable, int] = {}
    client = np.array([numbers.setdefault(name, len(numbers)) for name in pool], dtype=np.int64)
    probe = blocks.column("compute_probe_s")
    ran = np.isfinite(probe) & (probe > 0)
    owner, probe = blocks.cases[ran], probe[ran]
    of_case = np.full(len(pool), NAN)
    if not len(probe):
        return Noise(ratio=NAN, quiet=NAN, probes=0, of_case=of_case)
    lowest = np.full(len(numbers), math.inf)
    np.minimum.at(lowest, client[owner], probe)
    ratios = probe / lowest[client[owner]]
    order = np.lexsort((ratios, owner))
    filled, starts, counts = np.unique(owner, return_index=True, return_counts=True)
    lower, upper = ratios[order[starts + (counts - 1) // 2]], ratios[order[starts + counts // 2]]
    of_case[filled] = (lower + upper) / 2
    return Noise(
        ratio=float(np.median(ratios)),
        quiet=float(np.mean(ratios <= 1 + QUIET_RATIO)),
        probes=len(ratios),
        of_case=of_case,
    )
