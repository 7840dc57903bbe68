"""What the jobs of schedules say of their hosts: which jobs are open, and when a host last gave a sign of life."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, or_, select

from convbench.model.job import JobState
from convbench.model.notice import Notice, NoticeKind
from convbench.store import schema
from convbench.store.notices import announce
from convbench.store.store import Store

_jobs, _events, _notices = schema.jobs.c, schema.job_events.c, schema.notices.c
_OPEN = (JobState.QUEUED.value, JobState.RUNNING.value)
#: The jobs of a host whose events are looked at, those that began last.
_LOOKED_AT = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenJob:
    """A schedule's job that waits or is measured, the oldest one of its host.

    `sign_at` is the host's last sign of life: an event of a job that was measured there. It is None without one.
    """

    job_id: str
    host: str
    since: str
    schedule: str
    cron: str
    zone: str
    sign_at: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Silenced:
    """A host whose silence a channel knows of, and the host's last sign of life."""

    subject: str
    at: str
    host: str
    sign_at: str | None


def open_jobs(store: Store) -> Sequence[OpenJob]:
    """The oldest open job of a schedule on each host, by host."""
    schedules = schema.schedules.c
    joined = schema.jobs.join(schema.schedules, _jobs.schedule_id == schedules.id)
    columns = (_jobs.id, _jobs.host, _jobs.submitted_at, schedules.name, schedules.cron, schedules.zone)
    query = select(*columns).select_from(joined).where(_jobs.state.in_(_OPEN), _jobs.host.is_not(None))
    found: dict[str, OpenJob] = {}
    with store.reading() as connection:
        for job_id, host, since, name, cron, zone in connection.execute(query.order_by(_jobs.key)).all():
            if host not in found:
                found[host] = OpenJob(
                    job_id=job_id,
                    host=host,
                    since=since,
                    schedule=name,
                    cron=cron,
                    zone=zone,
                    sign_at=_sign(connection, host),
                )
    return [found[host] for host in sorted(found)]


def silenced(store: Store) -> Sequence[Silenced]:
    """The silences that a channel knows of, and whose end it does not know yet."""
    with store.reading() as connection:
        rows = connection.execute(select(schema.notices).where(_notices.kind == NoticeKind.SILENCE.value)).all()
        ended = {
            (row.channel_key, row.subject.removeprefix("back/")) for row in rows if row.subject.startswith("back/")
        }
        silent = {
            row.subject: row
            for row in rows
            if row.subject.startswith("silence/") and (row.channel_key, row.subject) not in ended
        }
        signs = {host_of(subject): _sign(connection, host_of(subject)) for subject in silent}
    return [
        Silenced(subject=subject, at=row.at, host=host_of(subject), sign_at=signs[host_of(subject)])
        for subject, row in silent.items()
    ]


def subject_of(job: OpenJob) -> str:
    """The subject of a host's silence: one for each job that it did not take."""
    return f"silence/{job.job_id}/{job.host}"


def host_of(subject: str) -> str:
    """The host that a subject of `subject_of` names."""
    return subject.split("/", 2)[2]


def announce_silence(store: Store, notice: Notice, *, only_after: str | None = None) -> int:
    """Announce a silence, or with `only_after` the end of that one; returns the number of channels."""
    with store.writing() as connection:
        return announce(connection, notice, only_after=only_after)


def _sign(connection: Connection, host: str) -> str | None:
    """The newest event of a job that a service of this host has begun."""
    here = or_(_jobs.host == host, _jobs.owner_host == host)
    begun = select(_jobs.key).where(here, _jobs.started_at.is_not(None)).order_by(_jobs.started_at.desc())
    keys = connection.execute(begun.limit(_LOOKED_AT)).scalars().all()
    query = select(func.max(_events.at)).where(_events.job_key.in_(keys))
    found: str | None = connection.execute(query).scalar()
    return found
