"""What this machine can do at best: multiply-adds in a dtype, and bytes copied at many footprints."""

from __future__ import annotations

from functools import partial
from time import perf_counter
from typing import Any, Callable, NamedTuple

import torch

#: Seconds that one candidate may take, its warm-up included: a slow one runs once.
CANDIDATE_S = 0.01
#: A dtype whose matrix product is this much slower than float32's best is not tried further: its convolutions would
#: take tenths of a second (float16, float64 on a CPU) and reach no more.
NOT_WORTH = 3.0
#: Side of the square matrices; 0.27 GFLOP, far beyond what starting a kernel costs.
MATRIX = 512
#: (channels, size) of 3x3 convolutions on one image that kernels are good at: 0.23 GFLOP each.
LAYERS = ((128, 28), (64, 56))
#: Bytes that a copy touches, source and target together: from within the first cache to memory.
FOOTPRINTS = tuple(2**power for power in range(15, 28))


class Roof(NamedTuple):
    """A rate, FLOP/s or bytes/s, and what reached it."""

    kind: str
    rate: float
    source: str
    dtype: str | None
    footprint_bytes: int | None


def measure_roofs(dtypes: list[str], device: torch.device, synchronize: Callable[[], None]) -> list[Roof]:
    """A compute roof for each dtype, float32's where its own is lower, and a bandwidth roof for each footprint."""
    with torch.no_grad():
        single = _compute("float32", device, synchronize)
        found = []
        for dtype in dtypes:
            own = single if dtype == "float32" else _compute(dtype, device, synchronize, single)
            if own is None or (dtype != "float64" and single is not None and own.rate < single.rate):
                # A dtype without hardware of its own: what limits it is not the machine.
                own = single and single._replace(dtype=dtype, source=f"float32, {single.source}")
            found += [own] if own else []
        return found + _bandwidth(device, synchronize)


def _compute(
    dtype: str, device: torch.device, synchronize: Callable[[], None], single: Roof | None = None
) -> Roof | None:
    """The best of a matrix product and some convolutions; None where the device has neither in this dtype."""
    kind = getattr(torch, dtype)
    candidates: list[tuple[str, float, Callable[[], Any]]] = []
    a, b = (torch.ones(MATRIX, MATRIX, dtype=kind, device=device) for _ in range(2))
    candidates.append((f"matrix product of {MATRIX}", 2.0 * MATRIX**3, partial(torch.matmul, a, b)))
    for channels, size in LAYERS:
        layer = torch.nn.Conv2d(channels, channels, 3, padding=1, bias=False, device=device, dtype=kind)
        x = torch.ones(1, channels, size, size, dtype=kind, device=device)
        layer = layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
        x = x.to(memory_format=torch.channels_last)
        taps = (3 * size - 2) ** 2  # of the 3 x 3 taps of each position, those that are not on the padding
        flops = 2.0 * channels * channels * taps
        candidates.append((f"3x3 convolution of {channels} channels", flops, partial(layer, x)))
    best: Roof | None = None
    for source, flops, step in candidates:
        if best and single and best.rate * NOT_WORTH < single.rate:
            break
        try:
            rate = flops / _fastest(step, synchronize)
        except RuntimeError:
            continue  # no kernel for this dtype here
        if best is None or rate > best.rate:
            best = Roof("compute", rate, source, dtype, None)
    return best


def _bandwidth(device: torch.device, synchronize: Callable[[], None]) -> list[Roof]:
    """The rate of a copy at each footprint, bytes read and written."""
    source = torch.zeros(FOOTPRINTS[-1] // 2, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    found = []
    for footprint in FOOTPRINTS:
        half = footprint // 2
        a, b = source[:half], target[:half]
        seconds = _fastest(partial(b.copy_, a), synchronize, CANDIDATE_S / 4)
        found.append(Roof("bandwidth", footprint / seconds, "copy", None, footprint))
    return found


def _fastest(step: Callable[[], Any], synchronize: Callable[[], None], limit_s: float = CANDIDATE_S) -> float:
    """Seconds of the fastest of some calls, at least one after the first."""
    step()
    synchronize()
    fastest, end = float("inf"), perf_counter() + limit_s
    while True:
        before = perf_counter()
        step()
        synchronize()
        after = perf_counter()
        fastest = min(fastest, after - before)
        if after >= end:
            return fastest
