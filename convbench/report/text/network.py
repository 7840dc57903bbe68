"""What `convbench run` prints about a network: what other settings gain, and which layers to fix first. Pure."""

from __future__ import annotations

import math

from convbench import units
from convbench.analysis.findings.answering import change_verdict
from convbench.analysis.findings.answers import Answers, Proof, known
from convbench.analysis.findings.finding import listed
from convbench.analysis.findings.network import percent_of
from convbench.analysis.network.parts import Part
from convbench.analysis.network.paths import without_common
from convbench.report.text.tables import folded, table

#: What a part takes where a way lacks layers.
_NONE = "-"


def network_text(found: Answers, columns: int | None = None) -> str:
    """A table of each part with each setting for all layers and with the best for each; then what to fix first.

    No line is longer than `columns`.
    """
    settings = [_settings(found, part, columns) for part in found.parts] if found.changes else []
    left_out = "\n".join(folded(f"left out {each}", columns) for each in found.left_out)
    return "\n\n".join(filter(None, [*settings, _fixes(found, columns), left_out]))


def _settings(found: Answers, part: Part, columns: int | None) -> str:
    """The sums of a part, and how many times faster or slower they are than with the usual settings."""
    usual_s = known(found.usual, part)
    rows = [(str(part), "against usual", "settings")]
    rows.append((units.seconds(usual_s), "usual", f"{found.usual.name} for all layers"))
    for change in found.changes:
        seconds = change.seconds[part]
        takes = units.seconds(seconds) if math.isfinite(seconds) else _NONE
        rows.append((takes, change_verdict(change, part), f"{change.name} for all layers"))
    for mixed in found.mixtures:
        if mixed.part is part and mixed.is_gain:
            proven = mixed.base_proof is Proof.FASTER
            faster = f"{units.ratio(usual_s / mixed.seconds)} faster" if proven else str(mixed.base_proof)
            rows.append((units.seconds(mixed.seconds), faster, f"the best {listed(mixed.axes)} for each layer"))
    return table(rows, columns, right=range(1))


def _fixes(found: Answers, columns: int | None) -> str:
    """The layers that would save most at the roofs, with the fastest settings."""
    way, fixes = found.ways[-1], found.fixes[-1]
    if not fixes:
        return ""
    total = known(way, found.part)
    how = f" with {way.name}" if way.name else ""
    module, names = without_common([fix.layer.name for fix in fixes])
    inside = f", all in {module}" if module else ""
    rows = [("times", "takes", "would save", f"worth fixing first in one {found.part}{how}{inside}")]
    for fix, name in zip(fixes, names, strict=True):
        saved = f"{units.seconds(fix.saved_s)} ({percent_of(fix.saved_s, total)})"
        rows.append((units.count(fix.layer.count), units.seconds(fix.seconds), saved, name))
    return table(rows, columns, right=range(3))
