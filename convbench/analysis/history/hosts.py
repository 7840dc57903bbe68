"""Whether a host is slower than its own history allows, by the reference layers of its runs. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from convbench.measure.references import QUANTILE, leading_times
from convbench.model.references import VERSION
from convbench.model.result import ProcessFacts

#: The fewest earlier runs that make a history.
FEWEST_RUNS = 3
#: The most earlier runs that are looked at, the newest.
MOST_RUNS = 10
#: How much longer than in the slowest earlier run the references may take, as a ratio minus 1. It is what the memory
#: probes of comparable runs may differ by (comparison/comparability.py).
ALLOWED = 0.05


def slowdown(new: Sequence[ProcessFacts], earlier: Sequence[Sequence[ProcessFacts]]) -> float | None:
    """How many times as long as in the slowest of the host's earlier runs its reference layers took in the new run.

    `new` and each of `earlier` are the processes of one run. The ratio is the largest over devices and numbers of
    threads. None where it is allowed, and where fewer than `FEWEST_RUNS` runs have the same references.
    """
    now, before = _levels(new), [_levels(processes) for processes in earlier]
    ratios = []
    for key, level in now.items():
        known = [levels[key] for levels in before if key in levels]
        if len(known) >= FEWEST_RUNS:
            ratios.append(math.exp(level - max(known)))
    worst = max(ratios, default=0.0)
    return worst if worst > 1 + ALLOWED else None


def _levels(processes: Sequence[ProcessFacts]) -> dict[tuple[str, int | None, float], float]:
    """The mean logarithm of a low quantile of the references' seconds, by device, threads and length of blocks."""
    rows: dict[tuple[str, int | None, float], list[np.ndarray]] = {}
    for one in (one for facts in processes for one in facts.references if one.version == VERSION):
        times = leading_times(one)[1]
        if len(times):
            rows.setdefault((one.device, one.threads, one.block_s), []).append(times)
    return {
        key: float(np.log(np.quantile(np.concatenate(found), QUANTILE, axis=0)).mean()) for key, found in rows.items()
    }
