"""Prints a table of a bench's results."""

from __future__ import annotations

from collections.abc import Sequence


def show_table(heads: Sequence[str], cells: Sequence[Sequence[str]], *, markdown: bool) -> None:
    """Print rows of text below their heads, in columns or as markdown."""
    if markdown:
        print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
        print("\n".join("| " + " | ".join(row) + " |" for row in cells))
    else:
        widths = [max(len(row[i]) for row in [heads, *cells]) for i in range(len(heads))]
        for row in [heads, *cells]:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print()
