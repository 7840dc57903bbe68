"""Names the implementation of a layer, from an untimed call: torch's backend, oneDNN's or an accelerator's kernels."""

from __future__ import annotations

import ctypes
import os
import re
import sys
import tempfile
from typing import Any, Callable, NamedTuple

import torch

from . import devices
from .layer import Layer
from .operators import OPERATORS

UNKNOWN = "unknown"
#: Maximum number of kernels that are named per call, and of characters of each name.
MOST_KERNELS = 3
LONGEST_NAME = 80
#: Stands between the full names of kernels, which may hold commas, spaces and colons.
BETWEEN_KERNELS = "; "

#: Names of kernels that are not exact on integers. MIOpen's Winograd is `miopenSp3AsmConv...`, cuDNN's FFT multiplies
#: by `cgemm`, and its Winograd is `winograd`, `Winograd` or `wino`.
_INEXACT = re.compile(r"wino|fft|sp3asmconv|cgemm", re.IGNORECASE)
#: Names of kernels that change the layout of a tensor for another one.
_TRANSFORM = re.compile(
    r"nchwToNhwc|nhwcToNchw|transposeNCHW|transpose_nchw|SubTensorOp|batched_transpose", re.IGNORECASE
)


class Ran(NamedTuple):
    """The name of the implementation, and the share of the time in changes of layout; None where nothing reports it.

    `is_inexact` is whether one of its kernels, also of those that the name leaves out, need not be exact on integers.
    `kernels` are the full names of an accelerator's kernels, the longest time first, where its profiler names them.
    """

    name: str
    reorder_share: float | None
    is_inexact: bool = False
    kernels: str | None = None


def implementation(layer: Layer) -> Ran:
    """The implementation of an untimed call: `Mkldnn jit:avx512_core`, `Slow2d`, or `unknown`."""
    if layer.operands.x.device.type == "cpu":
        kernels, share = kernels_and_reorders(_onednn_lines(layer.run))
        shown, full = kernels, None
    else:
        times = _profiled_times(layer)
        kernels = sorted(times, key=lambda name: -times[name])
        shown = [short_name(name) for name in kernels[:MOST_KERNELS]]
        share, full = layout_share(times), BETWEEN_KERNELS.join(kernels) or None
    backend = _backend(layer)
    compiler = ["inductor"] if layer.spec.execution == "compiled" else []
    words = compiler + ([backend] if backend else []) + shown
    is_inexact = any(_INEXACT.search(name) for name in (*words, *kernels))
    return Ran(" ".join(dict.fromkeys(words)) or UNKNOWN, share, is_inexact, full)


def layout_share(times: dict[str, float]) -> float | None:
    """The share of the kernels that change layouts in the time of all; None without kernels."""
    total = sum(times.values())
    return sum(time for name, time in times.items() if _TRANSFORM.search(name)) / total if total else None


def _backend(layer: Layer) -> str | None:
    """The backend that torch selects for this layer; None for the user's modules and where torch does not report it."""
    spec = layer.spec
    select = getattr(torch._C, "_select_conv_backend", None)
    if not spec.is_torchs or select is None:
        return None
    operator = OPERATORS[spec.operator]
    dtype = getattr(torch, spec.compute_dtype)
    with torch.set_grad_enabled(layer.grad):
        operands = layer.operands
        x, weight = operands.x.to(dtype), operands.weight.to(dtype)
        bias = None if operands.bias is None else operands.bias.to(dtype)
        x = x.unsqueeze(0) if spec.batch_size is None else x
        pads = [before for before, _ in spec.pads] if spec.padding_mode == "zeros" else [0] * len(spec.pads)
        if any(before != after for before, after in spec.pads) or spec.padding_mode != "zeros":
            # torch first pads the input itself, then convolves the larger input without padding.
            shape = (*x.shape[:2], *(size + sum(pad) for size, pad in zip(x.shape[2:], spec.pads)))
            x = torch.empty(shape, dtype=dtype, device=x.device, memory_format=operator.layout(spec.input_order))
            pads = [0] * len(spec.pads)
        try:
            chosen = select(x, weight, bias, *operator.aten(spec, pads))
        except (RuntimeError, TypeError):
            return None
    return str(chosen).rpartition(".")[2]


def _onednn_lines(call: Callable[[], Any]) -> list[str]:
    """The lines that oneDNN writes about its primitives during `call`, captured from descriptor 1."""
    mkldnn: Any = torch.backends.mkldnn  # torch has no types for it
    if not mkldnn.is_available() or not hasattr(mkldnn, "verbose"):
        call()
        return []
    with tempfile.TemporaryFile() as caught:
        flush = ctypes.CDLL(None).fflush
        sys.stdout.flush()
        flush(None)
        kept = os.dup(1)
        os.dup2(caught.fileno(), 1)
        try:
            with mkldnn.verbose(mkldnn.VERBOSE_ON):
                call()
            flush(None)
        finally:
            os.dup2(kept, 1)
            os.close(kept)
        caught.seek(0)
        return caught.read().decode(errors="replace").splitlines()


def kernels_and_reorders(lines: list[str]) -> tuple[list[str], float | None]:
    """The implementations of convolutions, and the share of reorders in the time of all primitives (None: no line).

    A line reads `onednn_verbose,v1,primitive,exec,cpu,convolution,jit:avx512_core,forward_training,...,0.0231`; the
    last field is in milliseconds.
    """
    rows = [line.split(",") for line in lines if line.startswith("onednn_verbose") and ",exec," in line]
    ran = [row for row in (row[row.index("exec") :] for row in rows) if len(row) > 4]  # a timestamp may precede `exec`
    kernels = [row[3] for row in ran if row[2] == "convolution"]
    times = [(row[2], _milliseconds(row[-1])) for row in ran]
    total = sum(time for _, time in times)
    return kernels, sum(time for kind, time in times if kind == "reorder") / total if total else None


def _milliseconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _profiled_times(layer: Layer) -> dict[str, float]:
    """The time of each kernel that ran on an accelerator, by its full name; empty where torch's profiler sees none."""
    profiler = torch.profiler
    activity = getattr(profiler.ProfilerActivity, layer.operands.x.device.type.upper(), None)
    if activity is None:
        layer.run()
        return {}
    os.environ.setdefault("TEARDOWN_CUPTI", "1")  # else a GPU's kernels stay slower after the profiler has ended
    with profiler.profile(activities=[activity]) as profile:
        layer.run()
        devices.Stream(layer.operands.x.device).synchronize()
    times: dict[str, float] = {}
    for event in profile.events() or ():
        if "CPU" not in str(event.device_type) and not event.name.startswith("Mem"):
            spent = getattr(event, "device_time", None) or getattr(event, "cuda_time", None) or 0.0
            times[event.name] = times.get(event.name, 0.0) + float(spent)
    return times


def short_name(kernel: str) -> str:
    """A kernel's name without return type, template arguments and spaces, for people."""
    name = kernel.split("<")[0].split("(")[0].strip().rpartition(" ")[2]
    return (name or kernel)[:LONGEST_NAME]
