"""How far a result may be from its reference: rounding, less precision, a mistake. docs/checks.md tells why."""

from __future__ import annotations

import math

import torch

from ..spec import SIGNIFICANT_BITS, Spec

#: Half the distance from 1 to the next larger number: the unit of `Outcome.max_error`.
ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
#: ||y - ref|| / ||ref|| allowed to Winograd and FFT kernels. The large tiles, F(4x4) and F(6x6), lose two to three
#: digits of float32; in float16 and bfloat16 the transformed tiles are rounded once more.
NORMWISE = {"float64": 1e-12, "float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}

#: ||y - ref|| / ||ref|| on the random data that is timed, beyond which a layer is wrong although it is right on
#: integers (it keeps an old result, say, or drops small numbers). float32 and float64 allow for operands and results
#: rounded to bfloat16 (seen: 7.5e-3), float16 for sums kept in float16. Honest bfloat16 was seen at 5.3e-3.
ON_TIMED_DATA = {"float64": 0.012, "float32": 0.012, "float16": 0.03, "bfloat16": 0.015}
#: Images of a batch up to which ON_TIMED_DATA holds for a bfloat16 gradient of the weight. Where a CPU has no bfloat16
#: instructions, torch adds one image after the other to a sum kept in bfloat16: its error grows with the square root.
SUMMED_IMAGES = 4

#: The same distance, beyond which a layer that is right has less precision than was asked for: by dtype, or by what
#: torch resolved the precision of float32 to. Honest kernels were seen at 2.5e-14 (float64), 1.2e-5 (float32) and
#: 1.0e-3 (TF32, operands cut off); the next coarser format gives 5e-8, 2.6e-4 (TF32) and 2.1e-3 (bfloat16). What is
#: missing here cannot be told from something coarser, or is the coarsest.
PRECISE = {"float64": 1e-11, "float32": 1e-4, "tf32": 1.5e-3}
#: The sums of magnitudes up to which integers are exact even in bfloat16: a layer that is exact on these and inexact on
#: larger ones has less precision than its dtype.
COARSEST_EXACT = 1 << SIGNIFICANT_BITS["bfloat16"]
#: Rounding touches every element: half of them are at least this share of the root mean square off (normally
#: distributed errors: 0.67). A mistake in some elements leaves most of them alone.
EVERYWHERE = 0.05
#: What gives a distance of at most so much, in words; bfloat16 gives more.
COARSER = ((1e-4, "float32"), (1.5e-3, "TF32 or float16"))


def on_timed_data(spec: Spec, name: str) -> float:
    """The distance ||y - ref|| / ||ref|| allowed to the result `name` on the data that is timed."""
    allowed = ON_TIMED_DATA[spec.coarsest_dtype]
    if name == "grad_weight" and spec.coarsest_dtype == "bfloat16":
        allowed *= math.sqrt(max(1.0, (spec.batch_size or 1) / SUMMED_IMAGES))
    return allowed


def least_scale(spec: Spec) -> float:
    """The scale below which errors are no longer relative: the smallest normal number of what numbers pass through.

    Below it a dtype's numbers lie as far apart as just above it. An honest rounding errs by half of that, which is
    roundoff times the smallest normal number (Higham, "Accuracy and Stability of Numerical Algorithms", chapter 2, the
    model with gradual underflow). The unit of an error is so max(scale * roundoff, smallest subnormal number / 2).
    """
    unit = ROUNDOFF[spec.coarsest_dtype]
    dtypes = (spec.dtype, spec.compute_dtype)
    return max(torch.finfo(getattr(torch, dtype)).tiny * (ROUNDOFF[dtype] / unit) for dtype in dtypes)
