"""How a setting changes the time, all else equal: findings from matched pairs.

Settings of execution leave the work as it is and are compared by time. Settings that change the work are compared by
time per FLOP. Directions are compared by time over their share of the work.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from convbench import units
from convbench.analysis.findings.evidence import Evidence, in_order
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
from convbench.analysis.findings.sizes import Sizes, sizes
from convbench.analysis.findings.trouble import FATES
from convbench.model.problem import PRODUCTS, Direction
from convbench.model.result import Status
from convbench.model.settings import OF_CASE, OF_PROBLEM, TABLE

#: Effects below this ratio are not reported, even where they exceed the noise. A minimum falls by up to 1.8 % with more
#: blocks, and settled cases have fewer blocks.
SMALLEST_EFFECT = 1.05
#: A dtype that takes this many times as long as another has no kernels of its own on this machine. On a CPU without
#: float16 kernels, float16 took 36 times as long as float32. float64 does twice the work of
#: float32, so the ratio is larger than 2.
FALLBACK_RATIO = 3.0
#: A direction is reported from this ratio to its share of the work on. On a CPU 1.3 to 1.9 is usual for backward.
OUT_OF_LINE = 2.0
#: Two modules are as fast as each other if they differ by less than this ratio, even at the end of their noise.
AS_FAST = 1.10
#: An effect that more than this share of the pairs shows is general.
MOST = 0.5
#: An effect that half of the pairs or fewer show is reported from this share and this number of pairs on. A single pair
#: may be chance.
MIXED_SHARE = 0.2
MIXED_LEAST = 2

#: Implementations of a slow dtype that are named.
MOST_NAMED = 2

#: The worker reports this where it cannot name the implementation (worker/implementation.py).
UNKNOWN = "unknown"

#: Settings that leave the work as it is: those of a case, then those of its problem.
EXECUTION = tuple(name for name, row in (OF_CASE | OF_PROBLEM).items() if row.execution)
#: Settings that change the amount of work. They are compared by time per FLOP.
WORK = tuple(name for name, row in TABLE.items() if row.work)
#: What became of the cases of a setting that its effect leaves out.
_FATES = {**FATES, Status.FAILED: "computed a wrong result", Status.IMPRECISE: "computed in less precision"}
#: Settings whose findings have a kind of their own.
_KINDS = {"threads": FindingKind.THREADS, "module": FindingKind.MODULE}
#: Settings that choose the type in which the kernels compute.
_TYPES = ("dtype", "autocast")


def execution(evidence: Evidence) -> list[Finding]:
    """`bfloat16 is 1.8x faster than float32 in 34 of 36 matched cases, 2 within noise`."""
    found = []
    for axis in EXECUTION:
        if axis in evidence.pairs.swept():
            base = evidence.base(axis)
            for value, pairs in evidence.against(axis, base):
                effects = _faster_or_slower(evidence, axis, base, value, pairs)
                if axis == "module" and not effects:
                    as_fast = _as_fast(evidence, base, value, pairs)
                    effects = [as_fast] if as_fast else []
                found += effects
    return found


def _faster_or_slower(evidence: Evidence, axis: str, base: object, other: object, pairs: MatchedPairs) -> list[Finding]:
    names = [TABLE[axis].phrase.format(value_text(value)) for value in (other, base)]
    fallback = _fallback(evidence, axis, names, pairs) if axis in _TYPES else None
    if fallback and fallback.share > MOST:
        return [fallback]
    effect = _effect_of(evidence, axis, names, pairs, ("faster", "slower"))
    lost = lost_with(evidence, axis, other)
    found = [finding for finding in (effect, fallback) if finding]
    return [replace(each, sentence=each.sentence + lost, details=tuple(found[1:])) for each in found[:1]]


def lost_with(evidence: Evidence, axis: str, value: object) -> str:
    """`; 1 of its 12 cases crashed, 2 are wrong`: what a value of a setting could not do anywhere in the run."""
    column = evidence.table[axis]
    own = evidence.table[(column.isna() if value is None else column == value).fillna(False).to_numpy(dtype=bool)]
    counts = own["status"].value_counts()
    fates = [f"{units.count(int(counts[status]))} {word}" for status, word in _FATES.items() if status in counts]
    return f"; of its {units.plural(len(own), 'case')} {listed(fates)}" if fates else ""


def differing(pairs: MatchedPairs) -> tuple[Mask, Mask, bool]:
    """Where the other side is faster and where it is slower; and whether these are all that differ.

    Few of many pairs may differ by chance, so only pairs that prove something by themselves count there.
    """
    below, above = pairs.faster(SMALLEST_EFFECT), pairs.slower(SMALLEST_EFFECT)
    if (below | above).mean() > MOST:
        return below, above, True
    return below & pairs.alone, above & pairs.alone, bool(pairs.alone[below | above].all())


def _effect_of(
    evidence: Evidence, axis: str, names: list[str], pairs: MatchedPairs, words: tuple[str, str]
) -> Finding | None:
    """The effect that most of the pairs show, or that many show; None where there is neither.

    `words` are used for a ratio below 1 and above 1.
    """
    below, above, are_all = differing(pairs)
    if (below | above).mean() <= MOST and (below | above).sum() < max(MIXED_LEAST, MIXED_SHARE * len(pairs)):
        return None
    ordered = [(below, words[0]), (above, words[1])]
    ordered.sort(key=lambda part: -int(part[0].sum()))
    (most, word), (fewer, contrary) = ordered
    sentence = f"{names[0]} is {_comparison(evidence, axis, names[1], pairs, (most, fewer), (word, contrary), are_all)}"
    return _effect(evidence, axis, sentence, pairs, most, fewer)


def _comparison(
    evidence: Evidence,
    axis: str,
    base: str,
    pairs: MatchedPairs,
    masks: tuple[Mask, Mask],
    words: tuple[str, str],
    are_all: bool = True,
) -> str:
    """`1.20x to 3.10x faster than float32 in 5 of 6 matched cases (the largest in n1 c8 ...)`.

    Where pairs disagree, the split comes first: `faster than float32 in 7 of 12 matched cases (2.00x), slower in 5
    (1.10x to 65.0x, at in_channels=3, the largest in n1 c3 ...)`.
    """
    some, contrary = masks
    size, place = sizes(evidence, pairs, some), evidence.place(axis, pairs, some)
    of_all = of_matched(int(some.sum()), len(pairs))
    if contrary.any():
        other, there = sizes(evidence, pairs, contrary), evidence.place(axis, pairs, contrary)
        text = (
            f"{words[0]} than {base} in {of_all}{aside(size.with_place(place))}, {words[1].partition(' ')[0]} in "
            f"{units.count(int(contrary.sum()))}{aside(other.with_place(there))}"
        )
    else:
        middle = "the median of " if size.has_median else ""
        text = f"{size.size} {words[0]} than {base} in {middle}{of_all}{aside(_joined(place, *size.rest))}"
    return text + _others(int(len(pairs) - some.sum() - contrary.sum()), are_all) + evidence.followers(axis, pairs)


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _others(rest: int, are_all: bool) -> str:
    """The words for the `rest` of the pairs; pairs of few processes are among them unless `are_all` that differ."""
    if not rest:
        return ""
    others = "the other differs" if rest == 1 else f"the other {units.count(rest)} differ"
    small = f"by less than {units.percent(SMALLEST_EFFECT - 1, 0)}"
    if are_all:
        return f"; {others} {small} or within noise"
    return f"; {others} {small}, within noise, or in too few processes"


def _effect(
    evidence: Evidence, axis: str, sentence: str, pairs: MatchedPairs, some: Mask, against: Mask | None = None
) -> Finding:
    """A finding on some of the pairs. The pairs `against` contradict it by more than noise.

    Where neither are most of the pairs, both show the finding: that it is mixed.
    """
    contrary = np.zeros(len(pairs), dtype=bool) if against is None else against
    shown = some if some.mean() > MOST else some | contrary
    return Finding(
        weight=Weight.EFFECT if axis in EXECUTION else Weight.WORK,
        kind=_KINDS.get(axis, FindingKind.EFFECT if axis in EXECUTION else FindingKind.WORK),
        size=sizes(evidence, pairs, some).median,
        sentence=sentence,
        axis=axis,
        cases=evidence.cases(pairs, shown),
        exceptions=evidence.cases(pairs, contrary & ~shown),
        share=float(shown.mean()),
        paired=True,
        values=evidence.sides(axis, pairs),
    )


def _fallback(evidence: Evidence, axis: str, names: list[str], pairs: MatchedPairs) -> Finding | None:
    """`float16 has no fast code here: it takes 36.0x as long as float32 in 10 of 12 matched cases, with Slow2d`.

    Where it is slow in few of them, the first half is left out: there is fast code, but not for these layers. The
    effect of the setting has the median then, so this says the range alone.
    """
    slow = pairs.slower(FALLBACK_RATIO)
    is_general = slow.mean() > MOST
    slow = slow if is_general else slow & pairs.alone
    if not slow.any():
        return None
    size, place = sizes(evidence, pairs, slow), evidence.place(axis, pairs, slow)
    slowly = "has no fast code here: it " if is_general else ""
    has_median = size.has_median and is_general
    largest = size.rest if has_median else size.rest[-1:]
    sentence = (
        f"{names[0]} {slowly}takes {size.size if has_median else size.range} as long as {names[1]} in "
        f"{'the median of ' if has_median else ''}{of_matched(int(slow.sum()), len(pairs))}"
        f"{aside(_joined(place, *largest))}{_ran(evidence, pairs, slow)}"
    )
    # Where it is slow for a few layers, the others contradict nothing and have a finding of their own.
    faster = pairs.faster(SMALLEST_EFFECT) & is_general
    if faster.any():
        gain = sizes(evidence, pairs, faster)
        sentence += f"; it is faster in {units.count(int(faster.sum()))} ({gain.with_place('')})"
    return Finding(
        weight=Weight.EFFECT,
        kind=FindingKind.FALLBACK,
        size=size.median,
        sentence=sentence,
        axis=axis,
        cases=evidence.cases(pairs, slow),
        exceptions=evidence.cases(pairs, faster),
        share=float(slow.mean()),
        paired=True,
        values=evidence.sides(axis, pairs),
    )


def _ran(evidence: Evidence, pairs: MatchedPairs, some: Mask) -> str:
    """`, with Slow2d and x`: the implementations that ran on the other side of some pairs, the most frequent first."""
    ran, counts = np.unique(evidence.ran(pairs.other[some]).astype(str), return_counts=True)
    names = [line(str(ran[at])) for at in np.argsort(-counts, kind="stable") if ran[at] not in ("", UNKNOWN)]
    others = ["others"] if len(names) > MOST_NAMED else []
    return f", with {listed([*names[:MOST_NAMED], *others])}" if names else ""


def _as_fast(evidence: Evidence, base: object, other: object, pairs: MatchedPairs) -> Finding | None:
    """The user's module against torch's, where both are equally fast or noise hides which is faster.

    None for a module that crashed, hung or was wrong anywhere: what it computes elsewhere is no substitute.
    """
    pairs = pairs.only(np.isfinite(pairs.noise))
    if lost_with(evidence, "module", other) or not len(pairs):
        return None
    farthest = np.maximum(pairs.ratio, 1 / pairs.ratio) * (1 + pairs.noise)
    differs = pairs.faster(SMALLEST_EFFECT) | pairs.slower(SMALLEST_EFFECT)
    alike = (farthest <= AS_FAST) & ~differs
    hidden = ~alike & ~differs
    if alike.mean() > MOST:
        sentence = (
            f"{value_text(other)} is as fast as {value_text(base)} in {of_matched(int(alike.sum()), len(pairs))}: with "
            f"their noise they differ by less than {units.percent(AS_FAST - 1, 0)}{_but(differs, hidden)}"
        )
        return replace(_effect(evidence, "module", sentence, pairs, alike, differs), size=1.0)
    if not hidden.any():
        return None
    sentence = (
        f"noise hides whether {value_text(other)} is as fast as {value_text(base)} in "
        f"{of_matched(int(hidden.sum()), len(pairs))}: they may differ by up to "
        f"{units.apart(float(farthest[hidden].max()) - 1, 0)}"
    )
    return replace(_effect(evidence, "module", sentence, pairs, hidden), size=1.0, weight=Weight.NOTE)


def _but(differs: Mask, hidden: Mask) -> str:
    """`; 1 differs by more, noise hides more in 2`."""
    count = int(differs.sum())
    parts = [f"{units.count(count)} {'differs' if count == 1 else 'differ'} by more"] if count else []
    parts += [f"noise hides more in {units.count(int(hidden.sum()))}"] if hidden.any() else []
    return f"; {', '.join(parts)}" if parts else ""


def too_many_threads(evidence: Evidence) -> list[Finding]:
    """Numbers of threads, from the third on, that are slower than the next smaller number."""
    values = in_order(evidence.pairs.values["threads"])
    found = []
    for fewer, more in pairwise(values):
        if fewer == evidence.base("threads"):
            continue  # the effect against one thread reports it
        for value, pairs in evidence.against("threads", fewer):
            if value == more and pairs.slower(SMALLEST_EFFECT).mean() > MOST:
                masks = pairs.slower(SMALLEST_EFFECT), pairs.faster(SMALLEST_EFFECT)
                fewer_text = f"threads={value_text(fewer)}"
                sentence = (
                    f"threads={value_text(more)} is too many: "
                    f"{_comparison(evidence, 'threads', fewer_text, pairs, masks, ('slower', 'faster'))}"
                )
                found.append(_effect(evidence, "threads", sentence, pairs, *masks))
    return found


def other_code(evidence: Evidence) -> list[Finding]:
    """Where another number of threads makes torch choose another implementation."""
    if "threads" not in evidence.pairs.swept():
        return []
    base = evidence.base("threads")
    found = []
    for value, pairs in evidence.against("threads", base):
        one, other = evidence.ran(pairs.base), evidence.ran(pairs.other)
        changed = (one != other) & (one != "") & (other != "")
        if changed.any():
            at = int(changed.argmax())
            sentence = (
                f"torch runs other code with threads={value_text(value)} than with threads={value_text(base)} in "
                f"{of_matched(int(changed.sum()), len(pairs))}: {line(other[at])} instead of {line(one[at])} in "
                f"{line(evidence.label(int(pairs.other[at])))}"
            )
            found.append(
                Finding(
                    weight=Weight.WORK,
                    kind=FindingKind.THREADS,
                    size=1.0,
                    sentence=sentence,
                    axis="threads",
                    cases=evidence.cases(pairs, changed),
                    share=float(changed.mean()),
                    paired=True,
                    values=(base, value),
                )
            )
    return found


def directions(evidence: Evidence) -> list[Finding]:
    """`backward takes 4.1x as long as forward in 6 of 36 matched layers, for 2x the work`, where that is unusual."""
    if Direction.FORWARD not in evidence.pairs.values["direction"]:
        return []
    found = []
    for value, pairs in evidence.against("direction", Direction.FORWARD):
        direction = Direction(str(value))
        flops = evidence.pairs.table["flops"].to_numpy(dtype=float, na_value=np.nan)
        pairs = pairs.only(flops[pairs.base] > 0)  # an empty batch has no work
        share = replace(pairs, ratio=pairs.ratio / PRODUCTS[direction])
        masks = (share.slower(OUT_OF_LINE), share.faster(OUT_OF_LINE))
        # Few of many pairs may differ by chance.
        sure = [mask if mask.mean() > MOST else mask & pairs.alone for mask in masks]
        found += [
            _direction(evidence, direction, pairs, mask, only)
            for mask, only in zip(sure, ("", "only "), strict=True)
            if mask.any()
        ]
    return found


def _direction(evidence: Evidence, direction: Direction, pairs: MatchedPairs, out: Mask, only: str) -> Finding:
    share = replace(pairs, ratio=pairs.ratio / PRODUCTS[direction])
    farthest = int(np.where(out, np.abs(np.log(share.ratio)), 0).argmax())
    label = line(evidence.label(int(pairs.other[farthest])))
    size = Sizes(ratios=pairs.ratio[out], largest=label)
    sentence = (
        f"{direction.value} takes {only}{size.size} as long as forward in {'the median of ' if size.has_median else ''}"
        f"{of_matched(int(out.sum()), len(pairs), 'matched layer')}"
        f"{aside(_joined(evidence.place('direction', pairs, out), size.range if size.has_median else ''))}, for "
        f"{PRODUCTS[direction]}x the work"
    )
    if out.sum() < len(pairs) or size.varies:
        ran = line(evidence.ran(pairs.other[[farthest]])[0]) or "an unknown kernel"
        sentence += f"; the farthest from it is {label}, which ran {ran}"
    return Finding(
        weight=Weight.WORK,
        kind=FindingKind.DIRECTION,
        size=sizes(evidence, share, out).median,
        sentence=sentence,
        axis="direction",
        cases=evidence.cases(pairs, out),
        share=float(out.mean()),
        paired=True,
        values=(Direction.FORWARD, direction),
    )


def work(evidence: Evidence) -> list[Finding]:
    """`in_channels=64 is 3.1x faster per FLOP than in_channels=3 in 24 of 24 matched cases`.

    One finding for each size that was swept: the value that differs most from the smallest.
    """
    found = []
    for axis in WORK:
        if axis in evidence.pairs.swept():
            base = evidence.base(axis)
            effects = [
                _effect_of(
                    evidence,
                    axis,
                    [setting_text(axis, value), setting_text(axis, base)],
                    pairs,
                    ("faster per FLOP", "slower per FLOP"),
                )
                for value, pairs in evidence.against(axis, base, per_flop=True)
            ]
            found += sorted((finding for finding in effects if finding), key=lambda finding: -finding.importance)[:1]
    return found
