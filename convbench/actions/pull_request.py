"""What a pull request changes: the head of a branch and the commit where it began, each with its packages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from convbench.actions.locks import Files, files_in, installing, lock_of, why_separate
from convbench.engine.commands import Command, answer
from convbench.errors import RequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A side of the comparison: its checkout, the folders of it that have modules, its lock file, its environment."""

    checkout: Path
    path: tuple[Path, ...]
    lock: str
    environment: Path

    @property
    def python(self) -> Path:
        """The interpreter of the environment."""
        return self.environment / "bin" / "python"


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequest:
    """Both sides and the commands that make them. `why_two` says why they have an environment each; None for one."""

    base: Side
    base_commit: str
    head: Side
    commands: tuple[Command, ...]
    why_two: str | None


def planned(target: str, *, work: Path, head: Path) -> PullRequest:
    """The plan for the checkout `head`, whose base is the commit where it left `target`, a commit or branch.

    What is made for the comparison lies in the folder `work`. Changes nothing. Raises RequestError where the folder is
    no checkout, where git does not know the commits, or where a side has no lock file.
    """
    known = answer(("git", "rev-parse", "--verify", "--end-of-options", f"{target}^{{commit}}"), head)
    base_commit = (answer(("git", "merge-base", known.strip(), "HEAD"), head) or "").strip() if known else ""
    if not base_commit:
        raise RequestError(
            f"git finds no commit where HEAD left {target!r}",
            hint="run this in a checkout with all commits: fetch-depth: 0 on GitHub, GIT_DEPTH: 0 on GitLab",
        )
    before, after = _files_of(base_commit, head), files_in(head)
    why_two = why_separate(before, after)
    has_src = answer(("git", "cat-file", "-e", f"{base_commit}:./src"), head) is not None
    checkout, environment = work / "base", work / "base-environment"
    base = Side(
        checkout=checkout,
        path=(checkout / "src", checkout) if has_src else (checkout,),
        lock=lock_of(before, "the base"),
        environment=environment,
    )
    changed = Side(
        checkout=head,
        path=(head / "src", head) if (head / "src").is_dir() else (head,),
        lock=lock_of(after, "the head"),
        environment=environment if why_two is None else work / "head-environment",
    )
    added = Command(words=("git", "worktree", "add", "--detach", str(checkout), base_commit), folder=head)
    commands = [added, *installing(base.lock, checkout, base.environment, work / "tools")]
    if why_two is not None:
        again = installing(changed.lock, head, changed.environment, work / "tools")
        commands += [command for command in again if command.words not in {known.words for known in commands}]
    return PullRequest(base=base, base_commit=base_commit, head=changed, commands=tuple(commands), why_two=why_two)


def _files_of(commit: str, checkout: Path) -> Files:
    return lambda name: answer(("git", "show", f"{commit}:./{name}"), checkout)


@contextmanager
def made(plan: PullRequest, *, work: Path, keep: bool) -> Iterator[None]:
    """Both sides exist inside the block; afterwards their folders are removed unless `keep`."""
    work.mkdir(mode=0o700, parents=True, exist_ok=keep)  # a temporary folder must be ours alone
    if any(work.iterdir()):
        raise RequestError(f"{work} is not empty", hint="--work takes a new or empty folder")
    try:
        for command in plan.commands:
            command.done()
        yield
    finally:
        if not keep:
            shutil.rmtree(work, ignore_errors=True)
            answer(("git", "worktree", "prune"), plan.head.checkout)
