"""p-values and q-values against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from convbench.measure.significance import p_values, q_values


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
@settings(deadline=None)
def test_q_values_are_scipys(p: list[float]) -> None:
    assert q_values(np.array(p)) == pytest.approx(stats.false_discovery_control(p, method="bh"), abs=1e-12)


def test_q_values_leave_out_what_is_unknown() -> None:
    q = q_values(np.array([0.01, np.nan, 0.04]))
    assert np.isnan(q[1])
    assert q[[0, 2]] == pytest.approx([0.02, 0.04])
    assert q_values(np.array([])).shape == (0,)


@pytest.mark.parametrize("processes", [2, 3, 5, 8, 30])
@pytest.mark.parametrize("factor", [1.0, 1.05])
def test_p_values_are_scipys_exact_rank_test(processes: int, factor: float) -> None:
    chance = np.random.default_rng(processes)
    base = chance.lognormal(0, 0.1, (50, processes))
    new = chance.lognormal(0.05, 0.1, (50, processes))
    found = p_values(base, new, np.full(50, processes), np.full(50, factor))
    for p, a, b in zip(found, base, new, strict=True):
        slower = stats.mannwhitneyu(b, a * factor, alternative="greater", method="exact").pvalue
        faster = stats.mannwhitneyu(a, b * factor, alternative="greater", method="exact").pvalue
        assert p == pytest.approx(min(slower, faster), rel=1e-9)


def test_p_values_of_unequal_cases_stand_beside_each_other() -> None:
    base = np.array([[1.0, 1.1, 1.2], [1.0, 1.1, np.nan], [np.nan] * 3])
    found = p_values(base, base * 2, np.array([3, 2, 0]), np.full(3, 1.05))
    assert found[:2] == pytest.approx([1 / 20, 1 / 6])
    assert np.isnan(found[2])


def test_equal_times_are_no_difference() -> None:
    same = np.full((1, 5), 1e-3)
    assert p_values(same, same, np.array([5]), np.ones(1)) == pytest.approx([1.0])
