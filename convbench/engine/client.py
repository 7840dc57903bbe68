"""A client: one worker and the typed requests it answers. One block at a time runs in a client."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, TypeVar

from convbench.engine.machine import Host, HostState
from convbench.errors import RequestError, WorkerDiedError
from convbench.model.bounds import MOST_MEASURED
from convbench.model.case import Case, WorkerSettings
from convbench.model.result import Check, Roof, RoofKind, Status
from convbench.model.serial import reader, to_json
from convbench.model.settings import PROBLEM_SETTINGS, Sent, sent
from convbench.units import LONGEST_TEXT, line

_Noun = TypeVar("_Noun", Check, Roof)
_Read = TypeVar("_Read")
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
    check: Check | None = None
    implementation: str | None = None
    threads: int | None = None
    timer: str | None = None
    note: str | None = None
    precision: str | None = None
    reorder_share: float | None = None
    first_call_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One block as the worker saw it: seconds per iteration. `busy_s` is warm-up and timed iterations together."""

    iterations: int
    samples: int
    minimum_s: float
    q1_s: float
    median_s: float
    q3_s: float
    p95_s: float
    mean_s: float
    host_s: float
    page_faults: float
    compute_probe_s: float
    busy_s: float

    @property
    def quantiles(self) -> tuple[float, ...]:
        """Times that rise from one to the next."""
        return (self.minimum_s, self.q1_s, self.median_s, self.q3_s, self.p95_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What the worker could not do, or found wrong, and why."""

    status: Status
    reason: str


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
        return self._ask(request, deadline_s, _description)

    def host_state(self, *, deadline_s: float) -> HostState:
        """How the machine that the worker runs on is now."""
        return self._ask({"op": "host_state"}, deadline_s, _host_state)

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
        return self._ask({"op": "prepare", "key": key, "check": check, "spec": asked}, deadline_s, _prepared)

    def verify(self, key: int, *, deadline_s: float) -> Refusal | None:
        """What is wrong where the layer under `key` no longer gives what it gave when it was checked, else None."""
        return self._ask({"op": "verify", "key": key}, deadline_s, _refusal)

    def peak_memory(self, key: int, *, deadline_s: float) -> int | None:
        """Bytes that an iteration of the case under `key` takes beyond its operands and results, where it is known."""
        return self._ask(
            {"op": "peak_memory", "key": key}, deadline_s, lambda answer: _maybe_integer(answer, "peak_bytes")
        )

    def block(self, key: int, seconds: float, *, deadline_s: float) -> Timing | Refusal:
        """Time one block of the case under `key`."""
        return self._ask({"op": "block", "key": key, "seconds": seconds}, deadline_s, _timing)

    def memory_probe(self, *, deadline_s: float) -> float:
        """Seconds of one copy that reaches memory."""
        return self._ask({"op": "memory_probe"}, deadline_s, lambda answer: _number(answer, "memory_probe_s"))

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
        self._ask({"op": "release"}, deadline_s, _status)

    def close(self) -> None:
        """End the worker."""
        self._transport.close()

    def _ask(self, message: Message, deadline_s: float, read: Callable[[Mapping[str, Json]], _Read]) -> _Read:
        """What `read` makes of the answer; one that it cannot read is the worker's end."""
        answer = self._transport.request(message, deadline_s=deadline_s)
        try:
            if not isinstance(answer, Mapping) or not isinstance(answer.get("status"), str):
                raise _senseless("status", answer)
            return read(answer)
        except WorkerDiedError:
            self.close()
            raise


def _description(answer: Mapping[str, Json]) -> Description:
    return Description(
        host=read_host(answer.get("host")),
        torch=_text(answer, "torch"),
        python=_text(answer, "python"),
        onednn=_maybe_text(answer, "onednn"),
        cpu_capability=_maybe_text(answer, "cpu_capability"),
        accelerator=_maybe_text(answer, "accelerator"),
        threads=_integer(answer, "threads"),
        keeps_memory=answer.get("keeps_memory") is True,
        memory_bytes=_maybe_integer(answer, "memory_bytes"),
    )


def _host_state(answer: Mapping[str, Json]) -> HostState:
    return HostState(
        ticks=None if answer.get("ticks") is None else _integers(answer, "ticks"),
        throttled=_maybe_integer(answer, "throttled"),
        load=_maybe_number(answer, "load"),
        frequency_hz=_maybe_number(answer, "frequency_hz"),
    )


def _prepared(answer: Mapping[str, Json]) -> Prepared:
    found = answer.get("check")
    return Prepared(
        status=_status(answer),
        reason=_maybe_text(answer, "reason"),
        check=_readable(_check(found), answer) if isinstance(found, Mapping) else None,
        implementation=_maybe_text(answer, "implementation"),
        threads=_integer(answer, "threads", least=1) if "threads" in answer else None,
        timer=_maybe_text(answer, "timer"),
        note=_maybe_text(answer, "note"),
        precision=_maybe_text(answer, "precision"),
        reorder_share=_maybe_number(answer, "reorder_share"),
        first_call_s=_maybe_number(answer, "first_call_s"),
    )


def _timing(answer: Mapping[str, Json]) -> Timing | Refusal:
    refusal = _refusal(answer)
    if refusal is not None:
        return refusal
    timing = Timing(
        iterations=_integer(answer, "iterations", least=1),
        samples=_integer(answer, "samples", least=1),
        **{name: _number(answer, name) for name in _TIMING_NUMBERS},
    )
    if timing.minimum_s == 0 or any(low > high * (1 + _ROUNDOFF) for low, high in pairwise(timing.quantiles)):
        raise _senseless("row of times", answer)
    return timing


def _roofs(answer: Mapping[str, Json], device: str, settings: WorkerSettings) -> tuple[Roof, ...]:
    found = answer.get("roofs")
    if not isinstance(found, Sequence):
        return ()
    return tuple(_readable(_roof(roof, device, settings), answer) for roof in found if isinstance(roof, Mapping))


def read_host(found: Json) -> Host:
    """What worker/host.py tells of a machine; raises WorkerDiedError where it makes no sense."""
    if not isinstance(found, Mapping):
        raise _senseless("host", found)
    boost = found.get("boost")
    return Host(
        **{name: _text(found, name) for name in ("hostname", "system", "machine", "cpu", "libc")},
        cores=_integer(found, "cores", least=1),
        memory_bytes=_maybe_integer(found, "memory_bytes"),
        available_bytes=_maybe_integer(found, "available_bytes"),
        l2_bytes=_maybe_integer(found, "l2_bytes"),
        l3_bytes=_maybe_integer(found, "l3_bytes"),
        governor=_maybe_text(found, "governor"),
        boost=boost if isinstance(boost, bool) else None,
    )


_TIMING_NUMBERS = (
    "minimum_s",
    "q1_s",
    "median_s",
    "q3_s",
    "p95_s",
    "mean_s",
    "host_s",
    "page_faults",
    "compute_probe_s",
    "busy_s",
)


#: What is more than this is no answer either.
_MOST = {"reorder_share": 1.0}
#: What is NaN where it was not measured.
_UNKNOWN = frozenset({"host_s"})
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


def _status(answer: Mapping[str, Json]) -> Status:
    try:
        return Status(_text(answer, "status"))
    except ValueError:
        raise _senseless("status", answer) from None


def _refusal(answer: Mapping[str, Json]) -> Refusal | None:
    status = _status(answer)
    return None if status is Status.PASSED else Refusal(status=status, reason=_maybe_text(answer, "reason") or status)


def _check(found: Mapping[str, Json]) -> Check:
    shape = found["output_shape"]
    error = found["max_error"]
    return Check(
        output_shape=tuple(int(str(side)) for side in shape) if isinstance(shape, Sequence) else None,
        max_error=float(error) if isinstance(error, int | float) else None,
        elements=_integer(found, "elements"),
        method=_text(found, "method"),
        reason=_maybe_text(found, "reason"),
    )


def _roof(found: Mapping[str, Json], device: str, settings: WorkerSettings) -> Roof:
    footprint = found["footprint_bytes"]
    return Roof(
        kind=RoofKind(_text(found, "kind")),
        device=device,
        threads=settings.threads,
        precision=settings.fp32_precision,
        rate=_number(found, "rate"),
        source=_text(found, "source"),
        dtype=_maybe_text(found, "dtype"),
        footprint_bytes=footprint if isinstance(footprint, int) else None,
    )


def _readable(noun: _Noun, answer: object) -> _Noun:
    """The noun, where it could be read again once it is stored."""
    try:
        reader(type(noun))(to_json(noun))
    except RequestError as error:
        raise _senseless(error.message, answer) from None
    return noun


def _senseless(name: str, answer: object) -> WorkerDiedError:
    """An answer that no worker gives by itself: the layer's code wrote into the protocol's channel, or broke it."""
    return WorkerDiedError(f"the worker answered without a sound {name}: {answer!r:.200}")


def _text(answer: Mapping[str, Json], name: str) -> str:
    """What a worker says, on one line: the user's own code may have said it."""
    value = answer.get(name)
    if not isinstance(value, str):
        raise _senseless(name, answer)
    return line(value, most=LONGEST_TEXT)


def _maybe_text(answer: Mapping[str, Json], name: str) -> str | None:
    return None if answer.get(name) is None else _text(answer, name)


def _number(answer: Mapping[str, Json], name: str) -> float:
    """A number from 0 on, finite unless it may be unknown: what is stored must be readable again."""
    value = answer.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _senseless(name, answer)
    if not 0 <= value <= _MOST.get(name, MOST_MEASURED) and not (name in _UNKNOWN and value != value):
        raise _senseless(name, answer)
    return float(value)


def _maybe_number(answer: Mapping[str, Json], name: str) -> float | None:
    return None if answer.get(name) is None else _number(answer, name)


def _integer(answer: Mapping[str, Json], name: str, *, least: int = 0) -> int:
    value = answer.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**53:
        raise _senseless(name, answer)
    return value


def _maybe_integer(answer: Mapping[str, Json], name: str) -> int | None:
    return None if answer.get(name) is None else _integer(answer, name)


def _integers(answer: Mapping[str, Json], name: str) -> tuple[int, ...]:
    values = answer.get(name)
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise _senseless(name, answer)
    return tuple(_integer({name: value}, name) for value in values)
