"""What channels get to know: confirmed changes, failures and silence, once each, in one message a minute."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import service
from postgres import Server

from convbench.actions import notices, schedules, silence
from convbench.actions.jobs import Checked
from convbench.actions.schedules import Wanted, text_of
from convbench.errors import ChannelNotFoundError, ConflictError, RequestError, StoreError
from convbench.model.job import MOST_TRIES, EventKind, Job, JobState
from convbench.model.notice import CHOSEN_KINDS, PAUSES_S, Channel, ChannelService, DeliveryState, NoticeKind, Outgoing
from convbench.model.schedule import ChangedCase, JobVerdict, Schedule
from convbench.store import Store, Writer
from convbench.store.channels import Channels
from convbench.store.deliveries import LOST_S, Deliveries
from convbench.store.jobs import Jobs
from convbench.store.schedules import Schedules
from convbench.store.verdicts import insert_verdict

FOUND = Checked(name="tiny", cases=1, rejections=0, devices=("cpu",), labels=())
ME = Writer.of_this_process()
GONE = replace(ME, started=ME.started + 1)
ELSEWHERE = replace(ME, host="another host")
AT = datetime(2026, 11, 30, 12, tzinfo=UTC)
HERE = "https://bench.example.org"
VERDICT = JobVerdict(
    job_id="",
    schedule_id="",
    at=text_of(AT),
    sweep_name="tiny",
    baseline="main",
    base_id="20261101-000000-aaaa",
    run_id="20261102-000000-bbbb",
    verdict="regressed",
    text="",
)


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


def channel(store: Store, name: str = "team", kinds: Any = CHOSEN_KINDS) -> Channel:
    url = f"https://example.org/secret-{name}"
    return notices.make(store, name, ChannelService.WEBHOOK, url, kinds, by="ann", at=AT)


def schedule(store: Store, name: str = "nightly", host: str = "here", cron: str = "30 2 * * *") -> Schedule:
    wanted = Wanted(
        name=name, cron=cron, zone="UTC", sweep=service.TINY, host=host, baseline=schedules.baseline_name(name)
    )
    return schedules.make(store, wanted, FOUND, by="ann", at=AT)


def queued(store: Store, of: Schedule, at: datetime = AT) -> Job:
    return schedules.run_now(store, of.id, lambda text: FOUND, by="ann", at=at)


def judged(store: Store, of: Schedule, verdict: str = "regressed", changes: int = 1, at: datetime = AT) -> str:
    """A job of a schedule with this verdict; returns its id."""
    job = queued(store, of, at)
    assert Jobs(store).claim(replace(ME, host=of.host), text_of(at)) is not None
    said = replace(
        VERDICT,
        job_id=job.id,
        schedule_id=of.id,
        at=text_of(at),
        baseline=of.baseline,
        verdict=verdict,
        text=f"{verdict}: {changes} of 12 cases",
        changes=tuple(
            ChangedCase(
                case_id=f"c{n}", label=f"layer {n}\n\x1b[2J", verdict="regressed", ratio=2 - n / 100, low=1, high=2
            )
            for n in range(changes)
        ),
    )
    owner = replace(ME, host=of.host)
    assert Jobs(store).end(job.id, owner, JobState.MEASURED, text_of(at), verdict=said)
    return job.id


def due(store: Store, at: datetime = AT + timedelta(days=400)) -> list[Outgoing]:
    """The messages that are due, claimed and sent."""
    found = []
    while (one := Deliveries(store).claim(ME, text_of(at))) is not None:
        assert Deliveries(store).sent(one, ME, text_of(at))
        found.append(one)
    return found


def subjects(messages: list[Outgoing]) -> list[str]:
    return [one.subject for message in messages for one in message.notices]


def test_confirmed_changes_of_schedules_are_told_and_nothing_else(store: Store) -> None:
    made, of = channel(store), schedule(store)
    changed = judged(store, of, "regressed")
    for verdict in ("unchanged", "inconclusive", "baseline set"):
        judged(store, of, verdict)
    judged(store, of, "improved")
    with store.writing() as connection:  # the verdict on a job that somebody submitted
        insert_verdict(connection, replace(VERDICT, job_id="j", schedule_id=None))
    assert subjects(due(store))[0] == f"change/{changed}"
    [found] = Deliveries(store).list(channel_id=made.id)
    assert (found.state, found.notices, found.tries, found.channel) == (DeliveryState.SENT, 2, 1, "team")


def test_what_comes_within_a_minute_is_one_message_for_each_channel(store: Store) -> None:
    channel(store), channel(store, "ops", [NoticeKind.FAILURE])
    some = [schedule(store, name) for name in ("a", "b", "c")]
    for place, of in enumerate(some):
        judged(store, of, at=AT + timedelta(seconds=10 * place))
    assert due(store, AT + timedelta(seconds=59)) == []
    [message] = due(store, AT + timedelta(seconds=60))
    assert (message.channel.name, len(message.notices)) == ("team", 3)
    judged(store, some[0], at=AT + timedelta(seconds=70))
    [later] = due(store)
    assert later.id != message.id and len(later.notices) == 1, "a message that was sent takes no more"


def test_a_message_names_the_worst_cases_and_counts_the_others(store: Store) -> None:
    channel(store)
    judged(store, schedule(store), changes=9)
    [found] = due(store)
    said = notices.message(found, f"{HERE}/")
    assert said.title == "tiny: regressed against schedule/nightly"
    lines = said.text.splitlines()
    assert lines[0] == "regressed: 9 of 12 cases" and lines[-2] == "and 4 more changed cases"
    assert lines[1] == "regressed, 2.00x (+0.0 % to 2.00x): layer 0 \\x1b[2J" and len(lines) == 8
    assert lines[-1] == f"{HERE}/compare?base=20261101-000000-aaaa&new=20261102-000000-bbbb"
    document = json.loads(said.body)
    assert (document["type"], document["timestamp"]) == ("convbench.notices", found.made_at)
    [one] = document["data"]["notices"]
    assert one["facts"]["counts"] == {"regressed": 9, "improved": 0} and len(one["facts"]["changes"]) == 5


def test_a_long_digest_is_cut(store: Store) -> None:
    channel(store)
    of = schedule(store)
    for place in range(25):
        judged(store, of, at=AT + timedelta(seconds=place))
    [found] = due(store)
    said = notices.message(found, HERE)
    assert said.title == "convbench: 25 events" and said.text.endswith("and 5 more events")
    assert json.loads(said.body)["data"]["left_out"] == 5


def test_a_job_of_a_schedule_that_failed_is_told_once(store: Store) -> None:
    channel(store)
    of = schedule(store)
    job, jobs, owner = queued(store, of), Jobs(store), replace(ME, host="here")
    jobs.add(replace(job, id="j-of-nobody", schedule_id=None))
    for _ in range(2 * MOST_TRIES):
        one = jobs.claim(owner, "9999")
        assert one is not None
        jobs.fail(one.id, owner, text_of(AT), "a reason", again_at=text_of(AT))
    [message] = due(store)
    assert subjects([message]) == [f"failure/{job.id}"]
    said = notices.message(message, HERE)
    assert said.title == "tiny: the job of a schedule failed" and said.text == f"a reason\n{HERE}/jobs/{job.id}"


def test_a_schedule_that_cannot_be_queued_is_told_when_the_reason_changes(store: Store) -> None:
    channel(store)
    of = schedule(store, cron="0 * * * *")

    reasons = iter(("no", "no", "still no", "no"))

    def refuse(text: str) -> Checked:
        raise RequestError(next(reasons))

    for hour in range(1, 5):
        assert schedules.queue_due(store, AT + timedelta(hours=hour, minutes=1), refuse) == []
    messages = due(store)
    assert [name.rsplit("/", 1)[1][11:13] for name in subjects(messages)] == ["13", "15", "16"]
    assert "nightly: no job for 2026-11-30T13:00" in notices.message(messages[0], HERE).text
    job = queued(store, of)
    assert schedules.queue_due(store, AT + timedelta(hours=5, minutes=1), lambda text: FOUND) == []
    [last] = due(store)
    assert job.id in notices.message(last, HERE).text


def test_a_host_that_goes_silent_is_told_once_and_its_return_too(store: Store) -> None:
    channel(store)
    of, jobs, owner = schedule(store), Jobs(store), replace(ME, host="here")
    job = queued(store, of)
    assert silence.announce(store, AT + timedelta(hours=24)) == 0
    for hours in (25, 26, 48):
        silence.announce(store, AT + timedelta(hours=hours))
    [message] = due(store)
    said = notices.message(message, HERE)
    assert said.title == "here is silent" and f"/jobs/{job.id}" in said.text and "the schedule nightly" in said.text
    channel(store, "new")
    back = AT + timedelta(hours=50)
    assert jobs.claim(owner, text_of(back)) is not None
    for _ in range(2):
        silence.announce(store, back + timedelta(hours=1))
    [again] = due(store)
    assert (again.channel.name, notices.message(again, HERE).title) == ("team", "here is back")
    assert silence.announce(store, back + timedelta(hours=23)) == 0, "a job is measured there"
    jobs.note(job.id, text_of(back + timedelta(hours=23)), [(EventKind.LOG, {"line": "x"})])
    assert silence.announce(store, back + timedelta(hours=46)) == 0, "its last event is a sign of life"


def test_a_host_may_be_silent_for_twice_the_time_between_two_jobs(store: Store) -> None:
    channel(store)
    for host, cron in enumerate(("*/5 * * * *", "0 */3 * * *", "30 2 * * *", "0 3 * * 1")):
        queued(store, schedule(store, f"on {host}", host=f"host {host}", cron=cron))
    for hours, silent in ((1, 1), (6, 1), (24, 2)):
        assert silence.announce(store, AT + timedelta(hours=hours)) == 0
        assert silence.announce(store, AT + timedelta(hours=hours, seconds=1)) == silent


def test_a_host_whose_queue_is_long_is_not_silent(store: Store) -> None:
    channel(store)
    queued(store, schedule(store))
    jobs, owner = Jobs(store), replace(ME, host="here")
    assert jobs.claim(owner, text_of(AT)) is not None
    queued(store, schedule(store, "second"))
    [running] = [one.job for one in jobs.running()]
    jobs.note(running.id, text_of(AT + timedelta(hours=30)), [(EventKind.LOG, {"line": "still here"})])
    assert silence.announce(store, AT + timedelta(hours=31)) == 0


# ---- what becomes of a message


def test_tries_come_later_and_later_until_a_message_is_given_up(store: Store) -> None:
    made, at = channel(store), AT
    message_id = Channels(store).test(made.id, by="ann", at=text_of(at))
    deliveries = Deliveries(store)
    for place, pause in enumerate((*PAUSES_S, None)):
        assert deliveries.claim(ME, text_of(at - timedelta(seconds=1))) is None, place
        one = deliveries.claim(ME, text_of(at))
        assert one is not None and (one.id, one.tries) == (message_id, place)
        assert deliveries.failed(one, ME, text_of(at), f"reason {place}")
        assert not deliveries.sent(one, ME, text_of(at)), "a late answer changes nothing"
        at += timedelta(seconds=pause or 0)
    [found] = deliveries.list()
    assert (found.state, found.tries, found.reason) == (DeliveryState.FAILED, 6, "reason 5")
    assert deliveries.again(message_id, text_of(at)).state is DeliveryState.WAITING
    with pytest.raises(ConflictError):
        deliveries.again(message_id, text_of(at))
    with pytest.raises(ChannelNotFoundError):
        deliveries.again("msg_unknown", text_of(at))
    [sent] = due(store)
    assert sent.id == message_id
    assert deliveries.prune(text_of(at + timedelta(days=500))) == 1 and deliveries.list() == []


def test_a_message_of_a_service_that_was_killed_is_sent_again_with_its_id(store: Store) -> None:
    made, deliveries = channel(store), Deliveries(store)
    ids = {Channels(store).test(made.id, by="ann", at=text_of(AT)) for _ in range(3)}
    claimed = {owner: deliveries.claim(owner, text_of(AT)) for owner in (GONE, ELSEWHERE, ME)}
    assert {one.id for one in claimed.values() if one} == ids
    assert deliveries.recover(text_of(AT)) == 1, "of a service that has ended here"
    assert deliveries.recover(text_of(AT + timedelta(seconds=LOST_S + 1))) == 2, "nothing is known of other hosts"
    late = claimed[GONE]
    assert late is not None and not deliveries.sent(late, GONE, text_of(AT)), "the one that was lost comes too late"
    assert {one.id for one in due(store)} == ids
    assert deliveries.counts() == {**dict.fromkeys(DeliveryState, 0), DeliveryState.SENT: 3}


def test_of_services_that_claim_at_once_each_message_is_one_services(store: Store) -> None:
    made, deliveries = channel(store), Deliveries(store)
    ids = [Channels(store).test(made.id, by="ann", at=text_of(AT)) for _ in range(24)]

    def work(number: int) -> list[str]:
        found, owner = [], replace(ME, pid=number)
        while any(one.state is DeliveryState.WAITING for one in deliveries.list()):
            one = deliveries.claim(owner, text_of(AT))
            if one is not None:
                assert deliveries.sent(one, owner, text_of(AT))
                found.append(one.id)
        return found

    with ThreadPoolExecutor(3) as threads:
        sent = Counter(each for some in threads.map(work, range(1, 4)) for each in some)
    assert sent == Counter(ids)


def test_a_channels_name_is_its_own_and_errors_hold_no_url(store: Store) -> None:
    made = channel(store)
    with pytest.raises(ConflictError) as caught:
        channel(store)
    assert "secret-team" not in f"{caught.value!r}{caught.value.hint}{made!r}" and caught.value.__cause__ is None
    for name in ("", "  ", "x" * 101):
        with pytest.raises(RequestError, match="1 to 100"):
            channel(store, name)
    Channels(store).test(made.id, by="ann", at=text_of(AT))
    Channels(store).delete(made.id)
    assert Channels(store).list() == [] == Deliveries(store).list()
    with pytest.raises(ChannelNotFoundError):
        Channels(store).delete(made.id)


def test_an_error_of_the_database_holds_no_row(store: Store) -> None:
    made = channel(store)
    with pytest.raises(StoreError) as caught, store.writing() as connection:
        from sqlalchemy import insert

        from convbench.store import schema

        row = {name: getattr(made, name) for name in ("id", "name", "url", "made_at", "made_by")}
        connection.execute(insert(schema.channels), row | {"service": "webhook", "kinds": ""})
    assert "secret-team" not in f"{caught.value}{caught.value.__cause__}"


def test_a_verdict_and_what_is_told_of_it_are_stored_together(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    channel(store)
    of = schedule(store)
    monkeypatch.setattr("convbench.store.verdicts.announce_verdict", lambda connection, verdict: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        judged(store, of)
    [job] = Jobs(store).list()[0]
    assert job.state is JobState.RUNNING and Schedules(store).get(of.id).last_job_id == job.id
