"""Real workers: what they say, what layers may do to them, and that they end with their conductor."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import psutil
import pytest
import torch
from missing import linux

from convbench import sweep
from convbench.conduct.processes import Hooks, Processes
from convbench.engine.client import ReferenceTimes, Refusal, Timing, WorkerClient, spec
from convbench.engine.local import LocalEngine, LocalTransport, Setup
from convbench.engine.pool import WorkerPool
from convbench.errors import RequestError, WorkerDiedError, WorkerStartError
from convbench.model.case import DTYPES, Allocator, Case, MemoryFormat, WorkerSettings
from convbench.model.problem import Direction, Problem
from convbench.model.references import ReferenceKind, references
from convbench.model.result import Measure, Status, Visit, merge, unpack_blocks
from convbench.worker import host, memory, serve
from convbench.worker.setup import MEMORY_SHARE

HERE = Path(__file__).parent.parent
DEADLINE_S = 60.0
PROBLEM = Problem(in_channels=4, out_channels=6, kernel_size=(3, 3), input_size=(8, 8), batch_size=2)


@pytest.fixture(autouse=True, scope="module")
def _modules_of_the_tests_can_be_imported(kept_forks: None) -> Iterator[None]:
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(HERE) + (os.pathsep + before if before else "")
    yield
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


@pytest.fixture(scope="module")
def client() -> Iterator[WorkerClient]:
    pool = WorkerPool(LocalEngine())
    yield pool.client(WorkerSettings(threads=1))
    pool.close()


def process_of(client: WorkerClient) -> psutil.Process:
    """The process of a client's worker."""
    transport = client._transport
    assert isinstance(transport, LocalTransport)
    client.describe(deadline_s=DEADLINE_S)  # from then on its id is known
    return psutil.Process(transport.pid)


def test_a_worker_says_what_it_is(client: WorkerClient) -> None:
    description = client.describe(deadline_s=DEADLINE_S)
    assert description.torch.split("+")[0].count(".") == 2
    assert description.python == ".".join(str(part) for part in sys.version_info[:3])
    assert description.threads == 1


def test_the_steady_allocator_is_proven(client: WorkerClient) -> None:
    description = client.describe(deadline_s=DEADLINE_S)
    assert description.keeps_memory or not description.host.has_steady_allocator


def test_a_worker_tells_of_the_machine_it_runs_on(client: WorkerClient) -> None:
    found = client.describe(deadline_s=DEADLINE_S).host
    facts = host.facts()
    settled = set(facts) - {"available_bytes"}
    assert {name: getattr(found, name) for name in settled} == {name: facts[name] for name in settled}
    assert {field.name for field in fields(found)} == set(facts)
    before, after = (client.host_state(deadline_s=DEADLINE_S) for _ in range(2))
    if sys.platform == "linux":
        assert 0 < found.free_bytes < psutil.virtual_memory().total
        assert before.ticks is not None
        assert after.ticks is not None
        assert sum(after.ticks) >= sum(before.ticks)
        assert 0 <= (after.stolen_since(before) or 0.0) <= 1
        assert after.load is not None


@linux
def test_a_worker_takes_no_more_than_a_share_of_what_is_free_unless_told() -> None:
    free = host.memory_available()
    assert free is not None
    for memory_limit in (None, 3 * 2**30):
        pool, settings = WorkerPool(LocalEngine(memory_limit=memory_limit)), WorkerSettings(threads=1)
        limit, _ = process_of(pool.client(settings)).rlimit(psutil.RLIMIT_DATA)
        pool.close()
        if memory_limit is None:
            assert free / 2 < limit < psutil.virtual_memory().total * MEMORY_SHARE
        else:
            assert limit == memory_limit


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("memory_format", list(MemoryFormat))
def test_a_layer_is_checked_and_timed_in_every_direction(
    client: WorkerClient, direction: Direction, memory_format: MemoryFormat
) -> None:
    case = Case(problem=PROBLEM, direction=direction, memory_format=memory_format, threads=1)
    prepared = client.prepare(1, case, check=True, seed=1, deadline_s=DEADLINE_S)
    assert (prepared.status, prepared.reason) == (Status.PASSED, None)
    assert prepared.facts.check is not None
    assert prepared.facts.check.output_shape == PROBLEM.output_shape
    assert prepared.facts.check.method == "exact"
    assert prepared.facts.check.elements > 0
    assert (prepared.facts.threads, prepared.facts.timer) == (1, "perf_counter")
    assert prepared.facts.implementation
    assert prepared.facts.implementation.split()[0] in ("Mkldnn", "Slow2d")
    timing = client.block(1, 0.002, deadline_s=DEADLINE_S)
    assert isinstance(timing, Timing)
    assert 0 < timing.minimum_s <= timing.median_s
    assert timing.samples >= 1


def test_a_process_whose_device_is_broken_ends_and_says_why() -> None:
    pool = WorkerPool(LocalEngine())
    case = Case(problem=PROBLEM, module="misbehaving:BreaksTheDevice", threads=1)
    client = pool.client(case.worker)
    assert client.prepare(1, case, check=False, seed=1, deadline_s=DEADLINE_S).status is Status.PASSED
    with pytest.raises(WorkerDiedError, match=r"CUDA error: an illegal memory access was encountered\)$"):
        for _ in range(3):
            client.block(1, 0.05, deadline_s=DEADLINE_S)
    pool.drop(case.worker)
    assert pool.client(case.worker).describe(deadline_s=DEADLINE_S).threads == 1, "another one goes on"
    pool.close()


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("CUDA out of memory. Tried to allocate 2.00 GiB", "out_of_memory"),
        ("GET was unable to find an engine to execute this computation", "out_of_memory"),
        ("Unable to find an engine to execute this computation", "out_of_memory"),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", "out_of_memory"),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", "out_of_memory"),
        ("CUDA error: out of memory", "out_of_memory"),
        ("CUDA error: device-side assert triggered", None),
        ("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", None),
        ("HIP error: the operation cannot be performed in the present state", None),
        ("expected a 4D input", "error"),
    ],
)
def test_errors_of_devices_are_no_memory_or_end_the_process(words: str, status: str | None) -> None:
    error = RuntimeError(words)
    assert serve._is_lasting(error) == (status is None)
    assert status is None or serve.classify(error)[0] == status


def test_a_layer_whose_memory_cannot_be_counted_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = serve.Worker()
    asked = spec(Case(problem=PROBLEM, threads=1), 1)
    assert worker.answer({"op": "prepare", "key": 1, "spec": asked, "check": True})["status"] == "passed"

    def fails(layer: object) -> int:
        raise RuntimeError("this allocator counts nothing")

    monkeypatch.setattr(memory, "peak_bytes", fails)
    assert worker.answer({"op": "peak_memory", "key": 1})["status"] == "error"
    assert worker.answer({"op": "verify", "key": 1}) == {"status": "passed", "reason": None}


def test_the_row_says_when_a_gradient_goes_through_autograd(client: WorkerClient) -> None:
    case = Case(problem=PROBLEM, direction=Direction.GRAD_INPUT)
    alone = client.prepare(1, case, check=False, seed=1, deadline_s=DEADLINE_S)
    assert alone.facts.note == "aten.convolution_backward alone"
    own = Case(problem=PROBLEM, direction=Direction.GRAD_INPUT, module="misbehaving:Chatty")
    note = client.prepare(2, own, check=False, seed=1, deadline_s=DEADLINE_S).facts.note
    assert note == "through autograd; the module's own weights were replaced by normal numbers"


def test_what_a_layer_prints_does_not_enter_the_protocol(client: WorkerClient) -> None:
    case = Case(problem=PROBLEM, module="misbehaving:Chatty")
    prepared = client.prepare(1, case, check=True, seed=1, deadline_s=DEADLINE_S)
    assert (prepared.status, prepared.reason) == (Status.PASSED, None)
    assert isinstance(client.block(1, 0.002, deadline_s=DEADLINE_S), Timing)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("misbehaving:Raising", "ValueError: this layer does not want to"),
        ("misbehaving:NotAModule", "not a torch.nn.Module"),
        ("misbehaving:OtherConstructor", "TypeError"),
    ],
)
def test_a_layer_that_raises_says_so_in_one_line(client: WorkerClient, module: str, words: str) -> None:
    prepared = client.prepare(1, Case(problem=PROBLEM, module=module), check=True, seed=1, deadline_s=DEADLINE_S)
    assert prepared.status is Status.ERROR
    assert prepared.reason is not None
    assert words in prepared.reason
    assert "\n" not in prepared.reason


def test_a_device_that_is_absent_is_skipped(client: WorkerClient) -> None:
    prepared = client.prepare(1, Case(problem=PROBLEM, device="mtia:3"), check=True, seed=1, deadline_s=DEADLINE_S)
    assert prepared.status is Status.SKIPPED
    assert prepared.reason
    assert "mtia:3" in prepared.reason


def test_a_tensor_that_cannot_be_had_is_out_of_memory_and_the_worker_goes_on(client: WorkerClient) -> None:
    huge = Problem(in_channels=2**20, out_channels=1, kernel_size=(1, 1), input_size=(2**14, 2**14))
    prepared = client.prepare(1, Case(problem=huge), check=True, seed=1, deadline_s=DEADLINE_S)
    assert prepared.status is Status.OUT_OF_MEMORY
    assert prepared.reason
    assert client.prepare(1, Case(problem=PROBLEM), check=True, seed=1, deadline_s=DEADLINE_S).status is Status.PASSED


def test_a_block_of_a_case_that_is_not_prepared_is_refused(client: WorkerClient) -> None:
    client.release(deadline_s=DEADLINE_S)
    refusal = client.block(99, 0.001, deadline_s=DEADLINE_S)
    assert isinstance(refusal, Refusal)


def test_a_module_that_cannot_be_imported_is_a_wrong_request(client: WorkerClient) -> None:
    with pytest.raises(RequestError, match="no_such_package"):
        client.find_module("no_such_package:Conv", deadline_s=DEADLINE_S)
    with pytest.raises(RequestError, match="Absent"):
        client.find_module("misbehaving:Absent", deadline_s=DEADLINE_S)
    client.find_module("misbehaving:Chatty", deadline_s=DEADLINE_S)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_data_in_another_process(client: WorkerClient) -> None:
    case = Case(problem=PROBLEM)
    errors = set()
    for pool in (WorkerPool(LocalEngine()), WorkerPool(LocalEngine())):
        other = pool.client(WorkerSettings(threads=1))
        check = other.prepare(1, case, check=True, seed=5, deadline_s=DEADLINE_S).facts.check
        assert check is not None
        errors.add(check.max_error)
        pool.close()
    assert len(errors) == 1
    check = client.prepare(1, case, check=True, seed=6, deadline_s=DEADLINE_S).facts.check
    assert check is not None
    assert check.max_error not in errors


@pytest.mark.slow
def test_a_run_finds_layers_that_are_wrong_in_one_call_of_ten() -> None:
    """With the usual settings; both layers pass their check. The third differs by rounding alone, and says so."""
    wrong = [
        Case(problem=PROBLEM, module="planted:WrongOnceInTen", threads=1),
        Case(problem=PROBLEM, module="planted:GradientWrongOnceInTen", direction=Direction.BACKWARD, threads=1),
    ]
    rounds = Case(problem=PROBLEM, module="planted:RoundsDifferently", threads=1)
    visits: list[Visit] = []
    hooks = Hooks(
        stored=lambda some: visits.extend(visit for visit in some if visit.complete),
        progressed=lambda progress: None,
        process_noted=lambda facts: None,
        process_finished=lambda index: None,
    )
    pool = WorkerPool(LocalEngine(memory_limit=3 * 2**29))
    Processes([*wrong, rounds], Measure(processes=2), seed=1, pool=pool, memory_limit=10**12, hooks=hooks).run()
    for case in wrong:
        found = merge(case, [visit for visit in visits if visit.case_id == case.id])
        assert found is not None
        assert found.facts.check is not None
        assert found.facts.check.reason is None, "its check saw right calls alone"
        assert found.status is Status.FAILED
        assert "call" in (found.reason or "")
        assert found.blocks, "timed all the same"
    found = merge(rounds, [visit for visit in visits if visit.case_id == rounds.id])
    assert found is not None
    assert (found.status, found.reason) == (Status.PASSED, None)
    replaced = "the module's own weights were replaced by normal numbers"
    assert found.facts.note == f"{replaced}; results differ from call to call by rounding"


def test_a_worker_that_cannot_start_says_why() -> None:
    with pytest.raises(WorkerStartError, match="/no/such/python"):
        LocalEngine(Setup(python="/no/such/python")).start(WorkerSettings())
    pool = WorkerPool(LocalEngine(Setup(python="/bin/false")))
    with pytest.raises(WorkerStartError, match="exit code 1"):
        pool.client(WorkerSettings())
    pool.close()


def test_the_system_allocator_leaves_the_environment_alone() -> None:
    engine = LocalEngine()
    assert engine.variables(WorkerSettings(allocator=Allocator.SYSTEM)) == {}
    first = engine.variables(WorkerSettings())["MALLOC_MMAP_THRESHOLD_"]
    assert engine.fall_back()
    assert int(engine.variables(WorkerSettings())["MALLOC_MMAP_THRESHOLD_"]) < int(first)
    assert not engine.fall_back()


@pytest.mark.slow
def test_what_one_layer_does_to_its_worker_costs_that_case_alone() -> None:
    """Every misdeed in one cohort with two honest layers, through the real processes."""
    names = ("Segfault", "SegfaultLater", "Hang", "HangInC", "Hungry", "Raising", "Exits")
    bad = {name: Case(problem=PROBLEM, module=f"misbehaving:{name}", threads=1) for name in names}
    good = [Case(problem=PROBLEM, threads=1), Case(problem=PROBLEM, threads=1, direction=Direction.BACKWARD)]
    visits: list[Visit] = []
    measure = Measure(processes=2, rounds=3, max_time=0.03, timeout=8, precision=1e-6)
    hooks = Hooks(
        stored=lambda some: visits.extend(visit for visit in some if visit.complete),
        progressed=lambda progress: None,
        process_noted=lambda facts: None,
        process_finished=lambda index: None,
    )
    pool = WorkerPool(LocalEngine(memory_limit=3 * 2**29))
    Processes([good[0], *bad.values(), good[1]], measure, seed=1, pool=pool, memory_limit=10**12, hooks=hooks).run()
    found = {name: [visit for visit in visits if visit.case_id == case.id] for name, case in bad.items()}
    assert {name: [visit.status for visit in of] for name, of in found.items()} == {
        "Segfault": [Status.CRASHED],
        "SegfaultLater": [Status.CRASHED],
        "Hang": [Status.TIMED_OUT],
        "HangInC": [Status.TIMED_OUT],
        "Hungry": [Status.OUT_OF_MEMORY],
        "Raising": [Status.ERROR],
        "Exits": [Status.CRASHED],
    }
    assert "SIGSEGV" in str(found["Segfault"][0].reason)
    assert "exit code 3" in str(found["Exits"][0].reason)
    assert "8 s" in str(found["Hang"][0].reason)
    assert unpack_blocks(found["SegfaultLater"][0].blocks), "blocks received before the death survive"
    for case in good:
        ours = [visit for visit in visits if visit.case_id == case.id]
        assert [visit.status for visit in ours] == [Status.PASSED] * 2
        assert [len(unpack_blocks(visit.blocks)) for visit in ours] == [3, 3]
        assert [visit.facts.check is not None for visit in ours] == [True, False]


@linux
@pytest.mark.slow
def test_the_probe_of_the_allocator_and_earlier_layers_leave_no_memory_behind() -> None:
    large = Case(problem=Problem(in_channels=64, out_channels=64, kernel_size=(1, 1), input_size=(512, 512)))
    tensors = 2 * 64 * 512 * 512 * 4
    found = {}
    for allocator in Allocator:
        pool, settings = WorkerPool(LocalEngine()), WorkerSettings(threads=1, allocator=allocator)
        client = pool.client(settings)
        first = pool.description(settings).memory_bytes
        assert first is not None
        assert client.prepare(1, large, check=False, seed=1, deadline_s=DEADLINE_S).status is Status.PASSED
        assert not isinstance(client.block(1, 0.01, deadline_s=DEADLINE_S), Refusal)
        held = client.describe(deadline_s=DEADLINE_S).memory_bytes
        client.release(deadline_s=DEADLINE_S)
        last = client.describe(deadline_s=DEADLINE_S).memory_bytes
        assert held is not None
        assert last is not None
        assert held > first + tensors // 2
        assert last < first + tensors // 2
        found[allocator] = first
        pool.close()
    assert found[Allocator.STEADY] < found[Allocator.SYSTEM] + 32 * 2**20, "the probe alone takes 72 MiB"


@pytest.mark.slow
def test_a_worker_that_is_killed_while_it_waits_is_replaced() -> None:
    pool, settings = WorkerPool(LocalEngine()), WorkerSettings(threads=1)
    client = pool.client(settings)
    process_of(client).kill()
    while client.is_alive():
        time.sleep(0.01)
    other = pool.client(settings)
    assert other is not client
    assert other.prepare(1, Case(problem=PROBLEM), check=True, seed=1, deadline_s=DEADLINE_S).status is Status.PASSED
    pool.close()


CONDUCTOR = """
import sys
from convbench.model.case import Case, WorkerSettings
from convbench.engine.pool import WorkerPool
from convbench.engine.local import LocalEngine
from convbench.model.problem import Problem
client = WorkerPool(LocalEngine()).client(WorkerSettings(threads=1))
print("up", flush=True)
problem = Problem(in_channels=4, out_channels=6, kernel_size=(3, 3), input_size=(8, 8))
client.prepare(1, Case(problem=problem, module="misbehaving:HangInC"), check=True, seed=1, deadline_s=600)
"""


@linux
@pytest.mark.slow
def test_a_worker_dies_with_its_conductor_even_inside_a_hung_call() -> None:
    conductor = subprocess.Popen([sys.executable, "-c", CONDUCTOR], stdout=subprocess.PIPE)
    assert conductor.stdout is not None
    try:
        assert conductor.stdout.readline() == b"up\n"
        (worker,) = psutil.Process(conductor.pid).children()
        assert os.getsid(worker.pid) == worker.pid, "a session of its own: Ctrl-C does not reach it"
        time.sleep(0.3)  # into the hung call
        conductor.send_signal(signal.SIGKILL)
        conductor.wait()
        psutil.wait_procs([worker], timeout=60)
        assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
    finally:
        conductor.kill()
        conductor.stdout.close()
        conductor.wait()


def test_references_are_timed_beside_cases_whose_layers_they_leave_alone() -> None:
    """Those beyond L2 take the most: ten times the work, over several requests."""
    problem = Problem(in_channels=4, out_channels=6, kernel_size=(3, 3), input_size=(8, 8))
    with contextlib.closing(WorkerPool(LocalEngine())) as pool:
        client = pool.client(WorkerSettings(threads=1))
        client.prepare(1, Case(problem=problem, threads=1), check=True, seed=1, deadline_s=DEADLINE_S)
        found = [client.references("cpu", 0.001, deadline_s=DEADLINE_S) for _ in range(5)]
        assert isinstance(client.block(1, 0.001, deadline_s=DEADLINE_S), Timing)
        assert client.verify(1, deadline_s=DEADLINE_S) is None
        absent = client.references("cuda", 0.001, deadline_s=DEADLINE_S)
    times = [one for one in found if isinstance(one, ReferenceTimes)]
    assert len(times) == 5
    fastest = [min(each) for each in zip(*(one.minima_s for one in times), strict=True)]
    kinds = [kind for kind, _ in references("cpu")]
    small, large = (
        [time for time, kind in zip(fastest, kinds, strict=True) if kind is wanted]
        for wanted in (ReferenceKind.CACHES, ReferenceKind.MEMORY)
    )
    assert (len(small), len(large)) == (5, 3)
    assert max(small) < min(large)
    assert all(one.busy_s > sum(one.minima_s) for one in times)
    if not torch.cuda.is_available():
        assert isinstance(absent, Refusal)
        assert absent.status is Status.SKIPPED


def layers_in_configs() -> tuple[list[Problem], set[str]]:
    """Every distinct layer of every sweep we ship, and the dtypes that they name."""
    plans = [sweep.cases(sweep.load(path)) for path in sorted((HERE.parent / "configs").glob("*.yaml"))]
    cases = [case for plan in plans for case in plan.cases]
    return list(dict.fromkeys(case.problem for case in cases)), {case.dtype for case in cases}


def least_of_each_kind(problems: list[Problem]) -> list[Problem]:
    """Of the layers that differ in channels, images and sizes alone, the one with the fewest operations."""
    least: dict[object, Problem] = {}
    for problem in sorted(problems, key=lambda each: each.flops(Direction.FORWARD)):
        one = replace(
            problem, in_channels=problem.groups, out_channels=problem.groups, input_size=(64, 64), batch_size=1
        )
        least.setdefault(one, problem)
    return list(least.values())


def damages_memory(case: Case) -> bool:
    """oneDNN 3.12, of torch 2.13, writes beyond the end of a gradient of the weight on CPUs with AVX2 alone.

    Seen with 3 and 4 input channels, 1x1 kernels, stride 2 and one thread: the worker ends by SIGSEGV or SIGABRT.
    """
    problem = case.problem
    return (
        torch.backends.cpu.get_cpu_capability() == "AVX2"
        and case.dtype == "float32"
        and case.memory_format is MemoryFormat.CHANNELS_LAST
        and problem.kernel_size == (1, 1)
        and problem.stride != (1, 1)
        and problem.in_channels < 8
    )


@pytest.mark.slow
@pytest.mark.parametrize("dtype", list(DTYPES))
def test_every_layer_in_configs_is_right(dtype: str) -> None:
    """Output and all gradients (train_step checks all), in both memory formats.

    Where no sweep names the dtype, the least work of each kind of layer, in either format by turns. One thread, as the
    sweeps say: threads that spin beside other tests cost minutes.
    """
    problems, shipped = layers_in_configs()
    assert shipped == {"float32", "bfloat16"}
    problems = problems if dtype in shipped else least_of_each_kind(problems)
    formats = itertools.cycle([[form] for form in MemoryFormat] if dtype not in shipped else [list(MemoryFormat)])
    found = {}
    with contextlib.closing(WorkerPool(LocalEngine())) as pool:
        client = pool.client(WorkerSettings(threads=1))
        for problem in problems:
            for memory_format in next(formats):
                case = Case(problem=problem, dtype=dtype, memory_format=memory_format, direction=Direction.TRAIN_STEP)
                if not case.refusal() and not damages_memory(case):
                    prepared = client.prepare(1, case, check=True, seed=1, deadline_s=DEADLINE_S)
                    found[case.label] = (prepared.status, prepared.reason)
    assert len(found) > (100 if dtype in shipped else 10)
    assert {label: why for label, why in found.items() if why != (Status.PASSED, None)} == {}
