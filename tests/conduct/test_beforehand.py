"""What makes a comparison with a base impossible is said before anything is measured, in the comparison's words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import synthetic
from fake_engine import FakeEngine, Script

from convbench import sweep as sweeps
from convbench.actions import measure
from convbench.analysis.comparison.comparability import refuse
from convbench.analysis.comparison.comparison import compare
from convbench.conduct import run as runner
from convbench.conduct.beforehand import refuse_base
from convbench.conduct.listening import Listener
from convbench.errors import NotComparableError, RequestError
from convbench.model.case import Case
from convbench.model.result import Run
from convbench.store import Store
from convbench.sweep.parse import parse as parse_sweep
from convbench.worker import host

SWEEP = parse_sweep("axes: {in_channels: 1, out_channels: [1, 2], kernel_size: 1, input_size: 4}\n", "made up")
PLAN = sweeps.cases(SWEEP)


def run_of(cases: tuple[Case, ...], **about: object) -> Run:
    results = tuple(synthetic.result(case, made=tuple(synthetic.blocks(1e-3, noise=0.0))) for case in cases)
    return replace(synthetic.empty_run(), results=results, **about)


def elsewhere(**about: object) -> Run:
    """A base of another environment."""
    made = run_of(PLAN.cases, id="base")
    return replace(made, environment=replace(made.environment, **about))


#: A base, and what the refusal says.
REFUSED = [
    (elsewhere(cpu="another processor"), "processor another processor -> "),
    (elsewhere(torch="1.0", hostname="far"), "torch 1.0 -> "),
    (elsewhere(allocator="system"), "allocator system -> "),
    (run_of((synthetic.layer(99),), id="base"), "have no case in common"),
]


@pytest.mark.parametrize(("base", "said"), REFUSED)
def test_the_words_are_those_of_the_comparison(base: Run, said: str) -> None:
    new = replace(synthetic.empty_run(), id="new")
    with pytest.raises(NotComparableError) as before:
        refuse_base(base, new, PLAN.cases, across_environments=False)
    measured = replace(run_of(PLAN.cases), id="new")
    with pytest.raises(NotComparableError) as after:
        refuse(base, measured, compare(base, measured).differences)
    assert (before.value.message, before.value.hint) == (after.value.message, after.value.hint)
    assert said in before.value.message


def test_what_can_be_compared_is_measured() -> None:
    new = replace(synthetic.empty_run(), id="new")
    refuse_base(run_of(PLAN.cases[:1], id="base"), new, PLAN.cases, across_environments=False)
    refuse_base(elsewhere(torch="1.0"), new, PLAN.cases, across_environments=True)
    refuse_base(elsewhere(accelerator="another"), new, PLAN.cases, across_environments=False)
    on_device = tuple(replace(case, device="cuda") for case in PLAN.cases)
    base = replace(run_of(on_device, id="base"), environment=elsewhere(accelerator="another").environment)
    with pytest.raises(NotComparableError, match="accelerator another -> "):
        refuse_base(base, new, on_device, across_environments=False)


def test_nothing_is_measured_or_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    engine = FakeEngine(Script())
    monkeypatch.setattr("convbench.engine.local.LocalEngine", lambda **rest: engine)
    here = host.facts() | {"cpu": synthetic.empty_run().environment.cpu}
    monkeypatch.setattr("convbench.worker.host.facts", lambda: here)
    with pytest.raises(NotComparableError, match="not comparable with a run here: processor another processor -> "):
        measure.run_planned(SWEEP, PLAN, db="my.db", base=REFUSED[0][0])
    (tmp_path / "file").touch()
    with pytest.raises(RequestError, match=r"cannot write file/my\.db"):
        measure.run_planned(SWEEP, PLAN, db="file/my.db")
    assert engine.workers == 0, "no worker was needed to know that"
    refused = elsewhere(torch="1.0")
    with pytest.raises(NotComparableError, match="are not comparable: torch"):
        measure.run_planned(SWEEP, PLAN, db="my.db", base=refused)
    with Store.open("my.db") as store:
        assert store.runs() == []
    with pytest.raises(NotComparableError, match="no case in common"):
        measure.run_planned(SWEEP, PLAN, db="my.db", base=REFUSED[-1][0], across_environments=True)
    measured = measure.run_planned(SWEEP, PLAN, db="my.db", base=refused, across_environments=True)
    assert len(measured.run.results) == 2


def test_a_resumed_run_is_checked_under_its_own_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def stop(progress: object) -> None:
        raise KeyboardInterrupt

    checked: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        listener = Listener(progressed=stop)
        runner.run(SWEEP, PLAN, engine=FakeEngine(Script()), db="my.db", listener=listener)
    again = runner.run(
        SWEEP,
        PLAN,
        engine=FakeEngine(Script()),
        db="my.db",
        listener=Listener(),
        check=lambda run: checked.append(run.id),
    )
    assert checked == [again]
