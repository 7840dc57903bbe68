"""The pages of jobs as views: the queue, one job with what happened to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convbench import units
from convbench.actions.bisecting import read_decided
from convbench.actions.jobs import task_of
from convbench.model.campaign import How
from convbench.model.job import MOST_TRIES, BisectionTask, FleetTask, Job, JobKind, JobState
from convbench.report.pages.rendering import when
from convbench.report.text.bisection import answer_text, step_text

#: Characters of a commit's hash.
_COMMIT = 10
#: What a job is, for readers.
KINDS = {
    JobKind.SWEEP: "a run on one host",
    JobKind.CAMPAIGN: "a campaign on the hosts of a cluster",
    JobKind.BISECTION: "the search for a commit",
}
#: How hosts divide a sweep, for readers.
_HOW = {How.EACH: "each machine key measures all cases", How.SPLIT: "hosts of one machine key share the cases out"}
#: What a state means, for readers.
MEANINGS = {
    JobState.QUEUED: "It waits for its turn.",
    JobState.RUNNING: "It is being measured.",
    JobState.MEASURED: "All is measured and stored. Its report is being made.",
    JobState.REPORTED: "It has ended, and what it found is there.",
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
    priority: str
    schedule_id: str
    tries: str
    reason: str
    can_cancel: bool
    is_over: bool
    kind: str
    is_run: bool
    campaign_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The search for a commit on its job's page: between which commits and runs, each comparison, and the answer."""

    between: str
    base_run_id: str
    new_run_id: str
    steps: Sequence[str]
    answer: Sequence[str]


def search(job: Job) -> Search | None:
    """What a job that finds a commit asks and has decided; None for another job."""
    task = task_of(job)
    if not isinstance(task, BisectionTask):
        return None
    decided = read_decided(job.answer) if job.answer else None
    found = decided.answer if decided else None
    return Search(
        between=f"{task.good[:_COMMIT]} and {task.bad[:_COMMIT]} of the checkout {task.checkout}",
        base_run_id=task.base_run_id,
        new_run_id=task.new_run_id,
        steps=[step_text(step) for step in decided.steps] if decided else [],
        answer=answer_text(found).splitlines() if found else [],
    )


def fleet(job: Job) -> str:
    """What a job asks of the hosts of a cluster, "" for another job."""
    task = task_of(job)
    if not isinstance(task, FleetTask):
        return ""
    labels = [f"{key}={value}" for key, value in task.where]
    return ", ".join([_HOW[task.how], *(["all hosts"] if task.every_host else []), *labels])


def meanings(job: Job, here: str) -> dict[JobState, str]:
    """What each state of a job means for a reader of the service on the host `here`."""
    if job.host is None or job.host == here:
        return MEANINGS
    return MEANINGS | {JobState.QUEUED: f"It waits for a service on the host {job.host}; this one is on {here}."}


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
        priority=f"priority {job.priority}" if job.priority else "",
        schedule_id=job.schedule_id or "",
        tries=f"{units.plural(job.tries, 'failure')} of {MOST_TRIES}" if job.tries else "",
        reason=job.reason or "",
        can_cancel=job.state in (JobState.QUEUED, JobState.RUNNING) and not job.cancelling,
        is_over=job.is_over,
        kind=KINDS[job.kind],
        is_run=job.kind is JobKind.SWEEP,
        campaign_id=job.campaign_id or "",
    )
