"""A client: typed requests to one worker. A client runs one block at a time."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Any, Protocol, TypeVar

from convbench.engine.machine import Host, HostState
from convbench.errors import RequestError, WorkerDiedError
from convbench.model import reading
from convbench.model.case import Case, WorkerSettings
from convbench.model.fact import inlined
from convbench.model.references import references
from convbench.model.result import NO_FACTS, QUANTILES, BlockFacts, CaseFacts, Device, Roof, Status
from convbench.model.settings import PROBLEM_SETTINGS, Sent, sent
from convbench.model.values import MOST_MEASURED
from convbench.units import LONGEST_TEXT, line

T = TypeVar("T")
Json = bool | int | float | str | None | Sequence["Json"] | Mapping[str, "Json"]
Message = Mapping[str, Json]


class Transport(Protocol):
    """Sends requests to a worker and receives its answers."""

    def request(self, message: Message, *, deadline_s: float) -> Mapping[str, Json]:
        """The worker's answer. Raises WorkerDiedError or WorkerTimedOutError, and then closes the transport.

        A closed transport raises WorkerDiedError.
        """

    def wait_until_up(self, *, deadline_s: float) -> None:
        """Wait until the worker answers; raises WorkerStartError, also where the transport is closed."""

    def is_alive(self) -> bool:
        """Whether the worker's process still runs; sends no request."""

    def close(self) -> None:
        """End the worker; no effect where it has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A worker's description of itself. `memory_bytes` is its private memory, None where the system reports none."""

    host: Host

    torch: str
    python: str
    onednn: str | None
    cpu_capability: str | None
    threads: int
    keeps_memory: bool
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """The devices of a run as a worker describes them, and the software below them as (name, version).

    `free_bytes` is their free memory as (name, bytes), without those that do not report it.
    """

    accelerator: str | None = None
    devices: tuple[Device, ...] = ()
    software: tuple[tuple[str, str], ...] = ()
    free_bytes: tuple[tuple[str, int], ...] = ()


NO_DEVICES = Devices()


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The result of preparing a case. It is timed only if its status is passed, failed or imprecise.

    `digest` is a checksum of its exact results on integers, with which other processes can compare theirs, or None.
    """

    status: Status
    digest: str | None = None
    reason: str | None = None
    facts: CaseFacts = field(default=NO_FACTS, metadata=inlined(CaseFacts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing(BlockFacts):
    """One block as the worker measured it. `busy_s` is the time of compared, warm-up and timed iterations, seconds.

    `each_s` are the samples in their order, None where they were not asked for. `clock_hz` is the clock of the device's
    multiprocessors after the block, None where the worker cannot measure it. `wrong` is what is wrong where calls
    differ from each other, or None. `note` is a fact about how they differ.
    """

    busy_s: float
    each_s: tuple[float, ...] | None = None
    clock_hz: float | None = None
    wrong: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why the worker could not answer a request, or what it found wrong."""

    status: Status
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceTimes:
    """The lowest and the median seconds per iteration of each reference layer.

    `busy_s` is warm-up and blocks, seconds.
    """

    minima_s: tuple[float, ...]
    medians_s: tuple[float, ...]
    busy_s: float


class WorkerClient:
    """Typed requests to one worker with its settings."""

    def __init__(self, transport: Transport, settings: WorkerSettings) -> None:
        self._transport = transport
        self._settings = settings

    def describe(self, *, deadline_s: float) -> Description:
        """Wait until the worker has started, make it apply its settings, and return its description."""
        self._transport.wait_until_up(deadline_s=deadline_s)
        settings = self._settings
        request: Message = {"op": "describe", **{name: getattr(settings, name) for name in _OF_PROCESS}}
        return self._ask(request, deadline_s, partial(_read, Description))

    def devices(self, names: Sequence[str], *, deadline_s: float) -> Devices:
        """What these devices are; empty where the worker cannot say."""
        message: Message = {"op": "devices", "names": list(names)}
        return self._ask(message, deadline_s, lambda answer: NO_DEVICES if _refusal(answer) else _read(Devices, answer))

    def host_state(self, *, deadline_s: float) -> HostState:
        """The momentary state of the worker's machine."""
        return self._ask({"op": "host_state"}, deadline_s, partial(_read, HostState))

    def is_alive(self) -> bool:
        """Whether the worker's process still runs."""
        return self._transport.is_alive()

    def find_module(self, name: str, *, deadline_s: float) -> None:
        """Import the user's module in the worker; raises RequestError where that fails."""
        refusal = self._ask({"op": "find_module", "module": name}, deadline_s, _refusal)
        if refusal is not None:
            raise RequestError(
                f"module {name}: {refusal.reason}",
                hint="it must be importable from the current folder or through PYTHONPATH",
            )

    def prepare(
        self,
        key: int,
        case: Case,
        *,
        check: bool,
        seed: int,
        deadline_s: float,
        kernels: bool = False,
        digest: str | None = None,
        again: bool = False,
        repeats: bool = True,
    ) -> Prepared:
        """Build the layer of a case under `key`; with `check`, verify its results and name its implementation.

        With `kernels` only the kernels of its backward are timed under the key, without autograd. `digest` is that of
        an earlier check; with `again`, results on integers are compared with it. With `repeats`, each block compares
        calls.
        """
        asked = spec(case, seed) | ({"direction": KERNELS} if kernels else {})
        message: Message = {
            "op": "prepare",
            "key": key,
            "check": check,
            "digest": digest,
            "again": again,
            "repeats": repeats,
            "spec": asked,
        }
        return self._ask(message, deadline_s, partial(_read, Prepared))

    def verify(self, key: int, *, deadline_s: float) -> Refusal | None:
        """What is wrong where the layer under `key` no longer gives the results of its check, else None."""
        return self._ask({"op": "verify", "key": key}, deadline_s, _refusal)

    def peak_memory(self, key: int, *, deadline_s: float) -> int | None:
        """Memory of an iteration of the case under `key` without operands and results, bytes; None where unknown."""
        return self._ask(
            {"op": "peak_memory", "key": key}, deadline_s, lambda answer: _read(CaseFacts, answer).peak_bytes
        )

    def block(self, key: int, seconds: float, *, deadline_s: float, samples: bool = False) -> Timing | Refusal:
        """Time one block of the case under `key`; with `samples`, also return each sample."""
        asked: Message = {"samples": True} if samples else {}
        return self._ask({"op": "block", "key": key, "seconds": seconds, **asked}, deadline_s, _timing)

    def memory_probe(self, *, deadline_s: float) -> float:
        """Seconds of one copy that does not fit in the caches."""
        return self._ask({"op": "memory_probe"}, deadline_s, lambda answer: _number(answer, "memory_probe_s"))

    def references(self, device: str, seconds: float, *, deadline_s: float) -> ReferenceTimes | Refusal:
        """Time a block of `seconds` of each reference layer of the device."""
        specs = [spec(case, seed=0) for _, case in references(device)]
        message: Message = {"op": "references", "device": device, "seconds": seconds, "specs": specs}
        return self._ask(message, deadline_s, partial(_reference_times, layers=len(specs)))

    def twin_ratio(self, *, deadline_s: float) -> float:
        """The compute probe's time with all of the worker's threads divided by its time with one."""
        return self._ask({"op": "twin"}, deadline_s, lambda answer: _number(answer, "twin_ratio"))

    def compute_probe(self, *, deadline_s: float) -> float:
        """Seconds of one small matrix product that fits in the caches."""
        return self._ask({"op": "compute_probe"}, deadline_s, lambda answer: _number(answer, "compute_probe_s"))

    def roofs(self, dtypes: Sequence[str], device: str, *, deadline_s: float) -> tuple[Roof, ...]:
        """The highest rates of the device; empty where it is absent."""
        return self._ask(
            {"op": "roofs", "dtypes": list(dtypes), "device": device},
            deadline_s,
            lambda answer: _roofs(answer, device, self._settings),
        )

    def release(self, *, deadline_s: float) -> None:
        """Delete all layers of the worker."""
        self._ask({"op": "release"}, deadline_s, partial(_read, Refusal))

    def close(self) -> None:
        """End the worker."""
        self._transport.close()

    def _ask(self, message: Message, deadline_s: float, read: Callable[[Mapping[str, Json]], T]) -> T:
        """The answer, converted by `read`. Where it cannot read the answer, the worker is ended."""
        answer = self._transport.request(message, deadline_s=deadline_s)
        try:
            if not isinstance(answer, Mapping) or not isinstance(answer.get("status"), str):
                raise _senseless("status", answer)
            return read(answer)
        except WorkerDiedError:
            self.close()
            raise


def _timing(answer: Mapping[str, Json]) -> Timing | Refusal:
    refusal = _refusal(answer)
    if refusal is not None:
        return refusal
    timing = _read(Timing, answer)
    times = [getattr(timing, name) for name in QUANTILES]
    if any(low > high * (1 + _ROUNDOFF) for low, high in pairwise(times)):
        raise _senseless("row of times", answer)
    each = timing.each_s
    if each is not None and (len(each) != timing.samples or not all(0 < sample < MOST_MEASURED for sample in each)):
        raise _senseless("list of samples", answer)
    return timing


def _reference_times(answer: Mapping[str, Json], *, layers: int) -> ReferenceTimes | Refusal:
    refusal = _refusal(answer)
    if refusal is not None:
        return refusal
    found = _read(ReferenceTimes, answer)
    for times in (found.minima_s, found.medians_s):
        if len(times) == layers and all(0 < value < math.inf for value in times):
            continue
        raise _senseless("row of reference times", answer)
    return found


def _roofs(answer: Mapping[str, Json], device: str, settings: WorkerSettings) -> tuple[Roof, ...]:
    found = answer.get("roofs")
    if not isinstance(found, Sequence):
        return ()
    asked: Mapping[str, Json] = {
        "device": device,
        "threads": settings.threads,
        "precision": settings.fp32_precision,
    }
    return tuple(_read(Roof, {**roof, **asked}) for roof in found if isinstance(roof, Mapping))


def read_host(found: Json) -> Host:
    """A machine from the answer of worker/host.py; raises WorkerDiedError where the answer is invalid."""
    return _read(Host, found)


#: How much smaller than the previous quantile a quantile may be, because both are interpolated.
_ROUNDOFF = 1e-9

#: The worker's name of a direction that no case has: only the kernels of backward, without autograd.
KERNELS = "kernels"

#: The settings that a worker gets once, and those that it gets with each layer.
_OF_PROCESS = sent(Sent.PROCESS)
_WITH_LAYER = sent(Sent.LAYER)


def spec(case: Case, seed: int) -> dict[str, Json]:
    """The case as fields of worker.spec.Spec, with every size computed by convbench's formulas."""
    p = case.problem
    return {
        **{name: getattr(p if name in PROBLEM_SETTINGS else case, name) for name in _WITH_LAYER},
        "operator": p.operator.name,
        "pads": p.pads,
        "pads_itself": p.module_output_size is not None,
        "input_shape": p.input_shape,
        "weight_shape": p.weight_shape,
        "output_shape": p.output_shape,
        "seed": zlib.crc32(f"{seed}/{case.id}".encode()),
    }


def _refusal(answer: Mapping[str, Json]) -> Refusal | None:
    found = _read(Refusal, answer)
    return None if found.status is Status.PASSED else replace(found, reason=found.reason or found.status)


def _read(kind: type[T], answer: Json) -> T:
    """An instance of a dataclass from the entries of an answer with its names; absent entries count as None.

    Raises WorkerDiedError for values that could not be read again after they were stored.
    """
    if not isinstance(answer, Mapping):
        raise _senseless(kind.__name__, answer)
    described: Any = kind
    found = {entry.name: _one_line(answer.get(entry.name)) for entry in reading.entries(described)}
    try:
        return reading.reader(kind)(found)
    except RequestError as error:
        raise _senseless(error.message, answer) from None


def _number(answer: Mapping[str, Json], name: str) -> float:
    try:
        return reading.reader(float)(_one_line(answer.get(name)))
    except RequestError:
        raise _senseless(name, answer) from None


def _one_line(answer: Json) -> reading.Json:
    """A worker's answer with its texts on one line each: the user's code may have produced them."""
    if isinstance(answer, str):
        return line(answer, most=LONGEST_TEXT)
    if isinstance(answer, Mapping):
        return {name: _one_line(value) for name, value in answer.items()}
    if isinstance(answer, Sequence):
        return [_one_line(value) for value in answer]
    return answer


def _senseless(name: str, answer: object) -> WorkerDiedError:
    """The error for an invalid answer, which means that the layer's code wrote into the channel or broke it."""
    return WorkerDiedError(f"the worker answered without a valid {name}: {answer!r:.200}")
