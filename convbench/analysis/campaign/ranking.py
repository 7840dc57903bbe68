"""Which machine is the best for each case, and by how much the others are behind, with what noise leaves open. Pure.

Times of a case are compared over equal numbers of processes and blocks (measure/alike.py), by the interval that the
processes allow (measure/significance.py). No figure is a mean over machines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from convbench.analysis.findings.pairs import FEW_PROCESSES_SPREAD
from convbench.measure.alike import process_times
from convbench.measure.estimate import Booleans, Floats, Integers, table
from convbench.measure.significance import ratios
from convbench.model.result import Result, Status
from convbench.model.threshold import FEWEST_PROCESSES


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """The machines of each case by their weighted times. Arrays are (cases, machines) unless said otherwise.

    `best` is the machine with the lowest, -1 where none has a right result (cases,). `ratio` is a machine's over that
    of the best one, and `low` to `high` its interval. They are 1 of the best itself, and NaN of a machine without a
    right result.
    """

    best: Integers
    ratio: Floats
    low: Floats
    high: Floats

    @property
    def ranked(self) -> Booleans:
        """Which machines have a right result."""
        return np.isfinite(self.ratio)

    @property
    def alike(self) -> Booleans:
        """The best machine of each case, and those that it beats by no more than noise."""
        return self.ranked & ~(self.low > 1)

    @property
    def whole(self) -> Booleans:
        """The cases that all machines have, (cases,)."""
        whole: Booleans = np.all(self.ranked, axis=1)
        return whole

    @property
    def alone(self) -> Booleans:
        """The cases whose best machine beats every other one by more than noise, of those that all have, (cases,)."""
        several = self.ranked.shape[1] > 1
        alone: Booleans = np.logical_and(self.whole, (self.alike.sum(axis=1) == 1) & several)
        return alone

    @property
    def lead(self) -> Floats:
        """How far the best machine is ahead of the next one, as a ratio of at least 1 (cases,); NaN without a next."""
        others = self.ratio.copy()
        some = np.flatnonzero(self.best >= 0)
        others[some, self.best[some]] = np.nan
        found = np.full(len(others), np.nan)
        known = np.isfinite(others).any(axis=1)
        found[known] = np.nanmin(others[known], axis=1)
        ahead: Floats = np.maximum(found, 1.0)
        return ahead


def ranking(
    results: Sequence[Sequence[Result | None]], time_s: Floats, weights: Sequence[float], precision: float
) -> Ranking:
    """The ranking of the cases. `results` are those of each machine, in the order of the cases.

    `time_s` are the leading times (cases, machines), and `weights` say how much a second of each machine counts: 1, or
    its price. Times of a case repeat within `precision`. Only right results are ranked. With fewer than
    `FEWEST_PROCESSES` the interval is `FEW_PROCESSES_SPREAD` wider, because so few show too little of the noise.
    """
    weight = np.asarray(weights, dtype=np.float64)
    cases = len(time_s)
    right = np.array([[_is_right(one) for one in side] for side in results], dtype=bool).reshape(len(results), cases).T
    weighted = np.where(right & np.isfinite(time_s), time_s * weight, np.inf)
    best = np.where(np.isfinite(weighted).any(axis=1), weighted.argmin(axis=1), -1) if cases else np.zeros(0, int)
    lowest = table(results[at][case] if at >= 0 else None for case, at in enumerate(best.tolist()))
    columns = []
    for machine, side in enumerate(results):
        kept = right[:, machine] & (best >= 0)
        times = process_times(lowest, table(one if keep else None for one, keep in zip(side, kept, strict=True)))
        found = ratios(times, precision=precision)
        price = weight[machine] / np.where(best >= 0, weight[best], np.nan)
        few = np.where(times.processes < FEWEST_PROCESSES, 1 + FEW_PROCESSES_SPREAD, 1.0)
        own = best == machine
        columns.append(
            [
                np.where(own, 1.0, value * price)
                for value in (
                    found.ratio,
                    np.minimum(found.low, found.ratio / few),
                    np.maximum(found.high, found.ratio * few),
                )
            ]
        )
    ratio, low, high = (np.stack([column[at] for column in columns], axis=1) for at in range(3))
    return Ranking(best=best.astype(np.int64), ratio=ratio, low=low, high=high)


def _is_right(result: Result | None) -> bool:
    return result is not None and result.status is Status.PASSED and bool(result.blocks)
