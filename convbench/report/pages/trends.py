"""How each sweep's cases moved over its runs, for the page of all runs: a line, and a sentence for each step. Pure.

Trends are cached in the file beside the page. This module makes and reads their part of it, and validates every value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from convbench import units
from convbench.report.pages.rendering import begun, shortened, when

if TYPE_CHECKING:
    from convbench.analysis.history.history import Move, Trend

#: Sweeps on the page at most, runs of each, and steps of each that get a sentence; always the newest.
MOST_SWEEPS = 12
MOST_RUNS = 60
MOST_MOVES = 5
#: Characters of a sentence at most.
MOST_CHARACTERS = 500
#: Cases that a step's sentence names.
_NAMED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """One run of a line: the median time of its cases, over that of each case's first run here."""

    run_id: str
    started_at: str
    ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLine:
    """Steps of some cases at the run `run_id`, by the ratio of the median one, as a sentence."""

    run_id: str
    ratio: float
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A sweep's trend on one machine; `earlier` counts the steps without a sentence."""

    machine: str
    cases: int
    dots: tuple[Dot, ...]
    steps: tuple[StepLine, ...]
    earlier: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepTrend:
    """The lines of a sweep, and `of`: (run id, time of finishing) of each run they show, the newest first."""

    of: tuple[tuple[str, str], ...]
    lines: tuple[Line, ...]


def line(trend: Trend) -> Line:
    """A trend as the page shows it."""
    return Line(
        machine=shortened(str(trend.machine), MOST_CHARACTERS),
        cases=trend.cases,
        dots=tuple(
            Dot(run_id=moment.run.id, started_at=moment.run.started_at, ratio=moment.ratio) for moment in trend.moments
        ),
        steps=tuple(
            StepLine(
                run_id=move.steps[0].after.run.id,
                ratio=move.ratio,
                sentence=shortened(_sentence(move, trend.cases), MOST_CHARACTERS),
            )
            for move in trend.moves[:MOST_MOVES]
        ),
        earlier=len(trend.moves[MOST_MOVES:]),
    )


def _sentence(move: Move, cases: int) -> str:
    """`12 of 40 cases slower, +29.4 % (median), since 10 November 2026: torch 2.12.0 -> 2.13.0; ...`."""
    from convbench.analysis.history.history import differences_at
    from convbench.report.text.history import differences_text

    steps = move.steps
    size = units.change(move.ratio) + (" (median)" if len(steps) > 1 else "")
    way = "slower" if move.ratio > 1 else "faster"
    after = steps[0].after.run
    named = [f"{step.after.result.case.label} ({units.change(step.ratio)})" for step in steps[:_NAMED]]
    rest = [f"{units.count(len(steps) - _NAMED)} more"] if len(steps) > _NAMED else []
    return (
        f"{units.count(len(steps))} of {units.plural(cases, 'case')} {way}, {size}, since {_day(after.started_at)}: "
        f"{'; '.join(differences_text(differences_at(steps)))}. Most: {', '.join([*named, *rest])}."
    )


def to_json(sweeps: Mapping[str, SweepTrend]) -> dict[str, object]:
    """The sweeps' trends as JSON, by name."""
    return {
        name: {
            "of": [list(pair) for pair in sweep.of],
            "lines": [
                {
                    "machine": one.machine,
                    "cases": one.cases,
                    "dots": [[dot.run_id, dot.started_at, dot.ratio] for dot in one.dots],
                    "told": [[step.run_id, step.ratio, step.sentence] for step in one.steps],
                    "earlier": one.earlier,
                }
                for one in sweep.lines
            ],
        }
        for name, sweep in sweeps.items()
    }


def from_json(document: object) -> dict[str, SweepTrend]:
    """The trends in a document by `to_json`, without invalid ones."""
    if not isinstance(document, dict):
        return {}
    found = {name: _sweep(fields) for name, fields in document.items()}
    return {name: sweep for name, sweep in found.items() if sweep is not None}


def _sweep(fields: object) -> SweepTrend | None:
    if not isinstance(fields, dict) or not isinstance(fields.get("of"), list):
        return None
    of, kept = fields["of"], fields.get("lines")
    if not all(_is(pair, str, str) for pair in of) or not isinstance(kept, list):
        return None
    lines = [_line(one) for one in kept]
    whole = [one for one in lines if one is not None]
    if len(whole) < len(lines):
        return None
    return SweepTrend(of=tuple((run_id, finished_at) for run_id, finished_at in of), lines=tuple(whole))


def _line(document: object) -> Line | None:
    if not isinstance(document, dict):
        return None
    values: list[Any] = [document.get(name) for name in ("machine", "cases", "earlier", "dots", "told")]
    if not _is(values, str, int, int, list, list):
        return None
    machine, cases, earlier, dots, steps = values
    if not all(_is(dot, str, str, float) for dot in dots) or not all(_is(one, str, float, str) for one in steps):
        return None
    ratios = [*(dot[2] for dot in dots), *(one[1] for one in steps)]
    if len(dots) < 2 or not all(math.isfinite(ratio) and ratio > 0 for ratio in ratios):
        return None
    return Line(
        machine=shortened(machine, MOST_CHARACTERS),
        cases=cases,
        dots=tuple(Dot(run_id=run_id, started_at=at, ratio=ratio) for run_id, at, ratio in dots[-MOST_RUNS:]),
        steps=tuple(
            StepLine(run_id=run_id, ratio=ratio, sentence=shortened(text, MOST_CHARACTERS))
            for run_id, ratio, text in steps[:MOST_MOVES]
        ),
        earlier=earlier,
    )


def _is(values: object, *kinds: type) -> bool:
    """Whether it is a list of values of exactly these types."""
    return isinstance(values, list) and [type(value) for value in values] == list(kinds)


#: The size of a line's picture in its own units, and the margin around the dots.
WIDTH, HEIGHT = 320, 64
_SIDE = 8
#: The scale covers at least this change either way, as a ratio minus 1, so that noise looks small.
_LEAST = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """One run's place in the picture, its title, and the link to its report or None."""

    x: str
    y: str
    title: str
    href: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A step's place, between its two runs, and whether it is `slower` or `faster`."""

    x: str
    mood: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LineView:
    """One line as ready strings. `moves` are (mood, link or None, sentence); `first_y` is the position of no change."""

    machine: str
    summary: str
    points: str
    spots: list[Spot]
    marks: list[Mark]
    first_y: str
    top: str
    bottom: str
    moves: list[tuple[str, str | None, str]]
    earlier: str


def shown(one: Line, hrefs: Mapping[str, str]) -> LineView:
    """A line for the page; `hrefs` are the reports of runs that have one."""
    logs = [math.log(dot.ratio) for dot in one.dots]
    high = max(*logs, math.log1p(_LEAST))
    low = min(*logs, -math.log1p(_LEAST))

    def x(place: float) -> str:
        return f"{_SIDE + place * (WIDTH - 2 * _SIDE) / (len(logs) - 1):.1f}"

    def y(value: float) -> str:
        return f"{_SIDE + (high - value) / (high - low) * (HEIGHT - 2 * _SIDE):.1f}"

    spots = [
        Spot(
            x=x(place),
            y=y(value),
            title=f"{when(dot.started_at)}, run {dot.run_id}: {units.change(dot.ratio)}",
            href=hrefs.get(dot.run_id),
        )
        for place, (dot, value) in enumerate(zip(one.dots, logs, strict=True))
    ]
    between = {after.run_id: place + 0.5 for place, (_, after) in enumerate(pairwise(one.dots))}
    return LineView(
        machine=one.machine,
        summary=_summary(one),
        points=" ".join(f"{spot.x},{spot.y}" for spot in spots),
        spots=spots,
        marks=[Mark(x=x(between[step.run_id]), mood=_mood(step)) for step in one.steps if step.run_id in between],
        first_y=y(0.0),
        top=units.change(math.exp(high)),
        bottom=units.change(math.exp(low)),
        moves=[(_mood(step), hrefs.get(step.run_id), begun(step.sentence)) for step in one.steps],
        earlier=f"And {units.plural(one.earlier, 'earlier step')}." if one.earlier else "",
    )


def _summary(one: Line) -> str:
    first, last = one.dots[0], one.dots[-1]
    days = _day(first.started_at), _day(last.started_at)
    no_steps = "" if one.steps else f" {begun(no_step(len(one.dots)))}."
    return (
        f"{units.plural(one.cases, 'case')} in {units.plural(len(one.dots), 'run')} "
        f"{'on ' + days[0] if days[0] == days[1] else f'from {days[0]} to {days[1]}'}; "
        f"median time {units.change(last.ratio)} against the first run.{no_steps}"
    )


#: The fewest runs with a step: two levels of three runs each (analysis/history/steps.py).
_FEWEST_RUNS = 6


def no_step(runs: int) -> str:
    """Why there is no step in so many runs."""
    return "no step was detected" if runs >= _FEWEST_RUNS else "it takes six runs to detect a step"


def _day(moment: str) -> str:
    """`24 November 2026`."""
    return when(moment).partition(",")[0]


def _mood(step: StepLine) -> str:
    return "slower" if step.ratio > 1 else "faster"
