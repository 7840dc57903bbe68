"""Jobs of the service as verbs: what a submitted sweep would measure, submit it, cancel it, submit it again."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from convbench import units
from convbench.actions.job_folder import FILE
from convbench.errors import ConflictError, ExitCode, RequestError, RunNotFoundError
from convbench.model.case import Case
from convbench.model.job import FLEET, BisectionTask, FleetTask, Job, JobKind, JobState
from convbench.model.reading import reader
from convbench.model.serial import parsed, to_json
from convbench.model.settings import TABLE
from convbench.store import listing
from convbench.store.identity import new_run_id
from convbench.store.jobs import Jobs
from convbench.store.store import Store
from convbench.sweep.parse import parse

#: Maximum size of a submitted sweep, bytes, and of its cases. The reports of more cases take too long for a browser.
MOST_BYTES = 2**20
MOST_CASES = 20_000
#: Maximum of the first cases of a sweep whose labels a check returns.
SHOWN_CASES = 20
#: The bounds of a job's priority; 0 is the usual one.
PRIORITIES = (-100, 100)

#: The class of torch that a case measures unless its sweep names another one.
_TORCH_MODULE = TABLE["module"].default


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a sweep would measure. `code` names what in it is code of its author.

    `has_secrets` is whether it holds values of variables that look like secrets; a job must not store these.
    """

    name: str
    cases: int
    rejections: int
    devices: tuple[str, ...]
    labels: tuple[str, ...]
    code: tuple[str, ...] = ()
    has_secrets: bool = False


def checked(text: str) -> Checked:
    """What the sweep in `text` would measure.

    Raises SweepError with all mistakes and RequestError where no case is left or too many are.
    """
    from convbench.actions.measure import nothing_left, with_plan

    sweep, plan = with_plan(parse(text, FILE))
    if not plan.cases:
        raise nothing_left(sweep.path, plan)
    if len(plan.cases) > MOST_CASES:
        most = units.count(MOST_CASES)
        raise RequestError(
            f"the sweep has {units.plural(len(plan.cases), 'case')}, a job has {most} at most",
            hint="split it, or measure it with `convbench run`",
        )
    return Checked(
        name=sweep.name,
        cases=len(plan.cases),
        rejections=len(plan.rejections),
        devices=tuple(dict.fromkeys(case.device for case in plan.cases)),
        labels=tuple(case.label for case in plan.cases[:SHOWN_CASES]),
        code=tuple(dict.fromkeys(name for case in plan.cases for name in _code(case))),
        has_secrets=bool(sweep.secrets),
    )


def _code(case: Case) -> Sequence[str]:
    """What in a case is its author's code: a module that is imported, variables that a worker starts with."""
    module = () if case.module == _TORCH_MODULE else (f"module: {case.module}",)
    return (*module, *(f"env: {name}" for name, _ in case.env))


def refuse_code(found: Checked, *, trust_modules: bool) -> None:
    """Raise RequestError for a sweep that the service must not measure: it holds secrets, or code it does not trust."""
    if found.has_secrets:
        raise RequestError(
            "the sweep holds values of variables that look like secrets, and a job is stored as it is",
            hint="set them where the service runs, and leave them out of the sweep",
        )
    if found.code and not trust_modules:
        some = ", ".join(found.code[:3]) + (" and more" if len(found.code) > 3 else "")
        raise RequestError(
            f"the sweep names code of its own ({some}), which this service does not run",
            hint="start the service with --trust-modules if everybody with the scope `submit` may run code there",
        )


def submit(
    store: Store,
    text: str,
    found: Checked,
    *,
    by: str,
    host: str | None = None,
    against: str | None = None,
    priority: int = 0,
    task: FleetTask | BisectionTask | None = None,
    idempotency_key: str | None = None,
) -> tuple[Job, bool]:
    """Store a job for a sweep's text, which `checked` and `refuse_code` have found right; returns it and True.

    `task` is what it asks beyond a run on one host. Where a job has this idempotency key already, returns that one and
    False; another sweep or task under the same key raises ConflictError. Raises RunNotFoundError where the run or
    baseline `against` is not stored.
    """
    if against is not None:
        store.run_id(against)
    if not PRIORITIES[0] <= priority <= PRIORITIES[1]:
        raise RequestError(f"priority {priority}: expected {PRIORITIES[0]} to {PRIORITIES[1]}")
    made_at = datetime.now(UTC)
    job = new_job(text, found, by=by, at=made_at, host=host, against=against, priority=priority, task=task)
    stored, is_new = Jobs(store).add(job, idempotency_key=idempotency_key)
    if not is_new and (stored.sweep, stored.task) != (text, job.task):
        raise ConflictError(
            f"the idempotency key is that of job {stored.id}, whose sweep or task is another one",
            hint="give each submission a key of its own",
        )
    return stored, is_new


def new_job(
    text: str,
    found: Checked,
    *,
    by: str,
    at: datetime,
    host: str | None = None,
    against: str | None = None,
    priority: int = 0,
    schedule_id: str | None = None,
    due_at: str | None = None,
    task: FleetTask | BisectionTask | None = None,
) -> Job:
    """A queued job with an id of its own, which is not stored yet."""
    kind = JobKind.SWEEP if task is None else _KINDS[type(task)]
    return Job(
        id=_new_id(),
        state=JobState.QUEUED,
        name=found.name,
        sweep=text,
        cases=found.cases,
        devices=(FLEET,) if kind is JobKind.CAMPAIGN else found.devices,
        host=host,
        against=against,
        priority=priority,
        submitted_at=at.astimezone(UTC).isoformat(timespec="microseconds"),
        submitted_by=by,
        schedule_id=schedule_id,
        due_at=due_at,
        kind=kind,
        task=None if task is None else json.dumps(to_json(task), allow_nan=False),
    )


#: The kind of a job by what it asks.
_KINDS = {FleetTask: JobKind.CAMPAIGN, BisectionTask: JobKind.BISECTION}


def task_of(job: Job) -> FleetTask | BisectionTask | None:
    """What a job asks beyond a run on one host; RequestError where it cannot be read."""
    kind = next((kind for kind, of in _KINDS.items() if of is job.kind), None)
    if kind is None or job.task is None:
        return None
    try:
        made: FleetTask | BisectionTask = reader(kind)(parsed(job.task))
    except ValueError as error:
        raise RequestError(f"what job {job.id} asks cannot be read: {error}") from None
    return made


def again(
    store: Store, job_id: str, found: Checked, *, by: str, idempotency_key: str | None = None
) -> tuple[Job, bool]:
    """Submit what a job asked once more, for the same machine and baseline; raises JobNotFoundError."""
    job = Jobs(store).get(job_id)
    return submit(
        store,
        job.sweep,
        found,
        by=by,
        host=job.host,
        against=job.against,
        priority=job.priority,
        task=task_of(job),
        idempotency_key=idempotency_key,
    )


def cancel(store: Store, job_id: str) -> Job:
    """Cancel a queued job at once, or ask the service to cancel a running one; raises JobNotFoundError.

    What was measured stays. ConflictError where the job has ended.
    """
    job = Jobs(store).cancel(job_id, now())
    if job.state is JobState.CANCELLED or job.cancelling:
        return job
    raise ConflictError(f"job {job_id} is {job.state.value} and cannot be cancelled any more")


#: What a measured job's exit code says beyond that it was measured.
_OUTCOMES = {
    ExitCode.FAILED_OR_REGRESSED: "Some cases gave wrong results, or a case got slower. The report says which.",
    ExitCode.NOT_MEASURED: "Some cases could not be measured. The report says why.",
    ExitCode.NOT_COMPARABLE: "It cannot be compared with what it was to be compared with.",
    ExitCode.TOO_NOISY: "Too few cases could be judged: the times are too noisy to compare.",
}


def outcome(store: Store, job: Job) -> str | None:
    """What a reader must know of the run of a measured job, in words; None where all is well, and for other jobs."""
    if job.kind is not JobKind.SWEEP or job.state not in (JobState.MEASURED, JobState.REPORTED) or job.run_id is None:
        return None
    with suppress(RunNotFoundError):  # deleted since, or it waits on the disk of its host
        if listing.one(store, job.run_id).summary.measured == 0:
            return "No case could be measured. The report says why."
    return next((text for code, text in _OUTCOMES.items() if code == job.exit_code), None)


def now() -> str:
    """The time as it is stored: ISO 8601 in UTC, to the microsecond, so that texts sort by time."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _new_id() -> str:
    """`j20261130-105501-k7q2ab`: no run's id begins so."""
    return f"j{new_run_id(datetime.now(UTC))}{secrets.token_hex(2)}"
