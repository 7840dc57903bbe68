"""Findings: what is told, in which order, and that nothing within noise is."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import layer

from convbench import sweep as sweeps
from convbench.analysis.findings.effects import EXECUTION, WORK
from convbench.analysis.findings.evidence import Evidence, evidence
from convbench.analysis.findings.findings import (
    Finding,
    FindingKind,
    Trust,
    Weight,
    findings,
    noise_sentence,
    trust,
    with_details,
)
from convbench.analysis.table.columns import Rows
from convbench.analysis.table.frame import frame
from convbench.measure import schedule
from convbench.model.case import SETTINGS, TORCH_MODULE, Allocator, Case, Execution, MemoryFormat
from convbench.model.problem import Direction, PaddingMode
from convbench.model.result import (
    LAYOUT,
    ProcessFacts,
    Result,
    Roof,
    RoofKind,
    Run,
    RunState,
    Status,
    pack_blocks,
    unpack_blocks,
)


def timed(case: Case, floor_s: float, *, processes: int = 5, wobble: float = 0.0, implementation: str = "A") -> Result:
    """A case that takes so long; its slowest process takes `wobble` more."""
    blocks = [
        replace(b, minimum_s=floor_s * (1 + wobble * (b.process_index == 1)), compute_probe_s=324e-6)
        for b in synthetic.blocks(floor_s, noise=0.0, processes=processes)
    ]
    result = synthetic.result(case, made=tuple(blocks))
    return synthetic.with_facts(result, implementation=implementation)


def run(*results: Result) -> Run:
    return replace(synthetic.empty_run(), results=results)


def sentences(found: list[Finding], weight: Weight) -> list[str]:
    return [finding.sentence for finding in found if finding.weight is weight]


def of_kind(found: list[Finding], *kinds: FindingKind) -> list[Finding]:
    return [finding for finding in with_details(found) if finding.kind in kinds]


def effects(*results: Result) -> list[str]:
    """The sentences on settings of execution."""
    kinds = (FindingKind.EFFECT, FindingKind.FALLBACK, FindingKind.THREADS, FindingKind.MODULE)
    return [finding.sentence for finding in of_kind(findings(run(*results)), *kinds)]


def blocks_of_processes(result: Result, processes: int) -> tuple[tuple[int, bytes], ...]:
    """The blocks of the first processes."""
    few = [block for block in synthetic.blocks_of(result) if block.process_index < processes]
    return ((LAYOUT, pack_blocks(few)),)


def known(made: Run) -> Evidence:
    return evidence(made, frame(made), Rows(made))


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
    [found] = of_kind(findings(run(*results)), FindingKind.EFFECT)
    assert (found.weight, found.axis) == (Weight.EFFECT, "dtype")
    assert found.sentence == (
        "bfloat16 is faster than float32 in 5 of 6 matched cases (1.80x), slower in 1 (1.50x, at in_channels=3)"
    )
    assert found.size == pytest.approx(1.8, rel=1e-6)
    assert found.paired
    assert set(found.exceptions) == {layer(3).id, layer(3, dtype="bfloat16").id}
    assert len(found.cases) == 10 and not set(found.cases) & set(found.exceptions)


def test_exceptions_without_a_common_setting_are_counted() -> None:
    def seconds(channels: int) -> tuple[float, float]:
        return (1e-3, 2e-3) if channels in (4, 7) else (2e-3, 1e-3)

    def other_seconds(channels: int) -> tuple[float, float]:
        return (1e-3, 2e-3) if channels in (3, 5, 7, 9) else (2e-3, 1e-3)

    channels_last = {"memory_format": MemoryFormat.CHANNELS_LAST}
    assert effects(*in_pairs(range(3, 10), seconds, **channels_last)) == [
        "channels_last is faster than contiguous in 5 of 7 matched cases (2.00x), slower in 2 (2.00x, at in_channels=4 "
        "or 7)"
    ]
    assert effects(*in_pairs(range(3, 13), other_seconds, **channels_last)) == [
        "channels_last is faster than contiguous in 6 of 10 matched cases (2.00x), slower in 4 (2.00x)"
    ]


def test_where_pairs_disagree_the_split_leads_and_each_side_names_its_largest() -> None:
    speed = {8: 3.0, 9: 3.0, 10: 3.0, 11: 3.0, 12: 1.2, 13: 1.2, 14: 1.0, 15: 1 / 2, 16: 1 / 65}
    [found] = of_kind(
        findings(run(*in_pairs(range(8, 17), lambda c: (1e-3, 1e-3 / speed[c]), module="m:C"))), FindingKind.MODULE
    )
    assert found.sentence == (
        f"m:C is faster than {TORCH_MODULE} in 6 of 9 matched cases (1.20x to 3.00x, the largest in "
        f"{layer(8, module='m:C').label}), slower in 2 (2.00x to 65.0x, at in_channels=15 or 16, the largest in "
        f"{layer(16, module='m:C').label}); the other differs by less than 5 % or within noise"
    )
    assert (len(found.cases), len(found.exceptions)) == (12, 4)
    results = in_pairs(range(8, 12), lambda c: (1e-3, 1e-3 if c == 8 else 0.5e-3), dtype="bfloat16")
    assert effects(*results) == [
        "bfloat16 is 2.00x faster than float32 in 3 of 4 matched cases (at in_channels=9, 10 or 11); the other differs "
        "by less than 5 % or within noise"
    ]
    slower = in_pairs(
        range(8, 20), lambda c: (1e-3, 2e-3 if c < 15 else 0.8e-3), memory_format=MemoryFormat.CHANNELS_LAST
    )
    assert effects(*slower) == [
        "channels_last is slower than contiguous in 7 of 12 matched cases (2.00x), faster in 5 (1.25x)"
    ], "slower in most comes first"


def test_fewer_than_eight_pairs_have_a_range_and_more_have_a_median() -> None:
    def told(pairs: int) -> str:
        results = in_pairs(range(8, 8 + pairs), lambda c: (1e-3, (c - 6) * 1e-3), bias=False)
        [sentence] = effects(*results)
        return sentence

    assert told(1) == "bias=false is 2.00x slower than bias=true in 1 of 1 matched case"
    assert told(7) == (
        "bias=false is 2.00x to 8.00x slower than bias=true in 7 of 7 matched cases (the largest in "
        f"{layer(14, bias=False).label})"
    )
    assert told(8) == (
        "bias=false is 5.48x slower than bias=true in the median of 8 of 8 matched cases (2.00x to 9.00x, the largest "
        f"in {layer(15, bias=False).label})"
    )


def test_a_fallback_names_its_range_and_its_largest() -> None:
    results = in_pairs(range(8, 11), lambda c: (1e-3, {8: 3.9e-3, 9: 6.55e-3, 10: 222e-3}[c]), dtype="float16")
    assert effects(*results) == [
        "float16 has no fast code here: it takes 3.90x to 222x as long as float32 in 3 of 3 matched cases (the largest "
        f"in {layer(10, dtype='float16').label}), with A"
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
    used = [synthetic.with_facts(r, threads=r.case.threads or 1) for r in results]
    assert effects(*reversed(used)) == [sentence]


def test_nothing_within_the_spread_of_either_side_is_told() -> None:
    for first, second in ((0.0, 0.2), (0.2, 0.0)):
        results = [timed(layer(), 1e-3, wobble=first), timed(layer(dtype="float16"), 1.15e-3, wobble=second)]
        assert effects(*results) == []
    assert len(effects(timed(layer(), 1e-3), timed(layer(dtype="float16"), 1.15e-3))) == 1


def test_one_process_proves_nothing_and_says_so() -> None:
    """All blocks of a process may take several times as long."""
    directions = [layer(c, direction=each) for c in (16, 32) for each in (Direction.FORWARD, Direction.BACKWARD)]
    cases = [*directions, *(replace(case, dtype="bfloat16") for case in directions)]
    sides = [timed(case, 78e-3 if case.dtype == "bfloat16" else case.problem.in_channels * 1e-4) for case in cases]

    def told(processes: int, state: RunState = RunState.FINISHED) -> list[Finding]:
        cut = [replace(result, blocks=blocks_of_processes(result, processes)) for result in sides]
        return findings(replace(run(*cut), state=state))

    compared = (FindingKind.EFFECT, FindingKind.FALLBACK, FindingKind.BEST, FindingKind.DIRECTION, FindingKind.WORK)
    assert of_kind(told(1), *compared) == [] and len(of_kind(told(2), *compared)) == 2
    said = "which may have been slow as a whole: findings that compare cases need two processes"
    assert sentences(told(1), Weight.NOTE)[0] == f"only one process measured, {said}"
    assert sentences(told(1, RunState.INTERRUPTED), Weight.NOTE)[0] == f"only one process measured so far, {said}"
    assert not any(said in each for each in sentences(told(2), Weight.NOTE))
    once = [replace(result, blocks=((LAYOUT, pack_blocks(synthetic.blocks_of(result)[:1])),)) for result in sides]
    assert of_kind(findings(run(*once)), *compared) == [], "one block a side"


def test_small_effects_are_not_told() -> None:
    assert effects(timed(layer(), 1e-3), timed(layer(dtype="float16"), 1.03e-3)) == []


def test_an_effect_that_is_no_rule_is_told_as_one_that_is_mixed() -> None:
    divided = in_pairs(range(8, 12), lambda c: (1e-3, 2e-3 if c % 2 else 0.4e-3), dtype="float16")
    assert effects(*divided) == [
        "float16 is faster than float32 in 2 of 4 matched cases (2.50x, at in_channels=8 or 10), slower in 2 (2.00x, "
        "at in_channels=9 or 11)"
    ]
    rare = in_pairs(range(8, 18), lambda c: (1e-3, 0.5e-3 if c < 10 else 1e-3), dtype="bfloat16")
    [found] = of_kind(findings(run(*rare)), FindingKind.EFFECT)
    assert found.sentence == (
        "bfloat16 is 2.00x faster than float32 in 2 of 10 matched cases (at in_channels=8 or 9); the other 8 differ by "
        "less than 5 % or within noise"
    )
    assert (len(found.cases), found.exceptions, found.share) == (4, (), 0.2)
    once = in_pairs(range(8, 18), lambda c: (1e-3, 0.5e-3 if c < 9 else 1e-3), dtype="bfloat16")
    assert effects(*once) == [], "one of ten may be an accident"
    few = [replace(result, blocks=blocks_of_processes(result, 3)) for result in rare]
    assert effects(*few) == [], "two of ten may be an accident where three processes timed them"


def swept(text: str, seconds_per_flop: Callable[[Case], float], *, processes: int = 5) -> Run:
    """The run of a sweep, whose cases take so long for each operation."""
    sweep = sweeps.parse.parse(text, "sweep.yaml")
    results = [
        timed(case, case.flops * seconds_per_flop(case), processes=processes) for case in sweeps.cases(sweep).cases
    ]
    return replace(run(*results), source=text)


DEPTHWISE = """
axes:
  in_channels: [32, 64, 128, 256]
  out_channels: in_channels
  groups: depthwise
  kernel_size: [3, 5, 7]
  padding: half
  input_size: 28
"""


def test_words_are_compared_as_written() -> None:
    def cost(case: Case) -> float:
        return 1e-10 * (32 / case.problem.in_channels) * (3 / case.problem.kernel_size[0])

    told = sentences(findings(swept(DEPTHWISE, cost)), Weight.WORK)
    assert told == [
        "in_channels=256 is 8.00x faster per FLOP than in_channels=32 in 3 of 3 matched cases; out_channels and groups "
        "follow",
        "kernel_size=7x7 is 2.33x faster per FLOP than kernel_size=3x3 in 4 of 4 matched cases; padding follows",
    ]
    rows = ", ".join(f"{{in_channels: {c}, out_channels: {c}}}" for c in (32, 64, 128, 256))
    numbers = "axes: {groups: depthwise, kernel_size: [3, 5, 7], padding: half, input_size: 28}\n"
    assert sentences(findings(swept(f"{numbers}cases: [{rows}]", cost)), Weight.WORK) == told, "tied, though unsaid"


def test_a_value_that_is_written_as_a_number_and_as_a_word_is_compared_as_both() -> None:
    text = (
        "axes: {in_channels: 16, out_channels: 16, kernel_size: [1, 3, 5], padding: [0, half], groups: [1, depthwise], "
        "input_size: 28}"
    )
    made = swept(text, lambda case: 1e-10 / case.problem.kernel_size[0])
    all_known = known(made)
    pairs = all_known.pairs

    def compared(axis: str, base: object) -> set[tuple[object, object, str, str]]:
        return {
            (base, value, *(str(pairs.table["padding"].iloc[side]) for side in sides))
            for value, both in all_known.against(axis, base)
            for sides in zip(both.base, both.other, strict=True)
        }

    assert compared("kernel_size", "1x1") == {
        ("1x1", "3x3", "0x0", "0x0"),
        ("1x1", "3x3", "0x0", "1x1"),
        ("1x1", "5x5", "0x0", "0x0"),
        ("1x1", "5x5", "0x0", "2x2"),
    }
    assert compared("padding", "0x0") == {("0x0", "half", "0x0", "1x1"), ("0x0", "half", "0x0", "2x2")}
    assert [value for value, _ in all_known.against("groups", 1)] == ["depthwise"]
    [(_, both)] = all_known.against("groups", 1)
    assert len(both) == 5, "each pair once, though 1x1 with padding 0 is written in two ways"
    numbers = swept(text.replace("half", "1"), lambda _: 1e-10)
    assert {value for value, _ in known(numbers).against("padding", "0x0")} == {"1x1"}


def test_channels_that_are_listed_are_not_taken_for_tied_ones() -> None:
    text = "axes: {in_channels: [16, 32], out_channels: [16, 32], kernel_size: 3, input_size: 28}"
    [(value, both)] = known(swept(text, lambda _: 1e-10)).against("in_channels", 16)
    assert (value, len(both)) == (32, 2)


def test_noise_of_few_processes_is_at_least_what_the_probe_shows() -> None:
    def told(ratio: float, processes: int) -> list[str]:
        results = []
        for case, floor_s in ((layer(), 1e-3), (layer(dtype="float16"), ratio * 1e-3)):
            blocks = synthetic.blocks_of(timed(case, floor_s, processes=processes))
            slow = [replace(b, compute_probe_s=324e-6 * (1.0 if b.round_index == 0 else 1.8)) for b in blocks]
            results.append(replace(timed(case, floor_s), blocks=((LAYOUT, pack_blocks(slow)),)))
        return effects(*results)

    assert (told(1.7, 3), len(told(1.9, 3)), len(told(1.7, 4))) == ([], 1, 1)


def test_few_layers_of_many_prove_nothing_in_few_processes() -> None:
    def slow_ones(processes: int, *kinds: FindingKind) -> int:
        results = in_pairs(range(3, 13), lambda c: (1e-3, 5e-3 if c == 3 else 1e-3), dtype="bfloat16")
        back = [timed(layer(c, direction=Direction.BACKWARD), 5e-3 if c == 3 else 2e-3) for c in range(3, 13)]
        cut = [replace(result, blocks=blocks_of_processes(result, processes)) for result in (*results, *back)]
        return len(of_kind(findings(run(*cut)), *kinds))

    for kind in (FindingKind.FALLBACK, FindingKind.DIRECTION):
        assert (slow_ones(3, kind), slow_ones(4, kind)) == (0, 1)


def test_wrong_layers_are_never_ranked() -> None:
    wrong = replace(timed(layer(dtype="float16"), 1e-9), status=Status.FAILED, reason="output[0] is 1, should be 2")
    found = findings(run(timed(layer(), 1e-3), wrong))
    assert found[0].weight is Weight.WRONG
    assert (found[0].cases, found[0].exceptions) == ((wrong.case.id,), ())
    assert found[0].sentence == (
        f"1 of 2 cases computed a wrong result: {wrong.case.label}: output[0] is 1, should be 2"
    )
    assert sentences(found, Weight.EFFECT) == []
    [rate] = [text for text in sentences(found, Weight.NOTE) if "highest rate" in text]
    assert layer().label in rate
    assert not any("right" in text for text in sentences(found, Weight.NOTE))


def test_a_slow_fallback_names_what_ran() -> None:
    slow = timed(layer(dtype="float16"), 36e-3, implementation="Slow2d")
    made = run(timed(layer(), 1e-3), slow)
    [found] = of_kind(findings(made), FindingKind.FALLBACK)
    assert found.sentence == (
        "float16 has no fast code here: it takes 36.0x as long as float32 in 1 of 1 matched case, with Slow2d"
    )
    assert (found.axis, set(found.cases)) == ("dtype", {layer().id, slow.case.id})
    assert of_kind(findings(made), FindingKind.EFFECT) == [], "it is told once"
    nameless = effects(timed(layer(), 1e-3), synthetic.with_facts(slow, implementation=None))
    assert nameless == ["float16 has no fast code here: it takes 36.0x as long as float32 in 1 of 1 matched case"]
    assert of_kind(findings(run(timed(layer(), 1e-3), timed(layer(dtype="float64"), 2e-3))), FindingKind.FALLBACK) == []


def test_a_dtype_that_is_slow_for_a_few_layers_is_told_beside_its_effect() -> None:
    def seconds(channels: int) -> tuple[float, float]:
        return (1e-3, 5e-3) if channels == 3 else (2e-3, 1e-3)

    made = run(*in_pairs(range(3, 9), seconds, dtype="bfloat16"))
    headline, *others = [each for each in findings(made) if each.axis == "dtype"]
    assert (headline.kind, others) == (FindingKind.BEST, []), "one headline a setting"
    assert [each.sentence for each in headline.details] == [
        "bfloat16 is faster than float32 in 5 of 6 matched cases (2.00x), slower in 1 (5.00x, at in_channels=3)",
        "bfloat16 takes 5.00x as long as float32 in 1 of 6 matched cases (at in_channels=3), with A",
    ]
    slow = run(*in_pairs(range(3, 9), lambda c: (1e-3, 5e-3 if c < 5 else 1.01e-3), dtype="bfloat16"))
    [effect] = [each for each in findings(slow) if each.axis == "dtype"]
    assert effect.sentence.startswith("bfloat16 is 5.00x slower than float32 in 2 of 6")
    assert [each.kind for each in effect.details] == [FindingKind.FALLBACK]


def test_only_what_contradicts_a_finding_is_an_exception_to_it() -> None:
    def seconds(slow: int) -> Callable[[int], tuple[float, float]]:
        return lambda c: (1e-3, 5e-3) if c < slow else (2e-3, 1e-3) if c < 12 else (1e-3, 1e-3)

    def fallback(slow: int) -> Finding:
        [found] = of_kind(findings(run(*in_pairs(range(3, 13), seconds(slow), dtype="bfloat16"))), FindingKind.FALLBACK)
        return found

    few, most = fallback(4), fallback(10)
    assert (len(few.cases), few.exceptions, few.share) == (2, (), 0.1), "of the others it says nothing"
    assert most.sentence.endswith("; it is faster in 2 (2.00x)")
    assert (len(most.cases), len(most.exceptions)) == (14, 4), "the last is within noise"


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
        replace(b, compute_probe_s=324e-6 * (1.0 if b.round_index == 0 else 1.31)) for b in synthetic.blocks(1e-3)
    )
    found = findings(run(synthetic.result(layer(), made=noisy)))
    told = "the probe, a fixed piece of work, took {} in the median {} at its fastest"
    assert f"the machine was noisy: {told.format('31.0 % longer', 'than')}" in sentences(found, Weight.NOTE)
    assert of_kind(findings(run(result)), FindingKind.NOISE) == []
    assert noise_sentence(1.02) == f"the machine was quiet: {told.format('2.0 % longer', 'than')}"
    assert noise_sentence(2.5) == f"the machine was noisy: {told.format('2.50x as long', 'as')}"
    assert "unknown" in noise_sentence(float("nan"))


def test_a_floor_that_few_blocks_support_is_said() -> None:
    blocks = synthetic.blocks(1e-3, noise=0.0)
    lucky = (replace(blocks[0], minimum_s=0.9e-3), *blocks[1:])
    weak = synthetic.result(layer(), made=lucky)
    [text] = sentences(findings(run(weak)), Weight.NOISE)
    assert text.startswith("in 1 of 1 case fewer than 10 % of the blocks are within 3 % of the floor")
    one_of_two = of_kind(findings(run(weak, timed(layer(9), 1e-3))), FindingKind.NOISE)
    assert [(finding.weight, finding.exceptions) for finding in one_of_two] == [(Weight.NOTE, ())], "others hold"


def test_floors_that_disagree_from_process_to_process_are_told() -> None:
    def disagreeing(apart: int) -> list[Finding]:
        results = [timed(layer(8 + i), 1e-3, wobble=0.5 if i < apart else 0.0) for i in range(10)]
        return of_kind(findings(run(*results)), FindingKind.NOISE)

    assert disagreeing(1) == []
    [some] = disagreeing(2)
    assert some.sentence == (
        "in 2 of 10 cases the floors of the processes differ by more than 25 %: repeat the run when the machine is "
        f"less busy; {layer(8).label} (and 1 more)"
    )
    assert (some.weight, len(some.cases)) == (Weight.NOTE, 2)
    assert [finding.weight for finding in disagreeing(6)] == [Weight.NOISE], "little holds"


def test_how_far_to_trust_times() -> None:
    agree, disagree = pd.Series([0.01] * 9 + [0.5, np.nan]), pd.Series([0.01] * 8 + [0.5, 0.5])
    assert trust(1.02, agree) is Trust.QUIET
    assert trust(1.2, agree) is Trust.NOISY
    assert trust(1.2, disagree) is trust(1.02, disagree) is trust(np.nan, disagree) is Trust.REPEAT
    assert trust(np.nan, pd.Series([0.01])) is Trust.UNKNOWN
    assert trust(1.2, pd.Series([np.nan])) is Trust.NOISY


def test_a_direction_is_told_where_it_is_out_of_line_with_its_work() -> None:
    def backwards(seconds: dict[int, float]) -> list[Result]:
        pairs = [(timed(layer(c), 1e-3), timed(layer(c, direction=Direction.BACKWARD), s)) for c, s in seconds.items()]
        return [result for pair in pairs for result in pair]

    results = backwards({16: 2e-3, 32: 3e-3, 64: 5e-3})
    slow = layer(64, direction=Direction.BACKWARD)
    [found] = of_kind(findings(run(*results)), FindingKind.DIRECTION)
    assert found.sentence == (
        "backward takes 5.00x as long as forward in 1 of 3 matched layers (at in_channels=64), for 2x the work; the "
        f"farthest from it is {slow.label}, which ran A"
    )
    assert set(found.cases) == {layer(64).id, slow.id}
    assert found.exceptions == ()
    assert found.size == pytest.approx(2.5)
    assert of_kind(findings(run(*backwards({16: 2e-3, 32: 3e-3}))), FindingKind.DIRECTION) == []
    [found] = of_kind(findings(run(*backwards({16: 0.5e-3}))), FindingKind.DIRECTION)
    assert found.sentence == "backward takes only 0.500x as long as forward in 1 of 1 matched layer, for 2x the work"


def test_sizes_are_compared_by_time_per_flop() -> None:
    # Twice the channels in the same time: half as dear per FLOP. The most telling value is the one that is told.
    results = [timed(layer(c), s) for c, s in ((16, 1e-3), (32, 1e-3), (64, 1e-3))]
    assert sentences(findings(run(*results)), Weight.WORK) == [
        "in_channels=64 is 4.00x faster per FLOP than in_channels=16 in 1 of 1 matched case"
    ]


def test_unbatched_is_a_value_like_others() -> None:
    results = [timed(layer(batch_size=b), s) for b, s in ((8, 8e-3), (None, 2e-3))]
    assert sentences(findings(run(*results)), Weight.WORK) == [
        "batch_size=8 is 2.00x faster per FLOP than unbatched in 1 of 1 matched case"
    ]
    both = [
        timed(layer(batch_size=b, dtype=dtype), 2e-3 * (b or 1) * (ratio if dtype == "bfloat16" else 1))
        for b, ratio in ((None, 2.0), (2, 0.5), (4, 0.5))
        for dtype in ("float32", "bfloat16")
    ]
    assert effects(*both) == [
        "bfloat16 is faster than float32 in 2 of 3 matched cases (2.00x, at batch_size=2 or 4), slower in 1 (2.00x, "
        "unbatched)"
    ]


def test_pairs_differ_in_one_setting_alone() -> None:
    made = synthetic.run(300, seed=3)
    all_known = known(made)
    pairs = all_known.pairs
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
        for value, both in all_known.against(axis, base):
            left, right = (pairs.table.iloc[side].reset_index(drop=True) for side in (both.base, both.other))
            assert len(both) > 0
            for name in settings:
                same = (left[name] == right[name]).fillna(False) | (left[name].isna() & right[name].isna())
                assert same.all() == (name != axis)
            assert (left[axis].isna() if base is None else left[axis] == base).all()
            assert (right[axis].isna() if value is None else right[axis] == value).all()
            expected = right["time_s"] / left["time_s"]
            pd.testing.assert_series_equal(pd.Series(both.ratio), expected, check_names=False)


def test_every_pair_is_found_once() -> None:
    made = synthetic.run(300, troubles=False)
    keys = {(r.case.problem, r.case.direction, r.case.memory_format): 0 for r in synthetic.run(300).results}
    for result in made.results:
        keys[result.case.problem, result.case.direction, result.case.memory_format] += 1
    [(value, both)] = known(made).against("dtype", "float32")
    assert value == "bfloat16"
    assert len(both) == sum(count == 2 for count in keys.values()) == len(set(both.base))


def test_the_same_point_asked_for_twice_is_one_side() -> None:
    default, one = timed(layer(), 1e-3), timed(layer(threads=1), 1.5e-3)
    two = timed(layer(threads=2), 2e-3)
    made = run(default, one, synthetic.with_facts(two, threads=2))
    [(_, both)] = known(made).against("threads", 1)
    assert both.ratio.tolist() == pytest.approx([2.0])


def test_empty_and_uniform_runs_have_no_effects() -> None:
    assert [f.weight for f in findings(synthetic.empty_run())] == []
    found = findings(run(timed(layer(), 1e-3)))
    assert [f.sentence.split(":")[0] for f in found] == [
        "the case computed the right result",
        "the highest rate is 6.23 GFLOP/s",
    ]


def test_unreached_cases_and_rejections_are_notes() -> None:
    notes = sentences(findings(synthetic.run(12, unmeasured=3, troubles=False)), Weight.NOTE)
    assert notes[0] == "3 cases were not reached yet"
    assert notes[1].startswith("torch would refuse 3 points of the sweep: ")
    assert not any("right" in note for note in notes)


def test_settings_that_were_not_interleaved_are_told() -> None:
    parted = timed(layer(), 1e-3)
    parted = synthetic.with_facts(parted, note=f"through autograd; {schedule.APART}")
    found = findings(run(parted, timed(layer(dtype="float64"), 1e-3)))
    (told,) = [finding for finding in found if "alternate" in finding.sentence]
    assert told.sentence.startswith("1 of 2 cases did not alternate with all other settings of their layer")
    assert told.cases == (parted.case.id,)
    assert not any("alternate" in each.sentence for each in findings(run(timed(layer(), 1e-3))))


def test_the_frame_may_be_given() -> None:
    made = synthetic.run(100)
    assert findings(made, frame(made)) == findings(made)
    assert [f.weight for f in findings(made)] == sorted(f.weight for f in findings(made))


def test_too_many_threads_are_told() -> None:
    facts = [
        ProcessFacts(process_index=i, seconds=1.0, twin_ratio=ratio) for i, ratio in enumerate((0.6, 2.5, 3.5, None))
    ]
    found = sentences(findings(replace(run(timed(layer(), 1e-3)), processes=tuple(facts))), Weight.NOISE)
    assert found == [
        "more threads than free cores: in 2 of 3 processes a matrix product took 2.50x to 3.50x as long with all "
        "threads as with one. Measure with fewer threads"
    ]
    quiet = replace(run(timed(layer(), 1e-3)), processes=tuple(facts[:1]))
    assert sentences(findings(quiet), Weight.NOISE) == []


def test_another_number_of_threads_that_runs_other_code_is_told() -> None:
    cases = [layer(channels, threads=threads) for channels in (16, 32) for threads in (1, 2)]
    ran = ["Slow2d", "Mkldnn jit", "Mkldnn jit", "Mkldnn jit"]
    results = [timed(case, 1e-3, implementation=name) for case, name in zip(cases, ran, strict=True)]
    made = run(*(synthetic.with_facts(result, threads=result.case.threads) for result in results))
    assert [said for said in sentences(findings(made), Weight.WORK) if "other code" in said] == [
        "torch runs other code with threads=2 than with threads=1 in 1 of 2 matched cases: Mkldnn jit instead of "
        "Slow2d in " + cases[1].label
    ]


def test_effects_rest_on_the_rounds_that_both_sides_have() -> None:
    """A case that settled early has fewer blocks; the other one's later, lower floor is not held against it."""
    fast = timed(layer(dtype="bfloat16"), 1.0e-3, processes=2)
    late = timed(layer(), 1.2e-3, processes=5)
    lower = [replace(b, minimum_s=b.minimum_s * (0.5 if b.process_index > 2 else 1)) for b in synthetic.blocks_of(late)]
    late = replace(late, blocks=((LAYOUT, pack_blocks(lower)),))
    made = run(fast, late)
    [(_, both)] = known(made).against("dtype", "float32")
    assert both.ratio.tolist() == pytest.approx([1 / 1.2], rel=1e-3)


def test_cases_measured_while_the_machine_was_noisier_are_reported() -> None:
    results = [timed(layer(channels), 1e-3) for channels in (16, 32, 48, 64)]
    slow = [replace(b, compute_probe_s=324e-6 * 1.8) for b in synthetic.blocks_of(results[3])]
    results[3] = replace(results[3], blocks=((LAYOUT, pack_blocks(slow)),))
    told = [said for said in sentences(findings(run(*results)), Weight.NOTE) if "noisier" in said]
    assert told == [
        "1 case was measured while the machine was noisier. Around its blocks the probe's time was up to 80.0 % over "
        f"its fastest, around those of the median case 0.0 %: {results[3].case.label}"
    ]
    assert not any("noisier" in finding.sentence for finding in findings(run(*results[:3])))


def test_what_the_system_tells_of_disturbances_is_told() -> None:
    facts = (
        ProcessFacts(process_index=0, seconds=1.0, stolen=0.07, throttled=2),
        ProcessFacts(process_index=1, seconds=1.0),
    )
    told = of_kind(findings(replace(run(timed(layer(), 1e-3)), processes=facts)), FindingKind.NOISE)
    assert [(finding.weight, finding.sentence) for finding in told] == [
        (Weight.NOTE, "7.0 % of the processor's time went to other guests of the host in one process"),
        (
            Weight.NOTE,
            "the processor was slowed down 2 times during the run, because of heat or a quota of its control group",
        ),
    ]


def test_results_of_little_precision_are_told() -> None:
    exact, rough = timed(layer(16), 1e-3), timed(layer(32), 1e-3)
    assert rough.facts.check is not None
    rough = synthetic.with_facts(rough, check=replace(rough.facts.check, max_error=20_000.0))
    [found] = of_kind(findings(run(exact, rough)), FindingKind.INACCURATE)
    assert found.sentence == (
        "1 of 2 cases computed in less precision than requested, the worst 20,000 units of roundoff from exact: "
        f"{rough.case.label}"
    )
    assert (found.cases, found.exceptions) == ((rough.case.id,), ())
    assert findings(run(exact, rough))[0] == found
    in_tf32 = synthetic.with_facts(rough, precision="tf32")
    assert not of_kind(findings(run(exact, in_tf32)), FindingKind.INACCURATE), "an older convbench: units of float32"
    told = replace(rough, status=Status.IMPRECISE, reason="less precision than float32")
    [again] = of_kind(findings(run(exact, told)), FindingKind.INACCURATE)
    assert again == replace(found, sentence=f"{found.sentence}: less precision than float32"), (
        "as it was told of old runs"
    )
    unknown = synthetic.with_facts(told, check=None)
    [bare] = of_kind(findings(run(exact, unknown)), FindingKind.INACCURATE)
    assert "than requested: " in bare.sentence
    assert told.facts.check is not None
    hidden = synthetic.with_facts(told, check=replace(told.facts.check, max_error=40.0))  # among many terms, say
    [found] = of_kind(findings(run(exact, hidden)), FindingKind.INACCURATE)
    assert "the worst 40 units" in found.sentence


@pytest.mark.parametrize("status", [Status.FAILED, Status.IMPRECISE])
def test_what_is_not_what_was_asked_for_is_never_best_nor_counted_in_a_network(status: Status) -> None:
    slow, fast = timed(layer(8, count=4), 1e-3), timed(layer(8, dtype="float16", count=4), 1e-6)
    both = run(slow, replace(fast, status=status, reason="a reason"))
    told = [finding.sentence for finding in findings(both)]
    assert not [text for text in told if "float16" in text and "faster" in text]
    assert not of_kind(findings(both), FindingKind.BEST)
    [network] = [text for text in told if "the network spends" in text and "float32" in text]
    assert "is wrong" not in network and "is imprecise" not in network
    assert not [text for text in told if "computed the right result" in text]


def test_every_setting_that_can_be_swept_has_an_effect_to_tell() -> None:
    assert {*EXECUTION, *WORK, "direction"} == set(SETTINGS)


def test_a_users_module_is_told_also_where_it_is_no_faster() -> None:
    results = in_pairs(range(8, 11), lambda _: (1e-3, 1.01e-3), module="m:C")
    [found] = of_kind(findings(run(*results)), FindingKind.MODULE)
    assert found.sentence == (
        f"m:C is as fast as {TORCH_MODULE} in 3 of 3 matched cases: with their noise they differ by less than 10 %"
    )
    assert (found.weight, len(found.cases), found.exceptions) == (Weight.EFFECT, 6, ())


def test_what_noise_hides_is_not_called_as_fast() -> None:
    def shaky(channels: int) -> list[Result]:
        return [timed(layer(channels), 1e-3), timed(layer(channels, module="m:C"), 1.05e-3, wobble=0.4)]

    [found] = of_kind(findings(run(*shaky(8))), FindingKind.MODULE)
    assert found.sentence == (
        f"noise hides whether m:C is as fast as {TORCH_MODULE} in 1 of 1 matched case: they may differ by up to 47 %"
    )
    assert found.weight is Weight.NOTE
    same = in_pairs(range(9, 12), lambda _: (1e-3, 1e-3), module="m:C")
    [found] = of_kind(findings(run(*shaky(8), *same)), FindingKind.MODULE)
    assert found.sentence.endswith(" they differ by less than 10 %; noise hides more in 1")
    assert " is as fast as torch.nn.Conv2d in 3 of 4 matched cases" in found.sentence


@pytest.mark.parametrize("status", [Status.CRASHED, Status.TIMED_OUT, Status.FAILED, Status.IMPRECISE])
def test_a_module_that_failed_anywhere_is_never_called_as_fast(status: Status) -> None:
    same = in_pairs(range(8, 11), lambda _: (1e-3, 1e-3), module="m:C")
    lost = synthetic.result(layer(99, module="m:C", dtype="float64"), status=status, reason="a reason")
    assert [text for text in effects(*same, lost) if "as fast" in text] == []
    assert len(effects(*same)) == 1
    faster = in_pairs(range(8, 11), lambda _: (2e-3, 1e-3), module="m:C")
    words = {
        Status.CRASHED: "crashed",
        Status.TIMED_OUT: "timed out",
        Status.FAILED: "computed a wrong result",
        Status.IMPRECISE: "computed in less precision",
    }
    assert effects(*faster, lost) == [
        f"m:C is 2.00x faster than {TORCH_MODULE} in 3 of 3 matched cases; of its 4 cases 1 {words[status]}"
    ]


def test_more_threads_that_are_slower_than_fewer_are_too_many() -> None:
    took = {1: 4e-3, 2: 2e-3, 4: 3e-3}
    results = [timed(layer(c, threads=t), s) for c in (16, 32) for t, s in took.items()]
    known = run(*(synthetic.with_facts(r, threads=r.case.threads) for r in results))
    found = of_kind(findings(known), FindingKind.THREADS)
    assert sorted(finding.sentence for finding in found) == [
        "threads=2 is 2.00x faster than threads=1 in 2 of 2 matched cases",
        "threads=4 is 1.33x faster than threads=1 in 2 of 2 matched cases",
        "threads=4 is too many: 1.50x slower than threads=2 in 2 of 2 matched cases",
    ]
    assert {finding.axis for finding in found} == {"threads"}


def test_times_of_threads_that_waited_for_cores_in_every_process_prove_nothing() -> None:
    results = [timed(layer(threads=t), s) for t, s in ((1, 1e-3), (2, 50e-3))]
    made = run(*(synthetic.with_facts(result, threads=result.case.threads) for result in results))
    assert len(of_kind(findings(made), FindingKind.THREADS)) == 1

    def with_ratios(*ratios: float) -> list[Finding]:
        facts = tuple(ProcessFacts(process_index=i, seconds=1.0, twin_ratio=ratio) for i, ratio in enumerate(ratios))
        return of_kind(findings(replace(made, processes=facts)), FindingKind.THREADS)

    assert [finding.weight for finding in with_ratios(3.0, 2.0)] == [Weight.NOISE]
    assert len(with_ratios(3.0, 0.6)) == 2


def test_layers_far_from_the_roof_are_told_with_what_ran() -> None:
    cases = [layer(c, threads=1) for c in (16, 32, 64)]
    ran = ("Slow2d", "Mkldnn jit", "Slow2d")
    at_rate = [
        timed(case, case.flops / rate, implementation=name)
        for case, rate, name in zip(cases, (1e9, 9e10, 2e9), ran, strict=True)
    ]
    roofs = (
        Roof(kind=RoofKind.COMPUTE, rate=1e11, dtype="float32", device="cpu", threads=1, source="a"),
        Roof(kind=RoofKind.BANDWIDTH, rate=1e15, footprint_bytes=2**20, device="cpu", threads=1, source="copy"),
    )
    made = replace(run(*at_rate), processes=(ProcessFacts(process_index=0, seconds=1.0, roofs=roofs),))
    [found] = of_kind(findings(made), FindingKind.ROOF)
    assert found.sentence == (
        "2 of 3 cases reach less than 25 % of what this machine can do, all with Slow2d; the lowest reaches 1.0 %: "
        f"{cases[0].label}"
    )
    [one] = of_kind(findings(replace(made, results=made.results[:2])), FindingKind.ROOF)
    assert one.sentence == (
        f"1 of 2 cases reaches only 1.0 % of what this machine can do, with Slow2d: {cases[0].label}"
    )
    assert (found.cases, found.exceptions) == ((cases[0].id, cases[2].id), ())
    mute = tuple(
        synthetic.with_facts(result, implementation=name)
        for result, name in zip(at_rate, ("unknown", "x", None), strict=True)
    )
    [found] = of_kind(findings(replace(made, results=mute)), FindingKind.ROOF)
    assert "all with an unknown kernel" in found.sentence
    many = tuple(
        timed(case, case.flops / 1e9, implementation=name)
        for case, name in zip([layer(c, threads=1) for c in range(8, 14)], "ABCABA", strict=True)
    )
    [found] = of_kind(findings(replace(made, results=many)), FindingKind.ROOF)
    assert "can do, 3 of them with A and 2 with B; the lowest" in found.sentence
    once = tuple(replace(each, blocks=blocks_of_processes(each, 1)) for each in made.results)
    assert of_kind(findings(replace(made, results=once)), FindingKind.ROOF) == [], "one process may be slow as a whole"
    cores = made.environment.cores
    waited = tuple(
        synthetic.with_facts(replace(each, case=replace(each.case, threads=cores)), threads=cores)
        for each in made.results
    )
    roofs = tuple(replace(roof, threads=cores) for roof in roofs)
    for ratio, many_roofs in ((0.6, 1), (3.0, 0)):
        facts = (ProcessFacts(process_index=0, seconds=1.0, roofs=roofs, twin_ratio=ratio),)
        found_roofs = of_kind(findings(replace(made, results=waited, processes=facts)), FindingKind.ROOF)
        assert len(found_roofs) == many_roofs, "threads that waited for cores"


def with_system(case: Case, *seconds: float, page_faults: float = 1800.0, probe: float = 1.0) -> Result:
    """A case of 1 ms, in whose first process three blocks with the system's allocator took so long."""
    own = timed(case, 1e-3)
    blocks = [replace(b, compute_probe_s=324e-6 * (probe if b.round_index else 1)) for b in synthetic.blocks_of(own)]
    taken = [b for b in blocks if b.process_index == 0]
    system = [replace(b, minimum_s=s, page_faults=page_faults) for b, s in zip(taken, seconds, strict=False)]
    return replace(own, blocks=((LAYOUT, pack_blocks(blocks)),), system_blocks=((LAYOUT, pack_blocks(system)),))


def allocator(*results: Result) -> list[str]:
    return [finding.sentence for finding in of_kind(findings(run(*results)), FindingKind.ALLOCATOR)]


def test_the_systems_allocator_is_told_by_what_it_costs() -> None:
    dear = with_system(layer(16), 1.5e-3, 1.6e-3, 1.7e-3)
    same = with_system(layer(32), 1e-3, 1e-3, 1e-3)
    [found] = of_kind(findings(run(dear, same)), FindingKind.ALLOCATOR)
    assert found.sentence == (
        f"the system's memory allocator costs 50 % in 1 of 2 cases, with 1,800 page faults a call: {dear.case.label}"
    )
    assert (found.cases, found.exceptions) == ((dear.case.id,), ())
    assert allocator(dear, with_system(layer(32), 1.3e-3, 1.3e-3, 1.3e-3)) == [
        "the system's memory allocator costs 30 % to 50 % in 2 of 2 cases, the most with 1,800 page faults a call: "
        f"{dear.case.label}"
    ]
    many = [with_system(layer(c), *([1e-3 * (1 + c / 100)] * 3)) for c in range(20, 28)]
    [told] = allocator(*many)
    assert "costs 23 % in the median and 20 % to 27 % in 8 of 8 cases, the most with" in told
    [huge] = allocator(dear, with_system(layer(64), *([0.358] * 3), page_faults=1e6))
    assert "costs 1.50x to 358x the time in 2 of 2 cases" in huge, "a large cost is no figure in percent"


def test_the_allocator_is_not_blamed_for_noise_nor_for_more_than_page_faults_can_cost() -> None:
    assert len(allocator(with_system(layer(16), 1.459e-3, 1.5e-3, 1.6e-3, page_faults=460.0))) == 1, "1 us each"
    assert allocator(with_system(layer(16), 1.461e-3, 1.5e-3, 1.6e-3, page_faults=460.0)) == []
    assert allocator(with_system(layer(16), 15.75e-3, 16e-3, 17e-3, page_faults=1800.0)) == [], "1,475 %, 180 % at most"
    assert allocator(with_system(layer(16), 1.5e-3, 1.6e-3, 1.7e-3, probe=1.6)) == [], "the probe took 60 % longer"
    own = with_system(layer(16), 1.5e-3, 1.6e-3, 1.7e-3)
    slow = [replace(b, minimum_s=1.55e-3) if b.round_index == 1 else b for b in synthetic.blocks_of(own)]
    assert allocator(replace(own, blocks=((LAYOUT, pack_blocks(slow)),))) == [], "an own block took as long"


def test_a_sweep_over_allocators_tells_their_effect_alone() -> None:
    dear, other = with_system(layer(16), 1.5e-3, 1.6e-3, 1.7e-3), timed(layer(16, allocator=Allocator.SYSTEM), 1.005e-3)
    assert (len(allocator(dear)), allocator(dear, other)) == (1, [])


def test_findings_are_ranked_by_size_and_by_how_many_cases_show_it() -> None:
    def about(size: float, share: float) -> float:
        return Finding(weight=Weight.EFFECT, kind=FindingKind.EFFECT, size=size, sentence="", share=share).importance

    assert about(2.0, 1.0) > about(1.5, 1.0) > about(2.0, 0.1) > about(1.0, 1.0) == 0
    found = findings(synthetic.run(300))
    assert found == sorted(found, key=lambda finding: (finding.weight, -finding.importance))


def shuffled(made: Run, seed: int) -> Run:
    return replace(made, results=tuple(random.Random(seed).sample(made.results, len(made.results))))


@pytest.mark.parametrize("seed", range(5))
def test_no_finding_depends_on_the_order_of_the_cases(seed: int) -> None:
    made = synthetic.run(400, seed=seed)
    assert findings(shuffled(made, seed)) == findings(made)


@pytest.mark.parametrize("processes", [1, 2, 3, 5])
@pytest.mark.parametrize("process", [pytest.param(0.002, marks=pytest.mark.slow), 0.02])
def test_noise_alone_is_no_finding(processes: int, process: float) -> None:
    """Every layer has the same true time per FLOP under every setting; seeded, so that it fails always or never."""
    speaking = 0
    for seed in range(10):
        cases = synthetic.cases(48)
        results = [
            timed_noisily(case, case.flops / 50e9, processes=processes, process=process, seed=f"{seed} {case.id}")
            for case in cases
        ]
        told = [finding for finding in findings(run(*results)) if finding.weight in (Weight.EFFECT, Weight.WORK)]
        speaking += bool(told)
    assert speaking <= 1


def timed_noisily(case: Case, floor_s: float, *, processes: int = 5, process: float = 0.02, seed: str = "") -> Result:
    made = synthetic.noisy_blocks(floor_s, processes=processes, process=process, seed=seed)
    return synthetic.with_facts(synthetic.result(case, made=made), implementation="A")


@pytest.mark.slow
@settings(max_examples=30, deadline=None, derandomize=True)
@given(ratio=st.sampled_from([1 / 1.1, 1 / 1.3, 1.1, 1.3, 2.5]), seed=st.integers(0, 1000))
def test_a_planted_effect_is_found_with_its_size_and_direction(ratio: float, seed: int) -> None:
    results = []
    for channels in range(16, 28):
        for case, factor in (
            (layer(channels), 1.0),
            (layer(channels, memory_format=MemoryFormat.CHANNELS_LAST), ratio),
        ):
            results.append(timed_noisily(case, factor * case.flops / 50e9, process=0.005, seed=f"{seed} {case.id}"))
    [found] = of_kind(findings(run(*results)), FindingKind.EFFECT)
    assert found.size == pytest.approx(max(ratio, 1 / ratio), rel=0.02)
    assert ("faster" in found.sentence) == (ratio < 1)
    assert found.exceptions == () and len(results) / 2 < len(found.cases) <= len(results)
    assert np.all(np.isin(found.cases, [result.case.id for result in results]))


def test_layers_that_take_longer_to_launch_than_to_run_are_launch_bound() -> None:
    def launched(case: Case, host_s: float) -> Result:
        result = timed(replace(case, device="cuda"), 4e-6)
        blocks = [replace(block, host_s=host_s) for _, packed in result.blocks for block in unpack_blocks(packed)]
        return replace(result, blocks=((LAYOUT, pack_blocks(blocks)),))

    found = findings(run(launched(layer(8), 20e-6), launched(layer(16), 12e-6), launched(layer(32), 1e-6)))
    (said,) = (finding for finding in found if finding.kind is FindingKind.LAUNCH)
    assert said.sentence.startswith("2 of 3 cases are launch-bound: ")
    assert "a graph would save up to 7.91 us to 15.9 us of each call" in said.sentence, "against the typical time"
    assert said.cases == tuple(replace(layer(channels), device="cuda").id for channels in (8, 16))
    assert not [one for one in findings(run(timed(layer(8), 4e-6))) if one.kind is FindingKind.LAUNCH]


def first_calls(gain: float, first_s: float = 3.0) -> list[Result]:
    """Six layers of 1 ms, each eager and compiled to be so many times as fast."""
    made = in_pairs(range(3, 9), lambda c: (1e-3, 1e-3 / gain), execution=Execution.COMPILED)
    firsts = [first_s if result.case.execution is Execution.COMPILED else 0.01 for result in made]
    return [synthetic.with_facts(result, first_call_s=first) for result, first in zip(made, firsts, strict=True)]


def test_what_compiling_gains_and_when_it_has_paid_for_itself() -> None:
    found = findings(run(*first_calls(2.0)))
    [gain] = [each for each in of_kind(found, FindingKind.EFFECT) if each.axis == "execution"]
    assert gain.sentence == "compiled is 2.00x faster than eager in 6 of 6 matched cases"
    [paid] = of_kind(found, FindingKind.COMPILING)
    assert paid.sentence == (
        "compiling adds 2.99 s to the first call, and has paid for itself after 5,980 calls in the 6 of 6 matched "
        "cases that it makes faster"
    )
    assert len(paid.cases) == 12


def test_compiling_that_gains_nothing_never_pays_for_itself() -> None:
    slower = findings(run(*first_calls(0.5)))
    assert not of_kind(slower, FindingKind.COMPILING)
    assert effects(*first_calls(0.5)) == ["compiled is 2.00x slower than eager in 6 of 6 matched cases"]
    assert not of_kind(findings(run(*first_calls(1.01))), FindingKind.COMPILING), "a gain within noise"


def test_a_graph_says_what_capturing_it_costs() -> None:
    made = in_pairs(range(3, 9), lambda c: (1e-3, 5e-4), execution=Execution.GRAPH)
    results = [
        synthetic.with_facts(each, first_call_s=0.1 if each.case.execution is Execution.GRAPH else 0.05)
        for each in made
    ]
    [paid] = of_kind(findings(run(*results)), FindingKind.COMPILING)
    assert paid.sentence.startswith("capturing a graph adds 50.0 ms to the first call")
