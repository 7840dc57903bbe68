"""Whether a worker forked from a process that has imported torch measures what a fresh process measures, and how soon.

    python bench/fork.py [RUNS]        default: 6

A run is five fresh processes and five processes forked from one parent, in alternating order; each run has a parent of
its own. All time the same six layers on one thread: five blocks of 25 ms each, the layers in turn. A row has the median
of the process floors, forked over fresh, and of the lowest. Then the 95th percentile of |ln(a/b)| over all pairs of
runs, by the floor of a run's five processes. The last lines have the seconds until torch can be used.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

from repeatability import p95_of_pairs
from table import show_table

#: Batch, channels in, channels out, kernel, stride, padding, input size.
LAYERS = (
    (2, 32, 32, 3, 1, 1, 28),
    (1, 64, 64, 3, 1, 1, 14),
    (4, 16, 32, 3, 2, 1, 32),
    (4, 256, 256, 3, 1, 1, 14),
    (1, 96, 64, 1, 1, 0, 14),
    (8, 64, 64, 3, 1, 1, 56),
)
BLOCKS, BLOCK_S = 5, 0.025
#: Processes of each kind in a run.
PROCESSES = 5
#: What convbench sets for its workers, so that malloc keeps freed memory.
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 25),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 33),
    "MALLOC_TOP_PAD_": str(1 << 26),
}


def floors() -> list[float]:
    """The lowest time of each layer in this process, seconds."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    made = []
    for batch, into, out, kernel, stride, padding, size in LAYERS:
        layer = torch.nn.Conv2d(into, out, kernel, stride, padding)
        made.append((layer, torch.randn(batch, into, size, size)))
    lowest = [math.inf] * len(made)
    with torch.no_grad():
        for _ in range(BLOCKS):
            for at, (layer, x) in enumerate(made):
                for _ in range(2):
                    layer(x)
                end = time.perf_counter() + BLOCK_S
                while (before := time.perf_counter()) < end:
                    layer(x)
                    lowest[at] = min(lowest[at], time.perf_counter() - before)
    return lowest


def answer(began: float) -> str:
    """The seconds until torch can be used, since `began`, and the floors, as JSON."""
    import torch

    torch.zeros(1)
    ready = time.time() - began
    return json.dumps([ready, floors()])


def fork_on_request() -> None:
    """Import torch, then fork a child for each line of standard input; the child prints its answer."""
    import torch  # noqa: F401 - only the import is wanted: the children use it

    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            print(answer(float(line)), flush=True)
            os._exit(0)
        os.waitpid(child, 0)


def measured(environment: dict[str, str]) -> dict[str, list[tuple[float, list[float]]]]:
    """One run: the answers of its fresh and of its forked processes."""
    command = [sys.executable, __file__]
    parent = subprocess.Popen(
        [*command, "fork"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert parent.stdin and parent.stdout
    assert parent.stdout.readline() == "ready\n"
    found: dict[str, list[tuple[float, list[float]]]] = {"fresh": [], "forked": []}
    for turn in range(PROCESSES):
        for kind in ("fresh", "forked") if turn % 2 else ("forked", "fresh"):
            if kind == "fresh":
                fresh = [*command, "fresh", str(time.time())]
                done = subprocess.run(fresh, capture_output=True, text=True, check=True, env=environment)
                found[kind].append(json.loads(done.stdout))
            else:
                parent.stdin.write(f"{time.time()}\n")
                parent.stdin.flush()
                found[kind].append(json.loads(parent.stdout.readline()))
    parent.stdin.close()
    parent.wait()
    return found


def p95_of_runs(floors: Sequence[Sequence[float]]) -> float:
    """The 95th percentile of |ln(a/b)| over all pairs of runs; `floors` are the process floors of each run."""
    return p95_of_pairs([min(run) for run in floors])


def main() -> None:
    runs = [measured({**os.environ, **MALLOC}) for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 6)]
    rows = []
    for at, layer in enumerate(LAYERS):
        fresh, forked = ([[one[at] for _, one in run[kind]] for run in runs] for kind in ("fresh", "forked"))
        every, others = ([floor for run in side for floor in run] for side in (fresh, forked))
        rows.append(
            (
                "-".join(map(str, layer)),
                f"{statistics.median(every) * 1e6:.1f}",
                f"{statistics.median(others) / statistics.median(every):.4f}",
                f"{min(others) / min(every):.4f}",
                f"{p95_of_runs(fresh):.4f}",
                f"{p95_of_runs(forked):.4f}",
            )
        )
    heads = ("layer", "fresh, us", "median, forked/fresh", "lowest", "p95, fresh", "p95, forked")
    show_table(heads, rows, markdown=False)
    for kind in ("fresh", "forked"):
        ready = statistics.median(seconds for run in runs for seconds, _ in run[kind])
        print(f"{kind}: torch can be used after {ready:.3f} s")


if __name__ == "__main__":
    if sys.argv[1:] == ["fork"]:
        fork_on_request()
    elif sys.argv[1:2] == ["fresh"]:
        print(answer(float(sys.argv[2])))
    else:
        main()
