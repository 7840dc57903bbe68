"""The runner and jobs that are no run on one host: the commands are scripts here."""

from __future__ import annotations

import json
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import campaigns
import pytest
import service

from convbench.actions.job_folder import JobFolder
from convbench.actions.jobs import Checked, submit
from convbench.model.bisection import Bisection, Decided, Outcome, Step
from convbench.model.campaign import Campaign, CampaignState, ShardState
from convbench.model.job import MOST_TRIES, BisectionTask, EventKind, FleetTask, Job, JobState
from convbench.model.serial import to_json
from convbench.store import Store, Writer
from convbench.store.jobs import Jobs
from convbench.web import bisecting, conducting, measuring, runner
from convbench.web.feed import Feed
from convbench.web.pages import Pages
from convbench.web.runner import Runner
from convbench.web.settings import Settings

FOUND = Checked(name="mine", cases=1, rejections=0, devices=("cpu",), labels=())
SEARCH = BisectionTask(
    checkout="layers", good="a" * 40, bad="b" * 40, base_run_id="1", new_run_id="2", case_ids=("c1", "c2")
)
STEP = Step(base="a" * 40, new="b" * 40, threshold=0.025, moved=1, case_id="c1", ratio=1.2, low=1.1, high=1.3, pairs=12)
ANSWER = Bisection(outcome=Outcome.FOUND, commits=3, steps=(STEP, STEP), last=STEP)
GONE = replace(Writer.of_this_process(), started=0.5)
#: How a script waits for Ctrl-C.
WAITS = "try:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    sys.exit(130)\n"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing waits for long."""
    monkeypatch.chdir(tmp_path)
    for module, name, value in (
        (runner, "AGAIN_S", 0.0),
        (runner, "LOST_S", 0.0),
        (runner, "LOOK_S", 0.2),
        (measuring, "TURN_S", 0.02),
        (measuring, "CANCEL_S", 0.05),
        (measuring, "LOOK_S", 0.05),
    ):
        monkeypatch.setattr(module, name, value)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(str(tmp_path / "runs.db")) as opened:
        yield opened


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets what does a job: lines of Python."""

    def set_(code: str) -> None:
        text = f"import os, sys, time\n{textwrap.dedent(code)}"
        for module in (bisecting, conducting):
            monkeypatch.setattr(module, "COMMAND", (sys.executable, "-c", text))

    return set_


@contextmanager
def running(store: Store, **settings: Any) -> Iterator[Runner]:
    usual = {"checkouts": (("layers", Path("/srv/layers")),), "ray": "ray://127.0.0.1:10001"}
    pages = Pages(store, store.place)
    one = Runner(store, Feed(), pages, db=store.place, settings=Settings(**usual | settings))
    one.start()
    try:
        yield one
    finally:
        one.stop()
        pages.close()


def until(job: Job, store: Store, *states: JobState) -> Job:
    end = time.monotonic() + 90
    while (found := Jobs(store).get(job.id)).state not in states:
        assert time.monotonic() < end, (found, log(store, job))
        time.sleep(0.01)
    return found


def log(store: Store, job: Job) -> list[str]:
    return [json.loads(one.data)["line"] for one in Jobs(store).events(job.id) if one.kind is EventKind.LOG]


def progress(store: Store, job: Job) -> list[str]:
    return [json.loads(one.data)["text"] for one in Jobs(store).events(job.id) if one.kind is EventKind.PROGRESS]


def submitted(store: Store, task: BisectionTask | FleetTask) -> Job:
    return submit(store, service.TINY, FOUND, by="ci", task=task)[0]


def decided(answer: Bisection | None = None) -> str:
    return json.dumps(to_json(Decided(of="x", commits=3, steps=(STEP,), answer=answer)))


# ---- finding a commit


def test_a_search_keeps_what_it_decides_and_its_answer(store: Store, script: Callable[[str], None]) -> None:
    script(f"""
        print(*sys.argv[1:3], *sys.argv[4:])
        steps = sys.argv[sys.argv.index('--steps') + 1]
        print('before', len(open(steps).read()))
        open(steps, 'w').write({decided()!r})
        time.sleep(0.3)
        open(steps, 'w').write({decided(ANSWER)!r})
    """)
    with running(store):
        job = until(submitted(store, SEARCH), store, JobState.REPORTED)
    lines = log(store, job)
    assert lines[0].startswith(f"{'a' * 40} {'b' * 40} --checkout /srv/layers --steps ")
    assert lines[0].endswith("--case c1 --case c2") and lines[1] == "before 0"
    assert job.answer == decided(ANSWER) and (job.run_id, job.exit_code) == (None, 0)
    assert progress(store, job) == ["1 comparison of about 4", "1 comparison"]


def test_a_commit_is_built_as_the_service_was_told_for_its_checkout(
    store: Store, script: Callable[[str], None]
) -> None:
    script("print(*sys.argv[sys.argv.index('--steps') + 2:], sep='|')")
    builds = {"builds": (("layers", "-x 'a b'"), ("other", "rm")), "pythons": (("layers", "env/bin/python"),)}
    with running(store, **builds):
        job = until(submitted(store, SEARCH), store, JobState.REPORTED)
    assert log(store, job) == ["--build=-x 'a b'|--python=env/bin/python|--case|c1|--case|c2"]


def test_a_search_whose_service_was_killed_goes_on_from_what_is_decided(
    store: Store, script: Callable[[str], None]
) -> None:
    job = submitted(store, SEARCH)
    Jobs(store).claim(GONE, "9999")
    Jobs(store).note_answer(job.id, decided())
    script("print(open(sys.argv[sys.argv.index('--steps') + 1]).read())\nsys.exit(5)")
    with running(store):
        ended = until(job, store, JobState.REPORTED)
    assert log(store, job) == [decided()] and (ended.tries, ended.exit_code) == (0, 5)


@pytest.mark.parametrize(
    ("code", "checkouts", "reason"),
    [("sys.exit(2)", None, "`convbench bisect` ended with exit code 2"), ("", (), "has no checkout 'layers'")],
)
def test_a_search_that_cannot_be_is_a_failure_with_its_reason(
    store: Store, script: Callable[[str], None], code: str, checkouts: Any, reason: str
) -> None:
    script(code)
    with running(store, **({} if checkouts is None else {"checkouts": checkouts})):
        job = until(submitted(store, SEARCH), store, JobState.FAILED)
    assert reason in (job.reason or "") and job.tries == MOST_TRIES


def test_a_search_is_interrupted_when_it_is_cancelled(store: Store, script: Callable[[str], None]) -> None:
    script(f"print('begun', flush=True)\n{WAITS}")
    with running(store):
        job = submitted(store, SEARCH)
        while not log(store, job):
            time.sleep(0.01)
        Jobs(store).cancel(job.id, "2026-11-30")
        assert until(job, store, JobState.CANCELLED).exit_code == 130


# ---- a cluster


def begins(found: Campaign) -> str:
    """What a script does to begin this campaign."""
    return f"""
if '--job' in sys.argv:
    open(sys.argv[sys.argv.index('--job') + 1] + '/begun', 'w').write('{found.id}')
"""


def campaign(store: Store, state: CampaignState, *shards: ShardState) -> Campaign:
    """A stored campaign of two hosts whose shards are in these states."""
    made = [run for run, _ in campaigns.runs(2)][: len(shards)]
    whole = campaigns.conducted(made)
    some = tuple(replace(shard, state=each) for shard, each in zip(whole.shards, shards, strict=True))
    stored = replace(whole, state=state, finished_at=None, shards=some)
    store.begin_campaign(stored, GONE)
    return stored


def test_a_campaign_is_the_result_of_its_job(store: Store, script: Callable[[str], None]) -> None:
    found = campaign(store, CampaignState.FINISHED, ShardState.FINISHED, ShardState.FINISHED)
    script(f"print(sys.argv[1], *sys.argv[5:], os.environ['CONVBENCH_FLEET'])\n{begins(found)}")
    task = FleetTask(where=(("rack", "2"),), every_host=True)
    with running(store, insecure_ray=True):
        job = until(submitted(store, task), store, JobState.REPORTED)
    options = "--each --where rack=2 --all-hosts --insecure ray://127.0.0.1:10001"
    assert log(store, job)[0] == f"run {options}"
    assert (job.campaign_id, job.exit_code, job.tries) == (found.id, 0, 0)
    assert progress(store, job)[-1] == "2 of 2 shards finished"


def test_a_campaign_that_ended_with_its_service_is_not_measured_again(
    store: Store, script: Callable[[str], None]
) -> None:
    found = campaign(store, CampaignState.FINISHED, ShardState.FINISHED, ShardState.FINISHED)
    job = submitted(store, FleetTask())
    Jobs(store).claim(GONE, "9999")
    JobFolder.of(job.id).write_begun(found.id)
    script("sys.exit(2)")
    with running(store):
        ended = until(job, store, JobState.REPORTED)
    assert (ended.campaign_id, ended.tries, log(store, job)) == (found.id, 0, [])


def test_a_lost_host_is_no_failure_and_its_campaign_goes_on(
    store: Store, script: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = campaign(store, CampaignState.INTERRUPTED, ShardState.FINISHED, ShardState.INTERRUPTED)
    script(f"print(*sys.argv[1:3], flush=True)\n{begins(found)}sys.exit(3)")
    with running(store):
        job = submitted(store, FleetTask())
        end = time.monotonic() + 90
        while sum(line == f"resume {found.id}" for line in log(store, job)) <= MOST_TRIES:
            assert time.monotonic() < end, log(store, job)
            time.sleep(0.01)
        assert Jobs(store).get(job.id).tries == 0
        store.finish_campaign(found.id, CampaignState.FINISHED, "2026-11-30T00:00:00+00:00")
        assert until(job, store, JobState.REPORTED).tries == 0
    said = [json.loads(one.data) for one in Jobs(store).events(job.id) if one.kind is EventKind.STATE]
    assert {"state": "queued", "reason": runner.LOST} in said


def test_a_shard_that_cannot_be_measured_is_a_failure(store: Store, script: Callable[[str], None]) -> None:
    found = campaign(store, CampaignState.INTERRUPTED, ShardState.FINISHED, ShardState.FAILED)
    script(f"{begins(found)}sys.exit(3)")
    with running(store):
        job = until(submitted(store, FleetTask()), store, JobState.FAILED)
    assert (job.tries, job.campaign_id) == (MOST_TRIES, found.id)


def test_a_service_without_a_cluster_says_so(store: Store) -> None:
    with running(store, ray=None):
        job = until(submitted(store, FleetTask()), store, JobState.FAILED)
    assert "has no cluster" in (job.reason or "")


def test_a_run_here_does_not_wait_for_a_campaign(store: Store, script: Callable[[str], None]) -> None:
    jobs = Jobs(store)
    submitted(store, FleetTask())
    second = submitted(store, FleetTask())
    here = submit(store, service.TINY, FOUND, by="ci")[0]
    me = Writer.of_this_process()
    claimed = [one.id for one in iter(lambda: jobs.claim(me, "9999"), None)]
    assert here.id in claimed and second.id not in claimed, "one campaign at a time"
