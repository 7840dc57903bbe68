"""The findings on a campaign as plain sentences: the best machines, orderings that turn round, costs. Pure.

No sentence holds a mean over machines. What each machine's own run shows are the findings of that run.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from convbench import units
from convbench.analysis.campaign.costs import images_per_dollar
from convbench.analysis.campaign.network import NetworkTime
from convbench.analysis.campaign.ranking import Ranking
from convbench.analysis.campaign.turns import Across, turns
from convbench.analysis.campaign.view import CampaignView
from convbench.analysis.findings.finding import listed, of_matched
from convbench.analysis.findings.layers import choice_text
from convbench.analysis.findings.trouble import FATES, Trust, trust
from convbench.measure.estimate import Integers
from convbench.model.result import UNMEASURED, WRONG, Status

#: Machines that a sentence names of some; the tables have all.
MOST_NAMED = 3


class CampaignKind(StrEnum):
    """What a finding on a campaign is about."""

    HOSTS = "hosts"  # hosts that shared the cases and are not one machine, or are
    BEST = "best"  # the best machine
    NETWORK = "network"  # how long a network takes on which machine
    TURN = "turn"  # an ordering of a setting's values that turns round
    COST = "cost"  # images for a dollar
    TROUBLE = "trouble"  # cases without a right result, noise, other software


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignFinding:
    """One fact about a campaign. `rows` are the cases that show it, as rows of the view; empty where none do.

    `values` are the setting and the two values whose ordering turns round, the base first.
    """

    kind: CampaignKind
    sentence: str
    rows: tuple[int, ...] = ()
    values: tuple[str, object, object] | None = None


def campaign_findings(view: CampaignView) -> tuple[CampaignFinding, ...]:
    """All findings, the most important first."""
    return (
        *(CampaignFinding(kind=CampaignKind.HOSTS, sentence=str(split)) for split in view.splits if not split.is_one),
        *_networks(view),
        *_best(view),
        *(_turn(view, one) for one in turns(view.across)),
        *_costs(view),
        *_trouble(view),
        *(CampaignFinding(kind=CampaignKind.HOSTS, sentence=str(split)) for split in view.splits if split.is_one),
        *(CampaignFinding(kind=CampaignKind.TROUBLE, sentence=note) for note in view.notes),
    )


# The best machines


def _best(view: CampaignView) -> Iterable[CampaignFinding]:
    """`A is the fastest of 3 machines in 40 of 48 cases: the next one takes 1.25x (1.05x to 2.00x) as long`."""
    if len(view.members) < 2:
        return
    ranked = view.ranking
    total = int(ranked.whole.sum())
    if not total:
        sentence = "no case has a right result on every machine, so no machine is called the fastest"
        yield CampaignFinding(kind=CampaignKind.TROUBLE, sentence=sentence)
        return
    for machine, rows in _wins(ranked):
        where = f"in {units.count(len(rows))} of {units.plural(total, 'case')}"
        behind = f"the next one takes {_times(ranked.lead[rows])} as long"
        sentence = f"{view.names[machine]} is the fastest of {len(view.members)} machines {where}: {behind}"
        yield CampaignFinding(kind=CampaignKind.BEST, sentence=sentence, rows=tuple(rows.tolist()))
    hidden = np.flatnonzero(ranked.whole & ~ranked.alone)
    if len(hidden):
        which = f"in {units.count(len(hidden))} of {units.plural(total, 'case')}"
        sentence = f"noise hides which machine is the fastest {which}"
        yield CampaignFinding(kind=CampaignKind.BEST, sentence=sentence, rows=tuple(hidden.tolist()))


def _wins(ranked: Ranking) -> list[tuple[int, Integers]]:
    """(machine, the cases that it alone is the best for), the machine with most of them first."""
    alone = np.flatnonzero(ranked.alone)
    best = ranked.best[alone]
    found = [(machine, alone[best == machine]) for machine in np.unique(best).tolist()]
    return sorted(found, key=lambda each: -len(each[1]))


def _times(ratios: np.ndarray) -> str:
    """`1.25x`, or `1.25x (1.05x to 2.00x)`: the median and the range of several."""
    low, middle, high = (units.ratio(float(value)) for value in (ratios.min(), np.median(ratios), ratios.max()))
    return middle if low == high else f"{middle} ({low} to {high})"


def _networks(view: CampaignView) -> Iterable[CampaignFinding]:
    """`one forward takes 21.3 ms on A, the least; B takes 1.40x as long (29.8 ms)`."""
    for each in view.networks:
        best = each.best
        if best is None:
            continue
        whole = [
            at for at, lack in enumerate(each.lacks) if not lack and math.isfinite(each.seconds[at]) and at != best
        ]
        others = sorted(whole, key=lambda at: each.seconds[at])
        behind = [
            f"{view.names[at]} takes {units.ratio(each.seconds[at] / each.seconds[best])} as long "
            f"({units.seconds(each.seconds[at])}{', within noise' if each.is_alike(at, best) else ''})"
            for at in others
        ]
        least = f"{_part(each)} takes {units.seconds(each.seconds[best])} on {view.names[best]}, the least"
        sentence = "; ".join([least, *_some(behind, "machine")])
        yield CampaignFinding(kind=CampaignKind.NETWORK, sentence=sentence)


def _some(texts: Sequence[str], noun: str) -> list[str]:
    """The first texts, and how many more there are: `4 more machines`."""
    if len(texts) <= MOST_NAMED:
        return [*texts]
    return [*texts[:MOST_NAMED], f"{units.count(len(texts) - MOST_NAMED)} more {noun}s"]


def _part(each: NetworkTime) -> str:
    return f"one {each.part}" + (f" with {each.name}" if each.name else "")


# Orderings that turn round


def _turn(view: CampaignView, one: Across) -> CampaignFinding:
    """`channels_last wins over contiguous on A (1.30x), and loses on B (0.70x), in 18 of 36 matched layers`."""
    base, other = (choice_text(one.axis, value) for value in (one.base, one.other))
    of = of_matched(len(one.turned), one.shared, "matched layer")
    wins, loses = (
        listed(_some([f"{view.names[at]} ({units.ratio(one.middle(at))})" for at in side], "machine"))
        for side in (one.wins, one.loses)
    )
    if wins and loses:
        sentence = f"{other} wins over {base} on {wins}, and loses on {loses}, in {of}"
    else:
        sentence = f"whether {other} or {base} is faster differs between machines in {of}"
    place = {case: row for row, case in enumerate(view.cases)}
    rows = sorted({place[case] for at in one.turned.tolist() for case in one.pairs[at]})
    values = one.axis, one.base, one.other
    return CampaignFinding(kind=CampaignKind.TURN, sentence=sentence, rows=tuple(rows), values=values)


# Costs


def _costs(view: CampaignView) -> Iterable[CampaignFinding]:
    """`a dollar pays for the most images on A in 30 of 48 cases, 1.4x as many as on the next machine`."""
    ranked = view.by_cost
    if ranked is None or len(view.members) < 2:
        return
    for each in view.networks:
        found = [
            (images_per_dollar(each.images or math.nan, seconds, price), at)
            for at, (seconds, price, lack) in enumerate(zip(each.seconds, view.prices, each.lacks, strict=True))
            if not lack
        ]
        known = sorted(((images, at) for images, at in found if math.isfinite(images)), reverse=True)
        if len(known) > 1:
            (most, best), *others = known
            rest = ", ".join(
                _some([f"{units.si(images, '').strip()} on {view.names[at]}" for images, at in others], "machine")
            )
            sentence = (
                f"of {_part(each)}, a dollar pays for {units.si(most, '').strip()} images on {view.names[best]}, {rest}"
            )
            yield CampaignFinding(kind=CampaignKind.COST, sentence=sentence)
    total = int(ranked.whole.sum())
    for machine, rows in _wins(ranked):
        sentence = (
            f"a dollar pays for the most images on {view.names[machine]} in {units.count(len(rows))} of "
            f"{units.plural(total, 'case')}, {_times(ranked.lead[rows])} as many as on the next machine"
        )
        yield CampaignFinding(kind=CampaignKind.COST, sentence=sentence, rows=tuple(rows.tolist()))


# What stands in the way


def _trouble(view: CampaignView) -> Iterable[CampaignFinding]:
    for machine, (name, results) in enumerate(zip(view.names, view.results, strict=True)):
        lost = [
            (row, result.status)
            for row, result in enumerate(results)
            if result is not None and (result.status in UNMEASURED or result.status in WRONG)
        ]
        if lost:
            counts = Counter(status for _, status in lost)
            what = listed([f"{units.count(count)} {_fate(status)}" for status, count in counts.most_common()])
            sentence = f"{units.plural(len(lost), 'case')} without a right result on {name}: {what}"
            yield CampaignFinding(kind=CampaignKind.TROUBLE, sentence=sentence, rows=tuple(row for row, _ in lost))
        absent = tuple(row for row, result in enumerate(results) if result is None or result.status is Status.SKIPPED)
        if absent and len(view.members) > 1:
            cases = units.plural(len(absent), "case")
            yield CampaignFinding(kind=CampaignKind.TROUBLE, sentence=f"{name} did not measure {cases}", rows=absent)
        known = view.seen[machine]
        if trust(known.rows.noise.ratio, known.table["spread"].dropna()) is Trust.REPEAT:
            sentence = f"{name} was so noisy that its run should be repeated"
            yield CampaignFinding(kind=CampaignKind.TROUBLE, sentence=sentence)
    for what, values in view.software:
        named = [f"{value} on {_named(view.names, values, value)}" for value in dict.fromkeys(values)]
        sentence = f"the machines differ in {what} too: {'; '.join(named)}"
        yield CampaignFinding(kind=CampaignKind.TROUBLE, sentence=sentence)


def _fate(status: Status) -> str:
    words = {**FATES, Status.FAILED: "computed a wrong result", Status.IMPRECISE: "computed in less precision"}
    return words[status]


def _named(names: Sequence[str], values: Sequence[str], value: str) -> str:
    return listed([name for name, own in zip(names, values, strict=True) if own == value])
