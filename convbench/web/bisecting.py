"""Does a job that finds a commit, by a subprocess of `convbench bisect`: what it has decided is kept with the job."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress

from convbench.actions.bisecting import read_decided
from convbench.actions.jobs import task_of
from convbench.errors import ExitCode, RequestError, StoreError
from convbench.model.job import BisectionTask, EventKind, Job
from convbench.store.files import write_bytes
from convbench.store.store import Store
from convbench.store.writer import Writer
from convbench.web.measuring import Child, Ended
from convbench.web.settings import Settings

#: The command that finds a commit; both commits and the file of the sweep follow.
COMMAND = (sys.executable, "-m", "convbench", "bisect")
#: The exit codes after which there is an answer.
_ANSWERED = (ExitCode.DONE, ExitCode.TOO_NOISY)


class Bisecting(Child):
    """The finding of a commit in one of the service's checkouts. What builds one is in the settings, never in a job."""

    verb = "bisect"

    def __init__(
        self,
        store: Store,
        job: Job,
        owner: Writer,
        *,
        db: str | None,
        notify: Callable[[str], None],
        settings: Settings,
    ) -> None:
        super().__init__(store, job, owner, db=db, notify=notify)
        self._settings = settings
        self._answer = job.answer

    def measure(self) -> Ended:
        """Find the commit; comparisons that were decided before are not measured again.

        Raises RequestError where the service has no such checkout, or the subprocess cannot start.
        """
        task = task_of(self._job)
        assert isinstance(task, BisectionTask)
        checkout = dict(self._settings.checkouts).get(task.checkout)
        if checkout is None:
            raise RequestError(f"this service has no checkout {task.checkout!r}", hint="name it with --checkout")
        config, steps = self.folder.write_sweep(self._job.sweep), self.folder.steps
        if not steps.exists():  # what a service that was killed has not stored yet is in the file
            write_bytes(steps, (self._answer or "").encode())
        cases = [word for case_id in task.case_ids for word in ("--case", case_id)]
        options = ("--checkout", str(checkout), "--steps", str(steps), *self._building(task.checkout), *cases)
        code = self._run((*COMMAND, task.good, task.bad, str(config), *options))
        return Ended(code=code, run_id=None, why_not=None if code in _ANSWERED else self._why_not(code))

    def _building(self, name: str) -> Iterator[str]:
        """The options that have each commit of a checkout built."""
        for option, given in (("--build", self._settings.builds), ("--python", self._settings.pythons)):
            if name in dict(given):
                yield f"{option}={dict(given)[name]}"  # in one word: a value may begin with a dash

    def _look(self, *, again: bool = False) -> None:
        """Store what is decided, once it is more than before."""
        with suppress(StoreError, OSError):  # the database may be away, and is written at the next look
            text = self.folder.steps.read_text(encoding="utf-8")
            if not text or text == self._answer:
                return
            decided = read_decided(text)
            self._jobs.note_answer(self._job.id, text)
            self._answer = text
            done = len(decided.steps)
            most = max(done, math.ceil(math.log2(decided.commits + 1)) + 2)
            is_over = decided.answer is not None
            said = f"{done} comparison{'' if done == 1 else 's'}" + ("" if is_over else f" of about {most}")
            self._note([(EventKind.PROGRESS, {"share": 1.0 if is_over else done / most, "text": said})])
