"""The report: a run as one HTML file that opens offline. Pure. The template gets ready strings and does no arithmetic.

The content security policy allows scripts by the hash of their text and forbids requests. Jinja escapes user text. The
page contains its libraries (libraries.py).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from urllib.parse import urlencode

import numpy as np
import pandas as pd
from markupsafe import Markup

from convbench import units
from convbench.analysis.findings.contrasts import Contrast, Measure
from convbench.analysis.findings.findings import (
    Examined,
    Finding,
    FindingKind,
    Trust,
    Weight,
    examined,
    trust,
    with_details,
)
from convbench.analysis.findings.trouble import probe_time
from convbench.analysis.table.columns import Rows
from convbench.model.lead import leading_word
from convbench.model.result import UNMEASURED, WRONG, ProcessFacts, Run, RunState, Status
from convbench.model.settings import PROBLEM_SETTINGS
from convbench.report.glossary import meanings
from convbench.report.pages import figures
from convbench.report.pages.libraries import datatables, datatables_style, plotly
from convbench.report.pages.network import drawn_ways, network_views
from convbench.report.pages.payload import Payload, blocks_into, cases_into, pairs_into
from convbench.report.pages.policy import policy, script_hash
from convbench.report.pages.rendering import begun, left_out, when
from convbench.report.pages.rendering import render as render_page
from convbench.report.pages.rerun import case_mapping, measure_mapping
from convbench.report.pages.scripts import joined, static
from convbench.report.pages.tables import TableColumn, by_weight, case_table, refusals, rows, troubles

#: Rows of the table of cases, and labels of refused or waiting points, that the page has as plain HTML for readers
#: without scripts. The interactive table has all cases.
PLAIN_ROWS = 200
PLAIN_LABELS = 20
#: Cases named below a finding for readers without scripts.
PLAIN_EVIDENCE = 6
#: Findings outside the fold; a click opens the rest. Notes are in the fold.
FIRST_FINDINGS = 8

#: (answer, mood) of the tile on noise.
_TRUST = {
    Trust.UNKNOWN: ("Unknown: no probe ran", "plain"),
    Trust.QUIET: ("Quiet", "good"),
    Trust.NOISY: ("Noisy, {word}s agree", "warn"),
    Trust.REPEAT: ("Noisy: repeat the run", "bad"),
}
_STYLES = ("report.css", "explainer.css")
_ENTRY = "main.js"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerTile:
    """One answer at the head of the report. `mood` is good, warn, bad or plain; the text always says the same.

    `more` is folded.
    """

    title: str
    answer: str
    detail: str
    mood: str
    more: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingView:
    """A finding as the page shows it: its number, the text and target of its link, the labels of some of its cases.

    `contrast` is the number of the contrast whose pairs prove it, and `link` the view that shows these.
    """

    number: int
    kind: str
    sentence: str
    cases: str
    contrast: int | None
    link: str
    labels: tuple[str, ...]
    left: str
    details: tuple[FindingView, ...]


def file_name(run: Run) -> str:
    """`<slug of name>-<run id>.html`."""
    slug = re.sub(r"[^a-z0-9]+", "-", run.name.lower()).strip("-")[:60].strip("-")
    return f"{slug or 'run'}-{run.id}.html"


def render(run: Run, seen: Examined | None = None) -> str:
    """The whole report as HTML text, encodable as UTF-8; `seen` are its findings where the caller has them."""
    seen = examined(run) if seen is None else seen
    known, table = seen.rows, seen.table
    columns = case_table(table)
    words = seen.evidence.written.as_written(known.cases)
    axes = figures.axes(table, words, seen.contrasts)
    top, rest = finding_views(seen)
    answered = network_views(seen)
    script = Markup(joined(_ENTRY))
    libraries = (plotly(), datatables())
    lost = troubles(run)
    waiting = [case.label for case in run.unmeasured]
    rejected = refusals(run)
    return render_page(
        "report.html.j2",
        run=run,
        file=file_name(run).removesuffix(".html"),
        policy=policy([script_hash(str(script)), *(library.hash for library in libraries)]),
        style=Markup("\n".join(static(name) for name in _STYLES)),
        script=script,
        libraries=libraries,
        library_style=datatables_style(),
        data=Markup(_data(run, seen, columns, axes)),
        pairs=Markup(_pairs(seen.contrasts)),
        blocks=Markup(_blocks(known)),
        when=when(run.started_at),
        machine=machine_text(run, table),
        stage=_stage(run, table),
        tiles=tiles_of(run, known, table, sum(each.count for each in seen.evidence.written.left_out)),
        findings=top,
        more_findings=rest,
        answers=answered,
        troubles=lost[:PLAIN_ROWS],
        troubles_count=units.plural(len(lost), "case"),
        troubles_left=left_out(len(lost), PLAIN_ROWS, "case"),
        lead=leading_word(table["device"]),
        network=bool(seen.networks),
        single=len(table) == 1,
        compared=bool(seen.contrasts),
        numbers=figures.numbers(seen.evidence, axes),
        ranking=figures.ranking_summary(table),
        columns=[column for column in columns if column.shown],
        rows=rows(table.iloc[by_weight(table)], columns, PLAIN_ROWS),
        rows_left=left_out(len(table), PLAIN_ROWS, "case"),
        refused=units.plural(len(run.rejections), "point"),
        refusals=[
            (reason, units.count(len(labels)), labels[:PLAIN_LABELS], left_out(len(labels), PLAIN_LABELS, "point"))
            for reason, labels in rejected
        ],
        waiting=waiting[:PLAIN_LABELS],
        waiting_count=units.plural(len(waiting), "case"),
        waiting_left=left_out(len(waiting), PLAIN_LABELS, "case"),
        facts=facts_of(run, known.related.typical_slowdown),
    )


def finding_views(seen: Examined) -> tuple[list[FindingView], list[FindingView]]:
    """The findings as the page shows them: those outside the fold, and those in it.

    The tile on correctness says already that all results are right.
    """
    labels = dict(zip(seen.table["case_id"], seen.table["label"], strict=True))
    numbers = {id(finding): number for number, finding in enumerate(with_details(seen.findings))}
    contrasts = {(each.axis, each.base, each.other): number for number, each in enumerate(seen.contrasts)}

    def view(finding: Finding, linked: int | None = None) -> FindingView:
        place = contrasts.get((finding.axis, *finding.values)) if finding.axis and finding.values else None
        contrast = None if place is None else seen.contrasts[place]
        cases = units.plural(len(finding.cases), "case") if finding.cases else ""
        return FindingView(
            number=numbers[id(finding)],
            kind=str(finding.kind),
            sentence=begun(finding.sentence),
            # A detail whose pairs the headline links to needs no link of its own.
            cases=cases if contrast is None else "" if place == linked else units.plural(len(contrast), "pair"),
            contrast=place,
            link="" if contrast is None else pairs_link(contrast),
            labels=tuple(" ".join(labels[name].split()) for name in finding.cases[:PLAIN_EVIDENCE]),
            left=left_out(len(finding.cases), PLAIN_EVIDENCE, "case"),
            details=tuple(view(detail, place) for detail in finding.details),
        )

    shown = [finding for finding in seen.findings if finding.kind is not FindingKind.RIGHT]
    top = [finding for finding in shown if finding.weight < Weight.NOTE][:FIRST_FINDINGS] or shown[:FIRST_FINDINGS]
    return [view(finding) for finding in top], [view(finding) for finding in shown if finding not in top]


def pairs_link(contrast: Contrast) -> str:
    """The view that shows the pairs of a contrast."""
    return urlencode({"ratio.axis": contrast.axis, "ratio.values": values_text(contrast), "pairs": "shown"})


def values_text(contrast: Contrast) -> str:
    """`bfloat16 over float32`: the name of a contrast among those of its setting."""
    return " over ".join(figures.value_text(value, contrast.axis) for value in (contrast.other, contrast.base))


def tiles_of(run: Run, known: Rows, table: pd.DataFrame, left_out: int = 0) -> list[AnswerTile]:
    """The answers at the head of the report. `left_out` counts the network's convolutions that are no cases."""
    return [_right(table), _noise(known, table), _extent(run, table, left_out), _range(table)]


def _count(table: pd.DataFrame, *statuses: Status) -> int:
    return int(table["status"].isin([status.value for status in statuses]).sum())


def _right(table: pd.DataFrame) -> AnswerTile:
    failed, imprecise = _count(table, Status.FAILED), _count(table, Status.IMPRECISE)
    checked = _count(table, Status.PASSED) + failed + imprecise
    if not checked:
        return AnswerTile(title="Correctness", answer="Nothing was checked", detail="No case ran.", mood="bad")
    inexact = table["method"].isin(["rounded", "normwise"]) & table["status"].isin([Status.PASSED, *WRONG])
    several = "all" if inexact.sum() == checked else units.plural(int(inexact.sum()), "case")
    some = f" ({several} with kernels that are not exact)" if inexact.any() else ""
    how = (
        f"Before timing, shapes and values of each case were compared with exact arithmetic{some}, on the same tensors"
    )
    if failed or imprecise:
        counts = [(failed, "wrong"), (imprecise, "imprecise")]
        (number, word), *more = [(number, word) for number, word in counts if number]
        answer = f"{units.count(number)} of {units.plural(checked, 'case')} {'is' if number == 1 else 'are'} {word}"
        answer += "".join(f", {units.count(number)} {word}" for number, word in more)
    else:
        ran = " that ran" if checked < len(table) else ""
        answer = f"The case{ran} is right" if checked == 1 else f"All {units.count(checked)} cases{ran} are right"
    return AnswerTile(
        title="Correctness", answer=answer, detail=f"{how}.", mood="bad" if failed or imprecise else "good"
    )


def _noise(known: Rows, table: pd.DataFrame) -> AnswerTile:
    noise = known.noise
    spreads = table["spread"].dropna()
    sentences = []
    if noise.probes:
        sentences += [
            f"The probe, a fixed piece of work, took {probe_time(noise.ratio)}.",
            f"{units.percent(noise.quiet, 0)} of the blocks ran while the machine was quiet.",
        ]
    if len(spreads):
        half, most = (units.apart(float(spreads.quantile(share))) for share in (0.5, 0.9))
        word = leading_word(table["device"])
        several = f"half of the {word}s agree within {half}, 90 % of them within {most}"
        sentences.append(
            f"From process to process {several if len(spreads) > 1 else f'the {word}s agree within {half}'}."
        )
    if not sentences:
        return AnswerTile(title="Noise", answer="Unknown", detail="Nothing was timed.", mood="plain")
    state = trust(noise.ratio, spreads)
    answer, mood = _TRUST[state]
    answer = answer.format(word=leading_word(table["device"]))
    if state is Trust.NOISY and spreads.empty:
        answer = "Noisy: one process is not enough"
    detail, *more = (sentence.replace(" %", "\u00a0%") for sentence in sentences)
    return AnswerTile(title="Noise", answer=answer, detail=detail, mood=mood, more=" ".join(more))


def _extent(run: Run, table: pd.DataFrame, left_out: int) -> AnswerTile:
    timed = int(table["time_s"].notna().sum())
    lost = _count(table, *UNMEASURED)
    parts = [
        (lost, f"{units.count(lost)} could not be measured"),
        (_count(table, Status.SKIPPED), f"{units.count(_count(table, Status.SKIPPED))} skipped"),
        (len(run.unmeasured), f"{units.count(len(run.unmeasured))} not reached yet"),
        (len(run.rejections), f"{units.plural(len(run.rejections), 'point')} of the sweep refused by torch"),
        (left_out, f"{units.plural(left_out, 'convolution')} of the network left out"),
    ]
    detail = "; ".join(text for number, text in parts if number)
    return AnswerTile(
        title="Measured",
        answer=f"{units.count(timed)} of {units.plural(len(table), 'case')} timed",
        detail=f"{detail}." if detail else "Nothing was left out.",
        mood="bad" if lost else "warn" if run.unmeasured or left_out else "good",
    )


def _range(table: pd.DataFrame) -> AnswerTile:
    passed = table[(table["status"] == Status.PASSED.value).fillna(False).to_numpy(dtype=bool)]
    times, rates = passed["time_s"].dropna(), passed["tflops"].dropna()
    if times.empty:
        return AnswerTile(title="Time", answer="No time", detail="No case passed.", mood="plain")
    low, high = units.seconds(times.min()), units.seconds(times.max())
    best = units.si(float(rates.max()) * 1e12, "FLOP/s") if len(rates) else "-"
    return AnswerTile(
        title="Time",
        answer=low if len(times) == 1 else f"{low} to {high}",
        detail=f"{begun(leading_word(table['device']))}s of one iteration. The highest rate is {best}.",
        mood="plain",
    )


def _stage(run: Run, table: pd.DataFrame) -> str:
    """The progress of an unfinished run; "" when it is finished."""
    planned = units.plural(run.measure.processes, "process", "processes")
    done = int(table["processes"].max()) if len(table) else 0
    at = f"process {done} of {run.measure.processes}" if done else f"the first of {planned}"
    if run.state is RunState.RUNNING:
        return f"{at.capitalize()}. The run is in progress, and each further process makes the numbers more accurate."
    if run.state is RunState.INTERRUPTED:
        return f"Interrupted in {at}. The same command continues the run."
    return ""


def machine_text(run: Run, table: pd.DataFrame) -> str:
    """The devices that the cases ran on, the cores and torch; skipped cases do not count."""
    e = run.environment
    ran = table[(table["status"] != Status.SKIPPED.value).fillna(True).to_numpy(dtype=bool)]
    kinds = sorted({device.partition(":")[0] for device in ran["device"]}) or ["cpu"]
    devices = [e.cpu if kind == "cpu" else e.accelerator or kind for kind in kinds]
    return f"{', '.join(dict.fromkeys(devices))}, {units.plural(e.cores, 'core')}, torch {e.torch}"


def facts_of(run: Run, slowdown: float) -> list[tuple[str, str]]:
    """(name, value) of the facts that a reader needs to judge and repeat the run.

    `slowdown` is that of the reference layers, NaN without any.
    """
    e, m = run.environment, run.measure
    facts = [
        ("processor", e.cpu),
        ("cores", units.count(e.cores)),
        ("memory", units.size(e.memory_bytes)),
        ("caches", f"L2 {units.size(e.l2_bytes)}, L3 {units.size(e.l3_bytes)}"),
        ("accelerator", e.accelerator or "none"),
        *((device.name, f"{device.model}, {units.size(device.memory_bytes)}") for device in e.devices),
        *e.device_software,
        ("host", e.hostname),
        ("system", f"{e.system}, {e.machine}, {e.libc}"),
        ("torch", e.torch),
        ("oneDNN", e.onednn or "unknown"),
        ("instructions", e.cpu_capability or "unknown"),
        ("Python", e.python),
        ("allocator", e.allocator),
        ("convbench", run.version),
        ("run", run.id),
        ("seed", str(run.seed)),
        ("started", when(run.started_at)),
        ("finished", when(run.finished_at) if run.finished_at else "not yet"),
        (
            "measured by",
            f"{units.plural(m.processes, 'process', 'processes')} of {units.plural(m.rounds, 'round')}, at most "
            f"{units.seconds(m.max_time)} per case, settled at {units.percent(m.precision)}",
        ),
    ]
    if not math.isnan(slowdown):
        facts.append(("reference layers", f"{units.percent(slowdown - 1)} slower than at their fastest known"))
    return facts + _state_facts(run.processes) + list(e.variables)


def _state_facts(processes: tuple[ProcessFacts, ...]) -> list[tuple[str, str]]:
    """(name, value) of the machine's state during each process, as far as the system reports it."""
    states = [state for facts in processes for state in facts.device_states]

    def fact(name: str, values: list[float | None], text: Callable[[float], str]) -> list[tuple[str, str]]:
        return [(name, ", ".join("-" if value is None else text(value) for value in values))] if any(values) else []

    return [
        *fact("load, each process", [facts.load for facts in processes], lambda value: f"{value:.1f}"),
        *fact("stolen by other guests", [facts.stolen for facts in processes], units.percent),
        *fact("frequency", [facts.frequency_hz for facts in processes], lambda value: units.si(value, "Hz")),
        *(
            (f"{device}, each process", "; ".join(str(state) for state in states if state.device == device))
            for device in dict.fromkeys(state.device for state in states)
        ),
        *fact("slowed down (times)", [facts.throttled for facts in processes], lambda value: units.count(int(value))),
    ]


def _data(run: Run, seen: Examined, columns: tuple[TableColumn, ...], axes: tuple[figures.PlotAxis, ...]) -> str:
    """The payload that the page's scripts read first: columns, the settings' order, findings, roofs."""
    known, table = seen.rows, seen.table
    payload = Payload()
    cases = cases_into(payload, table)
    cases["yaml"] = {
        "values": [case_mapping(case) for case in known.cases],
        "codes": payload.add(np.arange(len(table), dtype=np.int32)),
    }
    place = pd.Index(table["case_id"])

    def places(ids: tuple[str, ...]) -> dict[str, object]:
        return payload.add(np.unique(place.get_indexer(pd.Index(ids))).astype(np.int32))

    payload.head = {
        "length": len(table),
        "lead": leading_word(table["device"]),
        "order": payload.add(by_weight(table)),
        "columns": [asdict(column) for column in columns],
        "cases": cases,
        "axes": [
            {
                "name": axis.name,
                "title": axis.title,
                "scale": axis.scale,
                "places": axis.places,
                "texts": axis.texts,
                "codes": payload.add(axis.codes),
                "written": None if axis.written is None else payload.add(axis.written),
                "effect": axis.effect,
            }
            for axis in axes
        ],
        "findings": [
            {"sentence": finding.sentence, "cases": places(finding.cases)} for finding in with_details(seen.findings)
        ],
        "contrasts": [
            {
                "axis": each.axis,
                "values": values_text(each),
                "base": figures.value_text(each.base, each.axis),
                "other": figures.value_text(each.other, each.axis),
                "measure": each.measure,
                "pairs": len(each),
            }
            for each in seen.contrasts
        ],
        "first": first_contrast(seen),
        "ways": [
            {
                "text": way.text,
                "rows": payload.add(way.rows),
                "layers": payload.add(way.layers),
                "often": payload.add(way.often),
            }
            for way in drawn_ways(seen)
        ],
        "problem": PROBLEM_SETTINGS,
        "ceilings": [asdict(ceiling) for ceiling in figures.ceilings(run)],
        "roofs": payload.add(figures.roof_codes(run, known.cases)),
        "waiting": payload.add(np.sort(seen.evidence.order[seen.evidence.waiting]).astype(np.int32)),
        "meanings": {name: meanings(name) for name in table["implementation"].dropna().unique()},
        "measure": measure_mapping(run.measure),
        "seed": run.seed,
    }
    return payload.text()


def first_contrast(seen: Examined) -> int:
    """The contrast that pictures show first: that of the first finding, those on settings of execution before others.

    Where no finding compares anything, it is the one with the largest effect, on a setting of execution if possible.
    """
    named = {(each.axis, each.base, each.other): number for number, each in enumerate(seen.contrasts)}
    equal_work = [number for number, each in enumerate(seen.contrasts) if each.measure is Measure.TIME]
    compared = [
        number
        for finding in with_details(seen.findings)
        if finding.axis and finding.values and (number := named.get((finding.axis, *finding.values))) is not None
    ]
    if compared:
        return next((number for number in compared if number in equal_work), compared[0])
    return max(equal_work or range(len(seen.contrasts)), key=lambda number: seen.contrasts[number].effect, default=0)


def _pairs(contrasts: tuple[Contrast, ...]) -> str:
    """The payload that the page's scripts read for the picture of ratios: every pair."""
    payload = Payload()
    payload.head = pairs_into(payload, contrasts)
    return payload.text()


def _blocks(known: Rows) -> str:
    """The payload that the page's scripts read when a picture needs it: every block."""
    payload = Payload()
    payload.head = blocks_into(payload, known.blocks, known.estimates.floor_s)
    return payload.text()
