"""Compares two runs from a database or from exports, and two campaigns machine by machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convbench import sweep as sweeps
from convbench.errors import NotComparableError, RequestError
from convbench.model.result import Run

if TYPE_CHECKING:
    from convbench.analysis.campaign.comparing import CampaignComparison, MachineComparison, MachinePair
    from convbench.analysis.comparison.judgment import RunComparison

from convbench.actions.campaigns import gathered
from convbench.actions.naming import names_campaign
from convbench.actions.read import LATEST, run_of


def compare(base: str, new: str = LATEST, *, db: str | None = None, across_environments: bool = False) -> RunComparison:
    """Compare the runs `base` and `new`, each named as for `load`. Returns the comparison and both runs without checks.

    The new run's sweep gives the thresholds. Layers of networks that have no equal one are matched by their labels.
    Raises NotComparableError where the runs have neither a case nor a label in common. Different environments raise it
    too, unless `across_environments`.
    """
    return _compared(baseline(base, db=db), run_of(new, db=db, checks=False), across_environments)


def _compared(before: Run, after: Run, across_environments: bool) -> RunComparison:
    from convbench.analysis.comparison import comparison
    from convbench.analysis.comparison.comparability import refuse
    from convbench.analysis.comparison.judgment import RunComparison
    from convbench.analysis.comparison.networks import with_networks

    found = comparison.compare(before, after, sweeps.thresholds(after))
    if not across_environments:
        refuse(before, after, found.differences)
    found = with_networks(found, before, after)
    return RunComparison(comparison=found, base=before, new=after)


def baseline(ref: str, *, db: str | None = None) -> Run:
    """The run to compare with, named as for `load`. The results of checks, which no comparison needs, are not read."""
    return run_of(ref, db=db, checks=False)


def are_campaigns(base: str, new: str, *, db: str | None = None) -> bool:
    """Whether both names are those of campaigns; RequestError where one is and the other names a run.

    A baseline's name comes before that of a sweep, as everywhere.
    """
    refs = (base, new)
    found = [names_campaign(ref, db=db) for ref in refs]
    if any(found) and not all(found):
        campaign, other = refs if found[0] else refs[::-1]
        raise RequestError(
            f"{campaign} is a campaign, and {other} is none", hint="compare two campaigns, or the runs of one machine"
        )
    return all(found)


def compare_campaigns(
    base: str, new: str, *, db: str | None = None, across_environments: bool = False
) -> CampaignComparison:
    """Compare two campaigns, named as for `campaign`, machine by machine: each machine key has its own comparison.

    A machine whose runs cannot be compared has the reason. Raises NotComparableError where the campaigns have no
    machine key in common.
    """
    from convbench.analysis.campaign.comparing import CampaignComparison, paired
    from convbench.store import Store

    with Store.open(db) as store:
        before, after = (gathered(store, ref, checks=False) for ref in (base, new))
    found = paired(before, after)
    if not found.pairs:
        raise NotComparableError(
            f"{before} and {after} have no machine in common",
            hint=f"{base} is of {', '.join(found.only_base)}; {new} is of {', '.join(found.only_new)}",
        )
    return CampaignComparison(
        base=str(before),
        new=str(after),
        machines=tuple(_machine(pair, across_environments) for pair in found.pairs),
        only_base=found.only_base,
        only_new=found.only_new,
    )


def _machine(pair: MachinePair, across_environments: bool) -> MachineComparison:
    from convbench.analysis.campaign.comparing import MachineComparison

    if pair.refusal:
        return MachineComparison(name=pair.name, compared=None, refusal=pair.refusal)
    try:
        compared = _compared(pair.base, pair.new, across_environments)
    except NotComparableError as error:
        return MachineComparison(name=pair.name, compared=None, refusal=error.message)
    return MachineComparison(name=pair.name, compared=compared)
