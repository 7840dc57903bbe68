"""The list of runs: filters, pages that new runs do not move, and counts that are right when a run ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import service
import synthetic
from commands import visits_of

from convbench.errors import RequestError, RunNotFoundError
from convbench.model.result import Git, ProcessFacts, Roof, RoofKind, Run, RunState, Status
from convbench.store import Store, Writer, listing
from convbench.store.listing import Filters

GIT = Git(commit="0123456789abcdef0123456789abcdef01234567", branch="main", dirty=True)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    path = service.filled(
        tmp_path / "runs.db",
        service.run_of(1),
        service.run_of(2, name="weekly", git=GIT),
        service.run_of(3, environment=replace(synthetic.environment(), cpu="Xeon 100%", torch="2.14.0")),
    )
    with Store.create(str(path)) as opened:
        yield opened


def ids(store: Store, after: str | None = None, most: int = 50, **filters: Any) -> list[str]:
    found = listing.listed(store, Filters(**filters), after=after, most=most)
    return [run.summary.id[-4:] for run in found.runs]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["0003", "0002", "0001"]),
        ({"sweep": "weekly"}, ["0002"]),
        ({"machine": "Xeon 100%, 2 cores"}, ["0003"]),
        ({"torch": "2.14.0"}, ["0003"]),
        ({"branch": "main"}, ["0002"]),
        ({"commit": "01234567"}, ["0002"]),
        ({"commit": "0123456_"}, []),
        ({"text": "WEEKLY main"}, ["0002"]),
        ({"text": "100%"}, ["0003"]),
        ({"text": "100% weekly"}, []),
        ({"state": RunState.FINISHED}, ["0003", "0002", "0001"]),
        ({"state": RunState.INTERRUPTED}, []),
        ({"host": "nowhere"}, []),
    ],
)
def test_filters_leave_what_they_name(store: Store, filters: dict[str, object], expected: list[str]) -> None:
    assert ids(store, **filters) == expected


def test_the_list_is_that_of_all_runs(store: Store) -> None:
    assert [run.summary for run in listing.listed(store, Filters()).runs] == store.runs()


def test_pages_go_by_key_so_that_a_new_run_moves_nothing(store: Store, tmp_path: Path) -> None:
    first = listing.listed(store, Filters(), most=1)
    assert listing.refresh(store) == 0, "what was listed once is not counted again"
    service.filled(tmp_path / "runs.db", service.run_of(4))
    second = listing.listed(store, Filters(), after=first.after, most=1)
    third = listing.listed(store, Filters(), after=second.after, most=1)
    assert [page.runs[0].summary.id[-4:] for page in (first, second, third)] == ["0003", "0002", "0001"]
    assert third.after is None
    for wrong in ("", "x", "2026_x", "_1", "2026-11-24_9999999999999999999999"):
        with pytest.raises(RequestError, match="no place in the list"):
            listing.listed(store, Filters(), after=wrong)


def test_a_run_that_is_being_written_is_counted_when_it_is_listed(store: Store) -> None:
    made: Run = replace(service.run_of(9), state=RunState.RUNNING, finished_at=None)
    cases = [result.case for result in made.results]
    store.begin(made, cases, (), Writer.of_this_process(), digest="d")
    counts = []
    for part in (made.results[:5], made.results[5:]):
        store.append(made.id, [visit for result in part for visit in visits_of(result)])
        counts.append(listing.one(store, made.id).summary.statuses)
    assert counts == [{Status.PASSED: 5}, {Status.PASSED: 12}]
    assert listing.one(store, made.id).summary.state is RunState.RUNNING
    store.finish(made.id, RunState.FINISHED, "2026-11-24T04:00:00+00:00")
    assert listing.one(store, made.id).summary.statuses == {Status.PASSED: 12}
    assert listing.one(store, made.id).summary.state is RunState.FINISHED


def test_a_deleted_run_leaves_the_list(store: Store) -> None:
    run_id = listing.listed(store, Filters()).runs[0].summary.id
    store.delete([run_id])
    assert ids(store) == ["0002", "0001"]
    with pytest.raises(RunNotFoundError):
        listing.one(store, run_id)


def test_a_machine_has_the_roofs_of_its_newest_finished_run(store: Store) -> None:
    made = replace(service.run_of(8), state=RunState.RUNNING, finished_at=None)
    store.begin(made, [result.case for result in made.results], (), Writer.of_this_process(), digest="d")
    compute = Roof(kind=RoofKind.COMPUTE, device="cpu", threads=1, rate=1e11, source="product", dtype="float32")
    copy = Roof(kind=RoofKind.BANDWIDTH, device="cpu", threads=1, rate=8e10, source="copy", footprint_bytes=2**15)
    memory = replace(copy, rate=1e10, footprint_bytes=2**28)
    for index, roofs in enumerate(
        ((copy, compute), (replace(compute, rate=1.2e11), memory, replace(memory, rate=9e9)))
    ):
        store.note_process(made.id, ProcessFacts(process_index=index, seconds=1.0, roofs=roofs))
    assert not listing.machines(store)[0].roofs, "it is not finished"
    store.finish(made.id, RunState.FINISHED, "2026-11-24T04:00:00+00:00")
    assert listing.machines(store)[0].roofs == [replace(compute, rate=1.2e11), memory]


def test_what_filters_can_have_and_the_machines(store: Store) -> None:
    assert listing.values(store) == {
        "sweep": ["nightly", "weekly"],
        "machine": ["AMD EPYC 7B13, 2 cores", "Xeon 100%, 2 cores"],
        "branch": ["main"],
        "torch": ["2.13.0+cpu", "2.14.0"],
        "verdict": [],
    }
    found = listing.machines(store)
    assert [(one.machine, one.runs, one.last_run_id[-4:]) for one in found] == [
        ("Xeon 100%, 2 cores", 1, "0003"),
        ("AMD EPYC 7B13, 2 cores", 2, "0002"),
    ]
