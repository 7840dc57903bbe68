"""The pages of jobs as views: the queue, one job with what happened to it."""

from __future__ import annotations

from dataclasses import dataclass

from convbench import units
from convbench.model.job import MOST_TRIES, Job, JobState
from convbench.report.pages.rendering import when

#: What a state means, for readers.
MEANINGS = {
    JobState.QUEUED: "It waits for its turn.",
    JobState.RUNNING: "It is being measured.",
    JobState.MEASURED: "All is measured and stored. Its report is being made.",
    JobState.REPORTED: "It is measured, and its report is made.",
    JobState.FAILED: "It failed.",
    JobState.CANCELLED: "Somebody cancelled it. What was measured is kept.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """A job in a table, or on its page."""

    id: str
    sweep: str
    state: str
    meaning: str
    cases: str
    where: str
    by: str
    submitted: str
    ended: str
    run_id: str
    against: str
    schedule_id: str
    tries: str
    reason: str
    can_cancel: bool
    is_over: bool


def row(job: Job) -> JobRow:
    """A job as a row."""
    return JobRow(
        id=job.id,
        sweep=" ".join(job.name.split()),
        state=job.state.value,
        meaning="It is being cancelled." if job.cancelling and job.state is JobState.RUNNING else MEANINGS[job.state],
        cases=units.plural(job.cases, "case"),
        where=", ".join([*([job.host] if job.host else []), *job.devices]),
        by=job.submitted_by,
        submitted=when(job.submitted_at),
        ended=when(job.ended_at) if job.ended_at else "",
        run_id=job.run_id or "",
        against=job.against or "",
        schedule_id=job.schedule_id or "",
        tries=f"{units.plural(job.tries, 'failure')} of {MOST_TRIES}" if job.tries else "",
        reason=job.reason or "",
        can_cancel=job.state in (JobState.QUEUED, JobState.RUNNING) and not job.cancelling,
        is_over=job.is_over,
    )
