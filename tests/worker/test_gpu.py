"""The whole way on an accelerator (accelerators.py)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from accelerators import Accelerator

from convbench.engine.client import Timing
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
from convbench.worker import accelerators, devices

pytestmark = [pytest.mark.gpu, pytest.mark.slow]

DEADLINE_S = 240.0
#: (small, large) layers; a device that a CPU plays is some thousand times slower.
REAL = (
    Problem(in_channels=64, out_channels=96, kernel_size=(3, 3), input_size=(28, 30), padding=(1, 1), batch_size=8),
    Problem(in_channels=256, out_channels=256, kernel_size=(3, 3), input_size=(56, 56), padding=(1, 1), batch_size=32),
)
PLAYED = (
    Problem(in_channels=6, out_channels=8, kernel_size=(3, 3), input_size=(7, 9), padding=(1, 1), batch_size=2),
    Problem(in_channels=16, out_channels=16, kernel_size=(3, 3), input_size=(28, 28), padding=(1, 1), batch_size=4),
)


@pytest.fixture(scope="module")
def layers(accelerator: Accelerator) -> tuple[Problem, Problem]:
    return REAL if accelerator.is_real else PLAYED


@pytest.fixture(scope="module")
def pool(accelerator: Accelerator) -> Iterator[WorkerPool]:
    made = WorkerPool(accelerator.engine())
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
def test_every_direction_is_right_and_timed(
    pool: WorkerPool, accelerator: Accelerator, layers: tuple[Problem, Problem], direction: Direction
) -> None:
    both = [("float32", MemoryFormat.CONTIGUOUS), ("float16", MemoryFormat.CHANNELS_LAST)]
    both += [("bfloat16", MemoryFormat.CONTIGUOUS), ("float32", MemoryFormat.CHANNELS_LAST)]
    for dtype, memory_format in both:
        case = Case(
            problem=layers[0], device="accelerator", direction=direction, dtype=dtype, memory_format=memory_format
        )
        timing = measured(pool, case)
        assert 1e-6 < timing.minimum_s < (0.1 if accelerator.is_real else 30)
        assert timing.host_s > 0 or timing.host_s != timing.host_s


def test_a_larger_layer_takes_longer_than_its_launch(
    pool: WorkerPool, accelerator: Accelerator, layers: tuple[Problem, Problem]
) -> None:
    """A clock that is read before the work is done sees launches alone, some ten microseconds."""
    small, large = (measured(pool, Case(problem=problem, device="accelerator")).minimum_s for problem in layers)
    assert layers[1].flops(Direction.FORWARD) / large < 3e15, "no device computes so fast"
    assert large > 3 * small


@pytest.mark.parametrize("direction", [Direction.FORWARD, Direction.BACKWARD])
def test_a_layer_that_is_wrong_in_one_call_of_ten_is_found(
    pool: WorkerPool, layers: tuple[Problem, Problem], direction: Direction
) -> None:
    name = "WrongOnceInTen" if direction is Direction.FORWARD else "GradientWrongOnceInTen"
    case = Case(problem=layers[0], device="accelerator", direction=direction, module=f"planted:{name}")
    client = pool.client(case.worker)
    prepared = client.prepare(3, case, check=True, seed=1, repeats=True, deadline_s=DEADLINE_S)
    assert (prepared.status, prepared.reason) == (Status.PASSED, None)
    # Blocks of different lengths: with five calls each, the same two of ten would be compared for ever.
    found = (client.block(3, 0.004 * (1 + number % 7), deadline_s=DEADLINE_S) for number in range(60))
    assert any(isinstance(timing, Timing) and timing.wrong is not None for timing in found)


SETTINGS: list[dict[str, object]] = [
    {"weights": Weights.GIVEN},
    {"weights": Weights.DENORMAL},
    *({"input_format": each} for each in InputFormat),
    {"cache": Cache.COLD},
    {"data": Data.ZEROS},
    {"autocast": Autocast.BFLOAT16},
    {"fp32_precision": Fp32Precision.IEEE},
    {"deterministic": True},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_settings_of_execution_run_or_are_skipped_with_a_reason(
    pool: WorkerPool, accelerator: Accelerator, layers: tuple[Problem, Problem], settings: dict[str, object]
) -> None:
    case = Case(problem=layers[0], device="accelerator", **settings)
    if accelerator.is_real or not {"autocast", "fp32_precision"} & settings.keys():
        measured(pool, case)
        return
    prepared = pool.client(case.worker).prepare(4, case, check=True, seed=1, deadline_s=DEADLINE_S)
    assert prepared.status is Status.SKIPPED
    assert accelerator.kind in str(prepared.reason)


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
    pool: WorkerPool, layers: tuple[Problem, Problem], settings: dict[str, object], direction: Direction
) -> None:
    case = Case(problem=layers[0], device="accelerator", direction=direction, **settings)
    limit_s = schedule.prepare_limit_s(case, DEADLINE_S)
    prepared = pool.client(case.worker).prepare(4, case, check=True, seed=1, deadline_s=limit_s)
    if prepared.status is Status.SKIPPED:
        pytest.skip(str(prepared.reason))
    assert (prepared.status, prepared.reason) == (Status.PASSED, None)
    timing = pool.client(case.worker).block(4, 0.02, deadline_s=DEADLINE_S)
    assert isinstance(timing, Timing)
    assert pool.client(case.worker).verify(4, deadline_s=DEADLINE_S) is None


def test_what_ran_and_its_memory_are_reported(
    pool: WorkerPool, accelerator: Accelerator, layers: tuple[Problem, Problem]
) -> None:
    client = pool.client(WorkerSettings())
    case = Case(problem=layers[0], device="accelerator")
    prepared = client.prepare(2, case, check=True, seed=1, deadline_s=DEADLINE_S)
    assert prepared.facts.implementation not in (None, "unknown")
    found = client.peak_memory(2, deadline_s=DEADLINE_S)
    assert found is not None or accelerator.kind == "mps", "each of these backends counts its memory"
    assert client.verify(2, deadline_s=DEADLINE_S) is None


def test_the_second_device_is_another_one(
    pool: WorkerPool, accelerator: Accelerator, layers: tuple[Problem, Problem]
) -> None:
    # A sweep names a third-party backend by torch's name for all of them, whatever its type is called.
    case = Case(problem=layers[0], device=f"{accelerator.kind}:1" if accelerator.is_real else "privateuseone:1")
    prepared = pool.client(case.worker).prepare(5, case, check=True, seed=1, deadline_s=DEADLINE_S)
    if accelerator.is_real and prepared.status is Status.SKIPPED:
        pytest.skip(str(prepared.reason))
    assert measured(pool, case).minimum_s > 0
    absent = replace(case, device=f"{accelerator.kind}:99")
    prepared = pool.client(absent.worker).prepare(6, absent, check=True, seed=1, deadline_s=DEADLINE_S)
    assert prepared.status is Status.SKIPPED
    assert f"device {accelerator.kind}:99 is not there" in str(prepared.reason)


def test_memory_that_is_not_there_loses_one_case(pool: WorkerPool, layers: tuple[Problem, Problem]) -> None:
    client = pool.client(WorkerSettings())
    huge = Case(problem=replace(layers[0], batch_size=2**20, input_size=(8192, 8192)), device="accelerator")
    prepared = client.prepare(7, huge, check=True, seed=1, deadline_s=DEADLINE_S)
    assert prepared.status is Status.OUT_OF_MEMORY, prepared.reason
    measured(pool, Case(problem=layers[0], device="accelerator"))


def test_roofs_are_those_of_the_device(pool: WorkerPool, accelerator: Accelerator) -> None:
    roofs = pool.client(WorkerSettings()).roofs(["float32", "float16"], "accelerator", deadline_s=DEADLINE_S)
    compute = {roof.dtype: roof.rate for roof in roofs if roof.kind is RoofKind.COMPUTE}
    copies = [roof.rate for roof in roofs if roof.kind is RoofKind.BANDWIDTH]
    assert compute.keys() == {"float32", "float16"}
    assert min(*compute.values(), *copies) > (1e10 if accelerator.is_real else 1e6)
    assert max(*compute.values(), *copies) < 1e17
    if accelerator.is_real:
        assert compute["float16"] > 1.2 * compute["float32"], "else it would be float32's"


def test_events_measure_time_and_the_queue_waits(accelerator: Accelerator) -> None:
    if not accelerator.is_real:
        pytest.skip("the device that a CPU plays has no events that measure time")
    device = devices.resolve("accelerator")
    stream = devices.Stream(device)
    square = torch.ones(2048, 2048, device=device)
    first, second = stream.events(2)
    stream.record(first)
    square @ square
    stream.record(second)
    stream.synchronize()
    if stream.has_events:
        assert stream.seconds_between(first, second) > 0
    assert json.dumps(accelerators.describe(["accelerator"]))
