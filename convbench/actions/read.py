"""Reads runs from a database or an export, and a case's history over runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from convbench import sweep as sweeps
from convbench.errors import RequestError, RunNotFoundError
from convbench.model.result import Run
from convbench.store.files import read_text

if TYPE_CHECKING:
    import pandas

    from convbench.analysis.history.history import Series
    from convbench.model.samples import VisitSamples
    from convbench.store import Store

from convbench.actions.campaigns import gathered, is_id
from convbench.actions.pages import REPORTS, report_path, write_report

#: The reference of the run that was started last.
LATEST = "latest"


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
        return write_report(self.run, report_path(self.run, folder))


def load(ref: str = LATEST, *, db: str | None = None) -> MeasuredRun:
    """The run that `ref` names: `latest`, a run id or a unique prefix of one, a baseline's name, or a JSON export.

    The id of a campaign of one machine key names the run that its hosts measured together.
    """
    return MeasuredRun(run=run_of(ref, db=db))


def run_of(ref: str, *, db: str | None, checks: bool = True) -> Run:
    """The run that `ref` names, as for `load`. Without `checks` the results of checks are not read from a database."""
    if is_export(ref):
        from convbench.report.export import read_json

        try:
            return read_json(read_text(Path(ref)))
        except RequestError as error:
            message = error.message if ref in error.message else f"{ref}: {error.message}"
            raise RequestError(message, hint=error.hint) from None
    from convbench.store import Store

    with Store.open(db) as store:
        return _of_campaign(store, ref, checks=checks) if is_id(ref) else store.load(ref, checks=checks)


def _of_campaign(store: Store, ref: str, *, checks: bool) -> Run:
    """The only run of a campaign; RequestError where it has several machines.

    What the reader should know of the campaign stands below the run's description: how far its hosts lie apart, and
    what shards lack.
    """
    found = gathered(store, ref, checks=checks)
    if len(found.runs) != 1:
        raise RequestError(
            f"campaign {found} has {len(found.runs)} machines, and a run has one",
            hint=f"`convbench campaign {found}` shows them, with the id of each run",
        )
    run = found.runs[0][0]
    said = [text for text in (run.description.strip().rstrip("."), *map(str, found.splits), *found.notes) if text]
    return replace(run, description=" ".join(f"{text[0].upper()}{text[1:]}." for text in said))


def samples(ref: str, *, db: str | None = None) -> tuple[Run, list[VisitSamples]]:
    """A stored run and its raw samples; raises RequestError where it has none, or is an export."""
    from convbench.store import Store

    hint = "a sweep keeps them with measure: {samples: true}"
    if is_export(ref):
        raise RequestError(f"{ref}: an export of a run has no samples", hint="name the run in the database")
    with Store.open(db) as store:
        run, found = store.load(ref, checks=False), store.samples(ref)
    if not found:
        raise RequestError(f"run {run.id} has no samples", hint=hint)
    return run, found


def is_export(ref: str) -> bool:
    """Whether `ref` names an exported file instead of a stored run."""
    try:
        return ref.endswith(".json") or (ref != LATEST and Path(ref).is_file())
    except OSError:  # too long for a file name
        return False


def history(
    case: str, *, db: str | None = None, branch: str | None = None, last: int | None = None
) -> tuple[Series, ...]:
    """The floor over runs of the case whose id is `case` or begins with it: one series per machine, with its steps.

    `branch` selects the runs of one branch, `last` the newest runs. The newest run's sweep gives the threshold of a
    step. Raises RunNotFoundError where no case or no run matches.
    """
    from convbench.analysis.history.history import history as series_of
    from convbench.store import Store

    if last is not None and last < 1:
        raise RequestError(f"last {last}: expected a number of runs, at least 1")
    with Store.open(db) as store:
        found = store.find_case(case)
        every = store.past(case_id=found.id)
        place = store.place
    runs = every if branch is None else [run for run in every if run.git and run.git.branch == branch]
    if not runs:
        branches = sorted({run.git.branch for run in every if run.git and run.git.branch})
        there_are = f"runs on {', '.join(branches)} measured it" if branches else "no branch is stored for its runs"
        where = f" on branch {branch!r}" if branch is not None else ""
        hint = there_are if every else "a run appears here after it has measured the case"
        raise RunNotFoundError(f"no run{where} in {place} has measured case {found.id}", hint=hint)
    runs = runs[-last:] if last is not None else runs
    return series_of(runs, sweeps.thresholds(runs[-1]))
