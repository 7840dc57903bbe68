"""Cliffs: sizes that take much more time per FLOP than the next smaller one, all else equal.

Larger layers usually take less time per FLOP. So a rise is unusual at every size, and a fall is not.
"""

from __future__ import annotations

import numpy as np

from convbench import units
from convbench.analysis.findings.evidence import Evidence, number
from convbench.analysis.findings.finding import (
    Finding,
    FindingKind,
    Weight,
    aside,
    line,
    listed,
    of_matched,
    setting_text,
    value_text,
)
from convbench.analysis.findings.pairs import Mask, MatchedPairs
from convbench.analysis.findings.sizes import sizes

#: A size is called a cliff from this ratio of its time per FLOP to that of the next smaller size on. Blocked kernels
#: show ratios below 1.5 at every size that is not a multiple of their vectors.
CLIFF_RATIO = 1.5
#: Cliffs of one setting that get a sentence each; the others share one.
MOST_SENTENCES = 3
#: Values named in that sentence.
MOST_NAMED = 8

#: A size and the next smaller one are compared up to this ratio: sizes farther apart make different kinds of layers.
NEIGHBOUR = 2.0

#: Settings that are sizes. Stride, dilation and groups are not: other values than 1 make different kinds of layers.
AXES = ("in_channels", "out_channels", "kernel_size", "batch_size", "input_size")


def cliffs(evidence: Evidence) -> list[Finding]:
    """`in_channels=65 takes 1.9x the time per FLOP of in_channels=64 in 8 of 8 matched cases`."""
    return [finding for axis in AXES if axis in evidence.pairs.swept() for finding in _along(evidence, axis)]


def _along(evidence: Evidence, axis: str) -> list[Finding]:
    values = evidence.pairs.values[axis]
    sizes = np.array([number(value) for value in values])
    code = evidence.pairs.codes[axis].to_numpy()
    position, group = evidence.pairs.sides(axis)
    has_size = np.isfinite(sizes[code[position]])
    position, group = position[has_size], group[has_size]
    order = np.lexsort((sizes[code[position]], group))
    position, group = position[order], group[order]
    size = sizes[code[position]]
    neighbours = np.flatnonzero((group[1:] == group[:-1]) & (size[1:] <= NEIGHBOUR * size[:-1]))
    pairs = evidence.comparer.compare(position[neighbours], position[neighbours + 1], per_flop=True)
    pairs = evidence.comparer.distinct(axis, pairs)
    is_cliff = _is_cliff(pairs)
    steps = code[pairs.base] * len(values) + code[pairs.other]
    found = []
    for step in np.unique(steps[is_cliff]).tolist():
        smaller, larger = divmod(step, len(values))
        there = pairs.only(steps == step)
        found.append((_cliff(evidence, axis, values[smaller], values[larger], there), values[larger]))
    found.sort(key=lambda cliff: (-cliff[0].importance, number(cliff[1])))
    shown = [cliff for cliff, _ in found[: MOST_SENTENCES if len(found) > MOST_SENTENCES + 1 else None]]
    return [*shown, _others(axis, found[len(shown) :])] if len(found) > len(shown) else shown


def _is_cliff(pairs: MatchedPairs) -> Mask:
    """Which pairs are cliffs by themselves: by the interval and the number of processes that a comparison needs."""
    return pairs.slower(CLIFF_RATIO) & pairs.alone


def _cliff(evidence: Evidence, axis: str, smaller: object, larger: object, pairs: MatchedPairs) -> Finding:
    is_cliff = _is_cliff(pairs)
    size, place = sizes(evidence, pairs, is_cliff), evidence.place(axis, pairs, is_cliff)
    sentence = (
        f"{setting_text(axis, larger)} takes {size.size} the time per FLOP of {setting_text(axis, smaller)} in "
        f"{'the median of ' if size.has_median else ''}{of_matched(int(is_cliff.sum()), len(pairs))}"
        f"{aside(', '.join(part for part in (place, size.range if size.has_median else '') if part))}"
    )
    if is_cliff.sum() < len(pairs) or len(pairs) == 1 or size.varies:
        highest = int(np.where(is_cliff, pairs.ratio, 0).argmax())
        ran = line(evidence.ran(pairs.other[[highest]])[0])
        several = "the largest ratio is that of " if is_cliff.sum() > 1 else ""
        sentence += f": {several}{line(evidence.label(int(pairs.other[highest])))}{f', which ran {ran}' if ran else ''}"
    sentence += evidence.followers(axis, pairs)
    return Finding(
        weight=Weight.EFFECT,
        kind=FindingKind.CLIFF,
        size=size.median,
        sentence=sentence,
        axis=axis,
        cases=evidence.cases(pairs, is_cliff),
        share=float(is_cliff.mean()),
        paired=True,
        values=evidence.sides(axis, pairs),
    )


def _others(axis: str, found: list[tuple[Finding, object]]) -> Finding:
    """One finding for the cliffs of a setting that have no sentence of their own."""
    names = [value_text(value) for _, value in sorted(found, key=lambda cliff: number(cliff[1]))]
    more = [f"{units.count(len(names) - MOST_NAMED)} more"] if len(names) > MOST_NAMED else []
    return Finding(
        weight=Weight.WORK,
        kind=FindingKind.CLIFF,
        size=max(cliff.size for cliff, _ in found),
        sentence=f"other values of {axis} take at least {units.ratio(CLIFF_RATIO)} the time per FLOP of the next "
        f"smaller value in some cases: {listed([*names[:MOST_NAMED], *more])}",
        axis=axis,
        cases=tuple(sorted({case for cliff, _ in found for case in cliff.cases})),
        share=sum(cliff.share for cliff, _ in found) / len(found),
    )
