"""A list that a page shows as csv, json or parquet. Pure: rows to bytes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence

from convbench.errors import ConvbenchError
from convbench.report.export import text_cell

#: What a cell of a list holds.
Cell = str | int | float | None


def listed(rows: Sequence[Mapping[str, Cell]], columns: Sequence[str], form: str) -> bytes:
    """The rows with these columns in the format `form`: csv, json or parquet.

    In csv a text that a spreadsheet would read as a formula gets an apostrophe before it, as in the export of a run.
    """
    cells = [[row[name] for name in columns] for row in rows]
    if form == "json":
        return json.dumps([dict(zip(columns, row, strict=True)) for row in cells]).encode() + b"\n"
    if form == "csv":
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([text_cell(value) if isinstance(value, str) else value for value in row] for row in cells)
        return text.getvalue().encode("utf-8", "replace")
    if form == "parquet":
        import pandas

        made = io.BytesIO()
        pandas.DataFrame(cells, columns=list(columns)).to_parquet(made, index=False)
        return made.getvalue()
    raise ConvbenchError(f"a list has no format {form}")
