"""Announces which hosts went silent, as they do not take the jobs of their schedules, and which ones are back."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice, pairwise

from convbench.actions.cron import following
from convbench.actions.schedules import text_of, time_of
from convbench.errors import RequestError
from convbench.model.notice import Notice, NoticeKind
from convbench.store import silence
from convbench.store.silence import OpenJob
from convbench.store.store import Store

#: A host is silent after twice the time between two jobs of its schedule, but not before and not later than this.
SHORTEST, LONGEST = timedelta(hours=1), timedelta(days=1)


def limit_of(job: OpenJob) -> timedelta:
    """How long a host may let a schedule's job wait without a sign of life."""
    period = LONGEST
    with suppress(RequestError):  # a zone that this machine does not know any more
        times = list(islice(following(job.cron, job.zone, time_of(job.since)), 2))
        period = min((after - before for before, after in pairwise(times)), default=LONGEST)
    return min(max(2 * period, SHORTEST), LONGEST)


def announce(store: Store, at: datetime) -> int:
    """Announce to channels which hosts went silent, and which are back; returns the number of notices.

    A silence is announced once for each job that it did not take, by whichever service looks first.
    """
    made = 0
    for job in silence.open_jobs(store):
        since = max(job.since, job.sign_at or "")
        if at - time_of(since) > limit_of(job):
            data = {"host": job.host, "job_id": job.job_id, "schedule": job.schedule, "since": since}
            made += silence.announce_silence(store, _notice(at, silence.subject_of(job), data))
    for one in silence.silenced(store):
        if one.sign_at is not None and one.sign_at > one.at:
            data = {"host": one.host, "back_at": one.sign_at}
            made += silence.announce_silence(store, _notice(at, f"back/{one.subject}", data), only_after=one.subject)
    return made


def _notice(at: datetime, subject: str, data: dict[str, str]) -> Notice:
    return Notice(at=text_of(at), kind=NoticeKind.SILENCE, subject=subject, data=json.dumps(data))
