"""By how much the reference layers moved between two runs, which is how much the machine's speed differed. Pure.

A case is judged against the references of its own kind, device and number of threads (measure/references.py). They do
not depend on other cases: a change of the code that slows every case does not slow them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from convbench.measure.estimate import Floats
from convbench.measure.references import Related

#: The largest disagreement on one machine, as a ratio minus 1: half of the range of the references' moves. With 4 %,
#: 10 of 14 pairs of runs of the same code were called another machine, with 8 % none (bench/same_code.py).
MOST_DISAGREEMENT = 0.08


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceShift:
    """By how much the references of each case moved, new over base.

    `disagreement` is half of the range of the moves within a kind, the largest, as a ratio minus 1.
    """

    ratio: Floats
    disagreement: float

    @property
    def is_machine(self) -> bool:
        """Whether the references disagree too much for one machine."""
        return self.disagreement > MOST_DISAGREEMENT


def reference_shift(base: Related, new: Related) -> ReferenceShift | None:
    """The shift of each case; None where a case has no references on a side, as in runs of older versions."""
    if not len(base.group) or (base.group < 0).any() or (new.group < 0).any():
        return None
    moves: dict[tuple[int, int], tuple[float, float]] = {}
    groups = list(zip(base.group.tolist(), new.group.tolist(), strict=True))
    for before, after in set(groups):
        moved = new.logs[after] - base.logs[before]
        moves[before, after] = float(moved.mean()), float(np.ptp(moved)) / 2
    return ReferenceShift(
        ratio=np.exp([moves[group][0] for group in groups]),
        disagreement=math.expm1(max(apart for _, apart in moves.values())),
    )
