"""A case's history: equal numbers of blocks, series of machines, steps and what differs there; trends of sweeps."""

from __future__ import annotations

import math
import random
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import synthetic
from commands import Command, store
from nights import nights, run_of
from synthetic import blocks, cases

from convbench.actions import read
from convbench.analysis.history import history, steps
from convbench.analysis.history.history import Series, differences_at, trends
from convbench.errors import RequestError, RunNotFoundError
from convbench.measure import estimate
from convbench.measure.alike import equal_times
from convbench.model.lead import Lead
from convbench.model.result import LAYOUT, Git, Run, Status, pack_blocks
from convbench.model.threshold import Thresholds
from convbench.report.text.history import history_text, sparkline
from convbench.store import Store

CASE = cases(1)[0]


def only(runs: Sequence[Run]) -> Series:
    (series,) = history.history(runs, Thresholds())
    return series


# ---- steps


def test_a_step_stands_where_the_level_changes() -> None:
    chance = random.Random(1)
    floors = [level * (1 + chance.gauss(0, 0.01)) for level in [1.0] * 5 + [1.1] * 4 + [0.8] * 3]
    found = steps.levels(floors, 0.05)
    assert [(level.start, level.stop) for level in found] == [(0, 5), (5, 9), (9, 12)]
    assert [level.time_s for level in found] == pytest.approx([1.0, 1.1, 0.8], rel=0.02)


@pytest.mark.parametrize(
    "floors",
    [
        [],
        [1.0],
        [1.0] * 40,
        [1.0, 1.0, 2.0, 2.0, 2.0],  # two runs are no level
        [1.0] * 10 + [2.0] * 2,
        [1.0] * 5 + [3.0] + [1.0] * 5,  # one slow night
        [1.0] * 20 + [1.04] * 20,  # as clear as can be, but under the threshold
    ],
)
def test_no_step_is_told_without_three_runs_on_either_side_and_more_than_the_threshold(floors: list[float]) -> None:
    assert len(steps.levels(floors, 0.05)) == min(len(floors), 1)


def test_drift_as_it_is_measured_is_no_step_and_ten_percent_are_one() -> None:
    chance = random.Random(2)
    wolf = found = 0
    for _ in range(200):
        quiet = [1e-3 * (1 + chance.gauss(0, 0.02)) for _ in range(20)]
        wolf += len(steps.levels(quiet, 0.05)) > 1
        moved = [floor * (1.1 if night >= 17 else 1.0) for night, floor in enumerate(quiet)]
        found += [level.stop for level in steps.levels(moved, 0.05)][:-1] == [17]
    assert wolf <= 4
    assert found >= 180


def test_noise_is_told_from_steps_and_never_taken_for_none() -> None:
    import numpy as np

    chance = np.random.default_rng(3)
    logs = chance.normal(0, 0.03, 200)
    logs[100:] += 1
    assert steps.noise(logs, 0.05) == pytest.approx(0.03, rel=0.25)
    assert steps.noise(np.zeros(20), 0.05) == pytest.approx(0.05 / 2.77, rel=0.01)


# ---- equal numbers


def floors_of(*runs: Sequence[Sequence[float]]) -> tuple[list[float], list[bool], int, int]:
    """`equal_times` of runs, each given as its processes' block minima."""
    (one,) = blocks(1.0, processes=1, rounds=1)
    held = [
        [
            (LAYOUT, pack_blocks([replace(one, process_index=p, round_index=r, minimum_s=low)]))
            for p, lows in enumerate(processes)
            for r, low in enumerate(lows)
        ]
        for processes in runs
    ]
    equal = equal_times(estimate.table_of(held, [Lead.FLOOR] * len(held)))
    return equal.time_s.tolist(), equal.alike.tolist(), equal.processes, equal.blocks


def test_floors_are_over_the_blocks_that_all_runs_have() -> None:
    found = floors_of([[5, 4, 1], [6, 7]], [[5, 4], [3, 8]], [[2, 9], [9, 9], [1, 1]])
    assert found == ([4, 3, 2], [True] * 3, 2, 4)


def test_a_run_with_few_blocks_cuts_no_other() -> None:
    floors, alike, processes, blocks_in_all = floors_of([[5, 4, 1]], [[2]], [[7, 7, 3]], [[]])
    assert floors[:3] == [1, 2, 3] and math.isnan(floors[3])
    assert alike == [True, False, True, False]
    assert (processes, blocks_in_all) == (1, 3)
    assert floors_of([[]], [[]])[1:] == ([False, False], 0, 0)
    assert floors_of() == ([], [], 0, 0)


# ---- series


def test_an_upgrade_is_a_step_that_is_told_with_it() -> None:
    series = only(nights([1e-3] * 4 + [1.3e-3] * 3, upgrade=5))
    (step,) = series.steps
    assert (step.before.run.id[6:8], step.after.run.id[6:8]) == ("04", "05")
    assert step.ratio == pytest.approx(1.3, rel=0.02)
    assert (step.base_runs, step.new_runs) == (4, 3)
    told = [str(one) for one in differences_at([step])]
    assert "torch 2.12.0 -> 2.13.0" in told
    assert f"commit {'4' * 40} -> {'5' * 40}" in told
    assert "host runner-4 -> runner-5" in told


def test_what_ran_leads_and_a_branch_is_told() -> None:
    runs = nights([1e-3] * 3 + [2e-3] * 3)
    changed = [
        replace(
            run,
            results=tuple(synthetic.with_facts(result, implementation="ref:any") for result in run.results),
            git=Git(commit="f" * 40, branch="upgrade"),
        )
        for run in runs[3:]
    ]
    (step,) = only([*runs[:3], *changed]).steps
    told = [str(one) for one in differences_at([step])]
    assert told[0].endswith("-> ref:any")
    assert told[-1] == "branch main -> upgrade"


def test_another_machine_is_another_series_and_another_host_is_not() -> None:
    runs = nights([1e-3] * 3 + [2e-3] * 3)
    moved = [replace(run, environment=replace(run.environment, cpu="Another CPU")) for run in runs[3:]]
    found = history.history([*runs[:3], *moved], Thresholds())
    assert [str(series.machine) for series in found] == [
        "AMD EPYC 7B13, x86_64, 2 cores",
        "Another CPU, x86_64, 2 cores",
    ]
    assert [len(series.points) for series in found] == [3, 3]
    assert not any(series.steps for series in found)
    gpu = [replace(run, environment=replace(run.environment, accelerator="H100")) for run in runs]
    assert len(history.history([*runs[:3], *gpu[3:]], Thresholds())) == 1, "a case on the processor"


def test_only_what_passed_is_judged() -> None:
    runs = nights([1e-3] * 7)
    failed = replace(runs[3], results=(replace(runs[3].results[0], status=Status.FAILED, reason="wrong"),))
    series = only([*runs[:3], failed, *runs[4:]])
    assert [point.judged for point in series.points] == [True] * 3 + [False] + [True] * 3
    assert str(series.points[3].time_s) == "nan"
    assert series.steps == ()


# ---- trends


def test_a_trend_is_the_median_over_cases_and_gathers_steps() -> None:
    (trend,) = trends(history.history(nights([1e-3] * 4 + [1.5e-3] * 3, many=5), Thresholds()))
    assert trend.cases == 5
    assert [moment.ratio for moment in trend.moments] == pytest.approx([1, 1, 1, 1, 1.5, 1.5, 1.5], rel=0.02)
    (move,) = trend.moves
    assert len(move.steps) == 5
    assert move.ratio == pytest.approx(1.5, rel=0.02)


def test_a_single_run_is_no_trend() -> None:
    assert trends(history.history(nights([1e-3]), Thresholds())) == ()
    assert trends(history.history([], Thresholds())) == ()


# ---- the verb


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Seven nights on a runner, an upgrade of torch in the fifth; a run with few blocks and one that failed."""
    path = tmp_path / "reports" / "convbench.db"
    runs = nights([1e-3] * 4 + [1.3e-3] * 3, upgrade=5, many=2)
    few = replace(
        run_of(8, 1.3e-3, torch="2.13.0"),
        results=(synthetic.result(CASE, made=blocks(1.3e-3, processes=1, rounds=2, seed=8)),),
        git=Git(commit="d" * 40, branch="other", dirty=True),
    )
    wrong = replace(
        run_of(9, 1.3e-3, torch="2.13.0"),
        results=(synthetic.result(CASE, status=Status.FAILED, reason="output[0]\nis 4"),),
        git=None,
    )
    for run in (*runs, few, wrong):
        store(run, path)
    return path


def test_history_has_a_line_a_run_and_a_sentence_a_step(command: Command, database: Path) -> None:
    said = command("history", CASE.id)
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert lines[0] == f"{CASE.id}  {CASE.label}"
    assert lines[2].startswith("AMD EPYC 7B13, x86_64, 2 cores: 9 runs  ▁")
    assert lines[3].split() == ["started", "(UTC)", "run", "commit", "branch", "torch", "floor", "change"]
    rows = lines[4:13]
    assert [row.split()[2] for row in rows] == [f"202611{night:02}-033000-ab{night:02}" for night in range(1, 10)]
    assert rows[0].startswith("2026-11-01 03:30  ")
    assert " main    2.13.0  1.30 ms  +" in rows[4]
    assert "too few blocks" in rows[7] and "dddddddddd+" in rows[7]
    assert rows[8].endswith("output[0] is 4") and " failed " in rows[8]
    (step,) = (line for line in lines if line.startswith("step "))
    assert "from run 20261104-033000-ab04 to run 20261105-033000-ab05: 1.0" in step
    assert "torch 2.12.0 -> 2.13.0" in step and "median of 4 and of 3 runs" in step
    assert "commit 4444444444 -> 5555555555" in step
    assert lines[-1] == "floors over 12 blocks of 3 processes"


def test_history_of_part_of_the_runs(command: Command, database: Path) -> None:
    said = command("history", CASE.id[:6], "--last", "3", "--branch", "main")
    assert said.code == 0
    rows = [line.split()[2] for line in said.out.splitlines() if line.startswith("2026-")]
    assert rows == [f"202611{night:02}-033000-ab{night:02}" for night in (5, 6, 7)]
    assert said.out.splitlines()[-1] == "it takes 6 runs to detect a step; floors over 12 blocks of 3 processes"
    (alone,) = (
        line for line in command("history", CASE.id, "--last", "1").out.splitlines() if line.startswith("2026-")
    )
    assert "ab09" in alone


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("history",), "Missing argument"),
        (("history", "nonsense"), "is the id of no case"),
        (("history", ""), "begins the ids of 2 cases"),
        (("history", CASE.id, "--last", "0"), "greater than or equal to 1"),
        (("history", CASE.id, "--last", "x"), "valid integer"),
        (("history", CASE.id, "--branch", "never"), "on branch 'never'"),
        (("history", CASE.id, "--db", "nowhere.db"), "there is no database"),
    ],
)
def test_nonsense_is_a_wrong_request(
    command: Command, database: Path, arguments: tuple[str, ...], message: str
) -> None:
    said = command(*arguments)
    assert (said.code, said.out) == (2, "")
    assert message in said.err


def test_api_refuses_no_runs_and_no_last(database: Path) -> None:
    with pytest.raises(RunNotFoundError, match="branch 'x'") as refused:
        read.history(CASE.id, db=str(database), branch="x")
    assert refused.value.hint == "runs on main, other measured it"
    with pytest.raises(RequestError, match="last 0"):
        read.history(CASE.id, db=str(database), last=0)


def test_a_case_that_no_process_has_reached_has_no_history(tmp_path: Path) -> None:
    run = nights([1e-3])[0]
    waiting = replace(run, results=(), unmeasured=(CASE,))
    store(waiting, tmp_path / "runs.db")
    with pytest.raises(RunNotFoundError, match="has measured case"):
        read.history(CASE.id, db=str(tmp_path / "runs.db"))


def test_steady_floors_make_a_low_line_of_bars() -> None:
    assert sparkline([1.0, 1.001, 1.002]) == "▁▁▁"
    assert sparkline([1.0, 2.0, 4.0]) == "▁▅█"
    assert sparkline([1.0, 1.06, 1.0]) == "▁▅▁"


def test_a_steady_case_is_told_to_have_no_step() -> None:
    told = history_text(history.history(nights([1e-3] * 6), Thresholds())).splitlines()[-1]
    assert told == "no step of more than 5 % with 3 runs on either side; floors over 12 blocks of 3 processes"


@pytest.mark.parametrize("name", ["schema_v1.db", "schema_v2.db"])
def test_databases_of_every_schema_have_a_history(name: str, tmp_path: Path) -> None:
    path = shutil.copy(Path(__file__).parent.parent / "data" / name, tmp_path)
    with Store.open(str(path)) as opened:
        every = opened.past()
        assert [run.id for run in every] == [run.id for run in reversed(opened.runs())]
    results = [result for run in every for result in run.results if result.blocks]
    (series, *_) = read.history(results[0].case.id, db=str(path))
    assert results[0].case.id in history_text([series])


def test_a_list_of_runs_tells_commits_and_branches_where_any_run_has_them(command: Command, database: Path) -> None:
    head, *rows = command("runs").out.splitlines()
    assert " torch   commit       branch  host " in head
    assert " dddddddddd+  other " in rows[1]
    assert " 2.13.0                       " in rows[0], "this one has neither"
    store(replace(nights([1e-3])[0], git=None), Path("other.db"))
    assert "commit" not in command("--db", "other.db", "runs").out


def test_user_text_breaks_no_line() -> None:
    runs = [
        replace(
            run,
            environment=replace(run.environment, cpu="two\nlines", torch="2.13\n.0", hostname="a\nb"),
            git=Git(commit="c" * 40, branch="x\ny"),
        )
        for run in nights([1e-3] * 3 + [2e-3] * 3)
    ]
    text = history_text(history.history(runs, Thresholds()))
    assert len(text.splitlines()) == 2 + 1 + 1 + 6 + 1 + 1
