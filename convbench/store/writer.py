"""Identifies the process that writes a run, so that a reused process id or a reboot cannot be mistaken for it."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """A process: host, boot, process id, and when it started.

    On Linux `boot` is the kernel's boot id, and `started` is in clock ticks since boot. A change of the wall clock does
    not affect it. Elsewhere `boot` is empty and `started` is in seconds since 1970.
    """

    host: str
    boot: str
    pid: int
    started: float

    @classmethod
    def of_this_process(cls) -> Writer:
        """The running process."""
        pid = os.getpid()
        began = started(pid)
        if began is None:  # /proc is hidden from this process, so no other process can read it either
            began = 0.0
        return cls(host=socket.gethostname(), boot=boot_id(), pid=pid, started=began)

    def is_gone(self) -> bool:
        """Whether this process has certainly ended; False for processes of other hosts, of which nothing is known."""
        if self.host != socket.gethostname():
            return False
        return self.boot != boot_id() or started(self.pid) != self.started


def boot_id() -> str:
    """The kernel's id of the time since this machine was started; empty where the system has none."""
    if sys.platform != "linux":
        return ""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def started(pid: int) -> float | None:
    """When the process with this id started, None where there is none. A zombie counts as none."""
    if sys.platform != "linux":
        try:
            process = psutil.Process(pid)
            return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
        except psutil.Error:
            return None
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    state, *rest = stat[stat.rindex(b")") + 1 :].split()  # the name before may contain spaces and brackets
    return None if state in (b"Z", b"X") else float(rest[18])  # field 22 of proc(5), starttime
