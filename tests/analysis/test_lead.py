"""On a device the median of the blocks leads: the fast start of a block, before the clock is lowered, does not."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
import synthetic

from convbench.actions import timing
from convbench.analysis.comparison import side_by_side
from convbench.analysis.comparison.comparison import compare
from convbench.analysis.comparison.judgment import Verdict
from convbench.analysis.findings.findings import examined
from convbench.analysis.history.history import history
from convbench.analysis.table.columns import Rows, columns
from convbench.model.case import Case
from convbench.model.lead import Lead, lead_of, leading_word
from convbench.model.result import Block, ProcessFacts, Run, StopReason, pack_blocks
from convbench.model.threshold import Thresholds
from convbench.report.export import to_junit, to_markdown
from convbench.report.text.history import history_text
from convbench.report.text.results import results_text
from convbench.report.text.summary import comparison_summary
from convbench.report.text.timing import answer_text, times_text

ON_DEVICE = synthetic.layer(16, device="cuda:0", given_label="steady")
THROTTLED = synthetic.layer(32, device="cuda:0", given_label="throttled")
ON_CPU = synthetic.layer(16, device="cpu", given_label="cpu")
STEADY = [1e-3, 1.002e-3, 1.004e-3, 0.998e-3, 1.001e-3]


def run_of(*made: tuple[Case, Sequence[Block]], **about: object) -> Run:
    results = tuple(synthetic.result(case, made=tuple(blocks)) for case, blocks in made)
    return replace(synthetic.empty_run(), results=results, **about)


def times(factor: float) -> list[float]:
    return [factor * each for each in STEADY]


#: A layer that begins in 0.7 ms and then takes 1.3 ms, beside one that always takes 1 ms.
BOTH = run_of(
    (THROTTLED, synthetic.device_blocks(times(1.3), start=0.7e-3)),
    (ON_DEVICE, synthetic.device_blocks(STEADY, start=0.99e-3)),
)
MIXED = replace(BOTH, results=(*BOTH.results, synthetic.result(ON_CPU, made=synthetic.blocks(2e-3, noise=0.1))))


def test_only_the_cpu_is_ranked_by_floors() -> None:
    assert [lead_of(device) for device in ("cpu", "cuda", "cuda:1", "mps", "vulkan:1")] == [Lead.FLOOR] + 4 * [
        Lead.MEDIAN
    ]
    words = [leading_word(devices) for devices in (["cpu"], ["cuda", "cuda:1"], ["cpu", "cuda"], [])]
    assert words == ["floor", "median", "time", "floor"]
    assert (Lead.FLOOR.of([3.0, 1.0, 2.0]), Lead.MEDIAN.of([3.0, 1.0, 2.0, 9.0])) == (1.0, 2.5)


def test_the_table_ranks_a_device_by_the_median_and_takes_rates_there() -> None:
    table = columns(MIXED)
    assert table["time_s"] == pytest.approx([1.3013e-3, 1.001e-3, table["floor_s"][2]], rel=1e-3)
    assert table["leads"] == ["median", "median", "floor"]
    assert table["floor_s"][:2] == pytest.approx([0.7e-3, 0.99e-3])
    assert table["tflops"] == pytest.approx(
        [case.flops / time / 1e12 for case, time in zip(Rows(MIXED).cases, table["time_s"], strict=True)]
    )
    # The spread is that of the processes' medians; all minima are equal.
    assert table["spread"][:2] == pytest.approx([1.004 / 0.998 - 1] * 2, rel=1e-3)
    assert table["support"][:2] == [1.0, 1.0]


def test_support_counts_blocks_on_both_sides_of_the_median() -> None:
    apart = [0.9e-3, 0.96e-3, 1e-3, 1.02e-3, 1.2e-3]
    assert columns(run_of((ON_DEVICE, synthetic.device_blocks(apart, start=0.5e-3))))["support"] == [0.4]


def test_the_terminal_lists_the_steady_layer_first_under_the_leading_word() -> None:
    lines = results_text(Rows(BOTH)).splitlines()
    assert lines[-3].split()[:4] == ["median", "floor", "spread", "rate"]
    assert [line.split()[-2] for line in lines[-2:]] == ["steady:", "throttled:"]
    assert lines[-1].split()[:4] == ["1.30", "ms", "700", "us"]
    mixed = results_text(Rows(MIXED)).splitlines()
    assert mixed[-4].split()[:2] == ["time", "leads"]
    assert [line.split()[2] for line in mixed[-3:]] == ["median", "median", "floor"]
    on_cpu = results_text(Rows(replace(MIXED, results=MIXED.results[2:]))).splitlines()
    assert on_cpu[0].split()[:2] == ["floor", "typical"]


def test_exports_have_the_median() -> None:
    head, *rows = to_markdown(BOTH).decode().splitlines()[2:5:2]
    assert head.startswith("| case | status | median | floor | spread |")
    assert "| 1.30 ms | 700 us |" in rows[0]
    assert b'time="0.001301300"' in to_junit(BOTH)


def test_findings_compare_medians() -> None:
    """The half as long layer has the slower start, so floors would say the opposite."""
    half = synthetic.layer(16, device="cuda:0", dtype="float16")
    made = run_of(
        (ON_DEVICE, synthetic.device_blocks(STEADY, start=0.4e-3)),
        (half, synthetic.device_blocks(times(0.5), start=0.45e-3)),
    )
    seen = examined(made)
    [pairs] = seen.contrasts
    assert pairs.axis == "dtype" and pairs.verdict.tolist() == [1]
    assert pairs.ratio == pytest.approx([0.5], rel=0.01) and pairs.effect == pytest.approx(math.log(2), rel=0.02)
    [best] = [each for each in seen.findings if each.axis == "dtype"]
    assert "2.00x faster than float32: 501 us instead of 1.00 ms" in best.sentence, best.sentence


def test_findings_pair_a_case_on_the_cpu_with_one_on_a_device_each_by_its_own_figure() -> None:
    cpu = replace(ON_DEVICE, device="cpu")
    made = run_of((cpu, synthetic.blocks(4e-3, noise=0.0)), (ON_DEVICE, synthetic.device_blocks(STEADY, start=0.4e-3)))
    seen = examined(made)
    [pairs] = seen.contrasts
    assert pairs.axis == "device" and pairs.ratio == pytest.approx([0.25], rel=0.01)
    [best] = [each for each in seen.findings if each.axis == "device"]
    assert best.size == pytest.approx(4.0, rel=0.01), best.sentence


def test_time_says_what_is_faster_by_medians() -> None:
    """The half as long dtype has the slower start; the heads and the ratio are those of medians."""
    layer = {name: ["8"] for name in ("in_channels", "out_channels", "input_size")}
    options = {**layer, "kernel_size": ["1"], "direction": ["forward"], "device": ["cuda"]}
    sweep, plan = timing.planned({**options, "dtype": ["float32", "float16"]})
    blocks = [synthetic.device_blocks(times(factor), start=start) for factor, start in ((1.0, 4e-4), (0.5, 4.5e-4))]
    made = run_of(*zip(plan.cases, blocks, strict=True))
    results = tuple(replace(result, stop_reason=StopReason.ROUNDS) for result in made.results)
    made = replace(made, results=results, source=sweep.source)
    rows, found = timing.answer(made, sweep)
    [one] = found
    assert (one.fastest, one.value) == ("float16", "float32")
    assert one.ratio == pytest.approx(2.0) and 1 < one.low < one.ratio < one.high
    assert times_text(rows, plan.cases).splitlines()[1].split()[:3] == ["median", "floor", "spread"]
    assert "2 of 2 cases did not settle: the medians of processes had not agreed" in answer_text(made, found)


def test_errors_are_in_the_precision_that_torch_used() -> None:
    """Of equal numbers of units, TF32's are as large as float16's, so nothing differs; full float32's are 2**13th."""
    half = synthetic.layer(16, device="cuda:0", dtype="float16")
    made = run_of(
        (ON_DEVICE, synthetic.device_blocks(STEADY, start=5e-4)),
        (half, synthetic.device_blocks(times(0.5), start=2e-4)),
    )
    for used, said in ((None, ""), ("tf32", ""), ("ieee", "8,200 times")):
        full, other = made.results
        seen = examined(replace(made, results=(synthetic.with_facts(full, precision=used), other)))
        [precision] = [
            each.sentence.partition(". Precision differs")[2] for each in seen.findings if each.kind == "best"
        ]
        assert f"{said} that with float32" in precision if said else not precision, used


def test_one_process_of_a_device_leaves_its_range_open() -> None:
    """Its two lowest blocks may be alike by chance: the median lies among all of them."""
    slower = synthetic.layer(16, device="cuda:0", dtype="float16")
    wide = [
        replace(block, median_s=level, q1_s=level)
        for block, level in zip(
            synthetic.device_blocks([1e-3], start=0.1e-3), (1e-3, 1e-3, 1.2e-3, 1.5e-3, 1.6e-3), strict=True
        )
    ]
    found = examined(run_of((ON_DEVICE, synthetic.device_blocks([1e-3], start=0.1e-3)), (slower, wide)))
    assert [pairs.verdict.tolist() for pairs in found.contrasts] == [[0]], "1.2x is within 1.6x"
    assert not [each for each in found.findings if each.axis == "dtype"]


def test_a_comparison_judges_medians_and_says_so() -> None:
    base = run_of((ON_DEVICE, synthetic.device_blocks(STEADY, start=0.5e-3)), id="base")
    slower = run_of((ON_DEVICE, synthetic.device_blocks(times(1.2), start=0.5e-3)), id="slower")
    start = run_of((ON_DEVICE, synthetic.device_blocks(STEADY, start=0.4e-3)), id="start")
    [judgment] = compare(base, slower).judgments
    assert judgment.verdict is Verdict.REGRESSED
    assert (judgment.base_s, judgment.ratio) == (pytest.approx(1.001e-3, rel=1e-3), pytest.approx(1.2, rel=1e-3))
    assert judgment.low < judgment.ratio < judgment.high
    assert compare(base, start).judgments[0].verdict is Verdict.UNCHANGED, "the start alone is 20 % faster"
    assert "| verdict | change | interval | median |" in comparison_summary(compare(base, slower), most=5000)


@pytest.mark.parametrize("processes", [4, 8, 16])
def test_the_interval_of_a_median_holds_it_for_any_number_of_processes(processes: int) -> None:
    chance = random.Random(processes)
    sides = [
        run_of(
            (ON_DEVICE, synthetic.device_blocks([1e-3 * chance.uniform(1, 1.1) for _ in range(processes)], start=5e-4))
        )
        for _ in range(2)
    ]
    [judgment] = compare(*sides).judgments
    assert judgment.low <= judgment.ratio <= judgment.high


def test_pairs_side_by_side_compare_medians() -> None:
    base = run_of((ON_DEVICE, synthetic.device_blocks(times(1.0) * 2, start=0.5e-3)))
    new = run_of((ON_DEVICE, synthetic.device_blocks(times(1.1) * 2, start=0.4e-3)))
    found = side_by_side.ratios(base.results, new.results)
    assert found.pooled == pytest.approx([1.1], rel=1e-3)
    assert 1.09 < found.low[0] <= found.pooled[0] <= found.high[0] < 1.11
    assert side_by_side.suspects(base, new) == [0]
    [judgment] = side_by_side.compare(base, new, names=("a", "b"), confirmed=[0]).judgments
    assert judgment.verdict is Verdict.REGRESSED


def test_a_disagreement_of_pairs_names_the_medians() -> None:
    """The pairs' ratios are all 1.2, but the medians of both sides are equal: the levels are mixed."""
    base = [1.0, 1.2, 1.44, 1.728] * 2
    new = [each * 1.2 for each in base]
    new[3] = new[7] = base[0] / 2
    sides = [run_of((ON_DEVICE, synthetic.device_blocks([1e-3 * t for t in each], start=1e-4))) for each in (base, new)]
    [judgment] = side_by_side.compare(*sides, names=("a", "b"), confirmed=[0]).judgments
    assert judgment.verdict is Verdict.INCONCLUSIVE
    assert judgment.reason.startswith("the medians moved by "), judgment.reason


def test_a_history_finds_a_step_of_the_median_and_none_of_the_start() -> None:
    chance = random.Random(1)

    def night(number: int) -> Run:
        steady = [(1.3e-3 if number >= 5 else 1e-3)] * 4
        start = 0.3e-3 if number % 2 else 0.8e-3
        blocks = synthetic.device_blocks(steady, start=start, chance=chance)
        return run_of((ON_DEVICE, blocks), id=f"run{number}", started_at=f"2026-11-{10 + number}T03:30:00Z")

    [series] = history([night(number) for number in range(10)], Thresholds())
    assert [round(step.ratio, 2) for step in series.steps] == [1.3]
    told = history_text([series]).splitlines()
    assert "median" in told[3].split() and told[-1] == "medians over 20 blocks of 4 processes"


def test_references_of_a_device_are_related_by_medians() -> None:
    """A row of references is their leading time; the middle row counts, where a CPU's low quantile would."""
    made = synthetic.referred(run_of((ON_DEVICE, synthetic.device_blocks(STEADY, start=0.5e-3))))
    related = Rows(made).related
    assert related.normalized_s == pytest.approx([1.001e-3], rel=1e-3)


def test_a_kernel_companion_of_a_device_is_taken_by_medians() -> None:
    backward = synthetic.layer(16, device="cuda:0", direction="backward")
    result = synthetic.result(backward, made=synthetic.device_blocks(STEADY, start=0.2e-3))
    kernels = synthetic.device_blocks([0.9e-3], start=0.1e-3, rounds=3)
    layout = result.blocks[0][0]
    made = replace(BOTH, results=(replace(result, kernel_blocks=((layout, pack_blocks(kernels)),)),))
    assert Rows(made).overhead_s == pytest.approx([0.1e-3], rel=1e-3)


def test_many_threads_drop_cases_of_the_cpu_alone() -> None:
    """The cores were busy: a case with as many threads proves nothing, but its device does not use them."""
    facts = tuple(ProcessFacts(process_index=i, seconds=1.0, twin_ratio=1.5) for i in range(5))
    for device, known in (("cuda:0", 1), ("cpu", 0)):
        cases = [synthetic.layer(16, device=device, threads=2, dtype=dtype) for dtype in ("float32", "float16")]
        blocks = [synthetic.device_blocks(times(factor), start=factor * 1e-3) for factor in (1.0, 0.5)]
        made = run_of(*zip(cases, blocks, strict=True), processes=facts)
        made = replace(made, results=tuple(synthetic.with_facts(result, threads=2) for result in made.results))
        assert [each.axis for each in examined(made).findings if each.axis == "dtype"] == ["dtype"] * known, device
