"""Blocks to figures: plain numbers, no dependence on order, many cases as one."""

from __future__ import annotations

import math
import random
import statistics
from dataclasses import replace

import numpy as np
import pytest
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from convbench.measure import estimate
from convbench.model.lead import Lead
from convbench.model.result import BLOCK_LAYOUTS, LAYOUT, NAN, Block, pack_blocks


def block(**given: float) -> Block:
    fields: dict[str, float] = dict.fromkeys(BLOCK_LAYOUTS[LAYOUT], 1.0)
    fields |= {"process_index": 0, "round_index": 0, "order": 0, "iterations": 10, "samples": 10}
    return Block(**(fields | given))


def table(*cases: list[Block], lead: Lead = Lead.FLOOR) -> estimate.BlockTable:
    parts = [[(LAYOUT, pack_blocks(blocks))] if blocks else [] for blocks in cases]
    return estimate.table_of(parts, [lead] * len(parts))


def by_name(figures: estimate.Estimates) -> dict[str, NDArray[np.generic]]:
    """All figures, those of the median block among them."""
    found = {name: getattr(figures, name) for name in estimate.Estimates.__slots__ if name != "median_block"}
    return {**found, **figures.median_block}


def one(blocks: list[Block]) -> dict[str, float]:
    return {name: values[0].item() for name, values in by_name(estimate.estimate(table(blocks))).items()}


def test_the_figures_of_a_case_worked_out_by_hand() -> None:
    # Two processes; values are powers of two apart where that keeps float32 exact.
    blocks = [
        block(process_index=0, minimum_s=1.0, median_s=4.0, p95_s=40, page_faults=0, samples=3),
        block(process_index=0, minimum_s=1.015625, median_s=2.0, p95_s=20, page_faults=8, samples=4),
        block(process_index=1, minimum_s=1.25, median_s=3.0, p95_s=30, page_faults=5, samples=5),
        block(process_index=1, minimum_s=2.0, median_s=8.0, p95_s=80, page_faults=1, samples=6),
    ]
    figures = one(blocks)
    assert figures["floor_s"] == 1.0
    assert figures["typical_s"] == 3.5  # between 3 and 4
    assert figures["spread"] == 0.25  # process floors 1 and 1.25
    assert figures["support"] == 0.5  # 1 and 1.015625 are within 3 % of 1
    assert (figures["processes"], figures["blocks"], figures["samples"]) == (2, 4, 18)
    assert (figures["p95_s"], figures["page_faults"]) == (30, 5)  # the lower of the middle two has median 3


def test_one_process_has_no_spread() -> None:
    assert math.isnan(one([block(), block(minimum_s=2.0)])["spread"])


def test_no_block_is_no_figure_and_does_not_disturb_its_neighbours() -> None:
    blocks = list(synthetic.blocks(1e-3))
    figures = estimate.estimate(table([], blocks, [], [], blocks, []))
    alone = one(blocks)
    for name, values in by_name(figures).items():
        assert values[1] == values[4] or (name == "host_s" and np.isnan(values[1]))
        assert values[1] == pytest.approx(alone[name], nan_ok=True, rel=0)
        nothing = [0, 0, 0, 0] if name in ("processes", "blocks", "samples") else [NAN] * 4
        np.testing.assert_array_equal(values[[0, 2, 3, 5]], nothing)


def test_no_case_at_all() -> None:
    figures = estimate.estimate(table())
    assert all(len(values) == 0 for values in by_name(figures).values())
    assert all(len(values) == 2 for values in by_name(estimate.estimate(table([], []))).values())


few = st.sampled_from([0.5, 1.0, 1.02, 1.5, 2.0])
some_blocks = st.lists(
    st.builds(
        block,
        process_index=st.integers(0, 3),
        minimum_s=few,
        median_s=few,
        page_faults=st.sampled_from([0.0, 1.0, 7.0]),
        p95_s=few,
        host_s=few,
        compute_probe_s=few | st.just(NAN),
        samples=st.integers(1, 9),
    ),
    max_size=12,
)


@given(st.lists(some_blocks, max_size=5), st.integers(0, 2**32))
@settings(deadline=None)
def test_the_summary_does_not_depend_on_the_order_of_blocks(cases: list[list[Block]], seed: int) -> None:
    chance = random.Random(seed)
    shuffled = [chance.sample(blocks, len(blocks)) for blocks in cases]
    first, second = (by_name(estimate.estimate(table(*blocks))) for blocks in (cases, shuffled))
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name], err_msg=name)


@given(st.lists(some_blocks, max_size=5))
@settings(deadline=None)
def test_many_cases_at_once_are_the_same_as_one_by_one_in_plain_python(cases: list[list[Block]]) -> None:
    figures = estimate.estimate(table(*cases))
    for i, blocks in enumerate(cases):
        assert figures.blocks[i] == len(blocks)
        if not blocks:
            continue
        minima = [np.float32(b.minimum_s).item() for b in blocks]
        assert figures.floor_s[i] == min(minima)
        assert figures.typical_s[i] == statistics.median(np.float32(b.median_s).item() for b in blocks)
        assert figures.support[i] == sum(m <= min(minima) * 1.03 for m in minima) / len(minima)
        assert figures.samples[i] == sum(b.samples for b in blocks)
        floors = [
            min(m for m, b in zip(minima, blocks, strict=True) if b.process_index == p)
            for p in {b.process_index for b in blocks}
        ]
        assert figures.processes[i] == len(floors)
        expected = max(floors) / min(floors) - 1 if len(floors) > 1 else NAN
        np.testing.assert_equal(figures.spread[i], expected)
        middle = statistics.median_low(np.float32(b.median_s).item() for b in blocks)
        of_median = {
            (b.page_faults, np.float32(b.p95_s).item()) for b in blocks if np.float32(b.median_s).item() == middle
        }
        median = figures.median_block
        assert (median["page_faults"][i], median["p95_s"][i]) in of_median


def test_the_visits_of_a_case_are_one_group() -> None:
    blocks = list(synthetic.blocks(1e-3))
    visits = [(LAYOUT, pack_blocks([b for b in blocks if b.process_index == p])) for p in range(5)]
    assert estimate.estimate(estimate.table_of([visits], [Lead.FLOOR])).floor_s == one(blocks)["floor_s"]


def test_an_older_layout_is_read_by_the_names_of_its_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BLOCK_LAYOUTS, -1, ("median_s", "gone", "minimum_s", "process_index", "samples"))
    old = np.array([[2.0, 9.0, 1.0, 3.0, 7.0]], dtype="<f4").tobytes()
    read = estimate.table_of([[(-1, old), (LAYOUT, pack_blocks([block(minimum_s=0.5)]))]], [Lead.FLOOR])
    figures = estimate.estimate(read)
    assert (figures.floor_s[0], figures.processes[0], figures.samples[0]) == (0.5, 2, 17)
    assert np.isnan(read.column("compute_probe_s")[0])


def test_torn_rows_and_unknown_layouts_are_refused() -> None:
    packed = pack_blocks([block()])
    with pytest.raises(ValueError, match="not a whole number of rows"):
        estimate.table_of([[(LAYOUT, packed[:-4])]], [Lead.FLOOR])
    with pytest.raises(ValueError, match="unknown block layout 99"):
        estimate.table_of([[(99, packed)]], [Lead.FLOOR])


def test_noise_compares_probes_of_one_kind_of_worker_only() -> None:
    quick = [block(compute_probe_s=c) for c in (1.0, 1.0, 2.0)]
    slow = [block(compute_probe_s=c) for c in (8.0, 8.0, 24.0, NAN)]
    noise = estimate.noise(table(quick, [], slow), ["one thread", "one thread", "two threads"])
    assert noise.ratio == 1.0  # 1 1 2 and 1 1 3, not 24 times the lowest of all
    assert noise.quiet == pytest.approx(4 / 6)
    assert noise.probes == 6
    np.testing.assert_array_equal(noise.of_case, [1.0, NAN, 1.0])


def test_noise_is_the_median_over_the_lowest_of_the_whole_run() -> None:
    cases = [[block(compute_probe_s=c) for c in probes] for probes in ((1.0,), (1.5, 1.5), (2.0, 4.0))]
    noise = estimate.noise(table(*cases), ["same"] * 3)
    assert noise.ratio == 1.5
    np.testing.assert_array_equal(noise.of_case, [1.0, 1.5, 3.0])


def test_without_probes_noise_is_unknown() -> None:
    noise = estimate.noise(table([block(compute_probe_s=NAN)]), ["client"])
    assert math.isnan(noise.ratio) and math.isnan(noise.of_case[0])
    assert noise.probes == 0


def test_a_slow_spell_does_not_move_the_floor() -> None:
    blocks = list(synthetic.blocks(1e-3, noise=0.0))
    spoilt = [replace(b, minimum_s=b.minimum_s * 3, median_s=b.median_s * 3) if b.round_index else b for b in blocks]
    assert one(spoilt)["floor_s"] == pytest.approx(one(blocks)["floor_s"], rel=0.005)
    assert one(spoilt)["support"] == 0.2


def test_what_was_measured_beside_a_case_is_compared_with_as_many_of_its_blocks_in_that_process() -> None:
    steady = [
        block(process_index=0, round_index=0, minimum_s=1.0),
        block(process_index=0, round_index=1, minimum_s=1.25),
        block(process_index=0, round_index=2, minimum_s=0.5),  # one more than was taken beside it
        block(process_index=1, round_index=0, minimum_s=0.25),  # another process
    ]
    system = [
        block(process_index=0, round_index=0, minimum_s=2.0),
        block(process_index=0, round_index=1, minimum_s=1.5),
    ]
    tried = estimate.beside(table(steady), table(system))
    assert (tried.time_s.tolist(), tried.own_s.tolist(), tried.own_highest_s.tolist()) == ([1.5], [1.0], [1.25])


def test_a_case_with_nothing_beside_it_has_nothing_to_compare() -> None:
    one_block = [block(minimum_s=1.0)]
    tried = estimate.beside(table(one_block, [], one_block), table([], one_block, one_block))
    assert np.isnan((tried.time_s / tried.own_s)[:2]).all()
    assert (tried.time_s[2], tried.own_s[2], tried.own_highest_s[2]) == (1.0, 1.0, 1.0)
    assert np.isnan(estimate.beside(table(one_block), table([])).time_s).all()
