"""The pages of campaigns as views: the list, and one with its shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convbench import units
from convbench.model.campaign import Campaign, How, Shard
from convbench.report.pages.rendering import when
from convbench.report.text.fleets import shards_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRow:
    """A shard in the table of its campaign."""

    machine: str
    host: str
    state: str
    cases: str
    run_ids: Sequence[str]
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignRow:
    """A campaign in a list, or on its page. `has_runs` is whether a report can be made."""

    id: str
    name: str
    how: str
    state: str
    started: str
    counts: str
    shards: Sequence[ShardRow]
    has_runs: bool


def row(campaign: Campaign) -> CampaignRow:
    """A campaign as a row."""
    shared = campaign.how is How.SPLIT
    controls = f", {units.plural(len(campaign.controls), 'control')} in each" if campaign.controls else ""
    return CampaignRow(
        id=campaign.id,
        name=" ".join(campaign.name.split()) or "without a name",
        how=f"cases shared out{controls}" if shared else "each machine key measures all cases",
        state=campaign.state.value,
        started=when(campaign.started_at),
        counts=shards_of(campaign.shards),
        shards=[_shard(shard) for shard in campaign.shards],
        has_runs=any(shard.run_ids for shard in campaign.shards),
    )


def _shard(shard: Shard) -> ShardRow:
    device = "" if shard.device == "cpu" else shard.device
    return ShardRow(
        machine=str(shard.machine),
        host=" ".join(filter(None, (shard.host, device))) or "none yet",
        state=shard.state.value,
        cases=units.count(len(shard.case_ids)) if shard.case_ids else "all",
        run_ids=shard.run_ids,
        note=" ".join((shard.note or "").split()),
    )
