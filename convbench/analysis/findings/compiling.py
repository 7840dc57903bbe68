"""After how many calls compiling a layer has paid for itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from convbench import units
from convbench.analysis.findings.effects import SMALLEST_EFFECT
from convbench.analysis.findings.evidence import Evidence
from convbench.analysis.findings.finding import Finding, FindingKind, Weight, of_matched
from convbench.analysis.findings.pairs import Floats
from convbench.model.settings import Execution

#: How the first call of each execution is called where it prepares the later ones.
_WORDS = {Execution.COMPILED: "compiling", Execution.GRAPH: "capturing a graph"}


def paid_for_itself(evidence: Evidence) -> list[Finding]:
    """`compiling takes 1.2 s to 3.4 s more in the first call, and has paid for itself after 900 to 12,000 calls`.

    What a layer must save is its first call's time beyond the first call of the eager one. It saves the difference of
    their leading times at each call. Pairs whose difference is noise save nothing that is known.
    """
    if Execution.EAGER not in evidence.pairs.values["execution"]:
        return []
    found = []
    first, times = (evidence.pairs.table[name].to_numpy(dtype=float) for name in ("first_call_s", "time_s"))
    for value, pairs in evidence.against("execution", Execution.EAGER):
        more = first[pairs.other] - first[pairs.base]
        some = pairs.faster(SMALLEST_EFFECT) & (more > 0)
        if not some.any():
            continue
        saved = times[pairs.base] * (1 - pairs.ratio)
        calls = np.ceil(more[some] / saved[some])
        sentence = (
            f"{_WORDS[Execution(str(value))]} adds {_range(more[some], units.seconds)} to the first call, and has paid "
            f"for itself after {_range(calls, lambda number: units.count(round(number)))} calls in the "
            f"{of_matched(int(some.sum()), len(pairs))} that it makes faster"
        )
        found.append(
            Finding(
                weight=Weight.EFFECT,
                kind=FindingKind.COMPILING,
                size=1.0,
                sentence=sentence,
                axis="execution",
                cases=evidence.cases(pairs, some),
                share=float(some.mean()),
                paired=True,
            )
        )
    return found


def _range(values: Floats, text: Callable[[float], str]) -> str:
    """`1.2 s to 3.4 s`, or one of both where they are written alike."""
    return " to ".join(dict.fromkeys((text(float(values.min())), text(float(values.max())))))
