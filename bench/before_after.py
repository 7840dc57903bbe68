"""How much processor time commands take, with this checkout and with another one, in turn.

    python bench/before_after.py CHECKOUT [--cases 10000] [--turns 9]

Both read the same database of two made-up runs, which CHECKOUT writes, so that each can read it. Every turn runs each
command once with either checkout; the first one alternates. The script prints the median of the processor seconds
(user and system) and the median of the ratios within a turn. Numbers of one turn were measured under one load.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from table import show_table

HERE = Path(__file__).parent.parent
#: Run by the older checkout, with its own bench/compare_speed.py: prints the ids of both runs.
STORE = """
import sys
from pathlib import Path
sys.path[:0] = ["tests", "bench"]
from compare_speed import fill
print(*fill(Path(sys.argv[2]), int(sys.argv[1])))
"""
SWEEP = """
axes:
  in_channels: {from: 8, to: 2000, step: 8}
  out_channels: [16, 32, 64, 128, 256]
  kernel_size: [1, 3, 5, 7]
  input_size: [28, 56]
  dtype: [float32, bfloat16]
"""


def seconds(checkout: Path, arguments: list[str], folder: Path) -> float:
    """User and system seconds of one command with its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "convbench", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(checkout), "CONVBENCH_DB": str(folder / "runs.db")},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1 if arguments[0] == "compare" else 0):  # 1: a case regressed
        raise SystemExit(f"{checkout}: {' '.join(arguments)}: exit code {done.returncode}: {done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--turns", type=int, default=9)
    given = parser.parse_args()
    older: Path = given.checkout.resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sweep.yaml").write_text(SWEEP)
        made = [sys.executable, "-c", STORE, str(given.cases), str(folder / "runs.db")]
        environment = {**os.environ, "PYTHONPATH": str(older)}
        done = subprocess.run(made, cwd=older, env=environment, capture_output=True, text=True, check=True)
        base, new = done.stdout.split()
        commands = {
            "start": ["--help"],
            "plan": ["plan", "sweep.yaml"],
            "export csv": ["export", new, "--format", "csv", "-o", "run.csv"],
            "export json": ["export", new, "--format", "json", "-o", "run.json"],
            "compare": ["compare", base, new, "--no-page"],
            "report": ["report", new],
        }
        rows = []
        for label, arguments in commands.items():
            taken: dict[Path, list[float]] = {older: [], HERE: []}
            for turn in range(given.turns + 1):
                for checkout in (older, HERE) if turn % 2 else (HERE, older):
                    taken[checkout].append(seconds(checkout, arguments, folder))
            before, now = (times[1:] for times in (taken[older], taken[HERE]))  # the first turn fills the file caches
            ratio = statistics.median(n / b for n, b in zip(now, before, strict=True))
            rows.append((label, f"{statistics.median(before):.3f}", f"{statistics.median(now):.3f}", f"{ratio:.3f}"))
            print(f"{label}: {ratio:.3f}", file=sys.stderr, flush=True)
    show_table(("command", "before, s", "now, s", "now / before"), rows, markdown=False)


if __name__ == "__main__":
    main()
