"""What a shell completes: names of runs, baselines and sweeps. It never fails, as an error would fill the prompt."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convbench.model.settings import Kind
    from convbench.store import Store

#: Runs that are offered, the newest first.
MOST_RUNS = 50


def stored_runs(incomplete: str) -> list[str]:
    """`latest`, the baselines and the newest runs of the database that begin so."""
    return begun(incomplete, _stored(lambda store: ["latest", *_baselines(store), *_runs(store)], ["latest"]))


def baselines(incomplete: str) -> list[str]:
    """The baselines of the database that begin so."""
    return begun(incomplete, _stored(_baselines, []))


def campaigns(incomplete: str) -> list[str]:
    """The names of sweeps with stored runs and the ids of campaigns that begin so."""
    return begun(
        incomplete,
        _stored(lambda store: [*_campaigns(store), *dict.fromkeys(run.name for run in store.machine_runs())], []),
    )


def stored_campaigns(incomplete: str) -> list[str]:
    """`latest`, and the newest campaigns of the database whose ids begin so."""
    return begun(incomplete, _stored(lambda store: ["latest", *_campaigns(store)], ["latest"]))


def sweeps(incomplete: str) -> list[str]:
    """The folders and the YAML files whose path begins so; without a path also those in configs/."""
    with suppress(OSError):
        typed = Path(incomplete)
        folder, begun = (typed, "") if incomplete.endswith("/") else (typed.parent, typed.name)
        found = [path for path in sorted(folder.iterdir()) if path.name.startswith(begun)]
        paths = [f"{path}/" if path.is_dir() else str(path) for path in found if path.is_dir() or _is_sweep(path)]
        return [*paths, *([] if incomplete else map(str, sorted(filter(_is_sweep, Path("configs").glob("*")))))]
    return []


def words(kind: Kind, incomplete: str) -> list[str]:
    """The words of a setting's values that begin so."""
    known = [*map(str, kind.words), *(["true", "false"] if kind.truth else []), *(["null"] if kind.null else [])]
    return [word for word in known if word.startswith(incomplete)]


def _is_sweep(path: Path) -> bool:
    return path.suffix in {".yaml", ".yml"}


def _stored(names: Callable[[Store], list[str]], without: list[str]) -> list[str]:
    """Names in the database; `without` one that can be read. A server may be slow to answer, and gives none."""
    database = os.environ.get("CONVBENCH_DB")
    if database and "://" in database:
        return []
    with suppress(Exception):
        from convbench.store import Store

        with Store.open(database) as store:
            return names(store)
    return without


def _baselines(store: Store) -> list[str]:
    return [baseline.name for baseline in store.baselines()]


def _runs(store: Store) -> list[str]:
    return [run.id for run in store.runs()[:MOST_RUNS]]


def _campaigns(store: Store) -> list[str]:
    return [campaign.id for campaign in store.campaigns()[:MOST_RUNS]]


def begun(incomplete: str, names: list[str]) -> list[str]:
    """The names that begin so."""
    return [name for name in names if name.startswith(incomplete)]
