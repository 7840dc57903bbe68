"""`python -m convbench.worker CONDUCTOR_PID MEMORY_LIMIT [FOLDER ...]`: one worker process.

MEMORY_LIMIT is in bytes, 0 for none, or `share` for a share of what is free where the worker starts.

The first lines run before torch is imported: the protocol's private descriptors, the tie to the conductor's life, and
the memory limit. Modules of the user are looked for in the folders, else where the conductor was started; they come
onto the module path after torch, so that no file of the user's that has a name of torch's or Python's breaks it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

from . import host
from .channel import private_channel

PR_SET_PDEATHSIG = 1  # linux/prctl.h
#: The share of the free memory that a worker may take, so that the kernel never has to pick a process to kill: the
#: conductor and the system live on the rest.
MEMORY_SHARE = 0.8


def main() -> None:
    """Set the process up, then serve."""
    conductor = int(sys.argv[1])
    memory_limit = share_of_memory() if sys.argv[2] == "share" else int(sys.argv[2])
    channel = private_channel()
    _die_with(conductor)
    _limit_memory(memory_limit)
    from .serve import serve

    sys.path[:0] = sys.argv[3:] or [str(Path.cwd())]
    channel.send({"status": "passed"})
    serve(channel)


def share_of_memory() -> int:
    """Bytes that a worker may take: of what is free, or of all memory where that is not told; 0 where neither is."""
    free = host.memory_available()
    return int(((host.memory_total() or 0) if free is None else free) * MEMORY_SHARE)


def _die_with(conductor: int) -> None:
    """Have the kernel kill this process when its conductor ends, even inside a hung call (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != conductor:
        os._exit(1)


def _limit_memory(limit: int) -> None:
    """Make allocations fail at `limit` bytes (0: none), and offer this process first to the kernel's OOM killer.

    RLIMIT_DATA counts private writable memory; the address space that an accelerator's runtime reserves is not in it.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a container may forbid it; the limit below still holds
            Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    if limit:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.getrlimit(resource.RLIMIT_DATA)[1]))


if __name__ == "__main__":
    main()
