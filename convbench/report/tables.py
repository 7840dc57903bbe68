"""The tables of the report: which columns, in which unit, with which values. Pure; cells are text ready to be shown."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import pandas as pd

from convbench import units
from convbench.analysis.columns import COLUMNS
from convbench.analysis.columns import Kind as Holds
from convbench.case import SETTINGS
from convbench.result import Run, Status

#: Digits of a figure in the data that the page embeds: more than any column shows, fewer than a float has.
EMBEDDED_DIGITS = 6

#: Text in the table where no pass has reached the case.
NOT_REACHED = "not reached"

Cell = str | float | int | None


class Kind(StrEnum):
    """How the page treats a column."""

    TEXT = "text"
    WORD = "word"  # few different values: filtered by choosing among them
    NUMBER = "number"
    STATUS = "status"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableColumn:
    """One column of the table of cases; numbers are shown times `factor`, in `unit`."""

    name: str
    heading: str
    about: str
    kind: Kind
    unit: str = ""
    factor: float = 1.0
    significant: int | None = None
    decimals: int = 0

    def show(self, value: Cell) -> str:
        """A cell's text, as static/format.js writes it."""
        if value is None or isinstance(value, str):
            return value or ""
        return units.number(value * self.factor, significant=self.significant, decimals=self.decimals)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseTable:
    """The table of all cases: columns, and the values of each by its name (numbers in SI units, None where absent).

    `values` holds the direction even where the table has no such column.
    """

    columns: tuple[TableColumn, ...]
    values: dict[str, list[Cell]]

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    def rows(self, most: int) -> list[list[tuple[TableColumn, str]]]:
        """The first rows as text."""
        shown = [[(c, c.show(value)) for value in self.values[c.name][:most]] for c in self.columns]
        return [list(row) for row in zip(*shown, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A case that did not pass, or a point that torch refuses, and why."""

    label: str
    status: str
    reason: str


def case_table(frame: pd.DataFrame) -> CaseTable:
    """All cases: label, status, figures, what the sweep varied, how it ran; what no case has is left out."""
    measured = frame["floor_s"].dropna()
    factor, unit = units.time_unit(float(measured.median()) if len(measured) else 1.0)
    swept = [name for name in SETTINGS if frame[name].nunique(dropna=False) > 1]
    roofs = [_column("efficiency", Kind.NUMBER, unit="%", factor=100), _column("bound", Kind.TEXT)]
    beside = [
        _column("allocator_penalty", Kind.NUMBER, unit="%", factor=100, decimals=1),
        _column("framework_overhead_s", Kind.NUMBER, unit=unit, factor=factor, significant=2),
        _column("first_call_s", Kind.NUMBER, unit=unit, factor=factor, significant=2),
        _column("peak_bytes", Kind.NUMBER, unit="MiB", factor=2**-20, significant=2),
        _column("reorder_share", Kind.NUMBER, unit="%", factor=100),
    ]
    columns = [
        _column("label", Kind.TEXT, heading="case"),
        _column("status", Kind.STATUS, heading="check", about="passed: shapes and values are right"),
        _column("floor_s", Kind.NUMBER, unit=unit, factor=factor, significant=3),
        _column("typical_s", Kind.NUMBER, unit=unit, factor=factor, significant=3),
        _column("spread", Kind.NUMBER, unit="%", factor=100, decimals=1),
        _column("tflops", Kind.NUMBER, significant=3),
        *(column for column in roofs if frame["efficiency"].notna().any()),
        *(_swept(name, frame) for name in swept),
        _column("support", Kind.NUMBER, unit="%", factor=100),
        _column("gbps", Kind.NUMBER, significant=3),
        _column("max_error", Kind.NUMBER, unit="roundoffs", significant=2),
        *(column for column in beside if frame[column.name].notna().any()),
        _column("implementation", Kind.TEXT),
    ]
    if (frame["count"] > 1).any():
        columns.insert(2, _column("count", Kind.NUMBER))
    values = {column.name: _values(frame[column.name], column) for column in columns}
    values.setdefault("direction", [str(value) for value in frame["direction"]])  # figures are coloured by it
    return CaseTable(columns=tuple(columns), values=values)


def _column(
    name: str,
    kind: Kind,
    *,
    heading: str | None = None,
    about: str | None = None,
    unit: str = "",
    factor: float = 1.0,
    significant: int | None = None,
    decimals: int = 0,
) -> TableColumn:
    known = COLUMNS[name]
    return TableColumn(
        name=name,
        heading=heading or known.heading,
        about=about or known.about,
        kind=kind,
        unit=unit,
        factor=factor,
        significant=significant,
        decimals=decimals,
    )


def _swept(name: str, frame: pd.DataFrame) -> TableColumn:
    number = COLUMNS[name].kind is Holds.INTEGER
    return _column(name, Kind.NUMBER if number else Kind.WORD, heading=name.replace("_", " "))


def _values(series: pd.Series, column: TableColumn) -> list[Cell]:
    if column.kind is Kind.STATUS:
        return [NOT_REACHED if pd.isna(value) else str(value).replace("_", " ") for value in series]
    if column.kind is Kind.NUMBER and series.dtype == "float64":
        return [None if pd.isna(value) else float(f"{value:.{EMBEDDED_DIGITS}g}") for value in series.tolist()]
    if column.kind is Kind.NUMBER:
        return [None if pd.isna(value) else int(value) for value in series]
    return [None if pd.isna(value) else _word(value) for value in series]


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def troubles(run: Run) -> list[Trouble]:
    """Cases that did not pass, wrong results first, in the sweep's order otherwise."""
    order = list(Status)
    found = sorted(
        (result for result in run.results if result.status is not Status.PASSED),
        key=lambda result: order.index(result.status),
    )
    return [
        Trouble(label=result.case.label, status=result.status.value.replace("_", " "), reason=result.reason or "")
        for result in found
    ]


def refusals(run: Run) -> list[tuple[str, list[str]]]:
    """(reason, labels) of the points that torch refuses, the most frequent reason first."""
    labels: dict[str, list[str]] = {}
    for rejection in run.rejections:
        labels.setdefault(rejection.reason, []).append(rejection.label)
    return sorted(labels.items(), key=lambda item: -len(item[1]))
