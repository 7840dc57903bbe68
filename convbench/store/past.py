"""Reads the blocks of cases over many runs without loading these runs, for the history of a case."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, and_, select

from convbench.errors import StoreError
from convbench.model.references import VERSION, same_speed
from convbench.model.result import (
    NO_FACTS,
    CaseFacts,
    Environment,
    ProcessFacts,
    Result,
    Run,
    Status,
    StopReason,
    Visit,
    joined,
    merge,
)
from convbench.model.serial import check_contents, process_facts_from_json, stored
from convbench.model.settings import MOST_INTEGER
from convbench.store import loading, schema
from convbench.store.place import Place
from convbench.store.runs import environment_of, run_of

#: The facts of a case that a history needs.
_FACTS = ("implementation", "threads", "precision")
_PASSED = Status.PASSED.value
#: Runs queried by id at a time: SQLite takes 32,766 values in one statement, in older versions 999.
ASKED = 500
#: Runs looked at for the reference layers of a machine.
_LOOKED_AT = 50


def past(
    connection: Connection,
    version: int,
    place: Place,
    *,
    case_id: str | None = None,
    run_ids: Collection[str] | None = None,
) -> list[Run]:
    """Runs in a database of a schema version, oldest first, with the results of one case or of all cases.

    With `case_id` only runs that measured the case, with `run_ids` only these runs. Results hold blocks, status and
    reasons, implementation, threads and precision. Runs hold no rejections and no unmeasured cases. Of processes they
    hold the states of devices alone, because a machine's key has the power limit.
    """
    runs, cases = schema.runs, schema.cases.c
    wanted = select(*schema.columns(runs, version))
    if case_id is not None:
        wanted = wanted.where(runs.c.key.in_(select(cases.run_key).where(cases.case_id == case_id)))
    ids = None if run_ids is None else sorted(run_ids)
    asked = [None] if ids is None else [ids[start : start + ASKED] for start in range(0, len(ids), ASKED)]
    found: dict[int, Run] = {}
    for some in asked:
        for row in connection.execute(wanted if some is None else wanted.where(runs.c.id.in_(some))).all():
            with place.decoding(row.id):
                if type(row.key) is not int:
                    raise ValueError(f"key: expected an integer, got {row.key!r:.60}")
                found[row.key] = run_of(row)
    keys = sorted(found, key=lambda key: (found[key].started_at, key))
    results: dict[int, list[Result]] = defaultdict(list)
    for start in range(0, len(keys), ASKED):
        for key, result in _results(connection, keys[start : start + ASKED], case_id, place, version):
            results[key].append(result)
    states = device_states(connection, {key: run.id for key, run in found.items() if run.environment.devices}, place)
    made = []
    for key in keys:
        if case_id is not None and key not in results:
            continue  # it has no visits yet
        run = replace(found[key], results=tuple(results[key]), processes=states.get(key, ()))
        with place.decoding(run.id):
            check_contents(run)
        made.append(run)
    return made


def device_states(connection: Connection, ids: Mapping[int, str], place: Place) -> dict[int, tuple[ProcessFacts, ...]]:
    """The processes of runs, given as key -> id, by key: with the states of their devices, without anything else."""
    columns, found = schema.processes.c, defaultdict[int, list[ProcessFacts]](list)
    keys = sorted(ids)
    for start in range(0, len(keys), ASKED):
        some = columns.run_key.in_(keys[start : start + ASKED])
        query = select(columns.run_key, columns.facts).where(some).order_by(columns.run_key, columns.process_index)
        for key, text in connection.execute(query).all():
            with place.decoding(ids[key]):
                facts = process_facts_from_json(stored(text))
            states = ProcessFacts(
                process_index=facts.process_index, seconds=facts.seconds, device_states=facts.device_states
            )
            found[key].append(states)
    return {key: tuple(some) for key, some in found.items()}


def processes_with_references(
    connection: Connection, place: Place, environment: Environment, block_s: float
) -> list[ProcessFacts]:
    """The processes of the newest runs on such a machine, with their references of this version and length of blocks.

    Only the newest `_LOOKED_AT` runs of the database are looked at. A damaged run is left out.
    """
    runs, processes = schema.runs.c, schema.processes.c
    newest = select(runs.key, runs.id, runs.environment).order_by(runs.started_at.desc(), runs.key.desc())
    ids: dict[int, str] = {}
    for row in connection.execute(newest.limit(_LOOKED_AT)).all():
        with suppress(StoreError), place.decoding(row.id):
            if same_speed(environment_of(row)) == same_speed(environment):
                ids[row.key] = row.id
    found = []
    query = select(processes.run_key, processes.facts).where(processes.run_key.in_(ids))
    for key, text in connection.execute(query).all():
        with suppress(StoreError), place.decoding(ids[key]):
            facts = process_facts_from_json(stored(text))
            timed = [one for one in facts.references if (one.version, one.block_s) == (VERSION, block_s)]
            if timed:
                found.append(replace(facts, references=tuple(timed)))
    return found


def _results(
    connection: Connection, keys: list[int], case_id: str | None, place: Place, version: int
) -> list[tuple[int, Result]]:
    """(key of the run, result) of one case or all cases, by the rules of `result.merge`, by runs and cases."""
    cases, visits = schema.cases.c, schema.visits.c
    query = (
        select(
            visits.run_key,
            visits.position,
            visits.process_index,
            visits.status,
            visits.layout,
            visits.blocks,
            visits.reason,
            visits.stop_reason,
            *schema.columns(schema.visits, version, *_FACTS),
            cases.case_id,
            cases.problem,
            cases.settings,
        )
        .join_from(
            schema.cases,
            schema.visits,
            and_(visits.run_key == cases.run_key, visits.position == cases.position),
        )
        .where(cases.run_key.in_(keys))
        .order_by(visits.run_key, visits.position, visits.process_index)
    )
    if case_id is not None:
        query = query.where(cases.case_id == case_id)
    rows = connection.execute(query).all()
    with place.decoding("with a case's history"):
        names = [str(column.key) for column in query.selected_columns]
        loading.check_visits(loading.by_name(names, rows), cases=MOST_INTEGER)
        return [(key, _result(list(some), case_id)) for (key, _), some in itertools.groupby(rows, key=itemgetter(0, 1))]


def _result(rows: Sequence[Any], case_id: str | None) -> Result:
    """The result of one case in one run from the rows of its visits, in the order of processes.

    Where `case_id` is given, the case's settings must have this id.
    """
    first = rows[0]
    case = loading.case(first.problem, first.settings, case_id=case_id)
    if all(row.status == _PASSED for row in rows):
        return Result(  # the result of `merge` for nearly all cases, in a tenth of the time
            case=case,
            status=Status.PASSED,
            reason=first.reason,
            facts=CaseFacts(
                check=None, timer=None, note=None, **{n: _known([getattr(row, n) for row in rows]) for n in _FACTS}
            ),
            stop_reason=StopReason(rows[-1].stop_reason),
            blocks=joined([(row.layout, row.blocks or b"") for row in rows]),
        )
    visits = [
        Visit(
            case_id=case.id,
            process_index=row.process_index,
            status=Status(row.status),
            reason=row.reason,
            facts=replace(NO_FACTS, **{name: getattr(row, name) for name in _FACTS}),
            blocks=row.blocks or b"",
            layout=row.layout,
            stop_reason=StopReason(row.stop_reason),
        )
        for row in rows
    ]
    result = merge(case, visits)
    assert result is not None  # there is at least one visit
    return result


def _known(values: Sequence[Any]) -> Any:
    return next((value for value in values if value is not None), None)
