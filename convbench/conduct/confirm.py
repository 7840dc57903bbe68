"""Confirms the suspected changes of a comparison: measures the suspected cases and as many controls again.

Both runs are measured side by side where the base's environment still exists on this machine. Otherwise only the
candidate is measured again and compared with the stored base, and a note says so. Only the new measurement decides. A
control that changes makes all other changes inconclusive.
"""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from convbench import units
from convbench.analysis.comparison import comparison as stored
from convbench.analysis.comparison import confirmation
from convbench.analysis.comparison.comparability import refuse
from convbench.analysis.comparison.judgment import RunComparison, Verdict
from convbench.conduct.ab import Launcher, Side, confirm
from convbench.conduct.described import Capacity, plainest
from convbench.conduct.listening import Listener
from convbench.conduct.processes import Hooks, Processes
from convbench.engine.git_state import as_of
from convbench.engine.local import Setup
from convbench.engine.pool import Engine, WorkerPool
from convbench.errors import RequestError
from convbench.model.case import Case
from convbench.model.operators import OPERATORS
from convbench.model.result import Result, Run, Visit, merge
from convbench.model.threshold import Thresholds
from convbench.model.variables import is_whole, recorded
from convbench.sweep import Sweep


def confirmed(
    sweep: Sweep,
    base: Run,
    new: Run,
    thresholds: Thresholds,
    *,
    engine: Engine,
    launcher: Launcher,
    across_environments: bool,
    listener: Listener,
) -> RunComparison:
    """Compare `new`, which workers of `engine` have just measured, with `base`, and confirm suspected changes.

    `launcher` starts workers under the setup of `base`, if it still exists. The confirmation's results replace those of
    the suspected cases. Raises NotComparableError for runs whose environments differ, unless `across_environments`.
    """
    found = stored.compare(base, new, thresholds)
    if not across_environments:
        refuse(base, new, found.differences)
    compared = RunComparison(comparison=found, base=base, new=new)
    suspected = confirmation.suspects(found)
    if not suspected:
        return compared
    controls = [judgment for judgment in found.judgments if judgment.verdict is Verdict.UNCHANGED]
    drawn = random.Random(sweep.seed).sample(range(len(controls)), min(len(suspected), len(controls)))
    controls = [controls[place] for place in sorted(drawn)]
    cases = [judgment.case for judgment in (*suspected, *controls)]
    control = range(len(suspected), len(cases))
    beside = units.plural(len(controls), "control")
    listener.message(f"{units.plural(len(suspected), 'case')} suspected, measured again beside {beside}")
    with base_side(base, cases, launcher) as (side, obstacle):
        if side is not None:
            here = Side(name="NEW", setup=Setup(), engine=engine, git=new.git)
            try:
                limits = [
                    *(confirmation.suspect_threshold(judgment) for judgment in suspected),
                    *(confirmation.control_threshold(judgment) for judgment in controls),
                ]
                again = confirm(sweep, cases, (side, here), control=control, threshold=limits, listener=listener)
                return _merged(compared, again, notes=(_beside(side),))
            except RequestError as error:
                obstacle = error.message
    again = _once_more(sweep, compared, cases, thresholds, engine=engine, control=control, listener=listener)
    return _merged(compared, again, notes=(f"base not measured again: {obstacle}",))


@contextmanager
def base_side(base: Run, cases: Sequence[Case], launcher: Launcher) -> Iterator[tuple[Side | None, str]]:
    """The environment of a stored run as a side, or None and the reason why it cannot be used again."""
    environment = base.environment
    executable = environment.executable
    if environment.hostname != socket.gethostname():
        yield None, f"it was measured on {environment.hostname}"
    elif executable is None:
        yield None, "its interpreter was not recorded"
    elif not Path(executable).exists():
        yield None, f"its interpreter {executable} does not exist any more"
    elif cut := [name for name, value in environment.variables if not is_whole(value)]:
        yield None, f"the value of {', '.join(cut)} was not stored completely"
    elif all(case.module in OPERATORS for case in cases):
        with _side(base, executable, (), launcher) as side:
            yield side, ""
    elif base.git is None:
        yield None, "its modules were not under git"
    elif base.git.dirty:
        yield None, "its modules had changes that were not committed"
    else:
        with as_of(base.git.commit) as path:
            if path is None:
                yield None, f"git does not have its commit {base.git.commit[:12]}"
            else:
                with _side(base, executable, path, launcher) as side:
                    yield side, ""


def _beside(side: Side) -> str:
    """The note on how the base was measured again."""
    commit = f", its commit {side.git.commit[:10]} checked out" if side.git and side.setup.path else ""
    return f"suspected cases measured again side by side with BASE{commit}"


@contextmanager
def _side(base: Run, executable: str, path: tuple[str, ...], launcher: Launcher) -> Iterator[Side]:
    """The environment of a stored run as a side, with an engine that is closed afterwards."""
    own = dict(base.environment.variables)
    ours = dict(recorded(os.environ.items()))
    setup = Setup(python=executable, path=path, variables=base.environment.variables, unset=tuple(set(ours) - set(own)))
    with closing(launcher(setup)) as engine:
        yield Side(name="BASE", setup=setup, engine=engine, git=base.git, recorded=base.environment)


def _once_more(
    sweep: Sweep,
    compared: RunComparison,
    cases: Sequence[Case],
    thresholds: Thresholds,
    *,
    engine: Engine,
    control: Collection[int],
    listener: Listener,
) -> RunComparison:
    """Measure the new run's environment again and compare it with the same base."""
    visits: dict[str, list[Visit]] = {case.id: [] for case in cases}
    zero = time.monotonic()

    def stored_visits(some: Sequence[Visit]) -> None:
        for visit in some:
            if visit.complete:
                visits[visit.case_id].append(visit)

    hooks = Hooks(
        stored=stored_visits,
        progressed=lambda progress: listener.progressed(replace(progress, stage="confirmation, process")),
        process_noted=lambda facts: None,
        process_finished=lambda index: None,
    )
    pool = WorkerPool(engine, timeout_s=sweep.measure.timeout)
    # Precision 0 prevents cases from settling: the new run must have as many processes as the base.
    measure = replace(sweep.measure, precision=0.0, samples=False)
    try:
        capacity = Capacity.of(pool.description(plainest(cases)))
        Processes(
            cases,
            measure,
            seed=sweep.seed,
            pool=pool,
            memory_limit=capacity.memory_limit,
            most_workers=capacity.most_workers,
            cache_bytes=capacity.cache_bytes,
            has_steady_allocator=capacity.has_steady_allocator,
            hooks=hooks,
            clock=lambda: time.monotonic() - zero,
        ).run()
    finally:
        pool.close()
    before = {result.case: result for result in compared.base.results}
    results = [merge(case, visits[case.id]) for case in cases]
    base = replace(compared.base, results=tuple(before[case] for case in cases), unmeasured=())
    new = replace(compared.new, results=tuple(filter(None, results)), unmeasured=())
    again = stored.compare(base, new, thresholds, controls={cases[place] for place in control})
    moved = [again.judgments[place] for place in control if again.judgments[place].verdict in confirmation.FLAGGED]
    if moved:
        again = confirmation.discredited(again, moved)
    return RunComparison(comparison=again, base=base, new=new)


def _merged(compared: RunComparison, again: RunComparison, *, notes: Sequence[str] = ()) -> RunComparison:
    """The comparison and both runs, with the confirmation's results for its cases."""
    return RunComparison(
        comparison=confirmation.merged(compared.comparison, again.comparison, notes=notes),
        base=_with(compared.base, again.base.results),
        new=_with(compared.new, again.new.results),
    )


def _with(run: Run, results: Sequence[Result]) -> Run:
    """The run with `results` in place of its own for the same cases."""
    later = {result.case: result for result in results}
    return replace(run, results=tuple(later.get(result.case, result) for result in run.results))
