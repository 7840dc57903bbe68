"""How far a run is: visits so far, and the cases that arrived. It reads few columns."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from operator import attrgetter

from sqlalchemy import Connection, func, select

from convbench.model.result import RunState, Status, unpack_blocks
from convbench.store import loading, schema
from convbench.store.runs import AnyRow, run_of
from convbench.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A case with visits. `fastest_s` is its fastest sample so far, seconds; None where it was not timed."""

    position: int
    case_id: str
    label: str
    status: Status
    fastest_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProgress:
    """How far a run is. `visits` are the complete ones of all processes; `planned` are those of the whole run."""

    cases: int
    seen: int
    visits: int
    planned: int


def progress_of(store: Store, run_id: str) -> RunProgress | None:
    """How far the run is; None where it is not stored yet."""
    visits, cases = schema.visits.c, schema.cases.c
    with store.reading() as connection:
        row = connection.execute(select(schema.runs).where(schema.runs.c.id == run_id)).one_or_none()
        if row is None:
            return None
        total = connection.execute(select(func.count()).where(cases.run_key == row.key)).scalar_one()
        counted = select(func.count(), func.count(visits.position.distinct())).where(
            visits.run_key == row.key, visits.complete
        )
        done, seen = connection.execute(counted).one()
        if row.state == RunState.FINISHED.value:  # its visits may be folded into one row per case
            with store.at.decoding(run_id):
                done = _folded(connection, row.key)
        with store.at.decoding(run_id):
            processes = run_of(row).measure.processes
    return RunProgress(cases=total, seen=seen, visits=done, planned=total * processes)


def _folded(connection: Connection, run_key: int) -> int:
    """The number of complete visits of a run, counting the processes in each row."""
    visits = schema.visits.c
    rows = connection.execute(select(visits.blocks, visits.layout).where(visits.run_key == run_key, visits.complete))
    return sum(max(1, len({block.process_index for block in unpack_blocks(row.blocks, row.layout)})) for row in rows)


def arrived(store: Store, run_id: str, known: Collection[int], *, most: int) -> Sequence[Arrived]:
    """The cases of a run that have visits and are not `known`, by position, at most so many; in the run's order."""
    visits, cases = schema.visits.c, schema.cases.c
    with store.reading() as connection:
        key = connection.execute(select(schema.runs.c.key).where(schema.runs.c.id == run_id)).scalar()
        if key is None:
            return ()
        found = select(visits.position).where(visits.run_key == key).distinct().order_by(visits.position)
        new = [position for position in connection.execute(found).scalars() if position not in known][:most]
        columns = (cases.position, cases.case_id, cases.problem, cases.settings, visits.status, visits.layout)
        joined = schema.cases.join(
            schema.visits, (visits.run_key == cases.run_key) & (visits.position == cases.position)
        )
        query = (
            select(*columns, visits.blocks)
            .select_from(joined)
            .where(cases.run_key == key, cases.position.in_(new))
            .order_by(cases.position, visits.process_index)
        )
        rows = connection.execute(query).all()
        with store.at.decoding(run_id):
            return [_arrived(tuple(some)) for _, some in itertools.groupby(rows, key=attrgetter("position"))]


def _arrived(rows: Sequence[AnyRow]) -> Arrived:
    """A case by the rows of its visits, the first process first."""
    first = rows[0]
    blocks = (block for row in rows for block in unpack_blocks(row.blocks, row.layout))
    return Arrived(
        position=first.position,
        case_id=first.case_id,
        label=loading.case(first.problem, first.settings, case_id=first.case_id).label,
        status=Status(first.status),
        fastest_s=min((block.minimum_s for block in blocks), default=None),
    )
