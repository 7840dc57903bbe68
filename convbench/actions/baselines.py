"""Which baseline a stored run is compared with where nobody names one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from convbench.model.result import Baseline, RunSummary


def baseline_of(run: RunSummary, baselines: Sequence[Baseline], stored: Mapping[str, RunSummary]) -> Baseline | None:
    """The baseline of a run: of the older runs of its sweep on its processor, the one that was named last."""

    def fits(base: RunSummary | None) -> bool:
        same = base is not None and (base.name, base.cpu) == (run.name, run.cpu)
        return base is not None and same and base.started_at < run.started_at

    return max((one for one in baselines if fits(stored.get(one.run_id))), key=lambda one: one.set_at, default=None)
