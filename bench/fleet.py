"""What a fleet costs: floors of a sweep measured by a fleet and by hand on this host, and the seconds beside the run.

    python bench/fleet.py [CONFIG] [TIMES]        configs/quick.yaml and 3 by default; needs the extra `fleet`

By hand and by fleet take turns. For each case it takes the ratio of two floors, and of these the median and the largest
over cases. It compares by hand with by hand, and by fleet with by hand. Seconds are from the start of the command to
its end. Those before the shard start Ray and ask the host what it is.
"""

from __future__ import annotations

import itertools
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from convbench.store import Store


def main(config: str, times: int) -> None:
    print(f"load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        runs: dict[str, list[dict[str, float]]] = {"by hand": [], "by fleet": []}
        seconds: dict[str, list[float]] = {"by hand": [], "by fleet": []}
        parts: list[float] = []
        for index in range(times):
            for kind in runs:
                db = f"{folder}/{index}-{kind[3:]}.db"
                words = ["run", "--fresh"] if kind == "by hand" else ["fleet", "run", "--address", "local"]
                start = time.perf_counter()
                said = measured([*words, str(Path(config).resolve()), "--db", db], folder)
                seconds[kind].append(time.perf_counter() - start)
                runs[kind].append(floors(db))
                if kind == "by fleet":
                    parts.append(said)
            print(
                f"{index + 1} of {times}: by hand {seconds['by hand'][-1]:.1f} s, fleet {seconds['by fleet'][-1]:.1f} s"
            )
    print("ratio of floors of two runs     median case  largest case")
    pairs = {
        "by hand / by hand": list(itertools.combinations(runs["by hand"], 2)),
        "by fleet / by fleet": list(itertools.combinations(runs["by fleet"], 2)),
        "by fleet / by hand": list(itertools.product(runs["by fleet"], runs["by hand"])),
    }
    for name, some in pairs.items():
        medians, largest = zip(*(apart(a, b) for a, b in some), strict=True)
        print(f"{name:30}  {statistics.median(medians):+10.1%}  {statistics.median(largest):+11.1%}")
    started = statistics.median(parts)
    beside = statistics.median(seconds["by fleet"]) - statistics.median(seconds["by hand"])
    print(f"seconds beside the run {beside:.1f}: {started:.1f} before the shard, {beside - started:.1f} for the shard")


def measured(words: list[str], folder: str) -> float:
    """Run a command; the seconds until its shard was started, 0 by hand."""
    start, started = time.perf_counter(), 0.0
    with subprocess.Popen(
        [sys.executable, "-m", "convbench", *words],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr
        said = []
        for line in process.stderr:
            said.append(line)
            if re.match(r"shard 1, \S+: starting", line):
                started = time.perf_counter() - start
    if process.returncode:
        sys.exit("".join(said))
    return started


def floors(db: str) -> dict[str, float]:
    """The floor of each case of the newest run, seconds."""
    from convbench.measure.estimate import estimate, table

    with Store.open(db) as store:
        run = store.load(store.runs()[0].id)
    return {
        result.case.id: float(floor)
        for result, floor in zip(run.results, estimate(table(run.results)).floor_s, strict=True)
    }


def apart(a: dict[str, float], b: dict[str, float]) -> tuple[float, float]:
    """How far a is from b: the median case, and the one that is furthest; ratios minus 1."""
    ratios = [a[case] / b[case] - 1 for case in a]
    return statistics.median(ratios), max(ratios, key=abs)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "configs/quick.yaml", int(sys.argv[2]) if len(sys.argv) > 2 else 3)
