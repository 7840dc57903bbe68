"""Whether readers of the service disturb what is measured beside it: floors with 20 readers and without.

`python bench/serve_readers.py [PAIRS]` starts `convbench serve` on a database of 100 made-up runs of 500 cases. Then
it measures one sweep again and again, in turns without readers and with 20 of them. Each reader asks for one of five
pages a second, as a person does who clicks on. The readers are a process of the lowest priority, since those of a team
sit at other machines. The table has two floors of two runs compared: the median layer, and the one that is furthest.
"""

from __future__ import annotations

import itertools
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from fleet import apart, floors, measured
from serve_speed import filled

PAIRS, READERS, PAUSE_S = 4, 20, 1.0
PAGES = ("/runs", "/jobs", "/machines", "/api/v1/runs", "/api/v1/jobs")
SWEEP = """\
name: readers
axes: {in_channels: [16, 64], out_channels: 64, kernel_size: 3, input_size: [28, 56], threads: 1}
measure: {processes: 3, rounds: 4, max_time: 1}
"""


def read(address: str, number: int, over: threading.Event) -> None:
    """Ask for one page after the other until it is over."""
    for page in itertools.islice(itertools.cycle(PAGES), number % len(PAGES), None):
        if over.wait(PAUSE_S):
            return
        with urllib.request.urlopen(f"{address}{page}") as answer:
            answer.read()


def readers(address: str) -> None:
    """Read until standard input ends."""
    os.nice(19)
    over = threading.Event()
    threads = [threading.Thread(target=read, args=(address, number, over)) for number in range(READERS)]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    over.set()
    for thread in threads:
        thread.join()


def main(pairs: int) -> None:
    runs: dict[str, list[dict[str, float]]] = {"without readers": [], "with readers": []}
    with tempfile.TemporaryDirectory() as folder:
        path, sweep = Path(folder) / "runs.db", Path(folder) / "sweep.yaml"
        filled(path, 100, 500)
        sweep.write_text(SWEEP, encoding="utf-8")
        service = subprocess.Popen(
            [sys.executable, "-m", "convbench", "serve", "--port", "0", "--db", str(path)],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert service.stdout is not None
            found = re.search(r"http://[^/]+", service.stdout.readline())
            assert found is not None
            for index in range(pairs):
                for kind, some in runs.items():
                    db = f"{folder}/{index}-{kind[:4].strip()}.db"
                    words = ["run", "--fresh", "--no-page", str(sweep), "--db", db]
                    if kind == "with readers":
                        own = [sys.executable, __file__, "--readers", found[0]]
                        with subprocess.Popen(own, stdin=subprocess.PIPE) as reading:
                            measured(words, folder)
                            assert reading.poll() is None, "the readers have ended"
                            assert reading.stdin is not None
                            reading.stdin.close()
                    else:
                        measured(words, folder)
                    some.append(floors(db))
        finally:
            service.terminate()
            service.wait()
    without, beside = runs.values()
    print("| ratio of the floors of two runs | median layer | furthest layer |")
    print("|---|--:|--:|")
    for name, both in (
        ("without / without readers", list(itertools.combinations(without, 2))),
        ("with / with readers", list(itertools.combinations(beside, 2))),
        ("with / without readers", list(itertools.product(beside, without))),
    ):
        medians, furthest = zip(*(apart(a, b) for a, b in both), strict=True)
        print(f"| {name} | {statistics.median(medians):+.1%} | {statistics.median(furthest):+.1%} |")
    lowest = [{case: min(run[case] for run in side) for case in side[0]} for side in (beside, without)]
    median, furthest_one = apart(*lowest)
    print(f"| lowest floors: with / without readers | {median:+.1%} | {furthest_one:+.1%} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--readers"]:
        readers(sys.argv[2])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS)
