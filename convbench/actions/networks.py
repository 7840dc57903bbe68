"""The sweeps of a folder as networks: how many layers each has, their work and their parameters."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from convbench import sweep as sweeps
from convbench.errors import RequestError
from convbench.model.case import Case, setting
from convbench.model.problem import Direction, Problem

#: Where the repository has the networks that people know.
FOLDER = Path("configs/networks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A sweep that lists the layers of a network.

    `layers` counts each as often as it occurs, `distinct` once. `flops` are those of one forward pass, `parameters`
    those of the layers.
    """

    path: Path
    name: str
    layers: int
    distinct: int
    flops: int
    parameters: int


def networks(folder: Path = FOLDER) -> list[Network]:
    """The networks in the YAML files of a folder, by file name; RequestError where there is none."""
    paths = sorted(path for path in folder.glob("*.y*ml") if path.suffix in (".yaml", ".yml"))
    if not paths:
        hint = "the repository of convbench has configs/networks; `convbench capture MODEL -o FILE` writes one"
        raise RequestError(f"{folder}: no sweep in this folder", hint=hint)
    return [_network(path) for path in paths]


def _network(path: Path) -> Network:
    sweep = sweeps.load(path)
    counts: Counter[Problem] = Counter()
    for case in _once(sweep):
        counts[case.problem] += case.count
    return Network(
        path=path,
        name=sweep.name,
        layers=sum(counts.values()),
        distinct=len(counts),
        flops=sum(problem.flops(Direction.FORWARD) * count for problem, count in counts.items()),
        parameters=sum(problem.parameters * count for problem, count in counts.items()),
    )


def _once(sweep: sweeps.Sweep) -> list[Case]:
    """The cases of one forward pass with the first value of each axis, so that a layer is not counted per setting."""
    later = {axis.name: axis.values[1:] for axis in sweep.axes}
    first = [
        case
        for case in sweeps.cases(sweep).cases
        if not any(setting(case, name) in values for name, values in later.items())
    ]
    return [case for case in first if case.direction is Direction.FORWARD] or first
