"""Where a network's time goes: time times count of its layers, for each combination of settings.

Also which layers are worth fixing first: those that reach less of their roof than similar layers of the network.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd

from convbench import units
from convbench.analysis.findings.best import choice_text
from convbench.analysis.findings.effects import MOST, SMALLEST_EFFECT
from convbench.analysis.findings.evidence import Evidence
from convbench.analysis.findings.finding import Finding, FindingKind, Weight, line, listed, setting_text
from convbench.analysis.findings.trouble import FATES
from convbench.model.case import CASE_SETTINGS, PROBLEM_SETTINGS, Case, canonical
from convbench.model.problem import Direction, Problem
from convbench.model.result import Status

#: The layers that take most time and whose common share is reported.
MOST_LAYERS = 5
#: Combinations of settings that get a sentence each, the fastest first.
MOST_WAYS = 3
#: Layers without a time that a sentence names at most.
MOST_MISSING = 3

#: Layers that are named as worth fixing, and the part of the network's time that each would save at least.
MOST_FIXED = 3
LEAST_GAIN = 0.01
#: Similar layers from which on their median says what such a layer can reach.
LEAST_SIMILAR = 3

#: The part of a network's time that may be noise is reported from here on.
MUCH_DOUBT = 0.1

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
    kind: tuple[object, ...]  # layers of one kind are similar
    efficiency: dict[Direction, float] = field(default_factory=dict)
    seconds: dict[Direction, float] = field(default_factory=dict)
    doubt: dict[Direction, float] = field(default_factory=dict)  # the part of `seconds` that may be noise
    missing: dict[Direction, str] = field(default_factory=dict)
    ids: dict[Direction, str] = field(default_factory=dict)

    def total(self, directions: Iterable[Direction]) -> float:
        """Seconds of some of its directions, times how often the layer occurs."""
        return sum(self.seconds.get(direction, 0.0) for direction in directions)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """The layers of one network with one combination of settings; `network` are the values that make the network."""

    name: str
    network: tuple[object, ...]
    layers: list[_Layer]

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The directions that its time is made of."""
        return _whole({direction for layer in self.layers for direction in layer.seconds})

    @property
    def seconds(self) -> float:
        """Its time."""
        return sum(layer.total(self.directions) for layer in self.layers)

    @property
    def missing(self) -> str:
        """The layers that its time leaves out, in words."""
        return _missing(self.layers, self.directions)


def network(evidence: Evidence) -> list[Finding]:
    """`the network spends 12 % of its time in layer3 3x3 (36.1 of 309 ms) ...` where layers are counted or named.

    Where the axes multiply all layers by a setting of their problems, as by two batch sizes, each value is a network.
    """
    if not is_network(evidence.table):
        return []
    networks: defaultdict[tuple[object, ...], list[_Way]] = defaultdict(list)
    for way in _ways(evidence):
        if way.seconds:
            networks[way.network].append(way)
    found = [finding for ways in networks.values() for finding in _fastest(ways, max(1, MOST_WAYS // len(networks)))]
    return found + [finding for ways in networks.values() for finding in _worth_fixing(ways[0])]


def is_network(table: pd.DataFrame) -> bool:
    """Whether the cases of a frame are the layers of a network: some occur several times, or most have names."""
    named = table["name"].notna().mean() > MOST and table["name"].nunique() > 1
    return bool((table["count"] > 1).any() or named)


def _fastest(ways: list[_Way], most: int) -> list[Finding]:
    """The finding on the fastest way of one network; those on the next ones are its details."""
    slowest = max(way.seconds for way in ways)
    # A combination without some layers looks faster than it is, so it comes last.
    ways.sort(key=lambda way: (bool(way.missing), way.seconds, way.name))
    first, *others = (_finding(way, size=1.0 if way.missing else slowest / way.seconds) for way in ways[:most])
    return [replace(first, details=tuple(others))]


def _value(value: object) -> object:
    """A setting as in the table: environment variables and sizes are one text."""
    return canonical(value) or None if isinstance(value, tuple) else value


def _ways(evidence: Evidence) -> list[_Way]:
    """The layers of each network with each combination of settings, in the order of the table."""
    crossed = evidence.written.crossed
    axes = (*crossed, *_AXES)
    ways: dict[tuple[object, ...], dict[Problem, _Layer]] = {}
    # Layers whose own entry names a crossed setting come last: they belong to every network that the others make.
    for keys, case, row in sorted(_rows(evidence, axes), key=lambda each: _ANY in each[0]):
        for key in [known for known in ways if _fits(known, keys)] if _ANY in keys else [keys]:
            _add(ways.setdefault(key, {}), case, row)
    swept = [place for place, values in enumerate(zip(*ways, strict=True)) if len(set(values)) > 1]
    return [
        _Way(
            name=" ".join(_axis_text(axes[place], key[place]) for place in swept),
            network=key[: len(crossed)],
            layers=list(layers.values()),
        )
        for key, layers in ways.items()
    ]


class _Row(NamedTuple):
    time_s: float
    bound: float
    case_id: str
    name: object
    label: str
    status: object
    often: int
    efficiency: float


#: In the key of a layer: it belongs to the networks of every value.
_ANY = object()


def _rows(evidence: Evidence, axes: tuple[str, ...]) -> Iterator[tuple[tuple[object, ...], Case, _Row]]:
    """The keys of each case in the order of the table, the case, and what the table has of it.

    A case has several keys where the sweep writes its settings in several ways, as 0 and `half` for a kernel of 1.
    """
    cases, table = {case.id: case for case in evidence.rows.cases}, evidence.table
    columns = (table[name] for name in ("case_id", "name", "label", "status", "count"))
    efficiency = evidence.table["efficiency"].to_numpy(dtype=float, na_value=np.nan)
    for row in map(_Row, table["time_s"].to_numpy(dtype=float), evidence.bound, *columns, efficiency):
        case = cases[row.case_id]
        fixed = evidence.written.fixed(case) if evidence.written.crossed else ()
        values = ([_ANY] if axis in fixed else evidence.written.ways(case, axis) for axis in axes)
        for key in product(*values):
            yield key, case, row


def _fits(known: tuple[object, ...], keys: tuple[object, ...]) -> bool:
    return all(key is _ANY or key == value for key, value in zip(keys, known, strict=True))


def _add(layers: dict[Problem, _Layer], case: Case, row: _Row) -> None:
    words = row.name if isinstance(row.name, str) else row.label.partition(f" {case.direction.value} ")[0]
    problem = case.problem
    kind = problem.kernel_size, problem.groups == 1
    layer = layers.setdefault(problem, _Layer(name=line(words), count=int(row.often), kind=kind))
    layer.ids[case.direction] = row.case_id
    ended = Status(row.status) if isinstance(row.status, str) else None
    if ended is Status.PASSED and np.isfinite(row.time_s):
        layer.seconds[case.direction] = row.time_s * int(row.often)
        layer.doubt[case.direction] = row.time_s * int(row.often) * row.bound
        layer.efficiency[case.direction] = row.efficiency
    else:
        layer.missing[case.direction] = _WHY[ended] if ended else _WAITING


def _axis_text(axis: str, value: object) -> str:
    return setting_text(axis, _value(value)) if axis in PROBLEM_SETTINGS else choice_text(axis, _value(value))


def _whole(measured: set[Direction]) -> tuple[Direction, ...]:
    """The directions whose times add up to the network's time without counting work twice."""
    if Direction.TRAIN_STEP in measured:
        return (Direction.TRAIN_STEP,)
    parts = (Direction.GRAD_INPUT, Direction.GRAD_WEIGHT)
    backward = (Direction.BACKWARD,) if Direction.BACKWARD in measured else parts
    return tuple(direction for direction in (Direction.FORWARD, *backward) if direction in measured)


def _finding(way: _Way, *, size: float) -> Finding:
    layers, directions, missing = way.layers, way.directions, way.missing
    total = way.seconds
    order = sorted(layers, key=lambda layer: -layer.total(directions))
    top, first = order[0], order[:MOST_LAYERS]
    factor, _ = units.time_unit(total)
    often = f"{units.count(top.count)} times, " if top.count > 1 else ""
    what = "" if directions == (Direction.FORWARD,) else f", {listed([each.value for each in directions])}"
    sentence = (
        f"{f'with {way.name} ' if way.name else ''}the network spends {_percent(top.total(directions), total)} of its "
        f"time in {top.name} ({often}{units.digits(top.total(directions) * factor)} of {units.seconds(total)}{what})"
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
        sentence=sentence + _within(layers, directions, total) + (f"; {missing}" if missing else ""),
        cases=tuple(layer.ids[direction] for layer in first for direction in directions if direction in layer.seconds),
    )


def _worth_fixing(way: _Way) -> list[Finding]:
    """`worth fixing first: layer4 expand backward would take 4.1 ms less ...`: what similar layers reach, it does not.

    Layers are similar if they have the same kernel size, and all or none has groups. One direction is compared with the
    median efficiency of the similar ones, in the same direction and with the same settings.
    """
    gains = []
    for direction in way.directions:
        for layer in way.layers:
            others = [
                other.efficiency[direction]
                for other in way.layers
                if other is not layer and other.kind == layer.kind and other.efficiency.get(direction, 0) > 0
            ]
            own, seconds = layer.efficiency.get(direction, math.nan), layer.seconds.get(direction, 0.0)
            if len(others) < LEAST_SIMILAR or not own > 0:
                continue
            reached = statistics.median(others)
            doubt = layer.doubt[direction] / seconds if seconds else 0.0
            if reached > own * (1 + doubt) * SMALLEST_EFFECT:
                gains.append((seconds * (1 - own / reached), own, reached, direction, layer))
    gains.sort(key=lambda gain: (-gain[0], gain[4].name))
    first = [gain for gain in gains[:MOST_FIXED] if gain[0] > LEAST_GAIN * way.seconds]
    if not first:
        return []
    texts = ("would save {} if it reached what similar layers reach ({} of the roof, not {})", "{} ({}, not {})")
    parts = [
        f"{layer.name} {direction.value} {texts[place > 0].format(units.seconds(gain), *_percents(reached, own))}"
        for place, (gain, own, reached, direction, layer) in enumerate(first)
    ]
    return [
        Finding(
            weight=Weight.NETWORK,
            kind=FindingKind.NETWORK,
            size=1.0,
            sentence=f"worth fixing first{f' with {way.name}' if way.name else ''}, of {units.seconds(way.seconds)}: "
            f"{', '.join(parts)}",
            cases=tuple(layer.ids[direction] for _, _, _, direction, layer in first),
        )
    ]


def _percents(*shares: float) -> tuple[str, ...]:
    return tuple(units.percent(share, 0) for share in shares)


def _within(layers: list[_Layer], directions: tuple[Direction, ...], total: float) -> str:
    """`; noise leaves 12 % of this time in doubt`, where that is much."""
    doubt = sum(layer.doubt.get(direction, 0.0) for layer in layers for direction in directions) / total
    much = "all" if doubt >= 1 else units.percent(doubt, 0)
    return f"; noise leaves {much} of this time in doubt" if doubt > MUCH_DOUBT else ""


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
