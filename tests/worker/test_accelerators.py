"""What a worker says of devices, on a made-up backend: the machine of these tests has none."""

from __future__ import annotations

import contextlib
import types
from pathlib import Path
from typing import Any

import pytest
import torch

from convbench.worker import accelerators, devices
from convbench.worker.serve import Worker


class StartedError(AssertionError):
    """Something asked CUDA, which would have started it."""


def _refuse(*_: object, **__: object) -> Any:
    raise StartedError


def test_describing_a_worker_starts_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither asks torch for an accelerator, which calls the driver."""
    for name in ("is_available", "device_count", "current_device", "get_device_name", "get_device_properties"):
        monkeypatch.setattr(torch.cuda, name, _refuse)
    for name in ("is_available", "device_count", "current_accelerator"):
        monkeypatch.setattr(torch.accelerator, name, _refuse)
    worker = Worker()
    assert worker.answer({"op": "describe"})["status"] == "passed"
    assert worker.answer({"op": "compute_probe"})["status"] == "passed"
    with pytest.raises(StartedError):
        devices.resolve("accelerator")


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """Two devices of a made-up `cuda`."""
    properties = types.SimpleNamespace(total_memory=80 * 2**30, uuid="0000-1111")
    made = types.SimpleNamespace(
        current_device=lambda: 1,
        get_device_name=lambda index: f"H10{index}",
        get_device_properties=lambda index: properties,
        device_count=lambda: 2,
        is_available=lambda: True,
        mem_get_info=lambda index: ((10 + index) * 2**30, 80 * 2**30),
    )
    monkeypatch.setattr(torch, "cuda", made)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91002)
    return made


def test_every_device_of_the_run_is_named_with_the_software_below(
    backend: types.SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    version = tmp_path / "version"
    version.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  Thu Jan 23 2026\nGCC version 12\n")
    monkeypatch.setattr(accelerators, "_DRIVERS", ((version, accelerators._DRIVERS[0][1]),))
    found = accelerators.describe(["cuda:0", "cuda", "cuda:7", "xpu"])
    assert [(each["name"], each["model"]) for each in found["devices"]] == [("cuda:0", "H100"), ("cuda", "H101")]
    assert {(each["memory_bytes"], each["uuid"]) for each in found["devices"]} == {(80 * 2**30, "0000-1111")}
    assert found["accelerator"] == "cuda: H100 x2"
    assert found["free_bytes"] == [("cuda:0", 10 * 2**30), ("cuda", 11 * 2**30)]
    assert found["software"] == [("CUDA", "12.8"), ("cuDNN", "9.10.2"), ("driver", "570.86.15")]


@pytest.mark.parametrize(
    ("number", "rocm", "told"),
    [(91002, False, ("cuDNN", "9.10.2")), (8902, False, ("cuDNN", "8.9.2")), (3005001, True, ("MIOpen", "3.5.1"))],
)
def test_versions_of_cudnn_and_miopen(
    number: int, rocm: bool, told: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: number)
    assert accelerators._convolutions(rocm) == told


def test_a_backend_that_can_say_little_is_named_by_its_type(
    backend: types.SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails(index: int) -> str:
        raise RuntimeError("not implemented")

    monkeypatch.setattr(accelerators, "_DRIVERS", ((tmp_path / "absent", accelerators._DRIVERS[0][1]),))
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: None)
    monkeypatch.setattr(torch.version, "cuda", None)
    backend.get_device_name = fails
    del backend.get_device_properties, backend.current_device
    found = accelerators.describe(["cuda:1"])
    assert found["devices"] == [{"name": "cuda:1", "model": "cuda", "memory_bytes": None, "uuid": None}]
    assert found["software"] == []


def test_without_a_device_nothing_is_told() -> None:
    if devices._current_accelerator() is None:
        assert Worker().answer({"op": "devices", "names": ["cuda", "accelerator"]}) == {
            "status": "passed",
            "accelerator": None,
            "devices": [],
            "software": [],
            "free_bytes": [],
        }


def test_a_kernel_that_counts_cycles_shows_the_clock_and_how_long_to_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept, clock = [0.0], [], [1.98e9]

    class Event:
        def record(self, stream: object) -> None:
            self.at = now[0]

        def elapsed_time(self, other: Event) -> float:
            return (other.at - self.at) * 1e3

    def sleep(cycles: int) -> None:
        slept.append(cycles)
        now[0] += cycles / clock[0]

    made = types.SimpleNamespace(_sleep=sleep, device=lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch, "cuda", made)
    monkeypatch.setattr(torch, "Event", lambda kind, enable_timing: Event(), raising=False)
    held = types.SimpleNamespace(current_stream=lambda device: None, synchronize=lambda device: None)
    monkeypatch.setattr(torch, "accelerator", held)
    stream = devices.Stream(torch.device("cuda:0"))
    assert stream.can_hold
    stream.hold(1e-3)
    assert slept[-1] == pytest.approx(1.98e6, rel=1e-6)
    clock[0] = 1.2e9  # the device has become hot
    assert stream.clock_hz() == pytest.approx(1.2e9)
    monkeypatch.setattr(torch.version, "hip", "6.2")
    assert stream.clock_hz() is None
    assert devices.Stream.clock_hz(types.SimpleNamespace(can_hold=False)) is None
