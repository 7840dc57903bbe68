"""Plain tables of a page: names, which may link to cases, and texts (templates/tables.html.j2)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of a table: its name, which may link to a case, its figures, and a text behind them."""

    name: str
    cells: tuple[str, ...]
    case_id: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table. `heads` has the name of the rows first; `text` is the heading of the rows' texts, "" without them."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[Row, ...]
    text: str = ""
