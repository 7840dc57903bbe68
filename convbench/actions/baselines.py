"""Which baseline a stored run is compared with where nobody names one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from convbench.model.campaign import MachineRun
from convbench.model.result import Baseline


def baseline_of(run_id: str, baselines: Sequence[Baseline], stored: Iterable[MachineRun]) -> Baseline | None:
    """The baseline of a run: of the older runs of its sweep on its machine key, the one that was named last.

    `stored` are the runs of all sweeps, or of this one; None also where the run is not among them.
    """
    known = {run.run_id: run for run in stored}
    run = known.get(run_id)
    if run is None:
        return None

    def fits(base: MachineRun | None) -> bool:
        same = base is not None and (base.name, base.machine) == (run.name, run.machine)
        return base is not None and same and base.started_at < run.started_at

    return max((one for one in baselines if fits(known.get(one.run_id))), key=lambda one: one.set_at, default=None)
