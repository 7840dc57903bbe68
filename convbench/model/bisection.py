"""A bisection: which commit made cases of a sweep take another time. Frozen data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How a bisection ended."""

    FOUND = "found"  # one commit, whose change is confirmed against the commit before
    AMONG = "among"  # the change came with one of a few commits; those between cannot be measured or decided
    GRADUAL = "gradual"  # half of the change has come at a commit, but that commit alone shows none
    NOT_SHOWN = "not shown"  # the last commit does not differ from the first one on this machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One comparison of two commits, side by side. Ratios are the times of `new` over those of `base`.

    `case_id` is the case that decided, `low` to `high` the interval of its ratio, and `pairs` the pairs of processes
    that were measured. `threshold` is the smallest change that counts, a ratio minus 1. `moved` is the direction of
    the change: 1 slower, -1 faster, 0 none, and None where it was not decided. `refused` says why `new` cannot be
    measured; then the ratio and its interval are 0.
    """

    base: str
    new: str
    threshold: float
    moved: int | None = None
    case_id: str = ""
    ratio: float = 0.0
    low: float = 0.0
    high: float = 0.0
    pairs: int = 0
    refused: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A commit: its hash, its author's name, and the first line of its message."""

    id: str
    author: str
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bisection:
    """What a bisection of `commits` commits found. `steps` are its comparisons in their order.

    `first` are the commits that may have made the change, the oldest first: one where it was found. `last` is the
    comparison that the answer rests on. `label` is the case that decided.
    """

    outcome: Outcome
    commits: int
    steps: tuple[Step, ...]
    last: Step
    first: tuple[Commit, ...] = ()
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What is kept of a bisection of `commits` commits, while it runs and afterwards.

    `of` is a digest of what was asked.
    """

    of: str
    commits: int
    steps: tuple[Step, ...] = ()
    answer: Bisection | None = None
