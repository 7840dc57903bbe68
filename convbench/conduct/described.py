"""Derives the environment of a run and the machine's capacity from a worker's description.

The conductor's own machine is not used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter

from convbench.engine.client import NO_DEVICES, Description, Devices
from convbench.engine.pool import WorkerPool
from convbench.errors import WorkerError
from convbench.measure import schedule
from convbench.model.case import Allocator, Case, WorkerSettings
from convbench.model.result import Environment
from convbench.model.variables import recorded

#: Maximum share of the free memory for the layers of one cohort; a check's reference values need the rest.
COHORT_MEMORY_SHARE = 0.4


def plainest(cases: Iterable[Case]) -> WorkerSettings:
    """The settings of the worker that describes the machine: those with the fewest special settings."""
    return min(dict.fromkeys(case.worker for case in cases), key=attrgetter("special_settings"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """Limits of a machine. `memory_limit` and `cache_bytes` are in bytes.

    `most_workers` is the maximum number of workers alive at once. `memory_limit` bounds the layers of a cohort, and
    `device_limits` those on a device that reports its free memory, in bytes.
    `cache_bytes` is the last-level cache. `has_steady_allocator` says whether the steady allocator differs from the
    system's.
    """

    most_workers: int
    memory_limit: int
    cache_bytes: int
    has_steady_allocator: bool
    device_limits: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, description: Description) -> Capacity:
        """The limits from the first worker's description of its machine and its own memory."""
        host = description.host
        return cls(
            most_workers=schedule.workers_at_once(host.free_bytes, description.memory_bytes),
            memory_limit=int(host.free_bytes * COHORT_MEMORY_SHARE),
            cache_bytes=host.l3_bytes or schedule.CACHE_BYTES,
            has_steady_allocator=host.has_steady_allocator,
        )

    def with_devices(self, devices: Devices) -> Capacity:
        """The limits of the machine with these devices."""
        limits = {name: int(free * COHORT_MEMORY_SHARE) for name, free in devices.free_bytes}
        return replace(self, device_limits=limits)


def devices_of(pool: WorkerPool, cases: Iterable[Case], *, deadline_s: float) -> Devices:
    """What the devices of the cases are, as a worker of theirs describes them; no worker is asked without any.

    A worker that fails at this is replaced; its cases will show why.
    """
    there = [case for case in cases if case.device != "cpu"]
    if not there:
        return NO_DEVICES
    settings = plainest(there)
    try:
        return pool.client(settings).devices(sorted({case.device for case in there}), deadline_s=deadline_s)
    except WorkerError:
        pool.drop(settings)
        return NO_DEVICES


def environment_of(
    description: Description,
    devices: Devices,
    *,
    allocator: Allocator,
    executable: str,
    variables: Mapping[str, str],
) -> Environment:
    """The environment of a worker with these devices that `executable` started with these environment variables.

    `allocator` is the requested one; the description says how it behaves.
    """
    host = description.host
    return Environment(
        hostname=host.hostname,
        system=host.system,
        machine=host.machine,
        cpu=host.cpu,
        cores=host.cores,
        memory_bytes=host.memory_bytes,
        l2_bytes=host.l2_bytes,
        l3_bytes=host.l3_bytes,
        python=description.python,
        torch=description.torch,
        onednn=description.onednn,
        libc=host.libc,
        accelerator=devices.accelerator,
        cpu_capability=description.cpu_capability,
        allocator=_allocator(allocator, description),
        variables=recorded(variables.items()),
        executable=executable,
        devices=devices.devices,
        device_software=devices.software,
    )


def _allocator(allocator: Allocator, description: Description) -> str:
    """How the worker's allocator behaved when it was tested."""
    if allocator is Allocator.SYSTEM:
        return "system"
    return "steady" if description.keeps_memory else "steady asked for, but freed memory goes back to the system"
