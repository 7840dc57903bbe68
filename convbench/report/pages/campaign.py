"""The page of a campaign: its machines side by side, as one HTML file that opens offline. Pure.

It contains libraries, data and scripts, as the report on one run does (run.py). No figure is a mean over machines.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from markupsafe import Markup

from convbench import units
from convbench.analysis.campaign.costs import images_per_dollar
from convbench.analysis.campaign.findings import CampaignFinding, campaign_findings
from convbench.analysis.campaign.network import NetworkTime
from convbench.analysis.campaign.shards import Split
from convbench.analysis.campaign.turns import Across
from convbench.analysis.campaign.view import CampaignView
from convbench.analysis.findings.findings import Weight, trust
from convbench.model.lead import leading_word
from convbench.model.settings import TABLE
from convbench.report.pages import figures
from convbench.report.pages import run as run_page
from convbench.report.pages.campaign_table import case_columns
from convbench.report.pages.comparison_table import FilledColumn, column_into
from convbench.report.pages.index_campaigns import page_name
from convbench.report.pages.libraries import datatables, datatables_style, plotly
from convbench.report.pages.payload import Payload
from convbench.report.pages.plain import Row, Table
from convbench.report.pages.policy import policy, script_hash
from convbench.report.pages.rendering import begun, left_out, when
from convbench.report.pages.rendering import render as render_page
from convbench.report.pages.scripts import joined, static
from convbench.report.pages.tables import TableColumn
from convbench.report.text.campaign import by_weight, head_text, roofs_text
from convbench.version import __version__

#: Rows of the table that the page has as plain HTML for readers without scripts.
PLAIN_ROWS = 200
#: Findings outside the fold, and findings of each machine's own run.
FIRST_FINDINGS = 10
OWN_FINDINGS = 5
_STYLES = ("report.css", "campaign.css")
_ENTRY = "campaign_main.js"


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineTile:
    """A machine at the head of the page: in how many cases it is the best. `mood` is good or plain."""

    name: str
    answer: str
    detail: str
    mood: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingView:
    """A finding with the text of its link; `contrast` is the number of the comparison whose pairs it counts."""

    number: int
    kind: str
    sentence: str
    cases: str
    contrast: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnFindings:
    """The findings on one machine's own run, and the report of the run where it lies beside the page."""

    name: str
    sentences: tuple[str, ...]
    left: str
    report: str | None


def file_name(view: CampaignView) -> str:
    """`campaign-<name>-<id>.html`, without an id for the newest runs of a sweep. It ends with no run's id."""
    return page_name(view.name, view.id)


def render(view: CampaignView, reports: Collection[str] = (), *, found: Sequence[CampaignFinding] | None = None) -> str:
    """The whole page as HTML text, encodable as UTF-8.

    `reports` are names of files beside it, to which it links where they are reports of its runs. `found` are the
    findings where the caller has them.
    """
    found = campaign_findings(view) if found is None else found
    order = by_weight(view)
    columns = case_columns(view, order)
    shown = [column for column in columns if column.spec.shown]
    links = [name if (name := run_page.file_name(run)) in reports else None for run in view.runs]
    findings = _finding_views(view, found)
    script = Markup(joined(_ENTRY))
    libraries = (plotly(), datatables())
    return render_page(
        "campaign.html.j2",
        file=file_name(view).removesuffix(".html"),
        version=__version__,
        policy=policy([script_hash(str(script)), *(library.hash for library in libraries)]),
        style=Markup("\n".join(static(name) for name in _STYLES)),
        script=script,
        libraries=libraries,
        library_style=datatables_style(),
        data=Markup(_data(view, found, columns, order)),
        pairs=Markup(_pairs(view.across)),
        name=view.name,
        which="the newest run of each" if view.id is None else f"campaign {view.id}",
        head=head_text(view).removeprefix(f"{units.flat(view.name)}: "),
        tiles=_tiles(view),
        findings=findings[:FIRST_FINDINGS],
        more_findings=findings[FIRST_FINDINGS:],
        machines=_machines(view, links),
        hosts=[_hosts(split) for split in view.splits],
        turns=_turns(view),
        networks=_networks(view),
        own=[_own(view, at, link) for at, link in enumerate(links)],
        single=len(view.members) == 1,
        has_times=bool(np.isfinite(view.time_s).any()),
        compared=bool(view.across),
        priced=any(price > 0 for price in view.prices),
        lead=leading_word(case.device for case in view.cases),
        columns=[column.spec for column in shown],
        rows=_rows(shown, min(len(order), PLAIN_ROWS)),
        rows_left=left_out(len(order), PLAIN_ROWS, "case"),
    )


def _tiles(view: CampaignView) -> list[MachineTile]:
    """The machines by the number of cases that each is the best for."""
    ranked = view.ranking
    whole = int(ranked.whole.sum())
    alone = ranked.best[ranked.alone]
    wins = [int((alone == at).sum()) for at in range(len(view.members))]
    tiles = []
    for at, member in enumerate(view.members):
        timed = int(ranked.ranked[:, at].sum())
        of = f"{units.count(timed)} of {units.plural(len(view.cases), 'case')} timed"
        device = ", ".join(map(str, member.key.devices))
        detail = ". ".join(filter(None, (of, device, f"Best roofs: {roofs_text(view.roofs[at])}")))
        if len(view.members) == 1:
            answer = "The only machine"
        elif not whole:
            answer = "No case on every machine"
        else:
            answer = f"Fastest in {units.count(wins[at])} of {units.count(whole)}"
        mood = "good" if wins[at] and wins[at] == max(wins) else "plain"
        tiles.append(MachineTile(name=member.name, answer=answer, detail=f"{detail}.", mood=mood))
    return tiles


def _finding_views(view: CampaignView, found: Sequence[CampaignFinding]) -> list[FindingView]:
    places = {(one.axis, one.base, one.other): number for number, one in enumerate(view.across)}
    views = []
    for number, finding in enumerate(found):
        contrast = None if finding.values is None else places[finding.values]
        count = len(view.across[contrast]) if contrast is not None else len(finding.rows)
        noun = "pair" if contrast is not None else "case"
        views.append(
            FindingView(
                number=number,
                kind=str(finding.kind),
                sentence=begun(finding.sentence),
                cases=units.plural(count, noun) if count else "",
                contrast=contrast,
            )
        )
    return views


def _machines(view: CampaignView, links: Sequence[str | None]) -> list[tuple[str, list[tuple[str, str | None]]]]:
    """(what, (text, link) of each machine) of what a reader needs to know of the machines."""
    runs, members = view.runs, view.members

    def row(what: str, texts: Sequence[str]) -> list[tuple[str, list[tuple[str, str | None]]]]:
        return [(what, [(text, None) for text in texts])] if any(text not in ("", "-") for text in texts) else []

    spreads = [one.table["spread"].dropna() for one in view.seen]
    noise = [one.rows.noise.ratio for one in view.seen]
    return [
        *row("processor", [member.key.cpu for member in members]),
        *row("cores", [f"{member.key.cores}, {member.key.architecture}" for member in members]),
        *row("devices", ["; ".join(map(str, member.key.devices)) for member in members]),
        *row("machine key", [member.key.id for member in members]),
        *row("host", [", ".join(member.hosts) for member in members]),
        *row("torch", [run.environment.torch for run in runs]),
        *row("roofs", [roofs_text(roofs) for roofs in view.roofs]),
        *row("probe over its fastest", [units.apart(ratio - 1) if math.isfinite(ratio) else "-" for ratio in noise]),
        *row(
            "half of the spreads are within",
            [units.apart(float(each.median())) if len(each) else "-" for each in spreads],
        ),
        *row("noise", [str(trust(ratio, each)) for ratio, each in zip(noise, spreads, strict=True)]),
        *row("an hour costs", [f"${price:,.2f}" if price > 0 else "" for price in view.prices]),
        *row("measured", [when(run.started_at) for run in runs]),
        ("run", [(run.id, link) for run, link in zip(runs, links, strict=True)]),
    ]


def _hosts(split: Split) -> Table:
    """The control cases of hosts that shared the cases: the time on each host."""
    moved = (*(units.ratio(move) if math.isfinite(move) else "-" for move in split.moved), units.percent(split.apart))
    rows = [
        Row(
            name=control.case.label,
            case_id=control.case.id,
            cells=(*map(units.seconds, control.time_s), units.percent(control.apart), units.percent(control.spread)),
        )
        for control in split.controls
    ]
    whole = Row(name="over the median host, of all controls", cells=(*moved, units.percent(split.spread)))
    return Table(
        title=begun(f"{split}."),
        heads=("control case", *split.hosts, "apart", "spread on a host"),
        rows=(whole, *rows),
    )


def _turns(view: CampaignView) -> Table | None:
    """Every comparison of two values, machine by machine; None without any."""
    if not view.across:
        return None
    rows = []
    for one in view.across:
        cells = [_counts(one, at) for at in range(len(view.members))]
        turned = f"{units.count(len(one.turned))} of {units.count(one.shared)}" if one.shared else "-"
        rows.append(Row(name=contrast_text(one), cells=(*cells, turned)))
    return Table(
        title="Two values of a setting on every machine",
        heads=("setting", *view.names, "turn round"),
        rows=tuple(rows),
    )


def _counts(one: Across, at: int) -> str:
    """`faster in 20, slower in 2, alike in 3`."""
    counts = zip(("faster in", "slower in", "alike in"), one.counts(at), strict=True)
    return ", ".join(f"{word} {units.count(count)}" for word, count in counts if count) or "-"


def contrast_text(one: Across) -> str:
    """`bfloat16 over float32`."""
    return " over ".join(figures.value_text(value, one.axis) for value in (one.other, one.base))


def _networks(view: CampaignView) -> list[Table]:
    """The sums of counted networks by machine, and the images that a dollar pays for."""
    if not view.networks:
        return []
    rows = [Row(name=_part(each), cells=tuple(map(_seconds, each.seconds, each.lacks))) for each in view.networks]
    found = [Table(title="Time of the network", heads=("part", *view.names), rows=tuple(rows))]
    bought = [(each, _bought(view, each)) for each in view.networks]
    known = [Row(name=_part(each), cells=cells) for each, cells in bought if any(cell != "-" for cell in cells)]
    if known:
        found.append(Table(title="Images for a dollar", heads=("part", *view.names), rows=tuple(known)))
    return found


def _part(each: NetworkTime) -> str:
    return f"one {each.part}" + (f" with {each.name}" if each.name else "")


def _seconds(seconds: float, lack: str) -> str:
    return f"{units.seconds(seconds)} ({lack})" if lack and math.isfinite(seconds) else units.seconds(seconds)


def _bought(view: CampaignView, each: NetworkTime) -> tuple[str, ...]:
    found = []
    for seconds, lack, price in zip(each.seconds, each.lacks, view.prices, strict=True):
        images = images_per_dollar(each.images or math.nan, math.nan if lack else seconds, price)
        found.append(units.si(images, "").strip() if math.isfinite(images) else "-")
    return tuple(found)


def _own(view: CampaignView, at: int, link: str | None) -> OwnFindings:
    """The most important findings on a machine's own run; notes are left to its report."""
    sentences = [one.sentence for one in view.seen[at].findings if one.weight < Weight.NOTE]
    return OwnFindings(
        name=view.names[at],
        sentences=tuple(begun(sentence) for sentence in sentences[:OWN_FINDINGS]),
        left=left_out(len(sentences), OWN_FINDINGS, "finding"),
        report=link,
    )


def _rows(columns: Sequence[FilledColumn], count: int) -> list[list[tuple[TableColumn, str]]]:
    return [[(column.spec, column.spec.show(column.values[row])) for column in columns] for row in range(count)]


def _data(
    view: CampaignView, found: Sequence[CampaignFinding], columns: Sequence[FilledColumn], order: Sequence[int]
) -> str:
    """The payload that the page's scripts read first: the table, the machines, their roofs, the findings' cases."""
    payload = Payload()
    place = np.empty(len(order), dtype=np.int32)
    place[list(order)] = np.arange(len(order), dtype=np.int32)
    payload.head = {
        "length": len(order),
        "lead": leading_word(case.device for case in view.cases),
        "columns": [asdict(column.spec) for column in columns],
        "cases": {column.spec.name: column_into(payload, column) for column in columns},
        "axes": [],
        "findings": [{"sentence": one.sentence, "cases": payload.add(np.sort(place[list(one.rows)]))} for one in found],
        "best": payload.add(view.ranking.best[list(order)].astype(np.int16)),
        "machines": [
            {"name": name, "ceilings": [asdict(ceiling) for ceiling in figures.ceilings(run)]}
            for name, run in zip(view.names, view.runs, strict=True)
        ],
        "dtypes": {
            "values": (dtypes := list(dict.fromkeys(case.compute_dtype for case in view.cases))),
            "codes": payload.add(
                np.array([dtypes.index(view.cases[row].compute_dtype) for row in order], dtype=np.int16)
            ),
        },
        "across": [_across(payload, view, one, place) for one in view.across],
    }
    return payload.text()


def _across(payload: Payload, view: CampaignView, one: Across, place: np.ndarray) -> dict[str, object]:
    """What the scripts read first of a comparison: its words, and the rows of its pairs."""
    at = {case: int(place[row]) for row, case in enumerate(view.cases)}
    rows = np.array([[at[case] for case in pair] for pair in one.pairs], dtype=np.int32).reshape(-1, 2)
    return {
        "axis": one.axis,
        "title": begun(TABLE[one.axis].heading),
        "values": contrast_text(one),
        "base": figures.value_text(one.base, one.axis),
        "other": figures.value_text(one.other, one.axis),
        "turned": len(one.turned),
        "bases": payload.add(rows[:, 0]),
        "others": payload.add(rows[:, 1]),
    }


def _pairs(across: Sequence[Across]) -> str:
    """The payload that the picture of ratios reads: of each comparison ratio, noise and verdict, machine by machine."""
    payload = Payload()
    payload.head = {
        "across": [
            {
                "ratio": payload.add(one.ratio.T.ravel().astype(np.float32)),
                "noise": payload.add(one.noise.T.ravel().astype(np.float32)),
                "verdict": payload.add(one.verdict.T.ravel().astype(np.int8)),
            }
            for one in across
        ]
    }
    return payload.text()
