"""Matches the layers of two networks by their module paths, where their shapes or settings differ. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence

from convbench.model.case import CASE_SETTINGS, Case, setting
from convbench.sweep.expand import BOTH


def by_path(base: Sequence[Case], new: Sequence[Case]) -> list[tuple[Case, Case]]:
    """The cases of both sides that have no equal one on the other side, but the label of one there.

    First those that also agree in direction and settings are matched, then those that agree in direction. A label that
    several cases of a side have decides nothing. The pairs come in the order of `new`.
    """
    before, after = set(base), set(new)
    left = [case for case in base if case not in after], [case for case in new if case not in before]
    found: dict[Case, Case] = {}
    for key in (_by_settings, _by_direction):
        known = set(found.values())
        sides = (
            _single((case for case in left[0] if case not in known), key),
            _single((case for case in left[1] if case not in found), key),
        )
        found |= {case: sides[0][name] for name, case in sides[1].items() if name in sides[0]}
    return [(found[case], case) for case in left[1] if case in found]


def path(case: Case) -> str | None:
    """The label of a layer; of equal layers that of the first."""
    return case.given_label.partition(BOTH)[0] if case.given_label else None


def _by_direction(case: Case) -> Hashable:
    return path(case), case.direction


def _by_settings(case: Case) -> Hashable:
    return path(case), *(setting(case, name) for name in CASE_SETTINGS)


def _single(cases: Iterable[Case], key: Callable[[Case], Hashable]) -> dict[Hashable, Case]:
    """The labelled cases that are alone with their key."""
    found: defaultdict[Hashable, list[Case]] = defaultdict(list)
    for case in cases:
        if case.given_label:
            found[key(case)].append(case)
    return {name: some[0] for name, some in found.items() if len(some) == 1}
