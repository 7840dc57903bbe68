"""Devices: which ones torch finds, how to wait for them, and how to time on them.

Devices other than the CPU are used through `torch.accelerator` and `torch.Event`, which support every backend of torch.
Where an older torch lacks these, the backend's module, for example `torch.cuda`, has the same functions.
"""

from __future__ import annotations

import contextlib
from types import ModuleType
from typing import Any

import torch


class AbsentError(Exception):
    """The device is absent; the message says why."""


def resolve(name: str) -> torch.device:
    """The torch device that a case names; `accelerator` is the accelerator that torch finds. Raises AbsentError."""
    if name == "cpu":
        return torch.device("cpu")
    current = _current_accelerator()
    if name == "accelerator":
        if current is None:
            raise AbsentError("torch finds no accelerator on this machine")
        return current
    device = torch.device(name)
    if current is None or current.type != device.type:
        found = f"its accelerator is {current.type}" if current else "torch finds no accelerator on this machine"
        raise AbsentError(f"device {name} is not there: {found}")
    if device.index is not None and device.index >= device_count(device):
        raise AbsentError(f"device {name} is not there: torch finds {device_count(device)} of {device.type}")
    return device


def _current_accelerator() -> torch.device | None:
    accelerator = getattr(torch, "accelerator", None)
    if accelerator is not None:
        if not accelerator.is_available():
            return None
        return torch.device(accelerator.current_accelerator().type)
    for kind in ("cuda", "xpu", "mps"):
        module = getattr(torch, kind, None) or getattr(torch.backends, kind, None)
        if module is not None and module.is_available():
            return torch.device(kind)
    return None


def backend(device: torch.device) -> ModuleType:
    """The backend's module, which in an older torch replaces `torch.accelerator`."""
    module: ModuleType = getattr(torch, device.type)
    return module


def device_count(device: torch.device) -> int:
    """The number of devices of this type."""
    accelerator = getattr(torch, "accelerator", None)
    count: int = accelerator.device_count() if accelerator else backend(device).device_count()
    return count


#: Cycles of the sleep that shows how many a device takes in a second: half a millisecond at 2 GHz. The few microseconds
#: of both events change the figure by less than 1 %.
_CYCLES = 1_000_000


class Stream:
    """The device's queue of work for the timer: record events, wait for all work, read the time between two events.

    `can_hold` is whether the device can be made to wait while work is launched, which CUDA alone can.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._backend: Any = getattr(torch, "accelerator", None) or backend(device)
        self._stream = self._backend.current_stream(device)
        self._events: list[Any] = []
        self._cycles_per_s = 0.0
        self.has_events = self._events_work()
        self.can_hold = self.has_events and device.type == "cuda" and hasattr(torch.cuda, "_sleep")

    def _event(self) -> Any:
        event = vars(torch).get("Event")
        if event is None:
            return backend(self._device).Event(enable_timing=True)
        return event(self._device.type, enable_timing=True)

    def _events_work(self) -> bool:
        """Whether this backend measures the time between two events; some have events without elapsed_time."""
        try:
            first, second = self.events(2)
            self.synchronize()
            return self.seconds_between(first, second) >= 0
        except (RuntimeError, AttributeError, TypeError):  # errors of backends without such events
            return False

    def events(self, count: int) -> list[Any]:
        """So many events of this queue, each recorded at least once: the first time takes longer, and the memory."""
        while len(self._events) < count:
            self._events.append(self._event())
            self.record(self._events[-1])
        return self._events[:count]

    def record(self, event: Any) -> None:
        """Record an event after all work launched so far."""
        event.record(self._stream)

    def hold(self, seconds: float) -> None:
        """Make the device do nothing for so long, before what is launched next."""
        cycles_per_s = self._cycles_per_s or self._counted()
        self._sleep(max(1, int(seconds * cycles_per_s)))

    def clock_hz(self) -> float | None:
        """The clock of the multiprocessors now, by the time of a kernel that counts its cycles; None where unknown.

        On AMD's devices that kernel counts by a clock of its own.
        """
        return self._counted() if self.can_hold and getattr(torch.version, "hip", None) is None else None

    def _counted(self) -> float:
        """Cycles per second that the device's sleep counts now."""
        first, second = self.events(2)
        self.record(first)
        self._sleep(_CYCLES)
        self.record(second)
        self.synchronize()
        self._cycles_per_s = _CYCLES / self.seconds_between(first, second)
        return self._cycles_per_s

    def _sleep(self, cycles: int) -> None:
        sleep: Any = vars(torch.cuda)["_sleep"]
        with torch.cuda.device(self._device):
            sleep(cycles)

    def is_reached(self, event: Any) -> bool:
        """Whether the device has done everything before the event."""
        reached: bool = event.query()
        return reached

    def synchronize(self) -> None:
        """Wait until all work launched so far is done."""
        self._backend.synchronize(self._device)

    def seconds_between(self, first: Any, second: Any) -> float:
        """Device time between two events, seconds; call `synchronize` first."""
        milliseconds: float = first.elapsed_time(second)
        return milliseconds * 1e-3


def empty_cache(device: torch.device) -> None:
    """Return memory that torch's allocator keeps for the device to the device, where its backend can."""
    backends: list[Any] = [getattr(torch, "accelerator", None), getattr(torch, device.type, None)]
    for backend in backends:
        with contextlib.suppress(AttributeError, RuntimeError):  # a backend without it
            backend.empty_cache()
            return
