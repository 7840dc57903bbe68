"""Matched pairs: cases of one run that differ in one setting alone, and by how much they differ.

A pair may differ in any column of the frame that is a setting. The findings choose which pairs to report.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from convbench.measure.estimate import BlockTable
from convbench.model.case import SETTINGS

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]

#: The spread assumed for a case that only one process measured. Floors of one process repeat within 0.4-6 % in 95 of
#: 100 pairs of runs; this is a little more.
ONE_PROCESS_SPREAD = 0.10

#: Statuses whose times may be compared: a wrong layer is never ranked.
RANKED = "passed"

#: Pairs whose blocks are compared at once: 2**16 pairs of 25 blocks take 13 MB.
AT_ONCE = 2**16
#: Numbers of groups stay below this, so that another setting does not overflow 64 bits.
MOST_GROUPS = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedPairs:
    """Pairs of cases, as positions in `Matched.table`, and how they compare over the rounds that both have.

    `ratio` is the time (or time per FLOP) of other over base. `noise` is the largest spread of either side: that over
    all its processes, or that over the common rounds.
    """

    base: Integers
    other: Integers
    ratio: Floats
    noise: Floats

    def __len__(self) -> int:
        return len(self.ratio)

    def only(self, some: Mask | Integers) -> MatchedPairs:
        """Some of the pairs."""
        return MatchedPairs(
            base=self.base[some], other=self.other[some], ratio=self.ratio[some], noise=self.noise[some]
        )

    def slower(self, least: float = 1.0) -> Mask:
        """Where the other side takes at least `least` times as long, by more than noise."""
        return (self.ratio > 1 + self.noise) & (self.ratio >= least)

    def faster(self, least: float = 1.0) -> Mask:
        """Where the base takes at least `least` times as long, by more than noise."""
        return (self.ratio * (1 + self.noise) < 1) & (self.ratio * least <= 1)


class RoundMinima:
    """The block minima of every case by process and round.

    A minimum falls with the number of blocks, so only equal numbers may be compared. Two cases are compared over the
    rounds that both have.
    """

    def __init__(self, blocks: BlockTable) -> None:
        cases = len(blocks.offsets) - 1
        processes, rounds = (blocks.column(name).astype(np.int64) for name in ("process_index", "round_index"))
        most = int(rounds.max()) + 1 if len(rounds) else 1
        present, place = np.unique(processes * most + rounds, return_inverse=True)
        self._minimum = np.full((cases, len(present)), np.inf, dtype=np.float32)
        self._minimum[blocks.cases, place] = blocks.column("minimum_s")
        self._starts = np.flatnonzero(np.diff(present // most, prepend=-1))

    def floors(self, first: Integers, second: Integers) -> tuple[Floats, Floats, Floats]:
        """For pairs of cases, given as positions: the floor of each side and the larger spread of both.

        They are over the rounds that both have; NaN where a pair has none. Where one process has all these rounds, its
        two lowest blocks replace two processes, and the spread is at least `ONE_PROCESS_SPREAD`.
        """
        found = np.full((3, len(first)), np.nan)
        if not self._minimum.shape[1]:
            return found[0], found[1], found[2]
        for start in range(0, len(first), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            a, b = self._minimum[first[part]], self._minimum[second[part]]
            apart = ~(np.isfinite(a) & np.isfinite(b))
            for row, side in enumerate((a, b)):
                side[apart] = np.inf
                by_process = np.minimum.reduceat(side, self._starts, axis=1).astype(np.float64)
                low = by_process.min(axis=1)
                low[np.isinf(low)] = np.nan
                high = np.where(np.isfinite(by_process), by_process, 0).max(axis=1)
                with np.errstate(divide="ignore", invalid="ignore"):
                    spread = high / low - 1
                one = np.flatnonzero(np.isfinite(by_process).sum(axis=1) == 1)
                if len(one):
                    spread[one] = np.maximum(_two_lowest(side[one]), ONE_PROCESS_SPREAD)
                found[row, part] = low
                found[2, part] = np.fmax(found[2, part], spread)
        return found[0], found[1], found[2]


def _two_lowest(minima: NDArray[np.float32]) -> Floats:
    """The second lowest block over the lowest, minus 1; 0 where there is one block."""
    if minima.shape[1] < 2:
        return np.zeros(len(minima))
    lowest = np.partition(minima, 1, axis=1)[:, :2].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = lowest[:, 1] / lowest[:, 0] - 1
    return np.where(np.isfinite(apart), apart, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """Cases that can be compared, and numbers for the values of their settings.

    `table` has a row per ranked case, in the frame's order. `codes` has the same rows and a column per setting, with
    the position of its value in `values`, where an absent value is None. Row i of the table is row `positions[i]` of
    the frame.
    """

    table: pd.DataFrame
    codes: pd.DataFrame
    values: dict[str, list[object]]
    positions: Integers

    def swept(self) -> tuple[str, ...]:
        """The settings with more than one value."""
        return tuple(axis for axis, values in self.values.items() if len(values) > 1)

    def groups(self, apart: Iterable[str]) -> Integers:
        """A number for each row, equal for rows that agree in every setting except those of `apart`."""
        left_out = set(apart)
        key, size = np.zeros(len(self.codes), dtype=np.int64), 1
        for name in self.swept():
            if name not in left_out:
                key = key * len(self.values[name]) + self.codes[name].to_numpy()
                size *= len(self.values[name])
                if size >= MOST_GROUPS:
                    distinct, key = np.unique(key, return_inverse=True)
                    size = len(distinct)
        return key

    def sides(self, axis: str) -> tuple[Integers, Integers]:
        """(positions, groups) of the cases to be paired along an axis, sorted by group, then by the order of the table.

        One thread by choice and one thread by default are the same point; the first of them counts.
        """
        key = self.groups((axis,))
        code = self.codes[axis].to_numpy()
        order = np.lexsort((np.arange(len(key)), code, key))
        group, value = key[order], code[order]
        first = np.ones(len(order), dtype=bool)
        first[1:] = (np.diff(group) != 0) | (np.diff(value) != 0)
        return order[first], group[first]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparer:
    """Compares matched cases by their blocks. Row i of the table of `pairs` is row `rows[i]` of `rounds`."""

    pairs: Matched
    rounds: RoundMinima
    rows: Integers

    def compare(self, base: Integers, other: Integers, *, per_flop: bool = False) -> MatchedPairs:
        """The comparison of each pair; pairs without a round in common are left out."""
        floor_a, floor_b, common = self.rounds.floors(self.rows[base], self.rows[other])
        spread = self.pairs.table["spread"].to_numpy(dtype=float)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            ratio = floor_b / floor_a
            if per_flop:
                flops = self.pairs.table["flops"].to_numpy(dtype=float, na_value=np.nan)
                ratio *= flops[base] / flops[other]
            noise = np.fmax(common, np.fmax(spread[base], spread[other]))
        known = np.isfinite(ratio) & (ratio > 0)
        return MatchedPairs(base=base[known], other=other[known], ratio=ratio[known], noise=noise[known])

    def against(self, axis: str, base: object, *, per_flop: bool = False) -> list[tuple[object, MatchedPairs]]:
        """The pairs that differ in `axis` alone, one side with the value `base`, for each other value.

        Values without a pair are left out. The others come in the order of `Matched.values`.
        """
        position, group = self.pairs.sides(axis)
        value = self.pairs.codes[axis].to_numpy()[position]
        is_base = value == self.pairs.values[axis].index(base)
        groups, bases = group[is_base], position[is_base]
        at = np.searchsorted(groups, group)
        at[at == len(groups)] = 0
        paired = ~is_base & (groups[at] == group) if len(groups) else np.zeros(len(group), dtype=bool)
        found = self.compare(bases[at[paired]], position[paired], per_flop=per_flop) if paired.any() else None
        if found is None or not len(found):
            return []
        codes = self.pairs.codes[axis].to_numpy()[found.other]
        order = np.argsort(codes, kind="stable")
        distinct, starts = np.unique(codes[order], return_index=True)
        parts = np.split(order, starts[1:])
        return [(self.pairs.values[axis][c], found.only(part)) for c, part in zip(distinct, parts, strict=True)]


def matched(frame: pd.DataFrame) -> Matched:
    """The ranked cases of a frame, ready to be paired."""
    ranked = (frame["status"] == RANKED).fillna(False).to_numpy(dtype=bool) & (frame["floor_s"] > 0).to_numpy()
    table = frame[ranked].reset_index(drop=True)
    factors = {axis: pd.factorize(table[axis], use_na_sentinel=False) for axis in SETTINGS}
    return Matched(
        table=table,
        codes=pd.DataFrame({axis: codes for axis, (codes, _) in factors.items()}),
        values={axis: [None if pd.isna(value) else value for value in values] for axis, (_, values) in factors.items()},
        positions=np.flatnonzero(ranked),
    )
