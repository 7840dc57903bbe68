"""The page of all stored runs: how each sweep moved, and a table of the runs, newest first. Pure.

A reader filters the table and ticks two runs to compare them (static/index_main.js). Without scripts it is a table.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from convbench import units
from convbench.model.result import UNMEASURED, RunState, RunSummary, Status
from convbench.report.pages import trends
from convbench.report.pages.index_cache import Glance, Judged
from convbench.report.pages.index_campaigns import CampaignRow
from convbench.report.pages.policy import json_text, script_hash, style_policy
from convbench.report.pages.rendering import ELLIPSIS, begun, when
from convbench.report.pages.rendering import render as render_page
from convbench.report.pages.scripts import joined, static

#: Runs on the page; `convbench runs` lists all. 500 runs make a page of about 1 MB.
MOST_RUNS = 500
#: Characters of a commit in the table.
_COMMIT = 10
_STYLES = ("report.css", "index.css")
_ENTRY = "index_main.js"
#: The beginning of the name of a comparison's page, which also ends with a run's id (comparison.py).
_OF_TWO_RUNS = re.compile(r"compare-\d{8}(t|-)\d{6}-\w+-\d{8}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEntry:
    """One run on the page. `glance` and `judged` are None if unknown, `report` if there is no such file.

    `kind` numbers what the run measured, None where that is unknown.
    """

    run: RunSummary
    glance: Glance | None
    report: str | None
    judged: Judged | None = None
    kind: int | None = None


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


def compared(run_ids: Iterable[str], file_names: Iterable[str]) -> dict[str, str]:
    """The pages of comparisons among these files, by `<base id> <new id>`: `compare-<base id>-<new id>.html`."""
    by_slug = {slug(run_id): run_id for run_id in run_ids}
    found = {}
    for name in file_names:
        stem = name.removesuffix(".html").removeprefix("compare-")
        for at in (match.start() for match in re.finditer("-", stem)):
            base, new = by_slug.get(stem[:at]), by_slug.get(stem[at + 1 :])
            if base and new and name == f"compare-{stem}.html":
                found[f"{base} {new}"] = _href(name)
    return found


def slug(run_id: str) -> str:
    """A run's id as a part of a file's name; an id from a file cannot name another folder."""
    return re.sub(r"[^A-Za-z0-9]+", "-", run_id)[:60]


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepView:
    """A sweep as the page shows it: its lines by machine, and what its newest run found."""

    name: str
    description: str
    lines: list[trends.LineView]
    findings: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """One run as ready strings. `counts` are (mood, text), a mood being bad or plain.

    `verdict` is (verdict, baseline's name, detail, link of the page or None), or None without one.
    """

    id: str
    href: str | None
    started_at: str
    when: str
    state: str
    sweep: str
    machine: str
    host: str
    commit: str
    branch: str
    torch: str
    counts: list[tuple[str, str]]
    verdict: tuple[str, str, str, str | None] | None
    noise: str
    kind: str


def render(
    entries: Sequence[RunEntry],
    *,
    older: int,
    version: str,
    sweeps: Mapping[str, trends.SweepTrend] | None = None,
    pages: Mapping[str, str] | None = None,
    apart: Iterable[tuple[int, int]] = (),
    campaigns: Sequence[CampaignRow] = (),
) -> str:
    """The page as HTML text, encodable as UTF-8.

    `older` counts the stored runs that are not among the entries. `pages` are links to comparisons, as of `compared`.
    `apart` are the pairs of kinds without a case in common, the lower number first.
    """
    pages = pages or {}
    style, script = "".join(static(name) for name in _STYLES), Markup(joined(_ENTRY))
    runs = [_shown(entry, pages) for entry in entries]
    values = {
        "sweep": [run.sweep for run in runs],
        "machine": [run.machine for run in runs],
        "branch": [run.branch for run in runs],
        "verdict": [run.verdict[0] if run.verdict else "" for run in runs],
    }
    choices = [(name, begun(name), sorted({*some} - {""})) for name, some in values.items()]
    return render_page(
        "index.html.j2",
        policy=style_policy(style, script_hash(str(script))),
        style=Markup(style),
        script=script,
        pages=json_text(pages),
        apart=json_text([f"{one} {other}" for one, other in apart]),
        version=version,
        summary=_summary(entries, older),
        sweeps=_sweeps(entries, sweeps or {}),
        size=(trends.WIDTH, trends.HEIGHT),
        choices=[choice for choice in choices if len(choice[2]) > 1],
        runs=runs,
        campaigns=campaigns,
        without_page=any(one.href is None for one in campaigns),
        without_report=any(run.href is None for run in runs),
        without_verdict=any(run.verdict is None for run in runs),
        older=units.plural(older, "older run") if older else "",
    )


def _sweeps(entries: Sequence[RunEntry], sweeps: Mapping[str, trends.SweepTrend]) -> list[SweepView]:
    """The sweeps with the newest runs. A sentence that an earlier sweep has is left out."""
    hrefs = {entry.run.id: _href(entry.report) for entry in entries if entry.report}
    newest: dict[str, Glance | None] = dict.fromkeys(sweeps)
    for entry in entries:
        if newest.get(entry.run.name) is None:
            newest[entry.run.name] = entry.glance
    found, said = [], set[str]()
    for name, glance in list(newest.items())[: trends.MOST_SWEEPS]:
        sentences = [text for text in (glance.findings if glance else ()) if text not in said]
        said.update(sentences)
        trend = sweeps.get(name)
        view = SweepView(
            name=one_line(name),
            description=glance.description if glance else "",
            lines=[trends.shown(one, hrefs) for one in trend.lines] if trend else [],
            findings=[_sentence(text) for text in sentences],
        )
        if view.lines or view.findings:
            found.append(view)
    return found


def one_line(name: str) -> str:
    """A sweep's name on one line."""
    return " ".join(name.split()) or "without a name"


def _shown(entry: RunEntry, pages: Mapping[str, str]) -> RunView:
    run, seen, judged, git = entry.run, entry.glance, entry.judged, entry.run.git
    verdict = None
    if judged is not None:
        page = pages.get(f"{judged.base_id} {run.id}")
        verdict = (judged.verdict, judged.base_name, judged.detail, page)
    return RunView(
        id=run.id,
        href=_href(entry.report) if entry.report else None,
        started_at=run.started_at,
        when=when(run.started_at),
        state="" if run.state is RunState.FINISHED else run.state.value,
        sweep=one_line(run.name),
        machine=run.cpu,
        host=run.host,
        commit=git.commit[:_COMMIT] + (" with changes" if git.dirty else "") if git else "",
        branch=(git.branch or "") if git else "",
        torch=run.torch,
        counts=_counts(run),
        verdict=verdict,
        noise=units.percent(seen.noise) if seen and seen.noise is not None else "",
        kind="" if entry.kind is None else str(entry.kind),
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
    counts = [("plain", f"{of}{units.count(run.cases)}", 1)]
    counts += [
        ("bad", f"{units.count(run.failed)} wrong", run.failed),
        ("bad", f"{units.count(run.imprecise)} imprecise", run.imprecise),
        ("bad", f"{units.count(lost)} lost", lost),
        ("plain", f"{units.count(skipped)} skipped", skipped),
        ("plain", f"{units.count(waiting)} not reached", waiting),
    ]
    return [(mood, text) for mood, text, number in counts if number]


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
