"""The time left of a run, in which some cases time out."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from fake_engine import FakeEngine, Script
from numbered_cases import case
from test_forecast import cases, known

from convbench import units
from convbench.cli import progress as shown_by
from convbench.conduct.processes import Hooks, Processes, Progress
from convbench.engine.pool import WorkerPool
from convbench.measure.forecast import forecast_s
from convbench.measure.left import Spent, left_s
from convbench.model.result import Measure, Status


def test_visits_take_as_long_as_those_that_were_timed() -> None:
    spent = Spent(seconds=20.0, visits=10, tried=10, lost=0, lost_s=0.0)
    assert left_s(spent, visits=40, untried=0, processes=5) == pytest.approx(80.0)


def test_a_timeout_is_no_part_of_later_visits() -> None:
    spent = Spent(seconds=140.0, visits=10, tried=10, lost=2, lost_s=120.0)
    assert left_s(spent, visits=32, untried=0, processes=5) == pytest.approx(80.0)


def test_cases_that_were_not_tried_are_expected_to_be_lost_as_often() -> None:
    spent = Spent(seconds=140.0, visits=10, tried=10, lost=2, lost_s=120.0)
    visits = 32 + 10 * 5
    assert left_s(spent, visits=visits, untried=10, processes=5) == pytest.approx(2.5 * (32 + 8 * 5) + 2 * 60.0)


def test_nothing_is_said_while_nothing_was_timed() -> None:
    assert left_s(Spent(seconds=60.0, visits=1, tried=1, lost=1, lost_s=60.0), visits=9, untried=1, processes=5) is None


def seconds_of(text: str) -> float:
    """The seconds in `1 min 20 s left`."""
    found = re.search(r"(?:(\d+) h )?(?:(\d+) min ?)?(?:(\d+) s )?left$", text)
    if found is None or "under 1 s" in text:
        return 1.0
    return sum(int(part or 0) * unit for part, unit in zip(found.groups(), (3600, 60, 1), strict=True))


@pytest.mark.parametrize("hanging", [set(), {3}, {3, 40, 41, 70, 99}], ids=["none", "one", "five"])
def test_the_time_left_is_right_where_cases_time_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], hanging: set[int]
) -> None:
    """100 cases in four cohorts. The time left is compared with the time that it then took.

    While cases are untried, it can only expect that as many time out as before.
    """
    engine = FakeEngine(Script(hang_in_prepare=hanging))
    monkeypatch.setattr(shown_by.time, "monotonic", lambda: engine.now)
    monkeypatch.setattr(shown_by, "LINE_S", 0.0)
    shown = shown_by.RunProgress()
    told: list[tuple[float, float, Progress]] = []

    def progressed(progress: Progress) -> None:
        shown.progressed(progress)
        line = capsys.readouterr().err.strip()
        if line.endswith("left"):
            told.append((engine.now, seconds_of(line), progress))

    hooks = Hooks(
        stored=lambda visits: None, progressed=progressed, process_noted=lambda facts: None,
        process_finished=lambda index: None,
    )  # fmt: skip
    Processes(
        [case(number) for number in range(1, 101)],
        Measure(precision=1e-6),
        seed=1,
        pool=WorkerPool(engine),
        memory_limit=10**12,
        hooks=hooks,
        clock=lambda: engine.now,
    ).run()
    assert len(told) > 100
    late = [(at, left, progress) for at, left, progress in told if engine.now - at > 10 and progress.visits_done >= 25]
    assert len(late) > 50
    for at, left, progress in late:
        most = 6 if progress.untried else 2.5
        assert 0.5 < left / (engine.now - at) < most, f"{units.duration(left)} left at {at:.0f} of {engine.now:.0f} s"


def test_a_forecast_counts_a_known_timeout_once() -> None:
    run = known(40.0)
    late, *others = run.results
    with_timeout = replace(
        known(100.0), results=(replace(late, status=Status.TIMED_OUT, reason="no answer", blocks=()), *others)
    )
    whole = forecast_s(cases(run)[1:], run.measure, replace(run, results=tuple(others)))
    again = forecast_s(cases(run), run.measure, with_timeout)
    assert whole is not None
    assert again == pytest.approx(whole + run.measure.timeout, rel=0.05)
    assert forecast_s(cases(run)[1:], run.measure, with_timeout) == pytest.approx(whole, rel=0.05)
