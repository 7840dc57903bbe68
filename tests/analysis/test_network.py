"""Where a network's time goes: layers by floor times count, for each way and direction, and what is missing."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace

import pytest
import synthetic
from hypothesis import given
from hypothesis import strategies as st

from convbench import sweep as sweeps
from convbench import units
from convbench.analysis.findings.findings import Finding, FindingKind, Weight, findings, with_details
from convbench.analysis.findings.network import median_without
from convbench.model.case import Case, MemoryFormat
from convbench.model.problem import Direction
from convbench.model.result import LAYOUT, ProcessFacts, Result, Roof, RoofKind, Run, Status, pack_blocks

BACKWARD = Direction.BACKWARD


def layer(in_channels: int, name: str | None = None, count: int = 1, **more: object) -> Case:
    return synthetic.layer(in_channels, given_label=name, count=count, **more)


def timed(case: Case, floor_s: float) -> Result:
    return synthetic.result(case, made=tuple(replace(b, minimum_s=floor_s) for b in synthetic.blocks(1e-3, noise=0.0)))


def crashed(case: Case, status: Status = Status.CRASHED) -> Result:
    return synthetic.result(case, status=status, reason="signal 11")


def run(*results: Result, unmeasured: tuple[Case, ...] = ()) -> Run:
    return replace(synthetic.empty_run(), results=results, unmeasured=unmeasured)


def network(*results: Result, unmeasured: tuple[Case, ...] = ()) -> list[Finding]:
    made = with_details(findings(run(*results, unmeasured=unmeasured)))
    return [found for found in made if found.kind is FindingKind.NETWORK]


def test_a_layer_counts_as_often_as_it_occurs() -> None:
    results = [timed(layer(8 + i, f"layer {i}", count=3 if i == 2 else 1), 1e-3) for i in range(8)]
    [found] = network(*results)
    assert found.sentence == (
        "the network spends 30 % of its time in layer 2 (3 times, 3.00 of 10.0 ms), 70 % in the 5 layers that take most"
    )
    assert found.cases[0] == results[2].case.id and len(found.cases) == 5
    time, second = findings(run(*results))[:2]
    assert time.kind is FindingKind.STEP, "how long it takes comes first"
    assert second == found, "then comes where the time goes"
    assert (found.weight, found.exceptions, found.size) == (Weight.NETWORK, (), 1.0)


def test_a_layer_without_a_name_is_told_by_its_sizes() -> None:
    [found] = network(timed(layer(8, count=2), 1e-3))
    assert (
        found.sentence
        == "the network spends 100 % of its time in n1 c8 28x28 -> k32 3x3 s1 p0 (2 times, 2.00 of 2.00 ms)"
    )


def test_a_sweep_without_counts_and_names_is_no_network() -> None:
    assert network(*(timed(layer(c), 1e-3) for c in (8, 9))) == []
    [found] = network(*(timed(layer(c, f"layer {c}"), 1e-3) for c in (8, 9)))
    assert found.sentence.startswith("the network spends 50 % of its time in layer 8 ("), "names make one too"


def test_layers_are_out_of_line_that_reach_less_than_similar_ones() -> None:
    roofs = (
        Roof(kind=RoofKind.COMPUTE, rate=1e11, device="cpu", threads=1, source="made up", dtype="float32"),
        Roof(kind=RoofKind.BANDWIDTH, rate=1e13, device="cpu", threads=1, source="made up", footprint_bytes=2**20),
    )
    share = {16: 0.5, 32: 0.5, 48: 0.1, 64: 0.5, 80: 0.49}

    def made(kernel: int) -> list[Result]:
        cases = [layer(c, f"c{c}", count=2, kernel_size=(kernel, kernel), threads=1) for c in share]
        return [
            synthetic.with_facts(timed(case, case.flops / 1e11 / share[case.problem.in_channels]), threads=1)
            for case in cases
        ]

    known = replace(run(*made(3)), processes=(ProcessFacts(process_index=0, seconds=1.0, roofs=roofs),))
    found = [each for each in findings(known) if each.sentence.startswith("out of line")]
    [slow] = [result for result in known.results if result.case.problem.in_channels == 48]
    saved = 2 * slow.case.flops / 1e11 * (1 / 0.1 - 1 / 0.5)
    total = sum(2 * result.case.flops / 1e11 / share[result.case.problem.in_channels] for result in known.results)
    assert [each.sentence for each in found] == [
        f"out of line, of {units.seconds(total)}: c48 forward would save {units.seconds(saved)} if it reached "
        "what similar layers reach (50 % of the roof, not 10 %)"
    ]
    assert found[0].cases == (slow.case.id,)
    few = replace(known, results=known.results[:3])
    assert not any(each.sentence.startswith("out of line") for each in findings(few)), "two others show nothing"
    other = replace(known, results=(*made(5)[:2], *made(5)[3:], slow))
    assert not any(each.sentence.startswith("out of line") for each in findings(other)), "a 5x5 is not similar to a 3x3"


def swept(text: str, seconds: Callable[[Case], float]) -> list[str]:
    """What is told of the networks of a sweep."""
    cases = sweeps.cases(sweeps.parse.parse(text, "sweep.yaml")).cases
    made = replace(run(*(timed(case, seconds(case)) for case in cases)), source=text)
    return [found.sentence for found in with_details(findings(made)) if found.kind is FindingKind.NETWORK]


@given(st.lists(st.floats(0.01, 1.0), min_size=2, max_size=9).map(sorted))
def test_the_median_of_the_others(ordered: list[float]) -> None:
    for place, one in enumerate(ordered):
        others = ordered[:place] + ordered[place + 1 :]
        assert median_without(ordered, one) == pytest.approx(statistics.median(others))


LAYERS = """
axes: {in_channels: 8, kernel_size: 3, input_size: 28, batch_size: [1, 8]}
cases:
  - {label: stem, out_channels: 16}
  - {label: head, out_channels: 32, count: 3}
"""


def test_each_value_of_an_axis_that_changes_the_work_is_a_network() -> None:
    def seconds(case: Case) -> float:
        return 1e-3 * (case.problem.batch_size or 1)

    assert swept(LAYERS, seconds) == [
        "with batch_size=1 the network spends 75 % of its time in head (3 times, 3.00 of 4.00 ms)",
        "with batch_size=8 the network spends 75 % of its time in head (3 times, 24.0 of 32.0 ms)",
    ]
    with_own = LAYERS + "  - {label: query, out_channels: 16, batch_size: 4, count: 2}\n"
    assert swept(with_own, seconds) == [
        "with batch_size=1 the network spends 67 % of its time in query (2 times, 8.00 of 12.0 ms)",
        "with batch_size=8 the network spends 60 % of its time in head (3 times, 24.0 of 40.0 ms)",
    ], "a layer with its own batch size is in both"
    both = LAYERS.replace("batch_size: [1, 8]", "batch_size: [1, 8], dtype: [float32, bfloat16], bias: [true, false]")
    assert [sentence.partition(" the network")[0] for sentence in swept(both, seconds)] == [
        f"with bias={bias} batch_size={batch} bfloat16" for batch in (1, 8) for bias in ("true", "false")
    ], "the fastest of each"


def test_a_network_with_a_word_is_one_network() -> None:
    text = LAYERS.replace("batch_size: [1, 8]", "padding: [0, half]").replace("kernel_size: 3, ", "")
    text = text.replace("label: stem, ", "label: stem, kernel_size: 1, ").replace("head, ", "head, kernel_size: 3, ")
    assert swept(text, lambda case: 1e-3 * (1 + max(case.problem.padding))) == [
        "with padding=0 the network spends 75 % of its time in head (3 times, 3.00 of 4.00 ms)",
        "with padding=half the network spends 86 % of its time in head (3 times, 6.00 of 7.00 ms)",
    ]


def test_what_the_axes_give_twice_is_no_network() -> None:
    text = "axes: {in_channels: 8, out_channels: 8, kernel_size: [1, 3], padding: [0, half], input_size: 28}"
    assert swept(text, lambda _: 1e-3) == []
    twice = "axes: {in_channels: 8, out_channels: 8, kernel_size: 1, input_size: 28}\ncases: [{label: a}, {label: b}]"
    assert swept(twice, lambda _: 1e-3) == ["the network spends 100 % of its time in a + b (2 times, 2.00 of 2.00 ms)"]


def test_a_time_that_noise_leaves_in_doubt_is_said_to_be_so() -> None:
    one = synthetic.result(layer(8, "stem", count=2), made=synthetic.blocks(1e-3, processes=2, noise=0.0))
    slow = [replace(b, compute_probe_s=324e-6 * (1.5 if b.round_index else 1.0)) for b in synthetic.blocks_of(one)]
    [found] = network(replace(one, blocks=((LAYOUT, pack_blocks(slow)),)))
    assert found.sentence.endswith("; noise leaves 50 % of this time in doubt")
    wild = [replace(b, compute_probe_s=324e-6 * (358 if b.round_index else 1.0)) for b in synthetic.blocks_of(one)]
    [found] = network(replace(one, blocks=((LAYOUT, pack_blocks(wild)),)))
    assert found.sentence.endswith("; noise leaves all of this time in doubt"), "no figure like 35,700 %"
    alone = [block for block in synthetic.blocks_of(one) if block.process_index == 0]
    [found] = network(replace(one, blocks=((LAYOUT, pack_blocks(alone)),)))
    assert found.sentence.endswith("; one process does not show how much of this time is noise")


def test_directions_are_told_together_and_alone() -> None:
    results = [
        timed(layer(8, "stem"), 3e-3),
        timed(layer(8, "stem", direction=BACKWARD), 1e-3),
        timed(layer(9, "head", count=2), 0.5e-3),
        timed(layer(9, "head", count=2, direction=BACKWARD), 2.5e-3),
    ]
    [found] = network(*results)
    assert found.sentence == (
        "the network spends 60 % of its time in head (2 times, 6.00 of 10.0 ms, forward and backward); forward alone "
        "4.00 ms (75 % in stem), backward alone 6.00 ms (83 % in head)"
    )
    assert set(found.cases) == {result.case.id for result in results}


def test_no_work_is_counted_twice() -> None:
    seconds = {
        Direction.FORWARD: 1e-3,
        BACKWARD: 2e-3,
        Direction.GRAD_INPUT: 1.1e-3,
        Direction.GRAD_WEIGHT: 1.2e-3,
        Direction.TRAIN_STEP: 3.5e-3,
    }

    def told(*directions: Direction) -> str:
        [found] = network(*(timed(layer(8, "stem", count=2, direction=each), seconds[each]) for each in directions))
        return found.sentence

    assert "7.00 of 7.00 ms, train_step)" in told(*seconds)
    assert "6.00 of 6.00 ms, forward and backward)" in told(*list(seconds)[:4])
    assert "4.60 of 4.60 ms, grad_input and grad_weight)" in told(Direction.GRAD_INPUT, Direction.GRAD_WEIGHT)
    assert "4.00 of 4.00 ms, backward)" in told(BACKWARD)


def test_every_way_of_running_it_is_named_the_fastest_first() -> None:
    results = [
        timed(layer(c, f"layer {c}", count=2, dtype=dtype, memory_format=memory_format), seconds)
        for c in (8, 9)
        for dtype, memory_format, seconds in (
            ("float32", MemoryFormat.CONTIGUOUS, 4e-3),
            ("bfloat16", MemoryFormat.CONTIGUOUS, 2e-3),
            ("float32", MemoryFormat.CHANNELS_LAST, 3e-3),
            ("bfloat16", MemoryFormat.CHANNELS_LAST, 1e-3),
        )
    ]
    found = network(*results)
    assert [finding.sentence[:56] for finding in found] == [
        "with bfloat16 channels_last the network spends 50 % of i",
        "with bfloat16 contiguous the network spends 50 % of its ",
        "with float32 channels_last the network spends 50 % of it",
    ]
    assert [finding.size for finding in found] == pytest.approx([4.0, 2.0, 4 / 3])
    variables = [timed(layer(8, count=2, env=env), 1e-3) for env in ((), (("A", "1"),))]
    assert {finding.sentence.split(" the network")[0] for finding in network(*variables)} == {
        "with env=none",
        "with env=A=1",
    }


def test_missing_layers_are_told() -> None:
    stem = timed(layer(8, "stem", count=2), 1e-3)
    [found] = network(stem, crashed(layer(9, "layer2")))
    assert found.sentence.endswith("(2 times, 2.00 of 2.00 ms); without layer2, which crashed")
    wrong = replace(timed(layer(10, "layer3"), 1e-3), status=Status.FAILED, reason="wrong")
    waiting = (layer(11, "layer4"), layer(12, "layer5"))
    [found] = network(stem, crashed(layer(9, "layer2"), Status.OUT_OF_MEMORY), wrong, unmeasured=waiting)
    assert found.sentence.endswith(
        "; without layer2 (ran out of memory), layer3 (is wrong), layer4 (was not reached yet) and 1 more"
    )
    back = timed(layer(8, "stem", count=2, direction=BACKWARD), 1e-3)
    forward = timed(layer(9, "layer2"), 1e-3)
    [found] = network(stem, back, forward, crashed(layer(9, "layer2", direction=BACKWARD)))
    assert found.sentence.endswith("; without the backward of layer2, which crashed")


def test_a_way_that_lacks_layers_is_not_called_the_fastest() -> None:
    def way(dtype: str, seconds: float) -> list[Result]:
        return [timed(layer(8, "stem", count=2, dtype=dtype), seconds)]

    lost = crashed(layer(9, "layer2", dtype="float16"))
    found = network(*way("float32", 1e-3), timed(layer(9, "layer2"), 1e-3), *way("float16", 1e-6), lost)
    assert [finding.sentence.split(" ")[1] for finding in found] == ["float32", "float16"]
    nothing = crashed(layer(8, "stem", count=2, dtype="float64"))
    assert len(network(*way("float32", 1e-3), nothing)) == 1
