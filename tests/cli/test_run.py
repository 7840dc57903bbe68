"""`convbench run` for real: resume, Ctrl-C, kill -9, wrong layers, the report and the exit code.

What is killed or interrupted is a process of its own.
"""

from __future__ import annotations

import io
import json
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import Command, Said
from processes import environment, start

import convbench
from convbench.actions.job_folder import JobFolder
from convbench.model.result import RunState, Status, StopReason, unpack_blocks

#: Processes enough to be in the middle of things for some seconds, blocks short enough to be done soon.
SWEEP = """\
name: "<script>alert(1)</script> resumable"
axes:
  in_channels: [2, 3]
  out_channels: 4
  kernel_size: 3
  input_size: 16
  direction: [forward, backward]
  threads: 1
measure: {processes: 5, rounds: 4, max_time: 0.2, precision: 0.0001, timeout: 20}
"""


@pytest.mark.slow
def test_a_sweep_from_standard_input_ends_in_a_table_or_in_json(
    command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = SWEEP.replace("processes: 5, rounds: 4", "processes: 1, rounds: 1")

    def run(*options: str) -> Said:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(sweep.encode())))
        return command("run", "--fresh", *options, "-")

    told = run()
    path = told.out.strip()
    assert (folder / path).is_file()
    *_, every, heads, one, two, three, four = [
        line for line in told.err.splitlines() if line and not line.startswith("- ")
    ]
    assert every.startswith("every case: ")
    assert heads.split() == ["floor", "typical", "spread", "rate", "case"]
    table = (one, two, three, four)
    assert [sum(f"{channels} ->" in line for line in table) for channels in ("c2", "c3")] == [2, 2]
    quiet = run("--quiet", "--json")
    stored = json.loads(quiet.out)
    assert [result["status"] for result in stored["results"]] == ["passed"] * 4
    [report] = quiet.err.splitlines()
    assert report.endswith(f"{stored['id']}.html") and (folder / report).is_file()


def visits(folder: Path) -> int:
    """Visits in the database, without convbench's help; 0 while there is none."""
    path = folder / "reports" / "convbench.db"
    if not path.exists():
        return 0
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10) as connection:
        try:
            return int(connection.execute("select count(*) from visits").fetchone()[0])
        except sqlite3.OperationalError:
            return 0
        finally:
            assert connection.execute("pragma integrity_check").fetchone()[0] == "ok"


def wait_for_visits(folder: Path, at_least: int, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 120
    while visits(folder) < at_least:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])  # where workers find `planted` and `misbehaving`
    (tmp_path / "sweep.yaml").write_text(SWEEP, encoding="utf-8")
    return tmp_path


@pytest.mark.slow
def test_a_run_survives_kill_9_and_ctrl_c_and_ends_as_one(folder: Path, command: Command) -> None:
    killed = start(folder, "run", "sweep.yaml", "--job", "job")
    wait_for_visits(folder, 4, killed)
    killed.kill()
    killed.communicate()
    after_kill = visits(folder)
    assert 4 <= after_kill < 20

    stopped = start(folder, "run", "sweep.yaml")
    wait_for_visits(folder, after_kill + 4, stopped)
    time.sleep(0.5)  # into the next process, or its start
    stopped.send_signal(signal.SIGINT)
    out, err = stopped.communicate(timeout=60)
    assert stopped.returncode == 130, err
    assert f"resuming run {Path(out.strip()).stem[-20:]}" in err
    assert "interrupted: results are kept" in err
    assert "Traceback" not in err
    assert (folder / out.strip()).is_file()

    kept = visits(folder)
    refused = command("run", "sweep.yaml", "--against", "latest")
    assert refused.code == 2
    assert "cannot be compared with itself" in refused.err
    assert visits(folder) == kept, "and stays as it is"

    done = command("run", "sweep.yaml")
    assert done.code == 0, done.err
    assert done.out == out, "the same run, the same report"
    database = str(folder / "reports" / "convbench.db")
    run = convbench.load("latest", db=database).run
    assert run.state is RunState.FINISHED
    assert JobFolder(folder / "job").begun() == run.id, "it was written before anything was stored"
    again = command("run", "sweep.yaml", "--no-page", "--job", str(folder / "job"))
    assert (again.code, again.out.strip()) == (0, run.id), "the run of a job is not measured again"
    assert len(run.results) == 4
    for result in run.results:
        assert result.status is Status.PASSED
        assert result.stop_reason in (StopReason.ROUNDS, StopReason.SETTLED)
        [(layout, packed)] = result.blocks
        places = [(block.process_index, block.round_index) for block in unpack_blocks(packed, layout)]
        assert len(set(places)) == len(places), "none twice"
        assert {number for number, _ in places} == set(range(5)), "five processes"
    frame = convbench.load("latest", db=database).frame()
    assert list(frame["blocks"]) == [20] * 4

    listed = command("runs").out.splitlines()
    assert len(listed) == 2
    assert "finished" in listed[1]
    again = start(folder, "run", "sweep.yaml")
    wait_for_visits(folder, 21, again)
    again.kill()
    assert "resuming" not in again.communicate()[1], "a finished run is not resumed"
    assert len(command("runs").out.splitlines()) == 3


@pytest.mark.slow
def test_a_kill_in_the_first_group_of_cases_keeps_the_blocks_taken_so_far(tmp_path: Path, command: Command) -> None:
    text = SWEEP.replace("max_time: 0.2", "max_time: 1").replace("[2, 3]", "[2, 3, 4, 5, 6, 7]")
    (tmp_path / "sweep.yaml").write_text(text, encoding="utf-8")
    killed = start(tmp_path, "run", "sweep.yaml")
    wait_for_visits(tmp_path, 1, killed)
    killed.kill()
    killed.communicate()
    database = tmp_path / "reports" / "convbench.db"
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        found = connection.execute("select complete, pass_index, length(blocks) from visits").fetchall()
    assert {row[:2] for row in found} == {(0, 0)}, "cut short in the first process"
    assert all(length > 0 for _, _, length in found)

    shown = command("export", "latest", "--format", "csv")
    assert shown.code == 0, shown.err
    resumed = start(tmp_path, "run", "sweep.yaml")
    end = time.monotonic() + 120
    while True:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
            if connection.execute("select count(*) from visits where complete").fetchone()[0]:
                break
        assert time.monotonic() < end
        time.sleep(0.05)
    resumed.send_signal(signal.SIGINT)
    _, err = resumed.communicate(timeout=60)
    assert f"{len(found)} visits kept" in err or (len(found) == 1 and "1 visit kept" in err)
    run = convbench.load("latest", db=str(database)).run
    blocks = [unpack_blocks(packed, layout) for result in run.results for layout, packed in result.blocks]
    firsts = [[block.round_index for block in some if block.process_index == 0] for some in blocks]
    assert [sorted(rounds) for rounds in firsts] == [[0, 1, 2, 3]] * len(firsts), "every round once"


@pytest.mark.slow
def test_wrong_and_misbehaving_layers_in_one_sweep(folder: Path, command: Command) -> None:
    (folder / "sweep.yaml").write_text(
        """\
name: trouble
axes: {in_channels: 4, out_channels: 4, kernel_size: 3, input_size: 8, threads: 1}
cases:
  - {label: honest}
  - {label: wrong, module: "planted:PadOffByOne", padding: 1}
  - {label: coarse, module: "planted:ComputesInBfloat16"}
  - {label: reused, module: "planted:SameBuffer"}
  - {label: absent, device: "mtia"}
  - {label: dies, module: "misbehaving:Segfault"}
measure: {processes: 1, rounds: 2, max_time: 0.02, timeout: 20}
""",
        encoding="utf-8",
    )
    done = command("run", "sweep.yaml", "--db", "own.db")
    assert done.code == 1, done.err
    page = (folder / done.out.strip()).read_text(encoding="utf-8")
    exported = json.loads(command("export", "--db", "own.db", "--format", "json").out)
    assert exported
    run = convbench.load(db=str(folder / "own.db")).run
    statuses = {result.case.given_label: result for result in run.results}
    assert {label: result.status for label, result in statuses.items()} == {
        "honest": Status.PASSED,
        "wrong": Status.FAILED,
        "coarse": Status.IMPRECISE,
        "reused": Status.PASSED,
        "absent": Status.SKIPPED,
        "dies": Status.CRASHED,
    }
    assert "should be" in str(statuses["wrong"].reason)
    assert statuses["wrong"].blocks, "a wrong layer is timed"
    coarse = statuses["coarse"]
    assert coarse.blocks and coarse.facts.check is not None and (coarse.facts.check.max_error or 0) > 1000
    assert "less precision than float32: output is " in str(coarse.reason)
    assert f"{coarse.facts.check.max_error:,.0f} roundoffs" in str(coarse.reason)
    assert statuses["reused"].facts.note == (
        "the module's own weights were replaced by normal numbers; returns the same buffer for output at every call"
    )
    assert 'data-status="imprecise">imprecise</span>' in page
    assert "1 of 4 cases is wrong, 1 imprecise" in page
    assert "computed in less precision than requested" in page
    assert "SIGSEGV" in page
    assert not (folder / "reports" / "convbench.db").exists()
    junit = command("export", "--db", "own.db", "--format", "junit").out
    assert 'failures="2"' in junit
    assert '<failure message="less precision than float32: ' in junit
    listed = command("runs", "--db", "own.db").out.splitlines()
    assert listed[0].split()[4:8] == ["cases", "wrong", "imprecise", "torch"]


@pytest.mark.slow
def test_imprecise_layers_decide_the_exit_code_where_they_are_counted(folder: Path, command: Command) -> None:
    (folder / "sweep.yaml").write_text(
        """\
name: coarse
axes: {in_channels: 4, out_channels: 4, kernel_size: 3, input_size: 8, threads: 1}
cases: [{label: coarse, module: "planted:ComputesInBfloat16"}]
measure: {processes: 1, rounds: 1, max_time: 0.02, timeout: 20}
""",
        encoding="utf-8",
    )
    codes = {}
    for words in ("imprecise", "failed,regression", None):
        options = [] if words is None else ["--fail-on", words]
        codes[words] = command("run", "sweep.yaml", "--fresh", *options).code
    assert codes == {"imprecise": 1, "failed,regression": 0, None: 1}


@pytest.mark.slow
def test_the_first_report_is_there_after_the_first_process(folder: Path) -> None:
    running = start(folder, "run", "sweep.yaml")
    end = time.monotonic() + 120
    while not list(folder.glob("reports/*.html")):
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)
    assert running.poll() is None, "the run goes on"
    page = next(folder.glob("reports/*.html")).read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page
    running.send_signal(signal.SIGTERM)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert "first report, updated after each process" in err


@pytest.mark.slow
@pytest.mark.usefixtures("kept_forks")
def test_the_python_api_measures_and_returns_a_frame(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "sweep.yaml").write_text(SWEEP.replace("processes: 5", "processes: 1"), encoding="utf-8")
    run = convbench.run("sweep.yaml", db="own.db")
    frame = run.frame()
    assert len(frame) == 4
    assert (frame["floor_s"] > 0).all()
    assert (frame["typical_s"] >= frame["floor_s"]).all()
    assert list(frame["expected_output_shape"]) == list(frame["output_shape"]) == ["1x4x14x14"] * 4
    assert convbench.load(run.id[:-1], db="own.db").run == run.run
