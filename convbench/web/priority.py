"""The priority of the service's own work: lower than that of what it measures, on the same cores."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress

#: The niceness of the service's own threads, and of the processes that make pages.
OWN, PAGES = 10, 19


def lower_this_thread(niceness: int = OWN) -> None:
    """Lower the priority of this thread, and of the threads and processes that it starts from now on.

    On Linux a niceness belongs to a thread. Elsewhere it belongs to the process, which must then stay as it is, since
    what it starts to measure would inherit it.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
