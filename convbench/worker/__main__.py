"""`python -m convbench.worker CONDUCTOR_PID MEMORY_LIMIT [FOLDER ...]`: one worker process.

MEMORY_LIMIT is in bytes, 0 for none, or `share` for a share of the free memory of the worker's machine. With `fork` as
the first argument the process forks workers on request (forks.py), with `capture` it captures one model (capture/).
torch is imported after the setup.
"""

from __future__ import annotations

import sys

from . import forks
from .capture import process
from .setup import become_worker


def main() -> None:
    """Become a worker, or the process that forks them."""
    if sys.argv[1] == "fork":
        forks.main()
    elif sys.argv[1] == "capture":
        process.main(int(sys.argv[2]), sys.argv[3], sys.argv[4:])
    else:
        become_worker(int(sys.argv[1]), sys.argv[2], sys.argv[3:])


if __name__ == "__main__":
    main()
