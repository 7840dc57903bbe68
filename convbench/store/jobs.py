"""The rows of jobs and of what happened to them.

A state changes only by `UPDATE ... WHERE state = expected`, so that no answer that comes late can undo another one.
A transaction that changes a job or adds an event holds its row, so the events of a job get their keys in order.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from convbench.errors import JobNotFoundError, StoreError
from convbench.model.job import ENDED, FLEET, MOST_TRIES, EventKind, Job, JobEvent, JobKind, JobState
from convbench.model.schedule import JobVerdict
from convbench.store import schema
from convbench.store.notices import announce_failed_job
from convbench.store.runs import AnyRow
from convbench.store.store import Store
from convbench.store.verdicts import insert_verdict
from convbench.store.writer import Writer

_jobs, _events = schema.jobs.c, schema.job_events.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """A job with the service that runs it and the process that measures it; None where there is none."""

    job: Job
    owner: Writer | None
    child: Writer | None


class Jobs:
    """The jobs in a database. All methods raise StoreError where the database cannot do it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    # ---- adding and reading

    def add(self, job: Job, *, idempotency_key: str | None = None) -> tuple[Job, bool]:
        """Store a new job; returns it and True, or the job that has this idempotency key already and False."""
        try:
            with self._store.writing() as connection:
                before = _with_key(connection, idempotency_key)
                if before is not None:
                    return before, False
                insert_job(connection, job, idempotency_key)
                return job, True
        except StoreError as error:
            if not isinstance(error.__cause__, IntegrityError):
                raise
            with self._store.reading() as connection:  # another submission with this key was faster
                before = _with_key(connection, idempotency_key)
            if before is None:
                raise
            return before, False

    def get(self, job_id: str) -> Job:
        """The job with this id; raises JobNotFoundError."""
        with self._store.reading() as connection:
            return _job(_found(connection, job_id))

    def list(
        self, *, states: Collection[JobState] = (), before: int | None = None, most: int = 50
    ) -> tuple[Sequence[Job], int | None]:
        """Jobs, newest first, and the key to go on with; None where there are no more. All states, or only these."""
        query = select(schema.jobs).order_by(_jobs.key.desc()).limit(most + 1)
        if states:
            query = query.where(_jobs.state.in_([state.value for state in states]))
        if before is not None:
            query = query.where(_jobs.key < before)
        with self._store.reading() as connection:
            rows = connection.execute(query).all()
        return [_job(row) for row in rows[:most]], rows[most - 1].key if len(rows) > most else None

    def queue(self) -> Sequence[Job]:
        """The jobs that are not over, in the order in which they will be measured; the running ones first."""
        query = select(schema.jobs).where(_jobs.state.in_(_open_states())).order_by(*_ORDER)
        with self._store.reading() as connection:
            rows = connection.execute(query).all()
        some = [job for job in map(_job, rows) if not job.is_over]
        return sorted(some, key=lambda job: job.state is JobState.QUEUED)

    def counts(self) -> dict[JobState, int]:
        """The number of jobs in each state."""
        with self._store.reading() as connection:
            rows = connection.execute(select(_jobs.state, func.count()).group_by(_jobs.state)).all()
        return dict.fromkeys(JobState, 0) | {JobState(state): number for state, number in rows}

    # ---- what the service that runs jobs does

    def claim(self, owner: Writer, now: str, *, ahead: str | None = None) -> Job | None:
        """Make the next job for the owner's host the owner's and RUNNING; None where there is none.

        Left out are jobs for other hosts, and those whose next try comes later. A job waits for a running one of this
        host that would disturb it, whichever service runs that one. Of several services that ask at once, each gets
        another job. A next try after `ahead` has its time from a clock that was wrong, and comes now.
        """
        late = () if ahead is None else (_jobs.not_before > ahead,)
        wanted = [
            _jobs.state == JobState.QUEUED.value,
            or_(_jobs.host.is_(None), _jobs.host == owner.host),
            or_(_jobs.not_before.is_(None), _jobs.not_before <= now, *late),
        ]
        running = select(_jobs.devices).where(_jobs.state == JobState.RUNNING.value, _jobs.owner_host == owner.host)
        with self._store.writing() as connection:
            _one_at_a_time(connection, owner.host)
            busy = [_devices(devices) for devices in connection.execute(running).scalars()]
            query = select(schema.jobs).where(*wanted).order_by(*_ORDER).with_for_update(skip_locked=True)
            for row in connection.execute(query if busy else query.limit(1)):
                if any(_disturb(_devices(row.devices), other) for other in busy):
                    continue
                values = {"started_at": row.started_at or now, **_writer("owner", owner), **_writer("child", None)}
                if _change(connection, row.key, (JobState.QUEUED,), JobState.RUNNING, now, **values):
                    return _job(_found(connection, row.id))
        return None

    def note_child(self, job_id: str, owner: Writer, child: Writer) -> None:
        """Store which process measures the job; StoreError where the job is no longer this owner's."""
        with self._store.writing() as connection:
            where = (_jobs.id == job_id, *_is_owner(owner))
            if not connection.execute(update(schema.jobs).where(*where).values(**_writer("child", child))).rowcount:
                raise StoreError(f"job {job_id} is no longer run by this service")

    def note_begun(self, job: Job, id_: str) -> None:
        """Store the id of the run or campaign that the job measures."""
        column = _jobs.campaign_id if job.kind is JobKind.CAMPAIGN else _jobs.run_id
        with self._store.writing() as connection:
            connection.execute(update(schema.jobs).where(_jobs.id == job.id).values({column: id_}))

    def note_answer(self, job_id: str, answer: str) -> None:
        """Store what a bisection has decided so far, as JSON; it goes on from there."""
        with self._store.writing() as connection:
            connection.execute(update(schema.jobs).where(_jobs.id == job_id).values(answer=answer))

    def end(
        self,
        job_id: str,
        owner: Writer,
        to: JobState,
        now: str,
        *,
        reason: str | None = None,
        code: int | None = None,
        verdict: JobVerdict | None = None,
        not_before: str | None = None,
    ) -> bool:
        """Change a job that this owner runs from RUNNING to another state; False where it is not so any more.

        A job that is queued again waits until `not_before`. The verdict on its run is stored with it, and the baseline
        that its run becomes.
        """
        values: dict[str, object] = {"reason": reason, "exit_code": code, "not_before": not_before}
        values |= {**_writer("owner", None), **_writer("child", None)}
        with self._store.writing() as connection:
            row = _found(connection, job_id)
            over = {"ended_at": now} if to in ENDED else {}
            own = _is_owner(owner)
            changed = _change(connection, row.key, (JobState.RUNNING,), to, now, *own, **values, **over)
            if changed and verdict is not None:
                insert_verdict(connection, verdict)
            return changed

    def fail(
        self, job_id: str, owner: Writer, now: str, reason: str, *, again_at: str, code: int | None = None
    ) -> JobState:
        """Count a failure of a job that this owner runs; returns its new state: QUEUED to try again, or FAILED."""
        with self._store.writing() as connection:
            row = _found(connection, job_id)
            tries = row.tries + 1
            to = JobState.FAILED if tries >= MOST_TRIES else JobState.QUEUED
            values: dict[str, object] = {"tries": tries, "reason": reason, "exit_code": code, "not_before": again_at}
            values |= {**_writer("owner", None), **_writer("child", None)}
            values |= {"ended_at": now} if to is JobState.FAILED else {}
            changed = _change(connection, row.key, (JobState.RUNNING,), to, now, *_is_owner(owner), **values)
            if changed and to is JobState.FAILED:
                announce_failed_job(connection, row, now, reason)
            return to

    def reported(self, job_id: str, now: str) -> bool:
        """Note that the page of a measured job is made; False where the job is not MEASURED."""
        with self._store.writing() as connection:
            row = _found(connection, job_id)
            return _change(connection, row.key, (JobState.MEASURED,), JobState.REPORTED, now, ended_at=now, reason=None)

    def page_failed(self, job_id: str, now: str, reason: str) -> bool:
        """Count a failed attempt to make the page of a measured job; returns whether another one is due."""
        with self._store.writing() as connection:
            row = _found(connection, job_id)
            tries = row.page_tries + 1
            is_last = tries >= MOST_TRIES
            values = {"page_tries": tries, "reason": reason, **({"ended_at": now} if is_last else {})}
            connection.execute(update(schema.jobs).where(_jobs.key == row.key).values(**values))
            _note(connection, row.key, now, EventKind.LOG, {"line": f"the page could not be made: {reason}"})
            if is_last:
                _note(connection, row.key, now, EventKind.STATE, {"state": row.state, "reason": reason})
            return not is_last

    def without_page(self) -> Sequence[Job]:
        """The measured jobs whose page is still to be made, the oldest first."""
        query = select(schema.jobs).where(
            _jobs.state == JobState.MEASURED.value, _jobs.page_tries < MOST_TRIES, _jobs.run_id.is_not(None)
        )
        with self._store.reading() as connection:
            return [_job(row) for row in connection.execute(query.order_by(_jobs.key)).all()]

    def running(self) -> Sequence[Owned]:
        """The running jobs, with the service that runs each and the process that measures it."""
        with self._store.reading() as connection:
            rows = connection.execute(select(schema.jobs).where(_jobs.state == JobState.RUNNING.value)).all()
        return [Owned(job=_job(row), owner=_writer_of(row, "owner"), child=_writer_of(row, "child")) for row in rows]

    def requeue(self, owned: Owned, now: str) -> bool:
        """Queue the running job of a service that has ended; False where another service has done so already.

        A lost service is no failure of the job, so its tries stay. Where somebody asked to cancel it, it is cancelled.
        """
        assert owned.owner is not None
        with self._store.writing() as connection:
            row = _found(connection, owned.job.id)
            to = JobState.CANCELLED if row.cancelling else JobState.QUEUED
            values: dict[str, object] = {**_writer("owner", None), **_writer("child", None)}
            values |= {"ended_at": now} if to is JobState.CANCELLED else {}
            return _change(connection, row.key, (JobState.RUNNING,), to, now, *_is_owner(owned.owner), **values)

    # ---- what users do

    def cancel(self, job_id: str, now: str) -> Job:
        """Cancel a queued job; ask the service that runs it to cancel a running one. Returns the job after it.

        A job that is measured, or has ended, stays as it is.
        """
        with self._store.writing() as connection:
            row = _found(connection, job_id)
            if not _change(connection, row.key, (JobState.QUEUED,), JobState.CANCELLED, now, ended_at=now):
                asked = update(schema.jobs).where(_jobs.key == row.key, _jobs.state == JobState.RUNNING.value)
                connection.execute(asked.values(cancelling=True))
            return _job(_found(connection, job_id))

    # ---- events

    def note(self, job_id: str, now: str, events: Sequence[tuple[EventKind, Mapping[str, object]]]) -> None:
        """Add events to a job, in this order."""
        if not events:
            return
        with self._store.writing() as connection:
            key = _found(connection, job_id).key
            rows = [_event_row(key, now, kind, data) for kind, data in events]
            connection.execute(insert(schema.job_events), rows)

    def events(self, job_id: str, *, after: int = 0, most: int = 500) -> Sequence[JobEvent]:
        """The events of a job with keys above `after`, in order; raises JobNotFoundError."""
        with self._store.reading() as connection:
            key = connection.execute(select(_jobs.key).where(_jobs.id == job_id)).scalar()
            if key is None:
                raise not_there(job_id)
            query = select(schema.job_events).where(_events.job_key == key, _events.key > after)
            rows = connection.execute(query.order_by(_events.key).limit(most)).all()
        return [JobEvent(key=row.key, at=row.at, kind=EventKind(row.kind), data=row.data) for row in rows]

    def delete(self, job_id: str) -> None:
        """Delete a job that has ended, with its events; StoreError where it has not."""
        with self._store.writing() as connection:
            row = _found(connection, job_id)
            if not _job(row).is_over:
                raise StoreError(f"job {job_id} has not ended", hint="cancel it first")
            connection.execute(delete(schema.jobs).where(_jobs.key == row.key))


def _devices(text: str) -> frozenset[str]:
    """The devices of a job. torch takes the first one where a name has no number."""
    names = filter(None, text.split(","))
    return frozenset(one if ":" in one or one in (*_ALONE, FLEET) else f"{one}:0" for one in names)


def _disturb(one: frozenset[str], other: frozenset[str]) -> bool:
    """Whether two jobs on these devices disturb each other: unless they have different accelerators alone.

    A campaign is measured on the hosts of a cluster. Their devices have locks of their own.
    """
    if FLEET in one | other:
        return FLEET in one & other
    return bool(one & other) or bool(one and other and _ALONE & (one | other))


def insert_job(connection: Connection, job: Job, idempotency_key: str | None = None) -> None:
    """Store a new job in a transaction that is open."""
    row = _row(job) | {"idempotency_key": idempotency_key}
    key = connection.execute(insert(schema.jobs).returning(_jobs.key), row).scalar_one()
    _note(connection, key, job.submitted_at, EventKind.STATE, {"state": job.state.value})


def _one_at_a_time(connection: Connection, host: str) -> None:
    """Let one service of a host claim at a time, until the transaction ends. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_CLAIMING, zlib.crc32(host.encode()) - 2**31)))


#: The processor launches the work of every other device, so beside a job on it both times would be wrong. The name
#: "accelerator" may stand for any of them.
_ALONE = frozenset({"cpu", "accelerator"})
#: The first number of the advisory locks of claims on a PostgreSQL server: the letters "jobs".
_CLAIMING = int.from_bytes(b"jobs", "big")
#: The order in which jobs are measured: by priority, then as they were submitted.
_ORDER = (_jobs.priority.desc(), _jobs.key)


def _open_states() -> list[str]:
    return [state.value for state in JobState if state not in ENDED]


def not_there(job_id: str) -> JobNotFoundError:
    """The error that there is no such job."""
    return JobNotFoundError(f"there is no job {job_id!r}", hint="the list of jobs has their ids")


def _with_key(connection: Connection, idempotency_key: str | None) -> Job | None:
    if idempotency_key is None:
        return None
    row = connection.execute(select(schema.jobs).where(_jobs.idempotency_key == idempotency_key)).one_or_none()
    return None if row is None else _job(row)


def _found(connection: Connection, job_id: str) -> AnyRow:
    """The row of a job, locked until the transaction ends where the transaction writes to a server."""
    query = select(schema.jobs).where(_jobs.id == job_id)
    read_only = connection.get_execution_options().get("postgresql_readonly", False)
    row = connection.execute(query if read_only else query.with_for_update()).one_or_none()
    if row is None:
        raise not_there(job_id)
    return row


def _change(
    connection: Connection,
    key: int,
    before: Collection[JobState],
    to: JobState,
    now: str,
    *where: ColumnElement[bool],
    **values: object,
) -> bool:
    """Change the state of a job that is in one of the states `before`; False where it is not, and nothing changes."""
    expected = _jobs.state.in_([state.value for state in before])
    changed = connection.execute(
        update(schema.jobs).where(_jobs.key == key, expected, *where).values(state=to.value, **values)
    )
    if changed.rowcount:
        said = {"state": to.value} | ({"reason": values["reason"]} if values.get("reason") else {})
        _note(connection, key, now, EventKind.STATE, said)
    return bool(changed.rowcount)


def _note(connection: Connection, key: int, now: str, kind: EventKind, data: Mapping[str, object]) -> None:
    connection.execute(insert(schema.job_events), _event_row(key, now, kind, data))


def _event_row(key: int, now: str, kind: EventKind, data: Mapping[str, object]) -> dict[str, object]:
    return {"job_key": key, "at": now, "kind": kind.value, "data": json.dumps(data, separators=(",", ":"))}


def _row(job: Job) -> dict[str, object]:
    plain = {name: getattr(job, name) for name in _PLAIN}
    return {**plain, "state": job.state.value, "kind": job.kind.value, "devices": ",".join(job.devices)}


def _job(row: AnyRow) -> Job:
    """The job of a row; StoreError where the row is invalid."""
    try:
        state = JobState(row.state)
    except ValueError:
        raise StoreError(f"job {row.id} is in the unknown state {str(row.state)[:60]!r}") from None
    try:
        kind = JobKind(row.kind)
    except ValueError:
        raise StoreError(f"job {row.id} is of the unknown kind {str(row.kind)[:60]!r}") from None
    plain = {name: getattr(row, name) for name in _PLAIN}
    plain["cancelling"] = bool(plain["cancelling"])
    return Job(**plain, state=state, kind=kind, devices=tuple(filter(None, row.devices.split(","))))


#: The columns that are fields of a job, unchanged.
_PLAIN = tuple(name for name in Job.__slots__ if name not in ("state", "kind", "devices"))


def _writer(prefix: str, writer: Writer | None) -> dict[str, object]:
    """The columns of the owner; of the child its process id and start, since both are on one host."""
    names = ("host", "boot", "pid", "started") if prefix == "owner" else ("pid", "started")
    return {f"{prefix}_{name}": writer and getattr(writer, name) for name in names}


def _writer_of(row: AnyRow, prefix: str) -> Writer | None:
    pid = getattr(row, f"{prefix}_pid")
    if pid is None:
        return None
    return Writer(host=row.owner_host, boot=row.owner_boot, pid=pid, started=getattr(row, f"{prefix}_started"))


def _is_owner(owner: Writer) -> tuple[ColumnElement[bool], ...]:
    return tuple(_jobs[name] == value for name, value in _writer("owner", owner).items())
