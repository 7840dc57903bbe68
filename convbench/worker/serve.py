"""Answers the conductor's requests, one at a time.

Requests and answers are flat JSON objects. A request that fails is answered with a status and a reason; only a broken
process ends the worker.
"""

from __future__ import annotations

import gc
import math
import platform
from time import perf_counter
from typing import Any, Callable

import torch

from . import allocator, devices, timer
from .canary import Canaries
from .channel import Channel
from .check import check
from .implementation import implementation
from .layer import Layer, Spec, find_module
from .roofs import measure_roofs

NAN = math.nan

#: What allocation failures are called by the allocators below torch.
_OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "not enough memory", "bad_alloc", "Cannot allocate memory")
#: What torch says where a device or dtype lacks a kernel.
_ABSENT = ("not implemented for", "is not currently implemented for", "is not supported on", "does not support")


class Prepared:
    """A layer that is ready to be timed, and the queue of its device (None: the CPU)."""

    def __init__(self, layer: Layer, queue: devices.Stream | None) -> None:
        self.layer = layer
        self.queue = queue

    @property
    def timer_name(self) -> str:
        """How its time is taken."""
        if self.queue is None:
            return "perf_counter"
        return "events" if self.queue.has_events else "synchronized wall clock"


class Worker:
    """The layers prepared so far, by the key the conductor gave them."""

    def __init__(self) -> None:
        self._prepared: dict[int, Prepared] = {}
        self._canaries = Canaries()
        self._operations: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "describe": self.describe,
            "find_module": self.find_module,
            "prepare": self.prepare,
            "block": self.block,
            "compute_canary": self.compute_canary,
            "memory_canary": self.memory_canary,
            "roofs": self.roofs,
            "release": self.release,
        }

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to one request; never raises for what a layer does."""
        try:
            return self._operations[request["op"]](request)
        except Exception as error:  # the layer's code may raise anything; the conductor is told what
            status, reason = classify(error)
            error.__traceback__ = None  # its frames hold the tensors of the failed layer
        self._prepared.pop(request.get("key", -1), None)
        gc.collect()
        return {"status": status, "reason": reason}

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        """The software and the devices this process sees; sets its thread count first."""
        threads = request["threads"]
        if threads is not None:
            torch.set_num_threads(threads)
        backends: Any = torch.backends
        capability = getattr(backends.cpu, "get_cpu_capability", None) if hasattr(backends, "cpu") else None
        return {
            "status": "passed",
            "torch": torch.__version__,
            "python": platform.python_version(),
            "onednn": _onednn_version(),
            "cpu_capability": capability() if capability else None,
            "accelerator": devices.describe(),
            "threads": torch.get_num_threads(),
            "keeps_memory": allocator.keeps_memory(),
        }

    def find_module(self, request: dict[str, Any]) -> dict[str, Any]:
        """Import the user's module once, before anything is measured."""
        find_module(request["module"])
        return {"status": "passed"}

    def prepare(self, request: dict[str, Any]) -> dict[str, Any]:
        """Build the layer; with `check`, prove it right and name what runs before anything is timed."""
        spec = Spec.from_json(request["spec"])
        device = devices.resolve(spec.device)
        layer = Layer(spec, device)
        answer: dict[str, Any] = {"status": "passed", "reason": None, "note": layer.note}
        if request["check"]:
            answer["implementation"] = ran = implementation(layer)
            outcome = check(layer, implementation=ran)
            answer["check"] = outcome._asdict()
            if outcome.reason is not None:
                answer.update(status="failed", reason=outcome.reason)
        prepared = Prepared(layer, None if device.type == "cpu" else devices.Stream(device))
        answer["timer"] = prepared.timer_name
        answer["threads"] = torch.get_num_threads()
        self._prepared[request["key"]] = prepared
        return answer

    def block(self, request: dict[str, Any]) -> dict[str, Any]:
        """The compute canary, then one block; `busy_s` is what warm-up and timed iterations took."""
        prepared = self._prepared[request["key"]]
        canary = self._canaries.compute()
        begin = perf_counter()
        with torch.set_grad_enabled(prepared.layer.grad):
            timing = timer.time_block(prepared.layer.step, request["seconds"], prepared.queue)
        busy = perf_counter() - begin
        return {
            "status": "passed",
            **timing._asdict(),
            "host_s": NAN if timing.host_s is None else timing.host_s,
            "compute_canary_s": canary,
            "busy_s": busy,
        }

    def compute_canary(self, request: dict[str, Any]) -> dict[str, Any]:
        """Seconds of one small matrix product."""
        return {"status": "passed", "compute_canary_s": self._canaries.compute()}

    def memory_canary(self, request: dict[str, Any]) -> dict[str, Any]:
        """Seconds of one 64 MiB copy."""
        return {"status": "passed", "memory_canary_s": self._canaries.memory()}

    def roofs(self, request: dict[str, Any]) -> dict[str, Any]:
        """What this machine can do at best in these dtypes."""
        device = devices.resolve(request["device"])
        queue = None if device.type == "cpu" else devices.Stream(device)
        found = measure_roofs(request["dtypes"], device, queue.synchronize if queue else lambda: None)
        return {"status": "passed", "roofs": [roof._asdict() for roof in found]}

    def release(self, request: dict[str, Any]) -> dict[str, Any]:
        """Forget all layers and their memory."""
        self._prepared.clear()
        gc.collect()
        return {"status": "passed"}


def serve(channel: Channel) -> None:
    """Answer requests until the conductor closes the channel."""
    worker = Worker()
    gc.collect()
    gc.freeze()
    gc.disable()
    while True:
        request = channel.receive()
        if request is None:
            return
        channel.send(worker.answer(request))


def classify(error: Exception) -> tuple[str, str]:
    """The status and the reason of what a layer raised."""
    lines = str(error).strip().splitlines()
    text = lines[0] if lines else ""
    if isinstance(error, devices.AbsentError):
        return "skipped", text
    if isinstance(error, (MemoryError, _torch_oom())) or any(words in str(error) for words in _OUT_OF_MEMORY):
        return "out_of_memory", text or "out of memory"
    if isinstance(error, RuntimeError) and any(words in text for words in _ABSENT):
        return "skipped", text
    return "error", f"{type(error).__name__}: {text}" if text else type(error).__name__


def _torch_oom() -> Any:
    return getattr(torch, "OutOfMemoryError", None) or getattr(torch.cuda, "OutOfMemoryError", MemoryError)


def _onednn_version() -> str | None:
    """Return oneDNN's version from torch's build text, e.g. `3.12.0`."""
    for line in torch.__config__.show().splitlines():
        if "MKL-DNN" in line or "oneDNN" in line:
            words = [word for word in line.replace(",", " ").split() if word[:1] == "v" and word[1:2].isdigit()]
            if words:
                return words[0][1:]
    return None
