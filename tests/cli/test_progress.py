"""The bar of a run on a terminal that is lower than the text beside it."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from terminal import CONTROL

from convbench.cli.progress import RunProgress
from convbench.conduct.processes import Progress


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


PROGRESS = Progress(
    process_index=1, processes=5, process_cases=9, process_done=4, visits_done=13, visits_planned=45, cases=9,
    failed=0, imprecise=0, unmeasured=0, busy_s=1.0, start_s=1.0,
)  # fmt: skip


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, lines: int = 60) -> io.StringIO:
    """Standard error as a terminal with so many lines; pytest takes its place again in a fixture."""
    made = _Terminal()
    monkeypatch.setattr("sys.stderr", made)
    for name, value in {"COLUMNS": "80", "LINES": str(lines), "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    return made


def test_the_first_time_is_drawn_at_once_and_nothing_is_read_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch)
    read: list[str] = []
    shown = RunProgress(below=lambda run_id: read.append(run_id) or f"times of {run_id}")  # type: ignore[func-returns-value]  # None
    shown.run_id = "r1"
    shown.progressed(replace(PROGRESS, visits_done=0))
    assert read == []
    shown.progressed(replace(PROGRESS, visits_done=0.5))
    assert read == ["r1"] and "times of r1" in CONTROL.sub("", terminal.getvalue()), "without the usual pause"
    shown.progressed(PROGRESS)
    assert read == ["r1"], "the next look comes later"
    shown.close()


@pytest.mark.parametrize("lines", [3, 8, 60])
def test_the_bar_is_seen_on_a_terminal_that_is_lower_than_the_text(lines: int, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_a_terminal(monkeypatch, lines)
    shown = RunProgress(below=lambda run_id: "\n".join(f"case {at} of {run_id}" for at in range(30)))
    shown.run_id = "r1"
    shown.progressed(PROGRESS)
    drawn = CONTROL.sub("", terminal.getvalue())
    shown.close()
    assert "process 2 of 5" in drawn and "4 of 9 cases" in drawn
    assert "case 0 of r1" in drawn
    assert ("case 29 of r1" in drawn) == (lines > 30)
