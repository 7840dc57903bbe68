"""Keeps the results of a run when its database server becomes unreachable: they are first written to a local file.

The file is a database of convbench with this one run, `reports/waiting/<run id>.db`. It has the identity of the
server's database, which does not depend on its URL. The file is removed when the server has everything. If the server
stays unreachable or this process is killed, the file stays. The next command that opens the server's database sends it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeAlias

from convbench.errors import DatabaseError, RequestError, StoreError, TakenOverError
from convbench.model.case import Case
from convbench.model.result import Environment, Git, ProcessFacts, Rejection, Run, RunState, Visit
from convbench.store.files import fresh_file
from convbench.store.forwarding import Forwarded
from convbench.store.patience import answering_within
from convbench.store.place import DEFAULT, Place
from convbench.store.store import Store
from convbench.store.writer import Writer

#: Folders of runs that wait for their server, and of runs that will never be sent; below the current directory.
WAITING, KEPT = Path("reports/waiting"), Path("reports/kept")

#: Pause before an unreachable server is tried again, seconds. It doubles each time, up to the second number.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 60.0
#: How long a server may be silent between two blocks, and at the end of a run that was not interrupted, seconds.
TRY_S, LAST_TRY_S = 2.0, 10.0
#: The largest share of a run's time that failed tries may take.
TRIES_SHARE = 0.05

#: After this time an incomplete file belongs to a process that was killed, seconds. To make a file takes some seconds.
UNFINISHED_S = 3600.0


def record(url_or_path: str | None, *, message: Callable[[str], None]) -> Record:
    """Open a database to write a run, and make it where there is none. A server gets its data through a local file.

    `message` gets a line for the user when results begin to wait, when they were sent, and when they wait at the end.
    """
    store = Store.create(url_or_path)
    if store.is_file:
        return store
    try:
        _remove_unfinished()
        _send_all(store, message)
        return _Journaled(store, message)
    except BaseException:
        store.close()
        raise


def waiting_file(run_id: str) -> Path:
    """The file of a run for a server; it exists from the run's beginning until the server has everything."""
    return WAITING / f"{run_id}.db"


def send_waiting(url_or_path: str | None, *, message: Callable[[str], None]) -> None:
    """Send the runs that wait on this disk for a server's database. Where none waits, the database is not opened.

    An error of the database only gives a line, because the command that uses the database next will report it.
    """
    if Place.of(url_or_path or DEFAULT).path is not None or not _files():
        return
    try:
        with Store.change(url_or_path) as server:
            _send_all(server, message)
    except StoreError as error:
        message(f"what waits in {WAITING} was not sent: {error.message}")


def _files() -> list[Path]:
    return sorted(WAITING.glob("*.db"))


def _send_all(server: Store, message: Callable[[str], None]) -> None:
    """Send the runs that wait for this server, except those that a running process is still writing."""
    identity = server.identity()
    for path in _files():
        try:
            line = _send(path, server, identity)
        except RequestError as error:
            gone = not path.exists()  # another process has sent it meanwhile
            line = None if gone else f"run {path.stem} waits in {path} and was not sent: {error.message}"
        if line is not None:
            message(line)


def _send(path: Path, server: Store, identity: str | None) -> str | None:
    """Send the run in a file, if it is for this server and no process writes it; returns a line for the user."""
    run_id, elsewhere = path.stem, False
    with Store.open(str(path)) as journal:
        if journal.identity() != identity or journal.is_being_written(run_id):
            return None
        try:
            journal.send(run_id, to=server)
        except TakenOverError:
            elsewhere = True
    if elsewhere:
        return f"run {run_id} went on elsewhere; what waited of it is kept in {set_aside(path)}"
    _remove(path)
    return f"run {run_id}, which waited in {path}, was sent to {server.place}"


def set_aside(path: Path) -> Path:
    """Move a file to the folder of runs that are never sent; returns its new path."""
    kept = KEPT / path.name
    number = 1
    while kept.exists():
        number += 1
        kept = KEPT / f"{path.stem}-{number}.db"
    try:
        KEPT.mkdir(parents=True, exist_ok=True)
        path.rename(kept)
        with suppress(FileNotFoundError):
            _log(path).rename(_log(kept))
    except OSError as error:
        raise StoreError(f"cannot move {path} to {kept}: {error.strerror}") from error
    return kept


def _remove(path: Path) -> None:
    """Remove a database and the files of SQLite that a killed process left in its folder."""
    for file in (path, _log(path), path.with_name(f"{path.name}-shm")):
        with suppress(OSError):  # it is removed already, or permission is missing: then it is sent again, which is safe
            file.unlink()


def _log(path: Path) -> Path:
    """The file in which SQLite keeps the newest transactions of a database until it is closed."""
    return path.with_name(f"{path.name}-wal")


def _remove_unfinished() -> None:
    """Remove incomplete files of processes that were killed while they made a file."""
    for path in WAITING.glob("*.part"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > UNFINISHED_S:
                _remove(path)


class _Journaled:
    """A run that is written to a file on this disk, and from there to a server when it is reachable."""

    def __init__(self, server: Store, message: Callable[[str], None]) -> None:
        self._server = server
        self._message = message
        self._journal: Store | None = None
        self._behind = False  # the server may lack data that the file has
        self._waiting = False  # the same, and the user got a message about it
        self._pause_s = FIRST_PAUSE_S
        self._next_try = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if self._journal is not None:
            self._journal.close()
        self._server.close()

    @property
    def is_waiting(self) -> bool:
        """Whether results wait on this disk because the server does not answer."""
        return self._waiting

    def resumable(
        self, *, digest: str, version: str, environment: Environment, host: str, git: Git | None = None
    ) -> str | None:
        return self._server.resumable(digest=digest, version=version, environment=environment, host=host, git=git)

    def processes_with_references(self, environment: Environment, block_s: float) -> list[ProcessFacts]:
        return self._server.processes_with_references(environment, block_s)

    def begin(
        self, run: Run, cases: Sequence[Case], rejections: Sequence[Rejection], writer: Writer, *, digest: str
    ) -> None:
        self._begin_journal(
            run.id, writer, lambda journal: journal.begin(run, cases, rejections, writer, digest=digest)
        )
        try:
            self._server.begin(run, cases, rejections, writer, digest=digest)
        except BaseException:  # after Ctrl-C the server may have the run, which can then be resumed
            self._here.close()
            _remove(waiting_file(run.id))
            raise

    def take_over(self, run_id: str, writer: Writer) -> str:
        started_at = self._server.take_over(run_id, writer)
        self._begin_journal(run_id, writer, lambda journal: self._server.send(run_id, to=journal))
        return started_at

    def _begin_journal(self, run_id: str, writer: Writer, fill: Callable[[Store], None]) -> None:
        """Make and fill the file under another name, so that no other process sends it while it is incomplete."""
        path = waiting_file(run_id)
        if path.exists():  # its process may still be alive
            set_aside(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with fresh_file(path) as scratch:
                try:
                    with Store.create(str(scratch)) as journal:
                        journal.take_identity(self._server.identity())
                        fill(journal)
                    scratch.rename(path)
                finally:
                    _remove(scratch)
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror}") from error
        self._journal = Store.change(str(path))
        self._journal.claim(run_id, writer)

    def append(self, run_id: str, visits: Sequence[Visit]) -> None:
        self._here.append(run_id, visits)
        self._forward(run_id, lambda: self._server.append(run_id, visits), answer_s=TRY_S)

    def note_process(self, run_id: str, facts: ProcessFacts) -> None:
        self._here.note_process(run_id, facts)
        self._forward(run_id, lambda: self._server.note_process(run_id, facts), answer_s=TRY_S)

    def finish(self, run_id: str, state: RunState, finished_at: str) -> None:
        self._here.note_end(run_id, state, finished_at)
        interrupted = state is RunState.INTERRUPTED
        if not (interrupted and self._waiting):  # else the user has already waited once and wants to stop
            self._next_try = 0.0
        try:
            answer_s = TRY_S if interrupted else LAST_TRY_S
            self._forward(run_id, lambda: self._finish(run_id, state, finished_at), answer_s=answer_s)
        finally:
            self._here.close()
            path = waiting_file(run_id)
            if self._behind:
                self._message(
                    f"results still wait in {path}; `convbench runs` with this database sends them when it is back"
                )
            else:
                _remove(path)

    def _finish(self, run_id: str, state: RunState, finished_at: str) -> None:
        try:
            self._server.finish(run_id, state, finished_at)
        except TakenOverError:  # or another command has sent it meanwhile, including its end
            self._here.send(run_id, to=self._server)

    def visits(self, run_id: str) -> dict[str, list[Visit]]:
        return self._here.visits(run_id)

    @property
    def _here(self) -> Store:
        if self._journal is None:
            raise StoreError("no run was begun or taken over here")
        return self._journal

    def _forward(self, run_id: str, act: Callable[[], None], *, answer_s: float) -> None:
        """Send the newest data to the server, or all data of the run where it lacks some; or postpone that.

        A server that is silent for `answer_s` counts as unreachable. Ctrl-C postpones sending to the end of the run.
        """
        if self._behind:
            if time.monotonic() < self._next_try:
                return
            act = partial(self._here.send, run_id, to=self._server)
        self._behind = True  # until the server has it; Ctrl-C may interrupt this
        began = time.monotonic()
        try:
            with answering_within(answer_s):
                act()
        except KeyboardInterrupt:
            self._next_try = math.inf
            raise
        except DatabaseError as error:
            now = time.monotonic()
            self._next_try = now + max(self._pause_s, (now - began) / TRIES_SHARE)
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            if not self._waiting:
                self._waiting = True
                self._message(f"{error.message}; results wait in {waiting_file(run_id)} meanwhile")
            return
        self._behind = False
        self._pause_s = FIRST_PAUSE_S
        if self._waiting:
            self._waiting = False
            self._message(f"the database {self._server.place} is back: what waited was sent")


#: The database to which a runner writes a run.
Record: TypeAlias = Store | _Journaled | Forwarded


class OpenedRecord(Protocol):
    """What opens the database to which a runner writes, as `record` does."""

    def __call__(self, url_or_path: str | None, *, message: Callable[[str], None]) -> Record:
        """The database; `message` receives lines for the user."""
