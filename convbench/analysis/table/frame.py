"""A run as a pandas DataFrame: one row per case, the columns of `columns.COLUMNS`."""

from __future__ import annotations

import pandas as pd

from convbench.analysis.table.columns import COLUMNS, ColumnType, Rows, columns, in_64_bits
from convbench.model.case import SETTINGS, setting
from convbench.model.result import Run

#: Types that can hold absent values without turning integers into floats.
DTYPES: dict[ColumnType, str] = {
    ColumnType.TEXT: "string",
    ColumnType.INTEGER: "Int64",
    ColumnType.NUMBER: "float64",
    ColumnType.BOOLEAN: "boolean",
}


def frame(run: Run, *, rows: Rows | None = None) -> pd.DataFrame:
    """One row per case in the sweep's order, cases that no process has reached last with an empty status.

    Columns are those of `COLUMNS` in their order. Times are seconds; an absent number is NaN, absent text and integers
    are <NA>. `rows` are the run's, where the caller has them.
    """
    series = {
        name: pd.Series(in_64_bits(values), dtype=DTYPES[COLUMNS[name].kind])
        for name, values in columns(run, rows=rows).items()
    }
    return pd.DataFrame(series)


def swept(run: Run) -> tuple[str, ...]:
    """The settings that take more than one value among the run's cases; each is a column of the frame by that name."""
    cases = [*(result.case for result in run.results), *run.unmeasured]
    return tuple(name for name in SETTINGS if len({setting(case, name) for case in cases}) > 1)
