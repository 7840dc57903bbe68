"""Made-up requests to every operation make no fault, and answers are as docs/openapi.json says."""

from __future__ import annotations

from pathlib import Path

import fuzzing
import pytest
from service import listening, serving

pytest.importorskip("schemathesis")


@pytest.mark.slow
def test_made_up_requests_get_the_answers_that_are_described(tmp_path: Path) -> None:
    stored = fuzzing.filled(tmp_path / "runs.db")
    with serving(tmp_path / "runs.db") as (client, _), listening(client) as address:
        found = fuzzing.fuzz(address, stored, tmp_path, examples=4, seed=21, phases="fuzzing")
    assert found.requests > 150 and found.operations > 40
    assert not found.failures, found.failures
