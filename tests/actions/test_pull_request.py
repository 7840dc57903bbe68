"""The sides of a pull request: the commit where a branch began, its packages, and what is left afterwards."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ci_user import Repository, git, wheel
from commands import Command

from convbench.actions import pull_request
from convbench.engine import commands
from convbench.errors import RequestError


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "repository")
    git(made.folder, "checkout", "-q", made.head)
    return made


def test_the_base_is_the_commit_where_the_branch_began(repository: Repository, tmp_path: Path) -> None:
    for target in ("main", repository.target, repository.base):
        plan = pull_request.planned(target, work=tmp_path / "work", head=repository.folder)
        assert plan.base_commit == repository.base
    assert plan.why_two == "the lock file differs (requirements.txt)"
    assert plan.base.environment != plan.head.environment
    assert plan.head.path == (repository.folder,)
    assert not (tmp_path / "work").exists(), "planning changes nothing"


def test_a_folder_of_sources_comes_first(repository: Repository, tmp_path: Path) -> None:
    (repository.folder / "src").mkdir()
    (repository.folder / "src" / "more.py").write_text("", encoding="utf-8")
    plan = pull_request.planned("main", work=tmp_path / "work", head=repository.folder)
    assert (len(plan.base.path), plan.head.path) == (1, (repository.folder / "src", repository.folder))
    git(repository.folder, "add", ".")
    git(repository.folder, "commit", "-qm", "sources")
    plan = pull_request.planned("HEAD", work=tmp_path / "work", head=repository.folder)
    assert plan.base.path == (plan.base.checkout / "src", plan.base.checkout)


@pytest.mark.parametrize("target", ["nothing", "0" * 40, "--help"])
def test_an_unknown_target_is_said_with_a_way_out(repository: Repository, tmp_path: Path, target: str) -> None:
    with pytest.raises(RequestError, match="git finds no commit where HEAD left") as refused:
        pull_request.planned(target, work=tmp_path / "work", head=repository.folder)
    assert "fetch-depth: 0" in (refused.value.hint or "")


def test_a_side_without_a_lock_file_ends_it(repository: Repository, tmp_path: Path) -> None:
    (repository.folder / "requirements.txt").unlink()
    with pytest.raises(RequestError, match="the head has no lock file"):
        pull_request.planned("main", work=tmp_path / "work", head=repository.folder)


@pytest.mark.slow
def test_one_environment_is_built_where_the_lock_files_are_equal(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(repository.folder / "wheels"))
    (repository.folder / "requirements.txt").write_text("torch-from-here==1.0\n", encoding="utf-8")
    git(repository.folder, "commit", "-qam", "a lock file without paths")
    (repository.folder / "layers.py").write_text("changed = True\n", encoding="utf-8")
    work = tmp_path / "work"
    plan = pull_request.planned("HEAD", work=work, head=repository.folder)
    assert plan.why_two is None
    with pull_request.made(plan, work=work, keep=False):
        assert sorted(path.name for path in work.iterdir()) == ["base", "base-environment"]
        assert plan.base.python == plan.head.python
        asked = [str(plan.head.python), "-c", "import which_lock; print(which_lock.version)"]
        assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout == "1.0\n"
        assert "changed" not in (plan.base.checkout / "layers.py").read_text(encoding="utf-8")
    assert not work.exists()
    assert git(repository.folder, "worktree", "list").count("\n") == 0


def test_a_command_that_fails_ends_it_and_leaves_nothing(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    plan = pull_request.planned("main", work=work, head=repository.folder)
    (repository.folder / ".git" / "worktrees").write_text("in the way", encoding="utf-8")
    failed = pytest.raises(RequestError, match=r"`git worktree add .* ended with exit code")
    with failed, pull_request.made(plan, work=work, keep=False):
        raise AssertionError("nothing was made")
    assert not work.exists()
    work.mkdir()
    (work / "mine").touch()
    with pytest.raises(RequestError, match="is not empty"), pull_request.made(plan, work=work, keep=True):
        raise AssertionError("nothing was made")
    assert (work / "mine").exists()
    with pytest.raises(FileExistsError), pull_request.made(plan, work=work, keep=False):
        raise AssertionError("a temporary folder is new: somebody else may have made this one")
    assert (work / "mine").exists()


def test_a_dry_run_says_what_would_be_done_and_does_nothing(
    repository: Repository, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository.folder)
    before = git(repository.folder, "status", "--porcelain", "--ignored")
    said = command("ci", "pull-request", "configs/speed.yaml", "--target", "main", "--work", "/absent", "--dry-run")
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert lines[:4] == [
        f"base: commit {repository.base}",
        f"head: {repository.folder}",
        "environments: one for each side: the lock file differs (requirements.txt)",
        "sweep: configs/speed.yaml, 1 case",
    ]
    assert f"  git worktree add --detach /absent/base {repository.base}" in lines
    assert lines.count("  /absent/head-environment/bin/python -m pip install --requirement requirements.txt") == 1
    assert lines[-2] == (
        "then: convbench ab configs/speed.yaml"
        " --a-python /absent/base-environment/bin/python --a-path /absent/base"
        f" --b-python /absent/head-environment/bin/python --b-path {repository.folder}"
    )
    assert git(repository.folder, "status", "--porcelain", "--ignored") == before


def test_what_an_earlier_comparison_left_is_not_published(
    repository: Repository, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(repository.folder)
    shown = tmp_path / "shown.md"
    shown.touch()
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(shown))
    old = repository.folder / "convbench-out"
    old.mkdir()
    for name in ("summary.md", "comment.md"):
        (old / name).write_text("old", encoding="utf-8")
    wheel(repository.folder / "wheels", "torch-from-here", "1.1", {})
    monkeypatch.setattr(commands.Command, "run", lambda self: 1)
    said = command("ci", "pull-request", "configs/speed.yaml")
    assert said.code == 2 and "ended with exit code 1" in said.err
    assert shown.read_text(encoding="utf-8") == "convbench could not compare; the log says why.\n"
    assert not list(old.iterdir())
