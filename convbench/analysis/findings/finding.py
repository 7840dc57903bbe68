"""One thing worth knowing of a run, and the words that every finding is told in. How one is found is for the others.

Findings are ranked by weight, then by how much they matter: how large the ratio is and how many of the cases that it is
about show it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum

import numpy as np
import pandas as pd

from convbench import units
from convbench.model.settings import TABLE


class Weight(IntEnum):
    """How much a finding matters: the lower, the sooner it is told."""

    WRONG = 0  # a layer computes something else, or far less exactly than its dtype allows
    UNMEASURED = 1  # a case could not be measured although it should have been
    NOISE = 2  # the machine was so disturbed that little of what follows holds
    NETWORK = 3  # where a network's time goes
    EFFECT = 4  # what one can choose, and what it does to the time
    WORK = 5  # how the time follows the layer's work
    NOTE = 6  # good to know


class FindingKind(StrEnum):
    """What a finding is about."""

    WRONG = "wrong"  # results that are not what the layer should compute
    INACCURATE = "inaccurate"  # results that are right, and far less exact than the dtype allows
    UNMEASURED = "unmeasured"  # crashed, timed out, out of memory, error
    NOISE = "noise"  # how far the numbers can be trusted
    NETWORK = "network"  # where a network's time goes
    EFFECT = "effect"  # what a setting of execution does to the time
    BEST = "best"  # the best setting per layer and what it gains
    CLIFF = "cliff"  # a size that costs far more per FLOP than the next smaller one
    DIRECTION = "direction"  # a direction that is out of line with its work
    ROOF = "roof"  # layers far under what the machine can do
    ALLOCATOR = "allocator"  # what the system's allocator costs
    FALLBACK = "fallback"  # a dtype that torch runs by slow code
    THREADS = "threads"  # what more threads do, and where they are too many
    MODULE = "module"  # the user's own module against torch's
    WORK = "work"  # how the time per FLOP follows a size
    NOTE = "note"  # good to know


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing worth knowing.

    `size` is a ratio of at least 1: how many times slower or faster; of what is no matter of time it is 1 and the share
    of cases. `share` is how many of all that was looked at show it. `axis` is the setting it is about, where there is
    one. `cases` are the ids that it rests on, `exceptions` those that contradict it: they surely show the opposite. Of
    a finding that is `paired` both are the two sides of matched pairs, twice as many as the pairs that its sentence
    counts.
    """

    weight: Weight
    kind: FindingKind
    size: float
    sentence: str
    axis: str | None = None
    cases: tuple[str, ...] = ()
    exceptions: tuple[str, ...] = ()
    share: float = 1.0
    paired: bool = False

    @property
    def importance(self) -> float:
        """By which findings of one weight are ranked: the logarithm of the size, times the share that shows it."""
        return math.log(max(self.size, 1.0)) * self.share


def line(text: str) -> str:
    """User text on one line."""
    return " ".join(text.split())


def value_text(value: object) -> str:
    """A setting's value in a sentence."""
    if value is None or value is pd.NA:
        return "none"
    return str(value).lower() if isinstance(value, bool | np.bool_) else line(str(value))


def setting_text(axis: str, value: object) -> str:
    """A setting and its value: `in_channels=64`, `unbatched`."""
    return TABLE[axis].absent if value is None and TABLE[axis].absent else f"{axis}={value_text(value)}"


def of_matched(some: int, all_: int, noun: str = "matched case") -> str:
    """`34 of 36 matched cases`."""
    return f"{units.count(some)} of {units.plural(all_, noun)}"


def aside(words: str) -> str:
    """` (words)`, nothing where there are none."""
    return f" ({words})" if words else ""


def listed(words: Sequence[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    return f" {last} ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def ids(table: pd.DataFrame) -> tuple[str, ...]:
    """The cases of some rows."""
    return tuple(map(str, table["case_id"]))


def first(table: pd.DataFrame) -> str:
    """The first case and its reason, on one line, and how many more there are."""
    more = f" (and {units.count(len(table) - 1)} more)" if len(table) > 1 else ""
    return f"{farthest(table)}{more}"


def farthest(table: pd.DataFrame) -> str:
    """The first case and its reason, on one line, of cases whose order says that it goes farthest."""
    row = table.iloc[0]
    reason = "" if pd.isna(row["reason"]) else f": {line(row['reason'])}"
    return f"{line(row['label'])}{reason}"
