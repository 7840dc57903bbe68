"""Deletes runs, but never one that has a baseline's name, or that a process, an open job or a campaign needs."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from contextlib import suppress

from sqlalchemy import Connection, Engine, delete, select

from convbench.errors import RequestError, RunNotFoundError
from convbench.model.job import JobState
from convbench.model.result import RunState
from convbench.store import campaigns, runs, schema
from convbench.store.place import Place


def being_written(connection: Connection, version: int, place: Place) -> dict[str, str]:
    """The runs without an end whose writer may be alive, each with the reason why it stays."""
    columns = schema.columns(schema.runs, version)
    found = {}
    for row in connection.execute(select(*columns).where(schema.runs.c.state == RunState.RUNNING.value)):
        with place.decoding(row.id):
            if row.finished_at is None and not runs.is_free(row):
                found[row.id] = f"a process on {row.writer_host} is writing it"
    return found


def needed_by_jobs(connection: Connection, version: int, place: Place) -> dict[str, str]:
    """The runs that jobs measure or compare with which are queued or running, each with the reason why it stays."""
    if version < schema.SERVICE_SINCE:
        return {}
    jobs, found = schema.jobs.c, {}
    is_open = jobs.state.in_([JobState.QUEUED.value, JobState.RUNNING.value])
    rows = connection.execute(select(jobs.id, jobs.run_id, jobs.against).where(is_open)).all()
    for against, job_id in {row.against: row.id for row in rows if row.against is not None}.items():
        with suppress(RunNotFoundError):  # there is no such baseline yet
            found[runs.find(connection, against, version, place).id] = f"job {job_id} compares with it"
    return found | {row.run_id: f"job {row.id} measures it" for row in rows if row.run_id is not None}


def protected(connection: Connection, version: int, place: Place) -> dict[str, str]:
    """The runs that cannot be deleted, each with the reason: `it is the baseline main`."""
    baselines = runs.baselines(connection, version, place)
    named = {baseline.run_id: f"it is the baseline {baseline.name}" for baseline in baselines}
    needed = needed_by_jobs(connection, version, place) | campaigns.conducted(connection, version, place)
    return needed | being_written(connection, version, place) | named


def delete_runs(connection: Connection, run_ids: Collection[str], version: int, place: Place) -> None:
    """Delete these runs and all that was stored of them, and campaigns that have no run any more.

    RequestError where a run is protected, and then nothing is deleted.
    """
    columns = schema.runs.c
    chosen = [key for key, run_id in connection.execute(select(columns.key, columns.id)) if run_id in run_ids]
    for key in chosen:  # on a server, nobody may name or resume the run meanwhile; SQLite has one writer anyway
        connection.execute(select(columns.key).where(columns.key == key).with_for_update())
    kept = protected(connection, version, place)
    for run_id in sorted(run_ids):
        if run_id in kept:
            raise RequestError(f"run {run_id} stays: {kept[run_id]}", hint="nothing was deleted")
    campaigns.delete_all(connection, campaigns.emptied(connection, run_ids, version, place))
    for key in chosen:  # the other tables follow by ON DELETE CASCADE
        connection.execute(delete(schema.runs).where(columns.key == key))


def shrink(engine: Engine) -> None:
    """Give the space of deleted runs back to the disk. On a server and after an error, later runs fill it instead."""
    if engine.dialect.name != "sqlite":
        return
    connection = engine.raw_connection()  # VACUUM is not possible inside a transaction
    try:
        with suppress(sqlite3.Error):
            connection.cursor().execute("VACUUM")
    finally:
        connection.close()
