"""What is the local transport's own: last words, children left behind, variables. See test_conformance.py."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from fake_engine import Answering

from convbench.engine.client import Timing, WorkerClient
from convbench.engine.local import FreshProcess, LocalEngine, LocalTransport
from convbench.errors import WorkerDiedError
from convbench.model.case import TORCH_MODULE, Allocator, WorkerSettings

#: Answers every line with what stands in the request under `say`, after doing what stands under `do`.
WORKER = """
import json, os, signal, sys, time
print('{"status": "passed"}', flush=True)
for line in sys.stdin:
    request = json.loads(line)
    exec(request.get("do", ""))
    print(request.get("say", '{"status": "passed"}'), flush=True)
"""
Start = Callable[[], LocalTransport]


@pytest.fixture
def start() -> Iterator[Start]:
    made: list[LocalTransport] = []

    def begin() -> LocalTransport:
        process = FreshProcess([sys.executable, "-c", WORKER], os.environ)
        made.append(LocalTransport(process, python=sys.executable))
        made[-1].wait_until_up(deadline_s=30)
        return made[-1]

    yield begin
    for transport in made:
        transport.close()


def test_last_words_are_those_of_the_request_that_ended_the_worker(start: Start) -> None:
    transport = start()
    transport.request({"do": "print('harmless words', file=sys.stderr, flush=True)"}, deadline_s=10)
    time.sleep(0.2)
    with pytest.raises(WorkerDiedError) as silent:
        transport.request({"do": "os.kill(os.getpid(), signal.SIGSEGV)"}, deadline_s=10)
    assert silent.value.message == "the worker was ended by SIGSEGV"
    transport = start()
    with pytest.raises(WorkerDiedError) as told:
        say = "sys.stderr.buffer.write(b'why\\x00\\xff \\x1b[31mnow\\n'); sys.stderr.flush(); os._exit(3)"
        transport.request({"do": say}, deadline_s=10)
    assert told.value.message == "the worker ended with exit code 3 (why [31mnow)"


def test_a_worker_that_leaves_a_child_behind_is_found_dead(start: Start) -> None:
    transport = start()
    before = time.monotonic()
    with pytest.raises(WorkerDiedError, match="SIGSEGV"):
        transport.request({"do": "os.fork() or time.sleep(60)\nos.kill(os.getpid(), signal.SIGSEGV)"}, deadline_s=50)
    assert time.monotonic() - before < 30


def test_variables_of_a_worker_are_its_settings_and_what_the_case_names() -> None:
    engine = LocalEngine()
    assert engine.variables(WorkerSettings(allocator=Allocator.SYSTEM)) == {}
    assert WorkerSettings().module == TORCH_MODULE
    deterministic = WorkerSettings(allocator=Allocator.SYSTEM, deterministic=True)
    assert engine.variables(deterministic) == {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    named = WorkerSettings(env=(("MALLOC_TOP_PAD_", "0"), ("ONEDNN_MAX_CPU_ISA", "AVX2")))
    found = engine.variables(named)
    assert (found["MALLOC_TOP_PAD_"], found["ONEDNN_MAX_CPU_ISA"]) == ("0", "AVX2"), "what a case names wins"


TIMES = ("minimum_s", "q1_s", "median_s", "q3_s", "p95_s", "mean_s", "compute_probe_s", "busy_s")
TIMING = {
    "status": "passed",
    "iterations": 10,
    "samples": 10,
    "host_s": math.nan,
    "page_faults": 0,
    **dict.fromkeys(TIMES, 1.0),
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("minimum_s", value) for value in (-1.0, 0.0, math.nan, math.inf, 1e300, True, "1", 2.0)),
        *(("samples", value) for value in (0, -1, 1.0, True, 2**60)),
        ("host_s", -1.0),
        ("compute_probe_s", math.nan),
    ],
)
def test_a_block_that_could_not_be_read_again_is_no_answer(name: str, value: object) -> None:
    assert isinstance(WorkerClient(Answering(TIMING), WorkerSettings()).block(0, 0.1, deadline_s=1), Timing)
    with pytest.raises(WorkerDiedError, match="without a valid"):
        WorkerClient(Answering({**TIMING, name: value}), WorkerSettings()).block(0, 0.1, deadline_s=1)


@pytest.mark.parametrize(
    ("name", "value"), [("rate", 0.0), ("rate", math.inf), ("dtype", "int7"), ("footprint_bytes", -1)]
)
def test_a_roof_that_could_not_be_read_again_is_no_answer(name: str, value: object) -> None:
    roof = {"kind": "compute", "rate": 1e9, "source": "mm", "dtype": "float32", "footprint_bytes": None}

    def told(roofs: dict[str, object]) -> object:
        client = WorkerClient(Answering({"status": "passed", "roofs": [roofs]}), WorkerSettings())
        return client.roofs(["float32"], "cpu", deadline_s=1)

    assert told(roof)
    with pytest.raises(WorkerDiedError, match="without a valid"):
        told({**roof, name: value})


def test_a_worker_that_has_ended_is_not_ended_again(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process id may be another's by then."""
    transport = start()
    transport.close()
    killed: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda group, signal: killed.append(group))
    transport.close()
    assert killed == []
