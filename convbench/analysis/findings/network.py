"""Where a network's time goes: time times count of its layers, for each combination of settings.

Also which layers are out of line: those that reach less of their roof than similar layers of the network.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from convbench import units
from convbench.analysis.findings.effects import SMALLEST_EFFECT
from convbench.analysis.findings.finding import Finding, FindingKind, Weight, listed
from convbench.analysis.findings.layers import Layer, Way
from convbench.model.problem import Direction

#: The layers that take most time and whose common share is reported.
MOST_LAYERS = 5
#: Combinations of settings that get a sentence each, the fastest first.
MOST_WAYS = 3
#: Layers without a time that a sentence names at most.
MOST_MISSING = 3

#: Layers that are named as out of line, and the part of the network's time that each would save at least.
MOST_NAMED = 3
LEAST_GAIN = 0.01
#: Similar layers from which on their median says what such a layer can reach.
LEAST_SIMILAR = 3

#: The part of a network's time that may be noise is reported from here on.
MUCH_DOUBT = 0.1


def network(found: Sequence[list[Way]]) -> list[Finding]:
    """`the network spends 12 % of its time in layer3 3x3 (36.1 of 309 ms) ...` of the ways of each network."""
    fastest = [finding for ways in found for finding in _fastest(ways, max(1, MOST_WAYS // len(found)))]
    return fastest + [finding for ways in found for finding in _out_of_line(in_order(ways)[0])]


def in_order(ways: Sequence[Way]) -> list[Way]:
    """The fastest first; a combination without some layers looks faster than it is, so it comes last."""
    return sorted(ways, key=lambda way: (bool(missing_text(way.layers)), way.seconds, way.name))


def _fastest(ways: Sequence[Way], most: int) -> list[Finding]:
    """The finding on the fastest way of one network; those on the next ones are its details."""
    slowest = max(way.seconds for way in ways)
    first, *others = (
        _finding(way, size=1.0 if missing_text(way.layers) else slowest / way.seconds) for way in in_order(ways)[:most]
    )
    return [replace(first, details=tuple(others))]


def _finding(way: Way, *, size: float) -> Finding:
    layers, directions, missing = way.layers, way.directions, missing_text(way.layers)
    total = way.seconds
    order = sorted(layers, key=lambda layer: -layer.seconds(layer.whole))
    top, first = order[0], order[:MOST_LAYERS]
    most = top.seconds(top.whole)
    factor, _ = units.time_unit(total)
    often = f"{units.count(top.count)} times, " if top.count > 1 else ""
    what = "" if directions == (Direction.FORWARD,) else f", {listed([each.value for each in directions])}"
    sentence = (
        f"{f'with {way.name} ' if way.name else ''}the network spends {percent_of(most, total)} of its "
        f"time in {top.name} ({often}{units.digits(most * factor)} of {units.seconds(total)}{what})"
    )
    if len(order) > MOST_LAYERS:
        share = percent_of(sum(layer.seconds(layer.whole) for layer in first), total)
        sentence += f", {share} in the {MOST_LAYERS} layers that take most"
    apart = [_alone(direction, order) for direction in Direction if any(direction in each.time_s for each in layers)]
    if len(apart) > 1:
        sentence += f"; {', '.join(apart)}"
    return Finding(
        weight=Weight.NETWORK,
        kind=FindingKind.NETWORK,
        size=size,
        sentence=sentence + _within(layers, total) + (f"; {missing}" if missing else ""),
        cases=tuple(layer.ids[each] for layer in first for each in layer.whole if each in layer.time_s),
    )


def _out_of_line(way: Way) -> list[Finding]:
    """`out of line with similar layers: layer4 expand backward would save 4.1 ms ...`: what they reach, it does not.

    Layers are similar if they have the same kernel size, and all or none has groups. One direction is compared with the
    median efficiency of the similar ones, in the same direction and with the same settings.
    """
    gains = []
    for direction in way.directions:
        similar: defaultdict[tuple[object, ...], list[float]] = defaultdict(list)
        for layer in way.layers:
            if layer.efficiency.get(direction, math.nan) > 0:
                insort(similar[_likeness(layer)], layer.efficiency[direction])
        for layer in way.layers:
            own, seconds = layer.efficiency.get(direction, math.nan), layer.seconds(_only(layer, direction))
            alike = similar[_likeness(layer)]
            if len(alike) <= LEAST_SIMILAR or not own > 0:
                continue
            reached = median_without(alike, own)
            doubt = layer.doubt[direction] / layer.time_s[direction] if seconds else 0.0
            if reached > own * (1 + doubt) * SMALLEST_EFFECT:
                gains.append((seconds * (1 - own / reached), own, reached, direction, layer))
    gains.sort(key=lambda gain: (-gain[0], gain[4].name))
    first = [gain for gain in gains[:MOST_NAMED] if gain[0] > LEAST_GAIN * way.seconds]
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
            kind=FindingKind.OUTLIER,
            size=1.0,
            sentence=f"out of line{f' with {way.name}' if way.name else ''}, of {units.seconds(way.seconds)}: "
            f"{', '.join(parts)}",
            cases=tuple(layer.ids[direction] for _, _, _, direction, layer in first),
        )
    ]


def median_without(ordered: Sequence[float], one: float) -> float:
    """The median of numbers in ascending order without `one` of them, for thousands of layers."""
    place, middle = bisect_left(ordered, one), (len(ordered) - 2) / 2
    near = [ordered[at + (at >= place)] for at in {math.floor(middle), math.ceil(middle)}]
    return sum(near) / len(near)


def _likeness(layer: Layer) -> tuple[object, ...]:
    """Layers with the same are similar."""
    return layer.case.problem.kernel_size, layer.case.problem.groups == 1


def _only(layer: Layer, direction: Direction) -> dict[Direction, int]:
    """One direction, as often as it counts."""
    return {each: count for each, count in layer.whole.items() if each is direction}


def _percents(*shares: float) -> tuple[str, ...]:
    return tuple(units.percent(share, 0) for share in shares)


def _within(layers: Sequence[Layer], total: float) -> str:
    """`; noise leaves 12 % of this time in doubt`, where that is much or unknown."""
    doubts = (layer.doubt.get(each, 0.0) * count for layer in layers for each, count in layer.whole.items())
    doubt = sum(doubts) / total
    if math.isinf(doubt):
        return "; one process does not show how much of this time is noise"
    much = "all" if doubt >= 1 else units.percent(doubt, 0)
    return f"; noise leaves {much} of this time in doubt" if doubt > MUCH_DOUBT else ""


def _alone(direction: Direction, layers: Sequence[Layer]) -> str:
    """`forward alone 96.3 ms (14 % in stem)`: one direction's time, and the layer that takes most of it."""
    total = sum(layer.alone(direction) for layer in layers)
    top = max(layers, key=lambda layer: layer.alone(direction))
    return f"{direction.value} alone {units.seconds(total)} ({percent_of(top.alone(direction), total)} in {top.name})"


def missing_text(layers: Iterable[Layer]) -> str:
    """`without layer2, which crashed`: the layers that the whole time leaves out; "" where there are none."""
    absent = []
    for layer in layers:
        lost = [direction for direction in layer.whole if direction in layer.missing]
        if lost:
            part = "" if len(lost) == len(layer.whole) else f"the {lost[0].value} of "
            absent.append((f"{part}{layer.name}", layer.missing[lost[0]]))
    if not absent:
        return ""
    if len(absent) == 1:
        return f"without {absent[0][0]}, which {absent[0][1]}"
    named = [f"{name} ({why})" for name, why in absent[:MOST_MISSING]]
    more = [f"{units.count(len(absent) - MOST_MISSING)} more"] if len(absent) > MOST_MISSING else []
    return f"without {listed([*named, *more])}"


def percent_of(part: float, whole: float) -> str:
    """A share in percent, with a decimal below 10 %."""
    return units.percent(part / whole, 0 if part >= 0.095 * whole else 1)
