"""What `convbench fleet status` prints: campaigns, newest first; of one campaign its shards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from convbench import units
from convbench.model.campaign import Campaign, Shard
from convbench.report.text.runs import minute
from convbench.report.text.tables import folded, table


def campaigns_text(campaigns: Sequence[Campaign], columns: int | None = None) -> str:
    """One line a campaign, or several where that is wider than `columns`."""
    if not campaigns:
        return "no campaigns are stored yet; `convbench fleet run CONFIG` makes one"
    rows: list[tuple[str, ...]] = [("campaign", "started (UTC)", "state", "how", "shards", "name")]
    rows += [
        (
            campaign.id,
            minute(campaign.started_at),
            str(campaign.state),
            str(campaign.how),
            shards_of(campaign.shards),
            campaign.name,
        )
        for campaign in campaigns
    ]
    return table(rows, columns)


def campaign_text(campaign: Campaign, columns: int | None = None) -> str:
    """The campaign and its shards, one line a shard, and below them what the user should know of each."""
    counted = f", {units.plural(len(campaign.controls), 'control')}" if campaign.controls else ""
    head = f"campaign {campaign.id}: {campaign.name}, {campaign.how}{counted}, {campaign.state}"
    rows: list[tuple[str, ...]] = [("shard", "state", "host", "cases", "run", "machine")]
    rows += [
        (
            str(shard.position + 1),
            str(shard.state),
            " ".join(filter(None, (shard.host, "" if shard.device == "cpu" else shard.device))),
            units.count(len(shard.case_ids)) if shard.case_ids else "all",
            shard.run_ids[-1] if shard.run_ids else "",
            str(shard.machine),
        )
        for shard in campaign.shards
    ]
    notes = [
        folded(f"shard {shard.position + 1}: {units.flat(shard.note)}", columns)
        for shard in campaign.shards
        if shard.note
    ]
    return "\n".join([folded(head, columns), table(rows, columns), *notes])


def shards_of(shards: Sequence[Shard]) -> str:
    """`2 finished, 1 failed`."""
    return ", ".join(f"{count} {state}" for state, count in Counter(shard.state for shard in shards).items())
