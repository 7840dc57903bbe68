"""The deciding part of a campaign, with hosts that are scripts: nothing is lost, nothing is measured again unsaid."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from fake_fleet import KEY, OTHER_KEY, FakeFleet, host

import convbench
from convbench.actions import fleets
from convbench.errors import RequestError
from convbench.fleet.campaign import MOST_DEATHS, FleetListener, ShardProgress
from convbench.fleet.engine import FleetLostError, Said
from convbench.fleet.messages import HostDevice
from convbench.model.campaign import Campaign, CampaignState, How, ShardState
from convbench.model.result import RunState
from convbench.store import Store

SWEEP = """
name: small
axes: {in_channels: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], out_channels: 4, kernel_size: 1, input_size: 8}
measure: {processes: 2, rounds: 2}
"""


@dataclass
class Conducted:
    """A campaign of the small sweep on a fake fleet, its messages, and its database."""

    folder: Path
    fleet: FakeFleet
    messages: list[str] = field(default_factory=list)
    progress: list[list[str]] = field(default_factory=list)
    at_progress: Callable[[int], None] = lambda count: None

    @property
    def db(self) -> str:
        return str(self.folder / "runs.db")

    def _listener(self) -> FleetListener:
        def progressed(shards: list[ShardProgress]) -> None:
            self.progress.append([str(shard) for shard in shards])
            self.at_progress(len(self.progress))

        return FleetListener(message=self.messages.append, progressed=progressed)

    def run(self, **options: object) -> Campaign:
        config = self.folder / "small.yaml"
        config.write_text(SWEEP)
        return fleets.run(
            config,
            address="auto",
            db=self.db,
            listener=self._listener(),
            opened=lambda address, **rest: self.fleet,
            **{"patience_s": 5.0, **options},
        )

    def resume(self) -> Campaign:
        return fleets.resume(
            "latest",
            address="auto",
            patience_s=5.0,
            db=self.db,
            listener=self._listener(),
            opened=lambda address, **rest: self.fleet,
        )

    def stored(self) -> Campaign:
        with Store.open(self.db) as store:
            return store.campaign()

    def said(self, text: str) -> bool:
        return any(text in message for message in self.messages)

    def assert_whole(self, *, again: int = 0) -> None:
        """All that hosts measured is stored; of it, `again` visits were measured in more than one run of a shard."""
        campaign = self.stored()
        stored = {}
        with Store.open(self.db) as store:
            for shard in campaign.shards:
                for run_id in shard.run_ids:
                    visits = store.load(run_id)
                    assert visits.environment.hostname in {at.host for at in self.fleet.there} | self.gone
                    stored[run_id] = store.visits(run_id)
        told = {(run, case) for run, case, _ in self.fleet.measured}
        assert {(run, case) for run, visits in stored.items() for case in visits} == told, "0 stored visits lost"
        assert set(self.fleet.measured.values()) == {1}, "no run measures a visit twice"
        twice = 0
        for shard in campaign.shards:
            cases = [(case, index) for run, case, index in self.fleet.measured if run in shard.run_ids]
            twice += len(cases) - len(set(cases))
        assert twice == again

    gone: set[str] = field(default_factory=set)


@pytest.fixture
def conducted(tmp_path: Path) -> Iterator[Callable[..., Conducted]]:
    def made(*hosts: HostDevice) -> Conducted:
        fleet = FakeFleet(there=list(hosts))
        return Conducted(folder=tmp_path, fleet=fleet)

    yield made


@pytest.fixture(autouse=True)
def fake_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The callers' clock is that of the fleet."""
    from convbench.fleet import campaign

    made = campaign.Caller.__init__

    def init(self: object, **named: object) -> None:
        made(self, **named, clock=named["fleet"].clock)  # type: ignore[attr-defined]  # a test's stand-in

    monkeypatch.setattr(campaign.Caller, "__init__", init)


def test_each_machine_key_measures_the_whole_sweep_on_one_host(conducted: Callable[..., Conducted]) -> None:
    made = conducted(host("a"), host("b"), host("x", OTHER_KEY))
    campaign = made.run()
    assert campaign.state is CampaignState.FINISHED
    assert [(shard.machine, shard.host, shard.state) for shard in campaign.shards] == [
        (KEY, "a", ShardState.FINISHED),
        (OTHER_KEY, "x", ShardState.FINISHED),
    ]
    assert replace(made.stored(), finished_at=None) == replace(campaign, finished_at=None)
    made.assert_whole()
    with Store.open(made.db) as store:
        run = store.load(campaign.shards[0].run_ids[0])
        assert (run.state, len(run.results), len(run.processes)) == (RunState.FINISHED, 10, 2)
        assert {each.host for each in store.runs()} == {"a", "x"}
    assert sorted(made.fleet.forgotten) == ["a", "x"], "hosts keep nothing that the caller has"
    assert made.fleet.closed


def test_python_has_the_same_verb(conducted: Callable[..., Conducted]) -> None:
    made = conducted(host("a"), host("b"))
    config = made.folder / "small.yaml"
    config.write_text(SWEEP)
    options = {"db": made.db, "opened": lambda address, **rest: made.fleet}
    with pytest.raises(RequestError, match="how 'both': expected each or split"):
        convbench.fleet_run(str(config), how="both", **options)
    made.fleet.at_step = {2: lambda: made.fleet.leave("b")}
    campaign = convbench.fleet_run(str(config), how="split", patience_s=0.0, **options)
    assert (campaign.how, [shard.host for shard in campaign.shards]) == (How.SPLIT, ["a", "a"])
    with pytest.raises(RequestError, match="is finished"):
        convbench.fleet_resume(**options)


def test_all_hosts_measure_where_asked(conducted: Callable[..., Conducted]) -> None:
    made = conducted(host("a"), host("b"), host("x", OTHER_KEY))
    assert [shard.host for shard in made.run(every_host=True).shards] == ["a", "b", "x"]


def test_hosts_of_one_key_share_the_cases_and_have_their_controls_in_common(
    conducted: Callable[..., Conducted],
) -> None:
    made = conducted(host("a"), host("b"))
    campaign = made.run(how=How.SPLIT)
    assert campaign.state is CampaignState.FINISHED
    assert len(campaign.controls) == 6
    own = [set(shard.case_ids) for shard in campaign.shards]
    assert own[0].isdisjoint(own[1])
    assert len(own[0] | own[1]) == 4
    with Store.open(made.db) as store:
        for shard in campaign.shards:
            run = store.load(shard.run_ids[0])
            assert {result.case.id for result in run.results} == set(campaign.controls) | set(shard.case_ids)
    assert made.said("no control case has a time on every host of a, b"), "scripted hosts take no blocks"
    made.assert_whole()


def test_labels_choose_hosts(conducted: Callable[..., Conducted]) -> None:
    made = conducted(host("a", labels=(("zone", "1"),)), host("b", labels=(("rack", "2"), ("zone", "2"))))
    assert [shard.host for shard in made.run(where=[("zone", "2")]).shards] == ["b"]
    with pytest.raises(RequestError, match="no host has the label zone=3") as found:
        made.run(where=[("zone", "3")])
    assert found.value.hint == "labels are rack=2, zone=1, zone=2"


def test_runner_that_dies_goes_on_at_its_host_where_it_was(conducted: Callable[..., Conducted]) -> None:
    made = conducted(host("a"))
    made.fleet.at_step = {2: lambda: made.fleet.kill_runner("a")}
    campaign = made.run()
    assert campaign.state is CampaignState.FINISHED
    assert [order.fresh for _, order in made.fleet.orders] == [True, False]
    assert len(campaign.shards[0].run_ids) == 1
    assert made.said("ended early: what runs it on host a ended; it will go on")
    made.assert_whole()


def test_run_whose_end_did_not_arrive_is_told_again_and_not_measured(conducted: Callable[..., Conducted]) -> None:
    made = conducted(host("a"))

    def end_unheard() -> None:
        (shard,) = made.fleet.shards.values()
        made.fleet._advance(shard)
        assert shard.kept.is_finished
        made.fleet.kill_runner("a")

    made.fleet.at_step = {3: end_unheard}
    campaign = made.run()
    assert (campaign.state, len(campaign.shards[0].run_ids)) == (CampaignState.FINISHED, 1)
    made.assert_whole()


@pytest.mark.parametrize("arrived", [0, 1, 2])
def test_host_that_dies_while_it_sends_loses_nothing(conducted: Callable[..., Conducted], arrived: int) -> None:
    """Of a process's lines, its visits and its facts, so many arrive; then the network is cut and the host is back."""
    made = conducted(host("a"))

    def cut() -> None:
        (shard,) = made.fleet.shards.values()
        made.fleet._advance(shard)
        made.fleet.losing.append(Said(ticket=1, lines=tuple(shard.queue[:arrived])))
        made.fleet.leave("a")

    made.fleet.at_step = {2: cut, 4: lambda: made.fleet.join(host("a"))}
    campaign = made.run()
    assert (campaign.state, campaign.shards[0].note) == (CampaignState.FINISHED, None)
    with Store.open(made.db) as store:
        run = store.load(campaign.shards[0].run_ids[0])
    assert [facts.process_index for facts in run.processes] == [0, 1]
    made.assert_whole()


def test_lost_host_that_comes_back_in_time_goes_on(conducted: Callable[..., Conducted]) -> None:
    made = conducted(host("a"), host("b"))
    made.fleet.at_step = {2: lambda: made.fleet.leave("a"), 5: lambda: made.fleet.join(host("a"))}
    campaign = made.run()
    assert [name for name, _ in made.fleet.orders] == ["a", "a"]
    assert made.said("waits up to 5 s for host a")
    assert (campaign.state, campaign.shards[0].note) == (CampaignState.FINISHED, None)
    made.assert_whole()


def test_host_that_was_restarted_begins_its_unfinished_cases_afresh_and_says_so(
    conducted: Callable[..., Conducted],
) -> None:
    made = conducted(host("a"))
    made.fleet.at_step = {2: lambda: made.fleet.leave("a"), 4: lambda: made.fleet.join(host("a", boot="boot-2"))}
    campaign = made.run()
    (shard,) = campaign.shards
    assert (campaign.state, len(shard.run_ids), shard.boot) == (CampaignState.FINISHED, 2, "boot-2")
    assert shard.note == "host a was restarted: 10 unfinished cases began afresh"
    assert made.said(shard.note)
    made.assert_whole(again=10)


def test_shard_moves_to_another_host_of_its_key_after_its_patience_and_says_so(
    conducted: Callable[..., Conducted],
) -> None:
    made = conducted(host("x", OTHER_KEY), host("a"), host("b"))
    made.gone = {"a"}
    made.fleet.at_step = {2: lambda: made.fleet.leave("a")}
    campaign = made.run()
    shard = next(shard for shard in campaign.shards if shard.machine == KEY)
    assert (campaign.state, shard.host, len(shard.run_ids)) == (CampaignState.FINISHED, "b", 2)
    moved = "host a was lost, and it moved to b: 10 unfinished cases began afresh"
    assert shard.note == f"{moved}, and what a had not sent is not used"
    assert made.said(shard.note)
    assert next(order for name, order in made.fleet.orders if name == "b").fresh
    made.assert_whole(again=10)


def test_moved_shard_measures_what_was_not_measured_to_the_end_alone(conducted: Callable[..., Conducted]) -> None:
    """A run of one process has measured some cases to its end before the next are visited."""
    made = conducted(host("a"), host("b"))
    made.gone = {"a"}
    made.fleet.processes = 1

    def lose_after_half() -> None:
        (shard,) = made.fleet.shards.values()
        first, rest = shard.kept.run.unmeasured[:4], shard.kept.run.unmeasured[4:]
        shard.kept.run = replace(shard.kept.run, unmeasured=first)
        made.fleet._measure(shard, 0)
        made.fleet.losing.append(Said(ticket=1, lines=tuple(shard.queue)))
        shard.kept.run = replace(shard.kept.run, unmeasured=(*first, *rest))
        made.fleet.leave("a")

    made.fleet.at_step = {1: lose_after_half}
    campaign = made.run()
    order = next(order for name, order in made.fleet.orders if name == "b")
    assert len(order.case_ids) == 6
    assert (campaign.shards[0].note or "").startswith("host a was lost, and it moved to b: 6 unfinished cases began")
    made.assert_whole()


def test_lost_host_without_another_of_its_key_interrupts_the_shard_and_resume_goes_on(
    conducted: Callable[..., Conducted],
) -> None:
    made = conducted(host("a"), host("x", OTHER_KEY))
    made.fleet.at_step = {2: lambda: made.fleet.leave("a")}
    made.gone = {"a"}
    campaign = made.run()
    states = {shard.host: shard.state for shard in campaign.shards}
    assert states == {"a": ShardState.INTERRUPTED, "x": ShardState.FINISHED}
    assert campaign.state is CampaignState.INTERRUPTED
    assert made.said("host a was lost, and no other host of this machine key is there")
    made.fleet.join(host("a"))
    again = made.resume()
    assert again.state is CampaignState.FINISHED
    assert [name for name, _ in made.fleet.orders] == ["a", "x", "a"], "what has finished is not asked again"
    made.assert_whole()


def test_two_shards_whose_hosts_are_lost_take_turns_on_the_one_that_is_left(
    conducted: Callable[..., Conducted],
) -> None:
    made = conducted(host("a"), host("b"), host("c"))
    made.gone = {"a", "b"}

    def lose() -> None:
        made.fleet.leave("a")
        made.fleet.leave("b")

    made.fleet.at_step = {2: lose}
    campaign = made.run(every_host=True)  # the fake fleet refuses two shards on one device
    assert campaign.state is CampaignState.FINISHED
    assert [shard.host for shard in campaign.shards] == ["c", "c", "c"]
    made.assert_whole(again=20)


def test_interrupt_stops_all_shards_and_keeps_what_they_measured(conducted: Callable[..., Conducted]) -> None:
    made = conducted(host("a"), host("x", OTHER_KEY))

    def interrupt(count: int) -> None:
        if count == 1:
            raise KeyboardInterrupt

    made.at_progress = interrupt
    with pytest.raises(KeyboardInterrupt):
        made.run()
    assert sorted(made.fleet.stopped) == [1, 2]
    assert made.fleet.shards == {}
    campaign = made.stored()
    assert campaign.state is CampaignState.INTERRUPTED
    assert {shard.state for shard in campaign.shards} == {ShardState.INTERRUPTED}
    made.assert_whole()
    with Store.open(made.db) as store:
        assert {run.state for run in store.runs()} == {RunState.INTERRUPTED}
    made.at_progress = lambda count: None
    assert made.resume().state is CampaignState.FINISHED
    assert [order.fresh for _, order in made.fleet.orders] == [True, True, False, False]
    made.assert_whole()


def test_lost_head_ends_the_campaign_and_resume_receives_what_hosts_kept(
    conducted: Callable[..., Conducted],
) -> None:
    made = conducted(host("a"))

    def lose() -> None:
        made.fleet.is_lost = True

    made.fleet.at_step = {2: lose}
    with pytest.raises(RequestError, match="the head is lost"):
        made.run()
    assert made.said("what shards have not sent stays on their hosts")
    assert made.stored().state is CampaignState.INTERRUPTED
    made.fleet.is_lost = False
    made.fleet.shards.clear()
    assert made.resume().state is CampaignState.FINISHED
    made.assert_whole()


def test_head_that_is_lost_while_the_last_lines_arrive_is_no_error(conducted: Callable[..., Conducted]) -> None:
    """What runs on hosts can be asked for a while without the head."""
    made = conducted(host("a"))
    (shards, hosts) = made.fleet.shards, made.fleet.hosts

    def hosts_or_lost() -> tuple[HostDevice, ...]:
        if any(len(shard.kept.measured) == 20 for shard in shards.values()):
            raise FleetLostError("the head is lost")
        return hosts()

    made.fleet.hosts = hosts_or_lost  # type: ignore[method-assign]  # a test's stand-in
    made.fleet.stop = made.fleet.stopped.append  # type: ignore[method-assign]  # it has finished before
    assert made.run().state is CampaignState.FINISHED
    assert made.fleet.stopped == [1]
    assert made.stored().state is CampaignState.FINISHED
    made.assert_whole()


def test_device_that_another_campaign_holds_is_waited_for(conducted: Callable[..., Conducted]) -> None:
    made = conducted(host("a"))
    made.fleet.busy_elsewhere = {"a"}
    made.fleet.at_step = {8: made.fleet.busy_elsewhere.clear}
    assert made.run().state is CampaignState.FINISHED
    assert [message for message in made.messages if "still holds a" in message] != []
    assert len(made.messages) == 1, "it is said once"


def test_shard_that_cannot_be_measured_fails_with_its_reason_and_the_others_go_on(
    conducted: Callable[..., Conducted],
) -> None:
    made = conducted(host("a"), host("x", OTHER_KEY))
    made.fleet.fails = {"a": ("the worker did not start: no torch", False)}
    campaign = made.run()
    assert {shard.host: (shard.state, shard.note) for shard in campaign.shards} == {
        "a": (ShardState.FAILED, "the worker did not start: no torch"),
        "x": (ShardState.FINISHED, None),
    }
    assert campaign.state is CampaignState.INTERRUPTED


def test_shard_that_only_dies_fails_after_some_tries(conducted: Callable[..., Conducted]) -> None:
    made = conducted(host("a"))
    made.fleet.crashes = {"a"}
    campaign = made.run()
    assert len(made.fleet.orders) == MOST_DEATHS + 1
    assert "ended 4 times without a new result" in (campaign.shards[0].note or "")


def test_full_disk_of_a_host_is_tried_again(conducted: Callable[..., Conducted]) -> None:
    made = conducted(host("a"))
    made.fleet.fails = {"a": ("the disk is full", True)}
    made.fleet.at_step = {3: made.fleet.fails.clear}
    assert made.run().state is CampaignState.FINISHED
    assert made.said("ended early: the disk is full; it will go on")


def test_run_that_cannot_go_on_at_its_host_begins_afresh_and_says_so(conducted: Callable[..., Conducted]) -> None:
    made = conducted(host("a"))
    made.fleet.at_step = {2: lambda: made.fleet.kill_runner("a")}
    made.fleet.forgets = {"a"}
    campaign = made.run()
    (shard,) = campaign.shards
    assert len(shard.run_ids) == 2
    assert "could not go on on host a: it began afresh" in (shard.note or "")
    made.assert_whole(again=10)


def test_end_that_was_stored_before_the_caller_was_killed_is_not_measured_again(
    conducted: Callable[..., Conducted],
) -> None:
    made = conducted(host("a"))
    made.run()
    connection = sqlite3.connect(made.db)  # as it is when the caller is killed between the two
    connection.execute("UPDATE campaigns SET state = 'running', finished_at = NULL")
    connection.execute("UPDATE shards SET state = 'running'")
    connection.commit()
    connection.close()
    orders = len(made.fleet.orders)
    assert made.resume().state is CampaignState.FINISHED
    assert len(made.fleet.orders) == orders
    made.assert_whole()


def test_shard_whose_run_was_deleted_begins_anew_and_says_so(conducted: Callable[..., Conducted]) -> None:
    made = conducted(host("a"), host("x", OTHER_KEY))
    made.fleet.at_step = {2: lambda: made.fleet.leave("a")}
    (lost,) = (shard.run_ids[0] for shard in made.run().shards if shard.host == "a")
    with Store.change(made.db) as store:
        store.delete([lost])
    made.fleet.join(host("a"))
    made.fleet.forgets = {"a"}
    shard = next(shard for shard in made.resume().shards if shard.host == "a")
    assert (shard.state, len(shard.run_ids)) == (ShardState.FINISHED, 2)
    assert f"its run {lost} is not stored any more" in (shard.note or "")
    assert made.fleet.orders[-1][1].fresh


def test_finished_campaign_is_not_resumed(conducted: Callable[..., Conducted]) -> None:
    made = conducted(host("a"))
    made.run()
    with pytest.raises(RequestError, match="is finished"):
        made.resume()


def test_host_beyond_its_own_history_is_told_and_then_passed_over(conducted: Callable[..., Conducted]) -> None:
    made = conducted(host("a"))
    for _ in range(3):
        assert made.run().shards[0].note is None
    made.fleet.factor = 1.5
    (shard,) = made.run().shards
    note = "reference layers took 1.50 times as long as in the slowest of the host's 3 earlier runs"
    assert shard.note == f"{note}: its times are beyond its own history"
    made.fleet.join(host("b"))
    slower = "host a was slower in its last run than its own history allows"
    assert [shard.host for shard in made.run().shards] == ["b"]
    assert made.messages[-1] == f"{slower}, and is passed over: --all-hosts takes it"
    made.messages.clear()
    assert sorted(shard.host or "" for shard in made.run(every_host=True).shards) == ["a", "b"]
    assert made.messages[0] == slower


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("no JSON", "a shard said what is no message"),
        ("[1]", "a shard said what is no message"),
        ('{"event": "run"}', "has no valid run"),
        ('{"event": "progress"}', "has no valid numbers"),
    ],
)
def test_what_is_no_message_ends_the_campaign_with_an_error(
    conducted: Callable[..., Conducted], line: str, message: str
) -> None:
    made = conducted(host("a"))
    made.fleet.at_step = {1: lambda: made.fleet.shards[1].queue.append(line)}
    with pytest.raises(RequestError, match=message):
        made.run()
    assert made.stored().state is CampaignState.INTERRUPTED


def test_secrets_are_not_sent(conducted: Callable[..., Conducted]) -> None:
    made = conducted(host("a"))
    config = made.folder / "secret.yaml"
    config.write_text(SWEEP.replace("input_size: 8", "input_size: 8, env: {MY_TOKEN: hush}"))
    with pytest.raises(RequestError, match=r"a sweep with secrets \(MY_TOKEN\) is not sent to hosts"):
        fleets.run(config, address="auto", db=made.db, opened=lambda address, **rest: made.fleet)
    assert made.fleet.orders == []
