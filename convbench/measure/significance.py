"""Intervals and p-values from the ranks of the times of two runs' processes, and q-values over many cases. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from convbench.measure.alike import ProcessTimes
from convbench.measure.estimate import Floats, Integers

#: The share of intervals that hold no change where nothing changed.
HELD = 0.95


@lru_cache(maxsize=1024)
def left_out(processes: int) -> int:
    """How many of the highest times of a side's processes its interval leaves out: 0 of 4, 1 of 5, 3 of 8.

    Let n processes a side come from one distribution. Then one side exceeds the n - k lowest of the other in
    2 (n + k choose k) / (2n choose n) of the comparisons. That is at most `1 - HELD`.
    """
    count = 0
    while 2 * math.comb(processes + count + 1, count + 1) <= (1 - HELD) * math.comb(2 * processes, processes):
        count += 1
    return count


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratios:
    """How many times as long `new` takes as `base`, and the interval that the processes allow; one element a case.

    Where nothing changed, `HELD` of the intervals hold 1. NaN without a process on both sides.
    """

    ratio: Floats
    low: Floats
    high: Floats


def ratios(times: ProcessTimes, *, precision: float) -> Ratios:
    """The ratios of the cases' times, and their intervals; times of a case repeat within `precision`."""
    base_low, base_high = _extremes(times.base, times.processes)
    new_low, new_high = _extremes(times.new, times.processes)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = times.new_s / times.base_s
        low, high = new_low / base_high / (1 + precision), new_high / base_low * (1 + precision)
    # With many processes the counted ones are fewer than half, and a median may lie above them.
    return Ratios(ratio=ratio, low=np.minimum(low, ratio), high=np.maximum(high, ratio))


def _extremes(times: Floats, processes: Integers) -> tuple[Floats, Floats]:
    """The lowest time of a process of each case and the highest that its interval counts; NaN without any."""
    if not times.shape[1]:
        nothing = np.full(len(times), np.nan)
        return nothing, nothing
    ordered = np.sort(times, axis=1)  # NaN last
    counted = {count: max(count - 1 - left_out(count), 0) for count in np.unique(processes).tolist()}
    last = np.array([counted[count] for count in processes.tolist()], dtype=np.int64)
    return ordered[:, 0], ordered[np.arange(len(ordered)), last]


def p_values(base: Floats, new: Floats, processes: Integers, factor: Floats) -> Floats:
    """The p-value of each case against "its time changed by a factor of `factor` or less", from its processes' times.

    `base` and `new` are (cases, processes), in seconds, with the first `processes` of each row filled. The test is the
    exact one-sided Mann-Whitney U in the direction that fits better. Mann and Whitney, "On a test of whether one of two
    random variables is stochastically larger than the other", 1947. A process is one observation, since blocks of one
    process are not independent. The shift is the threshold: "slower" tests whether new exceeds base * factor, "faster"
    whether base exceeds new * factor. The smaller p-value needs no doubling: no change within the threshold makes both
    likely. Ties count against a difference. NaN where a side has no process.
    """
    found = np.full(len(base), np.nan)
    slower, faster = (np.zeros(len(base), dtype=np.int64) for _ in range(2))
    scale = factor[:, np.newaxis]
    with np.errstate(over="ignore"):
        for column in range(base.shape[1]):  # comparisons with NaN are false
            slower += (new[:, [column]] > base * scale).sum(axis=1)
            faster += (base[:, [column]] > new * scale).sum(axis=1)
    for count in np.unique(processes[processes > 0]).tolist():
        some = np.flatnonzero(processes == count)
        found[some] = _at_least(count)[np.maximum(slower[some], faster[some])]
    return found


@lru_cache(maxsize=128)
def _at_least(size: int) -> Floats:
    """P(U >= u) for u = 0 ... size**2, of two samples of this size from one distribution.

    Computed by a recurrence: the largest of all values belongs to the first sample or to the second.
    """
    chances: list[Floats] = [np.ones(1)] * (size + 1)  # of U for samples of (row, column)
    for row in range(1, size + 1):
        line: list[Floats] = [np.ones(1)]
        for column in range(1, size + 1):
            chance = np.zeros(row * column + 1)
            chance[column:] += chances[column] * row / (row + column)
            chance[: len(line[-1])] += line[-1] * column / (row + column)
            line.append(chance)
        chances = line
    tail: Floats = np.minimum(np.cumsum(chances[size][::-1])[::-1], 1.0)
    return tail


def q_values(p: Floats) -> Floats:
    """The lowest false discovery rate at which each case is a discovery; NaN stays NaN.

    Benjamini and Hochberg, "Controlling the false discovery rate", 1995.
    """
    q = np.full(len(p), np.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    scaled = p[order] * len(order) / np.arange(1, len(order) + 1)
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return q
