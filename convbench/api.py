"""The Python API, and what the verbs of the command line do: measure a sweep, load a stored run, write reports."""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from convbench import sweep as sweeps
from convbench.errors import RequestError, StoreError
from convbench.result import Run, RunState

if TYPE_CHECKING:
    import pandas

    from convbench.runner import Listener

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
        from convbench.analysis.frame import frame

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
) -> MeasuredRun:
    """Measure the sweep in the file `config` and store it in the database `db` (a path or an SQLAlchemy URL).

    Resumes an unfinished run of the same sweep unless `fresh`. Raises SweepError for mistakes in the file, RequestError
    where nothing is left to measure or the database cannot be used.
    """
    from convbench import runner
    from convbench.engine.local import LocalEngine

    sweep, plan = planned(Path(config))
    if not plan.cases:
        raise nothing_left(sweep.path, plan)
    run_id = runner.run(sweep, plan, engine=LocalEngine(), db=db, listener=listener or runner.Listener(), fresh=fresh)
    return load(run_id, db=db)


def planned(path: Path) -> tuple[sweeps.Sweep, sweeps.Plan]:
    """The sweep in a file, its time shared out where it has a budget, and what it comes to."""
    from convbench.measure.forecast import within_budget

    sweep = sweeps.load(path)
    plan = sweeps.cases(sweep)
    if plan.cases and sweep.measure.budget is not None:
        sweep = replace(sweep, measure=within_budget(plan.cases, sweep.measure))
    return sweep, plan


#: The newest run started.
LATEST = "latest"


def load(ref: str = LATEST, *, db: str | None = None) -> MeasuredRun:
    """A stored run by `latest`, its id or a unique prefix of it, or the path of a JSON export."""
    if ref.endswith(".json") or (ref != LATEST and Path(ref).is_file()):
        from convbench.export import read_json

        try:
            return MeasuredRun(run=read_json(read_text(Path(ref))))
        except RequestError as error:
            message = error.message if ref in error.message else f"{ref}: {error.message}"
            raise RequestError(message, hint=error.hint) from None
    from convbench.store import Store

    with Store.open(db) as store:
        return MeasuredRun(run=store.load(ref))


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
    from convbench.report import page

    path = folder / page.file_name(run)
    write_bytes(path, page.render(run).encode())
    return path


def nothing_left(path: str, plan: sweeps.Plan) -> RequestError:
    """Why a sweep without cases cannot be run."""
    reasons = [f"{rejection.label}: {rejection.reason}" for rejection in plan.rejections[:3]]
    told = f": {len(plan.rejections)} of {plan.points} points would be refused by torch" if reasons else ""
    return RequestError(f"{path}: nothing is left to measure{told}", hint="\n        ".join(reasons) or None)


def read_text(path: Path) -> str:
    """The text of a file; raises RequestError with the system's reason."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise RequestError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise RequestError(f"cannot read {path}: it is not UTF-8 text") from None


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all; raises RequestError with the system's reason."""
    if path.is_dir():
        raise RequestError(f"cannot write {path}: it is a folder", hint=f"name a file in it: {path / 'run.csv'}")
    scratch = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():
            path.write_bytes(content)  # a pipe or a device, which cannot be replaced
            return
        scratch.write_bytes(content)
        scratch.replace(path)
    except OSError as error:
        with suppress(OSError):
            scratch.unlink()
        raise RequestError(f"cannot write {path}: {error.strerror}") from None
