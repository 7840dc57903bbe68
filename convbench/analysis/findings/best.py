"""The best setting of each layer, and what choosing it gains over the whole sweep.

A layer here is everything that one cannot choose. That is the problem, the direction, and the settings of the
measurement (cache, data) and of the result (bias, padding mode, deterministic). Each setting is compared with the usual
setting of the same layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convbench import units
from convbench.analysis.findings.effects import SMALLEST_EFFECT
from convbench.analysis.findings.evidence import Evidence
from convbench.analysis.findings.finding import Finding, FindingKind, Weight, listed, value_text
from convbench.analysis.findings.pairs import Floats, Integers, MatchedPairs
from convbench.model.settings import TABLE

#: Settings that one may choose for a given layer.
CHOICES = tuple(name for name, row in TABLE.items() if row.choice)


def best(evidence: Evidence) -> list[Finding]:
    """`the best dtype for each layer makes the whole sweep 1.4x faster ...`: one finding, or none within noise."""
    choices = tuple(axis for axis in CHOICES if axis in evidence.pairs.swept())
    alternatives = _alternatives(evidence, choices) if choices else None
    return _gain(evidence, choices, alternatives) if alternatives and len(alternatives.pairs) else []


@dataclass(frozen=True, slots=True, kw_only=True)
class _Alternatives:
    """Every layer with every other setting, paired with the usual setting.

    `layer` and `setting` number the layer and the setting of each pair. `ratio` is the time over the usual setting's
    time, and 1 where both differ by little or within noise. `usual` are the positions of the cases with the usual
    setting.
    """

    pairs: MatchedPairs
    layer: Integers
    setting: Integers
    ratio: Floats
    usual: Integers


def _alternatives(evidence: Evidence, choices: tuple[str, ...]) -> _Alternatives | None:
    matched = evidence.pairs
    settings = matched.groups(axis for axis in matched.swept() if axis not in choices)
    _, layer = np.unique(matched.groups(choices), return_inverse=True)
    _, setting = np.unique(settings, return_inverse=True)
    # A sweep may ask for one point twice (one thread, and one by default). The first of them counts.
    _, once = np.unique(layer * (int(setting.max(initial=0)) + 1) + setting, return_index=True)
    usual = np.ones(len(layer), dtype=bool)
    for axis in choices:
        usual &= matched.codes[axis].to_numpy() == matched.values[axis].index(evidence.base(axis))
    bases = once[usual[once]]
    if not len(bases):
        return None
    base_of = np.full(int(layer.max()) + 1, -1)
    base_of[layer[bases]] = bases
    others = once[~usual[once] & (base_of[layer[once]] >= 0)]
    pairs = evidence.comparer.compare(base_of[layer[others]], others)
    differs = pairs.faster(SMALLEST_EFFECT) | pairs.slower(SMALLEST_EFFECT)
    return _Alternatives(
        pairs=pairs,
        layer=layer[pairs.other],
        setting=setting[pairs.other],
        ratio=np.where(differs, pairs.ratio, 1.0),
        usual=bases,
    )


def _gain(evidence: Evidence, choices: tuple[str, ...], found: _Alternatives) -> list[Finding]:
    pairs = found.pairs
    table = evidence.pairs.table
    cost = table["floor_s"].to_numpy(dtype=float) * table["count"].to_numpy(dtype=float)
    usual_s = float(cost[found.usual].sum())
    # The pairs of each layer, its best first.
    order = np.lexsort((pairs.other, found.ratio, found.layer))
    tops = order[np.unique(found.layer[order], return_index=True)[1]]
    better = tops[found.ratio[tops] < 1]
    best_s = usual_s - float((cost[pairs.base[better]] * (1 - found.ratio[better])).sum())
    size = usual_s / best_s
    if size < SMALLEST_EFFECT:
        return []

    def name(position: int) -> str:
        return " ".join(choice_text(axis, table[axis].iloc[position]) for axis in choices)

    settings, counts = np.unique(found.setting[better], return_counts=True)
    favourite = settings[counts.argmax()]
    one, one_size = _one_for_all(found, cost, usual_s)
    usual = name(int(found.usual[0]))
    counted = ", with each layer as often as it occurs" if (table["count"].to_numpy() != 1).any() else ""
    several = len(evidence.pairs.values["direction"]) > 1
    layers = f"layer{'s' if len(tops) > 1 else ''}{' (each direction by itself)' if several else ''}"
    sentence = (
        f"the best {listed(choices)} for each layer makes the whole sweep {units.ratio(size)} faster than {usual} for "
        f"all: {units.seconds(best_s)} instead of {units.seconds(usual_s)}{counted}. Another setting is better in "
        f"{units.count(len(better))} of {units.count(len(tops))} {layers}"
    )
    if len(settings) > 1:
        example = name(int(pairs.other[better][found.setting[better] == favourite][0]))
        sentence += f", {example} is the best in {units.count(int(counts.max()))}"
    else:
        sentence += f", always {name(int(pairs.other[better][0]))}"
    if len(settings) > 1 or len(better) < len(tops):
        gain = f"is {units.ratio(one_size)} faster" if one_size >= SMALLEST_EFFECT else "gains less than 5 %"
        sentence += f". One setting for all, {name(one)}, {gain}"
    return [
        Finding(
            weight=Weight.EFFECT,
            kind=FindingKind.BEST,
            size=size,
            sentence=sentence,
            axis=choices[0] if len(choices) == 1 else None,
            cases=tuple(map(str, table["case_id"].iloc[np.sort(pairs.other[better])])),
            share=len(better) / len(tops),
        )
    ]


def _one_for_all(found: _Alternatives, cost: Floats, usual_s: float) -> tuple[int, float]:
    """(a case of the setting that saves most time if all its layers use it, how many times faster the sweep is)."""
    saved = np.bincount(found.setting, weights=cost[found.pairs.base] * (1 - found.ratio))
    top = int(found.setting[np.argmax(saved[found.setting])])
    return int(found.pairs.other[found.setting == top][0]), usual_s / (usual_s - float(saved[top]))


def choice_text(axis: str, value: object) -> str:
    """A value in the name of a combination of settings: `bfloat16`, `threads=2`."""
    return value_text(value) if TABLE[axis].is_clear_alone else f"{axis}={value_text(value)}"
