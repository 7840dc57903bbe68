"""The pages of schedules as views: their times, and what became of their baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from convbench import units
from convbench.actions.cron import zone_of
from convbench.model.schedule import Acceptance, ChangedCase, JobVerdict, Schedule
from convbench.report.pages.rendering import left_out, when

#: The changed cases of a verdict that a page lists.
_LISTED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRow:
    """A schedule in a table, or on its page. `times` are the next ones in its time zone."""

    id: str
    name: str
    cron: str
    zone: str
    sweep: str
    host: str
    baseline: str
    paused: bool
    made: str
    times: Sequence[str]
    last: str
    last_job_id: str
    reason: str


def row(schedule: Schedule, times: Sequence[datetime]) -> ScheduleRow:
    """A schedule that is due at these times as a row."""
    zone = zone_of(schedule.zone)
    return ScheduleRow(
        id=schedule.id,
        name=schedule.name,
        cron=schedule.cron,
        zone=schedule.zone,
        sweep=" ".join(schedule.sweep_name.split()) or "without a name",
        host=schedule.host,
        baseline=schedule.baseline,
        paused=schedule.paused,
        made=f"{when(schedule.made_at)} by {schedule.made_by}",
        times=[
            f"{local:%A}, {local.day} {local:%B %Y, %H:%M %Z}" for local in (time.astimezone(zone) for time in times)
        ],
        last=when(schedule.last_at) if schedule.last_at else "",
        last_job_id=schedule.last_job_id or "",
        reason=schedule.reason or "",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRow:
    """A verdict in a table, with its largest changes as sentences."""

    at: str
    verdict: str
    text: str
    baseline: str
    base_id: str
    run_id: str
    job_id: str
    changes: Sequence[str]


def verdict_row(one: JobVerdict) -> VerdictRow:
    """A verdict as a row."""
    shown = [_changed(case) for case in one.changes[:_LISTED]]
    rest = left_out(len(one.changes), len(shown), "changed case")
    return VerdictRow(
        at=when(one.at),
        verdict=one.verdict,
        text=one.text,
        baseline=one.baseline,
        base_id=one.base_id or "",
        run_id=one.run_id,
        job_id=one.job_id,
        changes=[*shown, *([rest] if rest else [])],
    )


def _changed(case: ChangedCase) -> str:
    """`regressed, +12.0 % (+10.1 % to +14.2 %): LABEL`."""
    interval = f"{units.change(case.low)} to {units.change(case.high)}"
    return f"{case.verdict}, {units.change(case.ratio)} ({interval}): {case.label}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptanceRow:
    """An acceptance in a list."""

    at: str
    who: str
    baseline: str
    before_id: str
    run_id: str
    reason: str


def acceptance_row(one: Acceptance) -> AcceptanceRow:
    """An acceptance as a row."""
    return AcceptanceRow(
        at=when(one.at),
        who=one.who,
        baseline=one.baseline,
        before_id=one.before_id,
        run_id=one.run_id,
        reason=one.reason,
    )
