"""The formulas against real torch layers, both ways, and against brute force."""

from __future__ import annotations

import base64
import hashlib
import itertools
import math
import warnings
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from convbench.model.case import DTYPES, Case, MemoryFormat
from convbench.model.problem import Direction, PaddingMode, PaddingWord, Problem
from convbench.model.serial import to_json

SAME_COPIES = "Using padding='same' with even kernel lengths"


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Tiny layers gain nothing from threads, and threads that spin beside other processes cost much."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def sides(least: int, most: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(least, most), st.integers(least, most))


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Small layers, sound and unsound: about every third is one that torch refuses."""
    groups = draw(st.integers(1, 3))
    channels = st.integers(1, 3).map(lambda n: n * groups) | st.integers(1, 6)
    return Problem(
        in_channels=draw(channels),
        out_channels=draw(channels),
        kernel_size=draw(sides(1, 5)),
        input_size=draw(sides(1, 8)),
        stride=draw(st.just((1, 1)) | sides(1, 4)),
        padding=draw(sides(0, 2) | sides(0, 6) | st.sampled_from(PaddingWord)),
        dilation=draw(st.just((1, 1)) | sides(1, 3)),
        groups=groups,
        bias=draw(st.booleans()),
        padding_mode=draw(st.sampled_from(PaddingMode)),
        batch_size=draw(st.none() | st.integers(1, 3)),
    )


cases = st.builds(
    Case,
    problem=problems(),
    dtype=st.sampled_from(list(DTYPES)),
    memory_format=st.sampled_from(MemoryFormat),
)


def crashes_torch(case: Case) -> bool:
    """Layers that torch 2.13 may answer with a segmentation fault (its oneDNN reads beyond the image).

    A dilated kernel and an image one pixel wide or high: Conv2d(2, 4, (5, 1), stride=(4, 3), padding=(1, 2),
    dilation=(1, 3)) in channels_last on (3, 2, 7, 1) dies within some thousand calls. Conv2d(2, 3, (4, 2),
    padding="same", dilation=3) in bfloat16 on (1, 2, 1, 3) died in contiguous memory. Such a case costs itself alone in
    a worker, but all tests here.
    """
    return 1 in case.problem.input_size and max(case.problem.dilation) > 1


def run(case: Case) -> dict[str, tuple[int, ...] | None]:
    """Build the layer and run it forward and backward on the CPU; the shapes that torch makes."""
    p = case.problem
    dtype = getattr(torch, case.dtype)
    layer = torch.nn.Conv2d(
        p.in_channels,
        p.out_channels,
        p.kernel_size,
        stride=p.stride,
        padding=p.padding.value if isinstance(p.padding, PaddingWord) else p.padding,
        dilation=p.dilation,
        groups=p.groups,
        bias=p.bias,
        padding_mode=p.padding_mode.value,
        dtype=dtype,
    )
    x = torch.randn(p.input_shape, dtype=dtype)
    if case.memory_format is MemoryFormat.CHANNELS_LAST:
        layer = layer.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)
    x.requires_grad_()
    y = layer(x)
    gradients = torch.autograd.grad(y, (x, *layer.parameters()), torch.randn_like(y))
    assert [g.shape for g in gradients] == [x.shape, *(parameter.shape for parameter in layer.parameters())]
    return {
        "output": tuple(y.shape),
        "weight": tuple(layer.weight.shape),
        "bias": None if layer.bias is None else tuple(layer.bias.shape),
    }


def plain(**changes: object) -> Problem:
    return replace(Problem(in_channels=2, out_channels=4, kernel_size=(3, 3), input_size=(8, 8)), **changes)


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases)
@example(Case(problem=plain(padding=PaddingWord.SAME, kernel_size=(4, 2))))
@example(Case(problem=plain(padding=PaddingWord.SAME, kernel_size=(4, 2), padding_mode=PaddingMode.REFLECT)))
@example(Case(problem=plain(padding=(8, 8), padding_mode=PaddingMode.CIRCULAR)))
@example(Case(problem=plain(padding=(9, 0), padding_mode=PaddingMode.CIRCULAR)))
@example(Case(problem=plain(padding=(0, 8), padding_mode=PaddingMode.REFLECT)))
@example(Case(problem=plain(batch_size=None), memory_format=MemoryFormat.CHANNELS_LAST))
def test_torch_agrees_both_ways(case: Case) -> None:
    """All that is accepted runs with exactly the predicted shapes; all that is rejected raises."""
    assume(not crashes_torch(case))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", SAME_COPIES)
        if case.refusal() is None:
            shapes = run(case)
            p = case.problem
            assert shapes == {"output": p.output_shape, "weight": p.weight_shape, "bias": p.bias_shape}
            assert p.parameters == math.prod(p.weight_shape) + (p.out_channels if p.bias else 0)
        else:
            with pytest.raises((RuntimeError, ValueError)):
                run(case)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"groups": 4}, "in_channels (2) must be divisible by groups (4)"),
        ({"in_channels": 3, "groups": 3}, "out_channels (4) must be divisible by groups (3)"),
        (
            {"padding": PaddingWord.SAME, "stride": (1, 2)},
            "padding 'same' is not defined for a stride other than 1, and the stride is 1x2",
        ),
        (
            {"padding": (0, 8), "padding_mode": PaddingMode.REFLECT},
            "reflect padding must be smaller than the input: 8 rows at width 8",
        ),
        (
            {"padding": (9, 0), "padding_mode": PaddingMode.CIRCULAR},
            "circular padding must not wrap around more than once: 9 rows at height 8",
        ),
        ({"kernel_size": (3, 11), "padding": (1, 1)}, "the kernel (3x11) is larger than the padded input (10x10)"),
        (
            {"dilation": (1, 4)},
            "the kernel (3x3, 3x9 with dilation) is larger than the padded input (8x8)",
        ),
        ({"kernel_size": (9, 9), "padding": (1, 1)}, None),
        ({"padding": (0, 8), "padding_mode": PaddingMode.CIRCULAR}, None),
        ({"padding": (7, 7), "padding_mode": PaddingMode.REFLECT}, None),
        ({"padding": (99, 99), "padding_mode": PaddingMode.REPLICATE}, None),
        ({"padding": PaddingWord.VALID, "stride": (2, 2)}, None),
    ],
)
def test_refusals_are_in_plain_words(changes: dict[str, object], reason: str | None) -> None:
    assert plain(**changes).refusal() == reason


@pytest.mark.parametrize("kernel", list(itertools.product((1, 2, 3, 4), repeat=2)))
@pytest.mark.parametrize("dilation", [(1, 1), (2, 1), (3, 2)])
def test_same_keeps_the_size_with_even_kernels_too(kernel: tuple[int, int], dilation: tuple[int, int]) -> None:
    problem = plain(kernel_size=kernel, dilation=dilation, padding=PaddingWord.SAME, input_size=(7, 9))
    assert problem.output_size == (7, 9)
    for (before, after), k, d in zip(problem.pads, kernel, dilation, strict=True):
        assert before + after == d * (k - 1)
        assert after - before in (0, 1)  # the odd element comes after
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", SAME_COPIES)
        assert run(Case(problem=problem))["output"] == problem.output_shape


def test_same_pads_where_torch_pads() -> None:
    """With a kernel of ones on ones, the corners tell how many taps read the image: both ends must agree."""
    layer = torch.nn.Conv2d(1, 1, (4, 2), padding="same", bias=False)
    torch.nn.init.ones_(layer.weight)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.filterwarnings("ignore", SAME_COPIES)
        y = layer(torch.ones(1, 1, 8, 8))[0, 0]
    problem = plain(in_channels=1, out_channels=1, kernel_size=(4, 2), padding=PaddingWord.SAME)
    (top, bottom), (left, right) = problem.pads
    assert y[0, 0] == (4 - top) * (2 - left)
    assert y[-1, -1] == (4 - bottom) * (2 - right)


@st.composite
def of_any_rank(draw: st.DrawFn) -> Problem:
    """The same with one, two or three spatial dimensions; what is not drawn has its default."""
    rank = draw(st.integers(1, 3))
    groups = draw(st.integers(1, 2))

    def each(low: int, high: int) -> st.SearchStrategy[tuple[int, ...]]:
        return st.tuples(*(st.integers(low, high) for _ in range(rank)))

    named = {
        "stride": each(1, 3),
        "padding": each(0, 2) | st.sampled_from(PaddingWord),
        "dilation": each(1, 2),
        "padding_mode": st.sampled_from(PaddingMode),
        "batch_size": st.none() | st.integers(1, 2),
        "bias": st.booleans(),
    }
    given_ones = draw(st.sets(st.sampled_from(sorted(named))))
    return Problem(
        in_channels=groups * draw(st.integers(1, 2)),
        out_channels=groups * draw(st.integers(1, 2)),
        groups=groups,
        kernel_size=draw(each(1, 3)),
        input_size=draw(each(1, 5)),
        **{name: draw(named[name]) for name in sorted(given_ones)},
    )


def brute_force(p: Problem) -> int:
    """Multiply-adds counted one by one."""
    count = 0
    for place in itertools.product(*map(range, p.output_size)):
        for tap in itertools.product(*map(range, p.kernel_size)):
            at = [
                out * stride + k * dilation - before
                for out, stride, k, dilation, (before, _) in zip(place, p.stride, tap, p.dilation, p.pads, strict=True)
            ]
            inside = all(0 <= x < size for x, size in zip(at, p.input_size, strict=True))
            count += inside or p.padding_mode is not PaddingMode.ZEROS
    return (p.batch_size or 1) * p.out_channels * (p.in_channels // p.groups) * count


@settings(max_examples=200, deadline=None)
@given(of_any_rank())
def test_shapes_and_work_of_any_rank_are_torchs(p: Problem) -> None:
    """Shapes by torch's own layer of that rank, work counted one by one."""
    layer_of = {1: torch.nn.Conv1d, 2: torch.nn.Conv2d, 3: torch.nn.Conv3d}[p.rank]
    padding = p.padding.value if isinstance(p.padding, PaddingWord) else p.padding
    arguments = (p.in_channels, p.out_channels, p.kernel_size, p.stride, padding, p.dilation, p.groups, p.bias)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", SAME_COPIES)
        if p.refusal() is not None:
            with pytest.raises((RuntimeError, ValueError)):
                layer_of(*arguments, p.padding_mode.value)(torch.zeros(p.input_shape))
            return
        layer = layer_of(*arguments, p.padding_mode.value)
        with torch.no_grad():
            assert tuple(layer(torch.zeros(p.input_shape)).shape) == p.output_shape
    assert tuple(layer.weight.shape) == p.weight_shape
    assert p.flops(Direction.FORWARD) == 2 * brute_force(p)


@pytest.mark.parametrize(
    ("kernel", "size", "label"), [((3,), (9,), "9 -> k4 3"), ((3, 1, 2), (9, 8, 7), "9x8x7 -> k4 3x1x2")]
)
def test_defaults_follow_the_rank_and_no_id_names_them(
    kernel: tuple[int, ...], size: tuple[int, ...], label: str
) -> None:
    rank = len(kernel)
    needed = {"in_channels": 2, "out_channels": 4, "kernel_size": kernel, "input_size": size}
    short = Problem(**needed)
    spelt = Problem(**needed, stride=(1,) * rank, padding=(0,) * rank, dilation=(1,) * rank)
    assert short == spelt
    case = Case(problem=short)
    assert case.label == f"n1 c2 {label} s1 p0 forward float32 contiguous cpu"
    assert case.id == Case(problem=spelt).id
    assert to_json(short, defaults=False) == {name: to_json(value) for name, value in needed.items()}
    words = (
        f"in_channels=2;input_size={'x'.join(map(str, size))};kernel_size={'x'.join(map(str, kernel))};out_channels=4"
    )
    assert case.id == base64.b32encode(hashlib.sha256(words.encode()).digest())[:12].decode().lower()
    assert Case(problem=replace(short, dilation=(2,) * rank)).id != case.id


@settings(max_examples=150, deadline=None)
@given(problems())
def test_multiply_adds_are_the_real_taps(problem: Problem) -> None:
    assume(problem.refusal() is None)
    assert problem.multiply_adds == brute_force(problem)


sizes = st.integers(1, 40) | st.integers(1, 3000)


@settings(max_examples=150, deadline=None)
@given(kernel=sizes, more=sizes, stride=st.integers(1, 12), padding=sizes, dilation=st.integers(1, 12))
def test_multiply_adds_of_wide_kernels(kernel: int, more: int, stride: int, padding: int, dilation: int) -> None:
    size = max(1, dilation * (kernel - 1) + 1 - 2 * padding) + more
    problem = Problem(
        in_channels=1,
        out_channels=1,
        kernel_size=(1, kernel),
        input_size=(1, size),
        stride=(1, stride),
        padding=(0, padding),
        dilation=(1, dilation),
    )
    starts = range(-padding, size + padding - problem.dilated_kernel_size[1] + 1, stride)
    first = [max(0, -(start // dilation)) for start in starts]  # the first tap that is not before the input
    end = [min(kernel, max(0, -((start - size) // dilation))) for start in starts]  # the first that is behind it
    assert problem.multiply_adds == sum(max(0, last - tap) for tap, last in zip(first, end, strict=True))


def test_the_widest_kernel_is_counted_without_a_loop_over_its_taps() -> None:
    wide = Problem(in_channels=1, out_channels=1, kernel_size=(10**9, 10**9), input_size=(2**31 - 1, 2**31 - 1))
    assert wide.multiply_adds == (10**9 * (2**31 - 10**9)) ** 2
    padded = replace(wide, padding=(10**9 - 1, 10**9 - 1))
    assert padded.multiply_adds == (10**9 * (2**31 - 1)) ** 2, "each element meets each tap once"


@settings(max_examples=100, deadline=None)
@given(problems())
def test_work_of_the_directions(problem: Problem) -> None:
    assume(problem.refusal() is None)
    forward = problem.flops(Direction.FORWARD)
    assert forward == 2 * problem.multiply_adds
    assert problem.flops(Direction.GRAD_INPUT) == problem.flops(Direction.GRAD_WEIGHT) == forward
    assert problem.flops(Direction.BACKWARD) == 2 * forward
    assert problem.flops(Direction.TRAIN_STEP) == 3 * forward

    x, y, w = (math.prod(s) for s in (problem.input_shape, problem.output_shape, problem.weight_shape))
    b = problem.out_channels if problem.bias else 0
    moved = {direction: problem.elements_moved(direction) for direction in Direction}
    assert moved == {
        Direction.FORWARD: x + w + b + y,  # reads x, w, b; writes y
        Direction.BACKWARD: (y + x + w) + (x + w + b),  # reads g, x, w; writes three gradients
        Direction.GRAD_INPUT: (y + w) + x,
        Direction.GRAD_WEIGHT: (y + x) + (w + b),
        Direction.TRAIN_STEP: (x + w + b + y) + (y + x + w) + (x + w + b),
    }


@pytest.mark.parametrize(
    ("kernel", "stride", "output"), [(3, 1, (10, 62, 62)), (5, 1, (10, 60, 60)), (5, 2, (10, 30, 30))]
)
def test_outputs_of_the_notebook(kernel: int, stride: int, output: tuple[int, ...]) -> None:
    problem = Problem(
        in_channels=3,
        out_channels=10,
        kernel_size=(kernel, kernel),
        stride=(stride, stride),
        input_size=(64, 64),
        batch_size=None,
    )
    assert problem.output_shape == output
    assert replace(problem, batch_size=32).output_shape == (32, *output)


def test_real_taps_of_the_largest_sizes_are_counted_at_once() -> None:
    side = 2**31 - 1
    alone = Problem(in_channels=1, out_channels=1, kernel_size=(side, 1), input_size=(side, 1))
    assert alone.multiply_adds == side
    half = Problem(in_channels=1, out_channels=1, kernel_size=(2**30, 1), input_size=(side, 1))
    assert half.multiply_adds == 2**30 * 2**30
