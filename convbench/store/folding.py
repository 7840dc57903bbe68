"""Folds the visits of a finished run into fewer rows: one for each case whose later processes added only blocks.

A running run needs a row per case and process: a kill then loses only the unfinished visits, and a resumed run measures
only these. A finished run is only read, and 500,000 rows of 100,000 cases make reading slow. Every block holds its
process and its round, so that folding loses no data.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from operator import attrgetter

from sqlalchemy import Connection, bindparam, delete, func, select, update

from convbench.model.result import CASE_FACTS, PACKED, Status
from convbench.store import schema
from convbench.store.runs import AnyRow

#: Cases folded at a time: SQLite takes 32,766 numbers in one statement, in older versions 999.
_CHUNK = 500


def chunks(connection: Connection, key: int) -> range:
    """The first position of each part of the run with this key; `fold` folds one part at a time."""
    visits = schema.visits.c
    last = connection.scalar(select(func.max(visits.position)).where(visits.run_key == key, visits.process_index > 0))
    return range(0, 0 if last is None else last + 1, _CHUNK)


def fold(connection: Connection, key: int, start: int) -> None:
    """Fold one part of the visits of the run with this key. The result of `result.merge` stays the same."""
    visits = schema.visits.c
    of_run = visits.run_key == key
    first_of_case = update(schema.visits).where(
        of_run, visits.position == bindparam("its_position"), visits.process_index == 0
    )
    first_of_case = first_of_case.values(blocks=bindparam("every_block"), stop_reason=bindparam("last_reason"))
    rows = connection.execute(
        select(*_COLUMNS, visits.samples.is_not(None).label("has_samples"))
        .where(of_run, visits.position.between(start, start + _CHUNK - 1))
        .order_by(visits.position, visits.process_index)
    ).all()
    cases = [tuple(some) for _, some in itertools.groupby(rows, key=attrgetter("position"))]
    folded = [
        {
            "its_position": some[0].position,
            "every_block": b"".join([row.blocks for row in some]),
            "last_reason": some[-1].stop_reason,
        }
        for some in cases
        if _can_be_one(some)
    ]
    if folded:
        connection.execute(first_of_case, folded)
        positions = [case["its_position"] for case in folded]
        connection.execute(
            delete(schema.visits).where(of_run, visits.position.in_(positions), visits.process_index > 0)
        )


def _can_be_one(rows: Sequence[AnyRow]) -> bool:
    """Whether all visits of a case, in the order of processes, passed and those after the first have only blocks."""
    first, *later = rows
    return (
        bool(later)
        and first.process_index == 0
        and all(row.status == Status.PASSED.value and row.complete and row.layout == first.layout for row in rows)
        and not any(row.has_samples for row in later)
        and not any(getattr(row, name) for row in later for name in PACKED[1:])
        and all(getattr(row, name) in (None, getattr(first, name)) for row in later for name in _ONCE)
    )


#: Samples may have many megabytes, and are not needed here.
_COLUMNS = [column for column in schema.visits.columns if column.name != "samples"]
#: Columns whose value `result.merge` takes from the first visit that has one.
_ONCE = ("reason", "check_result", *CASE_FACTS)
