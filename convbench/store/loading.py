"""Rows to nouns: a run with its results, its visits, one case."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, and_, func, or_, select
from sqlalchemy import case as sql_case

from convbench.case import Case
from convbench.nouns import nouns
from convbench.problem import Problem
from convbench.result import (
    FOUND_ONCE,
    PACKED,
    Check,
    PassFacts,
    Rejection,
    Result,
    Run,
    Status,
    StopReason,
    Visit,
    merge,
)
from convbench.serial import (
    Json,
    case_from_json,
    check_from_json,
    checks_from_json,
    pass_facts_from_json,
    problem_from_json,
)
from convbench.store import schema
from convbench.store.runs import AnyRow, run_of

_STATUSES = {status.value: status for status in Status}
_STOP_REASONS = {reason.value: reason for reason in StopReason}

#: Cases whose visits are asked for by position at a time: SQLite takes 32,766 numbers in one statement, once 999.
_ASKED = 500


def load(connection: Connection, row: AnyRow) -> Run:
    """The run of a row with everything that belongs to it."""
    every = _cases(connection, row.key)
    results = _results(connection, row.key, every)
    return replace(
        run_of(row),
        results=tuple(results[position] for position in sorted(results)),
        rejections=_rejections(connection, row.key),
        unmeasured=tuple(case for position, case in enumerate(every) if position not in results),
        passes=_passes(connection, row.key),
    )


def visits(connection: Connection, key: int) -> dict[str, list[Visit]]:
    """All visits of a run by case id, in the order of passes; cases without any are left out."""
    ids = {position: case_id for case_id, position in positions(connection, key).items()}
    return {ids[position]: [_visit(ids[position], row) for row in rows] for position, rows in _visits(connection, key)}


def case(problem: str, settings: str) -> Case:
    """A case by the two texts that are stored of it."""
    return _case(problem, settings)


#: The two runs of a comparison share their cases, read once and the same at a glance; 100,000 of them fit.
@functools.lru_cache(maxsize=131072)
def _case(problem: str, settings: str) -> Case:
    return _with_settings(settings)(problem=_problem(problem))


#: Equal problems are one object: a sweep repeats each many times.
@functools.lru_cache(maxsize=65536)
def _problem(text: str) -> Problem:
    return problem_from_json(json.loads(text))


@functools.lru_cache(maxsize=4096)
def _with_settings(text: str) -> Callable[..., Case]:
    """What makes a case with these settings of a problem."""
    made = case_from_json({**json.loads(text), "problem": _ANY_PROBLEM})
    return functools.partial(
        Case, **{field.name: getattr(made, field.name) for field in fields(Case) if field.name != "problem"}
    )


#: Settings are judged without their problem.
_ANY_PROBLEM: Json = {"in_channels": 1, "out_channels": 1, "kernel_size": [1, 1], "input_size": [1, 1]}


def positions(connection: Connection, key: int) -> dict[str, int]:
    """Where each case of a run stands, by its id."""
    cases = schema.cases.c
    return dict(connection.execute(select(cases.case_id, cases.position).where(cases.run_key == key)).all())


def _cases(connection: Connection, key: int) -> list[Case]:
    """The cases of a run in the sweep's order."""
    columns = schema.cases.c
    return [
        _case(problem, settings)
        for problem, settings in connection.execute(
            select(columns.problem, columns.settings).where(columns.run_key == key).order_by(columns.position)
        ).all()
    ]


def _rejections(connection: Connection, key: int) -> tuple[Rejection, ...]:
    columns = schema.rejections.c
    rows = connection.execute(
        select(columns.label, columns.reason).where(columns.run_key == key).order_by(columns.position)
    )
    return tuple(Rejection(label=label, reason=reason) for label, reason in rows)


def _passes(connection: Connection, key: int) -> tuple[PassFacts, ...]:
    columns = schema.passes.c
    rows = connection.scalars(select(columns.facts).where(columns.run_key == key).order_by(columns.pass_index))
    return tuple(pass_facts_from_json(json.loads(facts)) for facts in rows)


#: The columns that make a visit, in the order that `_visit` takes them apart.
_VISIT = tuple(
    schema.visits.c[name]
    for name in (
        "position",
        "pass_index",
        "status",
        "reason",
        "check_result",
        "layout",
        "stop_reason",
        "complete",
        *PACKED,
        *FOUND_ONCE,
    )
)
_VISIT_PACKED = slice(8, 8 + len(PACKED))


def _visit(case_id: str, row: Sequence[Any]) -> Visit:
    _, pass_index, status, reason, check, layout, stop, complete = row[: _VISIT_PACKED.start]
    packed: dict[str, Any] = {name: blocks or b"" for name, blocks in zip(PACKED, row[_VISIT_PACKED], strict=True)}
    return Visit(
        case_id=case_id,
        pass_index=pass_index,
        status=_STATUSES[status],
        reason=reason,
        check=None if check is None else check_from_json(json.loads(check)),
        layout=layout,
        stop_reason=_STOP_REASONS[stop],
        complete=complete,
        **packed,
        **dict(zip(FOUND_ONCE, row[_VISIT_PACKED.stop :], strict=True)),
    )


def _visits(
    connection: Connection, key: int, among: Sequence[int] | None = None
) -> Iterator[tuple[int, Iterator[Sequence[Any]]]]:
    """(position, rows of its visits in the order of passes), of all cases or `among` some positions, in their order."""
    columns = schema.visits.c
    rows = select(*_VISIT).where(columns.run_key == key).order_by(columns.position, columns.pass_index)
    if among is not None:
        rows = rows.where(columns.position.in_(among))
    return itertools.groupby(connection.execute(rows), key=itemgetter(0))


def _results(connection: Connection, key: int, cases: Sequence[Case]) -> dict[int, Result]:
    """The result of each case that a pass has reached, by position: what `result.merge` makes of its visits.

    Of nearly all cases every visit passed, and after the first came nothing new but blocks. Their results are made of
    columns: half a million visits of 100,000 cases would cost more to make than all the rest of loading them.
    """
    columns = schema.visits.c
    firsts = _firsts(connection, key)
    rows = connection.execute(
        select(columns.position, columns.layout, columns.blocks, columns.stop_reason)
        .where(columns.run_key == key)
        .order_by(columns.position, columns.pass_index)
    ).partitions()
    plain: list[int] = []
    blocks: list[tuple[Any, ...]] = []
    stops: list[StopReason] = []
    others: list[int] = []
    for position, visited in itertools.groupby(itertools.chain.from_iterable(rows), key=itemgetter(0)):
        if position not in firsts:
            others.append(position)
            continue
        of_case = list(visited)
        plain.append(position)
        blocks.append(tuple([visit[1:3] for visit in of_case]))
        stops.append(_STOP_REASONS[of_case[-1][3]])
    found: dict[int, Result] = {}
    if plain:
        names = ("reason", "layout", *PACKED[1:], "check", *FOUND_ONCE)
        brought = dict(zip(names, zip(*(firsts[position] for position in plain), strict=True), strict=True))
        layouts = brought.pop("layout")
        for name in PACKED[1:]:
            brought[name] = tuple(
                [((layout, packed),) if packed else () for layout, packed in zip(layouts, brought[name], strict=True)]
            )
        results = nouns(
            Result,
            len(plain),
            case=[cases[position] for position in plain],
            status=itertools.repeat(Status.PASSED, len(plain)),
            stop_reason=stops,
            blocks=blocks,
            **brought,
        )
        found = dict(zip(plain, results, strict=True))
    for start in range(0, len(others), _ASKED):
        for position, its_rows in _visits(connection, key, others[start : start + _ASKED]):
            case = cases[position]
            merged = merge(case, [_visit(case.id, row) for row in its_rows])
            assert merged is not None  # there is at least one visit
            found[position] = merged
    return found


def _firsts(connection: Connection, key: int) -> dict[int, Sequence[Any]]:
    """What a result takes beyond blocks, by position, of the cases that have all of it from their visit in pass 0.

    (reason, layout, system_blocks, kernel_blocks, check, those of FOUND_ONCE)
    """
    columns = schema.visits.c
    of_run, is_first = columns.run_key == key, columns.pass_index == 0
    companions, once = PACKED[1:], ("check_result", *FOUND_ONCE)
    rows = connection.execute(
        select(*(columns[name] for name in ("position", "reason", "layout", *companions, *once))).where(
            of_run, is_first
        )
    ).all()
    checks = _checks([row.check_result for row in rows])
    firsts: dict[int, Sequence[Any]] = {
        row[0]: (*row[1:5], check, *row[6:]) for row, check in zip(rows, checks, strict=True)
    }
    odd = or_(
        columns.status != Status.PASSED.value,
        func.length(columns.blocks) == 0,
        and_(is_first, or_(*(columns[name].is_(None) for name in _EVERY_TIME))),
        and_(~is_first, or_(*(columns[name].is_not(None) for name in companions))),
    )
    late = and_(~is_first, or_(*(columns[name].is_not(None) for name in once if name not in _EVERY_TIME)))
    for position, is_odd, *brought in connection.execute(
        select(columns.position, func.max(sql_case((odd, 1), else_=0)), *(func.count(columns[name]) for name in once))
        .where(of_run, or_(odd, late))
        .group_by(columns.position)
    ):
        first = firsts.get(position)
        if first is not None and (is_odd or any(n and had is None for n, had in zip(brought, first[4:], strict=True))):
            del firsts[position]
    return firsts


#: What every visit tells, though a result takes it from the first: the rest comes with the first alone, if at all.
_EVERY_TIME = ("threads", "timer")


#: Checks by their JSON. A layer errs alike in every run of its seed, so that of two runs the second has few new ones.
_known_checks: dict[str, Check] = {}
_MOST_CHECKS = 131072


def _checks(texts: Sequence[str | None]) -> list[Check | None]:
    """The checks by their JSON; those that are new are parsed at once."""
    if len(_known_checks) > _MOST_CHECKS:
        _known_checks.clear()
    new = [text for text in dict.fromkeys(texts) if text is not None and text not in _known_checks]
    _known_checks.update(zip(new, checks_from_json(json.loads(f"[{','.join(new)}]")), strict=True))
    return [None if text is None else _known_checks[text] for text in texts]
