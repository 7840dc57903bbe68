"""Finds the commit of a checkout since which cases of a sweep take another time: `ab` between commits."""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from convbench import sweep as sweeps
from convbench.actions import measure
from convbench.engine import git_commits
from convbench.engine.commands import Command
from convbench.errors import RequestError
from convbench.model.bisection import Bisection, Decided, Step
from convbench.model.operators import OPERATORS
from convbench.model.serial import parsed, to_json
from convbench.store.files import read_text, write_bytes

if TYPE_CHECKING:
    from convbench.analysis.comparison.bisection import Found, Question
    from convbench.analysis.comparison.judgment import Judgment, RunComparison
    from convbench.conduct.listening import Listener
    from convbench.engine.git_commits import Trees
    from convbench.engine.local import Setup
    from convbench.model.case import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """The user's code at many commits.

    `folder` is in a checkout; from this folder of each commit the sweep's modules are imported. `build` is a command
    that runs at the top of each commit's files first. `python` is an interpreter in them that `build` makes; without
    it, convbench's own one is used.
    """

    folder: Path
    build: tuple[str, ...] = ()
    python: str | None = None


def bisect(
    sweep: sweeps.Sweep,
    good: str,
    bad: str,
    *,
    project: Project,
    case_ids: Collection[str] = (),
    threshold: float | None = None,
    pairs: int | None = None,
    kept: Path | None = None,
    listener: Listener | None = None,
    after_step: Callable[[Step], None] = lambda step: None,
) -> Bisection:
    """The commit after `good`, up to `bad`, since which a case of the sweep takes another time.

    The cases are those with the ids, or all. The one whose change is clearest decides. `threshold` is the smallest
    change that counts, a ratio minus 1. `kept` is a file for what is decided: a bisection goes on from there.
    `after_step` is called after each comparison. Raises RequestError where git lacks a commit, or one of both cannot be
    measured.
    """
    from convbench.analysis.comparison import bisection, side_by_side
    from convbench.conduct.listening import Listener

    measure.check_pairs(pairs)
    sweep, plan = _chosen(sweep, case_ids, project)
    good, bad = (git_commits.commit_of(project.folder, ref) for ref in (good, bad))
    commits = [good, *git_commits.between(project.folder, good, bad)]
    least = side_by_side.THRESHOLD if threshold is None else threshold
    asked = json.dumps([sweep.source, [case.id for case in plan.cases], good, bad, str(project), least, pairs])
    digest = hashlib.sha256(asked.encode()).hexdigest()[:16]
    decided = _Kept(kept, Decided(of=digest, commits=len(commits) - 1))
    with git_commits.trees(git_commits.top_of(project.folder)) as trees:
        judge = _Judge(sweep, plan, project, trees, decided, listener or Listener(), after_step)
        found = bisection.search(
            commits, judge, threshold=least, pairs=side_by_side.CONFIRMATION if pairs is None else pairs
        )
    answer = _answer(found, commits, plan.cases, project)
    decided.end(answer)
    return answer


def read_decided(text: str) -> Decided:
    """What a bisection has kept; RequestError for another text."""
    from convbench.model.reading import reader

    try:
        return reader(Decided)(parsed(text))
    except ValueError as error:
        raise RequestError(f"what a bisection has decided cannot be read: {error}") from None


def _chosen(sweep: sweeps.Sweep, case_ids: Collection[str], project: Project) -> tuple[sweeps.Sweep, sweeps.Plan]:
    """The sweep and the plan of the wanted cases; RequestError where the commits cannot matter to any."""
    sweep, plan = measure.with_plan(sweep)
    cases = tuple(case for case in plan.cases if not case_ids or case.id in case_ids)
    if missing := sorted(set(case_ids) - {case.id for case in cases}):
        raise RequestError(f"{sweep.path} has no case {', '.join(missing)}", hint="`convbench plan` shows its cases")
    if not cases:
        raise measure.nothing_left(sweep.path, plan)
    if project.python is None and all(case.module in OPERATORS for case in cases):
        raise RequestError(
            "no case imports a module of yours, so no commit of the checkout can change it",
            hint="name one with `module:` in the sweep, or give --build and --python",
        )
    return sweep, replace(plan, cases=cases)


class _Judge:
    """Compares two commits by `ab`, unless that is decided already."""

    def __init__(
        self,
        sweep: sweeps.Sweep,
        plan: sweeps.Plan,
        project: Project,
        trees: Trees,
        decided: _Kept,
        listener: Listener,
        after_step: Callable[[Step], None],
    ) -> None:
        self._sweep, self._plan, self._project, self._trees = sweep, plan, project, trees
        self._decided, self._listener, self._after_step = decided, listener, after_step
        self._inside = git_commits.top_of(project.folder)
        self._refused: dict[str, str] = {}

    def __call__(self, question: Question) -> Step:
        """The comparison. The case that decides the first one is the only case of the others."""
        step = self._decided.known(question)
        if step is None:
            self._listener.message(f"comparing commit {question.new[:10]} with {question.base[:10]}")
            step = self._compared(question)
            self._decided.add(step)
        if step.case_id:
            own = tuple(case for case in self._plan.cases if case.id == step.case_id)
            self._plan = replace(self._plan, cases=own)
        self._after_step(step)
        return step

    def _compared(self, question: Question) -> Step:
        from convbench.conduct.ab import SideError

        plain = Step(base=question.base, new=question.new, threshold=question.threshold)
        try:
            sides = [self._setup(commit) for commit in (question.base, question.new)]
            found = measure.ab_planned(
                self._sweep,
                self._plan,
                *sides,
                threshold=question.threshold,
                pairs=question.pairs,
                listener=self._listener,
            )
        except _CannotError as error:
            return self._without(plain, error.commit, str(error))
        except SideError as error:
            return self._without(plain, question.base if error.side == "A" else question.new, error.reason)
        return self._judged(plain, found)

    def _without(self, plain: Step, commit: str, reason: str) -> Step:
        """The step with a commit that cannot be measured; RequestError where there is no answer without it."""
        if commit == plain.base or not self._decided.steps:
            raise RequestError(f"commit {commit[:10]} cannot be measured: {reason}")
        return replace(plain, refused=reason)

    def _judged(self, plain: Step, found: RunComparison) -> Step:
        from convbench.analysis.comparison.judgment import Verdict

        one = clearest(found.comparison.judgments)
        if one.verdict is Verdict.NOT_JUDGED:
            return self._without(plain, plain.new, one.reason)
        moves = {Verdict.REGRESSED: 1, Verdict.IMPROVED: -1, Verdict.UNCHANGED: 0}
        numbers = {name: getattr(one, name) for name in ("ratio", "low", "high")}
        return replace(plain, moved=moves.get(one.verdict), case_id=one.case.id, pairs=one.processes, **numbers)

    def _setup(self, commit: str) -> Setup:
        """How the code of a commit is measured; _CannotError where it cannot be built."""
        from convbench.engine.local import Setup

        top, is_new = self._trees.at(commit)
        if is_new and self._project.build:
            self._refused.pop(commit, None)
            command = Command(words=self._project.build, folder=top)
            if code := command.run():
                self._refused[commit] = f"`{command}` ended with exit code {code}"
        path = tuple(str(top / folder) for folder in self._folders() if (top / folder).is_dir())
        if not path:
            self._refused[commit] = f"it has no folder {self._folders()[0]}"
        if commit in self._refused:
            raise _CannotError(commit, self._refused[commit])
        python = sys.executable if self._project.python is None else str(top / self._project.python)
        return Setup(python=python, path=path, variables=self._variables())

    def _folders(self) -> list[Path]:
        """The folders in the checkout that modules are imported from: the project's, and those of PYTHONPATH."""
        wanted = [self._project.folder, *map(Path, filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))]
        inside = [path for path in (path.resolve() for path in wanted) if path.is_relative_to(self._inside)]
        return [path.relative_to(self._inside) for path in dict.fromkeys(inside)]

    def _variables(self) -> tuple[tuple[str, str], ...]:
        """PYTHONPATH without the checkout itself: a module that a commit lacks must not come from there."""
        given = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
        others = [path for path in given if not Path(path).resolve().is_relative_to(self._inside)]
        return (("PYTHONPATH", os.pathsep.join(others)),) if given else ()


class _CannotError(Exception):
    """The code of a commit cannot be measured."""

    def __init__(self, commit: str, reason: str) -> None:
        super().__init__(reason)
        self.commit = commit


def clearest(judgments: Sequence[Judgment]) -> Judgment:
    """The judgment whose interval is farthest from no change; one that was judged where there is any."""

    def distance(one: Judgment) -> float:
        known = one.low > 0 and one.high > 0
        return max(math.log(one.low), -math.log(one.high)) if known else -math.inf

    return max(judgments, key=distance)


class _Kept:
    """What is decided, in a file where there is one, which goes on from what is there."""

    def __init__(self, path: Path | None, decided: Decided) -> None:
        self._path, self._decided = path, decided
        if path is not None and path.exists() and path.stat().st_size:
            found = read_decided(read_text(path))
            if found.of != decided.of:
                raise RequestError(
                    f"{path} is of another bisection", hint="name another file, or delete this one and begin again"
                )
            self._decided = replace(found, answer=None)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The comparisons that are decided."""
        return self._decided.steps

    def known(self, question: Question) -> Step | None:
        """The comparison that answers a question, None where it is to be measured."""
        asked = (question.base, question.new, question.threshold)
        return next((step for step in self.steps if (step.base, step.new, step.threshold) == asked), None)

    def add(self, step: Step) -> None:
        """Keep a comparison."""
        self._write(replace(self._decided, steps=(*self.steps, step)))

    def end(self, answer: Bisection) -> None:
        """Keep the answer."""
        self._write(replace(self._decided, answer=answer))

    def _write(self, decided: Decided) -> None:
        self._decided = decided
        if self._path is not None:
            write_bytes(self._path, json.dumps(to_json(decided), allow_nan=False).encode())


def _answer(found: Found, commits: Sequence[str], cases: Sequence[Case], project: Project) -> Bisection:
    labels = {case.id: case.label for case in cases}
    return Bisection(
        outcome=found.outcome,
        commits=len(commits) - 1,
        steps=found.steps,
        last=found.last,
        first=tuple(git_commits.described(project.folder, commit) for commit in found.first),
        label=labels.get(found.last.case_id, ""),
    )
