"""The machines that a database knows: hosts, runs, the best roofs, and how noisy the newest run was. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from convbench.analysis.campaign.members import names_of
from convbench.analysis.table.roofs import Roofs, highest
from convbench.measure.references import disturbance
from convbench.model.campaign import MachineKey, MachineRun
from convbench.model.result import ProcessFacts, RunState

#: The newest finished runs of a machine whose roofs are read: a roof changes with the machine and with torch alone.
MOST_READ = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownMachine:
    """A machine key with its hosts, the newest first, its runs, and what its newest finished runs measured.

    `noise` is how much longer the reference layers took than at their fastest in the newest of these runs, as the
    median minus 1. It is NaN where that run timed none.
    """

    key: MachineKey
    name: str
    hosts: tuple[str, ...]
    runs: int
    last: MachineRun
    roofs: Roofs
    noise: float


def to_read(runs: Sequence[MachineRun]) -> dict[MachineKey, tuple[MachineRun, ...]]:
    """The runs of each machine whose processes `known_machines` needs, the newest first; `runs` are newest first."""
    found: dict[MachineKey, list[MachineRun]] = {}
    for run in runs:
        some = found.setdefault(run.machine, [])
        if run.state is RunState.FINISHED and len(some) < MOST_READ:
            some.append(run)
    return {key: tuple(some) for key, some in found.items()}


def known_machines(
    runs: Sequence[MachineRun], processes: Mapping[str, Sequence[ProcessFacts]]
) -> tuple[KnownMachine, ...]:
    """Every machine of these runs, the one with the newest run first. `processes` are those of `to_read`, by run."""
    read = to_read(runs)
    names = names_of([*read], [() for _ in read])
    found = []
    for (key, some), name in zip(read.items(), names, strict=True):
        own = [run for run in runs if run.machine == key]
        facts = [processes.get(run.run_id, ()) for run in some]
        found.append(
            KnownMachine(
                key=key,
                name=name,
                hosts=tuple(dict.fromkeys(run.host for run in own)),
                runs=len(own),
                last=own[0],
                roofs=highest(one for each in facts for one in each),
                noise=disturbance(facts[0]) if facts else float("nan"),
            )
        )
    return tuple(found)
