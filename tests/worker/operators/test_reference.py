"""The reference against torch's own convolution in float64, which the reference itself never calls."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from convbench.model.problem import PaddingMode, PaddingWord, Problem
from convbench.worker.operators import reference
from convbench.worker.operators.conv import Reference

F64 = torch.float64


class Known(NamedTuple):
    """Random tensors of a layer, and what torch makes of them."""

    x: Tensor
    weight: Tensor
    bias: Tensor
    g: Tensor
    output: Tensor
    grad_input: Tensor
    grad_weight: Tensor
    grad_bias: Tensor
    shape: reference.Geometry


def known(problem: Problem, seed: int = 0) -> Known:
    generator = torch.Generator().manual_seed(seed)
    shapes = (problem.input_shape, problem.weight_shape, (problem.out_channels,))
    x, weight, bias = (torch.randn(s, generator=generator, dtype=F64).requires_grad_() for s in shapes)
    mode = "constant" if problem.padding_mode is PaddingMode.ZEROS else str(problem.padding_mode)
    (top, bottom), (left, right) = problem.pads
    padded = torch.nn.functional.pad(x, (left, right, top, bottom), mode=mode)
    y = torch.nn.functional.conv2d(padded, weight, bias, problem.stride, 0, problem.dilation, problem.groups)
    g = torch.randn(y.shape, generator=generator, dtype=F64)
    grads = torch.autograd.grad(y, (x, weight, bias), g)
    shape = reference.geometry(
        input_size=problem.input_size,
        output_size=problem.output_size,
        kernel=problem.kernel_size,
        stride=problem.stride,
        dilation=problem.dilation,
        pads=problem.pads,
        mode=str(problem.padding_mode),
    )
    return Known(x.detach(), weight.detach(), bias.detach(), g, y.detach(), *grads, shape)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    groups = draw(st.integers(1, 3))
    side = st.integers(1, 4)
    pair = st.tuples(side, side)
    return draw(
        st.builds(
            Problem,
            in_channels=side.map(lambda c: c * groups),
            out_channels=side.map(lambda c: c * groups),
            kernel_size=pair,
            input_size=st.tuples(st.integers(3, 9), st.integers(3, 9)),
            stride=pair,
            padding=st.tuples(st.integers(0, 4), st.integers(0, 4)) | st.sampled_from(PaddingWord),
            dilation=st.tuples(st.integers(1, 3), st.integers(1, 3)),
            groups=st.just(groups),
            padding_mode=st.sampled_from(PaddingMode),
            batch_size=side,
        ).filter(lambda problem: problem.refusal() is None)
    )


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def everywhere(of: reference.Correlation, images: int) -> reference.Places:
    """Every element of a correlation's result."""
    at = torch.cartesian_prod(torch.arange(images), *(torch.arange(size) for size in of.size))
    return reference.Places(at[:, 0], tuple(at[:, 1:].unbind(1)), torch.arange(of.weight.shape[2]))


@settings(max_examples=100, deadline=None)
@given(problems(), st.integers(0, 9))
def test_elements_and_checksums_are_torchs(problem: Problem, seed: int) -> None:
    layer, groups = known(problem, seed), problem.groups
    of_layer = Reference(layer.shape, groups)
    correlations = (
        (of_layer.output(layer.x, layer.weight, layer.bias), layer.output),
        (of_layer.grad_input(layer.g, layer.weight), layer.grad_input),
    )
    generator = torch.Generator().manual_seed(seed)
    for of, expected in correlations:
        images, channels = expected.shape[:2]
        found = reference.elements(of, everywhere(of, images), F64)
        close(found.reshape(images, *of.size, channels).movedim(-1, 1), expected)
        first, second = (torch.randn(n, generator=generator, dtype=F64) for n in (images, channels))
        total = torch.einsum("n,c,nc...->...", first, second, expected)
        close(reference.checksum(of, first, second), total)
        close(reference.combine(expected, first, second), total)

    inputs = problem.in_channels // groups
    held, read = of_layer.pair(layer.x, layer.g)
    for tap in torch.cartesian_prod(*(torch.arange(side) for side in problem.kernel_size)).tolist():
        found = reference.grad_weight_elements(held, read, layer.shape, groups, tuple(tap), torch.arange(inputs), F64)
        close(found, layer.grad_weight[:, :, tap[0], tap[1]])
    first, second = (torch.randn(n, generator=generator, dtype=F64) for n in (problem.out_channels, inputs))
    total = torch.einsum("c,k,ck...->...", first, second, layer.grad_weight)
    close(reference.grad_weight_checksum(held, read, layer.shape, groups, first, second), total)
    close(reference.combine(layer.grad_weight, first, second), total)
    close(reference.grad_bias(layer.g), layer.grad_bias)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(3, 5, 7, 4), (1, 300, 40, 30), (70, 2, 3, 400), (2, 1, 1, 1)])
def test_combine_reads_either_memory_format_in_any_number_of_chunks(
    shape: tuple[int, ...], memory_format: torch.memory_format
) -> None:
    tensor = torch.randn(shape).contiguous(memory_format=memory_format)
    first, second = torch.randn(shape[0], dtype=F64), torch.randn(shape[1], dtype=F64)
    close(reference.combine(tensor, first, second), torch.einsum("n,c,nc...->...", first, second, tensor.double()))
    close(reference.combine(tensor, first, None), torch.einsum("n,n...->...", first, tensor.double()))


@pytest.mark.parametrize(
    ("mode", "table"),
    [
        ("zeros", [-1, -1, 0, 1, 2, -1]),
        ("reflect", [2, 1, 0, 1, 2, 1]),
        ("replicate", [0, 0, 0, 1, 2, 2]),
        ("circular", [1, 2, 0, 1, 2, 0]),
    ],
)
def test_padding_is_a_table_of_input_coordinates(mode: str, table: list[int]) -> None:
    shape = reference.geometry(
        input_size=(3,), output_size=(3,), kernel=(2,), stride=(2,), dilation=(1,), pads=((2, 1),), mode=mode
    )
    assert shape.padded[0].tolist() == table
    assert shape.forward[0].tolist() == [[table[0:5:2], table[1:6:2]]]
    for tap, inputs in enumerate(shape.backward[0].movedim(1, 0).tolist()):
        for coordinate in range(3):
            meeting = sorted(row[coordinate] for row in inputs if row[coordinate] >= 0)
            assert meeting == [o for o in range(3) if table[2 * o + tap] == coordinate]


@pytest.mark.parametrize("axes", [1, 3])
def test_other_numbers_of_axes_work_alike(axes: int) -> None:
    """Nothing in the reference is two-dimensional: Conv1d and Conv3d can follow."""
    size, kernel = (6, 5, 4)[:axes], (3, 2, 1)[:axes]
    out = tuple(s - k + 1 for s, k in zip(size, kernel, strict=True))
    ones = (1,) * axes
    shape = reference.geometry(
        input_size=size, output_size=out, kernel=kernel, stride=ones, dilation=ones, pads=((0, 0),) * axes, mode="zeros"
    )
    x, weight = torch.randn(2, 4, *size, dtype=F64), torch.randn(6, 2, *kernel, dtype=F64)
    convolve = {1: torch.nn.functional.conv1d, 3: torch.nn.functional.conv3d}[axes]
    expected = convolve(x, weight, groups=2)
    first, second = torch.randn(2, dtype=F64), torch.randn(6, dtype=F64)
    of = Reference(shape, 2).output(x, weight, None)
    close(reference.checksum(of, first, second), torch.einsum("n,c,nc...->...", first, second, expected))
    found = reference.elements(of, everywhere(of, 2), F64)
    close(found.reshape(2, *out, 6).movedim(-1, 1), expected)


def test_an_unknown_padding_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown padding mode 'mirror'"):
        reference.geometry(
            input_size=(3,), output_size=(3,), kernel=(1,), stride=(1,), dilation=(1,), pads=((0, 0),), mode="mirror"
        )
