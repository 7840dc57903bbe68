"""Compiles a layer's forward with torch.compile: a code object of its own for each case, which is compiled once.

torch keeps compiled code by code object, and by default runs the ninth version of one eagerly, without a word. Here a
second compilation of a case is an error. The variables of the worker (engine/local.py) keep the compiler in this
process, without threads or processes that would run during blocks.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import torch

from .spec import Spec

_NUMBERS = itertools.count(1)
#: The variable that names the folder of compiled code, where engine/local.py sets it.
FOLDER = "TORCHINDUCTOR_CACHE_DIR"
#: inductor's classes that keep compiled code in memory, by its text.
_IN_MEMORY = ("CppCodeCache", "CppPythonBindingsCodeCache", "PyCodeCache")
#: inductor's functions that register its devices, and that look one up.
_DEVICES = ("init_backend_registration", "get_scheduling_for_device")
#: A tensor that generated code allocates: its shape and its strides.
_ALLOCATED = re.compile(r"= empty_strided\w*\(\(([\d, ]*)\), \(([\d, ]*)\)")


def refusal(spec: Spec, device: torch.device) -> str | None:
    """Why torch cannot compile a layer here as asked; None where it can."""
    why = _no_compiler(device.type)
    if why is not None:
        return why
    if captures_graphs(spec, device) and spec.direction not in ("forward", "train_step"):
        return (
            f"{spec.compile_mode} replays graphs of its own, which overwrite what a repeated {spec.direction} keeps; "
            "max-autotune-no-cudagraphs does not"
        )
    return None


def captures_graphs(spec: Spec, device: torch.device) -> bool:
    """Whether torch captures CUDA graphs by itself, whose results are overwritten by the next call."""
    return spec.compile_mode == "max-autotune" and device.type == "cuda"


@functools.cache
def _no_compiler(device_type: str) -> str | None:
    try:
        import torch._dynamo
        from torch._inductor.cpp_builder import get_cpp_compiler
    except ImportError:
        return _too_old()
    if not hasattr(torch._dynamo.config, "fail_on_recompile_limit_hit"):
        return _too_old()
    dynamo: Any = torch._dynamo
    if not dynamo.is_dynamo_supported():
        return "torch.compile does not support this Python"
    if device_type == "cpu":
        try:
            get_cpp_compiler()
        except RuntimeError:
            return "torch.compile needs a C++ compiler on a CPU and finds none: install g++, or name one in CXX"
    if device_type == "cuda":
        from torch.utils._triton import has_triton

        if not has_triton():
            return "torch.compile needs Triton on cuda, and cannot use one here"
    return None if _generates_code(device_type) else f"torch's compiler generates no code for {device_type}"


def _generates_code(device_type: str) -> bool:
    """Whether inductor knows the device; true where torch does not say so."""
    from torch._inductor.codegen import common

    register, find = (getattr(common, name, None) for name in _DEVICES)
    if register is None or find is None:
        return True
    register()
    return find(device_type) is not None


def _too_old() -> str:
    return f"torch {torch.__version__} cannot report that it compiles again: 2.6 is the oldest that can"


@functools.cache
def load(device: torch.device) -> None:
    """Load the compiler, so that no layer's first call has what a process pays once: imports, tests of g++, headers."""
    config: Any = torch._dynamo.config
    config.error_on_recompile = True
    config.fail_on_recompile_limit_hit = True
    _compile(lambda x: x + 1, "default")(torch.zeros(64, device=device))


def _compile(function: Any, mode: str) -> Callable[[torch.Tensor], Any]:
    """The compiled function, with a code object of its own, which no other call shares."""
    name = f"layer_{next(_NUMBERS)}"
    code = function.__code__.replace(co_name=name)
    own = types.FunctionType(code, function.__globals__, name, None, function.__closure__)
    return torch.compile(own, fullgraph=True, dynamic=False, mode=mode)


class CompiledAgainError(Exception):
    """Some later call of a layer does not fit the code that was compiled for the first one."""


def explained(error: Exception) -> Exception:
    """The error with its reason on the first line, where it is one of torch's compiler; other errors as they are."""
    kind = type(error).__name__
    if kind == "RecompileError":
        last = str(error).strip().splitlines()[-1].strip(" -")
        return CompiledAgainError(
            f"a later call would have compiled the layer again: {last.partition(': ')[2] or last}"
        )
    inner = getattr(error, "inner_exception", None) if kind in ("BackendCompilerFailed", "InductorError") else None
    return inner if isinstance(inner, Exception) else error


class Compiled:
    """A module's forward that torch compiles at its first call, and its backward at the first one of that.

    `forward` is what is timed. `code` is what the compiler generated, one text for each graph, in the order in which it
    was compiled.
    """

    def __init__(self, module: torch.nn.Module, spec: Spec) -> None:
        def call(x: torch.Tensor) -> Any:
            return module(x)

        self.forward = _compile(call, spec.compile_mode)  # torch.compile(module) would share code with other modules
        self._spec = spec
        self.code: list[str] = []

    @contextlib.contextmanager
    def compiling(self) -> Iterator[None]:
        """A context for calls that may compile: records the generated code.

        Each case has a folder of its own, so that a first call does not find what another case compiled. The same case
        finds it there in the next process. Where backward is repeated on one graph, torch must not reuse the memory of
        what forward saved for it.
        """
        from torch._functorch import config
        from torch._inductor import codecache
        from torch._inductor.graph import GraphLowering

        repeated = self._spec.direction in ("backward", "grad_input", "grad_weight")
        donates = {"donated_buffer": False} if repeated and hasattr(config, "donated_buffer") else {}
        kept: Any = getattr(GraphLowering, "save_output_code", None)
        lowering: Any = GraphLowering
        folder = os.environ.get(FOLDER)
        for held in _IN_MEMORY:
            getattr(getattr(codecache, held, None), "cache_clear", lambda: None)()
        with config.patch(donates):
            lowering.save_output_code = self.code.append
            if folder:
                os.environ[FOLDER] = str(Path(folder) / f"{self._spec.seed:08x}")
            try:
                yield
            finally:
                lowering.save_output_code = kept
                if folder:
                    os.environ[FOLDER] = folder

    def layouts(self) -> str | None:
        """What the timed code copies into another layout, as inductor chose; None where it copies nothing.

        A backward alone reads input and weight as forward left them.
        """
        spec = self._spec
        with_forward = spec.direction in ("forward", "train_step")
        operands = {"input": spec.input_shape, "weight": spec.weight_shape} if with_forward else {}
        operands["upstream gradient"] = spec.output_shape
        results = {"output": spec.output_shape, "grad_input": spec.input_shape, "grad_weight": spec.weight_shape}
        copied: dict[str, list[str]] = {"channels_last": [], "contiguous": []}
        code = self.code if with_forward else self.code[1:]
        for shape, strides in itertools.chain.from_iterable(map(_ALLOCATED.findall, code)):
            layout = "channels_last" if _is_channels_last(_sizes(strides)) else "contiguous"
            known = results if layout == spec.memory_format else operands
            name = next((name for name, own in known.items() if own == _sizes(shape)), None)
            if name:
                copied[layout].append(name)
                del known[name]
        texts = [f"{' and '.join(names)} to {layout}" for layout, names in copied.items() if names]
        return f"inductor copies {', '.join(texts)}" if texts else None


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(size) for size in text.split(",") if size.strip())


def _is_channels_last(strides: tuple[int, ...]) -> bool:
    """Whether channels are next to each other in memory."""
    return len(strides) > 2 and strides[1] == 1
