"""A host is slower than its history allows where its reference layers are, beyond the slowest of enough runs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from convbench.analysis.history.hosts import ALLOWED, FEWEST_RUNS, slowdown
from convbench.model.references import VERSION
from convbench.model.result import ProcessFacts, ReferenceBlocks

LAYERS = 8


def run(factor: float, *, device: str = "cpu", block_s: float = 0.02, version: int = VERSION) -> list[ProcessFacts]:
    """The processes of a run whose references took `factor` times as long as usual, with a slow round in each."""
    times = 1e-3 * factor * np.tile(np.arange(1.0, LAYERS + 1), (10, 1))
    times[0] *= 3
    rows = np.hstack([np.arange(10.0)[:, None], times]).astype("<f4").tobytes()
    found = ReferenceBlocks(version=version, device=device, threads=1, layers=LAYERS, block_s=block_s, rows=rows)
    return [ProcessFacts(process_index=index, seconds=1.0, references=(found,)) for index in range(2)]


HISTORY = [run(1.0), run(1.04), run(0.98)]


def test_run_within_its_history_is_not_remarked() -> None:
    assert slowdown(run(1.0), HISTORY) is None
    assert slowdown(run(1.04 * (1 + ALLOWED) * 0.999), HISTORY) is None
    assert slowdown(run(0.5), HISTORY) is None


def test_run_beyond_the_slowest_of_its_history_says_by_how_much() -> None:
    found = slowdown(run(1.3), HISTORY)
    assert found is not None
    assert math.isclose(found, 1.3 / 1.04, rel_tol=1e-5)


def test_few_runs_are_no_history() -> None:
    assert slowdown(run(2.0), HISTORY[: FEWEST_RUNS - 1]) is None


@pytest.mark.parametrize("other", [{"device": "cuda"}, {"block_s": 0.01}, {"version": VERSION + 1}])
def test_other_references_are_no_history(other: dict[str, object]) -> None:
    assert slowdown(run(2.0), [*HISTORY[:2], run(1.0, **other)]) is None


def test_run_without_references_is_not_remarked() -> None:
    assert slowdown([ProcessFacts(process_index=0, seconds=1.0)], HISTORY) is None
