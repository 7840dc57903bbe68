"""A case's time over runs: one series for each machine, its steps, and what else changed at a step. Pure.

Another machine starts another series. Other software or another setting does not: a user wants to see the step that an
upgrade of torch makes, with the upgrade beside it.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from convbench.analysis.comparison.changes import causes_of
from convbench.analysis.comparison.comparability import Difference, differences, probes
from convbench.analysis.history.steps import SMALLEST, levels
from convbench.measure import estimate
from convbench.measure.alike import EqualTimes, equal_times
from convbench.model.campaign import MachineKey, machine_key
from convbench.model.case import Case
from convbench.model.result import NAN, Result, Run, Status
from convbench.model.threshold import Thresholds


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One run of the series. `time_s` is NaN where the case did not pass.

    Steps are searched in points that are `judged`: their times are over equal numbers of processes and blocks.
    """

    run: Run
    result: Result
    time_s: float
    judged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A lasting change of the time between two neighbouring judged points.

    `base_s` and `new_s` are the median times of the `base_runs` and `new_runs` runs on either side, up to the next
    step.
    """

    before: Point
    after: Point
    base_s: float
    new_s: float
    base_runs: int
    new_runs: int

    @property
    def ratio(self) -> float:
        """The new time over the old one."""
        return self.new_s / self.base_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A case on one machine, oldest run first. Judged times are over `processes`, and `blocks` blocks in all."""

    case: Case
    machine: MachineKey
    points: tuple[Point, ...]
    steps: tuple[Step, ...]
    threshold: float
    processes: int
    blocks: int

    @property
    def judged(self) -> tuple[Point, ...]:
        """The points whose times may be compared with each other."""
        return tuple(point for point in self.points if point.judged)


def history(runs: Sequence[Run], thresholds: Thresholds) -> tuple[Series, ...]:
    """The series of every case and machine of these runs, oldest first, in the order in which they begin."""
    found: dict[tuple[str, MachineKey], list[tuple[Run, Result]]] = {}
    ids: dict[int, str] = {}  # by the addresses of cases: stored runs share them, and ids are slow hashes
    for run in runs:
        machines: dict[str, MachineKey] = {}
        for result in run.results:
            case = result.case
            case_id = ids.get(id(case)) or ids.setdefault(id(case), case.id)
            machine = machines.get(case.device)
            if machine is None:
                machine = machine_key(run.environment, run.processes, device=case.device)
                machines[case.device] = machine
            found.setdefault((case_id, machine), []).append((run, result))
    return tuple(_series(members, machine, thresholds) for (_, machine), members in found.items())


def _series(members: Sequence[tuple[Run, Result]], machine: MachineKey, thresholds: Thresholds) -> Series:
    case = members[-1][1].case
    passed = [(run, result) for run, result in members if result.status is Status.PASSED and result.blocks]
    equal = equal_times(estimate.table(result for _, result in passed))
    points = _points(members, passed, equal)
    judged = [point for point in points if point.judged]
    l2_bytes = members[-1][0].environment.l2_bytes
    threshold = max(SMALLEST, thresholds.of(case, l2_bytes))
    found = levels([point.time_s for point in judged], threshold)
    steps = [
        Step(
            before=judged[base.stop - 1],
            after=judged[new.start],
            base_s=base.time_s,
            new_s=new.time_s,
            base_runs=base.stop - base.start,
            new_runs=new.stop - new.start,
        )
        for base, new in itertools.pairwise(found)
    ]
    return Series(
        case=case,
        machine=machine,
        points=tuple(points),
        steps=tuple(steps),
        threshold=threshold,
        processes=equal.processes,
        blocks=equal.blocks,
    )


def _points(
    members: Sequence[tuple[Run, Result]], passed: Sequence[tuple[Run, Result]], equal: EqualTimes
) -> list[Point]:
    times = dict(
        zip((run.id for run, _ in passed), zip(equal.time_s.tolist(), equal.alike.tolist(), strict=True), strict=True)
    )
    made = []
    for run, result in members:
        time_s, alike = times.get(run.id, (NAN, False))
        made.append(Point(run=run, result=result, time_s=time_s, judged=alike))
    return made


def differences_at(steps: Sequence[Step]) -> tuple[Difference, ...]:
    """What differs at steps of some cases between the same two runs: between the runs, and in the cases' causes.

    The causes come first where one case stepped. Of several cases, causes that half of them or more have come last,
    with the number of cases.
    """
    before, after = steps[0].before.run, steps[0].after.run
    pairs = [(step.before.result, step.after.result) for step in steps]
    counts = Counter(cause for causes in causes_of(pairs) for cause in causes)
    tables = (estimate.table(base for base, _ in pairs), estimate.table(new for _, new in pairs))
    branches = [run.git.branch if run.git else None for run in (before, after)]
    several = len(steps) > 1
    causes = [replace(cause, cases=count) for cause, count in counts.items() if 2 * count >= len(steps)]
    cases = [base.case for base, _ in pairs]
    found = [*differences(before, after, pairs, probes(cases, *tables))]
    found = [*found, *causes] if several else [*causes, *found]
    if branches[0] != branches[1]:
        found.append(Difference(what="branch", base=branches[0] or "none", new=branches[1] or "none"))
    return tuple(found if several else [replace(one, cases=None) for one in found])


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One run of a trend: the median over its judged cases of the time over that of the case's first judged run."""

    run: Run
    ratio: float
    cases: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Steps of several cases between the same two runs in the same direction, the largest first."""

    steps: tuple[Step, ...]
    ratio: float  # the median of the steps'


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """How a sweep's cases move over the runs on one machine. `cases` counts those that more than one run judged."""

    machine: MachineKey
    moments: tuple[Moment, ...]
    moves: tuple[Move, ...]  # the newest first
    cases: int


def trends(series: Sequence[Series]) -> tuple[Trend, ...]:
    """The trend on each machine where a case was judged in two runs or more."""
    machines: dict[MachineKey, list[Series]] = {}
    for one in series:
        if len(one.judged) > 1:
            machines.setdefault(one.machine, []).append(one)
    return tuple(_trend(machine, some) for machine, some in machines.items())


def _trend(machine: MachineKey, series: Sequence[Series]) -> Trend:
    runs: dict[str, Run] = {}
    ratios: dict[str, list[float]] = {}
    moved: dict[tuple[str, str, bool], list[Step]] = {}
    for one in series:
        first = one.judged[0].time_s
        for point in one.judged:
            runs[point.run.id] = point.run
            ratios.setdefault(point.run.id, []).append(point.time_s / first)
        for step in one.steps:
            moved.setdefault((step.before.run.id, step.after.run.id, step.ratio > 1), []).append(step)
    ordered = sorted(runs.values(), key=lambda run: (run.started_at, run.id))
    place = {run.id: position for position, run in enumerate(ordered)}
    moves = [
        Move(
            steps=tuple(sorted(steps, key=lambda step: max(step.ratio, 1 / step.ratio), reverse=True)),
            ratio=float(np.median([step.ratio for step in steps])),
        )
        for steps in moved.values()
    ]
    moves.sort(key=lambda move: (place[move.steps[0].after.run.id], len(move.steps)), reverse=True)
    return Trend(
        machine=machine,
        moments=tuple(
            Moment(run=run, ratio=float(np.median(ratios[run.id])), cases=len(ratios[run.id])) for run in ordered
        ),
        moves=tuple(moves),
        cases=len(series),
    )
