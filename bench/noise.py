"""Noise at will: another process computes and copies in spells, so that a bad hour can be had in a good one.

    python bench/noise.py [--core 1] [--seed 0]        until it is ended

A spell takes 5 to 40 s, and so does the pause after it. In a spell the process does matrix products of 512 x 512
float32, copies of 64 MiB, or both in turn, on the given core. `noise()` does the same around a block of code.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator

#: Seconds of a spell and of a pause, at least and at most.
SPELL_S = (5.0, 40.0)


def spells(core: int, seed: int) -> None:
    """Spells of work on one core, for ever."""
    import torch

    with contextlib.suppress(OSError):  # a machine with fewer cores
        os.sched_setaffinity(0, {core})
    torch.set_num_threads(1)
    drawn = random.Random(seed)
    left, right = torch.randn(512, 512), torch.randn(512, 512)
    source, target = torch.zeros(1 << 26, dtype=torch.uint8), torch.zeros(1 << 26, dtype=torch.uint8)
    while True:
        kind = drawn.choice(("products", "copies", "both"))
        end = time.monotonic() + drawn.uniform(*SPELL_S)
        while time.monotonic() < end:
            if kind != "copies":
                torch.mm(left, right)
            if kind != "products":
                target.copy_(source)
        time.sleep(drawn.uniform(*SPELL_S))


@contextlib.contextmanager
def noise(*, core: int = 1, seed: int = 0) -> Iterator[None]:
    """Noise from a process of its own while the block runs."""
    process = subprocess.Popen([sys.executable, __file__, "--core", str(core), "--seed", str(seed)])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--core", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        spells(given.core, given.seed)


if __name__ == "__main__":
    main()
