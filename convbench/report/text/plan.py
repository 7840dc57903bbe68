"""What `convbench plan` prints: the cases, the rejections with their reasons, the time and memory of the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from convbench import units
from convbench.measure import forecast, schedule
from convbench.model.case import Case
from convbench.model.result import Measure, Rejection
from convbench.units import flat

#: Rejections shown unless all are asked for.
MOST_REJECTIONS = 10


def plan_text(
    *,
    name: str,
    cases: Sequence[Case],
    rejections: Sequence[Rejection],
    points: int,
    merged: int,
    excluded: int,
    measure: Measure,
    most: int | None,
    workers: int,
    forecast_s: float | None = None,
    notes: Sequence[str] = (),
) -> str:
    """The plan as text; at most `most` cases are listed (None: all cases and rejections).

    At most `workers` worker processes are alive at a time. `forecast_s` is the expected time of the run in seconds,
    where a stored run of this machine gives it.
    """
    parts = [_headline(name, cases, rejections, points, merged, excluded)]
    if cases:
        shown = [_line(case) for case in cases[:most]]
        parts += [_listed(shown, len(cases) - len(shown)), _cost(cases, measure, forecast_s, workers)]
    else:
        parts.append("nothing is left to measure")
    if rejections:
        reasons = Counter(rejection.reason for rejection in rejections)
        heading = (
            f"torch would refuse {units.plural(len(rejections), 'point')}, for {units.plural(len(reasons), 'reason')}:"
        )
        some = rejections[: None if most is None else MOST_REJECTIONS]
        shown = [f"  {flat(item.label)}: {flat(item.reason)}" for item in some]
        parts.append(f"{heading}\n{_listed(shown, len(rejections) - len(shown))}")
    if notes:
        parts.append("\n".join(f"note: {flat(note)}" for note in notes))
    return "\n\n".join(parts)


def _headline(
    name: str, cases: Sequence[Case], rejections: Sequence[Rejection], points: int, merged: int, excluded: int
) -> str:
    left_out = [
        f"{units.count(number)} {what}"
        for number, what in (
            (excluded, "excluded"),
            (merged, "merged with an equal one"),
            (len(rejections), "rejected"),
        )
        if number
    ]
    of_points = f" of {units.plural(points, 'point')} ({', '.join(left_out)})" if left_out else ""
    return f"{flat(name)}: {units.plural(len(cases), 'case')}{of_points}"


def _line(case: Case) -> str:
    count = f"  x{case.count}" if case.count != 1 else ""
    shape = f"{units.pair(case.problem.input_shape)} -> {units.pair(case.problem.output_shape)}"
    return f"  {case.id}  {flat(case.label)}  {shape}  {units.si(case.flops, 'FLOP')}{count}"


def _listed(lines: Sequence[str], more: int) -> str:
    return "\n".join(lines) + (f"\n  ... and {units.count(more)} more (--all prints all)" if more else "")


def _cost(cases: Sequence[Case], measure: Measure, forecast_s: float | None, workers: int) -> str:
    largest = max(schedule.memory_bytes(case) + schedule.check_bytes(case) for case in cases)
    worker_bytes = schedule.WORKER_START_BYTES + schedule.WORKER_GROWTH_BYTES
    rounds = f"{units.plural(measure.processes, 'process', 'processes')} of {units.plural(measure.rounds, 'round')}"
    if measure.budget is not None:
        time = f"time: at most {units.duration(measure.budget)}, the budget, in up to {rounds}"
    elif forecast_s is None:
        assumed = f"{units.si(forecast.ASSUMED_FLOPS_PER_S, 'FLOP/s')} for each thread"
        about = units.duration(forecast.assumed_s(cases, measure))
        time = f"time: about {about} at an assumed {assumed}, in {rounds}; after a run here it goes by that run"
    else:
        time = f"time: about {units.duration(forecast_s)}, in {rounds}, going by the last run on this machine"
    held = units.size(workers * worker_bytes)
    size = units.size(schedule.samples_bytes(cases, measure))
    kept = f"\nsamples: at most about {size} in the database" if measure.samples else ""
    return (
        f"{time}\nmemory: about {units.size(largest)} for the largest case with its check, and {held} for "
        f"{units.plural(workers, 'worker process', 'worker processes')} at a time{kept}"
    )
