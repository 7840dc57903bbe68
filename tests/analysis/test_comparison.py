"""What changed between two runs: the rule, its properties, what is refused, the groups, the text."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import synthetic
from golden_files import golden
from hypothesis import given, settings
from hypothesis import strategies as st
from timed_runs import STEADY, blocks, process_floors, run, times

from convbench.analysis.comparison.comparability import Difference
from convbench.analysis.comparison.comparison import compare
from convbench.analysis.comparison.judgment import Comparison, Judgment, Verdict
from convbench.errors import NotComparableError
from convbench.model.case import Cache, Case, MemoryFormat
from convbench.model.problem import PaddingWord, Problem
from convbench.model.references import ReferenceKind
from convbench.model.result import LAYOUT, Block, Device, Git, ProcessFacts, Rejection, Run, Status, pack_blocks
from convbench.model.threshold import Special, Thresholds
from convbench.report.text.compare import compare_text, verdict_text

#: One threshold for all, so that figures are easy to foretell.
FIVE = Thresholds(threshold=0.05, beyond_l2=0.05)


def pair(base: Sequence[Sequence[float]], new: Sequence[Sequence[float]], thresholds: Thresholds = FIVE) -> Comparison:
    return compare(run(base), run(new), thresholds)


def only(comparison: Comparison) -> Judgment:
    [judgment] = comparison.judgments
    return judgment


# The rule


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [
        (1.0, Verdict.UNCHANGED),
        (1.045, Verdict.UNCHANGED),
        (1.055, Verdict.REGRESSED),
        (3.0, Verdict.REGRESSED),
        (1 / 1.045, Verdict.UNCHANGED),
        (1 / 1.055, Verdict.IMPROVED),
    ],
)
def test_a_change_beyond_the_threshold_is_told(factor: float, verdict: Verdict) -> None:
    judgment = only(pair([STEADY], [times(factor)]))
    assert judgment.verdict is verdict
    assert judgment.ratio == pytest.approx(factor, rel=1e-6)
    assert judgment.low == pytest.approx(factor / 1.02 / 1.01, rel=1e-6)
    assert judgment.high == pytest.approx(factor * 1.02 * 1.01, rel=1e-6)
    assert judgment.noise == pytest.approx(1.02 * 1.01, rel=1e-6)
    assert (judgment.processes, judgment.blocks) == (5, 10)


def test_a_change_within_the_noise_of_either_side_is_none() -> None:
    apart = [1e-3, 1.08e-3, 1.08e-3, 1.08e-3, 1.1e-3]
    for judgment in (only(pair([apart], [times(1.07)])), only(pair([times(1.07)], [apart]))):
        assert judgment.verdict is Verdict.INCONCLUSIVE
        assert judgment.low < 1 < judgment.high
        assert judgment.reason == "its interval contains 0 %: use ab"
    assert only(pair([apart], [times(1.1)])).verdict is Verdict.REGRESSED
    assert only(pair([STEADY], [times(1.07, apart)])).verdict is Verdict.REGRESSED, "all are above those of the base"
    assert only(pair([STEADY], [apart])).smallest_seen == pytest.approx(1.08 * 1.01 - 1, rel=1e-5)


def test_one_process_that_stands_apart_hides_no_change() -> None:
    disturbed = [1e-3, 1.01e-3, 1.01e-3, 1.02e-3, 1.4e-3]
    assert only(pair([disturbed], [times(1.06, disturbed)])).verdict is Verdict.REGRESSED
    assert only(pair([disturbed[1:]], [times(1.06, disturbed[1:])])).verdict is Verdict.INCONCLUSIVE, "four count all"


@given(st.floats(0.5, 2.0), st.lists(st.floats(1e-3, 1.2e-3), min_size=1, max_size=6), st.data())
def test_no_case_is_flagged_whose_interval_holds_no_change(
    factor: float, floors: list[float], data: st.DataObject
) -> None:
    others = data.draw(st.lists(st.floats(1e-3, 1.2e-3), min_size=1, max_size=6))
    judgment = only(pair([floors], [times(factor, others)]))
    if judgment.verdict in (Verdict.REGRESSED, Verdict.IMPROVED):
        assert judgment.low > 1 or judgment.high < 1
        assert min(len(floors), len(others)) >= 4
        assert abs(math.log(judgment.ratio)) >= math.log1p(judgment.smallest_seen) * (1 - 1e-9)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_few_processes_show_no_change(processes: int) -> None:
    found = pair([STEADY[:processes]], [times(2)[:processes]])
    assert found.verdict is only(found).verdict is Verdict.INCONCLUSIVE
    on = "1 process" if processes == 1 else f"{processes} processes"
    assert only(found).reason == f"measured in {on} of each run, a judgment needs 4: use ab"
    assert math.isnan(only(found).q) == (processes == 1)
    assert "1 case looks changed and could not be judged (use ab)" in verdict_text(found)
    assert pair([STEADY[:processes]], [STEADY[:processes]]).verdict is Verdict.INCONCLUSIVE


def test_the_threshold_is_the_sweeps() -> None:
    assert only(pair([STEADY], [times(1.1)], Thresholds(threshold=0.2, beyond_l2=0.2))).verdict is Verdict.UNCHANGED
    assert only(pair([STEADY], [times(1.04)], Thresholds(threshold=0.02, beyond_l2=0.02))).verdict is Verdict.REGRESSED


def test_the_threshold_of_a_case() -> None:
    small = synthetic.cases(1)[0]
    large = replace(small, problem=replace(small.problem, input_size=(512, 512)))
    layer = replace(small.problem, in_channels=32, groups=32, kernel_size=(3, 3), padding=(1, 1))
    depthwise, cold, device = (
        replace(small, problem=layer),
        replace(small, cache=Cache.COLD),
        replace(large, device="cuda"),
    )
    found = Thresholds(
        specials=(
            Special(settings=(("groups", "depthwise"),), threshold=0.2),
            Special(settings=(("padding", "half"), ("dtype", "bfloat16")), threshold=0.3),
        )
    )
    l2 = 2**20
    assert [found.of(case, l2) for case in (small, large, cold, device)] == [0.03, 0.12, 0.12, 0.03]
    assert found.of(small, None) == 0.12
    assert found.of(depthwise, l2) == 0.2
    assert found.of(replace(depthwise, dtype="bfloat16"), l2) == 0.3


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "groups": st.sampled_from([1, 4, "depthwise"]),
                "padding": st.sampled_from([(0, 0), (1, 1), "half", PaddingWord.SAME]),
                "dtype": st.sampled_from(["float32", "bfloat16"]),
                "threads": st.sampled_from([None, 1]),
            },
        ),
        max_size=8,
    ),
    st.sampled_from([1, 2, 4]),
    st.sampled_from([(0, 0), (1, 1), PaddingWord.SAME]),
    st.sampled_from(["float32", "bfloat16"]),
)
def test_of_several_specials_the_last_that_holds_stands(
    specials: list[dict[str, object]], groups: int, padding: tuple[int, int] | PaddingWord, dtype: str
) -> None:
    shape = {"in_channels": 4, "out_channels": 4, "kernel_size": (3, 3), "input_size": (8, 8)}
    case = Case(problem=Problem(**shape, groups=groups, padding=padding), dtype=dtype)
    has = {"groups": [groups], "padding": [padding], "dtype": [dtype], "threads": [None]}
    has["groups"] += ["depthwise"] if groups == 4 else []
    has["padding"] += ["half"] if padding == (1, 1) else []
    expected = 0.03
    for number, wanted in enumerate(specials):
        if all(value in has[name] for name, value in wanted.items()):
            expected = 0.1 + number / 100
    found = Thresholds(
        specials=tuple(
            Special(settings=tuple(wanted.items()), threshold=0.1 + number / 100)
            for number, wanted in enumerate(specials)
        )
    )
    assert found.of(case, 2**30) == expected


def test_the_smaller_cache_of_both_sides_decides() -> None:
    small = replace(synthetic.environment(), l2_bytes=2**10)
    one = run([STEADY])
    assert only(compare(one, one)).threshold == 0.03
    assert only(compare(replace(one, environment=small), one)).threshold == 0.12


def test_unequal_numbers_of_processes_and_blocks_are_cut_to_equal_ones() -> None:
    case = synthetic.cases(1)[0]
    many = synthetic.noisy_blocks(1e-3, processes=5, rounds=5, seed=1)
    few = synthetic.noisy_blocks(1e-3, processes=3, rounds=4, seed=2)
    cut = tuple(block for block in many if block.process_index < 3 and block.round_index < 4)

    def of(made: tuple[Block, ...]) -> Run:
        return replace(synthetic.empty_run(), results=(synthetic.result(case, made=made),))

    whole, equal = only(compare(of(many), of(few))), only(compare(of(cut), of(few)))
    assert (whole.processes, whole.blocks) == (3, 12)
    assert (whole.ratio, whole.low, whole.high, whole.noise) == (equal.ratio, equal.low, equal.high, equal.noise)


def test_a_resumed_run_lacks_a_process_and_the_others_are_paired_in_order() -> None:
    made = tuple(replace(block, process_index=block.process_index * 2) for block in blocks(STEADY))
    late = replace(synthetic.empty_run(), results=(synthetic.result(synthetic.cases(1)[0], made=made),))
    judgment = only(compare(run([STEADY]), late))
    assert (judgment.processes, judgment.ratio) == (5, 1.0)


# Properties


both_sides = st.lists(st.tuples(process_floors, process_floors), min_size=1, max_size=8)
MIRRORED = {Verdict.REGRESSED: Verdict.IMPROVED, Verdict.IMPROVED: Verdict.REGRESSED}


@given(both_sides)
@settings(deadline=None)
def test_swapping_the_sides_mirrors_the_verdicts(sides: list[tuple[list[float], list[float]]]) -> None:
    base, new = ([side[i] for side in sides] for i in (0, 1))
    there, back = pair(base, new), pair(new, base)
    assert [MIRRORED.get(j.verdict, j.verdict) for j in there.judgments] == [j.verdict for j in back.judgments]
    for a, b in zip(there.judgments, back.judgments, strict=True):
        assert (1 / a.ratio, 1 / a.low, 1 / a.high) == pytest.approx((b.ratio, b.high, b.low))
        assert a.low <= a.ratio <= a.high
        assert (a.noise, a.threshold) == (pytest.approx(b.noise), b.threshold)
        assert a.q == pytest.approx(b.q, nan_ok=True)
    assert there.moved == pytest.approx(back.moved)
    assert there.shift == pytest.approx(1 / back.shift)


@given(both_sides, st.sampled_from([0.25, 2.0, 1024.0]))
@settings(deadline=None)
def test_scaling_both_sides_changes_nothing(sides: list[tuple[list[float], list[float]]], scale: float) -> None:
    base, new = ([side[i] for side in sides] for i in (0, 1))
    plain, scaled = pair(base, new), pair([times(scale, f) for f in base], [times(scale, f) for f in new])
    assert [j.verdict for j in plain.judgments] == [j.verdict for j in scaled.judgments]
    assert [j.ratio for j in plain.judgments] == [j.ratio for j in scaled.judgments]


@given(both_sides, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_no_order_matters(sides: list[tuple[list[float], list[float]]], chance: random.Random) -> None:
    base, new = (run([side[i] for side in sides]) for i in (0, 1))

    def shuffled(one: Run) -> Run:
        results = []
        for result in one.results:
            made = list(synthetic.blocks_of(result))
            chance.shuffle(made)
            results.append(replace(result, blocks=((LAYOUT, pack_blocks(made)),)))
        chance.shuffle(results)
        return replace(one, results=tuple(results))

    def told(found: Comparison) -> dict[str, tuple[object, ...]]:
        return {j.case.id: (j.verdict, j.ratio, j.low, j.high, j.noise, j.q) for j in found.judgments}

    plain, other = compare(base, new, FIVE), compare(shuffled(base), shuffled(new), FIVE)
    assert told(plain) == told(other)
    assert plain.verdict is other.verdict


def noisy(seed: str, factor: Callable[[int], float] = lambda i: 1.0, count: int = 40) -> Run:
    """A run of the same code under noise as on a shared machine: spells, and something that goes with the process."""
    results = [
        synthetic.result(
            case,
            made=synthetic.noisy_blocks(
                synthetic.floor_s(case) * factor(i), process=0.002 * (i % 20), noise=0.4, seed=f"{seed} {i}"
            ),
        )
        for i, case in enumerate(synthetic.cases(count))
    ]
    return replace(synthetic.empty_run(), results=tuple(results))


def test_noise_alone_flags_nothing() -> None:
    """20 pairs of runs of 40 cases; with three in 800 flagged, the rate would still lie under 1 % (95 of 100)."""
    flagged = 0
    for index in range(20):
        found = compare(noisy(f"base {index}"), noisy(f"new {index}"), FIVE)
        flagged += found.counts[Verdict.REGRESSED] + found.counts[Verdict.IMPROVED]
        assert not found.is_machine
    assert flagged <= 3


def test_intervals_hold_one_as_often_as_they_say() -> None:
    held = [
        judgment.low <= 1 <= judgment.high
        for index in range(10)
        for judgment in compare(noisy(f"base {index}"), noisy(f"new {index}"), FIVE).judgments
    ]
    assert np.mean(held) >= 0.97


def test_a_tenth_slower_in_a_third_of_the_cases_is_found() -> None:
    found, quiet, planted = 0, 0, 0
    for index in range(10):
        slower = noisy(f"new {index}", lambda i: 1.1 if i % 3 == 0 else 1.0)
        judgments = compare(noisy(f"base {index}"), slower, FIVE).judgments
        some = [judgment for judgment in judgments[::3] if judgment.noise <= 1.04]
        planted += len(judgments[::3])
        quiet += len(some)
        found += sum(judgment.verdict is Verdict.REGRESSED for judgment in some)
    assert quiet >= 0.6 * planted
    assert found >= 0.95 * quiet


# Cases that are not judged


def test_what_cannot_be_compared_is_told_with_its_reason() -> None:
    cases = synthetic.cases(9)
    base, new = run([STEADY] * 9, cases), run([STEADY] * 9, cases)
    refused = Rejection(label=cases[8].label, reason="the kernel is too large")

    def become(one: Run, place: int, status: Status, reason: str) -> Run:
        results = list(one.results)
        results[place] = replace(results[place], status=status, reason=reason)
        return replace(one, results=tuple(results))

    base = become(base, 0, Status.FAILED, "output[0] is 3")
    new = become(new, 1, Status.CRASHED, "the worker ended by signal 11")
    new = become(new, 2, Status.OUT_OF_MEMORY, "17 GiB")
    new = replace(
        new,
        results=(*new.results[:3], *new.results[6:8]),
        unmeasured=(cases[5],),
        rejections=(refused,),
    )
    base = replace(base, results=(*base.results[:6], *base.results[7:]))
    found = compare(base, new)
    assert {judgment.case: judgment.reason for judgment in found.judgments} == {
        cases[0]: "failed in BASE: output[0] is 3",
        cases[1]: "crashed in NEW: the worker ended by signal 11",
        cases[2]: "out of memory in NEW: 17 GiB",
        cases[3]: "only in BASE",
        cases[4]: "only in BASE",
        cases[5]: "not reached yet in NEW",
        cases[6]: "only in NEW",
        cases[7]: "",
        cases[8]: "only in BASE: torch would refuse it in NEW: the kernel is too large",
    }
    assert found.counts[Verdict.NOT_JUDGED] == 8
    assert found.judged == 1


@pytest.mark.parametrize(
    ("statuses", "reason"),
    [
        ((Status.PASSED, Status.IMPRECISE), "imprecise in NEW: less precision than float32"),
        ((Status.IMPRECISE, Status.PASSED), "imprecise in BASE: less precision than float32"),
        ((Status.IMPRECISE, Status.IMPRECISE), "imprecise in NEW: less precision than float32"),
    ],
)
def test_less_precision_is_never_told_as_faster_or_slower(statuses: tuple[Status, Status], reason: str) -> None:
    def ended(one: Run, status: Status) -> Run:
        told = None if status is Status.PASSED else "less precision than float32"
        return replace(one, results=(replace(one.results[0], status=status, reason=told), *one.results[1:]))

    sides = run([STEADY] * 3), run([[time / 2 for time in STEADY], STEADY, STEADY])
    found = compare(*(ended(one, status) for one, status in zip(sides, statuses, strict=True)))
    assert (found.judgments[0].verdict, found.judgments[0].reason) == (Verdict.NOT_JUDGED, reason)
    assert (found.judgments[0].base_status, found.judgments[0].new_status) == statuses
    assert (found.verdict, found.counts[Verdict.IMPROVED]) == (Verdict.UNCHANGED, 0)


def test_a_case_whose_time_is_nothing_is_not_judged() -> None:
    found = pair([[0.0] * 3], [STEADY[:3]])
    assert (only(found).verdict, only(found).reason) == (Verdict.NOT_JUDGED, "no time to compare")


def test_runs_without_a_common_case_are_not_comparable() -> None:
    one, other = run([STEADY]), replace(run([STEADY, STEADY]), results=run([STEADY, STEADY]).results[1:])
    with pytest.raises(NotComparableError, match="no case in common"):
        compare(one, other)


# The verdict of all


def test_three_quarters_of_the_cases_must_be_judged() -> None:
    loud = [1e-3, 1.2e-3, 1.2e-3, 1.2e-3]
    calm = STEADY[:4]
    enough, too_few, most = [[calm] * 3 + [loud], [calm, calm, loud], [calm, loud, loud]]
    found = pair(enough, enough)
    assert found.verdict is Verdict.UNCHANGED
    assert ", 1 inconclusive (most +0.0 %); judged 3 of 4; " in verdict_text(found)
    found = pair(too_few, too_few)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "too few of the cases could be judged (use ab)" in verdict_text(found)
    assert pair(most, most).longer > 1
    assert pair(most, [times(2, calm), loud, loud]).verdict is Verdict.REGRESSED, "what is seen is told"


def test_a_case_that_looks_changed_and_cannot_be_judged_is_enough_to_be_inconclusive() -> None:
    many = [STEADY] * 9
    found = pair([*many, STEADY[:3]], [*many, times(0.28, STEADY[:3])])
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "9 unchanged, 1 inconclusive (most -72.0 %)" in verdict_text(found)
    assert pair([*many, STEADY[:3]], [*many, times(0.96, STEADY[:3])]).verdict is Verdict.UNCHANGED


def test_cases_of_one_run_alone_and_skipped_ones_do_not_make_a_run_noisy() -> None:
    cases = synthetic.cases(9)
    grown = compare(run([STEADY], cases[:1]), run([STEADY] * 9, cases))
    assert (grown.verdict, grown.judged, len(grown.judgments)) == (Verdict.UNCHANGED, 1, 9)
    one = run([STEADY] * 9, cases)
    skipped = tuple(replace(result, status=Status.SKIPPED, reason="no cuda") for result in one.results[1:])
    some = replace(one, results=(one.results[0], *skipped))
    assert compare(some, some).verdict is Verdict.UNCHANGED
    none = replace(one, results=skipped)
    assert compare(none, none).verdict is Verdict.NOT_JUDGED


def test_where_the_median_case_moves_the_machine_did() -> None:
    base = [STEADY] * 8
    found = pair(base, [times(1.1)] * 5 + [STEADY] * 3)
    assert found.is_machine
    assert found.moved == pytest.approx(0.1, rel=1e-4)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.counts == {Verdict.INCONCLUSIVE: 8}
    assert "half of all cases moved by about 10.0 %" in found.judgments[0].reason
    assert pair(base, [times(1.045)] * 8).verdict is Verdict.INCONCLUSIVE, "also where no case is suspect"
    assert pair(base, [times(1.03)] * 8).verdict is Verdict.UNCHANGED, "a clock moves by as much"
    apart = [times(factor) for factor in (0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4)]
    assert pair(base, apart).is_machine, "half of them lie far apart"
    third = pair(base, [times(1.12)] * 3 + [times(1.01), times(1.015), times(1.02), times(1.025), times(1.03)])
    assert not third.is_machine, "what a change of the code moved moves no machine"
    assert third.counts[Verdict.REGRESSED] == 3
    assert pair(base[:4], [times(1.1)] * 4).verdict is Verdict.REGRESSED, "few cases say nothing of a machine"


def test_each_case_is_judged_by_what_it_moved_beyond_the_others() -> None:
    base = [STEADY] * 8
    found = pair(base, [times(1.12), times(1.06), times(0.99)] + [times(1.03)] * 5)
    assert found.shift == pytest.approx(1.03, rel=1e-4)
    slower, usual, same, *rest = found.judgments
    assert (slower.verdict, slower.ratio) == (Verdict.REGRESSED, pytest.approx(1.12))
    assert slower.own_ratio == pytest.approx(1.12 / 1.03)
    assert slower.reason == "+8.7 % without the common shift of all cases, +3.0 %"
    assert (usual.verdict, usual.reason) == (
        Verdict.UNCHANGED,
        "+2.9 % without the common shift of all cases, +3.0 %",
    )
    assert (same.verdict, same.reason) == (Verdict.UNCHANGED, "")
    assert {judgment.verdict for judgment in rest} == {Verdict.UNCHANGED}
    assert "half of all cases moved together by +3.0 %, and each is judged without this common shift" in verdict_text(
        found
    )
    hidden = pair(base, [times(1.04)] + [times(0.97)] * 7).judgments[0]
    assert (hidden.verdict, hidden.ratio) == (Verdict.REGRESSED, pytest.approx(1.04))
    assert hidden.reason == "+7.2 % without the common shift of all cases, -3.0 %"
    unsure = pair(base, [times(1.02)] + [times(0.97)] * 7).judgments[0]
    assert unsure.low < 1 < unsure.high
    assert unsure.verdict is Verdict.INCONCLUSIVE, "+5.2 % without the shift, but the interval holds 0 % as measured"
    whole = pair(base, [times(1.02)] + [times(0.97)] * 7)
    assert whole.smallest_seen[1] == pytest.approx(1.02 * 1.01 / 0.97 - 1), "a smaller one hides behind the shift"
    hiding = pair(base, [times(1.03), *[times(0.97)] * 7], Thresholds(threshold=0.03, beyond_l2=0.03))
    assert hiding.judgments[0].looks_changed
    assert hiding.verdict is Verdict.INCONCLUSIVE, "+6.2 % without the shift is beyond twice the threshold"


def test_cases_that_did_not_move_together_say_nothing_of_each_other() -> None:
    base = [STEADY] * 6
    halves = pair(base, [times(1.06)] * 3 + [STEADY] * 3)
    assert (halves.shift, halves.counts[Verdict.REGRESSED]) == (pytest.approx(1.0), 3)
    apart = pair([STEADY] * 12, [times(factor) for factor in (0.9, 1.4, 1.5, 1.9, 4.9, 15.9)] + [times(1.01)] * 6)
    assert apart.shift == pytest.approx(1.01, rel=1e-4), "half of the cases that moved are no machine"
    assert (apart.counts[Verdict.REGRESSED], apart.counts[Verdict.IMPROVED]) == (5, 1)
    more = pair([STEADY] * 12, [times(factor) for factor in (0.9, 1.4, 1.5, 1.9, 4.9, 15.9, 1.3)] + [times(1.01)] * 5)
    assert more.is_machine, "more than half are"
    few = pair(base[:5], [times(1.03)] * 4 + [times(1.06)])
    assert (few.shift, few.counts[Verdict.REGRESSED]) == (1.0, 1)
    assert "moved together" not in verdict_text(few)


def test_only_controls_tell_what_all_moved_by() -> None:
    cases = synthetic.cases(14)
    base = run([STEADY] * 14, cases)
    new = run([times(1.1)] * 8 + [times(1.02)] * 6, cases)
    assert compare(base, new, FIVE).is_machine, "most were chosen for having moved"
    found = compare(base, new, FIVE, controls=set(cases[8:]))
    assert not found.is_machine
    assert found.shift == pytest.approx(1.02, rel=1e-4)
    assert found.counts == {Verdict.REGRESSED: 8, Verdict.UNCHANGED: 6}
    assert found.judgments[0].reason == "+7.8 % without the common shift of the controls, +2.0 %"
    assert compare(base, new, FIVE, controls=set(cases[10:])).shift == 1.0, "four are too few"
    assert compare(new, base, FIVE, controls=()).counts[Verdict.IMPROVED] == 8


def test_noise_that_would_nearly_hide_the_threshold_leaves_no_case_unchanged() -> None:
    def of(noise: float, factor: float, thresholds: Thresholds = FIVE) -> Judgment:
        floors = [1e-3, *[1e-3 * noise] * 4]
        return only(compare(run([floors]), run([times(factor, floors)]), thresholds))

    assert of(1.09, 1.0).verdict is Verdict.UNCHANGED
    unsure = of(1.1, 1.0)
    assert unsure.verdict is Verdict.INCONCLUSIVE
    assert unsure.reason == "a change of up to 11.1 % would not be seen: use ab"
    assert of(1.07, 1.06).verdict is Verdict.INCONCLUSIVE, "as likely noise as not"
    assert of(1.07, 1.09).verdict is Verdict.REGRESSED, "what is beyond the noise is told"
    assert of(1.1, 1.0, Thresholds(threshold=0.12, beyond_l2=0.12)).verdict is Verdict.UNCHANGED


def test_improvements_are_told_like_regressions() -> None:
    base = [STEADY] * 8
    assert pair(base, [times(0.8)] + [STEADY] * 7).verdict is Verdict.IMPROVED
    assert pair(base, [times(0.8), times(1.2)] + [STEADY] * 6).verdict is Verdict.REGRESSED


# What decides whether runs can be compared


def differing(**about: object) -> tuple[Difference, ...]:
    one = run([STEADY])
    found = compare(one, replace(one, environment=replace(one.environment, **about)))
    assert found.comparable == (not any(difference.decides for difference in found.differences))
    return found.differences


@pytest.mark.parametrize(
    ("about", "told", "decides"),
    [
        ({}, [], False),
        ({"cpu": "Intel"}, ["processor AMD EPYC 7B13 -> Intel"], True),
        ({"torch": "2.14.0"}, ["torch 2.13.0+cpu -> 2.14.0"], True),
        ({"onednn": None}, ["oneDNN 3.12.0 -> unknown"], True),
        ({"allocator": "system"}, ["allocator steady -> system"], True),
        ({"hostname": "two\nlines"}, ["host laptop <b>of Zoë</b> -> two lines"], False),
        ({"l3_bytes": 2**20}, ["third-level cache 32.0 MiB -> 1.00 MiB"], False),
        ({"accelerator": "H100"}, ["accelerator unknown -> H100"], False),
        (
            {"variables": (("MKL_X", "1"), ("OMP_NUM_THREADS", "2"))},
            ["MKL_X not set -> 1", "OMP_NUM_THREADS 1 -> 2"],
            False,
        ),
    ],
)
def test_every_field_that_differs_is_named(about: dict[str, object], told: list[str], decides: bool) -> None:
    found = differing(**about)
    assert [str(difference) for difference in found] == told
    assert any(difference.decides for difference in found) == decides


def test_another_accelerator_decides_where_cases_ran_on_it() -> None:
    case = replace(synthetic.cases(1)[0], device="cuda")
    one = run([STEADY], [case])
    other = replace(one, environment=replace(one.environment, accelerator="H100"))
    assert not compare(one, other).comparable


def test_what_decides_comes_first() -> None:
    found = differing(torch="2.14.0", hostname="other", python="3.14")
    assert [difference.what for difference in found] == ["torch", "host", "Python"]


def test_resolved_threads_and_precision_decide() -> None:
    one = run([STEADY] * 3)
    two = tuple(synthetic.with_facts(result, threads=2, precision="tf32") for result in one.results[:2])
    found = compare(one, replace(one, results=(*two, one.results[2]))).differences
    assert [str(difference) for difference in found] == ["threads 1 -> 2 in 2 cases"], "unknown is no difference"
    three = tuple(synthetic.with_facts(result, precision="ieee") for result in one.results)
    found = compare(replace(one, results=three), replace(one, results=(*two, one.results[2]))).differences
    assert "float32 precision ieee -> tf32 in 2 cases" in [str(difference) for difference in found]
    assert all(difference.decides for difference in found)


def probes(one: Run, *, compute: float = 1.0, memory: float = 1.0, only_process: int | None = None) -> Run:
    """The run with other probes, in one process alone where one is named."""

    def scaled(block: Block) -> Block:
        if only_process not in (None, block.process_index):
            return block
        return replace(
            block,
            compute_probe_s=block.compute_probe_s * compute,
            memory_probe_s=block.memory_probe_s * memory,
        )

    return replace(
        one,
        results=tuple(
            replace(result, blocks=((LAYOUT, pack_blocks(scaled(block) for block in synthetic.blocks_of(result))),))
            for result in one.results
        ),
    )


def quiet(count: int = 12) -> Run:
    """A run with 60 probes of each kind that differ, the lowest of every process within 1 % of the others."""
    chance = random.Random(1)
    made = [
        tuple(
            replace(
                block,
                compute_probe_s=3e-4 * (1 + 0.01 * chance.random()),
                memory_probe_s=5e-3 * (1 + 0.01 * chance.random()),
            )
            for block in blocks(STEADY)
        )
        for _ in range(count)
    ]
    cases = synthetic.cases(count)
    results = tuple(synthetic.result(c, made=m) for c, m in zip(cases, made, strict=True))
    return replace(synthetic.empty_run(), results=results)


@pytest.mark.parametrize(
    ("about", "told"),
    [
        ({"compute": 1.005, "memory": 1.03}, None),
        ({"compute": 1.03}, "compute probe's floor 300 us -> 309 us (+3.0 %, at most 1 % is comparable)"),
        ({"memory": 0.9}, "memory probe's floor 5.00 ms -> 4.50 ms (-10.0 %, at most 5 % is comparable)"),
        ({"compute": 0.9, "memory": 0.9, "only_process": 2}, None),
    ],
)
def test_probes_decide_where_no_process_is_as_before(about: dict[str, float], told: str | None) -> None:
    one = quiet()
    found = compare(one, probes(one, **about)).differences
    assert [str(difference) for difference in found] == ([told] if told else [])
    assert not any(difference.decides for difference in found)
    assert compare(one, probes(one, **about)).is_machine == bool(told)


def test_few_probes_decide_nothing() -> None:
    assert not compare(quiet(1), probes(quiet(1), compute=2, memory=2)).is_machine


def test_another_machine_shows_in_every_kind_of_worker() -> None:
    one = quiet()
    split = replace(
        one,
        results=tuple(
            replace(result, case=replace(result.case, threads=1 + i % 2)) for i, result in enumerate(one.results)
        ),
    )
    slow = probes(split, compute=1.5)
    mixed = replace(slow, results=tuple((slow if i % 2 else split).results[i] for i in range(len(slow.results))))
    assert not compare(split, mixed).is_machine
    assert compare(split, slow).is_machine


def test_settings_and_the_state_of_the_machine_are_named() -> None:
    facts = ProcessFacts(process_index=0, seconds=1.0, frequency_hz=3.0e9, stolen=0.0, throttled=0)
    one = replace(run([STEADY]), processes=(facts,))
    other = replace(
        one,
        version="0.2.0",
        git=Git(commit="ab12cd", branch="main", dirty=True),
        measure=replace(one.measure, max_time=1.0),
        processes=(replace(facts, frequency_hz=2.5e9, stolen=0.1, throttled=3),),
    )
    found = compare(one, other)
    assert [str(difference) for difference in found.differences] == [
        "measure.max_time 500 ms -> 1.00 s",
        "convbench 0.1.0 -> 0.2.0",
        "commit unknown -> ab12cd with changes",
        "frequency 3.00 GHz -> 2.50 GHz",
        "time given to other guests 0.0 % -> 10.0 %",
        "times slowed down for heat or quota 0 -> 3",
    ]
    assert found.comparable


# Changes that belong together


def layers() -> list[Case]:
    """56 layers over groups, kernel, dtype and format: 14 of them depthwise in bfloat16."""
    return [
        Case(
            problem=Problem(
                in_channels=channels,
                out_channels=channels,
                kernel_size=(kernel, kernel),
                padding=(1, 1),
                input_size=(14, 14),
                groups=channels if depthwise else 1,
            ),
            dtype=dtype,
            memory_format=MemoryFormat.CONTIGUOUS,
            threads=1,
        )
        for channels, kernel, depthwise, dtype in itertools.product(
            (8, 16, 24, 32, 40, 48, 56), (3, 5), (False, True), ("float32", "bfloat16")
        )
    ]


def is_depthwise_bfloat16(case: Case) -> bool:
    return case.problem.groups > 1 and case.dtype == "bfloat16"


def slowed(slow: Callable[[Case], bool], factor: float = 1.4, *, ran: str | None = None) -> tuple[Run, Run]:
    cases = layers()
    base = run([STEADY] * len(cases), cases)
    base = replace(
        base,
        results=tuple(synthetic.with_facts(r, implementation="Mkldnn brg_conv_fwd:avx512_core") for r in base.results),
    )
    new = run([times(factor) if slow(case) else STEADY for case in cases], cases)
    results = [
        synthetic.with_facts(
            result,
            implementation="Mkldnn ref:any" if ran and slow(result.case) else "Mkldnn brg_conv_fwd:avx512_core",
        )
        for result in new.results
    ]
    return base, replace(new, results=tuple(results), id="20261125t033000-cd34")


def test_changes_that_share_settings_are_told_as_one_with_their_cause() -> None:
    base, new = slowed(is_depthwise_bfloat16, ran="ref:any")
    [group] = compare(base, new).groups
    assert group.name == "groups=depthwise and bfloat16"
    assert (len(group.changed), group.cases, group.verdict) == (14, 14, Verdict.REGRESSED)
    assert group.ratio == pytest.approx(1.4, rel=1e-5)
    assert [str(cause) for cause in group.causes] == ["implementation brg_conv_fwd:avx512_core -> ref:any in 14 cases"]


@pytest.mark.parametrize(
    ("slow", "names"),
    [
        (lambda case: case.dtype == "bfloat16" and case.problem.in_channels < 50, ["bfloat16"]),
        (lambda case: case.problem.in_channels == 24, ["in_channels=24"]),
        (
            lambda case: case.problem.in_channels == 24 or is_depthwise_bfloat16(case),
            ["groups=depthwise and bfloat16", "in_channels=24"],
        ),
        (lambda case: case == layers()[0], []),
        (
            lambda case: is_depthwise_bfloat16(case) and case.problem.kernel_size == (5, 5),
            ["kernel_size=5x5 and groups=depthwise and bfloat16"],
        ),
    ],
)
def test_groups(slow: Callable[[Case], bool], names: list[str]) -> None:
    found = compare(*slowed(slow)).groups
    assert [group.name for group in found] == names


def test_what_could_not_have_shown_the_change_does_not_speak_against_a_group() -> None:
    base, new = slowed(lambda case: is_depthwise_bfloat16(case) and case.problem.kernel_size == (3, 3), 1.1)
    lenient = Thresholds(
        specials=(Special(settings=(("kernel_size", (5, 5)), ("groups", "depthwise")), threshold=0.2),)
    )
    [group] = compare(base, new, lenient).groups
    assert (group.name, len(group.changed), group.cases) == ("groups=depthwise and bfloat16", 7, 14)


def test_a_group_of_improvements() -> None:
    [group] = compare(*slowed(is_depthwise_bfloat16, 0.5)).groups
    assert (group.verdict, group.name) == (Verdict.IMPROVED, "groups=depthwise and bfloat16")


def test_causes_of_a_case() -> None:
    base, new = run([STEADY]), run([times(2)])
    faulty = replace(
        synthetic.with_facts(new.results[0], implementation="Slow2d"),
        blocks=((LAYOUT, pack_blocks(blocks(times(2), page_faults=1144.0))),),
    )
    base = replace(base, results=(synthetic.with_facts(base.results[0], implementation="Mkldnn jit:avx2"),))
    judgment = only(compare(base, replace(new, results=(faulty,))))
    assert [str(cause) for cause in judgment.causes] == [
        "implementation Mkldnn jit:avx2 -> Slow2d",
        "page faults 0 -> 1,144",
    ]


# The text


def told_comparison() -> Comparison:
    """A bit of everything, with hostile text."""
    base, new = slowed(is_depthwise_bfloat16, ran="ref:any")
    results = list(new.results)
    loud = [1e-3, 1.2e-3, 1.2e-3, 1.3e-3, 1.3e-3]
    results[0] = synthetic.result(results[0].case, made=blocks(times(0.5)))
    results[1] = synthetic.result(replace(results[1].case, given_label="two\nlines"), made=blocks(loud))
    results[4] = replace(results[4], status=Status.FAILED, reason="output[0]\nis | wrong")
    del results[8]
    environment = replace(new.environment, torch="2.14.0", hostname="other")
    return compare(base, replace(new, results=tuple(results), environment=environment), FIVE)


def test_the_text_is_as_it_was_agreed() -> None:
    golden("compare.txt", compare_text(told_comparison()) + "\n")


def test_every_case_that_changed_has_one_line_that_begins_with_its_verdict() -> None:
    found = told_comparison()
    lines = compare_text(found).partition("\n\n")[0].splitlines()
    told = [judgment for judgment in found.judgments if judgment.verdict is not Verdict.UNCHANGED]
    assert len(lines) == len(told) == 18
    for judgment in told:
        [line] = [line for line in lines if judgment.case.id in line]
        assert line.startswith(judgment.verdict.value)
        assert " ".join(judgment.case.label.split()) in line


def test_the_verdict_of_all_is_one_line() -> None:
    golden(
        "compare-verdicts.txt",
        "".join(
            f"{verdict_text(found)}\n"
            for found in (
                told_comparison(),
                pair([STEADY] * 8, [STEADY] * 8),
                pair([STEADY] * 8, [times(0.8)] * 2 + [STEADY] * 6),
                pair([STEADY] * 8, [times(1.1)] * 8),
                pair([[1e-3, 1.2e-3, 1.3e-3]] * 2, [STEADY[:3]] * 2),
                pair([[1e-3]], [[1e-3]]),
            )
        ),
    )


def test_nothing_changed_is_one_line() -> None:
    assert compare_text(pair([STEADY], [STEADY])) == (
        "unchanged: 1 unchanged; judged 1 of 1; a change of 5.0 % would have been seen in each judged case"
    )


def test_an_empty_run_has_no_case_in_common_with_any() -> None:
    with pytest.raises(NotComparableError):
        compare(synthetic.empty_run(), run([STEADY]))


# Reference layers

#: Six cases of one kind of memory, so that a common shift could be estimated.
SIX = [replace(case, cache=Cache.COLD) for case in synthetic.cases(6)]


def with_references(floors: Sequence[Sequence[float]], factor: float = 1.0, **settings: object) -> Run:
    made = run(floors, SIX)
    return synthetic.referred(made, {ReferenceKind.MEMORY: factor}, rounds=2, **settings)


def test_a_change_needs_both_views_of_the_machine() -> None:
    """By the common shift one case of six is slower. It is flagged only where its references did not move with it."""
    base = with_references([STEADY] * 6)
    slower = [times(1.1), *[STEADY] * 5]
    assert compare(base, with_references(slower), FIVE).counts == {Verdict.REGRESSED: 1, Verdict.UNCHANGED: 5}
    found = compare(base, with_references(slower, 1.08), FIVE)
    assert found.counts == {Verdict.INCONCLUSIVE: 6}
    assert found.judgments[0].reason == (
        "+1.9 % without the move of its reference layers, which gives another verdict: use ab"
    )
    assert found.judgments[1].reason.startswith("-7.4 % without the move of its reference layers")
    assert compare(base, with_references([times(0.9), *[STEADY] * 5]), FIVE).counts[Verdict.IMPROVED] == 1


def test_a_machine_that_is_slower_by_both_views_changes_nothing() -> None:
    found = compare(with_references([STEADY] * 6), with_references([times(1.03)] * 6, 1.03), FIVE)
    assert found.verdict is Verdict.UNCHANGED
    assert found.shift == pytest.approx(1.03)


def test_references_of_another_torch_are_not_used() -> None:
    base, new = with_references([STEADY] * 6), with_references([STEADY] * 6, 1.3)
    assert compare(base, new, FIVE).counts == {Verdict.INCONCLUSIVE: 6}
    upgraded = replace(new, environment=replace(new.environment, torch="2.14.0"))
    assert compare(base, upgraded, FIVE).counts == {Verdict.UNCHANGED: 6}


def test_references_count_over_the_blocks_that_the_floors_are_over() -> None:
    """The base has five processes, the last of them on a machine that was twice as fast; the new run has four."""
    base = with_references([STEADY] * 6)
    faster = [
        replace(
            one,
            rows=np.multiply(np.frombuffer(one.rows, "<f4").reshape(-1, 9), [1, *[0.5] * 8]).astype("<f4").tobytes(),
        )
        for one in base.processes[4].references
    ]
    base = replace(base, processes=(*base.processes[:4], replace(base.processes[4], references=tuple(faster))))
    new = with_references([STEADY[:4]] * 6)
    assert compare(base, new, FIVE).counts == {Verdict.UNCHANGED: 6}
    assert compare(base, with_references([STEADY] * 6), FIVE).counts == {Verdict.INCONCLUSIVE: 6}


def test_references_with_blocks_of_another_length_are_not_used() -> None:
    base, new = with_references([STEADY] * 6), with_references([STEADY] * 6, 1.3)
    longer = tuple(
        replace(facts, references=tuple(replace(one, block_s=0.1) for one in facts.references))
        for facts in new.processes
    )
    assert compare(base, replace(new, processes=longer), FIVE).counts == {Verdict.UNCHANGED: 6}


def test_a_case_without_references_has_one_view_and_the_others_two() -> None:
    cases = [*SIX[:5], replace(SIX[5], threads=7)]
    base, new = (synthetic.referred(run([STEADY] * 6, cases), None, rounds=2) for _ in range(2))
    slower = synthetic.referred(new, {ReferenceKind.MEMORY: 1.3}, rounds=2)
    only_plain = tuple(
        replace(facts, references=tuple(one for one in facts.references if one.threads == 1))
        for facts in slower.processes
    )
    found = compare(base, replace(new, processes=only_plain), FIVE)
    assert [judgment.verdict for judgment in found.judgments] == [*[Verdict.INCONCLUSIVE] * 5, Verdict.UNCHANGED]


def test_references_that_disagree_are_another_machine() -> None:
    base, new = with_references([STEADY] * 6), with_references([STEADY] * 6, odd={7: 1.4})
    found = compare(base, new, FIVE)
    assert found.is_machine
    assert found.verdict is Verdict.INCONCLUSIVE
    apart = "the moves of the reference layers differ by up to 18.3 % from their middle"
    assert f"{apart}: the machine changed, not the code (use ab)" in verdict_text(found)
    assert "the moves of the reference layers differ by up to 18.3 % from their middle" in found.judgments[0].reason


def test_probes_decide_nothing_where_references_do_and_decide_where_one_side_has_none() -> None:
    def probed(made: Run, factor: float) -> Run:
        results = []
        for number, result in enumerate(made.results):
            changed = [
                replace(block, compute_probe_s=factor * (3e-4 + 1e-9 * (at + 10 * number)))
                for at, block in enumerate(synthetic.blocks_of(result))
            ]
            results.append(replace(result, blocks=((LAYOUT, pack_blocks(changed)),)))
        return replace(made, results=tuple(results))

    floors = [STEADY] * 6
    assert not compare(probed(with_references(floors), 1), probed(with_references(floors), 1.1)).is_machine
    found = compare(probed(run(floors, SIX), 1), probed(with_references(floors), 1.1))
    assert found.comparable, "the state of the machine refuses no comparison"
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.machine == "compute probe's floor 300 us -> 330 us (+10.0 %, at most 1 % is comparable)"


def _device_run(software: dict[str, str], model: str = "H100", uuid: str = "a", **about: object) -> Run:
    made = run([STEADY], [synthetic.layer(16, device="cuda:1")], **about)
    environment = replace(
        made.environment,
        accelerator="cuda: H100 x2",
        devices=(Device(name="cuda:1", model=model, memory_bytes=80 * 2**30, uuid=uuid),),
        device_software=tuple(software.items()),
    )
    return replace(made, environment=environment)


def test_another_cudnn_or_device_makes_runs_of_a_device_incomparable_and_is_named() -> None:
    base = _device_run({"CUDA": "12.8", "cuDNN": "9.10.2", "driver": "570.1"})
    found = compare(base, _device_run({"CUDA": "12.8", "cuDNN": "9.11.0", "driver": "575.2"}, uuid="b"))
    told = {str(one): one.decides for one in found.differences}
    assert told == {"cuDNN 9.10.2 -> 9.11.0": True, "driver 570.1 -> 575.2": False, "UUID of cuda:1 a -> b": False}
    other = compare(base, _device_run(dict(base.environment.device_software), model="H200"))
    assert [str(one) for one in other.differences] == ["cuda:1 H100 -> H200"]
    assert not other.comparable
    older = replace(base, environment=replace(base.environment, devices=(), device_software=()))
    assert {str(one) for one in compare(older, base).differences} == {
        "CUDA unknown -> 12.8",
        "cuDNN unknown -> 9.10.2",
        "driver unknown -> 570.1",
    }
    assert compare(older, base).comparable, "what an older convbench did not store does not decide"


def test_the_software_of_a_device_is_no_difference_of_cases_on_the_cpu() -> None:
    made = run([STEADY])
    newer = replace(made, environment=replace(made.environment, device_software=(("cuDNN", "9.10.2"),)))
    assert compare(made, newer).differences == ()
