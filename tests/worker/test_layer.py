"""Layers on the real CPU: every execution setting runs, is checked, and does what its name says."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from convbench.engine.client import KERNELS, spec
from convbench.model.case import Autocast, Cache, Case, Data, InputFormat, MemoryFormat, Weights
from convbench.model.problem import Direction, PaddingMode, PaddingWord, Problem
from convbench.model.settings import TABLE, Sent, sent
from convbench.worker import cold, held, memory, timer
from convbench.worker.layer import Layer, copy_of
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


@pytest.mark.slow
def test_a_layer_is_made_without_sympy() -> None:
    """torch's own ways to empty parameters import it, in each worker anew."""
    code = (
        "import json, sys, torch; from convbench.worker.layer import Layer; from convbench.worker.spec import Spec; "
        "layer = Layer(Spec.from_json(json.loads(sys.argv[1])), torch.device('cpu')); layer.step(); "
        "print(type(layer.module).__name__, layer.module.weight.device, 'sympy' in sys.modules)"
    )
    command = [sys.executable, "-c", code, json.dumps(spec(Case(problem=PLAIN), 0))]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.split() == ["Conv2d", "cpu", "False"]


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
    replaced = "the module's own weights were replaced by normal numbers"
    kept = f"{told} the module keeps elsewhere than in its own weight and bias"
    assert note == (f"{replaced}; {kept}" if told else replaced)


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


@pytest.mark.parametrize(
    ("kind", "hip", "l2_bytes", "expected"),
    [
        ("cuda", None, 2**20, 2**21),
        ("cuda", None, 0, 2**29),
        ("cuda", "6.4", 2**22, 2**29),
        ("xpu", None, 2**30, 2**31),
    ],
)
def test_a_devices_flush_is_larger_than_its_last_cache(
    kind: str, hip: str | None, l2_bytes: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    monkeypatch.setattr(torch.version, "hip", hip)
    monkeypatch.setattr(cold, "_properties", lambda device: SimpleNamespace(L2_cache_size=l2_bytes))
    monkeypatch.setattr(torch, "empty", lambda count, **_: held.append(4 * count))
    cold.flush(torch.device(kind))
    assert held == [expected]


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
        assert all(leaf.grad is None for leaf in layer.operands.leaves)
        second_s = timer.first_call(layer.step, None)
    assert first_s >= 0.05
    assert second_s < first_s


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


class Denormal(torch.nn.Conv2d):
    """Weights that are denormal, as its author wrote them; the bias is 1."""

    def __init__(self, *channels: int, **rest: object) -> None:
        super().__init__(*channels, **rest)
        with torch.no_grad():
            self.weight.fill_(torch.finfo(torch.float32).tiny / 8)
            if self.bias is not None:
                self.bias.fill_(1.0)


def prepared(case: Case) -> tuple[dict[str, object], Layer]:
    """What a worker answers about a case with its check, and the layer that it times."""
    worker = Worker()
    assert worker.answer({"op": "describe", **Settings(threads=1)._asdict()})["status"] == "passed"
    answer = worker.answer({"op": "prepare", "key": 1, "spec": spec(case, 0), "check": True, "repeats": True})
    assert answer["status"] == "passed", answer["reason"]
    assert worker.answer({"op": "block", "key": 1, "seconds": 0.001})["wrong"] is None
    return answer, worker._prepared[1].layer


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("cache", Cache)
def test_a_modules_given_weights_are_timed_as_its_author_wrote_them(
    direction: Direction, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cold, "last_level_cache_bytes", lambda: 2**14)
    case = Case(problem=PLAIN, module=f"{__name__}:Denormal", direction=direction, cache=cache, weights=Weights.GIVEN)
    answer, layer = prepared(case)
    weight, bias = layer.operands.weight.detach(), layer.operands.bias.detach()
    assert torch.equal(weight, torch.full_like(weight, torch.finfo(torch.float32).tiny / 8))
    assert torch.equal(bias, torch.ones_like(bias))
    assert f"{weight.numel()} of {weight.numel() + bias.numel()} weights are denormal" in str(answer["note"])
    assert "replaced" not in str(answer["note"])
    assert answer["check"]["method"] == "exact"


def test_where_a_modules_weights_are_replaced_the_row_says_so() -> None:
    answer, layer = prepared(Case(problem=PLAIN, module=f"{__name__}:Denormal"))
    assert answer["note"] == "the module's own weights were replaced by normal numbers"
    assert layer.operands.weight.std() > 0.05
    assert prepared(Case(problem=PLAIN))[0]["note"] is None


@pytest.mark.parametrize("module", ["torch.nn.Conv2d", f"{__name__}:Bare"])
def test_given_weights_are_the_constructors_and_equal_in_each_process(module: str) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    case = Case(problem=PLAIN, module=module, weights=Weights.GIVEN)
    first, second = (prepared(case)[1].operands for _ in range(2))
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(first.bias, second.bias)
    bound = (6 * 9) ** -0.5  # torch draws uniformly within it
    assert 0.9 * bound < float(first.weight.detach().abs().max()) <= bound
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
@pytest.mark.parametrize("direction", [Direction.FORWARD, Direction.BACKWARD, Direction.TRAIN_STEP])
def test_weights_are_all_denormal_or_zero_where_a_case_asks(dtype: str, direction: Direction) -> None:
    case = Case(problem=PLAIN, dtype=dtype, direction=direction)
    answer, layer = prepared(replace(case, weights=Weights.DENORMAL))
    for tensor in (layer.operands.weight, layer.operands.bias):
        assert held.denormals(tensor) == tensor.numel()
        assert len(set(tensor.detach().sign().flatten().tolist())) == 2, "of either sign"
    assert answer["note"] is None
    _, layer = prepared(replace(case, weights=Weights.ZEROS))
    assert all(not tensor.any() for tensor in (layer.operands.weight, layer.operands.bias))
    assert layer.operands.x.detach().abs().max() > 1, "the input stays normal"


def test_a_layer_of_other_weights_is_right_after_it_was_timed() -> None:
    worker = Worker()
    assert worker.answer({"op": "describe", **Settings(threads=1)._asdict()})["status"] == "passed"
    for weights in Weights:
        asked_for = spec(Case(problem=PLAIN, weights=weights), 0)
        worker.answer({"op": "prepare", "key": 1, "spec": asked_for, "check": True, "repeats": True})
        assert worker.answer({"op": "block", "key": 1, "seconds": 0.001})["wrong"] is None
        assert worker.answer({"op": "verify", "key": 1}) == {"status": "passed", "reason": None}


def test_a_process_that_flushes_denormal_numbers_says_so() -> None:
    case = Case(problem=PLAIN, weights=Weights.DENORMAL)
    layer = made(weights=Weights.DENORMAL)
    layer.set_data()
    assert held.note(layer) is None
    assert not held.flushes(layer.operands.x)
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush them")
    try:
        assert held.flushes(layer.operands.x)
        assert held.denormals(layer.operands.weight) == layer.operands.weight.numel(), "seen by their bits"
        assert "flushed to zero" in str(prepared(case)[0]["note"])
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.parametrize("direction", Direction)
@pytest.mark.parametrize("memory_format", MemoryFormat)
@pytest.mark.parametrize("input_format", InputFormat)
def test_the_input_lies_as_its_own_format_says(
    direction: Direction, memory_format: MemoryFormat, input_format: InputFormat
) -> None:
    case = Case(problem=PLAIN, direction=direction, memory_format=memory_format, input_format=input_format)
    answer, layer = prepared(case)
    x, weight = layer.operands.x, layer.operands.weight
    formats = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
    assert weight.is_contiguous(memory_format=formats[memory_format])
    _, c, h, w = PLAIN.input_shape
    gap = 2 if input_format == "strided" else 1
    order = memory_format if input_format in ("same", "strided") else input_format
    contiguous, channels_last = (c * h * w * gap, h * w * gap, w * gap, 1), (h * w * c * gap, 1, w * c * gap, c)
    expected = contiguous if order == "contiguous" else channels_last
    assert x.stride() == expected
    assert x.is_leaf
    assert answer["check"]["reason"] is None
    assert cold._on_copy(layer) is not None
    assert copy_of(x).stride() == expected


def test_the_normal_numbers_are_the_same_in_every_format_of_the_input() -> None:
    values = [Layer(asked(Case(problem=PLAIN))._replace(input_format=each), CPU).operands.x for each in InputFormat]
    assert all(torch.equal(values[0], other) for other in values)


def test_an_unbatched_input_can_have_gaps_and_no_channels_last() -> None:
    unbatched = replace(PLAIN, batch_size=None)
    _, layer = prepared(Case(problem=unbatched, input_format=InputFormat.STRIDED))
    assert not layer.operands.x.is_contiguous()
    refused = Case(problem=unbatched, input_format=InputFormat.CHANNELS_LAST).refusal()
    assert refused is not None
    assert "needs a batch" in refused


def test_a_wrong_layer_is_found_in_an_input_with_gaps() -> None:
    case = Case(problem=PLAIN, module="planted:PadOffByOne", input_format=InputFormat.STRIDED)
    assert verify(Layer(asked(case), CPU)).reason is not None


class WrongWhenTimed(torch.nn.Conv2d):
    """So slow that one call warms a block up and one is timed; each second call is wrong."""

    calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        time.sleep(0.012)
        return super().forward(x) * (1.5 if self.calls % 2 == 0 else 1.0)


@pytest.mark.parametrize("direction", [Direction.FORWARD, Direction.TRAIN_STEP])
def test_the_last_timed_call_is_compared_with_the_first(direction: Direction) -> None:
    worker = Worker()
    assert worker.answer({"op": "describe", **Settings(threads=1)._asdict()})["status"] == "passed"
    case = Case(problem=PLAIN, module=f"{__name__}:WrongWhenTimed", direction=direction)
    worker.answer({"op": "prepare", "key": 1, "spec": spec(case, 0), "check": False, "repeats": True})
    layer = worker._prepared[1].layer
    layer.module.calls = 0
    answer = worker.answer({"op": "block", "key": 1, "seconds": 0.001})
    assert (answer["iterations"], layer.module.calls) == (1, 2)
    assert answer["wrong"].startswith("output of call 2 on the timed data is 0.5 of its norm")
    assert "last" not in answer
    assert all(leaf.grad is None for leaf in layer.operands.leaves), "a train step's gradients are not kept"
