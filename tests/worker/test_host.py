"""What a worker tells of its machine: the same as other programs tell of this one, and of machines made of files."""

from __future__ import annotations

import os
import platform
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from missing import linux

from convbench.worker import host, start
from convbench.worker.setup import MEMORY_SHARE, share_of_memory

Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """A machine without any of the files that tell of it, until one is written."""
    for name in ("CPU", "CGROUP", "PROC"):
        monkeypatch.setattr(host, name, tmp_path / name)

    def written(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    return written


def test_facts_are_those_that_other_programs_tell() -> None:
    facts = host.facts()
    assert facts["hostname"] == socket.gethostname()
    assert facts["system"] == f"{platform.system()} {platform.release()}"
    assert facts["machine"] == platform.machine()
    assert facts["libc"] == " ".join(platform.libc_ver()).strip()
    assert facts["cores"] == len(psutil.Process().cpu_affinity())
    assert facts["memory_bytes"] == psutil.virtual_memory().total


@linux
def test_what_changes_is_what_other_programs_tell() -> None:
    before = psutil.virtual_memory().available
    found = host.memory_available()
    assert found is not None
    assert 0 < found < before + 2**30, "a control group may allow less"
    state = host.state()
    times = psutil.cpu_times()
    ticks = os.sysconf("SC_CLK_TCK")
    assert state["ticks"] is not None
    told = (times.user, times.nice, times.system, times.idle, times.iowait, times.irq, times.softirq, times.steal)
    assert [count / ticks for count in state["ticks"]] == pytest.approx(told, abs=60)
    assert state["load"] == pytest.approx(psutil.getloadavg()[0], abs=2)


@linux
def test_the_processors_name_is_in_the_kernels_own_words() -> None:
    told = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    assert host.cpu_name() == (told.group(1).strip() if told else platform.processor() or platform.machine())


def test_a_system_that_tells_nothing_is_told_so(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sysconf")
    monkeypatch.delattr(os, "getloadavg")
    assert host.state() == {"ticks": None, "throttled": None, "load": None, "frequency_hz": None}
    facts = host.facts()
    unknown = ("memory_bytes", "available_bytes", "l2_bytes", "l3_bytes", "governor", "boost")
    assert {name: facts[name] for name in unknown} == dict.fromkeys(unknown)
    assert facts["cpu"] == (platform.processor() or platform.machine())
    assert share_of_memory() == 0, "no limit"


def test_another_system_tells_its_memory_by_pages(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1000}

    def sysconf(name: str) -> int:
        if name not in pages:
            raise ValueError("unrecognized configuration name")
        return pages[name]

    monkeypatch.setattr(os, "sysconf", sysconf)
    assert (host.memory_total(), host.memory_available()) == (4096 * 1000, None)
    assert share_of_memory() == int(4096 * 1000 * MEMORY_SHARE)
    pages["SC_AVPHYS_PAGES"] = 500
    assert host.memory_available() == 4096 * 500
    assert share_of_memory() == int(4096 * 500 * MEMORY_SHARE)


MEMORY = "MemTotal:  1000 kB\nMemFree:   100 kB\nMemAvailable: {available} kB\n"


@pytest.mark.parametrize(
    ("available", "limit", "used", "free"),
    [
        (800, None, None, 800),
        (800, "max", "5", 800),
        (800, str(300 * 1024), str(100 * 1024), 200),
        (800, str(2000 * 1024), "0", 800),
        (800, str(300 * 1024), str(400 * 1024), 0),
        (800, "300", "nonsense", 800),
        (8000, None, None, 100),  # the whole host's beside the container's own total
    ],
)
def test_free_memory_is_what_the_control_group_leaves(
    write: Write, available: int, limit: str | None, used: str | None, free: int
) -> None:
    write("PROC/meminfo", MEMORY.format(available=available))
    if limit is not None and used is not None:
        write("CGROUP/memory.max", f"{limit}\n")
        write("CGROUP/memory.current", f"{used}\n")
    assert host.memory_total() == 1000 * 1024
    assert host.memory_available() == free * 1024


@linux
@pytest.mark.parametrize(
    ("cores", "variables", "threads"),
    [
        ([(0, 0), (0, 1)], {}, 2),
        ([(0, 0), (0, 0)], {}, None),  # two threads of one core
        ([(0, 0), (1, 0)], {}, 2),
        ([(0, 0)], {}, 1),
        ([(0, 0), (0, 1)], {"OMP_NUM_THREADS": "1"}, 1),
        ([(0, 0), (0, 1)], {"OMP_NUM_THREADS": "4,2"}, None),
        ([(0, 0), (0, 1)], {"MKL_NUM_THREADS": "1"}, None),
        ([], {}, None),
    ],
)
def test_torchs_number_of_threads_is_known_where_no_two_share_a_core(
    write: Write,
    monkeypatch: pytest.MonkeyPatch,
    cores: list[tuple[int, int]],
    variables: dict[str, str],
    threads: int | None,
) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(len(cores) or 8)))
    for number, (package, core) in enumerate(cores):
        write(f"CPU/cpu{number}/topology/physical_package_id", f"{package}\n")
        write(f"CPU/cpu{number}/topology/core_id", f"{core}\n")
    assert host.default_threads() == threads


def test_torch_takes_as_many_threads_here(monkeypatch: pytest.MonkeyPatch) -> None:
    for said in (None, "1"):
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        if said is not None:
            monkeypatch.setenv("OMP_NUM_THREADS", said)
        asked = [sys.executable, "-c", "import torch; print(torch.get_num_threads())"]
        taken = int(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)
        assert host.default_threads() in (None, taken)


def test_caches_are_told_by_their_level(write: Write) -> None:
    caches = ((1, "32K"), (1, "64K"), (2, "1024K"), (3, "32M"), (4, "much"))
    for index, (level, size) in enumerate(caches):
        write(f"CPU/cpu0/cache/index{index}/level", f"{level}\n")
        write(f"CPU/cpu0/cache/index{index}/size", f"{size}\n")
    assert host.cache_sizes() == {1: 32 * 2**10, 2: 2**20, 3: 32 * 2**20}
    facts = host.facts()
    assert (facts["l2_bytes"], facts["l3_bytes"]) == (2**20, 32 * 2**20)


def test_frequency_governor_boost_and_throttling(write: Write) -> None:
    for core, (khz, heat) in enumerate(((2_000_000, 3), (3_000_000, 4))):
        write(f"CPU/cpu{core}/cpufreq/scaling_cur_freq", f"{khz}\n")
        write(f"CPU/cpu{core}/thermal_throttle/core_throttle_count", f"{heat}\n")
    write("CPU/cpu0/cpufreq/scaling_governor", "powersave\n")
    write("CPU/cpufreq/boost", "1\n")
    assert host.state() | {"load": 0} == {"ticks": None, "throttled": 7, "load": 0, "frequency_hz": 2.5e9}
    facts = host.facts()
    assert (facts["governor"], facts["boost"]) == ("powersave", True)
    write("CGROUP/cpu.stat", "nr_periods 9\nnr_throttled 5\nthrottled_usec 7\n")
    assert host.throttle_events() == 12
    write("CPU/intel_pstate/no_turbo", "1\n")
    assert host.boost() is False


def test_ticks_are_the_first_eight_of_all_cores(write: Write) -> None:
    write("PROC/stat", "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 1 1 1 1 1 1 1 1 1\n")
    assert host.processor_ticks() == [1, 2, 3, 4, 5, 6, 7, 8]


def test_facts_are_read_without_torch() -> None:
    """The memory limit is set before torch is imported."""
    folder = Path(start.__file__).parent.parent.parent
    code = "from convbench.worker import host; host.facts(); host.state(); import sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
