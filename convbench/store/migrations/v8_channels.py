"""Version 8: channels with their deliveries and notices; one name a schedule."""

from __future__ import annotations

from alembic.operations import Operations
from sqlalchemy import (
    Column,
    Double,
    ForeignKeyConstraint,
    Integer,
    PrimaryKeyConstraint,
    Text,
    UniqueConstraint,
    column,
    select,
    table,
    update,
)


def upgrade(operations: Operations) -> None:
    """Version 7 to 8: three new tables, and an index by which a name is that of one schedule."""
    words = Text().with_variant(Text(collation="C"), "postgresql")
    _name_apart(operations)
    operations.create_index("ix_schedules_name", "schedules", ["name"], unique=True)
    operations.create_table(
        "channels",
        Column("key", Integer, nullable=False),
        *(Column(name, words, nullable=False) for name in ("id", "name", "service", "url")),
        Column("secret", words),
        *(Column(name, words, nullable=False) for name in ("kinds", "made_at", "made_by")),
        PrimaryKeyConstraint("key", name="pk_channels"),
        UniqueConstraint("id", name="uq_channels_id"),
        UniqueConstraint("name", name="uq_channels_name"),
    )
    operations.create_table(
        "deliveries",
        Column("key", Integer, nullable=False),
        Column("id", words, nullable=False),
        Column("channel_key", Integer, nullable=False),
        *(Column(name, words, nullable=False) for name in ("state", "made_at", "due_at")),
        Column("tries", Integer, nullable=False),
        *(Column(name, words) for name in ("ended_at", "reason", "claimed_at", "owner_host", "owner_boot")),
        Column("owner_pid", Integer),
        Column("owner_started", Double),
        PrimaryKeyConstraint("key", name="pk_deliveries"),
        ForeignKeyConstraint(["channel_key"], ["channels.key"], name="fk_deliveries_channels", ondelete="CASCADE"),
        UniqueConstraint("id", name="uq_deliveries_id"),
    )
    operations.create_index("ix_deliveries_state_due_at", "deliveries", ["state", "due_at"])
    operations.create_index("ix_deliveries_channel_key_state", "deliveries", ["channel_key", "state"])
    operations.create_table(
        "notices",
        Column("key", Integer, nullable=False),
        Column("channel_key", Integer, nullable=False),
        Column("delivery_key", Integer, nullable=False),
        *(Column(name, words, nullable=False) for name in ("at", "kind", "subject", "data")),
        PrimaryKeyConstraint("key", name="pk_notices"),
        ForeignKeyConstraint(["channel_key"], ["channels.key"], name="fk_notices_channels", ondelete="CASCADE"),
        ForeignKeyConstraint(["delivery_key"], ["deliveries.key"], name="fk_notices_deliveries", ondelete="CASCADE"),
        UniqueConstraint("channel_key", "subject", name="uq_notices_channel_key_subject"),
    )
    operations.create_index("ix_notices_delivery_key", "notices", ["delivery_key"])


def _name_apart(operations: Operations) -> None:
    """Give all but the first of schedules with one name their id as well. Two services at once could make such."""
    schedules, seen = table("schedules", column("key"), column("id"), column("name")), set[str]()
    rows = operations.get_bind().execute(select(schedules).order_by(schedules.c.key)).all()
    for row in rows:
        if row.name in seen:
            apart = update(schedules).where(schedules.c.key == row.key).values(name=f"{row.name} ({row.id})")
            operations.execute(apart)
        seen.add(row.name)
