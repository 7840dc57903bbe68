"""Measures a branch each night and compares it with its baseline, which stays until someone accepts another.

If the baseline moved every night, a layer could get slower in small steps without a report.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from convbench.actions import compare, measure
from convbench.actions.locks import files_in, installing, lock_of
from convbench.engine.commands import Command
from convbench.errors import NotComparableError, StoreError
from convbench.model.result import UNMEASURED, WRONG, Run
from convbench.store import Store

if TYPE_CHECKING:
    from convbench.analysis.comparison.judgment import RunComparison
    from convbench.conduct.listening import Listener


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """A measured run, the name of its baseline, and the comparison with it where there is one.

    `refused` is why the baseline could not be compared. `sets` is whether this run becomes the baseline.
    """

    run: Run
    baseline: str
    compared: RunComparison | None
    refused: str | None
    sets: bool


def baseline_name(config: Path, cpu: str) -> str:
    """The name of a sweep's baseline on a processor: `main/quick/AMD-EPYC-7763-64-Core-Processor`.

    Hosted runners have several processors, and convbench does not compare times of different ones.
    """
    return re.sub(r"[^A-Za-z0-9._/]+", "-", f"main/{config.stem}/{cpu or 'unknown'}")[:100]


def building(config: Path, *, install: str, work: Path, folder: Path) -> tuple[Command, ...]:
    """The commands that make an environment of the checkout `folder` with convbench in it; the last one measures there.

    The packages of the lock file keep their versions. `install` is pip's requirement for convbench.
    """
    environment, locked = work / "environment", work / "locked.txt"
    python = str(environment / "bin" / "python")
    freeze = (python, "-m", "pip", "list", "--format", "freeze", "--exclude-editable")
    added = (python, "-m", "pip", "install", "--constraint", str(locked), install)
    path = os.pathsep.join(map(str, (folder / "src", folder)))
    measured = (python, "-m", "convbench", "ci", "nightly", str(config), "--in-place")
    return (
        *installing(lock_of(files_in(folder), str(folder)), folder, environment, work / "tools"),
        Command(words=freeze, folder=folder, output=locked),
        Command(words=added, folder=folder),
        Command(words=measured, folder=folder, variables=(("PYTHONPATH", path),)),
    )


def name_here(config: Path) -> str:
    """The name of the sweep's baseline on this machine."""
    from convbench.engine.client import read_host
    from convbench.worker import host

    return baseline_name(config, read_host(host.facts()).cpu)


def stored_baseline(name: str, *, db: str | None) -> str | None:
    """The id of the run that is the baseline; None without one, or without a database."""
    try:
        with Store.open(db) as store:
            return next((each.run_id for each in store.baselines() if each.name == name), None)
    except StoreError:
        return None


def night(config: Path, *, db: str | None, accept: bool = False, listener: Listener | None = None) -> Night:
    """Measure and store the sweep in this environment, and compare it with its baseline unless `accept`.

    A first run becomes the baseline if every case is right. So does an accepted run. So does one that cannot be
    compared, as when the lock file changed: the pull request that changed it was judged side by side.
    """
    name = name_here(config)
    with Store.create(db) as store:
        known = name in {baseline.name for baseline in store.baselines()}
    sweep, plan = measure.planned(config)
    base = compare.baseline(f"baseline:{name}", db=db) if known and not accept else None
    compared, refused = None, None
    try:
        measured = measure.run_planned(sweep, plan, db=db, listener=listener, base=base)
    except NotComparableError as error:  # nothing was measured yet
        base, refused = None, error.message
        measured = measure.run_planned(sweep, plan, db=db, listener=listener)
    if base is not None:
        try:
            compared = measure.against(sweep, base, measured.run, listener=listener)
        except NotComparableError as error:
            refused = error.message
    bad = {*WRONG, *UNMEASURED}
    is_right = not measured.run.unmeasured and not any(result.status in bad for result in measured.run.results)
    sets = accept or refused is not None or (not known and is_right)
    return Night(run=measured.run, baseline=name, compared=compared, refused=refused, sets=sets)


def set_baseline(found: Night, *, db: str | None) -> None:
    """Make the run of a night the baseline."""
    with Store.change(db) as store:
        store.set_baseline(found.baseline, found.run.id, set_at=datetime.now(UTC).isoformat())
