"""A finding on layers of a device that take longer to launch than to run."""

from __future__ import annotations

import numpy as np

from convbench import units
from convbench.analysis.findings.evidence import Evidence
from convbench.analysis.findings.finding import Finding, FindingKind, Weight, farthest, ids
from convbench.model.result import Status


def launch_bound(evidence: Evidence) -> list[Finding]:
    """Layers whose launch takes longer than their work, and what a graph would save, which launches many at once."""
    passed = evidence.of_status(Status.PASSED)
    known = passed[passed["host_s"].notna()]
    known = known.assign(saved=known["host_s"] - known["typical_s"], ratio=known["host_s"] / known["typical_s"])
    slow = known[known["bound"] == "launch"].sort_values("saved", ascending=False, kind="stable")
    if slow.empty:
        return []
    saved = slow["saved"].to_numpy(dtype=float)
    ends = " to ".join(dict.fromkeys(units.seconds(float(end)) for end in (saved.min(), saved.max())))
    sentence = (
        f"{units.count(len(slow))} of {units.plural(len(known), 'case')} "
        f"{'is' if len(slow) == 1 else 'are'} launch-bound: Python launches slower than the device works, and a graph "
        f"would save up to {ends} of each call, {'the most for' if len(slow) > 1 else 'for'} {farthest(slow)}"
    )
    return [
        Finding(
            weight=Weight.EFFECT,
            kind=FindingKind.LAUNCH,
            size=float(np.median(slow["ratio"])),
            sentence=sentence,
            cases=ids(slow),
            share=len(slow) / len(known),
        )
    ]
