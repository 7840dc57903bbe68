"""A night: what it is compared with, and when its run becomes the baseline."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import synthetic
from commands import Command, store
from two_runs import moved_together

from convbench.actions import measure, nightly
from convbench.actions.read import MeasuredRun
from convbench.cli import ci_results
from convbench.engine import commands
from convbench.errors import NotComparableError
from convbench.model.result import Run, Status
from convbench.store import Store
from convbench.store.identity import checked_baseline_name

SWEEP = "axes: {in_channels: 3, out_channels: 4, kernel_size: 1, input_size: 8}\n"
DB = "reports/convbench.db"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    Path("speed.yaml").write_text(SWEEP, encoding="utf-8")


def two_runs() -> tuple[Run, Run]:
    """Two runs, in the second of which one case is a third slower."""
    compared = moved_together(1.0)
    return compared.base, compared.new


class Nights:
    """Stands for measuring: each night stores the next of some runs, and comparing says what it is asked to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *runs: Run) -> None:
        self.left = list(runs)
        self.bases: list[str | None] = []
        self.before: str | None = None  # the reason why comparing is refused before measuring
        self.after: str | None = None
        monkeypatch.setattr(measure, "run_planned", self._measure)
        monkeypatch.setattr(measure, "against", self._against)
        self._compared = measure.against

    def _measure(self, sweep: object, plan: object, *, base: Run | None = None, **named: Any) -> MeasuredRun:
        self.bases.append(None if base is None else base.id)
        if base is not None and self.before is not None:
            raise NotComparableError(self.before)
        return MeasuredRun(run=store(self.left.pop(0), Path(DB)))

    def _against(self, sweep: object, base: Run, new: Run, **named: Any) -> Any:
        if self.after is not None:
            raise NotComparableError(self.after)
        from convbench.actions.compare import compare

        return compare(base.id, new.id)

    def night(self, **named: Any) -> nightly.Night:
        found = nightly.night(Path("speed.yaml"), db=None, **named)
        if found.sets:
            nightly.set_baseline(found, db=None)
        return found


def baselines() -> dict[str, str]:
    with Store.open(DB) as opened:
        return {baseline.name: baseline.run_id for baseline in opened.baselines()}


def test_the_first_right_run_is_the_baseline_and_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = two_runs()
    third = replace(other, id="20261130-000000-cccc", started_at="2026-11-30T00:00:00+00:00")
    nights = Nights(monkeypatch, one, other, third)
    first = nights.night()
    assert (first.compared, first.sets, nights.bases) == (None, True, [None])
    assert baselines() == {first.baseline: one.id}
    for later in (other, third):
        found = nights.night()
        assert found.compared is not None and (found.run.id, found.sets) == (later.id, False)
        assert nights.bases[-1] == one.id
    assert baselines() == {first.baseline: one.id}


@pytest.mark.parametrize("status", [Status.FAILED, Status.IMPRECISE, Status.CRASHED])
def test_a_run_with_a_wrong_or_missing_case_is_no_first_baseline(
    monkeypatch: pytest.MonkeyPatch, status: Status
) -> None:
    one, other = two_runs()
    bad = replace(one, results=(replace(one.results[0], status=status), *one.results[1:]))
    nights = Nights(monkeypatch, bad, other)
    assert not nights.night().sets
    assert baselines() == {}
    assert nights.night().sets, "the next one that is right"


def test_an_accepted_run_is_the_baseline_whatever_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = two_runs()
    bad = replace(other, results=(replace(other.results[0], status=Status.FAILED), *other.results[1:]))
    nights = Nights(monkeypatch, one, bad)
    name = nights.night().baseline
    found = nights.night(accept=True)
    assert (found.compared, nights.bases[-1]) == (None, None)
    assert baselines() == {name: other.id}


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_run_that_cannot_be_compared_replaces_the_baseline(monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    one, other = two_runs()
    nights = Nights(monkeypatch, one, other)
    name = nights.night().baseline
    setattr(nights, when, "torch differs")
    found = nights.night()
    assert (found.compared, found.refused) == (None, "torch differs")
    assert nights.bases == [None, one.id, *([None] if when == "before" else [])]
    assert baselines() == {name: other.id}


def test_a_baseline_of_another_processor_is_not_this_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = two_runs()
    nights = Nights(monkeypatch, one, other)
    nights.night()
    monkeypatch.setattr(nightly, "name_here", lambda config: "main/speed/another")
    assert (nights.night().compared, len(baselines())) == (None, 2)


def test_a_baseline_may_have_the_name_it_gets() -> None:
    for config, name in (
        ("configs/quick.yaml", "main/quick/A-Processor-2.4GHz"),
        ("a b/größe.v2.yaml", "main/gr-e.v2/A-Processor-2.4GHz"),
        ("x" * 200 + ".yaml", "main/" + "x" * 95),
    ):
        assert nightly.baseline_name(Path(config), "A Processor @ 2.4GHz") == name
        assert checked_baseline_name(name) == name
    assert nightly.baseline_name(Path("quick.yaml"), "") == "main/quick/unknown"


def test_the_verb_leaves_what_a_ci_needs(monkeypatch: pytest.MonkeyPatch, command: Command, tmp_path: Path) -> None:
    one, other = two_runs()
    nights = Nights(monkeypatch, one, other, replace(other, id="20261130-000000-cccc"))
    summary = tmp_path / "shown.md"
    summary.touch()
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    first = command("ci", "nightly", "speed.yaml", "--in-place")
    assert first.code == 0, first.err
    assert first.out.startswith("reports/") and f"is run {one.id} from now on" in first.err
    assert {path.name for path in Path("convbench-out").iterdir()} == {"summary.md", "junit.xml"}
    second = command("ci", "nightly", "speed.yaml", "--in-place")
    assert second.code == 1 and "regressed" in second.err
    assert "regressed" in summary.read_text(encoding="utf-8")
    assert any(path.name.startswith("compare-") for path in Path("reports").iterdir())
    nights.after = "torch differs"
    third = command("ci", "nightly", "speed.yaml", "--in-place")
    assert third.code == 0, third.err
    said = "torch differs. This run is the new baseline."
    assert said in third.err and said in ci_results.SUMMARY.read_text(encoding="utf-8")
    assert set(baselines().values()) == {"20261130-000000-cccc"}


def test_noise_alone_fails_no_night(monkeypatch: pytest.MonkeyPatch, command: Command) -> None:
    one, other = two_runs()
    nights = Nights(monkeypatch, one, other)
    nights.night()
    said = command("ci", "nightly", "speed.yaml", "--in-place", "--fail-on", "noise")
    assert said.code == 0, "a regression is not among what counts"
    assert ci_results.FAIL_ON == "regression,failed,imprecise,crashed,timed_out,out_of_memory,error"


def test_a_dry_run_says_what_would_be_done_and_does_nothing(command: Command, tmp_path: Path) -> None:
    Path("requirements.txt").write_text("", encoding="utf-8")
    before = sorted(tmp_path.iterdir())
    said = command("ci", "nightly", "speed.yaml", "--dry-run", "--work", "/absent", "--install", "x==1", "--accept")
    assert said.code == 0, said.err
    assert said.out.startswith("baseline: main/speed/") and "none yet" in said.out
    lines = said.out.splitlines()
    assert "  /absent/environment/bin/python -m pip install --requirement requirements.txt" in lines
    assert "  /absent/environment/bin/python -m pip install --constraint /absent/locked.txt x==1" in lines
    last = "/absent/environment/bin/python -m convbench ci nightly speed.yaml --in-place --accept"
    assert f"  PYTHONPATH={tmp_path}/src:{tmp_path} {last}" in lines
    assert sorted(tmp_path.iterdir()) == before
    store(replace(synthetic.run(2), id="20261124-000000-bbbb"), Path(DB))
    name = lines[0].removeprefix("baseline: ").partition(",")[0]
    assert command("baseline", "set", name, "latest").code == 0
    said = command("ci", "nightly", "speed.yaml", "--dry-run", "--in-place", "--accept")
    assert said.out.startswith(f"baseline: {name}, run 20261124-000000-bbbb, which this run replaces\n")


@pytest.mark.parametrize(("value", "accepts"), [("true", True), ("false", False), ("", False)])
def test_a_service_accepts_by_a_variable(
    command: Command, monkeypatch: pytest.MonkeyPatch, value: str, accepts: bool
) -> None:
    Path("requirements.txt").touch()
    monkeypatch.setenv("CONVBENCH_ACCEPT", value)
    said = command("ci", "nightly", "speed.yaml", "--dry-run", "--install", "x")
    assert said.code == 0 and ("--in-place --accept" in said.out) == accepts


def test_a_mistake_in_the_sweep_is_reported_before_anything_is_built(command: Command) -> None:
    Path("bad.yaml").write_text("axes: {}\n", encoding="utf-8")
    for verb in ("nightly", "pull-request"):
        said = command("ci", verb, "bad.yaml")
        assert said.code == 2 and "bad.yaml:1: axes" in said.err


def test_a_password_of_the_database_stands_in_no_command(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("requirements.txt").write_text("", encoding="utf-8")
    seen: list[str] = []

    def run(self: commands.Command) -> int:
        seen.append(str(self))
        return 3 if "--in-place" in self.words else 0

    monkeypatch.setattr(commands.Command, "run", run)
    monkeypatch.setenv("CONVBENCH_DB", "")
    said = command("ci", "nightly", "speed.yaml", "--install", "x", "--db", "postgresql://joe:s3cret@127.0.0.1:1/x")
    assert said.code == 3, "that of the command which measures"
    assert os.environ["CONVBENCH_DB"].startswith("postgresql://joe:s3cret"), "which gets it so"
    assert seen[-1].endswith("--in-place") and not [each for each in seen if "s3cret" in each]
