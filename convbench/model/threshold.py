"""Which change of a case's floor counts: a ratio per case, from a sweep's `compare:` and the caches' size. Pure."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from convbench.model.case import SETTINGS, Cache, Case, setting
from convbench.model.lookup import Lookup
from convbench.model.operators.conv import half_padding
from convbench.model.operators.given import DEPTHWISE, HALF
from convbench.model.problem import Problem

#: A change of the floor that counts, as a ratio minus 1. Floors of layers that live in the caches repeat to 0.2-1 % and
#: lay within 1.7 % in 95 of 100 pairs of runs, so that 5 % is change.
THRESHOLD = 0.05
#: The same for layers whose traffic reaches memory: they drift with the neighbours' use of it, by 5-6 % in
#: 95 of 100 pairs of runs.
BEYOND_L2 = 0.12


@dataclass(frozen=True, slots=True, kw_only=True)
class Special:
    """A threshold for the cases that have all of some settings, as (name, value) pairs.

    Numbers are meant by value; `half` and `depthwise` mean the cases that have what the word stands for.
    """

    settings: tuple[tuple[str, Hashable], ...]
    threshold: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """What counts as a change, as ratios minus 1; of several specials that hold for a case the last stands."""

    threshold: float = THRESHOLD
    beyond_l2: float = BEYOND_L2
    specials: tuple[Special, ...] = ()
    _lookup: Lookup = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_lookup", Lookup(special.settings for special in self.specials))

    def of(self, case: Case, l2_bytes: int | None) -> float:
        """The threshold of a case on a machine whose cores have this much second-level cache, None where unknown.

        What is unknown is taken for too small, so that ignorance flags nobody. Accelerators do not share their memory
        with neighbours, and their sweeps are held to `threshold`.
        """
        holding = self._lookup.numbers(_settings(case), _words(case.problem)) if self.specials else []
        if holding:
            return self.specials[max(holding)].threshold
        if case.device != "cpu":
            return self.threshold
        fits = case.cache is Cache.HOT and l2_bytes is not None and case.bytes <= l2_bytes
        return self.threshold if fits else self.beyond_l2


def _settings(case: Case) -> dict[str, Hashable]:
    return {name: setting(case, name) for name in SETTINGS}


def _words(problem: Problem) -> dict[str, str]:
    """The words that stand for what the problem has."""
    depthwise = problem.groups == problem.in_channels
    half = problem.padding == half_padding(problem.kernel_size, problem.dilation)
    return ({"groups": DEPTHWISE} if depthwise else {}) | ({"padding": HALF} if half else {})
