"""Which layers are stored, and in how many runs, without their results."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, tuple_

from convbench.store import loading, schema
from convbench.store.past import ASKED
from convbench.store.store import Store

_cases, _runs = schema.cases.c, schema.runs.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A case that some run measured or was to measure."""

    case_id: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """In how many runs a layer is, and the newest of them."""

    runs: int
    last_run_id: str
    last_at: str


def ids(store: Store) -> list[str]:
    """The ids of all stored cases, each once, sorted.

    Each is found from the one before it by the index. To read the whole index would take as long as there are results.
    """
    found = select(func.min(_cases.case_id).label("case_id")).cte("ids", recursive=True)
    after = select(func.min(_cases.case_id)).where(_cases.case_id > found.c.case_id).scalar_subquery()
    found = found.union_all(select(after).where(found.c.case_id.is_not(None)))
    with store.reading() as connection:
        return [one for one in connection.execute(select(found.c.case_id)).scalars() if one is not None]


def newest(store: Store) -> tuple[int, str] | None:
    """The key and the id of the run that was stored last, None without runs."""
    with store.reading() as connection:
        row = connection.execute(select(_runs.key, _runs.id).order_by(_runs.key.desc()).limit(1)).one_or_none()
    return None if row is None else (row.key, row.id)


def ids_since(store: Store, key: int) -> list[str]:
    """The ids of the cases of runs whose key is `key` or higher, each once."""
    with store.reading() as connection:
        return list(connection.execute(select(_cases.case_id).where(_cases.run_key >= key).distinct()).scalars())


def ids_of_run(store: Store, run_id: str) -> list[str]:
    """The ids of a run's cases, in the order of its sweep."""
    query = select(_cases.case_id).join_from(schema.cases, schema.runs, _cases.run_key == _runs.key)
    with store.reading() as connection:
        return list(connection.execute(query.where(_runs.id == run_id).order_by(_cases.position)).scalars())


def layers(store: Store, case_ids: Collection[str]) -> list[Layer]:
    """The layers with these ids, in no order. One that is stored no more is left out."""
    found = []
    for some in _chunks(case_ids):
        newest = select(_cases.case_id, func.max(_cases.run_key)).where(_cases.case_id.in_(some))
        query = select(_cases.case_id, _cases.problem, _cases.settings)
        query = query.where(tuple_(_cases.case_id, _cases.run_key).in_(newest.group_by(_cases.case_id)))
        with store.reading() as connection, store.at.decoding("with a layer"):
            for row in connection.execute(query).all():
                case = loading.case(row.problem, row.settings, case_id=row.case_id)
                found.append(Layer(case_id=row.case_id, label=case.label))
    return found


def seen(store: Store, case_ids: Collection[str]) -> dict[str, Seen]:
    """How often each of these layers is stored, and in which run last, by its id."""
    found = {}
    for some in _chunks(case_ids):
        counted = select(_cases.case_id, func.count().label("runs"), func.max(_cases.run_key).label("key"))
        every = counted.where(_cases.case_id.in_(some)).group_by(_cases.case_id).subquery()
        query = select(every.c.case_id, every.c.runs, _runs.id, _runs.started_at).join_from(
            every, schema.runs, _runs.key == every.c.key
        )
        with store.reading() as connection:
            for row in connection.execute(query).all():
                found[row.case_id] = Seen(runs=row.runs, last_run_id=row.id, last_at=row.started_at)
    return found


def state(store: Store, case_id: str) -> tuple[object, ...]:
    """What changes when runs of a layer come, end or go. It is empty where no run has the layer.

    The last part is whether one of them is unfinished, so that results may come at any time.
    """
    query = select(func.count(), func.max(_runs.key), func.max(_runs.finished_at), func.count(_runs.finished_at))
    with store.reading() as connection:
        number, key, ended_at, ended = connection.execute(
            query.join_from(schema.cases, schema.runs, _cases.run_key == _runs.key).where(_cases.case_id == case_id)
        ).one()
    return (number, key, ended_at, ended < number) if number else ()


def _chunks(case_ids: Collection[str]) -> list[Sequence[str]]:
    every = sorted(case_ids)
    return [every[start : start + ASKED] for start in range(0, len(every), ASKED)]
