"""Opens databases for writing and reading: settings of SQLite and PostgreSQL, schema version, new and older tables."""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event, func, inspect, select, update
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from convbench.errors import StoreError
from convbench.store import schema
from convbench.store.place import Place, not_understood, shown
from convbench.store.reasons import BUSY_TIMEOUT_S, ELSEWHERE

#: Pause between two tries where SQLite itself does not wait, seconds.
BUSY_PAUSE_S = 0.02
PAGE_BYTES = 16384

#: How long a server may take to accept a connection, seconds, and to acknowledge data, ms. After that it counts as
#: unreachable. libpq would wait for minutes, which would delay a run.
CONNECT_TIMEOUT_S = 10
ACKNOWLEDGE_TIMEOUT_MS = 15_000

#: The execution option of a connection that only reads: in SQLite its transactions then take no write lock.
READS = "convbench_reads"
#: The advisory lock of the one transaction that makes or upgrades the tables on a PostgreSQL server. It may be any
#: number that no other program is likely to use; this one is the letters "convb".
_MAKING = int.from_bytes(b"convb", "big")


def create(place: Place) -> Engine:
    """Open the database for writing; make it where there is none, and upgrade an older schema."""
    if place.path is None:
        engine = _server(place)
    else:
        _make_folder(place.path)
        engine = _sqlite(place.path, "mode=rwc")
    with place.explaining(), _disposing(engine):
        found = schema_version(engine, place)
        if found is None:
            _refuse_foreign(engine, place)
            _initialize(engine, place)
        elif found < schema.VERSION:
            _upgrade(engine)
    return engine


def open_to_change(place: Place) -> Engine:
    """Open an existing database for writing."""
    engine, _ = open_to_read(place)
    engine.dispose()
    return create(place)


def open_to_read(place: Place) -> tuple[Engine, int]:
    """Open an existing database for reading; returns also the version of its schema. Needs no write permission."""
    if place.path is None:
        engine = _server(place)
        with place.explaining(), _disposing(engine):
            found = schema_version(engine, place)
    else:
        engine, found = _open_file(place, place.path)
    if found is None:
        engine.dispose()
        raise _absent(f"the database {place} holds no runs of convbench")
    return engine, found


def _open_file(place: Place, path: Path) -> tuple[Engine, int | None]:
    """An engine on an SQLite file that exists, and its schema version.

    In WAL mode even a reader makes two files in the database's folder. Where that is impossible no process can be
    writing, so the database is opened as immutable. A log that was left behind forbids that, because its runs would be
    missing.
    """
    try:
        exists = path.exists()
    except OSError as error:
        raise StoreError(f"cannot look at the database {place}: {error.strerror}", hint=ELSEWHERE) from error
    if not exists:
        raise _absent(f"there is no database {place}")
    if path.is_dir():
        raise StoreError(f"the database {place} is a folder", hint=ELSEWHERE)
    engine = _sqlite(path, "mode=ro")
    try:
        with _disposing(engine):
            return engine, schema_version(engine, place)
    except (SQLAlchemyError, sqlite3.Error) as error:
        name = getattr(getattr(error, "orig", error), "sqlite_errorname", "")
        if not name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")):
            raise place.explained(error) from error
    log = path.with_name(path.name + "-wal")
    if log.exists() and log.stat().st_size:
        raise StoreError(
            f"cannot read {place}: {log.name} has data of a process that was killed, and reading it needs to write",
            hint="copy both files to a folder that can be written, and read the copy with --db",
        )
    engine = _sqlite(path, "mode=ro&immutable=1")
    with place.explaining(), _disposing(engine):
        return engine, schema_version(engine, place)


def _absent(message: str) -> StoreError:
    return StoreError(message, hint=f"`convbench run CONFIG` makes one; or {ELSEWHERE}")


@contextmanager
def _disposing(engine: Engine) -> Iterator[None]:
    """Close the connections of an engine that turns out to be unusable."""
    try:
        yield
    except BaseException:
        engine.dispose()
        raise


def _make_folder(path: Path) -> None:
    if path.is_dir():
        raise StoreError(f"the database {path} is a folder", hint=ELSEWHERE)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"cannot make the folder {path.parent} for the database: {error.strerror}", hint=ELSEWHERE
        ) from error


def _server(place: Place) -> Engine:
    settings = _LIBPQ if place.url.drivername in ("postgresql+psycopg", "postgresql+psycopg2") else {}
    try:
        # pool_pre_ping: connect again to a server that was unreachable, instead of using a broken connection.
        engine = create_engine(
            place.url,
            pool_pre_ping=True,
            hide_parameters=True,  # rows hold secrets of channels, and errors go to the log
            connect_args={name: value for name, value in settings.items() if name not in place.url.query},
        )
    except NoSuchModuleError:
        raise StoreError(
            f"SQLAlchemy knows no databases called {place.url.drivername!r}", hint="sqlite and postgresql are known"
        ) from None
    except ArgumentError:  # about options; its text may hold a password
        raise not_understood() from None
    except ImportError as error:  # also where psycopg is installed and its C library is not
        postgres = place.url.drivername == "postgresql+psycopg"
        package = "psycopg" if postgres else error.name
        raise StoreError(
            f"the database {place} needs the Python package {package!r}",
            hint="pip install 'convbench[postgres]'" if postgres else f"pip install {package}",
        ) from error
    if engine.driver == "psycopg":
        _wait_with_patience(engine)
    return engine


def _wait_with_patience(engine: Engine) -> None:
    from convbench.store.psycopg_connection import PatientConnection  # needs psycopg, which is installed here

    @event.listens_for(engine, "do_connect")
    def connect(dialect: object, record: object, arguments: list[Any], settings: dict[str, Any]) -> PatientConnection:
        return PatientConnection.opened(*arguments, **settings)


#: libpq's options, which the URL may override.
_LIBPQ: dict[str, str | int] = {
    "application_name": "convbench",
    "connect_timeout": CONNECT_TIMEOUT_S,
    "tcp_user_timeout": ACKNOWLEDGE_TIMEOUT_MS,
    "options": f"-c lock_timeout={BUSY_TIMEOUT_S * 1000:.0f}",
}


def reading(engine: Engine) -> dict[str, object]:
    """The execution options of a connection that only reads, from a snapshot taken at its first query."""
    if engine.dialect.name == "postgresql":
        return {READS: True, "isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    return {READS: True}


def _sqlite(path: Path, parameters: str) -> Engine:
    uri = f"{path.absolute().as_uri()}?{parameters}"

    def connect() -> sqlite3.Connection:
        # Transactions are begun in `begin` below, because the sqlite3 module would begin them too late.
        connection = sqlite3.connect(
            uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            # This applies to a new file only. SQLite splits a row without rowid that takes more than a quarter of a
            # page, by default 4 KiB. With 5 processes of 5 rounds a row that folding.py made has 1.6 kB of blocks.
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            # In WAL mode NORMAL cannot damage the database. Only a power cut may lose the last commits, whose cases are
            # then measured again. FULL would wait for the disk at every commit, between two blocks.
            connection.execute("PRAGMA synchronous = NORMAL")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool, hide_parameters=True)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that writes takes its lock at its beginning and waits for it. If it read first and another
        # process wrote then, its snapshot would be outdated and its first write would fail without waiting.
        reads = connection.get_execution_options().get(READS, False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def schema_version(engine: Engine, place: Place) -> int | None:
    """The schema version, None where there are no tables of convbench; StoreError where the version is unknown."""
    with engine.connect().execution_options(**{READS: True}) as connection:
        if not inspect(connection).has_table(schema.schema.name):
            return None
        found = connection.execute(select(schema.schema.c.version)).scalar()
    if not isinstance(found, int) or not 1 <= found <= schema.VERSION:
        newer = isinstance(found, int) and found > schema.VERSION
        hint = "a newer convbench reads it: pip install --upgrade convbench" if newer else "it is damaged"
        raise StoreError(
            f"the database {place} has schema version {shown(found)}, this convbench knows versions 1 to "
            f"{schema.VERSION}",
            hint=f"{hint}; or {ELSEWHERE}",
        )
    return found


def _refuse_foreign(engine: Engine, place: Place) -> None:
    """Raise StoreError where the database belongs to another program.

    An SQLite file that has tables, but none of convbench, belongs to another program. A server's database may be
    shared, but not with a program whose tables have the names of convbench's tables.
    """
    with engine.connect().execution_options(**{READS: True}) as connection:
        tables = inspect(connection).get_table_names()
    if schema.schema.name in tables:  # another process has made them just now
        return
    others = tables if place.path is not None else [name for name in tables if name in schema.metadata.tables]
    if others:
        raise StoreError(f"the database {place} belongs to another program (table {others[0]!r})", hint=ELSEWHERE)


def _write_ahead(cursor: DBAPICursor) -> None:
    """Set the file permanently to WAL mode; not possible inside a transaction.

    If several processes do so at the same time, all but one fail at once because the file is locked, whatever the
    timeout. (The low byte of an error code is its primary code, https://sqlite.org/rescode.html.)
    """
    end = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(BUSY_PAUSE_S)


def _initialize(engine: Engine, place: Place) -> None:
    if place.path is not None:
        connection = engine.raw_connection()
        try:
            _write_ahead(connection.cursor())
        finally:
            connection.close()
    with _making(engine) as transaction:
        if inspect(transaction).has_table(schema.schema.name):
            return  # another process was faster
        schema.metadata.create_all(transaction)
        transaction.execute(schema.schema.insert().values(version=schema.VERSION, identity=uuid.uuid4().hex))


def _upgrade(engine: Engine) -> None:
    """Change the tables to the present version, in one transaction."""
    from convbench.store import migrations  # Alembic takes a third of a second to import

    with _making(engine) as transaction:
        found = transaction.execute(select(schema.schema.c.version)).scalar_one()
        if found < schema.VERSION:  # else another process was faster
            migrations.upgrade(transaction, found)
            transaction.execute(update(schema.schema).values(version=schema.VERSION))


@contextmanager
def _making(engine: Engine) -> Iterator[Connection]:
    """A transaction that makes or changes tables; only one process has one at a time."""
    with engine.begin() as transaction:
        if transaction.dialect.name == "postgresql":  # in SQLite only one transaction writes at a time
            transaction.execute(select(func.pg_advisory_xact_lock(_MAKING)))
        yield transaction
