"""Layers on the real CPU: every execution setting runs, is checked, and does what its name says."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import replace

import pytest
import torch

from convbench.engine.client import KERNELS, spec
from convbench.model.case import Autocast, Cache, Case, Data
from convbench.model.problem import Direction, PaddingMode, PaddingWord, Problem
from convbench.model.settings import TABLE, Sent, sent
from convbench.worker import cold, memory, timer
from convbench.worker.layer import Layer
from convbench.worker.serve import Worker
from convbench.worker.settings import Settings, precision
from convbench.worker.spec import Spec
from convbench.worker.verify.verdict import verify

CPU = torch.device("cpu")
PLAIN = Problem(in_channels=6, out_channels=8, kernel_size=(3, 3), input_size=(9, 11), padding=(1, 1), batch_size=3)
VARIED = (
    PLAIN,
    replace(PLAIN, batch_size=None, bias=False),
    replace(PLAIN, groups=2, stride=(2, 1)),
    replace(PLAIN, padding=PaddingWord.SAME, kernel_size=(4, 4)),
    replace(PLAIN, padding_mode=PaddingMode.REFLECT),
)


def asked(case: Case) -> Spec:
    """The spec as it arrives in a worker."""
    return Spec.from_json(json.loads(json.dumps(spec(case, 0))))


def made(**settings: object) -> Layer:
    return Layer(asked(Case(**{"problem": PLAIN, **settings})), CPU)


def test_the_worker_knows_what_it_is_told_once() -> None:
    """A setting that is missing in either list would not be applied, and nobody would notice."""
    assert set(Settings._fields) == set(sent(Sent.PROCESS))
    assert {name: TABLE[name].default for name in Settings._fields} == Settings()._asdict()


def test_a_spec_is_what_a_worker_is_told_of_a_layer() -> None:
    computed = {"operator", "pads", "input_shape", "weight_shape", "output_shape", "seed", "pads_itself"}
    assert set(Spec._fields) == set(spec(Case(problem=PLAIN), 0)) == {*sent(Sent.LAYER), *computed}
    defaults = {name: TABLE[name].default for name in Spec._field_defaults if name not in computed}
    assert defaults | {"pads_itself": False} == Spec._field_defaults


def test_a_worker_refuses_a_setting_that_it_does_not_know() -> None:
    answer = Worker().answer({"op": "describe", **Settings()._asdict(), "streams": 4})
    assert answer["status"] == "error"
    assert "streams" in str(answer["reason"])


@pytest.mark.parametrize("autocast", [Autocast.BFLOAT16, Autocast.FLOAT16])
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_autocast_computes_in_its_dtype_and_is_right(autocast: Autocast) -> None:
    for problem, direction in itertools.product(VARIED, Direction):
        layer = made(problem=problem, direction=direction, autocast=autocast)
        outcome = verify(layer)
        assert outcome.reason is None, (problem, direction)
        assert outcome.max_error is not None and outcome.max_error < 64
        results = layer.results()
        expected = dict.fromkeys(results, torch.float32) | {"output": getattr(torch, autocast.value)}
        assert {name: result.dtype for name, result in results.items()} == {name: expected[name] for name in results}
        assert not torch.is_autocast_enabled("cpu"), "off again"


@pytest.mark.parametrize("direction", Direction)
def test_data_are_what_the_case_asks_for(direction: Direction) -> None:
    for dtype in ("float32", "bfloat16", "float16", "float64"):
        layer = made(direction=direction, dtype=dtype, data=Data.ZEROS)
        layer.set_data()
        assert not layer.operands.x.any()
        assert layer.operands.g is None or not layer.operands.g.any()
        assert layer.operands.weight.any(), "weights stay"
        layer = made(direction=direction, dtype=dtype, data=Data.DENORMAL)
        layer.set_data()
        magnitudes = layer.operands.x.detach().double().abs()
        least = torch.finfo(getattr(torch, dtype)).tiny
        assert float(((magnitudes > 0) & (magnitudes < least)).double().mean()) > 0.9
        layer = made(direction=direction, dtype=dtype)
        normal = layer.operands.x.detach().clone()
        layer.set_data()
        assert torch.equal(layer.operands.x, normal)


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("problem", VARIED[:3])
def test_a_cold_step_takes_copies_in_turn_that_give_the_same(problem: Problem, direction: Direction) -> None:
    layer = made(problem=problem, direction=direction, cache=Cache.COLD)
    before = layer.results()
    own = sum(tensor.numel() * tensor.element_size() for tensor in layer.operands.tensors().values())
    seen: list[int] = []
    hook = layer.module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].data_ptr()))
    step = cold.rotating_step(layer, 3 * (own + cold.OBJECT_BYTES))
    built, copies = len(seen), 6
    layer_step = layer.step
    with layer.mode():
        produced = [step() for _ in range(copies)]
    hook.remove()
    if direction in (Direction.FORWARD, Direction.TRAIN_STEP):
        assert len(set(seen[built:])) == copies, "each iteration its own input"
        assert layer.operands.x.data_ptr() not in seen[built:]
    if direction is Direction.FORWARD:
        assert all(torch.equal(result, before["output"]) for result in produced)
    elif direction is not Direction.TRAIN_STEP:
        names = [name for name in ("grad_input", "grad_weight", "grad_bias") if name in before]
        for result in produced:
            found = [
                tensor.squeeze(0) if tensor.dim() == 4 and problem.batch_size is None else tensor
                for tensor in result
                if tensor is not None
            ]
            assert all(torch.equal(a.reshape(before[n].shape), before[n]) for n, a in zip(names, found, strict=True))
    layer.use(layer.operands)
    assert layer.step is layer_step
    assert all(torch.equal(before[name], result) for name, result in layer.results().items())


class Inside(torch.nn.Module):
    """Keeps its weight in a layer of its own, and more beside it."""

    def __init__(self, in_channels: int, out_channels: int, more: int = 0, **rest: object) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(in_channels, out_channels, **rest)
        for number in range(more):
            self.register_buffer(f"scale{number}", torch.ones(1))

    weight = property(lambda self: self.conv.weight)
    bias = property(lambda self: self.conv.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.conv(x)
        return y


class Scaled(Inside):
    """The same with four buffers."""

    def __init__(self, in_channels: int, out_channels: int, **rest: object) -> None:
        super().__init__(in_channels, out_channels, more=4, **rest)


class Bare(torch.nn.Conv2d):
    """As torch's, by another name."""


@pytest.mark.parametrize(
    ("module", "cache", "told"),
    [
        ("Bare", Cache.COLD, None),
        ("Inside", Cache.HOT, None),
        ("Inside", Cache.COLD, "not cold: weight, bias, which"),
        ("Scaled", Cache.COLD, "not cold: weight, bias, scale0 and 3 more, which"),
    ],
)
def test_what_a_module_keeps_in_the_caches_is_told(module: str, cache: Cache, told: str | None) -> None:
    worker = Worker()
    described = {"op": "describe", **Settings(threads=1)._asdict()}
    assert worker.answer(described)["status"] == "passed"
    case = Case(problem=PLAIN, module=f"{__name__}:{module}", cache=cache)
    answer = worker.answer({"op": "prepare", "key": 1, "spec": spec(case, 0), "check": True})
    assert answer["status"] == "passed", answer["reason"]
    note = answer["note"]
    assert note == (f"{told} the module keeps elsewhere than in its own weight and bias" if told else None)


def test_the_last_level_cache_is_within_reason() -> None:
    assert 2**18 <= cold.last_level_cache_bytes() <= cold.LARGEST_CACHE_BYTES


@pytest.mark.parametrize("problem", VARIED[:3])
def test_the_kernels_alone_give_what_backward_gives(problem: Problem) -> None:
    case = Case(problem=problem, direction=Direction.BACKWARD)
    assert case.is_one_backward_kernel
    backward = Layer(asked(case), CPU).results()
    kernels = Layer(asked(case)._replace(direction=KERNELS), CPU).results()
    assert backward.keys() == kernels.keys()
    assert all(torch.allclose(backward[name], kernels[name], atol=1e-5) for name in backward)


@pytest.mark.parametrize("problem", VARIED[3:])
def test_what_is_not_one_kernel_is_not_taken_for_one(problem: Problem) -> None:
    case = Case(problem=problem, direction=Direction.BACKWARD)
    assert not case.is_one_backward_kernel
    with pytest.raises(ValueError, match="not one kernel call"):
        Layer(asked(case)._replace(direction=KERNELS), CPU)


class Scratch(torch.nn.Conv2d):
    """Takes 48 MiB for the time of a call."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scratch = torch.ones(12 * 2**20)
        return super().forward(x) + scratch[0] - 1


def test_memory_beyond_operands_and_results_is_counted_to_the_byte() -> None:
    plain, hungry = memory.peak_bytes(made()), memory.peak_bytes(made(module="test_layer:Scratch"))
    assert plain is not None and hungry is not None
    output = 4 * 3 * 8 * 9 * 11
    assert hungry - 48 * 2**20 in range(output, 4 * output + plain)
    assert memory.peak_bytes(made()) == plain, "the same again"


@pytest.mark.parametrize("direction", Direction)
def test_memory_of_every_direction_is_known(direction: Direction) -> None:
    found = memory.peak_bytes(made(direction=direction, memory_format="channels_last"))
    assert found is not None and 0 <= found < 2**20


UNSUITABLE = [
    (Settings(), {"autocast": Autocast.BFLOAT16, "dtype": "bfloat16"}, "autocast to bfloat16 leaves a bfloat16 layer"),
    (
        Settings(),
        {"autocast": Autocast.FLOAT16, "dtype": "float64"},
        "autocast to float16 leaves a float64 layer alone",
    ),
    (Settings(cudnn_benchmark=True), {}, "cudnn_benchmark means nothing on cpu"),
    (Settings(fp32_precision="tf32"), {"dtype": "float64"}, "fp32_precision means nothing where a layer computes in"),
    (Settings(fp32_precision="ieee"), {"autocast": Autocast.FLOAT16}, "where a layer computes in float16"),
]


@pytest.mark.parametrize(("settings", "given", "reason"), UNSUITABLE)
def test_settings_that_mean_nothing_are_told(settings: Settings, given: dict[str, object], reason: str) -> None:
    case = Case(problem=PLAIN, **given)
    assert reason in (settings.unsuitable(asked(case), CPU) or "")


def test_a_precision_that_torch_does_not_take_on_is_told() -> None:
    settings = Settings(fp32_precision="bf16")
    assert "torch cannot compute float32 convolutions as bf16" in (
        settings.unsuitable(asked(Case(problem=PLAIN)), CPU) or ""
    )


def test_settings_become_the_processs_and_are_found_again() -> None:
    switches = torch.backends.mkldnn.conv, torch.backends.cudnn.conv
    before = [switch.fp32_precision for switch in switches]
    benchmark = torch.backends.cudnn.benchmark
    try:
        for wanted in ("tf32", "ieee", "bf16"):
            settings = Settings(threads=1, fp32_precision=wanted, deterministic=True, cudnn_benchmark=True)
            settings.apply()
            assert precision(CPU) == wanted
            assert settings._replace(cudnn_benchmark=False).unsuitable(asked(Case(problem=PLAIN)), CPU) is None
            assert torch.are_deterministic_algorithms_enabled()
            assert torch.backends.cudnn.benchmark
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.benchmark = benchmark
        for switch, value in zip(switches, before, strict=True):
            switch.fp32_precision = value
    assert precision(CPU) in ("ieee", "tf32", "bf16")


def test_a_tiny_layer_has_no_more_copies_than_can_be_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cold, "MOST_COPIES", 50)
    one = Problem(in_channels=1, out_channels=1, kernel_size=(1, 1), input_size=(1, 1))
    layer = made(problem=one)
    seen = set()
    layer.module.register_forward_pre_hook(lambda _, inputs: seen.add(inputs[0].data_ptr()))
    step = cold.rotating_step(layer, 2**40)
    with layer.mode():
        for _ in range(120):
            step()
    assert len(seen) == 50


class SlowFirst(torch.nn.Conv2d):
    """Loads something in its first call."""

    loaded = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.loaded:
            self.loaded = True
            time.sleep(0.05)
        return super().forward(x)


@pytest.mark.parametrize("direction", [Direction.FORWARD, Direction.TRAIN_STEP])
def test_the_first_call_is_the_first(direction: Direction) -> None:
    layer = made(direction=direction, module="test_layer:SlowFirst")
    with layer.mode():
        first_s = layer.begun_s + timer.first_call(layer.first_step, None)
        second_s = timer.first_call(layer.step, None)
    assert first_s >= 0.05
    assert second_s < first_s
    assert all(leaf.grad is None for leaf in layer.operands.leaves)


def request(worker: Worker, case: Case, *, check: bool = True) -> dict[str, object]:
    document = json.loads(json.dumps(spec(case, 0)))
    return worker.answer({"op": "prepare", "key": 1, "check": check, "spec": document})


def worker_with(**settings: object) -> Worker:
    worker = Worker()
    asked_for = {**Settings(threads=1)._asdict(), **settings}
    assert worker.answer({"op": "describe", **asked_for})["status"] == "passed"
    return worker


@pytest.mark.parametrize("data", Data)
@pytest.mark.parametrize("direction", [Direction.FORWARD, Direction.TRAIN_STEP])
@pytest.mark.slow
def test_whatever_the_data_a_layer_that_goes_wrong_is_found_at_the_end(data: Data, direction: Direction) -> None:
    for module, status in (("torch.nn.Conv2d", "passed"), ("planted:GoesWrong", "failed")):
        worker = worker_with()
        case = Case(problem=PLAIN, data=data, direction=direction, module=module)
        assert request(worker, case)["status"] == "passed"
        assert worker.answer({"op": "block", "key": 1, "seconds": 0.5})["status"] == "passed"
        assert worker.answer({"op": "verify", "key": 1})["status"] == status


class MoreThreads(torch.nn.Conv2d):
    calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.calls > 20:
            torch.set_num_threads(2)
        return super().forward(x)


def test_a_layer_that_changes_the_threads_is_an_error_and_costs_no_other(one_thread: None) -> None:
    worker = worker_with()
    assert request(worker, Case(problem=PLAIN, module="test_layer:MoreThreads"))["status"] == "passed"
    answer = worker.answer({"op": "block", "key": 1, "seconds": 0.01})
    assert (answer["status"], answer["reason"]) == (
        "error",
        "RuntimeError: the layer's code changed torch's threads from 1 to 2",
    )
    assert torch.get_num_threads() == 1


def test_the_precision_is_told_of_what_computes_in_float32_alone() -> None:
    worker = worker_with()
    assert request(worker, Case(problem=PLAIN))["precision"] in ("ieee", "tf32", "bf16")
    assert request(worker, Case(problem=PLAIN, autocast=Autocast.BFLOAT16))["precision"] is None
    assert request(worker, Case(problem=PLAIN, dtype="float64"))["precision"] is None


@pytest.mark.parametrize("direction", Direction)
def test_autocast_of_a_narrow_layer_is_judged_by_what_its_gradients_hold(direction: Direction) -> None:
    problem = replace(PLAIN, in_channels=16, out_channels=32, input_size=(32, 32))
    assert (
        verify(made(problem=problem, direction=direction, dtype="bfloat16", autocast=Autocast.FLOAT16)).reason is None
    )
    assert (
        verify(made(problem=problem, direction=direction, dtype="float16", autocast=Autocast.BFLOAT16)).reason is None
    )
