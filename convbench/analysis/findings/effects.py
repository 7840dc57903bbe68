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
from convbench.model.problem import PRODUCTS, Direction
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
#: An effect that more than this share of the pairs shows is reported as general.
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
                    effects = [_as_fast(evidence, base, value, pairs)]
                found += effects
    return found


def _faster_or_slower(evidence: Evidence, axis: str, base: object, other: object, pairs: MatchedPairs) -> list[Finding]:
    names = [TABLE[axis].phrase.format(value_text(value)) for value in (other, base)]
    fallback = _fallback(evidence, axis, names, pairs) if axis in _TYPES else None
    if fallback and fallback.share > MOST:
        return [fallback]
    general = _general_or_mixed(evidence, axis, names, pairs, ("faster", "slower"))
    return [finding for finding in (fallback, general) if finding]


def _general_or_mixed(
    evidence: Evidence, axis: str, names: list[str], pairs: MatchedPairs, words: tuple[str, str]
) -> Finding | None:
    """The effect that most of the pairs show, else the effects that many of them show, else None.

    `words` are used for a ratio below 1 and above 1.
    """
    below, above = pairs.faster(), pairs.slower()
    median = _median(pairs.ratio)
    agree, against = (below, above) if median < 1 else (above, below)
    size = max(median, 1 / median)
    if size < SMALLEST_EFFECT or agree.mean() <= MOST:
        return _mixed(evidence, axis, names, pairs, words)
    both = words if median < 1 else words[::-1]
    where = _where(evidence, axis, pairs, agree, against, both)
    sentence = f"{names[0]} is {units.ratio(size)} {both[0]} than {names[1]} {where}"
    return _effect(evidence, axis, size, sentence, pairs, agree, against)


def _where(
    evidence: Evidence, axis: str, pairs: MatchedPairs, agree: Mask, against: Mask, words: tuple[str, str]
) -> str:
    """`in 34 of 36 matched cases, 2 within noise`; where some pairs contradict the effect, all of them are counted.

    Then it is `in the median of 64 matched cases: faster in 49 (1.49x), slower in 14 (2.16x, all at in_channels=3), 1
    within noise`.
    """
    if against.any():
        agreeing, contrary = (word.partition(" ")[0] for word in words)
        place = evidence.place(axis, pairs, against)
        text = (
            f"in the median of {units.plural(len(pairs), 'matched case')}: {agreeing} in "
            f"{units.count(int(agree.sum()))} ({units.ratio(_size(pairs, agree))}), {contrary} in "
            f"{units.count(int(against.sum()))} ({units.ratio(_size(pairs, against))}{', ' + place if place else ''})"
        )
    else:
        text = f"in {of_matched(int(agree.sum()), len(pairs))}"
    rest = int(len(pairs) - agree.sum() - against.sum())
    return f"{text}, {units.count(rest)} within noise" if rest else text


def _mixed(
    evidence: Evidence, axis: str, names: list[str], pairs: MatchedPairs, words: tuple[str, str]
) -> Finding | None:
    """An effect that exceeds the noise in many of the pairs, but not in most of them."""
    masks = pairs.faster(SMALLEST_EFFECT), pairs.slower(SMALLEST_EFFECT)
    clear = masks[0] | masks[1]
    if clear.sum() < max(MIXED_LEAST, MIXED_SHARE * len(pairs)):
        return None
    parts = [
        f"{units.ratio(_size(pairs, mask))} {word.partition(' ')[0]} in {units.count(int(mask.sum()))}"
        f"{aside(evidence.place(axis, pairs, mask))}"
        for mask, word in zip(masks, words, strict=True)
        if mask.any()
    ]
    rest = int(len(pairs) - clear.sum())
    others = f"{'the other differs' if rest == 1 else 'the others differ'} by less than 5 % or within noise"
    median = _median(pairs.ratio)
    size = max(median, 1 / median)
    middle = f"in the median of {units.plural(len(pairs), 'matched case')}"
    if size < SMALLEST_EFFECT:
        start = f"{names[0]} differs little from {names[1]} {middle}, but is"
    else:
        start = f"{names[0]} is {units.ratio(size)} {words[median > 1]} than {names[1]} {middle}, but varies:"
    sentence = f"{start} {', '.join(parts)}{'; ' + others if rest else ''}"
    largest = max(_size(pairs, mask) for mask in masks if mask.any())
    found = _effect(evidence, axis, largest, sentence, pairs, clear)
    return replace(found, share=float(clear.mean()))


def _effect(
    evidence: Evidence,
    axis: str,
    size: float,
    sentence: str,
    pairs: MatchedPairs,
    some: Mask,
    against: Mask | None = None,
) -> Finding:
    """A finding on some of the pairs. The pairs `against` contradict it by more than noise."""
    return Finding(
        weight=Weight.EFFECT if axis in EXECUTION else Weight.WORK,
        kind=_KINDS.get(axis, FindingKind.EFFECT if axis in EXECUTION else FindingKind.WORK),
        size=size,
        sentence=sentence,
        axis=axis,
        cases=evidence.cases(pairs, some),
        exceptions=() if against is None else evidence.cases(pairs, against),
        paired=True,
    )


def _fallback(evidence: Evidence, axis: str, names: list[str], pairs: MatchedPairs) -> Finding | None:
    """`float16 has no fast code here: it takes 36.0x as long as float32 in 10 of 12 matched cases, with Slow2d`.

    Where it is slow in few of them, the first half is left out: there is fast code, but not for these layers.
    """
    slow = pairs.slower(FALLBACK_RATIO)
    if not slow.any():
        return None
    size = _size(pairs, slow)
    is_general = slow.mean() > MOST
    slowly = "has no fast code here: it " if is_general else ""
    sentence = (
        f"{names[0]} {slowly}takes {units.ratio(size)} as long as {names[1]} "
        f"in {of_matched(int(slow.sum()), len(pairs))}{aside(evidence.place(axis, pairs, slow))}"
    )
    ran, counts = np.unique(evidence.ran(pairs.other[slow]).astype(str), return_counts=True)
    names_of = [line(str(ran[at])) for at in np.argsort(-counts, kind="stable") if ran[at] not in ("", UNKNOWN)]
    if names_of:
        sentence += f", with {listed([*names_of[:MOST_NAMED], *(['others'] if len(names_of) > MOST_NAMED else [])])}"
    # Where it is slow for a few layers, the others contradict nothing and have a finding of their own.
    faster = pairs.faster() & is_general
    if faster.any():
        sentence += f"; it is faster in {units.count(int(faster.sum()))} ({units.ratio(_size(pairs, faster))})"
    return Finding(
        weight=Weight.EFFECT,
        kind=FindingKind.FALLBACK,
        size=size,
        sentence=sentence,
        axis=axis,
        cases=evidence.cases(pairs, slow),
        exceptions=evidence.cases(pairs, faster),
        share=float(slow.mean()),
        paired=True,
    )


def _as_fast(evidence: Evidence, base: object, other: object, pairs: MatchedPairs) -> Finding:
    """The user's module against torch's, where both are equally fast."""
    differ = pairs.faster(SMALLEST_EFFECT) | pairs.slower(SMALLEST_EFFECT)
    sentence = (
        f"{value_text(other)} is as fast as {value_text(base)} in {of_matched(int((~differ).sum()), len(pairs))}: "
        f"they differ by less than {units.percent(SMALLEST_EFFECT - 1, 0)} or within noise, and the median ratio "
        f"of times is {units.ratio(_median(pairs.ratio))}"
    )
    return _effect(evidence, "module", 1.0, sentence, pairs, ~differ, differ)


def too_many_threads(evidence: Evidence) -> list[Finding]:
    """Numbers of threads, from the third on, that are slower than the next smaller number."""
    values = in_order(evidence.pairs.values["threads"])
    found = []
    for fewer, more in pairwise(values):
        if fewer == evidence.base("threads"):
            continue  # the effect against one thread reports it
        for value, pairs in evidence.against("threads", fewer):
            if value == more and pairs.slower(SMALLEST_EFFECT).mean() > MOST:
                slower, faster = pairs.slower(), pairs.faster()
                size = _median(pairs.ratio)
                sentence = (
                    f"threads={value_text(more)} is too many: {units.ratio(size)} slower than "
                    f"threads={value_text(fewer)} "
                    f"{_where(evidence, 'threads', pairs, slower, faster, ('slower', 'faster'))}"
                )
                found.append(_effect(evidence, "threads", size, sentence, pairs, slower, faster))
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
        work = PRODUCTS[direction]
        share = MatchedPairs(base=pairs.base, other=pairs.other, ratio=pairs.ratio / work, noise=pairs.noise)
        for out, more in ((share.slower(OUT_OF_LINE), True), (share.faster(OUT_OF_LINE), False)):
            if not out.any():
                continue
            sentence = (
                f"{direction.value} takes {'' if more else 'only '}{units.ratio(_median(pairs.ratio[out]))} as long as "
                f"forward in {of_matched(int(out.sum()), len(pairs), 'matched layer')}"
                f"{aside(evidence.place('direction', pairs, out))}, for {work}x the work"
            )
            if out.sum() < len(pairs):
                farthest = int(np.where(out, np.abs(np.log(share.ratio)), 0).argmax())
                ran = line(evidence.ran(pairs.other[[farthest]])[0]) or "an unknown kernel"
                sentence += (
                    f"; the farthest from it is {line(evidence.label(int(pairs.other[farthest])))}, which ran {ran}"
                )
            found.append(
                Finding(
                    weight=Weight.WORK,
                    kind=FindingKind.DIRECTION,
                    size=_size(share, out),
                    sentence=sentence,
                    axis="direction",
                    cases=evidence.cases(pairs, out),
                    share=float(out.mean()),
                    paired=True,
                )
            )
    return found


def work(evidence: Evidence) -> list[Finding]:
    """`in_channels=64 is 3.1x faster per FLOP than in_channels=3 in 24 of 24 matched cases`.

    One finding for each size that was swept: the value that differs most from the smallest.
    """
    found = []
    for axis in WORK:
        if axis in evidence.pairs.swept():
            base = evidence.base(axis)
            effects = [
                _general_or_mixed(
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


def _median(ratios: np.ndarray) -> float:
    """The median on a logarithmic scale, whose inverse is the median of the inverse ratios."""
    return float(np.exp(np.median(np.log(ratios))))


def _size(pairs: MatchedPairs, some: Mask) -> float:
    """The median ratio of some pairs as a number of at least 1."""
    median = _median(pairs.ratio[some])
    return max(median, 1 / median)
