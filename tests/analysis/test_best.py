"""The best setting of each layer: what it gains over the whole sweep, each layer as often as it occurs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import synthetic
from synthetic import layer

from convbench.analysis.findings.findings import Finding, FindingKind, Weight, findings
from convbench.model.case import Case, MemoryFormat
from convbench.model.problem import Direction
from convbench.model.result import LAYOUT, Result, Status, pack_blocks

LAST = MemoryFormat.CHANNELS_LAST


def timed(case: Case, floor_s: float, *, processes: int = 5) -> Result:
    blocks = synthetic.blocks(floor_s, processes=processes, noise=0.0)
    return synthetic.result(case, made=tuple(replace(b, minimum_s=floor_s) for b in blocks))


def best(*results: Result) -> list[Finding]:
    made = replace(synthetic.empty_run(), results=results)
    return [finding for finding in findings(made) if finding.kind is FindingKind.BEST]


def test_each_layer_has_its_own_best_setting() -> None:
    results = [
        timed(layer(16), 4e-3),
        timed(layer(16, memory_format=LAST), 2e-3),
        timed(layer(32), 4e-3),
        timed(layer(32, memory_format=LAST), 5e-3),
    ]
    [found] = best(*results)
    assert found.sentence == (
        "the best memory_format for each layer makes the whole sweep 1.33x faster than contiguous: 6.00 ms instead of "
        "8.00 ms. One value for all, channels_last, is 1.14x faster"
    )
    assert (found.weight, found.axis, found.size) == (Weight.EFFECT, "memory_format", pytest.approx(8 / 6))
    assert found.cases == (results[1].case.id,)
    assert (found.exceptions, found.share, found.values) == ((), 0.5, ("contiguous", "channels_last"))
    [below] = found.details
    assert below.sentence.startswith("channels_last is faster than contiguous in 1 of 2 matched cases (2.00x, at"), (
        "the split of the pairs is the second line"
    )


def test_layers_count_as_often_as_they_occur() -> None:
    often, back = {"count": 9}, {"direction": Direction.BACKWARD}
    results = [
        timed(layer(16, **often, **back), 1e-3),
        timed(layer(16, memory_format=LAST, **often, **back), 0.5e-3),
        timed(layer(32, **back), 1e-3),
        timed(layer(32, memory_format=LAST, **back), 1e-3),
    ]
    [found] = best(*results)
    assert found.size == pytest.approx(10 / 5.5)
    assert ": 5.50 ms instead of 10.0 ms, with each layer as often as it occurs. " in found.sentence
    forward = [replace(each, case=replace(each.case, direction=Direction.FORWARD)) for each in results]
    assert best(*forward) == [], "the answers about the network say it, with the layout changes"


def test_each_setting_has_one_headline() -> None:
    seconds = {("float32", False): 4e-3, ("float32", True): 3e-3, ("bfloat16", False): 2.5e-3, ("bfloat16", True): 1e-3}
    results = [
        timed(layer(c, dtype=dtype, memory_format=LAST if last else MemoryFormat.CONTIGUOUS, direction=direction), s)
        for c in (16, 32)
        for direction in (Direction.FORWARD, Direction.BACKWARD)
        for (dtype, last), s in seconds.items()
    ]
    made = findings(replace(synthetic.empty_run(), results=tuple(results)))
    dtype, last = [finding for finding in made if finding.weight is Weight.EFFECT]
    assert dtype.sentence.startswith(
        "the best dtype for each layer makes the whole sweep 2.00x faster than float32: 14.0 ms instead of 28.0 ms, "
        "always bfloat16. Precision differs: "
    )
    assert last.sentence == (
        "the best memory_format for each layer makes the whole sweep 1.63x faster than contiguous: 16.0 ms instead of "
        "26.0 ms, always channels_last"
    )
    assert (len(dtype.cases), len(last.cases)) == (8, 8)
    assert [[below.sentence.partition(" in ")[0] for below in each.details] for each in (dtype, last)] == [
        ["bfloat16 is 2.19x faster than float32"],
        ["channels_last is 1.83x faster than contiguous"],
    ]


def test_nothing_within_noise_is_a_gain() -> None:
    assert best(timed(layer(16), 1e-3), timed(layer(16, memory_format=LAST), 0.97e-3)) == []
    assert best(timed(layer(16), 1e-3), timed(layer(16, memory_format=LAST), 0.92e-3, processes=1)) == []
    assert len(best(timed(layer(16), 1e-3), timed(layer(16, memory_format=LAST), 0.92e-3))) == 1
    shaky = timed(layer(16, memory_format=LAST), 0.9e-3)
    raised = synthetic.blocks_of(shaky)
    wide = [replace(b, minimum_s=b.minimum_s * (1.2 if b.process_index == 1 else 1)) for b in raised]
    assert best(timed(layer(16), 1e-3), replace(shaky, blocks=((LAYOUT, pack_blocks(wide)),))) == []


def raised(result: Result, factor: float) -> Result:
    """The result with a process that was so many times slower."""
    blocks = synthetic.blocks_of(result)
    made = [replace(b, minimum_s=b.minimum_s * (factor if b.process_index == 1 else 1)) for b in blocks]
    return replace(result, blocks=((LAYOUT, pack_blocks(made)),))


def test_sums_are_of_floors_also_where_noise_hides_the_difference() -> None:
    results = [
        timed(layer(16), 4e-3),
        timed(layer(16, memory_format=LAST), 2e-3),
        timed(layer(32), 4e-3),
        raised(timed(layer(32, memory_format=LAST), 13.04e-3), 5.0),
    ]
    [found] = best(*results)
    assert found.sentence == (
        "choosing memory_format layer by layer makes the whole sweep 1.33x faster than contiguous: 6.00 ms instead "
        "of 8.00 ms; in 1 layer noise or missing times hide which is the best. One value for all, channels_last, "
        "differs within noise"
    )
    slower = [*results[:3], timed(layer(32, memory_format=LAST), 13.04e-3)]
    [found] = best(*slower)
    assert found.sentence.endswith("One value for all, channels_last, is 1.88x slower"), "15.04 ms to 8 ms"


def with_threads(case: Case, floor_s: float) -> Result:
    return synthetic.with_facts(timed(case, floor_s), threads=case.threads)


def test_no_setting_is_named_while_a_faster_one_is_unjudged() -> None:
    def told(two: Result) -> str:
        four = [with_threads(layer(c, threads=t), s) for c in (16, 32) for t, s in ((1, 4e-3), (4, 2e-3))]
        [found] = best(*four, two, with_threads(layer(32, threads=2), 3e-3))
        return found.sentence

    two = with_threads(layer(16, threads=2), 1.5e-3)
    judged, noisy = told(two), told(raised(two, 4.0))
    assert judged.endswith(" 3.50 ms instead of 8.00 ms. One value for all, threads=4, is 2.00x faster")
    assert noisy == (
        "choosing threads layer by layer makes the whole sweep 2.00x faster than threads=1: 4.00 ms instead of 8.00 "
        "ms; in 1 layer noise or missing times hide which is the best. Noise hides which value is the best for all"
    )
    few = raised(two, 1.0)
    once = replace(few, blocks=((LAYOUT, pack_blocks(b for b in synthetic.blocks_of(few) if b.process_index < 3)),))
    assert "hide which is the best" in told(once), "three processes judge no case"


def test_a_setting_that_was_not_reached_is_a_rival() -> None:
    results = [timed(layer(16), 4e-3), timed(layer(16, dtype="bfloat16"), 2e-3)]
    [whole] = best(*results)
    assert "always bfloat16" in whole.sentence
    cut = replace(synthetic.empty_run(), results=tuple(results), unmeasured=(layer(16, dtype="float16"),))
    [found] = [finding for finding in findings(cut) if finding.kind is FindingKind.BEST]
    assert found.sentence.startswith(
        "choosing dtype layer by layer makes the whole sweep 2.00x faster than float32: 2.00 ms instead of 4.00 ms; in "
        "1 layer noise or missing times hide which is the best. Precision differs"
    )


def test_what_was_not_measured_or_is_wrong_is_chosen_by_nobody() -> None:
    wrong = replace(timed(layer(16, memory_format=LAST), 1e-6), status=Status.FAILED, reason="wrong")
    assert best(timed(layer(16), 1e-3), wrong, timed(layer(32), 1e-3)) == []


def test_where_the_usual_setting_was_not_measured_the_first_by_name_stands_for_it() -> None:
    [found] = best(timed(layer(16, dtype="float16"), 1e-3), timed(layer(16, dtype="bfloat16"), 2e-3))
    assert found.sentence.startswith("the best dtype for each layer makes the whole sweep 2.00x faster than bfloat16: ")


def test_conditions_of_the_measurement_are_no_choice() -> None:
    problem = layer(16).problem
    without = Case(problem=replace(problem, bias=False))
    assert best(timed(layer(16), 2e-3), timed(without, 1e-3)) == []


def test_one_value_for_all_leads_where_it_gains_more_than_what_is_proven_layer_by_layer() -> None:
    results = [
        timed(layer(c, memory_format=last), s) for c in (16, 32) for last, s in (("contiguous", 4e-3), (LAST, 2e-3))
    ]
    shaky = [*results, timed(layer(64), 4e-3), raised(timed(layer(64, memory_format=LAST), 3e-3), 1.5)]
    [found] = best(*shaky)
    assert found.sentence == (
        "channels_last for all makes the whole sweep 1.71x faster than contiguous: 7.00 ms instead of 12.0 ms; in 1 "
        "layer noise or missing times hide which is the best"
    )
    assert found.size == pytest.approx(12 / 7)


@pytest.mark.parametrize(("error", "told"), [(0.5, "130,000 times that with float32"), (0.0, "and float32 has none")])
def test_a_faster_dtype_is_no_choice_among_equals(error: float, told: str) -> None:
    def with_error(result: Result, units: float) -> Result:
        return synthetic.with_facts(result, check=replace(result.facts.check, max_error=units))

    results = [with_error(timed(layer(16), 2e-3), error), with_error(timed(layer(16, dtype="bfloat16"), 1e-3), 1.0)]
    [found] = best(*results)
    assert found.sentence.endswith(
        f". Precision differs: the largest error with bfloat16 is 0.39 % of the sum of the terms' sizes, {told}"
    )
    [format_] = best(timed(layer(16), 2e-3), timed(layer(16, memory_format=LAST), 1e-3))
    assert "recision" not in format_.sentence
