"""A run of many distinct layers: its memory, being killed in the middle, its page.

    python bench/many_layers.py [LAYERS] [KILL_S]        9,000 layers, killed after 240 s by default

The sweep has two processes of one round with blocks of 1 ms, so that what a layer costs beside its blocks prevails. The
run is killed with SIGKILL after KILL_S seconds, and the same command resumes it. The memory of the conductor and of its
workers is read every five seconds. The first quarter of the readings beside the last one shows whether it grows.
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import psutil

from convbench import units
from convbench.store import Store

EVERY_S = 5.0
HEAD = """\
name: many
measure: {processes: 2, rounds: 1, max_time: 0.002}
axes: {threads: 1, padding: half}
cases:
"""
#: FLOP of a layer at most, without stride: 4 ms at 100 GFLOP/s.
MOST_FLOP = 4e8


def sweep(layers: int) -> str:
    """A sweep of so many distinct layers, each with a module path, some of which occur several times."""
    chance, seen, rows = random.Random(0), set(), []
    while len(rows) < layers:
        layer = {
            "in_channels": chance.randrange(1, 257),
            "out_channels": chance.randrange(1, 257),
            "kernel_size": chance.choice((1, 3, 5, 7)),
            "stride": chance.choice((1, 1, 2)),
            "input_size": chance.choice((7, 10, 14, 20, 28, 40)),
        }
        taps = layer["kernel_size"] ** 2 * layer["input_size"] ** 2
        if 2 * taps * layer["in_channels"] * layer["out_channels"] > MOST_FLOP or tuple(layer.values()) in seen:
            continue
        seen.add(tuple(layer.values()))
        named = {
            "label": f"stage{len(rows) % 7}.block{len(rows)}.conv",
            "count": chance.choice((1, 1, 1, 2, 3)),
            **layer,
        }
        rows.append("  - {" + ", ".join(f"{key}: {value}" for key, value in named.items()) + "}")
    return HEAD + "\n".join(rows) + "\n"


def measured(folder: Path, kill_s: float | None) -> tuple[int, float, dict[int, list[int]]]:
    """The exit code of a run, its seconds, and the memory of its processes in bytes, by process id, read by read."""
    begun, memory = time.monotonic(), defaultdict(list)
    command = [sys.executable, "-m", "convbench", "run", "many.yaml", "--db", "many.db", "--quiet"]
    run = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    while run.poll() is None:
        for process in (psutil.Process(run.pid), *psutil.Process(run.pid).children(recursive=True)):
            try:
                memory[process.pid].append(process.memory_info().rss)
            except psutil.NoSuchProcess:
                continue
        if kill_s is not None and time.monotonic() - begun > kill_s:
            run.send_signal(signal.SIGKILL)
            run.wait()
            break
        time.sleep(EVERY_S)
    return run.returncode, time.monotonic() - begun, memory


def grown(readings: list[int]) -> str:
    """The median of the first and of the last quarter, and the most."""
    quarter = max(1, len(readings) // 4)
    first, last = (statistics.median(some) for some in (readings[:quarter], readings[-quarter:]))
    return f"{first / 2**20:.0f} MiB at first, {last / 2**20:.0f} MiB at last, {max(readings) / 2**20:.0f} MiB at most"


def main() -> None:
    """Measure, kill, resume, and print."""
    layers = int(sys.argv[1]) if len(sys.argv) > 1 else 9000
    kill_s = float(sys.argv[2]) if len(sys.argv) > 2 else 240.0
    print(f"load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory(prefix="convbench-many-") as made:
        folder = Path(made)
        (folder / "many.yaml").write_text(sweep(layers), encoding="utf-8")
        for limit in (kill_s, None):
            code, seconds, memory = measured(folder, limit)
            print(f"exit code {code} after {units.duration(seconds)}")
            for pid, readings in memory.items():
                if len(readings) * EVERY_S > 60:
                    print(f"  process {pid}: {grown(readings)}")
        with Store.open(str(folder / "many.db")) as store:
            for run in store.runs():
                print(f"run {run.id}: {run.state}, {run.measured} of {run.cases} cases timed")
        [page] = folder.glob("reports/many-*.html")
        print(f"page {page.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
