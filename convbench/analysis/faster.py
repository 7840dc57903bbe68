"""Which value of a setting is the fastest for a layer, and by how much the others are slower. Pure, without pandas.

Two cases of one run differ in one setting alone. They are compared over equal numbers of blocks of equal numbers of
processes (measure/alike.py), by the interval that the times of processes allow (measure/significance.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import attrgetter

import numpy as np

from convbench.analysis.table.columns import Rows
from convbench.measure.alike import process_times
from convbench.measure.estimate import table
from convbench.measure.significance import ratios
from convbench.model.result import Run, Status
from convbench.model.threshold import FEWEST_PROCESSES
from convbench.sweep import Sweep, points

#: Settings by name with their values, as a sweep writes them.
_Written = tuple[tuple[str, object], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slower:
    """A value of the setting `axis` against the fastest one, for a layer with the `others` as written.

    `ratio` is its time over that of the fastest value, `low` to `high` the interval, `work` the same of their FLOPs.
    `processes` timed both. With a `status` it was not compared, as its case has this status.
    """

    axis: str
    others: _Written
    fastest: object
    value: object
    ratio: float = np.nan
    low: float = np.nan
    high: float = np.nan
    work: float = np.nan
    processes: int = 0
    status: Status | None = None

    @property
    def is_sure(self) -> bool:
        """Whether enough processes timed both to say which is faster."""
        return self.processes >= FEWEST_PROCESSES

    @property
    def is_shown(self) -> bool:
        """Whether the fastest value is faster: the interval excludes 1."""
        return self.is_sure and self.low > 1


def slower(run: Run, rows: Rows, sweep: Sweep) -> list[Slower]:
    """Each value but the fastest, for every setting with several values except direction, layer by layer.

    Values whose case no process has reached are left out. Values that mean the same case count as the first of them,
    and so do layers.
    """
    place = {case: at for at, case in enumerate(rows.cases)}
    several = [axis.name for axis in sweep.axes if len(set(axis.values)) > 1]
    layers: dict[tuple[str, _Written], dict[object, int]] = {}
    for chosen, case in points(sweep):
        for axis in several:
            if axis != "direction" and case in place:
                others: _Written = tuple((name, chosen[name]) for name in several if name != axis)
                at = layers.setdefault((axis, others), {})
                if place[case] not in at.values():
                    at[chosen[axis]] = place[case]
    distinct: dict[tuple[str, frozenset[int]], tuple[_Written, dict[object, int]]] = {}
    for (axis, others), at in layers.items():
        if len(at) > 1:
            distinct.setdefault((axis, frozenset(at.values())), (others, at))
    written = {(axis, value) for (axis, _), (_, at) in distinct.items() for value in at}
    written |= {other for others, _ in distinct.values() for other in others}
    differ = {name for name in several if sum(axis == name for axis, _ in written) > 1}
    return [
        one
        for (axis, _), (others, at) in distinct.items()
        for one in _of_layer(run, rows, axis, tuple(other for other in others if other[0] in differ), at)
    ]


def _of_layer(run: Run, rows: Rows, axis: str, others: _Written, at: dict[object, int]) -> list[Slower]:
    """The values of one layer, by their rows `at`: the next fastest first, and those without a right result last."""
    statuses = {value: result.status for value, row in at.items() if (result := rows.results[row])}
    times = {value: float(rows.estimates.time_s[at[value]]) for value in statuses}
    timed = [value for value, status in statuses.items() if status is Status.PASSED and np.isfinite(times[value])]
    fastest = min(timed, key=times.__getitem__, default=None)
    found = [
        _compared(run, rows, Slower(axis=axis, others=others, fastest=fastest, value=value), at)
        for value in timed
        if value != fastest
    ]
    ordered = sorted(found, key=attrgetter("ratio"))
    # Over the blocks that both sides have, the other value may be the faster one.
    swapped = [replace(one, fastest=one.value, value=one.fastest) if one.ratio < 1 else None for one in ordered]
    return [
        *(_compared(run, rows, new, at) if new else one for one, new in zip(ordered, swapped, strict=True)),
        *(
            Slower(axis=axis, others=others, fastest=fastest, value=value, status=status)
            for value, status in statuses.items()
            if status is not Status.PASSED
        ),
    ]


def _compared(run: Run, rows: Rows, pair: Slower, at: dict[object, int]) -> Slower:
    """The pair with its ratio, over the blocks that both sides have."""
    base, other = at[pair.fastest], at[pair.value]
    times = process_times(*(table([rows.results[row]]) for row in (base, other)))
    found = ratios(times, precision=run.measure.precision)
    ratio, low, high = (float(values[0]) for values in (found.ratio, found.low, found.high))
    work = rows.flops[other] / rows.flops[base] if rows.flops[base] else np.nan
    return replace(pair, ratio=ratio, low=low, high=high, work=work, processes=int(times.processes[0]))
