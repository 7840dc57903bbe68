"""Reads objects from rows: a run with its results, its visits, one case.

SQLite stores any type in any column, and another program may have written it. So rows are checked like an exported file
(model/reading.py). A wrong type and a value out of bounds raise ValueError or RequestError, which `Place.decoding`
explains.
"""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from operator import attrgetter, itemgetter
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Integer, Select, null, select, type_coerce

from convbench.model.bounds import wrong_blocks
from convbench.model.case import Case
from convbench.model.instances import instances
from convbench.model.operators import DEFAULT_OPERATOR
from convbench.model.problem import Problem
from convbench.model.reading import Json, check_columns
from convbench.model.result import (
    CASE_FACTS,
    PACKED,
    CaseFacts,
    Check,
    ProcessFacts,
    Rejection,
    Result,
    Run,
    Status,
    StopReason,
    Visit,
    joined_notes,
    merge,
)
from convbench.model.samples import VisitSamples, unpack_samples
from convbench.model.serial import (
    case_from_json,
    check_contents,
    check_from_json,
    checks_from_json,
    problem_from_json,
    process_facts_from_json,
    stored,
)
from convbench.store import schema
from convbench.store.runs import AnyRow, run_of

_STATUSES = {status.value: status for status in Status}
_STOP_REASONS = {reason.value: reason for reason in StopReason}


def load(connection: Connection, row: AnyRow, version: int, *, checks: bool) -> Run:
    """The run of a row with everything that belongs to it; with what the checks found where `checks` is set.

    The database has this version of the schema.
    """
    cases = cases_of_run(connection, row.key)
    results = _results(connection, row.key, cases, version, checks=checks)
    run = replace(
        run_of(row),
        results=tuple([result for result in results if result is not None]),
        rejections=rejections(connection, row.key),
        unmeasured=tuple([case for case, result in zip(cases, results, strict=True) if result is None]),
        processes=processes(connection, row.key),
    )
    check_contents(run)
    return run


def visits(connection: Connection, key: int, version: int) -> dict[str, list[Visit]]:
    """All visits of a run by case id, in the order of processes; cases without visits are left out."""
    return visits_of(connection, key, version, list(positions(connection, key)))


def visits_of(
    connection: Connection, key: int, version: int, ids: Sequence[str], *, first: int = 0, end: int | None = None
) -> dict[str, list[Visit]]:
    """As `visits`, of the cases from position `first` to before `end`. `ids` are those of these cases, in order."""
    query = _visits_of(key, version, checks=True, samples=True)
    if end is not None:
        query = query.where(schema.visits.c.position >= first, schema.visits.c.position < end)
    rows = connection.execute(query).all()
    check_visits(by_name(_VISIT_NAMES, rows), cases=first + len(ids))
    made = [_visit(ids[row[0] - first], row) for row in rows]
    check_packed(made)
    return {case_id: list(some) for case_id, some in itertools.groupby(made, key=attrgetter("case_id"))}


def visit_rows(connection: Connection, key: int, version: int, *, first: int, end: int) -> Sequence[tuple[Any, ...]]:
    """The visits of the cases from position `first` to before `end`, unchecked: the position, then all columns.

    Equal visits have equal rows in every database.
    """
    visits = schema.visits.c
    names = [name for name in _VISIT_NAMES if name != "position"]
    wanted = select(visits.position, *schema.columns(schema.visits, version, *names))
    wanted = wanted.where(visits.run_key == key, visits.position >= first, visits.position < end)
    return [tuple(row) for row in connection.execute(wanted.order_by(visits.position, visits.process_index))]


def check_packed(visits: Sequence[Visit]) -> None:
    """Raise ValueError where the blocks or samples of a visit are not values that a sweep can measure."""
    wrong = wrong_blocks([(visit.layout, getattr(visit, name)) for visit in visits for name in PACKED])
    if wrong is not None:
        visit = visits[wrong[0] // len(PACKED)]
        raise ValueError(f"case {visit.case_id}, process {visit.process_index}: {wrong[1]}")
    for visit in visits:
        unpack_samples(visit.samples)  # raises ValueError


def samples(connection: Connection, key: int, version: int) -> Iterator[VisitSamples]:
    """The samples of a run, visit by visit, in the order of cases and processes."""
    ids = list(positions(connection, key))
    for row in connection.execute(_visits_of(key, version, checks=False, samples=True)):
        held = dict(zip(_VISIT_NAMES, row, strict=True))
        check_visits({name: [value] for name, value in held.items()}, cases=len(ids))
        if held["samples"]:
            yield VisitSamples(
                case_id=ids[held["position"]],
                process_index=held["process_index"],
                blocks=unpack_samples(held["samples"]),
            )


def by_name(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[str, tuple[Any, ...]]:
    """The columns of rows, by name."""
    return dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else {}


def check_visits(columns: Mapping[str, Sequence[Any]], *, cases: int) -> None:
    """Raise RequestError or ValueError where a value is not valid for a visit of a run with this number of cases.

    The columns have the names of a visit's fields. The contents of packed blocks and checks are checked elsewhere.
    """
    check_columns(Visit, {name: values for name, values in columns.items() if name in _PLAIN_FIELDS}, "visits")
    for name, most in (("position", cases), ("complete", 2)):
        wrong = [value for value in set(columns.get(name, ())) if not isinstance(value, int) or not 0 <= value < most]
        if wrong:
            raise ValueError(f"visits: {name} is {str(wrong[0])[:60]!r}, expected an integer under {most}")
    for name, kind in (*((name, bytes) for name in (*PACKED, "samples")), ("check_result", str)):
        kinds = {*map(type, columns.get(name, ()))} - {kind, type(None)}
        if kinds:
            raise ValueError(f"visits: {name} is of type {kinds.pop().__name__}, expected {kind.__name__}")


#: The columns that are checked value by value.
_PLAIN_FIELDS = frozenset({"process_index", "status", "reason", "layout", "stop_reason", *CASE_FACTS})


def case(problem: str, settings: str, *, case_id: str | None = None) -> Case:
    """A case from the two texts that are stored for it; ValueError where its id is not `case_id`."""
    made = _cases_of([(problem, settings)])[0]
    if case_id is not None and made.id != case_id:
        raise ValueError(f"the settings of case {case_id!r} make the id {made.id!r}")
    return made


#: The most cases, and the most checks, that are cached; when there are more, the cache is emptied.
MOST_KNOWN = 131072

_Stored = TypeVar("_Stored", bound=Hashable)
T = TypeVar("T")


class Known(Generic[_Stored, T]):
    """A cache of the objects made from stored values. Threads that read at the same time share it, by a lock.

    The two runs of a comparison share their cases, which are then read once and are the same objects. A layer has the
    same errors in every run with the same seed, so that the second run has few new checks.
    """

    def __init__(self, read: Callable[[Sequence[_Stored]], Iterable[T]]) -> None:
        self._read = read
        self._known: dict[_Stored, T] = {}
        self._lock = threading.Lock()

    def of(self, stored: Sequence[_Stored]) -> list[T]:
        """The object of each stored value; all values that are not cached are read in one call."""
        with self._lock:
            known = self._known
            if len(known) > MOST_KNOWN:
                known.clear()
            new = [one for one in dict.fromkeys(stored) if one not in known]
            if new:  # a history asks for one case at a time, nearly all of them known
                known.update(zip(new, self._read(new), strict=True))
            return [known[one] for one in stored]


def _cases_of(texts: Sequence[tuple[str, str]]) -> list[Case]:
    """The cases of these (problem, settings)."""
    return _known_cases.of(texts)


def _read_cases(texts: Sequence[tuple[str, str]]) -> list[Case]:
    settings = [_settings(text) for _, text in texts]
    columns = {name: [getattr(made, name) for made in settings] for name in _SETTINGS}
    return instances(Case, len(texts), problem=[_problem(text) for text, _ in texts], **columns)


_known_cases = Known(_read_cases)

_SETTINGS = [field.name for field in fields(Case) if field.name != "problem"]


#: Equal problems are one object: a sweep repeats each problem many times.
@functools.lru_cache(maxsize=65536)
def _problem(text: str) -> Problem:
    return problem_from_json(stored(text))


@functools.lru_cache(maxsize=4096)
def _settings(text: str) -> Case:
    """A case with these settings and an arbitrary problem."""
    document = stored(text)
    if not isinstance(document, dict):
        raise ValueError(f"expected an object of settings, got {text[:60]!r}")
    return case_from_json({**document, "problem": _ANY_PROBLEM})


#: An arbitrary problem, for reading settings without theirs.
_ANY_PROBLEM: Json = {
    "in_channels": 1,
    "out_channels": 1,
    **{name: [1] * DEFAULT_OPERATOR.rank for name in ("kernel_size", "input_size")},
}


def positions(connection: Connection, key: int) -> dict[str, int]:
    """The position of each case of a run in the sweep, by its id."""
    cases = schema.cases.c
    rows = connection.execute(
        select(cases.case_id, cases.position).where(cases.run_key == key).order_by(cases.position)
    ).all()
    _check_positions([position for _, position in rows])
    ids = [case_id for case_id, _ in rows]
    check_columns(Visit, {"case_id": ids}, "cases")
    if len(set(ids)) < len(ids):
        raise ValueError("a case occurs twice")
    return {case_id: position for position, case_id in enumerate(ids)}


def _check_positions(found: Sequence[object], *, first: int = 0) -> None:
    if found != [*range(first, first + len(found))]:
        raise ValueError(f"its {len(found)} cases are not at the positions from {first} to {first + len(found) - 1}")


def cases_of_run(connection: Connection, key: int, *, first: int = 0, end: int | None = None) -> list[Case]:
    """The cases of a run in the sweep's order, from position `first` to before `end`."""
    columns = schema.cases.c
    wanted = select(columns.problem, columns.settings, columns.position).where(columns.run_key == key)
    if end is not None:
        wanted = wanted.where(columns.position >= first, columns.position < end)
    rows = connection.execute(wanted.order_by(columns.position)).all()
    _check_positions([position for _, _, position in rows], first=first)
    return _cases_of([(problem, settings) for problem, settings, _ in rows])


def rejections(connection: Connection, key: int) -> tuple[Rejection, ...]:
    """The points that torch refused in the sweep of a run, in their order."""
    columns = schema.rejections.c
    rows = connection.execute(
        select(columns.label, columns.reason).where(columns.run_key == key).order_by(columns.position)
    ).all()
    check_columns(Rejection, {"label": [label for label, _ in rows], "reason": [why for _, why in rows]}, "rejections")
    return tuple(Rejection(label=label, reason=reason) for label, reason in rows)


def processes(connection: Connection, key: int) -> tuple[ProcessFacts, ...]:
    """The facts of a run's processes, in their order."""
    columns = schema.processes.c
    rows = connection.scalars(select(columns.facts).where(columns.run_key == key).order_by(columns.process_index))
    return tuple(process_facts_from_json(stored(facts)) for facts in rows)


#: The columns of a visit.
_VISIT_NAMES = (
    *("position", "process_index", "status", "reason", "check_result", "layout", "stop_reason", "complete"),
    *PACKED,
    "samples",
    *CASE_FACTS,
)


def _visit(case_id: str, row: Sequence[Any]) -> Visit:
    held = dict(zip(_VISIT_NAMES, row, strict=True))
    check = held["check_result"]
    return Visit(
        case_id=case_id,
        process_index=held["process_index"],
        status=_STATUSES[held["status"]],
        reason=held["reason"],
        facts=CaseFacts(
            check=None if check is None else check_from_json(stored(check)), **{name: held[name] for name in CASE_FACTS}
        ),
        layout=held["layout"],
        stop_reason=_STOP_REASONS[held["stop_reason"]],
        complete=bool(held["complete"]),
        samples=held["samples"] or b"",
        **{name: held[name] or b"" for name in PACKED},
    )


def _visits_of(key: int, version: int, *, checks: bool, samples: bool = False) -> Select[*tuple[Any, ...]]:
    """All visits of a run in the order of cases and processes.

    Without `checks` or `samples` their column is null.
    """
    visits = schema.visits.c
    columns = dict(zip(_VISIT_NAMES, schema.columns(schema.visits, version, *_VISIT_NAMES), strict=True))
    columns["complete"] = type_coerce(visits.complete, Integer).label("complete")  # else SQLAlchemy converts each row
    if not checks:
        columns["check_result"] = null().label("check_result")
    if not samples:
        columns["samples"] = null().label("samples")
    return select(*columns.values()).where(visits.run_key == key).order_by(visits.position, visits.process_index)


def _results(
    connection: Connection, key: int, cases: Sequence[Case], version: int, *, checks: bool
) -> list[Result | None]:
    """The result of each case, as `result.merge` makes it from its visits; None where a case has no visits.

    In a finished run nearly every case has one row (folding.py), unless an older convbench stored it. Results of one
    row are made column by column. To make them visit by visit would take longer than the rest of loading 100,000 cases.
    """
    found: list[Result | None] = [None] * len(cases)
    rows = connection.execute(_visits_of(key, version, checks=checks)).all()
    columns = by_name(_VISIT_NAMES, rows)
    check_visits(columns, cases=len(cases))
    several = {row[0] for row, following in itertools.pairwise(rows) if row[0] == following[0]}
    alone = [row for row in rows if row[0] not in several and row[2] == Status.PASSED.value]
    if alone:
        if len(alone) < len(rows):
            columns = by_name(_VISIT_NAMES, alone)
        layouts = columns["layout"]
        facts = instances(
            CaseFacts,
            len(alone),
            check=_checks(columns["check_result"]),
            **{name: columns[name] for name in CASE_FACTS}
            | {"note": [note if note is None else joined_notes(note) for note in columns["note"]]},
        )
        results = instances(
            Result,
            len(alone),
            case=[cases[position] for position in columns["position"]],
            status=itertools.repeat(Status.PASSED, len(alone)),
            reason=columns["reason"],
            facts=facts,
            stop_reason=[_STOP_REASONS[reason] for reason in columns["stop_reason"]],
            **{
                name: [((layout, held),) if held else () for layout, held in zip(layouts, columns[name], strict=True)]
                for name in PACKED
            },
        )
        for position, result in zip(columns["position"], results, strict=True):
            found[position] = result
    if len(alone) < len(rows):
        others = [row for row in rows if found[row[0]] is None]
        for position, visited in itertools.groupby(others, key=itemgetter(0)):
            case = cases[position]
            found[position] = merge(case, [_visit(case.id, row) for row in visited])
    return found


def _checks(texts: Sequence[str | None]) -> list[Check | None]:
    """The checks from their JSON texts."""
    read = iter(_known_checks.of([text for text in texts if text is not None]))
    return [None if text is None else next(read) for text in texts]


def _read_checks(texts: Sequence[str]) -> list[Check]:
    try:
        documents = stored(f"[{','.join(texts)}]")
    except ValueError:
        documents = None
    if not isinstance(documents, list) or len(documents) != len(texts):
        documents = [stored(text) for text in texts]  # raises the error of the first text that is wrong
    return checks_from_json(documents)


_known_checks = Known(_read_checks)
