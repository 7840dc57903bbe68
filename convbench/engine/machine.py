"""A machine by what a worker on it says: what it is, and how it is at a moment."""

from __future__ import annotations

from dataclasses import dataclass, field

from convbench.model.fact import fact
from convbench.model.values import Whole

#: What is taken for free where a system tells neither its free memory nor all of it, bytes.
ASSUMED_FREE_BYTES = 2 * 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Where a worker runs. Sizes are in bytes, `available_bytes` from when it was asked; None: not told.

    `cores` are those that the worker may use, `libc` is the C library of its interpreter.
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
        """Whether malloc can be asked to keep freed memory: glibc's can, which reads the MALLOC_ variables."""
        return self.libc.startswith("glibc")

    @property
    def free_bytes(self) -> int:
        """Bytes that can still be taken: as told, else half of the machine's memory, else little."""
        if self.available_bytes is not None:
            return self.available_bytes
        return ASSUMED_FREE_BYTES if self.memory_bytes is None else self.memory_bytes // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class HostState:
    """How a machine is at a moment; None where the system does not tell.

    `ticks` and `throttled` are counters since boot: clock ticks of all cores by what they did, the eighth those given
    to other guests; and how often cores or the control group were slowed down. `load` is the last minute's average.
    """

    ticks: tuple[int, ...] | None = None
    throttled: int | None = None
    load: float | None = None
    frequency_hz: float | None = None

    def stolen_since(self, before: HostState) -> float | None:
        """The share of the processors' time since then that the host gave to other guests."""
        if before.ticks is None or self.ticks is None or min(len(before.ticks), len(self.ticks)) < 8:
            return None
        spent = sum(self.ticks) - sum(before.ticks)
        # The kernel's count of stolen time may step back.
        return min(1.0, max(0.0, (self.ticks[7] - before.ticks[7]) / spent)) if spent > 0 else 0.0

    def throttled_since(self, before: HostState) -> int | None:
        """How often cores or the control group were slowed down since then."""
        if before.throttled is None or self.throttled is None:
            return None
        return max(0, self.throttled - before.throttled)  # less where a core went offline
