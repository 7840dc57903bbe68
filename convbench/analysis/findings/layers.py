"""The layers of each network of a run, with each combination of settings that the run measured them with."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd

from convbench.analysis.findings.evidence import Evidence
from convbench.analysis.findings.finding import line, setting_text, value_text
from convbench.analysis.findings.trouble import FATES
from convbench.analysis.network.parts import Part, is_trained, often, whole
from convbench.model.case import CASE_SETTINGS, PROBLEM_SETTINGS, Case, canonical, setting
from convbench.model.problem import Direction
from convbench.model.result import Status
from convbench.model.settings import TABLE

#: More than this share of a frame's cases, or of a network's layers, makes a rule.
MOST = 0.5

#: The settings whose combinations are ways.
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
_ABSENT = "has no case"


@dataclass(slots=True, kw_only=True)
class Layer:
    """A layer with one combination of settings. The figures by direction are those of one iteration.

    - `case` is one of its cases, and `place` that of its first one in the sweep, from 0.
    - `counts` are its occurrences. `time_s` lacks the directions that are `missing`, each for the reason there.
    - `doubt` is the part of the time that may be noise, `efficiency` that of the roofs that it reaches, NaN if unknown.
    """

    name: str
    case: Case
    place: int
    counts: dict[Direction, int] = field(default_factory=dict)
    time_s: dict[Direction, float] = field(default_factory=dict)
    doubt: dict[Direction, float] = field(default_factory=dict)
    efficiency: dict[Direction, float] = field(default_factory=dict)
    bound: dict[Direction, str] = field(default_factory=dict)
    missing: dict[Direction, str] = field(default_factory=dict)
    ids: dict[Direction, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How often the layer occurs in the network."""
        return self.counts.get(Direction.FORWARD) or max(self.counts.values())

    @property
    def whole(self) -> dict[Direction, int]:
        """How often each direction counts in the whole time."""
        return whole(self.counts)

    def seconds(self, counted: dict[Direction, int]) -> float:
        """The time of these occurrences, without the directions that have no time."""
        return sum(self.time_s.get(direction, 0.0) * count for direction, count in counted.items())

    def alone(self, direction: Direction) -> float:
        """The time of one direction in all its occurrences; 0 without one."""
        return self.time_s.get(direction, 0.0) * self.counts.get(direction, 0)

    def of(self, part: Part) -> float:
        """The time of a part in all occurrences; NaN where a direction of it has no time."""
        counted = often(part, self.counts)
        return self.seconds(counted) if counted.keys() <= self.time_s.keys() else math.nan


#: The layers of one way by the key that names them.
_Layers = dict[Hashable, Layer]


@dataclass(frozen=True, kw_only=True)
class Way:
    """The layers of one network with one combination of settings, in the order of the table.

    `settings` are the values of the settings that the run swept, and `network` those that make the network. `keys` name
    the layers: those of two ways of a network with one key are the same layer.
    """

    name: str
    network: tuple[object, ...]
    settings: dict[str, object]
    layers: list[Layer]
    keys: list[Hashable]

    @cached_property
    def directions(self) -> tuple[Direction, ...]:
        """The directions that its time is made of."""
        used = {direction for layer in self.layers for direction in layer.whole if direction in layer.time_s}
        return tuple(direction for direction in Direction if direction in used)

    @cached_property
    def seconds(self) -> float:
        """Its time."""
        return sum(layer.seconds(layer.whole) for layer in self.layers)

    @cached_property
    def is_trained(self) -> bool:
        """Whether a training step of it was measured, the forward and more."""
        return any(is_trained(layer.counts) for layer in self.layers)

    def of(self, part: Part) -> float:
        """The time of a part; NaN where a layer has none."""
        return sum(layer.of(part) for layer in self.layers)


def is_network(table: pd.DataFrame) -> bool:
    """Whether the cases of a frame are the layers of a network: some occur several times, or most have names."""
    named = table["name"].notna().mean() > MOST and table["name"].nunique() > 1
    return bool((table["count"] > 1).any() or named)


def networks(evidence: Evidence) -> list[list[Way]]:
    """The ways of each network of a run that have a time; none where the cases are no network.

    Where the axes multiply all layers by a setting of their problems, as by two batch sizes, each value is a network.
    """
    if not is_network(evidence.table):
        return []
    found: defaultdict[tuple[object, ...], list[Way]] = defaultdict(list)
    for way in _ways(evidence):
        if any(layer.time_s for layer in way.layers):
            found[way.network].append(way)
    for ways in found.values():
        _complete(ways)
    return list(found.values())


def setting_name(axis: str, value: object) -> str:
    """A value in the name of a combination of settings: `bfloat16`, `threads=2`, `padding=0`."""
    if axis in PROBLEM_SETTINGS:
        sides = set(value) if isinstance(value, tuple) and value else set()
        # A sweep writes equal sides as one number.
        return setting_text(axis, sides.pop() if len(sides) == 1 else _value(value))
    return choice_text(axis, _value(value))


def choice_text(axis: str, value: object) -> str:
    """A value of a setting that one may choose: `bfloat16`, `threads=2`."""
    return value_text(value) if TABLE[axis].is_clear_alone else f"{axis}={value_text(value)}"


def _value(value: object) -> object:
    """A setting as in the table: environment variables and sizes are one text."""
    return canonical(value) or None if isinstance(value, tuple) else value


def _ways(evidence: Evidence) -> list[Way]:
    """The layers of each network with each combination of settings, in the order of the table."""
    crossed = evidence.written.crossed
    swept, own = _swept(evidence.rows.cases)
    axes = (*crossed, *swept)
    ways: dict[tuple[object, ...], _Layers] = {}
    # Layers whose own entry names a crossed setting come last: they belong to every network that the others make.
    for keys, case, row in sorted(_rows(evidence, axes), key=lambda each: _ANY in each[0]):
        layer = case.problem, *(setting(case, axis) for axis in own)
        for key in [known for known in ways if _fits(known, keys)] if _ANY in keys else [keys]:
            _add(ways.setdefault(key, {}), layer, case, row)
    ways = _different(ways, len(crossed))
    varied = [place for place, values in enumerate(zip(*ways, strict=True)) if len(set(values)) > 1]
    return [
        Way(
            name=" ".join(setting_name(axes[place], key[place]) for place in varied),
            network=key[: len(crossed)],
            settings={axes[place]: key[place] for place in varied if place >= len(crossed)},
            layers=list(layers.values()),
            keys=list(layers),
        )
        for key, layers in ways.items()
    ]


def _different(ways: dict[tuple[object, ...], _Layers], crossed: int) -> dict[tuple[object, ...], _Layers]:
    """The ways of networks with different cases: `padding: [0, half]` is one network where all kernels are 1x1."""
    cases: defaultdict[tuple[object, ...], set[tuple[object, ...]]] = defaultdict(set)
    for key, layers in ways.items():
        own = frozenset(case for layer in layers.values() for case in layer.ids.values())
        cases[key[:crossed]].add((key[crossed:], own))
    first: dict[frozenset[tuple[object, ...]], tuple[object, ...]] = {}
    for network, own_cases in cases.items():
        first.setdefault(frozenset(own_cases), network)
    kept = set(first.values())
    return {key: layers for key, layers in ways.items() if key[:crossed] in kept}


def _swept(cases: Sequence[Case]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The settings that were swept, and those of which each layer has a value of its own.

    A captured network has layers with other dtypes or memory formats than the rest. A setting was swept where most
    layers, or the only one, have several of its values.
    """
    swept: list[str] = []
    own: list[str] = []
    for axis in _AXES:
        values: defaultdict[tuple[object, ...], set[object]] = defaultdict(set)
        for case in cases:
            values[case.problem, case.direction].add(setting(case, axis))
        if len(set().union(*values.values())) > 1:
            several = sum(len(found) > 1 for found in values.values())
            (swept if several > MOST * len(values) else own).append(axis)
    return tuple(swept), tuple(own)


class _Row(NamedTuple):
    time_s: float
    doubt: float
    place: int
    case_id: str
    name: object
    label: str
    status: object
    often: int
    bound: object
    efficiency: float


#: In the key of a layer: it belongs to the networks of every value.
_ANY = object()


def _rows(evidence: Evidence, axes: tuple[str, ...]) -> Iterator[tuple[tuple[object, ...], Case, _Row]]:
    """The keys of each case in the order of the table, the case, and what the table has of it.

    A case has several keys where the sweep writes its settings in several ways, as 0 and `half` for a kernel of 1.
    """
    cases, table = {case.id: case for case in evidence.rows.cases}, evidence.table
    own = _of_entries(evidence, axes)
    columns = (table[name] for name in ("case_id", "name", "label", "status", "count", "bound"))
    times, efficiency = (table[name].to_numpy(dtype=float, na_value=np.nan) for name in ("time_s", "efficiency"))
    for row in map(_Row, times, evidence.bound, evidence.order.tolist(), *columns, efficiency):
        case = cases[row.case_id]
        fixed = {*(evidence.written.fixed(case) if evidence.written.crossed else ()), *own.get(case, ())}
        values = ([_ANY] if axis in fixed else evidence.written.ways(case, axis) for axis in axes)
        for key in product(*values):
            yield key, case, row


def _of_entries(evidence: Evidence, axes: tuple[str, ...]) -> dict[Case, list[str]]:
    """The swept settings that the entry of a layer names itself, with one value: the layer is in every way with it."""
    swept = [axis for axis in axes if axis in CASE_SETTINGS]
    values: defaultdict[tuple[object, ...], set[object]] = defaultdict(set)
    for case in evidence.rows.cases if len(swept) else ():
        for axis in swept:
            values[axis, case.problem, case.direction].add(setting(case, axis))
    found = {}
    for case in evidence.rows.cases:
        single = [axis for axis in swept if len(values[axis, case.problem, case.direction]) == 1]
        named = evidence.written.named(case) if single else frozenset[str]()
        if own := [axis for axis in single if axis in named]:
            found[case] = own
    return found


def _fits(known: tuple[object, ...], keys: tuple[object, ...]) -> bool:
    return all(key is _ANY or key == value for key, value in zip(keys, known, strict=True))


def _add(layers: dict[Hashable, Layer], key: Hashable, case: Case, row: _Row) -> None:
    words = row.name if isinstance(row.name, str) else row.label.partition(f" {case.direction.value} ")[0]
    layer = layers.setdefault(key, Layer(name=line(words), case=case, place=row.place))
    if case.direction is Direction.FORWARD:
        layer.name, layer.case = line(words), case
    layer.place = min(layer.place, row.place)
    layer.ids[case.direction], layer.counts[case.direction] = row.case_id, int(row.often)
    ended = Status(row.status) if isinstance(row.status, str) else None
    if ended is Status.PASSED and np.isfinite(row.time_s):
        layer.time_s[case.direction] = float(row.time_s)
        layer.doubt[case.direction] = float(row.time_s * row.doubt)
        layer.efficiency[case.direction] = float(row.efficiency)
        layer.bound[case.direction] = row.bound if isinstance(row.bound, str) else ""
    else:
        layer.missing[case.direction] = _WHY[ended] if ended else _WAITING


def _complete(ways: Iterable[Way]) -> None:
    """Add the layers and directions that other ways of the network have, as missing: a sum without them is no gain."""
    known: dict[Hashable, Layer] = {}
    counts: defaultdict[Hashable, dict[Direction, int]] = defaultdict(dict)
    for way in ways:
        for key, layer in zip(way.keys, way.layers, strict=True):
            known.setdefault(key, layer)
            counts[key] = {**layer.counts, **counts[key]}
    for way in ways:
        own = dict(zip(way.keys, way.layers, strict=True))
        for key, other in known.items():
            if key not in own:
                own[key] = Layer(name=other.name, case=other.case, place=other.place)
                way.keys.append(key)
                way.layers.append(own[key])
            for direction in _lacking(own[key].counts, counts[key]):
                own[key].counts[direction] = counts[key][direction]
                own[key].missing[direction] = _ABSENT


def _lacking(own: Mapping[Direction, int], all_: Mapping[Direction, int]) -> list[Direction]:
    """The directions that a layer lacks of all that it has elsewhere; a train_step stands for the others."""
    if Direction.TRAIN_STEP in own:
        return []
    return [each for each in all_ if each not in own and not (own and each is Direction.TRAIN_STEP)]
