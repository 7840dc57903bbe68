"""What a run may hold beyond its types, wherever it was read: one literal row a field, and packed blocks all at once.

`serial` reads JSON by these rows, and the store its columns; nothing is read here. A field without a row has the row of
its type: a whole number from 0, a finite number from 0, a text without NUL and halves of surrogate pairs.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import pairwise

from convbench.model.case import Case
from convbench.model.problem import Problem
from convbench.model.result import (
    BLOCK_LAYOUTS,
    Baseline,
    Block,
    Check,
    Environment,
    Git,
    Measure,
    ProcessFacts,
    Result,
    Roof,
    Run,
    Visit,
)
from convbench.model.settings import (
    DEVICES,
    DTYPES,
    MOST_INTEGER,
    OF_CASE,
    OF_PROBLEM,
    Setting,
    module_problem,
)

#: The largest number that a database keeps as an integer.
MOST_STORED = 2**63 - 1
#: Up to here float32 and float64 count what a sweep or a block may count: occurrences of a layer, iterations.
MOST_COUNTED = 2**53
#: No seconds, bytes per second or ratios that anybody measures are more, and float32 holds it.
MOST_MEASURED = 1e30
#: A sweep's seed is smaller; this one keeps a number of millions of digits out.
MOST_SEED_READ = 2**128
#: Processes and rounds of a run; `ab` counts its pairs as processes, and may take more.
MOST_PROCESSES, MOST_ROUNDS, MOST_PAIRS = 100, 1000, 10_000
#: Seconds: `max_time`, `timeout` and `budget` of a sweep.
LONGEST_TIME_S, LONGEST_TIMEOUT_S, LONGEST_BUDGET_S = 3600.0, 86_400.0, 30 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """An integer from `low` to `high`."""

    low: int = 0
    high: int = MOST_STORED

    @property
    def what(self) -> str:
        """`an integer from 1 to 100`."""
        return f"an integer of at least {self.low}" + (f" and at most {self.high}" if self.high < MOST_STORED else "")

    def holds(self, value: float) -> bool:
        """Whether the value is one."""
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number from `low` to `high`, which is finite; where `unknown`, NaN stands for what was not measured."""

    low: float = 0.0
    high: float = MOST_MEASURED
    above: bool = False  # `low` itself is none
    unknown: bool = False

    @property
    def what(self) -> str:
        """`a finite number of at least 0`."""
        kind = "a finite number" if math.isfinite(self.high) else "a number"
        least = f"{kind} {'above' if self.above else 'of at least'} {self.low:g}"
        most = f" and at most {self.high:g}" if math.isfinite(self.high) else ""
        return f"{least}{most}{' or nan' if self.unknown else ''}"

    def holds(self, value: float) -> bool:
        """Whether the value is one."""
        if self.low <= value <= self.high:
            return not (self.above and value == self.low)
        return self.unknown and value != value


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A text that `fits`; no text has NUL or halves of surrogate pairs."""

    what: str = "text without NUL and without halves of surrogate pairs"
    fits: Callable[[str], object] | None = None

    def holds(self, value: str) -> bool:
        """Whether the text is one."""
        if "\0" in value or not (value.isascii() or _HALVES.search(value) is None):
            return False
        return self.fits is None or bool(self.fits(value))


Bound = Whole | Number | Words

_HALVES = re.compile("[\ud800-\udfff]")


def visible(text: str) -> str:
    """The text as it is stored and written: NUL and halves of surrogate pairs, which C code may print, made visible."""
    if "\0" not in text and (text.isascii() or _HALVES.search(text) is None):
        return text
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


_DEVICE = re.compile(r"([a-z]+)(?::(?:0|[1-9][0-9]{0,2}))?")


def _is_device(text: str) -> bool:
    found = _DEVICE.fullmatch(text)
    return found is not None and found[1] in DEVICES


def _is_time(text: str) -> bool:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return False
    return "T" in text and moment.tzinfo is not None and 1970 <= moment.year < 9999


#: A run's id becomes part of the names of files: words of letters and digits with one of . _ - between them.
RUN_ID = re.compile(r"(?=.{1,100}\Z)[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*", re.ASCII)
#: A baseline's name begins with a letter, as no run id does.
BASELINE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._/-]{0,99}")
#: A commit goes to git as an argument.
COMMIT = re.compile(r"[0-9a-f]{1,64}")
#: An environment variable's name stands in commands.
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
CASE_ID = re.compile(r"[a-z2-7]{12}")

#: Times of a block that rise from one to the next, but for the roundoff of what lies between two samples; and all.
QUANTILES = ("minimum_s", "q1_s", "median_s", "q3_s", "p95_s")
TIMES = (*QUANTILES, "mean_s")

_RUN_ID = Words(what="letters and digits with single . _ - between them, at most 100 in all", fits=RUN_ID.fullmatch)
_TIME = Words(what="a time like 2026-11-24T03:15:02+00:00", fits=_is_time)
_DEVICES = Words(what=f"a device of {', '.join(DEVICES)}, with an index if wanted", fits=_is_device)
_DTYPE = Words(what=f"a dtype of {', '.join(DTYPES)}", fits=DTYPES.__contains__)
_SIZE = Whole(low=1, high=MOST_INTEGER)
_FOUND: dict[str, Bound] = {"threads": _SIZE, "reorder_share": Number(high=1.0)}


def _numbers(rows: Mapping[str, Setting]) -> dict[str, Bound]:
    """What the settings may hold that are integers, by their kinds."""
    kinds = ((name, row.kind) for name, row in rows.items())
    return {name: Whole(low=kind.least, high=kind.most) for name, kind in kinds if kind.least is not None}


#: The bounds of nouns by their fields; of a tuple's numbers where it is one.
BOUNDS: dict[type, dict[str, Bound]] = {
    Problem: {
        **_numbers(OF_PROBLEM),
        "padding": Whole(),  # `half` of a large kernel is more than a sweep may say in digits
    },
    Case: {
        **_numbers(OF_CASE),
        "dtype": _DTYPE,
        "device": _DEVICES,
        "module": Words(what=OF_CASE["module"].kind.like, fits=lambda text: module_problem(text) is None),
        "count": Whole(low=1, high=MOST_COUNTED),
    },
    Block: {
        "process_index": Whole(high=MOST_PAIRS - 1),
        "round_index": Whole(high=MOST_ROUNDS - 1),
        "order": Whole(high=MOST_COUNTED),
        "iterations": Whole(low=1, high=MOST_COUNTED),
        "samples": Whole(low=1, high=MOST_COUNTED),
        **dict.fromkeys(TIMES, Number(above=True)),
        "host_s": Number(unknown=True),
        "compute_probe_s": Number(unknown=True),
        "memory_probe_s": Number(unknown=True),
    },
    Check: {"max_error": Number(high=math.inf, unknown=True)},
    Visit: {"case_id": Words(what="12 letters and digits", fits=CASE_ID.fullmatch), **_FOUND},
    Result: _FOUND,
    Measure: {
        "precision": Number(above=True, high=1.0),
        "processes": Whole(low=1, high=MOST_PROCESSES),
        "rounds": Whole(low=1, high=MOST_ROUNDS),
        "max_time": Number(above=True, high=LONGEST_TIME_S),
        "timeout": Number(above=True, high=LONGEST_TIMEOUT_S),
        "budget": Number(above=True, high=LONGEST_BUDGET_S),
    },
    Environment: {"cores": _SIZE},
    Roof: {
        "device": _DEVICES,
        "threads": _SIZE,
        "rate": Number(low=1.0),
        "dtype": _DTYPE,
        "footprint_bytes": Whole(low=1),
    },
    ProcessFacts: {"process_index": Whole(high=MOST_PAIRS - 1), "stolen": Number(low=-1.0, high=1.0)},
    Git: {"commit": Words(what="a commit of 1 to 64 hexadecimal digits", fits=COMMIT.fullmatch)},
    Baseline: {
        "name": Words(what="a letter, then letters, digits and . _ / -, at most 100", fits=BASELINE_NAME.fullmatch),
        "run_id": _RUN_ID,
        "set_at": _TIME,
    },
    Run: {
        "id": _RUN_ID,
        "seed": Whole(low=-MOST_SEED_READ, high=MOST_SEED_READ),
        "started_at": _TIME,
        "finished_at": _TIME,
    },
}


def bound(noun: type, name: str, kind: type) -> Bound | None:
    """What a field of a noun may hold where it is of this plain type; None where any value of the type will do."""
    row = BOUNDS.get(noun, {}).get(name)
    return row if row is not None else _OF_TYPES.get(kind)


_OF_TYPES: dict[type, Bound] = {int: Whole(), float: Number(), str: Words()}

_ROUNDOFF = 1e-6
#: Cases whose blocks are looked at together: 25 blocks of each are 1.6 MB, which stays in the caches.
_TOGETHER = 1024


def wrong_blocks(parts: Sequence[tuple[int, bytes]]) -> tuple[int, str] | None:
    """(which part, what is wrong in it) of the first (layout, packed blocks) that holds what no sweep could measure.

    None where all are sound. Costs 50 ms for a million blocks.
    """
    for start in range(0, len(parts), _TOGETHER):
        some = parts[start : start + _TOGETHER]
        for index, (layout, packed) in enumerate(some, start):
            if layout not in BLOCK_LAYOUTS:
                return index, f"expected a block layout of {sorted(BLOCK_LAYOUTS)}, got {layout!r}"
            if len(packed) % _row_bytes(layout):
                return index, f"{len(packed)} bytes are no whole number of blocks"
        for layout in {layout for layout, _ in some}:
            if not _sound(layout, b"".join([packed for other, packed in some if other == layout])):
                told = ((index, _told(layout, packed)) for index, (layout, packed) in enumerate(some, start))
                wrong = next(((index, message) for index, message in told if message is not None), None)
                if wrong is not None:
                    return wrong
    return None


@cache
def _row_bytes(layout: int) -> int:
    return 4 * len(BLOCK_LAYOUTS[layout])


def _sound(layout: int, packed: bytes) -> bool:
    """Whether all blocks are sure to be sound; column by column, where `_told` goes row by row."""
    import numpy as np

    names = BLOCK_LAYOUTS[layout]
    columns = np.ascontiguousarray(np.frombuffer(packed, dtype="<f4").reshape(-1, len(names)).T)
    for name, values in zip(names, columns, strict=True):
        row = _block_bound(name)
        if isinstance(row, Number) and row.unknown:
            values = values[~np.isnan(values)]
        if len(values) and not (row.holds(float(values.min())) and row.holds(float(values.max()))):
            return False
        if isinstance(row, Whole) and not (values == np.floor(values)).all():
            return False
    at = [names.index(name) for name in QUANTILES]
    return bool((columns[at[:-1]] <= columns[at[1:]]).all())


@cache
def _block_bound(name: str) -> Whole | Number:
    row = BOUNDS[Block].get(name, _OF_TYPES[float])
    assert not isinstance(row, Words)
    return row


def _told(layout: int, packed: bytes) -> str | None:
    """What is wrong in packed blocks, None where they are sound."""
    names = BLOCK_LAYOUTS[layout]
    for index, row in enumerate(struct.iter_unpack(f"<{len(names)}f", packed)):
        values: dict[str, float] = dict(zip(names, row, strict=True))
        for name, value in values.items():
            expected = _block_bound(name)
            if not expected.holds(value) or (isinstance(expected, Whole) and not value.is_integer()):
                return f"row {index}: {name} is {value:g}, expected {expected.what}"
        for low, high in pairwise(QUANTILES):
            if values[low] > values[high] * (1 + _ROUNDOFF):
                return f"row {index}: {low} is {values[low]:g}, expected no more than {high}, {values[high]:g}"
    return None
