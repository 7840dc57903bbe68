"""Adds notices to the messages of channels, in the transaction that stores what they are about.

So a service that is killed leaves both or neither. A channel's row is locked meanwhile, so two services add to one
message.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection, insert, select

from convbench.model.notice import GATHER_S, DeliveryState, Notice, NoticeKind
from convbench.model.schedule import JobVerdict, Schedule
from convbench.store import schema
from convbench.store.runs import AnyRow

#: The changed cases that a notice names, the largest changes.
NAMED = 5
#: The verdicts that say that cases changed.
_CHANGED = ("regressed", "improved")

_channels, _deliveries, _notices = schema.channels.c, schema.deliveries.c, schema.notices.c


def announce(connection: Connection, notice: Notice, *, only_after: str | None = None) -> int:
    """Add a notice to a message of each channel that gets its kind; returns the number of channels.

    A channel that has this subject already is left out. With `only_after`, so is one that does not have that subject.
    """
    added = 0
    for channel in connection.execute(select(schema.channels).order_by(_channels.key).with_for_update()).all():
        if notice.kind.value not in channel.kinds.split(",") or _is_announced(connection, channel, notice.subject):
            continue
        if only_after is not None and not _is_announced(connection, channel, only_after):
            continue
        add(connection, channel.key, _open(connection, channel, notice.at), notice)
        added += 1
    return added


def add(connection: Connection, channel_key: int, delivery_key: int, notice: Notice) -> None:
    """Add a notice to a message."""
    row = {name: getattr(notice, name) for name in Notice.__slots__}
    row |= {"kind": notice.kind.value, "channel_key": channel_key, "delivery_key": delivery_key}
    connection.execute(insert(schema.notices), row)


def new_delivery(connection: Connection, channel_key: int, made_at: str, due_at: str) -> tuple[int, str]:
    """Store a message that waits until `due_at`; returns its key and its id."""
    row = {
        "id": f"msg_{secrets.token_hex(12)}",
        "channel_key": channel_key,
        "state": DeliveryState.WAITING.value,
        "made_at": made_at,
        "due_at": due_at,
        "tries": 0,
    }
    key: int = connection.execute(insert(schema.deliveries).returning(_deliveries.key), row).scalar_one()
    return key, str(row["id"])


def _is_announced(connection: Connection, channel: AnyRow, subject: str) -> bool:
    there = select(_notices.key).where(_notices.channel_key == channel.key, _notices.subject == subject)
    return connection.execute(there).first() is not None


def _open(connection: Connection, channel: AnyRow, at: str) -> int:
    """The message of the channel that waits and was not tried yet; a new one where there is none."""
    waits = (_deliveries.state == DeliveryState.WAITING.value, _deliveries.tries == 0)
    query = select(_deliveries.key).where(_deliveries.channel_key == channel.key, *waits).order_by(_deliveries.key)
    # On a server another service may claim it now: then this waits, sees that it is claimed, and makes a new one.
    key = connection.execute(query.limit(1).with_for_update()).scalar()
    if key is not None:
        return int(key)
    due = datetime.fromisoformat(at) + timedelta(seconds=GATHER_S)
    return new_delivery(connection, channel.key, at, due.isoformat(timespec="microseconds"))[0]


# ---- what is announced


def announce_verdict(connection: Connection, verdict: JobVerdict) -> None:
    """Announce the confirmed changes of a schedule's run, if there are any."""
    if verdict.schedule_id is None or verdict.verdict not in _CHANGED:
        return
    counts = {kind: sum(one.verdict == kind for one in verdict.changes) for kind in _CHANGED}
    data = {
        **{name: getattr(verdict, name) for name in ("job_id", "schedule_id", "sweep_name", "baseline", "base_id")},
        **{name: getattr(verdict, name) for name in ("run_id", "verdict", "text")},
        "counts": counts,
        "changes": [
            {name: getattr(one, name) for name in ("case_id", "label", "verdict", "ratio", "low", "high")}
            for one in verdict.changes[:NAMED]
        ],
    }
    announce(connection, _notice(verdict.at, NoticeKind.CHANGE, f"change/{verdict.job_id}", data))


def announce_failed_job(connection: Connection, job: AnyRow, at: str, reason: str) -> None:
    """Announce that a schedule's job failed; other jobs are left out."""
    if job.schedule_id is None:
        return
    data = {"job_id": job.id, "schedule_id": job.schedule_id, "sweep_name": job.name, "reason": reason}
    announce(connection, _notice(at, NoticeKind.FAILURE, f"failure/{job.id}", data))


def announce_not_queued(connection: Connection, schedule: Schedule, reason: str) -> None:
    """Announce that a schedule's time had no job, unless the time before had none for the same reason."""
    if schedule.reason == reason:
        return
    data = {"schedule_id": schedule.id, "schedule": schedule.name, "due_at": schedule.next_at, "reason": reason}
    subject = f"failure/{schedule.id}/{schedule.next_at}"
    announce(connection, _notice(schedule.next_at, NoticeKind.FAILURE, subject, data))


def _notice(at: str, kind: NoticeKind, subject: str, data: Mapping[str, object | Sequence[object]]) -> Notice:
    return Notice(at=at, kind=kind, subject=subject, data=json.dumps(data, separators=(",", ":")))
