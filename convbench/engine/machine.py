"""Facts about this machine, from the operating system; None where it does not tell."""

from __future__ import annotations

import os
import platform
import re
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from convbench.engine.client import Description
from convbench.model.result import Environment
from convbench.model.variables import telling

CGROUP = Path("/sys/fs/cgroup")
CPU = Path("/sys/devices/system/cpu")
CACHES = CPU / "cpu0/cache"
GOVERNOR = CPU / "cpu0/cpufreq/scaling_governor"


def environment(
    description: Description,
    *,
    allocator: str,
    executable: str = sys.executable,
    variables: Mapping[str, str] | None = None,
) -> Environment:
    """The machine with the software a worker described, which ran under `executable` in an environment of `variables`.

    Without any that is the conductor's.
    """
    return Environment(
        hostname=socket.gethostname(),
        system=f"{platform.system()} {platform.release()}",
        machine=platform.machine(),
        cpu=cpu_name(),
        cores=cores(),
        memory_bytes=psutil.virtual_memory().total,
        l2_bytes=cache_bytes(2),
        l3_bytes=cache_bytes(3),
        python=description.python,
        torch=description.torch,
        onednn=description.onednn,
        libc=" ".join(platform.libc_ver()).strip(),
        accelerator=description.accelerator,
        cpu_capability=description.cpu_capability,
        allocator=allocator,
        variables=telling((os.environ if variables is None else variables).items()),
        executable=executable,
    )


def cpu_name() -> str:
    """The processor's name, e.g. `AMD EPYC`."""
    for line in (read(Path("/proc/cpuinfo")) or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cache_bytes(level: int) -> int | None:
    """The size of one data or unified cache of this level."""
    for folder in sorted(CACHES.glob("index*")):
        try:
            if (folder / "level").read_text().strip() == str(level):
                text = (folder / "size").read_text().strip()
                return int(text.rstrip("KMG")) * {"K": 2**10, "M": 2**20, "G": 2**30}.get(text[-1:], 1)
        except (OSError, ValueError):
            continue
    return None


def read(path: Path) -> str | None:
    """The text of one of the system's files, or None."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def boost() -> bool | None:
    """Whether the processor may run above its steady frequency; None where the system does not tell."""
    no_turbo, boosting = read(CPU / "intel_pstate/no_turbo"), read(CPU / "cpufreq/boost")
    if no_turbo is not None:
        return no_turbo == "0"
    return None if boosting is None else boosting == "1"


def processor_ticks() -> tuple[int, ...] | None:
    """Clock ticks of all cores since boot by what they did (user, nice, system, idle, iowait, irq, softirq, steal)."""
    stat = read(Path("/proc/stat"))
    return tuple(int(word) for word in stat.splitlines()[0].split()[1:9]) if stat else None


def stolen_share(before: tuple[int, ...] | None, after: tuple[int, ...] | None) -> float | None:
    """The share of the time in between that the host gave to other guests."""
    if before is None or after is None or len(before) < 8:
        return None
    spent = sum(after) - sum(before)
    # The kernel's count of stolen time may step back.
    return min(1.0, max(0.0, (after[7] - before[7]) / spent)) if spent > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the machine's counters say at a moment; None where the system does not tell."""

    ticks: tuple[int, ...] | None
    throttled: int | None

    @classmethod
    def now(cls) -> Load:
        """The counters as they stand."""
        return cls(ticks=processor_ticks(), throttled=throttle_events())


def throttle_events() -> int | None:
    """How often cores were slowed down for heat since boot, and how often this control group for its quota."""
    cores_told = [read(path) for path in CPU.glob("cpu[0-9]*/thermal_throttle/core_throttle_count")]
    quota = re.search(r"^nr_throttled (\d+)$", read(CGROUP / "cpu.stat") or "", re.MULTILINE)
    counts = [int(text) for text in cores_told if text and text.isdigit()]
    counts += [int(quota.group(1))] if quota else []
    return sum(counts) if counts else None


def load_average() -> float | None:
    """Processes that wanted to run, on the average of the last minute."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def frequency_hz() -> float | None:
    """The cores' frequency now, on the average."""
    told = [read(path) for path in CPU.glob("cpu[0-9]*/cpufreq/scaling_cur_freq")]
    khz = [int(text) for text in told if text and text.isdigit()]
    return sum(khz) / len(khz) * 1e3 if khz else None


def memory_available() -> int:
    """Bytes that can still be taken, on the machine and in the control group this process lives in."""
    available = psutil.virtual_memory().available
    try:
        limit = (CGROUP / "memory.max").read_text().strip()
        used = int((CGROUP / "memory.current").read_text())
    except (OSError, ValueError):
        return available
    return available if limit == "max" else min(available, max(0, int(limit) - used))
