"""Cases beside their reference layers: which rows they are related to, levels, records, the normalized time."""

from __future__ import annotations

import math
import struct
from dataclasses import replace

import numpy as np
import pytest
import synthetic

from convbench.analysis.table.columns import Rows
from convbench.measure import estimate
from convbench.measure.references import Related, levels, records, relate
from convbench.model.case import Cache, Case
from convbench.model.references import REFERENCES, VERSION, ReferenceKind, kind_of, references
from convbench.model.result import ProcessFacts, ReferenceBlocks, Run

L2 = 2**20
SMALL = synthetic.layer()
LARGE = replace(SMALL, cache=Cache.COLD)
SMALL_ONES = len(REFERENCES[ReferenceKind.CACHES])


def made(*cases: Case) -> Run:
    results = tuple(synthetic.result(case, made=synthetic.blocks(1e-3, noise=0)) for case in cases)
    return replace(synthetic.empty_run(), results=results)


def related(run: Run) -> Related:
    cases = [result.case for result in run.results]
    return relate(estimate.table(run.results), cases, run.processes, L2)


def test_a_case_belongs_to_the_references_of_what_it_shares_with_others() -> None:
    assert kind_of(SMALL, L2) is ReferenceKind.CACHES
    assert kind_of(LARGE, L2) is ReferenceKind.MEMORY
    assert kind_of(SMALL, SMALL.bytes - 1) is ReferenceKind.MEMORY
    assert kind_of(SMALL, SMALL.bytes) is ReferenceKind.CACHES
    assert kind_of(SMALL, None) is ReferenceKind.MEMORY
    assert kind_of(replace(SMALL, device="cuda"), L2) is ReferenceKind.DEVICE


def test_references_of_a_kind_are_of_that_kind_and_can_be_built() -> None:
    for kind, case in references("cpu"):
        assert kind_of(case, L2) is kind, case.label
        assert case.refusal() is None
    assert {kind for kind, _ in references("cuda:1")} == {ReferenceKind.DEVICE}
    assert [case.device for _, case in references("cuda:1")] == ["cuda:1"] * 3


def test_what_slows_a_kind_is_taken_out_of_its_cases_alone() -> None:
    """The record is the run's own in a first run; a second run on a slower machine gives the same normalized times."""
    first = synthetic.referred(made(SMALL, LARGE))
    best = records(first.processes)["cpu", None]
    assert best == pytest.approx([1e-3 * (1 + at) for at in range(8)])
    floors = related(first).normalized_s
    later = synthetic.referred(made(SMALL, LARGE), {ReferenceKind.CACHES: 1.25}, record_s=best)
    found = related(later)
    assert found.normalized_s == pytest.approx([floors[0] / 1.25, floors[1]])
    assert np.exp(found.level - found.record) == pytest.approx([1.25, 1.0])
    assert found.typical_slowdown == pytest.approx(1.125)
    assert records(later.processes)["cpu", None] == pytest.approx(best)


def test_the_record_is_the_fastest_ever() -> None:
    slow = [2e-3 * (1 + at) for at in range(8)]
    run = synthetic.referred(made(SMALL), {ReferenceKind.CACHES: 0.5}, record_s=slow)
    assert records(run.processes)["cpu", None] == pytest.approx(
        [5e-4 * (1 + at) if at < SMALL_ONES else 1e-3 * (1 + at) for at in range(8)]
    )
    assert related(run).typical_slowdown == pytest.approx(1.0)


def test_a_block_belongs_to_the_row_before_it_in_its_process() -> None:
    """Rows of other processes, later rows and other numbers of threads do not count."""

    def rows(*times: tuple[float, float]) -> bytes:
        return b"".join(struct.pack("<9f", start, *[time] * 8) for start, time in times)

    def blocks_of(process_index: int, packed: bytes, threads: int | None = None) -> ProcessFacts:
        found = ReferenceBlocks(version=VERSION, device="cpu", threads=threads, layers=8, block_s=0.02, rows=packed)
        return ProcessFacts(process_index=process_index, seconds=1.0, references=(found,))

    [made_of] = made(SMALL).results
    table = estimate.table([made_of])
    starts = table.column("start_s")
    assert starts[:5].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    first = rows((0.0, 1.0), (2.5, 3.0), (4.5, 100.0))  # the blocks at 0, 1 and 2 s, those at 3 and 4 s, none
    found = relate(table, [SMALL], [blocks_of(0, first), blocks_of(1, rows((999.0, 7.0)))], L2)
    assert found.level[0] == pytest.approx(np.log(np.quantile([1.0, 1.0, 1.0, 3.0, 3.0], 0.1)))
    other = relate(table, [SMALL], [blocks_of(0, first, threads=1)], L2)
    assert math.isnan(other.level[0])
    only_late = np.array([False, False, False, True, True, *[False] * (len(starts) - 5)])
    late = levels(table, [SMALL], [blocks_of(0, first)], L2, quantile=0.0, used=only_late)
    assert late.logs[late.group[0]] == pytest.approx([math.log(3.0)] * SMALL_ONES)


def test_other_versions_of_the_references_are_not_used() -> None:
    run = synthetic.referred(made(SMALL))
    newer = tuple(
        replace(facts, references=tuple(replace(one, version=VERSION + 1) for one in facts.references))
        for facts in run.processes
    )
    assert records(newer) == {}
    assert np.isnan(related(replace(run, processes=newer)).normalized_s).all()


def test_the_low_quantile_is_numpys() -> None:
    run = synthetic.run(40)
    table = estimate.table(run.results)
    found = related(run).low
    for index in range(len(run.results)):
        minima = table.column("minimum_s")[table.offsets[index] : table.offsets[index + 1]]
        expected = np.quantile(np.log(minima), 0.1) if len(minima) else math.nan
        assert found[index] == pytest.approx(expected, nan_ok=True)


def test_runs_without_references_have_no_normalized_time() -> None:
    run = synthetic.run(20)
    rows = Rows(run)
    assert np.isnan(rows.related.normalized_s).all()
    assert math.isnan(rows.related.typical_slowdown)
    with_them = Rows(synthetic.referred(run))
    timed = np.isfinite(with_them.estimates.floor_s)
    assert np.isfinite(with_them.related.normalized_s[timed]).all()
    assert timed.sum() > 10
