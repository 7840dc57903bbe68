"""Limits of a run's values, one table row for each field, and checks of packed blocks.

`reading.py` and the store apply them. A field without a row has the row of its type:

- an integer from 0
- a finite number from 0
- a text without NUL and without unpaired surrogates
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from datetime import datetime
from functools import cache
from itertools import pairwise
from typing import Any

from convbench.model.campaign import Campaign, DeviceKind, MachineKey, Shard
from convbench.model.case import Case
from convbench.model.fact import facts_of
from convbench.model.operators import DEFAULT_OPERATOR, OPERATORS
from convbench.model.problem import Problem
from convbench.model.result import (
    BLOCK_LAYOUTS,
    QUANTILES,
    Baseline,
    Block,
    Environment,
    Git,
    Measure,
    ProcessFacts,
    ReferenceBlocks,
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
    device_problem,
    module_problem,
)
from convbench.model.values import MOST_COUNTED, OF_TYPES, Bound, Number, Whole, Words, expected, shortened
from convbench.model.variables import HIDDEN

#: A sweep's seed is smaller; this limit refuses a number of millions of digits.
MOST_SEED_READ = 2**128
#: Processes and rounds of a run; `ab` counts its pairs as processes, and may take more.
MOST_PROCESSES, MOST_ROUNDS, MOST_PAIRS = 100, 1000, 10_000
#: Maximum number of labels of one entry of `cases` in a sweep.
MOST_LABELS = 1000
#: Seconds: `max_time`, `timeout` and `budget` of a sweep.
LONGEST_TIME_S, LONGEST_TIMEOUT_S, LONGEST_BUDGET_S = 3600.0, 86_400.0, 30 * 86_400.0


def is_time(text: str) -> bool:
    """Whether a text is a time with a zone, in ISO 8601."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return False
    return "T" in text and moment.tzinfo is not None and 1970 <= moment.year < 9999


#: A run's id is part of file names: words of letters and digits with one of . _ - between them.
RUN_ID = re.compile(r"(?=.{1,100}\Z)[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*", re.ASCII)
#: A baseline's name begins with a letter; no run id does.
BASELINE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._/-]{0,99}")
#: A commit is passed to git as an argument.
COMMIT = re.compile(r"[0-9a-f]{1,64}")
#: An environment variable's name is written into commands.
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
CASE_ID = re.compile(r"[a-z2-7]{12}")

_RUN_ID = Words(what="letters and digits with single . _ - between them, at most 100 in all", fits=RUN_ID.fullmatch)
_CASE_ID = Words(what="12 letters and digits", fits=CASE_ID.fullmatch)
_TIME = Words(what="a time like 2026-11-24T03:15:02+00:00", fits=is_time)
#: Reference layers of one device, of any version.
MOST_REFERENCES = 100
_DEVICES = Words(
    what=f"a device of {', '.join(DEVICES)}, with an index if wanted", fits=lambda text: device_problem(text) is None
)
_DTYPE = Words(what=f"a dtype of {', '.join(DTYPES)}", fits=DTYPES.__contains__)
_SIZE = Whole(low=1, high=MOST_INTEGER)


def _numbers(rows: Mapping[str, Setting]) -> dict[str, Bound]:
    """The bounds of the integer settings, from their kinds."""
    kinds = ((name, row.kind) for name, row in rows.items())
    return {name: Whole(low=kind.least, high=kind.most) for name, kind in kinds if kind.least is not None}


#: The bounds of fields that are not measured facts (model/fact.py). For a tuple they hold for each of its numbers.
BOUNDS: dict[type, dict[str, Bound]] = {
    Problem: {
        **_numbers(OF_PROBLEM),
        "padding": Whole(),  # `half` of a large kernel is more than the largest number that a sweep may give
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
        "memory_probe_s": Number(unknown=True),
    },
    Visit: {"case_id": _CASE_ID},
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
    ReferenceBlocks: {
        "version": Whole(low=1),
        "device": _DEVICES,
        "threads": _SIZE,
        "layers": Whole(low=1, high=MOST_REFERENCES),
        "block_s": Number(above=True),
        "record_s": Number(above=True),
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
    MachineKey: {"cores": _SIZE},
    DeviceKind: {"memory_gib": Whole(high=MOST_INTEGER), "power_limit_w": Whole(high=MOST_INTEGER)},
    Shard: {"run_ids": _RUN_ID, "case_ids": _CASE_ID},
    Campaign: {"id": _RUN_ID, "started_at": _TIME, "finished_at": _TIME, "controls": _CASE_ID},
}


def bound(of: type, name: str, kind: type) -> Bound | None:
    """The bound of a field of a dataclass that has this plain type; None where the type is the only limit."""
    return _rows(of).get(name) or OF_TYPES.get(kind)


@cache
def _rows(of: type) -> dict[str, Bound]:
    declared = facts_of(of) if is_dataclass(of) else {}
    return {**{name: row.bound for name, row in declared.items() if row.bound}, **BOUNDS.get(of, {})}


_NEVER = "torch would refuse it, and convbench never measured it"


def _wrong_problem(problem: Problem, document: Mapping[str, Any]) -> str | None:
    offered = problem.operator.name in OPERATORS
    dimensions = problem.rank if offered else DEFAULT_OPERATOR.rank
    pads = problem.padding if isinstance(problem.padding, tuple) else (0,) * dimensions
    for name in ("kernel_size", "input_size", "stride", "dilation", "module_output_size"):
        if getattr(problem, name) is not None and len(getattr(problem, name)) != dimensions:
            return expected(f"{name} of {dimensions} integers of at least 1", list(getattr(problem, name)))
    if len(pads) != dimensions:
        return expected(f"padding of {dimensions} integers of at least 0", list(pads))
    refusal = problem.refusal()
    return None if refusal is None else f"{_NEVER}: {refusal}"


def _wrong_case(case: Case, document: Mapping[str, Any]) -> str | None:
    unsuitable = case.unsuitable()
    if unsuitable is not None:
        return f"{_NEVER}: {unsuitable}"
    names = [name for name, _ in case.env]
    if names != sorted(set(names)) or not all(map(VARIABLE.fullmatch, names)):
        return expected("names of environment variables, sorted, each once", names)
    is_complete = HIDDEN not in dict(case.env).values()  # else an older id may be a hash that includes a secret's value
    if is_complete and "id" in document and document["id"] != case.id:
        return f"the settings make the id {case.id!r}, but it says {shortened(document['id'])}"
    return None


def _wrong_references(found: ReferenceBlocks, document: Mapping[str, Any]) -> str | None:
    width = 4 * (1 + found.layers)
    if len(found.rows) % width:
        return expected(f"rows of {width} bytes", f"{len(found.rows)} bytes")
    if len(found.record_s) not in (0, found.layers):
        return expected(f"record_s of {found.layers} numbers or none", list(found.record_s))
    for start_s, *minima in struct.iter_unpack(f"<{1 + found.layers}f", found.rows):
        if not 0 <= start_s < math.inf or not all(0 < value < math.inf for value in minima):
            return expected("rows of finite times above 0", [start_s, *minima])
    return None


#: Functions that check an object as a whole: (object, its JSON) -> what is wrong, or None.
WRONG: dict[type, Callable[[Any, Mapping[str, Any]], str | None]] = {
    Problem: _wrong_problem,
    Case: _wrong_case,
    ReferenceBlocks: _wrong_references,
}
#: Computed entries, which JSON has in addition to an object's fields.
COMPUTED: dict[type, frozenset[str]] = {
    Case: frozenset({"id"}),
    Run: frozenset({"format", "format_version", "block_layouts"}),
}


_ROUNDOFF = 1e-6
#: Number of cases whose blocks are checked together: with 25 blocks each they take 1.6 MB, which fits in the caches.
_TOGETHER = 1024


def wrong_blocks(parts: Sequence[tuple[int, bytes]]) -> tuple[int, str] | None:
    """(index, what is wrong) of the first of the (layout, packed blocks) with a value that no sweep could measure.

    None where all are valid. Takes 50 ms for a million blocks.
    """
    for start in range(0, len(parts), _TOGETHER):
        some = parts[start : start + _TOGETHER]
        for index, (layout, packed) in enumerate(some, start):
            if layout not in BLOCK_LAYOUTS:
                return index, f"expected a block layout of {sorted(BLOCK_LAYOUTS)}, got {layout!r}"
            if len(packed) % _row_bytes(layout):
                return index, f"{len(packed)} bytes are no whole number of blocks"
        for layout in {layout for layout, _ in some}:
            if not _all_valid(layout, b"".join([packed for other, packed in some if other == layout])):
                each = ((index, _first_wrong(layout, packed)) for index, (layout, packed) in enumerate(some, start))
                wrong = next(((index, message) for index, message in each if message is not None), None)
                if wrong is not None:
                    return wrong
    return None


@cache
def _row_bytes(layout: int) -> int:
    return 4 * len(BLOCK_LAYOUTS[layout])


def _all_valid(layout: int, packed: bytes) -> bool:
    """Whether all blocks are certainly valid. Checks column by column, while `_first_wrong` checks row by row."""
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
    row = bound(Block, name, float)
    assert isinstance(row, Whole | Number)
    return row


def _first_wrong(layout: int, packed: bytes) -> str | None:
    """The first error in packed blocks, None where they are valid."""
    names = BLOCK_LAYOUTS[layout]
    for index, row in enumerate(struct.iter_unpack(f"<{len(names)}f", packed)):
        values: dict[str, float] = dict(zip(names, row, strict=True))
        for name, value in values.items():
            allowed = _block_bound(name)
            if not allowed.holds(value) or (isinstance(allowed, Whole) and not value.is_integer()):
                return f"row {index}: {name} is {value:g}, expected {allowed.what}"
        for low, high in pairwise(QUANTILES):
            if values[low] > values[high] * (1 + _ROUNDOFF):
                return f"row {index}: {low} is {values[low]:g}, expected no more than {high}, {values[high]:g}"
    return None
