"""The runner of jobs: what it does when measuring ends well, badly, or not at all. The command is a script here."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import service

from convbench.actions import job_folder, schedules
from convbench.actions.job_folder import JobFolder
from convbench.actions.jobs import Checked, submit
from convbench.engine.device_locks import held
from convbench.errors import DatabaseError, RequestError
from convbench.model.job import MOST_TRIES, EventKind, Job, JobState
from convbench.model.result import RunState
from convbench.store import Store, Writer, verdicts
from convbench.store.jobs import Jobs
from convbench.store.schedules import Schedules
from convbench.web import measuring, runner
from convbench.web.feed import Feed
from convbench.web.helper import TooLongError
from convbench.web.pages import Pages
from convbench.web.runner import Runner

RUN = service.run_of(1)
ME = Writer.of_this_process()
FOUND = Checked(name="quick", cases=1, rejections=0, devices=("cpu",), labels=())
#: What a script says when its run begins, and how it waits for Ctrl-C as `convbench run` does.
BEGUN = f"""
folder = sys.argv[sys.argv.index('--job') + 1]
open(folder + '/begun', 'w').write('{RUN.id}')
print('run {RUN.id}: 12 cases', file=sys.stderr, flush=True)
"""
WAITS = "try:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    print('kept'); sys.exit(130)\n"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing waits for long."""
    monkeypatch.chdir(tmp_path)
    for module, name, value in (
        (runner, "AGAIN_S", 0.0),
        (runner, "AWAY_S", 0.1),
        (runner, "LOOK_S", 0.2),
        (measuring, "TURN_S", 0.02),
        (measuring, "CANCEL_S", 0.05),
        (measuring, "LOOK_S", 0.05),
    ):
        monkeypatch.setattr(module, name, value)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    service.filled(tmp_path / "runs.db", RUN)
    with Store.create(str(tmp_path / "runs.db")) as opened:
        yield opened


@contextmanager
def running(
    store: Store,
    *,
    made: Callable[[str], bytes] | None = None,
    schedule_check: Callable[[str], Checked] | None = None,
) -> Iterator[Runner]:
    """A runner whose pages are made by a function; schedules are due where another one checks their sweeps."""
    pages = Pages(store, store.place)
    if made is not None:
        pages.report = made  # type: ignore[method-assign]  # a stand-in
    one = Runner(store, Feed(), pages, db=store.place, schedule_check=schedule_check)
    one.start()
    try:
        yield one
    finally:
        one.stop()
        pages.close()


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets what measures a job: lines of Python."""

    def set_(code: str) -> None:
        text = f"import os, sys, time\n{textwrap.dedent(code)}"
        monkeypatch.setattr(measuring, "COMMAND", (sys.executable, "-c", text))

    return set_


def until(job: Job, store: Store, *states: JobState) -> Job:
    """The job once it is in one of these states."""
    end = time.monotonic() + 90
    while (found := Jobs(store).get(job.id)).state not in states:
        assert time.monotonic() < end, found
        time.sleep(0.01)
    return found


def submitted(store: Store, **more: Any) -> Job:
    return submit(store, service.TINY, FOUND, by="ci", **more)[0]


def states(store: Store, job: Job) -> list[str]:
    events = Jobs(store).events(job.id)
    return [json.loads(event.data)["state"] for event in events if event.kind is EventKind.STATE]


def log(store: Store, job: Job) -> list[str]:
    return [json.loads(one.data)["line"] for one in Jobs(store).events(job.id) if one.kind is EventKind.LOG]


@pytest.mark.parametrize("code", [0, 1, 3, 5])
def test_what_was_measured_is_reported_whatever_its_results_are(
    store: Store, script: Callable[[str], None], code: int
) -> None:
    script(f"{BEGUN}print(open(sys.argv[1]).read())\nprint(*sys.argv[2:])\nsys.exit({code})")
    made = []
    with running(store, made=lambda run_id: made.append(run_id) or b""):  # type: ignore[func-returns-value]  # None
        job = until(submitted(store, against=RUN.id[:-1]), store, JobState.REPORTED)
    assert (job.run_id, job.exit_code, made) == (RUN.id, code, [RUN.id])
    assert states(store, job) == ["queued", "running", "measured", "reported"]
    assert log(store, job)[1:5] == [*service.TINY.splitlines(), ""]
    folder = JobFolder.of(job.id).path
    assert log(store, job)[-1] == f"--no-page --job {folder} --against {RUN.id}"
    assert not folder.exists(), "it is removed with its folder"
    assert {json.loads(one.data)["label"] for one in Jobs(store).events(job.id) if one.kind is EventKind.CASE} == {
        result.case.label for result in RUN.results
    }


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (f"{BEGUN}sys.exit(2)", "exit code 2"),
        ("os.kill(os.getpid(), 9)", "signal 9"),
        ("sys.exit(0)", "named no run"),
        (f"{BEGUN}sys.exit(130)", "interrupted"),
    ],
)
def test_the_third_failure_ends_a_job(store: Store, script: Callable[[str], None], code: str, reason: str) -> None:
    script(code)
    with running(store):
        job = until(submitted(store), store, JobState.FAILED)
    assert job.tries == MOST_TRIES and reason in (job.reason or "")
    assert states(store, job) == ["queued", "running"] * MOST_TRIES + ["failed"]


def test_a_running_job_is_interrupted_when_it_is_cancelled(store: Store, script: Callable[[str], None]) -> None:
    script(BEGUN + WAITS)
    with running(store):
        job = submitted(store)
        until(job, store, JobState.RUNNING)
        while not log(store, job):
            time.sleep(0.01)
        Jobs(store).cancel(job.id, "2026-11-30")
        ended = until(job, store, JobState.CANCELLED)
    assert log(store, job)[-1] == "kept" and (ended.run_id, ended.tries) == (RUN.id, 0)


def test_what_does_not_end_when_it_is_interrupted_is_killed(
    store: Store, script: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "PATIENCE_S", 0.1)
    script(f"import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n{BEGUN}time.sleep(60)")
    with running(store):
        job = submitted(store)
        until(job, store, JobState.RUNNING)
        while not log(store, job):
            time.sleep(0.01)
        Jobs(store).cancel(job.id, "2026-11-30")
        assert until(job, store, JobState.CANCELLED).exit_code == -9


def test_a_service_that_stops_queues_its_job_again(store: Store, script: Callable[[str], None]) -> None:
    script(BEGUN + WAITS)
    job = submitted(store)
    with running(store):
        until(job, store, JobState.RUNNING)
        while not log(store, job):
            time.sleep(0.01)
    assert states(store, job) == ["queued", "running", "queued"] and Jobs(store).get(job.id).tries == 0
    script(f"{BEGUN}")
    with running(store, made=lambda run_id: b""):
        until(job, store, JobState.REPORTED)


def test_what_a_killed_service_left_is_ended_and_queued_again(
    store: Store, script: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = replace(Writer.of_this_process(), started=0.5)
    orphan = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    started = measuring.started(orphan.pid)
    assert started is not None
    job = submitted(store)
    Jobs(store).claim(gone, "9999")
    Jobs(store).note_child(job.id, gone, replace(gone, pid=orphan.pid, started=started))
    other = submitted(store, host="elsewhere")
    far = replace(gone, host="elsewhere")
    Jobs(store).claim(far, "9999")
    script(BEGUN)
    with running(store, made=lambda run_id: b""):
        until(job, store, JobState.REPORTED)
        assert orphan.wait(90) != 0, "it does not measure beside its successor"
    assert states(store, job) == ["queued", "running", "queued", "running", "measured", "reported"]
    assert Jobs(store).get(other.id).state is JobState.RUNNING, "nothing is known of services on other hosts"


def test_a_service_that_is_killed_beside_another_one_blocks_no_device(
    store: Store, script: Callable[[str], None]
) -> None:
    """Both share a host and a database; the other one goes on with what the killed one measured."""
    script(BEGUN)
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = measuring.started(other.pid)
    assert started is not None
    with running(store, made=lambda run_id: b"") as one:
        job = submitted(store)
        Jobs(store).claim(replace(ME, pid=other.pid, started=started), "9999")
        second = submitted(store)
        time.sleep(0.5)
        assert [Jobs(store).get(each.id).state for each in (job, second)] == [JobState.RUNNING, JobState.QUEUED]
        other.communicate(b"\n")
        one.wake()
        for each in (job, second):
            until(each, store, JobState.REPORTED)
        assert Jobs(store).get(job.id).tries == 0


@pytest.mark.parametrize("known", ["the database", "the folder alone"])
def test_the_next_service_says_which_run_the_job_began(store: Store, script: Callable[[str], None], known: str) -> None:
    """`convbench run` then goes on with it, or does not measure it again where it is finished."""
    gone = replace(Writer.of_this_process(), started=0.5)
    job = submitted(store)
    Jobs(store).claim(gone, "9999")
    if known == "the database":
        Jobs(store).note_begun(job, RUN.id)
    else:
        JobFolder.of(job.id).write_begun(RUN.id)
    script("print(open(sys.argv[sys.argv.index('--job') + 1] + '/begun').read())")
    with running(store, made=lambda run_id: b""):
        ended = until(job, store, JobState.REPORTED)
    assert log(store, job)[-1] == RUN.id == ended.run_id
    assert not JobFolder.of(job.id).path.exists()


def test_a_clock_that_was_a_year_ahead_delays_no_job_by_a_year(store: Store, script: Callable[[str], None]) -> None:
    script(BEGUN)
    job = submitted(store)
    Jobs(store).claim(ME, "9999")
    year = (datetime.now(UTC) + timedelta(days=365)).isoformat(timespec="microseconds")
    Jobs(store).end(job.id, ME, JobState.QUEUED, year, not_before=year)
    with running(store, made=lambda run_id: b""):
        until(job, store, JobState.REPORTED)


def test_the_log_of_a_job_is_stored_when_the_database_takes_it_again(
    store: Store, script: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk may be full while a job fails, and the log says why it failed."""
    note, refused = Jobs.note, itertools.count()

    def full(self: Jobs, *arguments: Any) -> None:
        if next(refused) < 3:
            raise DatabaseError("the disk is full")
        note(self, *arguments)

    monkeypatch.setattr(Jobs, "note", full)
    script("print('one', flush=True); time.sleep(0.2); print('why', flush=True); sys.exit(2)")
    with running(store):
        job = until(submitted(store), store, JobState.FAILED)
    assert log(store, job) == ["one", "why"] * MOST_TRIES


def test_folders_of_jobs_that_are_over_are_removed_and_others_stay(store: Store, script: Callable[[str], None]) -> None:
    over = submitted(store)
    Jobs(store).cancel(over.id, "2026-11-30")
    for job_id in (over.id, "j-of-another-database"):
        JobFolder.of(job_id).write_begun("20261101-000100-0001")
    script(BEGUN)
    with running(store, made=lambda run_id: b""):
        until(submitted(store), store, JobState.REPORTED)
    assert [name for name, _ in job_folder.left()] == ["j-of-another-database"]


#: A parent that starts a command as the service does, and waits for it.
PARENT = """\
import os, subprocess, sys
subprocess.call(sys.argv[1:], env={**os.environ, "CONVBENCH_PARENT": str(os.getpid())})
"""


@pytest.mark.slow
def test_what_measures_is_interrupted_when_its_service_is_killed(tmp_path: Path) -> None:
    """The real command, which stores what it has."""
    many = service.TINY.replace("in_channels: 3", f"in_channels: {[*range(1, 300)]}")
    (tmp_path / "sweep.yaml").write_text(many, encoding="utf-8")
    command = (sys.executable, "-m", "convbench", "run", "sweep.yaml", "--no-page", "--db", "runs.db")
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *command],
        cwd=tmp_path,
        env={**os.environ, "CONVBENCH_LOCKS": str(tmp_path / "locks")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert parent.stdout is not None
    with parent, parent.stdout:
        begun = next((text for text in parent.stdout if text.startswith("run 2")), None)
        parent.kill()
        said = parent.stdout.read()  # until the command has ended
    assert begun and "interrupted: results are kept" in said
    with Store.open(str(tmp_path / "runs.db")) as opened:
        assert opened.load("latest").state is RunState.INTERRUPTED


def test_one_job_at_a_time_measures_on_a_device(store: Store, script: Callable[[str], None], tmp_path: Path) -> None:
    script(f"{BEGUN}at = open({str(tmp_path / 'at')!r}, 'a')\nat.write('+')\ntime.sleep(0.3)\nat.write('-')")
    with running(store, made=lambda run_id: b""), running(store, made=lambda run_id: b""):  # two services on a database
        jobs = [submitted(store) for _ in range(4)]
        for job in jobs:
            until(job, store, JobState.REPORTED)
    assert (tmp_path / "at").read_text() == "+-" * 4


def test_a_page_that_fails_loses_nothing(store: Store, script: Callable[[str], None]) -> None:
    def fails(run_id: str) -> bytes:
        raise RequestError("no room for the page")

    script(BEGUN)
    with running(store, made=fails):
        job = submitted(store)
        end = time.monotonic() + 90
        while not (kept := Jobs(store).get(job.id)).is_over:
            assert time.monotonic() < end
            time.sleep(0.01)
    assert (kept.state, kept.run_id, kept.page_tries, kept.tries) == (JobState.MEASURED, RUN.id, MOST_TRIES, 0)
    assert "no room for the page" in (kept.reason or "")


def test_a_baseline_that_is_gone_is_a_failure_with_its_reason(store: Store, script: Callable[[str], None]) -> None:
    store.set_baseline("main", RUN.id, set_at="2026-11-30T00:00:00+00:00")
    job = submitted(store, against="main")
    store.remove_baseline("main")
    script(BEGUN)
    with running(store):
        assert "no baseline 'main'" in (until(job, store, JobState.FAILED).reason or "")


# ---- the jobs of schedules

JUDGES = """\
import json
if '--against' in sys.argv:
    change = {'case_id': 'c', 'label': 'x', 'verdict': 'regressed', 'ratio': 1.2, 'low': 1.1, 'high': 1.3}
    found = {'base_id': sys.argv[sys.argv.index('--against') + 1], 'verdict': 'regressed', 'text': 'worse'}
    open(folder + '/judged.json', 'w').write(json.dumps({**found, 'changes': [change]}))
"""


def scheduled(store: Store, baseline: str) -> Job:
    """A job of a schedule with this baseline, queued by the schedule's verb."""
    at = datetime.now(UTC)
    wanted = schedules.Wanted(
        name=baseline, cron="0 0 1 1 *", zone="UTC", sweep=service.TINY, host=ME.host, baseline=baseline
    )
    made = schedules.make(store, wanted, FOUND, by="ann", at=at)
    return schedules.run_now(store, made.id, lambda text: FOUND, by="ann", at=at)


def test_the_first_run_of_a_schedule_is_compared_with_nothing_and_becomes_its_baseline(
    store: Store, script: Callable[[str], None]
) -> None:
    script(f"{BEGUN}{JUDGES}print(*sys.argv[2:])")
    with running(store, made=lambda run_id: b""):
        job = until(scheduled(store, "new"), store, JobState.REPORTED)
    assert log(store, job)[-1].endswith(f"--job {JobFolder.of(job.id).path}"), "without a baseline"
    assert [(one.name, one.run_id) for one in store.baselines()] == [("new", RUN.id)]
    [verdict] = verdicts.verdicts(store, schedule_id=job.schedule_id)
    assert verdict.verdict == schedules.BASELINE_SET and verdict.text.startswith("there is no baseline new: run ")


def test_a_later_run_is_judged_and_leaves_the_baseline(store: Store, script: Callable[[str], None]) -> None:
    store.set_baseline("old", RUN.id, set_at="2026-11-30T00:00:00+00:00")
    script(f"{BEGUN}{JUDGES}sys.exit(1)")
    with running(store, made=lambda run_id: b""):
        job = until(scheduled(store, "old"), store, JobState.REPORTED)
    [verdict] = verdicts.verdicts(store, schedule_id=job.schedule_id)
    assert (verdict.verdict, verdict.text, verdict.base_id) == ("regressed", "worse", RUN.id)
    assert [change.ratio for change in verdict.changes] == [1.2]


def test_a_run_that_cannot_be_compared_is_measured_anyway_and_becomes_the_baseline(
    store: Store, script: Callable[[str], None]
) -> None:
    store.set_baseline("old", RUN.id, set_at="2026-11-30T00:00:00+00:00")
    script(f"if '--against' in sys.argv:\n    print('torch differs'); sys.exit(4)\n{BEGUN}")
    with running(store, made=lambda run_id: b""):
        job = until(scheduled(store, "old"), store, JobState.REPORTED)
    assert (job.tries, log(store, job)[0]) == (0, "torch differs")
    [verdict] = verdicts.verdicts(store)
    assert verdict.verdict == schedules.BASELINE_SET and "cannot be compared" in verdict.text
    assert store.baselines()[0].set_at == verdict.at


def test_the_runner_queues_what_is_due(store: Store, script: Callable[[str], None]) -> None:
    script(BEGUN)
    wanted = schedules.Wanted(
        name="due", cron="* * * * *", zone="UTC", sweep=service.TINY, host=ME.host, baseline="due"
    )
    made = schedules.make(store, wanted, FOUND, by="ann", at=datetime.now(UTC) - timedelta(days=3))
    with running(store, made=lambda run_id: b"", schedule_check=lambda text: FOUND):
        end = time.monotonic() + 90
        while (job_id := Schedules(store).get(made.id).last_job_id) is None:
            assert time.monotonic() < end
            time.sleep(0.01)
        job = until(Jobs(store).get(job_id), store, JobState.REPORTED)
    assert job.due_at == made.next_at and job.submitted_by == "schedule due"


@pytest.mark.parametrize(("slow", "states"), [(2, ["reported"]), (99, [])])
def test_a_schedule_whose_check_takes_long_stays_due_for_a_while(
    store: Store, script: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, slow: int, states: list[str]
) -> None:
    monkeypatch.setattr(runner, "LOOK_S", 0.02)
    script(BEGUN)
    checks = itertools.count(1)

    def check(text: str) -> Checked:
        if next(checks) <= slow:
            raise TooLongError("it took longer than 20 s")
        return FOUND

    wanted = schedules.Wanted(
        name="due", cron="0 0 1 1 *", zone="UTC", sweep=service.TINY, host=ME.host, baseline="due"
    )
    made = schedules.make(store, wanted, FOUND, by="ann", at=datetime.now(UTC) - timedelta(days=366))
    with running(store, made=lambda run_id: b"", schedule_check=check):
        end = time.monotonic() + 90
        while Schedules(store).get(made.id).next_at == made.next_at:
            assert time.monotonic() < end
            time.sleep(0.01)
        for job in Jobs(store).list()[0]:
            until(job, store, JobState.REPORTED)
    assert [job.state for job in Jobs(store).list()[0]] == states
    assert next(checks) == 1 + min(slow + 1, runner.MOST_CHECKS)
    assert (Schedules(store).get(made.id).reason is None) == bool(states)


@pytest.mark.slow
def test_a_job_waits_for_a_persons_run_on_its_device_and_says_so(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The real command: it takes seconds. The lock is that of this test alone."""
    monkeypatch.setenv("CONVBENCH_LOCKS", str(tmp_path / "locks"))
    with running(store, made=lambda run_id: b"") as one:
        with held(["cpu"], what="resnet50", waiting=pytest.fail, message=pytest.fail):
            job = submitted(store)
            one.wake()
            end = time.monotonic() + 90
            while not any("in use by another run" in line for line in log(store, job)):
                assert time.monotonic() < end, log(store, job)
                time.sleep(0.05)
            said = next(line for line in log(store, job) if "in use by another run" in line)
            assert "the processor" in said and f"resnet50, process {os.getpid()} of " in said
            assert Jobs(store).get(job.id).run_id is None, "nothing is measured meanwhile"
        assert until(job, store, JobState.REPORTED, JobState.FAILED).state is JobState.REPORTED, log(store, job)
