"""The answers about a network as sentences: how long it takes, what other settings gain, what to fix first."""

from __future__ import annotations

from collections.abc import Sequence

from convbench import units
from convbench.analysis.findings.answers import MOST_NAMED, Answers, Change, Fix, Group, Mixed, Proof, known
from convbench.analysis.findings.finding import Finding, FindingKind, Weight, aside, listed
from convbench.analysis.findings.network import missing_text, percent_of
from convbench.analysis.network.parts import Part, often

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
    left_out = f"; {missing}" if missing else ""
    more_times = "".join(f", {each}" for each in more)
    sentence = (
        f"{words} in {units.plural(found.count, 'convolution')}{more_times}{how}"
        f"{_most(found.stages[0], part, 'stage')}{_most(found.kinds[0], part, 'layers of kind')}{left_out}"
    )
    below = [_change(found), _fix(found)]
    return Finding(
        weight=Weight.ANSWER,
        kind=FindingKind.STEP,
        size=1.0,
        sentence=sentence,
        cases=tuple(
            case for layer in usual.layers for each, case in layer.ids.items() if each in often(part, layer.counts)
        ),
        details=tuple(each for each in below if each is not None),
    )


def _most(groups: Sequence[Group], part: Part, word: str) -> str:
    """`, 31 % in stage layer3`: the group that takes most, where there are several."""
    total = sum(group.seconds[part] for group in groups)
    top = max(groups, key=lambda group: group.seconds[part])
    return f", {percent_of(top.seconds[part], total)} in {word} {top.name}" if len(groups) > 1 and total else ""


def _change(found: Answers) -> Finding | None:
    part = found.part
    whole = [f"{change.name} for all {change_text(change, part)}" for change in found.changes]
    mixed = [
        mixture_text(each) for each in found.mixtures if each.part is part and (each.is_gain or not each.is_counted)
    ]
    if not whole and not mixed:
        return None
    proven = [change.ratio[part] for change in found.changes if change.proof[part] is Proof.FASTER]
    return Finding(
        weight=Weight.ANSWER,
        kind=FindingKind.CHANGE,
        size=max(proven, default=1.0),
        sentence=f"of the {part}{f' with {found.name}' if found.name else ''}: {'; '.join([*whole, *mixed])}",
        cases=tuple(
            case
            for change in found.changes
            for layer in change.way.layers
            for each, case in layer.ids.items()
            if each in often(part, layer.counts)
        ),
    )


def change_text(change: Change, part: Part) -> str:
    """`takes 58.1 ms, 1.66x faster`: what a setting for all layers does to a part."""
    if change.proof[part] is Proof.INCOMPLETE:
        return f"has no whole time{aside(missing_text(change.way.layers))}"
    return f"takes {units.seconds(change.seconds[part])}, {change_verdict(change, part)}"


def change_verdict(change: Change, part: Part) -> str:
    """`1.66x faster`, `within noise`: a part with a setting for all layers, against the usual one."""
    proof, ratio = change.proof[part], change.ratio[part]
    if proof is Proof.FASTER:
        return f"{units.ratio(ratio)} faster"
    return f"{units.ratio(1 / ratio)} slower" if proof is Proof.SLOWER else str(proof)


def mixture_text(mixed: Mixed) -> str:
    """`the best memory_format for each layer takes 52.0 ms with 3 layout changes (1.1 ms), 1.12x faster than ...`."""
    best = f"the best {listed(mixed.axes)} for each layer"
    over = f"{mixed.base} for all ({units.seconds(mixed.base_s)})"
    changes = units.plural(mixed.changes, "change of layout or dtype", "changes of layout or dtype")
    if not mixed.is_counted:
        least = units.seconds(mixed.seconds)
        return f"{best} takes {least} at least. Its {changes} are not counted, because no copy was measured"
    if not mixed.is_gain:
        return f"{best} gains less than 1 % over {over}, with its {changes} counted"
    named = [f"{name} with {value}" for name, value in mixed.different[:MOST_NAMED]]
    more = len(mixed.different) - len(named)
    named += [f"{units.count(more)} more"] if more else []
    counted = f" with {changes} ({units.seconds(mixed.copies_s)})" if mixed.changes else ""
    return (
        f"{best} takes {units.seconds(mixed.seconds)}{counted}, {units.ratio(mixed.ratio)} faster than {over}: "
        f"{listed(named)}"
    )


def _fix(found: Answers) -> Finding | None:
    way, fixes = found.ways[-1], found.fixes[-1]
    if not fixes:
        return None
    total = known(way, found.part)
    parts = [_saving(fix, total, is_first=place == 0) for place, fix in enumerate(fixes)]
    return Finding(
        weight=Weight.ANSWER,
        kind=FindingKind.FIX,
        size=1 / (1 - min(0.99, fixes[0].saved_s / total)),
        sentence=f"worth fixing first{f' with {way.name}' if way.name else ''}, of {units.seconds(total)}: "
        f"{', '.join(parts)}",
        cases=tuple(fix.case_id for fix in fixes),
    )


def _saving(fix: Fix, total: float, *, is_first: bool) -> str:
    often_ = f" ({units.count(fix.layer.count)} times)" if fix.layer.count > 1 else ""
    share = percent_of(fix.saved_s, total)
    saved = units.seconds(fix.saved_s)
    if is_first:
        return f"{fix.layer.name}{often_} would save {saved} ({share}) at what the roofs allow"
    return f"{fix.layer.name}{often_} {saved} ({share})"
