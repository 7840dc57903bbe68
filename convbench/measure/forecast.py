"""How long a sweep takes: an upper limit before anything is known of a machine, a forecast from a stored run of it, and
how a budget is shared out.

Pure. The forecast counts what the schedule would take of each case (blocks, their warm-up, preparing, checking), with
iteration times from the stored run, and scales the sum by what the same count missed of the stored run itself: how
many cases settled early, and what this machine adds.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np

from convbench import units
from convbench.errors import RequestError
from convbench.measure import schedule
from convbench.measure.estimate import estimate, table
from convbench.model.case import Cache, Case
from convbench.model.result import UNMEASURED, Measure, Run, RunState

#: Seconds around a block that are not the block: probe, messages, statistics.
AROUND_BLOCK_S = 1.5e-3
#: Seconds that the first layer of a fresh worker costs more than the others: torch loads its parts when first used.
FIRST_LAYER_S = 0.4
#: Seconds to build a small layer; larger ones cost by the iteration.
PREPARE_S = 4e-3
#: Iterations that building (graph, first call) and checking cost.
PREPARE_ITERATIONS = 2
CHECK_ITERATIONS = 5
CHECK_S = 0.015
#: Iterations that finding out the memory of one and looking at it again at the end cost.
MEMORY_ITERATIONS = 3
#: Seconds to build the copies of a small layer for a cold cache; larger ones have fewer.
COLD_S = 0.5
#: The share of cases that are not settled after three processes, where the stored run had no more of them: 0.45 to 0.59
#: was seen of three sweeps.
STAY = 0.55
#: What is measured beside a case at most: the system's allocator, a backward's kernels alone.
MOST_COMPANIONS = 2
#: Warm-up as the timer does it (worker/timer.py): two iterations and 3 ms, one where it is longer than 10 ms.
WARMUP_S = 3e-3
WARMUP_ONCE_S = 10e-3
#: Seconds to start a worker, that is to import torch, on a machine that nothing is known of.
WORKER_START_S = 3.0
#: What an upper limit adds for a slow machine.
MARGIN = 1.25
#: The shortest block that a budget may leave, seconds: a hundred samples of 10 us.
SHORTEST_BLOCK_S = 1e-3


def upper_limit_s(cases: Sequence[Case], measure: Measure) -> float:
    """The longest the cases take on a machine that nothing is known of.

    Holds as long as none has an iteration longer than max_time / 2, which gets its two blocks all the same.
    """
    workers = _workers(cases)
    once = _case_s(0.0, measure, companions=MOST_COMPANIONS)
    counted = len(cases) * once + _cold_s(cases, measure) + measure.processes * workers * FIRST_LAYER_S
    return MARGIN * counted + measure.processes * workers * WORKER_START_S


def within_budget(cases: Sequence[Case], measure: Measure) -> Measure:
    """The measure with `max_time` lowered so that the upper limit keeps to the budget, if there is one.

    Raises RequestError with the least budget that would do.
    """
    if measure.budget is None:
        return measure
    blocks = measure.processes * measure.rounds
    least = replace(measure, max_time=blocks * SHORTEST_BLOCK_S)
    # Seconds of the limit for each second of max_time: all its blocks, and those of its companions.
    slope = MARGIN * len(cases) * (1 + MOST_COMPANIONS * min(schedule.COMPANION_BLOCKS, blocks) / blocks)
    share = least.max_time + (measure.budget - upper_limit_s(cases, least)) / slope
    if share < least.max_time:
        raise RequestError(
            f"a budget of {units.duration(measure.budget)} is too short for {units.plural(len(cases), 'case')} in"
            f" {units.plural(measure.processes, 'process', 'processes')}:"
            f" they take {math.ceil(upper_limit_s(cases, least))} s",
            hint="raise measure.budget, or lower measure.processes or measure.rounds",
        )
    return replace(measure, max_time=min(measure.max_time, share))


def forecast_s(cases: Sequence[Case], measure: Measure, known: Run) -> float | None:
    """Seconds that measuring `cases` will take, from a finished run of the same machine; None where it tells nothing.

    An iteration's time is the stored one of the same case, else the case's FLOPs at the median rate that the stored run
    reached for its direction and dtype.
    """
    times = _iteration_times(known)
    measured = [result.case for result in known.results if result.case.id in times]
    seconds = sum(facts.seconds for facts in known.processes)
    whole = known.state is RunState.FINISHED and len(known.processes) >= known.measure.processes
    lost = any(result.status in UNMEASURED for result in known.results)  # what a hang cost tells nothing of a sweep
    if not whole or lost or not measured or not seconds:
        return None
    rates = _rates(measured, times)
    new = [times.get(case.id) or case.flops / _rate(case, rates) for case in cases]
    stay = _stay(known)
    counted = _run_s(measured, [times[case.id] for case in measured], known.measure, stay)
    starts = measure.processes * _workers(cases) * _start_s(known, seconds)
    return _run_s(cases, new, measure, stay) * seconds / counted + starts


def _workers(cases: Iterable[Case]) -> int:
    return len({case.worker for case in cases})


def _stay(known: Run) -> float:
    """The share of cases that stay in a process after those that it takes to settle."""
    later = known.measure.processes - schedule.SETTLED_PROCESSES
    if later < 1:
        return STAY
    processes = estimate(table(result.blocks for result in known.results)).processes
    timed = processes[processes > 0]
    stayed = np.clip(timed - schedule.SETTLED_PROCESSES, 0, None).sum()
    return float(stayed / (later * len(timed))) if len(timed) else STAY


def _run_s(cases: Sequence[Case], iterations_s: Sequence[float], measure: Measure, stay: float) -> float:
    """Seconds that the schedule takes of these cases with these iteration times, once its workers are up.

    `stay` is the share of cases that are not settled when they could be.
    """
    sure = min(schedule.SETTLED_PROCESSES, measure.processes)
    share = (sure + (measure.processes - sure) * stay) / measure.processes
    companions = [1 + case.is_one_backward_kernel for case in cases]
    counted = sum(
        _case_s(time, measure, companions=beside, share=share)
        for time, beside in zip(iterations_s, companions, strict=True)
    )
    return counted + _cold_s(cases, measure) + measure.processes * _workers(cases) * FIRST_LAYER_S


def _cold_s(cases: Iterable[Case], measure: Measure) -> float:
    """Seconds that building the copies of cases with a cold cache takes, their companions' among them."""
    return sum(case.cache is Cache.COLD for case in cases) * (measure.processes + MOST_COMPANIONS) * COLD_S


def _case_s(iteration_s: float, measure: Measure, *, companions: int, share: float = 1.0) -> float:
    """Seconds that the schedule takes of a case with this share of its processes, and of what is measured beside it."""
    blocks = schedule.blocks_in_run(iteration_s, measure)
    warm_up_s = iteration_s if iteration_s > WARMUP_ONCE_S else max(WARMUP_S, 2 * iteration_s)
    block_s = max(schedule.block_seconds(measure), iteration_s) + warm_up_s + AROUND_BLOCK_S
    prepare_s = PREPARE_S + PREPARE_ITERATIONS * iteration_s
    beside_s = companions * (min(schedule.COMPANION_BLOCKS, blocks) * block_s + prepare_s)
    once_s = CHECK_S + CHECK_ITERATIONS * iteration_s + MEMORY_ITERATIONS * iteration_s
    return share * (blocks * block_s + min(blocks, measure.processes) * prepare_s) + beside_s + once_s


def _iteration_times(known: Run) -> dict[str, float]:
    """Typical seconds per iteration by case id."""
    typical = estimate(table(result.blocks for result in known.results)).typical_s
    pairs = zip(known.results, typical, strict=True)
    return {result.case.id: float(value) for result, value in pairs if np.isfinite(value)}


def _rates(measured: Sequence[Case], times: dict[str, float]) -> dict[tuple[str, ...], float]:
    """Median FLOP/s by (direction, dtype), and of all under the empty key."""
    found: defaultdict[tuple[str, ...], list[float]] = defaultdict(list)
    for case in measured:
        for key in ((case.direction, case.dtype), ()):
            found[key].append(case.flops / times[case.id])
    return {key: statistics.median(rates) for key, rates in found.items()}


def _rate(case: Case, rates: dict[tuple[str, ...], float]) -> float:
    return rates.get((case.direction, case.dtype)) or rates[()]


def _start_s(known: Run, seconds: float) -> float:
    """Seconds per worker to start it: what the stored run took beside its processes."""
    finished = datetime.fromisoformat(known.finished_at or known.started_at)
    beside = (finished - datetime.fromisoformat(known.started_at)).total_seconds() - seconds
    workers = _workers(result.case for result in known.results) * len(known.processes)
    # The first worker is up before the run is said to have started, the later ones are waited for.
    return min(max(beside / max(1, workers - 1), 0.5), 2 * WORKER_START_S)
