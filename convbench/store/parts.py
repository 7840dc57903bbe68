"""A run in parts, as `convbench push` sends it: cases one after the other, each with its visits; read from a database.

A part is named by its first case's position and the number of its cases. Where two databases hold the same of it, its
fingerprint is the same. So a run that went on sends only what changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import select

from convbench.model.case import Case
from convbench.model.reading import Json
from convbench.model.result import Run, Visit
from convbench.model.serial import to_json
from convbench.store import loading, schema
from convbench.store.store import Store
from convbench.store.writing import compact

#: The usual size of a part, bytes of JSON, and the most cases in one.
PART_BYTES, MOST_CASES = 2**20, 500
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

    def text(self) -> str:
        """The same as JSON without spaces."""
        return compact(self.document())


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is known of a part without its contents. `first` counts from 0; `sha256` is its fingerprint."""

    first: int
    cases: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A run with its rejections and processes and without results, its digest, and the number of its cases."""

    run: Run
    digest: str
    cases: int


def fingerprint(texts: Sequence[str]) -> str:
    """The fingerprint of the entries with these texts: SHA-256 in hexadecimal."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


class Parts:
    """The parts of one stored run; raises RunNotFoundError where there is none with this id."""

    def __init__(self, store: Store, run_id: str) -> None:
        self._store = store
        head, self._cases, digest = store.head(run_id)
        self._ids = [case.id for case in self._cases]
        with store.reading() as connection, store.at.decoding(run_id):
            self._key = connection.execute(select(schema.runs.c.key).where(schema.runs.c.id == run_id)).scalar_one()
            self.head = Head(
                run=replace(
                    head,
                    rejections=loading.rejections(connection, self._key),
                    processes=loading.processes(connection, self._key),
                ),
                digest=digest,
                cases=len(self._cases),
            )

    def entries(self, first: int, cases: int) -> list[Entry]:
        """The entries of a part; fewer where the run has fewer cases."""
        end = min(first + cases, len(self._cases))
        with self._store.reading() as connection, self._store.at.decoding(self.head.run.id):
            found = loading.visits_of(connection, self._key, self._store.version, self._ids, first=first, end=end)
        return [Entry(case=case, visits=found.get(case.id, ())) for case in self._cases[first:end]]

    def all(self) -> Iterator[Part]:
        """The parts of the run, each of about PART_BYTES."""
        first, texts, size = 0, list[str](), 0
        for start in range(0, len(self._cases), MOST_CASES):
            for entry in self.entries(start, MOST_CASES):
                text = entry.text()
                if texts and (size + len(text) > PART_BYTES or len(texts) == MOST_CASES):
                    yield Part(first=first, cases=len(texts), sha256=fingerprint(texts))
                    first, texts, size = first + len(texts), [], 0
                texts.append(text)
                size += len(text)
        if texts:
            yield Part(first=first, cases=len(texts), sha256=fingerprint(texts))

    def has(self, part: Part) -> bool:
        """Whether the run has this part as it is here."""
        texts = [entry.text() for entry in self.entries(part.first, part.cases)]
        return len(texts) == part.cases and fingerprint(texts) == part.sha256


def is_pushed(digest: str) -> bool:
    """Whether a stored digest is that of a run which was pushed here."""
    return digest.startswith(PUSHED)


def plain(digest: str) -> str:
    """The digest of a run as it was where it was measured."""
    return digest.removeprefix(PUSHED)
