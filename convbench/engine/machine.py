"""A machine as a worker on it describes it: its hardware, and its momentary state."""

from __future__ import annotations

from dataclasses import dataclass, field

from convbench.model.fact import fact
from convbench.model.values import Whole

#: Assumed free memory where a system reports neither free nor total memory, bytes.
ASSUMED_FREE_BYTES = 2 * 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The machine of a worker. Sizes are in bytes; None means unknown. `available_bytes` is a momentary value.

    `cores` is the number of cores that the worker may use, `libc` is the C library of its interpreter.
    """

    hostname: str
    system: str
    machine: str
    cpu: str
    cores: int = field(metadata=fact(bound=Whole(low=1)))
    libc: str
    memory_bytes: int | None = None
    available_bytes: int | None = None
    l2_bytes: int | None = None
    l3_bytes: int | None = None
    governor: str | None = None
    boost: bool | None = None

    @property
    def has_steady_allocator(self) -> bool:
        """Whether malloc can keep freed memory: glibc's can, as it reads the MALLOC_ variables."""
        return self.libc.startswith("glibc")

    @property
    def free_bytes(self) -> int:
        """Free memory in bytes: the reported value, else half of the machine's memory, else ASSUMED_FREE_BYTES."""
        if self.available_bytes is not None:
            return self.available_bytes
        return ASSUMED_FREE_BYTES if self.memory_bytes is None else self.memory_bytes // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class HostState:
    """The momentary state of a machine; None means unknown.

    `ticks` and `throttled` are counters since boot. `ticks` are clock ticks of all cores by kind of use; the eighth
    counts those given to other guests. `throttled` counts how often cores or the control group were slowed down. `load`
    is the last minute's average.
    """

    ticks: tuple[int, ...] | None = None
    throttled: int | None = None
    load: float | None = None
    frequency_hz: float | None = None

    def stolen_since(self, before: HostState) -> float | None:
        """The share of the processors' time since `before` that the host gave to other guests."""
        if before.ticks is None or self.ticks is None or min(len(before.ticks), len(self.ticks)) < 8:
            return None
        spent = sum(self.ticks) - sum(before.ticks)
        # The kernel's counter of stolen time may decrease.
        return min(1.0, max(0.0, (self.ticks[7] - before.ticks[7]) / spent)) if spent > 0 else 0.0

    def throttled_since(self, before: HostState) -> int | None:
        """How often cores or the control group were slowed down since `before`."""
        if before.throttled is None or self.throttled is None:
            return None
        return max(0, self.throttled - before.throttled)  # negative if a core went offline
