"""Conducts a campaign: decides which shard is measured on which host, and what follows when one is lost.

An engine starts the shards (engine.py), and a database keeps what they say (home.py). Nothing is measured again without
a message: a shard goes on where it was, and where it cannot, its note says what begins afresh.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from convbench import units
from convbench.errors import ExitCode, RequestError, StoreError
from convbench.fleet import messages
from convbench.fleet.engine import Event, Fleet, FleetLostError, Lost, Over, Said
from convbench.fleet.home import Home
from convbench.fleet.messages import HostDevice, Order
from convbench.model.campaign import Campaign, CampaignState, Shard, ShardState, machine_key
from convbench.model.result import Run

#: How long one wait for events lasts, seconds.
EVENTS_S = 1.0
#: How long a shard waits for a host that was lost before it moves to another one, seconds.
PATIENCE_S = 600.0
#: How long cancelled shards may take to store what they have and say so, seconds.
CANCEL_S = 60.0
#: How often a shard may end without having measured anything new before it counts as failed.
MOST_DEATHS = 3
#: The pause before a shard is started again after it ended unexpectedly, seconds; it doubles with every further death.
RESTART_S = 2.0

_OVER = (ShardState.FINISHED, ShardState.FAILED, ShardState.INTERRUPTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardProgress:
    """How far a shard is, for a line of progress. `done` of `planned` visits; both are 0 before the first."""

    shard: Shard
    text: str
    done: float
    planned: float

    @property
    def is_over(self) -> bool:
        """Whether nothing follows for this shard."""
        return self.shard.state in _OVER

    def __str__(self) -> str:
        """`shard 1, node7: process 2 of 5, 12 of 60 visits`."""
        unfinished = self.planned and not self.is_over
        visits = f", {self.done:.0f} of {units.plural(round(self.planned), 'visit')}" if unfinished else ""
        return f"shard {self.shard.position + 1}, {self.shard.host}: {self.text}{visits}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetListener:
    """Callbacks of a campaign. `message` receives lines for the user, `progressed` the state of all shards."""

    message: Callable[[str], None] = lambda line: None
    progressed: Callable[[Sequence[ShardProgress]], None] = lambda shards: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What the shards of a campaign measure, and how; see `messages.Order`."""

    source: str
    path: str
    db: str | None = None
    with_modules: bool = False


@dataclass(slots=True, kw_only=True)
class _Position:
    """A shard during the campaign. `order` and `at` belong to its newest start, `ticket` while that goes on."""

    shard: Shard
    ticket: int | None = None
    order: Order | None = None
    at: HostDevice | None = None
    lost_at: float | None = None
    not_before: float = 0.0
    deaths: int = 0
    failure: str | None = None
    has_failed: bool = False
    has_begun: bool = False
    is_held: bool = False
    text: str = "waiting"
    done: float = 0.0
    planned: float = 0.0

    @property
    def is_over(self) -> bool:
        """Whether nothing follows for this shard."""
        return self.shard.state in _OVER


@dataclass(slots=True, kw_only=True)
class Caller:
    """The one process that conducts a campaign, which `home` has stored already.

    `remark` returns what the user should know of the host of a shard that has finished, None where there is nothing.
    """

    campaign: Campaign
    work: Work
    fleet: Fleet
    home: Home
    listener: FleetListener = field(default_factory=FleetListener)
    patience_s: float = PATIENCE_S
    remark: Callable[[Shard], str | None] = lambda shard: None
    clock: Callable[[], float] = time.monotonic
    _positions: list[_Position] = field(default_factory=list)

    def run(self) -> Campaign:
        """Measure all shards; returns the campaign as it ended.

        On KeyboardInterrupt it interrupts all shards, keeps what they measured, and raises again.
        """
        self._positions = [_Position(shard=shard) for shard in self.campaign.shards]
        for position in self._positions:
            if position.shard.state is not ShardState.FINISHED:
                self._change(position, state=ShardState.WAITING)
        try:
            while not all(position.is_over for position in self._positions):
                self._place()
                self._take(self.fleet.events(EVENTS_S))
        except BaseException as error:
            try:
                self._cancel()
            finally:
                with suppress(StoreError):  # the error that ended the campaign is the one that counts
                    self.home.finish(self._state, _now())
            # Shards go on for a while without the head, and may have finished.
            if not (isinstance(error, FleetLostError) and self._state is CampaignState.FINISHED):
                raise
        else:
            self.home.finish(self._state, _now())
        return replace(
            self.campaign, state=self._state, finished_at=_now(), shards=tuple(each.shard for each in self._positions)
        )

    @property
    def _state(self) -> CampaignState:
        finished = all(position.shard.state is ShardState.FINISHED for position in self._positions)
        return CampaignState.FINISHED if finished else CampaignState.INTERRUPTED

    # ---- where shards are measured

    def _place(self) -> None:
        """Start each waiting shard whose host is there and free; look for another host where patience has ended."""
        hosts = self.fleet.hosts()
        for position in self._positions:
            if position.is_over or position.ticket is not None or self.clock() < position.not_before:
                continue
            if position.shard.run_ids and self.home.is_finished(position.shard.run_ids[-1]):
                self._change(position, state=ShardState.FINISHED)  # its end was stored, and the caller then killed
                continue
            there = self._place_of(position, hosts)
            if there is None:
                there = self._other(position, hosts)
            if there is not None and there.place not in self._busy:
                self._start(position, there)

    @property
    def _busy(self) -> set[tuple[str, str]]:
        return {each.at.place for each in self._positions if each.ticket is not None and each.at is not None}

    def _place_of(self, position: _Position, hosts: Sequence[HostDevice]) -> HostDevice | None:
        """The shard's own host and device, if they are there."""
        shard = position.shard
        return next((host for host in hosts if host.place == (shard.host, shard.device)), None)

    def _other(self, position: _Position, hosts: Sequence[HostDevice]) -> HostDevice | None:
        """Another host of the same machine key, after the shard has waited for its own; None while it waits."""
        shard, now = position.shard, self.clock()
        if position.lost_at is None:
            position.lost_at = now
            position.text = "waiting for its host"
            self._say(f"{self._named(position)} waits up to {units.duration(self.patience_s)} for host {shard.host}")
        if now - position.lost_at < self.patience_s:
            return None
        alike = [host for host in hosts if host.machine == shard.machine]
        taken = self._busy | {
            (each.shard.host or "", each.shard.device)
            for each in self._positions
            if each is not position and not each.is_over
        }
        free = [host for host in alike if host.place not in taken]
        if free:
            return free[0]
        if not alike:
            self._note(position, f"host {shard.host} was lost, and no other host of this machine key is there")
            self._change(position, state=ShardState.INTERRUPTED)
        return None  # the others are busy with this campaign: one of them will be free

    def _start(self, position: _Position, at: HostDevice) -> None:
        order, note = self._order(position, at)
        if order is None:
            self._note(position, note)
            self._change(position, state=ShardState.FINISHED)
            return
        ticket = self.fleet.start(at, order)
        if ticket is None:
            if not position.is_held:
                self._say(f"{self._named(position)} waits: another campaign, or the caller before, still holds {at}")
            position.is_held, position.text = True, "waiting for the device"
            position.not_before = self.clock() + RESTART_S
            return
        position.ticket, position.order, position.at = ticket, order, at
        position.lost_at, position.is_held, position.failure, position.has_failed = None, False, None, False
        position.text, position.has_begun = "starting", False
        if note:
            self._note(position, note)
        self._change(position, state=ShardState.RUNNING, host=at.host, device=at.device, boot=at.boot)

    def _order(self, position: _Position, at: HostDevice) -> tuple[Order | None, str]:
        """What the shard measures there: all of its cases, or what its earlier runs have not measured to the end.

        Returns None where nothing is left. The note says what is measured again, empty where nothing is.
        """
        shard = position.shard
        run_ids = [run_id for run_id in shard.run_ids if self.home.has(run_id)]
        every = (*self.campaign.controls, *shard.case_ids) if shard.case_ids else ()
        order = Order(
            campaign=self.campaign.id,
            position=shard.position,
            source=self.work.source,
            path=self.work.path,
            case_ids=every,
            db=self.work.db,
            device=at.device,
            with_modules=self.work.with_modules,
        )
        moved = at.place != (shard.host, shard.device)
        if not run_ids and shard.run_ids:
            return order, f"its run {shard.run_ids[-1]} is not stored any more: all of its cases began afresh"
        if not run_ids:
            return order, f"host {shard.host} was lost, and it moved to {at} before it had begun" if moved else ""
        if not moved and at.boot == shard.boot:
            return replace(order, fresh=False, case_ids=self._restricted(self.home.case_ids(run_ids[-1]))), ""
        measured = self.home.measured(run_ids)
        left = tuple(case_id for case_id in (every or self.home.cases) if case_id not in measured)
        reason = f"host {shard.host} was lost, and it moved to {at}" if moved else f"host {shard.host} was restarted"
        if not set(left) - set(self.campaign.controls):
            return None, f"{reason}; all of its cases were measured before"
        note = f"{reason}: {units.plural(len(left), 'unfinished case')} began afresh"
        if moved and self.work.db is None:  # nobody asks that host for it again
            note += f", and what {shard.host} had not sent is not used"
        return replace(order, case_ids=self._restricted((*self.campaign.controls, *left))), note

    def _restricted(self, case_ids: Sequence[str]) -> tuple[str, ...]:
        """These cases, each once; none where they are all of the sweep."""
        each = tuple(dict.fromkeys(case_ids))
        return () if len(each) == len(self.home.cases) else each

    # ---- what shards say

    def _take(self, events: Sequence[Event]) -> None:
        for event in events:
            position = next((each for each in self._positions if each.ticket == event.ticket), None)
            if position is None:
                continue
            if isinstance(event, Said):
                for text in event.lines:
                    self._hear(position, messages.read_line(text))
            elif isinstance(event, Over):
                self._over(position, event)
            elif isinstance(event, Lost):
                self._lost(position, event)
        self.home.send_late()
        self.listener.progressed(
            [
                ShardProgress(shard=each.shard, text=each.text, done=each.done, planned=each.planned)
                for each in self._positions
            ]
        )

    def _hear(self, position: _Position, line: Mapping[str, Any]) -> None:
        event = line["event"]
        begun = self.home.receive(line)
        if begun is not None:
            self._begun(position, begun.id)
            self._compare_keys(position, begun)
        elif event == messages.BEGUN:
            self._begun(position, str(line.get("run_id")))
            position.text, position.has_begun = "resumed" if line.get("resumed") else "begun", True
        elif event == messages.VISITS and position.has_begun:  # before, earlier ones are sent again
            position.deaths = 0
        elif event == messages.PROGRESS:
            self._hear_progress(position, line)
        elif event == messages.MESSAGE:
            self._say(f"{self._named(position)}: {line.get('text')}")
        elif event == messages.WAITING:
            position.text = "waiting for the device"
            self._say(f"{self._named(position)} waits: {line.get('text')}")
        elif event == messages.FAILED:
            hint = f" (hint: {line['hint']})" if line.get("hint") else ""
            position.failure, position.has_failed = f"{line.get('message')}{hint}", not line.get("retry")

    def _hear_progress(self, position: _Position, line: Mapping[str, Any]) -> None:
        numbers = [line.get(name) for name in ("done", "planned", "problems")]
        if not all(isinstance(number, int | float) for number in numbers):
            raise RequestError("a shard's line 'progress' has no valid numbers")
        done, planned, problems = (float(number) for number in numbers if number is not None)
        if self.work.db is not None and done > position.done:
            position.deaths = 0  # its visits go to the server, and are not heard here
        position.done, position.planned = done, planned
        position.text = str(line.get("what"))
        if problems:
            position.text += f", {units.plural(round(problems), 'case')} wrong or not measured"
        if line.get("is_waiting"):
            position.text += ", results wait on its disk"

    def _begun(self, position: _Position, run_id: str) -> None:
        shard = position.shard
        if run_id in shard.run_ids:
            return
        if position.order is not None and not position.order.fresh:
            # Its file is gone, or the software or the machine's setup differs: `convbench run` does not go on then.
            self._note(position, f"its run {shard.run_ids[-1]} could not go on on host {shard.host}: it began afresh")
        self._change(position, run_ids=(*shard.run_ids, run_id))

    def _compare_keys(self, position: _Position, run: Run) -> None:
        """Say where the worker found another machine than the host said; power limits are known later."""
        found, said = machine_key(run.environment), position.shard.machine
        if (found.cpu, found.architecture, found.cores) != (said.cpu, said.architecture, said.cores):
            self._note(position, f"its worker ran on {found}, the host said {said}")

    def _over(self, position: _Position, event: Over) -> None:
        """The process of a shard has ended: finished, failed for good, interrupted, or to be started again."""
        ticket, run_ids = position.ticket, position.shard.run_ids
        finished = bool(run_ids) and event.code == ExitCode.DONE and self.home.is_finished(run_ids[-1])
        position.ticket = None
        if ticket is not None:
            self.fleet.release(ticket, forget=finished)
        if finished:
            position.text = "finished"
            remark = self.remark(position.shard)
            if remark is not None:
                self._note(position, remark)
            self._change(position, state=ShardState.FINISHED)
        elif position.has_failed:
            self._fail(position, position.failure or "it failed")
        else:
            tail = f" ({event.tail})" if event.tail else ""
            self._again(position, position.failure or f"its process ended with exit code {event.code}{tail}")

    def _lost(self, position: _Position, event: Lost) -> None:
        """A shard cannot be asked any more."""
        ticket, position.ticket = position.ticket, None
        if ticket is not None:
            self.fleet.release(ticket, forget=False)
        self._again(position, event.reason)

    def _again(self, position: _Position, reason: str) -> None:
        """Let a shard wait for its host, which may be there; fail it where it ended too often without a result."""
        position.deaths += 1
        if position.deaths > MOST_DEATHS:
            self._fail(position, f"{reason}; it ended {position.deaths} times without a new result")
            return
        position.not_before = self.clock() + RESTART_S * 2 ** (position.deaths - 1)
        position.text = "waiting to go on"
        self._say(f"{self._named(position)} ended early: {reason}; it will go on")
        self._end_run(position)
        self._change(position, state=ShardState.WAITING)

    def _fail(self, position: _Position, reason: str) -> None:
        self._note(position, reason)
        self._end_run(position)
        position.text = "failed"
        self._change(position, state=ShardState.FAILED)

    def _end_run(self, position: _Position) -> None:
        """Mark the newest run of a shard as interrupted, where it is kept here and has no end."""
        if position.shard.run_ids:
            self.home.interrupted(position.shard.run_ids[-1], _now())

    # ---- the end

    def _cancel(self) -> None:
        """Interrupt all shards and receive what they still have to say; then mark what is unfinished."""
        running = [position for position in self._positions if position.ticket is not None]
        try:
            for position in running:
                if position.ticket is not None:
                    self.fleet.stop(position.ticket)
            end = self.clock() + CANCEL_S
            while any(position.ticket is not None for position in running) and self.clock() < end:
                for event in self.fleet.events(EVENTS_S):
                    self._last_words(event)
        except RequestError as error:
            self._say(f"what shards have not sent stays on their hosts: {error.message}")
        for position in self._positions:
            if not position.is_over:
                self._end_run(position)
                position.text = "interrupted"
                self._change(position, state=ShardState.INTERRUPTED)

    def _last_words(self, event: Event) -> None:
        position = next((each for each in self._positions if each.ticket == event.ticket), None)
        if position is None:
            return
        if isinstance(event, Said):
            for text in event.lines:
                self._hear(position, messages.read_line(text))
            return
        ticket, position.ticket = position.ticket, None
        finished = bool(position.shard.run_ids) and self.home.is_finished(position.shard.run_ids[-1])
        if ticket is not None:
            self.fleet.release(ticket, forget=finished)
        if finished:
            self._change(position, state=ShardState.FINISHED)

    # ---- what is kept and said

    def _change(self, position: _Position, **changes: Any) -> None:
        position.shard = replace(position.shard, **changes)
        self.home.note(position.shard)

    def _note(self, position: _Position, text: str) -> None:
        """Add to the shard's note, and say it. The note is stored with the next change."""
        note = position.shard.note
        position.shard = replace(position.shard, note=text if not note else f"{note}; {text}")
        self._say(f"{self._named(position)}: {text}")

    def _named(self, position: _Position) -> str:
        host = f" on {position.shard.host}" if position.shard.host else ""
        return f"shard {position.shard.position + 1}{host}"

    def _say(self, text: str) -> None:
        self.listener.message(text)


def _now() -> str:
    return datetime.now(UTC).isoformat()
