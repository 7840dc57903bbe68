"""The machines of the stored runs, read without the runs' cases and blocks."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, select

from convbench.model.campaign import MachineRun, machine_key
from convbench.model.result import ProcessFacts
from convbench.model.serial import process_facts_from_json, stored
from convbench.store import schema
from convbench.store.past import ASKED, device_states
from convbench.store.place import Place
from convbench.store.runs import run_of


def machine_runs(connection: Connection, version: int, place: Place, *, name: str | None = None) -> list[MachineRun]:
    """All runs in a database of a schema version, newest first; with `name` only those of this sweep."""
    runs = schema.runs
    wanted = select(*schema.columns(runs, version)).order_by(runs.c.started_at.desc(), runs.c.key.desc())
    found = {}
    for row in connection.execute(wanted if name is None else wanted.where(runs.c.name == name)).all():
        with place.decoding(row.id):
            found[row.key] = run_of(row)
    with_devices = {key: run.id for key, run in found.items() if run.environment.devices}
    states = device_states(connection, with_devices, place)
    return [
        MachineRun(
            run_id=run.id,
            name=run.name,
            state=run.state,
            started_at=run.started_at,
            finished_at=run.finished_at,
            host=run.environment.hostname,
            machine=machine_key(run.environment, states.get(key, ())),
        )
        for key, run in found.items()
    ]


def processes(connection: Connection, run_ids: Collection[str], place: Place) -> dict[str, tuple[ProcessFacts, ...]]:
    """The processes of some runs, by the run's id; a run without any is left out."""
    runs, columns = schema.runs.c, schema.processes.c
    found: dict[str, list[ProcessFacts]] = {}
    ids = sorted(run_ids)
    for start in range(0, len(ids), ASKED):
        query = (
            select(runs.id, columns.facts)
            .join_from(schema.processes, schema.runs, columns.run_key == runs.key)
            .where(runs.id.in_(ids[start : start + ASKED]))
            .order_by(runs.key, columns.process_index)
        )
        for run_id, text in connection.execute(query).all():
            with place.decoding(run_id):
                found.setdefault(run_id, []).append(process_facts_from_json(stored(text)))
    return {run_id: tuple(some) for run_id, some in found.items()}
