"""What a campaign's caller and the hosts send each other: text alone, JSON of these dataclasses. Pure.

A host gets an order, which is the sweep's text and what to do with it. A shard answers with lines, one JSON object
each, in the order in which things happened. They are read like an exported file: every value is checked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from convbench.errors import RequestError
from convbench.model.campaign import DeviceKind, MachineKey
from convbench.model.reading import reader
from convbench.model.serial import parsed, to_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a shard measures. `source` is the sweep's text, `path` its file's name in messages.

    `case_ids` are the only cases to measure; all of the sweep where there are none. With `db`, an SQLAlchemy URL, the
    run is written there. Without, it is written to a file on the host and sent line by line. `fresh` begins a new run;
    otherwise an unfinished one of the same cases goes on.
    """

    campaign: str
    position: int
    source: str
    path: str
    case_ids: tuple[str, ...] = ()
    db: str | None = None
    fresh: bool = True
    device: str = "cpu"
    with_modules: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HostDevice:
    """One device of one host that measures. `node` is the engine's name for the host since it joined.

    `host` is the name that stays when a host comes back. `boot` is its boot id, empty where the system has none.
    `device` is `cpu` or a UUID. `version` is the host's convbench. `cpus` and `gpus` are those that the engine may
    give away there.
    """

    node: str
    host: str
    boot: str
    version: str
    machine: MachineKey
    device: str = "cpu"
    labels: tuple[tuple[str, str], ...] = ()
    cpus: float = 0.0
    gpus: float = 0.0

    @property
    def place(self) -> tuple[str, str]:
        """Host and device, by which a shard finds its place again."""
        return self.host, self.device

    def __str__(self) -> str:
        """`node7`, `node7 GPU-0b1c2d3e`."""
        return self.host if self.device == "cpu" else f"{self.host} {self.device[:12]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What a host says of itself when it is asked. `devices` are (UUID, kind) of those that NVIDIA's library knows."""

    version: str
    boot: str
    hostname: str
    cpu: str
    architecture: str
    cores: int
    devices: tuple[tuple[str, DeviceKind], ...] = ()


#: What a line of a shard may be about, each with the entries of its object beside `event`.
RUN = "run"  # run, digest, cases: the run has begun or goes on, and its visits follow
VISITS = "visits"  # visits
PROCESS = "process"  # facts
ENDED = "ended"  # state, finished_at
BEGUN = "begun"  # run_id, resumed, kept
PROGRESS = "progress"  # what, done, planned, problems
MESSAGE = "message"  # text
WAITING = "waiting"  # text
FAILED = "failed"  # message, hint, retry


def line(event: str, **entries: object) -> str:
    """One line that a shard sends."""
    return json.dumps({"event": event, **{name: to_json(value, defaults=False) for name, value in entries.items()}})


def read_line(text: str) -> Mapping[str, Any]:
    """The object of a line; RequestError where it is none."""
    try:
        found = parsed(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("event"), str):
        raise RequestError(f"a shard said what is no message: {text[:100]!r}")
    return found


def order_text(order: Order) -> str:
    """The order as text."""
    return json.dumps(to_json(order))


def order_of(text: str) -> Order:
    """The order in a text; RequestError where it is invalid."""
    return _read_order(parsed(text))


def hello_text(hello: Hello) -> str:
    """What a host says as text."""
    return json.dumps(to_json(hello))


def hello_of(text: str) -> Hello:
    """What a host says; RequestError where it is invalid."""
    return _read_hello(parsed(text))


_read_order = reader(Order)
_read_hello = reader(Hello)
