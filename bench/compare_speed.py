"""How long `convbench compare` takes: the whole process, for two made-up runs of one database.

python bench/compare_speed.py [CASES]       100,000 by default; 5 visits of 5 blocks each, a tenth is slower
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import synthetic
from export_speed import store

from convbench import units
from convbench.errors import ExitCode
from convbench.model.result import Run

REPEATS = 5
SLOWER_EVERY = 10


def runs(cases: int) -> tuple[Run, Run]:
    """The same code measured twice, every tenth case 1.5 times as slow the second time."""
    base = synthetic.run(cases, troubles=False, hostile=False, seed=1)
    new = synthetic.run(cases, troubles=False, hostile=False, seed=2)
    results = [
        synthetic.result(result.case, made=synthetic.blocks(synthetic.floor_s(result.case) * 1.5, seed=i))
        if i % SLOWER_EVERY == 0
        else result
        for i, result in enumerate(new.results)
    ]
    return base, replace(new, id="20261125t033000-cd34", results=tuple(results))


def fill(database: Path, cases: int) -> list[str]:
    """Store both runs; returns their ids."""
    names = []
    for run in runs(cases):
        store(run, database)
        names.append(run.id)
    return names


def main() -> None:
    cases = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder, "runs.db")
        with ProcessPoolExecutor(1) as elsewhere:  # gigabytes of this process would cost the other one a tenth
            names = elsewhere.submit(fill, database, cases).result()
        command = [sys.executable, "-m", "convbench", "compare", *names, "--db", str(database)]
        took = []
        for _ in range(REPEATS):
            before = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            took.append(time.perf_counter() - before)
            assert done.returncode == ExitCode.FAILED_OR_REGRESSED, done.stderr
    print(done.stdout.splitlines()[-1])
    print(f"two runs of {units.plural(cases, 'case')} compared, whole process: ", end="")
    print(f"{units.seconds(min(took))} at best, {units.seconds(sorted(took)[REPEATS // 2])} in the median of {REPEATS}")


if __name__ == "__main__":
    main()
