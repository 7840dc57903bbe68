"""Schedules of the service as verbs: make one, queue its jobs when they are due, pause it; and accept a change."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice

from convbench.actions.cron import SHOWN_TIMES, following, next_after
from convbench.actions.jobs import PRIORITIES, Checked, new_job
from convbench.errors import ConflictError, LaterError, RequestError, StoreError
from convbench.model.job import Job
from convbench.model.result import UNMEASURED, WRONG
from convbench.model.schedule import Acceptance, ChangedCase, JobVerdict, Schedule
from convbench.store import verdicts
from convbench.store.identity import checked_baseline_name
from convbench.store.listing import one
from convbench.store.schedules import Schedules
from convbench.store.store import Store
from convbench.units import line

#: Maximum number of characters of a schedule's name and of the reason for an acceptance.
LONGEST_NAME, LONGEST_REASON = 100, 1000
#: The most characters of its schedule's name in that of a baseline.
_LONGEST_PART = 60
#: Maximum number of schedules in a database.
MOST_SCHEDULES = 1000
#: A schedule that was due last so long in the future was so by a clock that was wrong: its times begin again.
AHEAD = timedelta(days=1)
#: The verdicts of a night that is compared with nothing: its run is the baseline, or there is none.
BASELINE_SET, NO_BASELINE = "baseline set", "no baseline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A schedule that somebody asks for; the fields are those of Schedule."""

    name: str
    cron: str
    zone: str
    sweep: str
    host: str
    baseline: str
    priority: int = 0


def make(store: Store, wanted: Wanted, found: Checked, *, by: str, at: datetime) -> Schedule:
    """Store a schedule for a sweep that `checked` has found right.

    Raises RequestError for words, a zone, a name or a priority that cannot be, and where there are too many schedules.
    Raises ConflictError where another one has its name.
    """
    name = _checked_name(wanted)
    if len(Schedules(store).list()) >= MOST_SCHEDULES:
        raise RequestError(f"there are {MOST_SCHEDULES} schedules", hint="delete some first")
    made = Schedule(
        id=f"s{new_job(wanted.sweep, found, by=by, at=at).id[1:]}",
        name=name,
        cron=wanted.cron,
        zone=wanted.zone,
        sweep=wanted.sweep,
        sweep_name=found.name,
        host=wanted.host,
        baseline=wanted.baseline,
        priority=wanted.priority,
        made_at=text_of(at),
        made_by=by,
        next_at=text_of(next_after(wanted.cron, wanted.zone, at)),
    )
    Schedules(store).add(made)
    return made


def _checked_name(wanted: Wanted) -> str:
    """The name of a schedule on one line; RequestError for what no schedule can have."""
    name = " ".join(wanted.name.split())
    if not name or len(name) > LONGEST_NAME:
        raise RequestError(f"a schedule's name has 1 to {LONGEST_NAME} characters")
    checked_baseline_name(wanted.baseline)
    if not PRIORITIES[0] <= wanted.priority <= PRIORITIES[1]:
        raise RequestError(f"priority {wanted.priority}: expected {PRIORITIES[0]} to {PRIORITIES[1]}")
    return name


def wanted_of(schedule: Schedule) -> Wanted:
    """What people can change of a schedule, as it is now."""
    return Wanted(**{name: getattr(schedule, name) for name in Wanted.__slots__})


def edition(schedule: Schedule) -> str:
    """What is equal only for schedules of which everything is equal that people can change."""
    return hashlib.sha256(repr(wanted_of(schedule)).encode()).hexdigest()[:16]


def change(store: Store, seen: Schedule, wanted: Wanted, found: Checked | None, *, at: datetime) -> Schedule:
    """Change a schedule that is as it was seen; what `checked` found of a new sweep is `found`, None for the old one.

    Its next time is anew where cron's words or the zone change. Raises ConflictError where somebody else has changed
    it meanwhile, and where another schedule has its name. Raises the errors of `make` too.
    """
    new = {**{name: getattr(wanted, name) for name in Wanted.__slots__}, "name": _checked_name(wanted)}
    next_at = text_of(next_after(wanted.cron, wanted.zone, at))
    if (wanted.cron, wanted.zone) == (seen.cron, seen.zone):
        next_at = seen.next_at
    changed = replace(seen, **new, next_at=next_at, sweep_name=seen.sweep_name if found is None else found.name)
    return Schedules(store).change(seen, changed)


def baseline_name(name: str) -> str:
    """The name of the baseline of a schedule with this name; other names than letters and digits get a digest."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:_LONGEST_PART]
    if plain == name:
        return f"schedule/{name}"
    return f"schedule/{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def next_times(schedule: Schedule, at: datetime) -> Sequence[datetime]:
    """The next times at which it is due, in UTC: what is overdue comes first. None while it is paused."""
    if schedule.paused:
        return ()
    first = time_of(schedule.next_at)
    later = (time for time in following(schedule.cron, schedule.zone, max(at, first)) if time > first)
    return [first, *islice(later, SHOWN_TIMES - 1)]


def queue_due(store: Store, at: datetime, check: Callable[[str], Checked]) -> Sequence[Job]:
    """Queue the jobs of the schedules that are due, one each, however many times were missed; returns them.

    `check` says what a sweep would measure, and raises RequestError where this service must not measure it. The
    schedule then says why, and is due again at its next time. After a LaterError it stays due.
    """
    schedules, queued = Schedules(store), []
    for schedule in schedules.ahead(text_of(at + AHEAD)):
        schedules.set_next(schedule.id, _next(schedule, at), paused=schedule.paused, last_at=None)
    for schedule in schedules.due(text_of(at)):
        job, reason = None, None
        try:
            job = _job(schedule, check(schedule.sweep), by=f"schedule {schedule.name}", at=at, due_at=schedule.next_at)
        except StoreError:
            raise
        except LaterError:
            continue
        except RequestError as error:
            reason = error.message
        job = schedules.claim(schedule, _next(schedule, at), job, reason=reason)
        if job is not None:
            queued.append(job)
    return queued


def run_now(store: Store, schedule_id: str, check: Callable[[str], Checked], *, by: str, at: datetime) -> Job:
    """Queue a job of a schedule now; its times stay. Raises ScheduleNotFoundError and the errors of `check`."""
    schedule = Schedules(store).get(schedule_id)
    job = _job(schedule, check(schedule.sweep), by=by, at=at, due_at=None)
    Schedules(store).queue(schedule_id, job)
    return job


def pause(store: Store, schedule_id: str) -> Schedule:
    """Pause a schedule: it is not due until it goes on. Raises ScheduleNotFoundError."""
    schedule = Schedules(store).get(schedule_id)
    return Schedules(store).set_next(schedule_id, schedule.next_at, paused=True, last_at=schedule.last_at)


def resume(store: Store, schedule_id: str, at: datetime) -> Schedule:
    """Let a paused schedule go on, from its next time: what it missed is left out. Raises ScheduleNotFoundError."""
    schedule = Schedules(store).get(schedule_id)
    if not schedule.paused:
        return schedule
    return Schedules(store).set_next(schedule_id, _next(schedule, at), paused=False, last_at=schedule.last_at)


def _next(schedule: Schedule, at: datetime) -> str:
    """Its next time after now, and after the one for which it was due last, where the clock went back a little."""
    last = None if schedule.last_at is None else time_of(schedule.last_at)
    after = last if last is not None and at < last <= at + AHEAD else at
    return text_of(next_after(schedule.cron, schedule.zone, after))


def _job(schedule: Schedule, found: Checked, *, by: str, at: datetime, due_at: str | None) -> Job:
    return new_job(
        schedule.sweep,
        found,
        by=by,
        at=at,
        host=schedule.host,
        against=schedule.baseline,
        priority=schedule.priority,
        schedule_id=schedule.id,
        due_at=due_at,
    )


# ---- verdicts and acceptances


def verdict_of(
    store: Store,
    job: Job,
    run_id: str,
    *,
    base_id: str | None,
    verdict: str | None,
    text: str,
    changes: Sequence[ChangedCase],
    at: str,
) -> JobVerdict | None:
    """The verdict on the run of a job; None for a job without a baseline.

    A schedule's run may be compared with nothing: there is no baseline, or both cannot be compared. It then becomes the
    baseline if every case is right, as for `convbench ci nightly`, and `text` says why.
    """
    if job.against is None or (verdict is None and job.schedule_id is None):
        return None
    becomes = False
    if verdict is None:
        run = one(store, run_id).summary
        bad = {*WRONG, *UNMEASURED}
        becomes = run.measured == run.cases and not any(run.statuses.get(status) for status in bad)
        verdict = BASELINE_SET if becomes else NO_BASELINE
        said = f"run {run_id} is the baseline from now on" if becomes else "not every case of the run is right"
        text = f"{text}: {said}"
    return JobVerdict(
        job_id=job.id,
        schedule_id=job.schedule_id,
        at=at,
        sweep_name=job.name,
        baseline=job.against,
        base_id=base_id,
        run_id=run_id,
        verdict=verdict,
        text=text,
        changes=changes,
        becomes_baseline=becomes,
    )


def accept(
    store: Store, baseline: str, run: str, *, who: str, reason: str, at: str, expected: str | None = None
) -> Acceptance:
    """Make a run the baseline, for a reason that stays. RequestError without one; raises the errors of the store."""
    reason = line(" ".join(reason.split()), most=LONGEST_REASON)
    if not reason:
        raise RequestError("an acceptance needs a reason", hint="say why the change is right")
    if baseline.removeprefix("baseline:") != baseline:
        raise ConflictError(f"{baseline!r} is no baseline's name", hint="leave out `baseline:`")
    return verdicts.accept(store, baseline, run, who=who, reason=reason, at=at, expected=expected)


# ---- times


def text_of(time: datetime) -> str:
    """A time as it is stored: ISO 8601 in UTC, to the microsecond."""
    return time.astimezone(UTC).isoformat(timespec="microseconds")


def time_of(text: str) -> datetime:
    """The time of a stored text; StoreError where it is none."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise StoreError(f"{line(text, most=60)!r} is no time") from None
