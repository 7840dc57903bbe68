"""The answers about a network as sentences: how long it takes, what other settings gain, what to fix first."""

from __future__ import annotations

from collections.abc import Sequence

from convbench import units
from convbench.analysis.findings.answers import MOST_NAMED, Answers, Change, Fix, Group, Mixed, Proof, known
from convbench.analysis.findings.finding import Finding, FindingKind, Weight, aside, listed
from convbench.analysis.findings.network import missing_text, percent_of
from convbench.analysis.network.parts import Part, often
from convbench.sweep import LeftOut

#: A part with its article.
_ONE = {Part.FORWARD: "one forward", Part.STEP: "one training step"}


def answering(found: Sequence[Answers]) -> list[Finding]:
    """`one forward spends 96.3 ms in 53 convolutions, one training step 309 ms ...`, with the other answers below."""
    return [_time(each) for each in found]


def _time(found: Answers) -> Finding:
    usual, part = found.usual, found.part
    times = [f"{_ONE[each]} {units.seconds(known(usual, each))}" for each in found.parts]
    first, *more = times
    words = first.replace(_ONE[found.parts[0]], f"{_ONE[found.parts[0]]} spends", 1)
    how = f" with {usual.name}" if usual.name else ""
    missing = missing_text(usual.layers)
    missing = "".join(f"; {words}" for words in filter(None, [missing, left_out_text(found.left_out)]))
    more_times = "".join(f", {each}" for each in more)
    sentence = (
        f"{words} in {found.count_text} {'convolution' if found.count_text == '1' else 'convolutions'}{more_times}{how}"
        f"{_most(found.stages[0], part, 'stage')}{_most(found.kinds[0], part, 'layers of kind')}{missing}"
    )
    below = [*(_change(found, each) for each in found.changes), *_mixtures(found), *_fix(found)]
    return Finding(
        weight=Weight.ANSWER,
        kind=FindingKind.STEP,
        size=1.0,
        sentence=sentence,
        cases=tuple(
            case for layer in usual.layers for each, case in layer.ids.items() if each in often(part, layer.counts)
        ),
        details=tuple(below),
    )


def left_out_text(left_out: Sequence[LeftOut]) -> str:
    """`without 45 % of the work`, of all reasons together; `without 12 convolutions` where a share is unknown."""
    shares = [each.work for each in left_out]
    if not left_out:
        return ""
    if None in shares:
        return f"without {units.plural(sum(each.count for each in left_out), 'convolution')}"
    return f"without {units.percent(sum(share or 0.0 for share in shares))} of the work"


def _most(groups: Sequence[Group], part: Part, word: str) -> str:
    """`, 31 % in stage layer3`: the group that takes most, where there are several."""
    total = sum(group.seconds[part] for group in groups)
    top = max(groups, key=lambda group: group.seconds[part])
    return f", {percent_of(top.seconds[part], total)} in {word} {top.name}" if len(groups) > 1 and total else ""


def _change(found: Answers, change: Change) -> Finding:
    """`bfloat16 for all layers: the forward takes 58.1 ms, 1.66x faster`."""
    part = found.part
    missing = missing_text(change.way.layers)
    result = f"takes {units.seconds(change.seconds[part])}, {change_verdict(change, part)}"
    if change.proof[part] is Proof.INCOMPLETE:
        result = f"has no whole time{aside(missing)}"
    return Finding(
        weight=Weight.ANSWER,
        kind=FindingKind.CHANGE,
        size=change.ratio[part] if change.proof[part] is Proof.FASTER else 1.0,
        sentence=f"{change.name} for all layers: {_the(found)} {result}",
        cases=tuple(
            case for layer in change.way.layers for each, case in layer.ids.items() if each in often(part, layer.counts)
        ),
    )


def _the(found: Answers) -> str:
    """The part that counts; of several networks with the name of this one."""
    return f"the {found.part}{f' with {found.name}' if found.name else ''}"


def _mixtures(found: Answers) -> list[Finding]:
    """The mixtures that gain something, or whose changes of layout could not be counted."""
    return [
        Finding(
            weight=Weight.ANSWER,
            kind=FindingKind.CHANGE,
            size=mixed.ratio if mixed.is_gain else 1.0,
            sentence=mixture_text(mixed, _the(found)),
        )
        for mixed in found.mixtures
        if mixed.part is found.part and (mixed.is_gain or not mixed.is_counted)
    ]


def change_verdict(change: Change, part: Part) -> str:
    """`1.66x faster`, `within noise`: a part with a setting for all layers, against the usual one."""
    proof, ratio = change.proof[part], change.ratio[part]
    if proof is Proof.FASTER:
        return f"{units.ratio(ratio)} faster"
    return f"{units.ratio(1 / ratio)} slower" if proof is Proof.SLOWER else str(proof)


def mixture_text(mixed: Mixed, part: str) -> str:
    """`the best dtype for each layer: the forward takes 52.0 ms, 1.12x faster than bfloat16 for all (58.1 ms). ...`.

    `part` is `the forward` or `the training step`.
    """
    best = f"the best {listed(mixed.axes)} for each layer: {part}"
    over = f"{mixed.base} for all ({units.seconds(mixed.base_s)})"
    changes = changes_text(mixed)
    if not mixed.is_counted:
        least = units.seconds(mixed.seconds)
        return f"{best} takes {least} at least. Its {changes} are not counted, because no copy was measured"
    if not mixed.is_gain:
        return f"{best} gains less than 1 % over {over}, with its {changes} counted"
    named = [f"{name} with {value}" for name, value in mixed.different[:MOST_NAMED]]
    more = len(mixed.different) - len(named)
    named += [f"{units.count(more)} more"] if more else []
    counted = f". This includes {changes} ({units.seconds(mixed.copies_s)})" if mixed.changes else ""
    faster = f"{units.ratio(mixed.ratio)} faster than {over}"
    return f"{best} takes {units.seconds(mixed.seconds)}, {faster}{counted}. Most comes from {listed(named)}"


def changes_text(mixed: Mixed) -> str:
    """`3 changes of layout`, `3 changes of layout or dtype`: what a mixture pays for between its layers."""
    kinds = [kind for axis, kind in (("memory_format", "layout"), ("dtype", "dtype")) if axis in mixed.axes]
    what = " or ".join(kinds or ["layout or dtype"])
    return units.plural(mixed.changes, f"change of {what}", f"changes of {what}")


def _fix(found: Answers) -> list[Finding]:
    """What is worth fixing first, with the fastest settings; nothing where no layer would save time."""
    way, fixes = found.ways[-1], found.fixes[-1]
    if not fixes:
        return []
    total = known(way, found.part)
    first, *others = fixes
    how = f" with {way.name}" if way.name else ""
    saved = f"would save {_saved(first, total)} of {units.seconds(total)} at what the roofs allow"
    then = [f"{_times(fix)} {_saved(fix, total)}" for fix in others]
    return [
        Finding(
            weight=Weight.ANSWER,
            kind=FindingKind.FIX,
            size=1 / (1 - min(0.99, first.saved_s / total)),
            sentence=f"worth fixing first{how}: {_times(first)} {saved}" + (f". Then {listed(then)}" if then else ""),
            cases=tuple(fix.case_id for fix in fixes),
        )
    ]


def _times(fix: Fix) -> str:
    return f"{fix.layer.name} ({units.count(fix.layer.count)} times)" if fix.layer.count > 1 else fix.layer.name


def _saved(fix: Fix, total: float) -> str:
    return f"{units.seconds(fix.saved_s)} ({percent_of(fix.saved_s, total)})"
