"""Data for the report's pictures, computed from the table of cases. The scripts in static/ draw them. Pure.

The reader chooses what a picture shows, so the page computes it from the columns. This module computes the order of
each setting's values, the roofs, and the tables of numbers for readers without scripts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from convbench import units
from convbench.analysis.findings.contrasts import Contrast
from convbench.analysis.findings.effects import WORK
from convbench.analysis.findings.evidence import Evidence, number
from convbench.analysis.findings.pairs import AsWritten, Matched, matched
from convbench.analysis.table.roofs import ComputeRoof, highest
from convbench.model.case import Case, canonical
from convbench.model.problem import PaddingWord
from convbench.model.result import Run
from convbench.model.settings import SETTINGS, TABLE
from convbench.report.pages.rendering import begun

#: Values whose largest is so many times the smallest get a logarithmic axis.
LOG_RANGE = 8
#: A setting of more words than this has no table of numbers: nobody would read it.
MOST_VALUES = 40
#: Rows of a table of numbers at most; of more values some are left out.
MOST_ROWS = 24
_NO_WORDS: Mapping[str, AsWritten] = {}


class Scale(StrEnum):
    """The kind of an axis."""

    LINEAR = "linear"
    LOG = "log"
    WORDS = "words"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotAxis:
    """A swept setting: its different values in the order of pictures.

    `places` are their coordinates on an axis of `scale`, and `texts` their labels. `codes` is the position of each
    case's value among them, with the shape (cases of the frame,). `written` are the same codes, with one more code for
    the word that a sweep writes instead of numbers, as `half`. It is None where the sweep writes numbers. `effect` is
    how much the setting changes the time, as a logarithm.
    """

    name: str
    title: str
    scale: Scale
    places: tuple[float, ...]
    texts: tuple[str, ...]
    codes: NDArray[np.int32]
    written: NDArray[np.int32] | None = None
    effect: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """The geometric mean of the times of the layers measured at every value of a setting, by direction.

    `rows` are (value, a time for each direction). A time is a dash if no layer was measured at every value.
    """

    axis: str
    title: str
    summary: str
    directions: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """The roofs of one kind of worker: FLOP/s of one dtype, and bytes/s by the bytes a copy touches."""

    name: str
    flops_per_s: float
    copies: tuple[tuple[int, float], ...]


def axes(
    frame: pd.DataFrame, words: Mapping[str, AsWritten] = _NO_WORDS, contrasts: Sequence[Contrast] = ()
) -> tuple[PlotAxis, ...]:
    """The settings with more than one value among the cases of a frame, in the settings' order.

    `words` are those of the sweep for the same cases.
    """
    found = []
    for name in SETTINGS:
        codes, uniques = pd.factorize(frame[name], use_na_sentinel=False)
        if len(uniques) < 2:
            continue
        values = [None if pd.isna(value) else value for value in uniques]
        scale, order = _layout(values)
        place = np.empty(len(order), dtype=np.int32)
        place[order] = np.arange(len(order), dtype=np.int32)
        ordered = [values[position] for position in order]
        has_word = words[name].by_word & ~words[name].by_number if name in words else None
        found.append(
            PlotAxis(
                name=name,
                title=begun(TABLE[name].heading),
                scale=scale,
                places=tuple(float(i) if scale is Scale.WORDS else number(v) for i, v in enumerate(ordered)),
                texts=tuple(value_text(value, name) for value in ordered),
                codes=place[codes],
                written=None if has_word is None else np.where(has_word, np.int32(len(order)), place[codes]),
                effect=max((each.effect for each in contrasts if each.axis == name), default=0.0),
            )
        )
    return tuple(found)


def numbers(evidence: Evidence, axes: Sequence[PlotAxis]) -> tuple[Numbers, ...]:
    """A table of numbers for each setting where some layer was measured at every value.

    They leave out what findings leave out: cases whose threads waited for cores.
    """
    return tuple(table for axis in axes if (table := _numbers(evidence, axis)) is not None)


def _numbers(evidence: Evidence, axis: PlotAxis) -> Numbers | None:
    if axis.scale is Scale.WORDS and len(axis.texts) > MOST_VALUES:
        return None
    panels = tuple(_panels(evidence.pairs, axis, axis.codes[evidence.comparer.rows]))
    if not any(panel.layers for panel in panels):
        return None
    rows = _thin(range(len(axis.texts)), MOST_ROWS)
    return Numbers(
        axis=axis.name,
        title=axis.title,
        summary=_summary(axis, panels),
        directions=tuple(panel.title for panel in panels),
        rows=tuple(
            (axis.texts[i], tuple(units.seconds(panel.middle[i]) if panel.middle else "-" for panel in panels))
            for i in rows
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Panel:
    """One direction: geometric means in seconds over the `layers` measured at every value."""

    title: str
    middle: tuple[float, ...]
    layers: int


def _panels(pairs: Matched, axis: PlotAxis, codes: NDArray[np.int32]) -> Iterator[_Panel]:
    """The panels of all directions; `codes` are the values of the rows of `pairs` along the axis."""
    rest = [name for name in pairs.codes if name != axis.name]
    points = pd.DataFrame(
        {
            "group": pairs.codes.groupby(rest, sort=False).ngroup().to_numpy(),
            "panel": 0 if axis.name == "direction" else pairs.codes["direction"].to_numpy(),
            "place": codes,
            "time": pairs.table["time_s"].to_numpy(dtype=float),
        }
    ).drop_duplicates(["group", "place"])
    directions = pairs.values["direction"]
    for code in sorted(set(points["panel"].tolist())):
        panel = points[points["panel"] == code]
        sizes = panel.groupby("group")["place"].transform("size")
        complete = panel[(sizes == len(axis.texts)).to_numpy()]
        middle = np.exp(np.log(complete["time"]).groupby(complete["place"]).mean())
        yield _Panel(
            title="all directions" if axis.name == "direction" else str(directions[code]),
            middle=tuple(float(value) for value in middle),
            layers=len(complete) // len(axis.texts),
        )


def _summary(axis: PlotAxis, panels: tuple[_Panel, ...]) -> str:
    """`From 1x1 to 5x5 a layer takes 8.1x as long forward (24 matched layers), 6.4x as long backward (24).`.

    Findings say how much a setting gains that leaves the work as it is, from the median: no mean says it again.
    """
    parts = []
    for panel in panels:
        if panel.layers:
            ratio = f"{units.ratio(panel.middle[-1] / panel.middle[0])} as long" if axis.name in WORK else "times"
            where = "" if panel.title == "all directions" else f" {panel.title}"
            parts.append(f"{ratio}{where} ({units.plural(panel.layers, 'matched layer')})")
    if axis.name not in WORK:
        return f"{begun(', '.join(parts))}."
    return f"From {axis.texts[0]} to {axis.texts[-1]} a layer takes {', '.join(parts)}, by the geometric mean."


def ranking_summary(frame: pd.DataFrame) -> str | None:
    """The range of the times of passed cases, in a sentence; None where none passed."""
    passed = matched(frame).table
    if passed.empty:
        return None
    times = passed["time_s"]
    span = f"from {units.seconds(times.min())} to {units.seconds(times.max())}" if len(passed) > 1 else ""
    ratio = float(np.median(passed["typical_s"] / passed["floor_s"]))
    summary = f"{units.plural(len(passed), 'case')} {span}".strip()
    return summary + f"; typically a case took {units.ratio(ratio)} as long as at its floor."


def roof_codes(run: Run, cases: Sequence[Case]) -> NDArray[np.int16]:
    """The position of each case's roof among `ceilings`, -1 where none was measured for it."""
    places = {key: place for place, key in enumerate(highest(run.processes).compute)}
    keys = (ComputeRoof(case.device, case.threads, str(case.fp32_precision), case.compute_dtype) for case in cases)
    return np.array([places.get(key, -1) for key in keys], dtype=np.int16)


def ceilings(run: Run) -> tuple[Ceiling, ...]:
    """The highest roofs of all processes, by dtype and kind of worker."""
    roofs = highest(run.processes)
    compute = roofs.compute
    several = {
        "device": len({key[0] for key in compute}) > 1,
        "threads": len({key[1] for key in compute}) > 1,
        "precision": len({key[2] for key in compute}) > 1,
    }
    return tuple(
        Ceiling(
            name=_ceiling_name(*key, several=several),
            flops_per_s=rate,
            copies=tuple(sorted(roofs.copies.get((key.device, key.threads), {}).items())),
        )
        for key, rate in compute.items()
    )


def _ceiling_name(device: str, threads: int | None, precision: str, dtype: str, *, several: dict[str, bool]) -> str:
    words = [dtype]
    words += [device] if several["device"] else []
    words += ["default threads" if threads is None else units.plural(threads, "thread")] if several["threads"] else []
    words += [f"fp32_precision {precision}"] if several["precision"] else []
    return ", ".join(words)


def _layout(values: Sequence[object]) -> tuple[Scale, list[int]]:
    """The scale of some values, and their positions in its order: numbers and squares by size."""
    sizes = [number(value) for value in values]
    if any(math.isnan(size) for size in sizes):
        return Scale.WORDS, sorted(range(len(values)), key=lambda i: _word_order(values[i], i))
    order = sorted(range(len(values)), key=lambda i: sizes[i])
    low, high = sizes[order[0]], sizes[order[-1]]
    return (Scale.LOG if low > 0 and high / low >= LOG_RANGE else Scale.LINEAR), order


def _word_order(value: Any, position: int) -> tuple[int, float]:
    """Absent first (unbatched before a batch), numbers and pairs by size, other words as swept."""
    if value is None or value == PaddingWord.VALID:
        return 0, 0.0
    if isinstance(value, str):
        sides = value.split("x")
        if all(side.isdecimal() for side in sides):
            return 1, float(math.prod(int(side) for side in sides))
        return 2, float(position)
    return 1, float(value)


def value_text(value: object, axis: str) -> str:
    """The value of a setting as pictures name it."""
    if value is None:
        return TABLE[axis].absent or ("none" if TABLE[axis].kind.variables else "default")
    if isinstance(value, bool | np.bool_):
        return canonical(bool(value))
    return str(value)


def _thin(items: Sequence[int], most: int) -> Sequence[int]:
    """At most so many of the items, evenly chosen, the first and the last among them."""
    if len(items) <= most:
        return items
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]
