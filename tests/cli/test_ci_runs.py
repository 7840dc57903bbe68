"""What `convbench ci init` writes, run as a CI would: a user's repository, its lock files, a branch that is slower."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from ci_services import Done, GitHub, GitLab
from ci_user import Repository, git, runner, wheel

from convbench.report.ci.workflow import Service

#: convbench as far as the shell around it goes: it notes how it was called and leaves what was asked for.
NOTING = """\
import json, pathlib, sys


def main():
    if sys.argv[1:] == ["baseline", "list"]:
        print("baseline", "main/speed/A-Processor-2.4GHz", sep="\\n")
        return
    pathlib.Path("called.json").write_text(json.dumps(sys.argv[1:]))
    options = dict(zip(sys.argv, sys.argv[1:]))
    pathlib.Path(options["--summary"]).write_text("### something\\n")
    pathlib.Path(options["--junit"]).write_text("<testsuites/>")
    sys.exit(3)
"""


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


@pytest.fixture(scope="module")
def made_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "environment"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder


@pytest.fixture
def machine(tmp_path: Path, made_environment: Path) -> dict[str, str]:
    return runner(tmp_path, made_environment)


EVENT = {
    "github.repository": "team/layers",
    "github.token": "the token",
    "github.actor": "somebody",
    "github.run_attempt": 1,
    "matrix.config": "configs/speed.yaml",
    "strategy.job-index": 0,
    "secrets.CONVBENCH_DB": "",
}


def on_pull_request(repository: Repository) -> dict[str, object]:
    about = "github.event.pull_request"
    return {
        **EVENT,
        "github.event_name": "pull_request",
        f"{about}.head.sha": repository.head,
        f"{about}.base.sha": repository.target,
        f"{about}.head.repo.full_name": "team/layers",
        f"{about}.number": 7,
    }


def ran(done: Done | None) -> Done:
    assert done is not None
    return done


@pytest.mark.slow
def test_a_pull_request_with_a_slower_layer_fails_and_says_so(
    repository: Repository, machine: dict[str, str], tmp_path: Path
) -> None:
    service = GitHub(
        workflow=repository.written(Service.GITHUB),
        checkout=repository.folder,
        home=tmp_path / "runner",
        known=on_pull_request(repository),
        environment=machine,
    )
    assert service.run("history") is None
    done = ran(service.run("pull-request"))
    assert done.exit_code == 1, done.log
    work = tmp_path / "runner" / "temp" / "convbench"
    assert git(work / "base", "rev-parse", "HEAD") == repository.base, "where the branch began, not where main is now"
    for side, version in (("base", "1.0"), ("head", "1.1")):
        assert which_lock(work / f"{side}-environment") == version
    assert done.summary.startswith("### convbench, speed: regressed\n"), done.log
    assert "Measured side by side" in done.summary
    assert f"commit {repository.base} -> {repository.head}" in done.summary
    kept = done.artifacts["convbench-0"]
    [test] = ElementTree.parse(kept / "junit.xml").iter("testcase")
    failure = test.find("failure")
    assert failure is not None and failure.attrib["type"] == "regressed"
    assert (kept / "comparison.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert done.steps[-1] == "Keep the results"

    for edits in (0, 1):  # a later push
        commented = ran(service.run("comment"))
        assert not commented.failed, commented.log
        [comment] = json.loads((tmp_path / "home" / "comments.json").read_text(encoding="utf-8"))
        assert comment["edits"] == edits
        assert comment["body"] == "<!-- convbench configs/speed.yaml -->\n" + done.summary
    fork = {"github__event__pull_request__head__repo__full_name": "somebody/layers"}
    assert service.run("comment", **fork) is None
    assert service.run("comment", github__actor="dependabot[bot]") is None
    assert not list(tmp_path.rglob("pwned"))


@pytest.mark.slow
def test_the_history_is_compared_with_a_baseline_that_stays(
    repository: Repository, machine: dict[str, str], tmp_path: Path
) -> None:
    service = GitHub(
        workflow=repository.written(Service.GITHUB),
        checkout=repository.folder,
        home=tmp_path / "runner",
        known={**EVENT, "github.event_name": "schedule", "inputs.accept": ""},
        environment=machine,
    )
    assert service.run("pull-request", github__run_id=1) is None
    assert service.run("comment", github__run_id=1, github__event__pull_request__head__repo__full_name="") is None
    first = ran(service.run("history", github__run_id=1))
    assert first.exit_code == 0, first.log
    assert first.summary.startswith("### convbench, speed: 1 passed\n")
    [(name, baseline)] = baselines(repository)
    assert name.startswith("main/speed/")
    assert sorted(path.suffix for path in (first.artifacts["convbench-history-0"]).glob("*.html")) == [".html"] * 2

    built = "Build the environment"
    (repository.folder / "reports" / "convbench.db").unlink()
    second = ran(service.run("history", leave_out=built, github__run_id=2))
    assert second.exit_code == 0, second.log
    assert "From stored runs" in second.summary
    assert baselines(repository) == [(name, baseline)], "a baseline that moved along would hide what creeps"


@pytest.mark.slow
def test_a_merge_request_is_measured_from_both_lock_files_and_noted_once(
    repository: Repository, machine: dict[str, str], tmp_path: Path
) -> None:
    files = {"noting.py": NOTING}
    wheel(repository.folder / "wheels", "convbench-from-here", "1.0", files, command="convbench = noting:main")
    git(repository.folder, "checkout", "-q", repository.head)
    service = GitLab(configuration=repository.written(Service.GITLAB), checkout=repository.folder, environment=machine)
    about = {
        "CI_MERGE_REQUEST_DIFF_BASE_SHA": repository.base,
        "CI_MERGE_REQUEST_IID": "7",
        "CI_PROJECT_ID": "12",
        "CI_API_V4_URL": "https://gitlab.example/api/v4",
        "TMPDIR": str(tmp_path),
    }
    done = service.run("convbench merge request", **about)
    assert done.exit_code == 3, done.log
    [work] = tmp_path.glob("tmp.*")
    assert called(repository) == [
        *("ab", "configs/speed.yaml"),
        *("--a-python", f"{work}/base-environment/bin/python", "--a-path", f"{work}/base"),
        *("--b-python", f"{work}/head-environment/bin/python", "--b-path", str(repository.folder)),
        *("--output", "convbench-out/comparison.html"),
        *("--summary", "convbench-out/summary.md", "--junit", "convbench-out/junit.xml"),
        *("--fail-on", "regression,failed,imprecise,crashed,timed_out,out_of_memory,error"),
    ]
    for side, version in (("base", "1.0"), ("head", "1.1")):
        assert which_lock(work / f"{side}-environment") == version
    assert not (tmp_path / "home" / "notes.json").exists(), "without a token nothing is noted"
    for edits in (0, 1):
        service.run("convbench merge request", after_alone=True, **about, CONVBENCH_TOKEN="the token")
        own, ours = json.loads((tmp_path / "home" / "notes.json").read_text(encoding="utf-8"))
        assert own["body"] == "somebody's own"
        assert (ours["edits"], ours["body"]) == (edits, "<!-- convbench configs/speed.yaml -->\n### something\n")


@pytest.mark.slow
def test_a_schedule_of_gitlab_compares_with_the_baseline_of_its_processor(
    repository: Repository, machine: dict[str, str], tmp_path: Path
) -> None:
    files = {"noting.py": NOTING}
    wheel(repository.folder / "wheels", "convbench-from-here", "1.0", files, command="convbench = noting:main")
    service = GitLab(configuration=repository.written(Service.GITLAB), checkout=repository.folder, environment=machine)
    done = service.run("convbench history", TMPDIR=str(tmp_path))
    assert done.exit_code == 3, done.log
    options = [
        *("--summary", "convbench-out/summary.md", "--junit", "convbench-out/junit.xml"),
        *("--fail-on", "regression,failed,imprecise,crashed,timed_out,out_of_memory,error"),
    ]
    against = ["--against", "baseline:main/speed/A-Processor-2.4GHz"]
    assert called(repository) == ["run", "configs/speed.yaml", *options, *against]


def called(repository: Repository) -> list[str]:
    """The arguments that convbench was last called with."""
    found = json.loads((repository.folder / "called.json").read_text(encoding="utf-8"))
    assert isinstance(found, list)
    return found


def which_lock(environment: Path) -> str:
    asked = [environment / "bin/python", "-c", "import which_lock; print(which_lock.version)"]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()


def baselines(repository: Repository) -> list[tuple[str, str]]:
    with sqlite3.connect(repository.folder / "reports" / "convbench.db") as connection:
        return connection.execute(
            "select baselines.name, runs.id from baselines join runs on runs.key = baselines.run_key"
        ).fetchall()
