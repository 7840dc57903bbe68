"""Measures the machine's highest rates: multiply-adds in a dtype, and bytes copied at many footprints."""

from __future__ import annotations

from functools import partial
from time import perf_counter
from typing import Any, Callable, NamedTuple

import torch

from .operators import DEFAULT_OPERATOR
from .timer import Queue, first_call, time_block

#: Time limit for one candidate, with its warm-up, seconds; a slow candidate runs once.
CANDIDATE_S = 0.01
#: A dtype whose matrix product is slower than float32's best by this factor is not tried further. Its convolutions
#: would take tenths of a second (float16, float64 on a CPU) and would not be faster.
NOT_WORTH = 3.0


class Sizes(NamedTuple):
    """Sizes of the candidates: much longer than the launch of a kernel, and small enough to be run in each process."""

    matrix: int  # side of the square matrices
    layers: tuple[tuple[int, int, int], ...]  # (images, channels, size) of 3x3 convolutions with efficient kernels
    footprints: tuple[int, ...]  # bytes of a copy, source and target together


#: 0.2 GFLOP each; copies of sizes from the first-level cache to memory.
ON_CPU = Sizes(512, ((1, 128, 28), (1, 64, 56)), tuple(2**power for power in range(15, 28)))
#: 100 GFLOP each; copies of sizes up to far more than the last-level cache.
ON_ACCELERATOR = Sizes(4096, ((32, 256, 56), (64, 128, 56)), tuple(2**power for power in range(18, 31)))


#: A device that takes longer than this for a float32 product of 1,024 is as slow as a CPU, and gets its sizes, seconds.
SLOW_S = 0.01


class Roof(NamedTuple):
    """A rate in FLOP/s or bytes/s, and the computation that reached it."""

    kind: str
    rate: float
    source: str
    dtype: str | None
    footprint_bytes: int | None


def measure_roofs(dtypes: list[str], device: torch.device, queue: Queue | None) -> list[Roof]:
    """A compute roof for each dtype and a bandwidth roof for each footprint.

    A dtype without a kernel gets float32's roof, and so does one with a lower rate than float32, except float64.
    """
    sizes = ON_CPU if queue is None or _is_slow(device, queue) else ON_ACCELERATOR
    with torch.no_grad():
        single = _compute("float32", device, queue, sizes)
        found = []
        for dtype in dtypes:
            own = single if dtype == "float32" else _compute(dtype, device, queue, sizes, single)
            if own is None or (dtype != "float64" and single is not None and own.rate < single.rate):
                # The hardware does not support this dtype, so its rate is not a limit of the machine.
                own = single and single._replace(dtype=dtype, source=f"float32, {single.source}")
            found += [own] if own else []
        return found + _bandwidth(device, queue, sizes)


def _compute(
    dtype: str, device: torch.device, queue: Queue | None, sizes: Sizes, single: Roof | None = None
) -> Roof | None:
    """The highest rate of a matrix product and some convolutions; None where the device has none in this dtype."""
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
        taps = (3 * size - 2) ** rank  # of all positions, without the taps on the padding
        flops = 2.0 * images * channels * channels * taps
        candidates.append((f"{kernel} convolution of {channels} channels", flops, partial(layer, x)))
    best: Roof | None = None
    for source, flops, step in candidates:
        if best and single and best.rate * NOT_WORTH < single.rate:
            break
        try:
            rate = flops / _fastest(step, queue)
        except RuntimeError:
            continue  # no kernel for this dtype here
        if best is None or rate > best.rate:
            best = Roof("compute", rate, source, dtype, None)
    return best


def _bandwidth(device: torch.device, queue: Queue | None, sizes: Sizes) -> list[Roof]:
    """The rate of a copy at each footprint, in bytes read and written per second."""
    source = torch.zeros(sizes.footprints[-1] // 2, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    found = []
    for footprint in sizes.footprints:
        half = footprint // 2
        a, b = source[:half], target[:half]
        seconds = _fastest(partial(b.copy_, a), queue, CANDIDATE_S / 4)
        found.append(Roof("bandwidth", footprint / seconds, "copy", None, footprint))
    return found


def _is_slow(device: torch.device, queue: Queue) -> bool:
    square = torch.ones(1024, 1024, device=device)
    multiply = partial(torch.mm, square, square)
    first_call(multiply, queue)
    return first_call(multiply, queue) > SLOW_S


def _fastest(step: Callable[[], Any], queue: Queue | None, limit_s: float = CANDIDATE_S) -> float:
    """Seconds of the fastest call within `limit_s`, after a warm-up call."""
    first_call(step, queue)
    if queue is not None:
        return time_block(step, limit_s, queue, warmup_s=0.0).minimum_s
    fastest, end = float("inf"), perf_counter() + limit_s
    while True:
        fastest = min(fastest, first_call(step, None))
        if perf_counter() >= end:
            return fastest
