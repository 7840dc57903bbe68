"""Captures the step of a layer as a CUDA graph, whose replays are timed and checked."""

from __future__ import annotations

import math
from typing import Any, Callable

import torch

from .spec import Spec

#: Calls before the capture, on its stream: libraries choose algorithms and allocate their memory in them.
WARMUPS = 3


def refusal(spec: Spec, device: torch.device) -> str | None:
    """Why the layer cannot be captured; None where it can."""
    if device.type != "cuda":
        return f"execution: graph needs CUDA graphs, which torch does not have on {device.type}"
    if spec.direction not in ("forward", "train_step") and not spec.has_one_backward_kernel:
        return f"execution: graph captures {spec.direction} as one kernel call, which this layer's is not"
    return None


class Captured:
    """A captured step. `replay` is one iteration; its results lie at the same addresses after each.

    `named` gives the results of a call of `step` by name. Every graph has a memory pool of its own: replays of several
    layers take turns.
    """

    def __init__(self, step: Callable[[], Any], named: Callable[[Any], dict[str, torch.Tensor]]) -> None:
        cuda: Any = torch.cuda  # torch has no types for it
        stream = cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARMUPS):
                named(step())
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            produced = step()
        self._static = named(produced)
        self.replay: Callable[[], None] = graph.replay

    def results(self) -> dict[str, torch.Tensor]:
        """Copies of the results of one replay. The memory holds NaN before it, so that unwritten elements are found."""
        with torch.no_grad():
            for tensor in self._static.values():
                tensor.detach().fill_(math.nan)
            self.replay()
            return {name: tensor.detach().clone() for name, tensor in self._static.items()}
