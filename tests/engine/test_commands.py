"""Commands of other programs: what a signal does to them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

#: Runs a command that writes `ready`, and `got` at a signal; then it needs longer than Python waits for a child.
RUNNER = """\
import sys
from pathlib import Path
from convbench.engine.commands import Command
Command(words=(sys.executable, "-c", sys.argv[1]), folder=Path.cwd()).run()
"""
ORDERLY = """\
import pathlib, signal, time
def at_signal(number, frame):
    pathlib.Path("got").touch()
    time.sleep(1)
    with open("ended", "a") as file:
        file.write("once")
    raise SystemExit(0)
signal.signal(signal.SIGINT, at_signal)
pathlib.Path("ready").touch()
while True:
    time.sleep(0.05)
"""
STUBBORN = ORDERLY.replace("    raise SystemExit(0)\n", "").replace("time.sleep(1)", "pass")
LONGEST_S = 60


def appears(path: Path) -> None:
    end = time.monotonic() + LONGEST_S
    while not path.exists():
        assert time.monotonic() < end, f"{path.name} did not appear"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_ends_in_its_own_way(tmp_path: Path, number: signal.Signals) -> None:
    as_interrupt = "from convbench.cli.interrupt import sigterm_as_interrupt\nwith sigterm_as_interrupt():\n    "
    *imports, last = RUNNER.splitlines()
    with subprocess.Popen(
        [sys.executable, "-c", "\n".join([*imports, as_interrupt + last]), ORDERLY],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
    ) as runner:
        appears(tmp_path / "ready")
        runner.send_signal(number)
        assert runner.wait(LONGEST_S) != 0, "the interrupt goes on"
    assert (tmp_path / "ended").read_text(encoding="utf-8") == "once"


def test_a_second_signal_kills_a_command_that_does_not_end(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", RUNNER, STUBBORN], cwd=tmp_path, stderr=subprocess.DEVNULL) as runner:
        appears(tmp_path / "ready")
        runner.send_signal(signal.SIGINT)
        appears(tmp_path / "got")
        with pytest.raises(subprocess.TimeoutExpired):
            runner.wait(1)
        runner.send_signal(signal.SIGINT)
        assert runner.wait(LONGEST_S) != 0
