"""`convbench fleet` with hosts that are scripts: what it prints, its exit codes, and that Ray's token stays secret."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest
from commands import Command
from fake_fleet import OTHER_KEY, FakeFleet, host

from convbench.fleet import ray

TOKEN = "hush-token-of-ray"
SWEEP = """
name: small
axes: {in_channels: [1, 2], out_channels: 4, kernel_size: 1, input_size: 8}
measure: {processes: 2, rounds: 2}
"""
DB = Path("reports/convbench.db")


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch, command: Command) -> FakeFleet:
    """Two hosts in place of Ray's cluster, which asks for a token; the sweep lies in the current folder."""
    made = FakeFleet(there=[host("a"), host("x", OTHER_KEY)])
    monkeypatch.setattr(ray, "RayFleet", lambda address, **rest: made)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    Path("small.yaml").write_text(SWEEP)
    return made


def test_campaign_is_told_and_rays_token_is_neither_shown_nor_stored(command: Command, fleet: FakeFleet) -> None:
    run = command("fleet", "run", "small.yaml", "--address", "ray://127.0.0.1:10001")
    assert (run.code, re.fullmatch(r"c\d{8}-\d{6}-\w{4}\n", run.out) is not None) == (0, True)
    assert "shard 1, a: finished" in run.err and "shard 2, x: finished" in run.err
    listed, one = command("fleet", "status"), command("fleet", "status", run.out.strip())
    assert "2 finished" in listed.out and "finished  x" in one.out
    shown = command("campaign", run.out.strip(), "--no-page")
    assert shown.code == 0
    with sqlite3.connect(DB) as connection:
        dumped = "\n".join(connection.iterdump())
    kept = [path.read_bytes() for path in Path.cwd().rglob("*") if path.is_file()]
    assert SWEEP.encode() in b"".join(kept)
    said = "".join(each.out + each.err for each in (run, listed, one, shown))
    assert TOKEN not in said + dumped and TOKEN.encode() not in b"".join(kept)


def test_ctrl_c_names_what_goes_on(command: Command, fleet: FakeFleet) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    fleet.at_step = {2: interrupt}
    said = command("fleet", "run", "small.yaml")
    assert said.code == 130
    goes_on = f"interrupted: results are kept; `convbench fleet resume {said.out.strip()}` goes on"
    assert said.err.splitlines()[-1] == goes_on
    assert sorted(fleet.stopped) == [1, 2]
    again = command("fleet", "resume")
    assert (again.code, again.out) == (0, said.out)
    once_more = command("fleet", "resume")
    assert once_more.code == 2 and "is finished" in once_more.err


def test_shard_that_failed_is_an_exit_code_with_what_to_do(command: Command, fleet: FakeFleet) -> None:
    fleet.fails = {"x": ("no torch there", False)}
    said = command("fleet", "run", "small.yaml")
    assert said.code == 3
    assert "shard 2 on x: no torch there" in said.err
    assert f"`convbench fleet status {said.out.strip()}` says why" in said.err
    assert "shard 2: no torch there" in command("fleet", "status", "latest").out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--each", "--split"), "got --each and --split"),
        (("--where", "x"), "--where x: expected KEY=VALUE"),
        (("--where", "zone=3"), "no host has the label zone=3"),
        (("--devices", "cuda"), "--devices cuda: the cases of the sweep run on cpu"),
        (("--split",), "--split needs hosts of one machine key, found 2"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence_and_stores_nothing(
    command: Command, fleet: FakeFleet, options: tuple[str, ...], message: str
) -> None:
    said = command("fleet", "run", "small.yaml", *options)
    assert said.code == 2 and message in said.err and said.out == ""
    assert not DB.exists() or "no campaigns" in command("fleet", "status").out


@pytest.mark.parametrize("address", ["nonsense", "", "ray://", "http://127.0.0.1", "127.0.0.1:x", "ray://joe:hush@:1"])
def test_what_is_no_address_is_refused_without_what_may_be_a_password(address: str) -> None:
    with pytest.raises(ray.RequestError, match="expected ray://HOST:PORT, HOST:PORT, auto or local") as found:
        ray.refuse_unknown(address)
    assert "hush" not in str(found.value)
    for known in ("auto", "local", "head.example.org:6379", "ray://10.0.0.1:10001", "ray://[::1]:10001"):
        ray.refuse_unknown(known)
