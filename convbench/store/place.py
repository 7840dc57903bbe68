"""Where a database is and how it is reached: paths and URLs, SQLite's settings, and database errors in plain words."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event, inspect, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from convbench.errors import StoreError
from convbench.store import schema

DEFAULT = "reports/convbench.db"

#: How long a process waits for another one's transaction; the longest writes the cases of a run of 100,000, seconds.
BUSY_TIMEOUT_S = 30.0
#: Between two tries where SQLite itself does not wait, seconds.
BUSY_PAUSE_S = 0.02

#: The execution option of a connection that only reads: in SQLite its transaction then takes no write lock.
READS = "convbench_reads"

_ELSEWHERE = "name another place with --db or CONVBENCH_DB"

#: What SQLite's errors mean and what to do, by the beginning of the error's name (https://sqlite.org/rescode.html).
_REASONS: tuple[tuple[str, str, str], ...] = (
    ("SQLITE_FULL", "the disk is full", f"free some space there, or {_ELSEWHERE}"),
    ("SQLITE_READONLY", "it is read-only", f"make the file and its folder writable, or {_ELSEWHERE}"),
    ("SQLITE_CANTOPEN", "it cannot be opened", f"look at the permissions of the file and its folder, or {_ELSEWHERE}"),
    ("SQLITE_PERM", "there is no permission", f"look at the permissions of the file and its folder, or {_ELSEWHERE}"),
    ("SQLITE_NOTADB", "it is not an SQLite database", _ELSEWHERE),
    ("SQLITE_CORRUPT", "it is damaged", f"`sqlite3 FILE .recover` may save what it holds; to go on, {_ELSEWHERE}"),
    ("SQLITE_BUSY", f"another process has kept it locked for {BUSY_TIMEOUT_S:.0f} s", f"end that one, or {_ELSEWHERE}"),
    ("SQLITE_PROTOCOL", "its file system does not lock files", f"{_ELSEWHERE}, on a local disk"),
    ("SQLITE_IOERR", "the disk refuses", f"look at free space, quota and health of the disk, or {_ELSEWHERE}"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A database: an SQLite file, or whatever an SQLAlchemy URL names. As text it never holds a password."""

    url: URL
    path: Path | None

    @classmethod
    def of(cls, url_or_path: str) -> Place:
        """The place a user named; StoreError where it is none."""
        if "://" not in url_or_path:
            if not url_or_path or "\0" in url_or_path:
                raise StoreError("the database has no name", hint=_ELSEWHERE)
            return cls(url=URL.create("sqlite"), path=Path(url_or_path))
        try:
            url = make_url(url_or_path)
        except (ArgumentError, ValueError):  # its text may hold a password: not repeated
            raise StoreError(
                "the database's URL is not understood", hint="it reads dialect://user:password@host/database"
            ) from None
        if url.get_backend_name() != "sqlite":
            return cls(url=url, path=None)
        if not url.database or url.database.startswith((":memory:", "file:")) or url.query:
            raise StoreError(
                "an SQLite database must be a plain file without options",
                hint=f"like {DEFAULT} or sqlite:///{DEFAULT}",
            )
        return cls(url=URL.create("sqlite"), path=Path(url.database))

    def __str__(self) -> str:
        """The path, or the URL's dialect, host and database."""
        if self.path is not None:
            return str(self.path)
        return f"{self.url.drivername}://{self.url.host or ''}/{self.url.database or ''}"

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Database errors become StoreErrors that say what is wrong with this place and what to do."""
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> StoreError:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        name = getattr(cause, "sqlite_errorname", "")
        for beginning, reason, hint in _REASONS:
            if name.startswith(beginning):
                return StoreError(f"cannot use the database {self}: {reason} ({cause})", hint=hint)
        lines = str(cause).strip().splitlines() or [type(cause).__name__]
        said = lines[0]
        if self.url.password:
            said = said.replace(str(self.url.password), "***")
        return StoreError(f"cannot use the database {self}: {said}")


def create(place: Place) -> Engine:
    """Open the database to write, making it where there is none."""
    if place.path is None:
        engine = _server(place)
    else:
        _make_folder(place.path)
        engine = _sqlite(place.path, "mode=rwc")
    with place.explaining(), _disposing(engine):
        if _version(engine, place) is None:
            _refuse_foreign(engine, place)
            _initialize(engine, place)
    return engine


def open_to_read(place: Place) -> Engine:
    """Open the database to read; it must exist. Works where nothing can be written."""
    if place.path is None:
        engine = _server(place)
        with place.explaining(), _disposing(engine):
            found = _version(engine, place)
    else:
        engine, found = _open_file(place, place.path)
    if found is None:
        engine.dispose()
        raise _absent(f"the database {place} holds no runs of convbench")
    return engine


def _open_file(place: Place, path: Path) -> tuple[Engine, int | None]:
    """An engine on an SQLite file that exists, and its schema version.

    In WAL mode even a reader makes two files beside the database. Where that is impossible nobody can be writing, so
    the database is read as one that does not change; but not past a log that was left behind, which would lose runs.
    """
    try:
        exists = path.exists()
    except OSError as error:
        raise StoreError(f"cannot look at the database {place}: {error.strerror}", hint=_ELSEWHERE) from error
    if not exists:
        raise _absent(f"there is no database {place}")
    if path.is_dir():
        raise StoreError(f"the database {place} is a folder", hint=_ELSEWHERE)
    engine = _sqlite(path, "mode=ro")
    try:
        with _disposing(engine):
            return engine, _version(engine, place)
    except (SQLAlchemyError, sqlite3.Error) as error:
        name = getattr(getattr(error, "orig", error), "sqlite_errorname", "")
        if not name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")):
            raise place._explained(error) from error
    log = path.with_name(path.name + "-wal")
    if log.exists() and log.stat().st_size:
        raise StoreError(
            f"cannot read {place}: work of a process that was killed still stands in {log.name}, which needs writing",
            hint="copy both files to a folder that can be written, and read the copy with --db",
        )
    engine = _sqlite(path, "mode=ro&immutable=1")
    with place.explaining(), _disposing(engine):
        return engine, _version(engine, place)


def _absent(message: str) -> StoreError:
    return StoreError(message, hint=f"`convbench run CONFIG` makes one; or {_ELSEWHERE}")


@contextmanager
def _disposing(engine: Engine) -> Iterator[None]:
    """Leaves no connection behind where the engine turns out to be of no use."""
    try:
        yield
    except BaseException:
        engine.dispose()
        raise


def _make_folder(path: Path) -> None:
    if path.is_dir():
        raise StoreError(f"the database {path} is a folder", hint=_ELSEWHERE)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"cannot make the folder {path.parent} for the database: {error.strerror}", hint=_ELSEWHERE
        ) from error


def _server(place: Place) -> Engine:
    try:
        return create_engine(place.url)
    except NoSuchModuleError:
        raise StoreError(
            f"SQLAlchemy knows no databases called {place.url.drivername!r}", hint="sqlite and postgresql are known"
        ) from None
    except ModuleNotFoundError as error:
        raise StoreError(
            f"the database {place} needs the Python package {error.name!r}", hint=f"pip install {error.name}"
        ) from error


def _sqlite(path: Path, parameters: str) -> Engine:
    uri = f"{path.absolute().as_uri()}?{parameters}"

    def connect() -> sqlite3.Connection:
        # Transactions are begun below, not by the sqlite3 module, which would begin them too late.
        connection = sqlite3.connect(
            uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            # In WAL mode NORMAL is sound whatever happens; only a power cut may take the last commits, whose cases are
            # then measured again. FULL would wait for the disk at every commit, between two blocks.
            connection.execute("PRAGMA synchronous = NORMAL")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that writes takes its lock at once: one that read first could not get it later without losing
        # what it read, and would fail at once where this one waits.
        reads = connection.get_execution_options().get(READS, False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _version(engine: Engine, place: Place) -> int | None:
    """The schema version, None where there are no tables of convbench; StoreError where it is another one."""
    with engine.connect().execution_options(**{READS: True}) as connection:
        if not inspect(connection).has_table(schema.schema.name):
            return None
        found = connection.execute(select(schema.schema.c.version)).scalar()
    if found != schema.VERSION:
        newer = isinstance(found, int) and found > schema.VERSION
        hint = "a newer convbench reads it" if newer else "the convbench that wrote it reads it"
        raise StoreError(
            f"the database {place} has schema version {found}, this convbench knows version {schema.VERSION}",
            hint=f"{hint}; or {_ELSEWHERE}",
        )
    return schema.VERSION


def _refuse_foreign(engine: Engine, place: Place) -> None:
    """An SQLite file with tables but none of convbench is another program's. A server's database may be shared."""
    if place.path is None:
        return
    with engine.connect().execution_options(**{READS: True}) as connection:
        tables = inspect(connection).get_table_names()
    if tables and schema.schema.name not in tables:  # else another process has made them just now
        raise StoreError(f"the database {place} belongs to another program (table {tables[0]!r})", hint=_ELSEWHERE)


def _write_ahead(cursor: DBAPICursor) -> None:
    """Have the file keep a write-ahead log, for ever; not inside a transaction.

    Of processes that do so at once all but one are told at once that the file is locked, whatever the timeout. (The low
    byte of an error code is its kind, https://sqlite.org/rescode.html.)
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
    with engine.begin() as transaction:
        if inspect(transaction).has_table(schema.schema.name):
            return  # another process was faster
        schema.metadata.create_all(transaction)
        transaction.execute(schema.schema.insert().values(version=schema.VERSION))
