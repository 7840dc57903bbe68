"""The machines of the stored runs, read without the runs' cases and blocks."""

from __future__ import annotations

from sqlalchemy import Connection, select

from convbench.model.campaign import MachineRun, machine_key
from convbench.store import schema
from convbench.store.past import device_states
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
