"""Findings on layers far below their roof, and on the cost of the system's allocator."""

from __future__ import annotations

import numpy as np
import pandas as pd

from convbench import units
from convbench.analysis.findings.evidence import Evidence
from convbench.analysis.findings.finding import Finding, FindingKind, Weight, farthest, ids, line, listed
from convbench.analysis.findings.pairs import Floats, Mask, with_least_noise
from convbench.analysis.findings.sizes import MEDIAN_LEAST
from convbench.model.result import Status

#: Below this efficiency a layer is called far from the roof.
FAR_FROM_ROOF = 0.25
#: Implementations that are named with their number of layers.
MOST_NAMED = 2
#: The cost of the system's allocator is reported from this ratio on. It is measured with three blocks a side.
ALLOCATOR_COST = 0.10
#: What a page fault costs at most, seconds. The kernel maps and clears a page of 4 KiB in 0.1 to 1 us.
MOST_PER_FAULT_S = 1e-6


def far_from_roof(evidence: Evidence) -> list[Finding]:
    """Layers that use little of what the machine can do, with the implementations that ran."""
    passed = evidence.table[~evidence.waiting & (evidence.table["status"] == Status.PASSED.value).fillna(False)]
    known = passed[passed["efficiency"].notna()]
    is_far = known["efficiency"] * (1 + evidence.bound[known.index.to_numpy()]) < FAR_FROM_ROOF
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
    """How much slower layers are with the system's allocator, where noise cannot be the reason and page faults can.

    A sweep over `allocator` measures it better: in as many processes as anything else.
    """
    passed = evidence.of_status(Status.PASSED)
    tried = passed[passed["allocator_penalty"].notna()]
    if "allocator" in evidence.pairs.swept() or tried.empty:
        return []
    slow = tried[_is_proven(evidence, tried)].sort_values("allocator_penalty", ascending=False, kind="stable")
    if slow.empty:
        return []
    costs = slow["allocator_penalty"].to_numpy(dtype=float)
    sentence = (
        f"the system's memory allocator costs {_percents(costs)} in {units.count(len(slow))} of "
        f"{units.plural(len(tried), 'case')}, {'the most ' if len(slow) > 1 else ''}with "
        f"{units.digits(slow.iloc[0]['system_page_faults'])} page faults a call: {farthest(slow)}"
    )
    return [
        Finding(
            weight=Weight.EFFECT,
            kind=FindingKind.ALLOCATOR,
            size=1 + float(np.median(costs)),
            sentence=sentence,
            cases=ids(slow),
            share=len(slow) / len(tried),
        )
    ]


def _is_proven(evidence: Evidence, tried: pd.DataFrame) -> Mask:
    """Whether three blocks of one process a side prove the measured cost of each tried case.

    It must exceed what one process leaves open (`with_least_noise`). Every block with the system's allocator must be
    slower than every own block of the same rounds. Page faults must be able to cost so much: more is noise.
    """
    beside, rows = evidence.rows.beside_system, evidence.order[tried.index.to_numpy()]
    system, own, highest = (of[rows] for of in (beside.time_s, beside.own_s, beside.own_highest_s))
    cost, faults, spread, probe = (
        tried[name].to_numpy(dtype=float) for name in ("allocator_penalty", "system_page_faults", "spread", "noise")
    )
    noise = np.fmax(with_least_noise(spread, np.ones(len(tried), dtype=np.int64), probe), ALLOCATOR_COST)
    proven: Mask = (cost > noise) & (system > highest) & (cost * own <= faults * MOST_PER_FAULT_S)
    return proven


def _percents(costs: Floats) -> str:
    """`12 % to 60 %`, of many cases `25 % in the median and 12 % to 60 %`; of large costs `1.1x to 358x the time`."""
    large = costs.max() >= 1

    def text(cost: float) -> str:
        return units.ratio(1 + cost) if large else units.percent(cost, 0)

    ends = " to ".join(dict.fromkeys(text(float(end)) for end in (costs.min(), costs.max())))
    ends += " the time" if large else ""
    return ends if len(costs) < MEDIAN_LEAST else f"{text(float(np.median(costs)))} in the median and {ends}"
