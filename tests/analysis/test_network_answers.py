"""The answers about a network, on made-up runs whose sums are computed by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import synthetic

from convbench import sweep as sweeps
from convbench.analysis.findings.answers import Answers, Proof
from convbench.analysis.findings.findings import Examined, FindingKind, examined
from convbench.analysis.network.parts import Part
from convbench.model.case import Autocast, Case, MemoryFormat
from convbench.model.problem import Direction
from convbench.model.result import ProcessFacts, Result, Roof, RoofKind, Run, Status

FORWARD, BACKWARD, GRAD_WEIGHT = Direction.FORWARD, Direction.BACKWARD, Direction.GRAD_WEIGHT
LAST = MemoryFormat.CHANNELS_LAST
MS = 1e-3


def layer(name: str, in_channels: int, count: int = 1, **given: object) -> Case:
    return synthetic.layer(in_channels, given_label=name, count=count, threads=1, **given)


def timed(case: Case, floor_s: float, processes: int = 5) -> Result:
    made = synthetic.blocks(1.0, processes=processes, noise=0.0)
    result = synthetic.result(case, made=tuple(replace(block, minimum_s=floor_s) for block in made))
    return synthetic.with_facts(result, threads=1)


def roofs(compute: float, copy: float) -> tuple[ProcessFacts, ...]:
    """A machine with one compute roof in FLOP/s and one rate of copies in bytes/s."""
    made = (
        Roof(kind=RoofKind.COMPUTE, rate=compute, device="cpu", threads=1, source="made up", dtype="float32"),
        Roof(kind=RoofKind.BANDWIDTH, rate=copy, device="cpu", threads=1, source="copy", footprint_bytes=2**20),
    )
    return (ProcessFacts(process_index=0, seconds=1.0, roofs=made),)


def run(*results: Result, processes: tuple[ProcessFacts, ...] = (), **about: object) -> Run:
    return replace(synthetic.empty_run(), source="", results=results, processes=processes, **about)


def answered(*results: Result, processes: tuple[ProcessFacts, ...] = ()) -> Answers:
    [found] = examined(run(*results, processes=processes)).answers
    return found


#: A captured network: its first layer has no gradient of its input. Forward 6 ms, training step 18 ms.
CAPTURED = (
    timed(layer("conv1", 3, kernel_size=(7, 7), stride=(2, 2)), 2 * MS),
    timed(layer("conv1", 3, kernel_size=(7, 7), stride=(2, 2), direction=GRAD_WEIGHT), 1 * MS),
    timed(layer("layer1.0.conv1", 16, 3), 1 * MS),
    timed(layer("layer1.0.conv1", 16, 3, direction=BACKWARD), 3 * MS),
    timed(layer("layer2.0.conv1", 24, 2, kernel_size=(1, 1)), 0.5 * MS),
    timed(layer("layer2.0.conv1", 24, 2, kernel_size=(1, 1), direction=BACKWARD), 1 * MS),
)


def test_a_forward_and_a_training_step_of_a_captured_network() -> None:
    found = answered(*CAPTURED)
    assert found.parts == (Part.FORWARD, Part.STEP)
    assert found.usual.of(Part.FORWARD) == pytest.approx(6 * MS)
    assert found.usual.of(Part.STEP) == pytest.approx(18 * MS)
    assert found.count == 6
    groups = {
        group.name: (group.count, group.seconds[Part.FORWARD], group.seconds[Part.STEP]) for group in found.stages[0]
    }
    assert groups == {
        "conv1": (1, pytest.approx(2 * MS), pytest.approx(3 * MS)),
        "layer1": (3, pytest.approx(3 * MS), pytest.approx(12 * MS)),
        "layer2": (2, pytest.approx(1 * MS), pytest.approx(3 * MS)),
    }
    assert [(group.name, group.count) for group in found.kinds[0]] == [("large kernel", 1), ("3x3", 3), ("1x1", 2)]
    assert found.changes == found.mixtures == (), "nothing else was measured"
    assert found.fixes == ((),), "no roof is known"


def test_the_first_sentence_says_how_long_the_network_takes() -> None:
    first = examined(run(*CAPTURED)).findings[0]
    assert first.kind is FindingKind.STEP
    assert first.sentence == (
        "one forward spends 6.00 ms in 6 convolutions, one training step 18.0 ms, 67 % in stage layer1, 67 % in layers "
        "of kind 3x3"
    )
    assert len(first.cases) == 6


def test_a_network_of_forwards_has_no_training_step() -> None:
    found = answered(*(each for each in CAPTURED if each.case.direction is FORWARD))
    assert found.parts == (Part.FORWARD,)
    assert found.usual.of(found.part) == pytest.approx(6 * MS)
    backward = [each for each in CAPTURED if each.case.direction is BACKWARD]
    assert examined(run(*backward)).answers == (), "without a forward nothing is a network's step"


def test_a_layer_without_a_time_is_left_out_and_said() -> None:
    lost = synthetic.result(layer("layer3.0.conv1", 40), status=Status.CRASHED, reason="signal 11")
    seen = examined(run(*CAPTURED, lost))
    first = next(each for each in seen.findings if each.kind is FindingKind.STEP)
    assert first.sentence.startswith("one forward spends 6.00 ms in 7 convolutions")
    assert first.sentence.endswith("; without layer3.0.conv1, which crashed")


def test_layers_with_settings_of_their_own_are_one_network() -> None:
    mixed = (
        timed(layer("a.0", 8, 2, autocast=Autocast.BFLOAT16, memory_format=LAST), 1 * MS),
        timed(layer("a.1", 9, 2, autocast=Autocast.BFLOAT16), 1 * MS),
        timed(layer("b.0", 10, 2), 2 * MS),
    )
    found = answered(*mixed)
    assert found.usual.of(Part.FORWARD) == pytest.approx(8 * MS)
    assert (found.usual.name, found.changes) == ("", ())


def ways(times: dict[str, tuple[float, float]], *, processes: int = 5) -> list[Result]:
    """Layers of 16 channels and more, contiguous and channels_last, with these milliseconds."""
    return [
        timed(layer(name, 16 + place, memory_format=memory_format), ms * MS, processes)
        for place, (name, both) in enumerate(times.items())
        for memory_format, ms in zip(MemoryFormat, both, strict=True)
    ]


def sentences(seen: Examined, kind: FindingKind) -> list[str]:
    [first] = [each for each in seen.findings if each.kind is FindingKind.STEP]
    return [each.sentence for each in first.details if each.kind is kind]


def test_what_one_setting_for_all_gains() -> None:
    results = ways({"a.0": (4.0, 2.0), "b.0": (4.0, 2.0)})
    found = answered(*results)
    [change] = found.changes
    assert (change.name, change.axes) == ("channels_last", ("memory_format",))
    assert change.ratio == {Part.FORWARD: pytest.approx(2.0)}
    assert change.proof == {Part.FORWARD: Proof.FASTER}
    assert found.fastest is change.way and found.usual.name == "contiguous"
    assert sentences(examined(run(*results)), FindingKind.CHANGE) == [
        "channels_last for all layers: the forward takes 4.00 ms, 2.00x faster"
    ]


@pytest.mark.parametrize(
    ("last", "processes", "proof"),
    [
        (4.1, 5, Proof.SMALL),
        (8.0, 5, Proof.SLOWER),
        (3.8, 2, Proof.NOISE),
        (1.0, 2, Proof.FASTER),
        (1.0, 1, Proof.FEW),
    ],
)
def test_how_sure_a_gain_is(last: float, processes: int, proof: Proof) -> None:
    found = answered(*ways({"a.0": (4.0, last), "b.0": (4.0, last)}, processes=processes))
    [change] = found.changes
    assert change.proof[Part.FORWARD] is proof
    assert (found.fastest is change.way) == (proof is Proof.FASTER)


def test_a_setting_without_all_layers_is_no_gain() -> None:
    cut = ways({"a.0": (4.0, 2.0), "b.0": (4.0, 2.0), "c.0": (4.0, 2.0)})[:5]
    [change] = answered(*cut).changes
    assert change.proof[Part.FORWARD] is Proof.INCOMPLETE
    assert sentences(examined(run(*cut)), FindingKind.CHANGE) == [
        "channels_last for all layers: the forward has no whole time (without c.0, which has no case)"
    ]
    assert answered(*cut).mixtures == ()


#: One copy of the tensors between these layers, bytes read and written: of 17 and of 18 channels.
COPIES = [channels * 28 * 28 * 8 for channels in (17, 18)]
APART = {"a.0": (4.0, 8.0), "b.0": (4.0, 2.0), "c.0": (4.0, 8.0)}


def test_a_mixture_pays_for_its_layout_changes() -> None:
    rate = sum(COPIES) / MS  # both copies take 1 ms together
    results = ways(APART)
    processes = roofs(1e12, rate)
    [mixed] = answered(*results, processes=processes).mixtures
    assert (mixed.base, mixed.base_s, mixed.changes) == ("contiguous", pytest.approx(12 * MS), 2)
    assert mixed.copies_s == pytest.approx(1 * MS)
    assert mixed.seconds == pytest.approx((4 + 2 + 4 + 1) * MS)
    assert mixed.is_gain and mixed.different == (("b.0", "channels_last"),)
    whole, text = sentences(examined(run(*results, processes=processes)), FindingKind.CHANGE)
    assert whole == "channels_last for all layers: the forward takes 18.0 ms, 1.50x slower"
    assert text == (
        "the best memory_format for each layer: the forward takes 11.0 ms, 1.09x faster than contiguous for all (12.0 "
        "ms). This includes 2 changes of layout (1.00 ms). Most comes from b.0 with channels_last"
    )


def test_a_mixture_that_loses_after_its_copies_is_no_gain() -> None:
    results = ways(APART)
    processes = roofs(1e12, sum(COPIES) / (3 * MS))
    [mixed] = answered(*results, processes=processes).mixtures
    assert not mixed.is_gain and mixed.different == ()
    seen = examined(run(*results, processes=processes))
    assert not any("best memory_format" in sentence for sentence in seen.sentences), "nor does another finding"


def test_a_mixture_whose_copies_are_unknown_says_so() -> None:
    results = ways(APART)
    [mixed] = answered(*results).mixtures
    assert (mixed.is_counted, mixed.is_gain, mixed.changes) == (False, False, 2)
    _, text = sentences(examined(run(*results)), FindingKind.CHANGE)
    assert text == (
        "the best memory_format for each layer: the forward takes 10.0 ms at least. Its 2 changes of layout "
        "are not counted, because no copy was measured"
    )


def test_a_layer_of_a_mixture_is_faster_by_more_than_noise() -> None:
    [mixed] = answered(*ways(APART, processes=3), processes=roofs(1e12, 1e15)).mixtures
    assert mixed.different == (), "three processes prove nothing of one layer"


def test_two_settings_have_a_fastest_combination() -> None:
    results = [
        timed(layer(name, channels, dtype=dtype, memory_format=memory_format), ms * MS)
        for name, channels in (("a.0", 8), ("b.0", 9))
        for dtype, memory_format, ms in (
            ("float32", MemoryFormat.CONTIGUOUS, 4.0),
            ("bfloat16", MemoryFormat.CONTIGUOUS, 3.0),
            ("float32", LAST, 2.0),
            ("bfloat16", LAST, 1.0),
        )
    ]
    found = answered(*results)
    assert [(change.name, change.ratio[Part.FORWARD]) for change in found.changes] == [
        ("bfloat16", pytest.approx(4 / 3)),
        ("channels_last", pytest.approx(2.0)),
        ("bfloat16 channels_last", pytest.approx(4.0)),
    ]
    assert [mixed.axes for mixed in found.mixtures] == [
        ("dtype",),
        ("memory_format",),
        ("dtype", "memory_format"),
    ]


def test_the_layers_worth_fixing_first_take_most_over_what_the_roofs_allow() -> None:
    cases = [layer(f"s.{place}", 16 + place, 1 + place) for place in range(7)]
    rate = 1e11
    factors = [2.0, 1.0, 3.0, 0.5, 5.0, 1.5, 4.0]  # times as long as the roofs allow
    results = [timed(case, factor * case.flops / rate) for case, factor in zip(cases, factors, strict=True)]
    found = answered(*results, processes=roofs(rate, 1e15))
    saved = {
        case.given_label: (factor - 1) * case.flops / rate * case.count
        for case, factor in zip(cases, factors, strict=True)
        if factor > 1
    }
    expected = sorted(saved, key=lambda name: -saved[name])
    assert [fix.layer.name for fix in found.fixes[0]] == expected == ["s.6", "s.4", "s.2", "s.5", "s.0"]
    first = found.fixes[0][0]
    total = sum(factor * case.flops / rate * case.count for case, factor in zip(cases, factors, strict=True))
    assert first.saved_s == pytest.approx(saved["s.6"])
    assert first.share == pytest.approx(4 * cases[6].flops / rate * 7 / total)
    assert (first.bound, first.case_id) == ("compute", cases[6].id)


def test_a_training_step_is_fixed_where_either_direction_is_slow() -> None:
    rate = 1e11
    cases = [
        layer("a.0", 16),
        layer("a.0", 16, direction=BACKWARD),
        layer("b.0", 20),
        layer("b.0", 20, direction=BACKWARD),
    ]
    results = [
        timed(case, factor * case.flops / rate) for case, factor in zip(cases, (1.0, 3.0, 2.0, 1.0), strict=True)
    ]
    [[first, second]] = answered(*results, processes=roofs(rate, 1e15)).fixes
    assert (first.layer.name, first.case_id) == ("a.0", cases[1].id)
    assert first.saved_s == pytest.approx(2 * cases[1].flops / rate)
    assert (second.layer.name, second.case_id) == ("b.0", cases[2].id)


def test_each_batch_size_is_a_network_of_its_own() -> None:
    text = """
axes: {in_channels: 8, kernel_size: 3, input_size: 28, batch_size: [1, 8], threads: 1}
cases:
  - {label: stem, out_channels: 16}
  - {label: head, out_channels: 32, count: 3}
"""
    cases = sweeps.cases(sweeps.parse.parse(text, "sweep.yaml")).cases
    made = run(*(timed(case, MS * (case.problem.batch_size or 1)) for case in cases))
    found = examined(replace(made, source=text)).answers
    assert [(each.name, each.usual.of(Part.FORWARD)) for each in found] == [
        ("batch_size=1", pytest.approx(4 * MS)),
        ("batch_size=8", pytest.approx(32 * MS)),
    ]


def test_a_layer_whose_entry_names_a_swept_setting_is_in_every_way() -> None:
    text = """
axes: {kernel_size: 3, input_size: 28, memory_format: [contiguous, channels_last], threads: 1}
cases:
  - {label: stem, in_channels: 8, out_channels: 16, memory_format: contiguous}
  - {label: body, in_channels: 16, out_channels: 32, count: 3}
  - {label: head, in_channels: 32, out_channels: 32}
"""
    cases = sweeps.cases(sweeps.parse.parse(text, "sweep.yaml")).cases
    slow = {MemoryFormat.CONTIGUOUS: 2 * MS, LAST: 1 * MS}
    made = run(*(timed(case, slow[case.memory_format]) for case in cases))
    [found] = examined(replace(made, source=text)).answers
    [change] = found.changes
    assert (found.usual.of(Part.FORWARD), change.seconds[Part.FORWARD]) == (
        pytest.approx(10 * MS),
        pytest.approx(6 * MS),
    ), "the stem is contiguous in both"
