"""A run against a base: who is measured again, where, and what that makes of the first comparison."""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import synthetic
from fake_engine import HOST, FakeEngine, Script
from numbered_cases import case
from repository import git
from timed_runs import STEADY, run, times

from convbench.actions import measure
from convbench.actions.read import MeasuredRun
from convbench.analysis.comparison import confirmation
from convbench.analysis.comparison.comparison import compare
from convbench.analysis.comparison.judgment import How, RunComparison, Verdict
from convbench.conduct import confirm as against
from convbench.conduct.listening import Listener
from convbench.engine.git_state import as_of, checkout
from convbench.engine.local import LocalEngine, Setup
from convbench.errors import NotComparableError, RequestError, RunNotFoundError, StoreError
from convbench.model.case import Case
from convbench.model.result import Environment, Git, Run, unpack_blocks
from convbench.model.threshold import Thresholds
from convbench.report.text.compare import verdict_text
from convbench.store import Store
from convbench.sweep import Sweep
from convbench.sweep.parse import parse as parse_sweep

LAYER = "axes: {in_channels: 1, out_channels: 1, kernel_size: 1, input_size: 4}\n"
SWEEP = parse_sweep(LAYER + "measure: {processes: 5, rounds: 2}\n", "made up")
FIVE = Thresholds(beyond_l2=0.05)


def environment(**about: object) -> Environment:
    """The machine and the software that the fake engine claims to have, on this host."""
    return replace(
        synthetic.environment(),
        hostname=socket.gethostname(),
        torch="2.13.0",
        python="3.11.7",
        onednn=None,
        libc=HOST["libc"],
        executable=sys.executable,
        variables=(),
        **about,
    )


def runs(factors: Sequence[float], cases: Sequence[Case] | None = None, **about: object) -> tuple[Run, Run]:
    """A base with steady floors and a new run whose cases have these times the floors."""
    cases = cases or [case(number) for number in range(1, len(factors) + 1)]
    base = run([STEADY] * len(factors), cases, id="base", environment=environment(), **about)
    new = run([times(factor) for factor in factors], cases, id="new", environment=environment())
    return base, new


class Engines:
    """Fake engines: the base's, which is a launcher's, and this process's."""

    def __init__(self, base: Script, here: Script) -> None:
        self.base, self.here = FakeEngine(base), FakeEngine(here)
        self.setups: list[Setup] = []

    def launch(self, setup: Setup) -> FakeEngine:
        self.setups.append(setup)
        return self.base

    def confirmed(
        self,
        base: Run,
        new: Run,
        *,
        across: bool = False,
        told: list[str] | None = None,
        thresholds: Thresholds = FIVE,
    ) -> RunComparison:
        lines: list[str] = [] if told is None else told
        return against.confirmed(
            SWEEP,
            base,
            new,
            thresholds,
            engine=self.here,
            launcher=self.launch,
            across_environments=across,
            listener=Listener(message=lines.append),
        )


@pytest.fixture
def engines() -> Engines:
    """Both sides take 1 ms for any layer, unless a test says otherwise."""
    return Engines(Script(), Script())


def verdicts(compared: RunComparison) -> list[Verdict]:
    return [judgment.verdict for judgment in compared.comparison.judgments]


def test_without_suspects_nothing_is_measured_again(engines: Engines) -> None:
    found = engines.confirmed(*runs([1.0, 1.02]))
    assert verdicts(found) == [Verdict.UNCHANGED] * 2
    assert found.comparison.how is How.STORED
    assert engines.base.workers == engines.here.workers == 0


def test_a_suspicion_that_does_not_repeat_is_dropped(engines: Engines) -> None:
    told: list[str] = []
    base, new = runs([1.2, 1.0, 1.0])
    found = engines.confirmed(base, new, told=told)
    assert told == ["1 case suspected, measured again beside 1 control"]
    assert verdicts(found) == [Verdict.UNCHANGED] * 3
    assert found.comparison.verdict is Verdict.UNCHANGED
    assert found.comparison.how is How.CONFIRMED
    again = [judgment.confirmed for judgment in found.comparison.judgments]
    assert again[0]
    assert sum(again) == 2
    assert set(engines.base.asked("block")) == set(engines.here.asked("block")) == {1, 1 + again.index(True, 1)}
    assert found.base.results[again.index(False)] == base.results[again.index(False)]
    assert len(unpack_blocks(found.new.results[0].blocks[0][1])) > 0
    assert found.new.results[0] != new.results[0], "the blocks that decided stand in the place of those that did not"


def test_a_suspicion_that_repeats_is_confirmed_with_the_figures_of_the_confirmation(engines: Engines) -> None:
    engines.base.script.iteration_s = {1: 1e-3}
    engines.here.script.iteration_s = {1: 1.1e-3}
    found = engines.confirmed(*runs([1.2, 1.0, 1.0]))
    first = found.comparison.judgments[0]
    assert first.verdict is Verdict.REGRESSED
    assert first.confirmed
    assert first.ratio == pytest.approx(1.1, rel=1e-3)
    assert found.comparison.verdict is Verdict.REGRESSED


def test_an_improvement_is_confirmed_alike(engines: Engines) -> None:
    engines.here.script.iteration_s = {1: 0.5e-3}
    found = engines.confirmed(*runs([0.5, 1.0]))
    assert verdicts(found) == [Verdict.IMPROVED, Verdict.UNCHANGED]


def test_an_flagged_control_discredits_all(engines: Engines) -> None:
    engines.here.script.iteration_s = dict.fromkeys(range(1, 4), 1.1e-3)
    found = engines.confirmed(*runs([1.2, 1.0, 1.0]))
    assert found.comparison.verdict is Verdict.INCONCLUSIVE
    assert found.comparison.discredited
    assert Verdict.REGRESSED not in verdicts(found)
    assert "1 control moved without being suspected" in found.comparison.notes[-1]


def test_what_noise_hid_is_suspected_where_it_moved_beyond_the_threshold() -> None:
    apart = [1e-3, 1.1e-3, 1.1e-3, 1.2e-3, 1.3e-3]
    base = run([apart, STEADY, STEADY], id="base")
    new = run([times(1.15, apart), apart, STEADY], id="new")
    found = against.stored.compare(base, new, FIVE)
    assert verdicts(RunComparison(comparison=found, base=base, new=new))[:2] == [Verdict.INCONCLUSIVE] * 2
    assert [judgment.looks_changed for judgment in found.judgments] == [False] * 3
    assert confirmation.suspects(found) == [found.judgments[0]]


def test_a_control_may_move_within_its_own_threshold(engines: Engines) -> None:
    engines.here.script.iteration_s = {1: 1.8e-3, 2: 1.08e-3}
    base, new = runs([1.8, 1.08])
    loose = Thresholds(threshold=0.2, beyond_l2=0.2)
    found = engines.confirmed(base, new, thresholds=loose)
    assert verdicts(found) == [Verdict.REGRESSED, Verdict.UNCHANGED]
    assert not found.comparison.discredited
    assert found.comparison.notes == ("suspected cases measured again side by side with BASE",)


def test_a_suspect_that_moved_by_little_is_no_change_where_the_sweep_asks_for_a_large_one(engines: Engines) -> None:
    engines.here.script.iteration_s = {1: 1.03e-3}
    base, new = runs([1.3, 1.0])
    loose = Thresholds(threshold=0.2, beyond_l2=0.2)
    found = engines.confirmed(base, new, thresholds=loose)
    assert verdicts(found) == [Verdict.UNCHANGED] * 2
    assert verdicts(engines.confirmed(base, new))[0] is Verdict.REGRESSED, "2.5 % counts where 5 % makes a suspect"


@pytest.mark.parametrize(
    ("about", "why"),
    [
        ({"hostname": "elsewhere"}, "it was measured on elsewhere"),
        ({"executable": None}, "its interpreter was not recorded"),
        ({"executable": "/gone/python"}, "its interpreter /gone/python does not exist any more"),
        ({"python": "3.10.1"}, "side BASE: python is 3.11.7 now, was 3.10.1"),
    ],
)
def test_a_base_that_is_gone_is_not_measured_again_and_that_is_said(
    engines: Engines, about: dict[str, object], why: str
) -> None:
    engines.here.script.iteration_s = {1: 1.3e-3}
    base, new = runs([1.3, 1.0, 1.0, 1.0])
    found = engines.confirmed(replace(base, environment=replace(base.environment, **about)), new)
    assert found.comparison.notes == (f"base not measured again: {why}",)
    assert found.comparison.judgments[0].verdict is Verdict.REGRESSED
    assert found.comparison.judgments[0].confirmed
    assert engines.base.asked("block") == []


def test_without_its_base_a_suspicion_may_be_dropped_and_a_control_may_discredit(engines: Engines) -> None:
    base, new = runs([1.3, 1.0])
    away = replace(base, environment=replace(base.environment, hostname="elsewhere"))
    assert verdicts(engines.confirmed(away, new)) == [Verdict.UNCHANGED] * 2
    engines.here.script.iteration_s = {2: 1.4e-3}
    found = engines.confirmed(away, new)
    assert found.comparison.discredited
    assert found.comparison.verdict is Verdict.INCONCLUSIVE


def test_other_environments_are_refused_before_anything_is_measured_again(engines: Engines) -> None:
    base, new = runs([1.3, 1.0])
    other = replace(base, environment=replace(base.environment, torch="2.12.0"))
    with pytest.raises(NotComparableError, match=r"torch 2\.12\.0 -> 2\.13\.0"):
        engines.confirmed(other, new)
    assert engines.here.workers == 0
    assert engines.confirmed(other, new, across=True).comparison.how is How.CONFIRMED


@pytest.mark.parametrize(
    ("known", "why"),
    [
        (None, "its modules were not under git"),
        (Git(commit="c" * 40, dirty=True), "its modules had changes that were not committed"),
        (Git(commit="c" * 40), "git does not have its commit cccccccccccc"),
    ],
)
def test_modules_of_a_commit_that_is_gone(engines: Engines, known: Git | None, why: str) -> None:
    own = [case(1, module="layers:Conv"), case(2, module="layers:Conv")]
    found = engines.confirmed(*runs([1.3, 1.0], own, git=known))
    assert found.comparison.notes == (f"base not measured again: {why}",)


def test_modules_are_taken_from_the_commit_of_the_base(
    engines: Engines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "layers.py").write_text("old\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--message", "first")
    monkeypatch.chdir(tmp_path / "sub")
    first = checkout()
    (tmp_path / "sub" / "layers.py").write_text("new\n")
    seen: list[str] = []
    start = FakeEngine.start

    def noted(self: FakeEngine, settings: object) -> object:
        seen.extend((Path(setup.path[0]) / "layers.py").read_text() for setup in engines.setups if setup.path)
        return start(self, settings)

    monkeypatch.setattr(FakeEngine, "start", noted)
    own = [case(1, module="layers:Conv"), case(2, module="layers:Conv")]
    found = engines.confirmed(*runs([1.3, 1.0], own, git=first))
    assert first is not None
    [note] = found.comparison.notes
    assert note == f"suspected cases measured again side by side with BASE, its commit {first.commit[:10]} checked out"
    assert set(seen) == {"old\n"}
    [path] = [setup.path for setup in engines.setups if setup.path]
    assert not Path(path[0]).exists(), "the files of the commit are gone afterwards"


def test_the_module_path_of_a_commit_has_what_pythonpath_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init")
    for name in ("src", "tools"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.py").touch()
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--message", "first")
    (tmp_path / "later").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"src:/elsewhere::{tmp_path / 'later'}")
    commit = git(tmp_path, "rev-parse", "HEAD")
    with as_of(commit) as path:
        assert path is not None
        assert [Path(each).name for each in path[1:]] == ["src"]
        assert sorted(each.name for each in Path(path[0]).iterdir()) == ["src", "tools"]
    monkeypatch.chdir(tmp_path / "later")
    with as_of(commit) as path:
        assert path is None, "the current folder did not exist then"
    with as_of("no such commit") as path:
        assert path is None


def test_the_variables_of_the_base_are_set_and_those_it_had_not_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    base, _ = runs([1.0])
    base = replace(base, environment=replace(base.environment, variables=(("ONEDNN_MAX_CPU_ISA", "ALL"),)))
    with against.base_side(base, [case(1)], LocalEngine) as (side, _):
        assert side is not None
        assert side.setup.environment["ONEDNN_MAX_CPU_ISA"] == "ALL"
        assert "OMP_WAIT_POLICY" not in side.setup.environment
        assert isinstance(side.engine, LocalEngine)


def test_a_base_that_is_not_there_is_reported_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sweep.yaml").write_text(LAYER)
    with pytest.raises(StoreError, match="there is no database"):
        measure.run_against("sweep.yaml", "main")
    with Store.create("reports/convbench.db"), pytest.raises(RunNotFoundError, match="no run is stored"):
        measure.run_against("sweep.yaml", "main")
    base, new = runs([1.0])
    with pytest.raises(RequestError, match="cannot be compared with itself"):
        measure.against(SWEEP, base, replace(new, id=base.id))


def test_a_sweep_edited_while_it_is_measured_is_confirmed_as_it_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(f"seed: 7\n{LAYER}")
    base, new = runs([1.0])

    def measured(sweep: Sweep, plan: object, **rest: object) -> MeasuredRun:
        path.write_text(f"seed: 8\n{LAYER}")
        return MeasuredRun(run=replace(new, id="new"))

    confirmed_by: list[Sweep] = []

    def confirmed(sweep: Sweep, *rest: object, **more: object) -> RunComparison:
        confirmed_by.append(sweep)
        return RunComparison(comparison=compare(base, new, FIVE), base=base, new=new)

    monkeypatch.setattr(measure, "baseline", lambda ref, *, db: base)
    monkeypatch.setattr(measure, "run_planned", measured)
    monkeypatch.setattr(against, "confirmed", confirmed)
    measure.run_against(path, "main")
    assert [sweep.seed for sweep in confirmed_by] == [7]


def test_what_all_moved_by_is_not_said_of_what_was_measured_again() -> None:
    base, new = runs([1.14, *[1.03] * 7])
    first = compare(base, new, FIVE)
    assert first.shift == pytest.approx(1.03, rel=1e-4)
    assert "moved together" in verdict_text(first)
    later = compare(replace(base, results=base.results[:1]), replace(new, results=new.results[:1]), FIVE)
    merged = confirmation.merged(first, later)
    assert (merged.shift, merged.verdict) == (1.0, Verdict.REGRESSED)
    assert "moved together" not in verdict_text(merged)
