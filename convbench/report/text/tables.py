"""Tables of plain text that fit a terminal: a last column is wrapped, and what stays too wide becomes lines. Pure."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Sequence

from convbench.units import flat

#: The narrowest last column that is wrapped, in characters.
LEAST_ROOM = 16
#: A number and its unit, a figure and its sign: a blank inside them is no place to break a line.
_TIED = re.compile(r"(?<=[\d)]) (?=(?:[num]?s|%|[kMGT]?FLOP(?:/s)?|[KMGT]i?B|GB/s|min|h)\b|%|\()|(?<=[+-]) (?=\d)")
_TIE = "\0"


def table(rows: Sequence[tuple[str, ...]], columns: int | None = None, *, right: Collection[int] = ()) -> str:
    """Rows of equally many cells as columns, two spaces apart, the heads first; a cell's text is on one line.

    The columns in `right` are aligned at the right. No line is longer than `columns`: the last cell is wrapped. Where
    little room is left for it, each row becomes lines of its own, and no line breaks between a number and its unit.
    """
    rows = [tuple(flat(cell) for cell in row) for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    before = sum(widths[:-1]) + 2 * (len(widths) - 1)
    if columns is not None and before + widths[-1] > columns and columns - before < LEAST_ROOM:
        return "\n".join(_stacked(rows[0], row, columns) for row in rows[1:])
    lines = []
    for row in rows:
        cells = zip(row[:-1], widths[:-1], range(len(row)), strict=False)
        start = "".join(f"{cell.rjust(width) if at in right else cell.ljust(width)}  " for cell, width, at in cells)
        lines.append(folded(start + row[-1], columns, indent=before, start=start).rstrip())
    return "\n".join(lines)


def _stacked(heads: tuple[str, ...], row: tuple[str, ...], columns: int) -> str:
    """The first cell, and below it the others with their heads."""
    named = [f"{head} {cell}".strip() for head, cell in zip(heads[1:], row[1:], strict=True) if cell]
    others = [one.replace(" ", _TIE) if len(one) < columns - 2 else one for one in named]
    return "\n".join([folded(row[0], columns, indent=2), *_wrapped(", ".join(others), columns, "  ")])


def folded(text: str, columns: int | None, *, indent: int = 2, start: str = "") -> str:
    """The text with each line that is too long wrapped at blanks; further lines begin with `indent` blanks.

    `start` begins the text and is kept as it is.
    """
    if columns is None:
        return text
    lines = []
    for line in text.split("\n"):
        kept = start if line.startswith(start) else ""
        tied = kept.replace(" ", _TIE) + _TIED.sub(_TIE, line[len(kept) :])
        lines += _wrapped(tied, columns, " " * indent, first="") if len(line) > columns else [line]
    return "\n".join(lines)


def _wrapped(text: str, columns: int, indent: str, *, first: str | None = None) -> list[str]:
    wrapped = textwrap.wrap(
        text,
        max(columns, len(indent) + 1),
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )
    return [line.replace(_TIE, " ") for line in wrapped]
