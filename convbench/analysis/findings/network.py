"""Where a network's time goes: floor times count of its layers, for each combination of settings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from convbench import units
from convbench.analysis.findings.best import choice_text
from convbench.analysis.findings.evidence import Evidence
from convbench.analysis.findings.finding import Finding, FindingKind, Weight, line, listed
from convbench.analysis.findings.trouble import FATES
from convbench.model.case import CASE_SETTINGS, Case, canonical, setting
from convbench.model.problem import Direction, Problem
from convbench.model.result import Status

#: The layers that take most time and whose common share is reported.
MOST_LAYERS = 5
#: Combinations of settings that get a sentence each, the fastest first.
MOST_WAYS = 3
#: Layers without a time that a sentence names at most.
MOST_MISSING = 3

#: The settings whose combinations are reported one by one.
_AXES = tuple(axis for axis in CASE_SETTINGS if axis != "direction")

#: Why a layer has no time.
_WHY = {
    **FATES,
    Status.FAILED: "is wrong",
    Status.IMPRECISE: "is imprecise",
    Status.SKIPPED: "was skipped",
    Status.PASSED: "has no time",
}
_WAITING = "was not reached yet"


@dataclass(slots=True, kw_only=True)
class _Layer:
    """A layer with one combination of settings: seconds of each measured direction, and why others are missing."""

    name: str
    count: int
    seconds: dict[Direction, float] = field(default_factory=dict)
    missing: dict[Direction, str] = field(default_factory=dict)
    ids: dict[Direction, str] = field(default_factory=dict)

    def total(self, directions: Iterable[Direction]) -> float:
        """Seconds of some of its directions, times how often the layer occurs."""
        return sum(self.seconds.get(direction, 0.0) for direction in directions)


def network(evidence: Evidence) -> list[Finding]:
    """`the network spends 12 % of its time in layer3 3x3 (36.1 of 309 ms) ...` where layers are counted."""
    if not (evidence.table["count"] > 1).any():
        return []
    ways = _ways(evidence)
    settings = list(zip(*ways, strict=True))
    swept = [place for place, values in enumerate(settings) if len(set(values)) > 1]
    found = []
    for way, layers in ways.items():
        directions = _whole({direction for layer in layers for direction in layer.seconds})
        total = sum(layer.total(directions) for layer in layers)
        if total:
            name = " ".join(choice_text(_AXES[place], _value(way[place])) for place in swept)
            found.append((total, _missing(layers, directions), name, layers, directions))
    slowest = max((total for total, *_ in found), default=0.0)
    # A combination without some layers looks faster than it is, so it comes last.
    found.sort(key=lambda each: (bool(each[1]), each[0], each[2]))
    return [
        _finding(name, layers, directions, missing, size=1.0 if missing else slowest / total)
        for total, missing, name, layers, directions in found[:MOST_WAYS]
    ]


def _value(value: object) -> object:
    """A setting as in the table: environment variables are one text."""
    return canonical(value) or None if isinstance(value, tuple) else value


def _ways(evidence: Evidence) -> dict[tuple[object, ...], list[_Layer]]:
    """The layers of each combination of settings, in the order of the table."""
    cases = {case.id: case for case in evidence.rows.cases}
    table = evidence.table
    floors = table["floor_s"].to_numpy(dtype=float)
    ways: defaultdict[tuple[object, ...], dict[Problem, _Layer]] = defaultdict(dict)
    columns = (table[name] for name in ("case_id", "name", "label", "status", "count"))
    for floor_s, case_id, name, label, status, count in zip(floors, *columns, strict=True):
        case: Case = cases[case_id]
        layers = ways[tuple(setting(case, axis) for axis in _AXES)]
        words = name if isinstance(name, str) else str(label).partition(f" {case.direction.value} ")[0]
        layer = layers.setdefault(case.problem, _Layer(name=line(words), count=int(count)))
        layer.ids[case.direction] = str(case_id)
        ended = Status(status) if isinstance(status, str) else None
        if ended is Status.PASSED and np.isfinite(floor_s):
            layer.seconds[case.direction] = float(floor_s) * int(count)
        else:
            layer.missing[case.direction] = _WHY[ended] if ended else _WAITING
    return {way: list(layers.values()) for way, layers in ways.items()}


def _whole(measured: set[Direction]) -> tuple[Direction, ...]:
    """The directions whose times add up to the network's time without counting work twice."""
    if Direction.TRAIN_STEP in measured:
        return (Direction.TRAIN_STEP,)
    parts = (Direction.GRAD_INPUT, Direction.GRAD_WEIGHT)
    backward = (Direction.BACKWARD,) if Direction.BACKWARD in measured else parts
    return tuple(direction for direction in (Direction.FORWARD, *backward) if direction in measured)


def _finding(
    way: str, layers: list[_Layer], directions: tuple[Direction, ...], missing: str, *, size: float
) -> Finding:
    total = sum(layer.total(directions) for layer in layers)
    order = sorted(layers, key=lambda layer: -layer.total(directions))
    top, first = order[0], order[:MOST_LAYERS]
    factor, _ = units.time_unit(total)
    often = f"{units.count(top.count)} times, " if top.count > 1 else ""
    what = "" if directions == (Direction.FORWARD,) else f", {listed([each.value for each in directions])}"
    sentence = (
        f"{f'with {way} ' if way else ''}the network spends {_percent(top.total(directions), total)} of its time in "
        f"{top.name} ({often}{units.digits(top.total(directions) * factor)} of {units.seconds(total)}{what})"
    )
    if len(order) > MOST_LAYERS:
        share = _percent(sum(layer.total(directions) for layer in first), total)
        sentence += f", {share} in the {MOST_LAYERS} layers that take most"
    apart = [_alone(direction, order) for direction in Direction if any(direction in each.seconds for each in layers)]
    if len(apart) > 1:
        sentence += f"; {', '.join(apart)}"
    return Finding(
        weight=Weight.NETWORK,
        kind=FindingKind.NETWORK,
        size=size,
        sentence=sentence + (f"; {missing}" if missing else ""),
        cases=tuple(layer.ids[direction] for layer in first for direction in directions if direction in layer.seconds),
    )


def _alone(direction: Direction, layers: list[_Layer]) -> str:
    """`forward alone 96.3 ms (14 % in stem)`: one direction's time, and the layer that takes most of it."""
    total = sum(layer.total([direction]) for layer in layers)
    top = max(layers, key=lambda layer: layer.total([direction]))
    share = _percent(top.total([direction]), total)
    return f"{direction.value} alone {units.seconds(total)} ({share} in {top.name})"


def _missing(layers: list[_Layer], directions: tuple[Direction, ...]) -> str:
    """`without layer2, which crashed`: the layers that the times leave out; "" where there are none."""
    absent = []
    for layer in layers:
        lost = [direction for direction in directions if direction in layer.missing]
        if lost:
            part = "" if len(lost) == len(directions) else f"the {lost[0].value} of "
            absent.append((f"{part}{layer.name}", layer.missing[lost[0]]))
    if not absent:
        return ""
    if len(absent) == 1:
        return f"without {absent[0][0]}, which {absent[0][1]}"
    named = [f"{name} ({why})" for name, why in absent[:MOST_MISSING]]
    more = [f"{units.count(len(absent) - MOST_MISSING)} more"] if len(absent) > MOST_MISSING else []
    return f"without {listed([*named, *more])}"


def _percent(part: float, whole: float) -> str:
    return units.percent(part / whole, 0 if part >= 0.095 * whole else 1)
