"""Names what ran: torch's backend for the layer and oneDNN's kernels, read off one untimed call."""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from typing import Any, Callable

import torch

from .layer import TORCH_CONV2D, Layer

UNKNOWN = "unknown"


def implementation(layer: Layer) -> str:
    """`Mkldnn jit:avx512_core`, `Slow2d`, or `unknown` where nothing can tell."""
    kernels = _onednn_kernels(layer.results) if layer.x.device.type == "cpu" else []
    backend = _backend(layer)
    words = ([backend] if backend else []) + kernels
    return " ".join(dict.fromkeys(words)) or UNKNOWN


def _backend(layer: Layer) -> str | None:
    """The path torch takes for this layer; None for other modules than torch's and where torch does not tell."""
    spec = layer.spec
    select = getattr(torch._C, "_select_conv_backend", None)
    if spec.module != TORCH_CONV2D or select is None:
        return None
    x = layer.x.unsqueeze(0) if spec.batch_size is None else layer.x
    pads = [before for before, _ in spec.pads] if spec.padding_mode == "zeros" else [0] * len(spec.pads)
    if any(before != after for before, after in spec.pads) or spec.padding_mode != "zeros":
        # torch pads the input itself first; what remains is a convolution without padding on a larger input.
        shape = (*x.shape[:2], *(size + sum(pad) for size, pad in zip(x.shape[2:], spec.pads)))
        layout = torch.channels_last if spec.memory_format == "channels_last" else torch.contiguous_format
        x = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)
        pads = [0] * len(spec.pads)
    with torch.set_grad_enabled(layer.grad):
        try:
            chosen = select(
                x, layer.weight, layer.bias, spec.stride, pads, spec.dilation, False, [0] * len(pads), spec.groups
            )
        except (RuntimeError, TypeError):
            return None
    return str(chosen).rpartition(".")[2]


def _onednn_kernels(call: Callable[[], Any]) -> list[str]:
    """The implementations of oneDNN's convolutions during `call`, from its verbose lines on descriptor 1.

    A line reads `onednn_verbose,v1,primitive,exec,cpu,convolution,jit:avx512_core,forward_training,...`.
    """
    mkldnn = torch.backends.mkldnn
    if not mkldnn.is_available() or not hasattr(mkldnn, "verbose"):  # type: ignore[no-untyped-call]  # untyped in torch
        call()
        return []
    with tempfile.TemporaryFile() as caught:
        flush = ctypes.CDLL(None).fflush
        sys.stdout.flush()
        flush(None)
        kept = os.dup(1)
        os.dup2(caught.fileno(), 1)
        try:
            with mkldnn.verbose(mkldnn.VERBOSE_ON):  # type: ignore[no-untyped-call]  # untyped in torch
                call()
            flush(None)
        finally:
            os.dup2(kept, 1)
            os.close(kept)
        caught.seek(0)
        lines = caught.read().decode(errors="replace").splitlines()
    rows = [line.split(",") for line in lines if line.startswith("onednn_verbose")]
    return [row[6] for row in rows if len(row) > 6 and row[3] == "exec" and row[5] == "convolution"]
