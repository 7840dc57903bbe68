"""The seconds that a run may take in all, and how they are shared out among its cohorts and processes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

#: A worker has at least this many seconds for a request after the budget is spent: a case's first block still ends.
LEAST_S = 1.0
#: Seconds of a budget that no case gets: ending the workers, storing, and the report.
END_S = 2.0


class Budget:
    """Counts from its creation. Without `seconds` there is no limit. `now()` is a clock in seconds.

    `END_S` of the seconds are kept for the end of the run.
    """

    def __init__(self, seconds: float | None = None, *, now: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self.now = now
        self._ends = math.inf if seconds is None else now() + max(0.0, seconds - END_S)
        self._share_ends = math.inf

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit."""
        return self._seconds is not None

    def is_spent(self, more_s: float = 0.0) -> bool:
        """Whether the budget is spent, or would be after `more_s` further seconds."""
        return self.now() + more_s >= self._ends

    @property
    def left_s(self) -> float:
        """The seconds that are left for cases; infinite without a limit."""
        return max(0.0, self._ends - self.now())

    def share(self, part: float, *, kept_s: float) -> None:
        """Allow the next cohort this `part` of what is left without `kept_s` seconds for later starts of workers."""
        self._share_ends = self.now() + max(0.0, self.left_s - kept_s) * min(part, 1.0)

    def is_share_spent(self, more_s: float = 0.0) -> bool:
        """Whether the cohort's share is spent, or would be after `more_s` further seconds."""
        return self.now() + more_s >= self._share_ends

    def deadline_s(self, timeout_s: float) -> float:
        """The seconds that a worker has for a request: `timeout_s`, or what is left if that is less."""
        return min(timeout_s, max(LEAST_S, self.left_s))

    @property
    def reason(self) -> str:
        """Why a case was left out."""
        return f"the budget of {self._seconds:g} s was spent before this case was measured"
