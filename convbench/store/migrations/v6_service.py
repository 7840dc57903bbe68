"""Version 6: what the service keeps: jobs, schedules, verdicts, acceptances, tokens, writes, and the list of runs."""

from __future__ import annotations

from alembic.operations import Operations
from sqlalchemy import (
    Boolean,
    Column,
    Double,
    ForeignKeyConstraint,
    Integer,
    PrimaryKeyConstraint,
    Text,
    UniqueConstraint,
)


def upgrade(operations: Operations) -> None:
    """Version 5 to 6: eight new tables, and an index by which the newest runs are found."""
    words = Text().with_variant(Text(collation="C"), "postgresql")
    operations.create_index("ix_runs_started_at_key", "runs", ["started_at", "key"])
    operations.create_table(
        "jobs",
        Column("key", Integer, nullable=False),
        Column("id", words, nullable=False),
        Column("idempotency_key", words),
        *(Column(name, words, nullable=False) for name in ("state", "name", "sweep")),
        Column("cases", Integer, nullable=False),
        Column("devices", words, nullable=False),
        Column("host", words),
        Column("against", words),
        Column("priority", Integer, nullable=False),
        *(Column(name, words, nullable=False) for name in ("submitted_at", "submitted_by")),
        *(Column(name, words) for name in ("not_before", "started_at", "ended_at")),
        *(Column(name, Integer, nullable=False) for name in ("tries", "page_tries")),
        Column("cancelling", Boolean, nullable=False),
        Column("run_id", words),
        Column("exit_code", Integer),
        *(Column(name, words) for name in ("reason", "owner_host", "owner_boot")),
        Column("owner_pid", Integer),
        Column("owner_started", Double),
        Column("child_pid", Integer),
        Column("child_started", Double),
        *(Column(name, words) for name in ("schedule_id", "due_at")),
        PrimaryKeyConstraint("key", name="pk_jobs"),
        UniqueConstraint("id", name="uq_jobs_id"),
        UniqueConstraint("idempotency_key", name="uq_jobs_idempotency_key"),
    )
    operations.create_index("ix_jobs_state", "jobs", ["state"])
    operations.create_table(
        "job_events",
        Column("key", Integer, nullable=False),
        Column("job_key", Integer, nullable=False),
        *(Column(name, words, nullable=False) for name in ("at", "kind", "data")),
        PrimaryKeyConstraint("key", name="pk_job_events"),
        ForeignKeyConstraint(["job_key"], ["jobs.key"], name="fk_job_events_jobs", ondelete="CASCADE"),
        sqlite_autoincrement=True,
    )
    operations.create_index("ix_job_events_job_key_key", "job_events", ["job_key", "key"])
    operations.create_table(
        "schedules",
        Column("key", Integer, nullable=False),
        *(Column(name, words, nullable=False) for name in ("id", "name", "cron", "zone", "sweep", "sweep_name")),
        *(Column(name, words, nullable=False) for name in ("host", "baseline")),
        Column("priority", Integer, nullable=False),
        Column("paused", Boolean, nullable=False),
        *(Column(name, words, nullable=False) for name in ("made_at", "made_by", "next_at")),
        *(Column(name, words) for name in ("last_at", "last_job_id", "reason")),
        PrimaryKeyConstraint("key", name="pk_schedules"),
        UniqueConstraint("id", name="uq_schedules_id"),
    )
    operations.create_index("ix_schedules_next_at", "schedules", ["next_at"])
    operations.create_table(
        "verdicts",
        Column("key", Integer, nullable=False),
        Column("job_id", words, nullable=False),
        Column("schedule_id", words),
        *(Column(name, words, nullable=False) for name in ("at", "sweep_name", "baseline")),
        Column("base_id", words),
        *(Column(name, words, nullable=False) for name in ("run_id", "verdict", "text", "changes")),
        PrimaryKeyConstraint("key", name="pk_verdicts"),
        UniqueConstraint("job_id", name="uq_verdicts_job_id"),
    )
    operations.create_index("ix_verdicts_run_id", "verdicts", ["run_id"])
    operations.create_table(
        "acceptances",
        Column("key", Integer, nullable=False),
        *(Column(name, words, nullable=False) for name in ("at", "who", "baseline", "before_id", "run_id")),
        *(Column(name, words, nullable=False) for name in ("sweep_name", "reason")),
        PrimaryKeyConstraint("key", name="pk_acceptances"),
    )
    operations.create_index("ix_acceptances_run_id", "acceptances", ["run_id"])
    operations.create_table(
        "tokens",
        Column("key", Integer, nullable=False),
        *(Column(name, words, nullable=False) for name in ("name", "prefix", "hash", "scopes", "created_at")),
        *(Column(name, words) for name in ("expires_at", "revoked_at")),
        PrimaryKeyConstraint("key", name="pk_tokens"),
        UniqueConstraint("prefix", name="uq_tokens_prefix"),
        UniqueConstraint("hash", name="uq_tokens_hash"),
    )
    operations.create_table(
        "audit",
        Column("key", Integer, nullable=False),
        *(Column(name, words, nullable=False) for name in ("at", "who", "address", "action", "target")),
        Column("status", Integer, nullable=False),
        PrimaryKeyConstraint("key", name="pk_audit"),
        sqlite_autoincrement=True,
    )
    operations.create_table(
        "listed_runs",
        Column("run_key", Integer, nullable=False),
        Column("finished_at", words),
        Column("cases", Integer, nullable=False),
        *(Column(name, words, nullable=False) for name in ("statuses", "cpu", "machine", "torch", "search")),
        PrimaryKeyConstraint("run_key", name="pk_listed_runs"),
        ForeignKeyConstraint(["run_key"], ["runs.key"], name="fk_listed_runs_runs", ondelete="CASCADE"),
        sqlite_with_rowid=False,
    )
