"""The rows of runs: a run's writer, its state and its names; the list of all runs, and the baselines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from sqlalchemy import Connection, Row, and_, case, func, select
from sqlalchemy.sql import ColumnElement

from convbench.errors import RunNotFoundError
from convbench.model.reading import reader
from convbench.model.result import Baseline, Environment, Git, Run, RunState, RunSummary, Status
from convbench.model.serial import (
    baseline_from_json,
    environment_from_json,
    git_from_json,
    run_head_from_json,
    stored,
    text_from_json,
)
from convbench.model.variables import may_hold_secrets
from convbench.store import schema
from convbench.store.identity import LATEST, baseline_meant
from convbench.store.place import Place
from convbench.store.writer import Writer

AnyRow: TypeAlias = "Row[*tuple[Any, ...]]"


def writer_columns(writer: Writer | None) -> dict[str, object]:
    """The columns of the process that writes a run; null where none does."""
    return {
        "writer_host": writer and writer.host,
        "writer_boot": writer and writer.boot,
        "writer_pid": writer and writer.pid,
        "writer_started": writer and writer.started,
    }


def writer_of(row: AnyRow) -> Writer | None:
    """The process that writes the run, None where none does. RequestError where the row is invalid."""
    if row.writer_pid is None:
        return None
    named = {name: getattr(row, f"writer_{name}") for name in ("host", "boot", "pid", "started")}
    return _writer_from_json(named)


_writer_from_json = reader(Writer)


def is_free(row: AnyRow) -> bool:
    """Whether no process is writing the run."""
    writer = writer_of(row)
    return writer is None or writer.is_gone()


def git_columns(git: Git | None) -> dict[str, object]:
    """The columns of the commit that was checked out."""
    return {
        "git_commit": git and git.commit,
        "git_branch": git and git.branch,
        "git_dirty": git and git.dirty,
    }


def git_of(row: AnyRow) -> Git | None:
    """The commit that was checked out, None where it is unknown."""
    if row.git_commit is None:
        return None
    return git_from_json({"commit": row.git_commit, "branch": row.git_branch, "dirty": bool(row.git_dirty)})


def state_of(row: AnyRow) -> RunState:
    """The state of a run; INTERRUPTED where its writer was killed and could not store that."""
    state = RunState(row.state)
    return RunState.INTERRUPTED if state is RunState.RUNNING and is_free(row) else state


def environment_of(row: AnyRow) -> Environment:
    """The environment that the run was measured in."""
    return environment_from_json(stored(row.environment))


def run_of(row: AnyRow) -> Run:
    """The run of a row, without the data of other tables. It is checked like an exported run."""
    if not isinstance(row.seed, str):
        raise ValueError(f"seed: expected a text, got {row.seed!r}")
    head = run_head_from_json(
        {
            **{name: getattr(row, name) for name in _PLAIN},
            "seed": int(row.seed),
            "measure": stored(row.measure),
            "environment": stored(row.environment),
        }
    )
    if may_hold_secrets(head.source):
        from convbench.sweep.document import of_today  # imports YAML, which few runs need

        head = of_today(head)
    return replace(head, state=state_of(row), git=git_of(row))


#: The columns that are fields of a run, unchanged.
_PLAIN = ("id", "name", "description", "source", "version", "started_at", "finished_at", "state")


def find(connection: Connection, ref: str, version: int, place: Place) -> AnyRow:
    """(key, id, name) of the run that `ref` refers to in a database of a schema version.

    Raises RunNotFoundError where no run or several runs match, or where there is no such baseline.
    """
    runs = schema.runs.c
    rows = connection.execute(
        select(runs.key, runs.id, runs.name).order_by(runs.started_at.desc(), runs.key.desc())
    ).all()
    there = [row for row in rows if isinstance(row.id, str)]  # another program may have stored any type in SQLite
    if not there:
        raise RunNotFoundError(f"no run is stored in {place}", hint="`convbench run CONFIG` measures one")
    name = baseline_meant(ref)
    if name is not None:
        named = [baseline.run_id for baseline in baselines(connection, version, place) if baseline.name == name]
        if not named:
            raise no_baseline(connection, name, version, place)
        ref = named[0]
    found = there[:1] if ref == LATEST else [row for row in there if row.id == ref]
    found = found or [row for row in there if ref and row.id.startswith(ref)]
    if len(found) == 1:
        return found[0]
    if found:
        raise RunNotFoundError(
            f"{ref!r} begins the ids of {len(found)} runs in {place}", hint=f"say more: {_listed(found)}"
        )
    raise RunNotFoundError(f"no run {ref!r} is stored in {place}", hint=f"stored are {_listed(there)}")


def _listed(rows: Sequence[AnyRow]) -> str:
    """`20261124-031502-k7q2 (sweep), ... and 3 more`."""
    shown = ", ".join(f"{row.id} ({row.name})" if row.name else str(row.id) for row in rows[:5])
    return shown if len(rows) <= 5 else f"{shown}, and {len(rows) - 5} more"


def baselines(connection: Connection, version: int, place: Place) -> list[Baseline]:
    """All baselines in a database of a schema version, by name. StoreError where one is invalid."""
    if version < schema.BASELINES_SINCE:
        return []
    columns, runs = schema.baselines.c, schema.runs.c
    rows = connection.execute(
        select(columns.name, runs.id, columns.set_at)
        .join_from(schema.baselines, schema.runs, columns.run_key == runs.key)
        .order_by(columns.name)
    )
    found = []
    for name, run_id, set_at in rows:
        with place.decoding(f"of baseline {str(name)[:100]!r}"):
            found.append(baseline_from_json({"name": name, "run_id": run_id, "set_at": set_at}))
    return found


def no_baseline(connection: Connection, name: str, version: int, place: Place) -> RunNotFoundError:
    """The error that there is no baseline of this name; it lists those that there are."""
    names = ", ".join(baseline.name for baseline in baselines(connection, version, place))
    there_are = f"; set are {names}" if names else ""
    return RunNotFoundError(
        f"there is no baseline {name!r} in {place}",
        hint=f"`convbench baseline set {name} RUN` sets one{there_are}; ids of runs begin with a digit",
    )


def summaries(connection: Connection, version: int, place: Place) -> list[RunSummary]:
    """All runs in a database of a schema version, newest first."""
    runs = schema.runs
    counted = connection.execute(select(schema.cases.c.run_key, func.count()).group_by(schema.cases.c.run_key))
    cases: dict[int, int] = dict(counted.all())
    found = statuses(connection)
    return [
        _summary(row, cases.get(row.key, 0), found.get(row.key, {}), place)
        for row in connection.execute(
            select(*schema.columns(runs, version)).order_by(runs.c.started_at.desc(), runs.c.key.desc())
        )
    ]


def _summary(row: AnyRow, cases: int, statuses: Mapping[str, int], place: Place) -> RunSummary:
    with place.decoding(row.id):
        run = run_of(row)
        return RunSummary(
            id=run.id,
            name=run.name,
            state=run.state,
            started_at=run.started_at,
            finished_at=run.finished_at,
            host=text_from_json(row.host),
            cpu=run.environment.cpu,
            torch=run.environment.torch,
            cases=cases,
            statuses={Status(status): count for status, count in statuses.items()},
            git=run.git,
        )


def statuses(connection: Connection, keys: Sequence[int] | None = None) -> dict[int, dict[str, int]]:
    """The number of cases of each run by status, as stored: of all runs, or of those with these keys.

    The rule is that of `result.merge`: the first visit that did not pass decides, but a wrong result comes before an
    imprecise one.
    """
    visits = schema.visits.c
    of = [] if keys is None else [visits.run_key.in_(keys)]
    visited = select(visits.run_key, func.count(visits.position.distinct())).where(*of).group_by(visits.run_key)
    failed = case((visits.status == Status.FAILED.value, 1), else_=0)
    first = (
        select(
            visits.run_key,
            visits.position,
            func.min(visits.process_index).label("process_index"),
            func.max(failed).label("failed"),
        )
        .where(visits.status != Status.PASSED.value, *of)
        .group_by(visits.run_key, visits.position)
        .subquery()
    )
    decisive: list[ColumnElement[bool]] = [
        visits[name] == first.c[name] for name in ("run_key", "position", "process_index")
    ]
    wrong = and_(visits.status == Status.IMPRECISE.value, first.c.failed == 1)
    status = case((wrong, Status.FAILED.value), else_=visits.status).label("decided")
    each = select(visits.run_key, status).where(*decisive, *of).subquery()
    others = select(each.c.run_key, each.c.decided, func.count()).group_by(each.c.run_key, each.c.decided)
    found: defaultdict[int, dict[str, int]] = defaultdict(dict)
    for key, name, count in connection.execute(others):
        found[key][name] = count
    for key, count in connection.execute(visited):
        passed = count - sum(found[key].values())
        if passed:
            found[key][Status.PASSED.value] = passed
    return found
