"""Commits of the user's checkout: which lie between two, who wrote one, and their files in worktrees of a clone.

The checkout itself is never changed: its objects are read, and nothing is written beside them.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from convbench.errors import RequestError
from convbench.model.bisection import Commit

#: Time limit for a git command, seconds: a worktree of a large project may take a minute.
TIMEOUT_S = 300.0
#: Variables by which a hook of git, which may have started this process, names another repository.
_OF_HOOKS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_PREFIX")
#: Characters of git's own message in an error.
_LONGEST = 300


def top_of(folder: Path) -> Path:
    """The top folder of the checkout that `folder` is in; RequestError where it is in none."""
    try:
        return Path(_git(folder, "rev-parse", "--show-toplevel").rstrip("\n")).resolve()
    except _GitError as error:
        raise RequestError(f"{folder}: no checkout of git: {error}", hint="name a folder in a checkout") from None


def commit_of(folder: Path, ref: str) -> str:
    """The full hash of the commit that `ref` names; RequestError where there is none."""
    try:
        return _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}").strip()
    except _GitError:
        raise RequestError(
            f"the checkout {folder} has no commit {ref[:100]!r}", hint="fetch it there, or name another one"
        ) from None


def between(folder: Path, good: str, bad: str) -> list[str]:
    """The commits after `good` up to `bad`, the oldest first, by first parents; both are full hashes.

    Raises RequestError where `good` is not before `bad`.
    """
    try:
        _git(folder, "merge-base", "--is-ancestor", good, bad)
        found = _git(folder, "rev-list", "--first-parent", "--reverse", f"{good}..{bad}").split()
    except _GitError:
        found = []
    if not found:
        same = (
            f"{good[:10]} is the same commit as {bad[:10]}" if good == bad else f"{good[:10]} is not before {bad[:10]}"
        )
        raise RequestError(f"{folder}: commit {same}", hint="name the older commit first, on the same branch")
    return found


def described(folder: Path, commit: str) -> Commit:
    """The author and the first line of the message of a commit."""
    _, author, subject = _git(folder, "show", "--no-patch", "--format=%H%n%an%n%s", commit).split("\n", 2)
    return Commit(id=commit, author=author, subject=subject.strip())


class Trees:
    """The files of commits, each in a worktree of a clone; made by `trees`."""

    def __init__(self, clone: Path) -> None:
        self._clone = clone
        self._made: set[str] = set()

    def at(self, commit: str) -> tuple[Path, bool]:
        """The folder with the files of a commit, and whether it is new; RequestError where git cannot make it."""
        folder = self._clone.parent / commit
        is_new = commit not in self._made
        if is_new:
            try:
                _git(self._clone, "worktree", "add", "--quiet", "--detach", str(folder), commit)
            except _GitError as error:
                raise RequestError(f"no worktree of commit {commit[:10]} can be made: {error}") from None
            self._made.add(commit)
        return folder, is_new


@contextmanager
def trees(top: Path) -> Iterator[Trees]:
    """Worktrees of a clone of the checkout, in a temporary folder that is removed afterwards.

    The clone shares the checkout's objects, so that it takes a second, and has every commit that the checkout has.
    """
    with TemporaryDirectory(prefix="convbench-bisect-", ignore_cleanup_errors=True) as folder:
        clone = Path(folder) / "clone"
        try:
            _git(
                top, "clone", "--quiet", "--shared", "--no-checkout", "-c", "core.hooksPath=/dev/null", ".", str(clone)
            )
        except _GitError as error:
            raise RequestError(f"the checkout {top} cannot be cloned: {error}") from None
        yield Trees(clone)


class _GitError(Exception):
    """Git failed: its own last words."""


def _git(folder: Path, *arguments: str) -> str:
    """The output of a git command; _GitError where git fails or is missing."""
    variables = {name: value for name, value in os.environ.items() if name not in _OF_HOOKS}
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *arguments],
            cwd=folder,
            env=variables | {"GIT_TERMINAL_PROMPT": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=TIMEOUT_S,
        )
    except OSError as error:
        raise _GitError(error.strerror) from None
    except subprocess.TimeoutExpired:
        raise _GitError(f"it takes longer than {TIMEOUT_S:.0f} s") from None
    if done.returncode:
        raise _GitError(" ".join(done.stderr.split())[:_LONGEST] or f"exit code {done.returncode}")
    return done.stdout
