"""Matched pairs: cases of one run that differ in one setting alone, and by how much they differ.

A pair may differ in any column of the frame that is a setting. The findings choose which pairs to report.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from convbench.measure.estimate import BlockTable, median_along
from convbench.model.case import SETTINGS
from convbench.model.threshold import FEWEST_PROCESSES

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]

#: The least noise of a case that fewer than `FEWEST_PROCESSES` measured. Floors of one process repeat within 0.4-6 % in
#: 95 of 100 pairs of runs; this is a little more.
FEW_PROCESSES_SPREAD = 0.10
#: The fewest processes that show any noise: on a busy machine the floor of one was 4.2 times that of another.
LEAST_PROCESSES = 2

#: Statuses whose times may be compared: a wrong layer is never ranked.
RANKED = "passed"

#: Pairs whose blocks are compared at once: 2**16 pairs of 25 blocks take 13 MB.
AT_ONCE = 2**16
_NO_WORDS: Mapping[str, AsWritten] = {}
#: Numbers of groups stay below this, so that another setting does not overflow 64 bits.
MOST_GROUPS = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedPairs:
    """Pairs of cases, as positions in `Matched.table`, and how they compare over the rounds that both have.

    `ratio` is the time (or time per FLOP) of other over base. `noise` is the largest spread of either side: that over
    all its processes, or that over the common rounds. Fewer than `FEWEST_PROCESSES` show too little of the spread. Then
    `with_least_noise` applies. `processes` counts those that timed both sides; where it is one, the noise is infinite.
    """

    base: Integers
    other: Integers
    ratio: Floats
    noise: Floats
    processes: Integers

    def __len__(self) -> int:
        return len(self.ratio)

    def only(self, some: Mask | Integers) -> MatchedPairs:
        """Some of the pairs."""
        return MatchedPairs(
            base=self.base[some],
            other=self.other[some],
            ratio=self.ratio[some],
            noise=self.noise[some],
            processes=self.processes[some],
        )

    @property
    def alone(self) -> Mask:
        """The pairs that prove something by themselves: enough processes timed both sides."""
        return self.processes >= FEWEST_PROCESSES

    def slower(self, least: float = 1.0) -> Mask:
        """Where the other side takes at least `least` times as long, by more than noise."""
        return (self.ratio > 1 + self.noise) & (self.ratio >= least)

    def faster(self, least: float = 1.0) -> Mask:
        """Where the base takes at least `least` times as long, by more than noise."""
        return (self.ratio * (1 + self.noise) < 1) & (self.ratio * least <= 1)


def with_least_noise(spread: Floats, processes: Integers, probe: Floats) -> Floats:
    """The spread of processes, and more where fewer than `FEWEST_PROCESSES` show too little of it.

    Then noise is at least `FEW_PROCESSES_SPREAD`, and at least how much slower the `probe` was than at its fastest.
    """
    least = np.fmax(np.fmax(spread, FEW_PROCESSES_SPREAD), probe - 1)
    return np.where(processes < FEWEST_PROCESSES, least, spread)


def unknown_of_one(noise: Floats, processes: Integers) -> Floats:
    """The noise, infinite where fewer than `LEAST_PROCESSES` measured: nothing shows how slow one was as a whole."""
    return np.where(processes < LEAST_PROCESSES, np.inf, noise)


class RoundTimes:
    """The leading times of the blocks of every case by process and round.

    A minimum falls with the number of blocks, so only equal numbers may be compared. Two cases are compared over the
    rounds that both have, each by its own leading figure.
    """

    def __init__(self, blocks: BlockTable) -> None:
        cases = len(blocks.offsets) - 1
        processes, rounds = (blocks.column(name).astype(np.int64) for name in ("process_index", "round_index"))
        most = int(rounds.max()) + 1 if len(rounds) else 1
        present, place = np.unique(processes * most + rounds, return_inverse=True)
        self._leading = np.full((cases, len(present)), np.inf, dtype=np.float32)
        self._leading[blocks.cases, place] = blocks.leading
        self._by_median = blocks.by_median
        self._starts = np.flatnonzero(np.diff(present // most, prepend=-1))

    def times(self, first: Integers, second: Integers) -> tuple[Floats, Floats, Floats, Integers]:
        """For pairs of cases, given as positions: each side's time, the larger spread of both, and the processes.

        They are over the rounds that both have; NaN where a pair has none.
        """
        found, processes = np.full((3, len(first)), np.nan), np.zeros(len(first), dtype=np.int64)
        if not self._leading.shape[1]:
            return found[0], found[1], found[2], processes
        for start in range(0, len(first), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            places = (first[part], second[part])
            sides = [self._leading[some] for some in places]
            apart = ~(np.isfinite(sides[0]) & np.isfinite(sides[1]))
            for row, (some, side) in enumerate(zip(places, sides, strict=True)):
                side[apart] = np.inf
                by_process = np.minimum.reduceat(side, self._starts, axis=1).astype(np.float64)
                time = by_process.min(axis=1)
                by_median = self._by_median[some]
                if by_median.any():
                    blocks = side[by_median].astype(np.float64)
                    by_process[by_median] = self._medians(blocks)
                    time[by_median] = median_along(blocks)
                time[np.isinf(time)] = np.nan
                processes[part] = np.isfinite(by_process).sum(axis=1)
                found[row, part] = time
                found[2, part] = np.fmax(found[2, part], _range(by_process))
        return found[0], found[1], found[2], processes

    def _medians(self, blocks: Floats) -> Floats:
        """The median of each case's blocks in each process, infinite without one."""
        parts = np.split(blocks, self._starts[1:], axis=1)
        return np.nan_to_num(np.stack([median_along(part) for part in parts], axis=1), nan=np.inf)


def _range(times: NDArray[np.floating[Any]]) -> Floats:
    """The highest over the lowest finite time of each row, minus 1; NaN without any."""
    known = np.isfinite(times)
    low = np.where(known.any(axis=1), times.min(axis=1), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread: Floats = np.where(known, times, 0).max(axis=1).astype(np.float64) / low - 1
    return spread


@dataclass(frozen=True, slots=True, kw_only=True)
class AsWritten:
    """The rows of a frame in which a setting has the word `word`, and those in which it has its number."""

    word: str
    by_word: Mask
    by_number: Mask


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """Cases that can be compared, and numbers for the values of their settings.

    `table` has the ranked cases in the frame's order. A case that the sweep writes in two ways, once with a word and
    once with its number, has a row for each way. `codes` has the same rows and a column per setting. It holds the
    position of the value as written in `values`, where an absent value is None. Row i of the table is row
    `positions[i]` of the frame.
    """

    table: pd.DataFrame
    codes: pd.DataFrame
    values: dict[str, list[object]]
    positions: Integers

    @property
    def once(self) -> Mask:
        """The first row of each case."""
        first: Mask = np.diff(self.positions, prepend=-1) != 0
        return first

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
    rounds: RoundTimes
    rows: Integers

    def compare(self, base: Integers, other: Integers, *, per_flop: bool = False) -> MatchedPairs:
        """The comparison of each pair; pairs without a round in common are left out."""
        time_a, time_b, common, processes = self.rounds.times(self.rows[base], self.rows[other])
        spread, probe = (self.pairs.table[name].to_numpy(dtype=float) for name in ("spread", "noise"))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            ratio = time_b / time_a
            if per_flop:
                flops = self.pairs.table["flops"].to_numpy(dtype=float, na_value=np.nan)
                ratio *= flops[base] / flops[other]
            noise = np.fmax(common, np.fmax(spread[base], spread[other]))
            noise = with_least_noise(noise, processes, np.fmax(probe[base], probe[other]))
            noise = unknown_of_one(noise, processes)
        # A case that is written in two ways is no pair with itself.
        known = np.isfinite(ratio) & (ratio > 0) & (self.rows[base] != self.rows[other])
        return MatchedPairs(base=base, other=other, ratio=ratio, noise=noise, processes=processes).only(known)

    def distinct(self, axis: str, pairs: MatchedPairs) -> MatchedPairs:
        """The pairs along an axis without those of the same cases and values, written in another way."""
        if self.pairs.once.all():
            return pairs
        positions, codes = self.pairs.positions, self.pairs.codes[axis].to_numpy()
        keys = np.stack([positions[pairs.base], positions[pairs.other], codes[pairs.base], codes[pairs.other]])
        return pairs.only(np.sort(np.unique(keys, axis=1, return_index=True)[1]))

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
        found = self.distinct(axis, found)
        codes = self.pairs.codes[axis].to_numpy()[found.other]
        order = np.argsort(codes, kind="stable")
        distinct, starts = np.unique(codes[order], return_index=True)
        parts = np.split(order, starts[1:])
        return [(self.pairs.values[axis][c], found.only(part)) for c, part in zip(distinct, parts, strict=True)]


def matched(frame: pd.DataFrame, words: Mapping[str, AsWritten] = _NO_WORDS) -> Matched:
    """The ranked cases of a frame, ready to be paired; `words` are the words of settings by name."""
    ranked = (frame["status"] == RANKED).fillna(False).to_numpy(dtype=bool) & (frame["time_s"] > 0).to_numpy()
    rows, by_word = _ways(np.flatnonzero(ranked), words)
    table = frame.iloc[rows].reset_index(drop=True)
    columns = {axis: table[axis] for axis in SETTINGS}
    for name, mask in by_word.items():
        columns[name] = columns[name].astype(object).mask(mask, words[name].word)
    factors = {axis: pd.factorize(column, use_na_sentinel=False) for axis, column in columns.items()}
    return Matched(
        table=table,
        codes=pd.DataFrame({axis: codes for axis, (codes, _) in factors.items()}),
        values={axis: [None if pd.isna(value) else value for value in values] for axis, (_, values) in factors.items()},
        positions=rows,
    )


def _ways(rows: Integers, words: Mapping[str, AsWritten]) -> tuple[Integers, dict[str, Mask]]:
    """The rows, once for each way in which they are written, and where each setting has its word."""
    chosen: dict[str, Mask] = {}
    for name, written in words.items():
        both = np.flatnonzero((written.by_word & written.by_number)[rows])
        twice = np.concatenate([np.arange(len(rows)), both])
        has_word = np.concatenate([(written.by_word & ~written.by_number)[rows], np.ones(len(both), dtype=bool)])
        order = np.argsort(rows[twice], kind="stable")
        rows = rows[twice][order]
        chosen = {other: mask[twice][order] for other, mask in chosen.items()} | {name: has_word[order]}
    return rows, chosen
