"""The machine that this process runs on, as reported by its operating system; None where a value is unknown.

It imports only fast modules of the standard library, because it is also used before torch is imported.
"""

from __future__ import annotations

import os
import platform
import re
import socket
from pathlib import Path
from typing import Any

CGROUP = Path("/sys/fs/cgroup")
CPU = Path("/sys/devices/system/cpu")
PROC = Path("/proc")


def facts() -> dict[str, Any]:
    """The machine's constant properties, and the memory that is free now; sizes in bytes."""
    sizes = cache_sizes()
    return {
        "hostname": socket.gethostname(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cpu": cpu_name(),
        "cores": cores(),
        "memory_bytes": memory_total(),
        "available_bytes": memory_available(),
        "l2_bytes": sizes.get(2),
        "l3_bytes": sizes.get(3),
        "libc": libc(),
        "governor": _read(CPU / "cpu0/cpufreq/scaling_governor"),
        "boost": boost(),
    }


def state() -> dict[str, Any]:
    """The machine's momentary state, and counters since boot."""
    return {
        "ticks": processor_ticks(),
        "throttled": throttle_events(),
        "load": load_average(),
        "frequency_hz": frequency_hz(),
    }


def libc() -> str:
    """The C library of this interpreter with its version, e.g. `glibc 2.36`; empty where it is unknown."""
    return " ".join(platform.libc_ver()).strip()


def cpu_name() -> str:
    """The processor's name, e.g. `AMD EPYC`."""
    for line in (_read(PROC / "cpuinfo") or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cores() -> int:
    """The number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_threads() -> int | None:
    """The number of threads that torch takes by default; None where only torch knows it.

    It takes what OMP_NUM_THREADS says. Without that, it takes a thread for each core that this process may use, where
    no two of them share the units of one core.
    """
    said = os.environ.get("OMP_NUM_THREADS")
    if said is not None or "MKL_NUM_THREADS" in os.environ:
        return int(said) if said is not None and said.isdecimal() and int(said) > 0 else None
    if not hasattr(os, "sched_getaffinity"):
        return None
    names = ("physical_package_id", "core_id")
    usable = os.sched_getaffinity(0)
    units = {tuple(_read(CPU / f"cpu{number}/topology/{name}") for name in names) for number in usable}
    return len(usable) if len(units) == len(usable) else None


def cache_sizes() -> dict[int, int]:
    """Bytes of the first core's caches by level; where a level has two caches, the data cache."""
    found: dict[int, int] = {}
    for folder in sorted((CPU / "cpu0/cache").glob("index*")):
        try:
            level = int((folder / "level").read_text())
            text = (folder / "size").read_text().strip()
            size = int(text.rstrip("KMG")) * {"K": 2**10, "M": 2**20, "G": 2**30}.get(text[-1:], 1)
        except (OSError, ValueError):
            continue
        found.setdefault(level, size)
    return found


def memory_total() -> int | None:
    """Bytes of the machine's memory."""
    return _meminfo("MemTotal") or _pages("SC_PHYS_PAGES")


def memory_available() -> int | None:
    """Bytes that are still available, on the machine and in the control group of this process."""
    available, total = _meminfo("MemAvailable"), _meminfo("MemTotal")
    if available is not None and total is not None and available > total:
        available = _meminfo("MemFree")  # some containers report their total, but the host's available memory
    if available is None:
        available = _pages("SC_AVPHYS_PAGES")
    limit, used = _read(CGROUP / "memory.max"), _read(CGROUP / "memory.current")
    if limit is None or used is None or not limit.isdigit() or not used.isdigit():
        return available
    left = max(0, int(limit) - int(used))
    return left if available is None else min(available, left)


def boost() -> bool | None:
    """Whether the processor may run above its base frequency."""
    no_turbo, boosting = _read(CPU / "intel_pstate/no_turbo"), _read(CPU / "cpufreq/boost")
    if no_turbo is not None:
        return no_turbo == "0"
    return None if boosting is None else boosting == "1"


def processor_ticks() -> list[int] | None:
    """Clock ticks of all cores since boot by kind: user, nice, system, idle, iowait, irq, softirq, steal."""
    stat = _read(PROC / "stat")
    return [int(word) for word in stat.splitlines()[0].split()[1:9]] if stat else None


def throttle_events() -> int | None:
    """How often since boot cores were slowed down because of heat, plus this control group because of its quota."""
    texts = [_read(path) for path in CPU.glob("cpu[0-9]*/thermal_throttle/core_throttle_count")]
    quota = re.search(r"^nr_throttled (\d+)$", _read(CGROUP / "cpu.stat") or "", re.MULTILINE)
    counts = [int(text) for text in texts if text and text.isdigit()]
    counts += [int(quota.group(1))] if quota else []
    return sum(counts) if counts else None


def load_average() -> float | None:
    """The average number of runnable processes during the last minute."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def frequency_hz() -> float | None:
    """The present frequency of the cores, as their mean."""
    texts = [_read(path) for path in CPU.glob("cpu[0-9]*/cpufreq/scaling_cur_freq")]
    khz = [int(text) for text in texts if text and text.isdigit()]
    return sum(khz) / len(khz) * 1e3 if khz else None


def _read(path: Path) -> str | None:
    """The text of a system file."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _meminfo(name: str) -> int | None:
    """Bytes that /proc/meminfo reports under this name (proc(5))."""
    found = re.search(rf"^{name}: +(\d+) kB$", _read(PROC / "meminfo") or "", re.MULTILINE)
    return int(found.group(1)) * 1024 if found else None


def _pages(name: str) -> int | None:
    """Bytes of the number of pages that sysconf(3) reports under this name."""
    try:
        count, size = os.sysconf(name), os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
    return count * size if count > 0 and size > 0 else None
