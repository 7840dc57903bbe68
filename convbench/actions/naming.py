"""Whether a name that a user gives is that of a campaign or of a run."""

from __future__ import annotations

from convbench.actions.campaigns import is_id
from convbench.actions.read import LATEST, is_export
from convbench.model.result import RunState


def names_campaign(ref: str, *, db: str | None = None) -> bool:
    """Whether a name is a campaign's: its id, or the name of a sweep with a finished run, of which no baseline has it.

    Ids of runs begin with a digit.
    """
    from convbench.store import Store

    if is_id(ref):
        return True
    if ref == LATEST or ref[:1].isdigit() or ref.startswith("baseline:") or is_export(ref):
        return False
    with Store.open(db) as store:
        if ref in {one.name for one in store.baselines()}:
            return False
        return any(run.state is RunState.FINISHED for run in store.machine_runs(name=ref))
