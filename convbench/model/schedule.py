"""Schedules of the service, what became of their baselines, and who accepted a change. Frozen data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A schedule as stored. Times are ISO 8601 in UTC.

    `cron` and `zone` say when it is due. `host` measures `sweep`, and each run is compared with `baseline`. `next_at`
    is when it is due next, and `last_at` the time for which it was due last. `reason` says why that time had no job.
    """

    id: str
    name: str
    cron: str
    zone: str
    sweep: str
    sweep_name: str
    host: str
    baseline: str
    priority: int
    made_at: str
    made_by: str
    next_at: str
    paused: bool = False
    last_at: str | None = None
    last_job_id: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedCase:
    """A case that changed: its verdict, and new over base with the interval of it."""

    case_id: str
    label: str
    verdict: str
    ratio: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JobVerdict:
    """What a job's run became of its baseline, after suspected changes were measured again.

    `base_id` is None where there was no baseline, or the runs cannot be compared; `text` says so. `becomes_baseline` is
    whether the run is the baseline from then on.
    """

    job_id: str
    schedule_id: str | None
    at: str
    sweep_name: str
    baseline: str
    base_id: str | None
    run_id: str
    verdict: str
    text: str
    changes: Sequence[ChangedCase] = ()
    becomes_baseline: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """Somebody made the run `run_id` the baseline in place of `before_id`. `at` is ISO 8601 in UTC."""

    key: int
    at: str
    who: str
    baseline: str
    before_id: str
    run_id: str
    sweep_name: str
    reason: str
