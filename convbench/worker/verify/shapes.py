"""Checks of a layer and its results without their values: shapes, dtypes, devices."""

from __future__ import annotations

import torch
from torch import Tensor

from ..layer import Layer
from ..spec import Spec


def built_output(layer: Layer) -> Tensor | None:
    """The output from building the layer, or a tensor of its shape; None where there is none."""
    return layer.operands.g if layer.operands.y is None else layer.operands.y


def wrong_build(layer: Layer) -> str | None:
    """What is wrong with the layer before anything runs: shapes, dtypes and devices of its tensors."""
    spec = layer.spec
    if spec.bias != (layer.operands.bias is not None):
        return "bias is missing" if spec.bias else "bias is there, should be none"
    expected = {
        "weight": spec.weight_shape,
        "bias": (spec.out_channels,),
        "x": spec.input_shape,
        "output": spec.output_shape,
    }
    named = {**layer.operands.tensors(), "output": built_output(layer)}
    for name, shape in expected.items():
        tensor = named.get(name)
        if tensor is not None:
            wrong = unlike(name, tensor, shape, spec)
            if wrong:
                return wrong
    return None


def unlike(name: str, tensor: Tensor, shape: tuple[int, ...], spec: Spec) -> str | None:
    """How a tensor's shape, dtype or device differs from the expected one; None where none differs."""
    dtype = str(tensor.dtype).replace("torch.", "")
    expected = spec.compute_dtype if name == "output" else spec.dtype
    if tuple(tensor.shape) != tuple(shape):
        may_pad = name == "output" and not spec.is_torchs and not spec.pads_itself
        declare = "; module_output_size declares the output of a module that pads by itself" if may_pad else ""
        return f"{name} has shape {_shape(tensor.shape)}, should be {_shape(shape)}{declare}"
    if dtype != expected:
        return f"{name} has dtype {dtype}, should be {expected}"
    # A backend may have renamed its type: torch then gives a device named privateuseone the new type.
    if spec.device != "accelerator" and torch.device(spec.device).type != tensor.device.type:
        return f"{name} is on {tensor.device.type}, should be on {spec.device}"
    return None


def result_shapes(spec: Spec) -> dict[str, tuple[int, ...]]:
    """The shape of each result, by name."""
    return {
        "output": spec.output_shape,
        "grad_input": spec.input_shape,
        "grad_weight": spec.weight_shape,
        "grad_bias": (spec.out_channels,),
    }


def batched(spec: Spec, name: str, tensor: Tensor) -> Tensor:
    """The tensor on the CPU, with a batch dimension where it is an image or a batch."""
    tensor = tensor.detach().to("cpu")
    return tensor.unsqueeze(0) if spec.batch_size is None and name in ("x", "g", "output", "grad_input") else tensor


def widened(tensor: Tensor) -> Tensor:
    """The tensor, converted exactly to a dtype for which older torch also has all functions on the CPU."""
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.to(torch.float32)


def _shape(shape: tuple[int, ...] | torch.Size) -> str:
    return "x".join(str(size) for size in shape)


def index_text(index: list[int]) -> str:
    """`[0, 3, 2, 2]`."""
    return "[" + ", ".join(str(at) for at in index) + "]"
