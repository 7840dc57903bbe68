"""The rows of channels. Their URLs and secrets are stored as they are, since sending needs them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Sequence

from sqlalchemy import Connection, delete, func, insert, select, update

from convbench.errors import ChannelNotFoundError, RequestError, StoreError
from convbench.model.notice import Channel, ChannelService, Notice, NoticeKind
from convbench.store import notices, schema
from convbench.store.naming import unique
from convbench.store.runs import AnyRow
from convbench.store.store import Store

#: Maximum number of channels in a database.
MOST_CHANNELS = 50

_channels = schema.channels.c


class Channels:
    """The channels in a database. Methods raise StoreError where the database cannot do it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, channel: Channel) -> None:
        """Store a new channel. ConflictError where another one has its name; RequestError where there are too many."""
        row = {name: getattr(channel, name) for name in Channel.__slots__}
        row |= {"service": channel.service.value, "kinds": _kinds_text(channel.kinds)}
        with unique("channel", channel.name), self._store.writing() as connection:
            if connection.execute(select(func.count()).select_from(schema.channels)).scalar_one() >= MOST_CHANNELS:
                raise RequestError(f"there are {MOST_CHANNELS} channels", hint="delete some first")
            connection.execute(insert(schema.channels), row)

    def change(
        self, channel_id: str, *, name: str | None, url: str | None, kinds: Collection[NoticeKind] | None
    ) -> Channel:
        """Change what is not None of a channel.

        Raises ChannelNotFoundError, and ConflictError where another channel has the name.
        """
        given = {"name": name, "url": url, "kinds": None if kinds is None else _kinds_text(kinds)}
        values = {column: value for column, value in given.items() if value is not None}
        with unique("channel", name), self._store.writing() as connection:
            key = found(connection, channel_id).key
            if values:
                connection.execute(update(schema.channels).where(_channels.key == key).values(values))
            return channel_of(found(connection, channel_id))

    def list(self) -> Sequence[Channel]:
        """All channels, by name."""
        with self._store.reading() as connection:
            rows = connection.execute(select(schema.channels).order_by(_channels.name)).all()
        return [channel_of(row) for row in rows]

    def get(self, channel_id: str) -> Channel:
        """The channel with this id; raises ChannelNotFoundError."""
        with self._store.reading() as connection:
            return channel_of(found(connection, channel_id))

    def delete(self, channel_id: str) -> None:
        """Delete a channel with its messages; raises ChannelNotFoundError."""
        with self._store.writing() as connection:
            connection.execute(delete(schema.channels).where(_channels.key == found(connection, channel_id).key))

    def test(self, channel_id: str, *, by: str, at: str) -> str:
        """Store a message that says that it is a test, due now; returns its id. Raises ChannelNotFoundError."""
        data = json.dumps({"by": by})
        notice = Notice(at=at, kind=NoticeKind.TEST, subject=f"test/{secrets.token_hex(8)}", data=data)
        with self._store.writing() as connection:
            channel = found(connection, channel_id)
            key, delivery_id = notices.new_delivery(connection, channel.key, at, at)
            notices.add(connection, channel.key, key, notice)
        return delivery_id


def _kinds_text(kinds: Collection[NoticeKind]) -> str:
    return ",".join(sorted(kinds))


def found(connection: Connection, channel_id: str) -> AnyRow:
    """The row of a channel; raises ChannelNotFoundError."""
    row = connection.execute(select(schema.channels).where(_channels.id == channel_id)).one_or_none()
    if row is None:
        raise ChannelNotFoundError(f"there is no channel {channel_id!r}", hint="the list of channels has their ids")
    return row


def channel_of(row: AnyRow) -> Channel:
    """The channel of a row; StoreError where the row is invalid."""
    plain = {name: getattr(row, name) for name in Channel.__slots__}
    try:
        service = ChannelService(row.service)
        kinds = frozenset(NoticeKind(kind) for kind in row.kinds.split(",") if kind)
    except ValueError:
        raise StoreError(f"channel {row.id} is of an unknown kind", hint="delete it, and make another one") from None
    return Channel(**plain | {"service": service, "kinds": kinds})
