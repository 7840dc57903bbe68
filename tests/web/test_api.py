"""The API: jobs, runs, comparisons, sweeps; what is wrong with a request is said as a problem, and all goes on."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from csv import DictReader
from dataclasses import replace
from http import HTTPStatus
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import service
import synthetic
from service import serving
from starlette.testclient import TestClient

from convbench.model.job import EventKind, JobState
from convbench.report.export import read_json
from convbench.store import Writer
from convbench.sweep import shipped_sweeps
from convbench.web import around, pages
from convbench.web.routes import jobs as job_routes
from convbench.web.state import Service

V1 = "/api/v1"
CODE = """\
name: code
axes: {in_channels: 3, out_channels: 4, kernel_size: 1, input_size: 8, module: [torch.nn.Conv2d, evil:Layer]}
"""
PRELOAD = "axes: {in_channels: 3, out_channels: 4, kernel_size: 1, input_size: 8, env: {LD_PRELOAD: /tmp/evil.so}}\n"
SECRET = "axes: {in_channels: 3, out_channels: 4, kernel_size: 1, input_size: 8, env: {API_TOKEN: s3cr3t}}\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, Service]]:
    path = tmp_path_factory.mktemp("api") / "runs.db"
    service.filled(path, *(service.run_of(number) for number in (1, 2)), service.run_of(3, name="<script>alert(1)"))
    with serving(path) as made:
        made[1].store.set_baseline("main", service.run_of(1).id, set_at="2026-11-30T00:00:00+00:00")
        yield made


@pytest.fixture
def client(served: tuple[TestClient, Service]) -> TestClient:
    return served[0]


def problem(answer: Any, status: int) -> dict[str, object]:
    """The problem of an answer, which must have this status."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, object] = answer.json()
    assert found["status"] == status and found["detail"]
    return found


# ---- jobs


def test_a_sweep_becomes_a_job(served: tuple[TestClient, Service]) -> None:
    client, made = served
    answer = client.post(f"{V1}/jobs", json={"sweep": service.TINY, "against": "main", "priority": 3})
    assert answer.status_code == HTTPStatus.CREATED
    job = answer.json()
    assert (job["state"], job["cases"], job["devices"], job["against"]) == ("queued", 1, ["cpu"], "main")
    assert client.get(f"{V1}/jobs/{job['id']}").json() == {
        **job,
        "sweep": service.TINY,
        "outcome": None,
        "fleet": None,
        "bisection": None,
    }
    assert client.get(f"{V1}/jobs").json()["jobs"][0] == job
    assert client.get(f"{V1}/jobs", params={"state": "failed"}).json() == {"jobs": [], "before": None}
    cancelled = client.post(f"{V1}/jobs/{job['id']}/cancel")
    assert cancelled.json()["state"] == "cancelled"
    assert client.post(f"{V1}/jobs/{job['id']}/cancel").json() == cancelled.json(), "twice is as once"
    again = client.post(f"{V1}/jobs/{job['id']}/again")
    assert (again.status_code, again.json()["against"], again.json()["priority"]) == (201, "main", 3)
    assert again.json()["id"] != job["id"]
    assert made.jobs.get(again.json()["id"]).sweep == service.TINY
    me = Writer.of_this_process()
    claimed = made.jobs.claim(me, "9999")
    assert claimed is not None and made.jobs.end(claimed.id, me, JobState.MEASURED, "9999")
    assert "cannot be cancelled" in str(problem(client.post(f"{V1}/jobs/{claimed.id}/cancel"), 409)["detail"])


def test_a_submission_that_is_sent_twice_is_one_job(client: TestClient) -> None:
    def send(sweep: str = service.TINY) -> Any:
        return client.post(f"{V1}/jobs", json={"sweep": sweep}, headers={"Idempotency-Key": "once"})

    first, second = send(), send()
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["id"] == second.json()["id"]
    assert "another one" in str(problem(send(f"{service.TINY}# other\n"), 409)["detail"])


@pytest.mark.parametrize(
    ("sweep", "status", "said"),
    [
        ("axes: {in_channels: x}", 422, "expected an integer of at least 1"),
        ("not: a sweep", 422, "unknown"),
        (": : :", 422, "not valid YAML"),
        ("a: &a [b, *a]", 422, "refers to a value that contains it"),
        ("a: !!python/object:os.system x", 422, "tags are not allowed"),
        ("axes: {in_channels: 3, out_channels: 4, kernel_size: 9, input_size: 8}", 400, "nothing is left"),
        (CODE, 400, "module: evil:Layer"),
        (PRELOAD, 400, "env: LD_PRELOAD"),
        (SECRET, 400, "look like secrets"),
    ],
)
def test_a_sweep_that_cannot_be_a_job_is_refused_with_the_reason(
    client: TestClient, sweep: str, status: int, said: str
) -> None:
    found = problem(client.post(f"{V1}/jobs", json={"sweep": sweep}), status)
    assert said in json.dumps(found)
    assert "s3cr3t" not in json.dumps(found)


def test_mistakes_come_with_their_lines(client: TestClient) -> None:
    text = "name: x\naxes:\n  in_channels: 3\n  kernel_size: three\n"
    answer = client.post(f"{V1}/sweeps/check", json={"sweep": text})
    found = answer.json()
    assert (answer.status_code, found["cases"]) == (HTTPStatus.OK, 0) and found["refused"]
    mistakes = [{name: value for name, value in one.items() if value is not None} for one in found["mistakes"]]
    assert mistakes == problem(client.post(f"{V1}/jobs", json={"sweep": text}), 422)["mistakes"]
    places = [(one["line"], one["where"]) for one in found["mistakes"]]
    assert (4, "axes.kernel_size") in places and len(places) == 2


@pytest.mark.slow
def test_a_bomb_of_aliases_and_a_sweep_without_end_end_in_a_clear_answer(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
    )
    assert "expands to more than" in str(problem(client.post(f"{V1}/jobs", json={"sweep": bomb}), 422))
    many = "axes: {in_channels: {from: 1, to: 150, step: 1}, out_channels: {from: 1, to: 150, step: 1}, "
    many += "kernel_size: 1, input_size: 1}\n"
    assert "20,000 at most" in str(problem(client.post(f"{V1}/jobs", json={"sweep": many}), 400))
    monkeypatch.setattr(pages, "CHECK_S", 0.01)
    assert "took longer" in str(problem(client.post(f"{V1}/jobs", json={"sweep": many}), 400))
    monkeypatch.undo()
    assert client.post(f"{V1}/sweeps/check", json={"sweep": service.TINY}).status_code == HTTPStatus.OK, "it goes on"


def test_a_check_says_what_would_be_measured(client: TestClient) -> None:
    found = client.post(f"{V1}/sweeps/check", json={"sweep": CODE}).json()
    assert (found["name"], found["cases"], found["code"]) == ("code", 2, ["module: evil:Layer"])
    assert "--trust-modules" not in found["refused"] and "does not run" in found["refused"]
    nothing = "axes: {in_channels: 3, out_channels: 4, kernel_size: 9, input_size: 8}"
    left = client.post(f"{V1}/sweeps/check", json={"sweep": nothing}).json()
    assert left["mistakes"] == [] and "nothing is left" in left["refused"]
    plain = client.post(f"{V1}/sweeps/check", json={"sweep": service.TINY}).json()
    assert plain["refused"] is None and len(plain["labels"]) == 1


def test_a_service_that_trusts_takes_code_but_no_secret(tmp_path: Path) -> None:
    with serving(tmp_path / "runs.db", trust_modules=True) as (client, _):
        assert client.post(f"{V1}/jobs", json={"sweep": CODE}).status_code == HTTPStatus.CREATED
        problem(client.post(f"{V1}/jobs", json={"sweep": SECRET}), 400)


def test_shipped_sweeps_can_be_jobs(client: TestClient) -> None:
    listed = client.get(f"{V1}/sweeps").json()
    assert [one["name"] for one in listed] == list(shipped_sweeps.NAMES)
    assert client.get(f"{V1}/sweeps/quick").json() == listed[0]
    problem(client.get(f"{V1}/sweeps/passwd"), 404)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"sweep": 1}',
        b'{"sweep": ""}',
        b'{"sweep": "x", "more": 1}',
        b'{"sweep": "\\ud800"}',
        b'{"sweep": "\xff\xfe"}',
        b'{"sweep": "x", "priority": 1e400}',
        b'{"sweep": "x", "priority": 101}',
        b'{"sweep": "x", "against": ""}',
        b"[" * 100_000,
    ],
)
def test_a_broken_body_is_a_problem(client: TestClient, body: bytes) -> None:
    answer = client.post(f"{V1}/jobs", content=body, headers={"Content-Type": "application/json"})
    problem(answer, answer.status_code)
    assert answer.status_code in (400, 422)


def test_a_body_that_is_too_large_is_refused_before_it_is_read(client: TestClient) -> None:
    large = b'{"sweep": "' + b"x" * around.MOST_BODY + b'"}'
    headers = {"Content-Type": "application/json"}
    problem(client.post(f"{V1}/jobs", content=large, headers=headers), 413)
    problem(client.post(f"{V1}/jobs", content=b"{}", headers=headers | {"Content-Length": "104857600"}), 413)

    def chunks() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * 2**20

    problem(client.post(f"{V1}/jobs", content=chunks(), headers=headers), 413)


def test_what_is_not_there_and_what_cannot_be_done_are_problems(client: TestClient) -> None:
    for path in ("/jobs/none", "/jobs/none/events", "/runs/none", "/runs/none/report", "/nothing", "/sweeps/none"):
        problem(client.get(f"{V1}{path}"), 404)
    problem(client.post(f"{V1}/jobs", json={"sweep": service.TINY, "against": "none"}), 404)
    wrong = problem(client.delete(f"{V1}/jobs"), 405)
    assert wrong["title"] == "Method Not Allowed"
    assert client.delete(f"{V1}/jobs").headers["allow"] == "GET, POST"
    assert client.delete(f"{V1}/jobs/x/cancel").headers["allow"] == "POST"
    for query in ("limit=0", "limit=x", "state=unknown", f"after={'x' * 101}", f"text={'x' * 301}"):
        problem(client.get(f"{V1}/runs?{query}"), 422)
    problem(client.get(f"{V1}/runs?after=x"), 422)
    problem(client.get(f"{V1}/jobs?before={2**31}"), 422)


def test_a_run_is_never_a_file(client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.json").write_text("{}", encoding="utf-8")
    for name in ("run.json", "..%2Frun.json", "%2Fetc%2Fpasswd", "..", "%00", "baseline:..", "'; DROP TABLE runs"):
        assert client.get(f"{V1}/runs/{name}").status_code == HTTPStatus.NOT_FOUND
        assert client.get(f"{V1}/compare", params={"base": "run.json", "new": "latest"}).status_code == 404


# ---- events


def events(client: TestClient, job_id: str, **headers: str) -> list[dict[str, str]]:
    answer = client.get(f"{V1}/jobs/{job_id}/events", headers={k.replace("_", "-"): v for k, v in headers.items()})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-accel-buffering"] == "no" and answer.headers["cache-control"] == "no-cache"
    blocks = [block for block in answer.text.split("\n\n") if "event:" in block]
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]


def test_events_come_with_ids_and_from_where_a_reader_was(served: tuple[TestClient, Service]) -> None:
    client, made = served
    job_id = client.post(f"{V1}/jobs", json={"sweep": service.TINY}).json()["id"]
    made.jobs.note(job_id, "2026-11-30T12:00:00+00:00", [(EventKind.LOG, {"line": "one\ntwo <b>"})])
    client.post(f"{V1}/jobs/{job_id}/cancel")
    found = events(client, job_id)
    assert [one["event"] for one in found] == ["state", "log", "state", "end"]
    assert json.loads(found[1]["data"]) == {"line": "one\ntwo <b>"}
    assert events(client, job_id, Last_Event_ID=found[1]["id"]) == found[2:]
    ended = client.get(f"{V1}/jobs/{job_id}/events", headers={"Last-Event-ID": found[2]["id"]})
    assert ended.status_code == HTTPStatus.NO_CONTENT, "a browser then asks no more"
    assert len(events(client, job_id, Last_Event_ID="not a number")) == 4


def test_a_stream_goes_on_as_events_come_and_many_streams_are_open_at_once(
    served: tuple[TestClient, Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, made = served
    job_id = client.post(f"{V1}/jobs", json={"sweep": service.TINY}).json()["id"]
    found: list[list[dict[str, str]]] = []
    readers = [threading.Thread(target=lambda: found.append(events(client, job_id))) for _ in range(200)]
    for reader in readers:
        reader.start()
    while made.feed.streams < len(readers):
        readers[0].join(0.01)
    monkeypatch.setattr(job_routes, "MOST_STREAMS", len(readers))
    refused = problem(client.get(f"{V1}/jobs/{job_id}/events"), 503)
    assert "streams of events are open" in str(refused["detail"])
    made.jobs.note(job_id, "2026-11-30T12:00:00+00:00", [(EventKind.LOG, {"line": "now"})])
    made.feed.notify(job_id)
    client.post(f"{V1}/jobs/{job_id}/cancel")
    for reader in readers:
        reader.join(60)
    assert len(found) == len(readers)
    assert {tuple(one["event"] for one in some) for some in found} == {("state", "log", "state", "end")}
    assert made.feed.streams == 0


# ---- runs


def test_runs_are_listed_page_by_page_without_results(client: TestClient) -> None:
    first = client.get(f"{V1}/runs", params={"limit": 2}).json()
    assert [run["id"][-4:] for run in first["runs"]] == ["0003", "0002"]
    rest = client.get(f"{V1}/runs", params={"limit": 2, "after": first["after"]}).json()
    assert [run["id"][-4:] for run in rest["runs"]] == ["0001"] and rest["after"] is None
    assert rest["runs"][0]["statuses"] == {"passed": 12} and "results" not in rest["runs"][0]
    assert client.get(f"{V1}/runs", params={"sweep": "nightly", "text": "EPYC"}).json()["runs"][0]["id"][-4:] == "0002"


def test_a_run_has_its_facts_its_exports_and_its_report(client: TestClient) -> None:
    run_id = service.run_of(1).id
    found = client.get(f"{V1}/runs/main").json()
    assert (found["id"], found["baselines"], found["machine"]) == (run_id, ["main"], "AMD EPYC 7B13, 2 cores")
    assert client.get(f"{V1}/runs/{run_id}").json() == found
    exported = client.get(f"{V1}/runs/main/export", params={"format": "json"})
    assert read_json(exported.text).id == run_id
    assert exported.headers["content-disposition"] == f'attachment; filename="{run_id}.json"'
    csv = client.get(f"{V1}/runs/main/export")
    assert csv.headers["content-type"].startswith("text/csv") and len(list(DictReader(StringIO(csv.text)))) == 12
    problem(client.get(f"{V1}/runs/main/export", params={"format": "exe"}), 422)


def test_a_report_has_an_origin_of_its_own_and_is_sent_once(client: TestClient) -> None:
    first = client.get(f"{V1}/runs/latest/report")
    assert first.headers["content-security-policy"].startswith("sandbox allow-scripts")
    assert "allow-same-origin" not in first.headers["content-security-policy"]
    assert first.text.startswith("<!doctype html>") and "<script>alert(1)" not in first.text
    second = client.get(f"{V1}/runs/latest/report", headers={"If-None-Match": first.headers["etag"]})
    assert (second.status_code, second.content) == (HTTPStatus.NOT_MODIFIED, b"")
    assert client.get(f"{V1}/runs/main/report").headers["etag"] != first.headers["etag"]


def test_any_two_runs_can_be_compared(client: TestClient) -> None:
    ids = [service.run_of(number).id for number in (1, 2)]
    found = client.get(f"{V1}/compare", params={"base": "main", "new": ids[1]}).json()
    assert (found["base"], found["new"], len(found["judgments"]), found["comparable"]) == (*ids, 12, True)
    assert found["verdict"] in ("unchanged", "inconclusive") and sum(found["counts"].values()) == 12
    page = client.get(f"{V1}/compare/report", params={"base": ids[0], "new": ids[1]})
    assert page.headers["content-security-policy"].startswith("sandbox allow-scripts")
    assert page.text.startswith("<!doctype html>")


def test_runs_that_are_not_comparable_are_a_conflict_with_the_reason(tmp_path: Path) -> None:
    other = replace(synthetic.environment(), torch="2.14.0", cpu="Xeon")
    path = service.filled(tmp_path / "runs.db", service.run_of(1), service.run_of(2, environment=other))
    ids = {"base": service.run_of(1).id, "new": service.run_of(2).id}
    with serving(path) as (client, _):
        assert "Xeon" in str(problem(client.get(f"{V1}/compare", params=ids), 409)["detail"])
        across = client.get(f"{V1}/compare", params={**ids, "across_environments": True}).json()
        assert across["comparable"] is False and any("Xeon" in text for text in across["differences"])
        page = client.get("/compare", params=ids)
        assert page.status_code == HTTPStatus.OK and "across environments" in page.text and "Xeon" in page.text


def test_machines_are_listed(client: TestClient) -> None:
    [machine] = client.get(f"{V1}/machines").json()
    assert (machine["machine"], machine["runs"]) == ("AMD EPYC 7B13, 2 cores", 3)


# ---- operating


def test_monitors_get_their_answers_and_figures(served: tuple[TestClient, Service]) -> None:
    client, made = served
    assert client.get("/healthz").text == client.get("/readyz").text == "ok\n"
    figures = client.get("/metrics").text
    assert 'convbench_requests_total{method="GET",route="/healthz",status="200"}' in figures
    assert f'convbench_jobs{{state="queued"}} {made.jobs.counts()[JobState.QUEUED]}.0' in figures
    assert "convbench_event_streams 0.0" in figures and "process_resident_memory_bytes" in figures


def test_a_database_that_is_gone_is_said_and_the_service_stays_up(tmp_path: Path) -> None:
    path = service.filled(tmp_path / "runs.db", service.run_of(1))
    with serving(path) as (client, made):
        made.store.close()
        for file in tmp_path.glob("runs.db*"):
            file.rename(file.with_suffix(f"{file.suffix}.away"))
        (tmp_path / "runs.db").mkdir()
        answer = client.get(f"{V1}/runs")
        assert problem(answer, 503)["hint"] and answer.headers["retry-after"]
        assert client.get("/readyz").status_code == HTTPStatus.SERVICE_UNAVAILABLE
        assert client.get("/healthz").status_code == HTTPStatus.OK
        (tmp_path / "runs.db").rmdir()
        for file in tmp_path.glob("runs.db*.away"):
            file.rename(file.with_suffix(""))
        assert len(client.get(f"{V1}/runs").json()["runs"]) == 1
        assert client.get("/readyz").status_code == HTTPStatus.OK
