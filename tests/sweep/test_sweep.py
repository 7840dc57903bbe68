"""Sweeps: every form a user may write, every mistake with its line, and what the shipped files come to."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from convbench import sweep as sweeps
from convbench.errors import ExitCode, RequestError, SweepError
from convbench.model.case import (
    CASE_SETTINGS,
    PROBLEM_SETTINGS,
    SETTINGS,
    Allocator,
    Cache,
    Case,
    InputFormat,
    MemoryFormat,
    setting,
)
from convbench.model.problem import Direction, PaddingMode, PaddingWord, Problem
from convbench.model.result import Measure, Rejection
from convbench.model.threshold import THRESHOLD, Special, Thresholds
from convbench.sweep import Plan, Sweep
from convbench.sweep.parse import MOST_POINTS, Values
from convbench.sweep.parse import parse as parse_text

ROOT = Path(__file__).parent.parent.parent
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
REQUIRED = "in_channels: 4, out_channels: 8, kernel_size: 3, input_size: 16"


def parse(text: str) -> Sweep:
    return parse_text(text, "f.yaml")


def plan(text: str) -> Plan:
    planned = sweeps.cases(parse(text))
    assert planned.points == planned.excluded + planned.merged + len(planned.cases) + len(planned.rejections)
    return planned


def over(axes: str) -> tuple[Case, ...]:
    """The cases of a sweep over some axes, the required ones given."""
    return plan(f"axes: {{{REQUIRED}, {axes}}}").cases


def mistakes(text: str) -> list[str]:
    with pytest.raises(SweepError) as caught:
        parse(text)
    assert [m.line for m in caught.value.mistakes] == sorted(m.line for m in caught.value.mistakes)
    return str(caught.value).splitlines()


# What may be written


def test_the_contracts_example() -> None:
    """The sweep of the design, word for word but for comments."""
    text = """
name: channels-and-kernels
description: free text, shown in the report
seed: 42
axes:
  in_channels: [3, 64]
  out_channels: {from: 16, to: 64, times: 2}
  kernel_size: [1, 3, [1, 7]]
  stride: [1, 2]
  padding: [0, same, half]
  dilation: 1
  groups: [1, depthwise]
  bias: true
  padding_mode: zeros
  batch_size: [1, 32]
  input_size: [64]
  dtype: [float32, bfloat16]
  memory_format: [contiguous, channels_last]
  device: [cpu, cuda]
  threads: 1
  module: torch.nn.Conv2d
  direction: [forward, backward]
exclude:
  - {kernel_size: 1, padding: same}
measure: {precision: 0.01, processes: 5, rounds: 5, max_time: 0.5, timeout: 60, allocator: steady}
"""
    sweep = parse(text)
    assert (sweep.name, sweep.description, sweep.seed) == ("channels-and-kernels", "free text, shown in the report", 42)
    assert sweep.measure == Measure(precision=0.01, processes=5, rounds=5, max_time=0.5, timeout=60.0)
    assert sweep.source == text
    planned = plan(text)
    settings_ = 2 * 2 * 2 * 2  # dtype, memory_format, device, direction
    layers = 2 * 3 * 3 * 2 * 3 * 2 * 2  # in, out, kernel, stride, padding, groups, batch
    assert planned.points == layers * settings_
    assert planned.excluded == layers // 9 * settings_  # one kernel of three, one padding of three
    assert planned.merged == 2 * 3 * 2 * 2 * 2 * settings_  # half of a kernel of 1 is 0
    reasons = {rejection.reason for rejection in planned.rejections}
    assert "out_channels (16) must be divisible by groups (3)" in reasons
    assert "padding 'same' is not defined for a stride other than 1, and the stride is 2x2" in reasons
    assert len({case.id for case in planned.cases}) == len(planned.cases)


def test_the_contracts_list_of_cases() -> None:
    text = """
name: notebook
axes: {direction: [forward, backward], dtype: [float32, bfloat16]}
cases:
  - {in_channels: 3, out_channels: 10, kernel_size: 5, stride: 2, input_size: 64,
     batch_size: null, label: conv 2, count: 1}
"""
    cases = plan(text).cases
    assert [(case.direction, case.dtype) for case in cases] == [
        (Direction.FORWARD, "float32"),
        (Direction.FORWARD, "bfloat16"),
        (Direction.BACKWARD, "float32"),
        (Direction.BACKWARD, "bfloat16"),
    ]
    assert {case.problem.output_shape for case in cases} == {(10, 30, 30)}
    assert cases[0].label == "conv 2: unbatched c3 64x64 -> k10 5x5 s2 p0 forward float32 contiguous cpu"


def test_defaults_are_torchs() -> None:
    (case,) = over("bias: true")
    problem = case.problem
    assert (problem.stride, problem.padding, problem.dilation, problem.groups) == ((1, 1), (0, 0), (1, 1), 1)
    assert (problem.bias, problem.padding_mode, problem.batch_size) == (True, PaddingMode.ZEROS, 1)
    assert (case.direction, case.dtype, case.memory_format) == (Direction.FORWARD, "float32", MemoryFormat.CONTIGUOUS)
    assert (case.device, case.threads, case.module) == ("cpu", None, "torch.nn.Conv2d")
    assert (case.allocator, case.given_label, case.count) == (Allocator.STEADY, None, 1)
    sweep = parse(f"axes: {{{REQUIRED}}}")
    assert (sweep.name, sweep.description, sweep.seed, sweep.measure) == ("f", "", 0, Measure())


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ("5", [5]),
        ("[5, 2]", [5, 2]),
        ("{from: 16, to: 64, times: 2}", [16, 32, 64]),
        ("{from: 3, to: 100, times: 5}", [3, 15, 75]),
        ("{from: 7, to: 7, times: 2}", [7]),
        ("{from: 1, to: 2147483647, times: 1000}", [1, 1000, 10**6, 10**9]),
        ("{from: 1, to: 7, step: 3}", [1, 4, 7]),
        ("{from: 1, to: 9, step: 3}", [1, 4, 7]),
        ("{step: 1, to: 3, from: 3}", [3]),
        ("[0x10, 0o17, +3]", [16, 15, 3]),
    ],
)
def test_values_of_an_axis(written: str, values: list[int]) -> None:
    sweep = parse(f"axes: {{in_channels: 1, out_channels: {written}, kernel_size: 1, input_size: 1}}")
    assert {axis.name: axis.values for axis in sweep.axes}["out_channels"] == tuple(values)


def test_pairs() -> None:
    """Under axes the outer list is the list of values; in cases and exclude a list of two is one [height, width]."""
    sizes = [case.problem.kernel_size for case in over("kernel_size: 1".replace("kernel_size: 1", "threads: 1"))]
    assert sizes == [(3, 3)]
    text = "axes: {in_channels: 1, out_channels: 1, input_size: 9, kernel_size: %s}"
    assert [c.problem.kernel_size for c in plan(text % "[1, 7]").cases] == [(1, 1), (7, 7)]
    assert [c.problem.kernel_size for c in plan(text % "[[1, 7]]").cases] == [(1, 7)]
    assert [c.problem.kernel_size for c in plan(text % "{from: 1, to: 4, times: 2}").cases] == [(1, 1), (2, 2), (4, 4)]
    listed = "cases: [{in_channels: 1, out_channels: 1, input_size: [8, 9], kernel_size: [1, 7]}]\n"
    assert [c.problem.kernel_size for c in plan(listed).cases] == [(1, 7)]
    assert [c.problem.input_size for c in plan(listed).cases] == [(8, 9)]
    assert plan(listed + "exclude: [{kernel_size: [1, 7]}]").excluded == 1
    assert plan(listed + "exclude: [{kernel_size: [7, 1]}]").excluded == 0


def test_words_of_padding_and_groups() -> None:
    cases = over("padding: [same, valid, half, 2, [0, 1]], dilation: [[1, 2]]")
    assert [case.problem.padding for case in cases] == [
        PaddingWord.SAME,
        PaddingWord.VALID,
        (1, 2),
        (2, 2),
        (0, 1),
    ]
    text = "axes: {in_channels: 4, out_channels: 8, kernel_size: [[2, 5]], input_size: 16, padding: half}"
    assert plan(text).cases[0].problem.padding == (0, 2)  # an even kernel's half is rounded down
    assert [case.problem.groups for case in over("groups: [1, 2, depthwise]")] == [1, 2, 4]


def test_execution_settings() -> None:
    cases = over(
        "batch_size: [2], dtype: [float16, float64], memory_format: channels_last, device: ['cuda:1', accelerator],"
        " threads: [null, 3], module: 'my.layers:Net.Conv', direction: train_step, allocator: [steady, system]"
    )
    assert len(cases) == 16
    assert {case.device for case in cases} == {"cuda:1", "accelerator"}
    assert {case.threads for case in cases} == {None, 3}
    assert {case.module for case in cases} == {"my.layers:Net.Conv"}
    assert {case.allocator for case in cases} == set(Allocator)
    assert all(isinstance(case.direction, Direction) for case in cases)
    assert all(isinstance(case.memory_format, MemoryFormat) for case in cases)
    assert all(isinstance(case.allocator, Allocator) for case in cases)


def test_the_allocator_of_measure_is_for_cases_that_name_none() -> None:
    system = "measure: {allocator: system}"
    assert {c.allocator for c in plan(f"axes: {{{REQUIRED}}}\n{system}").cases} == {Allocator.SYSTEM}
    assert {c.allocator for c in plan(f"axes: {{{REQUIRED}, allocator: steady}}\n{system}").cases} == {Allocator.STEADY}
    assert plan(f"axes: {{{REQUIRED}}}\n{system}\nexclude: [{{allocator: system}}]").excluded == 1


def test_numbers_of_measure() -> None:
    text = "measure: {precision: 1e-2, processes: 2, rounds: 3, max_time: .25, timeout: 5}"
    measure = parse(f"axes: {{{REQUIRED}}}\n{text}").measure
    assert measure == Measure(precision=0.01, processes=2, rounds=3, max_time=0.25, timeout=5.0)


def test_the_older_word_for_processes_is_read_as_before() -> None:
    assert parse(f"axes: {{{REQUIRED}}}\nmeasure: {{passes: 2}}").measure == Measure(processes=2)
    given = f"axes: {{{REQUIRED}}}\nmeasure:\n"
    assert mistakes(f"{given}  passes: 0\n  round: 2\n") == [
        "f.yaml:3: measure.passes: expected an integer of at least 1, got 0",
        "f.yaml:4: measure: unknown key 'round'",
        "  hint: did you mean rounds?",
    ]
    for both in ("  processes: 5\n  passes: 5\n", "  passes: 5\n  processes: 5\n"):
        assert mistakes(given + both) == [
            "f.yaml:4: measure: expected processes or passes, got both",
            "  hint: give processes only",
        ]
    assert mistakes(f"axes: {{{REQUIRED}}}\npasses: 2\n") == [
        "f.yaml:2: unknown key 'passes'",
        "  hint: it belongs under measure, as processes",
    ]


def test_what_counts_as_a_change() -> None:
    assert parse(f"axes: {{{REQUIRED}}}").compare == Thresholds(threshold=0.03, beyond_l2=0.12)
    text = """
compare:
  threshold: 0.02
  thresholds:
    - {dtype: bfloat16, threshold: 0.08}
    - {kernel_size: 3, groups: depthwise, threshold: 0.1}
"""
    assert parse(f"axes: {{{REQUIRED}}}\n{text}").compare == Thresholds(
        threshold=0.02,
        specials=(
            Special(settings=(("dtype", "bfloat16"),), threshold=0.08),
            Special(settings=(("kernel_size", (3, 3)), ("groups", "depthwise")), threshold=0.1),
        ),
    )
    lenient = parse(f"axes: {{{REQUIRED}}}\ncompare: {{threshold: 0.2}}").compare
    assert lenient.beyond_l2 == 0.2, "what reaches memory is not held to less"
    assert parse(f"axes: {{{REQUIRED}}}\ncompare: {{threshold: 0.2, beyond_l2: 0.1}}").compare.beyond_l2 == 0.1


def test_cases_take_the_axes_they_do_not_name() -> None:
    cases = plan(
        f"""
axes: {{{REQUIRED}, dtype: [float32, float64], stride: [1, 2]}}
cases:
  - {{}}
  - {{stride: 3, label: third}}
  - {{dtype: float16, stride: [1, 2], out_channels: 12, count: 7}}
"""
    ).cases
    assert [(c.problem.stride, c.dtype, c.problem.out_channels, c.count) for c in cases] == [
        ((1, 1), "float32", 8, 1),
        ((1, 1), "float64", 8, 1),
        ((2, 2), "float32", 8, 1),
        ((2, 2), "float64", 8, 1),
        ((3, 3), "float32", 8, 1),
        ((3, 3), "float64", 8, 1),
        ((1, 2), "float16", 12, 7),
    ]
    assert [c.given_label for c in cases] == [None] * 4 + ["third"] * 2 + [None]


@pytest.mark.parametrize(
    ("entry", "left"),
    [
        ("{padding: same}", [(0, 0), (1, 1), (1, 1)]),
        ("{padding: half}", [PaddingWord.SAME, (0, 0), (1, 1)]),
        ("{padding: 1}", [PaddingWord.SAME, (0, 0)]),  # a number matches what `half` comes to
        ("{padding: [1, 1]}", [PaddingWord.SAME, (0, 0)]),
        ("{padding: [1, 0]}", [PaddingWord.SAME, (0, 0), (1, 1), (1, 1)]),
        ("{padding: valid}", [PaddingWord.SAME, (0, 0), (1, 1), (1, 1)]),
        ("{padding: 0, kernel_size: 3}", [PaddingWord.SAME, (1, 1), (1, 1)]),
        (
            ("{padding: 0, kernel_size: [3, 3], dtype: float32, bias: true, batch_size: 1, threads: null}"),
            [PaddingWord.SAME, (1, 1), (1, 1)],
        ),
        ("{padding: 0, kernel_size: 5}", [PaddingWord.SAME, (0, 0), (1, 1), (1, 1)]),
        ("{padding: 0, batch_size: null}", [PaddingWord.SAME, (0, 0), (1, 1), (1, 1)]),
        ("{padding: 0, threads: 1}", [PaddingWord.SAME, (0, 0), (1, 1), (1, 1)]),
    ],
)
def test_exclude(entry: str, left: list[object]) -> None:
    planned = plan(f"axes: {{{REQUIRED}, padding: [same, 0, half, 1]}}\nexclude: [{entry}]")
    expected = dict.fromkeys(left)  # `half` and 1 are merged
    assert [case.problem.padding for case in planned.cases] == list(expected)
    assert planned.excluded == 4 - len(left)
    assert planned.merged == len(left) - len(expected)


def test_exclude_takes_words_as_written_and_any_entry() -> None:
    axes = f"axes: {{{REQUIRED}, groups: [1, 4, depthwise], direction: [forward, backward], batch_size: [1, null]}}\n"
    assert plan(axes + "exclude: [{groups: depthwise}]").excluded == 4
    assert plan(axes + "exclude: [{groups: 4}]").excluded == 8  # both ways to write 4
    assert (
        plan(axes + "exclude: [{batch_size: null, direction: backward}, {groups: 1, direction: backward}]").excluded
        == 4
    )
    everything = plan(axes + "exclude: [{in_channels: 4}]")
    assert (everything.cases, everything.excluded) == ((), 12)


def test_tied_channels_are_equal_in_each_point() -> None:
    axes = "axes: {in_channels: [4, 8], out_channels: [in_channels, 16], kernel_size: 3, input_size: 16}\n"
    tied = [(c.problem.in_channels, c.problem.out_channels) for c in plan(axes).cases]
    assert tied == [(4, 4), (4, 16), (8, 8), (8, 16)]
    assert plan(axes + "exclude: [{out_channels: in_channels}]").excluded == 2
    assert plan(axes + "cases: [{in_channels: 16}]").merged == 1, "16 is also what the word stands for there"
    threshold = "compare: {thresholds: [{out_channels: in_channels, threshold: 0.2}]}"
    of = parse(axes + threshold).compare.of
    assert [of(case, 2**20) for case in plan(axes).cases] == [0.2, THRESHOLD, 0.2, THRESHOLD]


def test_equal_points_are_measured_once() -> None:
    planned = plan(
        """
axes: {in_channels: 4, out_channels: 8, input_size: 16, kernel_size: 3, dtype: [float32, float64]}
cases:
  - {padding: 1, count: 2}
  - {padding: [1, 1], label: first}
  - {padding: half, label: second, count: 5}
  - {padding: same}
"""
    )
    assert planned.merged == 4
    assert [(c.given_label, c.count, c.dtype) for c in planned.cases] == [
        ("first + second", 8, "float32"),
        ("first + second", 8, "float64"),
        (None, 1, "float32"),
        (None, 1, "float64"),
    ]


def test_what_the_axes_give_twice_is_one_layer_and_what_cases_list_twice_is_two() -> None:
    axes = "axes: {in_channels: 4, out_channels: 8, input_size: 16, kernel_size: [1, 3], padding: [0, half]}\n"
    assert plan(axes).merged == 1
    assert [c.count for c in plan(axes).cases] == [1, 1, 1]
    twice = plan(axes + "cases: [{label: a, count: 3}, {label: b}, {label: a}]").cases
    assert [(c.count, c.given_label) for c in twice] == [(5, "a + b")] * 3


def test_an_input_in_the_memory_format_is_measured_once() -> None:
    axes = "axes: {in_channels: 4, out_channels: 8, input_size: 16, kernel_size: 3, "
    both = plan(axes + "memory_format: [contiguous, channels_last], input_format: [same, contiguous, strided]}")
    assert both.merged == 1
    assert [(c.memory_format, c.input_format) for c in both.cases] == [
        ("contiguous", "same"),
        ("contiguous", "strided"),
        ("channels_last", "same"),
        ("channels_last", "contiguous"),
        ("channels_last", "strided"),
    ]
    one = plan(axes + "}\ncases: [{input_format: contiguous, label: a}, {label: b}]")
    assert [(c.given_label, c.count, c.input_format) for c in one.cases] == [("a + b", 2, "contiguous")]


def test_labels_of_equal_layers_are_kept_and_no_part_of_an_id() -> None:
    axes = "axes: {in_channels: 4, out_channels: 8, input_size: 16, kernel_size: 1, dtype: [float32, float64]}\n"
    planned = plan(axes + "cases: [{labels: [a, b, a], count: 3}]").cases
    assert [(c.given_label, c.labels, c.count) for c in planned] == [("a", ("a", "b"), 3)] * 2
    assert [c.id for c in planned] == [c.id for c in plan(axes + "cases: [{label: z}]").cases]
    named = plan(axes + "cases: [{label: mine, labels: [a, b]}, {label: c + d}, {labels: [e, a]}, {count: 2}]").cases
    assert [(c.given_label, c.labels, c.count) for c in named] == [
        ("mine + c + d + e", ("a", "b", "c", "d", "e"), 5)
    ] * 2


def test_rejections_are_merged_alike() -> None:
    planned = plan(f"axes: {{{REQUIRED}, groups: 3, stride: [1, 1], dtype: [float32, float64]}}")
    assert planned.cases == ()
    assert planned.merged == 2
    assert [(r.label, r.reason) for r in planned.rejections] == [
        (
            (f"n1 c4 16x16 -> k8 3x3 s1 p0 g3 forward {dtype} contiguous cpu"),
            "in_channels (4) must be divisible by groups (3)",
        )
        for dtype in ("float32", "float64")
    ]


def test_an_unbatched_image_in_channels_last_is_a_rejection() -> None:
    planned = plan(f"axes: {{{REQUIRED}, batch_size: [1, null], memory_format: [contiguous, channels_last]}}")
    assert [(c.problem.batch_size, c.memory_format.value) for c in planned.cases] == [
        (1, "contiguous"),
        (1, "channels_last"),
        (None, "contiguous"),
    ]
    assert [r.label.split()[0] for r in planned.rejections] == ["unbatched"]


def test_cases_of_one_problem_stay_together() -> None:
    cases = over("direction: [forward, backward], stride: [1, 2], dtype: [float32, float64]")
    assert [c.problem.stride[0] for c in cases] == [1] * 4 + [2] * 4
    assert [(c.direction.value, c.dtype) for c in cases[:4]] == [
        ("forward", "float32"),
        ("forward", "float64"),
        ("backward", "float32"),
        ("backward", "float64"),
    ]


@pytest.mark.parametrize("text", ["<script>alert('x')</script>", "a\nb", "\U0001f600 äöü", 'it\'s "so"', "  x ", "3"])
def test_any_text_arrives_as_it_is(text: str) -> None:
    quoted = yaml.safe_dump(text, default_style='"', allow_unicode=True)
    sweep = parse(f"name: {quoted}description: {quoted}axes: {{{REQUIRED}}}")
    assert (sweep.name, sweep.description) == (text, text)


def test_aliases_stand_for_what_they_name() -> None:
    sweep = parse("axes: {in_channels: &c [1, 2], out_channels: *c, kernel_size: 1, input_size: 1}")
    assert [axis.values for axis in sweep.axes[:2]] == [(1, 2), (1, 2)]


def test_the_python_and_the_c_parser_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [path.read_text() for path in CONFIGS]
    with_c = [parse(text) for text in texts]
    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    assert [parse(text) for text in texts] == with_c
    assert mistakes("axes: {kernel_size: '3', stride: !!int 3, dtype: [1\n") != []


# Mistakes

ALL = "in_channels, out_channels, kernel_size, input_size"
LISTS = "  hint: lists of values belong under axes"
QUOTES = "  hint: remove the quotes"
MODULE = "torch.nn.Conv2d or package.module:Class"
ONLY = "of torch's modules only torch.nn.Conv2d takes its arguments; one of your own is package.module:Class"
ELSEWHERE = "  hint: the part before the colon is imported, the class after it takes torch.nn.Conv2d's arguments"
DEVICES = (
    "  hint: known are cpu, accelerator, cuda, xpu, mps, mtia, hpu, privateuseone, with an index if wanted: cuda:1"
)


def test_the_contracts_mistake() -> None:
    text = (
        "# a sweep\naxes:\n  in_channels: 3\n  out_channels: 10\n  input_size: 64\n"
        "  kernel_size:\n    - 1\n    - 3\n    - three\n"
    )
    with pytest.raises(SweepError) as caught:
        parse_text(text, "configs/sweep.yaml")
    expected = "configs/sweep.yaml:9: axes.kernel_size[2]: expected an integer of at least 1, got 'three'"
    assert str(caught.value) == expected
    assert caught.value.exit_code is ExitCode.WRONG_REQUEST


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        ("in_channels: 0", "axes.in_channels: expected an integer of at least 1, got 0"),
        ("in_channels: 3.0", "axes.in_channels: expected an integer of at least 1, got 3.0"),
        ("in_channels: 1e1", "axes.in_channels: expected an integer of at least 1, got 10.0"),
        ("in_channels: true", "axes.in_channels: expected an integer of at least 1, got true"),
        ("in_channels: null", "axes.in_channels: expected an integer of at least 1, got nothing"),
        ("in_channels: ", "axes.in_channels: expected an integer of at least 1, got nothing"),
        ("in_channels: 1_000", "axes.in_channels: expected an integer of at least 1, got '1_000'"),
        ("in_channels: '3'", f"axes.in_channels: expected an integer of at least 1, got '3'\n{QUOTES}"),
        ("in_channels: .nan", "axes.in_channels: expected an integer of at least 1, got '.nan'"),
        (
            "in_channels: 010",
            ("axes.in_channels: expected an integer of at least 1, got '010'\n  hint: remove the leading zero"),
        ),
        ("in_channels: 1:30", "axes.in_channels: expected an integer of at least 1, got '1:30'"),
        ("in_channels: 2147483648", "axes.in_channels: expected an integer of at most 2147483647, got 2147483648"),
        (f"in_channels: {'9' * 5000}", f"axes.in_channels: expected an integer of at least 1, got '{'9' * 60}...'"),
        ("in_channels: []", "axes.in_channels: expected at least one value, got an empty list"),
        (
            "in_channels: [3, [1, 2]]",
            (f"axes.in_channels[1]: expected an integer of at least 1, got a list of 2\n{LISTS}"),
        ),
        ("in_channels: {from: 0, to: 4, times: 2}", "axes.in_channels.from: expected an integer of at least 1, got 0"),
        ("in_channels: {from: 4, to: 2, step: 1}", "axes.in_channels.to: expected an integer of at least 4, got 2"),
        ("in_channels: {from: 1, to: 4, times: 1}", "axes.in_channels.times: expected an integer of at least 2, got 1"),
        (
            "in_channels: {from: 1, to: 4, times: 1.5}",
            ("axes.in_channels.times: expected an integer of at least 2, got 1.5"),
        ),
        ("in_channels: {from: 1, to: 4, step: 0}", "axes.in_channels.step: expected an integer of at least 1, got 0"),
        (
            "in_channels: {from: 1, to: 4}",
            ("axes.in_channels: expected from, to and either times or step, got from and to"),
        ),
        ("in_channels: {}", "axes.in_channels: expected from, to and either times or step, got nothing"),
        (
            "in_channels: {from: 1, to: 4, times: 2, step: 1}",
            "axes.in_channels: expected from, to and either times or step, got from and to and times and step",
        ),
        (
            "in_channels: {from: 1, to: 4, stepp: 2}",
            ("axes.in_channels: unknown key 'stepp'\n  hint: did you mean step?"),
        ),
        (
            "in_channels: {from: 1, to: 2147483647, step: 1}",
            "axes.in_channels: expected at most 1,000,000 points, got 2,147,483,647",
        ),
        ("kernel_size: [[1, 3, 5]]", f"axes.kernel_size[0]: expected [height, width], got a list of 3\n{LISTS}"),
        ("kernel_size: [[1]]", f"axes.kernel_size[0]: expected [height, width], got a list of 1\n{LISTS}"),
        ("kernel_size: [[1, x]]", "axes.kernel_size[0][1]: expected an integer of at least 1, got 'x'"),
        ("kernel_size: [[same, 1]]", "axes.kernel_size[0][0]: expected an integer of at least 1, got 'same'"),
        ("stride: 0", "axes.stride: expected an integer of at least 1, got 0"),
        ("padding: -1", "axes.padding: expected an integer of at least 0, same, valid or half, got -1"),
        ("padding: [[same, 1]]", "axes.padding[0][0]: expected an integer of at least 0, got 'same'"),
        (
            "padding: sam",
            (
                "axes.padding: expected an integer of at least 0, same, valid "
                "or half, got 'sam'\n  hint: did you mean same?"
            ),
        ),
        ("padding: {from: 0, to: 4, times: 2}", "axes.padding.from: expected an integer of at least 1, got 0"),
        (
            "groups: in_channels",
            (
                "axes.groups: expected an integer of at least 1 or depthwise, got 'in_channels'\n"
                "  hint: did you mean depthwise?"
            ),
        ),
        (
            "stride: kernel_size",
            (
                "axes.stride: expected an integer of at least 1, got 'kernel_size'\n"
                "  hint: one setting alone can be tied to another: out_channels: in_channels"
            ),
        ),
        (
            "out_channels: in_chanels",
            (
                "axes.out_channels: expected an integer of at least 1 or in_channels, got 'in_chanels'\n"
                "  hint: did you mean in_channels?"
            ),
        ),
        (
            "groups: depth",
            (
                "axes.groups: expected an integer of at least 1 or depthwise, got 'depth'\n"
                "  hint: did you mean depthwise?"
            ),
        ),
        ("bias: yes", "axes.bias: expected true or false, got 'yes'\n  hint: did you mean true?"),
        ("bias: 1", "axes.bias: expected true or false, got 1"),
        ("bias: 'true'", f"axes.bias: expected true or false, got 'true'\n{QUOTES}"),
        (
            "padding_mode: zero",
            (
                "axes.padding_mode: expected zeros, reflect, replicate or "
                "circular, got 'zero'\n  hint: did you mean zeros?"
            ),
        ),
        ("batch_size: -1", "axes.batch_size: expected an integer of at least 0 or null, got -1"),
        ("batch_size: 'null'", f"axes.batch_size: expected an integer of at least 0 or null, got 'null'\n{QUOTES}"),
        ("threads: many", "axes.threads: expected an integer of at least 1 or null, got 'many'"),
        (
            "dtype: fp32",
            ("axes.dtype: expected float16, bfloat16, float32 or float64, got 'fp32'\n  hint: did you mean float32?"),
        ),
        (
            "dtype: {from: 1, to: 2, step: 1}",
            ("axes.dtype: expected float16, bfloat16, float32 or float64, got a mapping"),
        ),
        (
            "memory_format: nhwc",
            (
                "axes.memory_format: expected contiguous or channels_last, got 'nhwc'\n"
                "  hint: did you mean channels_last?"
            ),
        ),
        ("allocator: fast", "axes.allocator: expected steady or system, got 'fast'"),
        (
            "direction: forwards",
            "axes.direction: expected forward, backward, grad_input, grad_weight or train_step, got 'forwards'"
            "\n  hint: did you mean forward?",
        ),
        ("device: gpu", "axes.device: expected a device, got 'gpu'\n  hint: did you mean cuda?"),
        ("device: cpu:0", "axes.device: expected a device, got 'cpu:0'\n  hint: cpu takes no index"),
        (
            "device: accelerator:1",
            ("axes.device: expected a device, got 'accelerator:1'\n  hint: accelerator takes no index"),
        ),
        ("device: cuda:01", f"axes.device: expected a device, got 'cuda:01'\n{DEVICES}"),
        ("device: cuda:128", "axes.device: expected a device, got 'cuda:128'\n  hint: torch counts devices to 127"),
        ("device: abacus", f"axes.device: expected a device, got 'abacus'\n{DEVICES}"),
        ("device: 0", "axes.device: expected a device, got 0"),
        ("module: Conv", f"axes.module: expected torch.nn.Conv2d or package.module:Class, got 'Conv'\n{ELSEWHERE}"),
        ("module: 'a.b:'", f"axes.module: expected torch.nn.Conv2d or package.module:Class, got 'a.b:'\n{ELSEWHERE}"),
        *(
            (f"module: {text}", f"axes.module: expected {MODULE}, got '{text}'\n  hint: did you mean torch.nn.Conv2d?")
            for text in ("Conv2d", "nn.Conv2d", "torch.nn.conv2d", "torch.nn.modules.conv.Conv2d", "F.conv2d")
        ),
        *(
            (f"module: {text}", f"axes.module: expected {MODULE}, got '{text}'\n  hint: {ONLY}")
            for text in ("torch.nn.Conv3d", "nn.ConvTranspose2d", "torch.Conv1d")
        ),
        ("module: a.b.Conv2d", f"axes.module: expected {MODULE}, got 'a.b.Conv2d'\n  hint: did you mean a.b:Conv2d?"),
        (
            "module: a.b.C",
            ("axes.module: expected torch.nn.Conv2d or package.module:Class, got 'a.b.C'\n  hint: did you mean a.b:C?"),
        ),
        (
            "stride: !!int 3",
            (
                "axes.stride: YAML tags are not allowed, got 'tag:yaml.org,2002:int'\n"
                "  hint: remove it: values are read as they are written"
            ),
        ),
        (
            "stride: !x 3",
            (
                "axes.stride: YAML tags are not allowed, got '!x'\n"
                "  hint: remove it: values are read as they are written"
            ),
        ),
        ("strides: 3", "axes: unknown key 'strides'\n  hint: did you mean stride?"),
        ("batch: 3", "axes: unknown key 'batch'\n  hint: did you mean batch_size?"),
        ("label: x", "axes: unknown key 'label'\n  hint: it belongs in an entry of cases"),
        ("processes: 3", "axes: unknown key 'processes'\n  hint: it belongs under measure"),
        ("seed: 3", "axes: unknown key 'seed'\n  hint: it belongs at the top level"),
        ("zzz: 3", f"axes: unknown key 'zzz'\n  hint: known keys: {', '.join(SETTINGS)}"),
        ("'<<': {stride: 1}", f"axes: unknown key '<<'\n  hint: known keys: {', '.join(SETTINGS)}"),
    ],
)
def test_mistakes_in_an_axis(axis: str, message: str) -> None:
    """The others are given, so that this is the only mistake; it stands on line 6 of the file."""
    given_ = {"in_channels": 4, "out_channels": 8, "kernel_size": 3, "input_size": 16}
    given_.pop(axis.partition(":")[0], None)
    lines = [f"  {name}: {value}" for name, value in given_.items()]
    padding = ["#"] * (4 - len(lines))
    text = "\n".join(["axes:", *lines, *padding, f"  {axis}", ""])
    assert "\n".join(mistakes(text)) == f"f.yaml:6: {message}"


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("", ["1: expected a sweep, got an empty file", "  hint: `convbench init` writes one to begin with"]),
        (
            "# nothing\n\n",
            ["1: expected a sweep, got an empty file", "  hint: `convbench init` writes one to begin with"],
        ),
        ("- 3\n", ["1: expected a mapping with axes or cases, got a list of 1"]),
        ("hello", ["1: expected a mapping with axes or cases, got 'hello'"]),
        ("name: x\n", ["1: expected axes or cases, got neither"]),
        ("axes: [1, 2\n", ["2: not valid YAML: did not find expected ',' or ']' while parsing a flow sequence"]),
        ("a: b: c\n", ["1: not valid YAML: mapping values are not allowed in this context"]),
        (
            "axes:\n\tstride: 1\n",
            [
                "2: not valid YAML: found character that cannot start any token while scanning for the next token",
                "  hint: indent with spaces, not with tabs",
            ],
        ),
        ("name: a\n\nseed: 1\x07\n", ["3: control characters are not allowed, got U+0007"]),
        ("name: \ud800\n", ["1: control characters are not allowed, got U+D800"]),
        ("seed: 1\n---\nseed: 2\n", ["2: expected one document, got a second one", "  hint: one sweep per file"]),
        ("axes: &a [*a]\n", ["1: axes[0]: the alias *a refers to a value that contains it"]),
        ("axes: *a\n", ["1: axes: the alias *a has no anchor above it"]),
        ("? [1]\n: 2\n", ["1: expected text as key, got a list of 1", "1: expected axes or cases, got neither"]),
        ("[" * 12 + "]" * 12, [f"1: {'[0]' * 11}: nested more than 10 deep"]),
        ("[" * 50_000, [f"1: {'[0]' * 11}: nested more than 10 deep"]),
        ("axes:\n", ["1: axes: expected a mapping from settings to lists of values, got nothing"]),
        ("axes: {}\n", ["1: axes: expected at least one axis, got an empty mapping"]),
        ("axes: 3\n", ["1: axes: expected a mapping from settings to lists of values, got 3"]),
        ("axes:\n  stride: 1\n", [f"2: axes: missing {ALL}"]),
        ("cases:\n", ["1: cases: expected a list of mappings, got nothing"]),
        ("cases: []\n", ["1: cases: expected at least one case, got an empty list"]),
        (
            "cases: {stride: 1}\n",
            [("1: cases: expected a list of mappings, got a mapping"), "  hint: put a dash before it"],
        ),
        ("cases: [3]\n", ["1: cases[0]: expected a mapping of settings, got 3"]),
        ("cases:\n- {stride: 1}\n", [f"2: cases[0]: missing {ALL}", "  hint: add it here or under axes"]),
        (
            f"axes: {{{REQUIRED}, stride: 1,\n stride: 2}}\nname: x\nname: y\n",
            ["2: axes: duplicate key 'stride', first on line 1", "4: duplicate key 'name', first on line 3"],
        ),
        (
            (
                "axes: {in_channels: 3}\ncases:\n- {out_channels: 4, input_size: 8}\n"
                "- {out_channels: 4, kernel_size: 3, input_size: 8}\n"
            ),
            ["3: cases[0]: missing kernel_size", "  hint: add it here or under axes"],
        ),
        (
            (
                f"axes: {{{REQUIRED}}}\ncases:\n- {{kernel_size: [1, 3, 5]}}\n"
                f"- {{dtype: [float32, float64]}}\n- {{stride: {{from: 1}}}}\n"
            ),
            [
                "3: cases[0].kernel_size: expected [height, width], got a list of 3",
                LISTS,
                "4: cases[1].dtype: expected float16, bfloat16, float32 or float64, got a list of 2",
                LISTS,
                "5: cases[2].stride: expected an integer of at least 1, got a mapping",
            ],
        ),
        (
            (
                f"axes: {{{REQUIRED}}}\ncases:\n- {{label: 3}}\n- {{label: ' '}}\n"
                f'- {{label: "a\\nb"}}\n- {{count: 0}}\n- {{lables: x}}\n- {{labels: x}}\n'
                f"- {{labels: []}}\n- {{labels: [a, 3, '']}}\n"
            ),
            [
                "3: cases[0].label: expected text, got 3",
                "  hint: put it in quotes",
                "4: cases[1].label: expected 1 to 200 characters, got none",
                "5: cases[2].label: expected one line of text, got 'a\\nb'",
                "6: cases[3].count: expected an integer of at least 1, got 0",
                "7: cases[4]: unknown key 'lables'",
                "  hint: did you mean labels?",
                "8: cases[5].labels: expected a list of labels, got 'x'",
                "9: cases[6].labels: expected a list of labels, got an empty list",
                "10: cases[7].labels[1]: expected text, got 3",
                "  hint: put it in quotes",
                "10: cases[7].labels[2]: expected 1 to 200 characters, got none",
            ],
        ),
        (
            (
                f"axes: {{{REQUIRED}}}\nexclude:\n- {{}}\n- 3\n- {{kernel_sise: 1}}\n"
                f"- {{kernel_size: three}}\n- {{label: x}}\n"
            ),
            [
                "3: exclude[0]: expected at least one setting, got an empty mapping",
                "  hint: an empty entry would exclude every point",
                "4: exclude[1]: expected a mapping of settings, got 3",
                "5: exclude[2]: unknown key 'kernel_sise'",
                "  hint: did you mean kernel_size?",
                "6: exclude[3].kernel_size: expected an integer of at least 1, got 'three'",
                "7: exclude[4]: unknown key 'label'",
                "  hint: it belongs in an entry of cases",
            ],
        ),
        (
            f"axes: {{{REQUIRED}}}\nname: ''\ndescription: \"a\\u0007\"\nseed: -1\n",
            [
                "2: name: expected 1 to 200 characters, got none",
                "3: description: control characters are not allowed, got U+0007",
                "4: seed: expected an integer of at least 0, got -1",
            ],
        ),
        (
            f"axes: {{{REQUIRED}}}\nname: 2026\ndescription:\nseed: 4294967296\nkernel_size: 3\nsede: 1\n",
            [
                "2: name: expected text, got 2026",
                "  hint: put it in quotes",
                "3: description: expected text, got nothing",
                "4: seed: expected an integer of at most 4294967295, got 4294967296",
                "5: unknown key 'kernel_size'",
                "  hint: it belongs under axes",
                "6: unknown key 'sede'",
                "  hint: did you mean seed?",
            ],
        ),
        (
            f"axes: {{{REQUIRED}}}\nname: {'x' * 201}\nmeasure: 3\n",
            [
                "2: name: expected 1 to 200 characters, got 201",
                (
                    "3: measure: expected a mapping of processes, rounds, precision, "
                    "max_time, timeout, budget, samples, allocator, got 3"
                ),
            ],
        ),
        (
            f"axes: {{{REQUIRED}}}\nmeasure:\n  precision: 5\n  processes: 0\n"
            "  rounds: 1001\n  max_time: .inf\n  timeout: '60'\n"
            "  allocator: [steady, system]\n  colour: 3\n",
            [
                "3: measure.precision: expected a number from 0.0001 to 0.5, got 5",
                "  hint: 1 % is 0.01",
                "4: measure.processes: expected an integer of at least 1, got 0",
                "5: measure.rounds: expected an integer of at most 1000, got 1001",
                "6: measure.max_time: expected a number from 0.001 to 3600, got '.inf'",
                "7: measure.timeout: expected a number from 0.1 to 86400, got '60'",
                QUOTES,
                "8: measure.allocator: expected steady or system, got a list of 2",
                LISTS,
                "9: measure: unknown key 'colour'",
                "  hint: known keys: processes, rounds, precision, max_time, timeout, budget, samples, allocator",
            ],
        ),
        (
            f"axes: {{{REQUIRED}}}\ncompare:\n  threshold: 5\n  beyond_l2: x\n  treshold: 0.1\n  thresholds:\n"
            "    - {dtype: bf16, threshold: 0.08}\n    - {threshold: 0.1}\n"
            "    - {dtype: float32}\n    - 3\n    - {dtyp: float32, threshold: 1}\n"
            "threshold: 3\n",
            [
                "3: compare.threshold: expected a number from 0.005 to 0.99, got 5",
                "  hint: 1 % is 0.01",
                "4: compare.beyond_l2: expected a number from 0.005 to 0.99, got 'x'",
                "5: compare: unknown key 'treshold'",
                "  hint: did you mean threshold?",
                "7: compare.thresholds[0].dtype: expected float16, bfloat16, float32 or float64, got 'bf16'",
                "  hint: did you mean bfloat16?",
                "8: compare.thresholds[1]: expected at least one setting beside the threshold",
                "  hint: set the threshold of all cases with compare.threshold",
                "9: compare.thresholds[2]: missing threshold",
                "10: compare.thresholds[3]: expected a mapping of settings and a threshold, got 3",
                "11: compare.thresholds[4]: unknown key 'dtyp'",
                "  hint: did you mean dtype?",
                "11: compare.thresholds[4].threshold: expected a number from 0.005 to 0.99, got 1",
                "  hint: 1 % is 0.01",
                "12: unknown key 'threshold'",
                "  hint: it belongs under compare",
            ],
        ),
        (
            f"axes: {{{REQUIRED}}}\ncompare: {{thresholds: {{dtype: float32, threshold: 0.1}}}}",
            ["2: compare.thresholds: expected a list of mappings, got a mapping", "  hint: put a dash before it"],
        ),
        (
            f"axes: {{{REQUIRED}}}\ncompare: 5",
            [("2: compare: expected a mapping of threshold, beyond_l2, thresholds, got 5")],
        ),
    ],
)
def test_mistakes_in_a_file(text: str, messages: list[str]) -> None:
    expected = [message if message.startswith("  hint") else f"f.yaml:{message}" for message in messages]
    assert mistakes(text) == expected


@pytest.mark.parametrize(
    ("text", "points"),
    [
        (
            (
                "axes: {in_channels: &a {from: 1, to: 1000, step: 1}, "
                "out_channels: *a, kernel_size: [1, 2], input_size: 9}"
            ),
            "2,000,000",
        ),
        (
            "axes:\n  in_channels: &a {from: 1, to: 1000, step: 1}\n"
            "  out_channels: *a\n  kernel_size: *a\n  input_size: *a\n"
            "  stride: *a\n  dilation: *a\n  batch_size: *a\n  groups: *a\n",
            f"{10**24:,}",
        ),
        (
            (
                f"axes: {{{REQUIRED}, stride: {{from: 1, to: 600000, step: 1}}}}\n"
                f"cases: [{{bias: true}}, {{bias: false}}]"
            ),
            "1,200,000",
        ),
    ],
)
def test_a_product_too_large_is_counted_before_it_is_made(text: str, points: str) -> None:
    (message, hint) = mistakes(text)
    assert message.endswith(f": axes: expected at most 1,000,000 points, got {points}")
    assert hint == "  hint: remove values, or split the sweep into several files"


def test_aliases_cannot_blow_up_a_file() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert mistakes("\n".join(lines)) == ["f.yaml:7: a6[7]: the file expands to more than 10,000,000 values"]


def test_an_alias_of_a_long_text_counts_like_the_text() -> None:
    lines = ["name: x", f"description: &a {'x' * 100_000}", f"axes: [{', '.join(['*a'] * 10_000)}]"]
    assert mistakes("\n".join(lines)) == ["f.yaml:3: axes[9989]: the file expands to more than 10,000,000 values"]


def test_a_million_points_are_allowed() -> None:
    sweep = parse(
        "axes: {in_channels: &a {from: 1, to: 1000, step: 1}, out_channels: *a, kernel_size: 1, input_size: 9}"
    )
    assert math.prod(len(axis.values) for axis in sweep.axes) == MOST_POINTS


# Much input: what a look at each entry for each point would take hours for


#: A few values of some settings, words and equal numbers among them, as they are written.
POOL: dict[str, list[object]] = {
    "in_channels": [1, 2, 4],
    "out_channels": [2, 4, "in_channels"],
    "kernel_size": [1, 3, [1, 3]],
    "stride": [1, [2, 1]],
    "padding": [0, 1, [0, 1], "half", "same"],
    "groups": [1, 2, "depthwise"],
    "batch_size": [1, None],
    "bias": [True, False],
    "memory_format": ["contiguous", "channels_last"],
    "threads": [None, 1],
    "allocator": ["steady", "system"],
    "env": [{}, {"A": "1"}],
}
points = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in POOL.items()})


@st.composite
def sweep_texts(draw: st.DrawFn) -> str:
    """A small sweep with equal values, equal cases and excludes that name any settings."""
    axes = {"in_channels": [2], "out_channels": [2], "kernel_size": [3], "input_size": [4]}
    names = draw(st.lists(st.sampled_from(sorted(POOL)), max_size=4, unique=True))
    document: dict[str, object] = {
        "axes": axes | {name: draw(st.lists(st.sampled_from(POOL[name]), min_size=1, max_size=4)) for name in names},
        "exclude": draw(st.lists(points.filter(bool), max_size=6)),
        "measure": {"allocator": draw(st.sampled_from(POOL["allocator"]))},
    }
    described = st.fixed_dictionaries({}, optional={"label": st.sampled_from("ab"), "count": st.integers(1, 3)})
    listed = draw(st.lists(st.tuples(points, described), max_size=4))
    if listed:
        document["cases"] = [given_ | more for given_, more in listed]
    return yaml.safe_dump(document, sort_keys=False)


def meaning(case: Case) -> Case:
    """The case with the input format `same` where the input has the memory format."""
    alike = case.input_format == case.memory_format
    return replace(case, input_format=InputFormat.SAME) if alike else case


def planned_point_by_point(sweep: Sweep) -> Plan:
    """The plan by its definition: every point is held against every entry of `exclude`, and against all cases."""
    points = excluded = merged = 0
    found: dict[Case, Case] = {}
    same: dict[Case, Case] = {}  # of what a case means: the first such case
    idle = set(range(len(sweep.exclude)))
    for entry in sweep.listed:
        here: set[Case] = set()
        axes = {axis.name: axis.values for axis in sweep.axes} | {name: (value,) for name, value in entry.given}
        axes.setdefault("allocator", (sweep.allocator,))
        names = sorted(axes, key=lambda name: name in CASE_SETTINGS)  # which vary fastest
        for values_ in product(*(axes[name] for name in names)):
            points += 1
            written = dict(zip(names, values_, strict=True))
            numbers: dict[str, Any] = dict(written)
            if written["out_channels"] == "in_channels":
                numbers["out_channels"] = written["in_channels"]
            if written.get("groups") == "depthwise":
                numbers["groups"] = written["in_channels"]
            if written.get("padding") == "half":
                numbers["padding"] = tuple((side - 1) // 2 for side in numbers["kernel_size"])
            problem = Problem(**{name: value for name, value in numbers.items() if name in PROBLEM_SETTINGS})
            case = Case(problem=problem, **{name: value for name, value in numbers.items() if name in CASE_SETTINGS})

            def has(name: str, value: object, case: Case = case, written: dict[str, Any] = written) -> bool:
                return value == setting(case, name) or (name in written and value == written[name])

            matching = [all(has(name, value) for name, value in wanted) for wanted in sweep.exclude]
            idle -= {number for number, matches in enumerate(matching) if matches}
            if any(matching):
                excluded += 1
            elif (case := same.setdefault(meaning(case), case)) in found:
                merged += 1
                first = found[case]
                if case not in here:
                    labels = [*(first.given_label or "").split(" + "), entry.label or ""]
                    label = " + ".join(dict.fromkeys(label for label in labels if label)) or None
                    found[case] = replace(first, given_label=label, count=first.count + entry.count)
                here.add(case)
            else:
                found[case] = replace(case, given_label=entry.label, count=entry.count)
                here.add(case)
    refused = {case: reason for case in found.values() if (reason := case.refusal())}
    return Plan(
        cases=tuple(case for case in found.values() if case not in refused),
        rejections=tuple(Rejection(label=case.label, reason=reason) for case, reason in refused.items()),
        points=points,
        merged=merged,
        excluded=excluded,
        idle=tuple(sorted(idle)),
    )


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(sweep_texts())
def test_a_plan_is_what_its_definition_says(text: str) -> None:
    planned, expected = plan(text), planned_point_by_point(parse(text))
    assert planned == expected
    assert [(c.given_label, c.count) for c in planned.cases] == [(c.given_label, c.count) for c in expected.cases]


class Watched(int):
    """A number that counts how often any of its kind is compared."""

    compared = 0
    __hash__ = int.__hash__

    def __eq__(self, other: object) -> bool:
        Watched.compared += 1
        return int(self) == other


@pytest.mark.parametrize("name", ["out_channels", "threads"])
@pytest.mark.parametrize("among", [(), (("kernel_size", (3, 3)),), (("direction", Direction.FORWARD),)])
def test_an_exclude_costs_a_point_nothing(name: str, among: Values) -> None:
    sweep = parse(
        "axes: {in_channels: 4, out_channels: {from: 1, to: 100, step: 1}, kernel_size: 3, input_size: 16,"
        " threads: {from: 1, to: 100, step: 1}}"
    )
    excludes = tuple(((name, Watched(number)), *among) for number in range(51, 2051))
    Watched.compared = 0
    planned = sweeps.cases(replace(sweep, exclude=excludes))
    assert (planned.points, planned.excluded) == (10_000, 5000)
    assert Watched.compared < 20_000, "at most once per point and once per entry, not once for each pair of them"


@pytest.mark.slow
def test_twenty_thousand_excludes_over_three_thousand_points() -> None:
    axes = (
        "axes: {in_channels: 4, out_channels: {from: 1, to: 3000, step: 1}, kernel_size: 3, input_size: 16}\nexclude:\n"
    )
    numbered = "".join(
        f"- {{out_channels: {number}, padding: half}}\n- {{out_channels: {number}, threads: null}}\n"
        for number in range(2001, 12001)
    )
    planned = plan(axes + numbered)
    assert (len(planned.cases), planned.excluded) == (2000, 1000)


def test_a_point_that_occurs_again_is_not_copied_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    copied = []
    monkeypatch.setattr(
        "convbench.sweep.expand.replace", lambda first, **values: copied.append(first) or replace(first, **values)
    )
    rows = ", ".join(["{stride: 1}"] * 5000)
    cases = plan(f"axes: {{{REQUIRED}, threads: [1, 2]}}\ncases: [{rows}]").cases
    assert [(case.count, case.threads) for case in cases] == [(5000, 1), (5000, 2)]
    assert len(copied) == 2


def test_many_sets_of_settings_in_excludes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convbench.sweep.parse.MOST_LOOKUPS", 20)
    names = ["stride: 3", "padding: 3", "dilation: 3"]
    sets = [", ".join(some) for size in (1, 2, 3) for some in combinations(names, size)]
    entries = "".join(f"- {{{some}}}\n" for some in [*sets, "stride: 4", "dilation: 4, stride: 4"])
    assert plan(f"axes: {{{REQUIRED}, threads: [1, 2]}}\nexclude:\n{entries}").excluded == 0
    message = "expected at most 6 different sets of settings for 3 points, got 7"
    hint = "  hint: use the same settings in more entries, or split the sweep into several files"
    wide = f"axes: {{{REQUIRED}, threads: [1, 2, 3]}}\n"
    assert mistakes(f"{wide}exclude:\n{entries}") == [f"f.yaml:3: exclude: {message}", hint]
    thresholds = "".join(f"  - {{{some}, threshold: 0.1}}\n" for some in sets)
    compared = f"{wide}compare:\n  thresholds:\n{thresholds}"
    assert mistakes(compared) == [f"f.yaml:3: compare.thresholds: {message}", hint]


def test_fifty_mistakes_are_reported() -> None:
    def wrong(many: int) -> SweepError:
        with pytest.raises(SweepError) as caught:
            parse(f"axes:\n  {REQUIRED.replace(', ', chr(10) + '  ')}\n  dtype:\n" + "  - floot\n" * many)
        return caught.value

    assert (len(wrong(50).mistakes), wrong(50).hint) == (50, None)
    more = wrong(10_000)
    assert (len(more.mistakes), more.hint) == (50, "these are the first 50 mistakes; correct them to see the others")
    assert [mistake.line for mistake in more.mistakes] == list(range(7, 57))


@pytest.mark.parametrize(
    "text",
    [
        "stride: 1\n" * 10_000,  # duplicate keys
        "".join(f"k{number}: 1\n" for number in range(10_000)),
        f"axes: [{', '.join(['!x 3'] * 10_000)}]",
        f"axes: {{{REQUIRED}, env: {{{', '.join(f'{number}: 1' for number in range(100))}}}}}",
        "axes: {in_channels: 3}\ncases:\n" + "- {}\n" * 10_000,
    ],
    ids=["duplicates", "unknown", "tags", "variables", "missing"],
)
def test_what_is_wrong_everywhere_is_reported_fifty_times(text: str) -> None:
    with pytest.raises(SweepError) as caught:
        parse(text)
    assert len(caught.value.mistakes) == 50
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f"axes: {{{REQUIRED}, module: a.{'b' * 197}:C}}",
            (
                "1: axes.module: expected torch.nn.Conv2d or package.module:Class, "
                f"got 'a.{'b' * 58}...'\n  hint: use at most 200 characters"
            ),
        ),
        (
            f"axes:\n  {{{REQUIRED},\n  env: {{{', '.join(f'V{number}: x' for number in range(101))}}}}}",
            "3: axes.env: expected at most 100 variables, got 101",
        ),
        (
            f"axes: {{{REQUIRED}, env: {{A: {'x' * 4000}}}, stride: {{from: 1, to: 100000, step: 1}}}}",
            "1: axes: expected at most 200,000,000 characters of env over all points, got 401,200,000"
            "\n  hint: remove values, or split the sweep into several files",
        ),
        (
            f"axes: {{{REQUIRED}}}\ncases: [{{labels: [{', '.join(f'l{number}' for number in range(1001))}]}}]",
            "2: cases[0].labels: expected at most 1,000 labels, got 1,001"
            "\n  hint: leave some out: count says how often the layer occurs",
        ),
        (
            f"axes: {{{REQUIRED}, stride: {{from: 1, to: 2000, step: 1}}}}\n"
            f"cases: [{{labels: [{', '.join(f'{number:04}{chr(120) * 196}' for number in range(1000))}]}}]",
            "1: axes: expected at most 200,000,000 characters of labels over all points, got 400,000,000"
            "\n  hint: remove values, or split the sweep into several files",
        ),
        (
            "%TAG !a! b:\n--- 3\n",
            ("1: YAML tags are not allowed, got %TAG\n  hint: remove it: values are read as they are written"),
        ),
        (
            "# a\r%TAG !a! b:\r--- 3\r",
            ("2: YAML tags are not allowed, got %TAG\n  hint: remove it: values are read as they are written"),
        ),
        (f"axes: *{'a' * 100_000}", f"1: axes: the alias *{'a' * 60}... has no anchor above it"),
    ],
)
def test_what_is_too_long(text: str, message: str) -> None:
    assert "\n".join(mistakes(text)) == f"f.yaml:{message}"


PIECES = [
    *(
        "axes",
        "cases",
        "exclude",
        "measure",
        "name",
        "seed",
        *SETTINGS,
        "label",
        "count",
        "from",
        "to",
        "times",
        "step",
    ),
    *(
        "processes",
        "precision",
        "same",
        "half",
        "depthwise",
        "null",
        "true",
        "yes",
        "3",
        "0",
        "-1",
        "1e3",
        "010",
        ".nan",
    ),
    *(
        ": ",
        ": ",
        ": ",
        "- ",
        "\n",
        "\n",
        "\n  ",
        "\n    ",
        "{",
        "}",
        "[",
        "]",
        ", ",
        "'",
        '"',
        "#",
        "|",
        ">",
        "&a ",
        "*a",
    ),
    *("!!int ", "? ", "<<", "---\n", "...\n", "%YAML 1.2\n", "\t", "\r", "\ufeff", "\u2028", "\x85", "\ud800", "\x00"),
]
yaml_texts = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


@settings(max_examples=600, deadline=None)
@given(yaml_texts | st.text(st.characters(), max_size=40))
def test_any_text_is_a_sweep_or_has_mistakes(text: str) -> None:
    try:
        sweep = parse(text)
    except SweepError as error:
        assert error.mistakes
        for mistake in error.mistakes:
            assert 1 <= mistake.line <= text.count("\n") + sum(map(text.count, "\r\x85\u2028\u2029")) + 2
            assert mistake.message == mistake.message.strip() != ""
    else:
        assert sweep.axes or sweep.listed


WORDS, KEYS = ["same", "float32"], ["from", "to", *SETTINGS]
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(WORDS)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=8,
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["axes", "cases", "exclude", "measure", "compare", "name", "seed", "x"]), values)
)
def test_any_document_is_a_sweep_or_has_mistakes(document: dict[str, object]) -> None:
    try:
        sweep = parse(yaml.safe_dump(document))
    except SweepError as error:
        assert error.mistakes
    else:
        assert sweep.axes or sweep.listed


# Files


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    def error(path: Path) -> str:
        with pytest.raises(RequestError) as caught:
            sweeps.load(path)
        assert caught.value.exit_code is ExitCode.WRONG_REQUEST
        return caught.value.message.replace(str(tmp_path), "") + f" | {caught.value.hint}".replace(str(tmp_path), "")

    (tmp_path / "sweep.yaml").write_bytes(b"name: \xff\xfe\n")
    assert (
        error(tmp_path / "sweep.yaml")
        == "/sweep.yaml: expected text in UTF-8, got other bytes at 6 | save the file as UTF-8"
    )
    assert error(tmp_path / "swep.yaml") == "/swep.yaml: no such file | did you mean /sweep.yaml?"
    assert error(tmp_path / "else" / "x.yaml") == "/else/x.yaml: no such file | None"
    assert error(tmp_path) == ": expected a sweep file, got a folder | give a file in it, for example /sweep.yaml"
    assert error(tmp_path / "a\0b") == "/a\\x00b: cannot be read: embedded null byte | None"
    assert error(tmp_path / "sweep.yaml" / "x") == "/sweep.yaml/x: cannot be read: not a directory | None"
    assert "file name too long" in error(tmp_path / ("x" * 300))
    assert error(Path("/dev/zero")) == "/dev/zero: expected at most 100 MiB, got more | give a sweep file"


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root, who may read everything, is another user meanwhile."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text("name: x\n")
    path.chmod(0)
    with as_nobody(), pytest.raises(RequestError, match="cannot be read: permission denied"):
        sweeps.load(path)


def test_a_byte_order_mark_and_windows_line_ends_are_welcome(tmp_path: Path) -> None:
    path = tmp_path / "my sweep.yaml"
    path.write_bytes(f"\ufeffaxes: {{{REQUIRED}}}\r\nseed: 3\r\n".encode())
    sweep = sweeps.load(path)
    assert (sweep.name, sweep.seed, sweep.path) == ("my sweep", 3, str(path))


# One case from the command line


def test_one_case_from_options() -> None:
    options = {"in_channels": "3", "out_channels": "10", "kernel_size": "[1, 7]", "input_size": "64"}
    more = {"padding": "half", "batch_size": "null", "groups": "1", "direction": "backward", "threads": "1"}
    case = sweeps.case_of(options | more)
    assert case.label == "unbatched c3 64x64 -> k10 1x7 s1 p0x3 backward float32 contiguous cpu t1"
    assert (
        sweeps.case_of(options | {"groups": "depthwise"}).refusal()
        == "out_channels (10) must be divisible by groups (3)"
    )


def test_wrong_options_are_reported_at_once() -> None:
    with pytest.raises(RequestError) as caught:
        sweeps.case_of({"in_channels": "3", "kernel_size": "three", "dtype": "fp32", "padding": "[1, x]", "stride": ""})
    assert caught.value.message.splitlines() == [
        "--kernel-size: expected an integer of at least 1, got 'three'",
        "--dtype: expected float16, bfloat16, float32 or float64, got 'fp32'",
        "--padding[1]: expected an integer of at least 0, got 'x'",
        "--stride: expected an integer of at least 1, got nothing",
        "missing --out-channels, --input-size",
    ]
    assert caught.value.hint == "did you mean float32?"
    with pytest.raises(
        RequestError, match=r"^--env\.A: expected text, got 1\n--env\.B: expected text, got a list"
    ) as caught:
        sweeps.case_of(
            dict.fromkeys(("in_channels", "out_channels", "kernel_size", "input_size"), "3") | {"env": "{A: 1, B: [1]}"}
        )
    assert caught.value.hint == "put it in quotes"


def test_hints_at_options_are_in_the_words_of_the_command_line() -> None:
    options = {"in_channels": "3", "out_channels": "8", "kernel_size": "3", "input_size": "24"}
    for wrong, once, repeated in (
        ({"kernel_size": "[1, 3, 5]"}, "the option takes one value", "for several values, repeat the option"),
        ({"groups": "[1, 2]"}, "the option takes one value", "for several values, repeat the option"),
        ({"groups": "stride"}, *["one setting alone can be tied to another: --out-channels in_channels"] * 2),
    ):
        with pytest.raises(RequestError) as caught:
            sweeps.case_of(options | wrong)
        assert caught.value.hint == once
        with pytest.raises(RequestError) as caught:
            sweeps.sweep_of({name: [text] for name, text in (options | wrong).items()}, {})
        assert caught.value.hint == repeated
    with pytest.raises(RequestError) as caught:
        sweeps.case_of(options | {"padding": "[0, 1, 0, 1]"})
    assert "--module package.module:Class, with --module-output-size [height, width]" in str(caught.value.hint)


# What we ship


def shipped(name: str) -> tuple[Sweep, Plan]:
    sweep = sweeps.load(ROOT / "configs" / f"{name}.yaml")
    return sweep, sweeps.cases(sweep)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_shipped_sweep_has_cases_on_one_thread(path: Path) -> None:
    sweep = sweeps.load(path)
    planned = sweeps.cases(sweep)
    assert planned.cases
    assert sweep.description
    assert {case.threads for case in planned.cases} == {1}


def test_the_main_sweep() -> None:
    sweep, planned = shipped("sweep")
    assert 100 <= len(planned.cases) <= 200
    assert planned.merged == 0
    assert {r.reason for r in planned.rejections} == {
        "padding 'same' is not defined for a stride other than 1, and the stride is 2x2"
    }
    for name in ("in_channels", "kernel_size", "stride", "padding", "batch_size"):
        assert len({getattr(case.problem, name) for case in planned.cases}) > 1
    assert {case.dtype for case in planned.cases} == {"float32", "bfloat16"}
    assert {case.direction for case in planned.cases} == {Direction.FORWARD, Direction.BACKWARD}
    timed = len(planned.cases) * sweep.measure.max_time
    assert 40 <= timed <= 60  # of about 100 s: warm-up, checks and five imports of torch come on top
    assert max(case.bytes for case in planned.cases) < 10e6


def test_the_notebook() -> None:
    sweep, planned = shipped("notebook")
    assert sweep.seed == 42
    assert {case.problem.input_shape for case in planned.cases} == {(32, 3, 64, 64), (3, 64, 64)}
    shapes = Counter((c.given_label, c.problem.output_shape) for c in planned.cases)
    assert shapes == {
        (label, (*batch, *output)): 2  # forward and backward
        for label, output in (("conv 1", (10, 62, 62)), ("conv 2", (10, 60, 60)), ("conv 3", (10, 30, 30)))
        for batch in ((32,), ())
    }


def test_resnet50() -> None:
    _, planned = shipped("resnet50")
    assert (planned.merged, planned.rejections) == (0, ())
    for direction in (Direction.FORWARD, Direction.BACKWARD):
        layers = [case for case in planned.cases if case.direction is direction]
        assert sum(case.count for case in layers) == 53
        assert len(layers) == len({case.given_label for case in layers}) == 23
        # 4.09 GMAC with padded taps is what is published for the network, of which 2 M are the last, linear layer;
        # 23.45 M of its 25.56 M parameters are convolutions.
        padded = sum(
            c.count * math.prod(c.problem.output_shape) * math.prod(c.problem.weight_shape[1:]) for c in layers
        )
        assert padded == 4_087_136_256
        assert sum(case.count * case.problem.multiply_adds for case in layers) < padded
        assert sum(case.count * case.problem.parameters for case in layers) == 23_454_912
        assert {(case.problem.bias, case.problem.batch_size) for case in layers} == {(False, 1)}


def test_the_layers_of_resnet50_fit_together() -> None:
    """Each layer reads what some other layer writes: channels and sizes agree, but for the pooling after the stem."""
    _, planned = shipped("resnet50")
    written = {(case.problem.out_channels, case.problem.output_size) for case in planned.cases}
    read = {(case.problem.in_channels, case.problem.input_size) for case in planned.cases}
    assert read - written == {(3, (224, 224))}  # (64, 56x56) after pooling is also layer1.0's own
    assert written - read == {(64, (112, 112)), (2048, (7, 7))} - read


def test_quick_is_quick() -> None:
    sweep, planned = shipped("quick")
    assert len(planned.cases) == 12
    assert sweep.measure.processes * 2.5 + len(planned.cases) * sweep.measure.max_time < 10


def test_environment_variables_are_an_axis() -> None:
    made = plan(f"axes: {{{REQUIRED}, env: [{{}}, {{B: '2', A: x y}}], cache: [hot, cold]}}")
    assert {case.env for case in made.cases} == {(), (("A", "x y"), ("B", "2"))}
    assert {case.cache for case in made.cases} == set(Cache)
    one = plan(f"axes: {{{REQUIRED}, env: {{ONEDNN_MAX_CPU_ISA: AVX2}}}}")
    assert [case.env for case in one.cases] == [(("ONEDNN_MAX_CPU_ISA", "AVX2"),)]
    rest = plan(f"axes: {{{REQUIRED}, env: [{{}}, {{A: '1', B: '2'}}]}}\nexclude: [{{env: {{B: '2', A: '1'}}}}]")
    assert [case.env for case in rest.cases] == [()]


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ("[{A: 1}]", "axes.env[0].A: expected text, got 1\n  hint: put it in quotes"),
        ("[{'A=B': x}]", "axes.env[0]: expected a variable's name, got 'A=B'"),
        ("[A]", "axes.env[0]: expected a mapping of environment variables, got 'A'"),
        ("{A: null}", "axes.env.A: expected text, got nothing"),
        ("[{A: [x]}]", "axes.env[0].A: expected text, got a list of 1"),
    ],
)
def test_what_is_no_environment_variable_is_reported(env: str, said: str) -> None:
    with pytest.raises(SweepError) as told:
        plan(f"axes: {{{REQUIRED}, env: {env}}}")
    assert said in str(told.value)


LAYER = "axes: {" + REQUIRED + "}\n"


def test_what_a_network_has_beside_the_cases_stands_under_left_out() -> None:
    found = parse(f"{LAYER}left_out:\n- {{reason: no Conv2d}}\n- {{count: 3, work: 0.125, reason: too small}}\n")
    assert [str(each) for each in found.left_out] == [
        "1 convolution: no Conv2d",
        "3 convolutions with 12.5 % of the work: too small",
    ]
    assert sweeps.notes(found, sweeps.cases(found)) == [f"left out {each}" for each in found.left_out]
    assert parse(LAYER).left_out == ()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{count: 2}", "left_out[0]: missing reason"),
        ("{count: 0, reason: x}", "left_out[0].count: expected an integer of at least 1, got 0"),
        ("{work: 3, reason: x}", "left_out[0].work: expected a number from 0 to 1, got 3"),
        ("{why: x, reason: x}", "left_out[0]: unknown key 'why'\n  hint: known keys: count, work, reason"),
    ],
)
def test_mistakes_in_what_is_left_out(entry: str, message: str) -> None:
    assert "\n".join(mistakes(f"{LAYER}left_out: [{entry}]\n")) == f"f.yaml:2: {message}"
