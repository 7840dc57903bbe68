from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convbench.measure import schedule
from convbench.model.case import Case, MemoryFormat
from convbench.model.lead import Lead
from convbench.model.problem import Direction, Problem
from convbench.model.result import Measure

DEFAULT = Measure()


def case(channels: int = 8, **settings: object) -> Case:
    problem = Problem(in_channels=channels, out_channels=8, kernel_size=(3, 3), input_size=(16, 16))
    return Case(problem=problem, **settings)


@pytest.mark.parametrize(
    ("measure", "seconds"),
    [
        (Measure(), 0.02),
        (Measure(max_time=10), 0.025),
        (Measure(max_time=0.1, processes=2, rounds=5), 0.01),
    ],
)
def test_a_block_is_an_equal_share_of_max_time_but_25_ms_at_most(measure: Measure, seconds: float) -> None:
    assert schedule.block_seconds(measure) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("iteration_s", "blocks"),
    [(1e-6, 25), (0.02, 25), (0.0201, 24), (0.1, 5), (0.25, 4), (0.3, 4), (10.0, 4)],
)
def test_a_slow_case_gets_fewer_blocks_but_four(iteration_s: float, blocks: int) -> None:
    assert schedule.blocks_in_run(iteration_s, DEFAULT) == blocks


def test_a_slow_case_of_one_process_gets_one_block() -> None:
    assert schedule.blocks_in_run(10.0, Measure(processes=1)) == 1


@given(total=st.integers(1, 200), processes=st.integers(1, 20))
def test_blocks_are_shared_among_processes_evenly_the_first_included(total: int, processes: int) -> None:
    shares = [schedule.blocks_in_process(total, index, processes) for index in range(processes)]
    assert sum(shares) == total
    assert shares[0] >= 1
    assert max(shares) - min(shares) <= 1


def test_two_blocks_of_five_processes_lie_apart() -> None:
    assert [schedule.blocks_in_process(2, index, 5) for index in range(5)] == [1, 0, 1, 0, 0]


def test_settled_needs_five_that_agree_from_four_processes() -> None:
    agreeing = [(0, 1.0), (0, 1.001), (1, 1.002), (2, 1.003), (3, 1.01)]
    assert schedule.is_settled(agreeing, 0.01, Lead.FLOOR)
    assert schedule.is_settled([*agreeing, (1, 5.0)], 0.01, Lead.FLOOR), "a slow block does not unsettle"
    lowest = [(0, 1.0)] * 5
    assert schedule.is_settled([*lowest, (1, 1.001), (2, 1.002), (3, 1.002)], 0.01, Lead.FLOOR), (
        "one process may hold the lowest"
    )
    assert not schedule.is_settled(agreeing[:4], 0.01, Lead.FLOOR), "four are too few"
    assert not schedule.is_settled([(index % 3, value) for index, (_, value) in enumerate(agreeing)], 0.01, Lead.FLOOR)
    assert not schedule.is_settled([*agreeing[:4], (3, 1.0101)], 0.01, Lead.FLOOR)
    assert not schedule.is_settled([*agreeing, (1, 0.9)], 0.01, Lead.FLOOR), "a new floor unsettles"


def test_a_device_is_settled_when_the_medians_of_most_processes_agree() -> None:
    agreeing = [(process_index, 1.0 + 0.004 * process_index) for process_index in range(4)] * 2
    assert schedule.is_settled(agreeing, 0.01, Lead.MEDIAN)
    assert schedule.is_settled([*agreeing, (4, 0.5)], 0.01, Lead.MEDIAN), "one process may differ"
    assert schedule.is_settled([*agreeing, (0, 0.1), (1, 0.1)], 0.01, Lead.MEDIAN), "a fast start does not unsettle"
    assert not schedule.is_settled(agreeing[:4], 0.01, Lead.MEDIAN), "four blocks are too few"
    assert not schedule.is_settled([(index % 3, 1.0) for index in range(9)], 0.01, Lead.MEDIAN)
    apart = [(process_index, 1.0 + 0.02 * process_index) for process_index in range(5)] * 2
    assert not schedule.is_settled(apart, 0.01, Lead.MEDIAN)


def test_cases_of_one_problem_share_a_cohort_wherever_they_stand() -> None:
    cases = [case(channels, memory_format=layout) for layout in MemoryFormat for channels in range(1, 41)]
    cohorts = schedule.cohorts(cases, memory_limit=10**12)
    where = {position: cohort.index for cohort in cohorts for position in cohort.positions}
    assert sorted(where) == list(range(80))
    assert all(where[position] == where[position + 40] for position in range(40))
    assert max(len(cohort.positions) for cohort in cohorts) <= schedule.COHORT_SIZE


def test_a_problem_with_more_settings_than_a_cohort_holds_stays_together() -> None:
    cases = [case(8, threads=threads) for threads in range(1, 50)] + [case(9)]
    cohorts = schedule.cohorts(cases, memory_limit=10**12)
    assert [len(cohort.positions) for cohort in cohorts] == [49, 1]


def test_memory_parts_cohorts_and_one_large_case_is_alone() -> None:
    cases = [case(channels) for channels in (8, 9, 4096, 10)]
    each = schedule.memory_bytes(cases[1])
    cohorts = schedule.cohorts(cases, memory_limit=3 * each)
    assert [cohort.positions for cohort in cohorts] == [(0, 1), (2,), (3,)]


def test_a_networks_budget_goes_half_by_count_times_work() -> None:
    one, three = case(8), case(24)
    assert schedule.cost(replace(three, count=3)) == 3 * three.flops
    moved = Case(problem=Problem(in_channels=8, out_channels=8, kernel_size=(1, 1), input_size=(16, 16), groups=8))
    assert schedule.cost(moved) == 10 * moved.bytes > moved.flops, "bytes take longer than FLOPs"
    assert schedule.budget_weights([one, three]) == (1.0, 1.0), "no network"
    assert schedule.budget_weights([replace(one, given_label="a"), three]) == pytest.approx((0.75, 1.25))
    assert schedule.budget_weights([replace(one, count=3), three]) == pytest.approx((1.0, 1.0))
    assert schedule.budget_weights([]) == ()
    both = [one, three, replace(one, dtype="bfloat16"), replace(three, dtype="bfloat16")]
    assert schedule.heaviest_first(both, (0.75, 1.25, 0.75, 1.25)) == [1, 3, 0, 2]
    batches = ((schedule.Cohort(index=0, positions=(0, 2)),), (schedule.Cohort(index=1, positions=(1,)),))
    assert [each.positions for [each] in schedule.placed(batches, [5, 7, 9])] == [(5, 9), (7,)]


def test_a_devices_own_memory_parts_its_cohorts() -> None:
    cases = [case(channels, device=device) for channels in (8, 9, 10) for device in ("cpu", "cuda:0", "cuda:1")]
    each = schedule.memory_bytes(cases[-1])
    cohorts = schedule.cohorts(cases, memory_limit=9 * each, device_limits={"cuda:0": 2 * each, "cuda:1": 1})
    assert [cohort.positions for cohort in cohorts] == [(0, 3, 6), (1, 4), (7,), (2,), (5,), (8,)]


def test_each_device_has_cohorts_of_its_own_and_its_cases_are_not_apart() -> None:
    cases = [case(channels, device=device) for channels in range(1, 5) for device in ("cpu", "cuda:0", "cuda:1")]
    cohorts = schedule.cohorts(cases, memory_limit=10**12)
    assert [cohort.positions for cohort in cohorts] == [(0, 3, 6, 9), (1, 4, 7, 10), (2, 5, 8, 11)]
    assert schedule.cohorts([], memory_limit=1) == ()
    batches = (cohorts,)
    assert schedule.apart(cases, batches) == frozenset()


def test_a_gradient_holds_more_memory_than_a_forward() -> None:
    assert schedule.memory_bytes(case(direction=Direction.BACKWARD)) > schedule.memory_bytes(case())


def test_the_order_of_a_round_is_random_and_repeats_for_the_same_seed() -> None:
    items = list(range(32))

    def order(seed: int, round_index: int) -> list[int]:
        return schedule.shuffled(items, seed=seed, process_index=0, cohort=0, round_index=round_index)

    assert order(1, 0) == order(1, 0)
    assert sorted(order(1, 0)) == items
    assert len({tuple(order(seed, index)) for seed in (1, 2) for index in range(5)}) == 10


def workers(case: Case) -> tuple[str, ...]:
    """A worker for each set of variables, and one more beside it."""
    return (str(case.env), f"{case.env} beside")


def test_cases_are_shared_out_so_that_their_workers_fit() -> None:
    some = [case(name, env=(("A", str(value)),)) for name in (1, 2) for value in range(5)]
    found = schedule.batches(some, workers, most=4)
    assert found == ((0, 1, 5, 6), (2, 3, 7, 8), (4, 9)), "each set of variables in one batch, whatever the problem"
    assert schedule.batches(some, workers, most=10) == (tuple(range(10)),)
    one_needs_two_all_the_same = tuple((value, value + 5) for value in range(5))
    assert schedule.batches(some, workers, most=1) == one_needs_two_all_the_same


def test_a_setting_that_varies_slower_than_the_workers_does_not_multiply_batches() -> None:
    some = [case(1, dtype=dtype, env=(("A", str(v)),)) for dtype in ("float32", "bfloat16") for v in range(6)]
    assert schedule.batches(some, workers, most=8) == ((0, 1, 2, 3, 6, 7, 8, 9), (4, 5, 10, 11))


def test_what_is_not_interleaved_is_known() -> None:
    some = [case(1, env=(("A", str(value)),)) for value in range(3)] + [case(2)]
    parted = schedule.grouped(some, workers, most_workers=4, memory_limit=10**12)
    assert schedule.apart(some, parted) == {0, 1, 2}
    assert [cohort.index for batch in parted for cohort in batch] == list(range(len(parted)))
    assert schedule.apart(some, schedule.grouped(some, workers, most_workers=8, memory_limit=10**12)) == frozenset()
    assert schedule.apart(some, schedule.grouped(some, workers, most_workers=8, memory_limit=1)) == {0, 1, 2}, (
        "memory parts them too"
    )


@pytest.mark.parametrize(
    ("free_bytes", "start_bytes", "expected"),
    [(0, None, 2), (2**30, None, 2), (4 * 2**30, None, 3), (24 * 2**30, None, 8), (24 * 2**30, 2 * 2**30, 3)],
)
def test_workers_alive_at_once_go_by_free_memory(free_bytes: int, start_bytes: int | None, expected: int) -> None:
    assert schedule.workers_at_once(free_bytes, start_bytes) == expected


@pytest.mark.parametrize(("cases", "max_time", "share"), [(10, 2.0, 1), (11, 2.0, 0.2), (4, 0.5, 1), (4, 0.3, 0.2)])
def test_references_cost_more_only_where_few_cases_have_time_enough(cases: int, max_time: float, share: float) -> None:
    measure = replace(Measure(), max_time=max_time)
    assert schedule.reference_seconds(cases, measure) == share * schedule.block_seconds(measure)
