"""Explains the errors of SQLite and PostgreSQL, and says what to do about them."""

from __future__ import annotations

import re

#: How long a process waits for another one's transaction, seconds. The longest writes the cases of a run of 100,000.
BUSY_TIMEOUT_S = 30.0

ELSEWHERE = "name another place with --db or CONVBENCH_DB"

#: Meaning and hint for SQLite's errors, by the beginning of the error's name (https://sqlite.org/rescode.html).
_REASONS: tuple[tuple[str, str, str], ...] = (
    ("SQLITE_FULL", "the disk is full", f"free some space there, or {ELSEWHERE}"),
    ("SQLITE_READONLY", "it is read-only", f"make the file and its folder writable, or {ELSEWHERE}"),
    ("SQLITE_CANTOPEN", "it cannot be opened", f"look at the permissions of the file and its folder, or {ELSEWHERE}"),
    ("SQLITE_PERM", "there is no permission", f"look at the permissions of the file and its folder, or {ELSEWHERE}"),
    ("SQLITE_NOTADB", "it is not an SQLite database", ELSEWHERE),
    ("SQLITE_CORRUPT", "it is damaged", f"`sqlite3 FILE .recover` may save what it holds; to go on, {ELSEWHERE}"),
    ("SQLITE_BUSY", f"another process has kept it locked for {BUSY_TIMEOUT_S:.0f} s", f"end that one, or {ELSEWHERE}"),
    ("SQLITE_PROTOCOL", "its file system does not lock files", f"{ELSEWHERE}, on a local disk"),
    ("SQLITE_IOERR", "the disk reports an error", f"look at free space, quota and health of the disk, or {ELSEWHERE}"),
)

#: Meanings and hints that several errors share.
_NO_ROOM = "it allows no more connections", "try again, or have its owner allow more (max_connections)"
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
    ("25006", "it is read-only", ELSEWHERE),
    ("53100", "the server's disk is full", f"free some space there, or {ELSEWHERE}"),
    ("53300", *_NO_ROOM),
    ("55P03", f"another process has kept it locked for {BUSY_TIMEOUT_S:.0f} s", f"end that one, or {ELSEWHERE}"),
    ("57P", *_GOING),
    ("08", *_NO_ANSWER),
)
#: The same by words of the message, first match; an error of connecting has no SQLSTATE. Servers write `FATAL`.
_WORDS: tuple[tuple[str, str, str], ...] = (
    ("too many clients", *_NO_ROOM),
    ("too many connections", *_NO_ROOM),
    ("connection slots", *_NO_ROOM),
    ("the database system is", *_GOING),
    ("not yet accepting connections", *_GOING),
    ("password", "it refuses user or password", "look at both in the URL, at PGPASSWORD and at ~/.pgpass"),
    ("pg_hba.conf", "it refuses this host or user", "have the server's owner allow it in pg_hba.conf"),
    (
        "does not exist",
        "the user or the database does not exist",
        "look at user and database in the URL; `createdb` makes a database",
    ),
    ("permission denied", "it refuses this user", "have the server's owner grant CONNECT on the database"),
    ("FATAL", "the server refuses the connection", "look at user, database and options in the URL"),
    ("support SSL", *_NO_SSL),
    ("certificate", *_NO_SSL),
    ("connection option", "the URL has an unknown option", "look at the options after ? in the URL"),
    ("resolve host", *_NO_HOST),
    ("translate host name", *_NO_HOST),
    ("connection", *_NO_ANSWER),
)
#: Names in an error's text, which may contain any words.
_QUOTED = re.compile(r'"[^"]*"')


def meaning(cause: Exception, said: list[str], *, on_server: bool) -> tuple[str, str | None, str | None]:
    """(the line of the error to show, its meaning, a hint); meaning and hint are None where the error is unknown.

    An error has several lines where a server has several addresses.
    """
    state = getattr(cause, "sqlstate", None) if on_server else None
    code, codes = (state, _STATES) if state else (getattr(cause, "sqlite_errorname", ""), _REASONS)
    for beginning, reason, hint in codes:
        if code.startswith(beginning):
            return said[0], reason, hint
    for words, reason, hint in _WORDS if on_server and not state else ():
        for text in said:
            if words in _QUOTED.sub("", text):
                return text, reason, hint
    return said[0], None, None
