"""Conducts a run: measures the cases of a sweep with an engine and stores them. Decides whether to resume."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from convbench.conduct.budget import Budget
from convbench.conduct.described import Capacity, devices_of, environment_of, plainest
from convbench.conduct.doctor import threads_note
from convbench.conduct.listening import Begun, Listener
from convbench.conduct.processes import Hooks, Processes
from convbench.engine.device_locks import held
from convbench.engine.git_state import checkout
from convbench.engine.nvidia import Nvidia, opened
from convbench.engine.pool import Engine, WorkerPool
from convbench.errors import RequestError
from convbench.measure import schedule
from convbench.measure.references import records
from convbench.model.result import Environment, Run, RunState, Visit
from convbench.store import OpenedRecord, Record, Writer, digest, new_run_id, record
from convbench.sweep import Plan, Sweep
from convbench.version import __version__


def run(
    sweep: Sweep,
    plan: Plan,
    *,
    engine: Engine,
    db: str | None,
    listener: Listener,
    fresh: bool = False,
    check: Callable[[Run], None] = lambda run: None,
    opened_record: OpenedRecord = record,
) -> str:
    """Measure the plan's cases and store them in the database `db`; returns the run's id.

    Resumes an unfinished run of the same sweep, version and environment whose process has ended, unless `fresh`. Before
    anything of the run is stored it imports the user's modules once, and calls `check` with the run, which has no
    results yet. `opened_record` opens the database. On KeyboardInterrupt it keeps the results, marks the run as
    interrupted and raises again.
    """
    budget = Budget(sweep.measure.budget)
    pool = WorkerPool(engine, timeout_s=sweep.measure.timeout)
    nvidia: Nvidia | None = None
    try:
        settings = plainest(plan.cases)
        workers = list(dict.fromkeys([settings, *(case.worker for case in plan.cases)]))
        # The description of the first worker gives the maximum number of workers.
        pool.start(workers[: schedule.FEWEST_WORKERS])
        description = pool.description(settings)
        capacity = Capacity.of(description)
        pool.start(workers[: capacity.most_workers])
        cores = description.host.cores
        note = threads_note(plan.cases, description.threads if settings.threads is None else cores, cores)
        if note:
            listener.message(f"note: {note}")
        pool.find_modules(workers, deadline_s=sweep.measure.timeout)
        devices = devices_of(pool, plan.cases, deadline_s=sweep.measure.timeout)
        environment = environment_of(
            description, devices, allocator=settings.allocator, executable=sys.executable, variables=dict(os.environ)
        )
        nvidia = opened(devices.devices)
        with (
            held(
                [one.uuid or one.name for one in devices.devices],
                what=sweep.name,
                waiting=listener.waiting,
                message=listener.message,
            ),
            opened_record(db, message=listener.message) as store,
        ):
            return _measure(
                sweep,
                plan,
                pool,
                environment,
                capacity.with_devices(devices),
                nvidia,
                budget=budget,
                store=store,
                listener=listener,
                fresh=fresh,
                check=check,
            )
    finally:
        pool.close()
        if nvidia:
            nvidia.close()


def _measure(
    sweep: Sweep,
    plan: Plan,
    pool: WorkerPool,
    environment: Environment,
    capacity: Capacity,
    nvidia: Nvidia | None,
    *,
    budget: Budget,
    store: Record,
    listener: Listener,
    fresh: bool,
    check: Callable[[Run], None],
) -> str:
    """Run all processes and store their visits."""
    block_s = schedule.reference_seconds(len(plan.cases), sweep.measure)
    known = records(store.processes_with_references(environment, block_s))
    begun, history, started = _begin(
        sweep, plan, store, environment, fresh=fresh, check=check, beginning=listener.beginning
    )
    state = RunState.INTERRUPTED
    ago_s = (datetime.now(UTC) - started).total_seconds()
    zero = time.monotonic() - max(0.0, ago_s)  # 0 if the clock was set back: no block starts before its run
    processes = Processes(
        plan.cases,
        sweep.measure,
        seed=sweep.seed,
        pool=pool,
        memory_limit=capacity.memory_limit,
        device_limits=capacity.device_limits,
        most_workers=capacity.most_workers,
        cache_bytes=capacity.cache_bytes,
        has_steady_allocator=capacity.has_steady_allocator,
        nvidia=nvidia,
        hooks=Hooks(
            stored=lambda visits: store.append(begun.run_id, visits),
            progressed=lambda progress: listener.progressed(replace(progress, is_waiting=store.is_waiting)),
            process_noted=lambda facts: store.note_process(begun.run_id, facts),
            process_finished=lambda index: listener.process_finished(begun.run_id, index),
        ),
        history=history,
        records=known,
        clock=lambda: time.monotonic() - zero,
        budget=budget,
        store_every_s=listener.store_every_s,
    )
    try:
        listener.begun(begun)
        processes.run()
        state = RunState.FINISHED
    finally:
        store.finish(begun.run_id, state, _now())
    return begun.run_id


def _begin(
    sweep: Sweep,
    plan: Plan,
    store: Record,
    environment: Environment,
    *,
    fresh: bool,
    check: Callable[[Run], None],
    beginning: Callable[[str], None],
) -> tuple[Begun, Sequence[Visit], datetime]:
    """A new run in the store, or a resumed one with its visits; and the time when it started."""
    what = digest(plan.cases, sweep.measure, seed=sweep.seed, name=sweep.name, description=sweep.description)
    host = socket.gethostname()
    writer = Writer.of_this_process()
    git = checkout()
    found = (
        None
        if fresh
        else store.resumable(digest=what, version=__version__, environment=environment, host=host, git=git)
    )
    now = datetime.now(UTC)
    record = Run(
        id=found or new_run_id(now),
        name=sweep.name,
        description=sweep.description,
        source=sweep.source,
        seed=sweep.seed,
        measure=sweep.measure,
        version=__version__,
        started_at=now.isoformat(),
        finished_at=None,
        state=RunState.RUNNING,
        environment=environment,
        git=git,
    )
    check(record)
    beginning(record.id)
    if found is not None:
        started = datetime.fromisoformat(store.take_over(found, writer))
        history = [visit for visits in store.visits(found).values() for visit in visits]
        begun = Begun(
            run_id=found, resumed=True, visits_kept=len(history), environment=environment, cases=len(plan.cases)
        )
        return begun, history, started
    store.begin(record, plan.cases, plan.rejections, writer, digest=what)
    begun = Begun(run_id=record.id, resumed=False, visits_kept=0, environment=environment, cases=len(plan.cases))
    return begun, (), now


def itself(run_id: str) -> RequestError:
    """The error for a comparison of a run with itself."""
    return RequestError(f"run {run_id} cannot be compared with itself", hint="give another base, or use --fresh")


def _now() -> str:
    return datetime.now(UTC).isoformat()
