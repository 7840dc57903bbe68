"""`python -m convbench.worker CONDUCTOR_PID MEMORY_LIMIT [FOLDER ...]`: one worker process.

MEMORY_LIMIT is in bytes, 0 for none, or `share` for a share of the free memory of the worker's machine.

The setup runs before torch is imported: the protocol's private descriptors, the end of this process with its conductor,
and the memory limit. Modules of the user are searched in the folders, by default in the conductor's current folder.
These folders are added to the module path after the import of torch. So a file of the user with the name of a module of
torch or Python does not break the import.
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
#: The share of the free memory that a worker may take. The rest is for the conductor and the system, so that memory
#: does not run out and the kernel does not kill a process.
MEMORY_SHARE = 0.8


def main() -> None:
    """Set up the process, then answer requests."""
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
    """The memory limit in bytes: a share of the free memory, else of all memory; 0 where neither is known."""
    free = host.memory_available()
    return int(((host.memory_total() or 0) if free is None else free) * MEMORY_SHARE)


def _die_with(conductor: int) -> None:
    """Make the kernel kill this process when its conductor ends, also in a call that hangs (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != conductor:
        os._exit(1)


def _limit_memory(limit: int) -> None:
    """Make allocations fail at `limit` bytes (0: none), and make this process the OOM killer's first choice.

    RLIMIT_DATA counts private writable memory, without the address space that an accelerator's runtime reserves.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a container may forbid it; the limit below still holds
            Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    if limit:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.getrlimit(resource.RLIMIT_DATA)[1]))


if __name__ == "__main__":
    main()
