"""A service for tests: its application on a made-up database, without a server; and one in a process of its own."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import processes
import pytest
import synthetic
import usual_priority
import uvicorn
from commands import store as store_run
from starlette.testclient import TestClient

from convbench.model.result import Run
from convbench.store import Store
from convbench.web import helper
from convbench.web.app import application
from convbench.web.feed import Feed
from convbench.web.pages import Pages
from convbench.web.settings import Settings
from convbench.web.state import Service

#: One layer that takes milliseconds. With the system's allocator there is no second worker to compare with.
TINY = """\
name: tiny
axes: {in_channels: 3, out_channels: 4, kernel_size: 1, input_size: 8, threads: 1, allocator: system}
measure: {processes: 1, rounds: 2, max_time: 0.05, precision: 0.1}
"""
HERE = "http://127.0.0.1:8321"


@contextmanager
def serving(
    db: Path, *, address: str = "127.0.0.1", url: str = HERE, root: str = "", **settings: Any
) -> Iterator[tuple[TestClient, Service]]:
    """A client of a service on this database that measures nothing; the client's requests come from `address`."""
    with pytest.MonkeyPatch.context() as patched, Store.create(str(db)) as store:
        patched.setattr(helper, "_serve", usual_priority.helping)
        pages = Pages(store, str(db))
        service = Service(
            settings=Settings(db=str(db), measures=False, root_path=root, **settings),
            store=store,
            pages=pages,
            feed=Feed(),
            runner=None,
        )
        try:
            with TestClient(
                application(service),
                base_url=url,
                client=(address, 50000),
                root_path=root,
                raise_server_exceptions=False,
                follow_redirects=False,
            ) as client:
                yield client, service
        finally:
            pages.close()


@contextmanager
def listening(client: TestClient) -> Iterator[str]:
    """The address at which the application of a client answers over HTTP."""
    server = uvicorn.Server(uvicorn.Config(client.app, port=0, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def run_of(number: int, **changes: Any) -> Run:
    """A made-up run of twelve cases; its id and the time of its beginning rise with the number."""
    made = synthetic.run(12, seed=number, troubles=False)
    at = f"2026-11-{1 + number // 1440:02}T{number // 60 % 24:02}:{number % 60:02}:00+00:00"
    run_id = f"202611{1 + number // 1440:02}-{number // 60 % 24:02}{number % 60:02}00-{number % 10000:04}"
    return replace(made, **{"id": run_id, "name": "nightly", "started_at": at, "finished_at": at, **changes})


def filled(db: Path, *runs: Run) -> Path:
    """The database with these runs."""
    for run in runs:
        store_run(run, db)
    return db


@contextmanager
def started(folder: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A service in a process of its own, in this folder, with its address; it ends with the block."""
    process = processes.start(folder, "serve", "--port", "0", *options, module=usual_priority.__name__)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+", line)
        assert found, (line, process.stderr and process.poll() is not None and process.stderr.read())
        yield found[0].rstrip("/"), process
    finally:
        process.terminate()
        process.communicate(timeout=60)
