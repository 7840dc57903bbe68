"""Readings of NVIDIA's library, on a made-up one below the real module."""

from __future__ import annotations

import math
import os
import sys

import psutil
import pytest
from fake_nvml import FakeCard, install

from convbench.engine.nvidia import Nvidia, opened
from convbench.model.result import Device

H100 = Device(name="cuda:1", model="H100", uuid="0000-1111")


def _opened(monkeypatch: pytest.MonkeyPatch, card: FakeCard) -> Nvidia:
    install(monkeypatch, card)
    found = opened([H100])
    assert found is not None
    return found


def test_a_device_is_found_by_its_uuid_and_its_state_read(monkeypatch: pytest.MonkeyPatch) -> None:
    card = FakeCard(sm_mhz=[1200], reasons=[0x04 | 0x01 | 0x40])
    called = install(monkeypatch, card)
    found = opened([H100, Device(name="cuda:2", model="H100", uuid="another"), Device(name="mps", model="M1")])
    assert found is not None
    assert found.names == {"cuda:1"}
    state = found.state("cuda:1")
    assert str(state) == (
        "SM clock 1.20 GHz of 1.98 GHz, memory clock 2.62 GHz, 412 W of 700 W, 61 °C, "
        "clock lowered by: power limit, heat, in hardware"
    )
    assert (state.power_limit_w, state.temperature_c, state.other_processes) == (700.0, 61.0, 0)
    found.close()
    assert called[-1] == "nvmlShutdown"
    assert not [name for name in called if "Set" in name]


@pytest.mark.parametrize("uuid", ["0000-1111", "GPU-0000-1111", "MIG-0000-1111"])
def test_torchs_uuids_have_no_prefix_and_a_part_is_read_as_its_whole(
    uuid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = install(monkeypatch, FakeCard(uuid=uuid if uuid.startswith("MIG-") else "GPU-0000-1111"))
    assert opened([Device(name="cuda", model="H100", uuid=uuid)]) is not None
    assert ("nvmlDeviceGetDeviceHandleFromMigDeviceHandle" in called) == uuid.startswith("MIG-")


def test_without_the_library_or_a_device_nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    called = install(monkeypatch, FakeCard(uuid="GPU-other"))
    assert opened([]) is None and opened([Device(name="cpu:0", model="x")]) is None
    assert called == [], "no library is opened for a run on the CPU"
    assert opened([H100]) is None
    assert called[-1] == "nvmlShutdown"
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert opened([H100]) is None


def test_a_library_without_a_driver_is_none() -> None:
    """The real one, on a machine without a device."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        assert opened([H100]) is None


def test_a_block_is_throttled_by_reason_or_by_a_counter_that_grew(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _opened(
        monkeypatch, FakeCard(sm_mhz=[1980, 1200, 1300, 1980], reasons=[0x01, 0x20, 0, 0x02], throttled_ns=[7, 7, 9])
    )
    blocks = [found.after_block("cuda:1") for _ in range(4)]
    assert [block["throttled"] for block in blocks] == [0.0, 1.0, 1.0, 0.0]
    assert [block["clock_hz"] for block in blocks] == [1.98e9, 1.2e9, 1.3e9, 1.98e9]
    assert found.after_block("cpu") == {} == found.after_block("cuda:7")
    found.look("cuda:1")
    [taken] = found.taken()
    assert (taken.sm_hz, taken.slowdowns) == (1.64e9, ("heat",))
    assert found.taken() == (), "the next process begins anew"


def test_what_a_device_does_not_know_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    card = FakeCard(sm_mhz=None, power_mw=None, reasons=None, throttled_ns=None, pids=None)
    found = _opened(monkeypatch, card)
    block = found.after_block("cuda:1")
    assert math.isnan(block["clock_hz"]) and math.isnan(block["throttled"])
    state = found.state("cuda:1")
    assert (state.sm_hz, state.power_w, state.other_processes, state.slowdowns) == (None, None, None, ())


def test_the_states_of_a_process_are_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    found = _opened(monkeypatch, FakeCard(power_mw=[300_000, 650_000, 500_000]))
    for _ in range(3):
        found.after_block("cuda:1")
        found.look("cuda:1")
    [state] = found.taken()
    assert (state.power_w, state.sm_hz) == (650.0, 1.98e9)


def test_other_processes_are_those_outside_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    own = [os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))]
    assert _opened(monkeypatch, FakeCard(pids=own)).state("cuda:1").other_processes == 0
    assert _opened(monkeypatch, FakeCard(pids=[*own, os.getppid()])).state("cuda:1").other_processes == 1
    beyond = max(psutil.pids()) + 100_000
    assert _opened(monkeypatch, FakeCard(pids=[beyond])).state("cuda:1").other_processes is None, "another namespace"
