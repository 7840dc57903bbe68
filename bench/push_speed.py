"""How long `convbench push` takes for a made-up run.

`python bench/push_speed.py [CASES]` stores an unfinished run of 100,000 cases, and starts the service on an empty
database. It pushes the run twice; the second time nothing has changed. It prints a table.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import synthetic
from commands import store as store_run
from serve_speed import row

from convbench.actions.push import push
from convbench.model.result import RunState

CASES = 100_000


def main(cases: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        here = f"{folder}/here.db"
        store_run(replace(synthetic.run(cases, troubles=False), state=RunState.INTERRUPTED), Path(here))
        process = subprocess.Popen(
            [sys.executable, "-m", "convbench", "serve", "--port", "0", "--db", f"{folder}/there.db"],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert process.stdout is not None
            found = re.search(r"http://[^/]+", process.stdout.readline())
            assert found is not None
            row("what", "time", "parts", "memory of the service")
            row("---", "--:", "--:", "--:")
            for what in (f"{cases:,} cases, new", "the same, nothing changed"):
                began = time.perf_counter()
                done = push("latest", to=found[0], token=None, db=here)
                memory = psutil.Process(process.pid).memory_info().rss / 2**20
                row(what, f"{time.perf_counter() - began:.0f} s", f"{done.sent} of {done.parts}", f"{memory:.0f} MiB")
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else CASES)
