"""What `convbench compare` prints: the cases that changed or could not be judged, the groups, the verdict of all."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from convbench import units
from convbench.analysis.comparison.common_shift import is_reported
from convbench.analysis.comparison.comparability import Difference
from convbench.analysis.comparison.judgment import Comparison, Group, How, Judgment, Verdict
from convbench.analysis.comparison.sums import BY_PATH, NetworkChange, Recounted, Reshaped, Sum
from convbench.model.case import SETTINGS, canonical, setting
from convbench.report.text.tables import folded
from convbench.units import flat

#: The verdicts that get a line for each case, in this order.
_LISTED = (Verdict.REGRESSED, Verdict.IMPROVED, Verdict.INCONCLUSIVE, Verdict.NOT_JUDGED)
_WIDTH = max(len(verdict) for verdict in _LISTED)
#: Words for the counted cases in the verdict of all.
_WORDS = {
    Verdict.REGRESSED: "slower",
    Verdict.IMPROVED: "faster",
    Verdict.UNCHANGED: "unchanged",
    Verdict.INCONCLUSIVE: "inconclusive",
    Verdict.NOT_JUDGED: "not judged",
}


def compare_text(comparison: Comparison, columns: int | None = None) -> str:
    """One line per case that is not unchanged, the largest change first; the groups; what differs; the verdict of all.

    The verdict is the first word of each judged case's line and of the last line. A line that is longer than `columns`
    is wrapped; none is shortened. Of networks the sums come first, then layers that are matched by path.
    """
    network = comparison.network
    listed = [judgment for judgment in comparison.judgments if judgment.verdict in _LISTED]
    listed = [judgment for judgment in listed if judgment.reason != BY_PATH]
    listed.sort(key=lambda judgment: (_LISTED.index(judgment.verdict), -size(judgment)))
    parts = [
        *(_network_parts(network, listed) if network else [[_case(judgment) for judgment in listed]]),
        [group_text(group) for group in comparison.groups],
        [difference_text(difference) for difference in comparison.differences],
        [verdict_text(comparison)],
    ]
    return folded("\n\n".join("\n".join(part) for part in parts if part), columns)


def _network_parts(network: NetworkChange, listed: Sequence[Judgment]) -> list[list[str]]:
    """The sums, layers that are not equal, what the cases of one side take, then the cases as of any two runs."""
    return [
        [sum_text(each) for each in network.sums],
        [reshaped_text(each) for each in by_size(network.reshaped)],
        [recounted_text(each) for each in network.recounted],
        alone_texts(network),
        [_case(judgment) for judgment in listed],
    ]


def sum_text(each: Sum) -> str:
    """`one forward: 21.3 ms -> 18.9 ms, 1.13x faster (1.09x to 1.16x)`, with what the sums leave out."""
    lacks = [
        f"{flat(words)} in {side}" for words, side in ((each.base_lacks, "BASE"), (each.new_lacks, "NEW")) if words
    ]
    how = f" with {flat(each.name)}" if each.name else ""
    times = f"{units.seconds(each.base_s)} -> {units.seconds(each.new_s)}, {moved_text(each)}"
    return f"one {each.part}{how}: {times}{''.join(f'; {words}' for words in lacks)}"


def moved_text(each: Sum) -> str:
    """`1.13x faster (1.09x to 1.16x)`: how a sum changed, and between what; `within noise` where nothing is proven."""
    if not each.lack_alike:
        return "the sides lack different layers"
    if each.low <= 1 <= each.high:
        return f"within noise ({units.ratio(each.low)} to {units.ratio(each.high)} the time)"
    faster = each.ratio < 1
    ratios = [1 / each.ratio, 1 / each.high, 1 / each.low] if faster else [each.ratio, each.low, each.high]
    ratio, low, high = map(units.ratio, ratios)
    between = "" if low == ratio == high else f" ({low} to {high})"
    return f"{ratio} {'faster' if faster else 'slower'}{between}"


def by_size(reshaped: Iterable[Reshaped]) -> list[Reshaped]:
    """The layers matched by path, the largest change of the network's time first, those without a time last."""

    def change(each: Reshaped) -> float:
        moved = each.new_s * each.new.count - each.base_s * each.base.count
        return -abs(moved) if math.isfinite(moved) else math.inf

    return sorted(reshaped, key=change)


def reshaped_text(each: Reshaped) -> str:
    """`matched by path: 1.20 ms -> 900 us (0.750x), 3 times -> 2 times, <label>: in_channels 64 -> 48`."""
    times = f"{units.seconds(each.base_s)} -> {units.seconds(each.new_s)}"
    ratio = f" ({units.ratio(each.ratio)})" if math.isfinite(each.ratio) else ""
    often = times_text(each.base.count, each.new.count) if each.base.count != each.new.count else ""
    counts = f", {often}" if often else ""
    return f"matched by path: {times}{ratio}{counts}, {flat(each.new.label)}: {', '.join(differing_settings(each))}"


def differing_settings(each: Reshaped) -> list[str]:
    """`in_channels 64 -> 48`: every setting in which two layers differ, the base's value first."""
    values = [(name, setting(each.base, name), setting(each.new, name)) for name in SETTINGS]
    return [f"{name} {_plain(before)} -> {_plain(after)}" for name, before, after in values if before != after]


def _plain(value: object) -> str:
    return canonical(value) or "none"


def recounted_text(each: Recounted) -> str:
    """`layer1.0.conv2 forward occurs 3 times -> 2 times`."""
    return f"{flat(each.case.label)} occurs {times_text(each.before, each.after)}"


def times_text(before: int, after: int) -> str:
    """`3 times -> 2 times`."""
    return f"{units.plural(before, 'time')} -> {units.plural(after, 'time')}"


def alone_texts(network: NetworkChange) -> list[str]:
    """`2 cases only in BASE take 1.20 ms`: what the cases of one side add to the sums."""
    texts = []
    for some, side in ((network.only_base, "BASE"), (network.only_new, "NEW")):
        known = [each.seconds for each in some if math.isfinite(each.seconds)]
        if known:
            verb = "takes" if len(known) == 1 else "take"
            texts.append(f"{units.plural(len(known), 'case')} only in {side} {verb} {units.seconds(sum(known))}")
    return texts


def size(judgment: Judgment) -> float:
    """The size of the judged change in either direction, as a logarithm; 0 where there is nothing to compare."""
    return abs(math.log(judgment.own_ratio)) if judgment.ratio > 0 and math.isfinite(judgment.ratio) else 0.0


def _case(judgment: Judgment) -> str:
    words = [judgment.verdict.value.ljust(_WIDTH)]
    if not math.isnan(judgment.ratio):
        words += [
            f"{units.change(judgment.ratio):>8} ({units.change(judgment.low)} to {units.change(judgment.high)})",
            f"{units.seconds(judgment.base_s)} -> {units.seconds(judgment.new_s)}",
        ]
    why = why_text(judgment)
    return "  ".join([*words, judgment.case.id, flat(judgment.case.label)]) + (f": {why}" if why else "")


def why_text(judgment: Judgment) -> str:
    """The reason of a verdict and other differences of the case; "" where there are none."""
    return flat("; ".join(filter(None, [judgment.reason, *map(str, judgment.causes)])))


def group_text(group: Group) -> str:
    """`groups=depthwise and bfloat16: 14 of 14 cases, +41.2 % (implementation brg_conv_fwd -> ref in 14 cases)`."""
    causes = "; ".join(map(str, group.causes))
    share = f"{units.count(len(group.changed))} of {units.plural(group.cases, 'case')}"
    return f"{flat(group.name)}: {share}, {units.change(group.ratio)}" + (f" ({flat(causes)})" if causes else "")


def difference_text(difference: Difference) -> str:
    """`differs: torch 2.12.0 -> 2.13.0`, with a remark where it makes runs incomparable and is compared anyway."""
    return flat(
        f"differs: {difference}"
        + (" (makes runs incomparable; compared by --across-environments)" if difference.decides else "")
    )


def verdict_text(comparison: Comparison) -> str:
    """The verdict of all on one line: reasons, number of cases per verdict, and which changes would have been seen."""
    return (
        f"{comparison.verdict}: {'; '.join([*reasons(comparison), _counts(comparison)])}; "
        f"judged {units.count(comparison.judged)} of {units.count(len(comparison.judgments))}; {seen_text(comparison)}"
    )


def seen_text(comparison: Comparison) -> str:
    """`a change of 3.0 % would have been seen in half of the judged cases, 8.1 % in each`."""
    typical, worst = comparison.smallest_seen
    if math.isnan(typical):
        return "no change would have been seen"
    if units.apart(worst) == units.apart(typical):
        return f"a change of {units.apart(typical)} would have been seen in each judged case"
    seen = f"a change of {units.apart(typical)} would have been seen in half of the judged cases"
    return f"{seen}, {units.apart(worst)} in each"


def reasons(comparison: Comparison) -> list[str]:
    """Why the verdict of all is not simply that of its cases, and further notes."""
    notes = [flat(note) for note in comparison.notes]
    if comparison.is_machine:
        return [f"{comparison.machine}: the machine changed, not the code (use ab)", *notes]
    if is_reported(comparison.shift):
        together = units.change(comparison.shift)
        notes.insert(0, f"half of all cases moved together by {together}, and each is judged without this common shift")
    if comparison.verdict is not Verdict.INCONCLUSIVE or comparison.discredited:
        return notes
    times = math.ceil(comparison.longer)
    if comparison.how is How.SIDE_BY_SIDE:
        longer = [f"take at least {times} times as many pairs"] if times > 1 else []
    else:
        longer = ["use ab", *([f"or take at least {times} times as many rounds"] if times > 1 else [])]
    hint = f" ({', '.join(longer)})" if longer else ""
    return [f"{unjudged(comparison)}{hint}", *notes]


def unjudged(comparison: Comparison) -> str:
    """Why a comparison of one machine is inconclusive."""
    changed = sum(judgment.looks_changed for judgment in comparison.judgments)
    if changed:
        return f"{units.plural(changed, 'case looks changed', 'cases look changed')} and could not be judged"
    return "too few of the cases could be judged"


def _counts(comparison: Comparison) -> str:
    """`14 slower (worst +52.0 %), 20 unchanged, 4 not judged (3 failed in NEW, 1 only in BASE)`."""
    words = []
    for verdict, word in _WORDS.items():
        some = [judgment for judgment in comparison.judgments if judgment.verdict is verdict]
        if not some:
            continue
        words.append(f"{units.count(len(some))} {word}")
        if verdict in (Verdict.REGRESSED, Verdict.IMPROVED, Verdict.INCONCLUSIVE):
            words[-1] += f" (most {units.change(max(some, key=size).ratio)})"
        if verdict is Verdict.NOT_JUDGED:
            seen = Counter(judgment.reason.partition(":")[0] for judgment in some)
            words[-1] += f" ({', '.join(f'{units.count(n)} {flat(reason)}' for reason, n in seen.most_common())})"
    return ", ".join(words)
