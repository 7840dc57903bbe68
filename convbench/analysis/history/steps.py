"""Where a series of floors steps up or down for good: change points of its logarithm. Pure.

The search is that of `ruptures` (PELT: Killick, Fearnhead and Eckley, "Optimal detection of changepoints with a linear
computational cost", 2012). What counts as a step is said here: it stands out of the noise and is larger than the
threshold of a comparison.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from convbench.measure.estimate import Floats

#: The fewest runs on either side of a step: one or two slow nights are no step.
FEWEST = 3
#: What a step must gain, in units of the noise's variance times the logarithm of the number of runs. 2 is the Bayesian
#: information criterion for one more level and its place; floors that drift take more (bench/steps.py tells how much).
PENALTY = 3.0
#: How far apart the runs are at most whose differences tell the noise.
FARTHEST = 3
#: Of 95 of 100 pairs of runs the floors lie within the threshold (model/threshold.py): so many deviations.
_PAIRS = 1.96 * math.sqrt(2)
#: The median of the absolute value of a normal variable, in standard deviations.
_MEDIAN = 0.6745


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """The median floor of runs `start` up to `stop`, seconds, between two steps or an end of the series."""

    start: int
    stop: int
    floor_s: float


def levels(floors_s: Sequence[float], threshold: float) -> tuple[Level, ...]:
    """The levels of a series of positive floors, oldest first: one more than it has steps, none where it is empty.

    Neighbouring levels differ by more than `threshold`, a ratio minus 1, and have `FEWEST` runs or more.
    """
    if not floors_s:
        return ()
    logs = np.log(np.asarray(floors_s, dtype=np.float64))
    least = math.log1p(threshold)
    bounds = [0, len(logs)]
    if len(logs) >= 2 * FEWEST and float(np.ptp(logs)) > least:  # else there is no step to find, and nothing to load
        bounds = _merged(logs, [0, *_found(logs, least)], least)
    return tuple(
        Level(start=start, stop=stop, floor_s=math.exp(float(np.median(logs[start:stop]))))
        for start, stop in itertools.pairwise(bounds)
    )


def noise(logs: Floats, least: float) -> float:
    """The standard deviation of the floors' logarithm about their level.

    That of the differences from run to run by their median, which a few steps do not move; of runs two and three apart
    too where there are enough, since what stays for a day hides from neighbours. Never less than what the threshold
    `least` (a logarithm) stands for: a few runs may agree by luck.
    """
    found = least / _PAIRS
    for apart in range(1, min(FARTHEST, max(1, len(logs) // (2 * FEWEST))) + 1):
        typical = float(np.median(np.abs(logs[apart:] - logs[:-apart])))
        found = max(found, typical / (_MEDIAN * math.sqrt(2)))
    return found


def _found(logs: Floats, least: float) -> list[int]:
    """Where the levels end that the search finds; the last is the number of runs."""
    import ruptures  # type: ignore[import-untyped]  # with SciPy a second, for which only a series that moved waits

    penalty = PENALTY * math.log(len(logs)) * noise(logs, least) ** 2
    search = ruptures.KernelCPD(kernel="linear", min_size=FEWEST).fit(logs.reshape(-1, 1))
    return [int(end) for end in search.predict(pen=penalty)]


def _merged(logs: Floats, bounds: list[int], least: float) -> list[int]:
    """The bounds without those of steps that do not count, the smallest left out first."""
    while len(bounds) > 2:
        parts = [logs[start:stop] for start, stop in itertools.pairwise(bounds)]
        sizes = [_size(before, after) for before, after in itertools.pairwise(parts)]
        smallest = int(np.argmin(sizes))
        if sizes[smallest] > least:
            break
        del bounds[smallest + 1]
    return bounds


def _size(before: Floats, after: Floats) -> float:
    """How far apart the middles of two levels are, as a logarithm; 0 where one has too few runs on its own side.

    The search has three runs in each part, two slow nights and a good one among them.
    """
    low, high = sorted((before, after), key=lambda part: float(np.median(part)))
    middles = float(np.median(low)), float(np.median(high))
    between = sum(middles) / 2
    if min(int((low < between).sum()), int((high > between).sum())) < FEWEST:
        return 0.0
    return middles[1] - middles[0]
