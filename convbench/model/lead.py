"""Which figure of its blocks leads for a case: the one that ranks it, and that comparisons and histories judge.

On a CPU noise only adds time, so the lowest block minimum, the floor, shows what the code needs. On a device the lowest
time is the start of a block, before the device lowers its clock. A B200 multiplied matrices at 1450 TFLOP/s in
iterations 10 to 19, and at 1237 in iterations 70 to 79. There the median of the block medians leads.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from statistics import median


class Lead(StrEnum):
    """The leading figure of a case."""

    FLOOR = "floor"  # the lowest block minimum
    MEDIAN = "median"  # the median of the block medians

    @property
    def column(self) -> str:
        """The fact of each block that it is made of."""
        return "minimum_s" if self is Lead.FLOOR else "median_s"

    def of(self, times: Iterable[float]) -> float:
        """The leading one of some times, of which there is at least one."""
        return min(times) if self is Lead.FLOOR else median(times)


def lead_of(device: str) -> Lead:
    """The leading figure of the cases of a device."""
    return Lead.FLOOR if device == "cpu" else Lead.MEDIAN


def leading_word(devices: Iterable[str]) -> str:
    """What the leading figures of cases of these devices are called together: `floor`, `median`, of both `time`."""
    leads = {lead_of(device) for device in devices} or {Lead.FLOOR}
    return str(*leads) if len(leads) == 1 else "time"
