"""The Python API, and what the verbs of the command line do: measure a sweep, load a stored run, write reports."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from convbench import sweep as sweeps
from convbench.errors import NotComparableError, RequestError, RunNotFoundError, StoreError, SweepError
from convbench.model.result import Git, Run, RunState
from convbench.store.files import read_text, write_bytes

if TYPE_CHECKING:
    import pandas

    from convbench.analysis.comparison.judgment import Compared
    from convbench.analysis.history.history import Series
    from convbench.conduct.run import Listener
    from convbench.engine.local import Setup
    from convbench.model.threshold import Thresholds

#: Where reports are written, below the current directory.
REPORTS = Path("reports")


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRun:
    """A stored run; `run` holds its environment, results and blocks."""

    run: Run

    @property
    def id(self) -> str:
        """The run's id."""
        return self.run.id

    def frame(self) -> pandas.DataFrame:
        """One row per case, the columns of the CSV export first; times in seconds."""
        from convbench.analysis.table.frame import frame

        return frame(self.run)

    def write_report(self, folder: Path = REPORTS) -> Path:
        """Write the report and return its path."""
        return write_report(self.run, folder)


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
    from convbench.conduct import run as runner
    from convbench.engine.local import LocalEngine

    sweep, plan = planned(Path(config))
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


def workers_at_once(plan: sweeps.Plan) -> int:
    """How many worker processes a run of these cases has alive at once, at most, with the memory that is free now."""
    from convbench.engine import machine
    from convbench.engine.local import LocalEngine
    from convbench.measure import schedule

    steady = LocalEngine().has_steady_allocator
    needed = {
        worker
        for settings in {case.worker: case for case in plan.cases}.values()
        for worker in schedule.workers_of(settings, pass_index=0, has_steady_allocator=steady)
    }
    return min(len(needed), schedule.workers_at_once(machine.memory_available()))


#: The newest run started.
LATEST = "latest"


def load(ref: str = LATEST, *, db: str | None = None) -> MeasuredRun:
    """A stored run by `latest`, its id or a unique prefix of it, a baseline's name, or the path of a JSON export."""
    return MeasuredRun(run=_run(ref, db=db))


def _run(ref: str, *, db: str | None, checks: bool = True) -> Run:
    """The run that `ref` means, as `load` does; from a database without what its checks found where nobody asks."""
    if is_export(ref):
        from convbench.report.export import read_json

        try:
            return read_json(read_text(Path(ref)))
        except RequestError as error:
            message = error.message if ref in error.message else f"{ref}: {error.message}"
            raise RequestError(message, hint=error.hint) from None
    from convbench.store import Store

    with Store.open(db) as store:
        return store.load(ref, checks=checks)


def compare(base: str, new: str = LATEST, *, db: str | None = None, across_environments: bool = False) -> Compared:
    """What changed from the run `base` to the run `new`, each named as for `load`; with both runs, without checks.

    What counts as a change is said by the new run's sweep. Raises NotComparableError where there is no such baseline,
    where the runs have no case in common, or where they were measured on environments that differ, unless
    `across_environments`.
    """
    from convbench.analysis.comparison import comparison
    from convbench.analysis.comparison.comparability import refuse
    from convbench.analysis.comparison.judgment import Compared

    before, after = baseline(base, db=db), _run(new, db=db, checks=False)
    found = comparison.compare(before, after, thresholds(after))
    if not across_environments:
        refuse(before, after, found.differences)
    return Compared(comparison=found, base=before, new=after)


def baseline(ref: str, *, db: str | None = None) -> Run:
    """The run to compare with, named as for `load`; raises NotComparableError where there is none.

    Times are compared, and how cases ended: what its checks found is not read.
    """
    try:
        return _run(ref, db=db, checks=False)
    except RunNotFoundError as error:
        raise NotComparableError(f"no such baseline: {error.message}", hint=error.hint) from None


def against(
    config: str | Path,
    base: Run,
    new: Run,
    *,
    across_environments: bool = False,
    listener: Listener | None = None,
) -> Compared:
    """Compare the run `new` of the sweep in `config`, which was measured just now, with `base`, and confirm it.

    Suspects and as many controls are measured again. Raises as `compare` does.
    """
    from convbench.conduct import run as runner
    from convbench.conduct.confirm import confirmed

    if base.id == new.id:
        raise runner.itself(base.id)
    sweep, _ = planned(Path(config))
    return confirmed(
        sweep,
        base,
        new,
        thresholds(new),
        across_environments=across_environments,
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
) -> tuple[MeasuredRun, Compared]:
    """Measure and store the sweep in `config`, then compare it with the run `base`, named as for `load`.

    Raises as `run` and `compare` do.
    """
    before = baseline(base, db=db)
    measured = run(config, db=db, fresh=fresh, listener=listener, base=before)
    found = against(config, before, measured.run, across_environments=across_environments, listener=listener)
    return measured, found


def ab(
    config: str | Path,
    a: Setup,
    b: Setup,
    *,
    threshold: float | None = None,
    epochs: int | None = None,
    listener: Listener | None = None,
) -> Compared:
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


def _git(setup: Setup) -> Git | None:
    """What is checked out where a side's modules come from."""
    from convbench.engine.git_state import checkout

    return checkout(Path(setup.path[0]) if setup.path else None)


def thresholds(run: Run) -> Thresholds:
    """What a run's sweep says counts as a change.

    Raises RequestError where that cannot be read: another convbench may have stored it.
    """
    from convbench.model.threshold import Thresholds

    try:
        return sweeps.parse(run.source, f"the sweep of run {run.id}").compare
    except SweepError as error:
        if "compare" not in run.source:  # whatever else it says, it says nothing of this
            return Thresholds()
        told = "; ".join(each.strip() for each in error.lines)
        raise RequestError(f"what counts as a change cannot be read: {told}") from None


def history(
    case: str, *, db: str | None = None, branch: str | None = None, last: int | None = None
) -> tuple[Series, ...]:
    """The floor over runs of the case whose id is `case` or begins with it: a series for each machine, with its steps.

    Of runs of one `branch`, and of the `last` newest runs, where these are given. What counts as a step is said by the
    newest run's sweep. Raises RunNotFoundError where there is no such case or no such run.
    """
    from convbench.analysis.history.history import history as series_of
    from convbench.store import Store

    if last is not None and last < 1:
        raise RequestError(f"last {last}: expected a number of runs, 1 or more")
    with Store.open(db) as store:
        found = store.find_case(case)
        every = store.past(case_id=found.id)
        place = store.place
    runs = every if branch is None else [run for run in every if run.git and run.git.branch == branch]
    if not runs:
        branches = sorted({run.git.branch for run in every if run.git and run.git.branch})
        there_are = f"measured it has been on {', '.join(branches)}" if branches else "its runs know no branch"
        where = f" on branch {branch!r}" if branch is not None else ""
        hint = there_are if every else "a run is listed once it has reached the case"
        raise RunNotFoundError(f"case {found.id} has been measured by no run{where} in {place}", hint=hint)
    runs = runs[-last:] if last is not None else runs
    return series_of(runs, thresholds(runs[-1]))


def is_export(ref: str) -> bool:
    """Whether a run is named by an exported file; else it is a stored one."""
    try:
        return ref.endswith(".json") or (ref != LATEST and Path(ref).is_file())
    except OSError:  # too long for the name of a file
        return False


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


def write_report(run: Run, folder: Path = REPORTS) -> Path:
    """Write the run's report into `folder`, whole or not at all, and return its path."""
    from convbench.report.pages import run as page

    path = folder / page.file_name(run)
    write_bytes(path, page.render(run).encode())
    return path


def write_comparison(compared: Compared, path: Path | None = None) -> Path:
    """Write the page of a comparison, whole or not at all, and return its path: in `reports/` where none is given.

    It links to the reports of both runs that lie beside it. Raises RequestError with the system's reason.
    """
    from convbench.report.pages import comparison as comparison_page
    from convbench.report.pages import run as page

    path = path or REPORTS / comparison_page.file_name(compared.comparison)
    names = [page.file_name(run) for run in (compared.base, compared.new)]
    beside = [name for name in names if (path.parent / name).is_file()]
    write_bytes(path, comparison_page.render(compared, beside).encode())
    return path


#: The page of all runs, beside the reports, and what was found in runs that are over, so that it is found out once.
INDEX, KEPT = "index.html", "index.json"
#: What is read of the second at most, bytes: the page's 500 runs fit in.
LARGEST_KEPT = 4 * 2**20
#: The largest run that is looked into for the page alone: its findings take 0.7 s.
MOST_LOOKED_CASES = 2000
#: How long other runs are looked into for the page before it says of the rest that they were not, seconds: a user waits
#: for the report, and the next page goes on from there.
LOOKING_S = 1.0


def write_index(
    folder: Path = REPORTS,
    *,
    db: str | None = None,
    run: Run | None = None,
    findings: Sequence[str] | None = None,
    looking_s: float = LOOKING_S,
) -> Path:
    """Write the page of all runs in the database `db` into `folder`, where their reports are, and return its path.

    `run` is one that is loaded already, `findings` its sentences where they are known. Raises RequestError where the
    database cannot be read or the folder not be written.
    """
    from convbench.actions.trending import sweeps_over_time
    from convbench.report.pages import index
    from convbench.store import Store
    from convbench.version import __version__

    text = _kept_text(folder / KEPT)
    kept, kept_sweeps = index.kept_glances(text, __version__), index.kept_trends(text, __version__)
    seen: dict[str, index.Glance] = {}
    with Store.open(db) as store:
        stored = store.runs()
        over_time = sweeps_over_time(store, stored, kept_sweeps, thresholds=thresholds, seconds=looking_s)
        until = time.monotonic() + looking_s
        shown = stored[: index.MOST_RUNS]
        for summary in shown:
            before = kept.get(summary.id)
            at_hand = run if run is not None and run.id == summary.id else None
            is_over = summary.finished_at is not None  # else it goes on, or may: what is found now is soon wrong
            if at_hand is not None and findings is not None:
                seen[summary.id] = index.glance(at_hand, findings)
            elif before is not None and before[0] == summary.finished_at:
                seen[summary.id] = before[1]
            elif summary.cases <= MOST_LOOKED_CASES and (at_hand or (is_over and time.monotonic() < until)):
                with suppress(StoreError):  # one that cannot be read is shown as not looked at
                    seen[summary.id] = index.glance(at_hand or store.load(summary.id))
    files = index.reports((summary.id for summary in shown), (path.name for path in folder.glob("*.html")))
    entries = [index.Entry(run=summary, glance=seen.get(summary.id), report=files.get(summary.id)) for summary in shown]
    path = folder / INDEX
    html = index.render(entries, older=len(stored) - len(shown), version=__version__, sweeps=over_time)
    write_bytes(path, html.encode())
    ended = {summary.id: summary.finished_at for summary in shown if summary.finished_at is not None}
    now = {run_id: (ended[run_id], glance) for run_id, glance in seen.items() if run_id in ended}
    if (now, over_time) != (kept, kept_sweeps):
        write_bytes(folder / KEPT, index.kept_text(now, __version__, over_time).encode())
    return path


def _kept_text(path: Path) -> str:
    """The text of the file beside the page; `` where there is none that can be read: then all is found out again."""
    try:
        if not path.is_file() or path.stat().st_size > LARGEST_KEPT:
            return ""
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def nothing_left(path: str, plan: sweeps.Plan) -> RequestError:
    """Why a sweep without cases cannot be run."""
    reasons = [f"{rejection.label}: {rejection.reason}" for rejection in plan.rejections[:3]]
    told = f": {len(plan.rejections)} of {plan.points} points would be refused by torch" if reasons else ""
    return RequestError(f"{path}: nothing is left to measure{told}", hint=reasons)
