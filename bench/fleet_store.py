"""What many hosts ask of one PostgreSQL database: rows and bytes a case, rows a second, and reading it all back.

    python bench/fleet_store.py [CASES] [WRITERS]        10,000 and 4 by default; 5 visits of 5 blocks a case

A server of its own is started (tests/postgres.py). Writers are processes that append visits in cohorts of 32 as fast as
they can, each into a run of its own. The end multiplies this by 200 hosts of 100,000 cases each.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import psutil
import store_speed
from postgres import Server, started

from convbench import units
from convbench.model.result import RunState

HOSTS, CASES_A_HOST = 200, 100_000
#: What `convbench run configs/sweep.yaml` takes for a case: 128 cases in 100 s (README.md).
SECONDS_A_CASE = 100 / 128


def main(cases: int, writers: int) -> None:
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    with started() as server:
        url = server.new_database()
        name = url.rpartition("/")[2]
        with multiprocessing.Pool(1) as pool:
            pool.apply(write, (url, 32))  # makes the tables
        empty = size(server, name)
        start, before = time.perf_counter(), processor_s(server)
        with multiprocessing.Pool(writers) as pool:
            alone = pool.starmap(write, [(url, cases)] * writers)
        taken = time.perf_counter() - start
        rows = writers * cases * store_speed.PROCESSES
        stored = size(server, name) - empty
        of_server = (processor_s(server) - before) / rows
        server.execute(name, "VACUUM FULL")
        folded = size(server, name) - empty
        print(f"{writers} writers of {units.count(cases)} cases: {rows / max(alone):,.0f} rows/s, {taken:.0f} s in all")
        print(f"of that the server takes {units.seconds(of_server)} of processor time a row")
        print(f"a case has {stored / writers / cases:,.0f} bytes while runs are written and folded, then"
              f" {folded / writers / cases:,.0f}")  # fmt: skip
        start = time.perf_counter()
        with multiprocessing.Pool(1) as pool:
            seconds, peak = pool.apply(read, (url,))
        print(f"one run of {units.count(cases)} cases is read in {seconds:.1f} s, in {units.size(peak)} of memory")
    through_ray = received(cases)
    print(f"the caller of a fleet stores {through_ray:,.0f} rows/s in SQLite")
    needed = HOSTS * store_speed.PROCESSES / SECONDS_A_CASE
    every = HOSTS * CASES_A_HOST
    print(
        f"\n{HOSTS} hosts of {units.count(CASES_A_HOST)} cases, {units.duration(CASES_A_HOST * SECONDS_A_CASE)} each:"
    )
    print(f"  rows a second {needed:,.0f}, which take {needed * of_server:.1f} cores of the server")
    hosts = through_ray * SECONDS_A_CASE / store_speed.PROCESSES
    print(f"  hosts that one caller serves without --db {hosts:,.0f}")
    print(f"  bytes a second {units.size(needed * stored / rows)}")
    print(f"  bytes in the end {units.size(every * folded / writers / cases)}")
    read_s, memory = units.duration(every / cases * seconds), units.size(every / cases * peak)
    print(f"  read into one process {read_s}, {memory} of memory")


def received(cases: int) -> float:
    """Rows a second that the caller of a fleet stores in SQLite, from the lines of a shard."""
    from convbench.fleet import messages
    from convbench.fleet.home import Home
    from convbench.store import Store

    with tempfile.TemporaryDirectory() as folder:
        store_speed.step("append", f"{folder}/host.db", cases)
        lines: list[str] = []
        with Store.open(f"{folder}/host.db") as store:
            run, every, digest = store.head(store.runs()[0].id)
            head = replace(run, state=RunState.RUNNING, finished_at=None)
            lines.append(messages.line(messages.RUN, run=head, digest=digest, cases=[case.id for case in every]))
            visits = [visit for some in store.visits(run.id).values() for visit in some]
        for start in range(0, len(visits), 32):
            lines.append(messages.line(messages.VISITS, run_id=run.id, visits=visits[start : start + 32]))
        with Store.create(f"{folder}/home.db") as store:
            home = Home(store=store, campaign_id="c", cases={case.id: case for case in every})
            start_s = time.perf_counter()
            for line in lines:
                home.receive(messages.read_line(line))
            return len(visits) / (time.perf_counter() - start_s)


def write(url: str, cases: int) -> float:
    """Write a run; the seconds of its appends."""
    return store_speed.step("append", url, cases)


def read(url: str) -> tuple[float, float]:
    """Load the newest run; its seconds, and the growth of this process in bytes."""
    from convbench.store import Store

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    with Store.open(url) as store:
        run = store.load("latest")
    assert run.results
    return time.perf_counter() - start, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024.0


def processor_s(server: Server) -> float:
    """Seconds of processor time that the server's processes have taken, those that have ended included."""
    assert server._process is not None
    time.sleep(1.0)  # so that processes of closed connections have ended
    first, running = psutil.Process(server._process.pid), []
    for child in first.children():
        with suppress(psutil.NoSuchProcess):
            running.append(child.cpu_times())
    ended = first.cpu_times()
    mine = ended.user + ended.system + ended.children_user + ended.children_system
    return float(mine + sum(times.user + times.system for times in running))


def size(server: Server, name: str) -> int:
    (row,) = server.execute("postgres", f"SELECT pg_database_size('{name}')")
    return int(str(row[0]))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]) if len(sys.argv) > 2 else (10_000, 4))
