"""The text of a token is in no log, no dump and no copy of the database, wherever it was sent."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import service
from service import HERE, serving

from convbench.actions import tokens
from convbench.store import backup, listing
from convbench.web.logs import log_to_standard_error


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """The log of a service, on standard error for this test alone."""
    names = ("convbench.web", "uvicorn")
    before = [(one.handlers[:], one.level, one.propagate) for one in map(logging.getLogger, names)]
    log_to_standard_error()
    yield
    for name, (handlers, level, propagate) in zip(names, before, strict=True):
        one = logging.getLogger(name)
        one.handlers[:], one.propagate = handlers, propagate
        one.setLevel(level)


@pytest.mark.usefixtures("logged")
def test_the_text_of_a_token_stays_with_its_owner(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = service.filled(tmp_path / "runs.db", service.run_of(1))
    with serving(path) as (client, made):
        _, text = tokens.create(made.store, "ci", ["admin"], days=1)
        bearer = {"authorization": f"Bearer {text}"}
        answers = [
            client.get("/api/v1/runs", headers=bearer),
            client.get("/tokens", headers=bearer),
            client.get("/api/v1/writes", headers={"authorization": f"Basic {text}"}),
            client.get("/api/v1/runs", params={"token": text}, headers=bearer),
            client.post("/api/v1/jobs", json={"sweep": 1, "token": text}, headers=bearer),
            client.post("/api/v1/session", json={"token": f"{text}x"}, headers={"origin": HERE}),
            client.post("/api/v1/session", json={"token": text}, headers={"origin": HERE}),
            client.get("/tokens"),  # with the cookie
        ]
        monkeypatch.setattr(listing, "listed", lambda *_, **__: 1 / 0)
        answers.append(client.get("/api/v1/runs", params={"text": "new"}, headers=bearer))
        answers.append(client.get("/metrics"))
        assert [answer.status_code for answer in answers] == [200, 200, 401, 200, 422, 401, 200, 200, 500, 200]
        assert not any(text in answer.text for answer in answers)
    log = capsys.readouterr().err
    backup.copy(tmp_path / "copy.db", str(path))
    dump = "\n".join(sqlite3.connect(tmp_path / "copy.db").iterdump())
    assert "ZeroDivisionError" in log and "INSERT INTO" in dump
    secret = text.split("_", 2)[2]  # it may contain `_` itself
    assert len(secret) > 20
    for held in (log, dump, *(one.read_bytes().decode("latin-1") for one in tmp_path.iterdir())):
        assert secret not in held
