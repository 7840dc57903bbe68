"""How long the rest of a run takes, from the time of what it has done. Pure, and without imports that take time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a run has done so far: `visits` took `seconds`, and `tried` cases were visited for the first time.

    `lost` of the cases timed out or could not be measured for another reason, which took `lost_s` seconds. Such a case
    is not tried again.
    """

    seconds: float
    visits: float
    tried: int
    lost: int
    lost_s: float


def left_s(spent: Spent, *, visits: float, untried: int, processes: int) -> float | None:
    """The seconds for `visits` more; None while nothing was timed.

    `untried` of the run's cases were not visited yet, and each is planned for this many `processes`. As many of them
    are expected to be lost as of those that were tried.
    """
    timed = spent.visits - spent.lost
    if timed <= 0:
        return None
    share = spent.lost / spent.tried if spent.tried else 0.0
    each_s = max(0.0, spent.seconds - spent.lost_s) / timed
    lost_s = spent.lost_s / spent.lost if spent.lost else 0.0
    return each_s * max(0.0, visits - share * untried * processes) + lost_s * share * untried
