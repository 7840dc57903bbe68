"""A machine's key: what belongs to it, and what does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import synthetic

from convbench.model.campaign import DeviceKind, MachineKey, machine_key
from convbench.model.result import Device, DeviceState, ProcessFacts

HERE = synthetic.environment()
GPU = Device(name="cuda:0", model="NVIDIA H200", memory_bytes=150_109_880_320, uuid="GPU-1")
POWERED = (
    ProcessFacts(process_index=0, seconds=1.0, device_states=(DeviceState(device="cuda:0", power_limit_w=700),)),
)


def test_a_processor_alone() -> None:
    key = machine_key(HERE)
    assert key == MachineKey(cpu="AMD EPYC 7B13", architecture="x86_64", cores=2)
    assert str(key) == "AMD EPYC 7B13, x86_64, 2 cores"
    assert key.id == "9cdfc2ca", "an id never changes: databases and prices name it"


@pytest.mark.parametrize(
    "other",
    [
        {"hostname": "elsewhere"},
        {"memory_bytes": 1},
        {"torch": "2.14.0"},
        {"system": "Linux 7"},
        {"cpu": " AMD  EPYC 7B13"},
    ],
)
def test_what_does_not_belong_to_it(other: dict[str, object]) -> None:
    assert machine_key(replace(HERE, **other)) == machine_key(HERE)


@pytest.mark.parametrize(
    "other",
    [
        {"cpu": "AMD EPYC 9654"},
        {"cores": 4},
        {"machine": "aarch64"},
        {"devices": (GPU,)},
        {"accelerator": "NVIDIA H200"},
    ],
)
def test_what_belongs_to_it(other: dict[str, object]) -> None:
    key = machine_key(replace(HERE, **other))
    assert key != machine_key(HERE) and key.id != machine_key(HERE).id


def test_devices_of_one_kind_are_there_once_and_by_model_memory_and_power_limit() -> None:
    second = replace(GPU, name="cuda:1", uuid="GPU-2", memory_bytes=150_100_000_000)
    other = replace(GPU, name="cuda:2", model="NVIDIA A100")
    made = replace(HERE, devices=(GPU, second, other), accelerator="NVIDIA H200")
    assert machine_key(made).devices == (
        DeviceKind(model="NVIDIA A100", memory_gib=140),
        DeviceKind(model="NVIDIA H200", memory_gib=140),
    )
    key = machine_key(replace(made, devices=(GPU,)), POWERED)
    assert str(key) == "AMD EPYC 7B13, x86_64, 2 cores, NVIDIA H200, 140 GiB, 700 W"
    assert machine_key(made, POWERED, device="cuda:0") == key
    assert machine_key(made, POWERED, device="cpu") == machine_key(HERE)


def test_an_older_run_knows_the_name_of_its_accelerator_alone() -> None:
    older = replace(HERE, accelerator="Tesla  T4")
    assert machine_key(older, device="cuda").devices == (DeviceKind(model="Tesla T4"),)
    assert machine_key(older, device="cpu").devices == ()
