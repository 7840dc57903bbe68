"""What a run is called, and when two sweeps are the same."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime

from convbench.case import Case
from convbench.result import Measure
from convbench.serial import to_json

#: Letters and digits of a run's tail that nobody mixes up when reading them aloud (no 0 and o, 1 and l and i).
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"


def new_run_id(now: datetime) -> str:
    """`20261124-031502-k7q2`: UTC to the second, so that ids sort by age, and a tail against equals."""
    tail = "".join(secrets.choice(_LETTERS) for _ in range(4))
    return f"{now.astimezone(UTC):%Y%m%d-%H%M%S}-{tail}"


def digest(cases: Iterable[Case], measure: Measure, *, seed: int, name: str = "", description: str = "") -> str:
    """64 hex digits, equal for two sweeps that say the same: cases in order, counts, labels, measure, seed, words.

    How the file is written (comments, the order of its axes' names, a product or a list) is no part of it.
    """
    state = hashlib.sha256(json.dumps([name, description, seed, to_json(measure)], sort_keys=True).encode())
    for case in cases:
        state.update(json.dumps([case.id, case.count, case.given_label]).encode())
    return state.hexdigest()
