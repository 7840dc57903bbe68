"""Estimates how long a sweep takes: by an assumed speed for an unknown machine, or from a stored run. Pure.

The forecast adds up the schedule's time for each case: blocks, their warm-up, preparing and checking. It takes
iteration times from the stored run. It scales the sum by the ratio of the stored run's duration to the same sum for
that run. Without a stored run, layers are assumed to run at `ASSUMED_FLOPS_PER_S`.
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
from convbench.model.case import Cache, Case, CompileMode, Execution
from convbench.model.result import UNMEASURED, Measure, Run, RunState, Status

#: Seconds per block besides the block itself: probe, messages, statistics.
AROUND_BLOCK_S = 1.5e-3
#: Additional seconds for the first layer of a fresh worker: torch loads its parts at their first use.
FIRST_LAYER_S = 0.4
#: Seconds to build a small layer; large ones need PREPARE_ITERATIONS in addition.
PREPARE_S = 4e-3
#: Iterations for building (graph, first call) and for checking, and seconds for a check of a small layer.
PREPARE_ITERATIONS = 2
CHECK_ITERATIONS = 5
CHECK_S = 0.015
#: Iterations for measuring peak memory and for the check at the end.
MEMORY_ITERATIONS = 3
#: Seconds to build the copies of a small layer for a cold cache; larger ones have fewer.
COLD_S = 0.5
#: Seconds of torch's compiler: what a worker loads before its first compiled layer, then a layer in the first process.
#: Later processes find the code of the same layer. With max-autotune the compiler tries kernels.
COMPILER_START_S = 8.0
COMPILE_S = 2.0
COMPILED_AGAIN_S = 0.3
AUTOTUNE = 10
#: Assumed share of cases not settled after the fewest processes, if the stored run had no more. Three sweeps had 0.45
#: to 0.59 after three, which were enough then.
UNSETTLED_SHARE = 0.55
#: Maximum number of companions of a case: the system's allocator, and the kernels of a backward pass.
MOST_COMPANIONS = 2
#: The timer's warm-up (worker/timer.py), seconds: two iterations and 3 ms, or one iteration if that is over 10 ms.
WARMUP_S = 3e-3
WARMUP_ONCE_S = 10e-3
#: Seconds to start a worker and import torch on an unknown machine.
WORKER_START_S = 3.0
#: Factor for a slow machine.
MARGIN = 1.25
#: The assumed speed of a layer on an unknown machine: on a CPU for each thread, elsewhere for the device. Layers of
#: ResNet-50 reached 20 to 60 GFLOP/s on one thread of a shared server, small and grouped ones less.
ASSUMED_FLOPS_PER_S = 2e10
ASSUMED_ELSEWHERE = 2e12
#: The shortest block that a budget may lead to, seconds: 100 samples of 10 us.
SHORTEST_BLOCK_S = 1e-3


def assumed_s(cases: Sequence[Case], measure: Measure) -> float:
    """The seconds that the cases take on an unknown machine, at an assumed speed of their layers."""
    return _unknown_s(cases, measure, [case.flops / _assumed_flops_per_s(case) for case in cases])


def _assumed_flops_per_s(case: Case) -> float:
    return ASSUMED_FLOPS_PER_S * (case.threads or 1) if case.device == "cpu" else ASSUMED_ELSEWHERE


def _unknown_s(cases: Sequence[Case], measure: Measure, iterations_s: Iterable[float]) -> float:
    """The seconds that the cases take on an unknown machine if all are measured to the end."""
    workers = _workers(cases)
    once = sum(_case_s(iteration_s, measure, companions=MOST_COMPANIONS) for iteration_s in iterations_s)
    counted = once + _cold_s(cases, measure) + _compile_s(cases, measure) + measure.processes * workers * FIRST_LAYER_S
    return MARGIN * counted + measure.processes * workers * WORKER_START_S


def _least_s(cases: Sequence[Case], measure: Measure) -> float:
    """The same where an iteration takes no time."""
    return _unknown_s(cases, measure, [0.0] * len(cases))


def shares_s(cases: Sequence[Case], measure: Measure, known: Run | None = None) -> dict[str, float]:
    """The forecast seconds of each case by its id, without the start of workers: by which hosts share a sweep out.

    Iteration times come from the run `known`, which may be of any machine: only their ratios matter. Other cases, and
    all cases without such a run, have the assumed speed.
    """
    times = {} if known is None else _iteration_times(known)
    rates = _rates([result.case for result in known.results if result.case.id in times], times) if known else {}
    found = {}
    for case in cases:
        iteration_s = times.get(case.id) or (_by_rate(case, rates) if rates else math.inf)
        if math.isinf(iteration_s):
            iteration_s = case.flops / _assumed_flops_per_s(case)
        companions = 1 + case.is_one_backward_kernel
        found[case.id] = _case_s(iteration_s, measure, companions=companions) + _compile_s([case], measure)
    return found


def within_budget(cases: Sequence[Case], measure: Measure) -> Measure:
    """The measure with `max_time` lowered so that layers of short iterations stay within the budget, if there is one.

    For the others the run shares out what is left (conduct/budget.py). Raises RequestError with the smallest budget.
    """
    if measure.budget is None:
        return measure
    blocks = measure.processes * measure.rounds
    least = replace(measure, max_time=blocks * SHORTEST_BLOCK_S)
    # Seconds of the run per second of max_time: blocks of the case and of its companions.
    slope = MARGIN * len(cases) * (1 + MOST_COMPANIONS * min(schedule.COMPANION_BLOCKS, blocks) / blocks)
    share = least.max_time + (measure.budget - _least_s(cases, least)) / slope
    if share < least.max_time:
        raise RequestError(
            f"a budget of {units.duration(measure.budget)} is too short for {units.plural(len(cases), 'case')} in"
            f" {units.plural(measure.processes, 'process', 'processes')}:"
            f" they take {math.ceil(_least_s(cases, least))} s",
            hint="raise measure.budget, or lower measure.processes or measure.rounds",
        )
    return replace(measure, max_time=min(measure.max_time, share))


def forecast_s(cases: Sequence[Case], measure: Measure, known: Run) -> float | None:
    """The forecast of the seconds to measure `cases`, from a finished run of the same machine; None if it is unusable.

    An iteration's time is the stored one of the same case. Other cases use the median FLOP/s of the stored run for
    their direction and dtype.
    """
    times = _iteration_times(known)
    measured = [result.case for result in known.results if result.case.id in times]
    # A case that timed out did so once, and takes as long again; other cases that were lost end at once.
    late = {result.case.id for result in known.results if result.status is Status.TIMED_OUT}
    lost = {result.case.id for result in known.results if result.status in UNMEASURED}
    whole_s = sum(facts.seconds for facts in known.processes)
    seconds = whole_s - len(late) * known.measure.timeout
    whole = known.state is RunState.FINISHED and len(known.processes) >= known.measure.processes
    if not whole or not measured or seconds <= 0:
        return None
    late_s = sum(case.id in late for case in cases) * measure.timeout
    cases = [case for case in cases if case.id not in lost]
    rates = _rates(measured, times)
    new = [times.get(case.id) or _by_rate(case, rates) for case in cases]
    if math.inf in new:
        return None
    unsettled_share = _unsettled_share(known)
    counted = _run_s(measured, [times[case.id] for case in measured], known.measure, unsettled_share)
    starts = measure.processes * _workers(cases) * _start_s(known, whole_s)
    return _run_s(cases, new, measure, unsettled_share) * seconds / counted + starts + late_s


def _workers(cases: Iterable[Case]) -> int:
    return len({case.worker for case in cases})


def _unsettled_share(known: Run) -> float:
    """The share of cases not settled in a process after the first ones, in which none can settle."""
    later = known.measure.processes - schedule.SETTLED_PROCESSES
    if later < 1:
        return UNSETTLED_SHARE
    processes = estimate(table(known.results)).processes
    timed = processes[processes > 0]
    stayed = np.clip(timed - schedule.SETTLED_PROCESSES, 0, None).sum()
    return float(stayed / (later * len(timed))) if len(timed) else UNSETTLED_SHARE


def _run_s(cases: Sequence[Case], iterations_s: Sequence[float], measure: Measure, unsettled_share: float) -> float:
    """Seconds of the schedule for these cases with these iteration times, after the workers have started.

    `unsettled_share` is the share of cases that continue after they could have settled.
    """
    fewest = min(schedule.SETTLED_PROCESSES, measure.processes)
    share = (fewest + (measure.processes - fewest) * unsettled_share) / measure.processes
    companions = [1 + case.is_one_backward_kernel for case in cases]
    counted = sum(
        _case_s(time, measure, companions=beside, share=share)
        for time, beside in zip(iterations_s, companions, strict=True)
    )
    return (
        counted
        + _cold_s(cases, measure)
        + _compile_s(cases, measure)
        + measure.processes * _workers(cases) * FIRST_LAYER_S
    )


def _cold_s(cases: Iterable[Case], measure: Measure) -> float:
    """Seconds to build the copies of cases with a cold cache, and of their companions."""
    return sum(case.cache is Cache.COLD for case in cases) * (measure.processes + MOST_COMPANIONS) * COLD_S


def _compile_s(cases: Sequence[Case], measure: Measure) -> float:
    """Seconds to compile the cases that ask for it, and to load the compiler in each of their workers."""
    compiled = [case for case in cases if case.execution is Execution.COMPILED]
    tried = sum(1 if case.compile_mode is CompileMode.DEFAULT else AUTOTUNE for case in compiled)
    again = (measure.processes - 1) * len(compiled) * COMPILED_AGAIN_S
    return tried * COMPILE_S + again + measure.processes * _workers(compiled) * COMPILER_START_S


def _case_s(iteration_s: float, measure: Measure, *, companions: int, share: float = 1.0) -> float:
    """Seconds of the schedule for a case and its companions; the case is in this share of the processes."""
    blocks = schedule.blocks_in_run(iteration_s, measure)
    warm_up_s = iteration_s if iteration_s > WARMUP_ONCE_S else max(WARMUP_S, 2 * iteration_s)
    block_s = max(schedule.block_seconds(measure), iteration_s) + warm_up_s + AROUND_BLOCK_S
    prepare_s = PREPARE_S + PREPARE_ITERATIONS * iteration_s
    beside_s = companions * (min(schedule.COMPANION_BLOCKS, blocks) * block_s + prepare_s)
    once_s = CHECK_S + CHECK_ITERATIONS * iteration_s + MEMORY_ITERATIONS * iteration_s
    return share * (blocks * block_s + min(blocks, measure.processes) * prepare_s) + beside_s + once_s


def _iteration_times(known: Run) -> dict[str, float]:
    """Typical seconds per iteration by case id, of cases that were measured to the end."""
    typical = estimate(table(known.results)).typical_s
    pairs = zip(known.results, typical, strict=True)
    timed = ((result, value) for result, value in pairs if result.status not in UNMEASURED)
    return {result.case.id: float(value) for result, value in timed if np.isfinite(value)}


def _rates(measured: Sequence[Case], times: dict[str, float]) -> dict[tuple[str, ...], float]:
    """Median FLOP/s by (direction, dtype); the empty key has the median of all cases."""
    found: defaultdict[tuple[str, ...], list[float]] = defaultdict(list)
    for case in measured:
        for key in ((case.direction, case.dtype), ()) if case.flops else ():
            found[key].append(case.flops / times[case.id])
    return {key: statistics.median(rates) for key, rates in found.items()}


def _by_rate(case: Case, rates: dict[tuple[str, ...], float]) -> float:
    """Seconds of an iteration of a case that was not measured; infinite where no rate is known."""
    rate = rates.get((case.direction, case.dtype)) or rates.get(())
    if not case.flops:
        return 0.0  # an empty batch
    return case.flops / rate if rate else math.inf


def _start_s(known: Run, seconds: float) -> float:
    """Seconds to start a worker, from the time of the stored run outside its processes."""
    finished = datetime.fromisoformat(known.finished_at or known.started_at)
    beside = (finished - datetime.fromisoformat(known.started_at)).total_seconds() - seconds
    workers = _workers(result.case for result in known.results) * len(known.processes)
    # The first worker starts before the run's start time; the run waits for the later ones.
    return min(max(beside / max(1, workers - 1), 0.5), 2 * WORKER_START_S)
