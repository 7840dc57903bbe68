"""The rows of schedules. A time that is due is claimed by one UPDATE, in the transaction that queues its job.

So of several services on one database one queues the job, and a service that is killed leaves both or neither.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, select, update

from convbench.errors import ConflictError, ScheduleNotFoundError
from convbench.model.job import Job, JobState
from convbench.model.schedule import Schedule
from convbench.store import schema
from convbench.store.jobs import insert_job
from convbench.store.naming import unique
from convbench.store.notices import announce_not_queued
from convbench.store.runs import AnyRow
from convbench.store.store import Store

_schedules, _jobs = schema.schedules.c, schema.jobs.c
#: The states of a job that waits or is measured: a schedule's next one is not queued meanwhile.
_OPEN = (JobState.QUEUED.value, JobState.RUNNING.value)
#: What people can change of a schedule.
_EDITED = ("name", "cron", "zone", "sweep", "host", "baseline", "priority")


class Schedules:
    """The schedules in a database. Methods raise StoreError where the database cannot do it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, schedule: Schedule) -> None:
        """Store a new schedule; ConflictError where another one has its name."""
        row = {name: getattr(schedule, name) for name in Schedule.__slots__}
        with unique("schedule", schedule.name), self._store.writing() as connection:
            connection.execute(insert(schema.schedules), row)

    def change(self, seen: Schedule, changed: Schedule) -> Schedule:
        """Change what people can change of a schedule, if that is as it was seen; returns it.

        Raises ConflictError where it is not, and where another one has its name. Raises ScheduleNotFoundError.
        """
        same = [_schedules[name] == getattr(seen, name) for name in _EDITED]
        values = {name: getattr(changed, name) for name in (*_EDITED, "sweep_name")}
        if changed.next_at != seen.next_at:
            values["next_at"] = changed.next_at
        with unique("schedule", changed.name), self._store.writing() as connection:
            _found(connection, seen.id)
            mine = update(schema.schedules).where(_schedules.id == seen.id, *same)
            if not connection.execute(mine.values(values)).rowcount:
                raise ConflictError(f"schedule {seen.name!r} was changed meanwhile", hint="look at it again first")
            return _found(connection, seen.id)

    def get(self, schedule_id: str) -> Schedule:
        """The schedule with this id; raises ScheduleNotFoundError."""
        with self._store.reading() as connection:
            return _found(connection, schedule_id)

    def list(self) -> Sequence[Schedule]:
        """All schedules, the one that is due next first, and those that are paused last."""
        query = select(schema.schedules).order_by(_schedules.paused, _schedules.next_at, _schedules.key)
        with self._store.reading() as connection:
            return [_schedule(row) for row in connection.execute(query).all()]

    def due(self, now: str) -> Sequence[Schedule]:
        """The schedules whose time has come, the longest overdue first."""
        query = select(schema.schedules).where(_schedules.next_at <= now, _schedules.paused.is_(False))
        with self._store.reading() as connection:
            return [_schedule(row) for row in connection.execute(query.order_by(_schedules.next_at)).all()]

    def ahead(self, limit: str) -> Sequence[Schedule]:
        """The schedules that were due last at a time beyond this one."""
        with self._store.reading() as connection:
            rows = connection.execute(select(schema.schedules).where(_schedules.last_at > limit)).all()
        return [_schedule(row) for row in rows]

    def claim(self, schedule: Schedule, next_at: str, job: Job | None, *, reason: str | None = None) -> Job | None:
        """Change the time that is due to the next one and queue the job; returns the job where it is queued.

        Nothing is queued where another service has done so, and while the job before it waits or is measured. Nor is
        it without a job, which `reason` explains.
        """
        with self._store.writing() as connection:
            mine = (_schedules.id == schedule.id, _schedules.next_at == schedule.next_at, _schedules.paused.is_(False))
            values = {"next_at": next_at, "last_at": schedule.next_at, "reason": reason}
            if not connection.execute(update(schema.schedules).where(*mine).values(values)).rowcount:
                return None
            last = connection.execute(select(_schedules.last_job_id).where(_schedules.id == schedule.id)).scalar()
            before = connection.execute(select(_jobs.id).where(_jobs.id == last, _jobs.state.in_(_OPEN))).scalar()
            if before is not None and job is not None:
                job, reason = None, f"job {before} of the time before has not ended"
            if job is not None:
                insert_job(connection, job)
            elif reason is not None:
                announce_not_queued(connection, schedule, reason)
            changed = {"reason": reason} if job is None else {"last_job_id": job.id}
            connection.execute(update(schema.schedules).where(_schedules.id == schedule.id).values(changed))
            return job

    def queue(self, schedule_id: str, job: Job) -> None:
        """Queue a job of a schedule that somebody asked for; its times stay. Raises ScheduleNotFoundError."""
        with self._store.writing() as connection:
            _found(connection, schedule_id)
            insert_job(connection, job)
            changed = update(schema.schedules).where(_schedules.id == schedule_id)
            connection.execute(changed.values(last_job_id=job.id, reason=None))

    def set_next(self, schedule_id: str, next_at: str, *, paused: bool, last_at: str | None) -> Schedule:
        """Pause a schedule or let it go on, from this time; raises ScheduleNotFoundError."""
        with self._store.writing() as connection:
            _found(connection, schedule_id)
            changed = update(schema.schedules).where(_schedules.id == schedule_id)
            connection.execute(changed.values(paused=paused, next_at=next_at, last_at=last_at))
            return _found(connection, schedule_id)

    def delete(self, schedule_id: str) -> None:
        """Delete a schedule; its jobs and verdicts stay. Raises ScheduleNotFoundError."""
        with self._store.writing() as connection:
            if not connection.execute(delete(schema.schedules).where(_schedules.id == schedule_id)).rowcount:
                raise _not_there(schedule_id)


def _found(connection: Connection, schedule_id: str) -> Schedule:
    row = connection.execute(select(schema.schedules).where(_schedules.id == schedule_id)).one_or_none()
    if row is None:
        raise _not_there(schedule_id)
    return _schedule(row)


def _not_there(schedule_id: str) -> ScheduleNotFoundError:
    return ScheduleNotFoundError(f"there is no schedule {schedule_id!r}", hint="the list of schedules has their ids")


def _schedule(row: AnyRow) -> Schedule:
    plain = {name: getattr(row, name) for name in Schedule.__slots__}
    return Schedule(**plain | {"paused": bool(row.paused)})
