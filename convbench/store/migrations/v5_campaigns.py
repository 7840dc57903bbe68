"""Version 5: campaigns and their shards."""

from __future__ import annotations

from alembic.operations import Operations
from sqlalchemy import Column, Double, ForeignKeyConstraint, Integer, PrimaryKeyConstraint, Text, UniqueConstraint


def upgrade(operations: Operations) -> None:
    """Version 4 to 5: two new tables, which are empty."""
    words = Text().with_variant(Text(collation="C"), "postgresql")
    operations.create_table(
        "campaigns",
        Column("key", Integer, nullable=False),
        Column("id", words, nullable=False),
        Column("name", words, nullable=False),
        Column("how", words, nullable=False),
        Column("source", words, nullable=False),
        Column("version", words, nullable=False),
        Column("started_at", words, nullable=False),
        Column("finished_at", words),
        Column("state", words, nullable=False),
        Column("controls", words, nullable=False),
        Column("writer_host", words),
        Column("writer_boot", words),
        Column("writer_pid", Integer),
        Column("writer_started", Double),
        PrimaryKeyConstraint("key", name="pk_campaigns"),
        UniqueConstraint("id", name="uq_campaigns_id"),
    )
    operations.create_table(
        "shards",
        Column("campaign_key", Integer, nullable=False),
        Column("position", Integer, nullable=False, autoincrement=False),
        Column("machine", words, nullable=False),
        Column("state", words, nullable=False),
        Column("host", words),
        Column("device", words, nullable=False),
        Column("boot", words),
        Column("run_ids", words, nullable=False),
        Column("case_ids", words, nullable=False),
        Column("note", words),
        PrimaryKeyConstraint("campaign_key", "position", name="pk_shards"),
        ForeignKeyConstraint(["campaign_key"], ["campaigns.key"], name="fk_shards_campaigns", ondelete="CASCADE"),
        sqlite_with_rowid=False,
    )
