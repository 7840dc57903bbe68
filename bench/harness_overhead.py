"""What the timer adds to a bare loop of the same calls: at most 1 us per iteration.

    python bench/harness_overhead.py

The bare loop reads the clock, calls the layer n times and reads the clock again. Both run in turn, in one process, on
the smallest layer there is and on a larger one. The overhead is the difference of their minima over 60 turns.
"""

from __future__ import annotations

from functools import partial
from itertools import repeat
from time import perf_counter_ns

import torch

from convbench.worker.timer import time_block

TURNS = 60
BLOCK_S = 0.02


def main() -> None:
    torch.set_num_threads(1)
    layers = {
        "1x1, 1 channel, 1x1 input": (torch.nn.Conv2d(1, 1, 1), torch.zeros(1, 1, 1, 1)),
        "3x3, 3 -> 10, 64x64 input": (torch.nn.Conv2d(3, 10, 3), torch.randn(1, 3, 64, 64)),
    }
    with torch.no_grad():
        for name, (layer, x) in layers.items():
            step = partial(layer, x)
            bare, timed = [], []
            for _ in range(TURNS):
                timing = time_block(step, BLOCK_S)
                timed.append(timing.minimum_s)
                bare.append(bare_loop(layer, x, timing.iterations))
            extra = min(timed) - min(bare)
            print(
                f"{name}: bare {min(bare) * 1e6:.3f} us, timed {min(timed) * 1e6:.3f} us, overhead {extra * 1e6:+.3f}"
            )


def bare_loop(layer: torch.nn.Module, x: torch.Tensor, iterations: int) -> float:
    """Seconds per iteration of a loop in chunks as short as the timer's samples, the fastest chunk."""
    chunk = 20
    fastest = float("inf")
    for _ in range(max(1, iterations // chunk)):
        before = perf_counter_ns()
        for _ in repeat(None, chunk):
            layer(x)
        fastest = min(fastest, (perf_counter_ns() - before) / chunk)
    return fastest * 1e-9


if __name__ == "__main__":
    main()
