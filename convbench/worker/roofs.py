"""What this machine can do at best: multiply-adds in a dtype, and bytes copied at many footprints."""

from __future__ import annotations

from functools import partial
from time import perf_counter
from typing import Any, Callable, NamedTuple

import torch

from .operators import DEFAULT_OPERATOR

#: Seconds that one candidate may take, its warm-up included: a slow one runs once.
CANDIDATE_S = 0.01
#: A dtype whose matrix product is this much slower than float32's best is not tried further: its convolutions would
#: take tenths of a second (float16, float64 on a CPU) and reach no more.
NOT_WORTH = 3.0


class Sizes(NamedTuple):
    """What is tried: work far beyond what starting a kernel costs, and small enough to be tried in each process."""

    matrix: int  # side of the square matrices
    layers: tuple[tuple[int, int, int], ...]  # (images, channels, size) of 3x3 convolutions that kernels are good at
    footprints: tuple[int, ...]  # bytes that a copy touches, source and target together
    calls: int  # between two looks at the clock


#: 0.2 GFLOP each, copies from within the first cache to memory.
ON_CPU = Sizes(512, ((1, 128, 28), (1, 64, 56)), tuple(2**power for power in range(15, 28)), 1)
#: 100 GFLOP each, copies to far beyond the last-level cache.
ON_ACCELERATOR = Sizes(4096, ((32, 256, 56), (64, 128, 56)), tuple(2**power for power in range(18, 31)), 10)


class Roof(NamedTuple):
    """A rate, FLOP/s or bytes/s, and what reached it."""

    kind: str
    rate: float
    source: str
    dtype: str | None
    footprint_bytes: int | None


def measure_roofs(dtypes: list[str], device: torch.device, synchronize: Callable[[], None]) -> list[Roof]:
    """A compute roof for each dtype, float32's where its own is lower, and a bandwidth roof for each footprint."""
    sizes = ON_CPU if device.type == "cpu" else ON_ACCELERATOR
    with torch.no_grad():
        single = _compute("float32", device, synchronize, sizes)
        found = []
        for dtype in dtypes:
            own = single if dtype == "float32" else _compute(dtype, device, synchronize, sizes, single)
            if own is None or (dtype != "float64" and single is not None and own.rate < single.rate):
                # A dtype without hardware of its own: what limits it is not the machine.
                own = single and single._replace(dtype=dtype, source=f"float32, {single.source}")
            found += [own] if own else []
        return found + _bandwidth(device, synchronize, sizes)


def _compute(
    dtype: str, device: torch.device, synchronize: Callable[[], None], sizes: Sizes, single: Roof | None = None
) -> Roof | None:
    """The best of a matrix product and some convolutions; None where the device has neither in this dtype."""
    kind = getattr(torch, dtype)
    candidates: list[tuple[str, float, Callable[[], Any]]] = []
    side = sizes.matrix
    a, b = (torch.ones(side, side, dtype=kind, device=device) for _ in range(2))
    candidates.append((f"matrix product of {side}", 2.0 * side**3, partial(torch.matmul, a, b)))
    operator = DEFAULT_OPERATOR
    rank, kernel = operator.rank, "x".join(["3"] * operator.rank)
    for images, channels, size in sizes.layers:
        layer: Any = operator.layer(channels, channels, 3, padding=1, bias=False, device=device, dtype=kind)
        x = torch.ones(images, channels, *[size] * rank, dtype=kind, device=device)
        # `layer` is Any, as torch's types lack `to(memory_format=...)`.
        layer = layer.to(memory_format=operator.channels_last)
        x = x.to(memory_format=operator.channels_last)
        taps = (3 * size - 2) ** rank  # of the 3**rank taps of each position, those that are not on the padding
        flops = 2.0 * images * channels * channels * taps
        candidates.append((f"{kernel} convolution of {channels} channels", flops, partial(layer, x)))
    best: Roof | None = None
    for source, flops, step in candidates:
        if best and single and best.rate * NOT_WORTH < single.rate:
            break
        try:
            rate = flops / _fastest(step, synchronize, sizes.calls)
        except RuntimeError:
            continue  # no kernel for this dtype here
        if best is None or rate > best.rate:
            best = Roof("compute", rate, source, dtype, None)
    return best


def _bandwidth(device: torch.device, synchronize: Callable[[], None], sizes: Sizes) -> list[Roof]:
    """The rate of a copy at each footprint, bytes read and written."""
    source = torch.zeros(sizes.footprints[-1] // 2, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    found = []
    for footprint in sizes.footprints:
        half = footprint // 2
        a, b = source[:half], target[:half]
        seconds = _fastest(partial(b.copy_, a), synchronize, sizes.calls, CANDIDATE_S / 4)
        found.append(Roof("bandwidth", footprint / seconds, "copy", None, footprint))
    return found


def _fastest(
    step: Callable[[], Any], synchronize: Callable[[], None], calls: int, limit_s: float = CANDIDATE_S
) -> float:
    """Seconds of the fastest call, by groups of `calls`, at least one group after the first call."""
    step()
    synchronize()
    fastest, end = float("inf"), perf_counter() + limit_s
    while True:
        before = perf_counter()
        for _ in range(calls):
            step()
        synchronize()
        after = perf_counter()
        fastest = min(fastest, (after - before) / calls)
        if after >= end:
            return fastest
