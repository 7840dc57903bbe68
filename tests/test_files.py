"""Files that users name: what cannot be written is told before anything is measured."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from convbench.errors import RequestError
from convbench.files import check_writable, write_bytes


@pytest.mark.parametrize("name", ["new.md", "not/there/yet/new.md", "old.md"])
def test_a_file_that_can_be_written_passes_and_nothing_is_made(tmp_path: Path, name: str) -> None:
    (tmp_path / "old.md").write_text("before")
    check_writable(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["old.md"]
    write_bytes(tmp_path / name, b"after")
    assert (tmp_path / name).read_bytes() == b"after"
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (".", "it is a folder"),
        ("file/new.md", "is no folder|Not a directory|File exists"),
        ("x" * 500, "File name too long"),
    ],
)
def test_a_file_that_cannot_be_written_is_told_before_and_after(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "file").write_text("in the way")
    for attempt in (check_writable, lambda path: write_bytes(path, b"")):
        with pytest.raises(RequestError, match=f"cannot write .*({why})"):
            attempt(tmp_path / name)


def test_a_folder_that_nothing_may_be_written_in_is_told_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)  # root, as in CI, may write anywhere
    with pytest.raises(RequestError, match="nothing may be written in"):
        check_writable(tmp_path / "new" / "new.md")


def test_a_device_in_a_folder_of_roots_may_be_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    null = Path("/dev/null")
    monkeypatch.setattr(os, "access", lambda path, mode: path == null)
    check_writable(null)
    write_bytes(null, b"nothing")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(RequestError, match="it may not be written to"):
        check_writable(null)
