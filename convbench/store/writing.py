"""Converts cases, visits and runs to rows, and copies rows from one database to another."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, Table, delete, insert, select, update

from convbench.errors import StoreError, TakenOverError
from convbench.model.case import Case
from convbench.model.reading import Json
from convbench.model.result import CASE_FACTS, Rejection, Run, RunState, Visit
from convbench.model.serial import to_json
from convbench.store import schema
from convbench.store.folding import chunks, fold
from convbench.store.runs import AnyRow, git_columns, writer_columns, writer_of
from convbench.store.writer import Writer

#: Rows sent at a time.
_CHUNK = 1000


def dumps(value: object) -> str:
    """The JSON that is stored for a part of a run."""
    return compact(to_json(value, defaults=False))


def compact(document: Json) -> str:
    """JSON without spaces, as it is stored."""
    # ASCII, so that every database stores any text inside and returns it unchanged.
    return json.dumps(document, separators=(",", ":"), allow_nan=False)


def run_row(run: Run, writer: Writer | None, digest: str, host: str) -> dict[str, object]:
    """The row of a run that `writer` begins, None where no process of this host does; it is measured on `host`."""
    return {
        "id": run.id,
        "name": run.name,
        "description": run.description,
        "source": run.source,
        "seed": str(run.seed),
        "measure": dumps(run.measure),
        "version": run.version,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "state": run.state.value,
        "environment": dumps(run.environment),
        "digest": digest,
        "host": host,
        **writer_columns(writer),
        **git_columns(run.git),
    }


def case_rows(
    key: int, cases: Iterable[Case], positions: dict[str, int], *, first: int = 0
) -> Iterator[dict[str, object]]:
    """The rows of a run's cases from position `first`; adds the position of each case to `positions`."""
    for position, case in enumerate(cases, first):
        document = to_json(case, defaults=False)
        assert isinstance(document, dict)
        case_id = document.pop("id")
        assert isinstance(case_id, str)
        positions[case_id] = position
        problem = compact(document.pop("problem"))
        settings = compact(document)
        yield {"run_key": key, "position": position, "case_id": case_id, "problem": problem, "settings": settings}


def rejection_rows(key: int, rejections: Iterable[Rejection]) -> Iterator[dict[str, object]]:
    """The rows of the points that torch would refuse in the sweep of the run with this key."""
    for position, rejection in enumerate(rejections):
        yield {"run_key": key, "position": position, "label": rejection.label, "reason": rejection.reason}


def visit_row(key: int, positions: Mapping[str, int], visit: Visit) -> dict[str, object]:
    """The row of a visit in the run with this key; StoreError where its case does not belong to the run."""
    if visit.case_id not in positions:
        raise StoreError(f"case {visit.case_id} is no case of this run")
    return {
        "run_key": key,
        "position": positions[visit.case_id],
        "process_index": visit.process_index,
        "status": visit.status.value,
        "complete": visit.complete,
        "reason": visit.reason,
        "check_result": None if visit.facts.check is None else dumps(visit.facts.check),
        "stop_reason": visit.stop_reason.value,
        "layout": visit.layout,
        "blocks": visit.blocks,
        "system_blocks": visit.system_blocks or None,
        "kernel_blocks": visit.kernel_blocks or None,
        "samples": visit.samples or None,
        **{name: getattr(visit.facts, name) for name in CASE_FACTS},
    }


def insert_all(connection: Connection, table: Table, rows: Iterator[dict[str, object]]) -> None:
    """Insert any number of rows, in chunks."""
    while chunk := list(itertools.islice(rows, _CHUNK)):
        connection.execute(insert(table), chunk)


def taken_over(run_id: str) -> TakenOverError:
    """The error that another process has resumed a run."""
    return TakenOverError(f"run {run_id} was taken over by another process", hint="end one of the two")


def send(here: Connection, there: Connection, run: AnyRow, version: int) -> None:
    """Copy everything of a run from this database, which has a schema version, to the other one.

    Raises TakenOverError where another process has resumed the run there.
    """
    theirs = there.execute(select(schema.runs).where(schema.runs.c.id == run.id).with_for_update()).one_or_none()
    if theirs is None:
        values = {name: value for name, value in run._asdict().items() if name != "key"}
        key = there.execute(insert(schema.runs).returning(schema.runs.c.key), values).scalar_one()
        for table in (schema.rejections, schema.cases):
            insert_all(there, table, _rows_of(here, table, run.key, key, version))
    elif run.finished_at is not None and (theirs.state, theirs.finished_at) == (run.state, run.finished_at):
        return  # everything has arrived, only the confirmation was lost
    elif writer_of(theirs) != writer_of(run):
        raise taken_over(run.id)
    else:
        key = theirs.key
    _send_visits(here, there, run.key, key, version)
    there.execute(delete(schema.processes).where(schema.processes.c.run_key == key))
    insert_all(there, schema.processes, _rows_of(here, schema.processes, run.key, key, version))
    if run.finished_at is not None:
        ended = {"state": run.state, "finished_at": run.finished_at, **writer_columns(None)}
        there.execute(update(schema.runs).where(schema.runs.c.key == key).values(**ended))
        if run.state == RunState.FINISHED.value:
            for start in chunks(there, key):
                fold(there, key, start)


def _rows_of(source: Connection, table: Table, key: int, new_key: int, version: int) -> Iterator[dict[str, Any]]:
    """The rows of a run in a table, with the key that the run has in another database."""
    for row in source.execute(select(*schema.columns(table, version)).where(table.c.run_key == key)):
        yield {**row._asdict(), "run_key": new_key}


def _send_visits(source: Connection, target: Connection, key: int, new_key: int, version: int) -> None:
    """Copy the visits that the other database lacks or has only incomplete."""
    visits = schema.visits.c
    place = (visits.position, visits.process_index)
    stored = target.execute(select(*place, visits.complete).where(visits.run_key == new_key)).all()
    arrived = {(position, process_index): complete for position, process_index, complete in stored}

    def lacking() -> Iterator[dict[str, Any]]:
        for row in _rows_of(source, schema.visits, key, new_key, version):
            complete = arrived.get((row["position"], row["process_index"]))
            if complete:
                continue
            if complete is not None:
                target.execute(
                    delete(schema.visits).where(
                        visits.run_key == new_key,
                        visits.position == row["position"],
                        visits.process_index == row["process_index"],
                    )
                )
            yield row

    insert_all(target, schema.visits, lacking())
