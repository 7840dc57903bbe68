"""Answers that are kept: as right as new ones, whatever is stored, whoever asks, and when tokens expire."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import service
import synthetic
from service import serving
from starlette.testclient import TestClient

from convbench.actions import tokens
from convbench.model.result import RunState
from convbench.model.token import Scope
from convbench.store import Store, Writer, listing
from convbench.store.changes import Changes
from convbench.store.place import Place
from convbench.web import access, kept
from convbench.web.state import Service

V1 = "/api/v1"
SINCE = "?since=2026-01-01"
LISTS = (
    *(f"{V1}/{name}" for name in ("runs", "jobs", "machines", "layers", f"changes{SINCE}")),
    *("/runs", "/jobs", "/machines", "/layers", f"/changes{SINCE}"),
)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[TestClient, Service, Path]]:
    path = service.filled(tmp_path / "runs.db", service.run_of(1), service.run_of(2))
    with serving(path) as (client, made):
        yield client, made, path


@pytest.fixture(scope="module")
def only_read(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, Service]]:
    """A service whose database stays as it is."""
    path = service.filled(tmp_path_factory.mktemp("read") / "runs.db", service.run_of(1), service.run_of(2))
    with serving(path) as (client, made):
        listing.refresh(made.store)
        end = time.monotonic() + 90
        while made.pages.over_time.noise().waiting:  # a page that still waits for its noise is not kept
            assert time.monotonic() < end
            time.sleep(0.05)
        yield client, made


@pytest.fixture
def made_anew(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths whose answers were made and kept."""
    found: list[str] = []
    put = kept.Kept.put

    def noted(self: kept.Kept, key: tuple[str, ...], counter: object, answer: kept.Answer) -> None:
        found.append(key[0])
        put(self, key, counter, answer)

    monkeypatch.setattr(kept.Kept, "put", noted)
    return found


@pytest.mark.parametrize("path", LISTS)
def test_a_list_is_made_once_and_answered_alike(
    only_read: tuple[TestClient, Service], made_anew: list[str], path: str
) -> None:
    client, made = only_read
    first, *others = [client.get(path) for _ in range(4)]
    assert made_anew == [path.removesuffix(SINCE)]
    for other in others:
        assert (other.status_code, other.content, other.headers) == (200, first.content, first.headers)
    counted = made.metrics.text(jobs={}, deliveries={}, streams=0).decode()
    assert f'route="{path.removesuffix(SINCE)}",status="200"}} 4.0' in counted, "all are counted"


def test_whatever_is_stored_is_in_the_next_answer(served: tuple[TestClient, Service, Path]) -> None:
    client, made, path = served

    def ids() -> list[str]:
        return [run["id"] for run in client.get(f"{V1}/runs").json()["runs"]]

    for number in range(3, 13):  # by another connection of this process
        service.filled(path, service.run_of(number))
        assert ids()[0] == service.run_of(number).id
    made.store.delete([service.run_of(12).id])  # by the service's own
    assert ids()[0] == service.run_of(11).id
    job = client.post(f"{V1}/jobs", json={"sweep": service.TINY}).json()
    assert client.get(f"{V1}/jobs").json()["jobs"][0]["state"] == "queued"
    client.post(f"{V1}/jobs/{job['id']}/cancel")
    assert client.get(f"{V1}/jobs").json()["jobs"][0]["state"] == "cancelled"


def test_a_list_with_a_run_that_a_process_writes_is_not_kept(
    served: tuple[TestClient, Service, Path], made_anew: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, made, path = served
    running = replace(
        synthetic.run(3, seed=3, troubles=False), id="20261201-000000-goes", state=RunState.RUNNING, finished_at=None
    )
    with Store.create(str(path)) as store:
        store.begin(running, [one.case for one in running.results], (), Writer.of_this_process(), digest="x")
    listing.refresh(made.store)
    for filters in ("", "?state=interrupted", "?state=running"):
        client.get(f"{V1}/runs{filters}")
    assert made_anew == []
    assert client.get(f"{V1}/runs?state=interrupted").json()["runs"] == []
    monkeypatch.setattr(Writer, "is_gone", lambda writer: True)  # it was killed, and stored nothing
    assert [run["id"] for run in client.get(f"{V1}/runs?state=interrupted").json()["runs"]] == [running.id]


def test_each_reader_gets_what_they_may_see(served: tuple[TestClient, Service, Path]) -> None:
    client, made, _ = served
    assert "this machine" in client.get("/runs").text
    token, text = tokens.create(made.store, "anna", [Scope.READ.value], days=1)
    bearer = {"authorization": f"Bearer {text}"}
    for _ in range(2):
        assert "anna" in client.get("/runs", headers=bearer).text
        assert "anna" not in client.get("/runs").text
        assert client.get("/runs", headers={"authorization": "Bearer no"}).status_code == 401
        assert client.get("/runs", headers={"host": "evil.example"}).status_code == 403
        assert client.get("/runs", headers={"x-forwarded-for": "1.2.3.4"}).status_code == 401
    made.tokens.revoke(token.prefix, "2026-12-01T00:00:00+00:00")
    assert client.get("/runs", headers=bearer).status_code == 401


def test_an_expired_token_reads_nothing_that_was_kept(
    served: tuple[TestClient, Service, Path], made_anew: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, made, _ = served
    listing.refresh(made.store)
    _, text = made.tokens.create("ci", {Scope.READ}, "2026-11-30T00:00:00+00:00", "2099-01-01T00:00:00+00:00")
    bearer = {"authorization": f"Bearer {text}"}
    for _ in range(3):
        assert client.get(f"{V1}/runs", headers=bearer).status_code == 200
    assert made_anew == [f"{V1}/runs"]
    for module in (kept, access):
        monkeypatch.setattr(module, "now", lambda: "2099-01-01T00:00:00+00:00")
    assert client.get(f"{V1}/runs", headers=bearer).status_code == 401


def test_the_counter_changes_with_each_commit_and_with_nothing_else(tmp_path: Path) -> None:
    path = service.filled(tmp_path / "runs.db", service.run_of(1))
    changes = Changes(Place.of(str(path)))
    first = changes.counter()
    assert first is not None and first == changes.counter()
    with Store.open(str(path)) as store:
        store.load("latest")
    assert changes.counter() == first
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE runs SET name = 'other'")
        assert changes.counter() == first, "it is not committed"
    connection.close()
    assert changes.counter() != first
    changes.close()
    assert Changes(Place.of("postgresql://127.0.0.1:1/x")).counter() is None
    assert Changes(Place.of(str(tmp_path / "none.db"))).counter() is None
