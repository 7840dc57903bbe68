"""The pages of runs as views: the list with its filters, one run, the machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from urllib.parse import urlencode

from convbench import units
from convbench.model.result import UNMEASURED, Roof, RoofKind, RunState, RunSummary, Status
from convbench.report.pages.rendering import when
from convbench.store.listing import Filters, Listed, ListedMachine, ListedRun

#: Characters of a commit in the table.
_COMMIT = 10
#: The filters of the list that have a field with choices: name in the URL, and label.
_CHOICES = {"sweep": "Sweep", "machine": "Machine", "branch": "Branch", "torch": "torch", "verdict": "Verdict"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run in a table. `counts` are (mood, text), a mood being bad or plain."""

    id: str
    started_at: str
    when: str
    state: str
    sweep: str
    machine: str
    host: str
    commit: str
    branch: str
    torch: str
    counts: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A field of the filters: its name in the URL, its label, its values, and the chosen one."""

    name: str
    label: str
    values: Sequence[str]
    chosen: str


def row(run: ListedRun) -> RunRow:
    """A run as a row."""
    one, git = run.summary, run.summary.git
    return RunRow(
        id=one.id,
        started_at=one.started_at,
        when=when(one.started_at),
        state="" if one.state is RunState.FINISHED else one.state.value,
        sweep=" ".join(one.name.split()) or "without a name",
        machine=run.machine,
        host=one.host,
        commit=git.commit[:_COMMIT] + (" with changes" if git.dirty else "") if git else "",
        branch=(git.branch or "") if git else "",
        torch=one.torch,
        counts=_counts(one),
    )


def _counts(run: RunSummary) -> list[tuple[str, str]]:
    """(mood, text) of the number of cases of each status."""
    lost = sum(number for status, number in run.statuses.items() if status in UNMEASURED)
    of = f"{units.count(run.measured)} of " if run.measured != run.cases else ""
    counts = [
        ("plain", f"{of}{units.plural(run.cases, 'case')}", 1),
        ("bad", f"{units.count(run.failed)} wrong", run.failed),
        ("bad", f"{units.count(run.imprecise)} imprecise", run.imprecise),
        ("bad", f"{units.count(lost)} lost", lost),
        ("plain", f"{units.count(run.statuses.get(Status.SKIPPED, 0))} skipped", run.statuses.get(Status.SKIPPED, 0)),
    ]
    return [(mood, text) for mood, text, number in counts if number]


def context(
    found: Listed, wanted: Filters, values: Mapping[str, Sequence[str]], *, is_first: bool
) -> dict[str, object]:
    """What the template of the list takes; `is_first` is whether it is the page of the newest runs."""
    given = {name: str(value) for name, value in asdict(wanted).items() if value}
    choices = [
        Choice(name=name, label=label, values=_with(values.get(name, ()), given.get(name)), chosen=given.get(name, ""))
        for name, label in _CHOICES.items()
    ]
    return {
        "runs": [row(run) for run in found.runs],
        "choices": [choice for choice in choices if len(choice.values) > 1 or choice.chosen],
        "states": [state.value for state in RunState],
        "wanted": {name: given.get(name, "") for name in ("text", "commit", "state", "host")},
        "is_filtered": bool(given),
        "query": urlencode(given),
        "newest": "" if is_first else f"?{urlencode(given)}",
        "older": f"?{urlencode({**given, 'after': found.after})}" if found.after else None,
    }


def _with(values: Sequence[str], chosen: str | None) -> list[str]:
    return sorted({*values, *([chosen] if chosen else [])})


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineRow:
    """A machine in a table."""

    machine: str
    hosts: str
    runs: str
    first: str
    last: str
    last_run_id: str
    roofs: Sequence[str]


def machine_row(one: ListedMachine) -> MachineRow:
    """A machine as a row."""
    return MachineRow(
        machine=one.machine,
        hosts=", ".join(one.hosts),
        runs=units.count(one.runs),
        first=when(one.first_at),
        last=when(one.last_at),
        last_run_id=one.last_run_id,
        roofs=[_roof(roof) for roof in one.roofs],
    )


def _roof(roof: Roof) -> str:
    """`float32 116 GFLOP/s on cpu, 1 thread`."""
    rate = units.si(roof.rate, "FLOP/s" if roof.kind is RoofKind.COMPUTE else "B/s")
    threads = f", {units.plural(roof.threads, 'thread')}" if roof.threads else ""
    return f"{roof.dtype or 'bandwidth'} {rate} on {roof.device}{threads}"
