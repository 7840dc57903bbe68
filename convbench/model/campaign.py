"""A machine's key, and a campaign: one sweep's runs on several machines or hosts, which are read together.

What is computed from these runs stands in analysis/campaign/.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from convbench import units
from convbench.model.result import Environment, ProcessFacts, RunState

#: Characters of a machine key's id: 32 bits, so that 1,000 machines have different ids with a probability of 99.99 %.
ID_LENGTH = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceKind:
    """Devices that count as equal: their model, memory and power limit; None where a value is unknown.

    Memory is in whole GiB, because the bytes that a driver reports differ between its versions. The power limit is in
    whole watts.
    """

    model: str
    memory_gib: int | None = None
    power_limit_w: int | None = None

    def __str__(self) -> str:
        """`NVIDIA H200, 140 GiB, 700 W`, as known."""
        memory = None if self.memory_gib is None else f"{self.memory_gib} GiB"
        limit = None if self.power_limit_w is None else f"{self.power_limit_w} W"
        return ", ".join(filter(None, (self.model, memory, limit)))


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineKey:
    """What must be equal for two times to be compared as one machine; it holds no host's name.

    `cores` are those that the workers may use. `devices` are the kinds that were measured on, each once, sorted by
    their text. A run on the processor alone has none.
    """

    cpu: str
    architecture: str
    cores: int
    devices: tuple[DeviceKind, ...] = ()

    @property
    def id(self) -> str:
        """Eight hexadecimal digits, equal for equal keys, on every machine and in every version of convbench."""
        fields = (self.cpu, self.architecture, self.cores, *map(str, self.devices))
        return hashlib.sha256("\n".join(map(str, fields)).encode()).hexdigest()[:ID_LENGTH]

    def __str__(self) -> str:
        """`AMD EPYC 7B13, x86_64, 2 cores, NVIDIA H200, 140 GiB, 700 W`."""
        return ", ".join((self.cpu, self.architecture, units.plural(self.cores, "core"), *map(str, self.devices)))


def machine_key(
    environment: Environment, processes: Sequence[ProcessFacts] = (), *, device: str | None = None
) -> MachineKey:
    """The key of the machine that a run was measured on.

    `processes` are the run's, which know the devices' power limits. With `device` only this one belongs to the key,
    by the name that cases have for it; of `cpu` no device does.
    """
    limits = {state.device: state.power_limit_w for facts in processes for state in facts.device_states}
    devices = [] if device == "cpu" else [one for one in environment.devices if device in (None, one.name)]
    kinds = {
        DeviceKind(
            model=units.flat(one.model),
            memory_gib=None if one.memory_bytes is None else round(one.memory_bytes / 2**30),
            power_limit_w=_rounded(limits.get(one.name)),
        )
        for one in devices
    }
    if not devices and device != "cpu" and environment.accelerator:  # an older run, which knows no more of it
        kinds = {DeviceKind(model=units.flat(environment.accelerator))}
    return MachineKey(
        cpu=units.flat(environment.cpu),
        architecture=environment.machine,
        cores=environment.cores,
        devices=tuple(sorted(kinds, key=str)),
    )


def _rounded(value: float | None) -> int | None:
    return None if value is None else round(value)


class How(StrEnum):
    """How a campaign divides its sweep."""

    EACH = "each"  # every machine key measures the whole sweep
    SPLIT = "split"  # hosts of one machine key share the cases; each also measures the control cases


class CampaignState(StrEnum):
    """The state of a campaign."""

    RUNNING = "running"
    FINISHED = "finished"  # every shard has finished
    INTERRUPTED = "interrupted"  # it ended before every shard had finished


class ShardState(StrEnum):
    """The state of a shard."""

    WAITING = "waiting"  # not begun, or waits for its host
    RUNNING = "running"
    FINISHED = "finished"
    INTERRUPTED = "interrupted"  # cancelled, or its host was lost; it may be resumed
    FAILED = "failed"  # it cannot be measured there: see its note


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """What one host measures of a campaign: an ordinary run of the sweep, or of some of its cases.

    `run_ids` are its runs in the order in which they began: one that moved to another host has several. `case_ids` are
    its cases without the controls; empty in a campaign where every machine measures all cases. `host` is None until one
    is chosen. `note` says what the user should know: that it moved, why it failed. `device` is `cpu`, or the UUID of
    the host's device that it holds. `boot` is the host's boot id when its newest run began; None where it is unknown.
    """

    position: int
    machine: MachineKey
    state: ShardState
    host: str | None = None
    run_ids: tuple[str, ...] = ()
    case_ids: tuple[str, ...] = ()
    note: str | None = None
    device: str = "cpu"
    boot: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """One sweep measured on several machines or hosts. Times are ISO 8601 in UTC.

    `id` is a `c` before what a run's id could be: `c20261130-105432-k7q2`. So no run has the id of a campaign.
    `source` is the sweep's text. `controls` are the ids of the cases that every shard measures, where they share the
    others out.
    """

    id: str
    name: str
    how: How
    source: str
    started_at: str
    finished_at: str | None
    state: CampaignState
    controls: tuple[str, ...] = ()
    shards: tuple[Shard, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineRun:
    """A stored run as a list of machines needs it. Times are ISO 8601 in UTC."""

    run_id: str
    name: str
    state: RunState
    started_at: str
    finished_at: str | None
    host: str
    machine: MachineKey
