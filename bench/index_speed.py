"""How long the page of all runs takes: anew, and with what an earlier one kept.

python bench/index_speed.py [RUNS [CASES]]      40 runs of 500 made-up cases by default
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import synthetic
from export_speed import store

from convbench import units
from convbench.actions import pages

REPEATS = 5


def main() -> None:
    given = [int(text) for text in sys.argv[1:]]
    runs, cases = [*given, *(40, 500)[len(given) :]]
    with tempfile.TemporaryDirectory() as folder:
        database = str(Path(folder, "runs.db"))
        base = synthetic.run(cases, troubles=False, hostile=False)
        for number in range(runs):
            started = f"2026-11-{1 + number // 24:02}T{number % 24:02}:30:00Z"
            results = tuple(
                synthetic.result(result.case, made=synthetic.blocks(synthetic.floor_s(result.case), seed=number))
                for result in base.results
            )
            named = f"202611{1 + number // 24:02}-{number % 24:02}3000-ab12"
            store(replace(base, id=named, started_at=started, results=results), Path(database))
        for what, fresh in (("anew", True), ("with what is kept", False)):
            took = []
            for _ in range(REPEATS):
                if fresh:
                    Path(folder, pages.KEPT).unlink(missing_ok=True)
                before = time.perf_counter()
                pages.write_index(Path(folder), db=database)
                took.append(time.perf_counter() - before)
            print(
                f"{what}: {units.seconds(min(took))} at best, {units.seconds(sorted(took)[REPEATS // 2])} in the median"
            )


if __name__ == "__main__":
    main()
