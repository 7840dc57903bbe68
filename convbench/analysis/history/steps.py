"""Lasting steps of a series of times: change points of its logarithm. Pure.

`ruptures` searches for them (PELT: Killick, Fearnhead and Eckley, "Optimal detection of changepoints with a linear
computational cost", 2012). This module decides what counts as a step: it exceeds the noise and the threshold of a
comparison.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from convbench.measure.estimate import Floats

#: The fewest runs on either side of a step: one or two slow runs are no step.
FEWEST = 3
#: What a step must gain, in units of the noise's variance times the logarithm of the number of runs. 2 is the Bayesian
#: information criterion for one more level and its place. Floors that drift need more: see bench/steps.py.
PENALTY = 3.0
#: The noise is estimated from differences of runs that are up to so many places apart.
FARTHEST = 3
#: The smallest step, as a ratio minus 1. Floors of different days drift by more than those of two runs. With 3 %, one
#: drifting series in eight was given a step that it did not have; with 5 % it is one in fifty (bench/steps.py).
SMALLEST = 0.05
#: The threshold in standard deviations of a floor: 95 of 100 pairs of runs are within it (model/threshold.py).
_PAIRS = 1.96 * math.sqrt(2)
#: The median of the absolute value of a normal variable, in standard deviations.
_MEDIAN = 0.6745


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """The median time of runs `start` up to `stop`, seconds, between two steps or an end of the series."""

    start: int
    stop: int
    time_s: float


def levels(times_s: Sequence[float], threshold: float) -> tuple[Level, ...]:
    """The levels of a series of positive times, oldest first: one more than steps, none where it is empty.

    Neighbouring levels differ by more than `threshold`, a ratio minus 1, and have `FEWEST` runs or more.
    """
    if not times_s:
        return ()
    logs = np.log(np.asarray(times_s, dtype=np.float64))
    least = math.log1p(threshold)
    bounds = [0, len(logs)]
    if len(logs) >= 2 * FEWEST and float(np.ptp(logs)) > least:  # else there is no step, and ruptures is not loaded
        bounds = _merged(logs, [0, *_found(logs, least)], least)
    return tuple(
        Level(start=start, stop=stop, time_s=math.exp(float(np.median(logs[start:stop]))))
        for start, stop in itertools.pairwise(bounds)
    )


def noise(logs: Floats, least: float) -> float:
    """The standard deviation of the times' logarithm about their level.

    It is estimated from the median difference from run to run, which a few steps do not change. Where there are enough
    runs, differences of runs two and three apart count too: noise that lasts a day does not show between neighbours.
    It is at least the noise that the threshold `least` (a logarithm) assumes, as a few runs may agree by chance.
    """
    found = least / _PAIRS
    for apart in range(1, min(FARTHEST, max(1, len(logs) // (2 * FEWEST))) + 1):
        typical = float(np.median(np.abs(logs[apart:] - logs[:-apart])))
        found = max(found, typical / (_MEDIAN * math.sqrt(2)))
    return found


def _found(logs: Floats, least: float) -> list[int]:
    """The ends of the levels that the search finds; the last is the number of runs."""
    import ruptures  # with SciPy it takes 1 s to load, so only where a series moved

    penalty = PENALTY * math.log(len(logs)) * noise(logs, least) ** 2
    search = ruptures.KernelCPD(kernel="linear", min_size=FEWEST).fit(logs.reshape(-1, 1))
    return [int(end) for end in search.predict(pen=penalty)]


def _merged(logs: Floats, bounds: list[int], least: float) -> list[int]:
    """The bounds without those of steps that do not count; the smallest step is removed first."""
    while len(bounds) > 2:
        parts = [logs[start:stop] for start, stop in itertools.pairwise(bounds)]
        sizes = [_size(before, after) for before, after in itertools.pairwise(parts)]
        smallest = int(np.argmin(sizes))
        if sizes[smallest] > least:
            break
        del bounds[smallest + 1]
    return bounds


def _size(before: Floats, after: Floats) -> float:
    """The difference of two levels' medians, as a logarithm; 0 where a level has too few runs on its own side.

    The search has at least three runs in each part, but two slow runs and a fast one are no level.
    """
    low, high = sorted((before, after), key=lambda part: float(np.median(part)))
    middles = float(np.median(low)), float(np.median(high))
    between = sum(middles) / 2
    if min(int((low < between).sum()), int((high > between).sum())) < FEWEST:
        return 0.0
    return middles[1] - middles[0]
