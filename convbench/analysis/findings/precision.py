"""How much precision differs between two values of a setting: a faster dtype is no choice among equals."""

from __future__ import annotations

import math

import numpy as np

from convbench import units
from convbench.analysis.findings.evidence import Evidence
from convbench.analysis.findings.finding import value_text
from convbench.analysis.findings.pairs import RANKED
from convbench.model.settings import Autocast

#: Settings whose values compute in different precision.
SETTINGS = ("dtype", "autocast", "fp32_precision")
#: Bits of the unit roundoff of a dtype or precision, in which the check gives its errors (docs/checks.md).
ROUNDOFF_BITS = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8, "ieee": 24, "tf32": 11, "bf16": 8}
#: Largest errors that differ by less than this factor are of one precision: float16 and TF32 have the same bits.
ALIKE = 2.0


def precision(evidence: Evidence, axis: str, base: object, other: object) -> str:
    """`. Precision differs: the largest error with bfloat16 is 0.21 % of ..., 9,000 times that with float32`.

    The errors are those that the checks measured. "" for other settings, and where no error was measured.
    """
    if axis not in SETTINGS:
        return ""
    one, two = (_largest_error(evidence, axis, value) for value in (base, other))
    if not two or math.isnan(one) or max(one, two) < ALIKE * min(one, two):
        return ""
    times = f"{float(f'{two / one:.2g}'):,g}" if one else ""
    than = f"{times} times that with {value_text(base)}" if one else f"and {value_text(base)} has none"
    return (
        f". Precision differs: the largest error with {value_text(other)} is {units.digits(two * 100, 2)} % of the sum "
        f"of the terms' sizes, {than}"
    )


def _largest_error(evidence: Evidence, axis: str, value: object) -> float:
    """The largest error of the cases with a value, as a share of the sum of the terms' sizes; NaN without any."""
    table = evidence.table
    own = table[((table[axis] == value) & (table["status"] == RANKED)).fillna(False).to_numpy(dtype=bool)]
    computed = own["dtype"].where(own["autocast"] == Autocast.NONE.value, own["autocast"])
    # On a device that does not say how torch computes float32, it may be TF32 (worker/verify/tolerances.py).
    used = own["resolved_precision"].fillna(own["device"].eq("cpu").map({True: "ieee", False: "tf32"}))
    computed = used.where(computed == "float32", computed)
    roundoff = computed.map(lambda dtype: 2.0 ** -ROUNDOFF_BITS.get(str(dtype), 24)).to_numpy(dtype=float)
    errors = own["max_error"].to_numpy(dtype=float, na_value=math.nan) * roundoff
    known = errors[np.isfinite(errors)]
    return float(known.max()) if len(known) else math.nan
