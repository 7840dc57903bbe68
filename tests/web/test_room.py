"""Where the service writes: a disk without room is said, and what killed services have left is removed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from http import HTTPStatus
from pathlib import Path

import pytest
import service
from service import serving

from convbench import units
from convbench.errors import RequestError
from convbench.store.writer import Writer
from convbench.web import pages, room
from convbench.web.routes import operating

MINE = Writer.of_this_process()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files of this test."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize(("full", "what"), [("data", "the database"), ("temporary", "temporary files")])
def test_a_service_is_not_ready_while_a_disk_has_no_room(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch, full: str, what: str
) -> None:
    (tmp_path / "data").mkdir()
    usage = shutil.disk_usage(tmp_path)
    with serving(tmp_path / "data" / "runs.db") as (client, _):
        assert client.get("/readyz").text == "ok\n"
        with monkeypatch.context() as patched:
            patched.setattr(
                shutil, "disk_usage", lambda path: usage._replace(free=5 if path == tmp_path / full else usage.free)
            )
            answer = client.get("/readyz")
            assert client.get("/healthz").status_code == client.get("/runs").status_code == HTTPStatus.OK
        assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE
        assert answer.text == f"the disk for {what} has 5 B free, and {units.size(room.LEAST_FREE)} are needed\n"
        assert client.get("/readyz").status_code == HTTPStatus.OK, "there is room again"


def test_a_service_is_not_ready_where_it_may_not_write(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(tmp_path / "runs.db") as (client, _), monkeypatch.context() as patched:
        patched.setattr("os.access", lambda path, mode: path == temporary)
        assert client.get("/readyz").text.splitlines() == [
            "the folder for the database may not be written",
            "the database may not be written",
        ]


def test_what_cannot_be_kept_is_a_problem_of_the_service_and_names_no_path(
    tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> None:
        raise RequestError(f"cannot write {path}: No space left on device")

    run = service.run_of(1)
    with serving(service.filled(tmp_path / "runs.db", run)) as (client, made), monkeypatch.context() as patched:
        patched.setattr(pages, "write_bytes", full)
        patched.setattr(made.pages._pages, "call", lambda work, *arguments, timeout_s: work(*arguments))
        answer = client.get(f"/api/v1/runs/{run.id}/export?format=csv")
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
        assert answer.json()["detail"] == "the service cannot keep what it made: No space left on device"
        assert str(temporary) not in answer.text


def test_the_documentation_has_the_limits_of_the_code() -> None:
    text = " ".join((Path(__file__).parents[2] / "docs" / "service.md").read_text(encoding="utf-8").split())
    assert f"does not answer within {operating.PATIENCE_S:.0f} s" in text
    assert f"has less than {room.LEAST_FREE / 2**20:.0f} MiB free" in text


def test_folders_of_killed_services_are_removed_and_no_others(temporary: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    gone = {f"convbench-pages-{process.pid}-7-x_1", "convbench-pages-abc12345", f"convbench-pages-{MINE.pid}-7-x"}
    kept = {f"convbench-pages-{MINE.pid}-{MINE.started:.0f}-x", "convbench-bisect-x", "convbench-pages-1-2-x.txt"}
    for name in gone | kept:
        (temporary / name).mkdir()
        (temporary / name / "file").write_text("x", encoding="utf-8")
    (temporary / "convbench-pages-link").symlink_to(temporary / "convbench-bisect-x")
    with room.folder_for_pages() as made:
        assert {path.name for path in temporary.iterdir()} == kept | {"convbench-pages-link", Path(made).name}
        with room.folder_for_pages():
            assert Path(made).is_dir(), "it is that of a process that lives"
    assert (temporary / "convbench-bisect-x" / "file").exists()
