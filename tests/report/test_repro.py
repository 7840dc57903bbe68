"""Scripts for one case: what they hold, that they run, and that they time what a worker times."""

from __future__ import annotations

import ast
import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake_graphs
import pytest
import torch
from accelerators import Accelerator
from golden_files import GOLDEN
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from convbench.engine.client import spec
from convbench.engine.local import LocalEngine
from convbench.model.case import (
    DTYPES,
    Allocator,
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
)
from convbench.model.problem import Direction, PaddingMode, PaddingWord, Problem
from convbench.report.text.repro import repro
from convbench.worker import cold
from convbench.worker.layer import Layer
from convbench.worker.spec import Spec

CPU = torch.device("cpu")
PLAIN = Problem(in_channels=4, out_channels=6, kernel_size=(3, 3), input_size=(9, 11), padding=(1, 1), batch_size=2)
PROBLEMS = {
    "plain": PLAIN,
    "unbatched": replace(PLAIN, batch_size=None),
    "no bias": replace(PLAIN, bias=False),
    "grouped": replace(PLAIN, groups=2, stride=(2, 1), dilation=(1, 2)),
    "depthwise": replace(PLAIN, out_channels=4, groups=4),
    "same": replace(PLAIN, padding=PaddingWord.SAME),
    "uneven same": replace(PLAIN, padding=PaddingWord.SAME, kernel_size=(4, 2)),
    "valid": replace(PLAIN, padding=PaddingWord.VALID, kernel_size=(1, 7)),
    **{mode.value: replace(PLAIN, padding_mode=mode) for mode in PaddingMode},
}
SETTINGS: dict[str, dict[str, Any]] = {
    **{dtype: {"dtype": dtype} for dtype in DTYPES},
    "channels_last": {"memory_format": MemoryFormat.CHANNELS_LAST},
    **{f"autocast {word.value}": {"autocast": word} for word in Autocast if word is not Autocast.NONE},
    "cold": {"cache": Cache.COLD},
    "cold autocast": {"cache": Cache.COLD, "autocast": Autocast.BFLOAT16},
    **{f"{data.value} data": {"data": data} for data in Data},
    "denormal bfloat16": {"data": Data.DENORMAL, "dtype": "bfloat16"},
    "ieee": {"fp32_precision": Fp32Precision.IEEE},
    "bf16": {"fp32_precision": Fp32Precision.BF16},
    "deterministic": {"deterministic": True},
    "one thread": {"threads": 1},
    "their module": {"module": "planted:Honest"},
    "their cold module": {"module": "planted:Honest", "cache": Cache.COLD, "dtype": "bfloat16"},
    "bias that is none": {"module": "test_repro:WithoutBias"},
    **{f"{weights.value} weights": {"weights": weights} for weights in Weights},
    "their given weights": {"weights": Weights.GIVEN, "module": "planted:Honest"},
    "their zeros": {"weights": Weights.ZEROS, "module": "planted:Honest"},
    **{f"{word.value} input": {"input_format": word} for word in InputFormat},
    "strided input of channels_last": {
        "input_format": InputFormat.STRIDED,
        "memory_format": MemoryFormat.CHANNELS_LAST,
        "cache": Cache.COLD,
    },
    "contiguous input of channels_last": {
        "input_format": InputFormat.CONTIGUOUS,
        "memory_format": MemoryFormat.CHANNELS_LAST,
    },
}
CASES = {
    **{
        f"{name} {direction}": Case(problem=problem, direction=direction)
        for (name, problem), direction in itertools.product(PROBLEMS.items(), Direction)
    },
    **{
        f"{name} {direction}": Case(problem=PLAIN, direction=direction, **settings)
        for (name, settings), direction in itertools.product(SETTINGS.items(), Direction)
    },
    "unbatched cold": Case(problem=PROBLEMS["unbatched"], direction=Direction.GRAD_WEIGHT, cache=Cache.COLD),
    "no bias cold": Case(problem=PROBLEMS["no bias"], direction=Direction.TRAIN_STEP, cache=Cache.COLD),
}
#: Devices that this machine need not have: their scripts are read, not run.
ELSEWHERE = {
    f"{device} {cache} {direction}": Case(
        problem=PLAIN,
        device=device,
        cache=cache,
        direction=direction,
        autocast=Autocast.BFLOAT16,
        fp32_precision=Fp32Precision.TF32,
        deterministic=True,
        cudnn_benchmark=device.startswith("cuda"),
    )
    for device, cache, direction in itertools.product(
        ("cuda", "cuda:1", "xpu", "mps", "accelerator", "mtia"), Cache, Direction
    )
}
#: A line that every script ends with.
SAID = re.compile(r"per iteration: min ([\d,.]+) us, median ([\d,.]+) us, of ([\d,]+)")


class WithoutBias(torch.nn.Conv2d):
    """A user's layer whose constructor has defaults of its own, and a bias that is no tensor."""

    def __init__(self, *channels: int, bias: bool = False, stride: int = 3, **rest: Any) -> None:
        super().__init__(*channels, bias=False, stride=stride, **rest)


@pytest.fixture(autouse=True)
def _process_settings() -> Iterator[None]:
    """Put back what scripts set for their whole process; one thread, for two wait for each other on a busy machine."""
    threads, argv = torch.get_num_threads(), sys.argv
    torch.set_num_threads(1)
    switch = torch.backends.mkldnn.conv
    precision = switch.fp32_precision
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(False)
    switch.fp32_precision = precision
    sys.argv = argv


def few_copies(text: str) -> str:
    """The script for a machine with tiny caches."""
    return text.replace("2**26", "2**14").replace("2**28", "2**14").replace("/sys/devices", "/no/devices")


def executed(text: str) -> dict[str, Any]:
    """The names that a script leaves, after it ran for as short as it can."""
    sys.argv = ["repro.py", "0"]
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(text, "repro.py", "exec"), names)
    return names


@pytest.mark.parametrize("name", [*CASES, *ELSEWHERE])
def test_a_script_is_short_and_needs_torch_alone(name: str) -> None:
    case = {**CASES, **ELSEWHERE}[name]
    text = repro(case, LocalEngine().variables(case.worker))
    imported = set()
    for node in ast.walk(ast.parse(text, feature_version=(3, 9))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module))
    theirs = {case.module.partition(":")[0]} - {"torch.nn.Conv2d"}
    assert imported - sys.stdlib_module_names == {"torch"} | theirs
    assert all(f"{module}." in text for module in imported - theirs), "nothing is imported in vain"
    lines = text.splitlines()
    assert len(lines) <= (80 if case.cache is Cache.COLD else 65)
    assert max(len(line) for line in lines if not line.startswith("#")) <= 120
    assert "\n\n\n\n" not in text and text.endswith(")\n")
    assert case.id in lines[1] + lines[2]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("name", CASES)
def test_a_script_times_what_a_worker_times(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    case = CASES[name]
    with Operations() as script:
        names = executed(few_copies(repro(case)))
    minimum, median, iterations = (float(text.replace(",", "")) for text in SAID.findall(capsys.readouterr().out)[-1])
    assert 0 < minimum <= median and iterations >= 1

    layer = Layer(Spec.from_json(json.loads(json.dumps(spec(case, 0)))), CPU)
    layer.set_data()
    step = cold.rotating_step(layer, 2**14) if case.cache is Cache.COLD else layer.step
    with layer.mode(), Operations() as worker:
        for _ in range(2):
            step()
    assert worker.seen, "something happens in an iteration"
    assert script.seen[-len(worker.seen) :] == worker.seen
    if case.cache is Cache.COLD:
        half = len(worker.seen) // 2
        last, before = script.read(half), script.read(2 * half) - script.read(half)
        assert last and len(before) == len(last), "each iteration its own operands"
    for operand, tensor in (("x", layer.operands.x), ("g", layer.operands.g)):
        if tensor is not None:
            assert names[operand].dtype == tensor.dtype
            assert names[operand].squeeze().stride() == tensor.squeeze().stride()
            assert float(names[operand].detach().abs().double().mean()) == pytest.approx(
                float(tensor.detach().abs().double().mean()), rel=0.5, abs=0
            ), "the same kind of numbers"
    assert names["layer"].weight.std().item() == pytest.approx(layer.operands.weight.std().item(), rel=0.5)


class Operations(TorchDispatchMode):
    """Takes down every operation that torch's dispatcher runs: its name, and what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, object, object]] = []
        self.addresses: list[set[int]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append((str(func), described(args), described(kwargs or {})))
        self.addresses.append({arg.data_ptr() for arg in args if isinstance(arg, torch.Tensor)})
        return func(*args, **(kwargs or {}))

    def read(self, count: int) -> set[int]:
        """Where the operands of the last `count` operations lie: what is convolved or, under autocast, first cast."""
        last = list(zip(self.seen[-count:], self.addresses[-count:], strict=True))
        cast = [at for (name, given, _), at in last if "_to_copy" in name and "torch.float32" in str(given)]
        return set().union(*(cast or [at for (name, _, _), at in last if "convolution" in name]))


def described(arguments: Any) -> Any:
    """The arguments of an operation, each tensor by its shape, layout and dtype."""

    def one(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return str(value)
        return (tuple(value.shape), value.stride(), value.dtype, value.device.type)

    return tree_map(one, arguments)


class FakeEvent:
    """An event of a device: it knows when it was recorded."""

    def __init__(self, *, enable_timing: bool) -> None:
        assert enable_timing

    def record(self, stream: str) -> None:
        assert stream == "stream"
        self.at = time.perf_counter()

    def elapsed_time(self, later: FakeEvent) -> float:
        return (later.at - self.at) * 1e3


@pytest.mark.parametrize(("cache", "direction"), [*itertools.product(Cache, Direction)])
def test_a_script_for_a_device_waits_for_it(
    cache: Cache, direction: Direction, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waited: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: "stream")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(L2_cache_size=2**16))
    monkeypatch.setattr(torch.cuda, "Event", FakeEvent)
    text = repro(Case(problem=PLAIN, device="cuda:1", cache=cache, direction=direction, autocast=Autocast.BFLOAT16))
    names = executed(text.replace('torch.device("cuda:1")', 'torch.device("cpu")'))
    assert SAID.search(capsys.readouterr().out)
    assert len(waited) >= 3 and set(waited) == {CPU}
    assert ("filler" in names) == (cache is Cache.COLD)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("cache", "direction"), [*itertools.product(Cache, Direction)])
def test_a_script_compiles_as_a_worker_does(
    cache: Cache, direction: Direction, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compile_, asked = torch.compile, []

    def traced(layer: torch.nn.Module, **options: Any) -> Any:
        asked.append(options)
        return compile_(layer, fullgraph=True, dynamic=False, backend="aot_eager")

    monkeypatch.setattr(torch, "compile", traced)
    mode = CompileMode.MAX_AUTOTUNE
    case = Case(problem=PLAIN, cache=cache, direction=direction, execution=Execution.COMPILED, compile_mode=mode)
    torch.compiler.reset()
    config: Any = torch._functorch.config
    with config.patch(donated_buffer=True):
        names = executed(few_copies(repro(case)))
        donates = config.donated_buffer
    torch.compiler.reset()
    assert SAID.search(capsys.readouterr().out)
    assert asked == [{"fullgraph": True, "dynamic": False, "mode": "max-autotune"}]
    repeats = direction not in (Direction.FORWARD, Direction.TRAIN_STEP)
    assert donates is not repeats
    ours = Layer(Spec.from_json(json.loads(json.dumps(spec(case, 0)))), CPU)
    wanted = [parameter.requires_grad for parameter in ours.module.parameters()]
    assert [parameter.requires_grad for parameter in names["layer"].parameters()] == wanted
    if repeats:
        assert names["x"].requires_grad == ours.operands.x.requires_grad


@pytest.mark.parametrize("direction", Direction)
def test_a_script_captures_a_graph_as_a_worker_does(
    direction: Direction, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    log = fake_graphs.install(monkeypatch)
    text = repro(Case(problem=PLAIN, device="cuda", direction=direction, execution=Execution.GRAPH))
    names = executed(text.replace('torch.device("cuda")', 'torch.device("cpu")'))
    assert SAID.search(capsys.readouterr().out)
    assert log == ["1 waits for 0", "runs on 1", "runs on 0", "0 waits for 1", "captures on 1", "captured"]
    assert names["graph"].replays >= 7, "the graph is timed"
    ran = [str(func) for func, *_ in names["graph"].ran]
    case = Case(problem=PLAIN, direction=direction, execution=Execution.GRAPH)
    ours: Any = Layer(Spec.from_json(json.loads(json.dumps(spec(case, 0)))), CPU).step
    assert ran == [str(func) for func, *_ in ours.__self__.ran]
    assert sum("convolution_backward" in name for name in ran) == (direction is not Direction.FORWARD)


#: Executes the scripts of a JSON list in one process, which takes seconds to find its device.
EXECUTE = """
import json, sys
for text in json.load(sys.stdin):
    exec(compile(text, "repro.py", "exec"), {"__name__": "__main__"})
"""


@pytest.mark.gpu
@pytest.mark.slow
def test_a_script_runs_on_a_device(accelerator: Accelerator) -> None:
    problem = Problem(in_channels=4, out_channels=6, kernel_size=(3, 3), input_size=(8, 8), batch_size=2)
    cases = [Case(problem=problem, device="accelerator", direction=direction) for direction in Direction]
    cases += [
        Case(problem=problem, device="accelerator", cache=Cache.COLD),
        Case(problem=problem, device=f"{accelerator.kind}:0", direction=Direction.BACKWARD),
    ]
    scripts = [repro(case) if accelerator.is_real else few_copies(repro(case)) for case in cases]
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE, "0.01"],
        input=json.dumps(scripts),
        env={**os.environ, **accelerator.variables},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert len(SAID.findall(done.stdout)) == len(scripts)


@pytest.mark.parametrize("name", ["their module forward", "cold backward", "plain grad_weight"])
@pytest.mark.slow
def test_a_script_runs_by_itself(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    (tmp_path / "repro.py").write_text(few_copies(repro(case)), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "repro.py", "0.01"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    found = SAID.fullmatch(done.stdout.strip())
    assert found and 1 <= float(found[1].replace(",", "")) < 1e6


def test_the_head_tells_how_to_run_it(tmp_path: Path) -> None:
    case = Case(problem=PLAIN, module="planted:Honest", env=(("ONEDNN_MAX_CPU_ISA", "AVX2"), ("ODD", "a 'b'\n\x1bc")))
    text = repro(case, {"MALLOC_TOP_PAD_": "67108864", **dict(case.env)})
    line = next(line for line in text.splitlines() if line.startswith("#   export "))
    shell = ["bash", "-c", f"{line[1:]}; env"]
    told = subprocess.run(shell, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True).stdout
    assert {"MALLOC_TOP_PAD_=67108864", "ONEDNN_MAX_CPU_ISA=AVX2"} <= set(told.splitlines())
    assert "ODD=a 'b'\n\x1bc\n" in told
    assert "\nPYTHONPATH=.:\n" in told
    assert "export" not in repro(Case(problem=PLAIN, allocator=Allocator.SYSTEM))


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x85", "\u2028", "\0", "\ud800"])
def test_a_label_stays_in_its_comment(end: str) -> None:
    hostile = f"a{end}raise SystemExit('from the label'){end}" + "long " * 40 + "\N{PILE OF POO}"
    plain = repro(Case(problem=PLAIN))
    text = repro(Case(problem=PLAIN, given_label=hostile))
    assert ast.dump(ast.parse(text.encode())) == ast.dump(ast.parse(plain))


@pytest.mark.parametrize("module", ["class.package:Conv.Inner", "planted; raise SystemExit:Honest", "a:b'); exit('"])
def test_a_module_that_no_import_statement_can_name_is_data(module: str) -> None:
    text = repro(Case(problem=PLAIN, module=module))
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    imported = next(node for node in calls if ast.unparse(node.func) == "importlib.import_module")
    assert ast.literal_eval(imported.args[0]) == module.partition(":")[0]
    assert "SystemExit" not in {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}


def test_a_class_within_a_class_is_found() -> None:
    case = Case(problem=PLAIN, module="test_repro:Outer.Inner")
    assert type(executed(repro(case))["layer"]).__name__ == "Inner"


class Outer:
    """Holds a layer."""

    class Inner(torch.nn.Conv2d):
        """A layer of the user's."""


def test_the_golden_script() -> None:
    problem = replace(PLAIN, in_channels=64, out_channels=128, kernel_size=(3, 5), groups=2, input_size=(28, 28))
    case = Case(
        problem=problem,
        direction=Direction.BACKWARD,
        dtype="bfloat16",
        memory_format=MemoryFormat.CHANNELS_LAST,
        threads=1,
        data=Data.DENORMAL,
        fp32_precision=Fp32Precision.IEEE,
        given_label="conv 7",
    )
    text = repro(case, {"MALLOC_TOP_PAD_": "67108864"})
    path = GOLDEN / "repro.py.txt"
    assert path.exists(), f"no {path.name}; what it would hold:\n{text}"
    assert text == path.read_text(encoding="utf-8")
