"""The messages that wait for channels: claimed by one UPDATE each, so that of several services one sends each.

A service that is killed leaves its message claimed. It is sent again with the same id, by which a receiver knows it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, func, or_, select, update
from sqlalchemy import delete as deleting

from convbench.errors import ChannelNotFoundError, ConflictError, StoreError
from convbench.model.notice import PAUSES_S, Delivery, DeliveryState, Notice, NoticeKind, Outgoing
from convbench.store import schema
from convbench.store.channels import channel_of
from convbench.store.runs import AnyRow
from convbench.store.store import Store
from convbench.store.writer import Writer

#: Seconds after which a message that a service of another host has claimed counts as lost. One try takes less.
LOST_S = 600.0
#: Days that messages stay after their end.
KEPT_DAYS = 90

_deliveries, _channels, _notices = schema.deliveries.c, schema.channels.c, schema.notices.c
_WAITING, _SENDING = DeliveryState.WAITING.value, DeliveryState.SENDING.value


class Deliveries:
    """The messages in a database. Methods raise StoreError where the database cannot do it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def claim(
        self, owner: Writer, now: str, *, busy: Collection[str] = (), ahead: str | None = None
    ) -> Outgoing | None:
        """Make the message that is due longest the owner's and SENDING; None where none is due.

        `busy` are the ids of channels whose messages wait. A message that is due after `ahead` has its time from a
        clock that was wrong, and is due now.
        """
        late = () if ahead is None else (_deliveries.due_at > ahead,)
        due = [_deliveries.state == _WAITING, or_(_deliveries.due_at <= now, *late)]
        if busy:
            due.append(_deliveries.channel_key.not_in(select(_channels.key).where(_channels.id.in_(busy))))
        query = select(schema.deliveries).where(*due).order_by(_deliveries.due_at, _deliveries.key).limit(1)
        with self._store.reading() as connection:  # without a lock: nothing is due nearly always
            if connection.execute(query).first() is None:
                return None
        with self._store.writing() as connection:
            row = connection.execute(query.with_for_update(skip_locked=True)).one_or_none()
            if row is None:
                return None
            values = {"state": _SENDING, "claimed_at": now, **_owner(owner)}
            mine = (_deliveries.key == row.key, _deliveries.state == _WAITING)
            if not connection.execute(update(schema.deliveries).where(*mine).values(values)).rowcount:
                return None
            channel = connection.execute(select(schema.channels).where(_channels.key == row.channel_key)).one()
            notices = select(schema.notices).where(_notices.delivery_key == row.key).order_by(_notices.key)
            found = [_notice(one) for one in connection.execute(notices).all()]
        return Outgoing(
            key=row.key,
            id=row.id,
            made_at=row.made_at,
            tries=row.tries,
            channel=channel_of(channel),
            notices=found,
        )

    def sent(self, message: Outgoing, owner: Writer, now: str) -> bool:
        """Note that a message of this owner arrived; False where it is not the owner's any more."""
        return self._end(message, owner, {"state": DeliveryState.SENT.value, "ended_at": now, "reason": None})

    def failed(self, message: Outgoing, owner: Writer, now: str, reason: str, *, is_final: bool = False) -> bool:
        """Note that a try failed: the message waits for its next one, or is given up after the last one."""
        if is_final or message.tries >= len(PAUSES_S):
            return self._end(message, owner, {"state": DeliveryState.FAILED.value, "ended_at": now, "reason": reason})
        due = datetime.fromisoformat(now) + timedelta(seconds=PAUSES_S[message.tries])
        at = due.isoformat(timespec="microseconds")
        return self._end(message, owner, {"state": _WAITING, "due_at": at, "reason": reason})

    def _end(self, message: Outgoing, owner: Writer, values: dict[str, object]) -> bool:
        own = [_deliveries[name] == value for name, value in _owner(owner).items()]
        mine = (_deliveries.key == message.key, _deliveries.state == _SENDING, *own)
        values |= {"tries": message.tries + 1, "claimed_at": None, **_owner(None)}
        with self._store.writing() as connection:
            return bool(connection.execute(update(schema.deliveries).where(*mine).values(values)).rowcount)

    def recover(self, now: str) -> int:
        """Let messages wait again whose service has ended while it sent them; returns how many."""
        lost = (datetime.fromisoformat(now) - timedelta(seconds=LOST_S)).isoformat(timespec="microseconds")
        with self._store.reading() as connection:
            rows = connection.execute(select(schema.deliveries).where(_deliveries.state == _SENDING)).all()
        gone = [row for row in rows if row.claimed_at < lost or _owner_of(row).is_gone()]
        changed = 0
        for row in gone:
            same = (_deliveries.key == row.key, _deliveries.state == _SENDING, _deliveries.claimed_at == row.claimed_at)
            values = {"state": _WAITING, "claimed_at": None, **_owner(None)}
            with self._store.writing() as connection:
                changed += connection.execute(update(schema.deliveries).where(*same).values(values)).rowcount
        return changed

    def again(self, delivery_id: str, now: str) -> Delivery:
        """Send a message that was given up once more, from now on with all its tries.

        Raises ChannelNotFoundError where there is none, and ConflictError where it was not given up.
        """
        given_up = (_deliveries.id == delivery_id, _deliveries.state == DeliveryState.FAILED.value)
        values = {"state": _WAITING, "due_at": now, "tries": 0, "ended_at": None}
        with self._store.writing() as connection:
            changed = connection.execute(update(schema.deliveries).where(*given_up).values(values)).rowcount
            row = connection.execute(_rows().where(_deliveries.id == delivery_id)).one_or_none()
        if row is None:
            raise ChannelNotFoundError(f"there is no message {delivery_id!r}", hint="the list of deliveries has them")
        if not changed:
            raise ConflictError(
                f"message {delivery_id} is {row.state}", hint="only one that was given up is sent again"
            )
        return _delivery(row)

    def list(self, *, channel_id: str | None = None, before: int | None = None, most: int = 50) -> Sequence[Delivery]:
        """Messages, the newest first; of all channels or of one, with keys under `before`."""
        query = _rows().order_by(_deliveries.key.desc()).limit(most)
        if channel_id is not None:
            query = query.where(_channels.id == channel_id)
        if before is not None:
            query = query.where(_deliveries.key < before)
        with self._store.reading() as connection:
            return [_delivery(row) for row in connection.execute(query).all()]

    def counts(self) -> dict[DeliveryState, int]:
        """The number of messages in each state."""
        query = select(_deliveries.state, func.count()).group_by(_deliveries.state)
        with self._store.reading() as connection:
            rows = connection.execute(query).all()
        return dict.fromkeys(DeliveryState, 0) | {DeliveryState(state): number for state, number in rows}

    def next_due(self) -> str | None:
        """When the next message is due; None where none waits."""
        query = select(func.min(_deliveries.due_at)).where(_deliveries.state == _WAITING)
        with self._store.reading() as connection:
            found: str | None = connection.execute(query).scalar()
            return found

    def prune(self, now: str) -> int:
        """Delete the messages that ended `KEPT_DAYS` days ago; returns how many."""
        limit = (datetime.fromisoformat(now) - timedelta(days=KEPT_DAYS)).isoformat(timespec="microseconds")
        with self._store.writing() as connection:
            return connection.execute(deleting(schema.deliveries).where(_deliveries.ended_at < limit)).rowcount


def _rows() -> Select[Any]:
    counted = select(func.count()).where(_notices.delivery_key == _deliveries.key).scalar_subquery()
    columns = (_channels.id.label("channel_id"), _channels.name.label("channel"), counted.label("notices"))
    joined = select(schema.deliveries, *columns)
    return joined.join_from(schema.deliveries, schema.channels, _deliveries.channel_key == _channels.key)


def _delivery(row: AnyRow) -> Delivery:
    try:
        state = DeliveryState(row.state)
    except ValueError:
        raise StoreError(f"message {row.id} is in the unknown state {str(row.state)[:60]!r}") from None
    return Delivery(**{name: getattr(row, name) for name in Delivery.__slots__} | {"state": state})


def _notice(row: AnyRow) -> Notice:
    return Notice(at=row.at, kind=NoticeKind(row.kind), subject=row.subject, data=row.data)


def _owner(owner: Writer | None) -> dict[str, object]:
    return {f"owner_{name}": owner and getattr(owner, name) for name in ("host", "boot", "pid", "started")}


def _owner_of(row: AnyRow) -> Writer:
    return Writer(host=row.owner_host, boot=row.owner_boot, pid=row.owner_pid, started=row.owner_started)
