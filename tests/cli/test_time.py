"""`convbench time`, as a process: into a pipe, on a terminal, interrupted, and asked for what cannot be."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from commands import Command
from terminal import CONTROL, on_terminal

import convbench
from convbench.model.result import RunState, Status
from convbench.sweep import of_run

LAYER = ("4", "8", "--kernel-size", "3", "--input-size", "16")
TYPES = ("--dtype", "float32", "--dtype", "float64")
#: A floor in a table's line.
FLOOR = re.compile(r"^ *(\d\S* [num]?s)  ", re.MULTILINE)
COLOUR = re.compile(r"\x1b\[[0-9;]*[1-9][0-9;]*m")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], "missing --in-channels, --out-channels, --kernel-size, --input-size"),
        (["3", "8", "--in-channels", "4"], "got --in-channels and an argument for it"),
        ([*LAYER, "--dtype", "float32", "--dtype", "fp32"], "--dtype: expected float16, bfloat16, float32 or float64"),
        ([*LAYER, "--env", "{A: [1]}"], "--env.A: expected"),
        (["4", "8", "--kernel-size", "9", "--input-size", "4"], "nothing is left to measure"),
    ],
)
def test_what_cannot_be_measured_is_a_wrong_request(command: Command, arguments: list[str], error: str) -> None:
    said = command("time", *arguments)
    assert (said.code, said.out) == (2, "")
    assert error in said.err
    assert not Path("reports").exists(), "nothing was stored"


@pytest.mark.slow
def test_two_settings_end_in_a_table_and_in_which_is_faster(command: Command, tmp_path: Path) -> None:
    done = command("time", *LAYER, *TYPES, "--padding", "0", "--padding", "9", "--direction", "forward")
    assert done.code == 0, done.err
    assert "\x1b" not in done.out + done.err, "no colours and no bar in a pipe"
    every, heads, *lines = done.out.splitlines()
    assert every.startswith("every case: ") and "t1" in every.split()
    assert heads.split() == ["floor", "typical", "spread", "rate", "of", "roof", "check", "case", "implementation"]
    rows, answers = lines[:4], [line for line in lines[4:] if "did not settle" not in line]
    assert all(" passed " in row and "FLOP/s" in row and "%" in row for row in rows)
    assert len(answers) == 4, "two pairs of dtypes, and two of paddings"
    assert all(re.search(r"\(\d\S* to \d\S*\)", answer) for answer in answers)

    [told] = re.findall(r"`convbench report (\S+)`", done.err)
    run = convbench.load(told).run
    assert run.state is RunState.FINISHED
    assert [result.status for result in run.results] == [Status.PASSED] * 4
    assert of_run(run) is not None, "its sweep is stored as any other"
    reported = command("report", told)
    assert reported.code == 0, reported.err
    assert (tmp_path / reported.out.strip()).is_file()


@pytest.mark.slow
def test_ctrl_c_keeps_what_a_terminal_has_shown_and_the_same_command_goes_on(tmp_path: Path) -> None:
    sent: list[str] = []

    def stop(text: str, process: int) -> None:
        if not sent and FLOOR.search(CONTROL.sub("", text)):
            sent.append(text)
            os.kill(process, signal.SIGINT)

    options = ("time", *LAYER, *TYPES, "--direction", "forward")
    code, text = on_terminal(tmp_path, *options, columns=100, seen=stop)
    assert code == 130
    assert sent, "a time was shown while it was measured"
    assert COLOUR.search(sent[0]), "and the bar has colours"
    last = CONTROL.sub("", text).rpartition("every case: ")[2]
    assert FLOOR.search(last), "the end has a table with what was measured"
    assert "interrupted: results are kept; the same command resumes the run" in last
    assert "Traceback" not in text
    database = str(tmp_path / "reports" / "convbench.db")
    stopped = convbench.load("latest", db=database).run
    assert stopped.state is RunState.INTERRUPTED
    assert any(result.blocks for result in stopped.results)

    code, text = on_terminal(tmp_path, *options, columns=60, NO_COLOR="1")
    assert code == 0
    assert not COLOUR.search(text), "NO_COLOR is respected, by the bar too"
    shown = CONTROL.sub("", text)
    assert f"resuming run {stopped.id}" in " ".join(shown.split())
    result = shown.rpartition("every case: ")[2].splitlines()
    assert all(len(line) <= 60 for line in result)
    assert any(line.strip().startswith("floor ") for line in result), "a case has lines of its own"
    run = convbench.load("latest", db=database).run
    assert (run.id, run.state) == (stopped.id, RunState.FINISHED)
