"""Two campaigns compared machine by machine: each machine key has a verdict of its own. Pure.

Times are compared within a machine key alone, and no verdict is a mean over keys.
"""

from __future__ import annotations

from dataclasses import dataclass

from convbench.analysis.campaign.gathering import Gathered
from convbench.analysis.campaign.members import Member, members
from convbench.analysis.comparison.judgment import RunComparison
from convbench.model.result import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinePair:
    """The runs of two campaigns on one machine. `refusal` says why they cannot be compared, "" where they can."""

    name: str
    base: Run
    new: Run
    refusal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """The machines of two campaigns: those of both, and the names of those of one alone."""

    pairs: tuple[MachinePair, ...]
    only_base: tuple[str, ...]
    only_new: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineComparison:
    """What became of one machine: its comparison, or why there is none."""

    name: str
    compared: RunComparison | None
    refusal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignComparison:
    """The machines of two campaigns, each compared on its own. `base` and `new` name the campaigns."""

    base: str
    new: str
    machines: tuple[MachineComparison, ...]
    only_base: tuple[str, ...] = ()
    only_new: tuple[str, ...] = ()


def paired(base: Gathered, new: Gathered) -> Paired:
    """The machines of both campaigns by machine key, and of one key by host where both have the host."""
    left, pairs = list(members(base.runs)), []
    only_new = []
    for member in members(new.runs):
        same = [one for one in left if one.key == member.key]
        other = next((one for one in same if set(one.hosts) & set(member.hosts)), same[0] if same else None)
        if other is None:
            only_new.append(member.name)
            continue
        left.remove(other)
        refusal = "; ".join(filter(None, (_refusal(base, other), _refusal(new, member))))
        pairs.append(MachinePair(name=member.name, base=other.run, new=member.run, refusal=refusal))
    return Paired(pairs=tuple(pairs), only_base=tuple(one.name for one in left), only_new=tuple(only_new))


def _refusal(campaign: Gathered, member: Member) -> str:
    """Why the run of a machine is not one run; "" where it is."""
    apart = [split for split in campaign.splits if split.run_id == member.run.id and not split.is_one]
    return f"{campaign}: {apart[0]}" if apart else ""
