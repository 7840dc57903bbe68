"""Runs from elsewhere: sent in parts, there once, continued; what is wrong or hostile changes nothing."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import synthetic
from commands import Command, visits_of
from commands import store as store_run
from postgres import Server
from service import listening, serving
from starlette.testclient import TestClient

from convbench.actions import push as pushing
from convbench.actions import tokens
from convbench.errors import RequestError
from convbench.model.result import RunState
from convbench.model.serial import to_json
from convbench.model.token import Scope
from convbench.store import Store, Writer, parts
from convbench.web import around
from convbench.web.state import Service

V1 = "/api/v1"
THERE = pushing.Pushed(run_id="", state=RunState.FINISHED, cases=12, parts=0, sent=0, was_there=True)


@pytest.fixture
def there(tmp_path: Path) -> Iterator[tuple[str, Service, TestClient]]:
    with serving(tmp_path / "service.db") as (client, made), listening(client) as address:
        yield address, made, client


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of five cases."""
    monkeypatch.setattr(parts, "MOST_CASES", 5)


def push(address: str, ref: str, db: Path, token: str | None = None) -> pushing.Pushed:
    return pushing.push(ref, to=address, token=token, db=str(db))


def test_a_run_is_there_as_it_was_measured_and_once(
    there: tuple[str, Service, TestClient], tmp_path: Path, small_parts: None
) -> None:
    address, made, client = there
    run = store_run(synthetic.run(12, seed=5), tmp_path / "here.db")
    done = push(address, "latest", tmp_path / "here.db")
    assert (done.cases, done.parts, done.sent, done.state) == (12, 3, 3, RunState.FINISHED)
    with Store.open(str(tmp_path / "here.db")) as here:
        assert made.store.load(run.id) == here.load(run.id)
        assert made.store.samples(run.id) == here.samples(run.id)
    assert push(address, run.id, tmp_path / "here.db") == replace(THERE, run_id=run.id)
    listed = client.get(f"{V1}/runs").json()["runs"]
    assert [(one["id"], one["cases"], one["state"]) for one in listed] == [(run.id, 12, "finished")]
    assert client.get(f"{V1}/runs/{run.id}/export?format=json").status_code == 200
    written = [write.action for write in made.tokens.writes()]
    assert written.count(f"PUT {V1}/runs/{{run_id}}/upload") == 2 and len(written) == 3, "its beginnings, and its end"


@pytest.mark.postgres
def test_a_server_receives_a_run_as_a_file_does(postgres: Server, tmp_path: Path, small_parts: None) -> None:
    run = store_run(synthetic.run(12, seed=5), tmp_path / "here.db")
    with serving(postgres.new_database()) as (client, made), listening(client) as address:  # type: ignore[arg-type]  # a URL
        assert push(address, run.id, tmp_path / "here.db").sent == 3
        assert push(address, run.id, tmp_path / "here.db") == replace(THERE, run_id=run.id)
        with Store.open(str(tmp_path / "here.db")) as here:
            assert made.store.load(run.id) == here.load(run.id)
        half = replace(run, id="20261130-000000-half", state=RunState.INTERRUPTED)
        store_run(half, tmp_path / "half.db")
        assert [push(address, half.id, tmp_path / "half.db").sent for _ in range(2)] == [3, 0], "rows are equal"


def test_an_unfinished_run_goes_on_and_only_what_changed_is_sent(
    there: tuple[str, Service, TestClient], tmp_path: Path, small_parts: None
) -> None:
    address, made, client = there
    whole = synthetic.run(12, seed=6, troubles=False)
    started = replace(whole, state=RunState.RUNNING, finished_at=None)
    results = whole.results
    with Store.create(str(tmp_path / "here.db")) as here:
        here.begin(started, [one.case for one in results], (), Writer.of_this_process(), digest="made up")
        here.append(whole.id, [visit for one in results[:7] for visit in visits_of(one)[:1]])
        done = push(address, whole.id, tmp_path / "here.db")
        assert (done.sent, done.state) == (3, RunState.RUNNING)
        assert made.store.load(whole.id).state is RunState.INTERRUPTED, "no process writes it here"
        assert len(made.store.load(whole.id).unmeasured) == 5
        assert client.get(f"{V1}/runs").json()["runs"][0]["cases"] == 12
        assert push(address, whole.id, tmp_path / "here.db").sent == 0, "nothing has changed"
        here.append(whole.id, visits_of(results[11])[:1])
        assert push(address, whole.id, tmp_path / "here.db").sent == 1
        here.append(whole.id, [visit for one in results for visit in visits_of(one)])
        here.finish(whole.id, RunState.FINISHED, whole.finished_at or whole.started_at)
        assert push(address, whole.id, tmp_path / "here.db").state is RunState.FINISHED
        assert made.store.load(whole.id) == here.load(whole.id)
    found = made.store.resumable(
        digest="made up", version=whole.version, environment=whole.environment, host=whole.environment.hostname
    )
    assert found is None


def test_sending_goes_on_where_it_was_interrupted(
    there: tuple[str, Service, TestClient], tmp_path: Path, small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, made, _ = there
    run = store_run(synthetic.run(12, seed=7), tmp_path / "here.db")

    def stop(text: str) -> None:
        if text.startswith("part 3"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pushing.push(run.id, to=address, token=None, db=str(tmp_path / "here.db"), message=stop)
    assert made.store.load(run.id).state is RunState.INTERRUPTED
    assert push(address, run.id, tmp_path / "here.db").sent == 1
    assert len(made.store.load(run.id).results) == 12


def test_a_service_that_is_away_is_tried_again(
    there: tuple[str, Service, TestClient], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, _, _ = there
    run = store_run(synthetic.run(3, seed=8), tmp_path / "here.db")
    monkeypatch.setattr(pushing, "PAUSE_S", 0.0)
    answers = iter([False, True])
    opened = pushing.urllib.request.OpenerDirector.open

    def sometimes(*arguments: object, **named: object) -> object:
        if not next(answers, True):
            raise ConnectionRefusedError("refused")
        return opened(*arguments, **named)  # type: ignore[arg-type]  # the arguments of the method, passed on

    monkeypatch.setattr(pushing.urllib.request.OpenerDirector, "open", sometimes)
    assert push(address, run.id, tmp_path / "here.db").state is RunState.FINISHED
    monkeypatch.setattr(pushing, "TRIES", 1)
    with pytest.raises(RequestError, match="does not answer"):
        push("http://127.0.0.1:1", run.id, tmp_path / "here.db")


def test_the_token_needs_the_scope_and_is_no_argument(
    command: Command, there: tuple[str, Service, TestClient], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, made, _ = there
    run = store_run(synthetic.run(3, seed=9), tmp_path / "here.db")
    texts = {
        scope: tokens.create(made.store, scope.value, [scope.value], days=1)[1] for scope in (Scope.READ, Scope.REPORT)
    }
    db = ("--db", str(tmp_path / "here.db"))
    said = command("push", run.id, "--to", address, *db)
    assert said.code == 2 and "this needs the scope `report`" in said.err
    monkeypatch.setenv(pushing.TOKEN, texts[Scope.READ])
    said = command("push", run.id, "--to", address, *db)
    assert said.code == 2 and "this needs the scope `report`" in said.err and texts[Scope.READ] not in said.err
    (tmp_path / "token").write_text(f"{texts[Scope.REPORT]}\n", encoding="utf-8")
    said = command("push", run.id, "--to", address, "--token-file", str(tmp_path / "token"), *db)
    assert said.code == 0 and said.out == f"run {run.id} is there, finished: 3 cases, sent 1 of 1 part\n", said.err
    said = command("push", run.id, "--to", address, "--token-file", str(tmp_path / "no"), *db)
    assert said.code == 2 and "no: No such file" in said.err
    for wrong in ("ftp://x", "http://joe:s3cret@x", "x", "http://"):
        said = command("push", run.id, "--to", wrong, *db)
        assert said.code == 2 and "--to: expected" in said.err and "s3cret" not in said.err
    (tmp_path / "token").write_text("two words\r\nX: y", encoding="utf-8")
    assert command("push", run.id, "--to", address, "--token-file", str(tmp_path / "token"), *db).code == 2


# ---- what the API refuses


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, Service, parts.Parts]]:
    """A service with the head of a run of 12 cases, and the run."""
    folder = tmp_path_factory.mktemp("begun")
    run = store_run(synthetic.run(12, seed=10, troubles=False), folder / "here.db")
    with Store.open(str(folder / "here.db")) as here, serving(folder / "service.db") as (client, made):
        found = parts.Parts(here, run.id)
        assert begin(client, found).json() == {"id": run.id, "state": "running", "cases": 0}
        yield client, made, found


def head_of(found: parts.Parts, **changes: object) -> dict[str, object]:
    document = to_json(replace(found.head().run, processes=()), defaults=False)
    assert isinstance(document, dict)
    return {"run": {**document, **changes}, "digest": found.head().digest}


def begin(client: TestClient, found: parts.Parts, **changes: object):  # type: ignore[no-untyped-def]  # httpx's answer
    return client.put(f"{V1}/runs/{found.head().run.id}/upload", json=head_of(found, **changes))


def entries(found: parts.Parts, first: int, cases: int) -> list[dict[str, object]]:
    return [dict(one.document()) for one in found.entries(first, cases)]


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"name": "another"}, 409, "another run with the id"),
        ({"started_at": "2020-01-01T00:00:00+00:00"}, 409, "another run with the id"),
        ({"id": "20200101-000000-abcd"}, 400, "not that of the address"),
        ({"format_version": 99}, 400, "format version 99"),
        ({"format": "x"}, 400, "not a run"),
        ({"seed": "x"}, 400, "seed"),
        ({"results": [{}]}, 400, "results"),
        ({"unknown": 1}, 400, "unknown"),
        ({"source": "x" * (2**20 + 1)}, 400, "1048576 at most"),
    ],
)
def test_a_head_that_is_wrong_is_refused(
    begun: tuple[TestClient, Service, parts.Parts], changes: dict[str, object], status: int, said: str
) -> None:
    client, _, found = begun
    answer = begin(client, found, **changes)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json" and said in answer.json()["detail"]


def test_parts_that_are_wrong_are_refused_and_change_nothing(
    begun: tuple[TestClient, Service, parts.Parts],
) -> None:
    client, made, found = begun
    path = f"{V1}/runs/{found.head().run.id}/upload"
    assert client.put(f"{path}/entries/0", json={"entries": entries(found, 0, 4)}).json()["cases"] == 4
    before = made.store.load(found.head().run.id)
    other = entries(found, 4, 1)[0]
    first, second = entries(found, 4, 2)
    wrong: list[tuple[str, list[dict[str, object]], int]] = [
        ("5", entries(found, 5, 1), 409),  # a gap
        ("0", [other], 409),  # another case at this position
        ("4", entries(found, 0, 1), 409),  # a case that is elsewhere already
        ("4", [first, first], 400),
        ("4", [{**first, "visits": second["visits"]}], 400),
        ("4", [{**first, "visits": [*first["visits"], *first["visits"]]}], 400),  # type: ignore[misc]  # a list
        ("4", [{**first, "visits": [{**first["visits"][0], "blocks": "AAAA"}]}], 400),  # type: ignore[index]  # a list
        ("4", [{**first, "visits": [{**first["visits"][0], "blocks": "%"}]}], 400),  # type: ignore[index]  # a list
        ("4", [{**first, "case": {**first["case"], "id": "a" * 12}}], 400),  # type: ignore[dict-item]  # an object
        ("-1", [first], 422),
        ("4", [], 422),
        ("4", [first] * (parts.MOST_CASES + 1), 422),
    ]
    for at, some, status in wrong:
        answer = client.put(f"{path}/entries/{at}", json={"entries": some})
        assert answer.status_code == status, (at, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
    assert made.store.load(found.head().run.id) == before
    ended = {"state": "finished", "finished_at": found.head().run.finished_at, "processes": [], "cases": 12}
    assert client.post(f"{path}/end", json=ended).status_code == 409, "eight cases are missing"
    assert client.post(f"{path}/end", json={**ended, "cases": 4, "finished_at": None}).status_code == 400
    assert client.post(f"{path}/end", json={**ended, "cases": 4, "finished_at": "soon"}).status_code in (400, 422)
    nobody = f"{V1}/runs/20200101-000000-aaaa/upload"
    assert client.put(f"{nobody}/entries/0", json={"entries": [first]}).status_code == 404
    assert client.post(f"{nobody}/end", json=ended).status_code == 404
    assert client.post(f"{nobody}/lacking", json={"parts": []}).status_code == 404


def test_a_run_that_was_measured_here_is_not_changed(
    begun: tuple[TestClient, Service, parts.Parts], tmp_path: Path
) -> None:
    client, made, found = begun
    own = synthetic.run(3, seed=11, troubles=False)
    own = replace(own, id="20261111-000000-here", state=RunState.RUNNING, finished_at=None)
    made.store.begin(own, [one.case for one in own.results], (), Writer.of_this_process(), digest="made up")
    document = to_json(replace(own, results=(), unmeasured=(), rejections=(), processes=()), defaults=False)
    answer = client.put(f"{V1}/runs/{own.id}/upload", json={"run": document, "digest": "made up"})
    assert answer.status_code == 409 and "measured here" in answer.json()["detail"]
    assert client.put(f"{V1}/runs/{own.id}/upload/entries/0", json={"entries": entries(found, 0, 1)}).status_code == 409


def test_bodies_may_be_gzip_and_are_limited(
    begun: tuple[TestClient, Service, parts.Parts], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, _, found = begun
    path = f"{V1}/runs/{found.head().run.id}/upload"
    body = json.dumps(head_of(found)).encode()

    def sent(content: bytes, encoding: str) -> int:
        headers = {"content-encoding": encoding, "content-type": "application/json"}
        answer = client.put(path, content=content, headers=headers)
        assert answer.status_code == 200 or answer.headers["content-type"] == "application/problem+json"
        return answer.status_code

    assert sent(gzip.compress(body), "gzip") == 200
    assert sent(gzip.compress(body)[:-20], "gzip") == 400
    assert sent(body, "gzip") == 400
    assert sent(body, "br") == 415
    monkeypatch.setattr(around, "MOST_UPLOAD", 4096)
    assert sent(gzip.compress(b" " * 10**8), "gzip") == 413
    assert sent(gzip.compress(b"[" * 4000), "gzip") in (400, 422)


def test_values_of_secrets_in_a_sweep_are_not_stored(
    begun: tuple[TestClient, Service, parts.Parts],
) -> None:
    client, made, found = begun
    answer = client.put(
        f"{V1}/runs/20260101-000000-zzzz/upload",
        json=head_of(found, id="20260101-000000-zzzz", source="axes: {env: {API_TOKEN: s3cr3t}}\n"),
    )
    assert answer.status_code == 200, answer.text
    assert "s3cr3t" not in made.store.sweep_of("20260101-000000-zzzz")
    with made.store.reading() as connection:
        assert "s3cr3t" not in str(connection.exec_driver_sql("SELECT source FROM runs").all())
