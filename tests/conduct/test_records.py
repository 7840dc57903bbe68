"""A run as a whole, with fake workers and a database: what one run leaves for the next."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_engine import FakeEngine, Script

from convbench import sweep as sweeps
from convbench.conduct import run as runner
from convbench.conduct.listening import Listener
from convbench.model.result import Run
from convbench.store import Store

SWEEP = """\
axes: {in_channels: 3, out_channels: 4, kernel_size: 3, input_size: 8, threads: THREADS}
measure: {processes: 2, rounds: 2, max_time: 0.1}
"""


def run(database: Path, script: Script, threads: str = "1") -> Run:
    path = database.with_name("sweep.yaml")
    path.write_text(SWEEP.replace("THREADS", threads), encoding="utf-8")
    loaded = sweeps.load(path)
    run_id = runner.run(
        loaded,
        sweeps.cases(loaded),
        engine=FakeEngine(script),
        db=str(database),
        listener=Listener(),
        fresh=True,
    )
    with Store.open(str(database)) as store:
        return store.load(run_id)


def test_a_run_knows_the_record_of_the_runs_before_it(tmp_path: Path) -> None:
    """Also of those before the last one, which was slower, and after a run that timed no references."""
    database = tmp_path / "runs.db"
    first = run(database, Script(reference_factor=lambda worker: 1.0))
    run(database, Script(reference_factor=lambda worker: 1.5))
    run(database, Script(no_references={"cpu"}))
    last = run(database, Script(reference_factor=lambda worker: 2.0))
    assert {one.record_s for facts in first.processes for one in facts.references} == {()}
    [record_s] = {one.record_s for facts in last.processes for one in facts.references}
    assert record_s == pytest.approx([1e-4 * (1 + at) for at in range(8)])


def test_the_record_of_a_number_of_threads_outlives_runs_with_another(tmp_path: Path) -> None:
    database = tmp_path / "runs.db"
    run(database, Script())
    run(database, Script(reference_factor=lambda worker: 0.1), threads="2")
    last = run(database, Script(reference_factor=lambda worker: 2.0), threads="[1, 2, 3]")
    found = {one.threads: one.record_s for facts in last.processes for one in facts.references}
    assert found == {
        1: pytest.approx([1e-4 * (1 + at) for at in range(8)]),
        2: pytest.approx([1e-5 * (1 + at) for at in range(8)]),
        3: (),
    }
