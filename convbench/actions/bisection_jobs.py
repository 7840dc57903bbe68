"""What a bisection between two stored runs would search: their commits, in a checkout that the service knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from convbench import units
from convbench.engine import git_commits
from convbench.errors import RequestError
from convbench.model.job import BisectionTask
from convbench.store import layers, listing
from convbench.store.listing import ListedRun
from convbench.store.store import Store

#: The most cases of which one may decide: the first comparison measures all of them, 4 to 24 pairs each.
MOST_CASES = 10


def asked(
    store: Store,
    checkouts: Mapping[str, Path],
    base_id: str,
    new_id: str,
    case_ids: Callable[[], Sequence[str]],
    *,
    checkout: str | None = None,
) -> BisectionTask:
    """What a job asks that finds the commit between two stored runs, since which the cases take another time.

    `checkouts` are folders by name; without `checkout`, the first one that has both commits is used. `case_ids` is
    called where a commit lies between both. Raises RequestError where none does, and for cases that the new run lacks.
    """
    good, bad = (_commit(listing.one(store, run_id)) for run_id in (base_id, new_id))
    if good == bad:
        raise RequestError(f"both runs are of commit {good[:10]}, so no commit lies between them")
    name, folder = _holder(checkouts, checkout, good, bad)
    good, bad = (git_commits.commit_of(folder, commit) for commit in (good, bad))
    git_commits.between(folder, good, bad)
    cases = tuple(case_ids())
    _check_cases(store, new_id, cases)
    return BisectionTask(checkout=name, good=good, bad=bad, base_run_id=base_id, new_run_id=new_id, case_ids=cases)


def may_be_found(base: ListedRun, new: ListedRun) -> bool:
    """Whether a commit may lie between two runs: both say theirs, and these differ."""
    one, other = base.summary.git, new.summary.git
    return one is not None and other is not None and one.commit != other.commit


def _check_cases(store: Store, run_id: str, case_ids: Sequence[str]) -> None:
    if not 1 <= len(case_ids) <= MOST_CASES:
        raise RequestError(f"a commit is found by 1 to {MOST_CASES} cases, got {len(case_ids)}")
    if missing := sorted(set(case_ids) - set(layers.ids_of_run(store, run_id))):
        raise RequestError(f"run {run_id} has no case {units.line(missing[0], most=40)}")


def _commit(run: ListedRun) -> str:
    git = run.summary.git
    if git is None:
        raise RequestError(f"run {run.summary.id} does not say its commit", hint="start it in the checkout")
    return git.commit


def _holder(checkouts: Mapping[str, Path], wanted: str | None, good: str, bad: str) -> tuple[str, Path]:
    """The name and the folder of the checkout that has both commits."""
    if not checkouts:
        raise RequestError(
            "this service knows no checkout", hint="start it with --checkout NAME=PATH and --trust-modules"
        )
    if wanted is not None and wanted not in checkouts:
        raise RequestError(f"this service has no checkout {units.line(wanted, most=60)}", hint=", ".join(checkouts))
    for name in [wanted] if wanted is not None else checkouts:
        try:
            for commit in (good, bad):
                git_commits.commit_of(checkouts[name], commit)
        except RequestError:
            continue
        return name, checkouts[name]
    raise RequestError(
        f"no checkout of this service has both commits {good[:10]} and {bad[:10]}", hint="fetch them there"
    )
