"""By how much the reference layers moved between two runs, which is how much the machine's speed differed. Pure.

A case is judged against the references of its own kind, device and number of threads (measure/references.py). They do
not depend on other cases: a change of the code that slows every case does not slow them.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

import numpy as np

from convbench.measure.estimate import Floats
from convbench.measure.references import Levels
from convbench.model.result import NAN

#: The largest disagreement on one machine, as a ratio minus 1: half of the range of the references' moves. With 4 %,
#: 10 of 14 pairs of runs of the same code were called another machine, with 8 % none (bench/same_code.py).
MOST_DISAGREEMENT = 0.08


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceShift:
    """By how much the references of each case moved, new over base; NaN for a case without references on a side.

    `disagreement` is half of the range of the moves within a kind, as a ratio minus 1. It is that of the median case
    of the kind where that is largest. One case may have few rows of references, whose minima are disturbed.
    """

    ratio: Floats
    disagreement: float

    @property
    def is_machine(self) -> bool:
        """Whether the references disagree too much for one machine."""
        return self.disagreement > MOST_DISAGREEMENT


def reference_shift(base: Levels, new: Levels) -> ReferenceShift | None:
    """The shift of each case; None where no case has references on both sides, as in runs of older versions."""
    groups = list(zip(base.group.tolist(), new.group.tolist(), strict=True))
    moves = {(a, b): new.logs[b] - base.logs[a] for a, b in set(groups) if a >= 0 and b >= 0}
    if not moves:
        return None
    apart: dict[object, list[float]] = {}
    for group in groups:
        if group in moves:
            apart.setdefault(base.kinds[group[0]], []).append(float(np.ptp(moves[group])) / 2)
    return ReferenceShift(
        ratio=np.exp([moves[group].mean() if group in moves else NAN for group in groups]),
        disagreement=math.expm1(max(map(statistics.median, apart.values()))),
    )
