"""Relates cases to reference layers: how fast the machine ran while a case was measured. Pure.

A block belongs to the last row of references before it, which is of the same round. So the references that a case is
related to saw the same seconds as its blocks, and are as many. A level is the mean over the references of one kind of
the logarithm of a low quantile of their times. On a device it is the median of their medians (model/lead.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from convbench.measure.estimate import BlockTable, Booleans, Floats, Integers
from convbench.model.case import Case
from convbench.model.lead import Lead, lead_of
from convbench.model.references import VERSION, ReferenceKey, ReferenceKind, kind_of, references
from convbench.model.result import NAN, ProcessFacts, ReferenceBlocks

#: The quantile of block minima that is related. A minimum may be one lucky block; a median is slower in noise.
#: bench/estimators.py compares them.
QUANTILE = 0.1
MIDDLE = 0.5


def _quantile(lead: Lead, of_floors: float) -> float:
    """The quantile of the blocks' leading times that is related."""
    return of_floors if lead is Lead.FLOOR else MIDDLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """How long the references of each case took beside its blocks.

    `logs[group[i]]` are the logarithms of the seconds of each reference of case i. Group -1 has none. `kinds[group[i]]`
    are the device and threads of these references, and their kind.
    """

    group: Integers
    logs: tuple[Floats, ...]
    kinds: tuple[tuple[ReferenceKey, ReferenceKind], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Related:
    """Each case beside its references, one element per case; logarithms of seconds, NaN where there are none.

    `low` is the quantile of the leading times of the case's own blocks. `level` is how long the references took beside
    the case, `record` how long at their fastest known.
    """

    low: Floats
    level: Floats
    record: Floats

    @property
    def normalized_s(self) -> Floats:
        """Seconds per iteration at the machine's reference speed."""
        with np.errstate(over="ignore", invalid="ignore"):
            return np.exp(self.low - self.level + self.record)

    @property
    def typical_slowdown(self) -> float:
        """How many times as long as at their fastest the references of the median case took; NaN without any."""
        slowdown = np.exp(self.level - self.record)
        known = slowdown[np.isfinite(slowdown)]
        return float(np.median(known)) if len(known) else NAN


def leading_times(found: ReferenceBlocks) -> tuple[Floats, Floats]:
    """The starts (rows,) and the leading times (rows, layers) of the references, in seconds."""
    rows = np.frombuffer(found.rows, dtype="<f4").reshape(-1, 1 + found.layers).astype(np.float64)
    return rows[:, 0], rows[:, 1:]


def records(processes: Iterable[ProcessFacts]) -> dict[ReferenceKey, tuple[float, ...]]:
    """The fastest known times of each reference: the record at the run's begin, or what the run itself reached."""
    found: dict[ReferenceKey, Floats] = {}
    for key, rows in _by_key(processes).items():
        times = np.concatenate([leading_times(one)[1] for one in rows])
        known = [np.array(one.record_s) for one in rows if one.record_s]
        if len(times):
            found[key] = np.min([np.quantile(times, _quantile(lead_of(key[0]), QUANTILE), axis=0), *known], axis=0)
    return {key: tuple(values.tolist()) for key, values in found.items()}


def _by_key(processes: Iterable[ProcessFacts]) -> dict[ReferenceKey, list[ReferenceBlocks]]:
    """The blocks of today's references by device and threads."""
    found: dict[ReferenceKey, list[ReferenceBlocks]] = {}
    for one in (one for facts in processes for one in facts.references):
        if one.version == VERSION and one.layers == len(references(one.device)):
            found.setdefault((one.device, one.threads), []).append(one)
    return found


def relate(
    blocks: BlockTable, cases: Sequence[Case], processes: Sequence[ProcessFacts], l2_bytes: int | None
) -> Related:
    """Each case beside its references; the blocks of the cases are in `blocks` in the same order."""
    found = levels(blocks, cases, processes, l2_bytes, quantile=QUANTILE)
    best = records(processes)
    level = [logs.mean() for logs in found.logs]
    record = [np.log(np.array(best[key])[list(_columns(key[0], kind))]).mean() for key, kind in found.kinds]
    return Related(
        low=_low(blocks), level=np.array([*level, NAN])[found.group], record=np.array([*record, NAN])[found.group]
    )


def levels(
    blocks: BlockTable,
    cases: Sequence[Case],
    processes: Sequence[ProcessFacts],
    l2_bytes: int | None,
    *,
    quantile: float,
    used: Booleans | None = None,
) -> Levels:
    """The quantile of the references' times of each case, over the rows before its blocks, or before its `used` ones.

    `quantile` is that of cases whose floor leads.
    Cases that have the same rows share a group.
    """
    nearest, tables = _nearest(blocks, cases, processes)
    if used is not None:
        nearest[~used] = -1
    group = np.full(len(cases), -1, dtype=np.int64)
    logs: list[Floats] = []
    known: dict[tuple[ReferenceKey, ReferenceKind, bytes], int] = {}
    for index, case in enumerate(cases):
        rows = nearest[blocks.offsets[index] : blocks.offsets[index + 1]]
        rows = rows[rows >= 0]
        if not len(rows):
            continue
        key, kind = (case.device, case.threads), kind_of(case, l2_bytes)
        number = known.setdefault((key, kind, rows.tobytes()), len(known))
        if number == len(logs):
            times = tables[key][rows][:, list(_columns(case.device, kind))]
            logs.append(np.log(np.quantile(times, _quantile(lead_of(case.device), quantile), axis=0)))
        group[index] = number
    return Levels(group=group, logs=tuple(logs), kinds=tuple((key, kind) for key, kind, _ in known))


@cache
def _columns(device: str, kind: ReferenceKind) -> tuple[int, ...]:
    return tuple(column for column, (other, _) in enumerate(references(device)) if other is kind)


def _low(blocks: BlockTable) -> Floats:
    """The logarithm of the related quantile of the leading times of each case's blocks; NaN without a block."""
    found = np.full(len(blocks.offsets) - 1, NAN)
    with np.errstate(divide="ignore"):  # no time at all has no logarithm
        leading, counts = np.log(blocks.leading), blocks.counts
    order = np.lexsort((leading, blocks.cases))
    filled = np.flatnonzero(counts)
    position = np.where(blocks.by_median[filled], MIDDLE, QUANTILE) * (counts[filled] - 1)
    below = np.floor(position).astype(np.int64)
    above = np.minimum(below + 1, counts[filled] - 1)
    starts, ranked = blocks.offsets[:-1][filled], leading[order]
    low, high = ranked[starts + below], ranked[starts + above]
    with np.errstate(invalid="ignore"):
        found[filled] = low + (position - below) * (high - low)
    return found


def _nearest(
    blocks: BlockTable, cases: Sequence[Case], processes: Sequence[ProcessFacts]
) -> tuple[Integers, Mapping[ReferenceKey, Floats]]:
    """For each block the row of the references before it in its process, -1 without one; and all rows by key."""
    tables: dict[ReferenceKey, list[Floats]] = {}
    nearest = np.full(len(blocks.values), -1, dtype=np.int64)
    numbers = {key: number for number, key in enumerate(_by_key(processes))}
    of_case = np.array([numbers.get((case.device, case.threads), -1) for case in cases], dtype=np.int64)
    key_of, process, start = of_case[blocks.cases], blocks.integers("process_index"), blocks.column("start_s")
    for facts in processes:
        for key, found in _by_key([facts]).items():
            held = tables.setdefault(key, [])
            before = sum(map(len, held))
            starts, rows = (np.concatenate(parts) for parts in zip(*map(leading_times, found), strict=True))
            order = np.argsort(starts, kind="stable")
            held.append(rows[order])
            mine = np.flatnonzero((key_of == numbers[key]) & (process == facts.process_index))
            at = np.searchsorted(starts[order], start[mine], side="right") - 1
            nearest[mine] = np.where(at < 0, -1, before + at)
    return nearest, {key: np.concatenate(held) for key, held in tables.items()}


def disturbance(processes: Iterable[ProcessFacts]) -> float:
    """How much longer the references took than at their fastest in these processes, as the median of all, minus 1.

    NaN where no process timed references.
    """
    found = []
    for rows in _by_key(processes).values():
        times = np.concatenate([leading_times(one)[1] for one in rows])
        if len(times):
            found.append((times / times.min(axis=0)).ravel())
    return float(np.median(np.concatenate(found))) - 1 if found else NAN
