"""Deletes stored runs with their pages: those that are named, or those that are old."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from convbench.actions.pages import INDEX, REPORTS, write_index
from convbench.errors import RequestError
from convbench.model.result import RunSummary
from convbench.store import Store, waiting_file

#: Units of an age -> its `timedelta` argument.
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_AGE = re.compile(r"([0-9]{1,4})([hdw])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """Runs that were deleted, or would be, and their pages. `kept` are protected runs and the reasons.

    `campaigns` are the ids of those that go with their last run.
    """

    runs: tuple[RunSummary, ...]
    pages: tuple[Path, ...]
    page_bytes: int
    kept: tuple[tuple[str, str], ...]
    campaigns: tuple[str, ...] = ()


def age(text: str) -> timedelta:
    """`90d`, `36h` or `8w`; RequestError for another text."""
    found = _AGE.fullmatch(text)
    if found is None:
        raise RequestError(f"age {text!r}: expected a number of hours, days or weeks", hint="like 36h, 90d or 8w")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def delete(refs: Sequence[str], *, db: str | None = None, dry_run: bool = False, folder: Path = REPORTS) -> Removal:
    """Delete the runs that `refs` name, and their pages. RequestError where one is protected; then none is deleted."""
    with Store.open(db) as store:
        wanted = {store.run_id(ref) for ref in refs}
        found = tuple(run for run in store.runs() if run.id in wanted)
        kept = {run_id: reason for run_id, reason in _protected(store).items() if run_id in wanted}
    if kept:
        reasons = [f"run {run_id} stays: {reason}" for run_id, reason in sorted(kept.items())]
        raise RequestError(reasons, hint="nothing was deleted; `convbench baseline list` shows the baselines")
    return _remove(found, (), db, dry_run, folder)


def prune(
    *,
    keep: int | None = None,
    older: timedelta | None = None,
    ab_pages: bool = False,
    db: str | None = None,
    dry_run: bool = False,
    now: datetime | None = None,
    folder: Path = REPORTS,
) -> Removal:
    """Delete the runs that are not among the newest `keep` and began more than `older` before `now`, and their pages.

    Protected runs stay. With `ab_pages`, the pages of comparisons by `ab` that are as old go too, of any database.
    `ab` stores no runs, so they are its only record. RequestError without `keep` and `older`, and for `ab_pages`
    without `older`.
    """
    if keep is None and older is None:
        raise RequestError(
            "expected --keep or --older, got neither", hint="like: convbench prune --keep 100 --older 90d"
        )
    if ab_pages and older is None:
        raise RequestError("--ab-pages needs --older", hint="like: convbench prune --older 90d --ab-pages")
    until = (now or datetime.now(UTC)) - older if older is not None else None
    with Store.open(db) as store:
        chosen = [
            run for run in store.runs()[keep or 0 :] if until is None or datetime.fromisoformat(run.started_at) < until
        ]
        protected = _protected(store)
    kept = tuple((run.id, protected[run.id]) for run in chosen if run.id in protected)
    chosen = [run for run in chosen if run.id not in protected]
    return _remove(tuple(chosen), kept, db, dry_run, folder, _pages_of_ab(folder, until) if ab_pages and until else [])


def _protected(store: Store) -> dict[str, str]:
    """The runs that cannot be deleted; to a server, what waits on this disk would be sent again."""
    waiting = {} if store.is_file else {run.id: waiting_file(run.id) for run in store.runs()}
    sent_later = {run_id: f"results of it wait in {path}" for run_id, path in waiting.items() if path.exists()}
    return store.protected() | sent_later


#: The page of an `ab`: its sides have the time of their beginning in place of ids.
_OF_AB = re.compile(r"compare-\d{8}-\d{6}-a-(\d{8}-\d{6})-b\.html")


def _pages_of_ab(folder: Path, until: datetime) -> list[Path]:
    """The pages of comparisons by `ab` that began before `until`."""
    named = [(path, _OF_AB.fullmatch(path.name)) for path in sorted(folder.glob("compare-*.html"))]
    last = until.astimezone(UTC).strftime("%Y%m%d-%H%M%S")
    return [path for path, match in named if match and match[1] < last]


def _remove(
    runs: tuple[RunSummary, ...],
    kept: tuple[tuple[str, str], ...],
    db: str | None,
    dry_run: bool,
    folder: Path,
    more: Sequence[Path] = (),
) -> Removal:
    """Delete runs, then their pages and `more`, then write the page of all runs again where there is one."""
    ids = {run.id for run in runs}
    with Store.open(db) as store:
        campaigns = tuple(store.emptied(ids))
    own = sorted(path for one in (*ids, *campaigns) for path in folder.glob(f"*-{one}.html") if path.is_file())
    pages = (*more, *own)
    page_bytes = sum(page.stat().st_size for page in pages)
    removal = Removal(runs=runs, pages=pages, page_bytes=page_bytes, kept=kept, campaigns=campaigns)
    if dry_run:
        return removal
    if runs:
        with Store.change(db) as store:
            store.delete(ids)
    for page in pages:
        page.unlink(missing_ok=True)
    if runs and (folder / INDEX).exists():
        write_index(folder, db=db)
    return removal
