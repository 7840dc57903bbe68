"""`convbench init`: what it writes can be run as it is; on a terminal, three answers decide what is in it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from commands import Command

from convbench import sweep as sweeps
from convbench.model.settings import SETTINGS
from convbench.sweep.schema import FILE


def axes(path: Path) -> dict[str, tuple[object, ...]]:
    return {axis.name: axis.values for axis in sweeps.load(path).axes}


def test_a_sweep_that_can_be_run_and_its_schema(command: Command, tmp_path: Path) -> None:
    said = command("init")
    assert (said.code, said.out, said.err) == (0, "sweep.yaml\n", "next: convbench run sweep.yaml\n")
    assert (tmp_path / "sweep.yaml").read_text(encoding="utf-8").startswith(f"# yaml-language-server: $schema={FILE}\n")
    assert "axes" in json.loads((tmp_path / FILE).read_text(encoding="utf-8"))["properties"]
    planned = sweeps.cases(sweeps.load(tmp_path / "sweep.yaml"))
    assert (len(planned.cases), planned.rejections) == (8, ())
    assert {case.threads for case in planned.cases} == {1}


def test_every_setting_is_there_with_its_default(command: Command, tmp_path: Path) -> None:
    command("init")
    text = (tmp_path / "sweep.yaml").read_text(encoding="utf-8")
    before = [case.id for case in sweeps.cases(sweeps.load(tmp_path / "sweep.yaml")).cases]
    (tmp_path / "all.yaml").write_text(re.sub(r"^  # (\w+: )", r"  \1", text, flags=re.MULTILINE), encoding="utf-8")
    assert set(axes(tmp_path / "all.yaml")) == set(SETTINGS)
    assert [case.id for case in sweeps.cases(sweeps.load(tmp_path / "all.yaml")).cases] == before


def test_a_file_is_overwritten_by_force_alone(command: Command, tmp_path: Path) -> None:
    mine = tmp_path / "folder" / "a 'b'.yaml"
    mine.parent.mkdir()
    mine.write_text("mine", encoding="utf-8")
    said = command("init", "folder/a 'b'.yaml")
    assert said.code == 2 and "exists already" in said.err
    assert mine.read_text(encoding="utf-8") == "mine"
    assert command("init", "folder/a 'b'.yaml", "--force").code == 0
    assert sweeps.load(mine).name == "a 'b'"
    assert (tmp_path / "folder" / FILE).exists()


def on_a_terminal(folder: Path, answers: str, *arguments: str, code: int = 0) -> str:
    """What the command shows on a terminal where a user types the answers, and ends with this exit code."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "convbench", "init", *arguments]
    with subprocess.Popen(command, cwd=folder, stdin=theirs, stderr=theirs, stdout=subprocess.PIPE) as process:
        os.close(theirs)
        os.write(ours, answers.encode())
        assert process.stdout is not None
        assert process.stdout.read() == (b"" if code else b"sweep.yaml\n")
        assert process.wait() == code
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    return shown


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ("\n\n\n", {"in_channels": (3,), "kernel_size": ((3, 3),), "dtype": ("float32", "bfloat16")}),
        ("16 in_channels 1x7\n28 8\nnothing\n", {"out_channels": ("in_channels",), "kernel_size": ((1, 7),)}),
        ("\n28 8\nmemory_format\n", {"batch_size": (8,), "memory_format": ("contiguous", "channels_last")}),
        ("\n\nkernel_size\n", {"kernel_size": ((1, 1), (3, 3), (5, 5)), "padding": ("half",)}),
    ],
)
def test_the_answers_are_in_the_sweep(tmp_path: Path, answers: str, expected: dict[str, object]) -> None:
    assert "three" not in on_a_terminal(tmp_path, answers)
    found = axes(tmp_path / "sweep.yaml")
    assert {name: found[name] for name in expected} == expected
    assert sweeps.cases(sweeps.load(tmp_path / "sweep.yaml")).cases


def test_a_wrong_answer_is_asked_for_again(tmp_path: Path) -> None:
    shown = on_a_terminal(tmp_path, "3 64\n3 64 three\n3 64 9\n4 1\n56 1\ndtpe\ndtype\n")
    assert "expected 3 values with a space between them, got 2" in shown
    assert "--kernel-size: expected an integer of at least 1, got 'three'" in shown
    assert "the kernel" in shown and "did you mean dtype?" in shown
    assert axes(tmp_path / "sweep.yaml")["kernel_size"] == ((9, 9),)


def test_nothing_is_asked_where_that_is_wanted(tmp_path: Path) -> None:
    assert "The layer" not in on_a_terminal(tmp_path, "", "--yes")


def test_an_end_in_place_of_an_answer_writes_nothing(tmp_path: Path) -> None:
    shown = on_a_terminal(tmp_path, "\n\x04", code=2)
    assert "no answer" in shown and "--yes asks nothing" in shown
    assert not list(tmp_path.iterdir())
