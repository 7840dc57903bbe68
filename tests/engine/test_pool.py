"""The workers of a process by their settings: modules are tried before anything is measured, within bounds."""

from __future__ import annotations

import pytest
from fake_engine import GLIBC, FakeEngine, Script

from convbench.engine.machine import HostState
from convbench.engine.pool import START_DEADLINE_S, WorkerPool
from convbench.errors import RequestError
from convbench.model.case import WorkerSettings

DEADLINE_S = 5.0


def module(name: str, **settings: object) -> WorkerSettings:
    return WorkerSettings(module=name, **settings)


def test_many_modules_are_tried_in_one_worker() -> None:
    engine = FakeEngine()
    pool = WorkerPool(engine)
    wanted = [module(f"mine:Conv{number}") for number in range(40)]
    pool.start(wanted[:2])
    pool.find_modules(wanted, deadline_s=DEADLINE_S)
    assert engine.workers == 3
    assert engine.log == [("find_module", 1), ("find_module", 2), *[("find_module", 3)] * 38]
    assert engine.closed == 1, "the shared one is ended"
    pool.close()


def test_modules_under_other_variables_have_workers_one_after_the_other() -> None:
    engine = FakeEngine()
    pool = WorkerPool(engine)
    pool.find_modules([module("mine:Conv", env=(("A", str(n)),)) for n in range(12)], deadline_s=DEADLINE_S)
    assert (engine.workers, engine.most_alive) == (12, 1)


def test_a_module_that_is_not_there_ends_the_run_before_it_begins() -> None:
    for started in (0, 1):
        pool = WorkerPool(FakeEngine())
        wanted = [module("absent:Conv"), module("mine:Conv")]
        pool.start(wanted[:started])
        with pytest.raises(RequestError, match="absent"):
            pool.find_modules(wanted, deadline_s=DEADLINE_S)
        pool.close()


def test_a_module_that_ends_its_worker_is_reported() -> None:
    engine = FakeEngine()
    pool = WorkerPool(engine)
    with pytest.raises(RequestError, match="module breaks:Conv cannot be imported: the worker was ended by SIGSEGV"):
        pool.find_modules([module("breaks:Conv")], deadline_s=DEADLINE_S)
    assert engine.deaths == 3, "in the shared worker, and twice in one of its own"


def test_a_worker_that_the_kernel_kills_says_nothing_of_its_module() -> None:
    engine = FakeEngine(Script(killed_in_find_module={"large:Conv"}))
    pool = WorkerPool(engine)
    pool.find_modules([module("large:Conv"), module("mine:Conv")], deadline_s=DEADLINE_S)
    assert engine.deaths == 3
    pool.close()
    assert engine.workers == engine.closed + engine.deaths


def test_only_the_wanted_workers_stay() -> None:
    engine = FakeEngine()
    pool = WorkerPool(engine)
    one, two, three = (module(f"mine:Conv{number}") for number in range(3))
    pool.start([one, two])
    kept = pool.current(two)
    pool.keep([two, three])
    assert pool.current(one) is None
    assert pool.current(two) is kept
    assert pool.current(three) is not None
    assert (engine.workers, engine.closed) == (3, 1)
    pool.close()


@pytest.mark.parametrize(("timeout_s", "deadline_s"), [(1.0, START_DEADLINE_S), (60.0, 60.0), (600.0, 600.0)])
def test_a_worker_has_the_timeout_to_start(timeout_s: float, deadline_s: float) -> None:
    asked: list[float] = []

    class Slow(FakeEngine):
        def start(self, settings: WorkerSettings):
            client = super().start(settings)
            transport = self.transports[-1]
            transport.wait_until_up = lambda *, deadline_s: asked.append(deadline_s)
            return client

    pool = WorkerPool(Slow(), timeout_s=timeout_s)
    pool.client(WorkerSettings())
    assert asked == [deadline_s]
    pool.close()


@pytest.mark.parametrize(("told", "workers", "falls"), [(GLIBC, 2, 2), ({"libc": "musl 1.2.5"}, 1, 0)])
def test_a_steady_allocator_is_asked_for_in_another_way_where_the_workers_c_library_has_one(
    told: dict[str, str], workers: int, falls: int
) -> None:
    engine = FakeEngine(Script(unsteady_first=9, host=told))
    pool = WorkerPool(engine)
    assert not pool.description(WorkerSettings()).keeps_memory
    assert (engine.workers, engine.falls) == (workers, falls)
    pool.close()


def test_the_machine_is_reported_by_a_worker_that_is_up() -> None:
    engine = FakeEngine(Script(states=[{"load": 1.0}, {"load": 2.0}]))
    pool = WorkerPool(engine)
    assert pool.host_state(deadline_s=DEADLINE_S) == HostState()
    one, two = (module(f"mine:Conv{number}") for number in range(2))
    pool.start([one])
    assert pool.host_state(deadline_s=DEADLINE_S) == HostState(), "it may still be starting"
    pool.client(one)
    pool.client(two)
    assert pool.host_state(deadline_s=DEADLINE_S) == HostState(load=1.0)
    engine.transports[0].dies_next = True
    assert pool.host_state(deadline_s=DEADLINE_S) == HostState(load=2.0), "another tells"
    assert (pool.current(one), engine.deaths) == (None, 1)
    pool.close()
