"""Runs of hosts that shared the cases of a sweep: made one run, and how far their control cases lie apart. Pure.

Every host also measured the control cases. Where these lie farther apart than they repeat on one host, the runs
are not one run.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter

import numpy as np

from convbench import units
from convbench.analysis.findings.pairs import FEW_PROCESSES_SPREAD
from convbench.measure.alike import equal_times
from convbench.measure.estimate import estimate, table
from convbench.model.case import Case
from convbench.model.result import ProcessFacts, Result, Run, RunState, Status
from convbench.model.threshold import FEWEST_PROCESSES

#: The widest spread of the controls, as a ratio minus 1, that may show hosts to be one machine. In the worst study
#: 95 of 100 pairs of runs of one machine differed by 25 % at most (README.md).
MOST_SPREAD = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """A control case on each host: its time in seconds over equal numbers of blocks, NaN where it has none.

    `apart` is the highest time over the lowest, minus 1. `spread` is the largest spread of one host's processes.
    """

    case: Case
    time_s: tuple[float, ...]
    apart: float
    spread: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The hosts that shared a sweep, in the order of their shards, and their control cases.

    `run_id` is the id of the run that was made of theirs. `moved` is each host's median over the controls of its time
    over the median of all hosts.
    """

    run_id: str
    hosts: tuple[str, ...]
    controls: tuple[Control, ...]
    moved: tuple[float, ...]

    @property
    def apart(self) -> float:
        """How far the hosts lie apart by the controls: the slowest over the fastest, minus 1; NaN without controls."""
        known = [move for move in self.moved if move == move]
        return max(known) / min(known) - 1 if len(known) == len(self.hosts) else math.nan

    @property
    def spread(self) -> float:
        """How far a control's time repeats on one host: the median of the controls' spreads; NaN without controls."""
        spreads = [control.spread for control in self.controls if control.spread == control.spread]
        return float(np.median(spreads)) if spreads else math.nan

    @property
    def is_one(self) -> bool:
        """Whether the hosts count as one machine: they lie apart by no more than the controls' spread.

        Beyond `MOST_SPREAD` a spread proves nothing.
        """
        return len(self.hosts) < 2 or self.apart <= self.spread <= MOST_SPREAD

    def __str__(self) -> str:
        """`6 control cases lie 1.2 % apart between a and b, within their spread of 3.1 %`."""
        hosts = ", ".join(self.hosts)
        if math.isnan(self.apart):
            return f"no control case has a time on every host of {hosts}, so these are not known to be one machine"
        said = (
            f"{units.plural(len(self.controls), 'control case')}: the hosts {hosts} lie {units.apart(self.apart)} apart"
        )
        spread = f"the cases' spread of {units.apart(self.spread)}"
        if self.is_one:
            return f"{said}, within {spread}"
        if self.spread > MOST_SPREAD:
            return f"{said}. It is too noisy to say whether they are one machine: {spread} is too wide"
        return f"{said}, beyond {spread}. This is not one run: times of different hosts are not comparable"


def merged(runs: Sequence[tuple[str, Run]], controls: Collection[str], *, id: str) -> tuple[Run, Split]:
    """One run of the runs of some hosts, in the order of their shards, and their control cases.

    Each result knows its host. Of the controls, which all hosts have, the first host's result stays. The environment
    is the first host's, with the names of all. Processes with one index become one: their roofs are the highest ones,
    and their loads and device states the first host's. Reference layers show one host at a moment, so they are left
    out, and no time is related to them.
    """
    hosts = tuple(host for host, _ in runs)
    first = runs[0][1]
    found: dict[Case, Result] = {}
    for host, run in runs:
        for result in run.results:
            found.setdefault(result.case, replace(result, host=host))
    waiting = dict.fromkeys(case for _, run in runs for case in run.unmeasured if case not in found)
    ended = [run.finished_at for _, run in runs]
    whole = replace(
        first,
        id=id,
        started_at=min(run.started_at for _, run in runs),
        finished_at=None if None in ended else max(filter(None, ended)),
        state=next((run.state for _, run in runs if run.state is not RunState.FINISHED), RunState.FINISHED),
        environment=replace(first.environment, hostname=", ".join(dict.fromkeys(hosts))),
        results=tuple(found.values()),
        rejections=tuple(dict.fromkeys(one for _, run in runs for one in run.rejections)),
        unmeasured=tuple(waiting),
        processes=_processes([run for _, run in runs]),
    )
    return whole, _split(runs, controls, id)


def _processes(runs: Sequence[Run]) -> tuple[ProcessFacts, ...]:
    every = sorted((facts for run in runs for facts in run.processes), key=attrgetter("process_index"))
    found = []
    for _, group in groupby(every, key=attrgetter("process_index")):
        some = list(group)
        found.append(
            replace(
                some[0],
                seconds=max(facts.seconds for facts in some),
                roofs=tuple(roof for facts in some for roof in facts.roofs),
                references=(),
            )
        )
    return tuple(found)


def _split(runs: Sequence[tuple[str, Run]], controls: Collection[str], run_id: str) -> Split:
    sides = [{result.case.id: result for result in run.results if result.case.id in controls} for _, run in runs]
    names = [name for name in dict.fromkeys(name for side in sides for name in side) if _on_all(name, sides)]
    found = tuple(_control([side[name] for side in sides]) for name in names)
    times = np.array([control.time_s for control in found]).reshape(len(found), len(runs))
    moved = np.full(len(runs), np.nan)
    if len(found):
        moved = np.median(times / np.median(times, axis=1, keepdims=True), axis=0)
    hosts = tuple(host for host, _ in runs)
    return Split(run_id=run_id, hosts=hosts, controls=found, moved=tuple(moved.tolist()))


def _on_all(name: str, sides: Sequence[dict[str, Result]]) -> bool:
    """Whether a control has a right result on every host."""
    return all(name in side and side[name].status is Status.PASSED and side[name].blocks for side in sides)


def _control(results: Sequence[Result]) -> Control:
    blocks = table(results)
    times = equal_times(blocks).time_s
    figures = estimate(blocks)
    spread = np.where(
        figures.processes < FEWEST_PROCESSES, np.fmax(figures.spread, FEW_PROCESSES_SPREAD), figures.spread
    )
    return Control(
        case=results[0].case,
        time_s=tuple(times.tolist()),
        apart=float(times.max() / times.min() - 1),
        spread=float(np.max(spread)),
    )
