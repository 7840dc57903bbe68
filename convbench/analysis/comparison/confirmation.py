"""A comparison whose suspects were measured again beside unchanged controls. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from convbench import units
from convbench.analysis.comparison.changes import groups_of
from convbench.analysis.comparison.judgment import Comparison, How, Judgment, Verdict, verdict_of_all
from convbench.model.case import Case
from convbench.model.result import Status

#: A change that counts side by side, as a ratio minus 1: smaller ones are within its noise.
SIDE_BY_SIDE = 0.025
#: Verdicts of cases that changed.
FLAGGED = frozenset({Verdict.REGRESSED, Verdict.IMPROVED})


def suspects(comparison: Comparison) -> list[Judgment]:
    """The cases that moved by more than their threshold, also where noise or the machine prevented a judgment."""
    return [judgment for judgment in comparison.judgments if _is_suspect(judgment)]


def _is_suspect(judgment: Judgment) -> bool:
    if judgment.verdict is Verdict.NOT_JUDGED or not (math.isfinite(judgment.ratio) and judgment.ratio > 0):
        return False
    return judgment.verdict in FLAGGED or (
        judgment.verdict is Verdict.INCONCLUSIVE and abs(math.log(judgment.own_ratio)) > math.log1p(judgment.threshold)
    )


def suspect_threshold(judgment: Judgment) -> float:
    """What flags a suspect side by side: half of the first threshold, and at least `SIDE_BY_SIDE`.

    The first comparison found a large change, but noise may have made it look larger than it is.
    """
    return max(SIDE_BY_SIDE, judgment.threshold / 2)


def control_threshold(judgment: Judgment) -> float:
    """What flags a control side by side: the threshold of a suspect. A control may really have moved by less."""
    return max(SIDE_BY_SIDE, judgment.threshold)


def discredited(comparison: Comparison, moved: Sequence[Judgment]) -> Comparison:
    """The comparison where controls moved: nothing is flagged."""
    first = moved[0]
    note = (
        f"{units.plural(len(moved), 'control')} moved without being suspected ({first.case.label}: "
        f"{units.change(first.ratio)}): nothing is flagged"
    )
    judgments = tuple(map(_withdrawn, comparison.judgments))
    return replace(
        comparison,
        judgments=judgments,
        groups=(),
        verdict=Verdict.INCONCLUSIVE,
        discredited=True,
        notes=(*comparison.notes, note),
    )


def _withdrawn(judgment: Judgment) -> Judgment:
    if judgment.verdict not in FLAGGED:
        return judgment
    return replace(judgment, verdict=Verdict.INCONCLUSIVE, reason="a control moved too")


def merged(first: Comparison, later: Comparison, *, notes: Sequence[str] = ()) -> Comparison:
    """The first comparison, where the later one's judgments replace those of its cases.

    The common shift of the two runs no longer applies to all cases. A case that was not measured again has it in its
    reason where that matters.
    """
    confirmed: Mapping[Case, Judgment] = {judgment.case: judgment for judgment in later.judgments}
    judgments = tuple(
        replace(confirmed[judgment.case], confirmed=True) if judgment.case in confirmed else judgment
        for judgment in first.judgments
    )
    awaited = sum(
        None not in (judgment.base_status, judgment.new_status)
        and Status.SKIPPED not in (judgment.base_status, judgment.new_status)
        for judgment in judgments
    )
    verdict = Verdict.INCONCLUSIVE if later.discredited else verdict_of_all(judgments, awaited)
    return replace(
        first,
        judgments=judgments,
        groups=groups_of(judgments),
        verdict=verdict,
        machine="",
        shift=1.0,
        longer=max(first.longer, later.longer),
        how=How.CONFIRMED,
        discredited=later.discredited,
        notes=(*notes, *later.notes),
    )
