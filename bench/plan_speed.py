"""How long planning a sweep of 100,000 cases takes, and how much memory; the target is 3 s and 300 MB for the command.

    python bench/plan_speed.py [--points 100000] [--runs 3]
    python bench/plan_speed.py --heavy [--before CHECKOUT]

There are three sweeps: many settings of few layers, as many layers as points, and the same where torch would refuse
half. Each is planned in fresh processes. `load and cases` is sweep.load and sweep.cases with imports; `command` is the
whole of `convbench plan`. The script prints the lowest of the runs, since other processes only add time.

With --heavy the command plans long sweeps, or sweeps with many mistakes. `before` is CPU time with the convbench of
another checkout, run in turn with this one. Both are stopped after 60 s.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

LOAD = """
import sys
from pathlib import Path
from convbench import sweep
plan = sweep.cases(sweep.load(Path(sys.argv[1])))
print(len(plan.cases), len(plan.rejections))
"""

#: Each has 20 points for each of its `n` values of out_channels.
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

LAYER = "in_channels: 4, kernel_size: 3, input_size: 16"
POINTS = f"axes: {{{LAYER}, out_channels: {{from: 1, to: 1500, step: 1}}, direction: [forward, backward]}}\n"
LONG = "x" * 1_000_000

#: Long sweeps, as functions because all texts together are large.
HEAVY: dict[str, Callable[[], str]] = {
    "20,000 excludes, 3,000 points": lambda: POINTS + listed("exclude", "out_channels: {n}", 20_000),
    "the same, of two settings": lambda: POINTS + listed("exclude", "out_channels: {n}, threads: 1", 20_000),
    "200,000 excludes": lambda: POINTS + listed("exclude", "out_channels: {n}", 200_000),
    "100,000 cases, 20,000 excludes": lambda: (
        f"axes: {{{LAYER}}}\n"
        + listed("cases", "out_channels: {n}", 100_000)
        + listed("exclude", "out_channels: {n}", 20_000)
    ),
    "1,000,000 equal values": lambda: f"axes: {{{LAYER}, out_channels: [{', '.join(['1'] * 1_000_000)}]}}\n",
    "100,000 aliases of a long text": lambda: f"name: &n {LONG}\naxes: {{module: [{', '.join(['*n'] * 100_000)}]}}\n",
    "700,000 mistakes": lambda: (
        f"axes: {{{LAYER}, out_channels: 8, dtype: [{', '.join(f'float{n}' for n in range(700_000))}]}}\n"
    ),
    "500,000 unknown keys": lambda: f"axes: {{{', '.join(f'k{n}: 1' for n in range(500_000))}}}\n",
    "100,000 %TAG directives": lambda: "".join(f"%TAG !a{n}! tag:x,{n}:\n" for n in range(100_000)) + f"---\n{POINTS}",
    "a kernel of 1,999,999,999": lambda: (
        "axes: {in_channels: 1, out_channels: 1, kernel_size: 1999999999, input_size: 2147483647}\n"
    ),
}
#: Seconds of CPU time that a heavy sweep may take.
LIMIT_S = 60


def listed(key: str, entry: str, many: int) -> str:
    return f"{key}:\n" + "".join(f"- {{{entry.replace('{n}', str(n))}}}\n" for n in range(1, many + 1))


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


def limit_cpu() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT_S, LIMIT_S))


def heavy_cpu_s(checkout: Path, path: Path) -> tuple[float, float] | None:
    """Seconds of CPU and MB at the peak of `convbench plan` from a checkout; None where it takes longer than the limit.

    A sweep with mistakes ends in exit code 2.
    """
    environment = os.environ | {"PYTHONPATH": str(checkout.resolve())}
    command = [sys.executable, "-m", "convbench", "plan", str(path)]
    with subprocess.Popen(
        command,
        cwd=path.parent,  # `-m` looks in the working directory first
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=limit_cpu,
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    stopped = process.returncode in (-signal.SIGKILL, -signal.SIGXCPU)
    if not stopped and process.returncode not in (0, 2):
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    peak = usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    return None if stopped else (usage.ru_utime + usage.ru_stime, peak)


def heavy(before: Path | None, runs: int) -> None:
    """Print CPU time and memory of the heavy sweeps, and how many times as long `before` takes."""
    print(f"{'sweep':34}{'CPU s':>8}{'peak MB':>9}" + (f"{'before':>8}{'peak MB':>9}{'ratio':>9}" if before else ""))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sweep.yaml"
        for name, text in HEAVY.items():
            path.write_text(text(), encoding="utf-8")
            found: dict[Path, list[tuple[float, float] | None]] = {Path(__file__).parent.parent: []}
            found |= {before: []} if before else {}
            for _ in range(runs):
                for checkout, took in found.items():
                    took += [heavy_cpu_s(checkout, path)] if None not in took else []
            now, *old = [None if None in took else min(filter(None, took)) for took in found.values()]
            print(f"{name:34}{cpu_and_peak(now)}", end="" if before else "\n", flush=True)
            if before:
                times = (old[0] or (LIMIT_S, 0.0))[0] / (now or (LIMIT_S, 0.0))[0]
                print(f"{cpu_and_peak(old[0])}{'' if old[0] else '>':>3}{times:6.1f}", flush=True)


def cpu_and_peak(took: tuple[float, float] | None) -> str:
    return f"{took[0]:8.2f}{took[1]:9.0f}" if took else f"{f'> {LIMIT_S}':>8}{'':9}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--heavy", action="store_true")
    parser.add_argument("--before", type=Path)
    options = parser.parse_args()
    if options.heavy:
        heavy(options.before, options.runs)
        return
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
