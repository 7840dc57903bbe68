"""The command as users meet it: verbs that need no worker, bad input, and exit codes."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import synthetic
import typer
from commands import Command, Said, store
from fake_engine import FakeEngine, Script
from golden_files import GOLDEN, golden
from typer.main import get_command

from convbench.actions import measure, pages, read
from convbench.analysis.findings import findings
from convbench.analysis.findings.evidence import Evidence
from convbench.cli import completion, entry, exits
from convbench.cli.help import verbs
from convbench.cli.options import app
from convbench.cli.run import interrupts_deferred
from convbench.conduct import run as runner
from convbench.conduct.listening import Begun, Listener
from convbench.errors import RequestError
from convbench.model.case import CASE_SETTINGS, TORCH_MODULE, Case
from convbench.model.problem import Problem
from convbench.model.result import Git, Rejection, Run, Status
from convbench.model.settings import TABLE
from convbench.report.export import export
from convbench.store import Store
from convbench.worker import host

CONFIGS = Path(__file__).parent.parent.parent / "configs"
VERBS = (
    "time",
    "run",
    "plan",
    "capture",
    "networks",
    "init",
    "import",
    "schema",
    "report",
    "runs",
    "machines",
    "prune",
    "history",
    "export",
    "picture",
    "compare",
    "campaign",
    "ab",
    "bisect",
    "explain",
    "repro",
    "check",
    "baseline",
    "serve",
    "push",
    "backup",
    "token",
    "ci",
    "fleet",
    "help",
)

SWEEP = """\
name: two by two
axes:
  in_channels: [3, 4]
  out_channels: 8
  kernel_size: [1, 3]
  input_size: 8
"""


@pytest.fixture
def sweep(command: Command, tmp_path: Path) -> Path:
    path = tmp_path / "sweep.yaml"
    path.write_text(SWEEP, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "verb",
    [
        *("", *VERBS, "baseline set", "baseline list", "baseline remove"),
        *("token create", "token list", "token revoke", "ci init", "ci pull-request", "ci nightly"),
        *("fleet run", "fleet resume", "fleet status"),
    ],
)
def test_help_is_as_it_was_agreed(command: Command, verb: str) -> None:
    said = command(*verb.split(), "--help")
    assert said.code == 0
    golden(f"help-{verb.replace(' ', '-') or 'convbench'}.txt", said.out)


def test_every_verb_has_a_golden_help_and_a_place_in_the_readme(command: Command) -> None:
    listed = command("--help").out.partition("Measure:")[2]
    assert sorted(re.findall(r"^  (\w+) ", listed, re.MULTILINE)) == sorted(VERBS)
    assert re.findall(r"^(\w[\w ]*):$", listed, re.MULTILINE) == [
        "Read",
        "Compare",
        "Serve",
        "Understand one layer",
        "Automate",
        "Help",
    ]
    readme = (GOLDEN.parent.parent / "README.md").read_text(encoding="utf-8")
    for verb in VERBS:
        assert f"convbench {verb}" in readme


def test_version(command: Command) -> None:
    assert re.fullmatch(r"convbench \d+\.\d+\.\d+\n", command("--version").out)
    assert command("-V").out == command("--version").out


@pytest.mark.parametrize("verb", VERBS)
def test_every_help_ends_in_an_example_of_the_verb_with_options_that_it_has(command: Command, verb: str) -> None:
    said = command(verb, "-h").out
    assert said == command("help", verb).out == command(verb, "--help").out
    words = " ".join(said.partition("Example: ")[2].split()).split()
    assert words[:2] == ["convbench", verb]
    own = command("help", *words[1:3]).out if verb in ("baseline", "ci", "fleet", "token") else said
    assert all(word in own for word in words if word.startswith("-"))


def test_a_command_without_a_verb_answers_with_its_help(command: Command) -> None:
    for words in ((), ("baseline",), ("ci",), ("fleet",), ("token",)):
        said = command(*words)
        assert (said.code, said.out) == (2, "")
        assert said.err.strip() == command(*words, "--help").out.strip()


@pytest.mark.parametrize(
    "argument",
    ["compare ", "compare main ", "run sweep.yaml --against ", "baseline set x ", "baseline remove ", "report "],
)
def test_a_shell_completes_a_run_wherever_a_verb_takes_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], argument: str
) -> None:
    monkeypatch.setenv("CONVBENCH_DB", str(tmp_path / "my.db"))
    store(synthetic.run(2, troubles=False), tmp_path / "my.db")
    with Store.change(str(tmp_path / "my.db")) as changed:
        changed.set_baseline("main", "latest", set_at="2026-11-24T03:16:00+00:00")
    words = f"convbench {argument}"
    monkeypatch.setenv("_CONVBENCH_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split())))
    entry.exit_code_of(lambda: app(prog_name="convbench"))
    assert "main" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("asked", "meant"),
    [(["list"], ["runs"]), (["bench", "no.yaml"], ["run", "no.yaml"]), (["no.yaml"], ["run", "no.yaml"])],
)
def test_synonyms_and_a_sweeps_path_are_answered(command: Command, asked: list[str], meant: list[str]) -> None:
    assert command(*asked) == command(*meant)
    said = command("lst")
    assert (said.code, "No such command 'lst'" in said.err) == (2, True)


def test_a_shell_completes_runs_baselines_and_sweeps(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONVBENCH_DB", str(tmp_path / "my.db"))
    assert completion.stored_runs("") == ["latest"], "without a database it fails in silence"
    made = synthetic.run(2, troubles=False)
    store(made, tmp_path / "my.db")
    command("--db", str(tmp_path / "my.db"), "baseline", "set", "main", "latest")
    assert completion.stored_runs("") == ["latest", "main", made.id]
    assert completion.stored_runs("m") == ["main"]
    assert completion.baselines("") == ["main"]
    assert verbs("ba") == ["backup", "baseline"]
    (tmp_path / "configs").mkdir()
    for name in ("a.yaml", "configs/b.yml", "configs/c.txt"):
        (tmp_path / name).write_text("", encoding="utf-8")
    assert completion.sweeps("") == ["a.yaml", "configs/", "configs/b.yml"]
    assert completion.sweeps("configs/") == ["configs/b.yml"]
    assert completion.sweeps("absent/x") == []


def test_a_shell_completes_the_words_of_a_setting() -> None:
    [dtype] = [option for option in get_command(app).commands["time"].params if "--dtype" in option.opts]
    context = typer.Context(get_command(app).commands["time"])
    assert [item.value for item in dtype.shell_complete(context, "float")] == ["float16", "float32", "float64"]
    assert completion.words(TABLE["bias"].kind, "") == ["true", "false"]
    assert completion.words(TABLE["batch_size"].kind, "") == ["null"]


def test_plan_shows_cases_rejections_and_cost(command: Command, sweep: Path) -> None:
    sweep.write_text(SWEEP + "  padding: [0, same]\n  stride: [1, 2]\n", encoding="utf-8")
    said = command("plan", "sweep.yaml")
    assert said.code == 0
    assert said.out.startswith("two by two: 12 cases of 16 points (4 rejected)\n")
    assert "torch would refuse 4 points, for 1 reason" in said.out
    assert "padding 'same' is not defined for a stride other than 1" in said.out
    assert "at an assumed 20.0 GFLOP/s for each thread" in said.out
    assert not list(Path().glob("reports*")), "plan writes nothing"


def test_an_unknown_option_suggests_what_it_means_alone(command: Command) -> None:
    for wrong, meant in (("--outputs", "--out-channels"), ("--kernel", "--kernel-size"), ("--xyzzy", None)):
        said = command("explain", wrong, "3")
        assert said.code == 2
        assert re.findall("--[a-z-]+", said.err.partition("Error: ")[2]) == [wrong, *([meant] if meant else [])]


def test_plan_warns_of_threads_as_a_run_does(
    command: Command, sweep: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    heard: list[str] = []
    runner.run(
        *measure.planned(sweep),
        engine=FakeEngine(Script(host={"cores": 2})),
        db=str(tmp_path / "t.db"),
        listener=runner.Listener(message=heard.append),
    )
    assert heard[0].startswith("note: threads is null for 4 cases: torch would use 2 threads on 2 cores")
    monkeypatch.setattr(host, "cores", lambda: 2)
    for threads, notes in ((2, heard[:1]), (1, []), (None, [])):
        monkeypatch.setattr(host, "default_threads", lambda threads=threads: threads)
        said = command("plan", "sweep.yaml").out
        assert [line for line in said.splitlines() if line.startswith("note: ")] == notes


def test_plan_prints_forty_cases_and_all_on_demand(command: Command, sweep: Path) -> None:
    sweep.write_text(SWEEP.replace("[3, 4]", "{from: 1, to: 50, step: 1}"), encoding="utf-8")
    few, every = command("plan", "sweep.yaml"), command("plan", "--all", "sweep.yaml")
    assert few.out.count(" -> ") == 2 * 40
    assert "... and 60 more (--all prints all)" in few.out
    assert every.out.count(" -> ") == 2 * 100


def test_of_many_mistakes_the_first_are_reported(command: Command, sweep: Path) -> None:
    sweep.write_text(SWEEP + f"  dtype: [{', '.join(['floot'] * 60)}]\n", encoding="utf-8")
    said = command("plan", "sweep.yaml")
    assert said.code == 2
    assert said.err.count("got 'floot'") == 50
    assert said.err.endswith("\n  hint: these are the first 50 mistakes; correct them to see the others\n")


@pytest.mark.parametrize("verb", ["plan", "run", "ab"])
def test_nothing_left_to_measure_is_a_wrong_request(command: Command, sweep: Path, verb: str) -> None:
    sweep.write_text(SWEEP.replace("[1, 3]", "9"), encoding="utf-8")
    said = command(verb, "sweep.yaml")
    assert said.code == 2
    assert "nothing is left to measure" in said.out + said.err
    assert "the kernel (9x9) is larger than the padded input (8x8)" in said.out + said.err
    assert not Path("reports").exists()


BAD = {
    "broken yaml": ("axes: [1, 2", "bad.yaml:"),
    "an unknown key": (SWEEP + "axis: {}\n", "unknown key 'axis'"),
    "a duplicate key": (SWEEP + "name: again\n", "duplicate key 'name'"),
    "a wrong type": (SWEEP.replace("8", "eight", 1), "bad.yaml:4: axes.out_channels: expected an integer"),
    "an empty axis": (SWEEP.replace("[3, 4]", "[]"), "axes.in_channels"),
    "ten million points": (
        SWEEP + "  batch_size: {from: 1, to: 2000, step: 1}\n  groups: {from: 1, to: 1250, step: 1}\n",
        "10,000,000",
    ),
    "nothing": ("", "bad.yaml:1"),
    "a control character": (SWEEP.replace("two by two", "a\x07b"), "bad.yaml:1"),
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("verb", ["plan", "run", "ab"])
def test_a_bad_file_is_reported_with_its_line_and_nothing_is_written(
    command: Command, tmp_path: Path, what: str, verb: str
) -> None:
    text, expected = BAD[what]
    (tmp_path / "bad.yaml").write_text(text, encoding="utf-8")
    said = command(verb, "bad.yaml")
    assert said.code == 2
    assert said.out == ""
    assert said.err.startswith("bad.yaml:")
    assert expected in said.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.yaml"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["plan", "absent.yaml"], "absent.yaml"),
        (["plan", "."], "."),
        (["run", "absent.yaml"], "absent.yaml"),
        (["report", "20200101"], "there is no database"),
        (["runs"], "there is no database"),
        (["export", "latest"], "there is no database"),
        (["export", "absent.json"], "absent.json"),
        (["compare", "latest", "latest"], "there is no database"),
        (["compare", "latest"], "NEW"),
        (["ab"], "CONFIG"),
        (["ab", "absent.yaml"], "absent.yaml"),
        (["ab", "a.yaml", "--b-python", "/no/such/python"], "--b-python /no/such/python: no such program"),
        (["ab", "a.yaml", "--a-python", "."], "--a-python .: no such program, or it is not executable"),
        (["ab", "a.yaml", "--a-path", "nowhere"], "--a-path nowhere: no such folder"),
        (["ab", "a.yaml", "--b-path", sys.executable], "no such folder"),
        (["ab", "a.yaml", "--b-env", "NAME"], "--b-env: expected NAME=VALUE, got no ="),
        (["ab", "a.yaml", "--a-env", "=value"], "--a-env: expected NAME=VALUE, got nothing before the ="),
        (["ab", "a.yaml", "--a-threads", "0"], "--a-threads 0: expected at least 1"),
        (["ab", "a.yaml", "--b-threads", "two"], "--b-threads"),
        (["ab", "a.yaml", "--threshold", "0"], "threshold 0: expected a ratio"),
        (["ab", "a.yaml", "--threshold", "-1"], "threshold -1: expected a ratio"),
        (["ab", "a.yaml", "--threshold", "nan"], "threshold nan: expected a ratio"),
        (["ab", "a.yaml", "--threshold", "2.5"], "for example 0.025 (2.5 %)"),
        (["ab", "a.yaml", "--threshold", "2.5 %"], "--threshold"),
        (["ab", "a.yaml", "--pairs", "1"], "pairs 1: expected"),
        (["ab", "a.yaml", "--pairs", "-3"], "pairs -3: expected"),
        (["ab", "a.yaml", "--epochs", "1"], "pairs 1: expected"),
        (["ab", "a.yaml", "--pairs", "12", "--epochs", "12"], "expected --pairs or --epochs, got both"),
        (["explain", "abcdefgh"], "there is no database"),
        (["repro", "abcdefgh"], "there is no database"),
        (["repro"], "CASE"),
        (["baseline", "set", "main", "latest"], "there is no database"),
        (["baseline", "list"], "there is no database"),
        (["baseline", "remove", "main"], "there is no database"),
        (["baseline", "set", "main", "run.json"], "run.json is a file, but a baseline must be a stored run"),
        (["baseline", "set", "main"], "RUN"),
        (["explain"], "missing --in-channels, --out-channels, --kernel-size, --input-size"),
        (["explain", "--kernel-size", "three"], "--kernel-size: expected an integer of at least 1"),
        (["explain", "abc", "--kernel-size", "3"], "give one or the other"),
        (["dance"], "dance"),
        (["plan"], "CONFIG"),
        (["plan", "a.yaml", "--bogus"], "--bogus"),
    ],
)
def test_a_wrong_request_is_2_and_one_message(command: Command, arguments: list[str], expected: str) -> None:
    said = command(*arguments)
    assert said.code == 2
    assert expected in said.err
    assert not Path("reports").exists()


def test_bytes_that_are_no_text_are_refused(command: Command, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_bytes(b"name: \xff\xfe")
    assert command("plan", "bad.yaml").code == 2


@pytest.mark.slow
def test_a_module_that_cannot_be_imported_writes_nothing(command: Command, sweep: Path) -> None:
    sweep.write_text(SWEEP + "  module: no_such_package:Conv\n", encoding="utf-8")
    said = command("run", "sweep.yaml")
    assert said.code == 2
    assert "no_such_package" in said.err
    assert "PYTHONPATH" in said.err
    assert not Path("reports").exists()


@pytest.mark.parametrize("place", ["before", "after", "variable"])
def test_the_database_may_be_named_anywhere(
    command: Command, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = store(synthetic.run(3, troubles=False), tmp_path / "my.db")
    if place == "variable":
        monkeypatch.setenv("CONVBENCH_DB", "my.db")
    before, after = (["--db", "my.db"] if place == where else [] for where in ("before", "after"))
    said = command(*before, "runs", *after)
    assert (said.code, said.err) == (0, "")
    assert run.id in said.out


def test_report_and_export_take_a_prefix_and_an_exported_run(command: Command, tmp_path: Path) -> None:
    run = store(synthetic.run(4, troubles=False), tmp_path / "my.db")
    exported = command("--db", "my.db", "export", run.id[:-2], "--format", "json", "-o", "run.json")
    assert (exported.code, exported.out) == (0, "")
    assert json.loads(Path("run.json").read_text(encoding="utf-8"))
    from_store = command("--db", "my.db", "export", "latest").out
    assert command("export", "run.json").out == from_store
    assert from_store.count("\n") == 5
    written = command("report", "run.json").out.strip()
    assert Path(written).read_text(encoding="utf-8").startswith("<!doctype html>")
    assert Path(written).parent == Path("reports")
    elsewhere = command("report", "run.json", "-o", "pages/mine.html")
    assert (elsewhere.code, elsewhere.out) == (0, "pages/mine.html\n")
    assert Path("pages/mine.html").read_bytes() == Path(written).read_bytes()
    Path("folder").mkdir()
    assert command("report", "run.json", "-o", "folder").code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--of", "ratios"), "there is no picture 'ratios'\n  hint: did you mean ratio?"),
        (("--of", "noise", "--setting", "dtype"), "the picture noise has no setting to choose"),
        (("-o", "x.pdf"), "cannot save a picture as x.pdf\n  hint: name a file that ends in .svg or .png"),
    ],
)
def test_a_picture_that_cannot_be_is_refused_before_a_browser_starts(
    command: Command, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    store(synthetic.run(4, troubles=False), tmp_path / "my.db")
    said = command("--db", "my.db", "picture", "latest", *arguments)
    assert (said.code, said.out) == (2, "")
    assert message in said.err


def test_a_picture_without_playwright_says_what_to_install(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(synthetic.run(4, troubles=False), tmp_path / "my.db")
    monkeypatch.setitem(sys.modules, "playwright.sync_api", None)
    said = command("--db", "my.db", "picture")
    assert (said.code, said.out) == (2, "")
    assert "saving a picture needs playwright\n  hint: pip install 'convbench[picture]'" in said.err


def test_a_baseline_is_accepted_wherever_a_run_is(command: Command, tmp_path: Path) -> None:
    run = store(synthetic.run(3, troubles=False), tmp_path / "my.db")
    assert "no baselines are set yet" in command("--db", "my.db", "baseline", "list").out
    said = command("--db", "my.db", "baseline", "set", "main", "latest")
    assert (said.code, said.out, said.err) == (0, f"main is run {run.id}\n", "")
    listed = command("baseline", "list", "--db", "my.db").out.splitlines()
    assert [line.split()[:2] for line in listed] == [["baseline", "run"], ["main", run.id]]
    exported = command("--db", "my.db", "export", "latest").out
    assert command("--db", "my.db", "export", "main").out == exported
    Path("main").write_text("a file", encoding="utf-8")
    assert command("--db", "my.db", "export", "baseline:main").out == exported
    assert command("--db", "my.db", "report", "baseline:main").code == 0
    assert command("--db", "my.db", "compare", "baseline:main", "latest").code != 4
    said = command("--db", "my.db", "baseline", "remove", "main")
    assert (said.code, said.out, said.err) == (0, "", "")
    for verb in ("export", "report", "compare"):
        said = command("--db", "my.db", verb, "baseline:main", *(["latest"] if verb == "compare" else []))
        assert (said.code, said.out) == (2, "")
        assert "there is no baseline 'main' in my.db" in said.err


def test_a_baseline_that_is_not_set_is_a_wrong_request(command: Command, tmp_path: Path) -> None:
    store(synthetic.run(3, troubles=False), tmp_path / "my.db")
    for arguments in (["export", "nightly"], ["baseline", "remove", "nightly"], ["baseline", "set", "main", "nightly"]):
        said = command("--db", "my.db", *arguments)
        assert (said.code, said.out) == (2, "")
        assert "there is no baseline 'nightly'" in said.err
    assert command("--db", "my.db", "baseline", "set", "latest", "latest").code == 2


def test_report_writes_the_page_of_all_runs_beside_it(command: Command, tmp_path: Path) -> None:
    run = store(synthetic.run(4, troubles=False), tmp_path / "my.db")
    said = command("--db", "my.db", "report")
    assert (said.code, said.err) == (0, "")
    page = Path("reports/index.html").read_text(encoding="utf-8")
    assert f'href="./{Path(said.out.strip()).name}"' in page
    assert run.id in page


def test_a_page_of_all_runs_that_cannot_be_written_costs_a_line(command: Command, tmp_path: Path) -> None:
    store(synthetic.run(2, troubles=False), tmp_path / "my.db")
    Path("reports/index.html").mkdir(parents=True)
    said = command("--db", "my.db", "report")
    assert said.code == 0
    assert Path(said.out.strip()).is_file()
    assert said.err == "could not write the page of all runs: cannot write reports/index.html: it is a folder\n"


@pytest.mark.parametrize("verb", [("run", "sweep.yaml"), ("report",)])
def test_what_is_found_in_a_run_is_found_once(
    command: Command, sweep: Path, monkeypatch: pytest.MonkeyPatch, verb: tuple[str, ...]
) -> None:
    made = store(synthetic.run(4, troubles=False), Path("reports/convbench.db"))
    monkeypatch.setattr(measure, "run_planned", lambda *about, **rest: read.load(made.id))
    found = findings.evidence
    looked: list[str] = []

    def counted(run: Run, *about: object) -> Evidence:
        looked.append(run.id)
        return found(run, *about)

    monkeypatch.setattr(findings, "evidence", counted)
    assert command(*verb).code == 0
    assert looked == [made.id]


@pytest.mark.parametrize("interrupted", [False, True])
def test_run_writes_the_page_of_all_runs_at_its_end(
    command: Command, sweep: Path, monkeypatch: pytest.MonkeyPatch, interrupted: bool
) -> None:
    made = synthetic.run(4, troubles=False, unmeasured=1 if interrupted else 0)

    def fake(read_sweep: object, plan: object, *, listener: Listener, **rest: object) -> read.MeasuredRun:
        store(made, Path("reports/convbench.db"))
        listener.begun(Begun(run_id=made.id, resumed=False, visits_kept=0, environment=made.environment, cases=4))
        if interrupted:
            raise KeyboardInterrupt
        return read.load(made.id)

    monkeypatch.setattr(measure, "run_planned", fake)
    said = command("run", "sweep.yaml", "--summary", "summary.md", "--junit", "junit.xml")
    assert said.code == (130 if interrupted else 0)
    assert "passed" in Path("summary.md").read_text(encoding="utf-8").splitlines()[0]
    assert Path("junit.xml").read_text(encoding="utf-8").count("<testcase ") == 4
    page = Path("reports/index.html").read_text(encoding="utf-8")
    assert f'href="./{Path(said.out.strip()).name}"' in page
    shown = f'<span class="run-state">{made.state}</span>' in page
    assert shown == (made.state != "finished")  # only what is unusual is said


def test_a_run_that_is_not_comparable_with_its_base_is_kept_and_reported(
    command: Command, sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, new = moved(1.0)
    store(replace(base, environment=replace(base.environment, torch="1.0")), Path("reports/convbench.db"))

    def fake(read_sweep: object, plan: object, *, listener: Listener, **rest: object) -> read.MeasuredRun:
        store(replace(new, id=OTHER), Path("reports/convbench.db"))
        sweep.write_text("edited meanwhile, and no sweep any more", encoding="utf-8")
        return read.load(OTHER)

    monkeypatch.setattr(measure, "run_planned", fake)
    said = command("run", "sweep.yaml", "--against", base.id, "--fail-on", "none", "--summary", "summary.md")
    assert said.code == 4, "which --fail-on does not touch"
    assert OTHER in said.out and Path(said.out.strip()).is_file(), "so that a history can go on from it"
    assert "torch 1.0 -> 2.13.0+cpu" in said.err
    assert command("baseline", "set", "main", OTHER).code == 0


@pytest.mark.parametrize("error", [RuntimeError("boom"), RequestError("a reason")])
def test_whatever_goes_wrong_with_the_page_of_all_runs_the_report_is_there(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(**rest: object) -> Path:
        raise error

    monkeypatch.setattr(pages, "write_index", broken)
    store(synthetic.run(2, troubles=False), tmp_path / "my.db")
    said = command("--db", "my.db", "report")
    assert (said.code, said.err) == (0, f"could not write the page of all runs: {error}\n")
    assert Path(said.out.strip()).is_file()


def test_the_report_of_an_exported_run_needs_no_database(command: Command, tmp_path: Path) -> None:
    (tmp_path / "made.json").write_bytes(export(synthetic.run(3), "json"))
    said = command("report", "made.json")
    assert (said.code, said.err) == (0, "")
    assert [path.suffix for path in Path("reports").iterdir()] == [".html"]
    assert not Path("reports/index.html").exists()


@pytest.mark.parametrize(
    ("form", "begins"), [("csv", "case_id,"), ("markdown", "**"), ("junit", "<?xml"), ("json", "{")]
)
def test_every_format_reaches_standard_output(command: Command, tmp_path: Path, form: str, begins: str) -> None:
    store(synthetic.run(2, troubles=False), tmp_path / "my.db")
    assert command("--db", "my.db", "export", "--format", form).out.startswith(begins)


def test_an_unknown_format_is_reported_with_those_there_are(command: Command, tmp_path: Path) -> None:
    store(synthetic.run(2, troubles=False), tmp_path / "my.db")
    said = command("--db", "my.db", "export", "--format", "xls")
    assert said.code == 2
    assert "junit" in said.err


def test_an_output_that_cannot_be_written_is_a_wrong_request(command: Command, tmp_path: Path) -> None:
    store(synthetic.run(2, troubles=False), tmp_path / "my.db")
    (tmp_path / "file").write_text("")
    said = command("--db", "my.db", "export", "-o", "file/run.csv")
    assert said.code == 2
    assert "file/run.csv" in said.err


def test_explain_a_stored_case(command: Command, tmp_path: Path) -> None:
    run = store(synthetic.run(3, troubles=False), tmp_path / "my.db")
    case = run.results[0].case
    said = command("--db", "my.db", "explain", case.id[:8])
    assert said.code == 0
    assert case.id in said.out


def test_repro_of_a_stored_case(command: Command, tmp_path: Path) -> None:
    run = store(synthetic.run(3, troubles=False), tmp_path / "my.db")
    case = run.results[0].case
    said = command("--db", "my.db", "repro", case.id[:8])
    assert (said.code, said.err) == (0, "")
    assert case.id in said.out
    compile(said.out, "repro.py", "exec")
    written = command("--db", "my.db", "repro", case.id, "-o", "out.py")
    assert (written.code, written.out) == (0, "")
    assert Path("out.py").read_text(encoding="utf-8") == said.out
    unknown = command("--db", "my.db", "repro", "zzzz")
    assert (unknown.code, unknown.out) == (2, "")
    assert "'zzzz' is the id of no case in my.db" in unknown.err
    assert "hint" in unknown.err


def test_explain_takes_values_as_in_yaml_and_refuses_with_a_way_out(command: Command) -> None:
    good = command(
        *("explain", "--in-channels", "8", "--out-channels", "16", "--kernel-size", "[1, 7]", "--input-size", "16"),
        *("--padding", "half", "--groups", "depthwise", "--batch-size", "null", "--bias", "false"),
    )
    assert good.code == 0
    assert "(16, 16, 16)" in good.out
    bad = command("explain", "--in-channels", "8", "--out-channels", "16", "--kernel-size", "9", "--input-size", "4")
    assert bad.code == 2
    assert "larger than the padded input" in bad.out


LAYER = ("--in-channels", "8", "--out-channels", "16", "--kernel-size", "3", "--input-size", "16")


def test_explain_writes_a_page_to_play_with(command: Command) -> None:
    said = command("explain", *LAYER)
    [id_] = re.findall(r"case (\w{12})", said.out)
    assert said.err == f"interactive page: {Path('reports', f'explain-{id_}.html')}\n"
    assert f"case {id_}" in Path("reports", f"explain-{id_}.html").read_text(encoding="utf-8")
    named = command("explain", *LAYER, "-o", "here.html")
    assert (named.code, named.out, named.err) == (0, said.out, "interactive page: here.html\n")
    refused = command("explain", *LAYER, "--groups", "3", "-o", "refused.html")
    assert refused.code == 2 and "must be divisible" in refused.out
    assert "must be divisible" in Path("refused.html").read_text(encoding="utf-8")


def test_a_page_that_cannot_be_written_costs_nothing_else(command: Command) -> None:
    Path("reports").write_text("a file where the folder would be")
    said = command("explain", *LAYER)
    assert said.code == 0 and "Output size" in said.out
    assert said.err.startswith("could not write the interactive page: cannot write ") and said.err.count("\n") == 1
    named = command("explain", *LAYER, "-o", "reports/here.html")
    assert named.code == 2 and named.out == said.out
    assert "error: cannot write reports/here.html" in named.err


def test_explain_reports_the_id_of_the_case_with_all_its_settings(command: Command) -> None:
    settings: dict[str, object] = {"device": "cuda:1", "threads": 2, "module": "mine:Conv", "allocator": "system"}
    settings |= {"cache": "cold", "data": "zeros", "autocast": "bfloat16", "fp32_precision": "tf32"}
    settings |= {"deterministic": True, "cudnn_benchmark": True, "env": (("A", "1"),)}
    settings |= {"weights": "given", "input_format": "strided"}
    settings |= {"execution": "compiled", "compile_mode": "max-autotune"}
    layer = Problem(in_channels=8, out_channels=16, kernel_size=(3, 3), input_size=(16, 16))
    assert {"direction", "dtype", "memory_format", *settings} == set(CASE_SETTINGS)
    written = {"env": "{A: '1'}", "deterministic": "true", "cudnn_benchmark": "true"}
    options = [
        word
        for name, value in settings.items()
        for word in (f"--{name.replace('_', '-')}", written.get(name, str(value)))
    ]
    assert f"case {Case(problem=layer, **settings).id}\n" in command("explain", *LAYER, *options).out


def test_hostile_text_is_text_everywhere(command: Command, tmp_path: Path) -> None:
    name = '<script>alert("1")</script>\n\N{PILE OF POO} \'; DROP TABLE runs; --'
    run = replace(synthetic.run(2, troubles=False), name=name, description=name)
    store(run, tmp_path / "my.db")
    listed = command("--db", "my.db", "runs").out
    assert len(listed.splitlines()) == 2
    written = Path(command("--db", "my.db", "report").out.strip())
    assert re.fullmatch(r"[a-z0-9-]+\.html", written.name)
    assert "<script>alert" not in written.read_text(encoding="utf-8")


def run_with(*statuses: Status) -> Run:
    """A run whose cases ended so."""
    run = synthetic.run(len(statuses), troubles=False)
    return replace(
        run,
        results=tuple(
            replace(result, status=status, reason=None if status is Status.PASSED else "a reason")
            for result, status in zip(run.results, statuses, strict=True)
        ),
        rejections=(Rejection(label="a", reason="b"),),
    )


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        ([Status.PASSED, Status.PASSED], 0),
        ([Status.PASSED, Status.SKIPPED], 0),
        ([Status.PASSED, Status.FAILED, Status.CRASHED], 1),
        ([Status.PASSED, Status.IMPRECISE, Status.CRASHED], 1),
        ([Status.PASSED, Status.CRASHED], 3),
        ([Status.TIMED_OUT], 3),
        ([Status.OUT_OF_MEMORY], 3),
        ([Status.ERROR, Status.SKIPPED], 3),
    ],
)
def test_the_exit_code_is_the_first_that_applies(statuses: list[Status], code: int) -> None:
    assert exits.of_run(run_with(*statuses)) == code


def compared(command: Command, base: Run, new: Run, *options: str) -> Said:
    """What `compare` makes of two runs in one database."""
    with contextlib.suppress(FileNotFoundError):
        Path("my.db").unlink()
    store(base, Path("my.db"))
    store(replace(new, id=OTHER), Path("my.db"))
    return command("--db", "my.db", "compare", base.id, OTHER, *options)


OTHER = "20261125t033000-cd34"
PAGE = Path("reports", f"compare-{synthetic.empty_run().id}-{OTHER}.html")


def moved(factor: float, *, some: int = 3, count: int = 12, status: Status = Status.PASSED) -> tuple[Run, Run]:
    """Two runs of the same code, but that the first cases of the second take `factor` times as long."""
    cases = synthetic.cases(count)
    sides = []
    for side, slower in (("base", 1.0), ("new", factor)):
        made = [
            synthetic.noisy_blocks(synthetic.floor_s(case) * (slower if i < some else 1), seed=f"{side} {i}")
            for i, case in enumerate(cases)
        ]
        results = [synthetic.result(case, made=blocks) for case, blocks in zip(cases, made, strict=True)]
        sides.append(replace(synthetic.empty_run(), results=tuple(results)))
    last = replace(sides[1].results[-1], status=status, reason=None if status is Status.PASSED else "a reason")
    return sides[0], replace(sides[1], results=(*sides[1].results[:-1], last))


@pytest.mark.parametrize(
    ("factor", "some", "status", "code", "verdict"),
    [
        (1.0, 0, Status.PASSED, 0, "unchanged"),
        (0.7, 3, Status.PASSED, 0, "improved"),
        (1.4, 3, Status.PASSED, 1, "regressed"),
        (1.4, 3, Status.CRASHED, 1, "regressed"),
        (1.0, 0, Status.FAILED, 1, "unchanged"),
        (1.0, 0, Status.IMPRECISE, 1, "unchanged"),
        (1.0, 0, Status.TIMED_OUT, 3, "unchanged"),
        (1.0, 0, Status.SKIPPED, 0, "unchanged"),
        (1.4, 12, Status.PASSED, 5, "inconclusive"),
        (1.4, 12, Status.CRASHED, 3, "inconclusive"),
    ],
)
def test_what_changed_decides_the_exit_code(
    command: Command, factor: float, some: int, status: Status, code: int, verdict: str
) -> None:
    said = compared(command, *moved(factor, some=some, status=status))
    assert (said.code, said.err) == (code, f"page: {PAGE}\n")
    last = said.out.splitlines()[-1]
    assert last.startswith(f"{verdict}: ")
    assert re.search(r"judged \d+ of 12; (a change of \d+\.\d %|no change) would have been seen", last)


def test_ci_gets_its_files_and_the_exit_code_it_asks_for(command: Command) -> None:
    one, other = moved(1.4, status=Status.CRASHED)
    said = compared(command, one, other, "--summary", "out/summary.md", "--junit", "junit.xml", "--fail-on", "crashed")
    assert (said.code, said.err) == (3, f"page: {PAGE}\n")
    assert said.out == compared(command, one, other).out
    assert Path("out/summary.md").read_text(encoding="utf-8").splitlines()[0].endswith(": regressed")
    assert 'type="regressed"' in Path("junit.xml").read_text(encoding="utf-8")
    assert compared(command, one, other, "--fail-on", "none").code == 0


def test_a_comparison_is_a_page_as_well(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = moved(1.4)
    named = compared(command, one, other, "-o", "out/page.html")
    assert (named.code, named.err) == (1, "page: out/page.html\n")
    assert Path("out/page.html").read_text(encoding="utf-8").startswith("<!doctype html>") and not PAGE.exists()
    without = compared(command, one, other, "--no-page")
    assert (without.code, without.out, without.err) == (1, named.out, "") and not PAGE.exists()
    both = compared(command, one, other, "--no-page", "-o", "page.html")
    assert (both.code, both.out) == (2, "") and "--no-page" in both.err
    monkeypatch.setattr("convbench.cli.page.MOST_CASES", 11)
    many = compared(command, one, other)
    assert (many.code, many.err) == (1, "no page written for 12 cases; request one with -o FILE\n")
    assert compared(command, one, other, "-o", "page.html").err == "page: page.html\n"
    report = Path(command("--db", "my.db", "report", OTHER).out.strip())
    beside = compared(command, one, other, "-o", "reports/page.html")
    assert beside.code == 1 and f'<a href="{report.name}">' in Path("reports/page.html").read_text(encoding="utf-8")


def test_a_page_of_a_comparison_that_cannot_be_written(command: Command) -> None:
    Path("reports").write_text("in the way", encoding="utf-8")
    said = compared(command, *moved(1.4))
    assert said.code == 1 and said.out
    assert said.err.startswith("could not write the page: cannot write reports")
    asked = compared(command, *moved(1.4), "-o", "reports/page.html")
    assert asked.code == 2 and asked.err.startswith("error: cannot write reports/page.html")


def test_a_typo_in_fail_on_is_reported_before_anything_is_read(command: Command) -> None:
    said = command("compare", "absent", "latest", "--fail-on", "regressions")
    assert (said.code, said.out) == (2, "")
    assert "did you mean regression?" in said.err


def test_too_few_judged_cases_are_5(command: Command) -> None:
    one, other = moved(1.0)
    loud = [
        replace(result, blocks=result.blocks[:1]) if i < 7 else result  # a process tells nothing of noise
        for i, result in enumerate(other.results)
    ]
    said = compared(command, one, replace(other, results=tuple(loud)))
    assert said.code == 5
    assert said.out.count("\ninconclusive") == 7


def test_runs_that_cannot_be_compared_are_4_with_all_that_differs(command: Command) -> None:
    one, other = moved(1.4)
    other = replace(other, environment=replace(other.environment, torch="2.14.0", hostname="elsewhere"))
    said = compared(command, one, other)
    assert (said.code, said.out) == (4, "")
    assert "torch 2.13.0+cpu -> 2.14.0" in said.err
    assert "-> elsewhere" in said.err
    assert "--across-environments" in said.err
    insisted = compared(command, one, other, "--across-environments")
    assert insisted.code == 1
    assert "differs: torch 2.13.0+cpu -> 2.14.0" in insisted.out
    nothing = compared(command, one, replace(other, results=(), unmeasured=()))
    assert nothing.code == 4 and "no case in common" in nothing.err


@pytest.mark.parametrize(
    ("base", "new", "code", "said"),
    [
        ("20200101", OTHER, 2, "no run '20200101'"),
        ("main", OTHER, 2, "there is no baseline 'main'"),
        ("baseline:main", OTHER, 2, "there is no baseline 'main'"),
        (OTHER, "20200101", 2, "no run '20200101'"),
        ("absent.json", OTHER, 2, "absent.json"),
        ("latest", "latest", 0, ""),
        (OTHER[:11], "latest", 0, ""),
    ],
)
def test_which_runs_are_compared(command: Command, base: str, new: str, code: int, said: str) -> None:
    one, other = moved(1.0)
    compared(command, one, other)
    told = command("--db", "my.db", "compare", base, new)
    assert told.code == code
    assert said in told.err


def test_runs_of_different_databases_are_compared_by_their_exports(command: Command) -> None:
    one, other = moved(1.4)
    Path("base.json").write_bytes(export(one, "json"))
    Path("new.json").write_bytes(export(replace(other, id=OTHER), "json"))
    exported = command("compare", "base.json", "new.json")
    assert (exported.code, exported.out) == (1, compared(command, one, other).out)
    mixed = command("--db", "my.db", "compare", "base.json", OTHER)
    assert mixed.out == exported.out


def test_the_sweep_says_what_counts_as_a_change(command: Command) -> None:
    one, other = moved(1.4)
    lenient = SWEEP + "compare: {threshold: 0.5}\n"
    assert compared(command, one, replace(other, source=lenient)).code == 0
    strict = SWEEP + "compare: {threshold: 0.5, thresholds: [{kernel_size: 1, threshold: 0.05}]}\n"
    assert compared(command, one, replace(other, source=strict)).code == 1
    unreadable = compared(command, one, replace(other, source="compare: {treshold: 0.5}\n"))
    assert unreadable.code == 2
    assert "did you mean threshold?" in unreadable.err


def test_ci_init_writes_once_and_over_it_by_force_alone(command: Command, sweep: Path) -> None:
    one = ("ci", "init", "--github", "--config", "./sweep.yaml", "--install", "x==1")
    written = command(*one)
    workflow = Path(".github/workflows/convbench.yml")
    assert (written.code, written.out) == (0, f"{workflow}\n")
    assert "not the root of a git repository" in written.err and "a job needs a lock file" in written.err
    text = workflow.read_text(encoding="utf-8")
    assert 'config: ["sweep.yaml"]' in text
    assert command(*one).code == 0, "the same once more"
    again = command("ci", "init", "--github", "--config", "sweep.yaml", "--install", "y==2")
    assert (again.code, again.out) == (2, "")
    assert "exists already" in again.err and "--force" in again.err
    assert workflow.read_text(encoding="utf-8") == text
    Path(".git").mkdir()
    Path("requirements.txt").touch()
    forced = command("ci", "init", "--github", "--config", "sweep.yaml", "--install", "y==2", "--force")
    assert (forced.code, forced.err) == (0, "")
    assert 'CONVBENCH: "y==2"' in workflow.read_text(encoding="utf-8")
    other = command("ci", "init", "--gitlab", "--config", "sweep.yaml", "--install", "x", "-o", "ci/convbench.yml")
    assert (other.code, other.out) == (0, "ci/convbench.yml\n")
    assert "include: [{local: ci/convbench.yml}]" in other.err


def test_ci_init_needs_no_options(command: Command, sweep: Path) -> None:
    said = command("ci", "init")
    assert (said.code, said.out) == (0, ".github/workflows/convbench.yml\n")
    assert 'config: ["sweep.yaml"]' in Path(".github/workflows/convbench.yml").read_text(encoding="utf-8")


def test_ci_init_begins_a_sweep_where_there_is_none(command: Command) -> None:
    said = command("ci", "init", "--gitlab", "--install", "x")
    assert said.code == 0, said.err
    assert "this repository has no sweep; configs/sweep.yaml is one to begin with" in said.err
    assert 'CONFIG: ["configs/sweep.yaml"]' in Path(".gitlab-ci-convbench.yml").read_text(encoding="utf-8")
    assert command("plan", "configs/sweep.yaml").code == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--github", "--gitlab"], "--github and --gitlab"),
        (["--github", "--config", "few.yaml"], "few.yaml: measure.processes is 3, and a change needs 4"),
        (["--github", "--config", "absent.yaml"], "absent.yaml"),
        (["--github", "--config", "../sweep.yaml"], "below the root"),
        (["--github", "--config", "/sweep.yaml"], "below the root"),
        (["--github", "--config", "a,b.yaml"], "below the root"),
        (["--github", "--config", "bad.yaml"], "bad.yaml:"),
    ],
)
def test_ci_init_refuses_what_a_ci_could_not_run(
    command: Command, sweep: Path, arguments: list[str], expected: str
) -> None:
    Path("bad.yaml").write_text("axes: {}\n", encoding="utf-8")
    Path("few.yaml").write_text(f"{SWEEP}measure: {{processes: 3}}\n", encoding="utf-8")
    said = command("ci", "init", *arguments)
    assert (said.code, said.out) == (2, "")
    assert expected in said.err
    assert not Path(".github").exists()


def test_a_fault_of_convbench_is_70_and_asks_for_a_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise AssertionError("boom")

    assert entry.exit_code_of(broken) == 70
    assert "boom" in capsys.readouterr().err


def test_an_interrupt_is_130_and_a_reader_that_left_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    assert entry.exit_code_of(interrupted) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_ctrl_c_in_a_verb_is_reported(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """typer makes an exit of it before the command's own way out sees it."""

    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(measure, "ab", interrupted)
    said = command("ab", "sweep.yaml")
    told = "an interrupted ab is not stored; the next ab measures everything again\ninterrupted\n"
    assert (said.code, said.out, said.err) == (130, "", told)


@pytest.fixture(autouse=True)
def _standard_output_is_put_back() -> Iterator[None]:
    before = sys.stdout
    yield
    sys.stdout = before


def piped(arguments: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """What a shell makes of `convbench ...`; the command stands in $C."""
    return subprocess.run(
        ["bash", "-c", arguments],
        cwd=tmp_path,
        env={**os.environ, "C": f"{sys.executable} -m convbench", "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("script", "code", "said"),
    [
        ("$C plan many.yaml --all | head -1; exit ${PIPESTATUS[0]}", 0, ""),
        ("$C plan many.yaml --all > /dev/full", 2, "error: cannot write standard output: No space left on device"),
        ("$C plan many.yaml 2>&-", 0, ""),
        ("$C export made.json -o .", 2, "error: cannot write .: it is a folder"),
        ("$C export nothing.json", 2, "error: nothing.json: not a run that convbench exported"),
    ],
)
def test_an_output_that_cannot_be_written_is_no_fault(tmp_path: Path, script: str, code: int, said: str) -> None:
    text = SWEEP.replace("two by two", "größer").replace("[3, 4]", "{from: 1, to: 1500, step: 1}")
    (tmp_path / "many.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "made.json").write_bytes(export(synthetic.run(3), "json"))
    (tmp_path / "nothing.json").write_text("{}")
    done = piped(script, tmp_path)
    assert (done.returncode, done.stderr.partition("\n")[0][: len(said)]) == (code, said)
    assert "Traceback" not in done.stderr


def test_latest_is_the_newest_run_even_where_a_file_has_that_name(command: Command, tmp_path: Path) -> None:
    (tmp_path / "latest").write_text("a file")
    assert "there is no database" in command("export", "latest").err
    assert "error: latest.json: not a run" in command("export", str(renamed(tmp_path))).err


def renamed(folder: Path) -> str:
    (folder / "latest").rename(folder / "latest.json")
    return "latest.json"


#: What nobody may plant in an output: an escape sequence, a bell, C1's own, marks of direction, ends of lines.
PLANTED = "\x1b[31mred\x07\x9b2J\u202edne\u2066\u200f\u2028\u0085\x0b\rINJECTED\nINJECTED\tx"
#: Fields that say what a run is, not what somebody wrote: they are words of closed sets, or must fit to be read at all.
FIRM = {"id", "commit", "dtype", "device", "started_at", "finished_at", "method", "layout", "source"}


def planted(given: object) -> object:
    """What is given, with hostile text in every field that holds free text."""
    if isinstance(given, tuple):
        return tuple(map(planted, given))
    if not dataclasses.is_dataclass(given) or isinstance(given, type):
        return f"{given}{PLANTED}" if type(given) is str else given
    texts = {
        field.name: planted(getattr(given, field.name))
        for field in dataclasses.fields(given)
        if field.name not in FIRM and not (field.name == "module" and getattr(given, field.name) == TORCH_MODULE)
    }
    for name, hint in (("note", "note"), ("reason", "reason"), ("precision", "ieee"), ("given_label", "label")):
        if name in texts and texts[name] is None:
            texts[name] = f"{hint}{PLANTED}"
    return dataclasses.replace(given, **texts)


def hostile_run(**about: object) -> Run:
    made = dataclasses.replace(synthetic.run(26), git=Git(commit="c" * 40, branch="main", dirty=True), **about)
    run = planted(made)
    assert isinstance(run, Run)
    return run


@pytest.mark.slow
def test_no_text_of_a_run_steers_the_terminal_or_begins_a_line(command: Command, tmp_path: Path) -> None:
    """Every verb that reads runs, on exports and on a database whose every text is hostile."""
    old, new = hostile_run(), hostile_run(id="20261125-033000-ab12", started_at="2026-11-25T03:30:00+00:00")
    new = dataclasses.replace(
        new,
        environment=dataclasses.replace(new.environment, cpu=f"other{PLANTED}", variables=(("LD_PRELOAD", PLANTED),)),
        results=tuple(
            dataclasses.replace(result, blocks=old.results[(at + 1) % len(old.results)].blocks)
            for at, result in enumerate(new.results)
        ),
    )
    for run, name in ((old, "old.json"), (new, "new.json")):
        store(run, tmp_path / "hostile.db")
        (tmp_path / name).write_bytes(export(run, "json"))
    with sqlite3.connect(tmp_path / "hostile.db") as connection:
        connection.execute("INSERT INTO baselines VALUES (?, 1, ?)", (f"main{PLANTED}", f"then{PLANTED}"))
    connection.close()
    odd = dataclasses.replace(old, id=f"2026{PLANTED}", started_at=f"2026{PLANTED}", finished_at=PLANTED)
    (tmp_path / "odd.json").write_bytes(export(odd, "json"))
    case = old.results[0].case.id
    db = ("--db", "hostile.db")
    verbs: list[tuple[str, ...]] = [
        ("runs", *db),
        ("baseline", "list", *db),
        ("machines", *db),
        ("machines", "--json", *db),
        ("campaign", old.name, *db),
        ("campaign", old.name, "--price", f"nobody{PLANTED}=1", *db),
        ("campaign", f"nothing{PLANTED}", *db),
        ("compare", old.name, old.name, "--no-page", *db),
        ("report", "latest", *db),
        ("report", "2026", *db),
        ("report", "nothing", *db),
        ("report", f"nothing{PLANTED}", *db),
        ("compare", "old.json", "new.json"),
        ("compare", "old.json", "new.json", "--across-environments"),
        ("compare", old.id, new.id, *db, "--across-environments", "--summary", "s.md", "--junit", "s.xml"),
        ("compare", "odd.json", "new.json"),
        ("compare", "odd.json", "new.json", "--across-environments", "--summary", "odd.md"),
        ("report", "odd.json"),
        ("history", case, *db),
        ("history", case, *db, "--branch", PLANTED),
        ("explain", case, *db),
        ("repro", case, *db),
        ("baseline", "set", f"x{PLANTED}", "latest", *db),
        ("baseline", "set", "y", "latest", *db),
        ("export", "latest", "--format", PLANTED, *db),
        ("plan", f"{PLANTED}.yaml"),
        (PLANTED,),
        ("runs", f"--{PLANTED}"),
        ("runs", PLANTED),
        ("history", case, "--last", PLANTED),
        ("ab", "x.yaml", "--a-env", PLANTED),
    ]
    said = {arguments: command(*arguments) for arguments in verbs}
    for name in ("old.json", "new.json"):
        Path(name).rename(f"{PLANTED}{name}".replace("/", ""))
    said[("moved",)] = command("compare", f"{PLANTED}old.json", f"{PLANTED}new.json", "--across-environments")
    assert said["compare", "old.json", "new.json", "--across-environments"].code in (0, 1, 5)
    assert sum(one.code in (0, 1) for one in said.values()) >= 9, {
        arguments: one.code for arguments, one in said.items()
    }
    for arguments, one in said.items():
        for text in (one.out, one.err):
            assert not _OBEYED.search(text), arguments
            assert not [line for line in text.splitlines() if line.lstrip().startswith("INJECTED")], arguments


_OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def test_a_sweep_whose_words_are_hostile_is_planned_safely(command: Command, tmp_path: Path) -> None:
    text = SWEEP.replace("two by two", '"two\\nINJECTED \\u202e"').replace("[3, 4]", "[3, 4, 5]")
    (tmp_path / "a.yaml").write_text(text + "  groups: [1, 3]\n", encoding="utf-8")
    (tmp_path / "b.yaml").write_text(SWEEP + "  dtype: [\u202e, x\u2028, '\u200f']\n", encoding="utf-8")
    for name in ("a.yaml", "b.yaml"):
        said = command("plan", name)
        assert not _OBEYED.search(said.out + said.err)
        assert "\nINJECTED" not in said.out


def test_an_error_of_the_system_is_reported_as_what_it_is(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise PermissionError(13, "Permission denied", "/srv/x\x1b.csv")

    def refuse_oddly(*arguments: object, **named: object) -> None:
        raise OSError("strange")

    monkeypatch.setattr("convbench.store.Store.open", refuse)
    said = command("runs")
    assert (said.code, said.err) == (2, "error: /srv/x\\x1b.csv: permission denied\n")
    monkeypatch.setattr("convbench.store.Store.open", refuse_oddly)
    assert command("runs").err == "error: system error: strange\n"


def test_a_fault_is_reported_in_a_text_one_can_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> None:
        raise RuntimeError("x\x1b" * 10_000_000 + "\n" * 10_000)

    assert entry.exit_code_of(fails) == 70
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert len(told) < 100_000
    assert not _OBEYED.search(told)


@pytest.mark.slow
def test_an_exception_of_10_mb_is_cut_in_every_output(command: Command, sweep: Path, tmp_path: Path) -> None:
    """Of one line and of a hundred thousand, as a module's layers may raise them; text of the module steers nothing."""
    (tmp_path / "flood.py").write_text(
        "import torch\n"
        "class Line(torch.nn.Conv2d):\n"
        "    def forward(self, input):\n"
        "        raise RuntimeError('\\x1b]0;owned\\x07' + 'x' * 10_000_000)\n"
        "class Lines(torch.nn.Conv2d):\n"
        "    def forward(self, input):\n"
        "        raise ValueError('first\\u2028INJECTED\\n' + 'INJECTED\\n' * 1_000_000)\n"
    )
    text = SWEEP.replace("[3, 4]", "3").replace("[1, 3]", "1")
    text += "  module: [flood:Line, flood:Lines]\nmeasure: {processes: 1, rounds: 1, max_time: 0.01}\n"
    sweep.write_text(text, encoding="utf-8")
    said = command("run", "sweep.yaml", "--summary", "s.md", "--junit", "s.xml")
    assert said.code == 3
    for text in (said.out, said.err, command("export", "latest", "--format", "csv").out):
        assert len(text) < 20_000
        assert not _OBEYED.search(text)
        assert "INJECTED\n" not in text
    assert max(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 8_000_000  # a report's own


def test_an_interrupt_waits_for_the_end_of_what_cannot_be_begun_again() -> None:
    done = []
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), interrupts_deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        done.append("to its end")
    assert done == ["to its end"]
    assert signal.getsignal(signal.SIGTERM) is before
    with interrupts_deferred():
        pass
