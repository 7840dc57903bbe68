"""Does one job by a subprocess of convbench: its log, how it is cancelled, how it ended; a run with its progress."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import IO

from convbench.actions.job_folder import JobFolder, Judged
from convbench.actions.jobs import now
from convbench.errors import ExitCode, RequestError, RunNotFoundError, StoreError
from convbench.model.job import EventKind, Job
from convbench.store.jobs import Jobs
from convbench.store.progress import arrived, progress_of
from convbench.store.store import Store
from convbench.store.writer import Writer, started
from convbench.units import LONGEST_TEXT, line
from convbench.web.priority import lower_this_thread

#: Seconds between two looks at what is stored of the run. A run stores its visits every two seconds.
LOOK_S = 2.0
#: Seconds between two looks at the output, and at whether somebody cancels the job.
TURN_S, CANCEL_S = 0.25, 1.0
#: Seconds that the subprocess has after SIGINT to store what it measured; after them it is killed.
PATIENCE_S = 30.0
#: Lines of the log, and cases that are shown as they arrive, per job. Progress goes on beyond them.
MOST_LINES, MOST_ARRIVED = 5000, 1000

#: The command that measures a sweep; its file follows.
COMMAND = (sys.executable, "-m", "convbench", "run")
#: The exit codes after which the run is stored with all that could be measured.
_MEASURED = (ExitCode.DONE, ExitCode.FAILED_OR_REGRESSED, ExitCode.NOT_MEASURED, ExitCode.TOO_NOISY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How the measuring of a job ended. `why_not` is None where it was measured, else the reason.

    `judged` is the verdict on its run; `refused` is why a schedule's run was compared with nothing. `is_lost` is
    whether hosts or their cluster were lost, which is no failure of the job.
    """

    code: int
    run_id: str | None
    why_not: str | None
    judged: Judged | None = None
    refused: str | None = None
    is_lost: bool = False


class Child(ABC):
    """The doing of one job. `measure` blocks until the subprocess has ended; `interrupt` may come from any thread.

    `notify` is called with the job's id after each event that is stored.
    """

    #: The verb, for messages.
    verb = "run"

    def __init__(self, store: Store, job: Job, owner: Writer, *, db: str | None, notify: Callable[[str], None]) -> None:
        self._store, self._jobs = store, Jobs(store)
        self._job, self._owner, self._db, self._notify = job, owner, db, notify
        self._begun = self._noted = job.run_id or job.campaign_id
        #: Files for the subprocess and from it. The runner removes the folder once the end of the job is stored.
        self.folder = JobFolder.of(job.id)
        self._interrupted = threading.Event()
        self._lines = 0
        self._unstored: list[tuple[EventKind, Mapping[str, object]]] = []
        self._asked_at = 0.0

    def interrupt(self) -> None:
        """Have the subprocess store what it measured, and end."""
        self._interrupted.set()

    @abstractmethod
    def measure(self) -> Ended:
        """Do the job; raises RequestError where that cannot begin."""

    def _run(self, command: Sequence[str], **variables: str) -> int:
        """Run the command, with these variables, until it ends or is interrupted; returns its exit code."""
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=_variables(self._db) | variables,
                start_new_session=True,  # Ctrl-C is for the service, which interrupts this process itself
            )
        except OSError as error:
            raise RequestError(f"cannot start `convbench {self.verb}`: {error.strerror}") from error
        lower_this_thread()  # what follows must not disturb what is measured, and the subprocess has started
        with child:
            try:
                return self._watch(child)
            except BaseException:
                kill(child.pid)
                raise

    def _watch(self, child: subprocess.Popen[bytes]) -> int:
        self._store_child(child.pid)
        assert child.stdout is not None
        lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        reader = threading.Thread(target=_read, args=(child.stdout, lines), daemon=True)
        reader.start()
        looked = asked = 0.0
        is_open = True
        while is_open:
            some, is_open = _taken(lines)
            self._log(some)
            self._note_begun()
            if self._interrupted.is_set() or self._is_cancelled():
                asked = self._press(child, asked)
            if time.monotonic() - looked >= LOOK_S:
                self._look()
                looked = time.monotonic()
        reader.join()
        code = child.wait()
        self._note_begun()
        self._look(again=True)
        return code

    def _store_child(self, pid: int) -> None:
        """Store which process measures, so that a service that comes after a crash of this one can end it."""
        child = Writer(host=self._owner.host, boot=self._owner.boot, pid=pid, started=started(pid) or 0.0)
        self._jobs.note_child(self._job.id, self._owner, child)

    def _press(self, child: subprocess.Popen[bytes], asked: float) -> float:
        """Interrupt the subprocess once, and kill it when it has not ended for long; returns when it was asked."""
        if not asked:
            child.send_signal(signal.SIGINT)
            return time.monotonic()
        if time.monotonic() - asked > PATIENCE_S:
            kill(child.pid)
        return asked

    def _is_cancelled(self) -> bool:
        if time.monotonic() - self._asked_at < CANCEL_S:
            return False
        self._asked_at = time.monotonic()
        with suppress(RequestError):  # the database may be away for a minute
            if self._jobs.get(self._job.id).cancelling:
                self._interrupted.set()
        return self._interrupted.is_set()

    # ---- what is said of it

    def _note_begun(self) -> None:
        """Store the id of the run or campaign that it began, if there is a new one."""
        with suppress(RequestError):  # the database may be away, and is written at the next turn
            begun = self.folder.begun()
            if begun is not None and begun != self._noted:
                self._begun = begun
                self._jobs.note_begun(self._job, begun)
                self._noted = begun

    @abstractmethod
    def _look(self, *, again: bool = False) -> None:
        """Note how far it is; nothing where the database is away. `again` is whether it has ended."""

    def _log(self, lines: list[str]) -> None:
        events: list[tuple[EventKind, Mapping[str, object]]] = []
        for text in lines:
            if self._lines < MOST_LINES:
                events.append((EventKind.LOG, {"line": line(text, most=LONGEST_TEXT)}))
            elif self._lines == MOST_LINES:
                events.append((EventKind.LOG, {"line": f"the log has {MOST_LINES} lines at most; more are left out"}))
            self._lines += 1
        self._note(events)

    def _note(self, events: list[tuple[EventKind, Mapping[str, object]]]) -> None:
        if events:
            self._unstored += events
            with suppress(RequestError):  # the database may be away, or its disk full: they wait for the next ones
                self.store_events()

    def store_events(self) -> None:
        """Store what could not be stored when it was said; raises StoreError where the database is still away."""
        if self._unstored:
            self._jobs.note(self._job.id, now(), self._unstored)
            self._unstored = []
            self._notify(self._job.id)

    def _why_not(self, code: int) -> str:
        """Why it was not measured."""
        if code == ExitCode.INTERRUPTED:
            return "it was interrupted"
        if code < 0:
            return f"`convbench {self.verb}` was ended by signal {-code}"
        return f"`convbench {self.verb}` ended with exit code {code}; the log says why"


class Measuring(Child):
    """The measuring of a sweep by `convbench run`."""

    def __init__(self, store: Store, job: Job, owner: Writer, *, db: str | None, notify: Callable[[str], None]) -> None:
        super().__init__(store, job, owner, db=db, notify=notify)
        self._arrived: set[int] = set()
        self._shown: tuple[int, int] | None = None

    def measure(self) -> Ended:
        """Measure the job; raises RequestError where the subprocess cannot start, or its baseline is not stored.

        A schedule's run is measured without a comparison where there is no baseline yet. So it is where both cannot be
        compared, which is known before anything is measured.
        """
        try:
            base_id = None if self._job.against is None else self._store.run_id(self._job.against)
        except RunNotFoundError:
            if self._job.schedule_id is None:
                raise
            return replace(self._measured(None), refused=f"there is no baseline {self._job.against}")
        ended = self._measured(base_id)
        if ended.code == ExitCode.NOT_COMPARABLE and self._job.schedule_id is not None:
            return replace(self._measured(None), refused=f"run {base_id} cannot be compared; the log says why")
        return ended

    def _measured(self, base_id: str | None) -> Ended:
        base = () if base_id is None else ("--against", base_id)
        path = self.folder.write_sweep(self._job.sweep)
        if self._begun is not None and self.folder.begun() is None:
            self.folder.write_begun(self._begun)  # a run that is finished is not measured again
        code = self._run((*COMMAND, str(path), "--no-page", "--job", str(self.folder.path), *base))
        if code not in _MEASURED:
            return Ended(code=code, run_id=self._begun, why_not=self._why_not(code))
        if self._begun is None:
            return Ended(code=code, run_id=None, why_not="`convbench run` named no run")
        return Ended(code=code, run_id=self._begun, why_not=None, judged=self.folder.judged() if base else None)

    def _look(self, *, again: bool = False) -> None:
        """Note how far the run is and which cases have arrived; nothing where the database is away.

        With `again` the cases that arrived before are noted once more, with the fastest sample of all processes.
        """
        if self._begun is None:
            return
        with suppress(StoreError):
            progress = progress_of(self._store, self._begun)
            if progress is None or (not again and (progress.seen, progress.visits) == self._shown):
                return
            self._shown = (progress.seen, progress.visits)
            known: set[int] = set() if again else self._arrived
            new = arrived(self._store, self._begun, known, most=MOST_ARRIVED - len(known))
            self._arrived.update(case.position for case in new)
            events: list[tuple[EventKind, Mapping[str, object]]] = [
                (
                    EventKind.CASE,
                    {
                        "id": case.case_id,
                        "label": case.label,
                        "status": case.status.value,
                        "fastest_s": case.fastest_s,
                    },
                )
                for case in new
            ]
            done = {"cases": progress.cases, "seen": progress.seen}
            done |= {"visits": progress.visits, "planned": progress.planned}
            self._note([*events, (EventKind.PROGRESS, done)])


def _variables(db: str | None) -> dict[str, str]:
    """The variables of the subprocess. The database goes there, because others can read a command line."""
    given = {} if db is None else {"CONVBENCH_DB": db}
    return {**os.environ, **given, "NO_COLOR": "1", "COLUMNS": "160", "CONVBENCH_PARENT": str(os.getpid())}


def _read(output: IO[bytes], lines: queue.SimpleQueue[str | None]) -> None:
    for text in iter(lambda: output.readline(1 << 16), b""):
        lines.put(text.decode("utf-8", "replace").rstrip("\r\n"))
    lines.put(None)


def _taken(lines: queue.SimpleQueue[str | None]) -> tuple[list[str], bool]:
    """The lines that came within a turn, and whether more may come."""
    found = list(_waiting(lines))
    return [text for text in found if text is not None], None not in found


def _waiting(lines: queue.SimpleQueue[str | None]) -> Iterator[str | None]:
    with suppress(queue.Empty):
        yield lines.get(timeout=TURN_S)
        while True:
            yield lines.get_nowait()


def kill(pid: int) -> None:
    """Kill a process that `measure` started, with all that it started in its session."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def end_orphan(child: Writer) -> None:
    """End the process that measured for a service that was killed: it stores what it has, or is killed."""
    if child.is_gone():
        return
    with suppress(ProcessLookupError, PermissionError):
        os.kill(child.pid, signal.SIGINT)
    end = time.monotonic() + PATIENCE_S
    while not child.is_gone():
        if time.monotonic() > end:
            kill(child.pid)
            return
        time.sleep(0.1)
