"""Builds the layer of a case with its tensors, and the very callable that is checked and timed."""

from __future__ import annotations

import importlib
import math
from typing import Any, Callable, NamedTuple

import torch

Tensors = tuple[torch.Tensor, ...]

TORCH_CONV2D = "torch.nn.Conv2d"


class Spec(NamedTuple):
    """What to build. Every size comes from the conductor's own formulas, so that the check holds torch against them.

    `pads` are (before, after) for each spatial dimension, `padding` is what the constructor is given. Shapes are those
    of `torch.nn.Conv2d`: (N, C, H, W), or (C, H, W) where `batch_size` is None.
    """

    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...] | str
    dilation: tuple[int, ...]
    groups: int
    bias: bool
    padding_mode: str
    pads: tuple[tuple[int, int], ...]
    input_shape: tuple[int, ...]
    weight_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    batch_size: int | None
    direction: str
    dtype: str
    memory_format: str
    device: str
    module: str
    seed: int

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Spec:
        """The spec of a request: JSON's lists become tuples."""
        return cls(**{name: _tuples(value) for name, value in fields.items()})


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


class Layer:
    """A layer with the tensors it works on.

    `step` is one iteration of the timed body; it must run with gradients enabled as `grad` says. `note` is what a
    reader must know about how this direction is timed, or None.
    """

    spec: Spec
    module: torch.nn.Module
    x: torch.Tensor
    g: torch.Tensor | None = None
    y: torch.Tensor | None = None
    note: str | None = None

    def __init__(self, spec: Spec, device: torch.device) -> None:
        self.spec = spec
        self.grad = spec.direction != "forward"
        dtype = getattr(torch, spec.dtype)
        layout = torch.channels_last if spec.memory_format == "channels_last" else torch.contiguous_format
        generator = torch.Generator(device).manual_seed(spec.seed)
        random: dict[str, Any] = {"generator": generator, "dtype": dtype, "device": device}

        self.module = _construct(spec, device, dtype)
        if spec.memory_format == "channels_last":
            self.module = self.module.to(memory_format=layout)  # type: ignore[call-overload]
        with torch.no_grad():
            fan_in = math.prod(spec.weight_shape[1:])
            for parameter in (self.weight, self.bias):
                if parameter is not None:
                    parameter.copy_(torch.randn(parameter.shape, **random) / math.sqrt(fan_in))
        # Drawn contiguous and then converted: torch draws into channels_last nine times slower.
        self.x = torch.randn(spec.input_shape, **random).contiguous(memory_format=layout)
        if self.grad:
            self.x.requires_grad_()
            y = self.module(self.x).detach()
            self.g = torch.empty_like(y).copy_(torch.randn(y.shape, **random))
        self.step = self._make_step()
        self.rebuild()

    @property
    def weight(self) -> torch.Tensor:
        """The module's weight; raises TypeError where it has none."""
        weight = getattr(self.module, "weight", None)
        if not isinstance(weight, torch.Tensor):
            raise TypeError(f"{self.spec.module} has no tensor `weight`, which torch.nn.Conv2d has")
        return weight

    @property
    def bias(self) -> torch.Tensor | None:
        """The module's bias, or None."""
        bias = getattr(self.module, "bias", None)
        return bias if isinstance(bias, torch.Tensor) else None

    @property
    def _leaves(self) -> Tensors:
        return (self.x, self.weight) if self.bias is None else (self.x, self.weight, self.bias)

    def tensors(self) -> dict[str, torch.Tensor]:
        """The tensors that the step reads, by name; values are copied into them in place."""
        named = {"x": self.x, "weight": self.weight, "bias": self.bias, "g": self.g}
        return {name: tensor for name, tensor in named.items() if tensor is not None}

    def rebuild(self) -> None:
        """Build the graph anew, outside the timed stretch, after values were copied into the tensors."""
        if self.spec.direction in ("backward", "grad_input", "grad_weight") and self.note != KERNEL_ALONE:
            self.y = None
            with torch.enable_grad():
                self.y = self.module(self.x)

    def results(self) -> dict[str, torch.Tensor]:
        """Run the step once; what it produced by name: output, grad_input, grad_weight, grad_bias."""
        with torch.set_grad_enabled(self.grad):
            if self.spec.direction == "train_step":
                output = self._train()
                grads = [leaf.grad for leaf in self._leaves]
                self._clear()
                found = dict(zip(_GRADIENTS, grads))
                return {"output": output.detach(), **{k: v for k, v in found.items() if v is not None}}
            produced = self.step()
        if self.spec.direction == "forward":
            return {"output": produced}
        names = {"grad_input": _GRADIENTS[:1], "grad_weight": _GRADIENTS[1:]}.get(self.spec.direction, _GRADIENTS)
        tensors = [tensor for tensor in produced if tensor is not None]
        if self.spec.batch_size is None and self.note == KERNEL_ALONE:
            tensors = [t.squeeze(0) if t.dim() == 4 and name == "grad_input" else t for name, t in zip(names, tensors)]
        return dict(zip(names, tensors))

    def _make_step(self) -> Callable[[], Any]:
        direction, x, module, g = self.spec.direction, self.x, self.module, self.g
        if direction == "forward":
            return lambda: module(x)
        if direction == "train_step":
            train, clear = self._train, self._clear

            def train_step() -> None:
                train()
                clear()

            return train_step
        if direction in ("grad_input", "grad_weight") and self._kernel_applies():
            self.note = KERNEL_ALONE
            return self._make_kernel_step()
        wanted = {"grad_input": self._leaves[:1], "grad_weight": self._leaves[1:]}.get(direction, self._leaves)
        if direction != "backward":
            self.note = "through autograd"
        grad = torch.autograd.grad
        return lambda: grad(self.y, wanted, g, retain_graph=True)  # type: ignore[arg-type]  # y is built by then

    def _kernel_applies(self) -> bool:
        """Whether aten's kernel alone computes this layer's gradient: torch's module, the same zeros on both sides."""
        spec = self.spec
        symmetric = all(before == after for before, after in spec.pads)
        return spec.module == TORCH_CONV2D and spec.padding_mode == "zeros" and symmetric

    def _make_kernel_step(self) -> Callable[[], Any]:
        spec = self.spec
        backward = torch.ops.aten.convolution_backward.default
        x, g, weight = self.x.detach(), self.g, self.weight.detach()
        assert g is not None
        if spec.batch_size is None:
            x, g = x.unsqueeze(0), g.unsqueeze(0)
        bias_sizes = [spec.out_channels] if spec.bias else None
        pads = [before for before, _ in spec.pads]
        stride, dilation = list(spec.stride), list(spec.dilation)
        mask = [True, False, False] if spec.direction == "grad_input" else [False, True, spec.bias]
        rest = (bias_sizes, stride, pads, dilation, False, [0] * len(pads), spec.groups, mask)
        return lambda: backward(g, x, weight, *rest)

    def _train(self) -> torch.Tensor:
        y: torch.Tensor = self.module(self.x)
        y.backward(self.g)  # type: ignore[no-untyped-call]  # untyped in torch
        return y

    def _clear(self) -> None:
        for leaf in self._leaves:
            leaf.grad = None


_GRADIENTS = ("grad_input", "grad_weight", "grad_bias")
KERNEL_ALONE = "aten.convolution_backward alone"


def _construct(spec: Spec, device: torch.device, dtype: torch.dtype) -> torch.nn.Module:
    """The module, its parameters not yet given values."""
    arguments = {
        "kernel_size": spec.kernel_size,
        "stride": spec.stride,
        "padding": spec.padding,
        "dilation": spec.dilation,
        "groups": spec.groups,
        "bias": spec.bias,
        "padding_mode": spec.padding_mode,
    }
    if spec.module == TORCH_CONV2D:
        module = torch.nn.utils.skip_init(  # type: ignore[no-untyped-call]  # untyped in torch
            torch.nn.Conv2d, spec.in_channels, spec.out_channels, device=device, dtype=dtype, **arguments
        )
        assert isinstance(module, torch.nn.Module)
        return module
    cls = find_module(spec.module)
    module = cls(spec.in_channels, spec.out_channels, **arguments)
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"{spec.module} makes a {type(module).__name__}, not a torch.nn.Module")
    return module.to(device=device, dtype=dtype)


def find_module(name: str) -> Callable[..., Any]:
    """The class named `package.module:Class`; raises ImportError or AttributeError with the reason."""
    path, _, attribute = name.partition(":")
    found: Any = importlib.import_module(path)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found  # type: ignore[no-any-return]  # whatever the user names; its result is checked to be a module
