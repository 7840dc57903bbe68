"""Two networks compared: sums that are computed by hand, layers matched by module path, and layers of one side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import synthetic

from convbench.analysis.comparison.comparison import compare
from convbench.analysis.comparison.judgment import Comparison, Verdict
from convbench.analysis.comparison.matching import by_path
from convbench.analysis.comparison.networks import with_networks
from convbench.analysis.comparison.sums import BY_PATH
from convbench.analysis.findings.evidence import evidence
from convbench.analysis.table.columns import Rows
from convbench.analysis.table.frame import frame
from convbench.errors import NotComparableError
from convbench.model.case import Case, MemoryFormat
from convbench.model.problem import Direction
from convbench.model.result import Result, Run, Status
from convbench.report.text.compare import compare_text
from convbench.report.text.summary import comparison_summary

BACKWARD, GRAD_WEIGHT = Direction.BACKWARD, Direction.GRAD_WEIGHT
LAST = MemoryFormat.CHANNELS_LAST
MS = 1e-3


def layer(name: str | None, in_channels: int, count: int = 1, **given: object) -> Case:
    return synthetic.layer(in_channels, given_label=name, count=count, threads=1, **given)


def timed(case: Case, floor_s: float) -> Result:
    made = synthetic.blocks(1.0, noise=0.0)
    return synthetic.result(case, made=tuple(replace(block, minimum_s=floor_s) for block in made))


def run(*results: Result, name: str = "base") -> Run:
    return replace(synthetic.empty_run(), id=f"20261124-{name}", name=name, source="", results=results)


def compared(base: Run, new: Run) -> Comparison:
    return with_networks(compare(base, new), base, new)


STEM = layer("stem.conv", 3)
#: Forward 2 + 3 * 4 + 2 * 1 = 16 ms.
BASE = run(
    timed(STEM, 2 * MS),
    timed(layer("body.0.conv", 16, 3), 4 * MS),
    timed(layer("head.conv", 40, 2), 1 * MS),
)
#: The body is narrower and the head is gone: 2 + 3 * 1 + 3 = 8 ms.
NEW = run(
    timed(STEM, 2 * MS),
    timed(layer("body.0.conv", 8, 3), 1 * MS),
    timed(layer("tail.conv", 50), 3 * MS),
    name="new",
)


def test_the_sums_of_two_networks() -> None:
    found = compared(BASE, NEW).network
    assert found is not None
    [total] = found.sums
    assert (total.part, total.name) == ("forward", "")
    assert (total.base_s, total.new_s, total.ratio) == pytest.approx((16 * MS, 8 * MS, 0.5))


def test_the_interval_of_a_sum_adds_up_the_noise_of_its_layers() -> None:
    comparison = compared(BASE, NEW)
    assert comparison.network is not None
    [stem] = [each for each in comparison.judgments if each.case.id == STEM.id]
    [total] = comparison.network.sums
    assert stem.low < 1 < stem.high
    noise = {run.name: _noise(run) for run in (BASE, NEW)}
    body, head = (noise["base"][layer("body.0.conv", 16, 3).id], noise["base"][layer("head.conv", 40, 2).id])
    longest = (2 + 12 * (1 + body) + 2 * (1 + head)) * MS
    narrow, tail = (noise["new"][layer("body.0.conv", 8, 3).id], noise["new"][layer("tail.conv", 50).id])
    soonest = (2 * stem.low + 3 / (1 + narrow) + 3 / (1 + tail)) * MS
    assert total.low == pytest.approx(soonest / longest)
    assert total.low < 0.5 < total.high


def _noise(run: Run) -> dict[str, float]:
    rows = Rows(run)
    known = evidence(run, frame(run, rows=rows), rows)
    return dict(zip(known.table["case_id"], known.bound.tolist(), strict=True))


def test_equal_networks_have_a_sum_whose_interval_holds_no_change() -> None:
    [total] = compared(BASE, replace(BASE, id="20261124-again")).network.sums  # type: ignore[union-attr]  # it has sums
    assert total.low <= 1 <= total.high


def test_layers_of_other_shapes_are_matched_by_path() -> None:
    comparison = compared(BASE, NEW)
    assert comparison.network is not None
    [body] = comparison.network.reshaped
    assert (body.base.problem.in_channels, body.new.problem.in_channels) == (16, 8)
    assert (body.base_s, body.new_s, body.ratio) == pytest.approx((4 * MS, 1 * MS, 0.25))
    assert [(each.case.given_label, each.seconds) for each in comparison.network.only_base] == [
        ("head.conv", pytest.approx(2 * MS))
    ]
    assert [(each.case.given_label, each.seconds) for each in comparison.network.only_new] == [
        ("tail.conv", pytest.approx(3 * MS))
    ]
    verdicts = {judgment.case.given_label: (judgment.verdict, judgment.reason) for judgment in comparison.judgments}
    assert verdicts == {
        "stem.conv": (Verdict.UNCHANGED, ""),
        "body.0.conv": (Verdict.NOT_JUDGED, BY_PATH),
        "tail.conv": (Verdict.NOT_JUDGED, "only in NEW"),
        "head.conv": (Verdict.NOT_JUDGED, "only in BASE"),
    }


def test_the_text_has_the_sums_first_then_matched_layers_then_those_of_one_side() -> None:
    paragraphs = compare_text(compared(BASE, NEW)).split("\n\n")
    assert paragraphs[0] == "one forward: 16.0 ms -> 8.00 ms, 2.00x faster"
    assert paragraphs[1] == (
        "matched by path: 4.00 ms -> 1.00 ms (0.250x), body.0.conv: n1 c8 28x28 -> k32 3x3 s1 p0 forward float32 "
        "contiguous cpu t1: in_channels 16 -> 8"
    )
    assert paragraphs[2] == "1 case only in BASE takes 2.00 ms\n1 case only in NEW takes 3.00 ms"
    assert "head.conv" in paragraphs[3] and "tail.conv" in paragraphs[3] and "body" not in paragraphs[3]
    assert paragraphs[-1].startswith("unchanged: ")


def test_the_markdown_has_the_sums_too() -> None:
    text = comparison_summary(compared(BASE, NEW)).replace("->", "-&gt;")
    assert "**The network**\n\n- one forward: 16.0 ms -&gt; 8.00 ms, 2.00x faster" in text
    assert "in_channels 16 -&gt; 8" in text


def test_a_layer_that_occurs_in_other_numbers_counts_so() -> None:
    body = layer("body.0.conv", 16, 3)
    before = run(timed(STEM, 2 * MS), timed(body, 4 * MS))
    after = run(timed(STEM, 2 * MS), timed(replace(body, count=2), 4 * MS), name="new")
    comparison = compared(before, after)
    assert comparison.network is not None
    [total] = comparison.network.sums
    assert (total.base_s, total.new_s) == pytest.approx((14 * MS, 10 * MS))
    [one] = comparison.network.recounted
    assert (one.before, one.after) == (3, 2)
    assert "body.0.conv: n1 c16 28x28 -> k32 3x3 s1 p0 forward float32 contiguous cpu t1 occurs 3 times -> 2 times" in (
        compare_text(comparison)
    )


def test_training_steps_are_added_up_too() -> None:
    def network(name: str, channels: int, factor: float) -> Run:
        return run(
            timed(STEM, 2 * MS),
            timed(replace(STEM, direction=GRAD_WEIGHT), 1 * MS),
            timed(layer("body.0.conv", channels, 3), 4 * factor * MS),
            timed(layer("body.0.conv", channels, 3, direction=BACKWARD), 8 * factor * MS),
            name=name,
        )

    found = compared(network("base", 16, 1.0), network("new", 8, 0.5)).network
    assert found is not None
    assert [(each.part, each.base_s, each.new_s) for each in found.sums] == [
        ("forward", pytest.approx(14 * MS), pytest.approx(8 * MS)),
        ("training step", pytest.approx(39 * MS), pytest.approx(21 * MS)),
    ]
    assert [each.new.direction for each in found.reshaped] == [Direction.FORWARD, BACKWARD]


def test_ways_with_equal_settings_are_compared() -> None:
    def both(name: str, factor: float) -> Run:
        cases = [
            (layer(path, channels, memory_format=memory_format), ms)
            for path, channels in (("a.0", 8), ("b.0", 9))
            for memory_format, ms in zip(MemoryFormat, (2.0, 1.0), strict=True)
        ]
        return run(*(timed(case, ms * factor * MS) for case, ms in cases), name=name)

    found = compared(both("base", 1.0), both("new", 2.0)).network
    assert found is not None
    assert [(each.name, each.base_s, each.new_s) for each in found.sums] == [
        ("contiguous", pytest.approx(4 * MS), pytest.approx(8 * MS)),
        ("channels_last", pytest.approx(2 * MS), pytest.approx(4 * MS)),
    ]
    one = both("new", 2.0)
    one = replace(one, results=tuple(each for each in one.results if each.case.memory_format is LAST))
    found = compared(both("base", 1.0), one).network
    assert found is not None
    assert [(each.base_s, each.new_s) for each in found.sums] == [(pytest.approx(2 * MS), pytest.approx(4 * MS))]


def test_a_change_of_a_setting_alone_is_matched_by_path() -> None:
    pairs = [("a.0", 8), ("b.0", 9)]
    before = run(*(timed(layer(path, channels), 2 * MS) for path, channels in pairs))
    after = run(*(timed(layer(path, channels, memory_format=LAST), 1 * MS) for path, channels in pairs), name="new")
    comparison = compared(before, after)
    assert comparison.network is not None
    assert len(comparison.network.reshaped) == 2
    [total] = comparison.network.sums
    assert total.ratio == pytest.approx(0.5)
    assert comparison.verdict is Verdict.NOT_JUDGED, "no equal case, no verdict"


def test_a_layer_without_a_time_is_left_out_of_its_sum_and_said() -> None:
    lost = synthetic.result(layer("body.0.conv", 8, 3), status=Status.CRASHED, reason="signal 11")
    found = compared(BASE, run(timed(STEM, 2 * MS), lost, name="new"))
    assert found.network is not None
    [body] = found.network.reshaped
    assert math.isnan(body.new_s)
    assert compare_text(found).startswith(
        "one forward: 16.0 ms -> 2.00 ms, the sides lack different layers; without body.0.conv, which crashed in NEW"
    )


def leaving_out(run: Run, shapes: Sequence[Case], left_out: Case, reason: str = "Conv1d (line)") -> Run:
    """The run with the text of a sweep that leaves out a layer of this work, with its share as a capture writes it."""
    whole = sum(case.flops * case.count for case in shapes) + left_out.flops
    entry = f"{{count: 1, work: {left_out.flops / whole:.4f}, reason: '{reason}'}}"
    row = "{in_channels: 3, out_channels: 8, kernel_size: 3, input_size: 8}"
    return replace(run, source=f"name: net\nleft_out:\n  - {entry}\ncases:\n  - {row}\n")


def test_sums_that_leave_out_the_same_layers_are_compared() -> None:
    line, wider = layer("line", 20), layer("line", 30)
    before, after = [STEM, layer("body.0.conv", 16, 3)], [STEM, layer("body.0.conv", 8, 3)]
    base = leaving_out(run(*(timed(case, 4 * MS) for case in before)), before, line)
    narrower = run(*(timed(case, 1 * MS) for case in after), name="new")

    def said(new: Run) -> str:
        return compare_text(compared(base, new)).partition("; ")[0]

    assert said(leaving_out(narrower, after, line)).startswith("one forward: 16.0 ms -> 4.00 ms, 4.00x faster (")
    for different in (
        leaving_out(narrower, after, wider),
        leaving_out(narrower, after, line, "Conv1d (another)"),
        narrower,
    ):
        assert said(different) == "one forward: 16.0 ms -> 4.00 ms, the sides lack different layers"


def test_what_is_no_network_is_compared_as_before() -> None:
    before = run(timed(layer(None, 8), 1 * MS), timed(layer(None, 9), 1 * MS))
    after = replace(before, id="20261124-new")
    assert compared(before, after) == compare(before, after)
    with pytest.raises(NotComparableError, match="no case in common"):
        compare(before, run(timed(layer(None, 10), 1 * MS)))
    with pytest.raises(NotComparableError, match="no case in common"):
        compare(before, run(timed(layer("a.0", 10), 1 * MS)))


def test_a_label_of_several_cases_decides_nothing() -> None:
    base = [layer("a", 8), layer("a", 9), layer("b", 8, memory_format=LAST), layer("b", 10)]
    new = [layer("a", 11), layer("b", 12, memory_format=LAST), layer("b", 13), layer("c + d", 14)]
    assert by_path(base, new) == [(base[2], new[1]), (base[3], new[2])]
    assert by_path([layer("c", 20)], new) == [(layer("c", 20), new[3])], "of equal layers the first label counts"
    assert by_path([layer("b", 20, direction=BACKWARD)], [layer("b", 21)]) == []
    assert by_path(base, base) == []


def folded(case: Case, *labels: str) -> Case:
    return replace(case, given_label=labels[0], labels=labels if len(labels) > 1 else (), count=len(labels))


def matched(base: list[Case], new: list[Case]) -> list[tuple[str, int, int, int, int]]:
    """(path, channels before and after, occurrences before and after) of each pair."""
    return [
        (second.given_label or "", first.problem.in_channels, second.problem.in_channels, first.count, second.count)
        for first, second in by_path(base, new)
    ]


PLAIN, CHANGED, OTHER = layer("", 32), layer("", 33), layer("", 34)


def test_one_of_four_equal_layers_is_matched_by_its_own_path() -> None:
    base = [STEM, folded(PLAIN, "b.0", "b.1", "b.2", "b.3")]
    new = [STEM, folded(PLAIN, "b.0", "b.1", "b.3"), folded(CHANGED, "b.2")]
    assert matched(base, new) == [("b.2", 32, 33, 1, 1)]
    assert matched(new, base) == [("b.2", 33, 32, 1, 1)]
    comparison = compared(run(*(timed(case, 4 * MS) for case in base)), run(*(timed(case, 6 * MS) for case in new)))
    found = comparison.network
    assert found is not None
    assert (found.recounted, found.only_base, found.only_new) == ((), (), ())
    [block] = found.reshaped
    assert (block.new.given_label, block.base.count, block.new.count) == ("b.2", 1, 1)
    text = compare_text(comparison)
    assert "(1.50x), b.2: n1 c33" in text
    assert "in_channels 32 -> 33" in text
    assert "regressed" in text.splitlines()[4], "the equal ones keep their line"


def test_all_and_some_of_the_equal_layers_may_change() -> None:
    base = [folded(PLAIN, "b.0", "b.1", "b.2", "b.3")]
    assert matched(base, [folded(CHANGED, "b.0", "b.1", "b.2", "b.3")]) == [("b.0", 32, 33, 4, 4)]
    split = [folded(CHANGED, "b.0", "b.2", "c.0"), folded(OTHER, "b.1"), folded(PLAIN, "b.3")]
    assert matched(base, split) == [("b.0", 32, 33, 2, 2), ("b.1", 32, 34, 1, 1)]
    found = compared(run(*(timed(case, MS) for case in base)), run(*(timed(case, MS) for case in split))).network
    assert found is not None
    assert [(each.case.given_label, each.case.count) for each in found.only_new] == [("c.0", 1)]
    assert found.recounted == ()
    fewer = [folded(CHANGED, "b.0"), folded(PLAIN, "b.3")]
    found = compared(run(*(timed(case, MS) for case in base)), run(*(timed(case, MS) for case in fewer))).network
    assert found is not None
    assert [(each.case.given_label, each.before, each.after) for each in found.recounted] == [("b.3", 4, 1)]


def test_layers_that_only_move_are_equal() -> None:
    base = [folded(PLAIN, "b.0"), folded(CHANGED, "b.1")]
    assert matched(base, [folded(OTHER, "b.0"), folded(PLAIN, "b.1"), folded(CHANGED, "b.2")]) == []


def test_a_run_without_all_paths_is_matched_as_a_whole() -> None:
    older = [replace(PLAIN, given_label="b.0", count=3)]
    assert matched(older, [folded(CHANGED, "b.0", "b.1", "b.2")]) == [("b.0", 32, 33, 3, 3)]
    assert matched([replace(PLAIN, given_label="b.0 + b.1", count=2)], [folded(CHANGED, "b.1")]) == [
        ("b.1", 32, 33, 1, 1)
    ]
