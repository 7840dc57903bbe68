"""Stores a run that comes in parts from elsewhere: its head, then its cases in order with their visits, then its end.

Each step is one transaction that is safe to repeat, so a sender that was interrupted goes on, and what comes twice is
there once. A run that has finished here is never changed. Until its end, nothing here may resume it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain

from sqlalchemy import Connection, Select, delete, func, insert, select, update

from convbench.errors import ConflictError, RequestError, RunNotFoundError, StoreError
from convbench.model.bounds import is_time
from convbench.model.result import ProcessFacts, Run, RunState
from convbench.store import loading, runs, schema, writing
from convbench.store.folding import chunks, fold
from convbench.store.parts import PUSHED, Entry, is_pushed, plain
from convbench.store.runs import AnyRow
from convbench.store.store import Store

_runs, _cases, _visits = schema.runs.c, schema.cases.c, schema.visits.c


class Receiving:
    """Runs that others send to a database. ConflictError where one contradicts what is stored."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, run: Run, digest: str) -> tuple[RunState, int]:
        """Store the head of a run, unless it is there; returns its state here and the number of its cases here.

        The run has its rejections, and no results. Its end, and its processes, come with `end`.
        """
        with self._store.writing() as connection:
            row = connection.execute(_row_of(run.id)).one_or_none()
            if row is not None:
                self._refuse_other(row, run, digest)
                return RunState(row.state), _number(connection, row.key)
            begun = replace(run, state=RunState.RUNNING, finished_at=None)
            values = writing.run_row(begun, None, PUSHED + digest, run.environment.hostname)
            key = connection.execute(insert(schema.runs).returning(_runs.key), values).scalar_one()
            writing.insert_all(connection, schema.rejections, writing.rejection_rows(key, run.rejections))
        return RunState.RUNNING, 0

    def _refuse_other(self, row: AnyRow, run: Run, digest: str) -> None:
        """Raise ConflictError where the stored run with this id is another one, or is measured here."""
        with self._store.at.decoding(run.id):
            here = runs.run_of(row)
        same = (here.started_at, here.name, here.seed, here.version, here.environment, here.measure)
        theirs = (run.started_at, run.name, run.seed, run.version, run.environment, run.measure)
        if same != theirs or plain(row.digest) != digest:
            raise ConflictError(f"another run with the id {run.id} is stored already")
        if not is_pushed(row.digest) and row.state != RunState.FINISHED.value:
            raise ConflictError(f"run {run.id} was not pushed here, it is measured here")

    def part(self, run_id: str, first: int, entries: Sequence[Entry]) -> int:
        """Store cases from position `first`, and their visits in place of those that are there.

        Returns the number of cases that are stored then. Raises ConflictError where cases before them are missing, and
        where other cases are stored at their positions; RequestError where a visit is not valid.
        """
        _check(entries)
        ids = [entry.case.id for entry in entries]
        end = first + len(ids)
        with self._store.writing() as connection:
            key = self._open_run(connection, run_id).key
            stored = _number(connection, key)
            if first > stored:
                raise ConflictError(
                    f"the part begins at case {first}, and {stored} are stored", hint="send these first"
                )
            mine = _cases.run_key == key
            there = select(_cases.case_id).where(mine, _cases.position >= first, _cases.position < end)
            known = list(connection.execute(there.order_by(_cases.position)).scalars())
            elsewhere = (_cases.position < first) | (_cases.position >= end)
            twice = connection.execute(select(_cases.case_id).where(mine, _cases.case_id.in_(ids), elsewhere)).first()
            if known != ids[: len(known)] or twice is not None:
                raise ConflictError(f"other cases of run {run_id} are stored at these positions")
            positions = {case_id: position for position, case_id in enumerate(known, first)}
            new = [entry.case for entry in entries[len(known) :]]
            rows = writing.case_rows(key, new, positions, first=first + len(known))
            writing.insert_all(connection, schema.cases, rows)
            connection.execute(
                delete(schema.visits).where(_visits.run_key == key, _visits.position >= first, _visits.position < end)
            )
            visits = chain.from_iterable(entry.visits for entry in entries)
            writing.insert_all(
                connection, schema.visits, (writing.visit_row(key, positions, visit) for visit in visits)
            )
            if new:  # the list of runs counts them anew
                connection.execute(delete(schema.listed_runs).where(schema.listed_runs.c.run_key == key))
        return max(stored, end)

    def end(
        self, run_id: str, state: RunState, finished_at: str | None, processes: Sequence[ProcessFacts], *, cases: int
    ) -> RunState:
        """Store how a run ended, or how far it is, and the facts of its processes; returns its state.

        Raises ConflictError where not all of its cases are stored, and RequestError for a finished run without a time.
        """
        if state is RunState.FINISHED and finished_at is None:
            raise RequestError("finished_at: a finished run has the time of its end")
        if finished_at is not None and not is_time(finished_at):
            raise RequestError(f"finished_at: expected a time in ISO 8601, got {finished_at[:60]!r}")
        with self._store.writing() as connection:
            row = connection.execute(_row_of(run_id)).one_or_none()
            if row is not None and row.state == RunState.FINISHED.value:
                return RunState.FINISHED  # sent again, because the answer was lost
            key = self._open_run(connection, run_id).key
            stored = _number(connection, key)
            if stored != cases:
                raise ConflictError(f"the run has {cases} cases, and {stored} are stored", hint="send the others first")
            connection.execute(delete(schema.processes).where(schema.processes.c.run_key == key))
            facts = (
                {"run_key": key, "process_index": one.process_index, "facts": writing.dumps(one)} for one in processes
            )
            writing.insert_all(connection, schema.processes, facts)
            values = {"state": state.value, "finished_at": finished_at}
            connection.execute(update(schema.runs).where(_runs.key == key).values(**values))
            folded = chunks(connection, key) if state is RunState.FINISHED else ()
        with suppress(StoreError):  # visits that are not folded load the same
            for start in folded:
                with self._store.writing() as connection:
                    fold(connection, key, start)
        return state

    def _open_run(self, connection: Connection, run_id: str) -> AnyRow:
        """The row of a run that is being received."""
        row = connection.execute(_row_of(run_id)).one_or_none()
        if row is None:
            raise RunNotFoundError(f"no run {run_id!r} is stored in {self._store.at}", hint="send its head first")
        if row.state == RunState.FINISHED.value or not is_pushed(row.digest):
            raise ConflictError(f"run {run_id} is not being received: it is finished, or was measured here")
        return row


def _row_of(run_id: str) -> Select[*tuple[object, ...]]:
    return select(schema.runs).where(_runs.id == run_id).with_for_update()


def _number(connection: Connection, key: int) -> int:
    """The number of the cases of a run that are stored."""
    return connection.execute(select(func.count()).where(_cases.run_key == key)).scalar_one()


def _check(entries: Sequence[Entry]) -> None:
    """Raise RequestError where a case comes twice, a visit is one of another case or comes twice, or is not valid."""
    if len({entry.case.id for entry in entries}) < len(entries):
        raise RequestError("a case comes twice in this part")
    for entry in entries:
        if {visit.case_id for visit in entry.visits} - {entry.case.id}:
            raise RequestError(f"case {entry.case.id} has a visit of another case")
        if len({visit.process_index for visit in entry.visits}) < len(entry.visits):
            raise RequestError(f"case {entry.case.id} has two visits of one process")
    try:
        loading.check_packed([visit for entry in entries for visit in entry.visits])
    except ValueError as error:
        raise RequestError(str(error)) from None
