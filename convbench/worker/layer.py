"""Builds the layer of a case with its tensors, and the callable that is both verified and timed."""

from __future__ import annotations

import contextlib
import importlib
import math
from collections.abc import Iterator
from time import perf_counter
from typing import Any, Callable

import torch

from .compiled import Compiled, captures_graphs
from .graphs import Captured
from .operators import OPERATORS
from .spec import Spec

Tensors = tuple[torch.Tensor, ...]
Step = Callable[[], Any]


class Operands:
    """The tensors of one iteration, and the output `y` of its graph where the direction needs one.

    x has the input's shape, g the output's; weight and bias are those of a module.
    """

    def __init__(
        self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, g: torch.Tensor | None
    ) -> None:
        self.x = x
        self.weight = weight
        self.bias = bias
        self.g = g
        self.y: torch.Tensor | None = None

    @property
    def leaves(self) -> Tensors:
        """The tensors whose gradients are computed."""
        return (self.x, self.weight) if self.bias is None else (self.x, self.weight, self.bias)

    def tensors(self) -> dict[str, torch.Tensor]:
        """The tensors that the step reads, by name; values are copied into them in place."""
        named = {"x": self.x, "weight": self.weight, "bias": self.bias, "g": self.g}
        return {name: tensor for name, tensor in named.items() if tensor is not None}


class Layer:
    """A layer with its operands.

    `step` is one iteration of the timed computation, to be run within `mode`. `note` is a remark for readers about how
    this direction is timed, or None.
    """

    def __init__(self, spec: Spec, device: torch.device) -> None:
        self.spec = spec
        self.grad = spec.direction != "forward"
        self._device = device
        self._operator = OPERATORS[spec.operator]
        dtype = getattr(torch, spec.dtype)
        layout = self._operator.layout(spec.memory_format)
        generator = torch.Generator(device).manual_seed(spec.seed)
        random: dict[str, Any] = {"generator": generator, "device": device}

        module: Any = self._built(device, dtype)  # torch's types lack `to(memory_format=...)`
        self.module: torch.nn.Module = module
        if spec.memory_format == "channels_last":
            self.module = module.to(memory_format=layout)
        weight, bias = self._parameters()
        self._given = [copy_of(tensor) for tensor in (weight, bias)] if spec.weights == "given" else [None, None]
        with torch.no_grad():
            fan_in = math.prod(spec.weight_shape[1:])
            for parameter in (weight, bias):
                if parameter is not None:
                    parameter.copy_(torch.randn(parameter.shape, dtype=dtype, **random).div_(math.sqrt(fan_in)))
        of_input, of_weight = _KERNEL_MASKS.get(spec.direction, (True, True))
        self._compiled = Compiled(self.module, spec) if spec.execution == "compiled" else None
        if self._compiled:
            self.module.requires_grad_(self.grad and of_weight)  # compiled backward computes every gradient that it may
        #: The module, or what torch compiled of it.
        self._forward: Callable[[torch.Tensor], Any] = self._compiled.forward if self._compiled else self.module
        self._overwrites = self._compiled is not None and captures_graphs(spec, device)
        # Drawn contiguous and then converted, because torch draws nine times slower into channels_last.
        x = self._laid_out(torch.randn(spec.input_shape, dtype=dtype, **random))
        g = y = None
        self.begun_s, is_graph = 0.0, spec.execution == "graph"
        if self.grad:
            x.requires_grad_(self._compiled is None or of_input)
            before = perf_counter()
            # A graph's gradients must not hang on what ran on another stream.
            with self._on_device(), torch.set_grad_enabled(not is_graph), self._autocast(), self._compiling():
                y = self._forward(x)
            # A train step begins with forward, and compiling does, so the first call is this forward and `first_step`.
            if spec.direction == "train_step" or self._compiled:
                self.begun_s = perf_counter() - before
            g = torch.empty_like(y, requires_grad=False).copy_(torch.randn(y.shape, dtype=y.dtype, **random))
        self.operands = Operands(x, weight, bias, g)
        self._kernels_alone = self._kernels_apply()
        self.note = self._noted()
        self.step = self.step_on(self.operands)
        self.first_step = self._rest_of_training(y) if spec.direction == "train_step" and y is not None else self.step
        self._captured = None
        if is_graph:
            before = perf_counter()
            with self.mode():
                self._captured = Captured(self.step, self.named)
            self.step = self.first_step = self._captured.replay
            self.begun_s += perf_counter() - before
        if self._compiled:
            self.first_step = self._compiling_step(self._compiled, self.first_step)
        self.rebuild()

    def _compiling(self) -> contextlib.AbstractContextManager[None]:
        """The context of a call that may compile the layer."""
        return self._compiled.compiling() if self._compiled else contextlib.nullcontext()

    def _compiling_step(self, compiled: Compiled, step: Step) -> Step:
        """The first step of a compiled layer: it compiles what is left, and notes how inductor lays tensors out."""

        def first_step() -> Any:
            with compiled.compiling():
                produced = step()
            self.note = "; ".join(filter(None, (self.note, compiled.layouts()))) or None
            return produced

        return first_step

    def _noted(self) -> str | None:
        """What readers of the times must know about the direction and the weights."""
        notes = []
        if self._kernels_alone:
            notes.append(KERNEL_ALONE)
        elif self.spec.direction in ("grad_input", "grad_weight") or (
            self._compiled and self.spec.direction in _REPEATED
        ):
            notes.append("through autograd")
        if self.spec.weights == "normal" and not self.spec.is_torchs:
            notes.append(REPLACED)
        return "; ".join(notes) or None

    def _laid_out(self, x: torch.Tensor) -> torch.Tensor:
        """The input in its format; a strided one is the left half of a tensor twice as wide, so that rows have gaps."""
        spec = self.spec
        layout = self._operator.layout(spec.input_order)
        if spec.input_format != "strided":
            return x.contiguous(memory_format=layout)
        wide = (*x.shape[:-1], 2 * x.shape[-1])
        return torch.empty(wide, dtype=x.dtype, device=x.device, memory_format=layout)[..., : x.shape[-1]].copy_(x)

    def _built(self, device: torch.device, dtype: torch.dtype) -> torch.nn.Module:
        """The module; where its own weights are timed, they are the same in each process."""
        if self.spec.weights != "given":
            return self._constructed(device, dtype)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.spec.seed)
            return self._constructed(device, dtype)

    def _constructed(self, device: torch.device, dtype: torch.dtype) -> torch.nn.Module:
        """The module; torch's has uninitialized parameters where others are timed."""
        spec, operator = self.spec, self._operator
        channels, arguments = (spec.in_channels, spec.out_channels), operator.arguments(spec)
        if spec.is_torchs and spec.weights == "given":
            return operator.layer(*channels, device=device, dtype=dtype, **arguments)
        if spec.is_torchs:
            own: torch.nn.Module = operator.layer(*channels, device="meta", dtype=dtype, **arguments)
            # `to_empty` and `skip_init` of torch import sympy, which takes 0.25 s.
            for name, parameter in list(own.named_parameters()):
                empty = torch.empty(parameter.shape, dtype=dtype, device=device)
                setattr(own, name, torch.nn.Parameter(empty))
            return own
        module = find_module(spec.module)(*channels, **arguments)
        if not isinstance(module, torch.nn.Module):
            raise TypeError(f"{spec.module} makes a {type(module).__name__}, not a torch.nn.Module")
        return module.to(device=device, dtype=dtype)

    def _parameters(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The module's weight and bias; raises TypeError where it has no weight."""
        weight, bias = getattr(self.module, "weight", None), getattr(self.module, "bias", None)
        if not isinstance(weight, torch.Tensor):
            raise TypeError(f"{self.spec.module} has no tensor `weight`, which {self.spec.operator} has")
        return weight, bias if isinstance(bias, torch.Tensor) else None

    def output_of(self, x: torch.Tensor) -> torch.Tensor:
        """The module's output for an input, without gradients."""
        with torch.no_grad(), self._autocast():
            output: torch.Tensor = self.module(x)
            return output

    @contextlib.contextmanager
    def mode(self) -> Iterator[None]:
        """The modes of torch for iterations: gradients where the direction needs them, autocast for forward."""
        forward = self.spec.direction == "forward"
        autocast = self._autocast() if forward else contextlib.nullcontext()
        with self._on_device(), torch.set_grad_enabled(self.grad), autocast:
            yield

    def _on_device(self) -> contextlib.AbstractContextManager[Any]:
        """The layer's device as the current one, on whose streams compiled code and graphs run."""
        is_eager = self.spec.execution == "eager"
        return contextlib.nullcontext() if is_eager or self._device.type != "cuda" else torch.cuda.device(self._device)

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The case's autocast. Its cache is off, so that each iteration casts the weight, as in training."""
        if self.spec.autocast == "none":
            return contextlib.nullcontext()
        dtype = getattr(torch, self.spec.autocast)
        return torch.autocast(self._device.type, dtype=dtype, cache_enabled=False)

    def rebuild(self) -> None:
        """Build the graph again after values were copied into the operands; this is not timed."""
        self.build_graph(self.operands)

    def build_graph(self, operands: Operands) -> None:
        """Run forward on these operands where the direction needs its graph; they must be the module's."""
        if self.spec.direction in _REPEATED and not self._kernels_alone:
            operands.y = None
            with torch.enable_grad(), self._autocast():
                operands.y = self._forward(operands.x)

    def set_data(self) -> None:
        """Set the operands to the values with which the case is timed."""
        spec, of = self.spec, self.operands
        if spec.times_checked_data:
            return
        with torch.no_grad():
            for tensor in (of.x, of.g):
                if tensor is not None and spec.data != "normal":
                    # Normally distributed numbers times this factor are denormal, except for a few.
                    tensor.mul_(0.0 if spec.data == "zeros" else torch.finfo(tensor.dtype).tiny / 4)
            for tensor, given in zip((of.weight, of.bias), self._given):
                if tensor is not None:
                    _set_weights(tensor, spec.weights, given)
        self.rebuild()

    def results(self) -> dict[str, torch.Tensor]:
        """Run the step once; its results by name: output, grad_input, grad_weight, grad_bias."""
        with self.mode():
            if self._captured:
                return self._captured.results()
            found = self.named(self.step())
        # The memory of a graph's results is overwritten by the next call.
        return {name: tensor.clone() for name, tensor in found.items()} if self._overwrites else found

    def run(self) -> None:
        """Run the step once, and nothing else; its results are dropped."""
        with self.mode():
            self.step()
        clear(self.operands)

    def named(self, produced: Any) -> dict[str, torch.Tensor]:
        """The results by name of the call of `step` that returned `produced`, if no other call came after it.

        A train step leaves its gradients in the operands, from which they are taken.
        """
        direction = self.spec.direction
        if direction == "train_step":
            grads = [leaf.grad for leaf in self.operands.leaves]
            clear(self.operands)
            found = dict(zip(_GRADIENTS, grads))
            return {"output": produced.detach(), **{k: v for k, v in found.items() if v is not None}}
        if direction == "forward":
            return {"output": produced}
        names = PRODUCES.get(direction, _GRADIENTS)
        tensors = [tensor for tensor in produced if tensor is not None]
        if self.spec.batch_size is None and self._kernels_alone:
            tensors = [t.squeeze(0) if name == "grad_input" else t for name, t in zip(names, tensors)]
        return dict(zip(names, tensors))

    def use(self, operands: Operands) -> None:
        """Set the module's parameters `weight` and `bias`, where it has them, to those of these operands."""
        own: dict[str, Any] = self.module._parameters
        own.update({name: getattr(operands, name) for name in ("weight", "bias") if name in own})

    def step_on(self, operands: Operands) -> Step:
        """One iteration of the timed computation on these operands, which must be the module's while it runs."""
        direction, x, g, forward = self.spec.direction, operands.x, operands.g, self._forward
        if direction == "forward":
            return lambda: forward(x)
        if direction == "train_step":
            train = self._train

            def train_step() -> Any:
                clear(operands)
                return train(operands)

            return train_step
        if self._kernels_alone:
            return self._kernel_step(operands)
        leaves = operands.leaves
        wanted = {"grad_input": leaves[:1], "grad_weight": leaves[1:]}.get(direction, leaves)
        grad: Any = torch.autograd.grad  # its types forbid None; `operands.y` is a tensor when it is called
        return lambda: grad(operands.y, wanted, g, retain_graph=True)

    def _kernels_apply(self) -> bool:
        """Whether only aten's kernel is timed; a graph has no other backward than the kernel."""
        spec = self.spec
        if spec.direction == KERNELS and not spec.has_one_backward_kernel:
            raise ValueError("this layer's backward is not one kernel call")
        if spec.execution == "compiled":
            return False
        of_graph = spec.execution == "graph" and spec.direction == "backward"
        return spec.has_one_backward_kernel and (spec.direction in _KERNEL_MASKS or of_graph)

    def _kernel_step(self, operands: Operands) -> Step:
        spec = self.spec
        backward = torch.ops.aten.convolution_backward.default
        x, g, weight = operands.x.detach(), operands.g, operands.weight.detach()
        assert g is not None
        if spec.batch_size is None:
            x, g = x.unsqueeze(0), g.unsqueeze(0)
        bias_sizes = [spec.out_channels] if spec.bias else None
        of_input, of_weight = _KERNEL_MASKS.get(spec.direction, (True, True))
        mask = [of_input, of_weight, of_weight and spec.bias]
        rest = (bias_sizes, *self._operator.aten(spec, [before for before, _ in spec.pads]), mask)
        return lambda: backward(g, x, weight, *rest)

    def _rest_of_training(self, y: torch.Tensor) -> Step:
        """The rest of the first train step after its forward, whose result is `y`; run it once."""
        kept: list[Any] = [y]  # torch has no types for `backward`

        def rest() -> None:
            kept.pop().backward(self.operands.g)
            clear(self.operands)

        return rest

    def _train(self, operands: Operands) -> Any:
        """Forward and backward; returns the output, a tensor."""
        if self.spec.autocast == "none":
            y = self._forward(operands.x)
        else:
            with self._autocast():
                y = self._forward(operands.x)
        y.backward(operands.g)
        return y


def copy_of(tensor: Any) -> Any:
    """A copy of a tensor with its strides, as a leaf with the same `requires_grad`; None for None."""
    if tensor is None:
        return None
    copy = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device)
    copy.copy_(tensor.detach())
    if isinstance(tensor, torch.nn.Parameter):  # a compiled module takes no other kind of tensor for one
        return torch.nn.Parameter(copy, requires_grad=tensor.requires_grad)
    return copy.requires_grad_(tensor.requires_grad)


def _set_weights(tensor: torch.Tensor, kind: str, given: torch.Tensor | None) -> None:
    """Set weight or bias to `given` values, to zeros, or to numbers that are all denormal, of either sign."""
    if kind == "zeros":
        tensor.zero_()
    elif kind == "denormal":
        half = torch.full_like(tensor, torch.finfo(tensor.dtype).tiny / 2)
        tensor.copy_(torch.copysign(half, tensor))
    elif given is not None:
        tensor.copy_(given)


def clear(operands: Operands) -> None:
    """Drop the gradients that a train step left."""
    for leaf in operands.leaves:
        leaf.grad = None


#: The results of each direction, in the order of reports; grad_bias only where there is a bias.
PRODUCES = {
    "forward": ("output",),
    "backward": ("grad_input", "grad_weight", "grad_bias"),
    "grad_input": ("grad_input",),
    "grad_weight": ("grad_weight", "grad_bias"),
    "train_step": ("output", "grad_input", "grad_weight", "grad_bias"),
}
_GRADIENTS = ("grad_input", "grad_weight", "grad_bias")
KERNEL_ALONE = "aten.convolution_backward alone"
#: The note of a user's module that is timed with other weights than its own.
REPLACED = "the module's own weights were replaced by normal numbers"
#: The directions that repeat a backward on one graph.
_REPEATED = ("backward", "grad_input", "grad_weight")
#: A direction that no case has: only the kernels of backward, without autograd.
KERNELS = "kernels"
#: Whether aten's kernel computes the gradients of (the input, weight and bias).
_KERNEL_MASKS = {"grad_input": (True, False), "grad_weight": (False, True), KERNELS: (True, True)}


def find_module(name: str) -> Any:
    """The object that `package.module:Class` names, usually a class; raises ImportError or AttributeError."""
    path, _, attribute = name.partition(":")
    found: Any = importlib.import_module(path)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found
