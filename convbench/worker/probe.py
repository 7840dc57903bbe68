"""Two fixed computations whose times show how noisy the machine is. They are diagnostics, and estimates ignore them."""

from __future__ import annotations

from functools import partial
from time import perf_counter
from typing import Any, Callable

import torch

#: Side of a matrix product that fits in the second-level cache. It took 324 us on an idle machine when it was chosen.
COMPUTE_SIZE = 256
#: Calls of each part of `twin_ratio`: only a few, so that a waiting thread still shows in the minimum.
TWIN_CALLS = 3
#: Size of a copy that does not fit in the caches.
MEMORY_BYTES = 64 * 2**20
#: A product that keeps a device busy takes at least so many seconds, or has the largest size.
BUSY_S = 1e-3
LARGEST_PRODUCT = 4096


class Probes:
    """Keeps the operands, so that a probe allocates no memory."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self._a = torch.randn(COMPUTE_SIZE, COMPUTE_SIZE, generator=generator)
        self._b = torch.randn(COMPUTE_SIZE, COMPUTE_SIZE, generator=generator)
        self._product = torch.empty_like(self._a)
        self._source: torch.Tensor | None = None
        self._target: torch.Tensor | None = None
        self.compute()

    def compute(self) -> float:
        """Seconds of one 256 x 256 x 256 float32 matrix product."""
        before = perf_counter()
        torch.mm(self._a, self._b, out=self._product)
        return perf_counter() - before

    def twin_ratio(self) -> float:
        """The compute probe's time with all threads divided by its time with one; each is the minimum of some calls."""
        threads = torch.get_num_threads()
        together = min(self.compute() for _ in range(TWIN_CALLS))
        torch.set_num_threads(1)
        try:
            alone = min(self.compute() for _ in range(TWIN_CALLS))
        finally:
            torch.set_num_threads(threads)
        return together / alone

    def memory(self) -> float:
        """Seconds of one copy of 64 MiB; the first call also allocates and warms up."""
        if self._source is None or self._target is None:
            self._source = torch.zeros(MEMORY_BYTES, dtype=torch.uint8)
            self._target = torch.zeros(MEMORY_BYTES, dtype=torch.uint8)
            self._target.copy_(self._source)
        before = perf_counter()
        self._target.copy_(self._source)
        return perf_counter() - before


def product(device: torch.device, synchronize: Callable[[], None]) -> Callable[[], Any]:
    """A float32 matrix product on the device that takes about a millisecond or longer: 256 a side, doubled until so."""
    size = COMPUTE_SIZE
    while True:
        square = torch.ones(size, size, device=device)
        step = partial(torch.mm, square, square)
        step()
        synchronize()
        before = perf_counter()
        step()
        synchronize()
        if perf_counter() - before >= BUSY_S or size >= LARGEST_PRODUCT:
            return step
        size *= 2
