"""The explainer's arithmetic in JavaScript says what Python and torch say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import pytest
from browser_scripts import call
from playwright.sync_api import Browser, Page
from problems import as_json, some

from convbench.model.case import DTYPES, Autocast, Case, MemoryFormat
from convbench.model.problem import Direction, PaddingMode, Problem
from convbench.report.text.explain import unread, ways_out

pytestmark = pytest.mark.browser

PROBLEMS = 3000


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    yield page
    page.close()


@pytest.fixture(scope="module")
def problems() -> list[Problem]:
    return some(1, PROBLEMS)


@pytest.fixture(scope="module")
def sound(problems: list[Problem]) -> list[Problem]:
    found = [problem for problem in problems if problem.refusal() is None]
    assert PROBLEMS / 4 < len(found) < PROBLEMS * 3 / 4
    return found


def _told(page: Page, function: str, problems: list[Problem]) -> list[object]:
    return call(page, "geometry.js", function, [[as_json(problem)] for problem in problems])


@pytest.mark.parametrize(
    ("function", "name"),
    [
        ("pads", "pads"),
        ("dilatedKernelSize", "dilated_kernel_size"),
        ("outputSize", "output_size"),
        ("inputShape", "input_shape"),
        ("weightShape", "weight_shape"),
        ("biasShape", "bias_shape"),
        ("outputShape", "output_shape"),
    ],
)
def test_shapes(page: Page, problems: list[Problem], function: str, name: str) -> None:
    expected = [json.loads(json.dumps(getattr(problem, name))) for problem in problems]
    assert _told(page, function, problems) == expected


def test_refusals_are_the_same_words(page: Page, problems: list[Problem]) -> None:
    assert _told(page, "refusal", problems) == [problem.refusal() for problem in problems]


def test_ways_out_are_the_same_in_the_same_order(page: Page, problems: list[Problem]) -> None:
    expected = [json.loads(json.dumps(ways_out(Case(problem=problem)))) for problem in problems]
    assert _told(page, "waysOut", problems) == expected


def test_a_format_that_needs_a_batch_is_refused_in_the_same_words(page: Page, problems: list[Problem]) -> None:
    cases = [Case(problem=problem, memory_format=MemoryFormat.CHANNELS_LAST) for problem in problems]
    arguments = [[as_json(case.problem), {"memory_format": "channels_last"}] for case in cases]
    assert call(page, "geometry.js", "unsuitable", arguments) == [case.unsuitable() for case in cases]
    kept = [[way for way in ways_out(case) if "memory_format" not in way] for case in cases]
    told = call(page, "geometry.js", "waysOut", arguments)
    for ours, theirs in zip(told, json.loads(json.dumps(kept)), strict=True):
        assert ours == theirs or not theirs  # a way through another format is no setting of the problem


def test_work_and_parameters(page: Page, sound: list[Problem]) -> None:
    assert _told(page, "((p) => String(multiplyAdds(p)))", sound) == [str(p.multiply_adds) for p in sound]
    assert _told(page, "((p) => String(parameters(p)))", sound) == [str(p.parameters) for p in sound]
    for direction in Direction:
        for function, number in (("flops", Problem.flops), ("elementsMoved", Problem.elements_moved)):
            told = _told(page, f"((p) => String({function}(p, '{direction}')))", sound)
            assert told == [str(number(problem, direction)) for problem in sound]


def test_bytes(page: Page, sound: list[Problem]) -> None:
    kinds = list(product(Direction, DTYPES, Autocast))
    cases = [
        Case(problem=problem, direction=direction, dtype=dtype, autocast=autocast)
        for problem, (direction, dtype, autocast) in zip(sound, kinds * (len(sound) // len(kinds) + 1), strict=False)
    ]
    arguments = [
        [as_json(case.problem), {"direction": case.direction, "dtype": case.dtype, "autocast": case.autocast}]
        for case in cases
    ]
    told = call(page, "geometry.js", "((p, execution) => String(bytesMoved(p, execution)))", arguments)
    assert told == [str(case.bytes) for case in cases]


def test_rows_never_read(page: Page, sound: list[Problem]) -> None:
    told = _told(page, "((p) => [unread(p, 0), unread(p, 1)])", sound)
    assert told == [[list(unread(p.input_size[axis], p, axis)) for axis in (0, 1)] for p in sound]
    assert any(rows for pair in told for rows in pair)


def test_who_reads_what(page: Page, sound: list[Problem]) -> None:
    """Asked tap by tap: which outputs read each row, and each row's copies on the margin."""
    few = [problem for problem in sound if max(problem.input_size) < 20]
    told = _told(
        page,
        "((p) => [0, 1].map((axis) => Array.from({length: p.input_size[axis]}, (_, row) =>"
        " [readersOf(p, axis, row), readersOfElement(p, axis, row)])))",
        few,
    )
    for problem, axes in zip(few, told, strict=True):
        for axis, rows in enumerate(axes):
            size = problem.input_size[axis]
            themselves: list[set[int]] = [set() for _ in range(size)]
            copies: list[set[int]] = [set() for _ in range(size)]
            for out, tap in product(range(problem.output_size[axis]), range(problem.kernel_size[axis])):
                at = out * problem.stride[axis] + tap * problem.dilation[axis] - problem.pads[axis][0]
                if 0 <= at < size:
                    themselves[at].add(out)
                elif problem.padding_mode is PaddingMode.ZEROS:
                    continue
                elif problem.padding_mode is PaddingMode.REPLICATE:
                    copies[min(max(at, 0), size - 1)].add(out)
                elif problem.padding_mode is PaddingMode.CIRCULAR:
                    copies[at % size].add(out)
                else:
                    copies[size - 1 - abs(size - 1 - abs(at))].add(out)
            expected = [[sorted(a), sorted(a | b)] for a, b in zip(themselves, copies, strict=True)]
            assert rows == expected


def test_a_setting_survives_an_address(page: Page, problems: list[Problem]) -> None:
    told = _told(page, "((p) => [toText(p), fromText(toText(p))])", problems)
    assert [back for _, back in told] == [as_json(problem) for problem in problems]
    assert all(set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for text, _ in told)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c3",
        "c3-5x5-k4-3",
        "c0-5x5-k4-3x3",
        "c3-9e9x5-k4-3x3",
        "c99999999999999999999-5x5-k4-3x3",
        "c3-5x5-k4-3x3-g0",
        "c3-5x5-k4-3x3-s0x1",
        "c3-5x5-k4-3x3-<b>",
        "c3-5x5-k4-3x3\n",
    ],
)
def test_an_address_that_is_no_setting_is_none(page: Page, text: str) -> None:
    assert call(page, "geometry.js", "fromText", [[text]]) == [None]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_the_numbers_are_those_of_torch(page: Page, sound: list[Problem]) -> None:
    import torch

    small = [replace(p, batch_size=None) for p in sound if max(p.input_size) < 20][:400]
    assert {p.padding_mode for p in small} == set(PaddingMode) and {1, 2, 3} <= {p.groups for p in small}
    everything = """((p) => {
      const each = (shape, value, at = []) => shape.length === 0 ? value(...at)
        : Array.from({length: shape[0]}, (_, i) => each(shape.slice(1), value, [...at, i]));
      return [each(inputShape(p), inputValue), each(weightShape(p), weightValue),
              each([p.out_channels], biasValue), each(outputShape(p), (k, i, j) => outputValue(p, k, [i, j]))];
    })"""
    told = call(page, "samples.js", everything, [[as_json(problem)] for problem in small])
    for problem, (x, w, b, y) in zip(small, told, strict=True):
        layer = torch.nn.Conv2d(
            problem.in_channels,
            problem.out_channels,
            problem.kernel_size,
            stride=problem.stride,
            padding=problem.padding if isinstance(problem.padding, tuple) else problem.padding.value,
            dilation=problem.dilation,
            groups=problem.groups,
            bias=problem.bias,
            padding_mode=problem.padding_mode.value,
            dtype=torch.float64,
        )
        with torch.no_grad():
            layer.weight.copy_(torch.tensor(w))
            if layer.bias is not None:
                layer.bias.copy_(torch.tensor(b))
            assert layer(torch.tensor(x, dtype=torch.float64)).tolist() == y, problem


@pytest.mark.parametrize("size", [10_000_000, 2**31 - 1])
def test_the_work_of_the_largest_kernels_is_counted_at_once(page: Page, size: int) -> None:
    """Not tap by tap, which blocked the page for 16 s."""
    layer = {"in_channels": 1, "out_channels": 1, "kernel_size": (3, size), "input_size": (5, size)}
    problem = Problem(**layer, stride=(1, 7), padding=(1, size // 2))
    function = """((p) => {
      const begin = performance.now();
      const found = String(multiplyAdds(p));
      return [found, tapsOnInput(p, 1, 0), performance.now() - begin];
    })"""
    ((found, taps, milliseconds),) = _told(page, function, [problem])
    assert (found, taps) == (str(problem.multiply_adds), size - size // 2)
    assert milliseconds < 1000
