"""Every column of the table of cases: its kind, unit, meaning and values. No pandas, so that exports start fast.

A new column is one entry in `COLUMNS`. Exports, the data frame and the report read columns from there. Columns of
settings and of measured facts take their words from model/settings.py and model/result.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from operator import attrgetter

import numpy as np

from convbench import units
from convbench.analysis.table import metrics
from convbench.measure import estimate
from convbench.measure.references import Related, relate
from convbench.model.case import Case, canonical
from convbench.model.fact import Fact
from convbench.model.lead import lead_of
from convbench.model.operators import DEFAULT_OPERATOR
from convbench.model.problem import Problem
from convbench.model.result import BLOCK_FACTS, CASE_FACTS, CHECK_FACTS, Result, Run
from convbench.model.settings import PROBLEM_SETTINGS, SETTINGS, TABLE

Value = str | int | float | bool | None

NOT_REACHED = "not reached yet"


class Rows:
    """The cases of a run in the sweep's order, those not reached yet last, and the figures from their blocks."""

    def __init__(self, run: Run) -> None:
        self.cases: tuple[Case, ...] = (*(result.case for result in run.results), *run.unmeasured)
        self.results: tuple[Result | None, ...] = (*run.results, *(None for _ in run.unmeasured))
        self.blocks = estimate.table(self.results)
        self._processes = run.processes
        self._l2_bytes = run.environment.l2_bytes
        self._precision = run.measure.precision

    @cached_property
    def estimates(self) -> estimate.Estimates:
        """Leading time, floor, typical time, spread and further estimates of each case."""
        return estimate.estimate(self.blocks)

    @property
    def repeats_within(self) -> estimate.Floats:
        """The next run's time is within this ratio minus 1 in 9 of 10 runs, by spread and precision."""
        with np.errstate(over="ignore", invalid="ignore"):
            return (1 + self.estimates.spread) * (1 + self._precision) - 1

    @cached_property
    def system(self) -> estimate.BlockTable:
        """The blocks with the system's allocator."""
        return estimate.table(self.results, "system_blocks")

    @cached_property
    def beside_system(self) -> estimate.Beside:
        """The blocks with the system's allocator, beside those of the same rounds with the case's own."""
        return estimate.beside(self.blocks, self.system)

    @property
    def allocator_penalty(self) -> estimate.Floats:
        """How much longer each case takes with the system's allocator, as a ratio minus 1."""
        tried = self.beside_system
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return tried.time_s / tried.own_s - 1

    @property
    def overhead_s(self) -> estimate.Floats:
        """Seconds of each backward outside its kernels."""
        kernels = estimate.table(self.results, "kernel_blocks")
        alone = estimate.beside(self.blocks, kernels)
        with np.errstate(over="ignore", invalid="ignore"):
            return alone.own_s - alone.time_s

    @cached_property
    def noise(self) -> estimate.Noise:
        """The noise by the compute probe, whose work is equal only within one kind of worker."""
        return estimate.noise(self.blocks, [case.worker for case in self.cases])

    @cached_property
    def throttled(self) -> estimate.Throttled:
        """The blocks whose device lowered its clock for heat or power."""
        return estimate.throttled(self.blocks)

    @cached_property
    def related(self) -> Related:
        """The reference layers of each case, and its time at the machine's reference speed."""
        return relate(self.blocks, self.cases, self._processes, self._l2_bytes)

    @cached_property
    def limits(self) -> metrics.Limits:
        """The attainable time of each case by the machine's roofs."""
        return metrics.limits(self.cases, self.flops, self.bytes, self._processes)

    @property
    def bound(self) -> list[str | None]:
        """The nearer roof of each case, or `launch` where the host launches it more slowly than the device runs it."""
        figures = self.estimates
        launching = (figures.median_block["host_s"] > figures.time_s).tolist()
        return [metrics.LAUNCH if late else roof for late, roof in zip(launching, self.limits.bound, strict=True)]

    @cached_property
    def efficiency(self) -> estimate.Floats:
        """Attainable time over the leading time of each case."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.limits.attainable_s / self.estimates.time_s

    @cached_property
    def flops(self) -> list[int]:
        """Floating-point operations of one iteration of each case."""
        return [case.flops for case in self.cases]

    @cached_property
    def bytes(self) -> list[int]:
        """Bytes of one iteration of each case."""
        return [case.bytes for case in self.cases]

    def rates(self, work: list[int]) -> estimate.Floats:
        """Work per second at the leading time."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(work, dtype=np.float64) / self.estimates.time_s


class ColumnType(StrEnum):
    """The type of a column's values, any of which may be absent."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: its kind, its unit ("" where it has none), a heading, a line that explains it, its values."""

    kind: ColumnType
    heading: str
    about: str
    values: Callable[[Rows], list[Value]]
    unit: str = ""


def numbers(values: estimate.Floats) -> list[float | None]:
    """Floats, with None for numbers that were not measured and are not finite."""
    return [value if finite else None for value, finite in zip(values.tolist(), np.isfinite(values), strict=True)]


def _number(heading: str, about: str, of: Callable[[Rows], estimate.Floats], unit: str = "") -> Column:
    return Column(
        kind=ColumnType.NUMBER, heading=heading, about=about, unit=unit, values=lambda rows: [*numbers(of(rows))]
    )


def _count(heading: str, about: str, of: Callable[[Rows], list[int]], unit: str = "") -> Column:
    return Column(kind=ColumnType.INTEGER, heading=heading, about=about, unit=unit, values=lambda rows: [*of(rows)])


def _words(heading: str, about: str, of: Callable[[Rows], list[Value]]) -> Column:
    return Column(kind=ColumnType.TEXT, heading=heading, about=about, values=of)


def _text(heading: str, about: str, of: Callable[[Case], str | None]) -> Column:
    return Column(kind=ColumnType.TEXT, heading=heading, about=about, values=lambda rows: [of(c) for c in rows.cases])


def _integer(heading: str, about: str, of: Callable[[Case], int | None]) -> Column:
    return Column(
        kind=ColumnType.INTEGER, heading=heading, about=about, values=lambda rows: [of(c) for c in rows.cases]
    )


def _problem(heading: str, about: str, of: Callable[[Problem], int | None]) -> Column:
    return _integer(heading, about, lambda case: of(case.problem))


def _spatial(noun: str) -> dict[str, Column]:
    """A column for each spatial dimension of the input's or the kernel's size."""
    size = attrgetter(f"{noun}_size")

    def along(axis: int, dimension: str) -> Column:
        return _problem(f"{noun} {dimension}", f"{dimension} of the {noun}", lambda problem: size(problem)[axis])

    return {f"{noun}_{name}": along(axis, name) for axis, name in enumerate(DEFAULT_OPERATOR.dimensions)}


def _sides(heading: str, about: str, of: Callable[[Problem], tuple[int, ...] | str]) -> Column:
    def values(rows: Rows) -> list[Value]:
        found = [of(case.problem) for case in rows.cases]
        known = {sides: str(units.pair(sides)) for sides in set(found)}
        return [known[sides] for sides in found]

    return Column(kind=ColumnType.TEXT, heading=heading, about=about, values=values)


def _result(heading: str, about: str, of: Callable[[Result], str | None]) -> Column:
    return _words(heading, about, lambda rows: [of(result) if result else None for result in rows.results])


def _threads(rows: Rows) -> list[Value]:
    pairs = zip(rows.cases, rows.results, strict=True)
    return [(result and result.facts.threads) or case.threads for case, result in pairs]


def _over_roof(rows: Rows) -> list[Value]:
    ran = [result.facts.implementation if result else None for result in rows.results]
    found = zip(numbers(rows.efficiency), rows.limits.bound, ran, strict=True)
    return [metrics.over_roof(efficiency or 0.0, bound, implementation) for efficiency, bound, implementation in found]


def _fact(row: Fact, values: Callable[[Rows], list[Value]]) -> Column:
    return Column(kind=_KINDS[row.kind], heading=row.heading, about=row.about, unit=row.unit, values=values)


def _of_case(name: str) -> Callable[[Rows], list[Value]]:
    return lambda rows: [getattr(result.facts, name) if result else None for result in rows.results]


def _of_check(name: str) -> Callable[[Rows], list[Value]]:
    def values(rows: Rows) -> list[Value]:
        checks = [result.facts.check if result else None for result in rows.results]
        found = [getattr(check, name) if check else None for check in checks]
        return [(units.pair(value) or None) if isinstance(value, tuple) else value for value in found]

    return values


def _of_median_block(name: str) -> Callable[[Rows], list[Value]]:
    return lambda rows: [*numbers(rows.estimates.median_block[name])]


_KINDS: dict[type, ColumnType] = {
    **dict.fromkeys((str, tuple), ColumnType.TEXT),
    int: ColumnType.INTEGER,
    float: ColumnType.NUMBER,
    bool: ColumnType.BOOLEAN,
}
#: The columns of facts.
_FACTS: dict[str, Column] = {
    row.column or name: _fact(row, of(name))
    for of, rows in ((_of_check, CHECK_FACTS), (_of_case, CASE_FACTS), (_of_median_block, BLOCK_FACTS))
    for name, row in rows.items()
    if row.heading
}


def _facts(*names: str) -> dict[str, Column]:
    return {name: _FACTS[name] for name in names}


def _setting(name: str) -> Column:
    """The column of a setting by its row: numbers and booleans as they are, other values as text."""
    row = TABLE[name]
    read = attrgetter(f"problem.{name}" if name in PROBLEM_SETTINGS else name)

    def plain(rows: Rows) -> list[Value]:
        return [*map(read, rows.cases)]

    def words(rows: Rows) -> list[Value]:
        return [*map(str, map(read, rows.cases))]

    def tuples(rows: Rows) -> list[Value]:
        found = [*map(read, rows.cases)]
        known = {value: None if value is None else canonical(value) or None for value in set(found)}
        return [known[value] for value in found]

    if name == "threads":
        kind, values = ColumnType.INTEGER, _threads
    elif row.kind.truth:
        kind, values = ColumnType.BOOLEAN, plain
    elif row.kind.least is not None and not row.kind.spatial:
        kind, values = ColumnType.INTEGER, plain
    else:
        kind, values = ColumnType.TEXT, tuples if row.kind.spatial or row.kind.variables else words
    return Column(kind=kind, heading=row.heading, about=row.about, values=values)


def _settings(*names: str) -> dict[str, Column]:
    return {name: _setting(name) for name in names}


#: The columns of the CSV contract come first and in its order; the rest may grow.
COLUMNS: dict[str, Column] = {
    "case_id": _text("case", "short stable hash of the settings", lambda c: c.id),
    "label": _text("label", "the case in words, after the label that the sweep gives it", lambda c: c.label),
    "status": _result("status", "how the case ended; empty where no process has reached it", lambda r: r.status.value),
    "reason": _words(
        "reason", "why it did not pass", lambda r: [result.reason if result else NOT_REACHED for result in r.results]
    ),
    **_settings("direction", "batch_size", "in_channels", "out_channels"),
    **_spatial("input"),
    **_spatial("kernel"),
    **_settings("stride", "padding", "dilation", "groups", "bias", "padding_mode"),
    **_settings("dtype", "memory_format", "device", "threads"),
    "expected_output_shape": _sides(
        "expected output shape", "shape of the forward output by convbench's formula", lambda p: p.output_shape
    ),
    **_facts("output_shape", "max_error"),
    "floor_s": _number(
        "floor", "time of the code without disturbance: the lowest block minimum", lambda r: r.estimates.floor_s, "s"
    ),
    "typical_s": _number(
        "typical", "usual time on this machine: the median of blocks", lambda r: r.estimates.typical_s, "s"
    ),
    "spread": _number("spread", "highest time of a process over the lowest, minus 1", lambda r: r.estimates.spread),
    "support": _number("support", "share of blocks within 3 % of the time", lambda r: r.estimates.support),
    "processes": _count("processes", "fresh processes that timed it", lambda r: r.estimates.processes.tolist()),
    "blocks": _count("blocks", "blocks timed", lambda r: r.estimates.blocks.tolist()),
    "samples": _count("samples", "timed stretches in all blocks", lambda r: r.estimates.samples.tolist()),
    "flops": _count(
        "FLOPs",
        "operations of one iteration: 2 per multiply-add, without taps on zero padding",
        lambda r: r.flops,
        "FLOP",
    ),
    "bytes": _count(
        "bytes", "bytes of one iteration: every operand read once, every result written once", lambda r: r.bytes, "B"
    ),
    "tflops": _number("TFLOP/s", "operations per second at the time", lambda r: r.rates(r.flops) / 1e12, "TFLOP/s"),
    "gbps": _number("GB/s", "bytes per second at the time", lambda r: r.rates(r.bytes) / 1e9, "GB/s"),
    **_facts("page_faults", "implementation"),
    "stop_reason": _result("stopped by", "why no more blocks were measured", lambda r: r.stop_reason.value),
    "count": _integer("count", "times the layer occurs in the network", lambda c: c.count),
    # The CSV contract ends here.
    "name": _text("name", "the label given in the sweep", lambda c: c.given_label),
    **_settings("kernel_size", "input_size", "module", "allocator", "cache", "data", "autocast", "fp32_precision"),
    **_facts("resolved_precision"),
    **_settings("deterministic", "cudnn_benchmark", "env"),
    "parameters": _problem("parameters", "weights and biases", lambda p: p.parameters),
    **_facts("method", "timer", "note"),
    "repeats_within": _number(
        "repeats within",
        "the next run's time is within this ratio of this one in 9 of 10 runs",
        lambda r: r.repeats_within,
    ),
    **_facts("p95_s", "host_s"),
    "images_per_second": _number(
        "images/s",
        "images per second at the time",
        lambda r: r.rates([case.problem.images for case in r.cases]),
        "1/s",
    ),
    "attainable_s": _number(
        "attainable",
        "the shortest time that the measured roofs of this machine allow",
        lambda r: r.limits.attainable_s,
        "s",
    ),
    "efficiency": _number("efficiency", "attainable time over the time, as a ratio", lambda r: r.efficiency),
    "bound": _words(
        "nearer roof",
        "the roof that allows less, compute or memory; efficiency is the distance from it. "
        "It is launch where the host takes longer to launch the case than the device to run it",
        lambda r: [*r.bound],
    ),
    "over_roof": _words("over the roof", "why a case is faster than the roofs allow", _over_roof),
    "allocator_penalty": _number(
        "allocator cost",
        "how much longer it takes with the system's allocator, as a ratio",
        lambda r: r.allocator_penalty,
    ),
    "system_page_faults": _number(
        "system page faults",
        "minor page faults per iteration with the system's allocator",
        lambda r: estimate.estimate(r.system).median_block["page_faults"],
    ),
    "framework_overhead_s": _number(
        "overhead",
        "time of backward outside its kernels, in autograd; below zero is noise",
        lambda r: r.overhead_s,
        "s",
    ),
    **_facts("first_call_s", "peak_bytes", "reorder_share", "kernels"),
    "normalized_s": _number(
        "normalized",
        "time at this machine's reference speed, by the reference layers. It is a low quantile of the block minima, "
        "or on a device the median of the blocks",
        lambda r: r.related.normalized_s,
        "s",
    ),
    "noise": _number(
        "noise",
        "how many times slower the probe was around this case's blocks than at its fastest",
        lambda r: r.noise.of_case,
    ),
    "time_s": _number(
        "time",
        "the time that ranks the case: its floor, or on a device its typical time",
        lambda r: r.estimates.time_s,
        "s",
    ),
    "throttled_share": _number(
        "throttled",
        "share of blocks after which the device had lowered its clock for heat or power",
        lambda r: r.throttled.share,
    ),
    "leads": _text("time is the", "the figure that the time is: floor or median", lambda c: lead_of(c.device).value),
}

COLUMNS["host"] = _result(
    "measured on", "the host that measured it, where several hosts shared the cases of a run", lambda r: r.host
)
# The columns of new settings and facts come last, so the others keep their places.
COLUMNS |= _facts(*(name for name in _FACTS if name not in COLUMNS))
COLUMNS |= _settings(*(name for name in SETTINGS if name not in COLUMNS))

#: The first columns of every export, in this order: the CSV contract.
CONTRACT: tuple[str, ...] = tuple(COLUMNS)[: list(COLUMNS).index("count") + 1]


def columns(run: Run, *, rows: Rows | None = None) -> dict[str, list[Value]]:
    """Every column of the run's table of cases, one element per case, None where there is no value.

    `rows` are the run's, where the caller has them.
    """
    rows = Rows(run) if rows is None else rows
    return {name: column.values(rows) for name, column in COLUMNS.items()}


def in_64_bits(values: list[Value]) -> list[Value]:
    """Integers, with None for those over 64 bits: the work of a layer that is too large to run."""
    return [value if not isinstance(value, int) or value.bit_length() < 64 else None for value in values]
