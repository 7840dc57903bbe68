"""Which stored runs have a case or a layer in common, without their results."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from sqlalchemy import Connection, func, select

from convbench.store import schema
from convbench.store.past import ASKED
from convbench.store.runs import AnyRow
from convbench.store.store import Store
from convbench.sweep.expand import shown_labels

#: Maximum cases that are read: a user waits for the page.
MOST_CASES = 20_000

_cases, _runs = schema.cases.c, schema.runs.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinds:
    """Runs by what they measure. `of` numbers the kind of each run, equal for runs of the same cases.

    `apart` has the pairs of kinds that no comparison can use, the lower number first. A run without a kind was not
    read.
    """

    of: Mapping[str, int]
    apart: Collection[tuple[int, int]]


def kinds(store: Store, run_ids: Collection[str]) -> Kinds:
    """The kinds of some runs. The newest kinds are read, `MOST_CASES` cases of them in all."""
    with store.reading() as connection:
        rows: list[AnyRow] = []
        every = sorted(run_ids)
        for start in range(0, len(every), ASKED):
            some = every[start : start + ASKED]
            rows += connection.execute(select(_runs.key, _runs.id, _runs.digest).where(_runs.id.in_(some))).all()
        newest: dict[str, int] = {}
        for row in rows:
            newest[row.digest] = max(row.key, newest.get(row.digest, 0))
        found: dict[str, frozenset[str]] = {}
        left = MOST_CASES
        for digest, key in sorted(newest.items(), key=lambda item: -item[1]):
            left -= connection.execute(
                select(func.count()).select_from(schema.cases).where(_cases.run_key == key)
            ).scalar_one()
            if left < 0:
                break
            found[digest] = _matchable(connection, key)
    numbers = {digest: number for number, digest in enumerate(found)}
    return Kinds(
        of={row.id: numbers[row.digest] for row in rows if row.digest in numbers},
        apart=[
            (one, other)
            for (one, first), (other, second) in combinations(enumerate(found.values()), 2)
            if first.isdisjoint(second)
        ],
    )


def _matchable(connection: Connection, key: int) -> frozenset[str]:
    """What of a run a comparison can match: the ids of its cases, and the labels of its layers after a blank."""
    found = set[str]()
    read: dict[str, list[str]] = {}
    for case_id, settings in connection.execute(select(_cases.case_id, _cases.settings).where(_cases.run_key == key)):
        found.add(case_id)
        if settings not in read:
            read[settings] = _labels(settings)
        found.update(read[settings])
    return frozenset(found)


def _labels(settings: str) -> list[str]:
    """The labels in the stored settings of a case, each after a blank, which no id begins with."""
    try:
        stored: Any = json.loads(settings)
    except ValueError:
        return []  # another program wrote it; the comparison itself says what is wrong
    if not isinstance(stored, dict):
        return []
    labels, shown = stored.get("labels"), stored.get("given_label")
    found = labels if isinstance(labels, list) else shown_labels(shown if isinstance(shown, str) else None)
    return [f" {label}" for label in found]
