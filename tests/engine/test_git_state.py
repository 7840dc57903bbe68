"""What is checked out where a run is started, read from real checkouts."""

from __future__ import annotations

from pathlib import Path

import pytest
from repository import git

from convbench.engine import git_state as module
from convbench.engine.git_state import BRANCH_VARIABLES, checkout
from convbench.model.result import Git


@pytest.fixture(autouse=True)
def no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*BRANCH_VARIABLES, "GITHUB_REF_TYPE", "CI_COMMIT_TAG", "GIT_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout of the branch `topic/ä` with one commit."""
    git(tmp_path, "init", "--initial-branch", "topic/ä")
    (tmp_path / "layer.py").write_text("one\n")
    git(tmp_path, "add", "layer.py")
    git(tmp_path, "commit", "--message", "first")
    return tmp_path


def test_commit_and_branch_are_those_of_the_folder(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "reports").mkdir()
    (project / "reports" / "new").touch()  # what git does not know changes nothing
    commit = git(project, "rev-parse", "HEAD")
    assert checkout(project / "reports") == Git(commit=commit, branch="topic/ä", dirty=False)
    monkeypatch.chdir(project)
    assert checkout() == Git(commit=commit, branch="topic/ä", dirty=False)


@pytest.mark.parametrize("staged", [False, True])
def test_changed_file_makes_it_dirty(project: Path, staged: bool) -> None:
    (project / "layer.py").write_text("two\n")
    if staged:
        git(project, "add", "layer.py")
    found = checkout(project)
    assert found is not None
    assert found.dirty


@pytest.mark.parametrize(
    ("variables", "branch"),
    [
        ({}, None),
        ({"GITHUB_HEAD_REF": "", "GITHUB_REF_NAME": "main", "GITHUB_REF_TYPE": "branch"}, "main"),
        ({"GITHUB_HEAD_REF": "topic", "GITHUB_REF_NAME": "12/merge", "GITHUB_REF_TYPE": "branch"}, "topic"),
        ({"GITHUB_HEAD_REF": "", "GITHUB_REF_NAME": "v1.0", "GITHUB_REF_TYPE": "tag"}, None),
        ({"CI_COMMIT_REF_NAME": "main"}, "main"),
        ({"CI_COMMIT_REF_NAME": "v1.0", "CI_COMMIT_TAG": "v1.0"}, None),
        ({"CI_COMMIT_REF_NAME": "topic", "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "topic"}, "topic"),
    ],
)
def test_branch_of_a_detached_checkout_is_what_ci_says(
    project: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], branch: str | None
) -> None:
    git(project, "checkout", "--detach")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = checkout(project)
    assert found is not None
    assert (found.branch, found.dirty) == (branch, False)


def test_branch_that_is_checked_out_counts_more_than_ci(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_REF_NAME", "main")
    found = checkout(project)
    assert found is not None
    assert found.branch == "topic/ä"


def test_there_is_none_outside_a_checkout_nor_before_its_first_commit(tmp_path: Path) -> None:
    assert checkout(tmp_path) is None
    git(tmp_path, "init")
    assert checkout(tmp_path) is None


def test_there_is_none_without_git_or_where_it_hangs(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setenv("PATH", "/nonexistent")
        assert checkout(project) is None
    monkeypatch.setattr(module, "TIMEOUT_S", 0.0)
    assert checkout(project) is None
