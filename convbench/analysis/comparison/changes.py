"""The changes that belong together, and what else changed with them. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from convbench import units
from convbench.analysis.comparison.comparability import Difference
from convbench.analysis.comparison.grouping import shared
from convbench.analysis.comparison.judgment import JUDGED, Group, Judgment, Verdict
from convbench.measure import estimate
from convbench.model.result import Result

#: A change of page faults per iteration is a cause from this difference on, if it is also of this ratio or more.
PAGE_FAULTS, PAGE_FAULTS_RATIO = 1.0, 2.0


def causes_of(pairs: Sequence[tuple[Result, Result]]) -> list[tuple[Difference, ...]]:
    """What else differs between both sides of each case: the implementation and the page faults."""
    before, after = (
        estimate.estimate(estimate.table(pair[side] for pair in pairs)).median_block["page_faults"].tolist()
        for side in (0, 1)
    )
    found = []
    for (base, new), faults, more in zip(pairs, before, after, strict=True):
        causes = []
        ran, runs = base.facts.implementation, new.facts.implementation
        if ran and runs and ran != runs:
            causes.append(_difference_of_words(ran, runs))
        if abs(more - faults) >= PAGE_FAULTS and max(more, faults) >= PAGE_FAULTS_RATIO * min(more, faults):
            texts = [units.number(value, significant=3) for value in (faults, more)]
            causes.append(Difference(what="page faults", base=texts[0], new=texts[1]))
        found.append(tuple(causes))
    return found


def _difference_of_words(base: str, new: str) -> Difference:
    """`implementation brg_conv_fwd:avx512_core -> ref:any` of `Mkldnn ...` on both sides: common words are left out."""
    sides = [text.split() for text in (base, new)]
    own = [[word for word in side if word not in other] for side, other in (sides, sides[::-1])]
    texts = [" ".join(words or side) for words, side in zip(own, sides, strict=True)]
    return Difference(what="implementation", base=texts[0], new=texts[1])


def groups_of(judgments: Sequence[Judgment]) -> tuple[Group, ...]:
    """The changes that belong together, regressions first."""
    places = [i for i, judgment in enumerate(judgments) if judgment.verdict in JUDGED]
    cases = [judgments[i].case for i in places]
    seen = np.array([judgments[i].smallest_seen for i in places], dtype=np.float64)
    found = []
    for verdict in (Verdict.REGRESSED, Verdict.IMPROVED):
        changed: NDArray[np.bool_] = np.array([judgments[i].verdict is verdict for i in places], dtype=bool)
        if not changed.any():
            continue
        size = float(np.median([_size(judgments[places[i]].own_ratio) for i in np.flatnonzero(changed).tolist()]))
        able = np.log1p(seen) < size
        for group in shared(cases, changed, able & ~changed):
            members = [places[i] for i in group.changed.tolist()]
            found.append(
                Group(
                    name=group.name,
                    verdict=verdict,
                    changed=tuple(members),
                    cases=group.cases,
                    ratio=float(np.median([judgments[i].ratio for i in members])),
                    causes=_common([judgments[i] for i in members]),
                )
            )
    return tuple(found)


def _size(ratio: float) -> float:
    return abs(math.log(ratio))


def _common(members: Sequence[Judgment]) -> tuple[Difference, ...]:
    """The cause of each kind that more than half of the members have, with their number."""
    seen = Counter(cause for judgment in members for cause in judgment.causes)
    most: dict[str, Difference] = {}
    for cause, cases in seen.most_common():
        if cause.what not in most and cases * 2 > len(members):
            most[cause.what] = replace(cause, cases=cases)
    return tuple(most.values())
