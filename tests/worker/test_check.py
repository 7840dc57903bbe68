"""The check finds every planted mistake, names it, and flags no honest layer."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import pytest
import torch

from convbench.model.problem import PaddingMode, PaddingWord, Problem
from convbench.worker.check import (
    MOST_TURNS,
    ROUNDOFF,
    Accuracy,
    Outcome,
    _imprecise,
    _least_scale,
    _relative,
    check,
    still_right,
)
from convbench.worker.integers import PRODUCES, exact_limit, integers
from convbench.worker.layer import Layer, Spec

CPU = torch.device("cpu")
DIRECTIONS = tuple(PRODUCES)
GRADIENTS = ("backward", "train_step")
PLAIN = Problem(in_channels=6, out_channels=8, kernel_size=(3, 3), input_size=(9, 11), padding=(1, 1), batch_size=3)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Beside a busy process, two threads make these tiny layers a hundred times slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def spec(problem: Problem, direction: str = "forward", module: str = "torch.nn.Conv2d", **settings: object) -> Spec:
    execution = {"dtype": "float32", "memory_format": "contiguous", "device": "cpu", "seed": 42, **settings}
    return Spec(
        in_channels=problem.in_channels,
        out_channels=problem.out_channels,
        kernel_size=problem.kernel_size,
        stride=problem.stride,
        padding=str(problem.padding) if isinstance(problem.padding, PaddingWord) else problem.padding,
        dilation=problem.dilation,
        groups=problem.groups,
        bias=problem.bias,
        padding_mode=str(problem.padding_mode),
        pads=problem.pads,
        input_shape=problem.input_shape,
        weight_shape=problem.weight_shape,
        output_shape=problem.output_shape,
        batch_size=problem.batch_size,
        direction=direction,
        module=module,
        **execution,
    )


def run(problem: Problem, direction: str = "forward", module: str = "torch.nn.Conv2d", **settings: object) -> Outcome:
    module = module if "." in module else f"planted:{module}"
    return check(Layer(spec(problem, direction, module, **settings), CPU))


def changed(problem: Problem, **changes: object) -> Problem:
    fields = {name: getattr(problem, name) for name in Problem.__slots__}
    return Problem(**{**fields, **changes})


HONEST = {
    "plain": PLAIN,
    "no bias": changed(PLAIN, bias=False),
    "unbatched": changed(PLAIN, batch_size=None),
    "stride": changed(PLAIN, stride=(2, 3), padding=(2, 0)),
    "dilation": changed(PLAIN, dilation=(2, 3), padding=(2, 3)),
    "same": changed(PLAIN, kernel_size=(4, 3), padding=PaddingWord.SAME),
    "valid": changed(PLAIN, padding=PaddingWord.VALID),
    "groups": changed(PLAIN, groups=2),
    "depthwise": changed(PLAIN, out_channels=12, groups=6),
    "1x1": changed(PLAIN, kernel_size=(1, 1), padding=(0, 0)),
    "one of all": changed(PLAIN, in_channels=1, out_channels=1, batch_size=1),
    "kernel as large as the input": changed(PLAIN, kernel_size=(9, 11), padding=(0, 0)),
    "many images": changed(PLAIN, batch_size=150, in_channels=2, out_channels=4),
    "large": Problem(in_channels=130, out_channels=96, kernel_size=(3, 3), input_size=(20, 20), batch_size=2),
    **{f"{mode} padding": changed(PLAIN, padding=(2, 3), padding_mode=mode) for mode in PaddingMode},
    "replicate far": changed(PLAIN, padding=(16, 17), padding_mode=PaddingMode.REPLICATE, kernel_size=(7, 7)),
    "reflect, same": changed(PLAIN, padding=PaddingWord.SAME, kernel_size=(4, 4), padding_mode=PaddingMode.REFLECT),
}
DTYPES = ("float32", "bfloat16", "float16", "float64")
FORMATS = tuple(itertools.product(DTYPES, ("contiguous", "channels_last")))
#: Half of them, each dtype and each format: enough where the geometry is what differs.
SOME_FORMATS = (FORMATS[0], FORMATS[3], FORMATS[4], FORMATS[7])


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name == "replicate far" else []) for name in HONEST]
)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_honest_layers_pass_and_keep_their_data(name: str) -> None:
    problem = HONEST[name]
    formats = FORMATS if name in ("plain", "groups") else SOME_FORMATS
    for (dtype, memory_format), direction in itertools.product(formats, DIRECTIONS):
        memory_format = "contiguous" if problem.batch_size is None else memory_format
        layer = Layer(spec(problem, direction, dtype=dtype, memory_format=memory_format), CPU)
        before = {key: tensor.detach().clone() for key, tensor in layer.operands.tensors().items()}
        strides = {key: tensor.stride() for key, tensor in layer.operands.tensors().items()}
        outcome = check(layer)
        told = (dtype, memory_format, direction)
        assert outcome.reason is None, told
        assert outcome.output_shape == problem.output_shape, told
        assert outcome.method == "exact"
        assert outcome.elements > 0
        assert outcome.max_error is not None and 0 <= outcome.max_error < 64, told
        after = layer.operands.tensors()
        assert all(torch.equal(before[key], after[key]) for key in before), told
        assert {key: tensor.stride() for key, tensor in after.items()} == strides


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_right_module_of_the_user_passes(direction: str) -> None:
    assert run(PLAIN, direction, "Honest").reason is None


DEEP = Problem(in_channels=256, out_channels=5, kernel_size=(3, 3), input_size=(7, 8), padding=(1, 1), batch_size=2)
STRIDED = changed(PLAIN, input_size=(9, 9), stride=(1, 2))

FORWARD = ("forward", "train_step")
#: module, problem, directions in which it shows, what the reason says
PLANTED = [
    ("PadOffByOne", PLAIN, FORWARD, "output["),
    ("PadOffByOne", PLAIN, ("backward", "grad_input"), "grad_input["),
    ("PadOffByOne", PLAIN, ("grad_weight",), "grad_weight["),
    ("WiderPad", PLAIN, DIRECTIONS, "output has shape 3x8x11x13, should be 3x8x9x11"),
    ("SwappedStride", STRIDED, DIRECTIONS, "output has shape 3x8x5x9, should be 3x8x9x5"),
    ("SwappedDilation", changed(PLAIN, dilation=(1, 2), padding=(1, 2)), DIRECTIONS, "output has shape 3x8x7x13"),
    ("SlightlyWrong", DEEP, FORWARD, "output[1, 4, 3, 2] is"),
    ("SlightlyWrong", DEEP, ("backward", "grad_input"), "grad_input["),
    ("WrongLastTile", PLAIN, FORWARD, "output[2, "),
    ("WrongLastTile", PLAIN, ("backward", "grad_input"), "grad_input[2, 5, "),
    ("ForgottenBias", PLAIN, FORWARD, "output["),
    ("ForgottenBias", PLAIN, (*GRADIENTS, "grad_weight"), "grad_bias["),
    ("OneNan", PLAIN, FORWARD, "is nan, should be"),
    ("Unsteady", PLAIN, ("forward",), "in the next call"),
    ("Accumulating", PLAIN, ("forward",), "in the next call"),
    ("IntegersOnly", PLAIN, ("forward",), "right on integers but wrong on the timed data"),
    ("Unwritten", PLAIN, FORWARD, "output["),
    ("Unwritten", PLAIN, ("backward", "grad_input"), "grad_input["),
    ("WrongWeightShape", PLAIN, DIRECTIONS, "weight has shape 8x6x4x3, should be 8x6x3x3"),
    ("WrongDtype", PLAIN, DIRECTIONS, "output has dtype float64, should be float32"),
    ("ZeroGradWeight", PLAIN, (*GRADIENTS, "grad_weight"), "grad_weight["),
    ("ZeroGradWeight", PLAIN, (*GRADIENTS, "grad_weight"), "all that was compared is zero"),
    ("ImageLeftOut", PLAIN, (*GRADIENTS, "grad_weight"), "grad_weight["),
    ("OneTapWrong", DEEP, (*GRADIENTS, "grad_weight"), "grad_weight["),
    ("OneInputGradientWrong", DEEP, (*GRADIENTS, "grad_input"), "grad_input["),
    ("WrongGradBias", PLAIN, (*GRADIENTS, "grad_weight"), "grad_bias[0] is"),
    ("UnwrittenGradWeight", PLAIN, (*GRADIENTS, "grad_weight"), "is nan, should be"),
    ("NoGradWeight", PLAIN, ("train_step",), "grad_weight is missing"),
]
CASES = [(module, problem, direction, said) for module, problem, shows, said in PLANTED for direction in shows]


@pytest.mark.parametrize(("module", "problem", "direction", "said"), CASES)
def test_planted_mistakes_are_caught_and_named(module: str, problem: Problem, direction: str, said: str) -> None:
    outcome = run(problem, direction, module)
    assert outcome.reason is not None
    assert said in outcome.reason
    assert outcome.max_error is None


@pytest.mark.parametrize("name", HONEST)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_no_sum_of_magnitudes_is_over_what_is_exact(name: str, dtype: str) -> None:
    """By torch's own convolution of the magnitudes: the largest partial sum in any order."""
    problem = HONEST[name]
    asked = spec(problem, "train_step", dtype=dtype)
    data = integers(asked)
    limit = exact_limit(asked)
    mode = "constant" if problem.padding_mode is PaddingMode.ZEROS else str(problem.padding_mode)
    x, weight = (t.abs().double().requires_grad_() for t in (data.x, data.weight))
    (top, bottom), (left, right) = problem.pads
    padded = torch.nn.functional.pad(x, (left, right, top, bottom), mode=mode)
    y = torch.nn.functional.conv2d(padded, weight, None, problem.stride, 0, problem.dilation, problem.groups)
    assert data.g is not None
    grads = torch.autograd.grad(y, (x, weight), data.g.abs().double())
    bias = float(data.bias.abs().max()) if data.bias is not None else 0.0
    assert 0 < float(y.detach().max()) + bias <= limit
    assert all(0 < float(grad.max()) <= limit for grad in grads)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_every_image_and_channel_has_an_upstream_gradient(dtype: str) -> None:
    for name in ("plain", "many images", "large", "depthwise"):
        g = integers(spec(HONEST[name], "grad_weight", dtype=dtype)).g
        assert g is not None
        assert bool(g.flatten(1).any(1).all()), name
        assert bool(g.transpose(0, 1).flatten(1).any(1).all()), name


def test_float32_on_an_accelerator_is_thinned_for_tf32() -> None:
    assert exact_limit(spec(PLAIN)) == 2**24
    assert exact_limit(spec(PLAIN, device="cuda:1")) == 2**11


def test_inexact_kernels_are_judged_normwise() -> None:
    def judge(module: str, direction: str = "forward") -> Outcome:
        return check(Layer(spec(PLAIN, direction, f"planted:{module}"), CPU), implementation="some_winograd_4x4")

    assert run(PLAIN, "forward", "Noisy").reason is not None
    for direction in DIRECTIONS:
        outcome = judge("Noisy", direction)
        assert (outcome.method, outcome.reason) == ("normwise", None)
    assert "of its norm away" in (judge("PadOffByOne").reason or "")
    assert "of its norm away" in (judge("OneNan").reason or "")
    assert "grad_weight" in (judge("ImageLeftOut", "grad_weight").reason or "")


def test_checksums_find_what_the_sample_leaves_out() -> None:
    """A layer with many more elements than are compared one by one; one of them is wrong."""
    wide = changed(PLAIN, in_channels=16, out_channels=16, input_size=(96, 96), batch_size=4)
    elements = math.prod(wide.output_shape)
    found = 0
    for module, direction, said in (
        ("SlightlyWrong", "forward", "output[3, 15, 48, 32]"),
        ("OneInputGradientWrong", "grad_input", "grad_input["),
        ("OneTapWrong", "grad_weight", "grad_weight[11, "),
    ):
        outcome = run(wide, direction, module)
        assert said in (outcome.reason or "")
        found += outcome.elements
    assert found < elements / 4


def test_errors_are_measured_against_magnitudes_before_padding_adds_them_up() -> None:
    """Upstream gradients that meet in one input element can cancel; a scale taken after that flags honest layers."""
    thin = changed(PLAIN, out_channels=1, kernel_size=(1, 1), padding=(3, 3), padding_mode=PaddingMode.REPLICATE)
    for seed in range(5):
        outcome = run(thin, "grad_input", "torch.nn.Conv2d", dtype="bfloat16", seed=seed)
        assert outcome.reason is None
        assert (outcome.max_error or 0) < 8


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize(("channels", "filters", "kernel"), [(2048, 1, 1), (2048, 16, 1), (512, 4, 3), (64, 300, 1)])
def test_a_channel_left_out_is_found_however_thin_the_weights(
    dtype: str, channels: int, filters: int, kernel: int
) -> None:
    problem = Problem(
        in_channels=channels, out_channels=filters, kernel_size=(kernel, kernel), input_size=(5, 5), batch_size=2
    )
    assert run(problem, "forward", "Honest", dtype=dtype).reason is None
    assert "output[" in (run(problem, "forward", "DropsLastChannel", dtype=dtype).reason or "")
    assert "grad_weight[" in (run(problem, "grad_weight", "DropsLastChannel", dtype=dtype).reason or "")
    assert run(problem, "grad_input", "DropsLastChannel", dtype=dtype).reason is not None


@pytest.mark.parametrize("direction", ["forward", "train_step"])
@pytest.mark.parametrize(("filters", "groups"), [(1, 1), (8, 1), (8, 4)])
def test_all_turns_together_meet_every_weight(direction: str, filters: int, groups: int) -> None:
    problem = Problem(
        in_channels=160 * groups, out_channels=filters, groups=groups, kernel_size=(3, 3), input_size=(6, 6)
    )
    asked = spec(problem, direction, dtype="bfloat16")
    turns = integers(asked).turns
    met = sum(integers(asked, turn).weight.abs() for turn in range(turns))
    assert 1 < turns < MOST_TURNS
    by_group = torch.unflatten(torch.as_tensor(met), 0, (groups, -1))
    assert bool((by_group.sum(1) > 0).all()), "each channel and tap in some filter of its group"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("module", ["ClampsInput", "DropsSmall"])
def test_what_only_real_numbers_show_is_found_on_them(module: str, dtype: str) -> None:
    deep = Problem(in_channels=256, out_channels=8, kernel_size=(3, 3), input_size=(8, 8))
    assert "wrong on the timed data" in (run(deep, "forward", module, dtype=dtype).reason or "")


def test_a_layer_that_keeps_its_last_result_is_found_out() -> None:
    assert run(PLAIN, "forward", "Memo").reason is not None


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", ["plain", "no bias", "unbatched", "same", "groups"])
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_a_layer_that_stays_right_passes_at_the_end_and_keeps_its_data(name: str, direction: str) -> None:
    for dtype in ("float32", "bfloat16"):
        layer = Layer(spec(HONEST[name], direction, dtype=dtype), CPU)
        data = {key: tensor.detach().clone() for key, tensor in layer.operands.tensors().items()}
        before = layer.results()
        assert still_right(layer, before) is None
        assert all(torch.equal(data[key], tensor) for key, tensor in layer.operands.tensors().items())
        assert all(torch.equal(before[key], tensor) for key, tensor in layer.results().items())


@pytest.mark.parametrize("direction", ["forward", "train_step"])
def test_a_layer_that_goes_wrong_while_it_is_timed_is_found(direction: str) -> None:
    layer = Layer(spec(PLAIN, direction, "planted:GoesWrong"), CPU)
    assert check(layer).reason is None
    before = layer.results()
    with layer.mode():
        for _ in range(40):
            layer.step()
    assert "output was right before it was timed" in (still_right(layer, before) or "")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_single_output_that_its_bias_cancels_is_not_flagged_at_the_end(dtype: str) -> None:
    for seed in range(60):
        tiny = Problem(in_channels=1, out_channels=1, kernel_size=(2, 2), input_size=(2, 2))
        layer = Layer(spec(tiny, "forward", dtype=dtype, seed=seed), CPU)
        assert still_right(layer, layer.results()) is None, seed


DEPTHWISE = changed(PLAIN, in_channels=32, out_channels=32, groups=32, stride=(4, 4), input_size=(28, 28))


@pytest.mark.parametrize("settings", [{"dtype": "float16"}, {"autocast": "float16"}])
@pytest.mark.parametrize("direction", ["grad_input", "backward"])
def test_numbers_below_the_smallest_normal_one_fail_no_honest_layer(
    settings: dict[str, object], direction: str
) -> None:
    """One product of small numbers in each element: divided by their own size, half a step was told as 670 units."""
    subnormal = 0
    for seed in range(6):
        layer = Layer(spec(DEPTHWISE, direction, seed=seed, **settings), CPU)
        outcome = check(layer)
        assert (outcome.reason, outcome.imprecise) == (None, None)
        assert 0 < (outcome.max_error or 0) < 4, seed
        small = outcome.results["grad_input"].abs()
        subnormal += int(((small > 0) & (small < torch.finfo(torch.float16).tiny)).sum())
    assert subnormal > 100, "else it proves nothing"


def test_a_coarse_gradient_of_small_numbers_shows_all_the_same() -> None:
    for seed in range(3):
        coarse = run(DEPTHWISE, "grad_input", "RoundsGradients", dtype="float16", seed=seed)
        assert (coarse.max_error or 0) > 6, "half of bfloat16's 8 units would be rounding towards float16"
        assert "less precision than float32" in (run(DEPTHWISE, "grad_input", "RoundsGradients").imprecise or "")


def test_the_unit_of_error_is_half_a_step_of_the_dtype() -> None:
    """Half the distance of neighbours at the scale, by torch's own nextafter; below normal numbers it stays."""
    for dtype in DTYPES:
        kind = getattr(torch, dtype)
        least = _least_scale(spec(PLAIN, dtype=dtype))
        assert least == torch.finfo(kind).tiny
        step = float(torch.nextafter(torch.zeros(1, dtype=kind), torch.ones(1, dtype=kind)).double())
        assert least * 2 * ROUNDOFF[dtype] == step
        scale = torch.tensor([0.0, least / 64, least, 1.0], dtype=torch.float64)
        off = torch.tensor([0.0, step / 2, step / 2, ROUNDOFF[dtype]], dtype=torch.float64)
        if dtype == "float64":  # half its smallest step is no float64
            off[1:3] = step
        told = _relative(scale + off, scale, scale, 1, least).largest / ROUNDOFF[dtype]
        assert told == pytest.approx(2.0 if dtype == "float64" else 1.0)
    mixed = spec(PLAIN, dtype="float16", autocast="bfloat16")
    assert _least_scale(mixed) * ROUNDOFF["bfloat16"] == 2.0**-25, "float16 gives the gradients"


PRECISION = Problem(in_channels=16, out_channels=16, kernel_size=(3, 3), input_size=(20, 20), batch_size=4)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("module", ["ComputesInBfloat16", "RoundsGradients"])
def test_less_precision_than_asked_for_is_told_and_is_no_wrong_result(module: str, direction: str) -> None:
    outcome = run(PRECISION, direction, module)
    assert outcome.reason is None
    assert outcome.results.keys() == set(PRODUCES[direction])
    if module == "RoundsGradients" and direction == "forward":
        assert outcome.imprecise is None
        return
    assert "less precision than float32: " in (outcome.imprecise or "")
    assert "bfloat16 gives about so much" in (outcome.imprecise or "")
    assert f"max_error is {outcome.max_error:,.0f} units" in (outcome.imprecise or "")


def test_a_sum_of_many_terms_does_not_hide_a_coarse_format() -> None:
    """200,000 terms in each element: its largest error is a few hundred units, of an honest layer one."""
    wide = Problem(in_channels=4, out_channels=4, kernel_size=(3, 3), input_size=(114, 114), batch_size=16)
    assert run(wide, "grad_weight", "ComputesInBfloat16").imprecise is not None
    assert run(wide, "grad_weight", "Honest").imprecise is None


def test_what_was_asked_for_is_what_counts() -> None:
    """float32 may be as coarse as torch resolved its precision to, an accelerator that tells nothing as TF32."""

    def told(precision: str | None, device: str = "cpu", **settings: object) -> str | None:
        found = Accuracy(76_000.0, 3e-3, "output", True, [])
        return _imprecise(spec(PRECISION, device=device, **settings), found, precision)

    for precision, device, asked in (
        ("ieee", "cpu", "float32"),
        (None, "cpu", "float32"),
        ("tf32", "cuda", "tf32"),
        (None, "mps", "tf32"),
        ("ieee", "cuda", "float32"),
    ):
        assert f"less precision than {asked}: " in (told(precision, device) or "")
    assert run(PRECISION, "forward", "ComputesInBfloat16").imprecise is not None
    asked = Layer(spec(PRECISION, "forward", "planted:ComputesInBfloat16"), CPU)
    assert check(asked, precision="bf16").imprecise is None
    assert told("bf16") is None
    assert told("ieee", autocast="bfloat16") is None
    assert told("ieee", dtype="bfloat16") is None
    tf32 = Accuracy(10_000.0, 1e-3, "output", True, [])
    plain = spec(PRECISION)
    assert _imprecise(plain, tf32, "tf32") is None
    assert "TF32 or float16 gives about so much" in (_imprecise(plain, tf32, "ieee") or "")


def test_a_float64_layer_that_computes_in_float32_is_imprecise() -> None:
    for direction in DIRECTIONS:
        outcome = run(PRECISION, direction, "ComputesInFloat32", dtype="float64")
        assert outcome.reason is None
        assert "less precision than float64" in (outcome.imprecise or "")
        assert "float32 gives about so much" in (outcome.imprecise or "")


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_an_imprecise_layer_is_still_right_when_it_has_been_timed(direction: str) -> None:
    layer = Layer(spec(PRECISION, direction, "planted:ComputesInBfloat16"), CPU)
    outcome = check(layer)
    assert outcome.imprecise is not None
    assert still_right(layer, outcome.results) is None


@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
@pytest.mark.parametrize(
    ("module", "direction", "names"),
    [
        ("SameBuffer", "forward", "output"),
        ("SameGradientBuffers", "backward", "grad_input and grad_weight and grad_bias"),
        ("SameGradientBuffers", "grad_input", "grad_input"),
        ("SameGradientBuffers", "grad_weight", "grad_weight and grad_bias"),
    ],
)
def test_the_same_buffer_at_every_call_is_noted_and_no_mistake(
    module: str, direction: str, names: str, memory_format: str
) -> None:
    layer = Layer(spec(PLAIN, direction, f"planted:{module}", memory_format=memory_format), CPU)
    outcome = check(layer)
    assert (outcome.reason, outcome.imprecise) == (None, None)
    assert outcome.note == f"returns the same buffer for {names} at every call"
    for _ in range(3):
        layer.results()
    assert still_right(layer, outcome.results) is None
    for method in ("winograd", ""):
        assert check(layer, implementation=method).reason is None


def test_a_buffer_that_is_handed_out_again_unwritten_is_found() -> None:
    for implementation in (None, "winograd"):
        outcome = check(Layer(spec(PLAIN, "forward", "planted:StaleBuffer"), CPU), implementation=implementation)
        assert "in the next call" in (outcome.reason or "")


def test_a_layer_that_goes_wrong_in_its_buffer_while_it_is_timed_is_found() -> None:
    layer = Layer(spec(PLAIN, "forward", "planted:SameBuffer"), CPU)
    outcome = check(layer)
    layer.module.computes = lambda: False
    assert "output was right before it was timed" in (still_right(layer, outcome.results) or "")


def test_a_gradient_that_is_the_upstream_gradient_itself_costs_it_nothing() -> None:
    one = Problem(in_channels=1, out_channels=1, kernel_size=(1, 1), input_size=(5, 6), batch_size=2, bias=False)
    for seed in range(8):
        layer = Layer(spec(one, "grad_input", "planted:UpstreamHandedOut", seed=seed), CPU)
        outcome = check(layer)
        assert (outcome.reason, outcome.imprecise) == (None, None)
        assert torch.isfinite(layer.operands.g).all()


@pytest.mark.parametrize("problem", [PLAIN, DEEP, PRECISION], ids=["plain", "deep", "many"])
@pytest.mark.parametrize("direction", GRADIENTS)
def test_a_coarse_layer_has_one_status_whatever_its_size(problem: Problem, direction: str) -> None:
    """Where sums of integers are beyond what bfloat16 holds exactly, they are no wrong result either."""
    outcome = run(problem, direction, "ComputesInBfloat16")
    assert outcome.reason is None
    assert outcome.imprecise is not None


def test_a_mistake_in_some_elements_is_no_lack_of_precision() -> None:
    """Exact on the smallest integers, off by little on the timed data: what tells is that most elements are exact."""
    outcome = run(DEEP, "forward", "CutsOffOneChannel")
    assert "output[" in (outcome.reason or "")
    assert outcome.imprecise is None
    clamped = run(DEEP, "forward", "ClampsOutput")
    assert "should be" in (clamped.reason or ""), "and a layer that is exact on the timed data is no coarse one"


def test_a_coarse_layer_that_is_wrong_besides_is_wrong() -> None:
    assert "output[" in (run(PLAIN, "forward", "CoarseAndShifted").reason or "")


def test_a_single_result_below_normal_numbers_is_not_flagged_for_its_rounding() -> None:
    value = torch.tensor([3.0 * 2.0**-26], dtype=torch.float64)  # between zero and the smallest number of float16
    rounded = value.to(torch.float16).to(torch.float64)
    asked = spec(PLAIN, dtype="float16")
    errors = _relative(rounded, value, value, 1, _least_scale(asked))
    assert errors.distance < ROUNDOFF["float16"]
    assert errors.largest <= ROUNDOFF["float16"]
