"""A fleet whose hosts are scripts: exact, instant, with a clock of its own, and able to lose a host at any moment."""

from __future__ import annotations

import dataclasses
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from convbench.fleet import messages
from convbench.fleet.engine import Event, FleetLostError, Lost, Over, Said
from convbench.fleet.messages import HostDevice, Order
from convbench.model.campaign import MachineKey
from convbench.model.references import VERSION
from convbench.model.result import (
    NO_FACTS,
    Environment,
    ProcessFacts,
    ReferenceBlocks,
    Run,
    RunState,
    Status,
    StopReason,
    Visit,
)
from convbench.sweep import cases as plan_of
from convbench.sweep.parse import parse
from convbench.version import __version__

KEY = MachineKey(cpu="AMD EPYC", architecture="x86_64", cores=2)
OTHER_KEY = dataclasses.replace(KEY, cpu="Xeon")
END = "2026-11-24T04:00:00+00:00"


def host(name: str, machine: MachineKey = KEY, *, boot: str = "boot-1", **more: object) -> HostDevice:
    """A host of the fleet by its name."""
    made = HostDevice(node=f"node-{name}-{boot}", host=name, boot=boot, version=__version__, machine=machine)
    return dataclasses.replace(made, **more)


def environment(at: HostDevice) -> Environment:
    """What a run's worker says on a host."""
    return Environment(
        hostname=at.host,
        system="Linux",
        machine=at.machine.architecture,
        cpu=at.machine.cpu,
        cores=at.machine.cores,
        memory_bytes=None,
        l2_bytes=None,
        l3_bytes=None,
        python="3.11",
        torch="2.13",
        onednn=None,
        libc="glibc",
        accelerator=None,
        cpu_capability=None,
        allocator="steady",
    )


def references(factor: float) -> ReferenceBlocks:
    """Ten rounds of eight reference layers, which took `factor` times as long as usual."""
    rows = [(float(start), *(1e-3 * factor * number for number in range(1, 9))) for start in range(10)]
    packed = b"".join(struct.pack("<9f", *row) for row in rows)
    return ReferenceBlocks(version=VERSION, device="cpu", threads=1, layers=8, block_s=0.02, rows=packed)


@dataclass
class Kept:
    """The run that a host keeps of a shard: its lines, and which (case, process) it has measured."""

    run: Run
    lines: list[str]
    measured: set[tuple[str, int]] = field(default_factory=set)
    is_finished: bool = False


@dataclass
class Shard:
    """One start of a shard: its order, what it has said and not said, and how many lines were received."""

    at: HostDevice
    order: Order
    kept: Kept
    queue: list[str]
    is_new: bool
    stopped: bool = False
    code: int | None = None


@dataclass
class FakeFleet:
    """Hosts, and what happens at which step. Each call of `events` is a second and a step of every shard."""

    there: list[HostDevice]
    processes: int = 2
    at_step: dict[int, Callable[[], None]] = field(default_factory=dict)
    busy_elsewhere: set[str] = field(default_factory=set)
    fails: dict[str, tuple[str, bool]] = field(default_factory=dict)  # by host: message, retry
    crashes: set[str] = field(default_factory=set)
    forgets: set[str] = field(default_factory=set)  # hosts whose file is gone when a run should go on
    now: float = 0.0
    step: int = 0
    tickets: int = 0
    runs: int = 0
    is_lost: bool = False
    shards: dict[int, Shard] = field(default_factory=dict)
    kept: dict[tuple[str, int, str], Kept] = field(default_factory=dict)
    losing: list[Event] = field(default_factory=list)
    orders: list[tuple[str, Order]] = field(default_factory=list)
    measured: Counter[tuple[str, str, int]] = field(default_factory=Counter)  # run, case, process
    stopped: list[int] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    closed: bool = False
    factor: float = 1.0  # on the times of the reference layers

    def clock(self) -> float:
        return self.now

    def hosts(self) -> tuple[HostDevice, ...]:
        if self.is_lost:
            raise FleetLostError("the head is lost")
        return tuple(self.there)

    def start(self, at: HostDevice, order: Order) -> int | None:
        assert at in self.there, "only hosts that are there are asked"
        if at.host in self.busy_elsewhere:
            return None
        assert at.place not in {shard.at.place for shard in self.shards.values()}, "one shard a device"
        order = messages.order_of(messages.order_text(order))
        self.orders.append((at.host, order))
        self.tickets += 1
        place = (order.campaign, order.position, at.host)
        if order.fresh or at.host in self.forgets:
            self.kept.pop(place, None)
        is_new = place not in self.kept
        if is_new:
            self.kept[place] = self._new(at, order)
        kept = self.kept[place]
        begun = messages.line(messages.BEGUN, run_id=kept.run.id, resumed=not is_new, kept=len(kept.measured))
        self.shards[self.tickets] = Shard(
            at=at,
            order=order,
            kept=kept,
            queue=[*(line for line in kept.lines if messages.ENDED not in line[:20]), begun],
            is_new=is_new,
        )
        return self.tickets

    def _new(self, at: HostDevice, order: Order) -> Kept:
        sweep = parse(order.source, order.path)
        cases = [case for case in plan_of(sweep).cases if case.id in order.case_ids or not order.case_ids]
        self.runs += 1
        run = Run(
            id=f"20261124-0315{self.runs:02}-aaaa",
            name=sweep.name,
            description="",
            source=sweep.source,
            seed=0,
            measure=dataclasses.replace(sweep.measure, processes=self.processes),
            version=__version__,
            started_at=f"2026-11-24T03:15:{self.runs:02}+00:00",
            finished_at=None,
            state=RunState.RUNNING,
            environment=environment(at),
            unmeasured=tuple(cases),
        )
        head = dataclasses.replace(run, unmeasured=())
        line = messages.line(messages.RUN, run=head, digest="d", cases=[case.id for case in cases])
        return Kept(run=run, lines=[line])

    def events(self, timeout_s: float) -> list[Event]:
        if self.is_lost:
            raise FleetLostError("the head is lost")
        self.now += timeout_s
        self.step += 1
        self.at_step.pop(self.step, lambda: None)()
        if self.is_lost:
            raise FleetLostError("the head is lost")
        events, self.losing = self.losing, []
        for ticket, shard in list(self.shards.items()):
            self._advance(shard)
            lines, shard.queue = tuple(shard.queue), []
            if lines:
                events.append(Said(ticket=ticket, lines=lines))
            if shard.code is not None:
                events.append(Over(ticket=ticket, code=shard.code))
        return events

    def _advance(self, shard: Shard) -> None:
        """One more process of the shard, in which every case is visited."""
        kept, name = shard.kept, shard.at.host
        if shard.stopped:
            self._say(shard, messages.line(messages.ENDED, run_id=kept.run.id, state="interrupted", finished_at=END))
            shard.code = 130
        elif name in self.fails:
            message, retry = self.fails[name]
            shard.queue.append(messages.line(messages.FAILED, message=message, hint=None, retry=retry))
            shard.code = 2
        elif name in self.crashes:
            shard.code = 70
        else:
            index = len({process for _, process in kept.measured})
            if index < self.processes:
                self._measure(shard, index)
            else:
                kept.is_finished = True
                self._say(shard, messages.line(messages.ENDED, run_id=kept.run.id, state="finished", finished_at=END))
                shard.code = 0

    def _measure(self, shard: Shard, index: int) -> None:
        kept = shard.kept
        last = index == self.processes - 1
        visits = [
            Visit(
                case_id=case.id,
                process_index=index,
                status=Status.PASSED,
                facts=NO_FACTS,
                blocks=b"",
                stop_reason=StopReason.ROUNDS if last else StopReason.UNFINISHED,
            )
            for case in kept.run.unmeasured
        ]
        for visit in visits:
            self.measured[kept.run.id, visit.case_id, index] += 1
            kept.measured.add((visit.case_id, index))
        self._say(shard, messages.line(messages.VISITS, run_id=kept.run.id, visits=visits))
        facts = ProcessFacts(process_index=index, seconds=1.0, references=(references(self.factor),))
        self._say(shard, messages.line(messages.PROCESS, run_id=kept.run.id, facts=facts))

    def _say(self, shard: Shard, line: str) -> None:
        shard.kept.lines.append(line)
        shard.queue.append(line)

    def stop(self, ticket: int) -> None:
        if self.is_lost:
            raise FleetLostError("the head is lost")
        self.stopped.append(ticket)
        self.shards[ticket].stopped = True

    def release(self, ticket: int, *, forget: bool) -> None:
        shard = self.shards.pop(ticket, None)
        if shard is not None and forget:
            assert shard.kept.is_finished, "what was not received stays on the host"
            self.forgotten.append(shard.at.host)

    def close(self) -> None:
        self.closed = True

    # ---- what may happen

    def kill_runner(self, name: str) -> None:
        """What runs the shard on a host ends; the host stays."""
        for ticket, shard in self.shards.items():
            if shard.at.host == name:
                self.losing.append(Lost(ticket=ticket, reason=f"what runs it on host {name} ended"))
        for event in self.losing:
            self.shards.pop(event.ticket, None)

    def leave(self, name: str) -> None:
        """A host leaves the cluster, with what runs on it."""
        self.there = [each for each in self.there if each.host != name]
        self.kill_runner(name)

    def join(self, at: HostDevice) -> None:
        """A host joins the cluster."""
        self.there.append(at)
