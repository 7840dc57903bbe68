"""Relates cases to reference layers: how fast the machine ran while a case was measured. Pure.

A block belongs to the last row of references before it, which is of the same round. So the references that a case is
related to saw the same seconds as its blocks, and are as many. A level is the mean over the references of one kind of
the logarithm of a low quantile of their times.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from convbench.measure.estimate import BlockTable, Floats, Integers
from convbench.model.case import Case
from convbench.model.references import VERSION, ReferenceKey, ReferenceKind, kind_of, references
from convbench.model.result import NAN, ProcessFacts, ReferenceBlocks

#: The quantile of block minima that is related. A minimum may be one lucky block; a median is slower in noise.
#: bench/estimators.py compares them.
QUANTILE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Related:
    """The references of each case, one element per case; logarithms of seconds, NaN where there are none.

    - `low` is the low quantile of the case's own block minima.
    - `level` is how long the references took beside the case, `record` how long at their fastest known.
    - `logs[group[i]]` are the logarithms of each reference of case i, on which `level` is a mean; group -1 has none.
    """

    low: Floats
    level: Floats
    record: Floats
    group: Integers
    logs: tuple[Floats, ...]

    @property
    def normalized_s(self) -> Floats:
        """Seconds per iteration at the machine's reference speed."""
        with np.errstate(over="ignore", invalid="ignore"):
            return np.exp(self.low - self.level + self.record)

    @property
    def slowdown(self) -> Floats:
        """How many times as long as at their fastest the references took beside each case."""
        with np.errstate(over="ignore", invalid="ignore"):
            return np.exp(self.level - self.record)

    @property
    def typical_slowdown(self) -> float:
        """The median slowdown of the cases that have references; NaN without any."""
        known = self.slowdown[np.isfinite(self.slowdown)]
        return float(np.median(known)) if len(known) else NAN


def minima(found: ReferenceBlocks) -> tuple[Floats, Floats]:
    """The starts (rows,) and the lowest times (rows, layers) of the references, in seconds."""
    rows = np.frombuffer(found.rows, dtype="<f4").reshape(-1, 1 + found.layers).astype(np.float64)
    return rows[:, 0], rows[:, 1:]


def records(processes: Iterable[ProcessFacts]) -> dict[ReferenceKey, tuple[float, ...]]:
    """The fastest known times of each reference: the record at the run's begin, or what the run itself reached."""
    found: dict[ReferenceKey, Floats] = {}
    for key, rows in _by_key(processes).items():
        times = np.concatenate([minima(one)[1] for one in rows])
        known = [np.array(one.record_s) for one in rows if one.record_s]
        if len(times):
            found[key] = np.min([np.quantile(times, QUANTILE, axis=0), *known], axis=0)
    return {key: tuple(values.tolist()) for key, values in found.items()}


def _by_key(processes: Iterable[ProcessFacts]) -> dict[ReferenceKey, list[ReferenceBlocks]]:
    """The blocks of today's references by device and threads."""
    found: dict[ReferenceKey, list[ReferenceBlocks]] = {}
    for one in (one for facts in processes for one in facts.references):
        if one.version == VERSION and one.layers == len(references(one.device)):
            found.setdefault((one.device, one.threads), []).append(one)
    return found


def relate(
    blocks: BlockTable,
    cases: Sequence[Case],
    processes: Sequence[ProcessFacts],
    l2_bytes: int | None,
    *,
    quantile: float = QUANTILE,
) -> Related:
    """The references of each case, whose blocks are in `blocks` in the same order.

    With `quantile` 0 minima are related, which floors are.
    """
    total = len(cases)
    related = Related(
        low=_low(blocks, quantile),
        level=np.full(total, NAN),
        record=np.full(total, NAN),
        group=np.full(total, -1, dtype=np.int64),
        logs=(),
    )
    best = records(processes)
    if not best:
        return related
    nearest, tables = _nearest(blocks, cases, processes)
    logs: list[Floats] = []
    known: dict[tuple[ReferenceKey, ReferenceKind, bytes], int] = {}
    kinds: dict[tuple[str, ReferenceKind], list[int]] = {}
    for index, case in enumerate(cases):
        key = (case.device, case.threads)
        rows = nearest[blocks.offsets[index] : blocks.offsets[index + 1]]
        rows = rows[rows >= 0]
        if key not in best or not len(rows):
            continue
        kind = kind_of(case, l2_bytes)
        group = known.get((key, kind, rows.tobytes()))
        if group is None:
            group = known[key, kind, rows.tobytes()] = len(logs)
            columns = kinds.setdefault((case.device, kind), _columns(case.device, kind))
            logs.append(np.log(np.quantile(tables[key][rows][:, columns], quantile, axis=0)))
        columns = kinds[case.device, kind]
        related.group[index] = group
        related.level[index] = logs[group].mean()
        related.record[index] = np.log(np.array(best[key])[columns]).mean()
    return Related(low=related.low, level=related.level, record=related.record, group=related.group, logs=tuple(logs))


def _columns(device: str, kind: ReferenceKind) -> list[int]:
    return [column for column, (other, _) in enumerate(references(device)) if other is kind]


def _low(blocks: BlockTable, quantile: float) -> Floats:
    """The logarithm of the low quantile of each case's block minima; NaN without a block."""
    found = np.full(len(blocks.offsets) - 1, NAN)
    with np.errstate(divide="ignore"):  # no time at all has no logarithm
        minimum, counts = np.log(blocks.column("minimum_s")), blocks.counts
    order = np.lexsort((minimum, blocks.cases))
    filled = np.flatnonzero(counts)
    position = quantile * (counts[filled] - 1)
    below = np.floor(position).astype(np.int64)
    above = np.minimum(below + 1, counts[filled] - 1)
    starts, ranked = blocks.offsets[:-1][filled], minimum[order]
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
            starts, rows = (np.concatenate(parts) for parts in zip(*map(minima, found), strict=True))
            order = np.argsort(starts, kind="stable")
            held.append(rows[order])
            mine = np.flatnonzero((key_of == numbers[key]) & (process == facts.process_index))
            at = np.searchsorted(starts[order], start[mine], side="right") - 1
            nearest[mine] = np.where(at < 0, -1, before + at)
    return nearest, {key: np.concatenate(held) for key, held in tables.items()}
