"""Sets up a worker process: its end with its conductor, its memory limit, the protocol; then answers requests.

Modules of the user are searched in the folders, by default in the current folder. These are added to the module path
after the import of torch. So a file of the user with the name of a module of torch or Python does not break the import.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from . import host
from .channel import Channel, private_channel

PR_SET_PDEATHSIG = 1  # linux/prctl.h
#: The share of the free memory that a worker may take. The rest is for the conductor and the system, so that memory
#: does not run out and the kernel does not kill a process.
MEMORY_SHARE = 0.8


def become_worker(parent: int, memory_limit: str, folders: Sequence[str]) -> None:
    """Set up this process, then answer requests until the conductor closes the pipe.

    `parent` is the process with which this one ends. `memory_limit` is in bytes, 0 for none, or `share`.
    """
    channel = begin(parent, memory_limit)
    from .serve import serve

    sys.path[:0] = folders or [str(Path.cwd())]
    channel.send({"status": "passed"})
    serve(channel)


def begin(parent: int, memory_limit: str) -> Channel:
    """Tie this process to its parent, limit its memory, and return its channel to the conductor."""
    limit = bytes_of(memory_limit)
    channel = private_channel()
    die_with(parent)
    limit_memory(limit)
    return channel


def bytes_of(memory_limit: str) -> int:
    """The memory limit in bytes, 0 for none."""
    return share_of_memory() if memory_limit == "share" else int(memory_limit)


def share_of_memory() -> int:
    """The memory limit in bytes: a share of the free memory, else of all memory; 0 where neither is known."""
    free = host.memory_available()
    return int(((host.memory_total() or 0) if free is None else free) * MEMORY_SHARE)


def die_with(parent: int) -> None:
    """Make the kernel kill this process when its parent ends, also in a call that hangs (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def limit_memory(limit: int) -> None:
    """Make allocations fail at `limit` bytes (0: none), and make this process the OOM killer's first choice.

    RLIMIT_DATA counts private writable memory, without the address space that an accelerator's runtime reserves.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a container may forbid it; the limit below still holds
            Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    if limit:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.getrlimit(resource.RLIMIT_DATA)[1]))
