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

from convbench.engine.client import Timing, WorkerClient
from convbench.engine.local import FreshProcess, LocalEngine, LocalTransport, Setup
from convbench.engine.pool import Engine
from convbench.errors import RequestError, WorkerDiedError, WorkerError, WorkerStartError, WorkerTimedOutError
from convbench.model.case import TORCH_MODULE, Case, WorkerSettings
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


def layer(name: int = 4, module: str = TORCH_MODULE) -> Case:
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

    def start(self, settings: WorkerSettings) -> WorkerClient:
        process = FreshProcess(self._command, os.environ)
        return WorkerClient(LocalTransport(process, python=sys.executable), settings)

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


#: Each start of a real worker imports torch, which takes seconds.
LAUNCHERS = (pytest.param(Local(), marks=pytest.mark.slow), Piped(), Fake())
Start = Callable[[Engine], WorkerClient]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts workers, which are ended after the test."""
    made: list[WorkerClient] = []

    def begin(engine: Engine) -> WorkerClient:
        made.append(engine.start(SETTINGS))
        return made[-1]

    yield begin
    for client in made:
        client.close()


@pytest.fixture(params=LAUNCHERS, ids=lambda launcher: type(launcher).__name__.lower())
def launcher(request: pytest.FixtureRequest) -> Launcher:
    found: Launcher = request.param
    return found


def measured(client: WorkerClient, case: Case, *, deadline_s: float = DEADLINE_S) -> object:
    """A block of a case in a worker that is up. The scripted ones know a layer by its key and by its in_channels."""
    key = case.problem.in_channels
    prepared = client.prepare(key, case, check=True, seed=1, deadline_s=deadline_s)
    assert (prepared.status, prepared.reason) == (Status.PASSED, None)
    return client.block(key, 0.002, deadline_s=deadline_s)


REQUESTS: dict[str, Callable[[WorkerClient], object]] = {
    "describe": lambda client: client.describe(deadline_s=DEADLINE_S),
    "devices": lambda client: client.devices(["accelerator"], deadline_s=DEADLINE_S),
    "host_state": lambda client: client.host_state(deadline_s=DEADLINE_S),
    "find_module": lambda client: client.find_module("torch.nn:Conv2d", deadline_s=DEADLINE_S),
    "prepare": lambda client: client.prepare(KEY, layer(1), check=False, seed=1, deadline_s=DEADLINE_S),
    "block": lambda client: client.block(KEY, 0.001, deadline_s=DEADLINE_S),
    "verify": lambda client: client.verify(KEY, deadline_s=DEADLINE_S),
    "peak_memory": lambda client: client.peak_memory(KEY, deadline_s=DEADLINE_S),
    "memory_probe": lambda client: client.memory_probe(deadline_s=DEADLINE_S),
    "compute_probe": lambda client: client.compute_probe(deadline_s=DEADLINE_S),
    "references": lambda client: client.references("cpu", 0.001, deadline_s=DEADLINE_S),
    "twin_ratio": lambda client: client.twin_ratio(deadline_s=DEADLINE_S),
    "roofs": lambda client: client.roofs(["float32"], "cpu", deadline_s=DEADLINE_S),
    "release": lambda client: client.release(deadline_s=DEADLINE_S),
}


def assert_it_is_gone(client: WorkerClient) -> None:
    """A worker that has ended refuses whatever it is asked, at once, and may be closed as often as one likes."""
    assert not client.is_alive()
    for _ in range(2):
        client.close()
    for name, ask in REQUESTS.items():
        with pytest.raises(WorkerError) as refused:
            ask(client)
        assert isinstance(refused.value, WorkerDiedError) or name == "describe", name
    assert not client.is_alive()


def test_requests_are_all_that_a_client_can_be_asked() -> None:
    public = {name for name in vars(WorkerClient) if not name.startswith("_")}
    assert set(REQUESTS) == public - {"is_alive", "close"}


def test_a_worker_answers_until_it_is_closed(launcher: Launcher, start: Start) -> None:
    client = start(launcher.engine())
    assert client.is_alive()
    description = client.describe(deadline_s=DEADLINE_S)
    assert description.threads == 1
    assert description.host.cores >= 1
    assert description.host.free_bytes > 0
    assert client.describe(deadline_s=DEADLINE_S).torch == description.torch, "it may be asked again"
    client.host_state(deadline_s=DEADLINE_S)
    with pytest.raises(RequestError, match="absent"):
        client.find_module("absent:Conv", deadline_s=DEADLINE_S)
    timing = measured(client, launcher.good)
    assert isinstance(timing, Timing)
    assert 0 < timing.minimum_s <= timing.median_s
    key = launcher.good.problem.in_channels
    assert client.verify(key, deadline_s=DEADLINE_S) is None
    peak_bytes = client.peak_memory(key, deadline_s=DEADLINE_S)
    assert peak_bytes is None or 0 <= peak_bytes < 2**28, "the layer takes less than a kilobyte"
    for seconds in (client.memory_probe, client.compute_probe, client.twin_ratio):
        assert seconds(deadline_s=DEADLINE_S) > 0
    roofs = client.roofs(["float32"], "cpu", deadline_s=DEADLINE_S)
    assert {roof.kind for roof in roofs} == set(RoofKind)
    client.release(deadline_s=DEADLINE_S)
    assert isinstance(measured(client, launcher.good), Timing), "another may be prepared under the same key"
    client.close()
    assert_it_is_gone(client)


def test_a_worker_that_is_closed_before_it_is_up_does_not_start(launcher: Launcher, start: Start) -> None:
    client = start(launcher.engine())
    client.close()
    with pytest.raises(WorkerStartError):
        client.describe(deadline_s=DEADLINE_S)
    assert_it_is_gone(client)


def test_a_worker_that_never_comes_up_is_reported_when_it_is_started_or_described(
    launcher: Launcher, start: Start
) -> None:
    for engine in launcher.broken():
        client: WorkerClient | None = None
        with pytest.raises(WorkerStartError) as told:
            client = start(engine)
            client.describe(deadline_s=launcher.start_s)
        assert "start" in told.value.message
        if client is not None:
            assert_it_is_gone(client)


def test_a_worker_that_dies_in_a_request_is_gone(launcher: Launcher, start: Start) -> None:
    engine = launcher.engine()
    for case in launcher.dies:
        client = start(engine)
        client.describe(deadline_s=DEADLINE_S)
        with pytest.raises(WorkerDiedError, match=r"the worker (was ended by SIG|ended with exit code 3)") as told:
            measured(client, case)
        assert (told.value.signal is None) == ("exit code" in told.value.message)
        assert_it_is_gone(client)


def test_a_worker_that_hangs_is_ended_at_its_deadline(launcher: Launcher, start: Start) -> None:
    engine = launcher.engine()
    for case in launcher.hangs:
        client = start(engine)
        client.describe(deadline_s=DEADLINE_S)
        with pytest.raises(WorkerTimedOutError, match=r"no answer within [\d.]+ s"):
            measured(client, case, deadline_s=SHORT_S)
        assert_it_is_gone(client)


def test_an_answer_that_makes_no_sense_is_the_workers_end(launcher: Launcher, start: Start) -> None:
    """A layer's code may write into the protocol's channel."""
    engine = launcher.engine()
    for case in launcher.nonsense:
        client = start(engine)
        client.describe(deadline_s=DEADLINE_S)
        with pytest.raises(WorkerDiedError, match="the worker answered"):
            measured(client, case)
        assert_it_is_gone(client)


def test_workers_of_one_launcher_do_not_share_their_fate(launcher: Launcher, start: Start) -> None:
    engine = launcher.engine()
    one, other = start(engine), start(engine)
    for client in (one, other):
        client.describe(deadline_s=DEADLINE_S)
    with pytest.raises(WorkerDiedError):
        measured(one, launcher.dies[0])
    assert isinstance(measured(other, launcher.good), Timing)
    assert other.is_alive()


def test_ways_to_ask_for_a_steady_allocator_come_to_an_end(launcher: Launcher) -> None:
    engine = launcher.engine()
    assert not all(engine.fall_back() for _ in range(10))
    assert not engine.fall_back()
