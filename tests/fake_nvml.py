"""A made-up library below the real `pynvml`: its functions are replaced, and its names and errors stay."""

from __future__ import annotations

import os
import types
from dataclasses import dataclass, field
from typing import Any

import pynvml
import pytest


@dataclass
class FakeCard:
    """One device. What is None is not supported. Lists give one value at each question, the last one for ever."""

    uuid: str = "GPU-0000-1111"
    sm_mhz: list[int] | None = field(default_factory=lambda: [1980])
    power_mw: list[int] | None = field(default_factory=lambda: [412_000])
    reasons: list[int] | None = field(default_factory=lambda: [0])
    throttled_ns: list[int] | None = field(default_factory=lambda: [0])
    pids: list[int] | None = field(default_factory=lambda: [os.getpid()])


def _next(values: list[int] | None) -> int:
    if values is None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
    return values.pop(0) if len(values) > 1 else values[0]


def install(monkeypatch: pytest.MonkeyPatch, *cards: FakeCard) -> list[str]:
    """Replace the library's functions; returns the names of those that are called."""
    called: list[str] = []

    def by_uuid(uuid: str) -> FakeCard:
        for card in cards:
            if card.uuid == uuid:
                return card
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)

    def processes(card: FakeCard) -> list[types.SimpleNamespace]:
        if card.pids is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NO_PERMISSION)
        return [types.SimpleNamespace(pid=pid) for pid in card.pids]

    made = {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetHandleByUUID": by_uuid,
        "nvmlDeviceGetDeviceHandleFromMigDeviceHandle": lambda card: card,
        "nvmlDeviceGetClockInfo": lambda card, kind: _next(card.sm_mhz) if kind == pynvml.NVML_CLOCK_SM else 2619,
        "nvmlDeviceGetMaxClockInfo": lambda card, kind: 1980,
        "nvmlDeviceGetPowerUsage": lambda card: _next(card.power_mw),
        "nvmlDeviceGetEnforcedPowerLimit": lambda card: 700_000,
        "nvmlDeviceGetTemperature": lambda card, sensor: 61,
        "nvmlDeviceGetCurrentClocksEventReasons": lambda card: _next(card.reasons),
        "nvmlDeviceGetCurrentClocksThrottleReasons": lambda card: _next(None),
        "nvmlDeviceGetViolationStatus": lambda card, policy: types.SimpleNamespace(
            violationTime=_next(card.throttled_ns) if policy == pynvml.NVML_PERF_POLICY_POWER else 0
        ),
        "nvmlDeviceGetComputeRunningProcesses": processes,
        "nvmlDeviceGetCount": lambda: len(cards),
        "nvmlDeviceGetHandleByIndex": lambda index: cards[index],
        "nvmlDeviceGetUUID": lambda card: card.uuid,
        "nvmlDeviceGetName": lambda card: "NVIDIA H200",
        "nvmlDeviceGetMemoryInfo": lambda card: types.SimpleNamespace(total=140 * 2**30),
    }

    def noted(name: str) -> object:
        def function(*arguments: object) -> object:
            called.append(name)
            made_function: Any = made[name]
            return made_function(*arguments)

        return function

    for name in [name for name in dir(pynvml) if name.startswith("nvml") and callable(getattr(pynvml, name))]:
        if name in made:
            monkeypatch.setattr(pynvml, name, noted(name))
        elif "Set" in name or "Reset" in name:
            monkeypatch.setattr(pynvml, name, lambda *_, name=name: pytest.fail(f"{name} was called"))
    return called
