"""What keeps a service going: old runs are deleted, and its database is copied while it works."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from configparser import ConfigParser
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import service
from commands import Command
from service import serving

from convbench.actions.jobs import new_job, now, submit
from convbench.store import Store
from convbench.store.jobs import Jobs
from convbench.web.retention import WHO, Retention
from convbench.web.routes import operating


def test_old_runs_are_deleted_and_never_a_baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [service.run_of(number) for number in range(1, 6)]
    service.filled(tmp_path / "runs.db", *runs)
    with serving(tmp_path / "runs.db", keep=2, older=timedelta(0)) as (client, made):
        made.store.set_baseline("main", runs[0].id, set_at="2026-11-30T00:00:00+00:00")
        assert Retention(made.store, made.settings).prune() == 2
        left = [one["id"] for one in client.get("/api/v1/runs").json()["runs"]]
        assert left == [runs[4].id, runs[3].id, runs[0].id]
        assert Retention(made.store, made.settings).prune() == 0
        written = made.tokens.writes()
        assert sorted((one.who, one.action, one.target) for one in written) == [
            (WHO, "prune", runs[1].id),
            (WHO, "prune", runs[2].id),
        ]


def test_a_run_stays_while_a_job_needs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [service.run_of(number) for number in range(1, 7)]
    service.filled(tmp_path / "runs.db", *runs)
    with serving(tmp_path / "runs.db", keep=1) as (client, made):
        found = made.trusted(service.TINY)
        jobs = [
            submit(made.store, service.TINY, found, by="ann", against=ref)[0]
            for ref in (runs[0].id, runs[1].id[:-1], None)
        ]
        jobs += [new_job(service.TINY, found, by="ann", at=datetime.now(UTC), against="no-such-baseline")]
        made.jobs.add(jobs[3])
        made.jobs.note_begun(jobs[2], runs[2].id)
        retention = Retention(made.store, made.settings)
        assert retention.prune() == 2
        left = [one["id"] for one in client.get("/api/v1/runs").json()["runs"]]
        assert left == [runs[5].id, runs[2].id, runs[1].id, runs[0].id]
        for job in jobs:
            made.jobs.cancel(job.id, now())
        assert retention.prune() == 3


def test_the_thread_deletes_at_once_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    service.filled(tmp_path / "runs.db", *(service.run_of(number) for number in range(1, 4)))
    with serving(tmp_path / "runs.db", keep=1) as (_, made):
        retention = Retention(made.store, made.settings)
        retention.start()
        retention.stop()
        assert [run.id for run in made.store.runs()] == [service.run_of(3).id]


def test_a_backup_is_whole_while_others_write(command: Command, tmp_path: Path) -> None:
    source = service.filled(tmp_path / "runs.db", service.run_of(1))
    over = threading.Event()

    def write() -> None:
        number = 2
        while not over.is_set() and number < 60:
            service.filled(source, service.run_of(number))
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        said = command("backup", str(tmp_path / "copy.db"), "--db", str(source))
    finally:
        over.set()
        writer.join()
    assert said.code == 0 and said.out.startswith(f"{tmp_path / 'copy.db'}: "), said.err
    with Store.open(str(tmp_path / "copy.db")) as copied, Store.open(str(source)) as original:
        for run in copied.runs():
            found = len(copied.load(run.id).results)
            assert found in (0, run.cases), "all results of a run are written at once, after its beginning"
        assert copied.load(service.run_of(1).id) == original.load(service.run_of(1).id)
        assert copied.identity() == original.identity()


def test_a_backup_replaces_nothing_and_a_server_has_its_own_program(command: Command, tmp_path: Path) -> None:
    source = service.filled(tmp_path / "runs.db", service.run_of(1))
    (tmp_path / "there").write_text("mine", encoding="utf-8")
    said = command("backup", str(tmp_path / "there"), "--db", str(source))
    assert said.code == 2 and "exists already" in said.err and (tmp_path / "there").read_text("utf-8") == "mine"
    said = command("backup", str(tmp_path / "x"), "--db", str(tmp_path / "none.db"))
    assert said.code == 2 and "there is no database" in said.err and not (tmp_path / "x").exists()
    said = command("backup", str(tmp_path / "no" / "x"), "--db", str(source))
    assert said.code == 2 and "cannot copy" in said.err
    said = command("backup", str(tmp_path / "x"), "--db", "postgresql://joe:s3cret@127.0.0.1:1/runs")
    assert said.code == 2 and "pg_dump" in said.err and "s3cret" not in said.err


def test_a_database_that_does_not_answer_is_said_and_the_process_is_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()
    monkeypatch.setattr(operating, "PATIENCE_S", 0.1)
    monkeypatch.setattr(Jobs, "counts", lambda self: over.wait(60))
    with serving(tmp_path / "runs.db") as (client, _):
        try:
            for _ in range(3):
                answer = client.get("/readyz")
                assert answer.status_code == 503 and "the database does not answer" in answer.text
            assert client.get("/healthz").text == "ok\n"
        finally:
            over.set()


UNIT = re.compile(r"```ini\n(.*?)```", re.DOTALL)


def test_the_unit_of_systemd_is_valid_and_its_options_are_those_of_the_verb(command: Command, tmp_path: Path) -> None:
    found = UNIT.search((Path(__file__).parents[2] / "docs" / "service.md").read_text(encoding="utf-8"))
    assert found is not None
    unit = ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]  # the documented way to keep capitals
    unit.read_string(found[1])
    program, verb, *words = unit["Service"]["ExecStart"].split()
    assert (Path(program).name, verb) == ("convbench", "serve")
    known = command("serve", "--help").out
    assert all(word in known for word in words if word.startswith("--"))
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed here, so only the options are checked")
    path = tmp_path / "convbench.service"
    path.write_text(found[1].replace(program, sys.executable).replace("User=convbench\n", ""), encoding="utf-8")
    said = subprocess.run([analyze, "verify", path], capture_output=True, text=True, timeout=60)
    assert said.returncode == 0 and path.name not in said.stderr, said.stderr
