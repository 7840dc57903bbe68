"""Runs the jobs of this host: claims them, measures one at a time per device, and has the page of each made.

The runner is the only one that claims jobs for this host and database while it lives. What a killed service left
running is ended and queued again when a service comes back; `convbench run` then goes on with the unfinished run.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from convbench.actions import job_folder, schedules
from convbench.actions.job_folder import JobFolder
from convbench.actions.jobs import Checked, now
from convbench.errors import JobNotFoundError, LaterError, RequestError, RunNotFoundError, StoreError
from convbench.model.job import EventKind, Job, JobKind, JobState
from convbench.model.schedule import JobVerdict
from convbench.store import listing, send_waiting
from convbench.store.jobs import Jobs
from convbench.store.store import Store
from convbench.store.writer import Writer
from convbench.web.bisecting import Bisecting
from convbench.web.conducting import Conducting
from convbench.web.feed import Feed
from convbench.web.logs import logger
from convbench.web.measuring import Child, Ended, Measuring, end_orphan
from convbench.web.pages import Pages
from convbench.web.settings import Settings

#: Seconds between two looks for jobs that another process submitted; the service's own ones are seen at once.
LOOK_S = 10.0
#: Seconds before a database that is away is tried again.
AWAY_S = 5.0
#: Seconds before a failed job is tried again, times the number of its failures.
AGAIN_S = 5.0
#: A service without checkouts and without a cluster.
_PLAIN = Settings()
#: Seconds before a job goes on whose hosts were lost, and what is said of it meanwhile.
LOST_S = 60.0
LOST = "hosts or their cluster were lost; it goes on with them in a minute"
#: No pause of a job is longer, seconds: one that waits longer has its time from a clock that was wrong.
AHEAD_S = 3600.0
#: How often the sweep of a schedule that is due is checked, where the check takes too long on a busy machine.
MOST_CHECKS = 10


class Runner:
    """Runs the jobs of this host in threads of its own, until `stop`."""

    def __init__(
        self,
        store: Store,
        feed: Feed,
        pages: Pages,
        *,
        db: str | None,
        settings: Settings = _PLAIN,
        schedule_check: Callable[[str], Checked] | None = None,
    ) -> None:
        """`settings` name the checkouts and the cluster that jobs may use.

        `schedule_check` says what the sweep of a schedule would measure; without it no schedule is due here.
        """
        self._store, self._jobs, self._feed, self._pages, self._db = store, Jobs(store), feed, pages, db
        self._settings = settings
        self._schedule_check = schedule_check
        self._late: Counter[str] = Counter()
        self.owner = Writer.of_this_process()
        self._wake = threading.Event()
        self._stopping = False
        self._lock = threading.Lock()
        #: The threads of what is measured. The next try of a job may begin before the thread of this one has ended.
        self._running: dict[Child, threading.Thread] = {}
        self._thread = threading.Thread(target=self._loop, name="runner", daemon=True)

    def start(self) -> None:
        """Begin to run jobs. Threads inherit their priority: call it before that of the service is lowered."""
        self._thread.start()

    def wake(self) -> None:
        """Look for jobs now: one was submitted or cancelled."""
        self._wake.set()

    def stop(self) -> None:
        """Interrupt what is measured, and return when it is stored. The jobs go on when a service comes back."""
        self._stopping = True
        self._wake.set()
        self._interrupt()
        self._thread.join()  # it may have begun a job meanwhile
        for thread in self._interrupt():
            thread.join()

    def _interrupt(self) -> list[threading.Thread]:
        with self._lock:
            running = dict(self._running)
        for measuring in running:
            measuring.interrupt()
        return list(running.values())

    @property
    def is_alive(self) -> bool:
        """Whether it runs jobs."""
        return self._thread.is_alive()

    def _loop(self) -> None:
        begun = False
        while not self._stopping:
            pause_s = LOOK_S
            try:
                self._recover()
                if not begun:
                    for job_id, folder in job_folder.left():
                        self._remove(job_id, folder)
                    begun = True
                    listing.refresh(self._store)  # the first list then waits for nothing
                self._queue_due()
                while not self._stopping and (job := self._claimed()):
                    self._begin(job)
                self._make_pages()
                self._pages.rest()
            except StoreError as error:
                logger.warning("the database cannot be used; it is tried again", extra={"facts": _facts(error)})
                pause_s = AWAY_S
            except Exception:
                logger.exception("a fault of the runner")
                pause_s = AWAY_S
            self._wake.wait(pause_s)
            self._wake.clear()

    def _recover(self) -> None:
        """Queue again what services of this host left running when they were killed, also while this one ran."""
        for owned in self._jobs.running():
            if owned.owner is None or not owned.owner.is_gone():
                continue  # a service that lives, or one of another host, of which nothing is known
            if owned.child is not None:
                end_orphan(owned.child)
            if self._jobs.requeue(owned, now()):
                logger.info("a job of a service that had ended is queued again", extra={"facts": {"job": owned.job.id}})
                self._feed.notify(owned.job.id)

    def _remove(self, job_id: str, folder: JobFolder) -> None:
        """Remove the folder of a job that is measured or has ended; one of another database stays."""
        with suppress(JobNotFoundError):
            if self._jobs.get(job_id).state not in (JobState.QUEUED, JobState.RUNNING):
                folder.remove()

    def _claimed(self) -> Job | None:
        job = self._jobs.claim(self.owner, now(), ahead=_in(AHEAD_S))
        if job is not None:
            self._feed.notify(job.id)
        return job

    def _begin(self, job: Job) -> None:
        measuring = self._child(job)
        thread = threading.Thread(target=self._measure, args=(job, measuring), name=job.id, daemon=True)
        with self._lock:
            self._running[measuring] = thread
        logger.info("a job begins", extra={"facts": {"job": job.id, "sweep": job.name}})
        thread.start()

    def _child(self, job: Job) -> Child:
        """What does a job of this kind."""
        settings, notify = self._settings, self._feed.notify
        match job.kind:
            case JobKind.SWEEP:
                return Measuring(self._store, job, self.owner, db=self._db, notify=notify)
            case JobKind.CAMPAIGN:
                return Conducting(
                    self._store,
                    job,
                    self.owner,
                    db=self._db,
                    notify=notify,
                    address=settings.ray,
                    insecure=settings.insecure_ray,
                )
            case JobKind.BISECTION:
                return Bisecting(self._store, job, self.owner, db=self._db, notify=notify, settings=settings)

    def _measure(self, job: Job, measuring: Child) -> None:
        try:
            if self._stopping:
                measuring.interrupt()
            ended: Ended | None = None
            try:
                ended = measuring.measure()
                code, why_not = ended.code, ended.why_not
            except RequestError as error:
                code, why_not = None, error.message
            self._until_stored(measuring.store_events)  # its log says why it failed
            self._until_stored(lambda: self._end(job, code, why_not, ended))
            self._until_stored(lambda: self._remove(job.id, measuring.folder))
            logger.info("a job ended", extra={"facts": {"job": job.id, "code": code, "reason": why_not}})
        except Exception:
            logger.exception("a fault while a job was measured")
            self._until_stored(lambda: self._fail(job, "a fault of the service; its log says more", None))
        finally:
            with self._lock:
                del self._running[measuring]
            self._feed.notify(job.id)
            self._wake.set()

    def _end(self, job: Job, code: int | None, why_not: str | None, ended: Ended | None) -> None:
        if why_not is None and job.kind is not JobKind.SWEEP:  # what it found needs no page of a run
            self._jobs.end(job.id, self.owner, JobState.REPORTED, now(), code=code)
        elif why_not is None and ended is not None:
            if ended.run_id is not None:
                self._jobs.note_begun(job, ended.run_id)
            verdict = self._verdict(job, ended)
            self._jobs.end(job.id, self.owner, JobState.MEASURED, now(), code=code, verdict=verdict)
        elif self._jobs.get(job.id).cancelling:
            self._jobs.end(job.id, self.owner, JobState.CANCELLED, now(), code=code)
        elif self._stopping:  # a service that stops is no failure of the job
            self._jobs.end(job.id, self.owner, JobState.QUEUED, now())
        elif ended is not None and ended.is_lost:
            again_at = _in(LOST_S)
            self._jobs.end(job.id, self.owner, JobState.QUEUED, now(), reason=LOST, code=code, not_before=again_at)
        else:
            self._fail(job, why_not or "it was not measured", code)

    def _verdict(self, job: Job, ended: Ended) -> JobVerdict | None:
        """What the run became of its baseline; None where the job has none, and where the run is not stored yet."""
        found = ended.judged
        if ended.run_id is None:
            return None
        try:
            return schedules.verdict_of(
                self._store,
                job,
                ended.run_id,
                base_id=found.base_id if found else None,
                verdict=found.verdict if found else None,
                text=found.text if found else ended.refused or "it was compared with nothing",
                changes=found.changes if found else (),
                at=now(),
            )
        except RunNotFoundError:  # its results wait on this disk
            return None

    def _queue_due(self) -> None:
        """Queue the jobs of the schedules that are due, for whichever host they are."""
        if self._schedule_check is None:
            return
        for job in schedules.queue_due(self._store, datetime.now(UTC), self._checked):
            logger.info("a schedule is due", extra={"facts": {"job": job.id, "schedule": job.schedule_id}})
            self._feed.notify(job.id)

    def _checked(self, text: str) -> Checked:
        """What the sweep of a schedule would measure. A LaterError counts as the sweep's own after MOST_CHECKS."""
        assert self._schedule_check is not None
        try:
            found = self._schedule_check(text)
        except LaterError as error:
            self._late[text] += 1
            if self._late[text] < MOST_CHECKS:
                logger.warning("the sweep of a schedule cannot be checked yet", extra={"facts": _facts(error)})
                raise
            del self._late[text]
            raise RequestError(error.message, hint=error.hint) from error
        self._late.pop(text, None)
        return found

    def _fail(self, job: Job, reason: str, code: int | None) -> None:
        self._jobs.fail(job.id, self.owner, now(), reason, again_at=_in(AGAIN_S * (job.tries + 1)), code=code)

    def _until_stored(self, write: Callable[[], object]) -> None:
        """Store how a job ended, however long the database is away; not while the service stops."""
        while True:
            try:
                write()
                return
            except StoreError as error:
                logger.warning("how a job ended cannot be stored yet", extra={"facts": _facts(error)})
                if self._stopping:
                    return
                self._wake.wait(AWAY_S)

    def _make_pages(self) -> None:
        """Make the pages of the jobs that are measured, while nothing is measured on this host.

        A server's database may lack a run whose results wait on this disk; they are sent first.
        """
        with self._lock:
            if self._running:
                return
        jobs = self._jobs.without_page()
        if jobs:
            send_waiting(self._db, message=logger.info)
        for job in jobs:
            if self._stopping:
                return
            assert job.run_id is not None
            try:
                self._pages.report(job.run_id)
            except RequestError as error:
                with suppress(StoreError):
                    self._jobs.note(job.id, now(), [(EventKind.LOG, {"line": error.message})])
                again = self._jobs.page_failed(job.id, now(), error.message)
                logger.warning("a page could not be made", extra={"facts": {"job": job.id, **_facts(error)}})
                if again:
                    self._wake.wait(AWAY_S)
                    self._wake.set()
            else:
                self._jobs.reported(job.id, now())
            self._feed.notify(job.id)


def _in(seconds: float) -> str:
    """The time in some seconds, as it is stored."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="microseconds")


def _facts(error: RequestError) -> dict[str, object]:
    return {"error": error.message, "hint": error.hint}
