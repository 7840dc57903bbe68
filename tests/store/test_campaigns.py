"""Campaigns in the store: on each backend, who may change one, and that it comes back as it was written."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import strategies
from hypothesis import given, settings
from postgres import Server

from convbench.errors import RunNotFoundError, StoreError, TakenOverError
from convbench.model.campaign import Campaign, CampaignState, How, MachineKey, Shard, ShardState
from convbench.store import Store, Writer

ME = Writer.of_this_process()
GONE = dataclasses.replace(ME, started=ME.started + 1)  # this process id, but another process had it
ELSEWHERE = dataclasses.replace(ME, host="another-host")
KEY = MachineKey(cpu="AMD EPYC", architecture="x86_64", cores=2)
CAMPAIGN = Campaign(
    id="c20261124-031502-k7q2",
    name="sweep",
    how=How.EACH,
    source="name: sweep\n",
    started_at="2026-11-24T03:15:02+00:00",
    finished_at=None,
    state=CampaignState.RUNNING,
    shards=(
        Shard(position=0, machine=KEY, state=ShardState.WAITING),
        Shard(position=1, machine=KEY, state=ShardState.WAITING, host="b"),
    ),
)
LATER = dataclasses.replace(CAMPAIGN, id="c20261125-031502-k7q2", started_at="2026-11-25T03:15:02+00:00")
END = "2026-11-24T04:15:02+00:00"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgres")
        return server.new_database()
    return str(tmp_path / "runs.db")


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store.create(url) as store:
        yield store


@settings(max_examples=30)
@given(campaign=strategies.campaigns)
def test_campaign_comes_back_as_it_was_written(campaign: Campaign) -> None:
    shards = tuple(dataclasses.replace(shard, position=index) for index, shard in enumerate(campaign.shards))
    campaign = dataclasses.replace(campaign, shards=shards)
    with tempfile.TemporaryDirectory() as folder, Store.create(f"{folder}/runs.db") as store:
        store.begin_campaign(campaign, ME)
        assert store.campaign(campaign.id) == campaign


def test_shard_keeps_what_happens_to_it(store: Store) -> None:
    store.begin_campaign(CAMPAIGN, ME)
    changed = dataclasses.replace(
        CAMPAIGN.shards[1],
        state=ShardState.RUNNING,
        host="c",
        run_ids=("20261124-031502-k7q2", "20261124-031602-k7q2"),
        note="moved: b was lost",
        boot="8d6c",
    )
    store.update_shard(CAMPAIGN.id, changed)
    assert store.campaign().shards == (CAMPAIGN.shards[0], changed)
    store.finish_campaign(CAMPAIGN.id, CampaignState.FINISHED, END)
    assert (store.campaign().state, store.campaign().finished_at) == (CampaignState.FINISHED, END)
    with pytest.raises(StoreError, match="was not begun or taken over here"):
        store.update_shard(CAMPAIGN.id, changed)


def test_campaigns_are_listed_newest_first_and_found_by_prefix(store: Store) -> None:
    assert store.campaigns() == []
    store.begin_campaign(LATER, ME)
    store.begin_campaign(CAMPAIGN, ME)
    assert [campaign.id for campaign in store.campaigns()] == [LATER.id, CAMPAIGN.id]
    assert store.campaign().id == LATER.id
    assert store.campaign("c20261124").id == CAMPAIGN.id
    with pytest.raises(RunNotFoundError, match="begins the ids of 2 campaigns") as found:
        store.campaign("c2026")
    assert CAMPAIGN.id in (found.value.hint or "")
    with pytest.raises(RunNotFoundError, match="no campaign 'c3' is stored"):
        store.campaign("c3")


@pytest.mark.parametrize("writer", [ME, ELSEWHERE], ids=["here", "on another host"])
def test_second_caller_is_refused_while_the_first_may_live(url: str, writer: Writer) -> None:
    with Store.create(url) as first, Store.create(url) as second:
        first.begin_campaign(CAMPAIGN, writer)
        with pytest.raises(StoreError, match=f"is conducted by another process on {writer.host}"):
            second.take_over_campaign(CAMPAIGN.id, ME)
        assert second.campaign().state is CampaignState.RUNNING


def test_killed_callers_campaign_is_interrupted_and_taken_over_once(url: str) -> None:
    with Store.create(url) as first, Store.create(url) as second:
        running = dataclasses.replace(CAMPAIGN.shards[1], state=ShardState.RUNNING)
        first.begin_campaign(CAMPAIGN, GONE)
        first.update_shard(CAMPAIGN.id, running)
        assert second.campaign().state is CampaignState.INTERRUPTED
        assert [shard.state for shard in second.campaign().shards] == [ShardState.WAITING, ShardState.INTERRUPTED]
        first.update_shard(CAMPAIGN.id, CAMPAIGN.shards[1])
        found = second.take_over_campaign(CAMPAIGN.id, ME)
        assert found == CAMPAIGN
        with pytest.raises(TakenOverError, match="was taken over by another process"):
            first.update_shard(CAMPAIGN.id, CAMPAIGN.shards[0])
        second.update_shard(CAMPAIGN.id, CAMPAIGN.shards[0])


def test_interrupted_campaign_goes_on_and_a_finished_one_does_not(store: Store) -> None:
    store.begin_campaign(CAMPAIGN, ME)
    store.finish_campaign(CAMPAIGN.id, CampaignState.INTERRUPTED, END)
    assert store.take_over_campaign(CAMPAIGN.id, ME).state is CampaignState.RUNNING
    store.finish_campaign(CAMPAIGN.id, CampaignState.FINISHED, END)
    with pytest.raises(StoreError, match="is finished"):
        store.take_over_campaign(CAMPAIGN.id, ME)
