"""The statistics of bench/repeatability.py, on numbers worked out by hand."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def repeatability() -> ModuleType:
    path = Path(__file__).parent.parent / "bench" / "repeatability.py"
    spec = importlib.util.spec_from_file_location("repeatability", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
