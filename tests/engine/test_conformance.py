"""What every launcher of workers and every transport to one promises, whatever the worker does.

Held by the real one, by a process without torch behind real pipes, and by the fake that other tests use in their place.
"""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path

import piped_worker
import pytest
from fake_engine import FakeEngine, Script

from convbench.engine.client import Lane, Timing
from convbench.engine.local import LocalEngine, LocalTransport, Setup
from convbench.engine.machine import HostState
from convbench.engine.pool import Engine
from convbench.errors import RequestError, WorkerDiedError, WorkerError, WorkerStartError, WorkerTimedOutError
from convbench.model.case import TORCH_CONV2D, Case, WorkerSettings
from convbench.model.problem import Problem
from convbench.model.result import RoofKind, Status

TESTS = Path(__file__).parent.parent
DEADLINE_S = 60.0
#: For what never answers, seconds.
SHORT_S = 0.5
SETTINGS = WorkerSettings(threads=1)
#: A key that the worker knows a case by.
KEY = 1


class Launcher(ABC):
    """A launcher under test, and the cases by which its workers can be made to misbehave."""

    #: Cases whose block is asked for: one that is measured, and those that end the worker or the talk with it.
    good: Case
    dies: tuple[Case, ...]
    hangs: tuple[Case, ...]
    nonsense: tuple[Case, ...]
    #: How long its broken workers are waited for, seconds.
    start_s: float = DEADLINE_S

    @abstractmethod
    def engine(self) -> Engine:
        """One whose workers come up."""

    @abstractmethod
    def broken(self) -> tuple[Engine, ...]:
        """Those whose workers never come up."""


def layer(name: int = 4, module: str = TORCH_CONV2D) -> Case:
    problem = Problem(in_channels=name, out_channels=4, kernel_size=(1, 1), input_size=(4, 4))
    return Case(problem=problem, module=module, threads=1)


class Local(Launcher):
    """Real workers, ended by what a layer's code may do."""

    good = layer()
    dies = (layer(module="misbehaving:Segfault"), layer(module="misbehaving:Exits"))
    hangs = (layer(module="misbehaving:HangInC"),)
    nonsense = (layer(module="misbehaving:Babbles"), layer(module="misbehaving:Floods"))

    def engine(self) -> Engine:
        return LocalEngine(Setup(path=(str(TESTS),)))

    def broken(self) -> tuple[Engine, ...]:
        return tuple(LocalEngine(Setup(python=python)) for python in ("/bin/false", "/no/such/python"))


class Piped(Launcher):
    """The local transport alone."""

    good = layer(piped_worker.GOOD)
    dies = (layer(piped_worker.KILLED), layer(piped_worker.EXITS))
    hangs = (layer(piped_worker.HANGS),)
    nonsense = tuple(layer(name) for name in (piped_worker.FLOODS, *piped_worker.SAYS))
    start_s = 3.0  # one is silent for ever

    def engine(self) -> Engine:
        return PipedEngine("honest")

    def broken(self) -> tuple[Engine, ...]:
        return PipedEngine("dies"), PipedEngine("silent")


class PipedEngine:
    """Starts processes without torch, which come up or do not."""

    def __init__(self, how: str) -> None:
        self._command = [sys.executable, str(TESTS / "piped_worker.py"), how]

    def start(self, settings: WorkerSettings) -> Lane:
        return Lane(LocalTransport(self._command, environment=os.environ), settings)

    def fall_back(self) -> bool:
        return False


class Fake(Launcher):
    """The one that stands for the others in tests of whatever conducts."""

    good = layer(1)
    dies = (layer(2), layer(3))
    hangs = (layer(4),)
    nonsense = (layer(5),)

    def engine(self) -> Engine:
        return FakeEngine(
            Script(segfault_in_block={2}, killed_in_block={3}, hang_in_prepare={4}, nonsense_in_block={5})
        )

    def broken(self) -> tuple[Engine, ...]:
        return (FakeEngine(Script(dies_at_start={1})),)


LAUNCHERS = (Local(), Piped(), Fake())
Start = Callable[[Engine], Lane]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts workers, which are ended after the test."""
    made: list[Lane] = []

    def begin(engine: Engine) -> Lane:
        made.append(engine.start(SETTINGS))
        return made[-1]

    yield begin
    for lane in made:
        lane.close()


@pytest.fixture(params=LAUNCHERS, ids=lambda launcher: type(launcher).__name__.lower())
def launcher(request: pytest.FixtureRequest) -> Launcher:
    found: Launcher = request.param
    return found


def measured(lane: Lane, case: Case, *, deadline_s: float = DEADLINE_S) -> object:
    """A block of a case in a worker that is up. The scripted ones know a layer by its key and by its in_channels."""
    key = case.problem.in_channels
    prepared = lane.prepare(key, case, check=True, seed=1, deadline_s=deadline_s)
    assert (prepared.status, prepared.reason) == (Status.PASSED, None)
    return lane.block(key, 0.002, deadline_s=deadline_s)


REQUESTS: dict[str, Callable[[Lane], object]] = {
    "describe": lambda lane: lane.describe(deadline_s=DEADLINE_S),
    "host_state": lambda lane: lane.host_state(deadline_s=DEADLINE_S),
    "find_module": lambda lane: lane.find_module("torch.nn:Conv2d", deadline_s=DEADLINE_S),
    "prepare": lambda lane: lane.prepare(KEY, layer(1), check=False, seed=1, deadline_s=DEADLINE_S),
    "block": lambda lane: lane.block(KEY, 0.001, deadline_s=DEADLINE_S),
    "verify": lambda lane: lane.verify(KEY, deadline_s=DEADLINE_S),
    "peak_memory": lambda lane: lane.peak_memory(KEY, deadline_s=DEADLINE_S),
    "memory_canary": lambda lane: lane.memory_canary(deadline_s=DEADLINE_S),
    "compute_canary": lambda lane: lane.compute_canary(deadline_s=DEADLINE_S),
    "twin_ratio": lambda lane: lane.twin_ratio(deadline_s=DEADLINE_S),
    "roofs": lambda lane: lane.roofs(["float32"], "cpu", deadline_s=DEADLINE_S),
    "release": lambda lane: lane.release(deadline_s=DEADLINE_S),
}


def assert_it_is_gone(lane: Lane) -> None:
    """A worker that has ended refuses whatever it is asked, at once, and may be closed as often as one likes."""
    assert not lane.is_alive()
    for _ in range(2):
        lane.close()
    for name, ask in REQUESTS.items():
        with pytest.raises(WorkerError) as refused:
            ask(lane)
        assert isinstance(refused.value, WorkerDiedError) or name == "describe", name
    assert not lane.is_alive()


def test_requests_are_all_that_a_lane_can_be_asked() -> None:
    public = {name for name in vars(Lane) if not name.startswith("_")}
    assert set(REQUESTS) == public - {"is_alive", "close"}


def test_a_worker_answers_until_it_is_closed(launcher: Launcher, start: Start) -> None:
    lane = start(launcher.engine())
    assert lane.is_alive()
    description = lane.describe(deadline_s=DEADLINE_S)
    assert description.threads == 1
    assert description.host.cores >= 1
    assert description.host.free_bytes > 0
    assert lane.describe(deadline_s=DEADLINE_S).torch == description.torch, "it may be asked again"
    assert isinstance(lane.host_state(deadline_s=DEADLINE_S), HostState)
    with pytest.raises(RequestError, match="absent"):
        lane.find_module("absent:Conv", deadline_s=DEADLINE_S)
    timing = measured(lane, launcher.good)
    assert isinstance(timing, Timing)
    assert 0 < timing.minimum_s <= timing.median_s
    key = launcher.good.problem.in_channels
    assert lane.verify(key, deadline_s=DEADLINE_S) is None
    assert (lane.peak_memory(key, deadline_s=DEADLINE_S) or 0) >= 0
    for seconds in (lane.memory_canary, lane.compute_canary, lane.twin_ratio):
        assert seconds(deadline_s=DEADLINE_S) > 0
    roofs = lane.roofs(["float32"], "cpu", deadline_s=DEADLINE_S)
    assert {roof.kind for roof in roofs} == set(RoofKind)
    lane.release(deadline_s=DEADLINE_S)
    assert isinstance(measured(lane, launcher.good), Timing), "another may be prepared under the same key"
    lane.close()
    assert_it_is_gone(lane)


def test_a_worker_that_is_closed_before_it_is_up_does_not_start(launcher: Launcher, start: Start) -> None:
    lane = start(launcher.engine())
    lane.close()
    with pytest.raises(WorkerStartError):
        lane.describe(deadline_s=DEADLINE_S)
    assert_it_is_gone(lane)


def test_a_worker_that_never_comes_up_is_told_when_it_is_started_or_described(launcher: Launcher, start: Start) -> None:
    for engine in launcher.broken():
        lane: Lane | None = None
        with pytest.raises(WorkerStartError) as told:
            lane = start(engine)
            lane.describe(deadline_s=launcher.start_s)
        assert "start" in told.value.message
        if lane is not None:
            assert_it_is_gone(lane)


def test_a_worker_that_dies_in_a_request_is_gone(launcher: Launcher, start: Start) -> None:
    engine = launcher.engine()
    for case in launcher.dies:
        lane = start(engine)
        lane.describe(deadline_s=DEADLINE_S)
        with pytest.raises(WorkerDiedError, match=r"the worker (was ended by SIG|ended with exit code 3)") as told:
            measured(lane, case)
        assert (told.value.signal is None) == ("exit code" in told.value.message)
        assert_it_is_gone(lane)


def test_a_worker_that_hangs_is_ended_at_its_deadline(launcher: Launcher, start: Start) -> None:
    engine = launcher.engine()
    for case in launcher.hangs:
        lane = start(engine)
        lane.describe(deadline_s=DEADLINE_S)
        with pytest.raises(WorkerTimedOutError, match=r"no answer within [\d.]+ s"):
            measured(lane, case, deadline_s=SHORT_S)
        assert_it_is_gone(lane)


def test_an_answer_that_makes_no_sense_is_the_workers_end(launcher: Launcher, start: Start) -> None:
    """A layer's code may write into the protocol's channel."""
    engine = launcher.engine()
    for case in launcher.nonsense:
        lane = start(engine)
        lane.describe(deadline_s=DEADLINE_S)
        with pytest.raises(WorkerDiedError, match="the worker answered"):
            measured(lane, case)
        assert_it_is_gone(lane)


def test_workers_of_one_launcher_do_not_share_their_fate(launcher: Launcher, start: Start) -> None:
    engine = launcher.engine()
    one, other = start(engine), start(engine)
    for lane in (one, other):
        lane.describe(deadline_s=DEADLINE_S)
    with pytest.raises(WorkerDiedError):
        measured(one, launcher.dies[0])
    assert isinstance(measured(other, launcher.good), Timing)
    assert other.is_alive()


def test_ways_to_ask_for_a_steady_allocator_come_to_an_end(launcher: Launcher) -> None:
    engine = launcher.engine()
    assert not all(engine.fall_back() for _ in range(10))
    assert not engine.fall_back()
