"""How long `convbench --help` takes, and what it imports: 0.3 s, without torch or pandas.

python bench/startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

TURNS = 10


def main() -> None:
    help_s = timed([sys.executable, "-m", "convbench", "--help"])
    python_s = timed([sys.executable, "-c", "pass"])
    print(f"convbench --help: median {statistics.median(help_s):.3f} s, worst {max(help_s):.3f} s of {TURNS}")
    print(f"python -c pass:   median {statistics.median(python_s):.3f} s")
    code = (
        "import sys, convbench.cli; print([m for m in ('torch', 'pandas', 'numpy', 'sqlalchemy') if m in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    print(f"heavy modules loaded by convbench.cli: {loaded}")


def timed(command: list[str]) -> list[float]:
    """Seconds of each run of a command, after one that does not count."""
    times = []
    for _ in range(TURNS + 1):
        before = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        times.append(time.perf_counter() - before)
    return times[1:]


if __name__ == "__main__":
    main()
