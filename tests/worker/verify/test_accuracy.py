"""Errors on the timed data: their unit, and what is less precision than was asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from layers import CPU, DIRECTIONS, DTYPES, PLAIN, PRECISION, run, spec

from convbench.model.problem import PaddingMode, Problem
from convbench.worker.layer import Layer
from convbench.worker.verify.accuracy import Accuracy, imprecision, relative
from convbench.worker.verify.tolerances import ON_TIMED_DATA, ROUNDOFF, error_unit, least_scale, on_timed_data
from convbench.worker.verify.verdict import verify

DEPTHWISE = replace(PLAIN, in_channels=32, out_channels=32, groups=32, stride=(4, 4), input_size=(28, 28))


def test_errors_are_measured_against_magnitudes_before_padding_adds_them_up() -> None:
    """Upstream gradients that meet in one input element can cancel; a scale taken after that flags honest layers."""
    thin = replace(PLAIN, out_channels=1, kernel_size=(1, 1), padding=(3, 3), padding_mode=PaddingMode.REPLICATE)
    for seed in range(5):
        outcome = run(thin, "grad_input", "torch.nn.Conv2d", dtype="bfloat16", seed=seed)
        assert outcome.reason is None
        assert (outcome.max_error or 0) < 8


@pytest.mark.parametrize("settings", [{"dtype": "float16"}, {"autocast": "float16"}])
@pytest.mark.parametrize("direction", ["grad_input", "backward"])
def test_numbers_below_the_smallest_normal_one_fail_no_honest_layer(
    settings: dict[str, object], direction: str
) -> None:
    """One product of small numbers in each element: divided by their own size, half a step was told as 670 units."""
    subnormal = 0
    for seed in range(6):
        layer = Layer(spec(DEPTHWISE, direction, seed=seed, **settings), CPU)
        outcome = verify(layer)
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
        least = least_scale(spec(PLAIN, dtype=dtype))
        assert least == torch.finfo(kind).tiny
        step = float(torch.nextafter(torch.zeros(1, dtype=kind), torch.ones(1, dtype=kind)).double())
        assert least * 2 * ROUNDOFF[dtype] == step
        scale = torch.tensor([0.0, least / 64, least, 1.0], dtype=torch.float64)
        off = torch.tensor([0.0, step / 2, step / 2, ROUNDOFF[dtype]], dtype=torch.float64)
        if dtype == "float64":  # half its smallest step is no float64
            off[1:3] = step
        told = relative(scale + off, scale, scale, 1, least).largest / ROUNDOFF[dtype]
        assert told == pytest.approx(2.0 if dtype == "float64" else 1.0)
    mixed = spec(PLAIN, dtype="float16", autocast="bfloat16")
    assert least_scale(mixed) * ROUNDOFF["bfloat16"] == 2.0**-25, "float16 gives the gradients"


def test_a_single_result_below_normal_numbers_is_not_flagged_for_its_rounding() -> None:
    value = torch.tensor([3.0 * 2.0**-26], dtype=torch.float64)  # between zero and the smallest number of float16
    rounded = value.to(torch.float16).to(torch.float64)
    asked = spec(PLAIN, dtype="float16")
    errors = relative(rounded, value, value, 1, least_scale(asked))
    assert errors.distance < ROUNDOFF["float16"]
    assert errors.largest <= ROUNDOFF["float16"]


def test_a_sum_of_many_terms_does_not_hide_a_coarse_format() -> None:
    """200,000 terms in each element: its largest error is a few hundred units, of an honest layer one."""
    wide = Problem(in_channels=4, out_channels=4, kernel_size=(3, 3), input_size=(114, 114), batch_size=16)
    assert run(wide, "grad_weight", "ComputesInBfloat16").imprecise is not None
    assert run(wide, "grad_weight", "Honest").imprecise is None


def test_a_gradient_of_the_weight_may_be_summed_in_bfloat16_and_small_numbers_may_not_be_lost() -> None:
    batch = Problem(
        in_channels=3, out_channels=10, kernel_size=(5, 5), stride=(2, 2), input_size=(32, 32), batch_size=64
    )
    summed = [run(batch, "grad_weight", "AddsUpImages", dtype="bfloat16", seed=seed) for seed in range(5)]
    assert [outcome.reason for outcome in summed] == [None] * 5
    assert max(outcome.max_error or 0 for outcome in summed) > 0
    lost = run(batch, "grad_weight", "DropsSmall", dtype="bfloat16")
    assert "0.06 is allowed" in (lost.reason or "")
    assert on_timed_data(spec(batch, dtype="bfloat16"), "grad_weight") == 4 * ON_TIMED_DATA["bfloat16"]
    assert on_timed_data(spec(batch, dtype="bfloat16"), "output") == ON_TIMED_DATA["bfloat16"]
    assert on_timed_data(spec(batch, dtype="bfloat16", device="cuda"), "grad_weight") == ON_TIMED_DATA["bfloat16"]
    few = replace(batch, batch_size=4)
    assert on_timed_data(spec(few, dtype="bfloat16"), "grad_weight") == ON_TIMED_DATA["bfloat16"]


def test_what_was_asked_for_is_what_counts() -> None:
    """float32 may be as coarse as torch resolved its precision to, an accelerator that tells nothing as TF32."""

    def told(precision: str | None, device: str = "cpu", **settings: object) -> str | None:
        found = Accuracy(76_000.0, 3e-3, "output", True, [])
        return imprecision(spec(PRECISION, device=device, **settings), found, precision)

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
    assert verify(asked, precision="bf16").imprecise is None
    assert told("bf16") is None
    assert told("ieee", autocast="bfloat16") is None
    assert told("ieee", dtype="bfloat16") is None
    tf32 = Accuracy(10_000.0, 1e-3, "output", True, [])
    plain = spec(PRECISION)
    assert imprecision(plain, tf32, "tf32") is None
    assert "TF32 or float16 gives about so much" in (imprecision(plain, tf32, "ieee") or "")


def test_an_error_is_in_units_of_the_precision_that_was_used() -> None:
    """A float32 layer whose operands are rounded to bfloat16 has an error of a few roundoffs of bfloat16."""
    layer = Layer(spec(PRECISION, "forward", "planted:ComputesInBfloat16"), CPU)
    errors = {precision: verify(layer, precision=precision).max_error for precision in (None, "ieee", "tf32", "bf16")}
    assert errors[None] == errors["ieee"] and (errors["ieee"] or 0) > 256
    assert errors["tf32"] == pytest.approx((errors["ieee"] or 0) * 2.0**-13)
    assert errors["bf16"] == pytest.approx((errors["ieee"] or 0) * 2.0**-16)
    assert 0 < (errors["bf16"] or 0) < 4


@pytest.mark.parametrize(
    ("settings", "precision", "unit"),
    [
        ({"device": "cuda"}, None, 2.0**-11),
        ({"device": "cuda"}, "ieee", 2.0**-24),
        ({"device": "cpu"}, None, 2.0**-24),
        ({"device": "cuda", "dtype": "bfloat16"}, "tf32", 2.0**-8),
        ({"device": "cuda", "autocast": "float16"}, "tf32", 2.0**-11),
        ({"device": "cuda", "dtype": "float64"}, "tf32", 2.0**-53),
    ],
)
def test_only_float32_has_another_unit_than_its_dtypes(
    settings: dict[str, str], precision: str | None, unit: float
) -> None:
    assert error_unit(spec(PRECISION, **settings), precision) == unit


def test_a_float64_layer_that_computes_in_float32_isimprecision() -> None:
    for direction in DIRECTIONS:
        outcome = run(PRECISION, direction, "ComputesInFloat32", dtype="float64")
        assert outcome.reason is None
        assert "less precision than float64" in (outcome.imprecise or "")
        assert "float32 gives about so much" in (outcome.imprecise or "")
