"""What follows from what a worker says of itself and its machine: the environment of a run, and what there is room for.

The conductor's own machine plays no part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter

from convbench.engine.client import Description
from convbench.measure import schedule
from convbench.model.case import Allocator, Case, WorkerSettings
from convbench.model.result import Environment
from convbench.model.variables import telling

#: The share of the free memory that the layers of one cohort may fill; reference values of a check need the rest.
COHORT_MEMORY_SHARE = 0.4


def plainest(cases: Iterable[Case]) -> WorkerSettings:
    """The settings of the worker that tells what a machine is."""
    return min(dict.fromkeys(case.worker for case in cases), key=attrgetter("peculiarities"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What there is room for: workers alive at once, layers measured interleaved (bytes), the last cache (bytes).

    With `has_steady_allocator` the steady allocator is another than the system's.
    """

    most_workers: int
    memory_limit: int
    cache_bytes: int
    has_steady_allocator: bool

    @classmethod
    def of(cls, description: Description) -> Capacity:
        """By what the first worker says of its machine and of the memory it takes itself."""
        host = description.host
        return cls(
            most_workers=schedule.workers_at_once(host.free_bytes, description.memory_bytes),
            memory_limit=int(host.free_bytes * COHORT_MEMORY_SHARE),
            cache_bytes=host.l3_bytes or schedule.CACHE_BYTES,
            has_steady_allocator=host.has_steady_allocator,
        )


def environment_of(
    description: Description, *, allocator: Allocator, executable: str, variables: Mapping[str, str]
) -> Environment:
    """The machine and the software a worker described, started by `executable` with these environment variables.

    `allocator` is what was asked for.
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
        accelerator=description.accelerator,
        cpu_capability=description.cpu_capability,
        allocator=_allocator(allocator, description),
        variables=telling(variables.items()),
        executable=executable,
    )


def _allocator(allocator: Allocator, description: Description) -> str:
    """How the worker's allocator behaves, as it was found out."""
    if allocator is Allocator.SYSTEM:
        return "system"
    return "steady" if description.keeps_memory else "steady asked for, but freed memory goes back to the system"
