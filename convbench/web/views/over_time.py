"""The pages of what moved over time as views: a layer, the changes since a day, a machine's noise as a line."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from convbench import units
from convbench.actions.over_time import Change, LayerHistory, LayerPoint, LayerSeries, LayerStep
from convbench.report.pages.rendering import left_out, shortened, when
from convbench.report.pages.trends import no_step
from convbench.store.listing import EndedRun

#: The size of a layer's picture and of a machine's line in their own units, and the margin around the dots.
LAYER_SIZE, NOISE_SIZE = (960, 200), (200, 40)
_SIDE = 8.0
#: The scale covers at least this change either way, as a ratio minus 1, so that noise looks small.
_LEAST = 0.05
#: Runs in the pictures and tables of a layer, the newest of each machine: 200 make 150 kB.
MOST_POINTS = 200
#: Layers and differences that a change names in its row, characters of a name or label there, and those of a commit.
_NAMED, _DIFFERENCES, _CHARACTERS, _COMMIT = 3, 8, 160, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A run's place in a picture, its title, and its id."""

    x: str
    y: str
    title: str
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Dots of a line from left to right; `marks` are (x, mood) of steps, and the scale goes from `bottom` to `top`."""

    points: str
    spots: Sequence[Spot]
    marks: Sequence[tuple[str, str]]
    top: str
    bottom: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PointRow:
    """A run of a layer in a table; `mood` is slower or faster where a step begins with it."""

    run_id: str
    when: str
    sweep: str
    host: str
    commit: str
    branch: str
    torch: str
    time: str
    change: str
    note: str
    mood: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """A step as a sentence, with the runs on either side."""

    mood: str
    sentence: str
    base: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesView:
    """A layer on one machine. `picture` is None where fewer than two runs can be compared."""

    id: str
    machine: str
    summary: str
    picture: Picture | None
    steps: Sequence[StepRow]
    points: Sequence[PointRow]
    older: str
    note: str


def layer(history: LayerHistory) -> list[SeriesView]:
    """A layer on each machine, the one with the newest run first."""
    ordered = sorted(history.series, key=lambda one: one.points[-1].started_at, reverse=True)
    most = max(2, MOST_POINTS // len(ordered))
    return [_series(one, history.figure, most) for one in ordered]


def _series(series: LayerSeries, figure: str, most: int) -> SeriesView:
    judged = [point for point in series.points if point.judged]
    shown = series.points[-most:]
    moods = {step.new_run_id: _mood(step.ratio) for step in series.steps}
    over = f"{units.plural(series.blocks, 'block')} of {units.plural(series.processes, 'process', 'processes')}"
    return SeriesView(
        id=series.machine_id,
        machine=series.machine,
        summary=_summary(series, judged),
        picture=_picture(judged[-most:], moods) if len(judged) > 1 else None,
        steps=[_step(step) for step in reversed(series.steps)],
        points=list(reversed(_rows(shown, moods))),
        older=left_out(len(series.points), len(shown), "run"),
        note=f"Each {figure} is over {over}." if judged else "",
    )


def _summary(series: LayerSeries, judged: Sequence[LayerPoint]) -> str:
    """`30 runs from 1 November 2026 to 30 November 2026; 1.00 ms at first, 1.30 ms now.`."""
    first, last = series.points[0].started_at, series.points[-1].started_at
    days = [when(at).partition(",")[0] for at in (first, last)]
    text = f"{units.plural(len(series.points), 'run')} "
    text += f"on {days[0]}" if days[0] == days[1] else f"from {days[0]} to {days[1]}"
    if len(judged) > 1 and judged[0].time_s and judged[-1].time_s:
        change = units.change(judged[-1].time_s / judged[0].time_s)
        text += f"; {units.seconds(judged[0].time_s)} at first, {units.seconds(judged[-1].time_s)} now ({change})"
    return f"{text}." if series.steps else f"{text}; {no_step(len(judged))}."


def _picture(points: Sequence[LayerPoint], moods: Mapping[str, str]) -> Picture:
    logs = [math.log(point.time_s or 1.0) for point in points]
    middle = (min(logs) + max(logs)) / 2
    reach = max((max(logs) - min(logs)) / 2, math.log1p(_LEAST))
    low, high = middle - reach, middle + reach
    places = _places([(value - low) / (high - low) for value in logs], LAYER_SIZE)
    spots = [
        Spot(
            x=x, y=y, title=f"{when(one.started_at)}, run {one.run_id}: {units.seconds(one.time_s)}", run_id=one.run_id
        )
        for one, (x, y) in zip(points, places, strict=True)
    ]
    step = (LAYER_SIZE[0] - 2 * _SIDE) / (len(points) - 1)
    marks = [
        (f"{_SIDE + (place - 0.5) * step:.1f}", moods[one.run_id])
        for place, one in enumerate(points)
        if one.run_id in moods and place
    ]
    return Picture(
        points=" ".join(f"{x},{y}" for x, y in places),
        spots=spots,
        marks=marks,
        top=units.seconds(math.exp(high)),
        bottom=units.seconds(math.exp(low)),
    )


def _title(started_at: str, run_id: str, figure: str) -> str:
    return f"{when(started_at)}, run {run_id}: {figure}"


def _places(shares: Sequence[float], size: tuple[int, int]) -> list[tuple[str, str]]:
    """(x, y) of values from 0, at the bottom, to 1."""
    across, down = size
    between = (across - 2 * _SIDE) / max(1, len(shares) - 1)
    return [
        (f"{_SIDE + place * between:.1f}", f"{_SIDE + (1 - value) * (down - 2 * _SIDE):.1f}")
        for place, value in enumerate(shares)
    ]


def _rows(points: Sequence[LayerPoint], moods: Mapping[str, str]) -> list[PointRow]:
    rows, before = list[PointRow](), None
    for point in points:
        change = ""
        if point.judged and point.time_s is not None:
            change = units.change(point.time_s / before) if before else ""
            before = point.time_s
        rows.append(
            PointRow(
                run_id=point.run_id,
                when=when(point.started_at),
                sweep=_short(point.sweep),
                host=point.host,
                commit=(point.commit or "")[:_COMMIT],
                branch=point.branch or "",
                torch=point.torch,
                time=units.seconds(point.time_s) if point.time_s is not None else point.status,
                change=change,
                note=_note(point),
                mood=moods.get(point.run_id, ""),
            )
        )
    return rows


def _note(point: LayerPoint) -> str:
    """Why a run is not compared."""
    if point.judged:
        return ""
    return "too few blocks to compare with the others" if point.time_s is not None else point.reason or "no blocks"


def _step(step: LayerStep) -> StepRow:
    size, times = units.change(step.ratio), f"{units.seconds(step.base_s)} -> {units.seconds(step.new_s)}"
    runs = f"median of {units.count(step.base_runs)} and of {units.plural(step.new_runs, 'run')}"
    changed = "; ".join(step.differences or ("no other difference is known",))
    return StepRow(
        mood=_mood(step.ratio),
        sentence=f"{size} since {when(step.at)}: {times}, {runs}; {changed}.",
        base=step.base_run_id,
        new=step.new_run_id,
    )


def _mood(ratio: float) -> str:
    return "slower" if ratio > 1 else "faster"


def _short(name: str) -> str:
    return shortened(name, _CHARACTERS) or "without a name"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRow:
    """A change in a table. `layers` are (id, label, change) of those that moved most."""

    size: str
    mood: str
    sweep: str
    cases: str
    machine: str
    when: str
    base: str
    new: str
    differences: Sequence[str]
    layers: Sequence[tuple[str, str, str]]
    more: str


def change(one: Change) -> ChangeRow:
    """A change as a row."""
    differences = [shortened(text, _CHARACTERS) for text in one.differences[:_DIFFERENCES]]
    if rest := left_out(len(one.differences), _DIFFERENCES, "difference"):
        differences.append(rest)
    return ChangeRow(
        size=units.change(one.ratio),
        mood=_mood(one.ratio),
        sweep=_short(one.sweep),
        cases=f"{units.count(one.stepped)} of {units.plural(one.cases, 'case')}",
        machine=one.machine,
        when=when(one.new_at),
        base=one.base_run_id,
        new=one.new_run_id,
        differences=differences or ("no other difference is known",),
        layers=[
            (layer.case_id, shortened(layer.label, _CHARACTERS), units.change(layer.ratio))
            for layer in one.layers[:_NAMED]
        ],
        more=left_out(one.stepped, min(_NAMED, len(one.layers)), "case"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseLine:
    """The noise of a machine as a small picture: a text that says it, and the number of runs not read yet."""

    picture: Picture | None
    text: str


def noise(runs: Sequence[tuple[EndedRun, float | None]]) -> NoiseLine:
    """A machine's noise over its newest runs, the oldest first."""
    known = [(run, value) for run, value in runs if value is not None]
    if not known:
        return NoiseLine(picture=None, text="")
    values = [value for _, value in known]
    text = f"{units.apart(values[-1])} in the last of {units.plural(len(values), 'run')}"
    if len(values) == 1:
        return NoiseLine(picture=None, text=text)
    high = max(*values, _LEAST)
    places = _places([value / high for value in values], NOISE_SIZE)
    spots = [
        Spot(x=x, y=y, title=_title(run.started_at, run.run_id, units.apart(value)), run_id=run.run_id)
        for (run, value), (x, y) in zip(known, places, strict=True)
    ]
    text += f", {units.apart(min(values))} to {units.apart(max(values))}"
    return NoiseLine(
        picture=Picture(
            points=" ".join(f"{x},{y}" for x, y in places),
            spots=spots,
            marks=(),
            top=units.apart(high),
            bottom=units.percent(0.0),
        ),
        text=text,
    )


def query(**given: str | None) -> str:
    """A link's query of what is given."""
    return f"?{urlencode({name: value for name, value in given.items() if value})}"
