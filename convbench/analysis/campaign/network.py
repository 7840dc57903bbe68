"""How long a counted network takes on each machine of a campaign: its forward, its training step. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from convbench.analysis.findings.answers import known
from convbench.analysis.findings.findings import Examined
from convbench.analysis.findings.layers import Way, networks
from convbench.analysis.findings.network import missing_text
from convbench.analysis.network.parts import Part, often


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkTime:
    """A part of a network with one combination of settings. Tuples have an element for each machine.

    `seconds` are NaN where the machine has no time of it. `noise` is the share of them that may be noise: that of all
    layers, added up. `lacks` says which layers a sum leaves out, "" where it is complete. `images` are those of one
    forward, None where its layers differ in that.
    """

    name: str
    part: Part
    seconds: tuple[float, ...]
    noise: tuple[float, ...]
    lacks: tuple[str, ...]
    images: int | None

    @property
    def best(self) -> int | None:
        """The machine with the lowest complete sum; None where fewer than two have one."""
        whole = [
            (seconds, at)
            for at, (seconds, lack) in enumerate(zip(self.seconds, self.lacks, strict=True))
            if math.isfinite(seconds) and not lack
        ]
        return min(whole)[1] if len(whole) > 1 else None

    def is_alike(self, one: int, other: int) -> bool:
        """Whether two machines take the same time within noise."""
        low, high = sorted((self.seconds[one], self.seconds[other]))
        return high <= low * (1 + max(self.noise[one], self.noise[other]))


def network_times(seen: Sequence[Examined]) -> tuple[NetworkTime, ...]:
    """The parts of every network that a machine has a time of, in the order of the first machine's sweep."""
    sides = [{way.name: way for ways in networks(one.evidence) for way in ways} for one in seen]
    names = dict.fromkeys(name for side in sides for name in side)
    found = []
    for name in names:
        ways = [side.get(name) for side in sides]
        for part in Part:
            seconds = tuple(_seconds(way, part) for way in ways)
            if any(map(math.isfinite, seconds)):
                found.append(
                    NetworkTime(
                        name=name,
                        part=part,
                        seconds=seconds,
                        noise=tuple(_noise(way, part) for way in ways),
                        lacks=tuple("" if way is None else missing_text(way.layers) for way in ways),
                        images=_images([way for way in ways if way]),
                    )
                )
    return tuple(found)


def _seconds(way: Way | None, part: Part) -> float:
    """The time of a part without the layers that have none; NaN where it was not measured."""
    if way is None or not any(often(part, layer.counts) for layer in way.layers):
        return math.nan
    return (known(way, part) or math.nan) if part is Part.FORWARD or way.is_trained else math.nan


def _noise(way: Way | None, part: Part) -> float:
    """The share of the time of a part that may be noise; NaN without a time."""
    seconds = _seconds(way, part)
    if way is None or not seconds > 0:
        return math.nan
    counted = ((layer, often(part, layer.counts)) for layer in way.layers)
    return sum(layer.doubt.get(each, 0.0) * count for layer, some in counted for each, count in some.items()) / seconds


def _images(ways: Iterable[Way]) -> int | None:
    found = {layer.case.problem.images for way in ways for layer in way.layers}
    return found.pop() if len(found) == 1 else None
