"""The list of runs, page by page and filtered, without their results.

Each run has a row in `listed_runs`, which is made when a list is read and the row is missing or out of date. A run that
is being written is counted whenever it is listed.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, func, insert, or_, select, tuple_

from convbench.errors import RequestError, RunNotFoundError
from convbench.model.result import Environment, Roof, Run, RunState, RunSummary, Status
from convbench.store import loading, runs, schema
from convbench.store.place import Place
from convbench.store.runs import AnyRow
from convbench.store.store import Store

#: Runs whose rows are made in one transaction.
_CHUNK = 100

_runs, _listed, _verdicts = schema.runs.c, schema.listed_runs.c, schema.verdicts.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What a list of runs is limited to; None for no limit. `commit` is the beginning of one.

    `verdict` is that of a job on the run. `text` has words that occur in the run's id, name, description, host,
    machine, branch, commit or torch.
    """

    sweep: str | None = None
    machine: str | None = None
    host: str | None = None
    branch: str | None = None
    commit: str | None = None
    torch: str | None = None
    state: RunState | None = None
    verdict: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRun:
    """A run in the list. `machine` names the processor, its cores and the accelerator."""

    summary: RunSummary
    machine: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A page of the list, the newest run first. `after` is where the next page begins, None on the last one.

    `is_settled` is whether only the database says what is in it: no process writes one of the runs.
    """

    runs: Sequence[ListedRun]
    after: str | None
    is_settled: bool


def machine_of(environment: Environment) -> str:
    """`AMD EPYC 7B13, 2 cores` or `..., NVIDIA H200`: what must be equal for two runs to be of one machine."""
    cores = f"{environment.cores} core{'' if environment.cores == 1 else 's'}"
    return ", ".join(filter(None, (environment.cpu, cores, environment.accelerator)))


def listed(store: Store, filters: Filters, *, after: str | None = None, most: int = 50) -> Listed:
    """A page of the runs that the filters leave, beginning below the place `after` of an earlier page.

    Raises RequestError where `after` is no such place.
    """
    refresh(store)
    query = _rows().where(*_conditions(filters))
    if after is not None:
        query = query.where(tuple_(_runs.started_at, _runs.key) < tuple_(*_place(after)))
    with store.reading() as connection:
        rows = connection.execute(query.order_by(_runs.started_at.desc(), _runs.key.desc()).limit(most + 1)).all()
        counted = _counted(connection, [row.key for row in rows if row.finished_at is None])
    found = [_listed_run(row, counted.get(row.key), store.at) for row in rows[:most]]
    is_settled = all(run.summary.state is not RunState.RUNNING for run in found)
    if filters.state is not None:  # a run whose writer was killed is interrupted, which no column says
        found = [run for run in found if run.summary.state is filters.state]
    last = rows[most - 1] if len(rows) > most else None
    after = None if last is None else f"{last.started_at}_{last.key}"
    return Listed(runs=found, after=after, is_settled=is_settled)


def one(store: Store, run_id: str) -> ListedRun:
    """The run with this id as the list has it; raises RunNotFoundError."""
    refresh(store)
    query = _rows().where(_runs.id == run_id)
    with store.reading() as connection:
        row = connection.execute(query).one_or_none()
        if row is None:
            raise RunNotFoundError(f"no run {run_id!r} is stored in {store.at}")
        counted = _counted(connection, [row.key]) if row.finished_at is None else {}
    return _listed_run(row, counted.get(row.key), store.at)


def before(store: Store, run: ListedRun) -> str | None:
    """The newest finished run of the same sweep on the same machine that began before this one; None for the first."""
    at = run.summary.started_at
    query = select(_runs.id).join_from(schema.runs, schema.listed_runs, _runs.key == _listed.run_key)
    query = query.where(_runs.name == run.summary.name, _listed.machine == run.machine, _runs.started_at < at)
    query = query.where(_runs.state == RunState.FINISHED.value).order_by(_runs.started_at.desc(), _runs.key.desc())
    with store.reading() as connection:
        found: str | None = connection.execute(query.limit(1)).scalar_one_or_none()
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedRun:
    """A finished run without anything that takes long to read. `finished_at` is its time of finishing."""

    run_id: str
    sweep: str
    machine: str
    started_at: str
    finished_at: str
    cases: int


def ended(store: Store) -> list[EndedRun]:
    """The runs that have ended, the newest first."""
    refresh(store)
    columns = (_runs.id, _runs.name, _listed.machine, _runs.started_at, _runs.finished_at, _listed.cases)
    query = select(*columns).join_from(schema.runs, schema.listed_runs, _runs.key == _listed.run_key)
    query = query.where(_runs.finished_at.is_not(None)).order_by(_runs.started_at.desc(), _runs.key.desc())
    with store.reading() as connection:
        return [EndedRun(**dict(zip(EndedRun.__slots__, row, strict=True))) for row in connection.execute(query)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedMachine:
    """A machine that has runs: the names of its hosts, the number of runs, and the newest one.

    `roofs` are the highest rates that the processes of its newest finished run measured, one of each kind and dtype.
    """

    machine: str
    hosts: Sequence[str]
    runs: int
    first_at: str
    last_at: str
    last_run_id: str
    roofs: Sequence[Roof]


def machines(store: Store) -> list[ListedMachine]:
    """The machines that have runs, the one that measured last first."""
    refresh(store)
    joined = schema.runs.join(schema.listed_runs, _runs.key == _listed.run_key)
    counted = (
        select(_listed.machine, func.count(), func.min(_runs.started_at), func.max(_runs.started_at))
        .select_from(joined)
        .group_by(_listed.machine)
        .order_by(func.max(_runs.started_at).desc())
    )
    hosts = select(_listed.machine, _runs.host).select_from(joined).distinct().order_by(_runs.host)
    newest = (
        select(_runs.key, _runs.id).select_from(joined).order_by(_runs.started_at.desc(), _runs.key.desc()).limit(1)
    )
    with store.reading() as connection:
        named: dict[str, list[str]] = {}
        for machine, host in connection.execute(hosts):
            named.setdefault(machine, []).append(host)
        found = []
        for machine, number, first, last in connection.execute(counted).all():
            of_it = newest.where(_listed.machine == machine)
            ended = connection.execute(of_it.where(_runs.state == RunState.FINISHED.value)).one_or_none()
            found.append(
                ListedMachine(
                    machine=machine,
                    hosts=named.get(machine, []),
                    runs=number,
                    first_at=first,
                    last_at=last,
                    last_run_id=connection.execute(of_it).one().id,
                    roofs=_roofs(connection, ended, store.at) if ended else (),
                )
            )
        return found


def _roofs(connection: Connection, row: AnyRow, place: Place) -> Sequence[Roof]:
    """The highest rates in a run, compute before bandwidth, one of each device, kind, dtype and number of threads.

    Of the bandwidths, those with the largest footprint count: smaller ones are those of caches.
    """
    best: dict[tuple[object, ...], Roof] = {}
    with place.decoding(row.id):
        for facts in loading.processes(connection, row.key):
            for roof in facts.roofs:
                kind = (roof.kind.value != "compute", roof.device, roof.dtype or "", roof.threads or 0)
                best[kind] = max(best.get(kind, roof), roof, key=lambda one: (one.footprint_bytes or 0, one.rate))
    return [best[kind] for kind in sorted(best)]


def hosts(store: Store, *, most: int = 200) -> list[str]:
    """The names of the hosts that have runs."""
    query = select(_runs.host).distinct().order_by(_runs.host).limit(most)
    with store.reading() as connection:
        return list(connection.execute(query).scalars())


def values(store: Store, *, most: int = 200) -> dict[str, list[str]]:
    """The values that filters can have: the sweeps, machines, branches, versions of torch and verdicts that occur."""
    refresh(store)
    joined = schema.runs.join(schema.listed_runs, _runs.key == _listed.run_key)
    columns = {"sweep": _runs.name, "machine": _listed.machine, "branch": _runs.git_branch, "torch": _listed.torch}
    found = {}
    with store.reading() as connection:
        for name, column in columns.items():
            some = select(column).select_from(joined).where(column.is_not(None)).distinct().order_by(column)
            found[name] = [value for value in connection.execute(some.limit(most)).scalars() if value]
        named = select(_verdicts.verdict).distinct().order_by(_verdicts.verdict).limit(most)
        found["verdict"] = list(connection.execute(named).scalars())
    return found


#: One thread makes rows; another one that lists runs meanwhile waits for them instead of making them too.
_refreshing = threading.Lock()


def refresh(store: Store) -> int:
    """Make the rows that are missing or out of date; returns how many it made."""
    with _refreshing:
        return _refresh(store)


def _refresh(store: Store) -> int:
    made = 0
    stale = (
        select(_runs.key)
        .outerjoin(schema.listed_runs, _runs.key == _listed.run_key)
        .where(or_(_listed.run_key.is_(None), _listed.finished_at.is_distinct_from(_runs.finished_at)))
        .order_by(_runs.key)
        .limit(_CHUNK)
    )
    while True:
        with store.reading() as connection:
            keys = connection.execute(stale).scalars().all()
            if not keys:
                return made
            rows = connection.execute(select(schema.runs).where(_runs.key.in_(keys)).order_by(_runs.key)).all()
            cases, statuses = _cases(connection, keys), runs.statuses(connection, keys)
        new = [_row(row, cases.get(row.key, 0), statuses.get(row.key, {}), store.at) for row in rows]
        with store.writing() as connection:
            connection.execute(delete(schema.listed_runs).where(_listed.run_key.in_(keys)))
            there = set(connection.execute(select(_runs.key).where(_runs.key.in_(keys))).scalars())
            kept = [row for row in new if row["run_key"] in there]
            if kept:
                connection.execute(insert(schema.listed_runs), kept)
        made += len(keys)


def _row(row: AnyRow, cases: int, statuses: Mapping[str, int], place: Place) -> dict[str, object]:
    with place.decoding(row.id):
        run = runs.run_of(row)
    return {
        "run_key": row.key,
        "finished_at": row.finished_at,
        "cases": cases,
        "statuses": json.dumps(statuses),
        "cpu": run.environment.cpu,
        "machine": machine_of(run.environment),
        "torch": run.environment.torch,
        "search": _search(run, str(row.host)),
    }


def _search(run: Run, host: str) -> str:
    git = (run.git.commit, run.git.branch or "") if run.git else ()
    environment = run.environment
    words = (run.id, run.name, run.description, host, machine_of(environment), environment.torch, *git)
    return "\n".join(words).lower()


def _conditions(filters: Filters) -> list[ColumnElement[bool]]:
    equal = {
        _runs.name: filters.sweep,
        _listed.machine: filters.machine,
        _runs.host: filters.host,
        _runs.git_branch: filters.branch,
        _listed.torch: filters.torch,
    }
    found: list[ColumnElement[bool]] = [column == value for column, value in equal.items() if value]
    if filters.commit:
        found.append(_runs.git_commit.startswith(filters.commit.lower(), autoescape=True))
    if filters.state is RunState.FINISHED:
        found.append(_runs.state == RunState.FINISHED.value)
    elif filters.state is not None:
        found.append(_runs.state != RunState.FINISHED.value)
    if filters.verdict:
        found.append(_runs.id.in_(select(_verdicts.run_id).where(_verdicts.verdict == filters.verdict)))
    words = (filters.text or "").lower().split()
    return [*found, *(_listed.search.contains(word, autoescape=True) for word in words)]


def _place(after: str) -> tuple[str, int]:
    started_at, _, key = after.rpartition("_")
    if not started_at or not key.isascii() or not key.isdecimal() or len(key) > 18:
        raise RequestError(f"{after[:60]!r} is no place in the list of runs", hint="use the one of the page before")
    return started_at, int(key)


def _cases(connection: Connection, keys: Sequence[int]) -> dict[int, int]:
    columns = schema.cases.c
    query = select(columns.run_key, func.count()).where(columns.run_key.in_(keys)).group_by(columns.run_key)
    return dict(connection.execute(query).all())


def _counted(connection: Connection, keys: Sequence[int]) -> dict[int, dict[str, int]]:
    """The statuses of runs that are being written, as they are now."""
    return runs.statuses(connection, keys) if keys else {}


#: The columns of a run that its line in a list needs. The environment is not among them: to read it takes longest.
_COLUMNS = (
    *(_runs[name] for name in ("key", "id", "name", "state", "started_at", "finished_at", "host")),
    *(_runs[name] for name in ("git_commit", "git_branch", "git_dirty")),
    *(_runs[name] for name in ("writer_host", "writer_boot", "writer_pid", "writer_started")),
)


def _rows() -> Select[Any]:
    """The runs with what their lines need, without an order."""
    columns = (*_COLUMNS, _listed.cases, _listed.statuses, _listed.cpu, _listed.machine, _listed.torch)
    return select(*columns).join_from(schema.runs, schema.listed_runs, _runs.key == _listed.run_key)


def _listed_run(row: AnyRow, counted: Mapping[str, int] | None, place: Place) -> ListedRun:
    statuses: Mapping[str, int] = json.loads(row.statuses) if counted is None else counted
    with place.decoding(row.id):
        summary = RunSummary(
            id=row.id,
            name=row.name,
            state=runs.state_of(row),
            started_at=row.started_at,
            finished_at=row.finished_at,
            host=row.host,
            cpu=row.cpu,
            torch=row.torch,
            cases=row.cases,
            statuses={Status(status): number for status, number in statuses.items()},
            git=runs.git_of(row),
        )
    return ListedRun(summary=summary, machine=row.machine)
