"""Contrasts: for two values of a setting, every matched pair with its ratio, its interval and what the findings say.

They prove the findings: a sentence that counts pairs counts those of one contrast.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from convbench.analysis.findings.effects import SMALLEST_EFFECT, WORK, differing
from convbench.analysis.findings.evidence import Evidence
from convbench.analysis.findings.finding import Finding
from convbench.analysis.findings.pairs import Floats, Integers, Mask, MatchedPairs


class Measure(StrEnum):
    """How the two sides of a pair are compared."""

    TIME = "time"  # both do the same work: how many times faster the other side is
    PER_FLOP = "per FLOP"  # they do different work: how many times faster per FLOP
    LONGER = "longer"  # directions: how many times as long the other side takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """The matched pairs that differ in `axis` alone: `base` on one side, `other` on the other side.

    `base_rows` and `other_rows` are rows of the run's frame. `ratio` is the time (or time per FLOP) of other over base.
    `noise` is how much of it may be noise, as a ratio minus 1. `verdict` is 1 where the other side is faster by more
    than noise, -1 where it is slower, else 0. `is_open` is true where the sides differ, but too few processes timed
    both to judge it. `effect` is the median change of the time, as a logarithm without sign.
    """

    axis: str
    base: object
    other: object
    measure: Measure
    base_rows: Integers
    other_rows: Integers
    ratio: Floats
    noise: Floats
    verdict: Integers
    is_open: Mask
    effect: float

    def __len__(self) -> int:
        return len(self.ratio)


def contrasts(evidence: Evidence, found: Iterable[Finding]) -> tuple[Contrast, ...]:
    """Every other value of each swept setting against its base, then what else the findings compare."""
    known: dict[tuple[str, object, object], Contrast] = {}

    def add(axis: str, base: object, only: object = ...) -> None:
        for other, pairs in evidence.against(axis, base, per_flop=axis in WORK):
            if only in (..., other):
                known.setdefault((axis, base, other), _contrast(evidence, axis, base, other, pairs))

    for axis in evidence.pairs.swept():
        add(axis, evidence.base(axis))
    for finding in found:
        if finding.axis and finding.values and (finding.axis, *finding.values) not in known:
            add(finding.axis, *finding.values)
    return tuple(known.values())


def _contrast(evidence: Evidence, axis: str, base: object, other: object, pairs: MatchedPairs) -> Contrast:
    rows, time = evidence.comparer.rows, evidence.pairs.table["time_s"].to_numpy(dtype=float)
    faster, slower, _ = differing(pairs)
    apart = np.maximum(pairs.ratio, 1 / pairs.ratio) >= SMALLEST_EFFECT
    measure = Measure.LONGER if axis == "direction" else Measure.PER_FLOP if axis in WORK else Measure.TIME
    return Contrast(
        axis=axis,
        base=base,
        other=other,
        measure=measure,
        base_rows=rows[pairs.base],
        other_rows=rows[pairs.other],
        ratio=pairs.ratio,
        noise=pairs.noise,
        verdict=faster.astype(np.int64) - slower,
        is_open=~(faster | slower | pairs.alone) & (apart | np.isinf(pairs.noise)),
        effect=abs(float(np.median(np.log(time[pairs.other] / time[pairs.base])))),
    )
