"""What `convbench networks` prints. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from convbench import units
from convbench.report.text.tables import table


def networks_text(rows: Iterable[tuple[str, int, int, int, int, str]], columns: int | None = None) -> str:
    """A line for each network: name, layers, distinct layers, FLOPs of one forward pass, parameters, and its file."""
    lines = [
        (name, *map(units.count, numbers), units.si(flops, "FLOP"), units.si(parameters, "").strip(), path)
        for name, *numbers, flops, parameters, path in rows
    ]
    heads = ("network", "layers", "distinct", "forward", "parameters", "file")
    return table([heads, *lines], columns, right=(1, 2, 3, 4))
