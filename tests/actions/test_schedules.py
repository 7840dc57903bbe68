"""Schedules with a clock of the test's own: each time has one job, whoever asks and whatever the clock does."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import service
from postgres import Server

from convbench.actions import schedules as verbs
from convbench.actions.job_folder import JobFolder, Judged
from convbench.actions.jobs import Checked
from convbench.actions.schedules import Wanted
from convbench.errors import ConflictError, RequestError, RunNotFoundError, ScheduleNotFoundError
from convbench.model.job import Job, JobState
from convbench.model.result import RunState
from convbench.model.schedule import ChangedCase, Schedule
from convbench.store import Store, Writer, verdicts
from convbench.store.jobs import Jobs
from convbench.store.schedules import Schedules

FOUND = Checked(name="tiny", cases=1, rejections=0, devices=("cpu",), labels=())
WANTED = Wanted(
    name="nightly",
    cron="30 2 * * *",
    zone="Europe/Berlin",
    sweep=service.TINY,
    host="here",
    baseline="schedule/nightly",
)
ME = Writer.of_this_process()
AT = "2026-11-30T12:00:00.000000+00:00"


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def urls(request: pytest.FixtureRequest) -> Iterator[Iterator[str]]:
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgres")
        yield (server.new_database() for _ in itertools.count())
        return
    with tempfile.TemporaryDirectory() as folder:
        yield (f"{folder}/{number}.db" for number in itertools.count())


@pytest.fixture
def url(urls: Iterator[str]) -> str:
    return next(urls)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store.create(url) as opened:
        yield opened


def time(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def made(store: Store, at: str, **changes: Any) -> Schedule:
    return verbs.make(store, replace(WANTED, **changes), FOUND, by="ann", at=time(at))


def queued(store: Store, at: datetime) -> list[str]:
    """The times of the jobs that are queued at this time; each job ends at once."""
    jobs = verbs.queue_due(store, at, lambda text: FOUND)
    for job in jobs:
        Jobs(store).cancel(job.id, AT)
    return [f"{job.due_at:.16}" for job in jobs]


def over(store: Store, first: str, last: str, minutes: int = 10) -> list[str]:
    """The times of the jobs that are queued while a service looks again and again."""
    at, found = time(first), []
    while at <= time(last):
        found += queued(store, at)
        at += timedelta(minutes=minutes)
    return found


def test_a_due_schedule_queues_a_job_for_its_host_and_baseline(store: Store) -> None:
    schedule = made(store, "2026-11-30T12:00", priority=3)
    assert (schedule.next_at[:16], schedule.made_by, schedule.sweep_name) == ("2026-12-01T01:30", "ann", "tiny")
    assert verbs.queue_due(store, time("2026-12-01T01:29:59"), lambda text: FOUND) == []
    [job] = verbs.queue_due(store, time("2026-12-01T01:30:04"), lambda text: FOUND)
    assert Jobs(store).get(job.id) == job
    assert (job.schedule_id, job.against, job.host, job.priority) == (schedule.id, "schedule/nightly", "here", 3)
    assert (job.due_at, job.submitted_by, job.sweep) == (schedule.next_at, "schedule nightly", service.TINY)
    kept = Schedules(store).get(schedule.id)
    assert (kept.next_at[:16], kept.last_at, kept.last_job_id) == ("2026-12-02T01:30", schedule.next_at, job.id)


def test_the_next_five_times_are_shown_and_what_is_overdue_is_among_them(store: Store) -> None:
    schedule = made(store, "2026-10-23T12:00")
    shown = [f"{each:%d %H:%M}" for each in verbs.next_times(schedule, time("2026-10-23T12:00"))]
    assert shown == ["24 00:30", "25 00:30", "26 01:30", "27 01:30", "28 01:30"]
    late = [f"{each:%d %H:%M}" for each in verbs.next_times(schedule, time("2026-10-26T12:00"))]
    assert late == ["24 00:30", "27 01:30", "28 01:30", "29 01:30", "30 01:30"]
    assert verbs.next_times(replace(schedule, paused=True), time("2026-10-23T12:00")) == ()


def test_both_nights_of_summer_time_have_one_job(store: Store) -> None:
    autumn = made(store, "2026-10-24T12:00")
    assert over(store, "2026-10-24T22:00", "2026-10-26T12:00") == ["2026-10-25T00:30", "2026-10-26T01:30"]
    Schedules(store).delete(autumn.id)
    made(store, "2026-03-28T12:00", name="spring")
    assert over(store, "2026-03-28T22:00", "2026-03-30T12:00") == ["2026-03-29T01:00", "2026-03-30T00:30"]


def test_a_service_that_comes_between_both_half_past_two_makes_up_for_one(store: Store) -> None:
    made(store, "2026-10-24T12:00")
    assert over(store, "2026-10-25T01:05", "2026-10-25T12:00") == ["2026-10-25T00:30"]


def test_three_days_without_a_service_are_made_up_for_by_one_job(store: Store) -> None:
    schedule = made(store, "2026-11-01T12:00", cron="0 * * * *", zone="UTC")
    assert queued(store, time("2026-11-04T12:30")) == ["2026-11-01T13:00"]
    assert queued(store, time("2026-11-04T12:31")) == []
    assert Schedules(store).get(schedule.id).next_at[:16] == "2026-11-04T13:00"
    assert queued(store, time("2026-11-04T13:00")) == ["2026-11-04T13:00"]


def test_a_clock_that_goes_back_repeats_nothing(store: Store) -> None:
    made(store, "2026-11-01T09:30", cron="0 * * * *", zone="UTC")
    assert over(store, "2026-11-01T09:30", "2026-11-01T10:10") == ["2026-11-01T10:00"]
    assert over(store, "2026-11-01T09:20", "2026-11-01T11:10") == ["2026-11-01T11:00"]


def test_a_clock_that_goes_back_while_a_schedule_is_paused_repeats_nothing(store: Store) -> None:
    schedule = made(store, "2026-11-01T09:30", cron="0 * * * *", zone="UTC")
    assert over(store, "2026-11-01T09:30", "2026-11-01T10:10") == ["2026-11-01T10:00"]
    verbs.pause(store, schedule.id)
    verbs.resume(store, schedule.id, time("2026-11-01T09:30"))
    assert over(store, "2026-11-01T09:30", "2026-11-01T11:10") == ["2026-11-01T11:00"]


def test_a_clock_that_was_a_year_ahead_does_not_stop_a_schedule_for_a_year(store: Store) -> None:
    made(store, "2026-11-01T09:30", cron="0 * * * *", zone="UTC")
    assert queued(store, time("2027-11-01T09:30")) == ["2026-11-01T10:00"]
    assert queued(store, time("2027-11-01T10:00")) == ["2027-11-01T10:00"]
    assert over(store, "2026-11-01T10:30", "2026-11-01T12:10") == ["2026-11-01T11:00", "2026-11-01T12:00"]


def test_two_services_queue_each_time_once(url: str, store: Store) -> None:
    for number in range(5):
        made(store, "2026-11-01T09:30", name=f"nightly {number}", cron="0 * * * *", zone="UTC")
    with Store.create(url) as other, ThreadPoolExecutor(4) as threads:
        for hour in range(10, 14):
            asked = [(one, time(f"2026-11-01T{hour}:00:05"), lambda text: FOUND) for one in (store, other) * 2]
            found = list(itertools.chain.from_iterable(threads.map(lambda one: verbs.queue_due(*one), asked)))
            assert len({job.schedule_id for job in found}) == len(found) == 5
            for job in found:
                Jobs(store).cancel(job.id, AT)
    assert len(Jobs(store).list()[0]) == 20


def test_no_job_is_queued_while_the_one_before_waits_or_is_measured(store: Store) -> None:
    schedule = made(store, "2026-11-01T09:30", cron="0 * * * *", zone="UTC", host=ME.host)
    [first] = verbs.queue_due(store, time("2026-11-01T10:00"), lambda text: FOUND)
    assert verbs.queue_due(store, time("2026-11-01T11:00"), lambda text: FOUND) == []
    kept = Schedules(store).get(schedule.id)
    assert kept.reason == f"job {first.id} of the time before has not ended" and kept.last_job_id == first.id
    assert Jobs(store).claim(ME, AT) is not None
    assert verbs.queue_due(store, time("2026-11-01T12:00"), lambda text: FOUND) == []
    Jobs(store).end(first.id, ME, JobState.MEASURED, AT)
    [second] = verbs.queue_due(store, time("2026-11-01T13:00"), lambda text: FOUND)
    kept = Schedules(store).get(schedule.id)
    assert (kept.reason, kept.last_job_id, len(Jobs(store).list()[0])) == (None, second.id, 2)


def test_a_sweep_that_must_not_be_measured_any_more_is_said_and_asked_for_again(store: Store) -> None:
    schedule = made(store, "2026-11-01T09:30", cron="0 * * * *", zone="UTC")

    def refuse(text: str) -> Checked:
        raise RequestError("the sweep names code of its own")

    assert verbs.queue_due(store, time("2026-11-01T10:00"), refuse) == []
    assert Schedules(store).get(schedule.id).reason == "the sweep names code of its own"
    assert queued(store, time("2026-11-01T11:00")) == ["2026-11-01T11:00"]


def test_a_paused_schedule_is_not_due_and_leaves_out_what_it_missed(store: Store) -> None:
    schedule = made(store, "2026-11-01T09:30", cron="0 * * * *", zone="UTC")
    assert verbs.pause(store, schedule.id).paused
    assert queued(store, time("2026-11-01T12:30")) == []
    gone_on = verbs.resume(store, schedule.id, time("2026-11-01T12:30"))
    assert (gone_on.paused, gone_on.next_at[:16]) == (False, "2026-11-01T13:00")
    assert verbs.resume(store, schedule.id, time("2026-11-01T12:30")) == gone_on


def test_a_schedule_runs_when_somebody_asks_and_can_be_deleted(store: Store) -> None:
    schedule = made(store, "2026-11-01T09:30")
    job = verbs.run_now(store, schedule.id, lambda text: FOUND, by="bob", at=time("2026-11-01T10:00"))
    assert (job.due_at, job.submitted_by, Schedules(store).get(schedule.id).next_at) == (None, "bob", schedule.next_at)
    Schedules(store).delete(schedule.id)
    assert Schedules(store).list() == [] and Jobs(store).get(job.id).schedule_id == schedule.id
    for call in (Schedules(store).get, Schedules(store).delete, lambda which: verbs.pause(store, which)):
        with pytest.raises(ScheduleNotFoundError):
            call(schedule.id)


@pytest.mark.parametrize(
    "wrong",
    [{"name": " "}, {"cron": "x"}, {"zone": "Mars"}, {"baseline": "latest"}, {"priority": 101}, {"name": "x" * 101}],
)
def test_a_schedule_that_cannot_be_is_refused(store: Store, wrong: dict[str, object]) -> None:
    with pytest.raises(RequestError):
        made(store, "2026-11-01T09:30", **wrong)
    assert Schedules(store).list() == []


def test_names_are_unique_and_so_are_their_baselines(store: Store) -> None:
    made(store, "2026-11-01T09:30")
    with pytest.raises(ConflictError):
        made(store, "2026-11-01T09:30", name=" nightly ")
    names = ["nightly", "a b", "a-b", "ä b", "x" * 100, "x" * 99]
    assert len({verbs.baseline_name(name) for name in names}) == len(names)
    assert verbs.baseline_name("nightly") == "schedule/nightly"


# ---- verdicts and acceptances: a database of its own, since runs are in it


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Store]:
    path = service.filled(tmp_path / "runs.db", *(service.run_of(number) for number in (1, 2, 3)))
    with Store.create(str(path)) as opened:
        opened.set_baseline("main", service.run_of(1).id, set_at=AT)
        yield opened


def job(**changes: Any) -> Job:
    made = verbs.new_job(service.TINY, FOUND, by="ann", at=time("2026-11-30T12:00"), against="main")
    return replace(made, **changes)


def ended(store: Store, one: Job, run: int, judged: Judged | None = None, text: str = "there is no baseline") -> None:
    """The job is measured by this process, and ends with this verdict."""
    Jobs(store).add(one)
    Jobs(store).claim(ME, AT)
    verdict = verbs.verdict_of(
        store,
        one,
        service.run_of(run).id,
        base_id=judged and judged.base_id,
        verdict=judged and judged.verdict,
        text=judged.text if judged else text,
        changes=judged.changes if judged else (),
        at=AT,
    )
    assert Jobs(store).end(one.id, ME, JobState.MEASURED, AT, verdict=verdict)


def baselines(store: Store) -> dict[str, str]:
    return {one.name: one.run_id[-4:] for one in store.baselines()}


def test_the_first_right_run_of_a_schedule_becomes_its_baseline(runs: Store) -> None:
    ended(runs, job(schedule_id="s1", against="schedule/x"), 2)
    assert baselines(runs) == {"main": "0001", "schedule/x": "0002"}
    [verdict] = verdicts.verdicts(runs, schedule_id="s1")
    assert (verdict.verdict, verdict.base_id) == (verbs.BASELINE_SET, None)
    assert verdict.text.startswith("there is no baseline: run ")


def test_a_verdict_moves_no_baseline_and_keeps_what_changed(runs: Store) -> None:
    changes = (ChangedCase(case_id="c", label="3->4", verdict="regressed", ratio=1.2, low=1.1, high=1.3),)
    judged = Judged(base_id=service.run_of(1).id, verdict="regressed", text="regressed: 1", changes=changes)
    ended(runs, job(schedule_id="s1"), 2, judged)
    ended(runs, job(), 3, replace(judged, verdict="unchanged", changes=()))
    assert baselines(runs) == {"main": "0001"}
    newest, oldest = verdicts.verdicts(runs)
    assert (newest.verdict, newest.schedule_id, newest.changes) == ("unchanged", None, ())
    assert (oldest.verdict, oldest.changes, oldest.base_id) == ("regressed", changes, service.run_of(1).id)
    assert verdicts.verdicts(runs, run_ids=[newest.run_id]) == [newest]
    assert verdicts.verdicts(runs, run_ids=[]) == []


def test_a_job_that_compares_with_nothing_has_no_verdict(runs: Store) -> None:
    ended(runs, job(against=None), 2)
    ended(runs, job(), 2)
    assert verdicts.verdicts(runs) == [] and baselines(runs) == {"main": "0001"}


def test_the_verdict_travels_in_a_file(tmp_path: Path) -> None:
    from convbench.analysis.comparison import comparison

    folder = JobFolder(tmp_path / "job")
    assert folder.judged() is None
    base = service.run_of(1)
    slower = replace(service.run_of(1), id=service.run_of(2).id, results=base.results)
    folder.write_judged(comparison.compare(base, slower, {}))
    found = folder.judged()
    assert found is not None and (found.base_id, found.verdict, found.changes) == (base.id, "unchanged", ())
    (folder.path / "judged.json").write_text("[]", encoding="utf-8")
    with pytest.raises(RequestError, match="cannot be read"):
        folder.judged()


def test_who_accepts_moves_the_baseline_and_says_why(runs: Store) -> None:
    second = service.run_of(2).id
    done = verbs.accept(runs, "main", second[:-1], who="ann", reason=" a new\nkernel ", at=AT)
    assert baselines(runs) == {"main": "0002"}
    assert (done.before_id, done.run_id, done.reason, done.who) == (service.run_of(1).id, second, "a new kernel", "ann")
    assert verdicts.acceptances(runs) == [done] == verdicts.acceptances(runs, run_ids=[second], baseline="main")
    assert verdicts.acceptances(runs, baseline="other") == [] == verdicts.acceptances(runs, run_ids=[])


def test_what_cannot_be_accepted_changes_nothing(runs: Store) -> None:
    first, second, third = (service.run_of(number).id for number in (1, 2, 3))

    def refused(kind: type[RequestError], baseline: str, run: str, reason: str = "why", **more: str) -> None:
        with pytest.raises(kind):
            verbs.accept(runs, baseline, run, who="ann", reason=reason, at=AT, **more)

    refused(RequestError, "main", second, " ")
    refused(RunNotFoundError, "other", second)
    refused(RunNotFoundError, "main", "none")
    refused(ConflictError, "main", first)
    refused(ConflictError, "main", second, expected=third)
    refused(ConflictError, "baseline:main", second)
    assert baselines(runs) == {"main": "0001"} and verdicts.acceptances(runs) == []
    verbs.accept(runs, "main", second, who="ann", reason="why", at=AT, expected=first)
    refused(ConflictError, "main", third, expected=first)


def test_a_run_that_is_not_finished_cannot_be_accepted(tmp_path: Path) -> None:
    half = replace(service.run_of(2), state=RunState.INTERRUPTED)
    path = service.filled(tmp_path / "runs.db", service.run_of(1), half)
    with Store.create(str(path)) as store:
        store.set_baseline("main", service.run_of(1).id, set_at=AT)
        with pytest.raises(ConflictError, match="not finished"):
            verbs.accept(store, "main", half.id, who="ann", reason="why", at=AT)


# ---- changing a schedule


def test_of_two_who_change_a_schedule_at_once_one_is_refused(store: Store) -> None:
    seen = made(store, "2026-11-30T12:00")

    def change(number: int) -> bool:
        wanted = replace(verbs.wanted_of(seen), cron=f"{number} 4 * * *", priority=number)
        try:
            verbs.change(store, seen, wanted, None, at=time("2026-11-30T12:00"))
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        changed = list(threads.map(change, range(1, 9)))
    assert sum(changed) == 1
    kept = Schedules(store).get(seen.id)
    assert kept.cron == f"{kept.priority} 4 * * *" and kept.next_at[:16] == f"2026-12-01T03:0{kept.priority}"
    assert verbs.edition(kept) != verbs.edition(seen) == verbs.edition(replace(seen, next_at="", last_at="x"))


def test_a_change_of_anything_but_the_words_leaves_the_next_time(store: Store) -> None:
    seen = made(store, "2026-11-30T12:00")
    wanted = replace(verbs.wanted_of(seen), name="other", sweep="axes: {}", host="there", baseline="main", priority=9)
    changed = verbs.change(store, seen, wanted, replace(FOUND, name="new"), at=time("2027-01-01T12:00"))
    assert changed == replace(
        seen, name="other", sweep="axes: {}", sweep_name="new", host="there", baseline="main", priority=9
    )
    Schedules(store).delete(seen.id)
    with pytest.raises(ScheduleNotFoundError):
        verbs.change(store, changed, wanted, None, at=time("2027-01-01T12:00"))


def test_names_of_schedules_that_are_made_at_once_are_their_own(store: Store) -> None:
    def make(number: int) -> bool:
        try:
            made(store, "2026-11-30T12:00", priority=number)
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(make, range(8))) == 1
    other = made(store, "2026-11-30T12:00", name="other")
    with pytest.raises(ConflictError, match="there is a schedule 'nightly' already"):
        wanted = replace(verbs.wanted_of(other), name="nightly")
        verbs.change(store, other, wanted, None, at=time("2026-11-30T12:00"))


def test_schedules_with_one_name_get_names_of_their_own_when_the_tables_are_upgraded(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    shutil.copyfile(Path(__file__).parents[1] / "data" / "schema_v6.db", path)
    with closing(sqlite3.connect(path)) as old:
        columns = [row[1] for row in old.execute("PRAGMA table_info(schedules)") if row[1] not in ("key", "id")]
        copied = f"INSERT INTO schedules (id, {', '.join(columns)}) SELECT 'twin', {', '.join(columns)} FROM schedules"
        old.execute(copied)
        old.commit()
    with Store.create(str(path)) as store:
        names = [one.name for one in sorted(Schedules(store).list(), key=lambda one: one.id == "twin")]
    assert names[1] == f"{names[0]} (twin)"
