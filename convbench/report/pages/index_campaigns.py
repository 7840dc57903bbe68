"""The campaigns on the page of all runs: one row each, the newest first, with a link to its page. Pure."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from convbench import units
from convbench.model.campaign import Campaign, CampaignState, How, Shard, ShardState
from convbench.report.pages.rendering import when

#: Campaigns on the page; `convbench fleet status` lists all.
MOST_CAMPAIGNS = 50
#: Machines, and hosts, that a row names.
_MOST_NAMED = 4
_HOW = {How.EACH: "each machine all cases", How.SPLIT: "cases shared out"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignRow:
    """One campaign as ready strings. `href` is None without a page, and `state` "" of a finished campaign.

    A page of a sweep's newest runs has no `id`, `when`, `state`, machines, hosts and shards.
    """

    id: str
    href: str | None
    started_at: str
    when: str
    state: str
    sweep: str
    how: str
    machines: str
    hosts: str
    shards: str


def page_name(name: str, id: str | None) -> str:
    """`campaign-<name>-<id>.html`, without an id for the newest runs of a sweep. It ends with no run's id."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60].strip("-")
    parts = ["campaign", slug or "runs", *([re.sub(r"[^A-Za-z0-9]+", "-", id)[:60]] if id else [])]
    return f"{'-'.join(parts)}.html"


def rows(campaigns: Sequence[Campaign], sweeps: Iterable[str], files: Collection[str]) -> list[CampaignRow]:
    """The newest campaigns, then the sweeps whose newest runs have a page of their machines among these files."""
    found = [_of_campaign(campaign, files) for campaign in campaigns[:MOST_CAMPAIGNS]]
    pages = {page_name(sweep, None): sweep for sweep in reversed(list(dict.fromkeys(sweeps)))}
    return found + [_of_newest(sweep, name) for name, sweep in reversed(pages.items()) if name in files]


def _of_campaign(campaign: Campaign, files: Collection[str]) -> CampaignRow:
    name = page_name(campaign.name, campaign.id)
    shards = campaign.shards
    finished = sum(shard.state is ShardState.FINISHED for shard in shards)
    return CampaignRow(
        id=campaign.id,
        href=_href(name) if name in files else None,
        started_at=campaign.started_at,
        when=when(campaign.started_at),
        state="" if campaign.state is CampaignState.FINISHED else campaign.state.value,
        sweep=units.flat(campaign.name),
        how=_HOW[campaign.how],
        machines=_named([str(shard.machine) for shard in shards], "machine"),
        hosts=_named(_hosts(shards), "host"),
        shards=units.plural(len(shards), "shard")
        if finished == len(shards)
        else f"{units.count(finished)} of {units.plural(len(shards), 'shard')} finished",
    )


def _of_newest(sweep: str, name: str) -> CampaignRow:
    return CampaignRow(
        id="",
        href=_href(name),
        started_at="",
        when="",
        state="",
        sweep=units.flat(sweep),
        how="the newest run of each machine",
        machines="",
        hosts="",
        shards="",
    )


def _hosts(shards: Iterable[Shard]) -> list[str]:
    return [units.flat(shard.host) for shard in shards if shard.host]


def _named(names: Iterable[str], noun: str) -> str:
    """The names, each once; of many the first ones and how many more there are."""
    each = list(dict.fromkeys(names))
    more = [f"{units.plural(len(each) - _MOST_NAMED, f'more {noun}')}"] if len(each) > _MOST_NAMED else []
    return "; ".join([*each[:_MOST_NAMED], *more])


def _href(name: str) -> str:
    return f"./{urllib.parse.quote(name, safe='', errors='replace')}"
