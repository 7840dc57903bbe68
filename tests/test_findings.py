"""Findings: what is told, in which order, and that nothing within noise is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import pytest
import synthetic

from convbench.analysis.columns import Rows
from convbench.analysis.findings import Finding, Weight, findings, noise_sentence
from convbench.analysis.frame import frame
from convbench.analysis.pairs import matched
from convbench.case import Allocator, Case, MemoryFormat
from convbench.problem import Direction, PaddingMode, Problem
from convbench.result import LAYOUT, Block, PassFacts, Result, Run, Status, pack_blocks, unpack_blocks


def layer(in_channels: int = 16, **given: object) -> Case:
    problem = Problem(in_channels=in_channels, out_channels=32, kernel_size=(3, 3), input_size=(28, 28))
    on_problem = {name: given.pop(name) for name in list(given) if hasattr(problem, name)}
    return Case(problem=replace(problem, **on_problem), **given)


def timed(case: Case, floor_s: float, *, passes: int = 5, wobble: float = 0.0, implementation: str = "A") -> Result:
    """A case that takes so long; its slowest pass takes `wobble` more."""
    blocks = [
        replace(b, minimum_s=floor_s * (1 + wobble * (b.pass_index == 1)), compute_canary_s=324e-6)
        for b in synthetic.blocks(floor_s, noise=0.0, passes=passes)
    ]
    result = synthetic.result(case, made=tuple(blocks))
    return replace(result, implementation=implementation)


def run(*results: Result) -> Run:
    return replace(synthetic.empty_run(), results=results)


def sentences(found: list[Finding], weight: Weight) -> list[str]:
    return [finding.sentence for finding in found if finding.weight is weight]


def effects(*results: Result) -> list[str]:
    return sentences(findings(run(*results)), Weight.EFFECT)


def in_pairs(channels: range, seconds: Callable[[int], tuple[float, float]], **other: object) -> list[Result]:
    """For each number of channels the plain layer and one with other settings, taking so long."""
    results = []
    for c in channels:
        base, changed = seconds(c)
        results += [timed(layer(c), base), timed(layer(c, **other), changed)]
    return results


def test_an_effect_over_matched_pairs_with_its_exception() -> None:
    def seconds(channels: int) -> tuple[float, float]:
        return (1e-3, 1.5e-3) if channels == 3 else (1.8e-3, 1e-3)

    results = in_pairs(range(3, 9), seconds, dtype="bfloat16")
    [found] = [f for f in findings(run(*results)) if f.weight is Weight.EFFECT]
    assert found.sentence == "bfloat16 is 1.80x faster than float32 in 5 of 6 matched cases; it loses at in_channels=3"
    assert found.size == pytest.approx(1.8, rel=1e-6)
    assert set(found.exceptions) == {layer(3).id, layer(3, dtype="bfloat16").id}
    assert len(found.cases) == 10 and not set(found.cases) & set(found.exceptions)


def test_exceptions_without_a_common_setting_are_counted() -> None:
    def seconds(channels: int) -> tuple[float, float]:
        return (1e-3, 2e-3) if channels in (4, 7) else (2e-3, 1e-3)

    assert effects(*in_pairs(range(3, 10), seconds, memory_format=MemoryFormat.CHANNELS_LAST)) == [
        "channels_last is 2.00x faster than contiguous in 5 of 7 matched cases; it loses in 2"
    ]


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"dtype": "float64"}, "float64 is 2.00x slower than float32 in 2 of 2 matched cases"),
        ({"threads": 2}, "threads=2 is 2.00x slower than threads=1 in 2 of 2 matched cases"),
        ({"module": "m:C"}, "m:C is 2.00x slower than torch.nn.Conv2d in 2 of 2 matched cases"),
        (
            {"allocator": Allocator.SYSTEM},
            "the system allocator is 2.00x slower than the steady allocator in 2 of 2 matched cases",
        ),
        ({"bias": False}, "bias=false is 2.00x slower than bias=true in 2 of 2 matched cases"),
        (
            {"padding_mode": PaddingMode.REFLECT},
            "padding_mode=reflect is 2.00x slower than padding_mode=zeros in 2 of 2 matched cases",
        ),
    ],
)
def test_every_execution_setting_against_the_usual_one(other: dict[str, object], sentence: str) -> None:
    results = in_pairs(range(8, 10), lambda _: (1e-3, 2e-3), **other)
    used = [replace(r, threads=r.case.threads or 1) for r in results]
    assert effects(*reversed(used)) == [sentence]


def test_nothing_within_the_spread_of_either_side_is_told() -> None:
    for first, second in ((0.0, 0.2), (0.2, 0.0)):
        results = [timed(layer(), 1e-3, wobble=first), timed(layer(dtype="float16"), 1.15e-3, wobble=second)]
        assert effects(*results) == []
    assert len(effects(timed(layer(), 1e-3), timed(layer(dtype="float16"), 1.15e-3))) == 1


def test_one_pass_proves_only_what_is_large() -> None:
    def after_one_pass(ratio: float) -> list[str]:
        return effects(timed(layer(), 1e-3, passes=1), timed(layer(dtype="float16"), 1e-3 * ratio, passes=1))

    assert after_one_pass(1.08) == []
    assert len(after_one_pass(1.2)) == 1


def test_small_effects_and_divided_ones_are_not_told() -> None:
    assert effects(timed(layer(), 1e-3), timed(layer(dtype="float16"), 1.03e-3)) == []
    assert effects(*in_pairs(range(8, 12), lambda c: (1e-3, 2e-3 if c % 2 else 0.4e-3), dtype="float16")) == []


def test_wrong_layers_are_never_ranked() -> None:
    wrong = replace(timed(layer(dtype="float16"), 1e-9), status=Status.FAILED, reason="output[0] is 1, should be 2")
    found = findings(run(timed(layer(), 1e-3), wrong))
    assert found[0].weight is Weight.WRONG
    assert found[0].cases == (wrong.case.id,)
    assert found[0].sentence == (
        f"1 of 2 cases computed something wrong: {wrong.case.label}: output[0] is 1, should be 2"
    )
    assert sentences(found, Weight.EFFECT) == []
    [rate] = [text for text in sentences(found, Weight.NOTE) if "highest rate" in text]
    assert layer().label in rate
    assert not any("right" in text for text in sentences(found, Weight.NOTE))


def test_a_slow_fallback_names_what_ran() -> None:
    slow = timed(layer(dtype="float16"), 36e-3, implementation="Slow2d")
    assert effects(timed(layer(), 1e-3, implementation="Mkldnn jit"), slow) == [
        "float16 is 36.0x slower than float32 in 1 of 1 matched case: torch runs Slow2d for it"
    ]
    assert effects(timed(layer(), 1e-3, implementation="Slow2d"), slow) == [
        "float16 is 36.0x slower than float32 in 1 of 1 matched case"
    ]


def test_trouble_comes_first_and_on_one_line() -> None:
    lost = synthetic.result(layer(dtype="float16"), status=Status.ERROR, reason="RuntimeError:\n  bad | shape")
    gone = synthetic.result(layer(9), status=Status.CRASHED, reason="signal 11")
    absent = synthetic.result(layer(10), status=Status.SKIPPED, reason="no cuda device here")
    found = findings(run(absent, timed(layer(), 1e-3), lost, gone))
    assert found[0].weight is Weight.UNMEASURED
    assert found[0].sentence.startswith("2 cases could not be measured: 1 crashed, 1 raised an error; ")
    assert set(found[0].cases) == {lost.case.id, gone.case.id}
    assert any(text.startswith("1 case was skipped: ") for text in sentences(found, Weight.NOTE))
    assert all("\n" not in finding.sentence for finding in findings(synthetic.run(200)))


def test_a_noisy_machine_is_said_to_be_one() -> None:
    result = timed(layer(), 1e-3)
    noisy = tuple(
        replace(b, compute_canary_s=324e-6 * (1.0 if b.round_index == 0 else 1.31)) for b in synthetic.blocks(1e-3)
    )
    found = findings(run(synthetic.result(layer(), made=noisy)))
    assert "the machine was noisy: the compute canary's median was 1.31x its floor" in sentences(found, Weight.NOISE)
    assert sentences(findings(run(result)), Weight.NOISE) == []
    assert noise_sentence(1.02) == "the machine was quiet: the compute canary's median was 1.02x its floor"
    assert "unknown" in noise_sentence(float("nan"))


def test_a_floor_that_few_blocks_support_is_said() -> None:
    blocks = synthetic.blocks(1e-3, noise=0.0)
    lucky = (replace(blocks[0], minimum_s=0.9e-3), *blocks[1:])
    [text] = sentences(findings(run(synthetic.result(layer(), made=lucky))), Weight.NOISE)
    assert text.startswith("in 1 of 1 case fewer than a tenth of the blocks came within 3 % of the floor")


def test_a_direction_beside_its_work() -> None:
    results = [timed(layer(), 1e-3), timed(layer(direction=Direction.BACKWARD), 3e-3)]
    assert sentences(findings(run(*results)), Weight.WORK) == [
        "backward takes 3.00x as long as forward in the median of 1 matched case, for 2x the work"
    ]


def test_sizes_are_compared_by_time_per_flop() -> None:
    # Twice the channels in the same time: half as dear per FLOP. The most telling value is the one that is told.
    results = [timed(layer(c), s) for c, s in ((16, 1e-3), (32, 1e-3), (64, 1e-3))]
    assert sentences(findings(run(*results)), Weight.WORK) == [
        "in_channels=64 is 4.00x cheaper per FLOP than in_channels=16 in 1 of 1 matched case"
    ]


def test_unbatched_is_a_value_like_others() -> None:
    results = [timed(layer(batch_size=b), s) for b, s in ((8, 8e-3), (None, 2e-3))]
    assert sentences(findings(run(*results)), Weight.WORK) == [
        "batch_size=none is 2.00x dearer per FLOP than batch_size=8 in 1 of 1 matched case"
    ]


def test_pairs_differ_in_one_setting_alone() -> None:
    made = synthetic.run(300, seed=3)
    pairs = matched(frame(made))
    assert set(pairs.table["status"]) == {"passed"}
    assert pairs.swept() == (
        "in_channels",
        "kernel_size",
        "stride",
        "padding",
        "batch_size",
        "direction",
        "dtype",
        "memory_format",
    )
    settings = list(pairs.codes)
    for axis in pairs.swept():
        base = pairs.values[axis][0]
        for value, both in pairs.against(axis, base, Rows(made).blocks):
            left, right = (pairs.table.iloc[both[side]].reset_index(drop=True) for side in ("base", "other"))
            assert len(both) > 0
            for name in settings:
                same = (left[name] == right[name]).fillna(False) | (left[name].isna() & right[name].isna())
                assert same.all() == (name != axis)
            assert (left[axis].isna() if base is None else left[axis] == base).all()
            assert (right[axis].isna() if value is None else right[axis] == value).all()
            expected = right["floor_s"] / left["floor_s"]
            pd.testing.assert_series_equal(both["ratio"].reset_index(drop=True), expected, check_names=False)


def test_every_pair_is_found_once() -> None:
    made = synthetic.run(300, troubles=False)
    pairs = matched(frame(made))
    keys = {(r.case.problem, r.case.direction, r.case.memory_format): 0 for r in synthetic.run(300).results}
    for result in made.results:
        keys[result.case.problem, result.case.direction, result.case.memory_format] += 1
    [(value, both)] = pairs.against("dtype", "float32", Rows(made).blocks)
    assert value == "bfloat16"
    assert len(both) == sum(count == 2 for count in keys.values()) == both["base"].nunique()


def test_the_same_point_asked_for_twice_is_one_side() -> None:
    default, one = timed(layer(), 1e-3), timed(layer(threads=1), 1.5e-3)
    two = timed(layer(threads=2), 2e-3)
    made = run(default, one, replace(two, threads=2))
    [(_, both)] = matched(frame(made)).against("threads", 1, Rows(made).blocks)
    assert both["ratio"].tolist() == pytest.approx([2.0])


def test_empty_and_uniform_runs_have_no_effects() -> None:
    assert [f.weight for f in findings(synthetic.empty_run())] == []
    found = findings(run(timed(layer(), 1e-3)))
    assert [f.sentence.split(":")[0] for f in found] == [
        "the case computed what is right",
        "the highest rate is 6.23 GFLOP/s",
    ]


def test_unreached_cases_and_rejections_are_notes() -> None:
    notes = sentences(findings(synthetic.run(12, unmeasured=3, troubles=False)), Weight.NOTE)
    assert notes[0] == "3 cases were not reached yet"
    assert notes[1].startswith("torch would refuse 3 points of the sweep: ")
    assert not any("right" in note for note in notes)


def test_the_frame_may_be_given() -> None:
    made = synthetic.run(100)
    assert findings(made, frame(made)) == findings(made)
    assert [f.weight for f in findings(made)] == sorted(f.weight for f in findings(made))


def test_too_many_threads_are_told() -> None:
    facts = [PassFacts(pass_index=i, seconds=1.0, twin_ratio=ratio) for i, ratio in enumerate((0.6, 2.5, 3.5, None))]
    found = sentences(findings(replace(run(timed(layer(), 1e-3)), passes=tuple(facts))), Weight.NOISE)
    assert found == [
        "more threads than free cores: in 2 of 3 passes a matrix product took 3.00x as long with all threads as with "
        "one; measure with threads: 1, or fewer"
    ]
    quiet = replace(run(timed(layer(), 1e-3)), passes=tuple(facts[:1]))
    assert sentences(findings(quiet), Weight.NOISE) == []


def test_another_number_of_threads_that_runs_other_code_is_told() -> None:
    cases = [layer(channels, threads=threads) for channels in (16, 32) for threads in (1, 2)]
    ran = ["Slow2d", "Mkldnn jit", "Mkldnn jit", "Mkldnn jit"]
    results = [timed(case, 1e-3, implementation=name) for case, name in zip(cases, ran, strict=True)]
    made = run(*(replace(result, threads=result.case.threads) for result in results))
    assert [said for said in sentences(findings(made), Weight.WORK) if "other code" in said] == [
        "threads=2 made torch run other code than threads=1 in 1 of 2 matched cases: Slow2d became Mkldnn jit in "
        + cases[1].label
    ]


def test_effects_rest_on_the_rounds_that_both_sides_have() -> None:
    """A case that settled early has fewer blocks; the other one's later, lower floor is not held against it."""
    fast = timed(layer(dtype="bfloat16"), 1.0e-3, passes=2)
    late = timed(layer(), 1.2e-3, passes=5)
    lower = [replace(b, minimum_s=b.minimum_s * (0.5 if b.pass_index > 2 else 1)) for b in blocks_of(late)]
    late = replace(late, blocks=((LAYOUT, pack_blocks(lower)),))
    made = run(fast, late)
    [(_, both)] = matched(frame(made)).against("dtype", "float32", Rows(made).blocks)
    assert both["ratio"].tolist() == pytest.approx([1 / 1.2], rel=1e-3)


def blocks_of(result: Result) -> list[Block]:
    return [block for layout, packed in result.blocks for block in unpack_blocks(packed, layout)]


def test_cases_of_a_bad_hour_are_told() -> None:
    results = [timed(layer(channels), 1e-3) for channels in (16, 32, 48, 64)]
    slow = [replace(b, compute_canary_s=324e-6 * 1.8) for b in blocks_of(results[3])]
    results[3] = replace(results[3], blocks=((LAYOUT, pack_blocks(slow)),))
    told = [said for said in sentences(findings(run(*results)), Weight.NOISE) if "bad hour" in said]
    assert told == [
        "1 case was measured in a bad hour: around its blocks the canary took up to 1.80x its floor, 1.00x around "
        f"those of the median case: {results[3].case.label}"
    ]
    assert not any("bad hour" in said for said in sentences(findings(run(*results[:3])), Weight.NOISE))


def test_what_the_system_tells_of_disturbances_is_told() -> None:
    facts = (PassFacts(pass_index=0, seconds=1.0, stolen=0.03, throttled=2), PassFacts(pass_index=1, seconds=1.0))
    told = sentences(findings(replace(run(timed(layer(), 1e-3)), passes=facts)), Weight.NOISE)
    assert told == [
        "the processor was slowed down 2 times meanwhile, for heat or for a quota of its control group",
        "in one pass 3.0 % of the processor's time went to other guests of the host",
    ]


def test_results_of_little_precision_are_told() -> None:
    exact, rough = timed(layer(16), 1e-3), timed(layer(32), 1e-3)
    assert rough.check is not None
    rough = replace(rough, check=replace(rough.check, max_error=20_000.0))
    told = [said for said in sentences(findings(run(exact, rough)), Weight.NOTE) if "precision" in said]
    assert told == [
        "1 case computed in less precision than the dtype holds, the worst 20,000 units of roundoff away from exact: "
        + rough.case.label
    ]
