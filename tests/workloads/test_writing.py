"""The sweep that is written for a workload: it holds the same layers, and says what is not in it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st

from convbench.model.bounds import MOST_LABELS
from convbench.model.case import Case, InputFormat, MemoryFormat
from convbench.model.problem import Direction, Problem
from convbench.sweep.expand import cases
from convbench.sweep.parse import parse
from convbench.workloads.workload import Refused, Workload, folded
from convbench.workloads.writing import sweep_text

STEM = Problem(in_channels=3, out_channels=64, kernel_size=(7, 7), input_size=(224, 224), stride=(2, 2), bias=False)
BLOCK = Problem(in_channels=64, out_channels=64, kernel_size=(1, 3), input_size=(56, 48), padding=(0, 1), bias=False)


def expanded(text: str) -> list[Case]:
    return list(cases(parse(text, "written.yaml")).cases)


def described(found: list[Case]) -> set[tuple[str, str | None, tuple[str, ...], int]]:
    return {(case.id, case.given_label, case.labels, case.count) for case in found}


def workload(*found: Case, **rest: object) -> Workload:
    return Workload(name="net", source="from a test", cases=found, **rest)  # type: ignore[arg-type]  # rest is typed below


def test_equal_layers_are_one_entry_with_the_first_label_and_their_number() -> None:
    layers = [Case(problem=BLOCK, given_label=f"layer1.{at}.conv2") for at in range(3)]
    made = workload(Case(problem=STEM, given_label="conv1"), *layers)
    assert (made.read, made.distinct) == (4, 2)
    text = sweep_text(made)
    assert described(expanded(text)) == described(list(folded(made.cases)))
    assert (
        "- {label: layer1.0.conv2, in_channels: 64, out_channels: 64, kernel_size: [1, 3], input_size: [56, 48],"
        in text
    )
    assert " count: 3,\n     labels: [layer1.0.conv2, layer1.1.conv2, layer1.2.conv2]}\n" in text
    assert "axes:\n  bias: false\n  direction: forward\n" in text, "what all have in common is written once"


def test_directions_that_most_layers_have_are_an_axis_and_others_stand_with_their_layer() -> None:
    both = [
        Case(problem=problem, direction=direction, given_label=name)
        for name, problem in (("a", BLOCK), ("b", replace(BLOCK, in_channels=32)))
        for direction in (Direction.FORWARD, Direction.BACKWARD)
    ]
    first = [
        Case(problem=STEM, direction=direction, given_label="stem")
        for direction in (Direction.FORWARD, Direction.GRAD_WEIGHT)
    ]
    text = sweep_text(workload(*first, *both))
    assert "  direction: [forward, backward]\n" in text
    assert text.count("label: stem") == 2
    assert text.count("label: a") == 1
    assert described(expanded(text)) == described([*first, *both])


def test_the_head_says_what_was_read_and_why_the_rest_is_missing() -> None:
    refused = [Refused(place=f"line {at}", reason="uneven padding:\n1 left, 2 right") for at in range(7)]
    text = sweep_text(workload(Case(problem=STEM), refused=tuple(refused), notes=("a note", "name: not a key\nx: 1")))
    head = text[: text.index("name: net")]
    assert all(line.startswith("#") or not line for line in head.splitlines())
    assert "# read 8, distinct 1, left out 7\n" in head
    [left_out] = parse(text, "net.yaml").left_out
    assert (left_out.count, left_out.work) == (7, None)
    assert left_out.reason == "uneven padding:\\n1 left, 2 right (line 0, line 1, line 2 and 4 more)"
    assert expanded(text) == [Case(problem=STEM)]


def test_places_that_are_counted_together_are_many() -> None:
    refused = [Refused(place=f"line {at}", reason="odd", work=0.125) for at in range(4)]
    refused.append(Refused(place="behind line 3", reason="odd", count=96, work=0.1))
    text = sweep_text(workload(Case(problem=STEM), refused=tuple(refused)))
    [left_out] = parse(text, "net.yaml").left_out
    assert str(left_out) == "100 convolutions with 60.0 % of the work: odd (line 0, line 1, line 2 and 97 more)"


def test_a_layer_that_is_left_out_counts_once_for_both_passes() -> None:
    refused = [
        Refused(place=f"up{at}", reason="odd", work=work, is_backward=work > 0.05)
        for at in range(5)
        for work in (0.05, 0.1)
    ]
    alone = Refused(place="down", reason="bias alone", work=0.0, is_backward=True)
    text = sweep_text(workload(Case(problem=STEM), refused=(*refused, alone)))
    assert "# What no case measures. A layer counts once for its forward and its backward.\n" in text
    assert list(map(str, parse(text, "net.yaml").left_out)) == [
        "5 convolutions with 75.0 % of the work: odd (up0, up1, up2 and 2 more)",
        "1 convolution with 0.0 % of the work: bias alone (down)",
    ]


def test_what_the_source_says_of_a_layer_stands_above_it() -> None:
    forward, backward = Case(problem=STEM), Case(problem=STEM, direction=Direction.BACKWARD)
    other = Case(problem=BLOCK)
    said = ((backward, "the log says 2 ms"), (other, "the log says 3 ms"))
    text = sweep_text(workload(forward, backward, other, said=said, description="5 ms: in all"))
    assert "\n  # backward: the log says 2 ms\n  - {in_channels: 3," in text
    assert "\n  # the log says 3 ms\n  - {in_channels: 64," in text
    assert parse(text, "written.yaml").description == "5 ms: in all"


def test_settings_of_a_run_and_its_measure_are_written() -> None:
    found = Case(problem=STEM, dtype="bfloat16", memory_format=MemoryFormat.CHANNELS_LAST, env=(("A", "b c"),))
    sweep = parse(sweep_text(workload(found), measure={"budget": 60}), "written.yaml")
    assert list(cases(sweep).cases) == [found]
    assert sweep.measure.budget == 60


def test_an_input_has_the_formats_that_a_sweep_names_for_all_layers() -> None:
    last = Case(problem=BLOCK, input_format=InputFormat.CHANNELS_LAST, given_label="a")
    formats = ["contiguous", "channels_last"]
    [*found] = expanded(
        sweep_text(workload(last, Case(problem=BLOCK, given_label="b")), axes={"memory_format": formats})
    )
    assert [(str(case.memory_format), case.input_format, case.count) for case in found] == [
        (each, InputFormat.SAME, 2) for each in formats
    ]


def test_a_workload_without_cases_has_no_sweep() -> None:
    with pytest.raises(ValueError, match="case"):
        sweep_text(workload())


@given(st.lists(strategies.cases, min_size=1, max_size=6))
def test_any_cases_come_back(found: list[Case]) -> None:
    """But those that a sweep cannot say: refused ones, and names and variables that a file may not hold."""
    kept = [
        replace(case, given_label=f"layer {at % 3}", labels=(), env=(), count=at + 1)
        for at, case in enumerate(found)
        if case.refusal() is None
    ]
    if kept:
        assert described(expanded(sweep_text(workload(*kept)))) == described(list(folded(kept)))


def test_all_labels_of_equal_layers_come_back() -> None:
    names = [f"blocks.{at}: 'x', [{'y' * (at % 40)}]" for at in range(60)]
    text = sweep_text(workload(*(Case(problem=BLOCK, given_label=name) for name in names)))
    [case] = expanded(text)
    assert (case.given_label, case.count, case.labels) == (names[0], 60, tuple(names))
    assert max(map(len, text.splitlines())) < 140


def test_more_labels_than_a_sweep_may_have_are_counted() -> None:
    made = workload(*(Case(problem=BLOCK, given_label=f"b{at}") for at in range(MOST_LABELS + 5)))
    text = sweep_text(made)
    [case] = expanded(text)
    assert (case.count, len(case.labels)) == (MOST_LABELS + 5, MOST_LABELS)
    assert "  # 5 more layers are equal to this one; a sweep names 1,000 at most\n" in text


def test_directions_of_different_layers_are_entries_of_their_own() -> None:
    found = [
        Case(problem=BLOCK, direction=direction, given_label=name)
        for direction, name in ((Direction.FORWARD, "a"), (Direction.FORWARD, "b"), (Direction.BACKWARD, "b"),
                                (Direction.BACKWARD, "c"))
    ]  # fmt: skip
    assert described(expanded(sweep_text(workload(*found)))) == described(list(folded(found)))
