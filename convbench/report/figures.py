"""What each figure of the report shows, computed from the table of cases; drawing is static/figures.js's. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import numpy as np
import pandas as pd

from convbench import units
from convbench.analysis.pairs import Matched, matched
from convbench.case import canonical
from convbench.problem import PaddingWord

T = TypeVar("T")

#: More lines than this in one panel hide each other; the bold line and the numbers are over all of them.
MOST_LINES = 80
#: More dots than this cost the browser more than they show.
MOST_DOTS = 1000
#: Values whose largest is so many times the smallest stand on a logarithmic axis.
LOG_RANGE = 8
#: More values than this are thinned in the numbers below a figure, and words beyond it are left out.
MOST_VALUES = 40


class Scale(StrEnum):
    """How the values of an axis are laid out."""

    LINEAR = "linear"
    LOG = "log"
    WORDS = "words"


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One direction of a figure.

    A line is a layer that was measured at several values, all else equal: (position in the figure's values, row of the
    frame) for each. `middle` is the geometric mean in seconds over the `layers` that were measured at every value.
    """

    title: str
    lines: tuple[tuple[tuple[int, int], ...], ...]
    middle: tuple[float, ...]
    layers: int
    total: int  # lines before thinning


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisFigure:
    """Time over one swept setting; `places` are where the values stand on the x axis, `texts` what they are called."""

    axis: str
    title: str
    summary: str
    scale: Scale
    places: tuple[float, ...]
    texts: tuple[str, ...]
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """All cases from the fastest to the slowest: rows of the frame, and how many there were before thinning."""

    rows: tuple[int, ...]
    total: int
    summary: str


def title(axis: str) -> str:
    """A setting's name as a heading: `kernel_size` -> `Kernel size`."""
    return axis.replace("_", " ").capitalize()


def ranking(frame: pd.DataFrame) -> Ranking | None:
    """Every case that passed by its floor; None where none did."""
    passed = matched(frame).table
    if passed.empty:
        return None
    rows = _rows(frame, passed)[np.argsort(passed["floor_s"].to_numpy(), kind="stable")].tolist()
    floors = passed["floor_s"]
    told = f"from {units.seconds(floors.min())} to {units.seconds(floors.max())}" if len(passed) > 1 else ""
    ratio = float(np.median(passed["typical_s"] / floors))
    summary = f"{units.plural(len(passed), 'case')} {told}".strip()
    summary += f"; typically a case took {units.percent(ratio - 1)} longer than its floor."
    return Ranking(rows=tuple(_thin(rows, MOST_DOTS)), total=len(passed), summary=summary)


def axis_figures(frame: pd.DataFrame) -> tuple[AxisFigure, ...]:
    """Time over each swept setting, in the settings' order; settings that no two cases differ in alone are left out."""
    pairs = matched(frame)
    rows = _rows(frame, pairs.table)
    return tuple(figure for axis in pairs.swept() if (figure := _axis_figure(pairs, rows, axis)) is not None)


def _axis_figure(pairs: Matched, rows: np.ndarray, axis: str) -> AxisFigure | None:
    scale, order = _layout(pairs.values[axis])
    values = [pairs.values[axis][position] for position in order]
    place = {code: position for position, code in enumerate(order)}
    panels = tuple(_panels(pairs, rows, axis, [place[code] for code in pairs.codes[axis]], len(values)))
    if not any(len(line) > 1 for panel in panels for line in panel.lines):
        return None
    if scale is Scale.WORDS and len(values) > MOST_VALUES:
        return None
    texts = tuple(_text(value, axis) for value in values)
    places = tuple(float(position) for position in range(len(values)))
    if scale is not Scale.WORDS:
        places = tuple(_size(value) for value in values)
    return AxisFigure(
        axis=axis,
        title=title(axis),
        summary=_summary(texts, panels),
        scale=scale,
        places=places,
        texts=texts,
        panels=panels,
    )


def _layout(values: Sequence[object]) -> tuple[Scale, list[int]]:
    """How values stand on the x axis, and their positions in that order: numbers and squares by size."""
    sizes = [_size(value) for value in values]
    if any(math.isnan(size) for size in sizes):
        return Scale.WORDS, sorted(range(len(values)), key=lambda i: _word_order(values[i], i))
    order = sorted(range(len(values)), key=lambda i: sizes[i])
    low, high = sizes[order[0]], sizes[order[-1]]
    return (Scale.LOG if low > 0 and high / low >= LOG_RANGE else Scale.LINEAR), order


def _size(value: object) -> float:
    """The number that a value is, NaN where it is none: 3 -> 3, "3x3" -> 3, "1x7" -> NaN."""
    if isinstance(value, str):
        sides = value.split("x")
        return float(sides[0]) if len(set(sides)) == 1 and sides[0].isdecimal() else math.nan
    if value is None or isinstance(value, bool | np.bool_):
        return math.nan
    return float(value)  # type: ignore[arg-type]  # an integer of pandas or numpy


def _word_order(value: object, position: int) -> tuple[int, float]:
    """Absent first (unbatched before a batch), numbers and pairs by size, other words as swept."""
    if value is None or value == PaddingWord.VALID:
        return 0, 0.0
    if isinstance(value, str):
        sides = value.split("x")
        if all(side.isdecimal() for side in sides):
            return 1, float(math.prod(int(side) for side in sides))
        return 2, float(position)
    return 1, float(value)  # type: ignore[arg-type]  # an integer or a boolean of numpy


def _text(value: object, axis: str) -> str:
    if value is None:
        return {"batch_size": "unbatched", "env": "none"}.get(axis, "default")
    if isinstance(value, bool | np.bool_):
        return canonical(bool(value))
    return str(value)


def _panels(pairs: Matched, rows: np.ndarray, axis: str, places: list[int], width: int) -> Iterator[Panel]:
    rest = [name for name in pairs.codes if name != axis]
    floors = pairs.table["floor_s"].to_numpy(dtype=float)
    points = pd.DataFrame(
        {
            "group": pairs.codes.groupby(rest, sort=False).ngroup().to_numpy(),
            "panel": 0 if axis == "direction" else pairs.codes["direction"].to_numpy(),
            "place": places,
            "row": rows,
            "floor": floors,
        }
    ).drop_duplicates(["group", "place"])
    points = points.sort_values(["panel", "group", "place"])
    for code in sorted(set(points["panel"].tolist())):
        panel = points[points["panel"] == code]
        sizes = panel.groupby("group")["place"].transform("size")
        complete = panel[(sizes == width).to_numpy()]
        middle = np.exp(np.log(complete["floor"]).groupby(complete["place"]).mean())
        several = panel[(sizes > 1).to_numpy()]
        lines = _lines(several if len(several) else panel)
        directions = pairs.values["direction"]
        yield Panel(
            title="all directions" if axis == "direction" and len(directions) > 1 else str(directions[code]),
            lines=tuple(_thin(lines, MOST_LINES)),
            middle=tuple(float(value) for value in middle),
            layers=len(complete) // width,
            total=len(lines),
        )


def _lines(points: pd.DataFrame) -> list[tuple[tuple[int, int], ...]]:
    """One line per group of the sorted points, the fastest group first, so that thinning keeps the whole range."""
    if points.empty:
        return []
    starts = np.flatnonzero(np.diff(points["group"].to_numpy(), prepend=-1))
    steps = list(zip(points["place"].tolist(), points["row"].tolist(), strict=True))
    ends = [*starts[1:].tolist(), len(steps)]
    lines = [tuple(steps[start:end]) for start, end in zip(starts.tolist(), ends, strict=True)]
    fastest = np.argsort(points["floor"].to_numpy()[starts], kind="stable")
    return [lines[position] for position in fastest]


def _thin(items: Sequence[T], most: int) -> Sequence[T]:
    """At most so many of the items, evenly chosen, the first and the last among them."""
    if len(items) <= most:
        return items
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]


def _rows(frame: pd.DataFrame, some: pd.DataFrame) -> np.ndarray:
    """Where the cases of `some` stand in the frame."""
    positions: np.ndarray = pd.Index(frame["case_id"]).get_indexer(pd.Index(some["case_id"]))
    return positions


def _summary(texts: tuple[str, ...], panels: tuple[Panel, ...]) -> str:
    """`From 1x1 to 5x5 a layer takes 8.1x as long forward (24 matched layers), 6.4x as long backward (24).`."""
    told = []
    for panel in panels:
        if panel.layers:
            ratio = units.ratio(panel.middle[-1] / panel.middle[0])
            where = "" if panel.title == "all directions" else f" {panel.title}"
            told.append(f"{ratio} as long{where} ({units.plural(panel.layers, 'matched layer')})")
    if not told:
        return f"From {texts[0]} to {texts[-1]}; no layer was measured at every value."
    return f"From {texts[0]} to {texts[-1]} a layer takes {', '.join(told)}, by the geometric mean."
