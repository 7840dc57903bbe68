"""What torch's convolutions share: how a layer is made and called, and the reference for its results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..spec import Spec
from .reference import Correlation, Geometry, geometry


class Reference:
    """The correct results of a convolution; all tensors have a batch dimension and are on the CPU.

    `output_taps` and `input_taps` are the coordinates that the output and the gradient of the input read.
    """

    def __init__(self, shape: Geometry, groups: int) -> None:
        self.shape = shape
        self.groups = groups
        self.output_taps = shape.forward
        self.input_taps = shape.backward

    def filters(self, weight: Tensor) -> Tensor:
        """The module's weight as (out_channels, in_channels / groups, *kernel_size)."""
        return weight

    def weight(self, filters: Tensor) -> Tensor:
        """The module's weight from filters."""
        return filters

    def pair(self, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """(held, read): the tensors whose channels the weight's first and second dimension count.

        The weight's gradient sums products of both: each position of `held` times the element of `read` at a tap.
        """
        return g, x

    def output(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Correlation:
        """The output for the input x."""
        return Correlation(x, self._grouped(weight).transpose(1, 2), bias, self.output_taps)

    def grad_input(self, g: Tensor, weight: Tensor) -> Correlation:
        """The gradient with respect to the input, for the upstream gradient g."""
        return Correlation(g, self._grouped(weight), None, self.input_taps)

    def _grouped(self, weight: Tensor) -> Tensor:
        """(groups, out channels of a group, in channels of a group, *kernel_size)."""
        return torch.unflatten(self.filters(weight), 0, (self.groups, -1))


@dataclass(frozen=True)
class Convolution:
    """One of torch's convolution layers: its class, its number of spatial dimensions, and its channels-last format."""

    layer: type[torch.nn.Module]
    rank: int
    channels_last: torch.memory_format

    def arguments(self, spec: Spec) -> dict[str, Any]:
        """The constructor's arguments after the channels."""
        names = ("kernel_size", "stride", "padding", "dilation", "groups", "bias", "padding_mode")
        return {name: getattr(spec, name) for name in names}

    def layout(self, name: str) -> torch.memory_format:
        """The memory format with this name."""
        return self.channels_last if name == "channels_last" else torch.contiguous_format

    def aten(self, spec: Spec, pads: list[int]) -> tuple[Any, ...]:
        """The arguments of torch's kernels after their tensors, with this padding on both sides.

        They are stride, padding, dilation, whether transposed, output padding, groups.
        """
        return list(spec.stride), pads, list(spec.dilation), False, [0] * len(pads), spec.groups

    def reference(self, spec: Spec) -> Reference:
        """The reference for a layer's results."""
        shape = geometry(
            input_size=spec.input_shape[-self.rank :],
            output_size=spec.output_shape[-self.rank :],
            kernel=spec.kernel_size,
            stride=spec.stride,
            dilation=spec.dilation,
            pads=spec.pads,
            mode=spec.padding_mode,
        )
        return Reference(shape, spec.groups)
