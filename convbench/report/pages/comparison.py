"""The report on a comparison: what changed between two runs, as one HTML file that opens offline. Pure.

The verdict comes first, as a sentence that one can send to others. The page is the same for stored runs, confirmed
runs and runs measured side by side. It contains libraries, data and scripts, as the report on one run does (run.py).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from convbench import units
from convbench.analysis.comparison.common_shift import is_reported
from convbench.analysis.comparison.comparability import Difference
from convbench.analysis.comparison.judgment import Comparison, Group, How, Judgment, RunComparison, Verdict
from convbench.measure import estimate
from convbench.model.lead import leading_word
from convbench.model.result import UNMEASURED, Run, Status
from convbench.report.pages import run as page
from convbench.report.pages.comparison_table import SIDES, Table, processes_of, table
from convbench.report.pages.index import slug
from convbench.report.pages.libraries import datatables, datatables_style, plotly
from convbench.report.pages.network_change import network_change_view
from convbench.report.pages.payload import Payload, blocks_into
from convbench.report.pages.policy import policy, script_hash
from convbench.report.pages.rendering import begun, left_out, when
from convbench.report.pages.rendering import render as render_page
from convbench.report.pages.scripts import joined, static
from convbench.report.text.compare import reasons, seen_text, size, sum_text, unjudged, verdict_text
from convbench.version import __version__

#: Rows of the table, and labels of a group's cases, that the page has as plain HTML for readers without scripts.
PLAIN_ROWS = 200
PLAIN_LABELS = 6
#: Groups outside the fold.
FIRST_GROUPS = 8
#: Blocks of both sides in the page at most, 9 bytes each. Unchanged cases are left out first.
MOST_BLOCKS = 500_000

#: (heading, mood, default detail) of each verdict, in the order of the tiles.
_TILES: dict[Verdict, tuple[str, str, str]] = {
    Verdict.REGRESSED: ("Slower", "bad", "none"),
    Verdict.IMPROVED: ("Faster", "good", "none"),
    Verdict.UNCHANGED: ("Unchanged", "plain", "within threshold and noise"),
    Verdict.INCONCLUSIVE: ("Inconclusive", "warn", "too noisy to judge"),
    Verdict.NOT_JUDGED: ("Not judged", "plain", "nothing to compare"),
}
_MOODS = {Verdict.REGRESSED: "bad", Verdict.IMPROVED: "good", Verdict.UNCHANGED: "good"}
_HOW = {
    How.STORED: "Two stored runs, measured at different times.",
    How.CONFIRMED: "Two stored runs. Suspected cases were measured again beside as many unchanged controls. The new "
    "measurement alone decides about them.",
    How.SIDE_BY_SIDE: "Measured side by side: the blocks of fresh pairs of processes alternate, so the machine's noise "
    "affects both sides equally.",
}
_STYLES = ("report.css", "comparison.css")
_ENTRY = "comparison_main.js"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictTile:
    """The number of cases with a verdict, and a line about them."""

    verdict: str
    title: str
    count: str
    detail: str
    mood: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupView:
    """A group as the page shows it."""

    number: int
    verdict: str
    name: str
    change: str
    share: str
    causes: tuple[str, ...]
    labels: tuple[str, ...]
    left: str


def file_name(comparison: Comparison) -> str:
    """`compare-<base id>-<new id>.html`."""
    return f"compare-{slug(comparison.base.id)}-{slug(comparison.new.id)}.html"


def render(compared: RunComparison, reports: Collection[str] = ()) -> str:
    """The whole page as HTML text, encodable as UTF-8.

    `reports` are names of files beside it. The page links to a side's own report if it is among them.
    """
    comparison = compared.comparison
    runs = (compared.base, compared.new)
    rows = table(compared)
    links = [name if (name := page.file_name(run)) in reports else None for run in runs]
    groups = _groups(comparison)
    facts = _facts(runs, comparison.how)
    differing = [_difference(one) for one in comparison.differences]
    script = Markup(joined(_ENTRY))
    libraries = (plotly(), datatables())
    return render_page(
        "comparison.html.j2",
        file=file_name(comparison).removesuffix(".html"),
        version=__version__,
        policy=policy([script_hash(str(script)), *(library.hash for library in libraries)]),
        style=Markup("\n".join(static(name) for name in _STYLES)),
        script=script,
        libraries=libraries,
        library_style=datatables_style(),
        data=Markup(_data(comparison, rows, links)),
        blocks=Markup(_blocks(rows)),
        lead=_lead(comparison),
        name=compared.new.name,
        headline=headline(comparison),
        network=network_change_view(comparison.network),
        mood=_MOODS.get(comparison.verdict, "warn"),
        sentences=sentences(compared),
        worst=_worst(comparison),
        line=verdict_text(comparison),
        tiles=_tiles(comparison),
        how=_HOW[comparison.how],
        facts=[fact for fact in facts if fact[1] != fact[2]],
        same=[(what, value) for what, value, other in facts if value == other],
        links=links,
        differences=differing,
        decides=any(decides for *_, decides in differing),
        places=any(where or decides for *_, where, decides in differing),
        groups=groups[:FIRST_GROUPS],
        more_groups=groups[FIRST_GROUPS:],
        has_ratios=any(j.ratio > 0 and math.isfinite(j.ratio) for j in comparison.judgments),
        columns=[column.spec for column in rows.columns if column.spec.shown],
        rows=rows.rows(PLAIN_ROWS),
        rows_left=left_out(len(rows.judgments), PLAIN_ROWS, "case"),
        aside=comparison.how is How.SIDE_BY_SIDE,
        processes=processes_of(comparison.how)[1],
    )


def headline(comparison: Comparison) -> str:
    """The verdict of all as a heading."""
    total = units.plural(len(comparison.judgments), "case")
    if comparison.verdict in (Verdict.REGRESSED, Verdict.IMPROVED):
        some = _of(comparison, comparison.verdict)
        slower = comparison.verdict is Verdict.REGRESSED
        text = f"{units.count(len(some))} of {total} got {'slower' if slower else 'faster'}"
        text += f", {'' if len(some) == 1 else 'the worst ' if slower else 'the most '}{_by(max(some, key=size).ratio)}"
        return text if slower else f"{text}, and none slower"
    if comparison.verdict is Verdict.UNCHANGED:
        left = len(comparison.judgments) - comparison.judged
        text = f"No {'judged ' if left else ''}case moved by {units.percent(comparison.smallest_seen[1])} or more"
        return f"{text}; {units.count(left)} of {total} could not be judged" if left else text
    if comparison.verdict is Verdict.NOT_JUDGED:
        sums = comparison.network.sums if comparison.network else ()
        return begun(sum_text(sums[-1])) if sums else "Nothing could be judged"
    if comparison.is_machine:
        return "The machine changed: the code cannot be judged"
    if comparison.discredited:
        return "A control moved: nothing is flagged"
    if any(judgment.looks_changed for judgment in comparison.judgments):
        return begun(unjudged(comparison))
    return f"Too noisy to judge: {units.count(comparison.judged)} of {total} could be judged"


def _by(ratio: float) -> str:
    """`by 41.2 %`; `to 193x the time`, which is clearer for large changes."""
    return f"to {units.ratio(ratio)} the time" if ratio >= 2 else f"by {units.change(ratio).lstrip('+-')}"


def sentences(compared: RunComparison) -> list[str]:
    """The facts besides the headline, the most important first."""
    comparison = compared.comparison
    ended = Counter(judgment.new_status for judgment in comparison.judgments)
    wrong, lost = ended[Status.FAILED], sum(ended[status] for status in UNMEASURED)
    texts = [f"{units.plural(wrong, 'case is', 'cases are')} wrong in the new run."] if wrong else []
    imprecise = ended[Status.IMPRECISE]
    if imprecise:
        has = units.plural(imprecise, "case has", "cases have")
        texts.append(f"{has} less precision than requested in the new run.")
    texts += [f"{units.plural(lost, 'case')} could not be measured in the new run."] if lost else []
    faster = _of(comparison, Verdict.IMPROVED)
    if faster and comparison.verdict is Verdict.REGRESSED:
        most = _by(max(faster, key=size).ratio)
        texts.append(
            f"{units.plural(len(faster), 'case')} got faster, {'' if len(faster) == 1 else 'the most '}{most}."
        )
    texts += [f"{begun(reason)}." for reason in reasons(comparison)]
    of = f"Judged {units.count(comparison.judged)} of {units.plural(len(comparison.judgments), 'case')}"
    texts.append(f"{of}. {begun(seen_text(comparison))}.")
    return texts + _advice(compared)


def _advice(compared: RunComparison) -> list[str]:
    """What to do about cases that could not be judged."""
    comparison = compared.comparison
    noisy = comparison.counts[Verdict.INCONCLUSIVE]
    if not noisy or comparison.discredited:
        return []
    if comparison.how is How.SIDE_BY_SIDE:
        return ["Measure again when the machine is less busy, or with more pairs (--pairs)."]
    ab = "run `convbench ab`, which measures both environments in alternation and so removes the machine's noise"
    times = math.ceil(comparison.longer)
    if comparison.verdict is Verdict.INCONCLUSIVE and times > 1 and not comparison.is_machine:
        rounds = times * compared.new.measure.rounds
        return [f"What to do: {ab}. Or measure both longer, with `measure: {{rounds: {rounds}}}` or more."]
    return [f"What to do about {units.plural(noisy, 'inconclusive case')}: {ab}."]


def _of(comparison: Comparison, verdict: Verdict) -> list[Judgment]:
    return [judgment for judgment in comparison.judgments if judgment.verdict is verdict]


def _worst(comparison: Comparison) -> tuple[str, str, str] | None:
    """(case id, label, numbers) of the largest change in the direction of the verdict; None where nothing changed."""
    if comparison.verdict not in (Verdict.REGRESSED, Verdict.IMPROVED):
        return None
    worst = max(_of(comparison, comparison.verdict), key=size)
    interval = f"{units.change(worst.low)} to {units.change(worst.high)}"
    times = f"{units.seconds(worst.base_s)} -> {units.seconds(worst.new_s)}"
    return worst.case.id, worst.case.label, f"{units.change(worst.ratio)} ({interval}), {times}"


def _tiles(comparison: Comparison) -> list[VerdictTile]:
    found = []
    for verdict, (title, mood, plain) in _TILES.items():
        some = _of(comparison, verdict)
        detail = plain
        if some and verdict in (Verdict.REGRESSED, Verdict.IMPROVED):
            detail = f"{'' if len(some) == 1 else 'up to '}{units.change(max(some, key=size).ratio)}"
        elif some and verdict is Verdict.NOT_JUDGED:
            seen = Counter(judgment.reason.partition(":")[0] for judgment in some)
            detail = ", ".join(f"{units.count(n)} {reason}" for reason, n in seen.most_common(3))
        found.append(
            VerdictTile(
                verdict=verdict.value,
                title=title,
                count=units.count(len(some)),
                detail=detail,
                mood=mood if some else "plain",
            )
        )
    return found


def _groups(comparison: Comparison) -> list[GroupView]:
    return [_view(number, group, comparison.judgments) for number, group in enumerate(comparison.groups)]


def _view(number: int, group: Group, judgments: Sequence[Judgment]) -> GroupView:
    return GroupView(
        number=number,
        verdict=group.verdict.value,
        name=group.name,
        change=units.change(group.ratio),
        share=f"{units.count(len(group.changed))} of {units.plural(group.cases, 'case')}",
        causes=tuple(map(str, group.causes)),
        labels=tuple(judgments[place].case.label for place in group.changed[:PLAIN_LABELS]),
        left=left_out(len(group.changed), PLAIN_LABELS, "case"),
    )


def _difference(one: Difference) -> tuple[str, str, str, str, bool]:
    """(what, base, new, where, whether it makes runs incomparable)."""
    where = "" if one.cases is None else units.plural(one.cases, "case")
    return one.what, one.base, one.new, where, one.decides


def _facts(runs: tuple[Run, Run], how: How) -> list[tuple[str, str, str]]:
    """(what, base, new) of the compared runs."""

    def both(name: str, texts: Sequence[str]) -> list[tuple[str, str, str]]:
        return [(name, texts[0], texts[1])] if any(texts) else []

    return [
        *both("run", [run.id for run in runs]),
        *both("sweep", [run.name for run in runs]),
        *both("started", [when(run.started_at) for run in runs]),
        *both("commit", [_commit(run) for run in runs]),
        *both("branch", [run.git.branch or "unknown" if run.git else "" for run in runs]),
        *both("host", [run.environment.hostname for run in runs]),
        *both("processor", [f"{run.environment.cpu}, {units.plural(run.environment.cores, 'core')}" for run in runs]),
        *both("accelerator", [run.environment.accelerator or "" for run in runs]),
        *both("torch", [run.environment.torch for run in runs]),
        *both("Python", [run.environment.python for run in runs]),
        *both("convbench", [run.version for run in runs]),
        *both("measured", [_extent(run, how) for run in runs]),
    ]


def _commit(run: Run) -> str:
    if run.git is None:
        return ""
    return run.git.commit[:12] + (" with changes" if run.git.dirty else "")


def _extent(run: Run, how: How) -> str:
    processes = units.plural(run.measure.processes, *processes_of(how))
    return f"{units.plural(len(run.results), 'case')}, {processes} of {units.plural(run.measure.rounds, 'round')}"


def _data(comparison: Comparison, rows: Table, links: Sequence[str | None]) -> str:
    """The payload that the page's scripts read first: the table, the groups, the sides."""
    payload = Payload()
    row_of = {judgment.case: row for row, judgment in enumerate(rows.judgments)}
    payload.head = {
        **rows.into(payload),
        "axes": [],
        "findings": [],
        "groups": [
            {
                "text": group.name,
                "cases": payload.add(
                    np.array([row_of[comparison.judgments[at].case] for at in group.changed], dtype=np.int32)
                ),
            }
            for group in comparison.groups
        ],
        "reports": links,
        "process": processes_of(comparison.how)[0],
        "packed": _packed(rows),
        "lead": _lead(comparison),
        "shift": comparison.shift if is_reported(comparison.shift) else 1.0,
    }
    return payload.text()


def _lead(comparison: Comparison) -> str:
    """The word for the times that are compared."""
    return leading_word(judgment.case.device for judgment in comparison.judgments)


def _packed(rows: Table) -> int:
    """The number of rows, from the first, whose blocks are in the page."""
    blocks = np.cumsum(rows.blocks[0].counts + rows.blocks[1].counts)
    return int(np.searchsorted(blocks, MOST_BLOCKS, side="right"))


def _blocks(rows: Table) -> str:
    """The payload that the page's scripts read when a case is opened: both sides' blocks."""
    payload, most = Payload(), _packed(rows)
    payload.head = {
        side: blocks_into(payload, _first(blocks, most), floors)
        for side, blocks, floors in zip(SIDES, rows.blocks, rows.floors, strict=True)
    }
    return payload.text()


def _first(blocks: estimate.BlockTable, cases: int) -> estimate.BlockTable:
    offsets = blocks.offsets[: cases + 1]
    return estimate.BlockTable(values=blocks.values[: offsets[-1]], offsets=offsets, by_median=blocks.by_median[:cases])
