"""The stages of a network: the layers whose module paths begin alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from convbench.sweep.expand import BOTH

#: So many stages result where the paths allow it.
FEWEST, MOST = 2, 12
#: A stage with more than this share of the layers is divided further where that gives no more than `MOST` stages.
LARGEST = 0.5
#: The name of the stages that take least, where there are too many.
OTHERS = "other stages"


def path_of(label: str) -> str:
    """The module path in a label: its first word, and of equal layers that of the first."""
    words = label.partition(BOTH)[0].split()
    return words[0] if words else ""


def stages(labels: Sequence[str], counts: Sequence[int], seconds: Sequence[float]) -> list[str]:
    """The stage of each layer: the first parts of its module path, as many as give 2 to 12 stages.

    `labels`, `counts` (occurrences) and `seconds` have an element for each layer. Of the depths that give so many
    stages, it is the first without a stage of more than half of the layers, else the first. Where no depth does, the
    stages that take most are named, and the others are one. Where all paths begin alike, each has one name.
    """
    paths = [path_of(label).split(".") for label in labels]
    deepest = max(map(len, paths), default=1)
    found = [[".".join(path[:depth]) for path in paths] for depth in range(1, deepest + 1)]
    fitting = [names for names in found if FEWEST <= len(set(names)) <= MOST]
    even = (names for names in fitting if _largest(names, counts) <= LARGEST)
    if fitting:
        return next(even, fitting[0])
    return _named(next((names for names in found if len(set(names)) > MOST), found[0] if found else []), seconds)


def _largest(names: Sequence[str], counts: Sequence[int]) -> float:
    layers: Counter[str] = Counter()
    for name, count in zip(names, counts, strict=True):
        layers[name] += count
    return max(layers.values()) / max(1, layers.total())


def _named(names: Sequence[str], seconds: Sequence[float]) -> list[str]:
    """The names of the stages that take most, `OTHERS` for the rest."""
    if len(set(names)) <= MOST:
        return list(names)
    taken: dict[str, float] = dict.fromkeys(names, 0.0)
    for name, each in zip(names, seconds, strict=True):
        taken[name] += each if each == each else 0.0
    kept = set(sorted(taken, key=lambda name: -taken[name])[: MOST - 1])
    return [name if name in kept else OTHERS for name in names]
