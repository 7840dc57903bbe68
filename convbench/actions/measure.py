"""Measures: a sweep, a sweep against a stored run, two environments side by side; and what a run would take.

Here alone is decided where workers run: whatever conducts a measurement is given what starts them.
"""

from __future__ import annotations

import socket
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from convbench import sweep as sweeps
from convbench.errors import RequestError, StoreError
from convbench.model.result import Git, Run, RunState

if TYPE_CHECKING:
    from convbench.analysis.comparison.judgment import RunComparison
    from convbench.conduct.doctor import Remark
    from convbench.conduct.run import Listener
    from convbench.engine.local import Setup
    from convbench.model.case import Case

from convbench.actions.compare import baseline
from convbench.actions.read import MeasuredRun, load


def run(
    config: str | Path,
    *,
    db: str | None = None,
    fresh: bool = False,
    listener: Listener | None = None,
    base: Run | None = None,
) -> MeasuredRun:
    """Measure the sweep in the file `config` and store it in the database `db` (a path or an SQLAlchemy URL).

    Resumes an unfinished run of the same sweep unless `fresh`; `base` is one that it is to be compared with. Raises
    SweepError for mistakes in the file, RequestError where nothing is left to measure, the database cannot be used, or
    the run to resume is `base`.
    """
    return run_planned(*planned(Path(config)), db=db, fresh=fresh, listener=listener, base=base)


def run_planned(
    sweep: sweeps.Sweep,
    plan: sweeps.Plan,
    *,
    db: str | None = None,
    fresh: bool = False,
    listener: Listener | None = None,
    base: Run | None = None,
) -> MeasuredRun:
    """Measure and store what `planned` read. Does and raises what `run` does, without a second look at the file."""
    from convbench.conduct import run as runner
    from convbench.engine.local import LocalEngine

    if not plan.cases:
        raise nothing_left(sweep.path, plan)
    run_id = runner.run(
        sweep,
        plan,
        engine=LocalEngine(secrets=sweep.secrets),
        db=db,
        listener=listener or runner.Listener(),
        fresh=fresh,
        base_id=None if base is None else base.id,
    )
    return measured(run_id, db=db)


def measured(run_id: str, *, db: str | None = None) -> MeasuredRun:
    """A run that this process measures or has measured: from this disk where it has yet to reach its server."""
    from convbench.store import waiting_file

    waiting = waiting_file(run_id)
    return load(run_id, db=str(waiting) if waiting.exists() else db)


def planned(path: Path) -> tuple[sweeps.Sweep, sweeps.Plan]:
    """The sweep in a file, its time shared out where it has a budget, and what it comes to."""
    from convbench.measure.forecast import within_budget

    sweep = sweeps.load(path)
    plan = sweeps.cases(sweep)
    if plan.cases and sweep.measure.budget is not None:
        sweep = replace(sweep, measure=within_budget(plan.cases, sweep.measure))
    return sweep, plan


def nothing_left(path: str, plan: sweeps.Plan) -> RequestError:
    """Why a sweep without cases cannot be run."""
    reasons = [f"{rejection.label}: {rejection.reason}" for rejection in plan.rejections[:3]]
    told = f": {len(plan.rejections)} of {plan.points} points would be refused by torch" if reasons else ""
    return RequestError(f"{path}: nothing is left to measure{told}", hint=reasons)


def workers_at_once(plan: sweeps.Plan) -> int:
    """How many worker processes a run of these cases would have alive at once, at most, here and now."""
    from convbench.engine.client import read_host
    from convbench.measure import schedule
    from convbench.worker import host

    here = read_host(host.facts())
    needed = {
        worker
        for settings in {case.worker: case for case in plan.cases}.values()
        for worker in schedule.workers_of(settings, pass_index=0, has_steady_allocator=here.has_steady_allocator)
    }
    return min(len(needed), schedule.workers_at_once(here.free_bytes))


#: The largest run a forecast is made from: loading one takes 50 us a case.
MOST_KNOWN_CASES = 5000


def forecast_s(plan: sweeps.Plan, sweep: sweeps.Sweep, *, db: str | None = None) -> float | None:
    """Seconds the run will take, going by the newest finished run of this host; None where the database holds none."""
    from convbench.measure import forecast
    from convbench.store import Store

    host = socket.gethostname()
    try:
        with Store.open(db) as store:
            for run in store.runs():
                if run.host == host and run.state is RunState.FINISHED and run.cases <= MOST_KNOWN_CASES:
                    return forecast.forecast_s(plan.cases, sweep.measure, store.load(run.id))
    except StoreError:
        pass  # no database yet, or none that can be read: the plan tells an upper limit instead
    return None


def against(
    sweep: sweeps.Sweep,
    base: Run,
    new: Run,
    *,
    across_environments: bool = False,
    listener: Listener | None = None,
) -> RunComparison:
    """Compare the run `new` of `sweep`, which was measured just now, with `base`, and confirm it.

    Suspects and as many controls are measured again. Raises as `compare` does.
    """
    from convbench.conduct import run as runner
    from convbench.conduct.confirm import confirmed
    from convbench.engine.local import LocalEngine

    if base.id == new.id:
        raise runner.itself(base.id)
    return confirmed(
        sweep,
        base,
        new,
        sweeps.thresholds(new),
        across_environments=across_environments,
        engine=LocalEngine(secrets=sweep.secrets),
        launcher=partial(LocalEngine, secrets=sweep.secrets),
        listener=listener or runner.Listener(),
    )


def run_against(
    config: str | Path,
    base: str,
    *,
    db: str | None = None,
    fresh: bool = False,
    across_environments: bool = False,
    listener: Listener | None = None,
) -> tuple[MeasuredRun, RunComparison]:
    """Measure and store the sweep in `config`, then compare it with the run `base`, named as for `load`.

    Raises as `run` and `compare` do.
    """
    before = baseline(base, db=db)
    sweep, plan = planned(Path(config))
    measured = run_planned(sweep, plan, db=db, fresh=fresh, listener=listener, base=before)
    found = against(sweep, before, measured.run, across_environments=across_environments, listener=listener)
    return measured, found


def ab(
    config: str | Path,
    a: Setup,
    b: Setup,
    *,
    threshold: float | None = None,
    epochs: int | None = None,
    listener: Listener | None = None,
) -> RunComparison:
    """Measure the sweep in the file `config` under two setups side by side, and tell what differs from `a` to `b`.

    `threshold` is what counts as a change, a ratio minus 1; `epochs` are those that confirm. Nothing is stored. Raises
    SweepError for mistakes in the file, RequestError where nothing is left to measure or a side cannot measure.
    """
    from convbench.analysis.comparison import side_by_side
    from convbench.conduct import run as runner
    from convbench.conduct.ab import Side
    from convbench.conduct.ab import ab as measured_side_by_side
    from convbench.engine.local import LocalEngine

    if threshold is not None and not 0 < threshold < 1:
        raise RequestError(f"threshold {threshold:g}: expected a ratio above 0 and under 1, 0.025 for 2.5 %")
    if epochs is not None and not side_by_side.FEWEST_EPOCHS <= epochs <= 1000:
        raise RequestError(f"epochs {epochs}: expected {side_by_side.FEWEST_EPOCHS} to 1000")
    sweep, plan = planned(Path(config))
    if not plan.cases:
        raise nothing_left(sweep.path, plan)
    listener = listener or runner.Listener()
    if a == b:
        listener.told("note: both sides are the same, so that nothing should differ")
    return measured_side_by_side(
        sweep,
        plan.cases,
        (
            Side(name="A", setup=a, engine=LocalEngine(a, secrets=sweep.secrets), git=_git(a)),
            Side(name="B", setup=b, engine=LocalEngine(b, secrets=sweep.secrets), git=_git(b)),
        ),
        listener=listener,
        threshold=side_by_side.THRESHOLD if threshold is None else threshold,
        epochs=side_by_side.CONFIRMATION if epochs is None else epochs,
        rejections=plan.rejections,
    )


def check() -> list[Remark]:
    """What disturbs a measurement on this machine, after listening to it for some seconds."""
    from convbench.conduct.doctor import check_machine
    from convbench.engine.local import LocalEngine

    return check_machine(LocalEngine())


def variables_of(case: Case) -> dict[str, str]:
    """The environment variables that a worker of the case is started with, beside those it inherits."""
    from convbench.engine.local import LocalEngine

    return LocalEngine().variables(case.worker)


def _git(setup: Setup) -> Git | None:
    """What is checked out where a side's modules come from."""
    from convbench.engine.git_state import checkout

    return checkout(Path(setup.path[0]) if setup.path else None)
