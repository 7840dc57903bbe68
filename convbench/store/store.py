"""Runs and results in a database: begin a run, append visits, finish; load it again, whole or as a line of a list."""

from __future__ import annotations

import functools
import gc
import itertools
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from operator import itemgetter
from types import TracebackType
from typing import Any, Self, TypeAlias

from sqlalchemy import Connection, Engine, Row, Table, bindparam, delete, func, insert, select, update
from sqlalchemy.sql import ColumnElement

from convbench.case import Case
from convbench.errors import NotComparableError, RequestError, RunNotFoundError, StoreError, TakenOverError
from convbench.problem import Problem
from convbench.result import (
    FOUND_ONCE,
    PACKED,
    Baseline,
    Check,
    Environment,
    Git,
    PassFacts,
    Rejection,
    Result,
    Run,
    RunState,
    RunSummary,
    Status,
    StopReason,
    Visit,
    merge,
)
from convbench.serial import (
    Json,
    case_from_json,
    check_from_json,
    environment_from_json,
    measure_from_json,
    pass_facts_from_json,
    problem_from_json,
    to_json,
)
from convbench.store import place as places
from convbench.store import schema
from convbench.store.identity import LATEST, baseline_meant, checked_baseline_name
from convbench.store.writer import Writer

AnyRow: TypeAlias = "Row[*tuple[Any, ...]]"

#: Rows fetched at a time.
_CHUNK = 1000


class Store:
    """A database of runs; a context manager. All methods raise StoreError where the database cannot do it."""

    def __init__(self, engine: Engine, place: places.Place, *, version: int = schema.VERSION) -> None:
        self._engine = engine
        self._place = place
        self._version = version
        self._claims: dict[str, _Claim] = {}

    @classmethod
    def create(cls, url_or_path: str | None = None) -> Store:
        """Open a database to write runs, making it and its folder where there is none. An older schema is upgraded."""
        place = places.Place.of(url_or_path or places.DEFAULT)
        return cls(places.create(place), place)

    @classmethod
    def change(cls, url_or_path: str | None = None) -> Store:
        """Open a database to write that must exist. An older schema is upgraded."""
        place = places.Place.of(url_or_path or places.DEFAULT)
        return cls(places.open_to_change(place), place)

    @classmethod
    def open(cls, url_or_path: str | None = None) -> Store:
        """Open a database to read, of this or an older schema; it must exist, and nothing needs to be writable."""
        place = places.Place.of(url_or_path or places.DEFAULT)
        engine, version = places.open_to_read(place)
        return cls(engine, place, version=version)

    @property
    def place(self) -> str:
        """Where the database is, in words without a password."""
        return str(self._place)

    @property
    def is_file(self) -> bool:
        """Whether it is a file on this machine, rather than a server that may go away."""
        return self._place.path is not None

    def identity(self) -> str | None:
        """What tells this database from all others, however it is reached; None in one of schema version 1."""
        if self._version < schema.IDENTITY_SINCE:
            return None
        with self._reading() as connection:
            identity: str | None = connection.execute(select(schema.schema.c.identity)).scalar_one()
            return identity

    def take_identity(self, identity: str | None) -> None:
        """Have this database count as a part of another one."""
        with self._writing() as connection:
            connection.execute(update(schema.schema).values(identity=identity))

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- writing

    def begin(
        self, run: Run, cases: Sequence[Case], rejections: Sequence[Rejection], writer: Writer, *, digest: str
    ) -> None:
        """Store a new run with all its cases, still without results, and make `writer` the one that may append."""
        positions: dict[str, int] = {}
        with self._writing() as connection:
            row = {
                "id": run.id,
                "name": run.name,
                "description": run.description,
                "source": run.source,
                "seed": str(run.seed),
                "measure": _dumps(run.measure),
                "version": run.version,
                "started_at": run.started_at,
                "finished_at": run.finished_at,
                "state": run.state.value,
                "environment": _dumps(run.environment),
                "digest": digest,
                "host": writer.host,
                **_writer_columns(writer),
                **_git_columns(run.git),
            }
            key = connection.execute(insert(schema.runs).returning(schema.runs.c.key), row).scalar_one()
            _insert(
                connection,
                schema.rejections,
                (
                    {"run_key": key, "position": position, "label": rejection.label, "reason": rejection.reason}
                    for position, rejection in enumerate(rejections)
                ),
            )
            _insert(connection, schema.cases, _case_rows(key, cases, positions))
        self._claims[run.id] = _Claim(key=key, writer=writer, positions=positions)

    def resumable(
        self, *, digest: str, version: str, environment: Environment, host: str, git: Git | None = None
    ) -> str | None:
        """The newest unfinished run of the same sweep, version and environment that began on this host, at the same
        commit where it knows one, and whose writer is gone; None where there is none.
        """
        commits = (None, git.commit if git else None)  # a run of two commits would be told as one of the first
        runs = schema.runs.c
        wanted = (
            select(schema.runs)
            .where(
                runs.digest == digest,
                runs.version == version,
                runs.host == host,
                runs.state != RunState.FINISHED.value,
            )
            .order_by(runs.started_at.desc(), runs.key.desc())
        )
        with self._reading() as connection:
            for row in connection.execute(wanted).all():
                same = row.git_commit in commits and environment_from_json(json.loads(row.environment)) == environment
                if same and _is_free(row):
                    return str(row.id)
        return None

    def take_over(self, run_id: str, writer: Writer) -> None:
        """Go on with an unfinished run: `writer` alone may append from now on, and visits cut short are forgotten.

        StoreError where it is finished, or another process writes it.
        """
        runs = schema.runs.c
        with self._writing() as connection:
            row = connection.execute(select(schema.runs).where(runs.id == run_id)).one_or_none()
            if row is None:
                raise RunNotFoundError(f"no run {run_id} is stored in {self._place}")
            if row.state == RunState.FINISHED.value:
                raise StoreError(f"run {run_id} is finished", hint="`convbench run --fresh` measures anew")
            # The condition repeats what was judged: of two processes that take over at once, one changes no row.
            before = [runs[name].is_not_distinct_from(getattr(row, name)) for name in _writer_columns(None)]
            changed = connection.execute(
                update(schema.runs)
                .where(runs.key == row.key, *before)
                .values(state=RunState.RUNNING.value, finished_at=None, **_writer_columns(writer))
            )
            if not _is_free(row) or changed.rowcount != 1:
                raise StoreError(
                    f"run {run_id} is being written by another process",
                    hint="let that one end, or measure anew with --fresh",
                )
            visits = schema.visits.c
            connection.execute(delete(schema.visits).where(visits.run_key == row.key, visits.complete.is_(False)))
            positions = _positions(connection, row.key)
        self._claims[run_id] = _Claim(key=row.key, writer=writer, positions=positions)

    def claim(self, run_id: str, writer: Writer) -> None:
        """Go on with a run that `writer` writes already, after it was sent here."""
        with self._reading() as connection:
            key = self._find(connection, run_id).key
            self._claims[run_id] = _Claim(key=key, writer=writer, positions=_positions(connection, key))

    def append(self, run_id: str, visits: Sequence[Visit]) -> None:
        """Store visits, all or none. One that is stored already (same case and pass) is replaced, so that sending again
        what may have arrived does no harm.
        """
        if not visits:
            return
        rows = [_visit_row(self._claim(run_id), visit) for visit in visits]
        columns = schema.visits.c
        same = delete(schema.visits).where(
            columns.run_key == bindparam("its_run"),
            columns.position == bindparam("its_position"),
            columns.pass_index == bindparam("its_pass"),
        )
        with self._writing() as connection:
            self._defend(connection, run_id)
            connection.execute(
                same,
                [
                    {"its_run": row["run_key"], "its_position": row["position"], "its_pass": row["pass_index"]}
                    for row in rows
                ],
            )
            connection.execute(insert(schema.visits), rows)

    def note_pass(self, run_id: str, facts: PassFacts) -> None:
        """Store what is known of a pass, in place of what an earlier process knew of it."""
        claim, columns = self._claim(run_id), schema.passes.c
        with self._writing() as connection:
            self._defend(connection, run_id)
            connection.execute(
                delete(schema.passes).where(columns.run_key == claim.key, columns.pass_index == facts.pass_index)
            )
            row = {"run_key": claim.key, "pass_index": facts.pass_index, "facts": _dumps(facts)}
            connection.execute(insert(schema.passes), row)

    def finish(self, run_id: str, state: RunState, finished_at: str) -> None:
        """Say how a run ended and let go of it: its process may live on, and another may resume what is unfinished."""
        self._end(run_id, {"state": state.value, "finished_at": finished_at, **_writer_columns(None)})
        del self._claims[run_id]

    def note_end(self, run_id: str, state: RunState, finished_at: str) -> None:
        """Say how a run ended and that this process wrote it, for the day when it is sent elsewhere."""
        self._end(run_id, {"state": state.value, "finished_at": finished_at})

    def _end(self, run_id: str, values: Mapping[str, object]) -> None:
        claim = self._claim(run_id)
        with self._writing() as connection:
            self._defend(connection, run_id)
            connection.execute(update(schema.runs).where(schema.runs.c.key == claim.key).values(**values))

    # ---- from one database to another

    def is_being_written(self, run_id: str) -> bool:
        """Whether a process that is not known to be gone has yet to say how the run ended."""
        with self._reading() as connection:
            columns = schema.columns(schema.runs, self._version)
            row = connection.execute(select(*columns).where(schema.runs.c.id == run_id)).one_or_none()
            return row is not None and row.finished_at is None and not _is_free(row)

    def send(self, run_id: str, *, to: Store) -> None:
        """Have the other database hold all that this one holds of a run: the run itself where it is not there, visits
        that it lacks, what is known of passes, and how the run ended. All of it or nothing, and harmless to repeat.

        RunNotFoundError where it is not here, TakenOverError where another process has gone on with it there.
        """
        with self._reading() as here, to._writing() as there:
            every = schema.columns(schema.runs, self._version)
            run = here.execute(select(*every).where(schema.runs.c.id == run_id)).one_or_none()
            if run is None:
                raise RunNotFoundError(f"no run {run_id} is stored in {self._place}")
            theirs = there.execute(
                select(schema.runs).where(schema.runs.c.id == run_id).with_for_update()
            ).one_or_none()
            if theirs is None:
                values = {name: value for name, value in run._asdict().items() if name != "key"}
                key = there.execute(insert(schema.runs).returning(schema.runs.c.key), values).scalar_one()
                for table in (schema.rejections, schema.cases):
                    _insert(there, table, _rows_of(here, table, run.key, key, self._version))
            elif run.finished_at is not None and (theirs.state, theirs.finished_at) == (run.state, run.finished_at):
                return  # it has arrived, and only nobody heard
            elif _writer(theirs) != _writer(run):
                raise _taken_over(run_id)
            else:
                key = theirs.key
            _send_visits(here, there, run.key, key, self._version)
            there.execute(delete(schema.passes).where(schema.passes.c.run_key == key))
            _insert(there, schema.passes, _rows_of(here, schema.passes, run.key, key, self._version))
            if run.finished_at is not None:
                ended = {"state": run.state, "finished_at": run.finished_at, **_writer_columns(None)}
                there.execute(update(schema.runs).where(schema.runs.c.key == key).values(**ended))

    # ---- baselines

    def set_baseline(self, name: str, ref: str, *, set_at: str) -> Baseline:
        """Have `name` mean the run that `ref` means now, whatever it meant before. RequestError for a bad name."""
        columns = schema.baselines.c
        checked_baseline_name(name)
        with self._writing() as connection:
            run = self._find(connection, ref)
            values = {"run_key": run.key, "set_at": set_at}
            changed = connection.execute(update(schema.baselines).where(columns.name == name).values(values))
            if not changed.rowcount:
                connection.execute(insert(schema.baselines).values(name=name, **values))
        return Baseline(name=name, run_id=run.id, set_at=set_at)

    def remove_baseline(self, name: str) -> None:
        """Forget a baseline; its run stays. NotComparableError where there is none."""
        with self._writing() as connection:
            if not connection.execute(delete(schema.baselines).where(schema.baselines.c.name == name)).rowcount:
                raise self._no_baseline(connection, name)

    def baselines(self) -> list[Baseline]:
        """All baselines, by name."""
        with self._reading() as connection:
            return self._baselines(connection)

    def _baselines(self, connection: Connection) -> list[Baseline]:
        if self._version < schema.BASELINES_SINCE:
            return []
        columns, runs = schema.baselines.c, schema.runs.c
        rows = connection.execute(
            select(columns.name, runs.id, columns.set_at)
            .join_from(schema.baselines, schema.runs, columns.run_key == runs.key)
            .order_by(columns.name)
        )
        return [Baseline(name=name, run_id=run_id, set_at=set_at) for name, run_id, set_at in rows]

    def _no_baseline(self, connection: Connection, name: str) -> NotComparableError:
        names = ", ".join(baseline.name for baseline in self._baselines(connection))
        there_are = f"; set are {names}" if names else ""
        return NotComparableError(
            f"there is no baseline {name!r} in {self._place}",
            hint=f"`convbench baseline set {name} RUN` sets one{there_are}; ids of runs begin with a digit",
        )

    # ---- reading

    def visits(self, run_id: str) -> dict[str, list[Visit]]:
        """All visits of a run by case id, in the order of passes; cases without any are left out."""
        found: defaultdict[str, list[Visit]] = defaultdict(list)
        with self._reading() as connection, self._decoding(run_id):
            row = self._find(connection, run_id)
            cases = schema.cases.c
            stored = connection.execute(select(cases.position, cases.case_id).where(cases.run_key == row.key))
            ids: dict[int, str] = dict(stored.all())
            for position, rows in _visits_by_position(connection, row.key):
                found[ids[position]] = [_visit(ids[position], visit) for visit in rows]
        return dict(found)

    def load(self, ref: str) -> Run:
        """A run with its results: `latest` (the newest started), an id, a unique prefix of one, or a baseline, whose
        name may stand after `baseline:`.

        Raises RunNotFoundError where there is none or where there are several, and NotComparableError where there is no
        such baseline.
        """
        with self._reading() as connection, _without_garbage_collection():
            key = self._find(connection, ref).key
            columns = schema.columns(schema.runs, self._version)
            row = connection.execute(select(*columns).where(schema.runs.c.key == key)).one()
            with self._decoding(row.id):
                return _run(connection, row)

    def runs(self) -> list[RunSummary]:
        """All stored runs, newest first."""
        runs = schema.runs
        with self._reading() as connection:
            counted = connection.execute(select(schema.cases.c.run_key, func.count()).group_by(schema.cases.c.run_key))
            cases: dict[int, int] = dict(counted.all())
            statuses = _statuses(connection)
            return [
                self._summary(row, cases.get(row.key, 0), statuses.get(row.key, {}))
                for row in connection.execute(
                    select(*schema.columns(runs, self._version)).order_by(runs.c.started_at.desc(), runs.c.key.desc())
                )
            ]

    def find_case(self, ref: str) -> Case:
        """The case whose id is `ref` or begins with it, from any run; raises RunNotFoundError."""
        columns = schema.cases.c
        begins = columns.case_id.startswith(ref, autoescape=True)
        query = (
            select(columns.case_id, columns.problem, columns.settings).where(begins).order_by(columns.run_key.desc())
        )
        with self._reading() as connection, self._decoding(f"with case {ref}"):
            found = {row.case_id: row for row in reversed(connection.execute(query).all())}
            if len(found) != 1:
                told = f"begins the ids of {len(found)} cases" if found else "is the id of no case"
                raise RunNotFoundError(f"{ref!r} {told} in {self._place}", hint="`convbench export RUN` lists case ids")
            row = next(iter(found.values()))
            return case_from_json({**json.loads(row.settings), "problem": json.loads(row.problem)})

    # ---- the rest

    def _summary(self, row: AnyRow, cases: int, statuses: Mapping[Status, int]) -> RunSummary:
        with self._decoding(row.id):
            environment = environment_from_json(json.loads(row.environment))
        return RunSummary(
            id=row.id,
            name=row.name,
            state=_state(row),
            started_at=row.started_at,
            finished_at=row.finished_at,
            host=row.host,
            cpu=environment.cpu,
            torch=environment.torch,
            cases=cases,
            statuses=statuses,
            git=_git(row),
        )

    def _find(self, connection: Connection, ref: str) -> AnyRow:
        """(key, id, name) of the run that `ref` means."""
        runs = schema.runs.c
        stored = connection.execute(
            select(runs.key, runs.id, runs.name).order_by(runs.started_at.desc(), runs.key.desc())
        ).all()
        if not stored:
            raise RunNotFoundError(f"no run is stored in {self._place}", hint="`convbench run CONFIG` measures one")
        name = baseline_meant(ref)
        if name is not None:
            named = [baseline.run_id for baseline in self._baselines(connection) if baseline.name == name]
            if not named:
                raise self._no_baseline(connection, name)
            ref = named[0]
        found = stored[:1] if ref == LATEST else [row for row in stored if row.id == ref]
        found = found or [row for row in stored if ref and row.id.startswith(ref)]
        if len(found) == 1:
            return found[0]
        if found:
            raise RunNotFoundError(
                f"{ref!r} begins the ids of {len(found)} runs in {self._place}", hint=f"say more: {_listed(found)}"
            )
        raise RunNotFoundError(f"no run {ref!r} is stored in {self._place}", hint=f"stored are {_listed(stored)}")

    def _claim(self, run_id: str) -> _Claim:
        if run_id not in self._claims:
            raise StoreError(f"run {run_id} was not begun or taken over here")
        return self._claims[run_id]

    def _defend(self, connection: Connection, run_id: str) -> None:
        """StoreError where another process has taken the run over. Holds the row until the transaction ends."""
        claim = self._claim(run_id)
        row = connection.execute(
            select(schema.runs).where(schema.runs.c.key == claim.key).with_for_update()
        ).one_or_none()
        if row is None:
            raise StoreError(f"run {run_id} was deleted from {self._place}")
        if _writer(row) != claim.writer:
            raise _taken_over(run_id)

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """One transaction that may write: all of it is stored or, after an error, nothing."""
        with self._place.explaining(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """One transaction that sees the database as it was at its first look."""
        with (
            self._place.explaining(),
            self._engine.connect().execution_options(**places.reading(self._engine), yield_per=_CHUNK) as connection,
        ):
            yield connection

    @contextmanager
    def _decoding(self, run_id: str) -> Iterator[None]:
        try:
            yield
        except (ValueError, KeyError) as error:
            raise self._unreadable(run_id, error) from error
        except RequestError as error:
            if isinstance(error, StoreError | RunNotFoundError):
                raise
            raise self._unreadable(run_id, error) from error

    def _unreadable(self, run_id: str, error: Exception) -> StoreError:
        return StoreError(
            f"run {run_id} in {self._place} holds what this convbench cannot read: {error}",
            hint="a newer convbench may have written it",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """A run that this store writes."""

    key: int
    writer: Writer
    positions: Mapping[str, int]


def _compact(document: Json) -> str:
    # ASCII, so that any text inside can be stored anywhere and comes back as it was.
    return json.dumps(document, separators=(",", ":"), allow_nan=False)


def _dumps(noun: object) -> str:
    return _compact(to_json(noun, defaults=False))


def _case_rows(key: int, cases: Iterable[Case], positions: dict[str, int]) -> Iterator[dict[str, object]]:
    """The rows of a run's cases; fills in where each case stands."""
    for position, case in enumerate(cases):
        document = to_json(case, defaults=False)
        assert isinstance(document, dict)
        case_id = document.pop("id")
        assert isinstance(case_id, str)
        positions[case_id] = position
        problem = _compact(document.pop("problem"))
        settings = _compact(document)
        yield {"run_key": key, "position": position, "case_id": case_id, "problem": problem, "settings": settings}


def _insert(connection: Connection, table: Any, rows: Iterator[dict[str, object]]) -> None:
    while chunk := list(itertools.islice(rows, _CHUNK)):
        connection.execute(insert(table), chunk)


def _visit_row(claim: _Claim, visit: Visit) -> dict[str, object]:
    if visit.case_id not in claim.positions:
        raise StoreError(f"case {visit.case_id} is no case of this run")
    return {
        "run_key": claim.key,
        "position": claim.positions[visit.case_id],
        "pass_index": visit.pass_index,
        "status": visit.status.value,
        "complete": visit.complete,
        "reason": visit.reason,
        "check_result": None if visit.check is None else _dumps(visit.check),
        "stop_reason": visit.stop_reason.value,
        "layout": visit.layout,
        "blocks": visit.blocks,
        "system_blocks": visit.system_blocks or None,
        "kernel_blocks": visit.kernel_blocks or None,
        **{name: getattr(visit, name) for name in FOUND_ONCE},
    }


#: The columns that make a visit, in the order that `_visit` and `_result` take them apart.
_VISIT_COLUMNS = tuple(
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
_PACKED = slice(8, 8 + len(PACKED))
_FOUND_ONCE = slice(_PACKED.stop, None)
_STATUSES = {status.value: status for status in Status}
_STOP_REASONS = {reason.value: reason for reason in StopReason}


def _visit(case_id: str, row: Sequence[Any]) -> Visit:
    _, pass_index, status, reason, check, layout, stop, complete = row[: _PACKED.start]
    packed: dict[str, Any] = {name: blocks or b"" for name, blocks in zip(PACKED, row[_PACKED], strict=True)}
    return Visit(
        case_id=case_id,
        pass_index=pass_index,
        status=_STATUSES[status],
        reason=reason,
        check=None if check is None else _check(check),
        layout=layout,
        stop_reason=_STOP_REASONS[stop],
        complete=complete,
        **packed,
        **dict(zip(FOUND_ONCE, row[_FOUND_ONCE], strict=True)),
    )


def _check(text: str) -> Check:
    return check_from_json(json.loads(text))


def _visits_by_position(connection: Connection, key: int) -> Iterator[tuple[int, Iterator[Sequence[Any]]]]:
    """(position, rows of its visits in the order of passes), position by position as the rows come in."""
    visits = schema.visits.c
    rows = connection.execute(
        select(*_VISIT_COLUMNS).where(visits.run_key == key).order_by(visits.position, visits.pass_index)
    )
    return itertools.groupby(rows, key=itemgetter(0))


def _cases(connection: Connection, key: int) -> list[Case]:
    """The cases of a run in the sweep's order. Equal problems are one object: a sweep repeats each many times."""
    columns = schema.cases.c
    problems: dict[str, Problem] = {}
    alike: dict[str, Callable[..., Case]] = {}  # settings -> what makes a case with them
    cases = []
    for problem_text, settings in connection.execute(
        select(columns.problem, columns.settings).where(columns.run_key == key).order_by(columns.position)
    ):
        problem = problems.get(problem_text)
        if problem is None:
            problem = problems[problem_text] = problem_from_json(json.loads(problem_text))
        make = alike.get(settings)
        if make is None:
            case = case_from_json({**json.loads(settings), "problem": json.loads(problem_text)})
            rest = {field.name: getattr(case, field.name) for field in fields(Case) if field.name != "problem"}
            make = alike[settings] = functools.partial(Case, **rest)
        cases.append(make(problem=problem))
    return cases


def _result(case: Case, rows: Sequence[Sequence[Any]]) -> Result:
    """What `result.merge` makes of a case's visits.

    Where every visit passed, which is nearly always, the result is taken from the rows: half a million visits of
    100,000 cases would cost more to make than all the rest of loading them.
    """
    if [row[2] for row in rows] != [Status.PASSED.value] * len(rows):
        merged = merge(case, [_visit(case.id, row) for row in rows])
        assert merged is not None  # there is at least one visit
        return merged

    first = rows[0]
    check = next((row[4] for row in rows if row[4] is not None), None)
    found_once = list(first[_FOUND_ONCE])
    for index, value in enumerate(found_once):
        if value is None:
            column = _FOUND_ONCE.start + index
            found_once[index] = next((row[column] for row in rows if row[column] is not None), None)
    packed: dict[str, Any] = {
        name: tuple([(row[5], row[column]) for row in rows if row[column]])
        for column, name in enumerate(PACKED, start=_PACKED.start)
    }
    return Result(
        case=case,
        status=Status.PASSED,
        reason=first[3],
        check=None if check is None else _check(check),
        stop_reason=_STOP_REASONS[rows[-1][6]],
        **packed,
        **dict(zip(FOUND_ONCE, found_once, strict=True)),
    )


def _run(connection: Connection, row: AnyRow) -> Run:
    """The run of a row with everything that belongs to it."""
    every = _cases(connection, row.key)
    results: list[Result] = []
    unmeasured: list[Case] = []
    reached = 0  # cases before this position are in one of the two lists
    for position, rows in _visits_by_position(connection, row.key):
        unmeasured += every[reached:position]
        reached = position + 1
        results.append(_result(every[position], list(rows)))
    unmeasured += every[reached:]
    rejections, passes = schema.rejections.c, schema.passes.c
    return Run(
        id=row.id,
        name=row.name,
        description=row.description,
        source=row.source,
        seed=int(row.seed),
        measure=measure_from_json(json.loads(row.measure)),
        version=row.version,
        started_at=row.started_at,
        finished_at=row.finished_at,
        state=_state(row),
        environment=environment_from_json(json.loads(row.environment)),
        git=_git(row),
        results=tuple(results),
        rejections=tuple(
            Rejection(label=label, reason=reason)
            for label, reason in connection.execute(
                select(rejections.label, rejections.reason)
                .where(rejections.run_key == row.key)
                .order_by(rejections.position)
            )
        ),
        unmeasured=tuple(unmeasured),
        passes=tuple(
            pass_facts_from_json(json.loads(facts))
            for facts in connection.scalars(
                select(passes.facts).where(passes.run_key == row.key).order_by(passes.pass_index)
            )
        ),
    )


def _statuses(connection: Connection) -> dict[int, dict[Status, int]]:
    """How many cases of each run ended how, by `result.merge`'s rule: the first visit that did not pass decides."""
    visits = schema.visits.c
    visited = select(visits.run_key, func.count(visits.position.distinct())).group_by(visits.run_key)
    first = (
        select(visits.run_key, visits.position, func.min(visits.pass_index).label("pass_index"))
        .where(visits.status != Status.PASSED.value)
        .group_by(visits.run_key, visits.position)
        .subquery()
    )
    decisive: list[ColumnElement[bool]] = [
        visits[name] == first.c[name] for name in ("run_key", "position", "pass_index")
    ]
    others = (
        select(visits.run_key, visits.status, func.count()).where(*decisive).group_by(visits.run_key, visits.status)
    )
    found: defaultdict[int, dict[Status, int]] = defaultdict(dict)
    for key, status, count in connection.execute(others):
        found[key][Status(status)] = count
    for key, count in connection.execute(visited):
        passed = count - sum(found[key].values())
        if passed:
            found[key][Status.PASSED] = passed
    return found


def _writer_columns(writer: Writer | None) -> dict[str, object]:
    return {
        "writer_host": writer and writer.host,
        "writer_boot": writer and writer.boot,
        "writer_pid": writer and writer.pid,
        "writer_started": writer and writer.started,
    }


def _taken_over(run_id: str) -> TakenOverError:
    return TakenOverError(f"run {run_id} was taken over by another process", hint="end one of the two")


def _positions(connection: Connection, key: int) -> dict[str, int]:
    """Where each case of a run stands."""
    cases = schema.cases.c
    return dict(connection.execute(select(cases.case_id, cases.position).where(cases.run_key == key)).all())


def _rows_of(source: Connection, table: Table, key: int, new_key: int, version: int) -> Iterator[dict[str, object]]:
    """The rows of a run in a table as another database takes them, where the run has another key."""
    for row in source.execute(select(*schema.columns(table, version)).where(table.c.run_key == key)):
        yield {**row._asdict(), "run_key": new_key}


def _send_visits(source: Connection, target: Connection, key: int, new_key: int, version: int) -> None:
    """Copy the visits that the other side lacks, or has only as far as they were cut short."""
    visits = schema.visits.c
    place = (visits.position, visits.pass_index)
    stored = target.execute(select(*place, visits.complete).where(visits.run_key == new_key)).all()
    arrived = {(position, pass_index): complete for position, pass_index, complete in stored}
    lacking = []
    for row in _rows_of(source, schema.visits, key, new_key, version):
        complete = arrived.get((row["position"], row["pass_index"]))
        if complete == row["complete"]:
            continue
        if complete is not None:
            target.execute(
                delete(schema.visits).where(
                    visits.run_key == new_key,
                    visits.position == row["position"],
                    visits.pass_index == row["pass_index"],
                )
            )
        lacking.append(row)
        if len(lacking) == _CHUNK:
            target.execute(insert(schema.visits), lacking)
            lacking = []
    if lacking:
        target.execute(insert(schema.visits), lacking)


def _git_columns(git: Git | None) -> dict[str, object]:
    return {
        "git_commit": git and git.commit,
        "git_branch": git and git.branch,
        "git_dirty": git and git.dirty,
    }


def _git(row: AnyRow) -> Git | None:
    if row.git_commit is None:
        return None
    return Git(commit=row.git_commit, branch=row.git_branch, dirty=bool(row.git_dirty))


def _writer(row: AnyRow) -> Writer | None:
    if row.writer_pid is None:
        return None
    return Writer(host=row.writer_host, boot=row.writer_boot, pid=row.writer_pid, started=row.writer_started)


def _is_free(row: AnyRow) -> bool:
    """Whether no process writes the run any more."""
    writer = _writer(row)
    return writer is None or writer.is_gone()


def _state(row: AnyRow) -> RunState:
    """The state of a run; one whose writer was killed could not say so itself and was interrupted."""
    state = RunState(row.state)
    return RunState.INTERRUPTED if state is RunState.RUNNING and _is_free(row) else state


def _listed(rows: Sequence[AnyRow]) -> str:
    """`20261124-031502-k7q2 (sweep), ... and 3 more`."""
    shown = ", ".join(f"{row.id} ({row.name})" if row.name else str(row.id) for row in rows[:5])
    return shown if len(rows) <= 5 else f"{shown}, and {len(rows) - 5} more"


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Millions of new objects and no cycles among them: looking for cycles would cost more than reading."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
