"""Whether convbench's floor agrees with oneDNN's own time within 5 %, where one primitive takes almost all of a call.

    python bench/onednn_agreement.py [--rounds 20]

In one process two steps take turns. convbench's timer takes a block. Then oneDNN's verbose mode reports each
primitive's time over as many calls of the same step. Both minima are printed. What a call costs beside its primitives
is measured on a layer of a few elements that oneDNN runs. The agreement itself therefore does not decide what "almost
all" is. The first call, which compiles, is left out. channels_last spares most layers the reorders of input and output.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from functools import partial

import torch

from convbench.engine.local import MALLOC_MAP_THRESHOLDS, MALLOC_TOP_PAD, MALLOC_TRIM_THRESHOLD
from convbench.worker.timer import time_block

BLOCK_S = 0.025
#: A worker's steady allocator (engine/local.py), so that page faults are in neither figure.
STEADY_ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(MALLOC_MAP_THRESHOLDS[0]),
    "MALLOC_TRIM_THRESHOLD_": str(MALLOC_TRIM_THRESHOLD),
    "MALLOC_TOP_PAD_": str(MALLOC_TOP_PAD),
}
#: A layer is judged if its largest primitive is expected to take this share of a call. If the rest alone may be 5 % of
#: it, an agreement within 5 % says nothing.
ALMOST_ALL = 0.97
AGREEMENT = 0.05
#: name: batch, in_channels, out_channels, kernel, stride, padding, size.
LAYERS = {
    "1-128-128-1-1-0-28": (1, 128, 128, 1, 1, 0, 28),
    "4-256-256-3-1-1-14": (4, 256, 256, 3, 1, 1, 14),
    "8-16-16-3-1-1-32": (8, 16, 16, 3, 1, 1, 32),
    "8-64-64-3-1-1-28": (8, 64, 64, 3, 1, 1, 28),
    "32-3-10-5-2-0-64": (32, 3, 10, 5, 2, 0, 64),
    "16-64-64-3-1-1-56": (16, 64, 64, 3, 1, 1, 56),
    "8-256-256-3-1-1-28": (8, 256, 256, 3, 1, 1, 28),
    "8-512-512-3-1-1-7": (8, 512, 512, 3, 1, 1, 7),
    "16-128-128-3-1-1-28": (16, 128, 128, 3, 1, 1, 28),
    "8-128-128-5-1-2-28": (8, 128, 128, 5, 1, 2, 28),
    "16-256-256-1-1-0-28": (16, 256, 256, 1, 1, 0, 28),
    "32-64-128-3-2-1-56": (32, 64, 128, 3, 2, 1, 56),
}


def primitive_times(step: Callable[[], object], calls: int) -> dict[str, float]:
    """Lowest seconds of each oneDNN primitive over some calls: `{"convolution jit:avx512_core": 0.0021}`.

    The primitive's place among a call's lines is part of the name where a call runs one more than once.
    """
    flush = ctypes.CDLL(None).fflush
    with tempfile.TemporaryFile() as caught:
        sys.stdout.flush()
        flush(None)
        kept = os.dup(1)
        os.dup2(caught.fileno(), 1)
        try:
            with torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):
                for _ in range(calls):
                    step()
            flush(None)
        finally:
            os.dup2(kept, 1)
            os.close(kept)
        caught.seek(0)
        text = caught.read().decode(errors="replace")
    return lowest_times(text, calls)


def lowest_times(verbose: str, calls: int) -> dict[str, float]:
    """Lowest seconds of each primitive in oneDNN's verbose text; the last field of a line is milliseconds."""
    rows = [line.split(",") for line in verbose.splitlines() if line.startswith("onednn_verbose")]
    rows = [row for row in rows if len(row) > 6 and row[3] == "exec"]
    per_call = len(rows) // calls
    if per_call * calls != len(rows):
        raise SystemExit(f"{len(rows)} primitives in {calls} calls: the calls are not alike")
    found: defaultdict[str, float] = defaultdict(lambda: float("inf"))
    for position, row in enumerate(rows):
        name = f"{row[5]} {row[6]} #{position % per_call + 1}"
        found[name] = min(found[name], float(row[-1]) * 1e-3)
    return dict(found)


def beside_primitives(rounds: int) -> float:
    """Seconds of a call beside its primitives: torch's own work and oneDNN's before it starts one."""
    # Two images and a 3x3 kernel: smaller layers torch computes itself.
    layer = torch.nn.Conv2d(1, 1, 3).to(memory_format=torch.channels_last)
    x = torch.zeros(2, 1, 4, 4).contiguous(memory_format=torch.channels_last)
    step = partial(layer, x)
    step()
    floor_s = min(time_block(step, BLOCK_S).minimum_s for _ in range(rounds))
    times = primitive_times(step, 1000)
    if not times:
        raise SystemExit("oneDNN does not run the small layer that tells what a call costs beside it")
    return floor_s - sum(times.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    if any(os.environ.get(name) != value for name, value in STEADY_ALLOCATOR.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **STEADY_ALLOCATOR})
    torch.set_num_threads(1)
    print(f"{'layer':26}{'floor ms':>10}{'primitive ms':>14}{'share':>8}{'ratio':>8}  largest primitive")
    judged, agreed = 0, 0
    with torch.no_grad():
        beside_s = beside_primitives(rounds)
        for name, channels_last in itertools.product(LAYERS, (False, True)):
            n, c, k, kernel, stride, padding, size = LAYERS[name]
            layout = torch.channels_last if channels_last else torch.contiguous_format
            layer = torch.nn.Conv2d(c, k, kernel, stride=stride, padding=padding).to(memory_format=layout)
            x = torch.randn(n, c, size, size).contiguous(memory_format=layout)
            name += " last" if channels_last else ""
            step = partial(layer, x)
            step()
            floor_s = float("inf")
            times: defaultdict[str, float] = defaultdict(lambda: float("inf"))
            for _ in range(rounds):
                timing = time_block(step, BLOCK_S)
                floor_s = min(floor_s, timing.minimum_s)
                for primitive, seconds in primitive_times(step, timing.iterations).items():
                    times[primitive] = min(times[primitive], seconds)
            if not times:
                print(f"{name:26}{floor_s * 1e3:10.4f}{'':30}  none: torch runs no oneDNN primitive here")
                continue
            largest = max(times, key=lambda primitive: times[primitive])
            share, ratio = times[largest] / (sum(times.values()) + beside_s), floor_s / times[largest]
            told = "not judged"
            if share >= ALMOST_ALL:
                judged, told = judged + 1, "DISAGREES"
                if abs(ratio - 1) <= AGREEMENT:
                    agreed, told = agreed + 1, "agrees"
            row = f"{name:26}{floor_s * 1e3:10.4f}{times[largest] * 1e3:14.4f}{share:8.1%}{ratio:8.3f}"
            print(f"{row}  {largest}: {told}", flush=True)
    print(f"a call costs {beside_s * 1e6:.1f} us beside its primitives; {agreed} of {judged} layers judged agree")


if __name__ == "__main__":
    main()
