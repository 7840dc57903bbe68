"""A service from Python: a real server in a thread, whose jobs nobody measures."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import fields
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pandas
import pytest
import service
import uvicorn

import convbench
from convbench.actions import connecting
from convbench.actions.jobs import now, task_of
from convbench.api import ServiceConnection
from convbench.errors import RequestError
from convbench.model.campaign import How
from convbench.model.job import FleetTask, JobState
from convbench.model.token import Scope
from convbench.store import Writer
from convbench.store.listing import Filters
from convbench.web.answers import GitAnswer, RunAnswer
from convbench.web.answers_jobs import BUDGET_S
from convbench.web.app import application
from convbench.web.state import Service
from convbench.workloads.request import Request


@contextmanager
def listening(made: Service) -> Iterator[str]:
    """The application of a service on a free port; its address."""
    with closing(socket.create_server(("127.0.0.1", 0))) as opened:
        server = uvicorn.Server(uvicorn.Config(application(made), log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{opened.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Service]]:
    path = tmp_path_factory.mktemp("connect") / "runs.db"
    service.filled(path, *(service.run_of(number) for number in (1, 2, 3)))
    with service.serving(path) as (_, made), listening(made) as url:
        made.store.set_baseline("main", service.run_of(1).id, set_at=now())
        yield url, made


@pytest.fixture
def there(served: tuple[str, Service]) -> ServiceConnection:
    return convbench.connect(served[0] + "/")


def test_runs_are_a_frame_and_a_run_has_its_own(there: ServiceConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "_PAGE", 2)
    runs = there.runs()
    assert list(runs["id"]) == [service.run_of(number).id for number in (3, 2, 1)]
    assert len(there.runs(most=2)) == 2 and list(there.runs(sweep="none").columns) == list(runs.columns)
    assert {*RunAnswer.model_fields} - {"git"} | {f"git_{name}" for name in GitAnswer.model_fields} == {*runs.columns}
    assert set(connecting.FILTERS) == {field.name for field in fields(Filters)}
    run = there.run("main")
    assert (run.id, len(run.run.results)) == (service.run_of(1).id, 12)
    pandas.testing.assert_frame_equal(there.frame("main"), run.frame())
    found = there.compare("main")
    assert (found.base, found.new) == (service.run_of(1).id, service.run_of(3).id)
    assert len(found.frame) == 12 == sum(found.counts.values()) and found.verdict in found.text


def test_a_job_is_submitted_and_waited_for(
    there: ServiceConnection, served: tuple[str, Service], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "_LOOK_S", 0.01)
    (tmp_path / "sweep.yaml").write_text(service.TINY, encoding="utf-8")
    job = there.submit(tmp_path / "sweep.yaml", against="main", idempotency_key="k")
    assert there.submit(service.TINY, against="main", idempotency_key="k") == job == there.job(job.id)
    with pytest.raises(RequestError, match="still queued after 0 s"):
        there.wait(job.id, timeout_s=0)
    me, jobs = Writer.of_this_process(), served[1].jobs

    def measure() -> None:
        claimed = jobs.claim(me, now())
        assert claimed is not None
        jobs.note_begun(claimed, service.run_of(2).id)
        jobs.end(claimed.id, me, JobState.MEASURED, now(), code=1)

    timer = threading.Timer(0.1, measure)
    timer.start()
    ended = there.wait(job.id, timeout_s=60)
    timer.join()
    assert (ended.state, ended.run_id, ended.exit_code) == (JobState.MEASURED, service.run_of(2).id, 1)
    second = there.submit(service.TINY)
    jobs.cancel(second.id, now())
    with pytest.raises(RequestError, match="is cancelled"):
        there.wait(second.id)


def test_a_model_and_a_fleet_are_submitted_as_the_api_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, float]] = []

    def captured(request: Request, budget_s: float) -> str:
        asked.append((request.command, budget_s))
        return service.TINY

    given = {"inputs": ["x=1x3x8x8"], "arguments": ["depth=50"], "train": True, "autocast": "bfloat16", "real": True}
    with (
        service.serving(tmp_path / "runs.db", trust_modules=True, ray="auto") as (_, made),
        listening(made) as url,
    ):
        monkeypatch.setattr(made.pages, "captured", captured)
        there = convbench.connect(url)
        job = there.submit_model("net:Net", **given, channels_last=True, budget_s=30, priority=2)
        assert (job.cases, made.jobs.get(job.id).priority, job.campaign_id) == (1, 2, None)
        there.submit_model("net:Net", inputs=["1x3x8x8"])
        options = "--arg depth=50 --train --autocast bfloat16 --channels-last --real"
        assert asked[0] == (f"convbench capture net:Net --input x=1x3x8x8 {options}", 30)
        assert asked[1] == ("convbench capture net:Net --input 1x3x8x8", BUDGET_S)
        job = there.submit("quick", fleet={"how": "split", "where": {"rack": "2"}})
        assert task_of(made.jobs.get(job.id)) == FleetTask(how=How.SPLIT, where=(("rack", "2"),))
        with pytest.raises(RequestError, match=r"body\.fleet\.how"):
            there.submit("quick", fleet={"how": "both"})
        with pytest.raises(RequestError, match=r"`input` 3,8: expected"):
            there.submit_model("net:Net", inputs=["3,8"])
    with (
        service.serving(tmp_path / "runs.db") as (_, made),
        listening(made) as url,
        pytest.raises(RequestError, match="is code, which this service does not run"),
    ):
        convbench.connect(url).submit_model("net:Net", inputs=["1x3x8x8"])


def test_what_the_service_says_is_wrong_is_the_error(there: ServiceConnection) -> None:
    for call, said in (
        (lambda: there.run("none"), "none"),
        (lambda: there.job("no'ne"), "there is no job"),
        (lambda: there.submit("axes: {in_channels: x}"), "line 1, axes.in_channels: expected an integer"),
        (lambda: there.runs(state="unknown"), "state"),
        (lambda: there.runs(colour="blue"), "no filter is called colour"),
    ):
        with pytest.raises(RequestError, match=said):
            call()
    with pytest.raises(RequestError) as caught:
        there.submit("axes: {in_chanels: 3}")
    assert len(caught.value.lines) == 2 and "hint:" not in caught.value.message  # each mistake once


def test_a_token_comes_from_the_caller_or_the_variable_and_is_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CONVBENCH_TOKEN", raising=False)
    path = service.filled(tmp_path / "runs.db", service.run_of(1))
    with service.serving(path) as (_, made), listening(made) as url:
        token = made.tokens.create("reader", [Scope.READ], now(), None)[1]
        there = convbench.connect(url, token)
        assert len(there.runs()) == 1 and token not in repr(there)
        with pytest.raises(RequestError, match="scope `submit`"):
            there.submit(service.TINY)
        with pytest.raises(RequestError, match="unknown, revoked or expired"):
            convbench.connect(url, "cvb_wrong")
        monkeypatch.setenv("CONVBENCH_TOKEN", token)
        assert len(convbench.connect(url).runs()) == 1


class _Elsewhere(BaseHTTPRequestHandler):
    """A server that leads elsewhere, and keeps what it was sent."""

    sent: list[str] = []  # noqa: RUF012 - the server makes a handler for each request, and the test reads all of them

    def do_GET(self) -> None:
        self.sent.append(self.path)
        self.send_response(302 if self.path.startswith("/elsewhere") else 200)
        self.send_header("Location", "/b")
        self.end_headers()
        self.wfile.write(b"<html>")

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


def test_an_address_that_is_no_service_is_said_and_no_redirect_gets_the_token() -> None:
    with HTTPServer(("127.0.0.1", 0), _Elsewhere) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        here = f"http://127.0.0.1:{server.server_port}"
        try:
            with pytest.raises(RequestError, match="status 302"):
                convbench.connect(f"{here}/elsewhere", "secret")
            assert _Elsewhere.sent == ["/elsewhere/api/v1/session"]
            with pytest.raises(RequestError, match="no service"):
                convbench.connect(here)
        finally:
            server.shutdown()
            thread.join()
    with pytest.raises(RequestError, match="does not answer"):
        convbench.connect(here)
    for url in ("", "ftp://x", "file:///etc/passwd", "http://", "http://me:secret@host"):
        with pytest.raises(RequestError, match="no address"):
            convbench.connect(url)
