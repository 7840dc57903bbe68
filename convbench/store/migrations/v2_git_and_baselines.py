"""Version 2: the commit that was checked out where a run was started, named baselines, the database's identity."""

from __future__ import annotations

import uuid

from alembic.operations import Operations
from sqlalchemy import Boolean, Column, ForeignKeyConstraint, Integer, PrimaryKeyConstraint, Text, column, table, update


def upgrade(operations: Operations) -> None:
    """Version 1 to 2. Older runs have no commit; the identity is created here."""
    words = Text().with_variant(Text(collation="C"), "postgresql")
    operations.add_column("convbench_schema", Column("identity", words))
    operations.execute(update(table("convbench_schema", column("identity"))).values(identity=uuid.uuid4().hex))
    operations.add_column("runs", Column("git_commit", words))
    operations.add_column("runs", Column("git_branch", words))
    operations.add_column("runs", Column("git_dirty", Boolean))
    operations.create_table(
        "baselines",
        Column("name", words, nullable=False),
        Column("run_key", Integer, nullable=False),
        Column("set_at", words, nullable=False),
        PrimaryKeyConstraint("name", name="pk_baselines"),
        ForeignKeyConstraint(["run_key"], ["runs.key"], name="fk_baselines_runs", ondelete="CASCADE"),
        sqlite_with_rowid=False,
    )
