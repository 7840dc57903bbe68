"""How long services wait for jobs: claimants that take jobs from one database until there are none.

`python bench/jobs_speed.py [JOBS] [CLAIMANTS]` claims 800 jobs by 4 claimants, each of another host. It prints how long
a claim and the note of its end took. It does so on SQLite, and on a PostgreSQL server of its own where there is one.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import postgres

from convbench import units
from convbench.actions.jobs import Checked, now, submit
from convbench.model.job import JobState
from convbench.store import Store, Writer
from convbench.store.jobs import Jobs

JOBS, CLAIMANTS = 800, 4
FOUND = Checked(name="quick", cases=12, rejections=0, devices=("cpu",), labels=())


def claimed(url: str, jobs: int, claimants: int) -> None:
    """Submit jobs, have them claimed, and print a row."""
    with Store.create(url) as store:
        measured(store, "PostgreSQL" if "://" in url else "SQLite", jobs, claimants)


def measured(store: Store, kind: str, jobs: int, claimants: int) -> None:
    """The same on an open database, which the claimants share as the threads of a service do."""
    for _ in range(jobs):
        submit(store, "name: quick\n", FOUND, by="bench")

    def work(number: int) -> tuple[list[str], list[float]]:
        owner = replace(Writer.of_this_process(), host=f"host {number}")
        names, seconds = [], []
        while True:
            began = time.perf_counter()
            job = Jobs(store).claim(owner, now())
            seconds.append(time.perf_counter() - began)
            if job is None:
                return names, seconds
            began = time.perf_counter()
            Jobs(store).end(job.id, owner, JobState.MEASURED, now())
            seconds.append(time.perf_counter() - began)
            names.append(job.id)

    with ThreadPoolExecutor(claimants) as threads:
        done = list(threads.map(work, range(claimants)))
    each = Counter(name for names, _ in done for name in names)
    assert len(each) == jobs and set(each.values()) == {1}, "each job once"
    waits = sorted(wait for _, seconds in done for wait in seconds)
    figures = (waits[len(waits) // 2], waits[int(0.99 * len(waits))], waits[-1])
    print(f"| {kind} | {' | '.join(map(units.seconds, figures))} |")


def main() -> None:
    given = [int(text) for text in sys.argv[1:]]
    jobs, claimants = [*given, *(JOBS, CLAIMANTS)[len(given) :]]
    print(f"{jobs} jobs, {claimants} claimants, each job once\n")
    print("| database | median | 99 of 100 within | longest |\n|---|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        claimed(f"{folder}/runs.db", jobs, claimants)
    try:
        with postgres.started() as server:
            claimed(server.new_database(), jobs, claimants)
    except postgres.NoServerError as error:
        print(f"\nno PostgreSQL: {error}")


if __name__ == "__main__":
    main()
