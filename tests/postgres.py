"""A PostgreSQL server for tests: Debian's programs, run by a user of its own in a folder of its own, one a session.

`python -m tests.postgres` ends with 0 where a server starts, else says why not.
"""

from __future__ import annotations

import itertools
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
import pytest
from missing import give_up

REMEDY = "apt-get install postgresql"
#: Where Debian puts the programs, by major version; elsewhere they are looked for on the path.
DEBIAN = Path("/usr/lib/postgresql")
#: Of root's choice, the first that there is: the server refuses to run as root.
USERS = ("postgres", "nobody")
#: How long a server may take to come up or to go down, seconds.
PATIENCE_S = 60.0
SUPERUSER = "tester"
#: Nothing that a test checks depends on what survives a power cut.
SETTINGS = {
    "fsync": "off",
    "max_connections": "50",
    "shared_buffers": "16MB",
    "unix_socket_directories": "",
    "listen_addresses": "127.0.0.1",
    "log_min_messages": "fatal",
}


class NoServerError(Exception):
    """No server could be started; the message says why."""


def programs() -> Path:
    """The folder of the newest server's programs."""
    found = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda path: float(path.parent.parent.name))
    on_path = shutil.which("initdb")
    if found:
        return found[-1].parent
    if on_path:
        return Path(on_path).resolve().parent
    raise NoServerError("there are no programs of a PostgreSQL server")


def _account() -> dict[str, object]:
    """Options of subprocess that run a program as somebody who is not root."""
    if os.getuid() != 0:
        return {}
    for name in USERS:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise NoServerError(f"none of the users {', '.join(USERS)} exists, and the server does not run as root")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A server that can be stopped, killed and started again at the same place, with any number of databases."""

    def __init__(self, folder: Path) -> None:
        self.port = _free_port()
        self.password = secrets.token_hex(8)
        self._folder = folder
        self._account = _account()
        self._programs = programs()
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count()
        password_file = folder / "password"
        password_file.write_text(self.password)
        if self._account:
            for path in (folder, password_file):
                os.chown(path, int(str(self._account["user"])), int(str(self._account["group"])))
        made = subprocess.run(
            [
                self._programs / "initdb",
                *("--pgdata", folder / "data", "--username", SUPERUSER, "--pwfile", password_file),
                *("--auth", "scram-sha-256", "--no-sync", "--encoding", "UTF8", "--locale", "C.UTF-8"),
                *("--locale-provider", "icu", "--icu-locale", "en-US"),  # words in an order that is not their bytes'
            ],
            cwd=folder,
            capture_output=True,
            text=True,
            **self._account,
        )
        if made.returncode:
            raise NoServerError(f"initdb failed: {made.stderr.strip()}")

    def start(self) -> None:
        """Start it and wait until it lets clients in."""
        options = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._folder / "data", "-p", str(self.port), *options],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the tests, which then stop it
                **self._account,
            )
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=5).close()
                return
            except psycopg.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > end:
                    said = (self._folder / "log").read_text(errors="replace").strip().splitlines()[-3:]
                    raise NoServerError(f"the server did not start: {said or error}") from None
            time.sleep(0.05)

    def freeze(self) -> None:
        """Stop all of its processes: its connections stay, the kernel takes what is sent, and no answer comes."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on where it was frozen."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal to all of its processes, to the one that starts the others first."""
        if self._process is None:
            return
        first = psutil.Process(self._process.pid)
        first.send_signal(number)
        for process in first.children():
            with suppress(psutil.NoSuchProcess):  # it has just ended
                process.send_signal(number)

    def stop(self) -> None:
        """Cut all clients off and end at once (PostgreSQL's immediate shutdown), as in a crash."""
        if self._process is not None:
            self.thaw()
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(PATIENCE_S)
            self._process = None

    def url(self, database: str) -> str:
        """A database of this server as users name it."""
        return f"postgresql://{SUPERUSER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The URL of a database that is empty."""
        name = f"convbench_{next(self._numbers)}"
        self.execute("postgres", f"CREATE DATABASE {name}")
        return self.url(name)

    def execute(self, database: str, statement: str) -> list[tuple[object, ...]]:
        """What a statement of SQL gives, without convbench's help."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def started() -> Iterator[Server]:
    """A running server, whose folder is gone at the end. Raises NoServerError."""
    with tempfile.TemporaryDirectory(prefix="convbench-postgres-") as folder:
        server = Server(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session", name="postgres")
def running_server() -> Iterator[Server]:
    """A running PostgreSQL server. Without one the test is skipped, but fails where CI is set."""
    try:
        with started() as server:
            yield server
    except NoServerError as error:
        give_up(str(error), REMEDY)


if __name__ == "__main__":
    try:
        with started():
            pass
    except NoServerError as error:
        sys.exit(str(error))
