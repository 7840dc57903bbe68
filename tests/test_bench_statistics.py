"""The statistics of bench/repeatability.py and of bench/detection.py, on numbers worked out by hand."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import pytest


def loaded(name: str) -> ModuleType:
    path = Path(__file__).parent.parent / "bench" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))  # as Python does for a script, which finds what lies beside it
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


@pytest.fixture(scope="module")
def repeatability() -> ModuleType:
    return loaded("repeatability")


@pytest.fixture(scope="module")
def detection() -> ModuleType:
    return loaded("detection_statistics")


def test_the_coefficient_of_variation(repeatability: ModuleType) -> None:
    assert repeatability.cv([2.0, 4.0]) == pytest.approx(math.sqrt(2) / 3)
    assert repeatability.cv([5.0, 5.0, 5.0]) == 0


def test_the_95th_percentile_is_over_all_pairs_in_either_order(repeatability: ModuleType) -> None:
    assert repeatability.p95_of_pairs([1.0, math.e]) == pytest.approx(1)
    assert repeatability.p95_of_pairs([math.e, 1.0]) == pytest.approx(1)
    # Three values make pairs 1, 2 and 3 apart; 95 % of the way from the first to the last of three is 2.9.
    assert repeatability.p95_of_pairs([1.0, math.e, math.exp(3)]) == pytest.approx(2.9)


def test_coverage_looks_at_the_next_run_and_at_all_others(repeatability: ModuleType) -> None:
    values, within = [1.0, 1.1, 1.0, 2.0], [0.2, 0.05, 0.0, 1.0]
    runs = [{"value": value, "within": ratio} for value, ratio in zip(values, within, strict=True)]
    following, every = repeatability.coverage(runs)
    assert following == pytest.approx(1 / 3), "1.1 lies within 20 % of 1.0; the others are told too little"
    # From 1.0 (20 %): 1.1 and 1.0. From 1.1 (5 %): none. From 1.0 (0 %): the other 1.0. From 2.0 (100 %): all three.
    assert every == pytest.approx(6 / 12)


def test_a_time_too_low_is_as_far_off_as_one_too_high(repeatability: ModuleType) -> None:
    assert repeatability.coverage([{"value": 1.0, "within": 0.25}, {"value": 0.8, "within": 0.25}]) == (1.0, 1.0)
    assert repeatability.coverage([{"value": 1.0, "within": 0.25}, {"value": 0.79, "within": 0.25}]) == (0.0, 0.0)


def test_a_summary_has_a_row_for_each_layer_and_tool(repeatability: ModuleType) -> None:
    layer = next(iter(repeatability.LAYERS))
    rows = [
        {"tool": tool, "wall_s": 1.0, "found": {layer: {"value": value, "within": 1.0, "typical": value}}}
        for tool in ("convbench", "torch.utils.benchmark")
        for value in (1.0, 1.5)
    ]
    ours, theirs = repeatability.summary(rows)
    assert (ours["tool"], ours["runs"], ours["held"]) == ("convbench", 2, 1.0)
    assert theirs["largest"] == 1.5
    assert "held" not in theirs


def test_bounds_are_exact_at_both_ends(detection: ModuleType) -> None:
    # Nothing in n trials: a share p would show nothing with the chance (1 - p)^n, which is 5 % at the bound.
    assert detection.at_most(0, 800) == pytest.approx(1 - 0.05 ** (1 / 800))
    assert detection.at_least(60, 60) == pytest.approx(0.05 ** (1 / 60))
    assert (detection.at_most(7, 7), detection.at_least(0, 7)) == (1.0, 0.0)
    assert (detection.at_most(0, 0), detection.at_least(0, 0)) == (1.0, 0.0), "nothing was tried"


def test_a_line_says_reached_or_missed(detection: ModuleType) -> None:
    def line(yes: int, no: int, wanted: float | None = None, *, few: bool = False) -> tuple[str, ...]:
        told: tuple[str, ...] = detection.line("", [{"is": True}] * yes + [{"is": False}] * no, is_so, wanted, few=few)
        return told[1:]

    def is_so(row: dict[str, bool]) -> bool:
        return row["is"]

    assert line(19, 1, 0.95) == ("19 of 20 (95.0%)", "at least 78.4%", "reached")
    assert line(18, 2, 0.95)[2] == "MISSED"
    assert line(0, 800, 0.0, few=True) == ("0 of 800 (0.0%)", "at most 0.37%", "reached")
    assert line(1, 1, 0.0, few=True)[2] == "MISSED"
    assert line(0, 0, 0.95) == ("0 of 0", "at least 0.0%", ""), "nothing to say"
    assert line(0, 1)[2] == "", "nothing was asked"


def test_a_third_waits_and_another_one_in_each_trial(detection: ModuleType) -> None:
    thirds = [detection.drawn("ab", trial, 40) for trial in range(6)]
    assert all(len(third) == 13 and third <= set(range(40)) for third in thirds)
    assert len({frozenset(third) for third in thirds}) == 6
    assert thirds[0] == detection.drawn("ab", 0, 40) != detection.drawn("planted", 0, 40)


def test_trials_of_all_parts_are_mixed(detection: ModuleType) -> None:
    order = detection.order({"same": 4, "ab": 2})
    assert order == [("same", 0), ("ab", 0), ("same", 1), ("same", 2), ("ab", 1), ("same", 3)]


def row_of(verdict: str = "unchanged", **more: object) -> dict[str, object]:
    usual = {"verdict": verdict, "beyond": False, "planted": False, "noise": 1.01, "confirmed": True, "ratio": 1.0}
    return {**usual, "low": 0.99, "high": 1.01, **more}


def test_what_was_planted_is_found_where_it_is_called_slower(detection: ModuleType) -> None:
    cases = [
        row_of("regressed", planted=True),
        row_of("improved", planted=True),
        row_of("regressed", planted=True, beyond=True),
        row_of("regressed"),
        row_of(),
    ]
    near, far, _, _, others, _ = detection.lines_of_ab([{"found": {"cases": cases, "discredited": False}}])
    assert near[1] == "1 of 2 (50.0%)", "faster is another thing than slower"
    assert far[1] == "1 of 1 (100.0%)"
    assert others[1] == "1 of 2 (50.0%)"


def test_planted_cases_are_told_by_their_verdicts(detection: ModuleType) -> None:
    cases = [
        row_of("regressed", planted=True),
        row_of("inconclusive", planted=True),
        row_of("unchanged", planted=True),
        row_of("regressed", planted=True),
        row_of(),
    ]
    side = {"cases": cases, "is_machine": False, "comparable": True}
    found = {line[0]: line[1] for line in detection.lines_of_planted([{"at_5": side, "default": side}])}
    assert found["10 % slower, found by a threshold of 5 %"] == "2 of 4 (50.0%)"
    assert found["... inconclusive"] == found["... called unchanged"] == "1 of 4 (25.0%)"
    assert found["not planted, flagged: not confirmed here"] == "0 of 1 (0.0%)"


def test_what_moved_by_itself_is_told_whatever_the_run_is_called(detection: ModuleType) -> None:
    assert detection.moved(row_of("inconclusive", ratio=1.06))
    assert not detection.moved(row_of(ratio=1.04))
    assert not detection.moved(row_of(ratio=1.06, noise=1.07)), "noise may be all of it"
    assert detection.moved_either_way(row_of(ratio=0.9))
    assert not detection.moved(row_of(ratio=0.9))


def test_an_interval_holds_1_where_it_reaches_from_below_to_above(detection: ModuleType) -> None:
    cases = [row_of(low=0.98, high=1.0), row_of(low=1.001, high=1.02, beyond=True)]
    screens = [{"low": [0.9, 0.9], "high": [0.99, 1.1]}]
    held, near, far, early, _ = detection.lines_of_identical([{"found": {"cases": cases}, "screens": screens}])
    assert [line[1] for line in (held, near, far, early)] == [
        "1 of 2 (50.0%)",
        "1 of 1 (100.0%)",
        "0 of 1 (0.0%)",
        "1 of 2 (50.0%)",
    ]


def test_pairs_that_were_refused_are_counted_and_not_judged(detection: ModuleType) -> None:
    def pair(verdict: str, refused: str | None = None) -> dict[str, object]:
        sides = {"before": {"cases": [row_of("regressed")]}, "at_5": {"cases": [row_of("regressed")]}}
        after = {"after": {"cases": [row_of(verdict)], "discredited": False}} if refused is None else {}
        return {"base": "0", "refused": refused, **sides, **after}

    rows: list[dict[str, object]] = [{"run": "0"}, pair("unchanged"), pair("regressed"), pair("", "another machine")]
    lines = detection.lines_of_same(rows)
    assert lines[0][1] == "1 of 3 (33.3%)"
    flagged = next(line for line in lines if line[0] == "cases flagged")
    assert (flagged[1], flagged[3]) == ("1 of 2 (50.0%)", "MISSED")


def test_how_findings_err_is_counted_by_what_was_planted() -> None:
    bench = loaded("findings")
    assert [bench.outcome(found, "a") for found in ([], [("a", "b")], [("b", "c")], [("a",), ("b",)])] == [
        "",
        "found",
        "wrong",
        "wrong",
    ]
    assert [bench.with_cliff("quiet", processes, 0, True) for processes in (3, 4)] == ["", "found"]
    with bench.fewest(1):
        assert bench.with_cliff("quiet", 3, 0, True) == "found"
    assert (bench.with_best("quiet", 4, 0, False), bench.with_best("quiet", 4, 0, True)) == ("", "found")
    assert bench.with_allocator("busy", 5, 0, False) == ""
