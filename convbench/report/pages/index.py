"""The page of all stored runs, newest first: a description, the findings and the report of each. Pure.

Computing findings requires loading the run, so they are cached in a small file beside the page. This module makes and
reads its text, and validates every value in it.
"""

from __future__ import annotations

import json
import math
import re
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from convbench import units
from convbench.measure import estimate
from convbench.model.result import UNMEASURED, Run, RunState, RunSummary, Status
from convbench.report.pages import trends
from convbench.report.pages.policy import style_policy
from convbench.report.pages.rendering import ELLIPSIS, begun, shortened, when
from convbench.report.pages.rendering import render as render_page
from convbench.report.pages.scripts import static

#: Runs on the page; `convbench runs` lists all. 500 runs make a page of about 1 MB.
MOST_RUNS = 500
#: Findings of each run and characters of a sentence at most: the run's report has the rest.
MOST_FINDINGS = 3
MOST_CHARACTERS = 400

#: The layout of the file beside the page. Files of other layouts are ignored.
_LAYOUT = 2
_STYLES = ("report.css", "index.css")
#: The beginning of the name of a comparison's page, which also ends with a run's id (comparison.py).
_OF_TWO_RUNS = re.compile(r"compare-\d{8}(t|-)\d{6}-\w+-\d{8}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """A run in brief: the first line of its description, its first findings by weight, and its noise.

    `noise` is the median probe over the fastest probe, minus 1; None where no probe ran.
    """

    description: str
    noise: float | None
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEntry:
    """One run on the page. `glance` is None if the run was not loaded, `report` if there is no such file."""

    run: RunSummary
    glance: Glance | None
    report: str | None


def glance(run: Run, findings: Sequence[str] | None = None) -> Glance:
    """A run in brief; `findings` are its sentences where the caller has them."""
    if findings is None:
        from convbench.analysis.findings.findings import (
            findings as found,  # loads pandas, which cached glances do not need
        )

        findings = [finding.sentence for finding in found(run)]
    blocks = estimate.table(run.results)
    noise = estimate.noise(blocks, [result.case.worker for result in run.results]).ratio - 1
    lines = run.description.strip().splitlines()
    return Glance(
        description=shortened(lines[0], MOST_CHARACTERS) if lines else "",
        noise=noise if math.isfinite(noise) else None,
        findings=tuple(shortened(sentence, MOST_CHARACTERS) for sentence in findings[:MOST_FINDINGS]),
    )


def reports(run_ids: Iterable[str], file_names: Iterable[str]) -> dict[str, str]:
    """The report of each run that has one among these files: `<slug>-<run id>.html`, without pages of comparisons."""
    wanted = set(run_ids)
    lengths = sorted({len(run_id) for run_id in wanted}, reverse=True)
    found = {}
    for name in sorted(file_names):
        stem = name.removesuffix(".html")
        if stem == name or _OF_TWO_RUNS.match(stem):
            continue
        for length in lengths:
            run_id = stem[-length:]
            if run_id in wanted and stem.endswith(f"-{run_id}"):
                found[run_id] = name
                break
    return found


def kept_text(
    glances: Mapping[str, tuple[str, Glance]], version: str, sweeps: Mapping[str, trends.SweepTrend] | None = None
) -> str:
    """The text of the cache file for this version of convbench.

    It holds (time of finishing, glance) of runs by their ids, and the sweeps' trends by their names.
    """
    runs = {
        run_id: {
            "finished_at": finished_at,
            "description": seen.description,
            "noise": seen.noise,
            "findings": list(seen.findings),
        }
        for run_id, (finished_at, seen) in glances.items()
    }
    document = {"layout": _LAYOUT, "version": version, "runs": runs, "trends": trends.to_json(sweeps or {})}
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def kept_glances(text: str, version: str) -> dict[str, tuple[str, Glance]]:
    """The glances in a text by `kept_text`, without invalid ones; none if another version of convbench wrote it."""
    runs = _document(text, version).get("runs")
    found = {run_id: _kept(fields) for run_id, fields in runs.items()} if isinstance(runs, dict) else {}
    return {run_id: kept for run_id, kept in found.items() if kept is not None}


def kept_trends(text: str, version: str) -> dict[str, trends.SweepTrend]:
    """The trends in a text by `kept_text`, likewise."""
    return trends.from_json(_document(text, version).get("trends"))


def _document(text: str, version: str) -> dict[str, object]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(document, dict) or (document.get("layout"), document.get("version")) != (_LAYOUT, version):
        return {}
    return document


def _kept(fields: object) -> tuple[str, Glance] | None:
    if not isinstance(fields, dict):
        return None
    finished_at, description = fields.get("finished_at"), fields.get("description")
    noise, findings = fields.get("noise"), fields.get("findings")
    if not isinstance(finished_at, str) or not isinstance(description, str) or not isinstance(findings, list):
        return None
    if noise is not None and not (isinstance(noise, float) and math.isfinite(noise)):
        return None
    sentences = tuple(
        shortened(sentence, MOST_CHARACTERS) for sentence in findings[:MOST_FINDINGS] if isinstance(sentence, str)
    )
    return finished_at, Glance(description=shortened(description, MOST_CHARACTERS), noise=noise, findings=sentences)


def render(
    entries: Sequence[RunEntry], *, older: int, version: str, sweeps: Mapping[str, trends.SweepTrend] | None = None
) -> str:
    """The page as HTML text, encodable as UTF-8; `older` counts the stored runs that are not among the entries."""
    hrefs = {entry.run.id: _href(entry.report) for entry in entries if entry.report}
    lines = [trends.shown(name, one, hrefs) for name, sweep in (sweeps or {}).items() for one in sweep.lines]
    style = "".join(static(name) for name in _STYLES)
    return render_page(
        "index.html.j2",
        policy=style_policy(style),
        style=Markup(style),
        version=version,
        summary=_summary(entries, older),
        lines=lines,
        size=(trends.WIDTH, trends.HEIGHT),
        runs=[_shown(entry) for entry in entries],
        older=units.plural(older, "older run") if older else "",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _RunView:
    """One run as ready strings. `statuses` are (mood, text), a mood being good, bad or plain."""

    id: str
    name: str
    href: str | None
    started_at: str
    when: str
    state: str
    mood: str
    description: str
    counts: list[tuple[str, str]]
    facts: list[tuple[str, str]]
    findings: Sequence[str]
    remark: str


def _shown(entry: RunEntry) -> _RunView:
    run, seen = entry.run, entry.glance
    facts = [("host", run.host), ("processor", run.cpu), ("torch", run.torch), ("run", run.id)]
    if seen and seen.noise is not None:
        facts.insert(-1, ("noise", units.percent(seen.noise)))
    return _RunView(
        id=run.id,
        name=" ".join(run.name.split()) or run.id,
        href=_href(entry.report) if entry.report else None,
        started_at=run.started_at,
        when=when(run.started_at),
        state=run.state.value,
        mood="good" if run.state is RunState.FINISHED else "plain",
        description=seen.description if seen else "",
        counts=_counts(run),
        facts=facts,
        findings=[_sentence(text) for text in seen.findings] if seen else [],
        remark=_remark(entry),
    )


def _href(report: str) -> str:
    """A file name as a relative link below this page, whatever characters it has."""
    return f"./{urllib.parse.quote(report, safe='', errors='replace')}"


def _counts(run: RunSummary) -> list[tuple[str, str]]:
    """(mood, text) of the number of cases of each status."""
    lost = sum(number for status, number in run.statuses.items() if status in UNMEASURED)
    skipped = run.statuses.get(Status.SKIPPED, 0)
    waiting = run.cases - sum(run.statuses.values())
    of = f"{units.count(run.measured)} of " if run.measured != run.cases else ""
    counts = [("plain", f"{of}{units.plural(run.cases, 'case')} measured", 1)]
    counts += [
        ("bad", f"{units.count(run.failed)} wrong", run.failed),
        ("bad", f"{units.count(run.imprecise)} imprecise", run.imprecise),
        ("bad", f"{units.count(lost)} lost", lost),
        ("plain", f"{units.count(skipped)} skipped", skipped),
        ("plain", f"{units.count(waiting)} not reached", waiting),
    ]
    return [(mood, text) for mood, text, number in counts if number]


def _remark(entry: RunEntry) -> str:
    """Why the run has no findings here; "" where it has some."""
    if entry.glance is None:
        if entry.run.state is RunState.RUNNING:
            return "The run is in progress."
        return "Findings are not shown here; see its report." if entry.report else "Findings are not shown here."
    return "" if entry.glance.findings else "No findings."


def _summary(entries: Sequence[RunEntry], older: int) -> str:
    if not entries:
        return "No run is stored."
    unfinished = sum(entry.run.state is not RunState.FINISHED for entry in entries)
    wrong = sum(entry.run.failed > 0 for entry in entries)
    imprecise = sum(entry.run.imprecise > 0 for entry in entries)
    words = [f"{units.plural(len(entries) + older, 'run')}, newest first"]
    words += [f"{units.count(unfinished)} unfinished"] if unfinished else []
    words += [f"{units.count(wrong)} with wrong layers"] if wrong else []
    words += [f"{units.count(imprecise)} with imprecise layers"] if imprecise else []
    return "; ".join(words) + "."


def _sentence(text: str) -> str:
    """A finding with a capital, and with a full stop unless it is shortened."""
    return begun(text) if text.endswith(ELLIPSIS) else f"{begun(text)}."
