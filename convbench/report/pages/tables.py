"""The tables of the report: columns, units and cells as text. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from convbench import units
from convbench.analysis.table.columns import COLUMNS, ColumnType
from convbench.model.case import SETTINGS
from convbench.model.lead import leading_word
from convbench.model.result import UNMEASURED, WRONG, Run, Status

#: Text in the table where no process has reached the case.
NOT_REACHED = "not reached"

Cell = str | float | int | None


class DisplayKind(StrEnum):
    """How the page treats a column."""

    TEXT = "text"
    WORD = "word"  # few different values: the reader filters by choosing some
    NUMBER = "number"
    STATUS = "status"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableColumn:
    """One column of the table of cases. Numbers are shown times `factor`, in `unit`.

    A column that is not `shown` is hidden at first; a phone shows those that are `narrow`. `signed` numbers are changes
    and have a plus sign.
    """

    name: str
    heading: str
    about: str
    kind: DisplayKind
    unit: str = ""
    factor: float = 1.0
    significant: int | None = None
    decimals: int = 0
    shown: bool = True
    narrow: bool = False
    signed: bool = False

    def show(self, value: Cell) -> str:
        """A cell's text, as static/format.js writes it."""
        if value is None or isinstance(value, str):
            return value or ""
        text = units.number(value * self.factor, significant=self.significant, decimals=self.decimals)
        return f"+{text}" if self.signed and value >= 0 else text


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A case that did not pass, or a point that torch refuses, and why."""

    case_id: str
    label: str
    status: str
    reason: str


#: The columns that are shown at first, in this order: they fit into 1440 pixels and on paper. Hidden ones follow: swept
#: settings, which each case's name has, then `_FIGURES`, then all others.
_BEFORE_TIMES = ("label", "status", "count")
_AFTER_TIMES = ("spread", "tflops", "efficiency", "bound", "implementation")
#: The times between them by what leads, the leading one first.
_TIMES = {
    "floor": ("floor_s", "typical_s"),
    "median": ("typical_s", "floor_s"),
    "time": ("time_s", "leads", "floor_s", "typical_s"),
}
_FIGURES = (
    "support",
    "gbps",
    "max_error",
    "allocator_penalty",
    "framework_overhead_s",
    "first_call_s",
    "peak_bytes",
    "reorder_share",
)
#: Ratios that are shown as percent, with their decimals.
_PERCENT = {
    "spread": 1,
    "efficiency": 0,
    "support": 0,
    "allocator_penalty": 1,
    "reorder_share": 0,
    "repeats_within": 1,
}
#: Units that are shown as another unit: (factor, the unit shown).
_SCALED = {"FLOP": (1e-6, "MFLOP"), "B": (2**-20, "MiB"), "1/s": (1.0, "")}
_HEADINGS = {"label": "case", "status": "check"}
_ABOUT = {"status": "passed: shapes and values are right; imprecise: right, with less precision than requested"}
#: Figures that are shown with two digits.
_ROUGH = frozenset({"max_error", "framework_overhead_s", "first_call_s", "peak_bytes", "page_faults"})


def case_table(frame: pd.DataFrame) -> tuple[TableColumn, ...]:
    """The columns of the table of all cases, shown before hidden ones; columns without values are left out."""
    measured = frame["time_s"].dropna()
    lead = leading_word(frame["device"])
    scale = _Scale(
        time=units.time_unit(float(measured.median()) if len(measured) else 1.0),
        rate=(1.0, "TFLOP/s") if frame["tflops"].max() >= 1 else (1e3, "GFLOP/s"),
    )
    swept = [name for name in SETTINGS if frame[name].nunique(dropna=False) > 1]
    known = [name for name in COLUMNS if frame[name].notna().any()]
    known = [name for name in known if name not in ("efficiency", "bound") or frame["efficiency"].notna().any()]
    first = (*_BEFORE_TIMES, *_TIMES[lead], *_AFTER_TIMES)
    shown = [name for name in first if name in known and (name != "count" or (frame["count"] > 1).any())]
    order = dict.fromkeys((*shown, *swept, *_FIGURES, *known))
    return tuple(
        _column(name, scale, setting=name in swept, shown=name in shown, lead=lead) for name in order if name in known
    )


#: The order of cases by their status: what is wrong comes first, what did not run last.
_BY_STATUS = (*WRONG, Status.PASSED, *(status for status in Status if status in UNMEASURED), Status.SKIPPED)


def by_weight(frame: pd.DataFrame) -> NDArray[np.int32]:
    """The rows in the order of the table: wrong results, the most time (times count), what did not run."""
    places = {status.value: place for place, status in enumerate(_BY_STATUS)}
    rank = frame["status"].map(places).astype(float).fillna(len(places)).to_numpy()
    time = (frame["time_s"].astype(float) * frame["count"].astype(float)).fillna(0.0).to_numpy()
    return np.lexsort((-time, rank)).astype(np.int32)


def rows(frame: pd.DataFrame, columns: tuple[TableColumn, ...], most: int) -> list[list[tuple[TableColumn, str]]]:
    """The first rows as text, of the columns that are shown at first."""
    first = frame.head(most)
    texts = [[(c, c.show(value)) for value in _values(first[c.name], c)] for c in columns if c.shown]
    return [list(row) for row in zip(*texts, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    """The units for the run's numbers: (units in an SI unit, name)."""

    time: tuple[float, str]
    rate: tuple[float, str]


def _column(name: str, scale: _Scale, *, setting: bool = False, shown: bool = True, lead: str = "floor") -> TableColumn:
    known = COLUMNS[name]
    kind, factor, unit, significant, decimals = DisplayKind.TEXT, 1.0, known.unit, None, 0
    heading = "median" if name == "typical_s" and lead == "median" else _HEADINGS.get(name, known.heading)
    if known.kind in (ColumnType.INTEGER, ColumnType.NUMBER):
        kind = DisplayKind.NUMBER
        significant = {ColumnType.INTEGER: None, ColumnType.NUMBER: 2 if name in _ROUGH else 3}[known.kind]
    if name == "status":
        kind = DisplayKind.STATUS
    elif setting and kind is DisplayKind.TEXT:
        kind = DisplayKind.WORD
    elif known.unit == "s":
        factor, unit = scale.time
    elif name == "tflops":
        factor, heading = scale.rate
        unit = heading
    elif name in _PERCENT:
        factor, unit, significant, decimals = 100.0, "%", None, _PERCENT[name]
    elif known.unit in _SCALED:
        (factor, unit), significant = _SCALED[known.unit], 2 if name in _ROUGH else 3
    return TableColumn(
        name=name,
        heading=heading,
        about=_ABOUT.get(name, known.about),
        kind=kind,
        unit="" if unit == heading else unit,
        factor=factor,
        significant=significant,
        decimals=decimals,
        shown=shown,
        narrow=name in ("label", "status", _TIMES[lead][0]),  # what a phone shows
    )


def _values(series: pd.Series, column: TableColumn) -> list[Cell]:
    if column.kind is DisplayKind.STATUS:
        return [NOT_REACHED if pd.isna(value) else str(value).replace("_", " ") for value in series]
    return [
        None if pd.isna(value) else value if column.kind is DisplayKind.NUMBER else _word(value) for value in series
    ]


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
        Trouble(
            case_id=result.case.id,
            label=result.case.label,
            status=result.status.value.replace("_", " "),
            reason=result.reason or "",
        )
        for result in found
    ]


def refusals(run: Run) -> list[tuple[str, list[str]]]:
    """(reason, labels) of the points that torch refuses, the most frequent reason first."""
    labels: dict[str, list[str]] = {}
    for rejection in run.rejections:
        labels.setdefault(rejection.reason, []).append(rejection.label)
    return sorted(labels.items(), key=lambda item: -len(item[1]))
