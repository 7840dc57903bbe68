"""The rows of verdicts on jobs' runs, and of acceptances: what became of baselines, and who moved them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Connection, insert, select, update

from convbench.errors import ConflictError, RunNotFoundError, StoreError
from convbench.model.result import RunState
from convbench.model.schedule import Acceptance, ChangedCase, JobVerdict
from convbench.store import schema
from convbench.store.identity import checked_baseline_name
from convbench.store.notices import announce_verdict
from convbench.store.runs import AnyRow
from convbench.store.store import Store

#: The changed cases of a verdict that are stored, the first ones; its text counts all.
MOST_CHANGES = 100
_baselines, _runs = schema.baselines.c, schema.runs.c
_verdicts, _acceptances = schema.verdicts.c, schema.acceptances.c
#: The columns of a verdict that are fields of it, unchanged.
_COLUMNS = tuple(name for name in JobVerdict.__slots__ if name not in ("changes", "becomes_baseline"))


def insert_verdict(connection: Connection, verdict: JobVerdict) -> None:
    """Store the verdict on a job in a transaction that is open, and what channels get to know of it.

    Its run is the baseline from then on where it becomes it.
    """
    row: dict[str, object] = {name: getattr(verdict, name) for name in _COLUMNS}
    row["changes"] = json.dumps([asdict(one) for one in verdict.changes[:MOST_CHANGES]], separators=(",", ":"))
    connection.execute(schema.verdicts.delete().where(_verdicts.job_id == verdict.job_id))
    connection.execute(insert(schema.verdicts), row)
    announce_verdict(connection, verdict)
    if verdict.becomes_baseline:
        key = connection.execute(select(_runs.key).where(_runs.id == verdict.run_id)).scalar()
        if key is not None:  # the run's results may wait on this disk; the next run becomes the baseline then
            _set_baseline(connection, verdict.baseline, key, verdict.at)


def _set_baseline(connection: Connection, name: str, run_key: int, at: str) -> None:
    checked_baseline_name(name)
    values = {"run_key": run_key, "set_at": at}
    if not connection.execute(update(schema.baselines).where(_baselines.name == name).values(values)).rowcount:
        connection.execute(insert(schema.baselines).values(name=name, **values))


def verdicts(
    store: Store,
    *,
    run_ids: Sequence[str] | None = None,
    schedule_id: str | None = None,
    kinds: Sequence[str] | None = None,
    most: int = 50,
) -> Sequence[JobVerdict]:
    """Verdicts on jobs' runs, the newest first; of all, or of these runs, this schedule or these verdicts alone."""
    query = select(schema.verdicts).order_by(_verdicts.key.desc()).limit(most)
    if run_ids is not None:
        query = query.where(_verdicts.run_id.in_(run_ids))
    if kinds is not None:
        query = query.where(_verdicts.verdict.in_(kinds))
    if schedule_id is not None:
        query = query.where(_verdicts.schedule_id == schedule_id)
    with store.reading() as connection:
        return [_verdict(row) for row in connection.execute(query).all()]


def _verdict(row: AnyRow) -> JobVerdict:
    try:
        changes = tuple(ChangedCase(**one) for one in json.loads(row.changes))
    except (ValueError, TypeError):
        raise StoreError(f"the changes of job {row.job_id} are not readable") from None
    plain = {name: getattr(row, name) for name in JobVerdict.__slots__ if name in _COLUMNS}
    return JobVerdict(**plain, changes=changes)


def accept(
    store: Store, baseline: str, ref: str, *, who: str, reason: str, at: str, expected: str | None
) -> Acceptance:
    """Make the run that `ref` names the baseline, and store who did so and why.

    `expected` is the baseline's run that the person saw, None where that does not matter. Raises RunNotFoundError where
    there is no such baseline or run. Raises ConflictError for a run that is not finished or is the baseline already.
    It is raised too where the baseline is another run than `expected`.
    """
    run_id = store.run_id(ref)
    with store.writing() as connection:
        now_is = select(_runs.id).join_from(schema.baselines, schema.runs, _baselines.run_key == _runs.key)
        before = connection.execute(now_is.where(_baselines.name == baseline)).scalar()
        if before is None:
            raise RunNotFoundError(f"there is no baseline {baseline!r}", hint="`convbench baseline list` has them")
        if expected is not None and before != expected:
            raise ConflictError(f"{baseline} is run {before} by now", hint="compare with that run first")
        if before == run_id:
            raise ConflictError(f"{baseline} is run {run_id} already")
        row = connection.execute(select(schema.runs).where(_runs.id == run_id)).one_or_none()
        if row is None:
            raise RunNotFoundError(f"no run {run_id!r} is stored in {store.at}")
        if row.state != RunState.FINISHED.value:
            raise ConflictError(f"run {run_id} is not finished", hint="let it be measured to its end first")
        # Of two people who accept at once, the second one changes nothing: the baseline is no longer what they saw.
        was = select(_runs.key).where(_runs.id == before).scalar_subquery()
        changed = update(schema.baselines).where(_baselines.name == baseline, _baselines.run_key == was)
        if not connection.execute(changed.values(run_key=row.key, set_at=at)).rowcount:
            raise ConflictError(f"{baseline} was changed meanwhile", hint="compare again first")
        values = {
            "at": at,
            "who": who,
            "baseline": baseline,
            "before_id": before,
            "run_id": run_id,
            "sweep_name": row.name,
            "reason": reason,
        }
        key = connection.execute(insert(schema.acceptances).returning(_acceptances.key), values).scalar_one()
    return Acceptance(key=key, **values)


def acceptances(
    store: Store, *, run_ids: Sequence[str] | None = None, baseline: str | None = None, most: int = 50
) -> Sequence[Acceptance]:
    """Who moved baselines, the newest first; of all, or of these runs or this baseline alone."""
    query = select(schema.acceptances).order_by(_acceptances.key.desc()).limit(most)
    if run_ids is not None:
        query = query.where(_acceptances.run_id.in_(run_ids))
    if baseline is not None:
        query = query.where(_acceptances.baseline == baseline)
    with store.reading() as connection:
        rows = connection.execute(query).all()
    return [Acceptance(**{name: getattr(row, name) for name in Acceptance.__slots__}) for row in rows]
