"""What keeps layers from what the machine can do: far under their roof, the cost of the system's allocator."""

from __future__ import annotations

import numpy as np

from convbench import units
from convbench.analysis.findings.evidence import Evidence
from convbench.analysis.findings.finding import Finding, FindingKind, Weight, farthest, ids, line, listed
from convbench.analysis.findings.pairs import ONE_PASS_SPREAD
from convbench.model.result import Status

#: Below this efficiency a layer is called far from the roof.
FAR_FROM_ROOF = 0.25
#: Implementations that are named with their number of layers.
MOST_NAMED = 2
#: What the system's allocator must cost to be told, as a ratio: three blocks against three.
ALLOCATOR_COST = 0.10


def far_from_roof(evidence: Evidence) -> list[Finding]:
    """Layers that leave most of the machine idle, with what ran."""
    passed = evidence.of_status(Status.PASSED)
    known = passed[passed["efficiency"].notna()]
    spread = known["spread"].fillna(ONE_PASS_SPREAD)
    is_far = known["efficiency"] * (1 + spread) < FAR_FROM_ROOF
    far = known[is_far].sort_values("efficiency", kind="stable")
    if far.empty:
        return []
    # A worker says `unknown` where nothing tells what ran, as in a user's module.
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
            f"the farthest reaches {efficiency}: {farthest(far)}"
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
    """What users pay who do not start torch with a steady allocator, where that is beyond noise."""
    passed = evidence.of_status(Status.PASSED)
    tried = passed[passed["allocator_penalty"].notna()]
    noise = tried["spread"].fillna(ONE_PASS_SPREAD).clip(lower=ALLOCATOR_COST)
    # Without page faults there is nothing that the system's allocator could cost.
    is_dear = (tried["allocator_penalty"] > noise) & (tried["system_page_faults"] >= 1)
    dear = tried[is_dear].sort_values("allocator_penalty", ascending=False, kind="stable")
    if dear.empty:
        return []
    worst = dear.iloc[0]
    usual = float(dear["allocator_penalty"].median())
    cost, middle = units.percent(worst["allocator_penalty"], 0), ""
    if len(dear) > 1:
        middle = f", {units.percent(usual, 0)} in the median of them, at most {cost}"
        cost = f"more than {units.percent(ALLOCATOR_COST, 0)}"
    sentence = (
        f"the system's memory allocator costs {cost} in {units.count(len(dear))} of "
        f"{units.plural(len(tried), 'case')}{middle}, with {units.digits(worst['system_page_faults'])} page faults a "
        f"call: {farthest(dear)}"
    )
    return [
        Finding(
            weight=Weight.EFFECT,
            kind=FindingKind.ALLOCATOR,
            size=1 + usual,
            sentence=sentence,
            cases=ids(dear),
            share=len(dear) / len(tried),
        )
    ]
