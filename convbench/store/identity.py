"""What a run is called, by its id or by a baseline's name, and when two sweeps are the same."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime

from convbench.errors import RequestError
from convbench.model.bounds import BASELINE_NAME
from convbench.model.case import Case
from convbench.model.result import Measure

#: Letters and digits of a run's tail that nobody mixes up when reading them aloud (no 0 and o, 1 and l and i).
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"

#: The newest run started.
LATEST = "latest"
#: What may stand before a baseline's name where a run is asked for.
_BASELINE = "baseline:"


def checked_baseline_name(name: str) -> str:
    """The name, where a baseline may have it; RequestError where it would look like something else."""
    if not BASELINE_NAME.fullmatch(name):
        raise RequestError(
            f"a baseline cannot be called {name!r}",
            hint="a name is a letter, then letters, digits and . _ / -; at most 100 in all",
        )
    if name == LATEST or name.endswith(".json"):
        raise RequestError(f"a baseline cannot be called {name!r}", hint="that names a run already")
    return name


def baseline_meant(ref: str) -> str | None:
    """The name of the baseline that a reference to a run means; None where it means `latest`, an id or its beginning.

    Run ids begin with a digit, and names with a letter: a word is never both.
    """
    if ref.startswith(_BASELINE):
        return ref.removeprefix(_BASELINE)
    return ref if ref != LATEST and BASELINE_NAME.match(ref) else None


def new_run_id(now: datetime) -> str:
    """`20261124-031502-k7q2`: UTC to the second, so that ids sort by age, and a tail against equals."""
    tail = "".join(secrets.choice(_LETTERS) for _ in range(4))
    return f"{now.astimezone(UTC):%Y%m%d-%H%M%S}-{tail}"


def digest(cases: Iterable[Case], measure: Measure, *, seed: int, name: str = "", description: str = "") -> str:
    """64 hex digits, equal for two sweeps that say the same: cases in order, counts, labels, measure, seed, words.

    How the file is written (comments, the order of its axes' names, a product or a list) is no part of it.
    Runs stored before 2026-11-28 have digests over `passes`: an unfinished one is found by what it was called then.
    """
    told = {"passes" if key == "processes" else key: value for key, value in asdict(measure).items()}
    state = hashlib.sha256(json.dumps([name, description, seed, told], sort_keys=True).encode())
    for case in cases:
        state.update(json.dumps([case.id, case.count, case.given_label]).encode())
    return state.hexdigest()
