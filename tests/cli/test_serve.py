"""The verbs `serve` and `token`, and `run --no-page`; a service in a process of its own is in tests/web."""

from __future__ import annotations

import importlib.util
import socket
import sys
from pathlib import Path

import pytest
import service
from commands import Command

from convbench.store import Store
from convbench.store.tokens import Tokens
from convbench.sweep import shipped_sweeps

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("name", shipped_sweeps.NAMES)
def test_the_shipped_sweeps_are_those_of_the_checkout(name: str) -> None:
    assert shipped_sweeps.text_of(name) == (ROOT / "configs" / f"{name}.yaml").read_text(encoding="utf-8")


def test_tokens_are_created_listed_and_revoked(command: Command) -> None:
    assert command("token", "list", "--db", "runs.db").code == 2, "there is no database yet"
    made = command("token", "create", "ci main", "--scope", "submit", "--scope", "read", "--db", "runs.db")
    text = made.out.strip()
    assert (made.code, "token ci main with read, submit" in made.err) == (0, True)
    listed = command("token", "list", "--db", "runs.db").out
    prefix = text.split("_")[1]
    assert prefix in listed and "read, submit" in listed and text not in listed
    with Store.open("runs.db") as store:
        found = Tokens(store).find(text, "2026-11-30")
        assert found is not None and found.name == "ci main"
    assert (
        command("token", "revoke", f"cvb_{prefix}", "--db", "runs.db").out == f"token ci main ({prefix}) is revoked\n"
    )
    assert "revoked" in command("token", "list", "--db", "runs.db").out
    with Store.open("runs.db") as store:
        assert Tokens(store).find(text, "2026-11-30") is None
        assert [write.action for write in Tokens(store).writes()] == ["token revoke", "token create"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "ci", "--scope", "sumbit"], "did you mean submit?"),
        (["create", "ci", "--days", "0"], "expected 1 to 3650"),
        (["create", "<b>"], "cannot be called"),
        (["create", " ci"], "cannot be called"),
        (["revoke", "unknown"], "no token 'unknown'"),
    ],
)
def test_what_cannot_be_a_token_is_an_error(command: Command, arguments: list[str], said: str) -> None:
    command("token", "create", "first", "--db", "runs.db")
    answer = command("token", *arguments, "--db", "runs.db")
    assert (answer.code, answer.out) == (2, "") and said in answer.err


def test_serve_without_its_extra_names_it(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.startswith(("convbench.web", "uvicorn"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    answer = command("serve")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.splitlines() == [
        "error: `convbench serve` needs the Python package 'uvicorn'",
        "  hint: pip install 'convbench[serve]'",
    ]


def test_serve_says_why_it_cannot_start(command: Command, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        answer = command("serve", "--port", port)
        assert (answer.code, f"cannot listen on 127.0.0.1, port {port}" in answer.err) == (2, True)
    assert "there is no token" in command("serve", "--host", "0.0.0.0", "--port", "0").err
    assert "expected a path like /bench" in command("serve", "--root-path", "bench").err
    (tmp_path / "other.db").write_bytes(b"something else" * 100)
    assert "not an SQLite database" in command("serve", "--port", "0", "--db", "other.db").err


@pytest.mark.slow
def test_a_run_without_pages_prints_its_id(command: Command, tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(service.TINY, encoding="utf-8")
    answer = command("run", "sweep.yaml", "--no-page", "--db", "runs.db")
    assert answer.code == 0
    with Store.open("runs.db") as store:
        assert answer.out == f"{store.run_id('latest')}\n"
    assert sorted(path.name for path in tmp_path.rglob("*.html")) == []
    assert "give one or the other" in command("run", "sweep.yaml", "--no-page", "--open").err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--checkout", "mine=."), "--checkout runs code of the checkout"),
        (("--trust-modules", "--checkout", "mine"), "expected NAME=PATH"),
        (("--trust-modules", "--checkout", "mine=nowhere"), "no such folder"),
        (("--trust-modules", "--checkout", "mine=."), "no checkout of git"),
        (("--build", "mine=make"), "--build mine=make: expected the name of a --checkout"),
        (("--python", "=env/bin/python"), "--python =env/bin/python: expected the name of a --checkout"),
        (("--insecure-ray",), "--insecure-ray is for a cluster"),
        (("--ray", "ray://user:secret@192.0.2.1:10001"), "ray://192.0.2.1:10001 is beyond this host"),
        (("--ray", "nonsense"), "expected ray://HOST:PORT, HOST:PORT, auto or local"),
    ],
)
def test_checkouts_and_clusters_that_must_not_be_used_are_refused(
    command: Command, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], said: str
) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    found = command("serve", "--port", "0", *options)
    assert found.code == 2 and said in found.err and "secret" not in found.err


def test_a_cluster_needs_the_extra(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found = command("serve", "--port", "0", "--ray", "auto")
    assert found.code == 2 and "pip install 'convbench[fleet]'" in found.err
