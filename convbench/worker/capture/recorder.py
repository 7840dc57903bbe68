"""Records every convolution that torch computes while a model runs: its shapes, its settings, and who called it.

The calls are seen below autocast and autograd, so dtypes and the masks of gradients are those that the kernels get.
"""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from functools import cache
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

Record = dict[str, Any]

#: Operators of convolutions: TorchScript calls the second one. Its further arguments are switches of backends.
_FORWARD, _BACKWARD = ("aten::convolution", "aten::_convolution"), "aten::convolution_backward"
#: The number of arguments of `aten::convolution`.
_ARGUMENTS = 9
#: Names of operators that look like convolutions.
_LIKE_ONE = re.compile(r"conv(?!ert)")
#: Operators that change the dtype, the second one in inference mode.
_CASTS = ("aten::_to_copy", "aten::to")
#: The functions of Python that pad in a mode.
_PADS = (torch.nn.functional.pad, torch._C._nn.pad)
#: The kernel of operators that torch implements by others. In inference mode it calls the others unseen.
_COMPOSITE = "CompositeImplicitAutograd"


#: Asks a fake tensor for its device.
_DEVICE, _META = torch.ops.prim.device.default, torch.device("meta")


@cache
def _kind(func: Any) -> tuple[str, bool, bool]:
    """Of an operator: its name, whether it looks like a convolution, and whether it is one that hides others."""
    name = func._schema.name
    looks = _LIKE_ONE.search(name) is not None
    asks = looks or "pad" in name
    return name, looks, asks and torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), _COMPOSITE)


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types there
    """Records while it is entered; `modules` says which module is running. `is_backward` is set by the caller."""

    def __init__(self, modules: Modules) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch has no types there
        self.is_backward = False
        self.others: set[str] = set()  # operators that look like convolutions and are not recorded
        self._modules = modules
        self._records: dict[tuple[Any, ...], int] = {}
        self._found: list[tuple[int, str, int]] = []
        self._callers: defaultdict[tuple[Any, ...], list[tuple[str, int]]] = defaultdict(list)
        self._padded: dict[int, tuple[torch.Tensor, str]] = {}  # kept, so that no other tensor has their ids

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: models run eagerly here, and the wrapper that torch puts around each call takes longer than the call."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is _DEVICE and isinstance(args[0], FakeTensor):  # two thirds of all calls; as FakeTensorMode answers
            return _META if args[0].fake_mode.in_kernel_invocation else args[0].fake_device
        name, looks, is_whole = _kind(func)
        if is_whole:
            with self:
                return func.decompose(*args, **(kwargs or {}))
        result = func(*args, **(kwargs or {}))
        if name in _FORWARD:
            self._forward(result, *args[:_ARGUMENTS])
        elif name == _BACKWARD:
            self._backward(*args)
        elif looks:
            self.others.add(name)
        elif "pad" in name and "backward" not in name and _differ(result, args[0]):
            self._padded[id(result)] = result, name.partition("::")[2]
        elif name in _CASTS and id(args[0]) in self._padded:
            self._padded[id(result)] = result, self._padded[id(args[0])][1]
        return result

    def answer(self) -> dict[str, Any]:
        """The different records, and of each convolution in order the number of its record and its caller.

        A module that calls several convolutions is followed by their number: `block#2`.
        """
        most: dict[str, int] = {}
        for _, path, place in self._found:
            most[path] = max(place, most.get(path, 0))
        fields = [dict(record) for record in self._records]
        found = [[number, f"{path}#{place}" if most[path] > 1 else path] for number, path, place in self._found]
        return {"records": fields, "found": found, "others": sorted(self.others)}

    def _forward(
        self,
        output: torch.Tensor,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        *settings: Any,
    ) -> None:
        signature = _signature(x, weight, settings)
        caller = self._modules.caller()
        if self.is_backward and caller is None:  # computed again for a checkpoint, outside the modules
            caller = next(reversed(self._callers[signature]), None)
        caller = caller or self._modules.outside()
        self._callers[signature].append(caller)
        self._add(caller, _record(x, weight, output, bias is not None, settings), mask=None, padded=self._pad_of(x))

    def _backward(
        self,
        grad_output: torch.Tensor,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias_sizes: list[int] | None,
        *settings: Any,
    ) -> None:
        """Backward goes through the layers in reverse, so the last caller of such a convolution is the one."""
        *settings_, mask = settings
        callers = self._callers[_signature(x, weight, settings_)]
        caller = (callers.pop() if len(callers) > 1 else callers[0]) if callers else ("", 1)
        record = _record(x, weight, grad_output, bool(bias_sizes and bias_sizes[0]), settings_)
        self._add(caller, record, mask=list(mask), padded=self._pad_of(x))

    def _add(self, caller: tuple[str, int], record: Record, *, mask: list[bool] | None, padded: str | None) -> None:
        again = self.is_backward and mask is None
        record = {**record, "mask": mask, "padded": padded, "again": again, **self._modules.facts(caller[0])}
        key = tuple((name, tuple(value) if isinstance(value, list) else value) for name, value in record.items())
        self._found.append((self._records.setdefault(key, len(self._records)), *caller))

    def padded_by(self, result: Any, x: Any, operator: str) -> None:
        """Record that an operator which the recorder does not see has padded `x`."""
        if _differ(result, x):
            self._padded.setdefault(id(result), (result, operator))

    def _pad_of(self, x: torch.Tensor) -> str | None:
        return self._padded[id(x)][1] if id(x) in self._padded else None


class Paddings(TorchFunctionMode):
    """Gives a recorder circular padding: torch implements it by copies, so that no operator below autograd pads."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in _PADS and args:
            mode = (kwargs or {}).get("mode", args[2] if len(args) > 2 else "constant")
            self._recorder.padded_by(result, args[0], f"pad with mode {mode}")
        return result


def _signature(x: torch.Tensor, weight: torch.Tensor, settings: Any) -> tuple[Any, ...]:
    return tuple(x.shape), tuple(weight.shape), *(tuple(s) if isinstance(s, list) else s for s in settings)


def _record(x: torch.Tensor, weight: torch.Tensor, output: torch.Tensor, bias: bool, settings: Any) -> Record:
    """The convolution as JSON; the settings are those of `aten::convolution` behind the bias."""
    stride, padding, dilation, transposed, output_padding, groups = settings
    return {
        "input_shape": list(x.shape),
        "input_strides": list(x.stride()),
        "weight_shape": list(weight.shape),
        "weight_strides": list(weight.stride()),
        "output_shape": list(output.shape),
        "output_strides": list(output.stride()),
        "stride": _for_each(stride, x),
        "padding": _for_each(padding, x),
        "dilation": _for_each(dilation, x),
        "transposed": transposed,
        "output_padding": _for_each(output_padding, x),
        "groups": groups,
        "bias": bias,
        "dtype": str(x.dtype).partition(".")[2],
        "device": x.device.type,
    }


def _for_each(numbers: list[int], x: torch.Tensor) -> list[int]:
    """A number for each spatial dimension: torch also takes one for all."""
    return list(numbers) * (x.dim() - 2) if len(numbers) == 1 else list(numbers)


def _differ(result: Any, x: Any) -> bool:
    """Whether an operator that pads has added something."""
    return isinstance(result, torch.Tensor) and isinstance(x, torch.Tensor) and result.shape != x.shape


def _without_wrapper(path: str) -> str:
    """The path without the module that torch.compile puts around another one."""
    return ".".join(name for name in path.split(".") if name != "_orig_mod")


class Modules:
    """Which of a model's modules runs: entered with the model, it hooks all its modules."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._names = {id(module): _without_wrapper(name) for name, module in model.named_modules()}
        self._model = model
        self._running: list[tuple[str, list[int]]] = []  # each with the number of its own convolutions so far
        self._handles: list[Any] = []
        self._unbatched: set[str] = set()
        self._outside = 0

    def __enter__(self) -> Modules:
        for module in self._model.modules():
            with contextlib.suppress(RuntimeError):  # a module of TorchScript takes none: its caller is named
                self._handles.append(module.register_forward_pre_hook(self._before, prepend=True))
                self._handles.append(module.register_forward_hook(self._after))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    @property
    def place(self) -> str:
        """The path of the innermost module that runs, also after an error in it."""
        return self._running[-1][0] if self._running else ""

    def caller(self) -> tuple[str, int] | None:
        """The path of the module that runs, and which of its convolutions this one is, from 1."""
        if not self._running:
            return None
        path, counted = self._running[-1]
        counted[0] += 1
        return path, counted[0]

    def outside(self) -> tuple[str, int]:
        """The model itself and which of its convolutions this one is, where no module runs that can be hooked."""
        self._outside += 1
        return "", self._outside

    def facts(self, path: str) -> Record:
        """What the arguments of a convolution do not show: whether its module got one image without a batch."""
        return {"unbatched": path in self._unbatched}

    def _before(self, module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        path = self._names[id(module)]
        self._running.append((path, [0]))
        kernel = getattr(module, "kernel_size", None)
        if isinstance(kernel, tuple) and inputs and isinstance(inputs[0], torch.Tensor):
            (self._unbatched.add if inputs[0].dim() == len(kernel) + 1 else self._unbatched.discard)(path)

    def _after(self, module: torch.nn.Module, inputs: object, output: object) -> None:
        path = self._names[id(module)]
        while self._running and self._running.pop()[0] != path:  # modules that ended in an error that others caught
            continue
