"""Files that cannot be written are reported before anything is measured, and the check leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import Command

from convbench.actions import measure
from convbench.errors import RequestError

SWEEP = "axes: {in_channels: 1, out_channels: 1, kernel_size: 1, input_size: 4}\n"


@pytest.fixture(autouse=True)
def sweep(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep in the current folder; measuring it ends in an error of its own."""
    Path("sweep.yaml").write_text(SWEEP)

    def fail(*arguments: object, **named: object) -> None:
        raise RequestError("it is measured")

    monkeypatch.setattr(measure, "run_planned", fail)
    monkeypatch.setattr(measure, "ab", fail)


@pytest.mark.parametrize("verb", ["run", "ab"])
def test_the_folder_of_reports(command: Command, verb: str) -> None:
    Path("reports").write_text("in the way")
    said = command(verb, "sweep.yaml")
    assert said.code == 2
    assert "error: cannot write reports/report.html: " in said.err and "reports is no folder" in said.err
    if verb == "ab":
        assert "hint: -o FILE writes the page elsewhere, --no-page measures without" in said.err
        assert "it is measured" in command(verb, "sweep.yaml", "--no-page").err


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "sweep.yaml", "--summary", "in-the-way/summary.md"),
        ("run", "sweep.yaml", "--junit", "in-the-way/junit.xml"),
        ("ab", "sweep.yaml", "-o", "in-the-way/page.html"),
        ("report", "latest"),
        ("export", "latest", "-o", "in-the-way/run.csv"),
        ("repro", "abc", "-o", "in-the-way/case.py"),
        ("compare", "one", "two", "-o", "in-the-way/page.html"),
    ],
)
def test_every_file_that_is_asked_for(command: Command, arguments: tuple[str, ...]) -> None:
    Path("in-the-way").write_text("a file")
    if arguments[0] == "report":
        Path("reports").symlink_to("in-the-way")
    said = command(*arguments)
    assert "it is measured" not in said.err
    assert said.code == 2
    assert "cannot write " in said.err and "is no folder" in said.err


def test_the_check_leaves_nothing(command: Command) -> None:
    assert "it is measured" in command("run", "sweep.yaml", "--summary", "new/summary.md").err
    assert [path.name for path in Path().iterdir()] == ["sweep.yaml"]
