"""The whole way on a real accelerator; skipped where torch finds none."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

import pytest
import torch
from accelerators import needs_accelerator

from convbench.engine.client import Timing
from convbench.engine.local import LocalEngine
from convbench.engine.pool import WorkerPool
from convbench.measure import schedule
from convbench.model.case import (
    Autocast,
    Cache,
    Case,
    CompileMode,
    Data,
    Execution,
    Fp32Precision,
    InputFormat,
    MemoryFormat,
    Weights,
    WorkerSettings,
)
from convbench.model.problem import Direction, Problem
from convbench.model.result import RoofKind, Status
from convbench.worker import devices

pytestmark = [pytest.mark.gpu, needs_accelerator]

DEADLINE_S = 120.0
LAYER = Problem(in_channels=64, out_channels=96, kernel_size=(3, 3), input_size=(28, 30), padding=(1, 1), batch_size=8)
LARGE = Problem(
    in_channels=256, out_channels=256, kernel_size=(3, 3), input_size=(56, 56), padding=(1, 1), batch_size=32
)


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    made = WorkerPool(LocalEngine())
    yield made
    made.close()


def measured(pool: WorkerPool, case: Case, seconds: float = 0.02) -> Timing:
    client = pool.client(case.worker)
    prepared = client.prepare(1, case, check=True, seed=1, deadline_s=DEADLINE_S)
    assert (prepared.status, prepared.reason) == (Status.PASSED, None), case.label
    timing = client.block(1, seconds, deadline_s=DEADLINE_S)
    assert isinstance(timing, Timing), timing
    assert client.verify(1, deadline_s=DEADLINE_S) is None
    return timing


@pytest.mark.parametrize("direction", Direction)
def test_every_direction_is_right_and_timed(pool: WorkerPool, direction: Direction) -> None:
    for dtype, memory_format in itertools.product(("float32", "float16", "bfloat16"), MemoryFormat):
        case = Case(problem=LAYER, device="accelerator", direction=direction, dtype=dtype, memory_format=memory_format)
        timing = measured(pool, case)
        assert 1e-6 < timing.minimum_s < 0.1
        assert timing.host_s > 0 or timing.host_s != timing.host_s


def test_a_larger_layer_takes_longer_than_its_launch(pool: WorkerPool) -> None:
    """A clock that is read before the work is done sees launches alone, some ten microseconds."""
    flops = LARGE.flops(Direction.FORWARD)
    timing = measured(pool, Case(problem=LARGE, device="accelerator"))
    assert flops / timing.minimum_s < 3e15, "no device computes so fast"


@pytest.mark.parametrize("direction", Direction)
def test_a_layer_that_is_wrong_in_one_call_of_ten_is_found(pool: WorkerPool, direction: Direction) -> None:
    name = "WrongOnceInTen" if direction is Direction.FORWARD else "GradientWrongOnceInTen"
    case = Case(problem=LAYER, device="accelerator", direction=direction, module=f"planted:{name}")
    client = pool.client(case.worker)
    prepared = client.prepare(3, case, check=True, seed=1, deadline_s=DEADLINE_S)
    assert (prepared.status, prepared.reason) == (Status.PASSED, None)
    found = [client.block(3, 0.02, deadline_s=DEADLINE_S) for _ in range(25)]
    is_wrong = [isinstance(timing, Timing) and timing.wrong is not None for timing in found]
    assert any(is_wrong) or direction is Direction.GRAD_INPUT


@pytest.mark.parametrize(
    "settings",
    [
        {"weights": Weights.GIVEN},
        {"weights": Weights.DENORMAL},
        *({"input_format": each} for each in InputFormat),
        {"cache": Cache.COLD},
        {"data": Data.ZEROS},
        {"autocast": Autocast.BFLOAT16},
        {"fp32_precision": Fp32Precision.IEEE},
        {"deterministic": True},
    ],
)
def test_settings_of_execution_run(pool: WorkerPool, settings: dict[str, object]) -> None:
    measured(pool, Case(problem=LAYER, device="accelerator", **settings))


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize(
    "settings",
    [
        {"execution": Execution.GRAPH},
        {"execution": Execution.COMPILED},
        {"execution": Execution.COMPILED, "compile_mode": CompileMode.MAX_AUTOTUNE},
    ],
)
def test_compiled_and_captured_layers_are_right_where_the_device_has_them(
    pool: WorkerPool, settings: dict[str, object], direction: Direction
) -> None:
    case = Case(problem=LAYER, device="accelerator", direction=direction, **settings)
    limit_s = schedule.prepare_limit_s(case, DEADLINE_S)
    prepared = pool.client(case.worker).prepare(4, case, check=True, seed=1, deadline_s=limit_s)
    if prepared.status is Status.SKIPPED:
        pytest.skip(str(prepared.reason))
    assert (prepared.status, prepared.reason) == (Status.PASSED, None)
    timing = pool.client(case.worker).block(4, 0.02, deadline_s=DEADLINE_S)
    assert isinstance(timing, Timing)
    assert pool.client(case.worker).verify(4, deadline_s=DEADLINE_S) is None


def test_what_ran_and_its_memory_are_told(pool: WorkerPool) -> None:
    client = pool.client(WorkerSettings())
    prepared = client.prepare(2, Case(problem=LAYER, device="accelerator"), check=True, seed=1, deadline_s=DEADLINE_S)
    assert prepared.facts.implementation not in (None, "unknown")
    assert client.peak_memory(2, deadline_s=DEADLINE_S) is not None


def test_roofs_are_those_of_the_device(pool: WorkerPool) -> None:
    roofs = pool.client(WorkerSettings()).roofs(["float32", "float16"], "accelerator", deadline_s=DEADLINE_S)
    compute = {roof.dtype: roof.rate for roof in roofs if roof.kind is RoofKind.COMPUTE}
    assert compute["float16"] >= compute["float32"] > 1e11
    assert max(roof.rate for roof in roofs if roof.kind is RoofKind.BANDWIDTH) > 1e10


def test_events_tell_time_and_the_queue_waits() -> None:
    stream = devices.Stream(devices.resolve("accelerator"))
    square = torch.ones(2048, 2048, device=devices.resolve("accelerator"))
    first = stream.mark()
    square @ square
    second = stream.mark()
    stream.synchronize()
    if stream.has_events:
        assert stream.seconds_between(first, second) > 0
    assert json.dumps(devices.describe())
