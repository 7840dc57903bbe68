"""The git state of the user's project: commit, branch and changes, and its files at another commit."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from convbench.model.result import Git

#: Time limit for git, seconds: a slow network drive must not block a run.
TIMEOUT_S = 10.0
#: Time limit for `git archive` of a whole commit, seconds.
CHECKOUT_TIMEOUT_S = 120.0

#: Variables in which a CI that checks out a bare commit gives the branch; the first one set counts. The branch of a
#: pull request comes before the temporary merge branch.
#: https://docs.github.com/actions/reference/workflows-and-actions/variables, https://docs.gitlab.com/ci/variables/predefined_variables
BRANCH_VARIABLES = (
    "GITHUB_HEAD_REF",
    "GITHUB_REF_NAME",
    "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME",
    "CI_COMMIT_REF_NAME",
)
#: If these name a tag, the two REF_NAMEs hold that tag instead of a branch.
_GITHUB_KIND, _GITLAB_TAG = "GITHUB_REF_TYPE", "CI_COMMIT_TAG"


def checkout(folder: Path | None = None) -> Git | None:
    """Commit, branch and whether tracked files have changes, in `folder` or the current folder.

    None outside a checkout, before its first commit, and where git is missing or fails.
    """
    status = _status(folder)
    if status is None:
        return None
    heads = dict(line[2:].split(" ", 1) for line in status if line.startswith("# branch."))
    commit, branch = heads.get("branch.oid", "(initial)"), heads.get("branch.head", "(detached)")
    if commit == "(initial)":
        return None
    dirty = any(not line.startswith("#") for line in status)
    return Git(commit=commit, branch=_branch_of_ci(os.environ) if branch == "(detached)" else branch, dirty=dirty)


def _status(folder: Path | None) -> list[str] | None:
    """The lines of `git status`; None where git is missing, fails or takes too long."""
    command = ["git", "--no-optional-locks", "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return None if done.returncode else done.stdout.splitlines()


def _branch_of_ci(variables: Mapping[str, str]) -> str | None:
    """The branch from a CI's variables, None without one."""
    tags = set()
    if variables.get(_GITHUB_KIND) == "tag":
        tags.add("GITHUB_REF_NAME")
    if variables.get(_GITLAB_TAG):
        tags.add("CI_COMMIT_REF_NAME")
    return next((variables[name] for name in BRANCH_VARIABLES if variables.get(name) and name not in tags), None)


@contextmanager
def as_of(commit: str) -> Iterator[tuple[str, ...] | None]:
    """The module path at a commit: the current folder and the folders of PYTHONPATH inside the checkout.

    The files are extracted into a temporary folder, which is deleted afterwards; the checkout is not changed. None
    where git does not have the commit, or the current folder did not exist then.
    """
    root = _git("rev-parse", "--show-toplevel")
    packed = _git("archive", "--format=tar", commit, cwd=root.decode().rstrip("\n")) if root else None
    if root is None or packed is None:
        yield None
        return
    top = Path(root.decode().rstrip("\n")).resolve()
    with TemporaryDirectory(prefix="convbench-") as folder:
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(folder, filter="data")
        wanted = [str(Path.cwd()), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        inside = [path for path in (Path(each).resolve() for each in wanted) if path.is_relative_to(top)]
        there = [Path(folder) / path.relative_to(top) for path in inside]
        yield tuple(str(path) for path in there if path.is_dir()) if there and there[0].is_dir() else None


def _git(*arguments: str, cwd: str | None = None) -> bytes | None:
    """The output of a git command; None where git fails or is missing."""
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *arguments],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=CHECKOUT_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return None if done.returncode else done.stdout
