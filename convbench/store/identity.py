"""References to a run by its id or by a baseline's name, and the digest by which two sweeps are the same."""

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

#: Letters and digits of the end of a run's id, without those that look alike: no 0 and o, no 1, l and i.
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"

#: The run that was started last.
LATEST = "latest"
#: Optional prefix of a baseline's name in a reference to a run.
_BASELINE = "baseline:"


def checked_baseline_name(name: str) -> str:
    """The name, where a baseline may have it; RequestError where it is invalid or refers to something else."""
    if not BASELINE_NAME.fullmatch(name):
        raise RequestError(
            f"a baseline cannot be called {name!r}",
            hint="a name is a letter, then letters, digits and . _ / -; at most 100 in all",
        )
    if name == LATEST or name.endswith(".json"):
        raise RequestError(f"a baseline cannot be called {name!r}", hint="that names a run already")
    return name


def baseline_meant(ref: str) -> str | None:
    """The name of the baseline in a reference to a run; None where the reference is `latest`, an id or its beginning.

    Run ids begin with a digit and names with a letter, so that a word cannot be both.
    """
    if ref.startswith(_BASELINE):
        return ref.removeprefix(_BASELINE)
    return ref if ref != LATEST and BASELINE_NAME.match(ref) else None


def new_run_id(now: datetime) -> str:
    """`20261124-031502-k7q2`: UTC to the second, so that ids sort by age, and a random tail that makes ids unique."""
    tail = "".join(secrets.choice(_LETTERS) for _ in range(4))
    return f"{now.astimezone(UTC):%Y%m%d-%H%M%S}-{tail}"


def digest(cases: Iterable[Case], measure: Measure, *, seed: int, name: str = "", description: str = "") -> str:
    """64 hex digits, equal for sweeps with the same ordered cases, counts, labels, measure, seed, name and description.

    The form of the file (comments, the order of its axes' names, a product or a list) does not change the digest.
    Runs stored before 2026-11-28 have digests with the key `passes`. It is kept, so that an unfinished one is found.
    """
    settings = {"passes" if key == "processes" else key: value for key, value in asdict(measure).items()}
    if not measure.samples:
        del settings["samples"]  # older runs know nothing of it
    state = hashlib.sha256(json.dumps([name, description, seed, settings], sort_keys=True).encode())
    for case in cases:
        labels = [list(case.labels)] if case.labels else []  # older runs have none
        state.update(json.dumps([case.id, case.count, case.given_label, *labels]).encode())
    return state.hexdigest()
