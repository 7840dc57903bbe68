"""What moves floors from one minute to the next, the clock or the neighbours, and for how long.

    python bench/spells.py --minutes 15 [--out blocks.json]
    python bench/spells.py --summarise blocks.json [--markdown]

One process measures blocks in turn: of the layers of bench/repeatability.py, of the probe's matrix product, and of a
chain of dependent multiplications. The chain waits for each result before it begins the next, in the first-level cache.
Only the clock makes it slower, not even a neighbour on the same core.

The script prints two figures for each. The first is the standard deviation of the logarithm of the floors, over
windows as long as a run of that study. The second is the 95th percentile of |ln(a/b)| over pairs of made-up runs. Such
a run took the same number of blocks, spread evenly over so many seconds. Fresh processes differ by more than that.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from repeatability import LAYERS, p95_of_pairs

from convbench.engine.local import LocalEngine
from convbench.model.case import WorkerSettings
from convbench.worker.timer import time_block

#: Of a run in bench/repeatability.py: the blocks of a case, their length, and the wall time they spread over, in s.
BLOCKS, BLOCK_S, RUN_S = 25, 0.02, 17.0
#: Seconds that a run of as many blocks is spread over.
SPREADS = (17, 30, 60, 120, 240)
#: Multiplications of the chain: 16 KiB in and out, in the first-level cache.
CHAIN = 1024

Blocks = dict[str, list[tuple[float, float]]]  # (seconds since the start, block minimum) by what was measured


def steps() -> dict[str, Callable[[], object]]:
    """What is measured, by name."""
    found: dict[str, Callable[[], object]] = {}
    for name, (batch, channels, out, kernel, stride, padding, size) in LAYERS.items():
        layer = torch.nn.Conv2d(channels, out, kernel, stride=stride, padding=padding)
        x = torch.randn(batch, channels, size, size)
        found[name] = lambda layer=layer, x=x: layer(x)
    a, b, product = torch.randn(256, 256), torch.randn(256, 256), torch.empty(256, 256)
    found["matrix product"] = lambda: torch.mm(a, b, out=product)
    ones, chained = torch.ones(CHAIN, dtype=torch.float64), torch.empty(CHAIN, dtype=torch.float64)
    found["chain"] = lambda: torch.cumprod(ones, 0, out=chained)
    return found


def measured(minutes: float) -> Blocks:
    """Blocks in turn for so long."""
    torch.set_num_threads(1)
    blocks: Blocks = defaultdict(list)
    began = time.monotonic()
    with torch.no_grad():
        every = steps()
        while time.monotonic() < began + 60 * minutes:
            for name, step in every.items():
                at = time.monotonic() - began
                blocks[name].append((at, time_block(step, BLOCK_S).minimum_s))
    return dict(blocks)


def floors(blocks: Sequence[tuple[float, float]], seconds: float) -> list[float]:
    """The floors of made-up runs of `BLOCKS` blocks over so many seconds, one beginning every tenth of that."""
    ends = blocks[-1][0]
    found = []
    begins = 0.0
    while begins + seconds <= ends:
        inside = [value for at, value in blocks if begins <= at < begins + seconds]
        step = len(inside) / BLOCKS
        found.append(min(inside[int(i * step)] for i in range(BLOCKS)))
        begins += seconds / 10
    return found


def show(blocks: Blocks, *, markdown: bool) -> None:
    if min(own[-1][0] for own in blocks.values()) < 2 * RUN_S:
        sys.exit(f"too few blocks: one run lasts {RUN_S:.0f} s, measure some minutes")
    heads = ("what", "floor", "deviation", *(f"{seconds} s" for seconds in SPREADS))
    rows = []
    for name, own in blocks.items():
        windows = floors(own, RUN_S)[::10]
        deviation = statistics.pstdev(math.log(value) for value in windows)
        spread = [p95_of_pairs(floors(own, seconds)) if own[-1][0] >= 2 * seconds else None for seconds in SPREADS]
        lowest = min(value for _, value in own)
        told = [f"{lowest * 1e6:.2f} us", f"{deviation:.2%}", *("" if s is None else f"{s:.4f}" for s in spread)]
        rows.append((name, *told))
    if markdown:
        print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
        print("\n".join("| " + " | ".join(row) + " |" for row in rows))
        return
    for row in (heads, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, (20, 12, *[9] * 6), strict=True)).rstrip())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--summarise", type=Path)
    parser.add_argument("--markdown", action="store_true")
    given = parser.parse_args()
    steady = LocalEngine().variables(WorkerSettings(threads=1))
    if given.summarise is None and os.environ | steady != os.environ:
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | steady)  # malloc reads them at its start
    if given.summarise is not None:
        blocks = json.loads(given.summarise.read_text(encoding="utf-8"))
    else:
        blocks = measured(given.minutes)
        if given.out is not None:
            given.out.write_text(json.dumps(blocks), encoding="utf-8")
    show(blocks, markdown=given.markdown)


if __name__ == "__main__":
    main()
