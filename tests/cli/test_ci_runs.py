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
from ci_user import Repository, git, gitlab, runner

from convbench.report.ci.workflow import Service

pytestmark = pytest.mark.slow


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


def test_a_pull_request_with_a_slower_layer_fails_and_says_so(
    repository: Repository, machine: dict[str, str], tmp_path: Path
) -> None:
    work = tmp_path / "work"
    service = GitHub(
        workflow=repository.written(Service.GITHUB),
        checkout=repository.folder,
        home=tmp_path / "runner",
        known=on_pull_request(repository),
        environment={**machine, "CONVBENCH_WORK": str(work)},
    )
    assert service.run("nightly") is None
    done = ran(service.run("pull-request"))
    assert done.exit_code == 1, done.log
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
    assert done.steps[-1] == "actions/upload-artifact"

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
    first = ran(service.run("nightly", github__run_id=1))
    assert first.exit_code == 0, first.log
    assert first.summary.startswith("### convbench, speed: 1 passed\n")
    [(name, baseline)] = baselines(repository)
    assert name.startswith("main/speed/")
    assert sorted(path.suffix for path in (first.artifacts["convbench-nightly-0"]).glob("*.html")) == [".html"] * 2
    assert not list((tmp_path / "runner" / "temp").iterdir()), "the environment is removed"

    (repository.folder / "reports" / "convbench.db").unlink()
    second = ran(service.run("nightly", github__run_id=2))
    assert second.exit_code == 0, second.log
    assert "From stored runs" in second.summary
    assert baselines(repository) == [(name, baseline)], "a baseline that moved along would hide what creeps"


def test_a_merge_request_is_measured_from_both_lock_files_and_noted_once(
    repository: Repository, machine: dict[str, str], tmp_path: Path
) -> None:
    git(repository.folder, "checkout", "-q", repository.head)
    service = GitLab(configuration=repository.written(Service.GITLAB), checkout=repository.folder, environment=machine)
    work = tmp_path / "work"
    with gitlab(others=100) as server:  # the service sends 100 at once
        about = {"CI_MERGE_REQUEST_DIFF_BASE_SHA": repository.base, "CONVBENCH_TOKEN": "the token", **server.variables}
        done = service.run("convbench merge request", CONVBENCH_WORK=str(work), **about)
        assert done.exit_code == 1, done.log
        for side, version in (("base", "1.0"), ("head", "1.1")):
            assert which_lock(work / f"{side}-environment") == version
        summary = (repository.folder / "convbench-out" / "summary.md").read_text(encoding="utf-8")
        assert summary.startswith("### convbench, speed: regressed\n")
        assert server.notes[:100] == [{"id": 1 + at, "body": "somebody's own"} for at in range(100)]
        [ours] = server.notes[100:]
        assert (ours["edits"], ours["body"]) == (0, "<!-- convbench configs/speed.yaml -->\n" + summary)


def test_a_schedule_of_gitlab_measures_and_sets_the_first_baseline(
    repository: Repository, machine: dict[str, str]
) -> None:
    service = GitLab(configuration=repository.written(Service.GITLAB), checkout=repository.folder, environment=machine)
    done = service.run("convbench nightly")
    assert done.exit_code == 0, done.log
    [(name, _)] = baselines(repository)
    assert name.startswith("main/speed/")
    assert (repository.folder / "convbench-out" / "junit.xml").exists()


def which_lock(environment: Path) -> str:
    asked = [str(environment / "bin/python"), "-c", "import which_lock; print(which_lock.version)"]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()


def baselines(repository: Repository) -> list[tuple[str, str]]:
    with sqlite3.connect(repository.folder / "reports" / "convbench.db") as connection:
        return connection.execute(
            "select baselines.name, runs.id from baselines join runs on runs.key = baselines.run_key"
        ).fetchall()
