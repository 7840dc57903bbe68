"""The members of a campaign: a run for each machine, or for each host of it, with short names. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from convbench import units
from convbench.model.campaign import MachineKey, machine_key
from convbench.model.result import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One machine of a campaign, or one host of it, with its run. `name` is short and differs from all others.

    `hosts` are those that measured the run: several where they shared its cases out.
    """

    key: MachineKey
    hosts: tuple[str, ...]
    run: Run
    name: str


def members(runs: Iterable[tuple[Run, Sequence[str]]]) -> tuple[Member, ...]:
    """A member for each run and its hosts, by machine key and host."""
    found = [(machine_key(run.environment, run.processes), tuple(hosts), run) for run, hosts in runs]
    found.sort(key=lambda one: (str(one[0]), one[0].id, one[1], one[2].id))
    names = names_of([key for key, _, _ in found], [hosts for _, hosts, _ in found])
    return tuple(
        Member(key=key, hosts=hosts, run=run, name=name) for (key, hosts, run), name in zip(found, names, strict=True)
    )


def names_of(keys: Sequence[MachineKey], hosts: Sequence[Sequence[str]]) -> list[str]:
    """A short name for each machine: the first of these that differs from the others'.

    They are its devices or its processor; that with its cores, with all of the key, with its id, with its hosts.
    """
    names = [_short(key) for key in keys]
    longer: tuple[Callable[[MachineKey, Sequence[str]], str], ...] = (
        lambda key, _: f"{_short(key)}, {units.plural(key.cores, 'core')}",
        lambda key, _: str(key),
        lambda key, _: f"{_short(key)} {key.id}",
    )
    for name_of in longer:
        ids: dict[str, set[str]] = {}
        for name, key in zip(names, keys, strict=True):
            ids.setdefault(name, set()).add(key.id)
        names = [
            name_of(key, its) if len(ids[name]) > 1 else name for name, key, its in zip(names, keys, hosts, strict=True)
        ]
    counts = Counter(names)
    return [
        f"{name} ({units.flat(', '.join(its))})" if counts[name] > 1 else name
        for name, its in zip(names, hosts, strict=True)
    ]


#: What vendors write beside a processor's model.
_BESIDE = re.compile(r"\((?:R|TM)\)|®|™|\bCPU\b|\bProcessor\b|\b\d+-Core\b|@ [\d.]+ ?GHz", re.IGNORECASE)


def _short(key: MachineKey) -> str:
    """`NVIDIA H200` of a machine with such devices, else `Intel Xeon Platinum 8481C`."""
    if key.devices:
        return " and ".join(dict.fromkeys(device.model for device in key.devices))
    return " ".join(_BESIDE.sub(" ", key.cpu).split()) or key.cpu or "unknown processor"
