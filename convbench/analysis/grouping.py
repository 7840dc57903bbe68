"""Changes that share settings, told as one: settings whose cases nearly all changed. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from convbench.case import CASE_SETTINGS, PROBLEM_SETTINGS, Case, canonical, setting
from convbench.measure.estimate import Integers
from convbench.problem import DEPTHWISE

#: The share of the cases with some settings, of those that could show it, that must have changed for these settings to
#: stand for the change: planted slowdowns are found in 95 of 100 cases, and a group of a handful may miss one.
NEARLY_ALL = 0.8
#: The fewest changed cases that make a group.
FEWEST = 2
#: Settings that describe a group at most; more than three describe a case, not a group.
MOST_SETTINGS = 3
#: Groups told at most, the largest first; what is left stands in the lines of the cases.
MOST_GROUPS = 8
#: Settings whose values are words of their own.
_OWN_WORDS = ("dtype", "memory_format", "direction", "device", "module")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """Settings that changed cases share: `name` in words, the positions of those that changed, how many have them."""

    name: str
    changed: Integers
    cases: int


def shared(cases: Sequence[Case], changed: NDArray[np.bool_], unchanged: NDArray[np.bool_]) -> list[Shared]:
    """The settings that explain which of the cases changed, the one with the most of them first.

    `unchanged` are the cases that speak against a setting; those that are neither could not have shown such a change.
    Each next one is chosen for the most changed cases that none before it has. Of equals the one that fewer unchanged
    cases have, then the one with fewer settings.
    """
    left = changed.copy()
    if left.sum() < FEWEST:
        return []
    axes = _Axes(cases)
    found: list[Shared] = []
    while len(found) < MOST_GROUPS and left.sum() >= FEWEST:
        best = None
        for size in range(min(MOST_SETTINGS, len(axes.swept)) + 1):
            for some in combinations(axes.swept, size):
                candidate = axes.best(some, changed, unchanged, left)
                if candidate is not None and (best is None or candidate.fit > best.fit):
                    best = candidate
            if size >= 2 and best is not None:  # three settings only where two explain nothing
                break
        if best is None:
            break
        inside = axes.inside(best)
        found.append(Shared(name=axes.words(best), changed=np.flatnonzero(inside & changed), cases=int(inside.sum())))
        left &= ~inside
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """A value of each of some settings, and how well they fit: (changed cases not told yet, -against, -settings)."""

    axes: tuple[str, ...]
    code: int
    fit: tuple[int, int, int]


class _Axes:
    """The settings that differ among the cases, their values numbered."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self.values: dict[str, list[object]] = {}
        self.codes: dict[str, Integers] = {}
        self.count = len(cases)
        # A run repeats few problems, as the same objects, so that their settings are looked at once for each.
        problems = {id(case.problem): case for case in cases}
        places = {key: place for place, key in enumerate(problems)}
        problem = np.array([places[id(case.problem)] for case in cases], dtype=np.int64)
        for name in PROBLEM_SETTINGS:
            self._number(name, [_value(case, name) for case in problems.values()], problem)
        for name in CASE_SETTINGS:
            self._number(name, [*map(attrgetter(name), cases)], None)
        self.swept = tuple(self.values)

    def _number(self, name: str, values: list[object], of_case: Integers | None) -> None:
        """Note a setting that differs; `values` are those of the cases, or of what `of_case` names for each."""
        numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
        if len(numbers) > 1:
            codes = np.array([numbers[value] for value in values], dtype=np.int64)
            self.values[name], self.codes[name] = list(numbers), codes if of_case is None else codes[of_case]

    def together(self, axes: tuple[str, ...]) -> Integers:
        """A number for each case, the same for those with the same values of some settings."""
        code = np.zeros(self.count, dtype=np.int64)
        for name in axes:
            code = code * len(self.values[name]) + self.codes[name]
        return code

    def best(self, axes: tuple[str, ...], *masks: NDArray[np.bool_]) -> _Candidate | None:
        """The values of some settings that fit best, None where none stand for a change.

        `masks` are the changed cases, those that speak against, and the changed ones that are not told yet.
        """
        code, most = self.together(axes), math.prod(len(self.values[name]) for name in axes)
        if most <= self.count:
            distinct = np.arange(most)
        else:  # more combinations than cases, most of them of no case
            distinct, code = np.unique(code, return_inverse=True)
        changed, against, new = (
            np.bincount(code, weights=mask, minlength=len(distinct)).astype(np.int64) for mask in masks
        )
        fits = (changed >= NEARLY_ALL * (changed + against)) & (new >= FEWEST)
        if not fits.any():
            return None
        at = int(np.lexsort((-against, np.where(fits, new, -1)))[-1])
        return _Candidate(axes=axes, code=int(distinct[at]), fit=(int(new[at]), -int(against[at]), -len(axes)))

    def inside(self, candidate: _Candidate) -> NDArray[np.bool_]:
        """Which cases have these values."""
        inside: NDArray[np.bool_] = self.together(candidate.axes) == candidate.code
        return inside

    def words(self, candidate: _Candidate) -> str:
        """`groups=depthwise and bfloat16`."""
        code, words = candidate.code, []
        for name in reversed(candidate.axes):
            code, position = divmod(code, len(self.values[name]))
            words.append(_words(name, self.values[name][position]))
        words.reverse()
        return " and ".join(words) or "all cases"


def _value(case: Case, name: str) -> object:
    problem = case.problem
    if name == "groups" and problem.groups == problem.in_channels > 1:
        return DEPTHWISE
    return setting(case, name)


def _words(name: str, value: object) -> str:
    if name == "batch_size" and value is None:
        return "unbatched"
    text = " ".join(canonical(value).split())
    return text if name in _OWN_WORDS else f"{name}={text}"
