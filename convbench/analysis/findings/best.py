"""One headline a setting: what the best value for each layer, and one for all, gain over the whole sweep.

A layer here is everything that one cannot choose. That is the problem, the direction, and the settings of the
measurement (cache, data) and of the result (bias, padding mode, deterministic). Times are sums of those that rank the
cases in the table. A setting is chosen for a layer where it is faster than the usual one by more than noise. It is
called the best where every other setting was judged against it too.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from convbench import units
from convbench.analysis.findings.effects import SMALLEST_EFFECT
from convbench.analysis.findings.evidence import Evidence
from convbench.analysis.findings.finding import Finding, FindingKind, Weight, with_details
from convbench.analysis.findings.layers import choice_text
from convbench.analysis.findings.pairs import RANKED, Floats, Integers, Mask
from convbench.analysis.findings.precision import precision
from convbench.model.settings import SETTINGS, TABLE

#: Settings that one may choose for a given layer.
CHOICES = tuple(name for name, row in TABLE.items() if row.choice)


#: Findings on two values of a setting that stand below the setting's headline.
_BELOW = (FindingKind.EFFECT, FindingKind.FALLBACK, FindingKind.THREADS, FindingKind.MODULE)


def best(evidence: Evidence, effects: Sequence[Finding], said: Collection[str] = ()) -> list[Finding]:
    """`the best dtype for each layer makes the whole sweep 1.4x faster ...`: a headline for each setting, or none.

    Settings that were `said` have none: the answers about a network count what a mixture pays between layers.

    The `effects` of the setting on matched pairs become its details; those of settings without a headline stay.
    """
    rest, headlines = list(effects), []
    for axis in CHOICES:
        is_asked = axis in evidence.pairs.swept() and axis not in said
        options = _options(evidence, (axis,)) if is_asked else None
        headline = _gain(evidence, axis, options) if options else None
        if headline:
            below = [effect for effect in rest if effect.axis == axis and effect.kind in _BELOW]
            rest = [effect for effect in rest if effect not in below]
            details = tuple(replace(each, details=()) for each in with_details(below))
            headlines.append(replace(headline, details=details))
    return [*headlines, *rest]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """The layers that were measured with the usual setting, and their cases with every setting.

    - `rows` are the cases, as positions in `Matched.table`; `layer` and `setting` number theirs. `noise` is that of the
      pair with the usual setting, infinite where they were not compared.
    - `usual` and `chosen` are the cases of each layer with the usual and the chosen setting. The chosen one is the
      fastest of those that are faster than the usual one by more than noise, else the usual one.
    - `hidden` are the layers of which it is not known that the chosen setting is the best.
    - `lacking` is whether any setting of any layer was not measured or not judged at all.
    """

    rows: Integers
    layer: Integers
    setting: Integers
    noise: Floats
    usual: Integers
    chosen: Integers
    hidden: Mask
    lacking: bool


def _options(evidence: Evidence, choices: tuple[str, ...]) -> _Options | None:
    matched = evidence.pairs
    rows = np.flatnonzero(matched.once)
    settings = matched.groups(axis for axis in matched.swept() if axis not in choices)[rows]
    _, layer = np.unique(matched.groups(choices)[rows], return_inverse=True)
    _, setting = np.unique(settings, return_inverse=True)
    # A sweep may ask for one point twice (one thread, and one by default). The first of them counts.
    _, first = np.unique(layer * (int(setting.max(initial=0)) + 1) + setting, return_index=True)
    rows, layer, setting = rows[first], layer[first], setting[first]
    is_usual = np.ones(len(rows), dtype=bool)
    for axis in choices:
        is_usual &= matched.codes[axis].to_numpy()[rows] == matched.values[axis].index(evidence.base(axis))
    kept = np.isin(layer, layer[is_usual])
    rows, setting, is_usual = rows[kept], setting[kept], is_usual[kept]
    numbers, layer = np.unique(layer[kept], return_inverse=True)
    if len(rows) == len(numbers):
        return None  # no other setting was measured
    usual = np.zeros(len(numbers), dtype=np.int64)
    usual[layer[is_usual]] = rows[is_usual]
    noise, gain, _ = _against(evidence, usual[layer], rows)
    time = matched.table["time_s"].to_numpy(dtype=float)[rows]
    # The usual case or a faster one of each layer, the fastest first.
    order = np.lexsort((np.where(gain | is_usual, time, np.inf), layer))
    chosen = rows[order[np.unique(layer[order], return_index=True)[1]]]
    _, _, beaten = _against(evidence, chosen[layer], rows)
    unjudged = ~beaten & (rows != chosen[layer])
    missing = _unmeasured(evidence, choices, rows[is_usual])[np.argsort(layer[is_usual])]
    hidden = missing | (np.bincount(layer[unjudged], minlength=len(numbers)) > 0)
    return _Options(
        rows=rows,
        layer=layer,
        setting=setting,
        noise=noise,
        usual=usual,
        chosen=chosen,
        hidden=hidden,
        lacking=bool(missing.any() or np.isinf(noise).any()),
    )


def _against(evidence: Evidence, base: Integers, other: Integers) -> tuple[Floats, Mask, Mask]:
    """For pairs of cases: their noise, where `other` is faster, and where it cannot be faster by `SMALLEST_EFFECT`.

    Pairs that were not timed together in enough processes are neither, and have infinite noise.
    """
    noise = np.where(base == other, 0.0, np.inf)
    faster, beaten = np.zeros(len(base), dtype=bool), np.zeros(len(base), dtype=bool)
    differ = np.flatnonzero(base != other)
    pairs = evidence.comparer.compare(base[differ], other[differ])
    place = differ[np.flatnonzero(np.isin(other[differ], pairs.other))]
    sure = place[pairs.alone]
    judged = pairs.only(pairs.alone)
    noise[sure] = judged.noise
    faster[sure] = judged.faster(SMALLEST_EFFECT)
    beaten[sure] = judged.slower() | (judged.ratio * SMALLEST_EFFECT > 1 + judged.noise)
    return noise, faster, beaten


def _unmeasured(evidence: Evidence, choices: tuple[str, ...], usual: Integers) -> Mask:
    """The layers of the `usual` cases with a setting that was not reached or whose times prove nothing."""
    table = evidence.table
    compared = np.zeros(len(table), dtype=bool)
    compared[evidence.places] = True
    status = table["status"]
    waiting = status.isna().to_numpy(dtype=bool) | ((status == RANKED).fillna(False).to_numpy(dtype=bool) & ~compared)
    if not waiting.any():
        return np.zeros(len(usual), dtype=bool)
    # How many threads torch would have used is not known of a case that was not reached.
    apart = {*choices, "threads"} if table["threads"][waiting].isna().any() else choices
    fixed = [axis for axis in SETTINGS if axis not in apart and table[axis].nunique(dropna=False) > 1]
    if not fixed:
        return np.ones(len(usual), dtype=bool)
    layer = table.groupby(fixed, dropna=False, sort=False).ngroup().to_numpy()
    return np.isin(layer[evidence.places[usual]], layer[waiting])


def _gain(evidence: Evidence, axis: str, found: _Options) -> Finding | None:
    table = evidence.pairs.table
    cost = table["time_s"].to_numpy(dtype=float) * table["count"].to_numpy(dtype=float)
    usual_s, best_s = float(cost[found.usual].sum()), float(cost[found.chosen].sum())
    better = found.chosen != found.usual
    size = usual_s / best_s
    if size < SMALLEST_EFFECT:
        return None

    def name(position: int) -> str:
        return choice_text(axis, table[axis].iloc[position])

    usual, hidden = name(int(found.usual[0])), int(found.hidden.sum())
    names = set(map(name, found.chosen))
    always = len(names) == 1 and not hidden
    one = None if always else _one_for_all(found, cost, usual_s)
    which = f"choosing {axis} layer by layer" if hidden else f"the best {axis} for each layer"
    more = f", always {names.pop()}" if always else ""
    if one and one.is_proven and one.seconds < best_s:  # layer by layer, only proven gains are chosen
        which, best_s, size = f"{name(one.row)} for all", one.seconds, usual_s / one.seconds
    elif one:
        more = f". One value for all, {name(one.row)}, {one.gain}" if one.gain else _UNKNOWN
    counted = ", with each layer as often as it occurs" if (table["count"].to_numpy() != 1).any() else ""
    doubt = f"; in {units.plural(hidden, 'layer')} noise or missing times hide which is the best" if hidden else ""
    sentence = (
        f"{which} makes the whole sweep {units.ratio(size)} faster than {usual}: {units.seconds(best_s)} instead of "
        f"{units.seconds(usual_s)}{counted}{doubt}{more}"
    )
    chosen = table[axis].iloc[found.chosen[better]]
    usual_value, most = evidence.base(axis), chosen.mode(dropna=False).astype(object).tolist()[0]
    values = usual_value, None if pd.isna(most) else most
    return Finding(
        weight=Weight.EFFECT,
        kind=FindingKind.BEST,
        size=size,
        sentence=sentence + precision(evidence, axis, *values),
        axis=axis,
        cases=tuple(map(str, table["case_id"].iloc[np.sort(found.chosen[better])])),
        share=float(better.mean()),
        values=values,
    )


#: Where noise hides which value is the best for all layers.
_UNKNOWN = ". Noise hides which value is the best for all"


@dataclass(frozen=True, slots=True, kw_only=True)
class _One:
    """The value that makes the lowest sum if all layers take it: one of its cases, the sum, and the gain in words.

    `gain` is "" where noise hides which value that is.
    """

    row: int
    seconds: float
    gain: str

    @property
    def is_proven(self) -> bool:
        """Whether it gains by more than noise."""
        return self.gain.endswith("faster")


def _one_for_all(found: _Options, cost: Floats, usual_s: float) -> _One | None:
    """The best value for all; None where any setting lacks a layer's time: the best one may be among them."""
    total, sooner, later, seen = (
        np.bincount(found.setting, weights=weights)
        for weights in (
            cost[found.rows],
            cost[found.rows] / (1 + found.noise),
            cost[found.rows] * (1 + found.noise),
            np.ones(len(found.rows)),
        )
    )
    own = found.setting[found.rows == found.usual[0]][0]
    others = np.flatnonzero((seen == len(found.usual)) & (np.arange(len(seen)) != own))
    if found.lacking or not len(others):
        return None
    top = int(others[np.argmin(total[others])])
    rivals = others[others != top]
    size = usual_s / float(total[top])
    if (sooner[rivals] * SMALLEST_EFFECT < total[top]).any():
        gain = ""
    elif 1 / SMALLEST_EFFECT < size < SMALLEST_EFFECT:
        gain = "gains less than 5 %"
    elif sooner[top] < usual_s < later[top]:
        gain = "differs within noise"
    else:
        gain = f"is {units.ratio(size)} faster" if size > 1 else f"is {units.ratio(1 / size)} slower"
    return _One(row=int(found.rows[found.setting == top][0]), seconds=float(total[top]), gain=gain)
