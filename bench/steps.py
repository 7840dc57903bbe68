"""How often the search for steps flags a series without one, and how often it finds one: made-up floors that drift.

    python bench/steps.py [SERIES]

Each row is SERIES (500) series of so many runs. Noise is normal in the logarithm, with a standard deviation. The
correlation is the part of it that the next run keeps, as a neighbour stays for a day. Skewed noise is exponential;
nothing was tuned on it. The step is in the middle, or after the first three runs, or before the last three.
"""

from __future__ import annotations

import math
import sys

import numpy as np

from convbench.analysis.history import steps
from convbench.model.threshold import BEYOND_L2


def drifting(
    chance: np.random.Generator, runs: int, deviation: float, correlation: float, *, skewed: bool = False
) -> np.ndarray:
    """Logarithms of floors. Skewed noise is exponential: it only adds time, and single floors lie far above."""
    drift = chance.exponential(deviation, runs) if skewed else chance.normal(0, deviation, runs)
    for run in range(1, runs):
        drift[run] = correlation * drift[run - 1] + math.sqrt(1 - correlation**2) * drift[run]
    return drift


def shares(
    many: int,
    *,
    runs: int,
    deviation: float,
    correlation: float,
    skewed: bool,
    threshold: float,
    step: float,
    at: int,
) -> tuple[float, float]:
    """(share of the series with the step, found within a run of its place; share with any other step)."""
    chance = np.random.default_rng(5)
    found = other = 0
    for _ in range(many):
        logs = drifting(chance, runs, deviation, correlation, skewed=skewed)
        logs[at:] += math.log1p(step)
        ends = [level.stop for level in steps.levels(list(np.exp(logs) * 1e-3), threshold)[:-1]]
        here = [end for end in ends if step and abs(end - at) <= 1]
        found += bool(here)
        other += len(ends) > len(here)
    return found / many, other / many


def main() -> None:
    many = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    print("layers     runs  noise  corr.    step  at  found  other steps")
    for name, threshold, noises, sizes in (
        ("in L2", steps.SMALLEST, (0.01, 0.02, 0.03), (0.10,)),
        ("beyond L2", BEYOND_L2, (0.02, 0.036, 0.05), (0.20,)),
    ):
        for deviation in noises:
            for correlation, skewed in ((0.0, False), (0.5, False), (0.0, True)):
                for runs, at in ((6, 3), (12, 6), (30, 15), (30, 27), (100, 50), (100, 97)):
                    for step in (0.0, *sizes) if at != 27 and at != 97 else sizes:
                        share, other = shares(
                            many,
                            runs=runs,
                            deviation=deviation,
                            correlation=correlation,
                            skewed=skewed,
                            threshold=threshold,
                            step=step,
                            at=at,
                        )
                        told = f"{share:5.1%}" if step else "    -"
                        kind = "skewed" if skewed else f"{correlation:6}"
                        row = f"{name:9}  {runs:4}  {deviation:.1%}  {kind}  {step:4.0%}  {at:2}"
                        print(f"{row}  {told}  {other:.1%}")


if __name__ == "__main__":
    main()
