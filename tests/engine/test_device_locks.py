"""One run at a time on a device: the lock ends with its process, and who waits is told for whom."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Command

from convbench.engine import device_locks
from convbench.engine.device_locks import held, lock_file

HOLDING = """
import sys, time
from convbench.engine.device_locks import held
with held(["cpu"], what="nightly", waiting=print, message=print):
    print("held", flush=True)
    sys.stdin.read()
"""


class RefusedError(Exception):
    pass


def refuse(text: str) -> None:
    raise RefusedError(text)


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(device_locks.FOLDER, str(tmp_path))


@pytest.fixture
def holder() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_second_run_is_told_for_whom_it_waits_and_may_refuse(holder: subprocess.Popen[str]) -> None:
    with (
        pytest.raises(
            RefusedError, match=rf"the processor is in use by another run: nightly, process {holder.pid} of \w+"
        ),
        held(["cpu"], what="mine", waiting=refuse, message=refuse),
    ):
        pytest.fail("it is held")
    with held(["GPU-1"], what="mine", waiting=refuse, message=refuse):
        pass  # another device is free


def test_lock_of_a_killed_process_is_free_at_once(holder: subprocess.Popen[str]) -> None:
    waited: list[str] = []

    def kill(text: str) -> None:
        waited.append(text)
        holder.kill()

    with held(["cpu"], what="mine", waiting=kill, message=refuse):
        assert len(waited) == 1
    with held(["cpu"], what="mine", waiting=refuse, message=refuse):
        pass


def test_devices_are_free_after_the_run_and_a_second_one_names_the_last_holder() -> None:
    with held(["GPU-2", "GPU-1", "GPU-1"], what="first", waiting=refuse, message=refuse):
        assert {path.name for path in lock_file("cpu").parent.iterdir()} == {
            "convbench-GPU-1.lock",
            "convbench-GPU-2.lock",
        }
    with held(["GPU-1"], what="second", waiting=refuse, message=refuse):
        descriptor = os.open(lock_file("GPU-1"), os.O_RDONLY)
        found = device_locks.holder(descriptor)
        os.close(descriptor)
    assert found is not None
    assert (found.what, found.pid) == ("second", os.getpid())


def test_lock_file_is_one_for_all_users(monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.umask(0o077)
    try:
        with held(["cpu"], what="mine", waiting=refuse, message=refuse):
            assert lock_file("cpu").stat().st_mode & 0o777 == 0o666
    finally:
        os.umask(before)
    monkeypatch.delenv(device_locks.FOLDER)
    assert str(lock_file("cpu").parent) in ("/run/lock", "/tmp")


def test_file_that_cannot_be_made_is_told_and_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv(device_locks.FOLDER, str(file / "below"))
    said: list[str] = []
    with held(["cpu"], what="mine", waiting=refuse, message=said.append):
        assert said[0].startswith("note: the processor is not locked for other runs")


def test_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    lock_file("cpu").symlink_to(target)
    said: list[str] = []
    with held(["cpu"], what="mine", waiting=refuse, message=said.append):
        assert len(said) == 1
    assert target.read_text() == "mine"


def test_run_that_may_not_wait_is_refused_before_it_starts_a_worker(
    command: Command, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from convbench.engine.local import LocalEngine

    monkeypatch.setattr(LocalEngine, "start", lambda *_: pytest.fail("a worker starts"))
    monkeypatch.setattr(LocalEngine, "warm_up", lambda *_: pytest.fail("torch is imported"))
    Path("sweep.yaml").write_text("axes: {in_channels: 1, out_channels: 1, kernel_size: 1, input_size: 4}\n")
    said = command("run", "sweep.yaml", "--no-wait")
    assert said.code == 2
    assert f"in use by another run: nightly, process {holder.pid} of" in said.err
    assert "hint: without --no-wait, the run waits until that one has ended" in said.err
