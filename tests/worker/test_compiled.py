"""Compiled layers: every direction is right, each case has its own code, and a second compilation is an error."""

from __future__ import annotations

import itertools
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from compilers import needs_compiler
from layers import CPU, DIRECTIONS, HONEST, PLAIN, spec

from convbench import sweep
from convbench.engine.client import Timing, WorkerClient
from convbench.engine.local import LocalEngine, LocalTransport
from convbench.model.case import Allocator, Cache, Case, Execution, WorkerSettings
from convbench.model.problem import Direction
from convbench.model.result import Status
from convbench.worker import compiled
from convbench.worker.layer import Layer
from convbench.worker.serve import Worker
from convbench.worker.spec import Spec
from convbench.worker.verify.verdict import verify

DEADLINE_S = 600.0
#: torch's compiler uses functions that torch deprecates, and torch warns of layers that it must pad itself.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(autouse=True, scope="module")
def _folder() -> Iterator[None]:
    """A cache of these tests' own, no compiling processes, and torch as it was afterwards."""
    from torch._dynamo import config as dynamo
    from torch._inductor import config as inductor

    before = os.environ.get(compiled.FOLDER)
    with tempfile.TemporaryDirectory() as folder, inductor.patch(compile_threads=1):
        os.environ[compiled.FOLDER] = folder
        with dynamo.patch(error_on_recompile=False, fail_on_recompile_limit_hit=False):
            compiled.load.cache_clear()
            yield
    compiled.load.cache_clear()
    torch.compiler.reset()
    os.environ.pop(compiled.FOLDER)
    if before is not None:
        os.environ[compiled.FOLDER] = before


@pytest.fixture
def traced_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.compile without its code generator, which takes most of its time: what it traces runs eagerly."""
    real: Any = torch.compile

    def traced(function: Any, *, fullgraph: bool, dynamic: bool, mode: str = "default") -> Any:
        return real(function, fullgraph=fullgraph, dynamic=dynamic, backend="aot_eager")

    compiled.load.cache_clear()
    monkeypatch.setattr(torch, "compile", traced)
    compiled.load(CPU)


def prepared(worker: Worker, asked: Spec, key: int = 1) -> dict[str, Any]:
    return worker.answer({"op": "prepare", "key": key, "check": True, "repeats": True, "spec": asked._asdict()})


# What is compiled


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_direction_is_right_when_it_is_compiled(direction: str, dtype: str) -> None:
    worker = Worker()
    answer = prepared(worker, spec(PLAIN, direction, dtype=dtype, execution="compiled"))
    assert (answer["status"], answer["reason"]) == ("passed", None)
    assert answer["digest"] == verify(Layer(spec(PLAIN, direction, dtype=dtype), CPU)).digest
    assert answer["implementation"].startswith("inductor ")
    assert answer["first_call_s"] > 0.05, "compiling is part of the first call"
    timing = worker.answer({"op": "block", "key": 1, "seconds": 0.002})
    assert (timing["status"], timing["wrong"]) == ("passed", None)
    assert worker.answer({"op": "verify", "key": 1}) == {"status": "passed", "reason": None}


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_the_layers_of_quick_are_right_when_they_are_compiled(direction: str) -> None:
    """bench/compiled_layers.py does the same with every layer of configs/, which takes some minutes."""
    quick = sweep.load(Path(__file__).parents[2] / "configs" / "quick.yaml")
    problems = dict.fromkeys(case.problem for case in sweep.cases(quick).cases)
    assert len(problems) == 4
    dtypes = itertools.cycle(("float32", "bfloat16") if direction == "forward" else ("bfloat16", "float32"))
    for problem, dtype in zip(problems, dtypes, strict=False):
        answer = prepared(Worker(), spec(problem, direction, dtype=dtype, execution="compiled"))
        assert (answer["status"], answer["reason"]) == ("passed", None), problem


@needs_compiler
@pytest.mark.slow
def test_the_note_names_what_inductor_copies_into_another_layout() -> None:
    worker = Worker()
    forward = prepared(worker, spec(PLAIN, execution="compiled"))
    assert forward["note"] == "inductor copies input and weight to channels_last, output to contiguous"
    of_input = prepared(worker, spec(PLAIN, "grad_input", execution="compiled"), key=2)
    assert of_input["note"] == "through autograd; inductor copies upstream gradient to channels_last"
    code = worker._prepared[2].layer._compiled.code
    assert re.search(r"convolution_backward\.default\(.*\[True, False, False\]\)", code[1]), (
        "it computes no other gradient"
    )
    last = prepared(worker, spec(PLAIN, memory_format="channels_last", execution="compiled"), key=3)
    assert "copies input" not in (last["note"] or "")


def test_what_is_timed_is_what_was_compiled(traced_alone: None) -> None:
    layer = Layer(spec(PLAIN, execution="compiled"), CPU)
    assert layer.step.__closure__ is not None
    assert layer._compiled is not None
    assert layer.step.__closure__[0].cell_contents is layer._compiled.forward
    with layer.mode():
        assert torch.equal(layer.step(), layer.module(layer.operands.x))


def test_more_layers_than_torch_keeps_versions_are_all_compiled(traced_alone: None) -> None:
    """torch's limit is eight versions of one code object, after which it runs eagerly and says nothing."""
    from torch._dynamo import config
    from torch._dynamo.utils import counters

    before = counters["stats"]["unique_graphs"]
    layers = [Layer(spec(replace(PLAIN, out_channels=8 + n), execution="compiled"), CPU) for n in range(12)]
    assert len(layers) > config.recompile_limit
    for layer in layers:
        assert verify(layer).reason is None
    assert counters["stats"]["unique_graphs"] - before == len(layers)


@pytest.mark.slow
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_copies_for_a_cold_cache_run_the_same_code(traced_alone: None, direction: str) -> None:
    worker = Worker()
    answer = prepared(worker, spec(PLAIN, direction, execution="compiled", cache="cold"))
    assert (answer["status"], answer["reason"]) == ("passed", None)
    timing = worker.answer({"op": "block", "key": 1, "seconds": 0.002})
    assert (timing["status"], timing.get("reason")) == ("passed", None)
    assert worker._prepared[1].step is not worker._prepared[1].layer.step


@pytest.mark.parametrize("name", ["unbatched", "no bias", "same", "reflect padding"])
def test_other_layers_are_compiled_too(traced_alone: None, name: str) -> None:
    for direction in ("forward", "train_step"):
        assert verify(Layer(spec(HONEST[name], direction, execution="compiled"), CPU)).reason is None


def test_autocast_is_compiled_with_the_layer(traced_alone: None) -> None:
    for direction in DIRECTIONS:
        layer = Layer(spec(PLAIN, direction, execution="compiled", autocast="bfloat16"), CPU)
        assert verify(layer).reason is None


# What is refused


class CountsItsCalls(torch.nn.Conv2d):
    """torch compiles it for each number of calls."""

    calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return super().forward(x) * (1 if self.calls else 2)


class Breaks(torch.nn.Conv2d):
    """Its forward is two graphs."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = super().forward(x)
        torch._dynamo.graph_break()
        return y + 0


def test_a_second_compilation_is_an_error_with_its_reason(traced_alone: None) -> None:
    answer = prepared(Worker(), spec(PLAIN, module="test_compiled:CountsItsCalls", execution="compiled"))
    assert answer["status"] == "error"
    assert answer["reason"].startswith("CompiledAgainError: a later call would have compiled the layer again: ")
    assert "calls" in answer["reason"]


def test_a_layer_of_two_graphs_is_an_error(traced_alone: None) -> None:
    answer = prepared(Worker(), spec(PLAIN, module="test_compiled:Breaks", execution="compiled"))
    assert answer["status"] == "error"
    assert answer["reason"].startswith("Unsupported: ")


def test_a_wrong_layer_is_wrong_when_it_is_compiled(traced_alone: None) -> None:
    answer = prepared(Worker(), spec(PLAIN, module="planted:PadOffByOne", execution="compiled"))
    assert answer["status"] == "failed"


def test_without_a_compiler_a_case_is_skipped_with_the_reason() -> None:
    compiled._no_compiler.cache_clear()
    try:
        # monkeypatch would delete the option afterwards: its holder is a class.
        with torch._inductor.config.patch({"cpp.cxx": ("/nowhere/g++",)}):
            answer = prepared(Worker(), spec(PLAIN, execution="compiled"))
    finally:
        compiled._no_compiler.cache_clear()
    assert answer["status"] == "skipped"
    assert "needs a C++ compiler" in answer["reason"]


def test_a_device_that_the_compiler_does_not_know_is_refused() -> None:
    assert compiled._no_compiler("cpu") is None or "C++" in str(compiled._no_compiler("cpu"))
    assert "generates no code for hpu" in (
        compiled.refusal(spec(PLAIN, execution="compiled"), torch.device("hpu")) or ""
    )


def test_graphs_of_max_autotune_are_refused_where_a_backward_is_repeated() -> None:
    cuda = torch.device("cuda")
    asked = spec(PLAIN, "backward", execution="compiled", compile_mode="max-autotune")
    assert compiled.captures_graphs(asked, cuda)
    assert not compiled.captures_graphs(asked, CPU)
    assert not compiled.captures_graphs(asked._replace(compile_mode="max-autotune-no-cudagraphs"), cuda)
    compiled._no_compiler.cache_clear()
    assert "cuda" in (compiled.refusal(asked, cuda) or "")


# The worker's process


@needs_compiler
@pytest.mark.slow
def test_a_worker_compiles_alone_and_its_engine_removes_what_it_compiled() -> None:
    engine = LocalEngine()
    settings = WorkerSettings(execution=Execution.COMPILED, allocator=Allocator.SYSTEM, threads=1)
    problem = replace(PLAIN, in_channels=7)
    case = Case(
        problem=problem, direction=Direction.BACKWARD, execution=Execution.COMPILED, cache=Cache.COLD, threads=1
    )
    found, sizes = [], []
    for _ in range(2):
        client: WorkerClient = engine.start(settings)
        client.describe(deadline_s=DEADLINE_S)
        ready = client.prepare(1, case, check=True, seed=0, deadline_s=DEADLINE_S)
        assert (ready.status, ready.reason) == (Status.PASSED, None)
        timing = client.block(1, 0.005, deadline_s=DEADLINE_S)
        assert isinstance(timing, Timing)
        transport = client._transport
        assert isinstance(transport, LocalTransport)
        children = "".join(path.read_text() for path in Path(f"/proc/{transport.pid}/task").glob("*/children"))
        assert not children.split(), "no process of the compiler is left beside the blocks"
        assert engine._compiled is not None
        folder = Path(engine._compiled)
        sizes.append(len(list(folder.rglob("*.so"))))
        found.append(ready.facts.first_call_s)
        client.close()
    assert sizes[0] > 0
    assert sizes[0] == sizes[1], "the second process finds what the first one compiled"
    assert not [path for path in folder.parent.glob("*") if path == folder.with_suffix(".lock")]
    engine.close()
    assert not folder.exists()


def test_only_workers_that_compile_have_the_compilers_variables() -> None:
    engine = LocalEngine()
    eager = engine.variables(WorkerSettings())
    own = engine.variables(WorkerSettings(execution=Execution.COMPILED))
    assert own.items() - eager.items() == {("TORCHINDUCTOR_COMPILE_THREADS", "1")}
    assert engine._cache_of(WorkerSettings()) == {}
    assert engine._compiled is None
    named = engine._cache_of(WorkerSettings(execution=Execution.COMPILED))
    folder = Path(named[compiled.FOLDER])
    assert folder.is_dir()
    engine.close()
    assert not folder.exists()
    forgotten = LocalEngine()
    folder = Path(forgotten._cache_of(WorkerSettings(execution=Execution.COMPILED))[compiled.FOLDER])
    del forgotten
    assert not folder.exists(), "an engine that nobody closed leaves nothing, and warns of nothing"
    assert not Path(named[compiled.FOLDER]).exists()
