"""The tables of the report: columns, units and cells as text. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import pandas as pd

from convbench import units
from convbench.analysis.table.columns import COLUMNS, ColumnType
from convbench.model.case import SETTINGS
from convbench.model.lead import leading_word
from convbench.model.result import Run, Status

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

    A column that is not `shown` is hidden at first. `signed` numbers are changes and have a plus sign. A column that is
    not `printed` is left out on paper, where the table would be too wide.
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
    printed: bool = True
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


#: The first columns, in this order. Then come swept settings, then `_FIGURES`, then hidden columns.
_LEADING = ("label", "status", "count", "floor_s", "typical_s", "spread", "tflops", "efficiency", "bound")
#: The times among them by what leads, the leading one first.
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
    "implementation",
)
#: The columns that are shown at first and printed. Settings are not printed, as the case's name has them.
_PRINTED = frozenset({*_LEADING, *_TIMES["time"], "support", "max_error", "implementation"})
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
    times = [name for name in _LEADING if name not in _TIMES["floor"]]
    times[_LEADING.index("floor_s") : _LEADING.index("floor_s")] = _TIMES[lead]
    leading = [name for name in times if name != "count" or (frame["count"] > 1).any()]
    shown = [name for name in dict.fromkeys((*leading, *swept, *_FIGURES)) if frame[name].notna().any()]
    shown = [name for name in shown if name not in ("efficiency", "bound") or frame["efficiency"].notna().any()]
    rest = [name for name in COLUMNS if name not in shown and frame[name].notna().any()]
    columns = [_column(name, scale, setting=name in swept, lead=lead) for name in shown]
    return (*columns, *(_column(name, scale, shown=False, lead=lead) for name in rest))


def left_on_screen(columns: tuple[TableColumn, ...]) -> str:
    """The columns that the printed table leaves out, in words; "" where there are none."""
    unprinted = [column for column in columns if column.shown and not column.printed]
    figures = [column.heading for column in unprinted if column.name not in SETTINGS]
    settings = "the settings, which each case's name has" if len(figures) < len(unprinted) else ""
    return ", ".join(part for part in (settings, *figures) if part)


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
        printed=name in _PRINTED or not shown,
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
