"""Findings on layers far below their roof, and on the cost of the system's allocator."""

from __future__ import annotations

import numpy as np

from convbench import units
from convbench.analysis.findings.evidence import Evidence
from convbench.analysis.findings.finding import Finding, FindingKind, Weight, farthest, ids, line, listed
from convbench.analysis.findings.pairs import ONE_PROCESS_SPREAD
from convbench.model.result import Status

#: Below this efficiency a layer is called far from the roof.
FAR_FROM_ROOF = 0.25
#: Implementations that are named with their number of layers.
MOST_NAMED = 2
#: The cost of the system's allocator is reported from this ratio on. It is measured with three blocks a side.
ALLOCATOR_COST = 0.10


def far_from_roof(evidence: Evidence) -> list[Finding]:
    """Layers that use little of what the machine can do, with the implementations that ran."""
    passed = evidence.of_status(Status.PASSED)
    known = passed[passed["efficiency"].notna()]
    spread = known["spread"].fillna(ONE_PROCESS_SPREAD)
    is_far = known["efficiency"] * (1 + spread) < FAR_FROM_ROOF
    far = known[is_far].sort_values("efficiency", kind="stable")
    if far.empty:
        return []
    # A worker reports `unknown` where it cannot name what ran, as in a user's module.
    ran = far["implementation"].fillna("unknown").replace("unknown", "an unknown kernel").map(line).value_counts()
    most = sorted(ran.items(), key=lambda each: (-each[1], str(each[0])))[:MOST_NAMED]
    named = [f"{units.count(int(n))} {'' if place else 'of them '}with {name}" for place, (name, n) in enumerate(most)]
    if len(ran) == 1:
        named = [f"{'all ' if len(far) > 1 else ''}with {most[0][0]}"]
    some = f"{units.count(len(far))} of {units.plural(len(known), 'case')}"
    efficiency = units.percent(float(far["efficiency"].iloc[0]))
    if len(far) == 1:
        sentence = f"{some} reaches only {efficiency} of what this machine can do, {named[0]}: {farthest(far)}"
    else:
        sentence = (
            f"{some} reach less than {units.percent(FAR_FROM_ROOF, 0)} of what this machine can do, {listed(named)}; "
            f"the lowest reaches {efficiency}: {farthest(far)}"
        )
    return [
        Finding(
            weight=Weight.WORK,
            kind=FindingKind.ROOF,
            size=1 / float(np.median(far["efficiency"])),
            sentence=sentence,
            cases=ids(far),
            share=len(far) / len(known),
        )
    ]


def allocator(evidence: Evidence) -> list[Finding]:
    """How much slower layers are with the system's allocator, where that exceeds the noise."""
    passed = evidence.of_status(Status.PASSED)
    tried = passed[passed["allocator_penalty"].notna()]
    noise = tried["spread"].fillna(ONE_PROCESS_SPREAD).clip(lower=ALLOCATOR_COST)
    # Without page faults the system's allocator costs nothing.
    is_slow = (tried["allocator_penalty"] > noise) & (tried["system_page_faults"] >= 1)
    slow = tried[is_slow].sort_values("allocator_penalty", ascending=False, kind="stable")
    if slow.empty:
        return []
    worst = slow.iloc[0]
    usual = float(slow["allocator_penalty"].median())
    cost, middle = units.percent(worst["allocator_penalty"], 0), ""
    if len(slow) > 1:
        middle = f", {units.percent(usual, 0)} in the median of them, at most {cost}"
        cost = f"more than {units.percent(ALLOCATOR_COST, 0)}"
    sentence = (
        f"the system's memory allocator costs {cost} in {units.count(len(slow))} of "
        f"{units.plural(len(tried), 'case')}{middle}, with {units.digits(worst['system_page_faults'])} page faults a "
        f"call: {farthest(slow)}"
    )
    return [
        Finding(
            weight=Weight.EFFECT,
            kind=FindingKind.ALLOCATOR,
            size=1 + usual,
            sentence=sentence,
            cases=ids(slow),
            share=len(slow) / len(tried),
        )
    ]
