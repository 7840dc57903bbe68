"""What NVIDIA's management library says of the devices while they are measured: clocks, power, heat. It only reads.

The library (`nvidia-ml-py`, the extra `nvidia`) is optional. What it does not know of a device is None.
"""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from convbench.model.result import NAN, Device, DeviceState

#: The reasons for which a device lowers its clock, by NVML's bits. Idleness and clocks that a user has set are none.
SLOWDOWNS = {
    0x04: "power limit",
    0x08: "hardware slowdown",
    0x20: "heat",
    0x40: "heat, in hardware",
    0x80: "power brake",
}
#: NVML's policies whose counters grow while the clock is lowered: power and heat.
_POLICIES = ("NVML_PERF_POLICY_POWER", "NVML_PERF_POLICY_THERMAL")
_HZ_PER_MHZ = 1e6


@dataclass(slots=True, kw_only=True)
class _Watched:
    """One device: its handle, the last counters, and what was read since the process began."""

    handle: Any
    counters: tuple[int | None, ...] = ()
    reasons: set[str] = field(default_factory=set)
    sm_hz: list[float] = field(default_factory=list)
    states: list[DeviceState] = field(default_factory=list)


class Nvidia:
    """The devices of a run that the library knows, by the names that cases have for them."""

    def __init__(self, library: Any, handles: dict[str, Any]) -> None:
        self._library = library
        self._watched = {name: _Watched(handle=handle) for name, handle in handles.items()}

    def __bool__(self) -> bool:
        return bool(self._watched)

    @property
    def names(self) -> frozenset[str]:
        """The names of the devices."""
        return frozenset(self._watched)

    def after_block(self, device: str) -> dict[str, float]:
        """The clock of a device after a block, and whether it was lowered: `clock_hz` and `throttled`, 0 or 1."""
        watched = self._watched.get(device)
        if watched is None:
            return {}
        bits, clock = self._slowdowns(watched.handle), self._clock(watched.handle, "NVML_CLOCK_SM")
        before, watched.counters = watched.counters, self._counters(watched.handle)
        pairs = zip(before, watched.counters, strict=False)
        grew = [now > then for then, now in pairs if then is not None and now is not None]
        watched.reasons |= {reason for bit, reason in SLOWDOWNS.items() if (bits or 0) & bit}
        known = bits is not None or bool(grew)
        throttled = any(grew) or any((bits or 0) & bit for bit in SLOWDOWNS)
        if clock is not None:
            watched.sm_hz.append(clock)
        return {"clock_hz": NAN if clock is None else clock, "throttled": float(throttled) if known else NAN}

    def look(self, device: str) -> None:
        """Read the whole state of a device, which takes longer than `after_block`."""
        watched = self._watched.get(device)
        if watched is not None:
            watched.states.append(self.state(device))

    def state(self, device: str) -> DeviceState:
        """The present state of a device."""
        handle = self._watched[device].handle
        ask, milli = self._ask, 1e-3
        bits = self._slowdowns(handle)
        return DeviceState(
            device=device,
            sm_hz=self._clock(handle, "NVML_CLOCK_SM"),
            most_sm_hz=self._clock(handle, "NVML_CLOCK_SM", "nvmlDeviceGetMaxClockInfo"),
            memory_hz=self._clock(handle, "NVML_CLOCK_MEM"),
            power_w=_scaled(ask("nvmlDeviceGetPowerUsage", handle), milli),
            power_limit_w=_scaled(ask("nvmlDeviceGetEnforcedPowerLimit", handle), milli),
            temperature_c=_scaled(ask("nvmlDeviceGetTemperature", handle, self._library.NVML_TEMPERATURE_GPU), 1.0),
            slowdowns=tuple(reason for bit, reason in SLOWDOWNS.items() if (bits or 0) & bit),
            other_processes=self._others(handle),
        )

    def taken(self) -> tuple[DeviceState, ...]:
        """The states since the last call, one for each device that was read: medians, highest power and temperature."""
        found = []
        for name, watched in self._watched.items():
            if watched.states:
                found.append(_together(name, watched))
            watched.states, watched.sm_hz, watched.reasons = [], [], set()
        return tuple(found)

    def close(self) -> None:
        """Let go of the library."""
        self._ask("nvmlShutdown")

    def _ask(self, name: str, *arguments: Any) -> Any:
        """The answer of a function of the library; None where the device or an older driver has no such thing."""
        try:
            return getattr(self._library, name)(*arguments)
        except (self._library.NVMLError, AttributeError):
            return None

    def _clock(self, handle: Any, kind: str, function: str = "nvmlDeviceGetClockInfo") -> float | None:
        return _scaled(self._ask(function, handle, getattr(self._library, kind)), _HZ_PER_MHZ)

    def _slowdowns(self, handle: Any) -> int | None:
        """The bits of the reasons. The function has a new name, which an older driver lacks."""
        for name in ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"):
            bits = self._ask(name, handle)
            if bits is not None:
                return int(bits)
        return None

    def _counters(self, handle: Any) -> tuple[int | None, ...]:
        """The times for which the clock was lowered so far, for each policy."""
        found = [self._ask("nvmlDeviceGetViolationStatus", handle, getattr(self._library, name)) for name in _POLICIES]
        return tuple(None if status is None else int(status.violationTime) for status in found)

    def _others(self, handle: Any) -> int | None:
        """The number of compute processes that are not of this run; None where their ids are of another namespace."""
        import psutil

        listed = self._ask("nvmlDeviceGetComputeRunningProcesses", handle)
        if listed is None:
            return None
        pids = {process.pid for process in listed}
        if any(not psutil.pid_exists(pid) for pid in pids):
            return None
        return len(pids - {os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))})


def opened(devices: Iterable[Device]) -> Nvidia | None:
    """The library for those of the devices that it knows; None without it, or without such a device."""
    uuids = {device.name: device.uuid for device in devices if device.uuid}
    if not uuids:
        return None
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    handles = {}
    for name, uuid in uuids.items():
        with contextlib.suppress(pynvml.NVMLError):
            handles[name] = _handle(pynvml, uuid)
    found = Nvidia(pynvml, handles)
    if not found:
        found.close()
    return found or None


def every_device() -> list[tuple[Device, float | None]]:
    """All devices of this host that the library knows, named by their UUIDs, each with its power limit in watts.

    Empty without the library or without a device.
    """
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    library, found = Nvidia(pynvml, {}), []
    try:
        for index in range(library._ask("nvmlDeviceGetCount") or 0):
            handle = library._ask("nvmlDeviceGetHandleByIndex", index)
            uuid, model = library._ask("nvmlDeviceGetUUID", handle), library._ask("nvmlDeviceGetName", handle)
            memory = library._ask("nvmlDeviceGetMemoryInfo", handle)
            if uuid and model:
                device = Device(name=uuid, model=model, memory_bytes=memory and int(memory.total), uuid=uuid)
                found.append((device, _scaled(library._ask("nvmlDeviceGetEnforcedPowerLimit", handle), 1e-3)))
    finally:
        library.close()
    return found


def is_installed() -> bool:
    """Whether the library can be imported."""
    from importlib.util import find_spec

    return find_spec("pynvml") is not None


def _handle(library: Any, uuid: str) -> Any:
    """The handle of a device; that of the whole device where it is a part of one (MIG)."""
    handle = library.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}")
    if uuid.startswith("MIG-"):
        with contextlib.suppress(library.NVMLError):
            return library.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle)
    return handle


def _scaled(value: Any, factor: float) -> float | None:
    return None if value is None else float(value) * factor


def _over(values: Iterable[float | None], combined: Callable[[Sequence[float]], float]) -> float | None:
    known = [value for value in values if value is not None]
    return combined(known) if known else None


def _together(name: str, watched: _Watched) -> DeviceState:
    states = watched.states
    middle: Callable[[Sequence[float]], float] = statistics.median
    reasons = watched.reasons.union(*(state.slowdowns for state in states))
    highest: Callable[[Sequence[float]], float] = max
    others = [state.other_processes for state in states if state.other_processes is not None]
    return DeviceState(
        device=name,
        sm_hz=_over(watched.sm_hz or [state.sm_hz for state in states], middle),
        most_sm_hz=_over([state.most_sm_hz for state in states], highest),
        memory_hz=_over([state.memory_hz for state in states], middle),
        power_w=_over([state.power_w for state in states], highest),
        power_limit_w=_over([state.power_limit_w for state in states], highest),
        temperature_c=_over([state.temperature_c for state in states], highest),
        slowdowns=tuple(reason for reason in SLOWDOWNS.values() if reason in reasons),
        other_processes=max(others, default=None),
    )
