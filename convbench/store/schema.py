"""The tables. Portable SQL only: SQLite and PostgreSQL have the same tables.

A change needs a new schema version, a migration, and a fixture database in tests/data, which must stay readable.

- 1: the first release
- 2: the commit that was checked out where a run was started, named baselines, the database's identity
- 3: raw samples
- 5: campaigns and their shards
- 6: what the service keeps: jobs with their events, schedules, verdicts, acceptances, tokens, the list of writes, and
  the list of runs
- 7: jobs of other kinds
- 8: channels, their deliveries and notices; one name a schedule

A fact of a case (model/result.py) with `since` defines a newer version, whose migration adds its column.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    Label,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    null,
)
from sqlalchemy.types import TypeEngine

from convbench.model.fact import Fact
from convbench.model.result import CASE_FACTS
from convbench.model.settings import MOST_INTEGER
from convbench.model.values import Whole, visible

VERSION = max(8, *(row.since for row in CASE_FACTS.values()))


class Words(TypeDecorator[str]):
    """Text that every database accepts: NUL and unpaired surrogates, which C code may print, are escaped."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[str]:
        """Text that every database orders by its bytes, as SQLite does; ids and times in ISO 8601 need this order."""
        if dialect.name != "postgresql":
            return dialect.type_descriptor(Text())
        from sqlalchemy.dialects.postgresql import TEXT  # not needed for SQLite

        return TEXT(collation="C")

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """The text that is stored for `value`."""
        return None if value is None else visible(value)


class Packed(TypeDecorator[bytes]):
    """Bytes as the database returns them. In SQLite another program may have stored another type; loaders check it."""

    impl = LargeBinary
    cache_ok = True

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], bytes | None] | None:
        """None for SQLite: SQLAlchemy would call `bytes`, which makes that many zeros from a number."""
        return None if dialect.name == "sqlite" else super().result_processor(dialect, coltype)


#: Names for all constraints, so that a migration can find them.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def since(version: int) -> dict[str, int]:
    """The `info` of a column that the schema has since this version."""
    return {"since": version}


def columns(table: Table, version: int, *names: str) -> list[Column[Any] | Label[Any]]:
    """The columns to select from a table in a database of an older version, with null for columns that it lacks.

    All columns, or those with these names.
    """
    wanted = [table.c[name] for name in names] or table.columns
    return [(column if column.info.get("since", 1) <= version else null()).label(column.key) for column in wanted]


#: The first version whose databases have an identity.
IDENTITY_SINCE = 2
#: One row. `identity` is unique to the database and does not depend on the path or URL by which it is opened.
schema = Table(
    "convbench_schema",
    metadata,
    Column("version", Integer, nullable=False),
    Column("identity", Words, info=since(2)),
)

#: One row per run. `measure` and `environment` are JSON (model/serial.py). `seed` is text: it may exceed 64 bits.
#: `host` is where the run began. The writer is the process that is writing it, null where none is.
runs = Table(
    "runs",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("id", Words, nullable=False, unique=True),
    Column("name", Words, nullable=False),
    Column("description", Words, nullable=False),
    Column("source", Words, nullable=False),
    Column("seed", Words, nullable=False),
    Column("measure", Words, nullable=False),
    Column("version", Words, nullable=False),
    Column("started_at", Words, nullable=False),
    Column("finished_at", Words),
    Column("state", Words, nullable=False),
    Column("environment", Words, nullable=False),
    Column("digest", Words, nullable=False),
    Column("host", Words, nullable=False),
    Column("writer_host", Words),
    Column("writer_boot", Words),
    Column("writer_pid", Integer),
    Column("writer_started", Double),
    Column("git_commit", Words, info=since(2)),
    Column("git_branch", Words, info=since(2)),
    Column("git_dirty", Boolean, info=since(2)),
    Index(None, "started_at", "key"),
)

#: The first version whose databases have baselines, which are names for runs.
BASELINES_SINCE = 2
baselines = Table(
    "baselines",
    metadata,
    Column("name", Words, nullable=False),
    Column("run_key", ForeignKey("runs.key", ondelete="CASCADE"), nullable=False),
    Column("set_at", Words, nullable=False),
    PrimaryKeyConstraint("name"),
    sqlite_with_rowid=False,
)

rejections = Table(
    "rejections",
    metadata,
    Column("run_key", ForeignKey("runs.key", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False, autoincrement=False),
    Column("label", Words, nullable=False),
    Column("reason", Words, nullable=False),
    PrimaryKeyConstraint("run_key", "position"),
    sqlite_with_rowid=False,
)

#: The facts of each process in addition to its visits, as JSON (model/serial.py). Before 2026-11-28 a process
#: was called a pass, and the database keeps that name; `key` is its name in Python.
processes = Table(
    "passes",
    metadata,
    Column("run_key", ForeignKey("runs.key", ondelete="CASCADE"), nullable=False),
    Column("pass_index", Integer, key="process_index", nullable=False, autoincrement=False),
    Column("facts", Words, nullable=False),
    PrimaryKeyConstraint("run_key", "process_index"),
    sqlite_with_rowid=False,
)

#: The cases of each run in the sweep's order. Problem and other settings are JSON without defaults, in two columns
#: because many cases share one of them. The unique index starts with the case, so that it also finds a case's runs.
cases = Table(
    "cases",
    metadata,
    Column("run_key", ForeignKey("runs.key", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False, autoincrement=False),
    Column("case_id", Words, nullable=False),
    Column("problem", Words, nullable=False),
    Column("settings", Words, nullable=False),
    PrimaryKeyConstraint("run_key", "position"),
    UniqueConstraint("case_id", "run_key"),
    sqlite_with_rowid=False,
)


def _type_of(row: Fact) -> TypeEngine[Any]:
    """The column type for a fact of a case."""
    if isinstance(row.bound, Whole):
        return Integer() if row.bound.high <= MOST_INTEGER else BigInteger()
    types: dict[type, TypeEngine[Any]] = {float: Double(), str: Words(), bool: Boolean()}
    return types[row.kind]


#: One row per case and process. In a finished run the first row of a case holds the blocks of all its processes, unless
#: the others have more than blocks (folding.py). Without SQLite's rowid rows are stored in the order of their key, in
#: which a run is read.
visits = Table(
    "visits",
    metadata,
    Column("run_key", Integer, nullable=False, autoincrement=False),
    Column("position", Integer, nullable=False, autoincrement=False),
    Column("pass_index", Integer, key="process_index", nullable=False, autoincrement=False),
    Column("status", Words, nullable=False),
    Column("complete", Boolean, nullable=False),
    Column("reason", Words),
    Column("check_result", Words),
    *(Column(name, _type_of(row), info=since(row.since)) for name, row in CASE_FACTS.items()),
    Column("stop_reason", Words, nullable=False),
    Column("layout", SmallInteger, nullable=False),
    Column("blocks", Packed, nullable=False),
    Column("system_blocks", Packed),
    Column("kernel_blocks", Packed),
    Column("samples", Packed, info=since(3)),
    PrimaryKeyConstraint("run_key", "position", "process_index"),
    ForeignKeyConstraint(["run_key", "position"], ["cases.run_key", "cases.position"], ondelete="CASCADE"),
    Index(None, "run_key", "status"),
    sqlite_with_rowid=False,
)

#: The first version whose databases have campaigns.
CAMPAIGNS_SINCE = 5
#: One row per campaign (model/campaign.py); `controls` is a JSON list. The writer is the process that conducts it.
campaigns = Table(
    "campaigns",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("id", Words, nullable=False, unique=True),
    Column("name", Words, nullable=False),
    Column("how", Words, nullable=False),
    Column("source", Words, nullable=False),
    Column("version", Words, nullable=False),
    Column("started_at", Words, nullable=False),
    Column("finished_at", Words),
    Column("state", Words, nullable=False),
    Column("controls", Words, nullable=False),
    Column("writer_host", Words),
    Column("writer_boot", Words),
    Column("writer_pid", Integer),
    Column("writer_started", Double),
)

#: The shards of each campaign. `machine`, `run_ids` and `case_ids` are JSON. A run may be deleted and its shard stay.
shards = Table(
    "shards",
    metadata,
    Column("campaign_key", ForeignKey("campaigns.key", ondelete="CASCADE"), nullable=False),
    Column("position", Integer, nullable=False, autoincrement=False),
    Column("machine", Words, nullable=False),
    Column("state", Words, nullable=False),
    Column("host", Words),
    Column("device", Words, nullable=False),
    Column("boot", Words),
    Column("run_ids", Words, nullable=False),
    Column("case_ids", Words, nullable=False),
    Column("note", Words),
    PrimaryKeyConstraint("campaign_key", "position"),
    sqlite_with_rowid=False,
)

#: The first version whose databases hold what the service keeps: the eight tables below.
SERVICE_SINCE = 6
#: One row per job. `sweep` is the text of its sweep, `devices` their names with commas between. The owner is the
#: service that runs it, and the child is the process that measures; both are null while there is none. A schedule's job
#: has the time for which it was due, null where somebody asked for it; the schedule itself may be deleted. Version 7
#: added `kind`, and `task` and `answer`, which are JSON (model/job.py).
jobs = Table(
    "jobs",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("id", Words, nullable=False, unique=True),
    Column("idempotency_key", Words, unique=True),
    Column("state", Words, nullable=False),
    Column("name", Words, nullable=False),
    Column("sweep", Words, nullable=False),
    Column("cases", Integer, nullable=False),
    Column("devices", Words, nullable=False),
    Column("host", Words),
    Column("against", Words),
    Column("priority", Integer, nullable=False),
    Column("submitted_at", Words, nullable=False),
    Column("submitted_by", Words, nullable=False),
    Column("not_before", Words),
    Column("started_at", Words),
    Column("ended_at", Words),
    Column("tries", Integer, nullable=False),
    Column("page_tries", Integer, nullable=False),
    Column("cancelling", Boolean, nullable=False),
    Column("run_id", Words),
    Column("exit_code", Integer),
    Column("reason", Words),
    Column("owner_host", Words),
    Column("owner_boot", Words),
    Column("owner_pid", Integer),
    Column("owner_started", Double),
    Column("child_pid", Integer),
    Column("child_started", Double),
    Column("schedule_id", Words),
    Column("due_at", Words),
    Column("kind", Words, nullable=False, server_default="sweep"),
    Column("task", Words),
    Column("answer", Words),
    Column("campaign_id", Words),
    Index(None, "state"),
)
#: What happened to a job, in order. `key` is the id of a server-sent event; SQLite never uses one twice.
job_events = Table(
    "job_events",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("job_key", ForeignKey("jobs.key", ondelete="CASCADE"), nullable=False),
    Column("at", Words, nullable=False),
    Column("kind", Words, nullable=False),
    Column("data", Words, nullable=False),
    Index(None, "job_key", "key"),
    sqlite_autoincrement=True,
)
#: One row per schedule (model/schedule.py). `next_at` is when it is due, in UTC. The service that changes it from the
#: time that is due to the following one queues the job, in one transaction.
schedules = Table(
    "schedules",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("id", Words, nullable=False, unique=True),
    Column("name", Words, nullable=False),
    Column("cron", Words, nullable=False),
    Column("zone", Words, nullable=False),
    Column("sweep", Words, nullable=False),
    Column("sweep_name", Words, nullable=False),
    Column("host", Words, nullable=False),
    Column("baseline", Words, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("made_at", Words, nullable=False),
    Column("made_by", Words, nullable=False),
    Column("next_at", Words, nullable=False),
    Column("last_at", Words),
    Column("last_job_id", Words),
    Column("reason", Words),
    Index(None, "next_at"),
    Index(None, "name", unique=True),
)
#: What a job's run became of its baseline, after suspected changes were measured again: one row per job at most.
#: `changes` is JSON: the changed cases. The run and the baseline may be deleted, and the verdict stays.
verdicts = Table(
    "verdicts",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("job_id", Words, nullable=False, unique=True),
    Column("schedule_id", Words),
    Column("at", Words, nullable=False),
    Column("sweep_name", Words, nullable=False),
    Column("baseline", Words, nullable=False),
    Column("base_id", Words),
    Column("run_id", Words, nullable=False),
    Column("verdict", Words, nullable=False),
    Column("text", Words, nullable=False),
    Column("changes", Words, nullable=False),
    Index(None, "run_id"),
)
#: Who made which run a baseline in place of which other one, when and why.
acceptances = Table(
    "acceptances",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("at", Words, nullable=False),
    Column("who", Words, nullable=False),
    Column("baseline", Words, nullable=False),
    Column("before_id", Words, nullable=False),
    Column("run_id", Words, nullable=False),
    Column("sweep_name", Words, nullable=False),
    Column("reason", Words, nullable=False),
    Index(None, "run_id"),
)
#: Tokens of the service. `hash` is the SHA-256 of the whole token in hexadecimal; `scopes` has commas between.
tokens = Table(
    "tokens",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("name", Words, nullable=False),
    Column("prefix", Words, nullable=False, unique=True),
    Column("hash", Words, nullable=False, unique=True),
    Column("scopes", Words, nullable=False),
    Column("created_at", Words, nullable=False),
    Column("expires_at", Words),
    Column("revoked_at", Words),
)
#: Every write by the service or by its token verbs: who, what, of which thing, and the status of the answer.
audit = Table(
    "audit",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("at", Words, nullable=False),
    Column("who", Words, nullable=False),
    Column("address", Words, nullable=False),
    Column("action", Words, nullable=False),
    Column("target", Words, nullable=False),
    Column("status", Integer, nullable=False),
    sqlite_autoincrement=True,
)
#: What the list of runs shows and filters by, one row per run, made when a list is read. It is out of date where
#: `finished_at` is not that of the run. `search` is lower case; `statuses` is JSON, the number of cases by status.
listed_runs = Table(
    "listed_runs",
    metadata,
    Column("run_key", ForeignKey("runs.key", ondelete="CASCADE"), nullable=False),
    Column("finished_at", Words),
    Column("cases", Integer, nullable=False),
    Column("statuses", Words, nullable=False),
    Column("cpu", Words, nullable=False),
    Column("machine", Words, nullable=False),
    Column("torch", Words, nullable=False),
    Column("search", Words, nullable=False),
    PrimaryKeyConstraint("run_key"),
    sqlite_with_rowid=False,
)

#: The first version whose databases have channels: the three tables below.
CHANNELS_SINCE = 8
#: Where notices go (model/notice.py). `url` and `secret` are stored as they are, since sending needs them; `kinds` has
#: commas between.
channels = Table(
    "channels",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("id", Words, nullable=False, unique=True),
    Column("name", Words, nullable=False, unique=True),
    Column("service", Words, nullable=False),
    Column("url", Words, nullable=False),
    Column("secret", Words),
    Column("kinds", Words, nullable=False),
    Column("made_at", Words, nullable=False),
    Column("made_by", Words, nullable=False),
)
#: One row per message to a channel. `id` stays over all tries. The owner is the service that sends it now, null while
#: none does; a message is claimed and ended by one UPDATE each.
deliveries = Table(
    "deliveries",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("id", Words, nullable=False, unique=True),
    Column("channel_key", ForeignKey("channels.key", ondelete="CASCADE"), nullable=False),
    Column("state", Words, nullable=False),
    Column("made_at", Words, nullable=False),
    Column("due_at", Words, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("ended_at", Words),
    Column("reason", Words),
    Column("claimed_at", Words),
    Column("owner_host", Words),
    Column("owner_boot", Words),
    Column("owner_pid", Integer),
    Column("owner_started", Double),
    Index(None, "state", "due_at"),
    Index(None, "channel_key", "state"),
)
#: What a message says, one row per event and channel. A channel gets each `subject` once.
#: `data` is JSON; the text is made of it when it is sent.
notices = Table(
    "notices",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("channel_key", ForeignKey("channels.key", ondelete="CASCADE"), nullable=False),
    Column("delivery_key", ForeignKey("deliveries.key", ondelete="CASCADE"), nullable=False),
    Column("at", Words, nullable=False),
    Column("kind", Words, nullable=False),
    Column("subject", Words, nullable=False),
    Column("data", Words, nullable=False),
    UniqueConstraint("channel_key", "subject"),
    Index(None, "delivery_key"),
)
