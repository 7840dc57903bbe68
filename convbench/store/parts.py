"""A run in parts, as `convbench push` sends it: cases one after the other, each with its visits; read from a database.

A part is named by its first case's position and the number of its cases. Its fingerprint is made of the rows as they
are stored, which is much faster than to make objects of them. Where two databases hold the same of it, it is the same.
So a run that went on sends only what changed. Another version of convbench may store the same in other words, and then
a part is sent again.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

from sqlalchemy import func, select

from convbench.errors import RunNotFoundError
from convbench.model.case import Case
from convbench.model.reading import Json
from convbench.model.result import Run, Visit
from convbench.model.serial import to_json
from convbench.store import loading, runs, schema
from convbench.store.store import Store

#: The usual size of a part, characters of its rows as text, and the most cases in one. Its JSON has about 1 MiB.
PART_SIZE, MOST_CASES = 2 * 2**20, 500
#: Before the digest of a run that was pushed: an ordinary run of the same sweep here must not go on with it.
PUSHED = "pushed "


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A case with its visits, in the order of processes."""

    case: Case
    visits: Sequence[Visit]

    def document(self) -> dict[str, Json]:
        """What is sent of it."""
        return {"case": to_json(self.case, defaults=False), "visits": to_json(tuple(self.visits), defaults=False)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is known of a part without its contents. `first` counts from 0; `sha256` is its fingerprint."""

    first: int
    cases: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A run with its rejections and processes and without results, and its digest where it was measured."""

    run: Run
    digest: str


def _fingerprint(texts: Sequence[str]) -> str:
    """The fingerprint of the cases with these texts: SHA-256 in hexadecimal."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


class Parts:
    """The parts of one stored run; raises RunNotFoundError where there is none with this id.

    A part is read when it is asked for, so that a question about one costs the same in a run of any size.
    """

    def __init__(self, store: Store, run_id: str) -> None:
        self._store, self._run_id = store, run_id
        with store.reading() as connection:
            key = connection.execute(select(schema.runs.c.key).where(schema.runs.c.id == run_id)).scalar()
            if key is None:
                raise RunNotFoundError(f"no run {run_id!r} is stored in {store.at}")
            self._key: int = key
            counted = select(func.count()).where(schema.cases.c.run_key == self._key)
            self.cases: int = connection.execute(counted).scalar_one()

    def head(self) -> Head:
        """The run without its results."""
        columns = schema.columns(schema.runs, self._store.version)
        with self._store.reading() as connection, self._store.at.decoding(self._run_id):
            row = connection.execute(select(*columns).where(schema.runs.c.key == self._key)).one()
            run = replace(
                runs.run_of(row),
                rejections=loading.rejections(connection, row.key),
                processes=loading.processes(connection, row.key),
            )
        return Head(run=run, digest=plain(row.digest))

    def entries(self, first: int, cases: int) -> list[Entry]:
        """The entries of a part; fewer where the run has fewer cases."""
        end = first + cases
        with self._store.reading() as connection, self._store.at.decoding(self._run_id):
            some = loading.cases_of_run(connection, self._key, first=first, end=end)
            ids = [case.id for case in some]
            found = loading.visits_of(connection, self._key, self._store.version, ids, first=first, end=end)
        return [Entry(case=case, visits=found.get(case.id, ())) for case in some]

    def all(self) -> Iterator[Part]:
        """The parts of the run, each of about PART_SIZE."""
        first, texts, size = 0, list[str](), 0
        for start in range(0, self.cases, MOST_CASES):
            for text in self._texts(start, MOST_CASES):
                if texts and (size + len(text) > PART_SIZE or len(texts) == MOST_CASES):
                    yield Part(first=first, cases=len(texts), sha256=_fingerprint(texts))
                    first, texts, size = first + len(texts), [], 0
                texts.append(text)
                size += len(text)
        if texts:
            yield Part(first=first, cases=len(texts), sha256=_fingerprint(texts))

    def has(self, part: Part) -> bool:
        """Whether the run has this part as it is here."""
        texts = self._texts(part.first, part.cases)
        return len(texts) == part.cases and _fingerprint(texts) == part.sha256

    def _texts(self, first: int, cases: int) -> list[str]:
        """The rows of each case of a part and of its visits, as text. It is longer than the JSON that is sent."""
        end, columns = first + cases, schema.cases.c
        of_cases = select(columns.position, columns.case_id, columns.problem, columns.settings).where(
            columns.run_key == self._key, columns.position >= first, columns.position < end
        )
        with self._store.reading() as connection:
            rows = connection.execute(of_cases.order_by(columns.position)).all()
            found = loading.visit_rows(connection, self._key, self._store.version, first=first, end=end)
        visits = {position: list(some) for position, some in itertools.groupby(found, key=itemgetter(0))}
        return [repr((*row, visits.get(row.position, []))) for row in rows]


def is_pushed(digest: str) -> bool:
    """Whether a stored digest is that of a run which was pushed here."""
    return digest.startswith(PUSHED)


def plain(digest: str) -> str:
    """The digest of a run as it was where it was measured."""
    return digest.removeprefix(PUSHED)
