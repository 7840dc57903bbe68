"""Where a database is and how it is reached: paths and URLs, the settings of each kind, its errors in plain words."""

from __future__ import annotations

import ipaddress
import re
import sqlite3
import time
import urllib.parse
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event, func, inspect, select, update
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from convbench.errors import DatabaseError, RequestError, RunNotFoundError, StoreError
from convbench.store import schema
from convbench.units import line

DEFAULT = "reports/convbench.db"

#: How long a process waits for another one's transaction; the longest writes the cases of a run of 100,000, seconds.
BUSY_TIMEOUT_S = 30.0
#: Between two tries where SQLite itself does not wait, seconds.
BUSY_PAUSE_S = 0.02
PAGE_BYTES = 16384

#: How long a server may take to let us in, seconds, and to say that it received what was sent, ms: beyond that it is
#: away. libpq would wait for minutes, and a run wants to go on.
CONNECT_TIMEOUT_S = 10
ACKNOWLEDGE_TIMEOUT_MS = 15_000

#: The execution option of a connection that only reads: in SQLite its transaction then takes no write lock.
READS = "convbench_reads"
#: Held by the transaction that makes or upgrades the tables on a PostgreSQL server: one at a time. Any number that no
#: other program is likely to use does; these are the letters "convb".
_MAKING = int.from_bytes(b"convb", "big")

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

#: What several of them mean.
_NO_ROOM = "it has no room for one more connection", "try again, or have its owner allow more (max_connections)"
_GOING = "the server is going down or starting", "try again when it is up"
_NO_SSL = "the server and this machine do not agree on SSL", "look at sslmode in the URL"
_NO_HOST = "its host is not known", "look at the host in the URL"
_NO_ANSWER = "the server does not answer", "is it running, and are host and port in the URL right?"

#: The same for PostgreSQL, by the beginning of the error's SQLSTATE
#: (https://www.postgresql.org/docs/current/errcodes-appendix.html).
_STATES: tuple[tuple[str, str, str], ...] = (
    (
        "42501",
        "there is no permission",
        "have the server's owner grant this user CREATE on the schema, and the tables of convbench there",
    ),
    ("25006", "it is read-only", _ELSEWHERE),
    ("53100", "the server's disk is full", f"free some space there, or {_ELSEWHERE}"),
    ("53300", *_NO_ROOM),
    ("55P03", f"another process has kept it locked for {BUSY_TIMEOUT_S:.0f} s", f"end that one, or {_ELSEWHERE}"),
    ("57P", *_GOING),
    ("08", *_NO_ANSWER),
)
#: The same by words, the first that are there: an error of connecting has no SQLSTATE. `FATAL` is a server's word.
_WORDS: tuple[tuple[str, str, str], ...] = (
    ("too many clients", *_NO_ROOM),
    ("too many connections", *_NO_ROOM),
    ("connection slots", *_NO_ROOM),
    ("the database system is", *_GOING),
    ("not yet accepting connections", *_GOING),
    ("password", "it refuses user or password", "look at both in the URL, at PGPASSWORD and at ~/.pgpass"),
    ("pg_hba.conf", "it refuses this host or user", "have the server's owner allow it in pg_hba.conf"),
    ("does not exist", "it does not have that", "look at user and database in the URL; `createdb` makes a database"),
    ("permission denied", "it refuses this user", "have the server's owner grant CONNECT on the database"),
    ("FATAL", "the server refuses the connection", "look at user, database and options in the URL"),
    ("support SSL", *_NO_SSL),
    ("certificate", *_NO_SSL),
    ("connection option", "the URL has an option that there is not", "look at what stands after ? in the URL"),
    ("resolve host", *_NO_HOST),
    ("translate host name", *_NO_HOST),
    ("connection", *_NO_ANSWER),
)
#: Names in an error's text, which may be any words.
_QUOTED = re.compile(r'"[^"]*"')
#: What stands in a message for a part of the URL that is or may be a password.
_UNTOLD = "***"
#: Shorter ones are looked for as whole words: their letters stand in any sentence, characters.
_LEAST_TELLING = 4
#: What may be meant as a URL, and is read as a path where `//` is missing.
_LIKE_A_URL = re.compile(r"(?:postgres|mysql|mariadb|oracle|mssql)\w*(?:\+\w+)?:", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A database: an SQLite file, or whatever an SQLAlchemy URL names. As text it never holds a password.

    Nor does it where the password stands in a wrong place: `postgresql://s3cret/x`, `postgresql://joe:s@cret@host/x`.
    A host is told where the URL has a password beside it, or where it is no password for sure.
    """

    url: URL
    path: Path | None

    @classmethod
    def of(cls, url_or_path: str) -> Place:
        """The place a user named; StoreError where it is none."""
        if "://" not in url_or_path:
            if not url_or_path or "\0" in url_or_path:
                raise StoreError("the database has no name", hint=_ELSEWHERE)
            if _LIKE_A_URL.match(url_or_path):
                raise _not_understood()
            return cls(url=URL.create("sqlite"), path=Path(url_or_path))
        try:
            url = make_url(url_or_path)
        except (ArgumentError, ValueError):  # its text may hold a password: not repeated
            raise _not_understood() from None
        if url.get_backend_name() != "sqlite":
            # SQLAlchemy 2.0 would take psycopg2 for a URL that names no driver.
            return cls(
                url=url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url, path=None
            )
        if not url.database or url.database.startswith((":memory:", "file:")) or url.query:
            raise StoreError(
                "an SQLite database must be a plain file without options",
                hint=f"like {DEFAULT} or sqlite:///{DEFAULT}",
            )
        return cls(url=URL.create("sqlite"), path=Path(url.database))

    def __str__(self) -> str:
        """The path, or the URL's kind of database, host, port and database."""
        if self.path is not None:
            return line(str(self.path))
        where = _UNTOLD
        if self._tells_host:
            where = (self.url.host or ",".join(self._hosts)) + (f":{self.url.port}" if self.url.port else "")
        database = self.url.database or ""
        return line(f"{self.url.get_backend_name()}://{where}/{_UNTOLD if '@' in database else database}")

    @property
    def _hosts(self) -> list[str]:
        return [host for host in (self.url.host, *_values(self.url, "host")) if host]

    @property
    def _tells_host(self) -> bool:
        """Whether none of the hosts may be a password in a wrong place."""
        has_password = bool(self.url.password or _values(self.url, "password"))
        return all("@" not in host and (has_password or _is_no_password(host)) for host in self._hosts)

    @contextmanager
    def explaining(self) -> Iterator[None]:
        """Database errors become StoreErrors that say what is wrong with this place and what to do."""
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise self._explained(error) from error

    @contextmanager
    def decoding(self, run_id: object) -> Iterator[None]:
        """What is stored of a run and cannot be understood becomes a StoreError that names the run."""
        try:
            yield
        except (StoreError, RunNotFoundError):
            raise
        except (ValueError, KeyError, RequestError) as error:
            raise StoreError(
                f"run {shown(run_id)} in {self} holds what this convbench cannot read: {error}",
                hint="a newer convbench may have written it",
            ) from error

    def _explained(self, error: Exception) -> StoreError:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        said = str(cause).strip().splitlines() or [type(cause).__name__]
        words, reason, hint = _meaning(cause, said, on_server=self.path is None)
        words = self._without_secrets(words)
        told = words if reason is None else f"{reason} ({words})"
        return DatabaseError(f"cannot use the database {self}: {told}", hint=hint)

    def _without_secrets(self, text: str) -> str:
        """The text without what the URL says in confidence, as it is and as a URL writes it."""
        url = self.url
        secrets = {str(url.password or "")}
        secrets |= {value for name in url.query if name != "host" for value in _values(url, name)}
        if not self._tells_host:
            secrets |= {*self._hosts, str(url.port or ""), url.username or ""}
            secrets |= {part for host in self._hosts for part in host.split("@")[:-1]}
        if "@" in (url.database or ""):
            secrets |= {str(url.database), *str(url.database).split("@")[:-1]}
        for secret in sorted(secrets - {""}, key=len, reverse=True):
            if len(secret) < _LEAST_TELLING:
                text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", _UNTOLD, text)
                continue
            text = text.replace(secret, _UNTOLD).replace(urllib.parse.quote(secret, safe=""), _UNTOLD)
        return text


def _meaning(cause: Exception, said: list[str], *, on_server: bool) -> tuple[str, str | None, str | None]:
    """Which line of an error tells it, what it means and what to do; both None where nobody knows.

    There are several lines where a server has several addresses.
    """
    state = getattr(cause, "sqlstate", None) if on_server else None
    code, codes = (state, _STATES) if state else (getattr(cause, "sqlite_errorname", ""), _REASONS)
    for beginning, reason, hint in codes:
        if code.startswith(beginning):
            return said[0], reason, hint
    for words, reason, hint in _WORDS if on_server and not state else ():
        for told in said:
            if words in _QUOTED.sub("", told):
                return told, reason, hint
    return said[0], None, None


def _values(url: URL, name: str) -> tuple[str, ...]:
    """The values of an option of the URL, which may be given more than once."""
    found = url.query.get(name, ())
    return (found,) if isinstance(found, str) else found


def _is_no_password(host: str) -> bool:
    """Whether this can only be a host: this machine, an address, the folder of a socket."""
    if host == "localhost" or host.startswith("/"):
        return True
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def _not_understood() -> StoreError:
    """What is said of a URL that is none; its text may hold a password, and is not repeated."""
    return StoreError("the database's URL is not understood", hint="it reads dialect://user:password@host/database")


def shown(value: object) -> str:
    """A value of a column as a message shows it: SQLite keeps anything anywhere."""
    text = str(value)
    return text if text.isprintable() and len(text) <= 150 else f"{text[:60]!r}..."


def create(place: Place) -> Engine:
    """Open the database to write, making it where there is none and upgrading it where its schema is an older one."""
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
    """Open a database to write that must exist."""
    engine, _ = open_to_read(place)
    engine.dispose()
    return create(place)


def open_to_read(place: Place) -> tuple[Engine, int]:
    """Open the database to read, and the version of its schema; it must exist. Works where nothing can be written."""
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
            return engine, schema_version(engine, place)
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
        return engine, schema_version(engine, place)


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
    settings = _LIBPQ if place.url.drivername in ("postgresql+psycopg", "postgresql+psycopg2") else {}
    try:
        # A server that was away meanwhile is asked again, instead of a connection that has died.
        engine = create_engine(
            place.url,
            pool_pre_ping=True,
            connect_args={name: value for name, value in settings.items() if name not in place.url.query},
        )
    except NoSuchModuleError:
        raise StoreError(
            f"SQLAlchemy knows no databases called {place.url.drivername!r}", hint="sqlite and postgresql are known"
        ) from None
    except ArgumentError:  # of options; its text may hold a password
        raise _not_understood() from None
    except ImportError as error:  # also where psycopg is there and its C library is not
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
    from convbench.store.psycopg_connection import PatientConnection  # needs psycopg, which is there by now

    @event.listens_for(engine, "do_connect")
    def connect(dialect: object, record: object, arguments: list[Any], settings: dict[str, Any]) -> PatientConnection:
        return PatientConnection.opened(*arguments, **settings)


#: What libpq is told unless the URL says otherwise.
_LIBPQ: dict[str, str | int] = {
    "application_name": "convbench",
    "connect_timeout": CONNECT_TIMEOUT_S,
    "tcp_user_timeout": ACKNOWLEDGE_TIMEOUT_MS,
    "options": f"-c lock_timeout={BUSY_TIMEOUT_S * 1000:.0f}",
}


def reading(engine: Engine) -> dict[str, object]:
    """The execution options of a connection that only reads and sees the database as it was at its first look."""
    if engine.dialect.name == "postgresql":
        return {READS: True, "isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    return {READS: True}


def _sqlite(path: Path, parameters: str) -> Engine:
    uri = f"{path.absolute().as_uri()}?{parameters}"

    def connect() -> sqlite3.Connection:
        # Transactions are begun below, not by the sqlite3 module, which would begin them too late.
        connection = sqlite3.connect(
            uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            # Of a file that does not exist yet. A row without rowid that takes more than a quarter of a page is torn
            # apart; at five processes of five rounds one that folding.py made has 1.6 kB of blocks, at SQLite's 4 KiB.
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
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


def schema_version(engine: Engine, place: Place) -> int | None:
    """The schema version, None where there are no tables of convbench; StoreError where it is none that we know."""
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
            hint=f"{hint}; or {_ELSEWHERE}",
        )
    return found


def _refuse_foreign(engine: Engine, place: Place) -> None:
    """An SQLite file with tables but none of convbench is another program's. A server's database may be shared, but not
    with a program whose tables have the names of ours.
    """
    with engine.connect().execution_options(**{READS: True}) as connection:
        tables = inspect(connection).get_table_names()
    if schema.schema.name in tables:  # another process has made them just now
        return
    others = tables if place.path is not None else [name for name in tables if name in schema.metadata.tables]
    if others:
        raise StoreError(f"the database {place} belongs to another program (table {others[0]!r})", hint=_ELSEWHERE)


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
    with _making(engine) as transaction:
        if inspect(transaction).has_table(schema.schema.name):
            return  # another process was faster
        schema.metadata.create_all(transaction)
        transaction.execute(schema.schema.insert().values(version=schema.VERSION, identity=uuid.uuid4().hex))


def _upgrade(engine: Engine) -> None:
    """Take the tables to the present version; all of it or nothing."""
    from convbench.store import migrations  # Alembic takes a third of a second to import

    with _making(engine) as transaction:
        found = transaction.execute(select(schema.schema.c.version)).scalar_one()
        if found < schema.VERSION:  # else another process was faster
            migrations.upgrade(transaction, found)
            transaction.execute(update(schema.schema).values(version=schema.VERSION))


@contextmanager
def _making(engine: Engine) -> Iterator[Connection]:
    """A transaction that makes or changes tables; one at a time."""
    with engine.begin() as transaction:
        if transaction.dialect.name == "postgresql":  # in SQLite every transaction that writes is alone
            transaction.execute(select(func.pg_advisory_xact_lock(_MAKING)))
        yield transaction
