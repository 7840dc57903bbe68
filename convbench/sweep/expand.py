"""Sweep -> Plan: expands a sweep's points into cases and rejections, and merges equal ones."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from operator import itemgetter
from typing import Any

from convbench import units
from convbench.model.case import Case
from convbench.model.following import resolved
from convbench.model.lookup import Lookup
from convbench.model.problem import Problem
from convbench.model.result import Rejection
from convbench.model.settings import CASE_SETTINGS, OF_CASE, PROBLEM_SETTINGS, TABLE, InputFormat
from convbench.sweep.parse import Listed, Sweep, Value, Values

#: Stands between the labels of equal entries of `cases`.
BOTH = " + "


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The cases and rejections of a sweep: points == excluded + merged + len(cases) + len(rejections).

    `idle` are the numbers of the sweep's exclusions that match no point.
    """

    cases: tuple[Case, ...]
    rejections: tuple[Rejection, ...]
    points: int
    merged: int
    excluded: int
    idle: tuple[int, ...] = ()


def cases(sweep: Sweep) -> Plan:
    """All points of a sweep as cases and rejections, equal ones merged.

    The order is the file's, except that the cases of one problem are adjacent: execution settings vary fastest. Work
    that depends on the problem only is done once per problem. Problems and settings are numbered, because hashing them
    for each point would take most of the time.
    """
    points = excluded = merged = 0
    exclusions = _Exclusions(sweep.exclude)
    problems: dict[Problem, tuple[int, str | None]] = {}  # its number, and torch's reason to refuse it
    combinations: dict[tuple[Value, ...], int] = {}  # of what settings mean: its number
    found: dict[tuple[int, int], Case] = {}  # by both numbers
    again: dict[tuple[int, int], list[Listed]] = {}  # of those in `found` that occur again: their entries of `cases`
    reasons: dict[tuple[int, int], str] = {}  # of those in `found` that torch would refuse
    for entry in sweep.listed:
        here: set[tuple[int, int]] = set()  # the axes may give one layer twice, which is then one layer
        axes = _axes_left(sweep, entry)
        settings: list[_Numbered] = [
            (combinations.setdefault(_meaning(chosen), len(combinations)), chosen)
            for chosen in _product(axes, CASE_SETTINGS)
        ]
        left: dict[tuple[int, ...], list[_Numbered]] = {}  # after the exclusions whose problem part matches
        for written in _product(axes, PROBLEM_SETTINGS):
            problem = Problem(**resolved(written))
            matching = exclusions.matching(written, problem)
            if matching not in left:
                left[matching] = exclusions.left(matching, settings)
            points += len(settings)
            excluded += len(settings) - len(left[matching])
            known = problems.get(problem)
            if known is None:
                known = problems[problem] = (len(problems), problem.refusal())
            number, refusal = known
            for combination, chosen in left[matching]:
                key = (number, combination)
                if first := found.get(key):
                    merged += 1
                    if key not in here:
                        again.setdefault(key, [_entry(first)]).append(entry)
                        here.add(key)
                    continue
                here.add(key)
                case = Case(problem=problem, given_label=entry.label, labels=entry.labels, count=entry.count, **chosen)
                found[key] = case
                if reason := refusal or case.unsuitable():
                    reasons[key] = reason
    for key, entries in again.items():
        found[key] = _merged(found[key], entries)
    return Plan(
        cases=tuple(case for key, case in found.items() if key not in reasons),
        rejections=tuple(Rejection(label=found[key].label, reason=reason) for key, reason in reasons.items()),
        points=points,
        merged=merged,
        excluded=excluded,
        idle=exclusions.idle(),
    )


#: Maximum number of notes about one kind of entry.
MOST_NOTES = 10


def notes(sweep: Sweep, plan: Plan) -> list[str]:
    """What users should know of a sweep: what it leaves out of a network, and idle entries of `exclude`.

    An entry of `exclude` that matches no point may be a mistake.
    """
    unmatched = set(plan.idle)
    at_work = {place for number, place in enumerate(sweep.exclude_places) if number not in unmatched}
    idle = [place for place in dict.fromkeys(sweep.exclude_places) if place not in at_work]
    found = [f"{sweep.path}:{line}: exclude[{index}] matches no point" for index, line in idle[:MOST_NOTES]]
    more = len(idle) - len(found)
    found += [f"{units.count(more)} more entries of exclude match no point"] if more else []
    return [*(f"left out {each}" for each in sweep.left_out[:MOST_NOTES]), *found]


def _merged(case: Case, entries: Sequence[Listed]) -> Case:
    """The case of equal entries of `cases`: with all their labels, and as often as they count together."""
    shown = dict.fromkeys(entry.label for entry in entries if entry.label)
    named = dict.fromkeys(label for entry in entries for label in entry.labels or shown_labels(entry.label))
    return replace(
        case,
        count=sum(entry.count for entry in entries),
        given_label=BOTH.join(shown) or None,
        labels=tuple(named) if any(entry.labels for entry in entries) else (),
    )


def _entry(case: Case) -> Listed:
    """The entry of `cases` from which a case was made, as far as `_merged` needs it."""
    return Listed(label=case.given_label, labels=case.labels, count=case.count)


def shown_labels(label: str | None) -> tuple[str, ...]:
    """The labels of equal entries of `cases` in the one that is shown for them."""
    return tuple(label.split(BOTH)) if label else ()


def points(sweep: Sweep) -> Iterator[tuple[dict[str, Value], Case]]:
    """Every point of a sweep without exclusions: its values as written, and its case, which torch may refuse."""
    for entry in sweep.listed:
        axes = _axes_left(sweep, entry)
        yield from ((chosen, case_at(chosen)) for chosen in _product(axes, axes))


def case_at(written: Mapping[str, Any]) -> Case:
    """The case of settings by name, as a sweep writes them."""
    problem = Problem(**resolved({name: value for name, value in written.items() if name in PROBLEM_SETTINGS}))
    return Case(problem=problem, **{name: value for name, value in written.items() if name in CASE_SETTINGS})


#: Values by the names of settings. Each was read by its setting's kind, which the types cannot say.
_Settings = dict[str, Any]
_Numbered = tuple[int, _Settings]
_DEFAULTS: _Settings = {name: row.default for name, row in OF_CASE.items()}
#: Settings of a problem whose value can be a number or a word for one.
_WORDS = tuple(name for name in PROBLEM_SETTINGS if TABLE[name].kind.least is not None and TABLE[name].kind.words)


def _axes_left(sweep: Sweep, entry: Listed) -> dict[str, tuple[Value, ...]]:
    """The values of every axis for one entry of `cases`, in the order of the file; one value for a named setting."""
    axes = {axis.name: axis.values for axis in sweep.axes} | {name: (value,) for name, value in entry.given}
    defaults = _DEFAULTS | {"allocator": sweep.allocator}
    return axes | {name: (value,) for name, value in defaults.items() if name not in axes}


def _meaning(settings: _Settings) -> tuple[Value, ...]:
    """The execution settings, equal where they mean the same: an input in the memory format has the format `same`.

    Cases keep the format as the sweep writes it, because stored cases have ids with it.
    """
    values = [settings[name] for name in CASE_SETTINGS]
    if settings["input_format"] == settings["memory_format"]:
        values[_INPUT_FORMAT] = InputFormat.SAME
    return tuple(values)


_INPUT_FORMAT = CASE_SETTINGS.index("input_format")


def _product(axes: dict[str, tuple[Value, ...]], among: Collection[str]) -> Iterator[_Settings]:
    """All combinations of the axes in `among`; the last axis varies fastest."""
    names = [name for name in axes if name in among]
    for values in product(*(axes[name] for name in names)):
        yield dict(zip(names, values, strict=True))


class _Exclusions:
    """The entries of `exclude` and the points that they match. Words match as written, numbers by value."""

    def __init__(self, exclude: Sequence[Values]) -> None:
        # Problem settings -> execution settings -> the numbers of the entries with these.
        entries: dict[Values, dict[Values, list[int]]] = {}
        for number, wanted in enumerate(exclude):
            part, rest = _among(wanted, PROBLEM_SETTINGS), _among(wanted, CASE_SETTINGS)
            entries.setdefault(part, {}).setdefault(rest, []).append(number)
        self._problems = Lookup(entries)
        self._settings = [Lookup(wanted) for wanted in entries.values()]
        self._numbers = [[*wanted.values()] for wanted in entries.values()]
        self._met: set[tuple[int, int]] = set()  # places in `_numbers` of the entries that matched

    def matching(self, written: _Settings, problem: Problem) -> tuple[int, ...]:
        """The numbers of the entries' problem settings that match."""
        if not self._settings:
            return ()
        numbers = {name: getattr(problem, name) for name in PROBLEM_SETTINGS}
        words = {name: word for name, word in written.items() if name in _WORDS and word != numbers[name]}
        return tuple(sorted(self._problems.numbers(numbers, words)))

    def left(self, matching: tuple[int, ...], settings: list[_Numbered]) -> list[_Numbered]:
        """The settings that are not excluded for a problem with these matches."""
        kept = []
        for each in settings:
            met = [(part, rest) for part in matching for rest in self._settings[part].numbers(each[1])]
            self._met.update(met)
            if not met:
                kept.append(each)
        return kept

    def idle(self) -> tuple[int, ...]:
        """The numbers of the entries that have matched no point."""
        parts = enumerate(self._numbers)
        left = [rest for part, rests in parts for at, rest in enumerate(rests) if (part, at) not in self._met]
        return tuple(sorted(number for numbers in left for number in numbers))


def _among(wanted: Values, names: Collection[str]) -> Values:
    return tuple(sorted((pair for pair in wanted if pair[0] in names), key=itemgetter(0)))
