"""Writes HTML pages: the report of a run, a comparison, the index of all runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from convbench import sweep as sweeps
from convbench.errors import StoreError
from convbench.model.result import Run
from convbench.store import files
from convbench.store.files import write_bytes

if TYPE_CHECKING:
    from convbench.analysis.comparison.judgment import RunComparison
    from convbench.analysis.findings.findings import Examined


#: The folder of reports, relative to the current directory.
REPORTS = Path("reports")


def check_writable(folder: Path = REPORTS) -> None:
    """Raise RequestError where no page can be written into the folder. Leaves nothing there."""
    files.check_writable(folder / "report.html")


def report_path(run: Run, folder: Path = REPORTS) -> Path:
    """Where the run's report is written."""
    from convbench.report.pages import run as page

    return folder / page.file_name(run)


def write_report(run: Run, path: Path | None = None, *, seen: Examined | None = None) -> Path:
    """Write the run's report atomically, and return its path. The default path is in `reports/`.

    `seen` holds the findings where the caller has computed them already.
    """
    from convbench.report.pages import run as page

    path = path or report_path(run)
    write_bytes(path, page.render(run, seen).encode())
    return path


def write_comparison(compared: RunComparison, path: Path | None = None) -> Path:
    """Write the page of a comparison atomically and return its path. The default path is in `reports/`.

    The page links to the reports of both runs that are in the same folder. Raises RequestError with the system's
    reason.
    """
    from convbench.report.pages import comparison as comparison_page
    from convbench.report.pages import run as page

    path = path or REPORTS / comparison_page.file_name(compared.comparison)
    names = [page.file_name(run) for run in (compared.base, compared.new)]
    beside = [name for name in names if (path.parent / name).is_file()]
    write_bytes(path, comparison_page.render(compared, beside).encode())
    return path


#: The page of all runs, and a cache of the findings and verdicts of finished runs. Both lie in the reports' folder.
INDEX, KEPT = "index.html", "index.json"


#: Maximum size of the cache file, bytes: the page's 500 runs fit in it.
LARGEST_KEPT = 4 * 2**20


#: Maximum cases of a run whose findings are computed for the index alone: they take 0.7 s.
MOST_EXAMINED_CASES = 2000


#: Time for computing findings of other runs, seconds: a user waits for the report. The index marks the remaining runs
#: as not examined, and the next index continues with them.
EXAMINE_S = 1.0


def write_index(
    folder: Path = REPORTS,
    *,
    db: str | None = None,
    run: Run | None = None,
    findings: Sequence[str] | None = None,
    examine_s: float = EXAMINE_S,
) -> Path:
    """Write the page of all runs in the database `db` into `folder`, where their reports are, and return its path.

    `run` is a run that is loaded already, `findings` are its sentences if known. Computing trends, findings of other
    runs and verdicts takes `examine_s` seconds each at most. Raises RequestError where the database or the folder
    cannot be used.
    """
    from convbench.actions.trending import sweeps_over_time
    from convbench.actions.verdicts import verdicts
    from convbench.report.pages import index, index_cache, index_campaigns
    from convbench.store import Store, in_common
    from convbench.version import __version__

    text = _kept_text(folder / KEPT)
    kept, kept_sweeps = index_cache.kept_glances(text, __version__), index_cache.kept_trends(text, __version__)
    kept_verdicts = index_cache.kept_verdicts(text, __version__)
    seen: dict[str, index_cache.Glance] = {}
    with Store.open(db) as store:
        stored, campaigns = store.runs(), store.campaigns()
        over_time = sweeps_over_time(store, stored, kept_sweeps, thresholds=sweeps.thresholds, seconds=examine_s)
        until = time.monotonic() + examine_s
        shown = stored[: index.MOST_RUNS]
        for summary in shown:
            before = kept.get(summary.id)
            at_hand = run if run is not None and run.id == summary.id else None
            is_over = summary.finished_at is not None  # findings of an unfinished run would soon be out of date
            if at_hand is not None and findings is not None:
                seen[summary.id] = index_cache.glance(at_hand, findings)
            elif before is not None and before[0] == summary.finished_at:
                seen[summary.id] = before[1]
            elif summary.cases <= MOST_EXAMINED_CASES and (at_hand or (is_over and time.monotonic() < until)):
                with suppress(StoreError):  # the page shows an unreadable run as not examined
                    seen[summary.id] = index_cache.glance(at_hand or store.load(summary.id))
        judged = verdicts(store, shown, kept_verdicts, most_cases=MOST_EXAMINED_CASES, seconds=examine_s)
        kinds = in_common.kinds(store, [summary.id for summary in shown])
    names = [path.name for path in folder.glob("*.html")]
    files = index.reports((summary.id for summary in shown), names)
    entries = [
        index.RunEntry(
            run=summary,
            glance=seen.get(summary.id),
            report=files.get(summary.id),
            judged=judged.get(summary.id),
            kind=kinds.of.get(summary.id),
        )
        for summary in shown
    ]
    path = folder / INDEX
    html = index.render(
        entries,
        older=len(stored) - len(shown),
        version=__version__,
        sweeps=over_time,
        pages=index.compared((summary.id for summary in shown), names),
        apart=kinds.apart,
        campaigns=index_campaigns.rows(campaigns, (summary.name for summary in stored), names),
    )
    write_bytes(path, html.encode())
    ended = {summary.id: summary.finished_at for summary in shown if summary.finished_at is not None}
    now = {run_id: (ended[run_id], glance) for run_id, glance in seen.items() if run_id in ended}
    if (now, over_time, judged) != (kept, kept_sweeps, kept_verdicts):
        write_bytes(folder / KEPT, index_cache.kept_text(now, __version__, over_time, judged).encode())
    return path


def _kept_text(path: Path) -> str:
    """The text of the cache file; empty where it cannot be read: then all findings are computed again."""
    try:
        if not path.is_file() or path.stat().st_size > LARGEST_KEPT:
            return ""
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
