"""What an engine of fleets does: it knows hosts, starts shards on them, and hands on what they say. Types alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

from convbench.errors import RequestError
from convbench.fleet.messages import HostDevice, Order


class FleetLostError(RequestError):
    """The engine's head does not answer. Shards then end by themselves, and what they stored stays on their hosts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """Lines of a shard. They count as received when the caller asks for the next events."""

    ticket: int
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Over:
    """The process of a shard has ended with this code, after all its lines; `tail` is its last line of errors."""

    ticket: int
    code: int
    tail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A shard cannot be asked any more: its host, or what runs it there, has ended."""

    ticket: int
    reason: str


Event: TypeAlias = Said | Over | Lost


class Fleet(Protocol):
    """An engine. A ticket is the number of one start of a shard."""

    def hosts(self) -> tuple[HostDevice, ...]:
        """The devices of all hosts that are there now. Raises FleetLostError."""

    def start(self, at: HostDevice, order: Order) -> int | None:
        """Start a shard; None where another campaign holds the device. Raises FleetLostError."""

    def events(self, timeout_s: float) -> list[Event]:
        """What has happened since the last call; waits at most `timeout_s` for something. Raises FleetLostError."""

    def stop(self, ticket: int) -> None:
        """Interrupt a shard. It stores what it has, and its last events follow."""

    def release(self, ticket: int, *, forget: bool) -> None:
        """Give up a shard that is over or lost; with `forget` its host removes what it kept of it."""

    def close(self) -> None:
        """End all shards and let go of the engine."""
