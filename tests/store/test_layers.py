"""Which layers are stored: each once, whatever the number of runs, in SQLite and PostgreSQL."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import service
from commands import visits_of
from postgres import Server

from convbench.model.result import Run, RunState
from convbench.store import Store, Writer, in_common, layers


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def urls(request: pytest.FixtureRequest) -> Iterator[Iterator[str]]:
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgres")
        yield (server.new_database() for _ in itertools.count())
        return
    with tempfile.TemporaryDirectory() as folder:
        yield (f"{folder}/{number}.db" for number in itertools.count())


@pytest.fixture
def store(urls: Iterator[str]) -> Iterator[Store]:
    with Store.create(next(urls)) as opened:
        yield opened


def put(store: Store, run: Run, *, finish: bool = True) -> None:
    writer = Writer.of_this_process()
    store.begin(run, [result.case for result in run.results], (), writer, digest=run.id)
    store.append(run.id, [visit for result in run.results for visit in visits_of(result)])
    if finish:
        store.finish(run.id, RunState.FINISHED, run.started_at)


def run_of(number: int, cases: slice, **changes: Any) -> Run:
    made = service.run_of(number)
    return replace(made, results=made.results[cases], finished_at=None, **changes)


def test_each_layer_is_listed_once_with_its_label(store: Store) -> None:
    assert layers.ids(store) == []
    every = {result.case.id: result.case.label for result in service.run_of(1).results}
    for number in (1, 2):
        put(store, run_of(number, slice(8 * number - 8, 12)))
    assert layers.ids(store) == sorted(every)
    found = layers.layers(store, [*every, "aaaaaaaaaaaa"])
    assert {one.case_id: one.label for one in found} == every


def test_layers_of_runs_since_one(store: Store) -> None:
    assert layers.newest(store) is None
    for number in (1, 2):
        put(store, run_of(number, slice(4 * number - 4, 4 * number)))
    key, run_id = layers.newest(store) or (0, "")
    assert run_id == service.run_of(2).id
    cases = [result.case.id for result in service.run_of(1).results]
    assert sorted(layers.ids_since(store, key)) == sorted(cases[4:8])
    assert sorted(layers.ids_since(store, key - 1)) == sorted(cases[:8])
    assert layers.ids_since(store, key + 1) == []


def test_a_run_has_its_layers_in_the_order_of_its_sweep(store: Store) -> None:
    run = run_of(1, slice(0, 12))
    put(store, run)
    put(store, run_of(2, slice(0, 3)))
    assert layers.ids_of_run(store, run.id) == [result.case.id for result in run.results]
    assert layers.ids_of_run(store, "none") == []


def test_runs_of_a_layer_are_counted(store: Store) -> None:
    first, second = run_of(1, slice(0, 4)), run_of(2, slice(2, 4))
    put(store, first)
    put(store, second)
    ids = [result.case.id for result in first.results]
    found = layers.seen(store, ids)
    assert [found[one].runs for one in ids] == [1, 1, 2, 2]
    assert [found[one].last_run_id for one in ids] == [first.id, first.id, second.id, second.id]
    assert found[ids[3]].last_at == second.started_at


def test_the_state_of_a_layer_changes_with_its_runs(store: Store) -> None:
    run = run_of(1, slice(0, 1))
    case_id = run.results[0].case.id
    assert layers.state(store, case_id) == ()
    put(store, run)
    first = layers.state(store, case_id)
    assert first[-1] is False
    put(store, run_of(2, slice(4, 5)))
    assert layers.state(store, case_id) == first, "another layer's run"
    put(store, run_of(3, slice(0, 1)), finish=False)
    writing = layers.state(store, case_id)
    assert writing[-1] is True and writing != first
    store.finish(service.run_of(3).id, RunState.FINISHED, "2026-11-30T00:00:00+00:00")
    third = layers.state(store, case_id)
    assert third[-1] is False and third not in (first, writing)
    store.delete([service.run_of(3).id])
    assert layers.state(store, case_id) == first


def test_runs_are_apart_without_a_common_case_or_label(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, some in ((1, slice(0, 4)), (2, slice(3, 8)), (3, slice(8, 10))):
        put(store, run_of(number, some))
    labelled = run_of(4, slice(10, 12))
    cases = [replace(result.case, labels=("stem", "head"), given_label="stem + head") for result in labelled.results]
    named = [replace(result, case=case) for result, case in zip(labelled.results, cases, strict=True)]
    put(store, replace(labelled, results=tuple(named)))
    other = run_of(5, slice(4, 5))
    shown = replace(other.results[0], case=replace(other.results[0].case, given_label="head + tail"))
    put(store, replace(other, results=(shown,)))
    ids = [service.run_of(number).id for number in range(1, 6)]
    found = in_common.kinds(store, ids)
    assert [*found.of] and {*found.of} == {*ids}
    apart = {frozenset(pair) for pair in found.apart}
    numbers = [found.of[run_id] for run_id in ids]
    common = {(0, 1), (1, 4), (3, 4)}  # a case of the first two, a case of the second and the last, and the label head
    for one, other_ in itertools.combinations(range(5), 2):
        assert (frozenset((numbers[one], numbers[other_])) in apart) == ((one, other_) not in common)
    monkeypatch.setattr(in_common, "MOST_CASES", 3)
    assert {*in_common.kinds(store, ids).of} == {*ids[3:]}, "the newest that fit"
    assert in_common.kinds(store, []).of == {}
