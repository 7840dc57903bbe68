"""Measures a sweep, a sweep against a stored run, or two environments side by side; plans a run.

Only this module decides where workers run: conduct/ receives the engine that starts them.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import AbstractContextManager, closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from convbench import sweep as sweeps
from convbench.errors import RequestError, RunNotFoundError, StoreError
from convbench.model.result import Git, Run, RunState

if TYPE_CHECKING:
    from convbench.analysis.comparison.judgment import RunComparison
    from convbench.conduct.doctor import Remark
    from convbench.conduct.listening import Listener
    from convbench.engine.local import LocalEngine, Setup
    from convbench.model.case import Case
    from convbench.store import OpenedRecord

from convbench.actions.compare import baseline
from convbench.actions.read import MeasuredRun, load


def run(
    config: str | Path,
    *,
    db: str | None = None,
    fresh: bool = False,
    listener: Listener | None = None,
    base: Run | None = None,
    across_environments: bool = False,
) -> MeasuredRun:
    """Measure the sweep in the file `config` and store it in the database `db` (a path or an SQLAlchemy URL).

    Resumes an unfinished run of the same sweep unless `fresh`; the caller compares it with `base`. Raises SweepError
    for mistakes in the file. Raises RequestError where no case is left, the database fails, or the run to resume is
    `base`. Raises NotComparableError before it measures where the comparison with `base` would certainly raise it.
    """
    return run_planned(
        *planned(Path(config)),
        db=db,
        fresh=fresh,
        listener=listener,
        base=base,
        across_environments=across_environments,
    )


def run_planned(
    sweep: sweeps.Sweep,
    plan: sweeps.Plan,
    *,
    db: str | None = None,
    fresh: bool = False,
    listener: Listener | None = None,
    base: Run | None = None,
    across_environments: bool = False,
    opened_record: OpenedRecord | None = None,
) -> MeasuredRun:
    """Measure and store a sweep that `planned` has read. Otherwise as `run`; the file is not read again.

    `opened_record` opens the database in place of `store.record`.
    """
    from convbench.conduct.described import plainest
    from convbench.conduct.listening import Listener
    from convbench.engine.local import LocalEngine

    if not plan.cases:
        raise nothing_left(sweep.path, plan)
    listener = listener or Listener()
    refuse = partial(_refuse_early, db, None if across_environments else base)

    def waiting(line: str) -> None:
        refuse()  # before the user has waited for it
        listener.waiting(line)

    with (
        _processor(sweep, plan.cases, replace(listener, waiting=waiting)),
        closing(LocalEngine(secrets=sweep.secrets)) as engine,
    ):
        engine.warm_up(plainest(plan.cases))  # it imports torch while this process imports the database's modules
        listener.starting()
        refuse()
        return _run(sweep, plan, engine, db, fresh, listener, base, across_environments, opened_record)


def _refuse_early(db: str | None, base: Run | None) -> None:
    """Raise the errors that need no worker: a database that cannot be made, a base of another processor."""
    from convbench.store.files import check_writable
    from convbench.store.place import DEFAULT, Place

    path = Place.of(db or DEFAULT).path
    if path is not None and not path.exists():
        check_writable(path)
    if base is not None:
        from convbench.conduct.beforehand import refuse_processor
        from convbench.engine.client import read_host
        from convbench.worker import host

        refuse_processor(base, read_host(host.facts()).cpu)


def _processor(sweep: sweeps.Sweep, cases: Iterable[Case], listener: Listener) -> AbstractContextManager[None]:
    """Hold this host's processor where cases run on it: while it is measured, no second run starts its workers here."""
    from convbench.engine.device_locks import PROCESSOR, held

    devices = [PROCESSOR] if any(case.device == PROCESSOR for case in cases) else []
    return held(devices, what=sweep.name or sweep.path, waiting=listener.waiting, message=listener.message)


def _run(
    sweep: sweeps.Sweep,
    plan: sweeps.Plan,
    engine: LocalEngine,
    db: str | None,
    fresh: bool,
    listener: Listener,
    base: Run | None,
    across_environments: bool,
    opened_record: OpenedRecord | None,
) -> MeasuredRun:
    from convbench.conduct import run as runner
    from convbench.conduct.beforehand import refuse_base
    from convbench.store import record

    def check(new: Run) -> None:
        if base is not None and new.id == base.id:
            raise runner.itself(base.id)
        if base is not None:
            refuse_base(base, new, plan.cases, across_environments=across_environments)

    _send_notes(sweep, plan, listener)
    run_id = runner.run(
        sweep,
        plan,
        engine=engine,
        db=db,
        listener=listener,
        fresh=fresh,
        check=check,
        opened_record=opened_record or record,
    )
    return measured(run_id, db=db)


def measured(run_id: str, *, db: str | None = None) -> MeasuredRun:
    """A run of this process, read from its waiting file on this disk while the database's server lacks it."""
    from convbench.store import waiting_file

    waiting = waiting_file(run_id)
    return load(run_id, db=str(waiting) if waiting.exists() else db)


def finished(run_id: str | None, *, db: str | None = None) -> MeasuredRun | None:
    """The run with this id where it is stored and finished, else None."""
    try:
        found = None if run_id is None else measured(run_id, db=db)
    except RunNotFoundError:
        return None
    return found if found is not None and found.run.state is RunState.FINISHED else None


def planned(path: Path) -> tuple[sweeps.Sweep, sweeps.Plan]:
    """The sweep in a file and its plan. Where the sweep has a budget, `max_time` is lowered to keep it."""
    return with_plan(sweeps.load(path))


def with_plan(sweep: sweeps.Sweep) -> tuple[sweeps.Sweep, sweeps.Plan]:
    """The sweep and its plan, as `planned`."""
    from convbench.measure.forecast import within_budget

    plan = sweeps.cases(sweep)
    if plan.cases and sweep.measure.budget is not None:
        sweep = replace(sweep, measure=within_budget(plan.cases, sweep.measure))
    return sweep, plan


def _send_notes(sweep: sweeps.Sweep, plan: sweeps.Plan, listener: Listener) -> None:
    for note in sweeps.notes(sweep, plan):
        listener.message(f"note: {note}")


def threads_notes(plan: sweeps.Plan) -> list[str]:
    """What a run here would say of threads that are left to torch, where that is known without torch."""
    from convbench.conduct.doctor import threads_note
    from convbench.worker import host

    threads = host.default_threads()
    note = None if threads is None else threads_note(plan.cases, threads, host.cores())
    return [note] if note else []


def nothing_left(path: str, plan: sweeps.Plan) -> RequestError:
    """The error for a sweep without cases."""
    reasons = [f"{rejection.label}: {rejection.reason}" for rejection in plan.rejections[:3]]
    refused = f": torch would refuse {len(plan.rejections)} of {plan.points} points" if reasons else ""
    return RequestError(f"{path}: nothing is left to measure{refused}", hint=reasons)


def workers_at_once(plan: sweeps.Plan) -> int:
    """The maximum number of worker processes that a run of these cases would keep alive on this machine."""
    from convbench.engine.client import read_host
    from convbench.measure import schedule
    from convbench.worker import host

    here = read_host(host.facts())
    needed = {
        worker
        for settings in {case.worker: case for case in plan.cases}.values()
        for worker in schedule.workers_of(settings, process_index=0, has_steady_allocator=here.has_steady_allocator)
    }
    return min(len(needed), schedule.workers_at_once(here.free_bytes))


#: Maximum cases of a stored run that a forecast uses: loading takes 50 us per case.
MOST_KNOWN_CASES = 5000


def forecast_s(plan: sweeps.Plan, sweep: sweeps.Sweep, *, db: str | None = None) -> float | None:
    """Forecast of the run's duration in seconds, from the newest finished run of this host; None without such a run."""
    from convbench.measure import forecast
    from convbench.store import Store

    host = socket.gethostname()
    try:
        with Store.open(db) as store:
            for run in store.runs():
                if run.host == host and run.state is RunState.FINISHED and run.cases <= MOST_KNOWN_CASES:
                    return forecast.forecast_s(plan.cases, sweep.measure, store.load(run.id))
    except StoreError:
        pass  # no database yet, or an unreadable one: the plan assumes a speed instead
    return None


def against(
    sweep: sweeps.Sweep,
    base: Run,
    new: Run,
    *,
    across_environments: bool = False,
    listener: Listener | None = None,
) -> RunComparison:
    """Compare the run `new` of `sweep`, which was just measured, with `base`, and confirm suspected changes.

    Measures suspected cases and as many controls again. Raises the errors of `compare`.
    """
    from convbench.analysis.comparison.networks import with_networks
    from convbench.conduct import run as runner
    from convbench.conduct.confirm import confirmed
    from convbench.conduct.listening import Listener
    from convbench.engine.local import LocalEngine

    if base.id == new.id:
        raise runner.itself(base.id)
    listener = listener or Listener()
    measured_again = [result.case for result in new.results]
    with _processor(sweep, measured_again, listener), closing(LocalEngine(secrets=sweep.secrets)) as engine:
        found = confirmed(
            sweep,
            base,
            new,
            sweeps.thresholds(new),
            across_environments=across_environments,
            engine=engine,
            launcher=partial(LocalEngine, secrets=sweep.secrets),
            listener=listener,
        )
    return replace(found, comparison=with_networks(found.comparison, found.base, found.new))


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

    Raises the errors of `run` and `compare`.
    """
    before = baseline(base, db=db)
    sweep, plan = planned(Path(config))
    measured = run_planned(
        sweep, plan, db=db, fresh=fresh, listener=listener, base=before, across_environments=across_environments
    )
    found = against(sweep, before, measured.run, across_environments=across_environments, listener=listener)
    return measured, found


def check_pairs(pairs: int | None) -> None:
    """RequestError for a number of confirming pairs that `ab` cannot measure."""
    from convbench.analysis.comparison import side_by_side

    if pairs is not None and not side_by_side.FEWEST_PAIRS <= pairs <= 1000:
        raise RequestError(f"pairs {pairs}: expected {side_by_side.FEWEST_PAIRS} to 1000")


def ab(
    config: str | Path,
    a: Setup,
    b: Setup,
    *,
    threshold: float | None = None,
    pairs: int | None = None,
    listener: Listener | None = None,
) -> RunComparison:
    """Measure the sweep in the file `config` under two setups side by side, and compare `b` with the base `a`.

    `threshold` is the smallest change to report, a ratio minus 1; `pairs` is the number of confirming pairs. Nothing is
    stored. Raises SweepError for mistakes in the file, RequestError where no case is left or a side cannot measure.
    """
    from convbench.conduct.listening import Listener

    if threshold is not None and not 0 < threshold < 1:
        raise RequestError(f"threshold {threshold:g}: expected a ratio above 0 and under 1, for example 0.025 (2.5 %)")
    check_pairs(pairs)
    sweep, plan = planned(Path(config))
    if not plan.cases:
        raise nothing_left(sweep.path, plan)
    listener = listener or Listener()
    _send_notes(sweep, plan, listener)
    if a == b:
        listener.message("note: sides A and B have the same setup, so no difference is expected")
    return ab_planned(sweep, plan, a, b, threshold=threshold, pairs=pairs, listener=listener)


def ab_planned(
    sweep: sweeps.Sweep,
    plan: sweeps.Plan,
    a: Setup,
    b: Setup,
    *,
    threshold: float | None,
    pairs: int | None,
    listener: Listener,
) -> RunComparison:
    """Measure the cases of a plan under two setups side by side. Otherwise as `ab`, which checks what is given."""
    from convbench.analysis.comparison import side_by_side
    from convbench.conduct.ab import Side
    from convbench.conduct.ab import ab as measured_side_by_side
    from convbench.engine.local import LocalEngine

    with (
        _processor(sweep, plan.cases, listener),
        closing(LocalEngine(a, secrets=sweep.secrets)) as first,
        closing(LocalEngine(b, secrets=sweep.secrets)) as last,
    ):
        return measured_side_by_side(
            sweep,
            plan.cases,
            (
                Side(name="A", setup=a, engine=first, git=_git(a)),
                Side(name="B", setup=b, engine=last, git=_git(b)),
            ),
            listener=listener,
            threshold=side_by_side.THRESHOLD if threshold is None else threshold,
            pairs=side_by_side.CONFIRMATION if pairs is None else pairs,
            rejections=plan.rejections,
        )


def check() -> list[Remark]:
    """Check this machine for a few seconds and return remarks on what disturbs a measurement."""
    from convbench.conduct.doctor import check_machine
    from convbench.engine.local import LocalEngine

    with closing(LocalEngine()) as engine:
        return check_machine(engine)


def variables_of(case: Case) -> dict[str, str]:
    """The environment variables that convbench sets for a worker of the case, besides the inherited ones."""
    from convbench.engine.local import LocalEngine

    return LocalEngine().variables(case.worker)


def _git(setup: Setup) -> Git | None:
    """The git state of the folder from which a side imports modules."""
    from convbench.engine.git_state import checkout

    return checkout(Path(setup.path[0]) if setup.path else None)
