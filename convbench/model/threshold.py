"""The smallest change of a case's floor that counts: a ratio per case, from a sweep's `compare:` and the caches' size.

No input or output.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from convbench.model.case import SETTINGS, Case, setting
from convbench.model.following import words
from convbench.model.lookup import Lookup

#: The smallest change of the floor that counts, as a ratio minus 1. Fifteen pairs of runs of the same code on a busy
#: machine had 1 case of 1,920 beyond it and beyond its interval (bench/same_code.py).
THRESHOLD = 0.03
#: The same for layers that read or write memory. Their floors change with the other guests' use of memory: by 5-6 % in
#: 95 of 100 pairs of runs.
BEYOND_L2 = 0.12
#: The fewest processes of a side on which a change is claimed: part of the noise stays the same within a process
#: (docs/measurement.md). Of two sides of four equal processes, all of one exceed all of the other in 2.9 % of runs.
FEWEST_PROCESSES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Special:
    """A threshold for the cases that have all of these settings, as (name, value) pairs.

    Numbers match by value; `half`, `depthwise` and `in_channels` match the cases whose number the word stands for.
    """

    settings: tuple[tuple[str, Hashable], ...]
    threshold: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """The thresholds of a sweep, as ratios minus 1; of several specials that match a case the last one applies."""

    threshold: float = THRESHOLD
    beyond_l2: float = BEYOND_L2
    specials: tuple[Special, ...] = ()
    _lookup: Lookup = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_lookup", Lookup(special.settings for special in self.specials))

    def of(self, case: Case, l2_bytes: int | None) -> float:
        """The threshold of a case on a machine whose cores have `l2_bytes` of second-level cache, None where unknown.

        An unknown cache counts as too small, so that no case is flagged because of it. Accelerators do not share their
        memory with other guests, so `threshold` applies to them.
        """
        holding = self._lookup.numbers(_settings(case), words(case.problem)) if self.specials else []
        if holding:
            return self.specials[max(holding)].threshold
        if case.device != "cpu":
            return self.threshold
        return self.threshold if case.fits(l2_bytes) else self.beyond_l2


def _settings(case: Case) -> dict[str, Hashable]:
    return {name: setting(case, name) for name in SETTINGS}
