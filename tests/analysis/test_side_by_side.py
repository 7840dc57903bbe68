"""Two environments side by side, from made-up pairs: the figures by hand, who is suspected, controls, the verdicts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from convbench.analysis.comparison import side_by_side
from convbench.analysis.comparison.judgment import Comparison, How, Judgment, Verdict
from convbench.analysis.comparison.side_by_side import (
    CONFIRMATION,
    FEWEST_PAIRS,
    HELD,
    SCREEN,
    SUSPECTED,
    THRESHOLD,
    Ratios,
    controls,
    ratios,
    suspects,
    widening,
)
from convbench.model.result import Block, Result, Run, Status
from convbench.report.text.compare import compare_text, verdict_text

#: Factors clearly beyond and within the threshold, whatever it is tuned to.
BEYOND, WITHIN = 1 + 1.2 * THRESHOLD, 1 + 0.8 * THRESHOLD
#: Floors of pairs that differ by less than matters, in seconds.
QUIET = [1e-3 * (1 + 0.01 * THRESHOLD * i) for i in range(max(SCREEN, FEWEST_PAIRS))]


def times(factor: float, floors: Sequence[float] = QUIET) -> list[float]:
    return [floor * factor for floor in floors]


def blocks(floors: Sequence[float], *, rounds: int = 2) -> tuple[Block, ...]:
    """Blocks with exactly these floors of pairs: the first block of each has it."""
    made = synthetic.blocks(1e-3, processes=len(floors), rounds=rounds)
    return tuple(replace(b, minimum_s=floors[b.process_index] * (1 + 0.01 * b.round_index)) for b in made)


def run(*floors: Sequence[float]) -> Run:
    """A run whose cases have these floors of pairs."""
    results = [synthetic.result(c, made=blocks(f)) for c, f in zip(synthetic.cases(len(floors)), floors, strict=True)]
    return replace(synthetic.empty_run(), results=tuple(results))


def with_result(base: Run, place: int, **changes: object) -> Run:
    results = list(base.results)
    results[place] = replace(results[place], **changes)
    return replace(base, results=tuple(results))


def compare(base: Run, new: Run, **options: object) -> Comparison:
    everything = range(len(base.results))
    return side_by_side.compare(base, new, **{"names": ("A", "B"), "confirmed": everything, **options})


def only(comparison: Comparison) -> Judgment:
    [judgment] = comparison.judgments
    return judgment


def of(base: Sequence[float], new: Sequence[float]) -> Ratios:
    return ratios(run(base).results, run(new).results)


# The figures


def test_figures_by_hand() -> None:
    found = of([1.0e-3, 1.1e-3, 1.2e-3], [1.2e-3, 1.1e-3, 1.5e-3])
    assert found.base_s == pytest.approx([1.0e-3], rel=1e-6)
    assert found.new_s == pytest.approx([1.1e-3], rel=1e-6)
    assert found.pooled == pytest.approx([1.1], rel=1e-6), "floor over floor, 1.1 / 1.0"
    assert found.median == pytest.approx([1.2], rel=1e-6), "of 1.2, 1.0 and 1.25"
    # Each of the 27 resamples has 3.7 %, more than a tail: the second pair thrice is the lower end, the third thrice
    # the upper one, before they are widened.
    wider = (widening(3) - 1) / 2 * math.log(1.25)
    assert np.log(found.low) == pytest.approx([-wider], rel=1e-6)
    assert np.log(found.high) == pytest.approx([math.log(1.25) + wider], rel=1e-6)
    assert found.noise == pytest.approx([math.exp(math.log(1.25) + wider) / 1.1], rel=1e-6), "its distance from 1.1"
    assert (found.pairs.tolist(), found.blocks.tolist()) == ([3], [6])


def test_the_median_of_an_even_number_of_pairs_is_the_geometric_mean_of_both_in_the_middle() -> None:
    found = of([1e-3] * 4, [1e-3, 1.1e-3, 1.2e-3, 2e-3])
    assert found.median == pytest.approx([math.sqrt(1.1 * 1.2)], rel=1e-6)


def test_the_interval_is_that_of_all_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 4 pairs all 256 resamples can be listed: the share of them beyond either end is what it is said to be."""
    base, new = [1.0, 1.02, 1.05, 1.01], [1.01, 1.09, 1.02, 1.05]
    widened, factor = of(base, new), widening(4)
    monkeypatch.setattr(side_by_side, "widening", lambda pairs: 1.0)
    found = of(base, new)
    half, wide = (math.log(one.high[0] / one.low[0]) for one in (found, widened))
    assert wide == pytest.approx(half * factor, rel=1e-9)
    assert widened.low * widened.high == pytest.approx(found.low * found.high), "about the same middle"
    lows, highs = [], []
    for drawn in itertools.product(range(4), repeat=4):
        b, n = np.array([base[i] for i in drawn]), np.array([new[i] for i in drawn])
        figures = [n.min() / b.min(), math.exp(np.median(np.log(n / b)))]
        lows.append(min(figures))
        highs.append(max(figures))
    tail = (1 - HELD) / 2
    below, above = np.array(lows) / found.low[0], found.high[0] / np.array(highs)
    for beyond in (below, above):  # many resamples fall on the end itself
        assert np.mean(beyond < 1 - 1e-6) <= tail + 0.01
        assert np.mean(beyond < 1 + 1e-6) >= tail - 0.01
    assert found.low[0] <= found.pooled[0] <= found.high[0]
    assert found.low[0] <= found.median[0] <= found.high[0]


@pytest.mark.parametrize("factor", [1.1, 1 / 1.1])
def test_the_interval_holds_both_figures_where_they_differ(factor: float) -> None:
    """One lucky pair of twelve has the floors of both sides: most resamples have it, hardly any mostly."""
    found = of([0.5e-3, *[1e-3] * 11], [0.5e-3 * factor, *[1e-3] * 11])
    assert (found.pooled[0], found.median[0]) == pytest.approx((factor, 1.0), rel=1e-6)
    beside = factor ** ((widening(12) - 1) / 2)
    ends = [factor * beside, 1.0 / beside]
    assert [found.low[0], found.high[0]] == pytest.approx(sorted(ends), rel=1e-6)


@pytest.mark.parametrize(("pairs", "accuracy"), [(3, 0.04), (4, 0.01), (12, 0.001), (16, 0.001), (100, 0.001)])
def test_intervals_of_few_pairs_are_widened_by_students_t(pairs: int, accuracy: float) -> None:
    tail = (1 + HELD) / 2
    exact = stats.t.ppf(tail, pairs - 1) / stats.norm.ppf(tail) * math.sqrt(pairs / (pairs - 1))
    assert widening(pairs) == pytest.approx(exact, rel=accuracy)
    assert widening(1) == 1.0


@pytest.mark.parametrize("pairs", [SCREEN, CONFIRMATION])
def test_intervals_of_few_pairs_hold_no_change_where_there_is_none(pairs: int) -> None:
    generator = np.random.default_rng(1)
    sides = [[list(floors) for floors in np.exp(generator.normal(0, 0.01, (400, pairs))) * 1e-3] for _ in range(2)]
    found = ratios(run(*sides[0]).results, run(*sides[1]).results)
    held = np.mean((found.low <= 1) & (found.high >= 1))
    assert 0.95 <= held < 1.0


def test_pairs_that_one_side_lacks_are_cut_and_blocks_to_equal_numbers() -> None:
    long, short = run([1e-3, 1e-3, 1e-3, 0.5e-3]), run([1e-3] * 3)
    more_rounds = synthetic.result(short.results[0].case, made=blocks([1e-3] * 3, rounds=3))
    found = ratios(long.results, [more_rounds])
    assert (found.pairs.tolist(), found.blocks.tolist()) == ([3], [6])
    assert found.pooled == pytest.approx([1.0], rel=1e-6)


def test_no_case_measured_gives_no_figures() -> None:
    found = ratios([], [])
    assert len(found.pooled) == len(found.median) == len(found.low) == len(found.pairs) == 0


FLOORS = st.lists(st.floats(1e-6, 1e-1), min_size=2, max_size=5)


@given(st.lists(st.tuples(FLOORS, FLOORS), min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_swapping_the_sides_inverts_the_ratios_and_mirrors_the_verdicts(
    cases: list[tuple[list[float], list[float]]],
) -> None:
    there = compare(run(*(a for a, _ in cases)), run(*(b for _, b in cases)))
    back = compare(run(*(b for _, b in cases)), run(*(a for a, _ in cases)))
    mirrored = {Verdict.REGRESSED: Verdict.IMPROVED, Verdict.IMPROVED: Verdict.REGRESSED}
    for one, other in zip(there.judgments, back.judgments, strict=True):
        assert other.verdict is mirrored.get(one.verdict, one.verdict)
        assert other.ratio == pytest.approx(1 / one.ratio, rel=1e-9)
        assert other.median_ratio == pytest.approx(1 / one.median_ratio, rel=1e-9)
        assert (other.low, other.high) == pytest.approx((1 / one.high, 1 / one.low), rel=1e-9)
        assert other.noise == pytest.approx(one.noise, rel=1e-9)


@given(FLOORS, FLOORS, st.floats(1e-3, 1e3))
@settings(max_examples=25, deadline=None)
def test_only_ratios_count(base: list[float], new: list[float], scale: float) -> None:
    one, other = of(base, new), of(times(scale, base), times(scale, new))
    for name in ("pooled", "median", "low", "high", "noise"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-5), name


@given(st.lists(st.tuples(st.floats(1e-6, 1e-1), st.floats(1e-6, 1e-1)), min_size=1, max_size=9), st.randoms())
@settings(max_examples=25, deadline=None)
def test_the_order_of_pairs_does_not_matter(pairs: list[tuple[float, float]], chance: object) -> None:
    mixed = list(pairs)
    chance.shuffle(mixed)
    one, other = (of([a for a, _ in some], [b for _, b in some]) for some in (pairs, mixed))
    assert other.pooled == pytest.approx(one.pooled, rel=1e-9)
    assert other.median == pytest.approx(one.median, rel=1e-9)
    assert one.low[0] <= one.high[0]


# Suspects and controls


def shifted(pooled: float, median: float) -> tuple[list[float], list[float]]:
    """Pairs of both sides whose floor ratio is the one figure, and the median of whose ratios is the other."""
    base = [0.5e-3, *[1e-3] * 4]
    new = [0.5e-3 * pooled, *[1e-3 * median] * 4]
    return base, new


def test_pairs_with_both_figures() -> None:
    found = of(*shifted(1.1, 1.01))
    assert (found.pooled[0], found.median[0]) == pytest.approx((1.1, 1.01), rel=1e-6)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_share_of_the_threshold_in_either_figure_is_suspect(sign: int) -> None:
    over, under = ((1 + share * SUSPECTED * THRESHOLD) ** sign for share in (1.1, 0.9))
    pairs = [shifted(1, 1), shifted(over, 1), shifted(1, over), shifted(under, under), shifted(over, 1 / over)]
    base, new = run(*(a for a, _ in pairs)), run(*(b for _, b in pairs))
    assert suspects(base, new) == [1, 2, 4]
    assert suspects(base, new, THRESHOLD * 1.3) == []


def test_open_is_where_both_figures_differ_or_the_interval_of_a_flag_holds_no_change() -> None:
    steady = [1e-3] * 6
    wild = times(1e-3, [1.0, 1.3, 1.0, 1.2, 1.1, 1.05])
    base = run(steady, steady, wild, wild, steady)
    shaken = times(1e-3, [0.95, 1.4, 0.95, 1.15, 1.05, 1.02])
    new = run(times(1.1, steady), [1e-3, *times(1.1, steady[1:])], shaken, times(0.95, wild), times(1.01, steady))
    found = ratios(base.results, new.results)
    assert [ways.tolist() for ways in found.beyond(THRESHOLD)] == [[1, 0, -1, -1, 0], [1, 1, -1, -1, 0]]
    assert [bool(low <= 1 <= high) for low, high in zip(found.low, found.high, strict=True)][2:4] == [True, False]
    everything = [THRESHOLD] * 5
    assert side_by_side.undecided(base.results, new.results, everything) == [1, 2]
    assert side_by_side.undecided(base.results, base.results, everything) == []
    failed = with_result(new, 1, status=Status.CRASHED)
    assert side_by_side.undecided(base.results, failed.results, [*everything[:2], 0.06, *everything[3:]]) == []


def test_what_did_not_pass_on_both_sides_is_neither_suspect_nor_control() -> None:
    base, new = run(*[QUIET] * 6), run(*[times(BEYOND)] * 3, *[QUIET] * 3)
    base = with_result(with_result(base, 0, status=Status.FAILED), 3, status=Status.CRASHED)
    new = with_result(with_result(new, 1, status=Status.TIMED_OUT), 4, blocks=())
    assert suspects(base, new) == [2]
    assert controls(base, new, [2], seed=1) == [5]


def test_controls_are_as_many_unchanged_cases_and_the_same_for_the_same_seed() -> None:
    base, new = run(*[QUIET] * 20), run(*[QUIET] * 20)
    suspected = [3, 4, 7]
    drawn = [controls(base, new, suspected, seed=seed) for seed in range(10)]
    for some in drawn:
        assert len(set(some)) == len(suspected)
        assert some == sorted(some)
        assert not {*some} & {*suspected}
    assert len({tuple(some) for some in drawn}) > 1, "drawn at random"
    assert drawn == [controls(base, new, suspected, seed=seed) for seed in range(10)]
    assert controls(base, new, [], seed=1) == []
    assert controls(base, new, range(15), seed=1) == [15, 16, 17, 18, 19], "all there are"


# The verdicts


@pytest.mark.parametrize(
    ("pooled", "median", "verdict"),
    [
        (BEYOND, BEYOND, Verdict.REGRESSED),
        (1 / BEYOND, 1 / BEYOND, Verdict.IMPROVED),
        (BEYOND, 1.0, Verdict.INCONCLUSIVE),
        (1.0, BEYOND, Verdict.INCONCLUSIVE),
        (1 / BEYOND, 1.0, Verdict.INCONCLUSIVE),
        (BEYOND, 1 / BEYOND, Verdict.INCONCLUSIVE),
        (WITHIN, WITHIN, Verdict.UNCHANGED),
        (1.0, 1.0, Verdict.UNCHANGED),
    ],
)
def test_a_flag_needs_both_figures(pooled: float, median: float, verdict: Verdict) -> None:
    base, new = shifted(pooled, median)
    found = compare(run(base), run(new))
    judgment = only(found)
    assert (judgment.verdict, found.verdict) == (verdict, verdict)
    assert (judgment.ratio, judgment.median_ratio) == pytest.approx((pooled, median), rel=1e-6)
    assert bool(judgment.reason) == (verdict is Verdict.INCONCLUSIVE)
    assert judgment.confirmed
    assert found.how is How.SIDE_BY_SIDE
    assert not found.is_machine
    if verdict is Verdict.INCONCLUSIVE:
        assert "measure again" in judgment.reason


def test_a_flag_whose_interval_holds_no_change_is_none() -> None:
    wild = times(1e-3, [1.0, 1.3, 1.0, 1.2, 1.1, 1.05])
    found = only(compare(run(wild), run(times(1e-3, [0.95, 1.4, 0.95, 1.15, 1.05, 1.02]))))
    assert found.low <= 1 <= found.high
    assert (found.verdict, found.ratio) == (Verdict.INCONCLUSIVE, pytest.approx(0.95, rel=1e-5))
    assert found.reason == "both moved by about -5.0 %, but their interval contains 0 %: measure again"
    assert only(compare(run(wild), run(times(0.95, wild)))).verdict is Verdict.IMPROVED


def test_the_threshold_may_be_another() -> None:
    base, new = run(QUIET), run(times(1.3))
    assert only(compare(base, new, threshold=0.29)).verdict is Verdict.REGRESSED
    assert only(compare(base, new, threshold=0.31)).verdict is Verdict.UNCHANGED
    assert only(compare(new, base, threshold=0.29)).verdict is Verdict.IMPROVED


def test_who_was_not_measured_again_is_not_flagged() -> None:
    base, new = run(QUIET, QUIET), run(times(2), times(2))
    found = compare(base, new, confirmed=[0])
    assert [judgment.verdict for judgment in found.judgments] == [Verdict.REGRESSED, Verdict.UNCHANGED]
    assert [judgment.confirmed for judgment in found.judgments] == [True, False]


def test_a_control_that_moves_withdraws_every_flag() -> None:
    base = run(*[QUIET] * 4)
    new = run(times(2), times(0.5), times(BEYOND), QUIET)
    controls = compare(base, new, control=[3])
    assert controls.verdict is Verdict.REGRESSED
    assert controls.notes == ()
    found = compare(base, new, control=[2, 3])
    withdrawn = [Verdict.INCONCLUSIVE] * 3
    assert [judgment.verdict for judgment in found.judgments] == [*withdrawn, Verdict.UNCHANGED]
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.groups == ()
    assert found.discredited
    assert all("control" in judgment.reason for judgment in found.judgments[:3])
    [note] = found.notes
    assert note.startswith("1 control moved")
    assert base.results[2].case.label in note
    improved = compare(base, run(times(2), times(0.5), times(1 / BEYOND), QUIET), control=[2])
    assert improved.verdict is Verdict.INCONCLUSIVE, "an unchanged case that improves is no less a bad sign"
    unsure = compare(base, run(times(2), QUIET, shifted(1.0, 1.0)[1], QUIET), control=[3])
    assert unsure.verdict is Verdict.REGRESSED


def test_a_control_of_which_the_figures_disagree_discredits_nothing() -> None:
    pairs = [(QUIET, times(2)), shifted(BEYOND, 1.0)]
    found = compare(run(*(a for a, _ in pairs)), run(*(b for _, b in pairs)), control=[1])
    assert [judgment.verdict for judgment in found.judgments] == [Verdict.REGRESSED, Verdict.INCONCLUSIVE]
    assert found.verdict is Verdict.REGRESSED


def test_without_any_control_the_reader_is_told() -> None:
    base, new = run(QUIET), run(times(2))
    assert "no case was left as a control" in compare(base, new).notes
    assert compare(base, run(QUIET), confirmed=[]).notes == ()


TROUBLES: list[tuple[dict[str, object], dict[str, object], str]] = [
    ({"status": Status.FAILED, "reason": "is 7, should be 9"}, {}, "failed in A: is 7, should be 9"),
    ({}, {"status": Status.CRASHED, "reason": "SIGSEGV"}, "crashed in B: SIGSEGV"),
    ({"status": Status.TIMED_OUT}, {"status": Status.ERROR, "reason": "no"}, "timed out in A; error in B: no"),
    ({"blocks": ()}, {}, "not timed"),
]


@pytest.mark.parametrize(("base_changes", "new_changes", "reason"), TROUBLES)
def test_what_a_side_could_not_measure_is_told_and_not_judged(
    base_changes: dict[str, object], new_changes: dict[str, object], reason: str
) -> None:
    base, new = run(QUIET, QUIET), run(times(2), QUIET)
    base, new = with_result(base, 0, **base_changes), with_result(new, 0, **new_changes)
    found = compare(base, new)
    judgment = found.judgments[0]
    assert (judgment.verdict, judgment.reason) == (Verdict.NOT_JUDGED, reason)
    assert (judgment.base_status, judgment.new_status) == (base.results[0].status, new.results[0].status)
    assert math.isnan(judgment.ratio)
    assert found.judgments[1].verdict is Verdict.UNCHANGED
    assert found.verdict is Verdict.UNCHANGED
    assert reason in compare_text(found)


def test_a_control_that_could_not_be_measured_again_discredits_nothing() -> None:
    base, new = run(QUIET, QUIET), run(times(2), times(2))
    found = compare(base, with_result(new, 1, status=Status.CRASHED), control=[1])
    assert [judgment.verdict for judgment in found.judgments] == [Verdict.REGRESSED, Verdict.NOT_JUDGED]


def test_skipped_cases_change_nothing() -> None:
    base, new = run(*[QUIET] * 5), run(*[QUIET] * 5)
    for place in range(4):
        base, new = (with_result(side, place, status=Status.SKIPPED, blocks=()) for side in (base, new))
    found = compare(base, new, confirmed=[])
    assert found.verdict is Verdict.UNCHANGED, "one of one case that was there to be judged"
    nothing = with_result(base, 4, status=Status.SKIPPED, blocks=())
    assert compare(nothing, new, confirmed=[]).verdict is Verdict.NOT_JUDGED


def test_fewer_than_half_judged_is_inconclusive_with_a_way_out() -> None:
    noisy = [1e-3, 2e-3, 3e-3, 4e-3, 5e-3], [5e-3, 2e-3, 3e-3, 4e-3, 1e-3 * BEYOND]
    pairs = [noisy, (QUIET, QUIET), noisy]
    found = compare(run(*(a for a, _ in pairs)), run(*(b for _, b in pairs)))
    assert [judgment.verdict for judgment in found.judgments].count(Verdict.INCONCLUSIVE) == 2
    assert found.verdict is Verdict.INCONCLUSIVE
    last = verdict_text(found)
    assert "too few of the cases could be judged" in last
    assert "use ab" not in last
    assert found.longer > 1
    assert "times as many pairs" in last


def test_too_few_pairs_tell_nothing() -> None:
    for count in range(1, FEWEST_PAIRS):
        judgment = only(compare(run([1e-3] * count), run([2e-3] * count)))
        assert judgment.verdict is Verdict.INCONCLUSIVE
        assert judgment.ratio == judgment.low == judgment.high == pytest.approx(2.0, rel=1e-6)
        assert judgment.reason == "too few pairs to separate a change from noise"
    assert only(compare(run([1e-3] * FEWEST_PAIRS), run([2e-3] * FEWEST_PAIRS))).verdict is Verdict.REGRESSED


@pytest.mark.parametrize("floors", [[0.0] * 4, [math.nan] * 4, [math.inf] * 4])
def test_times_that_are_none_are_not_judged(floors: list[float]) -> None:
    for base, new in ((floors, QUIET), (QUIET, floors), (floors, floors)):
        found = compare(run(base, QUIET), run(new, QUIET))
        assert found.judgments[0].verdict is Verdict.NOT_JUDGED
        assert found.judgments[0].reason
        assert found.verdict is Verdict.UNCHANGED
        assert found.moved == pytest.approx(0.0, abs=1e-6)
        assert compare_text(found)


def test_no_case_measured_on_both_sides() -> None:
    base, new = run(QUIET), run(QUIET)
    found = compare(with_result(base, 0, status=Status.CRASHED, blocks=()), new)
    assert (found.verdict, found.moved, found.longer) == (Verdict.INCONCLUSIVE, 0.0, 1.0)
    assert compare_text(found)


def test_moved_is_the_median_case_either_way() -> None:
    found = compare(run(*[QUIET] * 3), run(times(1.5), times(1 / 1.2), QUIET))
    assert found.moved == pytest.approx(0.2, rel=1e-5)


# What differs


def test_threads_that_differ_are_told_and_forbid_nothing() -> None:
    base, new = run(QUIET, QUIET), run(times(0.5), times(0.5))
    for place in range(2):
        new = with_result(new, place, facts=replace(new.results[place].facts, threads=2))
    found = compare(base, new)
    [difference] = found.differences
    assert str(difference) == "threads 1 -> 2 in 2 cases"
    assert found.comparable
    assert found.verdict is Verdict.IMPROVED
    assert "differs: threads 1 -> 2 in 2 cases\n" in compare_text(found)


def test_environments_that_differ_are_told_and_forbid_nothing() -> None:
    base, new = run(QUIET), run(QUIET)
    other = replace(new.environment, torch="2.14.0", variables=(("ONEDNN_MAX_CPU_ISA", "AVX2"),), executable="/b")
    found = compare(base, replace(new, environment=other))
    told = [str(difference) for difference in found.differences]
    assert "torch 2.13.0+cpu -> 2.14.0" in told
    assert "ONEDNN_MAX_CPU_ISA not set -> AVX2" in told
    assert "interpreter unknown -> /b" in told
    assert found.comparable


def test_probes_are_not_compared() -> None:
    """They were taken in the same minutes, by whichever worker was at hand."""
    base = run(*[QUIET] * 12)
    made = tuple(replace(block, compute_probe_s=1.0) for block in blocks(QUIET))
    slow = tuple(synthetic.result(result.case, made=made) for result in base.results)
    assert compare(base, replace(base, results=slow)).differences == ()


def test_an_implementation_that_changed_is_the_cause() -> None:
    base = run(QUIET)
    new = run(times(2))
    new = replace(new, results=(synthetic.with_facts(new.results[0], implementation="Slow2d ref"),))
    judgment = only(compare(base, new))
    assert [cause.what for cause in judgment.causes] == ["implementation"]


def test_changes_that_share_settings_are_a_group() -> None:
    base = run(*[QUIET] * 24)
    is_slow = [result.case.direction == "backward" for result in base.results]
    new = run(*(times(2) if slow else QUIET for slow in is_slow))
    [group] = compare(base, new).groups
    assert (group.name, len(group.changed)) == ("backward", sum(is_slow))


# On noise


def noisy(side: str, *, count: int = 120, factor: Callable[[int], float] = lambda i: 1.0) -> Run:
    """Pairs on a machine whose noise only adds time, some of it to a whole process."""
    results: list[Result] = []
    for i, case in enumerate(synthetic.cases(count)):
        floor = synthetic.floor_s(case) * factor(i)
        made = synthetic.noisy_blocks(floor, processes=CONFIRMATION, process=0.01, seed=f"{side} {i}")
        results.append(synthetic.result(case, made=made))
    return replace(synthetic.empty_run(), results=tuple(results))


@pytest.fixture(scope="module")
def base() -> Run:
    return noisy("a")


@pytest.fixture(scope="module")
def same(base: Run) -> Run:
    return noisy("b")


def test_intervals_of_identical_environments_hold_one(base: Run, same: Run) -> None:
    found = ratios(base.results, same.results)
    held = (found.low <= 1) & (found.high >= 1)
    assert np.mean(held) >= 0.95
    assert np.median(found.noise) < 1.01, "and not by being wide"


def test_intervals_hold_a_change_that_is_there(base: Run) -> None:
    slower = ratios(base.results, noisy("c", factor=lambda i: 1.05).results)
    held = (slower.low <= 1.05) & (slower.high >= 1.05)
    assert np.mean(held) >= 0.95


def test_noise_alone_flags_nothing(base: Run, same: Run) -> None:
    found = compare(base, same)
    assert found.counts[Verdict.REGRESSED] == found.counts[Verdict.IMPROVED] == 0
    assert found.verdict is Verdict.UNCHANGED


@pytest.mark.parametrize(("factor", "verdict"), [(1.05, Verdict.REGRESSED), (1 / 1.05, Verdict.IMPROVED)])
def test_a_twentieth_more_or_less_is_told(base: Run, factor: float, verdict: Verdict) -> None:
    moved = noisy("d", factor=lambda i: factor if i % 3 == 0 else 1.0)
    found = compare(base, moved)
    told = [judgment.verdict is verdict for judgment in found.judgments]
    assert sum(told[::3]) >= 0.95 * len(told[::3])
    assert sum(told) == sum(told[::3]), "and nobody else"
    assert found.verdict is verdict
