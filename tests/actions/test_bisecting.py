"""Finding a commit: real commits of a small repository; a made-up judge in most tests, real measuring in one."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from commands import Command
from repository import git

from convbench.actions import measure
from convbench.actions.bisecting import Project, bisect, read_decided
from convbench.analysis.comparison.judgment import Judgment, Verdict
from convbench.analysis.comparison.side_by_side import FEWEST_PAIRS
from convbench.conduct.ab import SideError
from convbench.engine import git_commits
from convbench.engine.local import Setup
from convbench.errors import RequestError
from convbench.model.bisection import Bisection, Outcome, Step
from convbench.model.result import Status
from convbench.report.text.bisection import answer_text, step_text
from convbench.sweep.parse import parse

SWEEP = parse(
    """\
name: mine
axes: {in_channels: 16, out_channels: [8, 16], kernel_size: 3, input_size: 32, threads: 1, module: "mine:Conv"}
""",
    "sweep.yaml",
)
CASES = measure.with_plan(SWEEP)[1].cases
#: A layer that takes `factor` times as long as torch's.
LAYER = """\
import time
import torch

class Conv(torch.nn.Conv2d):
    def forward(self, x):
        began = time.perf_counter()
        y = super().forward(x)
        until = began + {factor} * (time.perf_counter() - began)
        while time.perf_counter() < until:
            pass
        return y
"""


@dataclass
class Repository:
    """A repository whose commits hold a file `factor` each: how long its layer takes."""

    folder: Path
    commits: list[str]

    def git(self, *words: str) -> str:
        return git(self.folder, *words)

    def commit(self, subject: str, **files: str) -> str:
        for name, text in files.items():
            (self.folder / "src" / name).write_text(text)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", subject)
        self.commits.append(self.git("rev-parse", "HEAD"))
        return self.commits[-1]

    @property
    def project(self) -> Project:
        return Project(folder=self.folder / "src")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "work", [])
    (made.folder / "src").mkdir(parents=True)
    made.git("init", "-q", "-b", "main")
    return made


@dataclass
class Measured:
    """Stands in for `ab`: it reads both commits' files `factor`; `asked` are the factors and the cases' number."""

    asked: list[tuple[str, str, int]]
    noise: float = 1.01

    def __call__(self, sweep: Any, plan: Any, a: Setup, b: Setup, *, threshold: float, pairs: int, **_: Any) -> Any:
        base, new = ((Path(side.path[0]) / "factor").read_text() for side in (a, b))
        self.asked.append((base, new, len(plan.cases)))
        if new == "crashes":
            raise SideError("B", "module mine:Conv: it ended its worker")
        return SimpleNamespace(
            comparison=SimpleNamespace(
                judgments=[self.judgment(case, float(new) / float(base), threshold, pairs) for case in plan.cases]
            )
        )

    def judgment(self, case: Any, ratio: float, threshold: float, pairs: int) -> Judgment:
        ratio = ratio if case.problem.out_channels == 16 else 1.0
        moved = abs(math.log(ratio)) > math.log1p(threshold)
        verdict = Verdict.UNCHANGED if not moved else Verdict.REGRESSED if ratio > 1 else Verdict.IMPROVED
        both = {"base_status": Status.PASSED, "new_status": Status.PASSED}
        ends = {"low": ratio / self.noise, "high": ratio * self.noise}
        return Judgment(case=case, verdict=verdict, ratio=ratio, processes=pairs, **both, **ends)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Iterator[Measured]:
    one = Measured([])
    monkeypatch.setattr(measure, "ab_planned", one)
    yield one


def factors(repository: Repository, *values: str) -> Sequence[str]:
    return [repository.commit(f"factor {value}", factor=value) for value in values]


def found_in(repository: Repository, **more: Any) -> Bisection:
    commits = repository.commits
    return bisect(SWEEP, commits[0], commits[-1], project=repository.project, **more)


def test_the_commit_is_found_and_the_checkout_stays_as_it_is(repository: Repository, measured: Measured) -> None:
    commits = factors(repository, "1.0", "1.0", "crashes", "1.0", "1.2", "1.2")
    (repository.folder / "src" / "factor").write_text("edited")
    before = (
        repository.git("status", "--porcelain"),
        repository.git("worktree", "list"),
        sorted(repository.folder.rglob("*")),
    )
    found = found_in(repository)
    assert (found.outcome, found.first[0].id, found.commits) == (Outcome.FOUND, commits[4], 5)
    assert (found.first[0].author, found.first[0].subject) == ("t", "factor 1.2")
    assert found.label == CASES[1].label, "the case that moved decides, and not the other one"
    assert [cases for _, _, cases in measured.asked] == [2, *[1] * (len(measured.asked) - 1)]
    after = (
        repository.git("status", "--porcelain"),
        repository.git("worktree", "list"),
        sorted(repository.folder.rglob("*")),
    )
    assert after == before
    lines = answer_text(found).splitlines()
    assert lines[0] == (
        f"found: commit {commits[4][:10]} (t: factor 1.2) is 20.0 % slower (18.8 % to 21.2 %) than the commit before, "
        f"{commits[3][:10]}"
    )


def test_what_is_decided_is_not_measured_again(repository: Repository, measured: Measured, tmp_path: Path) -> None:
    factors(repository, *["1.0"] * 4, "crashes", "1.0", *["1.3"] * 3)
    kept = tmp_path / "steps.json"
    told: list[Step] = []

    def stops(step: Step) -> None:
        told.append(step)
        if len(told) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        found_in(repository, kept=kept, after_step=stops)
    assert read_decided(kept.read_text()).steps == tuple(told)
    whole = found_in(repository, kept=kept)
    assert whole.steps[:3] == tuple(told) and len(measured.asked) == len(whole.steps)
    assert read_decided(kept.read_text()).answer == whole
    assert found_in(repository, kept=kept) == whole and len(measured.asked) == len(whole.steps)
    with pytest.raises(RequestError, match="another bisection"):
        found_in(repository, kept=kept, threshold=0.1)


def test_no_difference_here_is_an_answer(repository: Repository, measured: Measured) -> None:
    factors(repository, "1.0", "1.0", "1.0")
    assert answer_text(found_in(repository)).startswith("not found: the difference does not show here: commit ")


def test_commits_that_cannot_be_built_are_left_out(repository: Repository, measured: Measured) -> None:
    factors(repository, "1.0")
    repository.commit("does not build", factor="1.0", broken="")
    (repository.folder / "src" / "broken").unlink()
    factors(repository, "1.3")
    made = (sys.executable, "-c", "import os, sys; sys.exit(os.path.exists('src/broken'))")
    project = Project(folder=repository.project.folder, build=made)
    commits = repository.commits
    found = bisect(SWEEP, commits[0], commits[2], project=project)
    assert (found.outcome, [one.id for one in found.first]) == (Outcome.AMONG, commits[1:])
    assert "ended with exit code 1" in (found.steps[1].refused or "") and len(measured.asked) == 1
    assert answer_text(found).endswith("; 1 commit left out")
    with pytest.raises(RequestError, match=f"commit {commits[1][:10]} cannot be measured: `.*exit code 1"):
        bisect(SWEEP, commits[0], commits[1], project=project)


@pytest.mark.parametrize(
    ("good", "bad", "reason"),
    [
        ("HEAD", "HEAD", "is the same commit as"),
        ("HEAD", "HEAD~1", "is not before"),
        ("--help", "HEAD", "has no commit '--help'"),
        ("HEAD~9", "HEAD", "has no commit"),
    ],
)
def test_commits_that_cannot_be_searched_are_said(
    repository: Repository, measured: Measured, good: str, bad: str, reason: str
) -> None:
    factors(repository, "1.0", "1.2")
    with pytest.raises(RequestError, match=reason):
        bisect(SWEEP, good, bad, project=repository.project)
    assert not measured.asked


def test_a_sweep_that_imports_nothing_of_the_checkout_is_refused(repository: Repository) -> None:
    factors(repository, "1.0", "1.2")
    plain = parse("axes: {in_channels: 3, out_channels: 4, kernel_size: 1, input_size: 8}\n", "sweep.yaml")
    with pytest.raises(RequestError, match="no case imports a module of yours"):
        bisect(plain, "HEAD~1", "HEAD", project=repository.project)
    with pytest.raises(RequestError, match="has no case nothing"):
        bisect(SWEEP, "HEAD~1", "HEAD", project=repository.project, case_ids=["nothing"])
    with pytest.raises(RequestError, match="no checkout of git"):
        git_commits.top_of(Path("/"))


def test_merged_branches_count_as_one_commit(repository: Repository, measured: Measured) -> None:
    first = factors(repository, "1.0")[0]
    repository.git("checkout", "-q", "-b", "side")
    factors(repository, "1.1", "1.2")
    repository.git("checkout", "-q", "main")
    repository.commit("beside", other="")
    repository.git("merge", "-q", "--no-ff", "-m", "merge side", "side")
    merged = repository.git("rev-parse", "HEAD")
    assert git_commits.between(repository.folder, first, merged)[-1] == merged
    found = bisect(SWEEP, first, merged, project=repository.project)
    assert [one.subject for one in found.first] == ["merge side"]


def test_a_folder_of_pythonpath_in_the_checkout_is_that_of_the_commit(
    repository: Repository, measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    setups: list[Setup] = []
    plain = measured.__call__

    def seen(sweep: Any, plan: Any, a: Setup, b: Setup, **more: Any) -> Any:
        setups.extend([a, b])
        return plain(sweep, plan, a, b, **more)

    monkeypatch.setattr(measure, "ab_planned", seen)
    factors(repository, "1.0", "1.2")
    monkeypatch.setenv("PYTHONPATH", f"{repository.folder}:/elsewhere:{repository.folder / 'src'}")
    found_in(repository)
    for setup in setups:
        assert [Path(path).name for path in setup.path] == ["src", setup.path[1].rpartition("/")[2]]
        assert len(setup.path) == 2 and not any(path.startswith(str(repository.folder)) for path in setup.path)
        assert dict(setup.variables) == {"PYTHONPATH": "/elsewhere"}


def test_the_verb_prints_the_answer(repository: Repository, measured: Measured, command: Command) -> None:
    factors(repository, "1.0", "1.2", "1.2")
    Path("sweep.yaml").write_text(SWEEP.source)
    options = ("sweep.yaml", "--checkout", str(repository.project.folder), "--case", CASES[1].id)
    said = command("bisect", repository.commits[0], repository.commits[-1], *options)
    assert said.code == 0 and said.out.startswith(
        f"found: commit {repository.commits[1][:10]} (t: factor 1.2) is 20.0 %"
    )
    assert said.err.count("comparing commit") == 2 and "+20.0 % (+18.8 % to +21.2 %)" in said.err
    found = json.loads(command("bisect", *repository.commits[::2], *options, "--json").out)
    assert (found["outcome"], found["first"][0]["id"]) == ("found", repository.commits[1])
    wrong = command("bisect", "main", "main", *options, "--threshold", "2")
    assert wrong.code == 2 and "--threshold 2: expected a ratio" in wrong.err
    assert "quotation" in command("bisect", "main", "main", *options, "--build", "make '").err


def test_texts_say_what_was_decided() -> None:
    plain = Step(base="a" * 40, new="b" * 40, threshold=0.025, case_id="c", ratio=0.9, low=0.88, high=0.92, pairs=4)
    assert step_text(plain).endswith("(-12.0 % to -8.0 %), 4 pairs; left out, it is not decided")
    refused = Step(base="a" * 40, new="b" * 40, threshold=0.025, refused="no\nmodule")
    assert step_text(refused) == f"commit {'b' * 10} with {'a' * 10}: left out, it cannot be measured: no module"


@pytest.mark.slow
def test_a_slower_layer_is_found_for_real(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Five commits; the layer takes twice as long since the third. It takes half a minute."""
    monkeypatch.setenv("CONVBENCH_LOCKS", str(tmp_path / "locks"))
    for number, factor in enumerate((1, 1, 2, 2, 2)):
        repository.commit(f"number {number}", **{"mine.py": LAYER.format(factor=factor) + f"# {number}\n"})
    found = found_in(repository, case_ids=[CASES[1].id], threshold=0.2, pairs=FEWEST_PAIRS)
    assert (found.outcome, found.first[0].subject) == (Outcome.FOUND, "number 2")
    assert 1.5 < found.last.ratio < 2.5
