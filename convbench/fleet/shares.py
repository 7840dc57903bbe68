"""Which devices of which hosts measure a campaign, and how they share its cases out. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from convbench import units
from convbench.errors import RequestError
from convbench.fleet.messages import HostDevice
from convbench.model.campaign import How, MachineKey, Shard, ShardState
from convbench.model.case import Case

#: The fewest cases that every shard of a shared sweep measures, so that its hosts can be compared.
FEWEST_CONTROLS = 6
#: The part of a sweep's cases that are controls, where that is more.
CONTROLS_SHARE = 0.02
PROCESSOR = "cpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which hosts are asked for. `where` are labels that a host must have; `device` is the kind of its device.

    With `every_host`, a machine key is measured on all of its hosts, not on one of them. `avoided` are the names of
    hosts that were slower than their own history allows: they are taken with `every_host` alone.
    """

    how: How
    where: tuple[tuple[str, str], ...] = ()
    device: str = PROCESSOR
    every_host: bool = False
    avoided: frozenset[str] = frozenset()


def device_kind(cases: Sequence[Case], asked: str | None) -> str:
    """The kind of device that the shards hold: the cases', `cpu` or `cuda`; RequestError where it is not `asked`.

    Cases on the processor beside cases on a device do not make a kind of their own: a shard holds the device.
    """
    found = sorted({case.device.partition(":")[0] for case in cases} - {PROCESSOR})
    kind = found[0] if found else PROCESSOR
    if len(found) > 1:
        raise RequestError(f"the sweep has cases on {' and '.join(found)}", hint="give each kind of device a sweep")
    numbered = sorted({case.device for case in cases if ":" in case.device and not case.device.endswith(":0")})
    if numbered:
        raise RequestError(
            f"the sweep has cases on {numbered[0]}: a shard sees one device alone", hint=f"write device: {kind}"
        )
    if asked is not None and asked != kind:
        raise RequestError(f"--devices {asked}: the cases of the sweep run on {kind}", hint=f"write device: {asked}")
    return kind


def chosen(hosts: Sequence[HostDevice], wanted: Wanted) -> tuple[HostDevice, ...]:
    """The devices that measure, by host; RequestError where there is none, or where shares would not be comparable."""
    labelled = [host for host in hosts if set(wanted.where) <= set(host.labels)]
    there = [host for host in labelled if (host.device == PROCESSOR) == (wanted.device == PROCESSOR)]
    if not there:
        raise RequestError(_none_there(hosts, labelled, wanted), hint=_labels(hosts))
    by_key: dict[MachineKey, list[HostDevice]] = {}
    for host in sorted(there, key=lambda host: host.place):
        by_key.setdefault(host.machine, []).append(host)
    if wanted.how is How.SPLIT and len(by_key) > 1:
        raise RequestError(
            [f"--split needs hosts of one machine key, found {len(by_key)}:", *(f"  {key}" for key in by_key)],
            hint="choose by --where, or let every key measure the whole sweep",
        )
    if wanted.how is How.SPLIT:
        usual = [host for host in there if host.host not in wanted.avoided or wanted.every_host]
        return tuple(sorted(usual or there, key=lambda host: host.place))
    if wanted.every_host:
        return tuple(host for same in by_key.values() for host in same)
    return tuple(min(same, key=lambda host: host.host in wanted.avoided) for same in by_key.values())


def _none_there(hosts: Sequence[HostDevice], labelled: Sequence[HostDevice], wanted: Wanted) -> str:
    labels = ", ".join(f"{name}={value}" for name, value in wanted.where)
    if not hosts:
        return "no host can measure"
    if not labelled:
        return f"no host has the label {labels}"
    return f"no host{f' with {labels}' if labels else ''} has a device of kind {wanted.device} that is known"


def _labels(hosts: Sequence[HostDevice]) -> str | None:
    """Labels by which `--where` may choose."""
    found = sorted({f"{name}={value}" for host in hosts for name, value in host.labels})
    return f"labels are {', '.join(found[:10])}" if found else None


def whole_sweep(devices: Sequence[HostDevice]) -> tuple[Shard, ...]:
    """One shard for each device, which measures all cases."""
    return tuple(
        Shard(position=index, machine=at.machine, state=ShardState.WAITING, host=at.host, device=at.device)
        for index, at in enumerate(devices)
    )


def shared_out(
    cases: Sequence[Case], seconds: Mapping[str, float], devices: Sequence[HostDevice]
) -> tuple[tuple[Shard, ...], tuple[str, ...]]:
    """Shards that take about equally long, and the ids of their controls, which every one of them measures too.

    `seconds` forecasts each case by its id. The longest cases are dealt first, each to the shard with least to do.
    With fewer cases than devices, some devices get none.
    """
    controls = controls_of(cases, seconds)
    others = [case.id for case in cases if case.id not in set(controls)]
    if not others:
        raise RequestError(
            f"--split: the sweep has {units.plural(len(cases), 'case')}, and every host measures {FEWEST_CONTROLS}",
            hint="let one host measure all of them",
        )
    hands: list[list[str]] = [[] for _ in devices[: len(others)]]
    least = [(0.0, index) for index in range(len(hands))]
    for case_id in sorted(others, key=lambda each: -seconds[each]):
        spent, index = heapq.heappop(least)
        hands[index].append(case_id)
        heapq.heappush(least, (spent + seconds[case_id], index))
    order = {case.id: place for place, case in enumerate(cases)}
    shards = tuple(
        Shard(
            position=index,
            machine=at.machine,
            state=ShardState.WAITING,
            host=at.host,
            device=at.device,
            case_ids=tuple(sorted(hand, key=order.__getitem__)),
        )
        for index, (at, hand) in enumerate(zip(devices, hands, strict=False))
    )
    return shards, controls


def controls_of(cases: Sequence[Case], seconds: Mapping[str, float]) -> tuple[str, ...]:
    """The cases that every shard measures: six or more, at even distances in the order of their forecasts.

    So they cover short cases and long ones, and cost every shard about the same as as many of its own.
    """
    count = min(len(cases), max(FEWEST_CONTROLS, round(CONTROLS_SHARE * len(cases))))
    ranked = sorted((case.id for case in cases), key=lambda each: (seconds[each], each))
    picked: Collection[str] = {ranked[int((index + 0.5) * len(ranked) / count)] for index in range(count)}
    return tuple(case.id for case in cases if case.id in picked)
