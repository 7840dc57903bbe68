"""How large an effect is, in words: the median of many pairs, the range of few, and the layer with the largest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convbench import units
from convbench.analysis.findings.evidence import Evidence
from convbench.analysis.findings.finding import line
from convbench.analysis.findings.pairs import Floats, Mask, MatchedPairs

#: The median of this many pairs or more is reported. The range of fewer says as much, and hides nothing.
MEDIAN_LEAST = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Ratios of some pairs, and the label of the pair with the largest, where it has one."""

    ratios: Floats
    largest: str = ""

    @property
    def median(self) -> float:
        """The median on a logarithmic scale, whose inverse is the median of the inverse ratios."""
        return float(np.exp(np.median(np.log(self.ratios))))

    @property
    def range(self) -> str:
        """`1.20x to 3.10x`, or `2.00x` where all are written alike."""
        ends = [units.ratio(float(end)) for end in (self.ratios.min(), self.ratios.max())]
        return " to ".join(dict.fromkeys(ends))

    @property
    def varies(self) -> bool:
        """Whether the ratios are written differently."""
        return " to " in self.range

    @property
    def has_median(self) -> bool:
        """Whether the median is reported: of many ratios that differ."""
        return self.varies and len(self.ratios) >= MEDIAN_LEAST

    @property
    def size(self) -> str:
        """The median of many, the range of few."""
        return units.ratio(self.median) if self.has_median else self.range

    @property
    def rest(self) -> list[str]:
        """What `size` leaves out: `1.20x to 3.10x`, `the largest in n1 c8 ...`."""
        ends = [self.range] if self.has_median else []
        return [*ends, f"the largest in {self.largest}"] if self.varies else []

    def with_place(self, place: str) -> str:
        """`1.50x in the median, at in_channels=8, 1.20x to 3.10x, the largest in n1 c8 ...`; `place` may be empty."""
        first = f"{self.size} in the median" if self.has_median else self.size
        return ", ".join(part for part in (first, place, *self.rest) if part)


def sizes(evidence: Evidence, pairs: MatchedPairs, some: Mask) -> Sizes:
    """How many times slower or faster the other side of some pairs is: ratios of at least 1."""
    ratio = pairs.ratio[some]
    ratio = np.maximum(ratio, 1 / ratio)
    return Sizes(ratios=ratio, largest=line(evidence.label(int(pairs.other[some][ratio.argmax()]))))
