"""Workers that are forked from a process that has imported torch: whose children they are, and when it ends."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from collections.abc import Collection

import psutil
import pytest

from convbench.engine import local
from convbench.engine.forks import can_fork
from convbench.engine.local import FreshProcess, LocalEngine, LocalTransport
from convbench.errors import WorkerStartError
from convbench.model.case import Allocator, WorkerSettings

pytestmark = pytest.mark.skipif(not can_fork(), reason="needs Linux's process descriptors")
STEADY, SYSTEM = WorkerSettings(threads=1), WorkerSettings(threads=1, allocator=Allocator.SYSTEM)
DEADLINE_S = 60.0


def started(engine: LocalEngine, settings: WorkerSettings) -> LocalTransport:
    client = engine.start(settings)
    client.describe(deadline_s=DEADLINE_S)
    transport = client._transport
    assert isinstance(transport, LocalTransport)
    return transport


def parent(transport: LocalTransport) -> int:
    return psutil.Process(transport.pid).ppid()


def test_workers_of_one_environment_have_one_parent_which_stays() -> None:
    engine = LocalEngine()
    first, second, other = (started(engine, settings) for settings in (STEADY, STEADY, SYSTEM))
    assert len({first.pid, second.pid, other.pid}) == 3
    assert parent(first) == parent(second) != parent(other)
    assert os.getpid() not in (parent(first), parent(other))
    before = parent(first)
    first.close()
    second.close()
    third = started(engine, STEADY)
    assert parent(third) == before
    for transport in (third, other):
        transport.close()


def _forking(known: Collection[int] = ()) -> list[int]:
    """The children of this process from which workers are forked, without the `known`, once their command is known.

    Other files of tests keep theirs.
    """
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        found = [
            child.pid for child in psutil.Process().children() if "fork" in child.cmdline() and child.pid not in known
        ]
        if found:
            return found
        time.sleep(0.01)
    return []


def test_the_import_that_was_begun_before_serves_the_first_worker() -> None:
    engine, kept = LocalEngine(), [child.pid for child in psutil.Process().children()]
    engine.warm_up(STEADY)
    [warm] = _forking(kept)
    transport = started(engine, STEADY)
    assert parent(transport) == warm
    transport.close()
    engine.close()


def test_warming_up_leaves_an_interpreter_that_is_missing_to_the_start_of_a_worker() -> None:
    engine = LocalEngine(local.Setup(python="/absent/python"))
    engine.warm_up(STEADY)
    with pytest.raises(WorkerStartError, match="cannot start a worker with /absent/python"):
        engine.start(STEADY)


def test_a_worker_that_was_closed_is_gone_and_its_parent_ends_with_the_engine() -> None:
    engine = LocalEngine()
    transport = started(engine, STEADY)
    worker, forks = psutil.Process(transport.pid), psutil.Process(parent(transport))
    transport.close()
    end = time.monotonic() + 60
    while worker.is_running() and time.monotonic() < end:
        time.sleep(0.01)
    assert not worker.is_running(), "it is reaped, so that no zombie stays"
    assert forks.is_running()
    del engine, transport
    gc.collect()
    assert not forks.is_running()


def test_an_environment_too_many_is_served_by_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "MOST_SERVERS", 1)
    engine = LocalEngine()
    first, second = started(engine, STEADY), started(engine, SYSTEM)
    assert parent(first) != os.getpid() == parent(second)
    assert isinstance(second._process, FreshProcess)
    first.close()
    third = started(engine, SYSTEM)
    assert parent(third) != os.getpid(), "the first one's process had no worker any more"
    for transport in (second, third):
        transport.close()


def test_workers_and_their_parent_end_with_a_conductor_that_is_killed() -> None:
    code = (
        "import time\n"
        "from convbench.engine.local import LocalEngine\n"
        "from convbench.model.case import WorkerSettings\n"
        "client = LocalEngine().start(WorkerSettings(threads=1))\n"
        "client.describe(deadline_s=60)\n"
        "print(client._transport.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    conductor = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert conductor.stdout
    worker = psutil.Process(int(conductor.stdout.readline()))
    forks = worker.parent()
    assert forks is not None
    conductor.kill()
    conductor.communicate()
    _, alive = psutil.wait_procs([worker, forks], timeout=60)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
