"""The data for the page's scripts: every column of every case and every block. 100,000 cases fit one file.

A payload is gzip in base64 of three parts, which static/load.js reads:

- the length of the head as four bytes (little endian)
- the head: JSON, padded with spaces
- arrays one after the other, each at a multiple of eight bytes

The head has the type, the start (from the first array) and the length of each array.
"""

from __future__ import annotations

import base64
import gzip
import json
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from convbench.analysis.findings.contrasts import Contrast
from convbench.analysis.table.columns import COLUMNS, ColumnType
from convbench.measure.estimate import BlockTable

#: Higher levels of zlib take 1 s more per 10 MB and save 1 %.
GZIP_LEVEL = 5
_ALIGN = 8

#: Ratios to a floor are stored as steps of their natural logarithm: of 0.01 %, up to a ratio of 700.
RATIO_STEP = 1e-4
#: Ratios of pairs are steps of 0.05 %, in both directions, up to a ratio of 13 million.
PAIR_STEP = 5e-4
#: The largest step means this ratio or more. The one after it means "not measured".
MOST_STEPS = 65534
NO_RATIO = 65535


@dataclass(slots=True, kw_only=True)
class Payload:
    """A head (any JSON value) and arrays; `text` is the payload in the page."""

    head: dict[str, object] = field(default_factory=dict)
    arrays: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, values: NDArray[np.generic]) -> dict[str, object]:
        """Append an array; returns its entry for the head: {type, start, length}."""
        kept = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
        entry: dict[str, object] = {"type": kept.dtype.name, "start": self.size, "length": len(kept)}
        packed = kept.tobytes()
        packed += b"\0" * (-len(packed) % _ALIGN)
        self.arrays.append(packed)
        self.size += len(packed)
        return entry

    def text(self) -> str:
        """The payload as base64."""
        head = json.dumps(self.head, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
        # A half of a surrogate pair in a user's text must not make the report fail.
        encoded = head.encode("utf-8", "replace")
        encoded += b" " * (-(len(encoded) + 4) % _ALIGN)
        whole = b"".join((struct.pack("<I", len(encoded)), encoded, *self.arrays))
        return base64.b64encode(gzip.compress(whole, compresslevel=GZIP_LEVEL, mtime=0)).decode()


def cases_into(payload: Payload, frame: pd.DataFrame) -> dict[str, object]:
    """Every column that has a value, by name.

    Measured numbers are {array}: float32, with NaN where absent. Other columns are {values, codes}: the different
    values, and the position of each case's value among them, -1 where absent. Without codes, every case has the only
    value.
    """
    entries: dict[str, object] = {}
    for name, column in COLUMNS.items():
        series = frame[name]
        if series.isna().all():
            continue
        if column.kind is ColumnType.NUMBER:
            with np.errstate(over="ignore"):  # numbers beyond float32, from files of other programs, become infinite
                entries[name] = {"array": payload.add(series.to_numpy(dtype=np.float32))}
            continue
        entries[name] = words_into(payload, series)
    return entries


def words_into(payload: Payload, series: pd.Series) -> dict[str, object]:
    """A column as {values, codes}."""
    codes, values = pd.factorize(series)
    entry: dict[str, object] = {"values": [_plain(value) for value in values]}
    if len(values) > 1 or (codes < 0).any():
        entry["codes"] = payload.add(codes.astype(_smallest(len(values))))
    return entry


def blocks_into(payload: Payload, blocks: BlockTable, floors: NDArray[np.float64]) -> dict[str, object]:
    """The blocks of every case: `counts` per case, then minimum, median, probe, time, process of each block, and
    whether its device lowered its clock.

    Minimum and median are ratios to the case's floor, and the probe is a ratio to the lowest probe of the run. `times`
    are fractions of `seconds`, the time at which the last block began.
    """
    floor = floors[blocks.cases]
    start = blocks.column("start_s")
    last = float(start.max(initial=0.0)) or 1.0
    probe = blocks.column("compute_probe_s")
    known = probe[np.isfinite(probe) & (probe > 0)]
    with np.errstate(invalid="ignore", divide="ignore"):  # a floor is 0 where the clock did not advance
        minimum, median = blocks.column("minimum_s") / floor, blocks.column("median_s") / floor
    return {
        "seconds": last,
        "counts": payload.add(blocks.counts.astype(np.int32)),
        "minimum": payload.add(_steps(minimum)),
        "median": payload.add(_steps(median)),
        "probe": payload.add(_steps(probe / (known.min() if len(known) else 1.0))),
        "times": payload.add(np.round(start / last * 65535).astype(np.uint16)),
        "processes": payload.add(blocks.column("process_index").astype(np.uint16)),
        "throttled": payload.add((blocks.column("throttled") == 1).astype(np.uint8)),
    }


def pairs_into(payload: Payload, contrasts: Sequence[Contrast]) -> dict[str, object]:
    """The pairs of all contrasts, one contrast after the other: rows of both cases, ratio, noise and verdict.

    An infinite noise is `NO_RATIO`. `open` is 1 where too few processes timed both cases.
    """

    def joined(parts: Iterable[NDArray[np.generic]]) -> NDArray[Any]:
        return np.concatenate([np.zeros(0, dtype=np.int64), *parts])

    ratio = joined(np.log(each.ratio) / PAIR_STEP for each in contrasts)
    return {
        "base": payload.add(joined(each.base_rows for each in contrasts).astype(np.int32)),
        "other": payload.add(joined(each.other_rows for each in contrasts).astype(np.int32)),
        "ratio": payload.add(np.clip(np.round(ratio), -32767, 32767).astype(np.int16)),
        "noise": payload.add(_steps(joined(1 + each.noise for each in contrasts).astype(np.float64))),
        "verdict": payload.add(joined(each.verdict for each in contrasts).astype(np.int8)),
        "open": payload.add(joined(each.is_open for each in contrasts).astype(np.int8)),
    }


def _steps(ratios: NDArray[np.float64]) -> NDArray[np.uint16]:
    with np.errstate(invalid="ignore", divide="ignore"):
        steps = np.round(np.log(ratios) / RATIO_STEP)
    return np.where(np.isfinite(steps), np.clip(steps, 0, MOST_STEPS), NO_RATIO).astype(np.uint16)


def _smallest(values: int) -> type[np.signedinteger]:
    """The smallest signed type for positions among so many values."""
    return np.int8 if values <= 127 else np.int16 if values <= 32767 else np.int32


def _plain(value: object) -> object:
    """A value of pandas or numpy as a JSON value."""
    return value.item() if isinstance(value, np.generic) else value
