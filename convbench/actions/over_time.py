"""How stored runs moved over time, as plain values: the history of a layer, the changes of a sweep, the noise of a run.

Each function opens the database itself, so that a process beside a service can call it.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from convbench import sweep as sweeps
from convbench.errors import RequestError
from convbench.model.lead import leading_word
from convbench.model.result import Run

if TYPE_CHECKING:
    from convbench.analysis.history.history import Move, Point, Series, Step, Trend

#: Layers that a change names, the ones that moved most.
MOST_LAYERS = 20
#: How many runs apart two cases may step and count as one change: noise may move a step by a run.
_APART = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerPoint:
    """One run of a layer. `time_s` is None where it did not pass; steps are searched in `judged` points alone."""

    run_id: str
    sweep: str
    started_at: str
    host: str
    torch: str
    commit: str | None
    branch: str | None
    status: str
    reason: str | None
    time_s: float | None
    judged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerStep:
    """A lasting change of a layer between two runs; times are medians over the runs on either side, seconds.

    `differences` say what else changed there.
    """

    base_run_id: str
    new_run_id: str
    at: str
    ratio: float
    base_s: float
    new_s: float
    base_runs: int
    new_runs: int
    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSeries:
    """A layer on one machine, the oldest run first. `threshold` is the smallest step, a ratio minus 1.

    Judged times are over `processes` processes, and `blocks` blocks in all.
    """

    machine: str
    machine_id: str
    threshold: float
    processes: int
    blocks: int
    points: tuple[LayerPoint, ...]
    steps: tuple[LayerStep, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerHistory:
    """A layer over all runs that measured it, by machine. `figure` is what its time is: floor or median."""

    case_id: str
    label: str
    figure: str
    series: tuple[LayerSeries, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedLayer:
    """A layer of a change: its times are medians over the runs on either side, seconds."""

    case_id: str
    label: str
    ratio: float
    base_s: float
    new_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Steps of some cases of a sweep on one machine, in one direction, at one run or the run beside it.

    `ratio` is the median of the `stepped` cases out of `cases`. `layers` are those that moved most.
    """

    sweep: str
    machine: str
    machine_id: str
    ratio: float
    stepped: int
    cases: int
    base_run_id: str
    base_at: str
    new_run_id: str
    new_at: str
    differences: tuple[str, ...]
    layers: tuple[MovedLayer, ...]


def prepare() -> None:
    """Load what a history needs, which takes a second or two."""
    from convbench.analysis.history.steps import levels

    for name in ("convbench.actions.read", "convbench.analysis.history.history", "convbench.store"):
        importlib.import_module(name)
    levels((1.0, 1.0, 1.0, 2.0, 2.0, 2.0), 0.05)  # a step, so that the search is loaded


def layer(case_id: str, db: str | None = None) -> LayerHistory:
    """The history of the case with this id, or the only one that begins with it.

    Raises RunNotFoundError where there is none.
    """
    from convbench.actions.read import history

    series = history(case_id, db=db)
    case = series[-1].case
    return LayerHistory(
        case_id=case.id,
        label=case.label,
        figure=leading_word([case.device]),
        series=tuple(_series(one) for one in series),
    )


def _series(series: Series) -> LayerSeries:
    return LayerSeries(
        machine=str(series.machine),
        machine_id=series.machine.id,
        threshold=series.threshold,
        processes=series.processes,
        blocks=series.blocks,
        points=tuple(_point(point) for point in series.points),
        steps=tuple(_step(step) for step in series.steps),
    )


def _point(point: Point) -> LayerPoint:
    run, git = point.run, point.run.git
    return LayerPoint(
        run_id=run.id,
        sweep=run.name,
        started_at=run.started_at,
        host=run.environment.hostname,
        torch=run.environment.torch,
        commit=git.commit if git else None,
        branch=git.branch if git else None,
        status=point.result.status.value,
        reason=point.result.reason,
        time_s=point.time_s if math.isfinite(point.time_s) else None,
        judged=point.judged,
    )


def _step(step: Step) -> LayerStep:
    return LayerStep(
        base_run_id=step.before.run.id,
        new_run_id=step.after.run.id,
        at=step.after.run.started_at,
        ratio=step.ratio,
        base_s=step.base_s,
        new_s=step.new_s,
        base_runs=step.base_runs,
        new_runs=step.new_runs,
        differences=_differences([step]),
    )


def _differences(steps: Sequence[Step]) -> tuple[str, ...]:
    from convbench.analysis.history.history import differences_at
    from convbench.report.text.history import differences_text

    found = differences_at(steps)
    return tuple(differences_text(found)) if found else ()


def changes(run_ids: Sequence[str], db: str | None = None) -> tuple[Change, ...]:
    """The changes over these runs of one sweep, on each machine, in no order.

    Raises RequestError where the newest run's sweep cannot be read.
    """
    from convbench.analysis.history.history import history, trends

    runs = _past(run_ids, db)
    if not runs:
        return ()
    series = history(runs, sweeps.thresholds(runs[-1]))
    return tuple(_change(moves, trend) for trend in trends(series) for moves in _together(trend))


def _past(run_ids: Sequence[str], db: str | None) -> list[Run]:
    from convbench.store import Store

    with Store.open(db) as store:
        return store.past(run_ids=run_ids)


def _together(trend: Trend) -> list[list[Move]]:
    """The moves of a trend that count as one change; the one with the most cases comes first and says when it was."""
    place = {moment.run.id: number for number, moment in enumerate(trend.moments)}
    found: list[list[Move]] = []
    for move in sorted(trend.moves, key=lambda one: len(one.steps), reverse=True):
        at = place[move.steps[0].after.run.id]
        for some in found:
            main = some[0]
            if (main.ratio > 1) == (move.ratio > 1) and abs(place[main.steps[0].after.run.id] - at) <= _APART:
                some.append(move)
                break
        else:
            found.append([move])
    return found


def _change(moves: Sequence[Move], trend: Trend) -> Change:
    main = moves[0].steps
    before, after = main[0].before.run, main[0].after.run
    steps = sorted((step for move in moves for step in move.steps), key=lambda step: step.ratio)
    if moves[0].ratio > 1:
        steps.reverse()
    ratios = [step.ratio for step in steps]
    middle = len(ratios) // 2
    median = ratios[middle] if len(ratios) % 2 else (ratios[middle - 1] + ratios[middle]) / 2
    return Change(
        sweep=after.name,
        machine=str(trend.machine),
        machine_id=trend.machine.id,
        ratio=median,
        stepped=len(steps),
        cases=trend.cases,
        base_run_id=before.id,
        base_at=before.started_at,
        new_run_id=after.id,
        new_at=after.started_at,
        differences=_differences(main),
        layers=tuple(_moved(step) for step in steps[:MOST_LAYERS]),
    )


def _moved(step: Step) -> MovedLayer:
    case = step.after.result.case
    return MovedLayer(case_id=case.id, label=case.label, ratio=step.ratio, base_s=step.base_s, new_s=step.new_s)


def noise(run_id: str, db: str | None = None) -> float | None:
    """The noise of a run: how much longer its reference layers took than at their fastest, as the median minus 1.

    Of a run without them, the same of the probe; None where no probe ran either.
    """
    from convbench.measure import estimate
    from convbench.measure.references import disturbance
    from convbench.store import Store

    with Store.open(db) as store:
        related = disturbance(store.processes([run_id]).get(run_id, ()))
    if math.isfinite(related):
        return related
    runs = _past([run_id], db)
    if not runs:
        raise RequestError(f"run {run_id} is stored no more")
    results = runs[0].results
    found = estimate.noise(estimate.table(results), [result.case.worker for result in results]).ratio - 1
    return found if math.isfinite(found) else None
