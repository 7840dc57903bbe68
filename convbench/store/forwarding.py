"""A run that is written to a file on this host, and sent as it is stored: the caller of a campaign stores it too.

The file has everything first, so that what could not be sent is still there when the run goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Protocol, Self

from convbench.model.case import Case
from convbench.model.result import Environment, Git, ProcessFacts, Rejection, Run, RunState, Visit
from convbench.store.store import Store
from convbench.store.writer import Writer


class Receiver(Protocol):
    """What receives a run: everything in the order in which it is stored."""

    def run(self, run: Run, cases: Sequence[Case], digest: str) -> None:
        """A run without results begins, or goes on, with these cases."""

    def visits(self, run_id: str, visits: Sequence[Visit]) -> None:
        """Visits that were stored; one that comes again replaces the first."""

    def process(self, run_id: str, facts: ProcessFacts) -> None:
        """The facts of a process that were stored."""

    def ended(self, run_id: str, state: RunState, finished_at: str) -> None:
        """How the run ended."""


@dataclass(frozen=True, slots=True)
class Forwarded:
    """A store of one run that sends what it stores. A run that goes on is sent from its beginning."""

    store: Store
    receiver: Receiver

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.store.close()

    @property
    def is_waiting(self) -> bool:
        """Whether results wait for a server: what is sent waits elsewhere."""
        return False

    def resumable(
        self, *, digest: str, version: str, environment: Environment, host: str, git: Git | None = None
    ) -> str | None:
        """As `Store.resumable`."""
        return self.store.resumable(digest=digest, version=version, environment=environment, host=host, git=git)

    def processes_with_references(self, environment: Environment, block_s: float) -> list[ProcessFacts]:
        """As `Store.processes_with_references`."""
        return self.store.processes_with_references(environment, block_s)

    def begin(
        self, run: Run, cases: Sequence[Case], rejections: Sequence[Rejection], writer: Writer, *, digest: str
    ) -> None:
        """Store a new run, and send it."""
        self.store.begin(run, cases, rejections, writer, digest=digest)
        self.receiver.run(run, cases, digest)

    def take_over(self, run_id: str, writer: Writer) -> str:
        """Resume a run, and send all that is stored of it."""
        started_at = self.store.take_over(run_id, writer)
        send_all(self.store, run_id, self.receiver, state=RunState.RUNNING)
        return started_at

    def append(self, run_id: str, visits: Sequence[Visit]) -> None:
        """Store visits, and send them."""
        self.store.append(run_id, visits)
        self.receiver.visits(run_id, visits)

    def note_process(self, run_id: str, facts: ProcessFacts) -> None:
        """Store the facts of a process, and send them."""
        self.store.note_process(run_id, facts)
        self.receiver.process(run_id, facts)

    def finish(self, run_id: str, state: RunState, finished_at: str) -> None:
        """Store how the run ended, and send it. Its visits stay as they were sent: they may have to be sent again."""
        self.store.note_end(run_id, state, finished_at)
        self.receiver.ended(run_id, state, finished_at)

    def visits(self, run_id: str) -> dict[str, list[Visit]]:
        """As `Store.visits`."""
        return self.store.visits(run_id)


def send_all(store: Store, run_id: str, receiver: Receiver, *, state: RunState) -> None:
    """Send all that is stored of a run, in this state without an end."""
    run, cases, digest = store.head(run_id)
    receiver.run(replace(run, state=state, finished_at=None), cases, digest)
    for visits in store.visits(run_id).values():
        receiver.visits(run_id, visits)
    for facts in store.processes([run_id]).get(run_id, ()):
        receiver.process(run_id, facts)
