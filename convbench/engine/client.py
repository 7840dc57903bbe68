"""A client: one worker and the typed requests it answers. One block at a time runs in a client."""

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
from convbench.model.result import NO_FACTS, QUANTILES, BlockFacts, CaseFacts, Roof, Status
from convbench.model.settings import PROBLEM_SETTINGS, Sent, sent
from convbench.units import LONGEST_TEXT, line

T = TypeVar("T")
Json = bool | int | float | str | None | Sequence["Json"] | Mapping[str, "Json"]
Message = Mapping[str, Json]


class Transport(Protocol):
    """Carries one request to a worker and its answer back."""

    def request(self, message: Message, *, deadline_s: float) -> Mapping[str, Json]:
        """The worker's answer; raises WorkerDiedError or WorkerTimedOutError, after which the transport is closed.

        A transport that is closed raises WorkerDiedError.
        """

    def wait_until_up(self, *, deadline_s: float) -> None:
        """Return when the worker answers; raises WorkerStartError, also where it was closed before."""

    def is_alive(self) -> bool:
        """Whether the worker's process still runs, as far as is known without asking it."""

    def close(self) -> None:
        """End the worker; does nothing where it has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a worker says of itself. `memory_bytes` is its private memory, None where the system does not tell."""

    host: Host

    torch: str
    python: str
    onednn: str | None
    cpu_capability: str | None
    accelerator: str | None
    threads: int
    keeps_memory: bool
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What preparing a case came to; `status` is passed, failed or imprecise (timed all the same), or why not."""

    status: Status
    reason: str | None = None
    facts: CaseFacts = field(default=NO_FACTS, metadata=inlined(CaseFacts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing(BlockFacts):
    """One block as the worker saw it. `busy_s` is warm-up and timed iterations together, seconds."""

    busy_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What the worker could not do, or found wrong, and why."""

    status: Status
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceTimes:
    """The lowest seconds per iteration of each reference layer; `busy_s` is warm-up and blocks, seconds."""

    minima_s: tuple[float, ...]
    busy_s: float


class WorkerClient:
    """Typed requests to one worker with its settings."""

    def __init__(self, transport: Transport, settings: WorkerSettings) -> None:
        self._transport = transport
        self._settings = settings

    def describe(self, *, deadline_s: float) -> Description:
        """Wait until the worker is up, have it take on its settings, and hear what it is."""
        self._transport.wait_until_up(deadline_s=deadline_s)
        settings = self._settings
        request: Message = {"op": "describe", **{name: getattr(settings, name) for name in _OF_PROCESS}}
        return self._ask(request, deadline_s, partial(_read, Description))

    def host_state(self, *, deadline_s: float) -> HostState:
        """How the machine that the worker runs on is now."""
        return self._ask({"op": "host_state"}, deadline_s, partial(_read, HostState))

    def is_alive(self) -> bool:
        """Whether the worker's process still runs."""
        return self._transport.is_alive()

    def find_module(self, name: str, *, deadline_s: float) -> None:
        """Have the worker import the user's own module; raises RequestError where it is not there."""
        refusal = self._ask({"op": "find_module", "module": name}, deadline_s, _refusal)
        if refusal is not None:
            raise RequestError(
                f"module {name}: {refusal.reason}",
                hint="it must be importable from the current folder or through PYTHONPATH",
            )

    def prepare(
        self, key: int, case: Case, *, check: bool, seed: int, deadline_s: float, kernels: bool = False
    ) -> Prepared:
        """Build the layer of a case under `key`; with `check`, prove it right and name what runs.

        With `kernels` what is timed under the key are the kernels of its backward alone, without autograd.
        """
        asked = spec(case, seed) | ({"direction": KERNELS} if kernels else {})
        return self._ask(
            {"op": "prepare", "key": key, "check": check, "spec": asked}, deadline_s, partial(_read, Prepared)
        )

    def verify(self, key: int, *, deadline_s: float) -> Refusal | None:
        """What is wrong where the layer under `key` no longer gives what it gave when it was checked, else None."""
        return self._ask({"op": "verify", "key": key}, deadline_s, _refusal)

    def peak_memory(self, key: int, *, deadline_s: float) -> int | None:
        """Bytes that an iteration of the case under `key` takes beyond its operands and results, where it is known."""
        return self._ask(
            {"op": "peak_memory", "key": key}, deadline_s, lambda answer: _read(CaseFacts, answer).peak_bytes
        )

    def block(self, key: int, seconds: float, *, deadline_s: float) -> Timing | Refusal:
        """Time one block of the case under `key`."""
        return self._ask({"op": "block", "key": key, "seconds": seconds}, deadline_s, _timing)

    def memory_probe(self, *, deadline_s: float) -> float:
        """Seconds of one copy that reaches memory."""
        return self._ask({"op": "memory_probe"}, deadline_s, lambda answer: _number(answer, "memory_probe_s"))

    def references(self, device: str, seconds: float, *, deadline_s: float) -> ReferenceTimes | Refusal:
        """Time a block of `seconds` of each reference layer of the device."""
        specs = [spec(case, seed=0) for _, case in references(device)]
        message: Message = {"op": "references", "device": device, "seconds": seconds, "specs": specs}
        return self._ask(message, deadline_s, partial(_reference_times, layers=len(specs)))

    def twin_ratio(self, *, deadline_s: float) -> float:
        """Seconds of the compute probe with all of the worker's threads over those with one."""
        return self._ask({"op": "twin"}, deadline_s, lambda answer: _number(answer, "twin_ratio"))

    def compute_probe(self, *, deadline_s: float) -> float:
        """Seconds of one small matrix product that lives in the caches."""
        return self._ask({"op": "compute_probe"}, deadline_s, lambda answer: _number(answer, "compute_probe_s"))

    def roofs(self, dtypes: Sequence[str], device: str, *, deadline_s: float) -> tuple[Roof, ...]:
        """What the device can do at best; empty where it is absent."""
        return self._ask(
            {"op": "roofs", "dtypes": list(dtypes), "device": device},
            deadline_s,
            lambda answer: _roofs(answer, device, self._settings),
        )

    def release(self, *, deadline_s: float) -> None:
        """Have the worker forget all its layers."""
        self._ask({"op": "release"}, deadline_s, partial(_read, Refusal))

    def close(self) -> None:
        """End the worker."""
        self._transport.close()

    def _ask(self, message: Message, deadline_s: float, read: Callable[[Mapping[str, Json]], T]) -> T:
        """What `read` makes of the answer; one that it cannot read is the worker's end."""
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
    return timing


def _reference_times(answer: Mapping[str, Json], *, layers: int) -> ReferenceTimes | Refusal:
    refusal = _refusal(answer)
    if refusal is not None:
        return refusal
    found = _read(ReferenceTimes, answer)
    if len(found.minima_s) != layers or not all(0 < value < math.inf for value in found.minima_s):
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
    """What worker/host.py tells of a machine; raises WorkerDiedError where it makes no sense."""
    return _read(Host, found)


#: By how much a quantile may lie under the one before it, which is interpolated too.
_ROUNDOFF = 1e-9

#: The worker's word for a direction that no case has: all that backward computes, by its kernels alone.
KERNELS = "kernels"

#: The settings that a worker learns once, and those that it learns with each layer.
_OF_PROCESS = sent(Sent.PROCESS)
_WITH_LAYER = sent(Sent.LAYER)


def spec(case: Case, seed: int) -> dict[str, Json]:
    """The case in the worker's words (worker.spec.Spec): every size by convbench's own formulas."""
    p = case.problem
    return {
        **{name: getattr(p if name in PROBLEM_SETTINGS else case, name) for name in _WITH_LAYER},
        "operator": p.operator.name,
        "pads": p.pads,
        "input_shape": p.input_shape,
        "weight_shape": p.weight_shape,
        "output_shape": p.output_shape,
        "seed": zlib.crc32(f"{seed}/{case.id}".encode()),
    }


def _refusal(answer: Mapping[str, Json]) -> Refusal | None:
    told = _read(Refusal, answer)
    return None if told.status is Status.PASSED else replace(told, reason=told.reason or told.status)


def _read(kind: type[T], answer: Json) -> T:
    """What of an answer are entries of a dataclass, as one of these; absent entries count as None.

    Raises WorkerDiedError for what could not be read again once it is stored.
    """
    if not isinstance(answer, Mapping):
        raise _senseless(kind.__name__, answer)
    described: Any = kind
    told = {entry.name: _one_line(answer.get(entry.name)) for entry in reading.entries(described)}
    try:
        return reading.reader(kind)(told)
    except RequestError as error:
        raise _senseless(error.message, answer) from None


def _number(answer: Mapping[str, Json], name: str) -> float:
    try:
        return reading.reader(float)(_one_line(answer.get(name)))
    except RequestError:
        raise _senseless(name, answer) from None


def _one_line(told: Json) -> reading.Json:
    """What a worker says, texts on one line: the user's own code may have said them."""
    if isinstance(told, str):
        return line(told, most=LONGEST_TEXT)
    if isinstance(told, Mapping):
        return {name: _one_line(value) for name, value in told.items()}
    if isinstance(told, Sequence):
        return [_one_line(value) for value in told]
    return told


def _senseless(name: str, answer: object) -> WorkerDiedError:
    """An answer that no worker gives by itself: the layer's code wrote into the protocol's channel, or broke it."""
    return WorkerDiedError(f"the worker answered without a sound {name}: {answer!r:.200}")
