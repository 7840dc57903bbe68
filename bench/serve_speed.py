"""How fast and how small `convbench serve` is, with 1,000 made-up runs of 500 cases each.

`python bench/serve_speed.py [RUNS] [CASES]` fills a database in a temporary folder and starts the service on it. It
prints a table: for each page its time and size, then memory and processor time while nothing happens. 20 readers at
once ask for lists too.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import synthetic
from commands import store as store_run
from sqlalchemy import create_engine, text

from convbench.model.result import Result
from convbench.store import schema

RUNS, CASES = 1000, 500
#: Runs that are made up, with other noise each; the sweeps that get slower, by their numbers.
VARIANTS, CHANGED = 6, (1, 3)
#: Readers of a list at once, and how often each asks.
READERS, TIMES = 20, 100
#: The tables that hold a run.
TABLES = [schema.runs.name, *(t.name for t in (schema.cases, schema.visits, schema.processes, schema.rejections))]
#: How long the idle service is watched, seconds.
IDLE_S = 20.0


def filled(path: Path, runs: int, cases: int) -> None:
    """A database with some made-up runs, and copies of their rows under other ids and times.

    In the second half two of the seven sweeps have copies of runs in which every fifth case takes 1.3 times as long.
    """
    for seed in range(VARIANTS):
        store_run(replace(synthetic.run(cases, troubles=False, seed=seed), id=f"20260101-000000-{seed:04}"), path)
    for seed in range(VARIANTS):
        made = synthetic.run(cases, troubles=False, seed=seed)
        slower = [slowed(result, seed) if place % 5 == 0 else result for place, result in enumerate(made.results)]
        store_run(replace(made, id=f"20260101-000001-{seed:04}", results=tuple(slower)), path)
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        columns = {
            table: [row[1] for row in connection.execute(text(f"PRAGMA table_info({table})"))] for table in TABLES
        }
        plain = [name for name in columns["runs"] if name not in ("key", "id", "name", "started_at", "finished_at")]
        for number in range(2 * VARIANTS + 1, runs + 1):
            changed = number % 7 in CHANGED and number > runs // 2
            of = 1 + number % VARIANTS + (VARIANTS if changed else 0)
            at = f"2026-{1 + number // 28 // 24 % 12:02}-{1 + number // 24 % 28:02}T{number % 24:02}:00:00+00:00"
            connection.execute(
                text(
                    f"INSERT INTO runs (key, id, name, started_at, finished_at, {', '.join(plain)}) "
                    f"SELECT :key, :id, :name, :at, :at, {', '.join(plain)} FROM runs WHERE key = :of"
                ),
                {"key": number, "of": of, "id": f"{at[:10].replace('-', '')}-{number:06}-{number:04}", "at": at}
                | {"name": f"sweep {number % 7}"},
            )
            for table in TABLES[1:]:
                others = ", ".join(name for name in columns[table] if name != "run_key")
                copied = f"SELECT :key, {others} FROM {table} WHERE run_key = :of"
                connection.execute(text(f"INSERT INTO {table} (run_key, {others}) {copied}"), {"key": number, "of": of})
    engine.dispose()


def slowed(result: Result, seed: int) -> Result:
    """The result with blocks that take 1.3 times as long."""
    floor = 1.3 * synthetic.floor_s(result.case)
    return synthetic.result(result.case, made=synthetic.blocks(floor, seed=seed), stop_reason=result.stop_reason)


def timed(address: str, path: str) -> tuple[float, int]:
    """Seconds until a page has arrived, and its bytes."""
    began = time.perf_counter()
    with urllib.request.urlopen(f"{address}{path}") as answer:
        size = len(answer.read())
    return time.perf_counter() - began, size


async def read(address: str, page: str) -> list[float]:
    """The seconds of each answer, sorted, when READERS ask for a page at once, each TIMES times on one connection."""
    host, port = address.removeprefix("http://").split(":")

    async def reader() -> list[float]:
        incoming, outgoing = await asyncio.open_connection(host, int(port))
        found = []
        for _ in range(TIMES):
            began = time.perf_counter()
            outgoing.write(f"GET {page} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            head = await incoming.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = re.search(rb"content-length: (\d+)", head)
            assert length is not None
            await incoming.readexactly(int(length[1]))
            found.append(time.perf_counter() - began)
        outgoing.close()
        return found

    return sorted(itertools.chain.from_iterable(await asyncio.gather(*(reader() for _ in range(READERS)))))


def row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |")


def main() -> None:
    runs, cases = (int(word) for word in (sys.argv[1:] + [RUNS, CASES][len(sys.argv) - 1 :])[:2])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.db"
        began = time.monotonic()
        filled(path, runs, cases)
        print(
            f"{runs} runs of {cases} cases: {path.stat().st_size / 2**20:.0f} MiB, {time.monotonic() - began:.0f} s\n"
        )
        with serving(path) as (address, process):
            measure(address, process)
        with serving(path) as (address, process):
            row("all changes, when the service has started again", f"{all_changes(address):.1f} s", "")


@contextmanager
def serving(path: Path) -> Iterator[tuple[str, psutil.Process]]:
    """A service on the database, in its folder: its address and process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "convbench", "serve", "--port", "0", "--db", str(path)],
        cwd=path.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        found = re.search(r"http://[^/]+", process.stdout.readline())
        assert found is not None
        yield found[0], psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def all_changes(address: str) -> float:
    """Seconds until all changes are there."""
    began = time.monotonic()
    while json.load(urllib.request.urlopen(f"{address}/api/v1/changes?since=2026-01-01"))["waiting"]:
        pass
    return time.monotonic() - began


def measure(address: str, process: psutil.Process) -> None:
    """Print a row for each figure."""
    row("what", "time", "size")
    row("---", "--:", "--:")
    first, size = timed(address, "/runs")
    row("the first list, which counts the cases of all runs once", f"{first:.2f} s", f"{size / 1000:.0f} kB")
    run_id = re.search(r"/runs/(\d{8}-\d{6}-\w+)", urllib.request.urlopen(f"{address}/runs").read().decode())
    assert run_id is not None
    for what, page in (
        ("list of runs", "/runs"),
        ("filtered list", "/runs?sweep=sweep+3&text=epyc"),
        ("one run", f"/runs/{run_id[1]}"),
        ("jobs", "/jobs"),
        ("machines", "/machines"),
        ("list by the API", "/api/v1/runs"),
    ):
        some = [timed(address, page) for _ in range(10)]
        row(what, f"{statistics.median(each[0] for each in some) * 1000:.0f} ms", f"{some[0][1] / 1000:.0f} kB")
    first, _ = timed(address, "/changes?since=2026-01-01")
    row("changes since a day, nothing computed", f"{first * 1000:.0f} ms", "")
    row("all changes computed, beside the service", f"{first + all_changes(address):.1f} s", "")
    layer = json.load(urllib.request.urlopen(f"{address}/api/v1/layers?limit=1"))["layers"][0]["case_id"]
    first, _ = timed(address, f"/layers/{layer}")
    row("a layer, not computed", f"{first * 1000:.0f} ms", "")
    row("its history, computed", f"{timed(address, f'/api/v1/layers/{layer}/history')[0] + first:.1f} s", "")
    for what, page in (
        ("changes since a day", "/changes?since=2026-01-01"),
        ("a layer", f"/layers/{layer}"),
        ("layers", "/layers"),
    ):
        some = [timed(address, page) for _ in range(10)]
        row(what, f"{statistics.median(each[0] for each in some) * 1000:.0f} ms", f"{some[0][1] / 1000:.0f} kB")
    row("report, made", f"{timed(address, f'/api/v1/runs/{run_id[1]}/report')[0]:.2f} s", "")
    seconds, size = timed(address, f"/api/v1/runs/{run_id[1]}/report")
    row("report, again", f"{seconds * 1000:.0f} ms", f"{size / 1000:.0f} kB")
    for what, page in (("list by the API", "/api/v1/runs"), ("list of runs", "/runs")):
        some = asyncio.run(read(address, page))
        row(f"{what}, {READERS} readers without pause: median", f"{statistics.median(some) * 1000:.0f} ms", "")
        row(f"{what}, {READERS} readers: 99 of 100 within", f"{some[int(0.99 * len(some))] * 1000:.0f} ms", "")
    time.sleep(75)  # processes that make pages end when nothing needs them for a minute
    before = process.cpu_times()
    time.sleep(IDLE_S)
    after = process.cpu_times()
    used = after.user + after.system - before.user - before.system
    below = [child.memory_info().rss for child in process.children(recursive=True)]
    row("idle: processor time of one core", f"{100 * used / IDLE_S:.2f} %", "")
    row(
        f"idle: memory, with {len(below)} processes beside",
        "",
        f"{(process.memory_info().rss + sum(below)) / 2**20:.0f} MiB",
    )


if __name__ == "__main__":
    main()
