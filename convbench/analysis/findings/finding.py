"""One finding on a run, and the words that all findings share. The other modules here compute the findings.

Findings are ranked by weight, then by importance: the size of the ratio, and the share of its cases that show it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum

import numpy as np
import pandas as pd

from convbench import units
from convbench.model.settings import TABLE


class Weight(IntEnum):
    """The rank of a finding: the lowest comes first."""

    WRONG = 0  # a layer computes a wrong result, or a far less exact one than its dtype allows
    UNMEASURED = 1  # a case could not be measured although it should have been
    NOISE = 2  # the machine was so noisy that most other findings are doubtful
    ANSWER = 3  # how long a network takes and what to change in it
    NETWORK = 4  # where a network's time goes
    EFFECT = 5  # how a setting that one can choose changes the time
    WORK = 6  # how the time changes with the layer's work
    NOTE = 7  # other facts


class FindingKind(StrEnum):
    """What a finding is about."""

    WRONG = "wrong"  # wrong results
    INACCURATE = "inaccurate"  # right results that are far less exact than the dtype allows
    UNMEASURED = "unmeasured"  # crashed, timed out, out of memory, error
    NOISE = "noise"  # how reliable the numbers are
    STEP = "step"  # how long a forward and a training step of a network take
    CHANGE = "change"  # what other settings gain in a network
    FIX = "fix"  # the layers of a network that are worth fixing first
    NETWORK = "network"  # where a network's time goes
    OUTLIER = "outlier"  # the layers of a network that reach less than similar ones
    EFFECT = "effect"  # how a setting of execution changes the time
    BEST = "best"  # the best setting per layer and what it gains
    CLIFF = "cliff"  # a size that takes much more time per FLOP than the next smaller one
    DIRECTION = "direction"  # a direction that takes unusually long or short for its work
    ROOF = "roof"  # layers far below what the machine can do
    LAUNCH = "launch"  # layers of a device that take longer to launch than to run
    ALLOCATOR = "allocator"  # what the system's allocator costs
    FALLBACK = "fallback"  # a dtype that torch runs with slow code
    THREADS = "threads"  # how threads change the time, and where they are too many
    COMPILING = "compiling"  # after how many calls a compiled layer has paid for itself
    MODULE = "module"  # the user's own module against torch's
    WORK = "work"  # how the time per FLOP changes with a size
    RIGHT = "right"  # all results are right
    RATE = "rate"  # the highest rate
    NOTE = "note"  # other facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fact about a run, as a sentence with the cases that show it.

    - `size` is a ratio of at least 1: how many times slower or faster. For findings that are not about time it is 1
      plus the share of cases.
    - `share` is the share of all examined cases or pairs that show it.
    - `axis` is the setting it is about, where there is one.
    - `cases` are the ids of the cases that show it. `exceptions` show the opposite by more than noise.
    - Where it is `paired`, both hold the two sides of matched pairs: twice as many ids as the sentence counts pairs.
    - `values` are the two values of `axis` that it compares, the base first, where it compares two.
    - `details` are findings that say more on the same question. They have no rank of their own.
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
    values: tuple[object, object] | None = None
    details: tuple[Finding, ...] = ()

    @property
    def importance(self) -> float:
        """The rank among findings of one weight: the logarithm of the size, times the share that shows it."""
        return math.log(max(self.size, 1.0)) * self.share


def with_details(found: Iterable[Finding]) -> Iterator[Finding]:
    """The findings, each before its details."""
    for finding in found:
        yield finding
        yield from finding.details


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
    """` (words)`, or "" where there are no words."""
    return f" ({words})" if words else ""


def listed(words: Sequence[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    return f" {last} ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def ids(table: pd.DataFrame) -> tuple[str, ...]:
    """The cases of some rows."""
    return tuple(map(str, table["case_id"]))


def first(table: pd.DataFrame) -> str:
    """The first case and its reason on one line, with the number of further cases."""
    more = f" (and {units.count(len(table) - 1)} more)" if len(table) > 1 else ""
    return f"{farthest(table)}{more}"


def farthest(table: pd.DataFrame) -> str:
    """The first case and its reason on one line, of cases that are sorted with the most extreme first."""
    row = table.iloc[0]
    reason = "" if pd.isna(row["reason"]) else f": {line(row['reason'])}"
    return f"{line(row['label'])}{reason}"
