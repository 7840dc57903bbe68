"""Runs the command in this process, and stores made-up runs for it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from convbench import cli
from convbench.model.result import LAYOUT, NO_FACTS, Result, Run, Visit
from convbench.store import Store, Writer


@dataclass
class Said:
    code: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], kept_forks: None
) -> Command:
    """Runs the command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CONVBENCH_DB", raising=False)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["convbench", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        gc.enable()
        sys.stdout.flush()
        captured = capfdbinary.readouterr()
        assert b"Traceback" not in captured.err
        return Said(int(ended.value.code or 0), captured.out.decode(), captured.err.decode())

    return run


def store(run: Run, path: Path) -> Run:
    """Put a made-up run into a database."""
    with Store.create(str(path)) as opened:
        cases = [result.case for result in run.results] + list(run.unmeasured)
        opened.begin(run, cases, run.rejections, Writer.of_this_process(), digest="made up")
        opened.append(run.id, [visit for result in run.results for visit in visits_of(result)])
        opened.finish(run.id, run.state, run.finished_at or run.started_at)
    return run


def visits_of(result: Result) -> list[Visit]:
    """The visits that a result was merged from."""
    return [
        Visit(
            case_id=result.case.id,
            process_index=index,
            status=result.status,
            reason=result.reason,
            facts=replace(NO_FACTS, check=result.facts.check) if index == 0 else NO_FACTS,
            blocks=blocks,
            layout=layout,
            stop_reason=result.stop_reason,
        )
        for index, (layout, blocks) in enumerate(result.blocks or ((LAYOUT, b""),))
    ]
