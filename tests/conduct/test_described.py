"""What follows from what a worker says: the environment of a run and what there is room for are its machine's."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest
from fake_engine import HOST, FakeEngine, Script
from fake_nvml import FakeCard, install
from test_processes import case

from convbench import sweep as sweeps
from convbench import units
from convbench.analysis.table.columns import columns
from convbench.conduct import run as runner
from convbench.conduct.described import COHORT_MEMORY_SHARE, Capacity, devices_of, environment_of, plainest
from convbench.conduct.doctor import check_machine, clocks, remarks_text
from convbench.conduct.listening import Begun, Listener
from convbench.engine.client import Description, Devices
from convbench.engine.pool import WorkerPool
from convbench.measure import schedule
from convbench.model.case import Allocator, WorkerSettings
from convbench.model.result import Device, Environment
from convbench.store import Store
from convbench.sweep.parse import parse as parse_sweep

FOUND = Devices(
    accelerator="cuda: H100 x2", devices=(Device(name="cuda:1", model="H100"),), software=(("cuDNN", "9.10.2"),)
)
#: A machine that this one is not.
ELSEWHERE = {
    "hostname": "elsewhere",
    "system": "Darwin 25.0",
    "machine": "riscv64",
    "cpu": "a processor of their own",
    "cores": 77,
    "libc": "musl 1.2.5",
    "memory_bytes": 123 * 2**30,
    "l2_bytes": 3 * 2**20,
    "l3_bytes": 5 * 2**20,
}


def described(script: Script) -> Description:
    pool = WorkerPool(FakeEngine(script))
    try:
        return pool.description(WorkerSettings())
    finally:
        pool.close()


@pytest.mark.parametrize(
    ("allocator", "unsteady", "told"),
    [
        (Allocator.STEADY, 0, "steady"),
        (Allocator.STEADY, 99, "steady asked for, but freed memory goes back to the system"),
        (Allocator.SYSTEM, 0, "system"),
    ],
)
def test_an_environment_is_the_workers(allocator: Allocator, unsteady: int, told: str) -> None:
    found = environment_of(
        described(Script(host=ELSEWHERE, unsteady_first=unsteady)),
        FOUND,
        allocator=allocator,
        executable="/their/python",
        variables={"OMP_NUM_THREADS": "3", "HOME": "/root"},
    )
    assert {name: getattr(found, name) for name in ELSEWHERE} == ELSEWHERE
    assert (found.allocator, found.executable, found.variables) == (told, "/their/python", (("OMP_NUM_THREADS", "3"),))
    assert (found.accelerator, found.devices, found.device_software) == (
        FOUND.accelerator,
        FOUND.devices,
        FOUND.software,
    )
    told_apart = {*ELSEWHERE, "allocator", "executable", "variables", "accelerator", "devices", "device_software"}
    others = {field.name for field in fields(Environment)} - told_apart
    assert others == {"python", "torch", "onednn", "cpu_capability"}, "the software, as it was told"


def test_only_a_run_with_cases_on_a_device_asks_a_worker_for_devices() -> None:
    """The look starts CUDA. The worker that is asked has such a case, and one that cannot say costs no run."""
    engine = FakeEngine(Script(devices=True))
    with contextlib.closing(WorkerPool(engine)) as pool:
        pool.description(WorkerSettings())
        assert devices_of(pool, [case(1), case(2, threads=1)], deadline_s=1.0) == Devices()
        assert engine.asked("devices") == []
        there = [case(1), case(2, device="cuda:1", threads=3), case(3, device="cuda", threads=3)]
        found = devices_of(pool, there, deadline_s=1.0)
        assert [each.name for each in found.devices] == ["cuda", "cuda:1"]
        assert found.software == (("cuDNN", "9.10.2"),)
        assert pool.current(WorkerSettings(threads=3)) is not None
        engine.script.devices = False
        assert devices_of(pool, there, deadline_s=1.0) == Devices()


def test_a_run_is_described_by_its_worker_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment has no facts of the conductor's own machine."""
    monkeypatch.chdir(tmp_path)
    sweep = parse_sweep("axes: {in_channels: 1, out_channels: 1, kernel_size: 1, input_size: 4}\n", "made up")
    begun: list[Begun] = []
    listener = Listener(begun=begun.append)
    engine = FakeEngine(Script(host=ELSEWHERE))
    runner.run(sweep, sweeps.cases(sweep), engine=engine, db=str(tmp_path / "t.db"), listener=listener)
    (environment,) = (each.environment for each in begun)
    assert {name: getattr(environment, name) for name in ELSEWHERE} == ELSEWHERE
    assert environment.executable == sys.executable
    assert platform.machine() not in environment.machine


def test_there_is_room_for_what_the_workers_machine_holds() -> None:
    free = 10 * 2**30
    capacity = Capacity.of(described(Script(host={"available_bytes": free})))
    assert capacity.memory_limit == int(free * COHORT_MEMORY_SHARE)
    assert capacity.most_workers == schedule.workers_at_once(free) == schedule.MOST_WORKERS
    assert capacity.cache_bytes == HOST["l3_bytes"]
    devices = Devices(free_bytes=(("cuda:0", 100), ("cuda:1", 10)))
    assert capacity.with_devices(devices).device_limits == {"cuda:0": 40, "cuda:1": 4}
    assert capacity.with_devices(Devices()) == capacity
    small = Capacity.of(described(Script(host={"available_bytes": 0, "l3_bytes": None})))
    assert (small.memory_limit, small.most_workers) == (0, schedule.FEWEST_WORKERS)
    assert small.cache_bytes == schedule.CACHE_BYTES


@pytest.mark.parametrize(("free", "most"), [(0, schedule.FEWEST_WORKERS), (2**40, 5)])
def test_no_more_workers_start_than_the_workers_machine_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, most: int
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "axes: {in_channels: 1, out_channels: 1, kernel_size: 1, input_size: 4, threads: [1, 2, 3, 4, 5]}\n"
    sweep = parse_sweep(f"{text}measure: {{processes: 1, rounds: 1}}\n", "made up")
    engine = FakeEngine(Script(host={"available_bytes": free}))
    db = str(tmp_path / "t.db")
    runner.run(sweep, sweeps.cases(sweep), engine=engine, db=db, listener=Listener())
    assert engine.most_alive == most


def test_the_plainest_worker_reports() -> None:
    cases = [case(1, module="mine:Conv"), case(2, env=(("A", "1"),)), case(3)]
    assert plainest(cases) == WorkerSettings()


def test_a_check_reports_of_the_workers_machine() -> None:
    states = [{"ticks": [0] * 8}, {"ticks": [50, 0, 0, 0, 0, 0, 0, 50], "load": 12.0}]
    host = {**ELSEWHERE, "governor": "powersave", "boost": True, "available_bytes": 2**30}
    text = remarks_text(check_machine(FakeEngine(Script(host=host, states=states)), probing_s=0.0))
    assert "a processor of their own; torch 2.13.0" in text
    assert "torch would use 2 threads on 77 cores" in text
    assert "governor powersave, boost on" in text
    assert "load 12.0 on 77 cores; other guests of the host took 50.0 % of the processor's time" in text
    assert f"WARN  memory      {units.size(2**30)} free for layers" in text
    unknown = check_machine(FakeEngine(Script(host={"available_bytes": None})), probing_s=0.0)
    assert "free memory unknown" in remarks_text(unknown)


def test_a_check_reads_the_clocks_of_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lowers them, and others on the device, is a warning; without the library, how to get it."""
    found = Devices(
        accelerator="cuda: H100 x1",
        devices=(Device(name="accelerator", model="H100", uuid="0000-1111"),),
        software=(("CUDA", "12.8"),),
    )
    install(monkeypatch, FakeCard(reasons=[0x20]))
    assert remarks_text(clocks(found)).splitlines() == [
        "WARN  clock       accelerator: SM clock 1.98 GHz of 1.98 GHz, memory clock 2.62 GHz, 412 W of 700 W, 61 °C, "
        "clock lowered by: heat",
        f"{'':18}-> cool the device, or raise its power limit",
    ]
    install(monkeypatch, FakeCard(pids=[os.getppid()]))
    assert remarks_text(clocks(found)).endswith("-> stop other programs on this device (nvidia-smi lists them)")
    install(monkeypatch, FakeCard())
    [remark] = clocks(found)
    assert remark.good and remark.fix is None
    assert clocks(replace(found, software=(("ROCm", "6.2"),))) == []
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr("convbench.engine.nvidia.is_installed", lambda: False)
    assert remarks_text(clocks(found)).endswith("-> pip install 'convbench[nvidia]'")


def test_a_check_asks_a_worker_for_devices() -> None:
    engine = FakeEngine(Script(devices=True))
    assert "cuda: H100 x2, cuDNN 9.10.2" in remarks_text(check_machine(engine, probing_s=0.0))
    assert "cpu only: torch finds no accelerator" in remarks_text(check_machine(FakeEngine(), probing_s=0.0))


def test_a_run_stores_its_devices_and_their_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    called = install(monkeypatch, FakeCard(reasons=[0x04]))
    text = "axes: {in_channels: 1, out_channels: 1, kernel_size: 1, input_size: 4, device: ['cuda:1', cpu]}\n"
    sweep = parse_sweep(f"{text}measure: {{processes: 2, rounds: 2}}\n", "made up")
    db = str(tmp_path / "t.db")
    engine = FakeEngine(Script(devices=True))
    runner.run(sweep, sweeps.cases(sweep), engine=engine, db=db, listener=runner.Listener())
    with Store.open(db) as store:
        loaded = store.load("latest")
    assert loaded.environment.accelerator == "cuda: H100 x2"
    assert [(each.name, each.model, each.uuid) for each in loaded.environment.devices] == [
        ("cuda:1", "H100", "0000-1111")
    ]
    assert loaded.environment.device_software == (("cuDNN", "9.10.2"),)
    states = [state for facts in loaded.processes for state in facts.device_states]
    assert [(state.device, state.slowdowns, state.power_w) for state in states] == [
        ("cuda:1", ("power limit",), 412.0)
    ] * 2
    assert columns(loaded)["throttled_share"] == [1.0, None]
    assert called[-1] == "nvmlShutdown"


@pytest.mark.parametrize(
    ("axis", "cores", "said"),
    [
        ("", 2, "note: threads is null for 1 case: torch would use 2 threads on 2 cores; if another program runs too"),
        ("threads: [1, null]", 2, "note: threads is null for 1 case: torch would use 2 threads on 2 cores"),
        ("threads: 2", 2, None),
        ("", 77, None),
        ("", 1, "note: threads is null for 1 case: torch would use 2 threads on 1 core"),
    ],
)
def test_torchs_own_number_of_threads_is_warned_of_before_measuring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, axis: str, cores: int, said: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    text = f"axes: {{in_channels: 1, out_channels: 1, kernel_size: 1, input_size: 4, {axis}}}\n"
    sweep = parse_sweep(f"{text}measure: {{processes: 1, rounds: 1}}\n", "made up")
    heard: list[str] = []
    listener = runner.Listener(begun=lambda begun: heard.append("begun"), message=heard.append)
    engine = FakeEngine(Script(host={"cores": cores}))
    runner.run(sweep, sweeps.cases(sweep), engine=engine, db=str(tmp_path / "t.db"), listener=listener)
    if said is None:
        assert heard == ["begun"]
    else:
        assert heard[0].startswith(said) and heard[0].endswith("; in the sweep: threads: 1"), heard
        assert heard[1:] == ["begun"]
