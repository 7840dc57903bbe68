"""Answers the conductor's requests, one at a time.

Requests and answers are JSON objects. A request that fails is answered with a status and a reason; it does not end the
worker.
"""

from __future__ import annotations

import gc
import math
import os
import platform
import sys
from time import perf_counter
from typing import Any, Callable, NoReturn

import torch

from . import accelerators, allocator, cold, compiled, devices, graphs, held, host, memory, timer
from .channel import Channel
from .implementation import implementation
from .layer import Layer, clear, find_module
from .probe import Probes, product
from .roofs import measure_roofs
from .settings import Settings, precision
from .spec import Spec
from .verify.afterwards import still_right
from .verify.repeated import VARIES, Repeats, wrong_again
from .verify.verdict import Outcome, verify

NAN = math.nan

#: Maximum number of characters of an exception's first line in an answer, and of its text that are read for that.
LONGEST_REASON = 500
MOST_READ = 100_000
#: The fields of a verdict that the conductor gets unchanged.
_CHECK_FIELDS = ("output_shape", "max_error", "elements", "method", "reason")

#: Parts of the messages about failed allocations, by the allocators below torch.
_OUT_OF_MEMORY = (
    "can't allocate memory",
    "out of memory",
    "not enough memory",
    "bad_alloc",
    "Cannot allocate memory",
    "nable to find an engine",
    "_ALLOC_FAILED",
)
#: Parts of the messages of errors after which a process can no longer use its device.
_LASTING = ("CUDA error", "HIP error", "CUDNN_STATUS_EXECUTION_FAILED", "device-side assert", "illegal memory access")
#: Parts of torch's messages that a device or dtype has no kernel.
_ABSENT = (
    "not implemented for",
    "is not currently implemented for",
    "is not supported on",
    "does not support",
    "does not have a deterministic implementation",
)


class Prepared:
    """A layer that is ready to be timed, and the queue of its device (None: the CPU).

    `step` is timed. `between`, where it is set, runs before each iteration and is not timed.
    """

    def __init__(self, layer: Layer, device: torch.device) -> None:
        self.layer = layer
        self.device = str(device)
        self.queue = None if device.type == "cpu" else devices.Stream(device)
        self.step = layer.step
        self.between: Callable[[], None] | None = None
        self.results: dict[str, torch.Tensor] = {}  # on normal data, where the layer was checked and is correct
        self.normal: dict[str, torch.Tensor] = {}  # the normal data, where other data are timed
        self.repeats: Repeats | None = None  # None where later calls are not compared

    def look(self) -> timer.Warm:
        """Compare a few calls with the first one; returns how far this has warmed up the timed step."""
        if self.repeats is None:
            return timer.NOT_WARM
        self.layer.use(self.layer.operands)
        warm = self.repeats.look(self.queue)
        return warm if self.step is self.layer.step else timer.NOT_WARM

    def look_after(self, last: Any) -> None:
        """Compare the last timed call, which returned `last`, and drop the gradients that a train step left."""
        if self.step is self.layer.step:
            if self.repeats and last is not None:
                self.repeats.look_after(self.layer.named(last))
            clear(self.layer.operands)

    def go_cold(self, device: torch.device) -> str | None:
        """Make each iteration read its operands from memory; returns a note about operands that are not, or None."""
        if self.queue is None:
            self.step = cold.rotating_step(self.layer, cold.last_level_cache_bytes())
            return cold.stays_hot(self.layer)
        self.between = cold.flush(device)
        return None

    @property
    def timer_name(self) -> str:
        """The clock that times it."""
        if self.queue is None:
            return "perf_counter"
        return "events" if self.queue.has_events else "synchronized wall clock"


class Worker:
    """The prepared layers, by the keys that the conductor gave them."""

    def __init__(self) -> None:
        self._prepared: dict[int, Prepared] = {}
        self._references: dict[str, list[Prepared]] = {}  # by device
        self._settings = Settings()
        self._threads = torch.get_num_threads()
        self._steady: set[str] = set()  # devices whose clock frequency has become steady
        self._used_until_s: dict[str, float] = {}  # devices, and when they were last busy
        self._probes = Probes()
        self._operations: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "describe": self.describe,
            "devices": self.devices,
            "host_state": self.host_state,
            "find_module": self.find_module,
            "prepare": self.prepare,
            "block": self.block,
            "compute_probe": self.compute_probe,
            "memory_probe": self.memory_probe,
            "references": self.references,
            "twin": self.twin,
            "verify": self.verify,
            "peak_memory": self.peak_memory,
            "roofs": self.roofs,
            "release": self.release,
        }

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to one request; exceptions of a layer become answers."""
        try:
            return self._operations[request["op"]](request)
        except Exception as error:  # the layer's code may raise any exception; the answer reports it
            if _is_lasting(error):
                _end(error)
            torchs = ":" not in request.get("spec", {}).get("module", "")
            status, reason = classify(compiled.explained(error), torchs=torchs)
            error.__traceback__ = None  # its frames keep the tensors of the failed layer
        if request["op"] in ("prepare", "block"):
            self._prepared.pop(request.get("key", -1), None)
        gc.collect()
        if status == "out_of_memory":
            self._empty_caches()
        return {"status": status, "reason": reason}

    def _empty_caches(self) -> None:
        for name in self._used_until_s:
            devices.empty_cache(torch.device(name))

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        """Apply the settings, then describe the machine and the software of this process, but no device."""
        self._settings = Settings(**{name: value for name, value in request.items() if name != "op"})
        self._settings.apply()
        self._threads = torch.get_num_threads()
        backends: Any = torch.backends
        capability = getattr(backends.cpu, "get_cpu_capability", None) if hasattr(backends, "cpu") else None
        return {
            "status": "passed",
            "torch": torch.__version__,
            "python": platform.python_version(),
            "onednn": _onednn_version(),
            "cpu_capability": capability() if capability else None,
            "threads": torch.get_num_threads(),
            "keeps_memory": allocator.keeps_memory(),
            "memory_bytes": allocator.private_bytes(),
            "host": host.facts(),
        }

    def devices(self, request: dict[str, Any]) -> dict[str, Any]:
        """What these devices are, and the software below them."""
        return {"status": "passed", **accelerators.describe(request["names"])}

    def host_state(self, request: dict[str, Any]) -> dict[str, Any]:
        """The machine's momentary state."""
        return {"status": "passed", **host.state()}

    def find_module(self, request: dict[str, Any]) -> dict[str, Any]:
        """Import the user's module, before anything is measured."""
        find_module(request["module"])
        return {"status": "passed"}

    def prepare(self, request: dict[str, Any]) -> dict[str, Any]:
        """Build the layer; with `check`, verify its results and name its implementation before anything is timed.

        With `again`, compare its results on integers with the `digest` of an earlier check; a layer without a digest is
        not exact on them. With `repeats`, each block first compares calls.
        """
        spec = Spec.from_json(request["spec"])
        device = devices.resolve(spec.device)
        unsuitable = self._settings.unsuitable(spec, device) or _not_executed(spec, device)
        if unsuitable:
            raise devices.AbsentError(unsuitable)
        if spec.execution == "compiled":
            compiled.load(device)
        layer = Layer(spec, device)
        prepared = Prepared(layer, device)
        if prepared.queue:
            self._used_until_s.setdefault(prepared.device, -math.inf)
        answer: dict[str, Any] = {"status": "passed", "reason": None, "digest": request.get("digest")}
        if request["check"] or prepared.queue or spec.execution == "compiled":
            # A first call may load libraries, and is no estimate.
            with layer.mode():
                first_call_s = layer.begun_s + timer.first_call(layer.first_step, prepared.queue)
        answer["note"] = layer.note
        if request["check"]:
            answer["first_call_s"] = first_call_s
            ran = implementation(layer)
            answer.update(implementation=ran.name, reorder_share=ran.reorder_share, kernels=ran.kernels)
            answer["precision"] = precision(device) if spec.compute_dtype == "float32" else None
            outcome = _checked(layer, ran.is_inexact, answer["precision"])
            prepared.results = outcome.results
            answer["digest"] = outcome.digest
            answer["check"] = {name: getattr(outcome, name) for name in _CHECK_FIELDS}
            answer["note"] = _notes(layer.note, outcome.note)
            if outcome.reason is not None:
                answer.update(status="failed", reason=outcome.reason)
            elif outcome.imprecise is not None:
                answer.update(status="imprecise", reason=outcome.imprecise)
        if request.get("again") and not request["check"]:
            wrong = wrong_again(layer, answer["digest"])
            if wrong is not None:
                answer.update(status="failed", reason=wrong)
        if request.get("repeats") and answer["status"] != "failed":
            first = prepared.results if spec.times_checked_data else {}
            prepared.repeats = Repeats(layer, is_exact=answer["digest"] is not None, first=first)
        layer.first_step = layer.step  # the first step held a separate graph
        if not spec.times_checked_data:
            prepared.normal = {name: tensor.detach().clone() for name, tensor in layer.operands.tensors().items()}
            layer.set_data()
            answer["note"] = _notes(answer["note"], held.note(layer))
        if spec.cache == "cold":
            answer["note"] = _notes(answer["note"], prepared.go_cold(device))
        answer["timer"] = prepared.timer_name
        answer["threads"] = self._same_threads()
        self._prepared[request["key"]] = prepared
        return answer

    def block(self, request: dict[str, Any]) -> dict[str, Any]:
        """The compute probe, a few calls compared with the first one, one block, then its last call compared too.

        `busy_s` is the time of compared, warm-up and timed iterations. Where the request asks for `samples`, `each_s`
        has them.
        """
        prepared = self._prepared[request["key"]]
        probe = self._probes.compute()
        begin = perf_counter()
        warm, repeats = prepared.look(), prepared.repeats
        timing = self._timed(prepared, request["seconds"], timer.WARMUP_S, warm)
        busy = perf_counter() - begin
        self._same_threads()
        prepared.look_after(timing.last)
        facts = timing._replace(last=None)._asdict()
        del facts["last"]
        if not request.get("samples"):
            del facts["each_s"]
        return {
            "status": "passed",
            "wrong": repeats.wrong if repeats else None,
            "note": VARIES if repeats and repeats.varies and not repeats.wrong else None,
            **facts,
            "host_s": NAN if timing.host_s is None else timing.host_s,
            "compute_probe_s": probe,
            "clock_hz": prepared.queue.clock_hz() if prepared.queue else None,
            "busy_s": busy,
        }

    def _timed(
        self, prepared: Prepared, seconds: float, warmup_s: float, warm: timer.Warm = timer.NOT_WARM
    ) -> timer.Timing:
        """One block, on a device after its clock has been made steady, and after a longer warm-up if it was idle."""
        queue, device = prepared.queue, prepared.device
        with prepared.layer.mode():
            if queue is not None and warmup_s:
                self._make_steady(device, queue)
                if perf_counter() - self._used_until_s.get(device, -math.inf) > timer.IDLE_S:
                    warmup_s = timer.DEVICE_WARMUP_S
            timing = timer.time_block(prepared.step, seconds, queue, prepared.between, warmup_s=warmup_s, warm=warm)
        if queue is not None:
            self._used_until_s[device] = perf_counter()
        return timing

    def _make_steady(self, device: str, queue: timer.Queue) -> None:
        """Keep a device busy with a fixed product until its clock frequency is steady, once in this process."""
        if device not in self._steady:
            with torch.no_grad():
                timer.steady_clock(product(torch.device(device), queue.synchronize), queue)
            self._steady.add(device)
            self._used_until_s[device] = perf_counter()

    def verify(self, request: dict[str, Any]) -> dict[str, Any]:
        """Check whether the layer still gives the same results as when it was verified."""
        prepared = self._prepared[request["key"]]
        prepared.layer.use(prepared.layer.operands)
        for name, values in prepared.normal.items():
            prepared.layer.operands.tensors()[name].data.copy_(values)
        prepared.layer.rebuild()
        wrong = still_right(prepared.layer, prepared.results)
        return {"status": "failed" if wrong else "passed", "reason": wrong}

    def _same_threads(self) -> int:
        """The number of threads. Where the layer's code has changed it, restores it and raises RuntimeError."""
        now = torch.get_num_threads()
        if now != self._threads:
            torch.set_num_threads(self._threads)
            raise RuntimeError(f"the layer's code changed torch's threads from {self._threads} to {now}")
        return now

    def peak_memory(self, request: dict[str, Any]) -> dict[str, Any]:
        """Bytes that one iteration needs in addition to its operands and results."""
        layer = self._prepared[request["key"]].layer
        # A graph allocates at its capture alone, in a pool of its own.
        found = None if layer.spec.execution == "graph" else memory.peak_bytes(layer)
        return {"status": "passed", "peak_bytes": found}

    def compute_probe(self, request: dict[str, Any]) -> dict[str, Any]:
        """Seconds of one small matrix product."""
        return {"status": "passed", "compute_probe_s": self._probes.compute()}

    def memory_probe(self, request: dict[str, Any]) -> dict[str, Any]:
        """Seconds of one 64 MiB copy."""
        return {"status": "passed", "memory_probe_s": self._probes.memory()}

    def references(self, request: dict[str, Any]) -> dict[str, Any]:
        """The lowest and the median time of a short block of each reference layer, which the first request builds."""
        name = request["device"]
        if name not in self._references:
            device = devices.resolve(name)
            layers = [Layer(Spec.from_json(spec), device) for spec in request["specs"]]
            self._references[name] = [Prepared(layer, device) for layer in layers]
        begin = perf_counter()
        timings = [self._timed(prepared, request["seconds"], 0.0) for prepared in self._references[name]]
        return {
            "status": "passed",
            "minima_s": [timing.minimum_s for timing in timings],
            "medians_s": [timing.median_s for timing in timings],
            "busy_s": perf_counter() - begin,
        }

    def twin(self, request: dict[str, Any]) -> dict[str, Any]:
        """The compute probe's time with all threads divided by its time with one."""
        return {"status": "passed", "twin_ratio": self._probes.twin_ratio()}

    def roofs(self, request: dict[str, Any]) -> dict[str, Any]:
        """The highest rates of this machine in these dtypes."""
        device = devices.resolve(request["device"])
        queue = None if device.type == "cpu" else devices.Stream(device)
        if queue is not None:
            self._make_steady(str(device), queue)
        found = measure_roofs(request["dtypes"], device, queue)
        allocator.trim()
        self._empty_caches()
        return {"status": "passed", "roofs": [roof._asdict() for roof in found]}

    def release(self, request: dict[str, Any]) -> dict[str, Any]:
        """Delete all layers and return their memory to the system."""
        self._prepared.clear()
        gc.collect()
        allocator.trim()
        self._empty_caches()
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


def _checked(layer: Layer, is_inexact: bool, precision: str | None) -> Outcome:
    """The verdict on a layer that has run; says so where not the layer but its check runs out of memory."""
    try:
        return verify(layer, is_inexact=is_inexact, precision=precision)
    except Exception as error:
        status, reason = classify(error)
        error.__traceback__ = None
        if status != "out_of_memory":
            raise
    needed = sum(tensor.numel() * (tensor.element_size() + 1) for tensor in layer.operands.tensors().values())
    beside = f"about {needed / 2**30:.2g} GiB beside the layer"
    raise MemoryError(f"not the layer, which ran, but its check, which needs {beside}: {reason}")


def _not_executed(spec: Spec, device: torch.device) -> str | None:
    """Why the layer cannot be compiled or captured here, as the case asks; None where it can."""
    refusals = {"compiled": compiled.refusal, "graph": graphs.refusal}
    return refusals[spec.execution](spec, device) if spec.execution in refusals else None


def _notes(*notes: str | None) -> str | None:
    """The notes about a layer in one line; None where there are none."""
    return "; ".join(filter(None, notes)) or None


def classify(error: Exception, *, torchs: bool = True) -> tuple[str, str]:
    """Status and reason for an exception. Only torch's layers are skipped for messages about missing support."""
    whole = _words(error)
    lines = whole.strip().splitlines()
    text = _cut(lines[0]) if lines else ""
    if isinstance(error, devices.AbsentError):
        return "skipped", text
    if isinstance(error, (MemoryError, _torch_oom())) or any(words in whole for words in _OUT_OF_MEMORY):
        return "out_of_memory", text or "out of memory"
    absent = torchs and isinstance(error, RuntimeError)
    if absent and any(words in text for words in _ABSENT):
        return "skipped", text
    name = _cut(str(type(error).__name__))
    return "error", f"{name}: {text}" if text else name


def _is_lasting(error: Exception) -> bool:
    """Whether the process can no longer use its device, so that another one must measure the next case."""
    whole = _words(error)
    if any(words in whole for words in _OUT_OF_MEMORY) or isinstance(error, _torch_oom()):
        return False
    lasting = getattr(torch, "AcceleratorError", None)
    return (lasting is not None and isinstance(error, lasting)) or any(words in whole for words in _LASTING)


def _end(error: Exception) -> NoReturn:
    """End this process, whose last line says why: the conductor then starts another one."""
    lines = [line for line in _words(error).splitlines() if line.strip()] or [type(error).__name__]
    sys.stderr.write(f"{lines[0]}\n")
    sys.stderr.flush()
    os._exit(1)


def _words(error: Exception) -> str:
    """The beginning of an exception's text. The user's code may produce it, and may fail."""
    try:
        return str(error)[:MOST_READ]
    except Exception as another:
        another.__traceback__ = None
        return f"(its text is not available: {_cut(str(type(another).__name__))})"


def _cut(text: str) -> str:
    """The text, cut to LONGEST_REASON characters."""
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}... ({len(text):,} characters or more)"


def _torch_oom() -> Any:
    return getattr(torch, "OutOfMemoryError", None) or getattr(torch.cuda, "OutOfMemoryError", MemoryError)


def _onednn_version() -> str | None:
    """OneDNN's version from torch's build configuration, e.g. `3.12.0`."""
    for line in torch.__config__.show().splitlines():
        if "MKL-DNN" in line or "oneDNN" in line:
            words = [word for word in line.replace(",", " ").split() if word[:1] == "v" and word[1:2].isdigit()]
            if words:
                return words[0][1:]
    return None
