"""Which runs make a campaign: those of a stored one's shards, or the newest run of a sweep on each machine. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from convbench import units
from convbench.analysis.campaign.members import names_of
from convbench.analysis.campaign.shards import Split, merged
from convbench.model.campaign import Campaign, CampaignState, How, MachineKey, MachineRun, Shard, ShardState
from convbench.model.result import Run, RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """The runs of a campaign, each with the hosts that measured it.

    `id` is that of a stored campaign, None of the newest runs of a sweep. `splits` are those of machines whose hosts
    shared the cases out, and `notes` what the reader should know of it.
    """

    id: str | None
    name: str
    runs: tuple[tuple[Run, tuple[str, ...]], ...]
    splits: tuple[Split, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The campaign's id, or the name of the sweep."""
        return self.id or self.name


def newest(runs: Iterable[MachineRun], *, all_hosts: bool = False) -> tuple[MachineRun, ...]:
    """The newest finished run of each machine key, or with `all_hosts` of each host of it. `runs` are newest first."""
    found: dict[tuple[MachineKey, str | None], MachineRun] = {}
    for run in runs:
        if run.state is RunState.FINISHED:
            found.setdefault((run.machine, run.host if all_hosts else None), run)
    return tuple(found.values())


def of_newest(runs: Sequence[Run], notes: Sequence[str] = ()) -> Gathered:
    """The campaign of some runs of one sweep, the newest first, each of another machine or host."""
    hosts = tuple((run, (run.environment.hostname,)) for run in runs)
    return Gathered(id=None, name=runs[0].name, runs=hosts, notes=tuple(notes))


def of_campaign(campaign: Campaign, runs: Mapping[str, Run]) -> Gathered:
    """The runs of a stored campaign, from those of its shards' runs that are stored, by id.

    Where hosts shared the cases out, the runs of one machine key are made one. So are the runs of a shard that moved
    from host to host: the newest result of a case stays.
    """
    made: list[tuple[Run, tuple[str, ...]]] = []
    splits: list[Split] = []
    for shards in _groups(campaign):
        pieces = [piece for shard in shards for piece in _pieces(shard, runs)]
        if len(pieces) == 1:
            host, run = pieces[0]
            made.append((run, (host,)))
        elif pieces:
            whole, split = merged(pieces, campaign.controls, id=f"{campaign.id}-{shards[0].position}")
            made.append((whole, tuple(dict.fromkeys(split.hosts))))
            splits.append(split)
    return Gathered(
        id=campaign.id, name=campaign.name, runs=tuple(made), splits=tuple(splits), notes=tuple(_notes(campaign, runs))
    )


def _groups(campaign: Campaign) -> list[list[Shard]]:
    """The shards whose runs are read as one: those of a machine key where hosts share the cases out, else each."""
    if campaign.how is How.EACH:
        return [[shard] for shard in campaign.shards]
    found: dict[MachineKey, list[Shard]] = {}
    for shard in campaign.shards:
        found.setdefault(shard.machine, []).append(shard)
    return list(found.values())


def _pieces(shard: Shard, runs: Mapping[str, Run]) -> list[tuple[str, Run]]:
    """(host, run) of the stored runs of a shard, the newest first; the newest one ran on the shard's host."""
    stored = [runs[run_id] for run_id in reversed(shard.run_ids) if run_id in runs]
    found = []
    for place, run in enumerate(stored):
        is_newest = place == 0 and run.id == shard.run_ids[-1]
        found.append((shard.host if is_newest and shard.host else run.environment.hostname, run))
    return found


_STATES = {
    ShardState.WAITING: "waits",
    ShardState.RUNNING: "is running",
    ShardState.INTERRUPTED: "was interrupted",
    ShardState.FAILED: "failed",
}


def _notes(campaign: Campaign, runs: Mapping[str, Run]) -> Iterable[str]:
    """What the reader should know: shards that have not finished, that moved, or that have no run."""
    names = names_of([shard.machine for shard in campaign.shards], [() for _ in campaign.shards])
    if campaign.state is not CampaignState.FINISHED:
        yield f"the campaign is {campaign.state}: `convbench fleet status {campaign.id}` lists its shards"
    for shard, name in zip(campaign.shards, names, strict=True):
        where = f"{name} ({units.flat(shard.host)})" if shard.host else name
        gone = [run_id for run_id in shard.run_ids if run_id not in runs]
        if gone:
            yield f"the shard of {where} lacks {', '.join(gone)}: deleted, or not sent by its host yet"
        if not shard.run_ids:
            yield f"the shard of {where} has no run yet"
        elif shard.state is not ShardState.FINISHED:
            yield f"the shard of {where} {_STATES[shard.state]}"
        if shard.note:
            yield f"of the shard of {where}: {units.flat(shard.note)}"
