"""Matches the layers of two networks by their module paths, where their shapes or settings differ. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from convbench.model.case import CASE_SETTINGS, Case, setting
from convbench.sweep.expand import shown_labels


def by_path(base: Sequence[Case], new: Sequence[Case]) -> list[tuple[Case, Case]]:
    """The layers of both sides whose path is the same and whose case is another one, as (base, new).

    A case may stand for several equal layers. Each of the pair has as label the first path that both have, and as count
    how many occurrences these paths are. So after a change to one of four equal layers, that one is matched.

    Occurrences that the same case has on the other side are none of these: they did not change. First the paths that
    also agree in direction and settings are matched, then those that agree in direction. A path that several cases of a
    side have decides nothing. The pairs come in the order of `new`.
    """
    first, second = _Side(base), _Side(new)
    first.without(second)
    found: dict[tuple[Case, Case], _Pair] = {}
    for key in (_by_settings, _by_direction):
        before, after = first.single(key), second.single(key)
        for name in after:
            if name in before:
                _match(name[0], (first, before[name]), (second, after[name]), found)
    order = {case: at for at, case in enumerate(new)}
    pairs = sorted(found.items(), key=lambda each: order[each[0][1]])
    return [
        (_part(cases[0], pair.paths, pair.before), _part(cases[1], pair.paths, pair.after)) for cases, pair in pairs
    ]


def paths(case: Case) -> tuple[str, ...]:
    """The paths of all equal layers that a case stands for, as far as they are known: older runs have one or few."""
    return case.labels or shown_labels(case.given_label)


def without_part(case: Case, parts: Collection[Case]) -> Case | None:
    """The case without the occurrences and paths of some parts of it (`by_path`); None where nothing is left."""
    count = case.count - sum(part.count for part in parts)
    gone = {path for part in parts for path in paths(part)}
    if not parts or count <= 0:
        return None if parts else case
    return _part(case, [path for path in paths(case) if path not in gone], count)


@dataclass(slots=True)
class _Pair:
    """What two cases have in common: the paths, and the occurrences of these on either side."""

    paths: list[str] = field(default_factory=list)
    before: int = 0
    after: int = 0


_Key: TypeAlias = Callable[[Case], tuple[Hashable, ...]]


class _Side:
    """The cases of one network, and how many occurrences and which paths of each are not matched yet."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self.left = {case: case.count for case in cases}
        self.paths = {case: dict.fromkeys(paths(case)) for case in cases}
        self._each = {case: max(1, case.count // max(1, len(self.paths[case]))) for case in cases}
        self.are_known = {case: len(self.paths[case]) > 1 or case.count == 1 for case in cases}

    def without(self, other: _Side) -> None:
        """Take away what both sides have: equal cases as often as both have them, and their common paths."""
        for case in self.left.keys() & other.left.keys():
            common = min(self.left[case], other.left[case])
            both = self.paths[case].keys() & other.paths[case].keys()
            for side in (self, other):
                side.left[case] -= common
                side.paths[case] = {path: None for path in side.paths[case] if path not in both}

    def single(self, key: _Key) -> dict[tuple[str, Hashable], Case]:
        """The cases with occurrences left by (path, key), where they are alone with it."""
        found: defaultdict[tuple[str, Hashable], list[Case]] = defaultdict(list)
        for case, count in self.left.items():
            if count > 0:
                for path in self.paths[case]:
                    found[path, key(case)].append(case)
        return {name: some[0] for name, some in found.items() if len(some) == 1}

    def take(self, case: Case, path: str, *, whole: bool) -> int:
        """The occurrences of a path; of the whole case where its other paths are not known."""
        del self.paths[case][path]
        last = not self.paths[case]
        taken = self.left[case] if whole or last else min(self.left[case], self._each[case])
        self.left[case] -= taken
        return taken


def _match(path: str, base: tuple[_Side, Case], new: tuple[_Side, Case], found: dict[tuple[Case, Case], _Pair]) -> None:
    """Match what two cases have of a path, where both still have occurrences."""
    (first, before), (second, after) = base, new
    if not (first.left[before] and second.left[after]):
        return
    whole = not (first.are_known[before] and second.are_known[after])
    pair = found.setdefault((before, after), _Pair())
    pair.paths.append(path)
    pair.before += first.take(before, path, whole=whole)
    pair.after += second.take(after, path, whole=whole)


def _part(case: Case, some: Sequence[str], count: int) -> Case:
    """A part of the layers of a case: with their number, and with their paths where they are not all."""
    if count == case.count or not some:
        return replace(case, count=count)
    return replace(case, count=count, given_label=some[0], labels=tuple(some) if len(some) > 1 else ())


def _by_direction(case: Case) -> tuple[Hashable, ...]:
    return (case.direction,)


def _by_settings(case: Case) -> tuple[Hashable, ...]:
    return case.direction, *(setting(case, name) for name in CASE_SETTINGS)
