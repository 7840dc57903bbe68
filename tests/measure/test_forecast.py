from __future__ import annotations

from dataclasses import replace

import pytest
import synthetic

from convbench import units
from convbench.errors import RequestError
from convbench.measure import schedule
from convbench.measure.forecast import (
    ASSUMED_FLOPS_PER_S,
    AUTOTUNE,
    COMPILE_S,
    COMPILER_START_S,
    assumed_s,
    forecast_s,
    within_budget,
)
from convbench.model.case import Case, CompileMode, Execution
from convbench.model.problem import Problem
from convbench.model.result import Measure, ProcessFacts, Run, RunState
from convbench.report.text.plan import plan_text


def known(seconds: float, count: int = 40) -> Run:
    """A finished run whose five processes took `seconds` in all, and whose workers took two seconds each to start."""
    run = synthetic.run(count, hostile=False, troubles=False)
    return replace(
        run,
        started_at="2026-11-24T03:00:00+00:00",
        finished_at=f"2026-11-24T03:{int(seconds + 8) // 60:02}:{(seconds + 8) % 60:09.6f}+00:00",
        processes=tuple(ProcessFacts(process_index=index, seconds=seconds / 5) for index in range(5)),
    )


SMALL = Problem(in_channels=8, out_channels=8, kernel_size=(1, 1), input_size=(8, 8))


def cases(run: Run) -> list[Case]:
    return [result.case for result in run.results]


@pytest.mark.parametrize("seconds", [10.0, 40.0])
def test_the_same_sweep_takes_as_long_again(seconds: float) -> None:
    run = known(seconds)
    workers = len({case.worker for case in cases(run)})
    starts = 5 * workers * (8 / (5 * workers - 1))
    assert forecast_s(cases(run), run.measure, run) == pytest.approx(seconds + starts, rel=1e-6)


def test_half_of_the_cases_take_about_half() -> None:
    run = known(40.0)
    whole, half = (forecast_s(some, run.measure, run) for some in (cases(run), cases(run)[::2]))
    assert whole is not None
    assert half is not None
    assert half == pytest.approx(whole / 2, rel=0.35)


def test_more_processes_or_time_take_longer() -> None:
    run = known(20.0)
    default, processes, time = (
        forecast_s(cases(run), measure, run) for measure in (Measure(), Measure(processes=9), Measure(max_time=1.5))
    )
    assert default is not None
    assert processes is not None
    assert time is not None
    assert processes > default
    assert time > default


def test_a_case_never_seen_goes_by_its_flops() -> None:
    run = known(20.0)
    small, large = (
        Case(problem=Problem(in_channels=c, out_channels=c, kernel_size=(3, 3), input_size=(224, 224)))
        for c in (8, 1024)
    )
    slow, quick = forecast_s([large], run.measure, run), forecast_s([small], run.measure, run)
    assert slow is not None
    assert quick is not None
    assert slow > quick


def test_a_run_that_reports_nothing_gives_no_forecast() -> None:
    run = known(20.0)
    assert forecast_s(cases(run), run.measure, replace(run, state=RunState.INTERRUPTED)) is None
    assert forecast_s(cases(run), run.measure, replace(run, processes=run.processes[:2])) is None
    assert forecast_s(cases(run), run.measure, replace(run, results=())) is None


def test_the_plan_says_where_its_time_comes_from() -> None:
    some = cases(known(20.0))[:3]
    common = {"name": "a", "cases": some, "rejections": (), "points": 3, "merged": 0, "excluded": 0, "most": 40}
    common |= {"workers": 3}
    limit = plan_text(**common, measure=Measure())
    each = schedule.WORKER_START_BYTES + schedule.WORKER_GROWTH_BYTES
    assert f"{units.size(3 * each)} for 3 worker processes at a time" in limit
    about = units.duration(assumed_s(some, Measure()))
    assert f"time: about {about} at an assumed 20.0 GFLOP/s for each thread, in 5 processes of 5 rounds" in limit
    kept = plan_text(**common, measure=Measure(budget=90.0), forecast_s=75.0)
    assert "time: at most 1 min 30 s, the budget, in up to 5 processes of 5 rounds" in kept
    told = plan_text(**common, measure=Measure(), forecast_s=75.0)
    assert "time: about 1 min 15 s" in told
    assert "last run on this machine" in told


def test_a_run_of_more_cases_and_workers_takes_longer() -> None:
    some = cases(known(20.0))[:2]
    one, two = assumed_s(some[:1], Measure()), assumed_s(some, Measure())
    assert one > Measure().max_time
    assert two > one
    assert assumed_s([some[0], replace(some[0], threads=7)], Measure()) > two


def test_compiling_takes_longer_and_trying_kernels_longer_still() -> None:
    eager = cases(known(20.0))[0]
    compiled = replace(eager, execution=Execution.COMPILED)
    tried = replace(compiled, compile_mode=CompileMode.MAX_AUTOTUNE)
    times = [assumed_s([case], Measure()) for case in (eager, compiled, tried)]
    assert times[1] > times[0] + Measure().processes * COMPILER_START_S
    assert times[2] > times[1] + (AUTOTUNE - 1) * COMPILE_S
    whole = known(20.0)
    assert (forecast_s([compiled], Measure(), whole) or 0) > (forecast_s([eager], Measure(), whole) or 0)


def test_a_worker_has_longer_to_prepare_a_compiled_case_than_an_eager_one() -> None:
    eager = cases(known(20.0))[0]
    compiled = replace(eager, execution=Execution.COMPILED)
    assert schedule.prepare_limit_s(eager, 7.0) == 7.0
    assert schedule.prepare_limit_s(replace(eager, execution=Execution.GRAPH), 7.0) == 7.0
    assert schedule.prepare_limit_s(compiled, 7.0) == 7.0 + schedule.COMPILE_LIMIT_S
    tried = replace(compiled, compile_mode=CompileMode.MAX_AUTOTUNE)
    assert schedule.prepare_limit_s(tried, 7.0) == 7.0 + schedule.AUTOTUNE_LIMIT_S


def test_a_layer_of_long_iterations_takes_as_long_as_its_flops_say() -> None:
    large = Case(
        problem=Problem(in_channels=512, out_channels=512, kernel_size=(3, 3), input_size=(224, 224), padding=(1, 1)),
        threads=1,
    )
    iteration_s = large.flops / ASSUMED_FLOPS_PER_S
    assert iteration_s > 10, "an iteration that is longer than max_time"
    counted = assumed_s([large], Measure()) - assumed_s([replace(large, problem=SMALL)], Measure())
    # Four blocks of it and three blocks of each companion, with a warm-up each, and preparing and checking.
    assert 10 * 2 * iteration_s < counted < 60 * iteration_s
    assert assumed_s([replace(large, threads=2)], Measure()) < counted


def test_a_budget_is_shared_out() -> None:
    some = cases(known(20.0))
    free = Measure()
    assert within_budget(some, free) is free
    ample = replace(free, budget=3600.0)
    assert within_budget(some, ample) == ample
    whole = assumed_s(some, free)
    tight, tighter = (within_budget(some, replace(free, budget=whole * share)) for share in (0.8, 0.7))
    assert tighter.max_time < tight.max_time < free.max_time
    assert assumed_s(some, tight) == pytest.approx(whole * 0.8, rel=0.02)
    assert within_budget(some, replace(free, budget=whole * 0.8, max_time=0.1)).max_time == 0.1


def test_a_budget_too_short_names_the_least_that_would_do() -> None:
    some = cases(known(20.0))
    with pytest.raises(RequestError, match="too short for 40 cases in 5 processes: they take") as told:
        within_budget(some, Measure(budget=5.0))
    least = int(told.value.message.split()[-2])
    assert within_budget(some, Measure(budget=float(least))).max_time >= 25 * 1e-3
