"""The limits of a layer: the time that this machine's roofs allow. Pure, vectorised.

In the roofline model (Williams, Waterman and Patterson, "Roofline", 2009) two rates limit a layer. Its operations run
at most at the highest rate measured for its dtype. Its bytes move at most at the rate of a copy of the same size.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convbench.model.case import Cache, Case, Fp32Precision
from convbench.model.result import ProcessFacts, RoofKind

Floats = NDArray[np.float64]

COMPUTE, MEMORY, LAUNCH = "compute", "memory", "launch"
#: Words in the names of kernels whose algorithm has fewer multiplications than the definition of a convolution.
FEWER_PRODUCTS = ("winograd", "wino", "fft")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The attainable time and the nearer roof of each case; NaN and None where no roof was measured for it."""

    attainable_s: Floats
    bound: list[str | None]  # compute or memory, whichever takes longer


def limits(
    cases: Sequence[Case], all_flops: Sequence[int], all_bytes: Sequence[int], processes: Sequence[ProcessFacts]
) -> Limits:
    """The attainable time of each case, from the highest roofs of all processes.

    Noise only lowers a measured roof, so the highest of several processes counts. The bandwidth of a copy of the case's
    size is interpolated between the measured copies, in the logarithm of bytes. With a cold cache it is that of the
    largest copy.
    """
    compute: defaultdict[tuple[object, ...], float] = defaultdict(float)
    for roof in (roof for facts in processes for roof in facts.roofs):
        if roof.kind is RoofKind.COMPUTE:
            key = (roof.device, roof.threads, roof.precision, roof.dtype)
            compute[key] = max(compute[key], roof.rate)
    copies = Copies(processes)
    attainable = np.full(len(cases), np.nan)
    bound: list[str | None] = [None] * len(cases)
    alike: defaultdict[tuple[str, int | None, Fp32Precision, str, Cache], list[int]] = defaultdict(list)
    for index, case in enumerate(cases):
        alike[case.device, case.threads, case.fp32_precision, case.compute_dtype, case.cache].append(index)
    for (device, threads, precision, dtype, cache), indices in alike.items():
        rate = compute.get((device, threads, precision, dtype))
        if not rate or not copies.knows(device, threads):
            continue
        flops, moved = (
            np.array([work[index] for index in indices], dtype=np.float64) for work in (all_flops, all_bytes)
        )
        compute_s, memory_s = flops / rate, copies.seconds(device, threads, moved, is_cold=cache is not Cache.HOT)
        works = flops > 0  # an empty batch attains nothing
        attainable[indices] = np.where(works, np.maximum(compute_s, memory_s), np.nan)
        for index, does, longer in zip(indices, works.tolist(), (compute_s >= memory_s).tolist(), strict=True):
            bound[index] = (COMPUTE if longer else MEMORY) if does else None
    return Limits(attainable_s=attainable, bound=bound)


class Copies:
    """How long a copy takes on each device with each number of threads, by the run's bandwidth roofs.

    Noise only lowers a measured roof, so the highest of several processes counts. The rate at a size is interpolated
    between the measured copies, in the logarithm of bytes.
    """

    __slots__ = ("_lines",)

    def __init__(self, processes: Sequence[ProcessFacts]) -> None:
        known: defaultdict[tuple[str, int | None], dict[int, float]] = defaultdict(dict)
        for roof in (roof for facts in processes for roof in facts.roofs):
            if roof.kind is RoofKind.BANDWIDTH and roof.footprint_bytes:
                rates = known[roof.device, roof.threads]
                rates[roof.footprint_bytes] = max(rates.get(roof.footprint_bytes, 0.0), roof.rate)
        #: (log2 of bytes, bytes/s) of the measured copies, by size.
        self._lines = {
            key: ([math.log2(size) for size in sorted(rates)], [rates[size] for size in sorted(rates)])
            for key, rates in known.items()
        }

    def knows(self, device: str, threads: int | None) -> bool:
        """Whether copies were measured there."""
        return (device, threads) in self._lines

    def seconds(self, device: str, threads: int | None, moved: Floats, *, is_cold: bool = False) -> Floats:
        """The seconds in which as many bytes are read and written together; NaN where no copy was measured.

        With `is_cold` the rate is that of the largest copy, at least.
        """
        if not self.knows(device, threads):
            return np.full(len(moved), np.nan)
        sizes, rates = self._lines[device, threads]
        with np.errstate(divide="ignore"):  # an empty batch moves nothing
            footprint = np.maximum(np.log2(moved), sizes[-1]) if is_cold else np.log2(moved)
        return moved / np.interp(footprint, sizes, rates)


def over_roof(efficiency: float, bound: str | None, implementation: str | None) -> str | None:
    """Why a floor is below the attainable time; None where it is not."""
    if not efficiency > 1:
        return None
    if any(word in (implementation or "").lower() for word in FEWER_PRODUCTS):
        return "its kernel needs fewer multiplications than the counted operations have"
    if bound == MEMORY:
        return "its data stay in a faster cache than a copy of the same bytes uses"
    return "its kernel is faster than all kernels that measured the roof, or noise lowered the roof in every process"
