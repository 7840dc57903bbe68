"""Limits of the distance from the reference: for rounding, lower precision and wrong results. See docs/checks.md."""

from __future__ import annotations

import math

import torch

from ..spec import SIGNIFICANT_BITS, Spec

#: Half the distance from 1 to the next larger number, which is the unit of `Outcome.max_error`. A float32 layer may
#: compute with operands in TF32 or bfloat16.
ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
_OF_PRECISION = {"tf32": 2.0**-11, "bf16": 2.0**-8}
#: ||y - ref|| / ||ref|| that Winograd and FFT kernels may have. The large tiles, F(4x4) and F(6x6), lose two to three
#: digits of float32. In float16 and bfloat16 the transformed tiles are rounded a second time.
NORMWISE = {"float64": 1e-12, "float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}

#: The sums of magnitudes up to which such a kernel must round to the reference in float32: 1e-4 of 2^11 is 0.2.
MOST_ROUNDED = 1 << 11

#: Limits of ||y - ref|| / ||ref|| on the random data that is timed. A layer above them is wrong, although it is correct
#: on integers. For example, it returns an old result or ignores small numbers. The limits of float32 and float64 allow
#: operands and results rounded to bfloat16 (observed: 7.5e-3), that of float16 allows sums in float16. Correct bfloat16
#: kernels had 5.3e-3.
ON_TIMED_DATA = {"float64": 0.012, "float32": 0.012, "float16": 0.03, "bfloat16": 0.015}
#: Number of images up to which ON_TIMED_DATA holds for a bfloat16 gradient of the weight. On a CPU without bfloat16
#: instructions torch adds each image to a sum in bfloat16, whose error grows with the square root of their number.
SUMMED_IMAGES = 4

#: Limits of the same distance, above which a correct layer has less precision than requested. The keys are dtypes, or
#: the precision that torch resolved for float32. Correct kernels had 2.5e-14 (float64), 1.2e-5 (float32) and 1.0e-3
#: (TF32, operands cut off). The next coarser format has 5e-8, 2.6e-4 (TF32) and 2.1e-3 (bfloat16). Formats without a
#: limit cannot be distinguished from a coarser one, or are the coarsest.
PRECISE = {"float64": 1e-11, "float32": 1e-4, "tf32": 1.5e-3}
#: The sums of magnitudes up to which integers are exact even in bfloat16. A layer that is exact up to these and inexact
#: above them has less precision than its dtype.
COARSEST_EXACT = 1 << SIGNIFICANT_BITS["bfloat16"]
#: Rounding affects every element: half of them have an error of at least this share of the root mean square (0.67 for
#: normally distributed errors). A wrong computation of some elements does not change most of them.
EVERYWHERE = 0.05
#: (distance, the format with at most this distance); bfloat16 has more.
COARSER = ((1e-4, "float32"), (1.5e-3, "TF32 or float16"))


def used_precision(spec: Spec, precision: str | None) -> str | None:
    """The precision of a float32 layer, where torch resolved `precision`; None for layers of other dtypes.

    An accelerator with an unknown precision of float32 may use TF32.
    """
    if spec.coarsest_dtype != "float32":
        return None
    return precision or ("ieee" if spec.device.startswith("cpu") else "tf32")


def error_unit(spec: Spec, precision: str | None) -> float:
    """The unit of `Outcome.max_error`: the roundoff of the precision that the layer computes in."""
    used = used_precision(spec, precision)
    return _OF_PRECISION.get(used or "", ROUNDOFF[spec.coarsest_dtype])


def on_timed_data(spec: Spec, name: str) -> float:
    """The limit of ||y - ref|| / ||ref|| for the result `name` on the data that is timed."""
    allowed = ON_TIMED_DATA[spec.coarsest_dtype]
    if name == "grad_weight" and spec.coarsest_dtype == "bfloat16" and spec.device == "cpu":
        allowed *= math.sqrt(max(1.0, (spec.batch_size or 1) / SUMMED_IMAGES))
    return allowed


def least_scale(spec: Spec) -> float:
    """The scale below which errors are not relative: the smallest normal number of the layer's dtypes.

    Below it the distance between a dtype's numbers is constant. Correct rounding has an error of at most half of this
    distance, which is roundoff times the smallest normal number. So the unit of an error is max(scale * roundoff,
    smallest subnormal number / 2). See Higham, "Accuracy and Stability of Numerical Algorithms", chapter 2, the model
    with gradual underflow.
    """
    unit = ROUNDOFF[spec.coarsest_dtype]
    dtypes = (spec.dtype, spec.compute_dtype)
    return max(torch.finfo(getattr(torch, dtype)).tiny * (ROUNDOFF[dtype] / unit) for dtype in dtypes)
