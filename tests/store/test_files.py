"""Files that users name: what cannot be written is told before anything is measured."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from convbench.errors import RequestError
from convbench.store import files
from convbench.store.files import check_writable, write_bytes


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


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_link_at_the_path_is_replaced_and_what_it_points_to_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    for target in (mine, tmp_path / "nothing there"):
        page = tmp_path / "page.html"
        page.unlink(missing_ok=True)
        page.symlink_to(target)
        write_bytes(page, b"page")
        assert (page.is_symlink(), page.read_bytes()) == (False, b"page")
    assert mine.read_text() == "mine"
    assert names(tmp_path) == ["mine.txt", "page.html"]


def test_a_link_where_half_a_file_once_lay_is_not_followed(tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    (tmp_path / "page.html.part").symlink_to(mine)
    write_bytes(tmp_path / "page.html", b"page")
    assert mine.read_text() == "mine"
    assert (tmp_path / "page.html").read_bytes() == b"page"


def test_a_planted_name_costs_another_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    words = iter(["known", "known", "fresh"])
    monkeypatch.setattr(files.secrets, "token_hex", lambda size: next(words))
    (tmp_path / ".convbench-known.part").symlink_to(mine)
    write_bytes(tmp_path / "page.html", b"page")
    assert mine.read_text() == "mine"
    assert names(tmp_path) == [".convbench-known.part", "mine.txt", "page.html"]


def test_two_writers_of_one_file_leave_one_of_their_contents_whole(tmp_path: Path) -> None:
    contents = [bytes([letter]) * 300_000 for letter in b"abcd"]
    page = tmp_path / "page.html"

    def write(content: bytes) -> None:
        for _ in range(20):
            write_bytes(page, content)
            assert page.read_bytes() in contents

    with ThreadPoolExecutor(4) as writers:
        list(writers.map(write, contents))
    assert names(tmp_path) == ["page.html"]


def test_what_ends_the_writing_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.html"
    page.write_text("before")
    for error in (OSError(28, "No space left on device"), KeyboardInterrupt()):

        def fail(path: Path, target: Path, error: BaseException = error) -> None:
            raise error

        monkeypatch.setattr(Path, "replace", fail)
        with pytest.raises((RequestError, KeyboardInterrupt)):
            write_bytes(page, b"after")
        assert names(tmp_path) == ["page.html"]
        assert page.read_text() == "before"


def test_a_new_file_has_the_users_permissions_and_a_replaced_one_keeps_its_own(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    before = os.umask(0o027)
    try:
        write_bytes(page, b"new")
    finally:
        os.umask(before)
    assert page.stat().st_mode & 0o777 == 0o640
    page.chmod(0o600)
    write_bytes(page, b"newer")
    assert page.stat().st_mode & 0o777 == 0o600


def test_standard_output_by_its_name_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    imports = "from pathlib import Path; from convbench.store.files import write_bytes"
    code = f"{imports}; write_bytes(Path('/dev/stdout'), b'told')"
    link = Path("/dev/stdout").readlink()
    with (tmp_path / "out").open("wb") as out:
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True)
    assert (tmp_path / "out").read_bytes() == b"told"
    assert Path("/dev/stdout").readlink() == link


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs Linux's /proc")
def test_a_folder_that_refuses_files_is_told_before_also_to_root() -> None:
    with pytest.raises(RequestError, match=r"cannot write /proc/new\.md: "):
        check_writable(Path("/proc/new.md"))


def test_a_link_to_no_folder_is_told_before(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(RequestError, match="link is no folder"):
        check_writable(tmp_path / "link" / "new.md")


def test_a_long_name_of_a_folder_that_is_not_there_is_told_before(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="File name too long"):
        check_writable(tmp_path / "not there" / ("x" * 300) / "new.md")
