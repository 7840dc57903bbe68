"""How long planning a sweep of 100,000 cases takes, and how much memory: the target is 3 s and 300 MB for the command.

    python bench/plan_speed.py [--points 100000] [--runs 3]

Three sweeps: the settings of few layers, as many layers as points, and as many layers half of which torch would refuse.
Each is planned in fresh processes: `load and cases` is sweep.load and sweep.cases with imports, `command` the whole
of `convbench plan`. The lowest of the runs is printed, since other processes only add time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LOAD = """
import sys
from pathlib import Path
from convbench import sweep
plan = sweep.cases(sweep.load(Path(sys.argv[1])))
print(len(plan.cases), len(plan.rejections))
"""

#: Each comes to `n` points of 20 times a number of out_channels.
SWEEPS = {
    "few layers, many settings": """
axes:
  in_channels: [3, 64]
  out_channels: {{from: 1, to: {n}, step: 1}}
  kernel_size: 3
  input_size: 64
  dtype: [float32, bfloat16]
  direction: [forward, backward, grad_input, grad_weight, train_step]
""",
    "as many layers as points": """
axes:
  in_channels: [3, 64]
  out_channels: {{from: 1, to: {n}, step: 1}}
  kernel_size: [1, 3, 5, 7, [1, 7]]
  stride: [1, 2]
  padding: half
  input_size: 64
""",
    "the same, half of them rejected": """
axes:
  in_channels: [3, 64]
  out_channels: {{from: 1, to: {n}, step: 1}}
  kernel_size: [1, 3, 5, 7, [1, 7]]
  stride: [1, 2]
  padding: same
  input_size: 64
""",
}


def measure(command: list[str]) -> tuple[float, float, float, str]:
    """Seconds of wall time and of CPU, MB at the peak, and the last line printed, of one process."""
    begun = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = process.stdout.read().splitlines()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - begun
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    peak = usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    return wall, usage.ru_utime + usage.ru_stime, peak, lines[-1] if lines else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    print(f"{'sweep':34}{'what':17}{'wall s':>8}{'CPU s':>8}{'peak MB':>9}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sweep.yaml"
        for name, text in SWEEPS.items():
            path.write_text(text.format(n=options.points // 20), encoding="utf-8")
            commands = {
                "load and cases": [sys.executable, "-c", LOAD, str(path)],
                "command": [sys.executable, "-m", "convbench", "plan", str(path)],
            }
            for what, command in commands.items():
                wall, cpu, peak, _ = min(measure(command) for _ in range(options.runs))
                print(f"{name:34}{what:17}{wall:8.2f}{cpu:8.2f}{peak:9.0f}", flush=True)


if __name__ == "__main__":
    main()
