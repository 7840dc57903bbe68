"""Whether anything is lost, or there twice, when the service is killed again and again in the middle of its work.

`python bench/serve_kills.py [KILLS] [SEED]` starts `convbench serve` on an empty database, and kills it (SIGKILL) at 20
random moments. Meanwhile a client submits jobs, another one pushes runs, and schedules become due. Then a last service
does what is left. The script prints a row for each check, and ends with 1 where one fails.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import service
import synthetic

from convbench.actions import push, schedules
from convbench.actions.jobs import checked
from convbench.errors import RequestError
from convbench.model.job import EventKind, Job, JobState
from convbench.model.result import RunState
from convbench.store import Store
from convbench.store.jobs import Jobs
from convbench.store.schedules import Schedules

KILLS, SEED = 20, 1
#: The shortest and the longest life of a service, seconds. It begins with the process for one service of three, which
#: may never listen, and for the others when they listen.
SOONEST_S, LATEST_S = 0.2, 16.0
#: Seconds between two submissions.
PAUSE_S = 0.1
#: Jobs that a client submits and runs that another one pushes, for each kill; schedules that become due.
JOBS, RUNS, SCHEDULES = 0.8, 0.3, 1.5
#: Cases of a pushed run, some of which are one part.
CASES = 1200
#: Seconds without any progress after which the last service is given up.
PATIENCE_S = 120.0
#: The name of the host of jobs that nobody measures.
ELSEWHERE = "elsewhere"


@dataclass(slots=True, kw_only=True)
class _Work:
    """What is to be there at the end: keys of jobs with their ids, runs that are pushed, due times of schedules."""

    address: str
    db: str
    jobs: dict[str, set[str]] = field(default_factory=dict)
    pushed: list[str] = field(default_factory=list)
    due: dict[str, str] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What is wrong, by check: nothing where a check passed. `interrupted` is how often a job was running at a kill."""

    wrong: Mapping[str, Sequence[str]]
    interrupted: int


def killed(folder: Path, kills: int, seed: int) -> Found:
    """What is there after a service was killed this often."""
    chance = random.Random(seed)
    port = _free_port()
    work = _Work(address=f"http://127.0.0.1:{port}", db=str(folder / "runs.db"))
    _schedule(work, kills, chance)
    clients = [
        threading.Thread(target=_submit, args=(work, max(1, int(JOBS * kills)))),
        threading.Thread(target=_push, args=(work, folder / "other.db", max(1, int(RUNS * kills)))),
    ]
    for client in clients:
        client.start()
    try:
        for index in range(kills):
            child = _started(folder, port)
            if index % 3:
                _wait_for(child, port)
            time.sleep(chance.uniform(SOONEST_S, LATEST_S))
            child.kill()
            child.wait()
        last = _started(folder, port)
        try:
            _wait_for(last, port)  # before it listens, SIGTERM ends it as any program
            _finish(work, clients)
        finally:
            last.send_signal(signal.SIGTERM)
            stopped = last.wait(60)
    finally:
        work.over.set()
        for client in clients:
            client.join()
    wrong = {"the last service stops": [] if stopped == 0 else [f"code {stopped}"], **_wrong(work, folder)}
    return Found(wrong=wrong, interrupted=_interrupted(work.db))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _started(folder: Path, port: int) -> subprocess.Popen[bytes]:
    own = {"CONVBENCH_LOCKS": str(folder / "locks"), "TMPDIR": str(folder / "tmp")}
    (folder / "tmp").mkdir(exist_ok=True)
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "convbench", "serve", "--port", str(port), "--db", str(folder / "runs.db")],
            cwd=folder,
            env=os.environ | own,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def _wait_for(child: subprocess.Popen[bytes], port: int) -> None:
    """Wait until the service listens."""
    while child.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)


# ---- what is under way


def _schedule(work: _Work, kills: int, chance: random.Random) -> None:
    """Schedules that are due once while services are killed; one is measured here."""
    found, now = checked(service.TINY), datetime.now(UTC)
    with Store.create(work.db) as store:
        for number in range(max(2, int(SCHEDULES * kills))):
            wanted = schedules.Wanted(
                name=f"schedule {number}",
                cron="0 0 1 1 *",
                zone="UTC",
                sweep=service.TINY,
                host=socket.gethostname() if number == 0 else ELSEWHERE,
                baseline=f"baseline-{number}",
            )
            made = schedules.make(store, wanted, found, by="ann", at=now)
            due = now + timedelta(seconds=chance.uniform(0, kills * (SOONEST_S + LATEST_S) / 2))
            work.due[made.id] = schedules.text_of(due)
            Schedules(store).set_next(made.id, work.due[made.id], paused=False, last_at=None)


def _submit(work: _Work, jobs: int) -> None:
    """Submit jobs, each until the service says its id twice: the second answer may be to a submission that was lost."""
    for number in range(jobs):
        key, sweep = f"job {number}", service.TINY.replace("name: tiny", f"name: tiny {number}")
        work.jobs[key] = set()
        answers = 0
        while answers < 2 and not work.over.is_set():
            with suppress(OSError, ValueError):
                work.jobs[key].add(_sent(work.address, sweep, key))
                answers += 1
            time.sleep(PAUSE_S)


def _sent(address: str, sweep: str, key: str) -> str:
    request = urllib.request.Request(
        f"{address}/api/v1/jobs",
        json.dumps({"sweep": sweep}).encode(),
        {"Content-Type": "application/json", "Idempotency-Key": key},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.loads(answer.read())["id"])


def _push(work: _Work, other: Path, runs: int) -> None:
    """Push runs of another database, each until the service says that all of it is there."""
    for number in range(runs):
        at = f"2026-11-{1 + number:02}T00:00:00+00:00"
        run = replace(
            synthetic.run(CASES, seed=number, troubles=False), id=f"202611{1 + number:02}-000000-push", started_at=at
        )
        service.filled(other, run)
        work.pushed.append(run.id)
        while not work.over.is_set():
            with suppress(RequestError):
                if push.push(run.id, to=work.address, token=None, db=str(other)).was_there:
                    break


def _finish(work: _Work, clients: Sequence[threading.Thread]) -> None:
    """Wait until the last service has done everything, or makes no progress any more."""
    before, end = None, 0.0
    with Store.open(work.db) as store:
        while before is None or time.monotonic() < end:
            jobs, _ = Jobs(store).list(most=1000)
            now = ([(job.id, job.state) for job in jobs], len(work.jobs), len(work.pushed))
            if now != before:
                before, end = now, time.monotonic() + PATIENCE_S
            has_all = {job.due_at for job in jobs} >= set(work.due.values())
            is_done = all(job.is_over for job in jobs if job.host != ELSEWHERE)
            if has_all and is_done and not any(client.is_alive() for client in clients):
                return
            time.sleep(0.5)


# ---- what is there


def _wrong(work: _Work, folder: Path) -> Mapping[str, Sequence[str]]:
    with Store.open(work.db) as store:
        jobs, _ = Jobs(store).list(most=1000)
        mine = [job for job in jobs if job.host != ELSEWHERE]
        run_ids = [job.run_id for job in mine if job.run_id]
        return {
            "each submission is one job": [f"{key}: {sorted(ids)}" for key, ids in work.jobs.items() if len(ids) != 1],
            "no other job is there": [
                job.id for job in jobs if not job.schedule_id and job.id not in set().union(*work.jobs.values())
            ],
            "each job is reported, once": [
                f"{job.id}: {states}" for job in mine if (states := _ends(store, job.id)) != ["measured", "reported"]
            ],
            "each job has a run of its own": [one for one, number in Counter(run_ids).items() if number > 1],
            "each run of a job has all its cases": [one for one in run_ids if not _is_whole(store, one)],
            "no run is there beside": sorted(_ids(work.db) - set(run_ids) - set(work.pushed)),
            "each pushed run is as it was": [one for one in work.pushed if not _is_same(store, folder, one)],
            "each due time is queued, once": [
                f"{one}: {number}" for one, due in work.due.items() if (number := _queued(jobs, one, due)) != 1
            ],
            "the database is sound": _unsound(work.db),
            "no process is left": _left(work.db),
        }


def _ends(store: Store, job_id: str) -> list[str]:
    """The states that a job was in since it was running last, as its events have them."""
    events = Jobs(store).events(job_id, most=100_000)
    states = [json.loads(one.data)["state"] for one in events if one.kind is EventKind.STATE]
    return [state for state in states if state not in (JobState.QUEUED, JobState.RUNNING)]


def _interrupted(db: str) -> int:
    """How often a job that was running was queued again."""
    with Store.open(db) as store:
        jobs, _ = Jobs(store).list(most=1000)
        events = [one for job in jobs for one in Jobs(store).events(job.id, most=100_000)]
    states = [json.loads(one.data)["state"] for one in events if one.kind is EventKind.STATE]
    return states.count(JobState.QUEUED) - len(jobs)


def _is_whole(store: Store, run_id: str) -> bool:
    run = store.load(run_id)
    return run.state is RunState.FINISHED and not run.unmeasured and all(one.blocks for one in run.results)


def _is_same(store: Store, folder: Path, run_id: str) -> bool:
    with Store.open(str(folder / "other.db")) as other:
        return store.load(run_id) == other.load(run_id) and store.samples(run_id) == other.samples(run_id)


def _queued(jobs: Sequence[Job], schedule_id: str, due: str) -> int:
    return sum((job.schedule_id, job.due_at) == (schedule_id, due) for job in jobs)


def _ids(db: str) -> set[str]:
    with sqlite3.connect(db) as connection:
        return {run_id for (run_id,) in connection.execute("SELECT id FROM runs")}


def _unsound(db: str) -> list[str]:
    with sqlite3.connect(db) as connection:
        said = [row[0] for row in connection.execute("PRAGMA integrity_check")]
        keys = [str(row) for row in connection.execute("PRAGMA foreign_key_check")]
    return [one for one in said if one != "ok"] + keys


def _left(db: str) -> list[str]:
    """The processes that write the database still."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if db in process.environ().get("CONVBENCH_DB", "") or db in process.cmdline():
                found.append(f"{process.pid}: {' '.join(process.cmdline())[:80]}")
    return found


def main(number: int, seed: int) -> int:
    with tempfile.TemporaryDirectory() as name:
        found = killed(Path(name), number, seed)
    print("| check | found |\n|---|---|")
    for check, wrong in found.wrong.items():
        print(f"| {check} | {'; '.join(wrong[:3]) or 'yes'} |")
    print(f"\nA job was running at {found.interrupted} of {number} kills, seed {seed}.")
    return 1 if any(found.wrong.values()) else 0


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    sys.exit(main(*given, *(KILLS, SEED)[len(given) :]))
