"""What a run answers about a network: how long it takes, where, what other settings gain, and what to fix first."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from convbench import units
from convbench.analysis.findings.effects import SMALLEST_EFFECT
from convbench.analysis.findings.evidence import Evidence, in_order
from convbench.analysis.findings.layers import Layer, Way, setting_name
from convbench.analysis.findings.mixtures import MIXED, mixture
from convbench.analysis.network.kinds import kind_of
from convbench.analysis.network.parts import Part, often
from convbench.analysis.network.stages import stages
from convbench.analysis.table.metrics import Copies
from convbench.model.settings import TABLE
from convbench.sweep import LeftOut

#: The layers that are named as worth fixing first.
MOST_FIXED = 5
#: A mixture is a gain from this ratio on, over the best setting for all layers.
LEAST_MIXED = 1.01
#: Combinations of settings that a mixture chooses from at most, the fastest ones.
MOST_OPTIONS = 16
#: Combinations of settings that are shown at most, beside those that differ in one setting and the fastest.
MOST_COMBINED = 6
#: Layers of a mixture that are named.
MOST_NAMED = 3


class Proof(StrEnum):
    """What is known of the difference of two sums."""

    FASTER = "faster"  # by more than noise
    SLOWER = "slower"
    NOISE = "within noise"
    FEW = "too few processes to judge"  # what noise may be is not known
    SMALL = "less than 5 %"
    INCOMPLETE = "lacks layers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Layers of one stage or kind: how many, in how many places, and seconds by part."""

    name: str
    layers: int
    count: int
    seconds: dict[Part, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One setting, or one combination of them, for all layers, against the usual ones.

    `ratio` is how many times faster it is by part, NaN where it lacks layers.
    """

    name: str
    axes: tuple[str, ...]
    way: Way
    seconds: dict[Part, float]
    ratio: dict[Part, float]
    proof: dict[Part, Proof]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    """The best of some settings for each layer, for one part.

    `base` is the best one for all, which takes `base_s`. `seconds` includes `copies_s`; that is NaN where the changes
    could not be counted. `different` are the layers that differ from the base, with their value, most gained first.
    `base_proof` is what is known of the base against the usual settings.
    """

    axes: tuple[str, ...]
    part: Part
    base: str
    base_s: float
    seconds: float
    copies_s: float
    changes: int
    different: tuple[tuple[str, str], ...]
    base_proof: Proof = Proof.FASTER

    @property
    def ratio(self) -> float:
        """How many times faster than the base it is."""
        return self.base_s / self.seconds

    @property
    def is_counted(self) -> bool:
        """Whether its changes of layout are in its time."""
        return not math.isnan(self.copies_s)

    @property
    def is_gain(self) -> bool:
        """Whether it gains something after all its changes are paid."""
        return self.is_counted and self.ratio >= LEAST_MIXED


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """A layer with the time that it would save at the roofs, in all its occurrences.

    `bound` is the nearer roof of its slowest direction, whose case is `case_id`.
    """

    layer: Layer
    seconds: float
    attainable_s: float
    share: float
    bound: str
    case_id: str

    @property
    def saved_s(self) -> float:
        """Seconds over what the roofs allow."""
        return self.seconds - self.attainable_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The answers about one network.

    - `name` are the values that make it one of several, "" for the only one.
    - `parts` are those that were measured; `usual` is the way with the usual settings, and `fastest` that with the
      least time of the last part. They are the same where the difference is small or may be noise.
    - `stages`, `kinds` and `fixes` are by way: the usual, then the fastest where it is another one.
    - `left_out` are the convolutions of the network that are no cases of the sweep.
    """

    name: str
    parts: tuple[Part, ...]
    usual: Way
    fastest: Way
    stages: tuple[tuple[Group, ...], ...]
    kinds: tuple[tuple[Group, ...], ...]
    fixes: tuple[tuple[Fix, ...], ...]
    changes: tuple[Change, ...]
    mixtures: tuple[Mixed, ...]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def part(self) -> Part:
        """The part that counts: a training step where one was measured."""
        return self.parts[-1]

    @property
    def ways(self) -> tuple[Way, ...]:
        """The ways whose layers are shown."""
        return (self.usual,) if self.fastest is self.usual else (self.usual, self.fastest)

    @property
    def axes(self) -> tuple[str, ...]:
        """The settings of which several values are compared, for all layers and layer by layer."""
        return tuple(dict.fromkeys(axis for change in self.changes for axis in change.axes))

    @property
    def count(self) -> int:
        """The convolutions of the network that are cases."""
        return sum(layer.count for layer in self.usual.layers)

    @property
    def count_text(self) -> str:
        """`53`; `30 of 53` where convolutions of the network are left out."""
        left_out = sum(each.count for each in self.left_out)
        return (
            f"{units.count(self.count)} of {units.count(self.count + left_out)}"
            if left_out
            else units.count(self.count)
        )


def answers(evidence: Evidence, networks: Sequence[list[Way]]) -> tuple[Answers, ...]:
    """The answers about each network of a run; none about one whose forward was not measured."""
    copies = Copies(evidence.run.processes)
    found = (_answers(evidence, ways, copies, several=len(networks) > 1) for ways in networks)
    return tuple(each for each in found if each is not None)


def _answers(evidence: Evidence, ways: list[Way], copies: Copies, *, several: bool) -> Answers | None:
    usual = usual_of(ways)
    parts = tuple(part for part in Part if any(often(part, layer.counts) for layer in usual.layers))
    if not usual.is_trained:
        parts = parts[:1]
    if not parts or not any(known(usual, part) for part in parts):
        return None
    part = parts[-1]
    complete = [way for way in ways if math.isfinite(way.of(part))]
    fastest = min(complete, key=lambda way: way.of(part), default=usual)
    compared = _Compared(evidence)
    if compared.proof(usual, fastest, part) in (Proof.NOISE, Proof.FEW, Proof.SMALL):
        fastest = usual
    shown = [usual] if fastest is usual else [usual, fastest]
    return Answers(
        name=_name(usual) if several else "",
        parts=parts,
        usual=usual,
        fastest=fastest,
        stages=tuple(_groups(way, parts, _stages(usual)) for way in shown),
        kinds=tuple(_groups(way, parts, lambda layer: kind_of(layer.case.problem)) for way in shown),
        fixes=tuple(fixes(way, part) for way in shown),
        changes=tuple(_changes(compared, usual, ways, fastest, parts)),
        mixtures=tuple(each for some in parts for each in _mixtures(compared, usual, ways, some, copies)),
        left_out=evidence.written.left_out,
    )


def known(way: Way, part: Part) -> float:
    """The time of a part without the layers that have none."""
    return sum(seconds for layer in way.layers if math.isfinite(seconds := layer.of(part)))


def _name(way: Way) -> str:
    """The values that make the network, as they stand before those of the settings."""
    own = {setting_name(axis, value) for axis, value in way.settings.items()}
    return " ".join(word for word in way.name.split() if word not in own)


def usual_of(ways: Sequence[Way]) -> Way:
    """The way with the most usual values, of those with all layers where there are such."""
    values = {axis: [way.settings[axis] for way in ways] for axis in ways[0].settings}
    usual = {axis: _usual_value(axis, found) for axis, found in values.items()}

    def key(way: Way) -> tuple[bool, int]:
        lacks = any(layer.missing.keys() & layer.whole.keys() for layer in way.layers)
        return lacks, sum(value != usual[axis] for axis, value in way.settings.items())

    return min(ways, key=key)


def _usual_value(axis: str, values: Sequence[object]) -> object:
    row = TABLE[axis]
    return next((value for value in (row.usual, row.default) if value in values), in_order(values)[0])


def _stages(usual: Way) -> Callable[[Layer], str]:
    """The stage of each layer, in every way the same."""
    layers = usual.layers
    seconds = [layer.seconds(layer.whole) for layer in layers]
    found = stages([layer.name for layer in layers], [layer.count for layer in layers], seconds)
    named = {layer.name: stage for layer, stage in zip(layers, found, strict=True)}
    return lambda layer: named.get(layer.name, layer.name)


def _groups(way: Way, parts: Sequence[Part], group_of: Callable[[Layer], str]) -> tuple[Group, ...]:
    """The layers of a way by group, in the order of the sweep."""
    found: dict[str, list[Layer]] = {}
    for layer in sorted(way.layers, key=lambda layer: layer.place):
        found.setdefault(group_of(layer), []).append(layer)
    return tuple(
        Group(
            name=name,
            layers=len(layers),
            count=sum(layer.count for layer in layers),
            seconds={part: sum(s for layer in layers if math.isfinite(s := layer.of(part))) for part in parts},
        )
        for name, layers in found.items()
    )


def fixes(way: Way, part: Part) -> tuple[Fix, ...]:
    """The layers that would save most at the roofs, the first first; those without a known roof are left out."""
    total, found = known(way, part), []
    for layer in way.layers:
        counted = often(part, layer.counts)
        efficiency = [layer.efficiency.get(direction, math.nan) for direction in counted]
        if not counted or not all(each > 0 for each in efficiency):
            continue
        seconds = layer.of(part)
        # Faster than the roofs allow is no time to save.
        shares = zip(counted.items(), efficiency, strict=True)
        attainable = sum(layer.time_s[each] * count * min(1.0, share) for (each, count), share in shares)
        slowest = max(counted, key=lambda each: layer.time_s[each] * counted[each] * (1 - layer.efficiency[each]))
        found.append(
            Fix(
                layer=layer,
                seconds=seconds,
                attainable_s=attainable,
                share=seconds / total,
                bound=layer.bound[slowest],
                case_id=layer.ids[slowest],
            )
        )
    found.sort(key=lambda fix: (-fix.saved_s, fix.layer.name))
    return tuple(fix for fix in found[:MOST_FIXED] if fix.saved_s > 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Noise:
    """The noise of pairs of cases, as ratios minus 1, by the second case; `is_alone` where a pair proves something."""

    ratio: dict[str, float]
    is_alone: dict[str, bool]


class _Compared:
    """The noise of a layer's time with one combination of settings against another, over the rounds that both have."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._positions: dict[str, int] = {}
        for position, case in enumerate(evidence.ids.tolist()):
            self._positions.setdefault(case, position)
        self._known: dict[tuple[int, int], _Noise] = {}

    def noise(self, base: Way, other: Way) -> _Noise:
        """The noise of each pair of cases of two ways; infinite where a pair was not timed together."""
        key = id(base), id(other)
        if key not in self._known:
            before = dict(zip(base.keys, base.layers, strict=True))
            named = [
                (before[name].ids[direction], case)
                for name, layer in zip(other.keys, other.layers, strict=True)
                for direction, case in layer.ids.items()
                if direction in before[name].ids
            ]
            ratio = {after: 0.0 if case == after else math.inf for case, after in named}
            places = [
                (self._positions[case], self._positions[after])
                for case, after in named
                if case != after and case in self._positions and after in self._positions
            ]
            sides = np.array(places, dtype=np.int64).reshape(-1, 2).T
            pairs = self._evidence.comparer.compare(sides[0], sides[1])
            ids = self._evidence.ids[pairs.other].tolist()
            ratio |= zip(ids, pairs.noise.tolist(), strict=True)
            alone = dict(zip(ids, pairs.alone.tolist(), strict=True))
            self._known[key] = _Noise(ratio=ratio, is_alone=alone)
        return self._known[key]

    def is_faster(self, base: Way, other: Way, first: Layer, second: Layer, part: Part) -> bool:
        """Whether a layer takes less time in a part with the settings of `other`, by more than noise."""
        noise, counted = self.noise(base, other), often(part, second.counts)
        if not all(noise.is_alone.get(second.ids[each], False) for each in counted):
            return False
        latest = (second.time_s[each] * count * (1 + noise.ratio[second.ids[each]]) for each, count in counted.items())
        return sum(latest) < first.of(part)

    def proof(self, base: Way, other: Way, part: Part) -> Proof:
        """What is known of the difference between the sums over all layers. Noise of all layers is added up."""
        before, after = base.of(part), other.of(part)
        if not (math.isfinite(before) and math.isfinite(after)):
            return Proof.INCOMPLETE
        noise = self.noise(base, other).ratio
        timed = [
            (layer.time_s[each] * count, noise[layer.ids[each]])
            for layer in other.layers
            for each, count in often(part, layer.counts).items()
        ]
        if any(math.isinf(n) for _, n in timed):
            return Proof.FEW
        soonest, latest = (sum(s / (1 + n) for s, n in timed), sum(s * (1 + n) for s, n in timed))
        if soonest < before < latest:
            return Proof.NOISE
        if 1 / SMALLEST_EFFECT < before / after < SMALLEST_EFFECT:
            return Proof.SMALL
        return Proof.FASTER if after < before else Proof.SLOWER


def _differing(usual: Way, way: Way) -> tuple[str, ...]:
    """The settings in which a way is not the usual one."""
    return tuple(axis for axis, value in way.settings.items() if value != usual.settings[axis])


def _changes(compared: _Compared, usual: Way, ways: Sequence[Way], fastest: Way, parts: Sequence[Part]) -> list[Change]:
    """Every other value of a setting that one may choose, with the rest as usual; then combinations of them.

    Of many combinations it is the fastest alone.
    """
    single = [way for way in ways if len(axes := _differing(usual, way)) == 1 and TABLE[axes[0]].choice]
    combined = [
        way for way in ways if len(axes := _differing(usual, way)) > 1 and all(TABLE[axis].choice for axis in axes)
    ]
    if len(combined) > MOST_COMBINED:
        combined = []
    whole = [fastest] if len(_differing(usual, fastest)) > 1 and fastest not in combined else []
    found = []
    for way in [*single, *combined, *whole]:
        seconds = {part: way.of(part) for part in parts}
        axes = _differing(usual, way)
        found.append(
            Change(
                name=" ".join(setting_name(axis, way.settings[axis]) for axis in axes),
                axes=axes,
                way=way,
                seconds=seconds,
                ratio={part: usual.of(part) / seconds[part] for part in parts},
                proof={part: compared.proof(usual, way, part) for part in parts},
            )
        )
    return found


def _mixtures(compared: _Compared, usual: Way, ways: Sequence[Way], part: Part, copies: Copies) -> list[Mixed]:
    """The best of each setting for each layer, the rest as usual; then that of all of them together."""
    swept = [axis for axis in usual.settings if axis in MIXED]
    sets = [(axis,) for axis in swept] + ([tuple(swept)] if len(swept) > 1 else [])
    found = (_mixed(compared, usual, ways, axes, part, copies) for axes in sets)
    return [each for each in found if each is not None]


def _mixed(
    compared: _Compared, usual: Way, ways: Sequence[Way], axes: tuple[str, ...], part: Part, copies: Copies
) -> Mixed | None:
    options = [way for way in ways if set(_differing(usual, way)) <= set(axes) and math.isfinite(way.of(part))]
    options = sorted(options, key=lambda way: way.of(part))[:MOST_OPTIONS]
    if len(options) < 2:
        return None
    base = options[0]
    order = sorted(range(len(base.keys)), key=lambda at: base.layers[at].place)
    order = [at for at in order if often(part, base.layers[at].counts)]
    layers = [dict(zip(way.keys, way.layers, strict=True)) for way in options]
    chain = [[own[base.keys[at]] for own in layers] for at in order]

    def seconds(layer: Layer, way: Way, first: Layer) -> float:
        """The time where the layer is proven to be faster than with the best setting for all, else infinite."""
        usable = layer is first or compared.is_faster(base, way, first, layer, part)
        return layer.of(part) if usable else math.inf

    times = [[seconds(layer, way, row[0]) for layer, way in zip(row, options, strict=True)] for row in chain]
    counts = [row[0].count for row in chain]
    best = mixture([[layer.case for layer in row] for row in chain], times, counts, part, copies)
    other = [at for at, option in enumerate(best.chosen) if option]
    other.sort(key=lambda at: times[at][best.chosen[at]] - times[at][0])

    def value(option: int) -> str:
        return " ".join(setting_name(axis, options[option].settings[axis]) for axis in axes)

    return Mixed(
        axes=axes,
        part=part,
        base=value(0),
        base_s=base.of(part),
        seconds=best.seconds,
        copies_s=best.copies_s,
        changes=best.changes,
        different=tuple((chain[at][0].name, value(best.chosen[at])) for at in other),
        base_proof=Proof.FASTER if base is usual else compared.proof(usual, base, part),
    )
