"""Jobs in the database: each is claimed once, no late answer undoes a state, and events come in order."""

from __future__ import annotations

import itertools
import json
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from postgres import Server

from convbench.errors import JobNotFoundError, StoreError
from convbench.model.job import MOST_TRIES, EventKind, Job, JobKind, JobState
from convbench.store import Store, Writer
from convbench.store.jobs import Jobs

ME = Writer.of_this_process()
OTHER = replace(ME, pid=ME.pid + 1)
NOW = "2026-11-30T12:00:00.000000+00:00"
LATER = "2026-11-30T12:01:00.000000+00:00"


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def urls(request: pytest.FixtureRequest) -> Iterator[Iterator[str]]:
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgres")
        yield (server.new_database() for _ in itertools.count())
        return
    with tempfile.TemporaryDirectory() as folder:
        yield (f"{folder}/{number}.db" for number in itertools.count())


@pytest.fixture
def store(urls: Iterator[str]) -> Iterator[Store]:
    with Store.create(next(urls)) as opened:
        yield opened


@pytest.fixture
def jobs(store: Store) -> Jobs:
    return Jobs(store)


def job(number: int = 0, **changes: Any) -> Job:
    made = Job(
        id=f"j{number}",
        state=JobState.QUEUED,
        name="quick",
        sweep="name: quick\n",
        cases=12,
        devices=("cpu",),
        host=None,
        against=None,
        priority=0,
        submitted_at=NOW,
        submitted_by="ci",
    )
    return replace(made, **changes)


def claimed(jobs: Jobs, owner: Writer = ME, now: str = NOW) -> Job | None:
    return jobs.claim(owner, now)


def states(jobs: Jobs, job_id: str) -> list[str]:
    return [json.loads(event.data)["state"] for event in jobs.events(job_id) if event.kind is EventKind.STATE]


def test_a_job_is_stored_as_it_is_and_an_unknown_one_is_an_error(jobs: Jobs) -> None:
    added = job(against="main", host="here", devices=("cpu", "cuda:0"), priority=5)
    assert jobs.add(added) == (added, True)
    assert jobs.get("j0") == added
    for unknown in ("j1", "", "j0'; DROP TABLE jobs", "../../etc/passwd", "\0"):
        with pytest.raises(JobNotFoundError, match="there is no job"):
            jobs.get(unknown)


def test_a_submission_that_is_sent_twice_is_one_job(jobs: Jobs) -> None:
    assert jobs.add(job(0), idempotency_key="k") == (job(0), True)
    assert jobs.add(job(1), idempotency_key="k") == (job(0), False)
    assert jobs.add(job(2), idempotency_key="other")[1] and jobs.add(job(3))[1] and jobs.add(job(4))[1]
    assert [each.id for each in jobs.list()[0]] == ["j4", "j3", "j2", "j0"]


def test_submissions_with_one_key_at_the_same_time_are_one_job(jobs: Jobs) -> None:
    with ThreadPoolExecutor(8) as threads:
        added = list(threads.map(lambda number: jobs.add(job(number), idempotency_key="k"), range(16)))
    assert sum(is_new for _, is_new in added) == 1
    assert len({one.id for one, _ in added}) == 1 == len(jobs.list()[0])


def test_the_queue_goes_by_priority_then_by_time_and_leaves_out_what_is_not_for_here(jobs: Jobs) -> None:
    for added in (
        *(job(0), job(1, priority=5), job(2, host="elsewhere", priority=9), job(3, host=ME.host)),
        *(job(4, not_before=LATER, priority=9), job(5, devices=("cuda:0",))),
    ):
        jobs.add(added)
    assert [each.id for each in jobs.queue()] == ["j2", "j4", "j1", "j0", "j3", "j5"]
    found = [claimed(jobs), claimed(jobs), claimed(jobs, OTHER)]
    assert [each and each.id for each in found] == ["j1", None, None], "beside the processor nothing is measured"
    assert [each.id for each in jobs.queue()][:2] == ["j1", "j2"], "the running one first"
    order = []
    for now in (NOW, NOW, NOW, LATER):
        jobs.end("j1" if not order else order[-1], ME, JobState.MEASURED, NOW)
        order.append(str((one := claimed(jobs, now=now)) and one.id))
    assert order == ["j0", "j3", "j5", "j4"] and claimed(jobs, replace(ME, host="elsewhere")) == jobs.get("j2")


def test_different_accelerators_measure_at_once(jobs: Jobs) -> None:
    for number, devices in enumerate([("cuda:0",), ("cuda",), ("accelerator",), ("cuda:1", "cpu"), ("cuda:1",)]):
        jobs.add(job(number, devices=devices))
    assert [(one := claimed(jobs)) and one.id for _ in range(3)] == ["j0", "j4", None]
    jobs.end("j0", ME, JobState.MEASURED, NOW)
    assert [(one := claimed(jobs)) and one.id for _ in range(2)] == ["j1", None]


def test_many_claimants_get_each_job_once(jobs: Jobs) -> None:
    for number in range(60):
        jobs.add(job(number))

    def work(number: int) -> list[str]:
        owner = replace(ME, host=f"host {number}")
        found = []
        while one := claimed(jobs, owner):
            found.append(one.id)
            assert jobs.end(one.id, owner, JobState.MEASURED, NOW)
        return found

    with ThreadPoolExecutor(4) as threads:
        done = Counter(itertools.chain.from_iterable(threads.map(work, range(4))))
    assert done == Counter(f"j{number}" for number in range(60))
    assert states(jobs, "j7") == ["queued", "running", "measured"]


def test_an_answer_that_comes_late_undoes_nothing(jobs: Jobs) -> None:
    jobs.add(job())
    claimed(jobs)
    assert not jobs.end("j0", OTHER, JobState.MEASURED, NOW), "it is not theirs"
    assert jobs.end("j0", ME, JobState.CANCELLED, NOW)
    assert not jobs.end("j0", ME, JobState.MEASURED, NOW) and not jobs.reported("j0", NOW)
    jobs.fail("j0", ME, NOW, "late", again_at=NOW)
    assert jobs.get("j0").state is JobState.CANCELLED and jobs.get("j0").tries == 0
    with pytest.raises(StoreError, match="no longer run by this service"):
        jobs.note_child("j0", ME, OTHER)


def test_the_third_failure_ends_a_job_and_a_lost_service_is_none(jobs: Jobs) -> None:
    jobs.add(job())
    for number in range(1, MOST_TRIES):
        claimed(jobs)
        assert jobs.fail("j0", ME, NOW, "signal 9", again_at=NOW, code=-9) is JobState.QUEUED
        claimed(jobs)
        [owned] = jobs.running()
        assert jobs.requeue(owned, NOW) and not jobs.requeue(owned, NOW)
        assert jobs.get("j0").tries == number
    claimed(jobs)
    assert jobs.fail("j0", ME, LATER, "signal 9", again_at=NOW) is JobState.FAILED
    ended = jobs.get("j0")
    assert (ended.reason, ended.ended_at, ended.is_over) == ("signal 9", LATER, True)
    assert claimed(jobs) is None


def test_who_runs_a_job_and_what_measures_it_are_known(jobs: Jobs) -> None:
    jobs.add(job())
    claimed(jobs)
    jobs.note_child("j0", ME, replace(OTHER, host=ME.host, boot=ME.boot))
    jobs.note_begun(job(), "20261130-120000-ab12")
    [owned] = jobs.running()
    assert (owned.owner, owned.child and owned.child.pid, owned.job.run_id) == (ME, OTHER.pid, "20261130-120000-ab12")


def test_a_queued_job_is_cancelled_at_once_and_a_running_one_is_asked(jobs: Jobs) -> None:
    jobs.add(job(0))
    jobs.add(job(1))
    claimed(jobs)
    assert jobs.cancel("j1", LATER).state is JobState.CANCELLED
    asked = jobs.cancel("j0", LATER)
    assert (asked.state, asked.cancelling) == (JobState.RUNNING, True)
    [owned] = jobs.running()
    assert jobs.requeue(owned, LATER) and jobs.get("j0").state is JobState.CANCELLED, "its service was killed meanwhile"


def test_measuring_and_the_making_of_a_page_are_apart(jobs: Jobs) -> None:
    for number in range(2):
        jobs.add(job(number))
        claimed(jobs)
        jobs.note_begun(job(number), f"run {number}")
        jobs.end(f"j{number}", ME, JobState.MEASURED, NOW, code=0)
    assert [each.id for each in jobs.without_page()] == ["j0", "j1"]
    assert jobs.reported("j0", LATER)
    assert [jobs.page_failed("j1", LATER, "no room") for _ in range(MOST_TRIES)] == [True, True, False]
    kept = jobs.get("j1")
    assert (kept.state, kept.run_id, kept.is_over, kept.reason) == (JobState.MEASURED, "run 1", True, "no room")
    assert jobs.without_page() == [] == jobs.queue()
    assert jobs.counts()[JobState.REPORTED] == 1 == jobs.counts()[JobState.MEASURED]


def test_events_come_in_order_and_from_where_a_reader_was(jobs: Jobs) -> None:
    jobs.add(job(0))
    jobs.add(job(1))
    with ThreadPoolExecutor(4) as threads:
        noted = [(f"j{number % 2}", NOW, [(EventKind.LOG, {"line": f"{number}"})]) for number in range(40)]
        list(threads.map(lambda one: jobs.note(*one), noted))
    found = jobs.events("j0")
    keys = [event.key for event in found]
    assert keys == sorted(set(keys)) and len(found) == 21
    seen: list[int] = []
    while some := jobs.events("j0", after=seen[-1] if seen else 0, most=6):
        seen += [event.key for event in some]
    assert seen == keys
    with pytest.raises(JobNotFoundError):
        jobs.events("j9")


def test_a_list_goes_by_key_so_that_new_jobs_move_nothing(jobs: Jobs) -> None:
    for number in range(5):
        jobs.add(job(number))
    first, before = jobs.list(most=2)
    jobs.add(job(5))
    second, before = jobs.list(before=before, most=2)
    last, end = jobs.list(before=before, most=2)
    assert [each.id for each in (*first, *second, *last)] == ["j4", "j3", "j2", "j1", "j0"] and end is None
    assert jobs.list(states=[JobState.FAILED]) == ([], None)


def test_an_ended_job_can_be_deleted_and_no_other(jobs: Jobs) -> None:
    jobs.add(job())
    with pytest.raises(StoreError, match="has not ended"):
        jobs.delete("j0")
    last = jobs.events("j0")[-1].key
    jobs.cancel("j0", NOW)
    jobs.delete("j0")
    assert jobs.list()[0] == []
    jobs.add(job(1))
    assert jobs.events("j1")[0].key > last, "no event's id comes twice"


def test_a_job_of_an_older_schema_measures_a_sweep(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    shutil.copyfile(Path(__file__).parent.parent / "data" / "schema_v6.db", path)
    old = [name for name in Job.__slots__ if name not in ("kind", "task", "answer", "campaign_id", "devices", "state")]
    row = {name: getattr(job(), name) for name in old} | {"devices": "cpu", "state": "queued"}
    with closing(sqlite3.connect(path)) as connection, connection:
        marks = ", ".join(f":{name}" for name in row)
        connection.execute(f"INSERT INTO jobs ({', '.join(row)}) VALUES ({marks})", row)
    with Store.create(str(path)) as store:
        assert Jobs(store).get("j0") == job()


def test_what_a_job_asks_and_found_comes_back(jobs: Jobs) -> None:
    asked = job(kind=JobKind.CAMPAIGN, task='{"a": 1}')
    jobs.add(asked)
    jobs.note_answer("j0", '{"b": 2}')
    jobs.note_begun(asked, "c1")
    assert jobs.get("j0") == replace(asked, answer='{"b": 2}', campaign_id="c1")
    claimed(jobs)
    assert jobs.end("j0", ME, JobState.QUEUED, NOW, reason="a host was lost", not_before=LATER)
    assert claimed(jobs) is None and (found := claimed(jobs, now=LATER)) is not None and found.tries == 0
