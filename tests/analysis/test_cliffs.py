"""Cliffs: the planted one is found, at its value and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st

from convbench.analysis.findings.findings import Finding, FindingKind, Weight, findings
from convbench.model.case import Case
from convbench.model.result import Result


def layer(in_channels: int, kernel: int = 3, **more: object) -> Case:
    return synthetic.layer(in_channels, kernel_size=(kernel, kernel), **more)


def timed(case: Case, factor: float = 1.0, *, process: float = 0.0, seed: int = 0) -> Result:
    """A layer whose time per FLOP is so many times the usual."""
    floor = factor * case.flops / 50e9
    return synthetic.result(
        case, made=synthetic.noisy_blocks(floor, process=process, noise=0.0, seed=f"{seed} {case.id}")
    )


def cliffs(*results: Result) -> list[Finding]:
    made = replace(synthetic.empty_run(), results=results)
    return [finding for finding in findings(made) if finding.kind is FindingKind.CLIFF]


def test_a_size_that_costs_far_more_than_the_next_smaller_one() -> None:
    results = [timed(layer(c, k), 1.9 if c == 65 else 1.0) for c in (62, 63, 64, 65, 66) for k in (1, 3)]
    [found] = cliffs(*results)
    assert found.sentence == "in_channels=65 takes 1.90x the time per FLOP of in_channels=64 in 2 of 2 matched cases"
    assert (found.weight, found.axis) == (Weight.EFFECT, "in_channels")
    assert found.size == pytest.approx(1.9, rel=0.01)
    assert set(found.cases) == {layer(c, k).id for c in (64, 65) for k in (1, 3)}
    assert found.exceptions == ()


def test_a_cliff_of_some_layers_says_which() -> None:
    results = [timed(layer(c, k), 2.0 if (c, k) == (65, 5) else 1.0) for c in (64, 65) for k in (1, 3, 5)]
    [found] = [finding for finding in cliffs(*results) if finding.axis == "in_channels"]
    assert found.sentence == (
        "in_channels=65 takes 2.00x the time per FLOP of in_channels=64 in 1 of 3 matched cases (at kernel_size=5x5): "
        f"{layer(65, 5).label}, which ran Mkldnn jit:avx512_core"
    )
    assert found.exceptions == () and found.paired


def test_a_cliff_needs_as_many_processes_as_a_comparison_and_no_overlap() -> None:
    def told(processes: int, wobble: float = 1.0) -> int:
        results = []
        for c in (64, 65):
            blocks = synthetic.blocks((2.0 if c == 65 else 1.0) * layer(c).flops / 50e9, noise=0.0, processes=processes)
            made = [replace(b, minimum_s=b.minimum_s * (wobble if b.process_index == 1 else 1)) for b in blocks]
            results.append(synthetic.result(layer(c), made=tuple(made)))
        return len(cliffs(*results))

    assert [told(n) for n in (1, 2, 3, 4, 5)] == [0, 0, 0, 1, 1]
    assert (told(5, wobble=1.9), told(5, wobble=2.2)) == (1, 0)


def test_cliffs_of_different_sizes_have_a_range_and_name_the_largest() -> None:
    results = [timed(layer(c, k), (1.6 + k / 10) if c == 65 else 1.0) for c in (64, 65) for k in (1, 3, 5)]
    [found] = [finding for finding in cliffs(*results) if finding.axis == "in_channels"]
    assert found.sentence == (
        "in_channels=65 takes 1.70x to 2.10x the time per FLOP of in_channels=64 in 3 of 3 matched cases: the largest "
        f"ratio is that of {layer(65, 5).label}, which ran Mkldnn jit:avx512_core"
    )


def test_what_is_told_as_a_cliff_is_not_told_again() -> None:
    made = replace(synthetic.empty_run(), results=tuple(timed(layer(c), 2.0 if c == 65 else 1.0) for c in (64, 65)))
    assert [f.kind for f in findings(made) if f.axis == "in_channels"] == [FindingKind.CLIFF]


def test_larger_sizes_that_cost_less_and_far_ones_are_no_cliffs() -> None:
    assert cliffs(*(timed(layer(c), 100 / c) for c in (4, 8, 16, 32))) == []
    assert cliffs(timed(layer(8)), timed(layer(100), 3.0)) == []
    assert cliffs(timed(layer(64)), timed(layer(65), 1.4)) == []


def test_the_neighbour_is_the_next_smaller_size_that_was_measured() -> None:
    results = [
        timed(layer(c, k), 2.0 if c == 20 else 1.0) for k, sizes in ((1, (16, 18, 20)), (3, (16, 20))) for c in sizes
    ]
    assert sorted(finding.sentence.split(" in ")[0] for finding in cliffs(*results)) == [
        "in_channels=20 takes 2.00x the time per FLOP of in_channels=16",
        "in_channels=20 takes 2.00x the time per FLOP of in_channels=18",
    ]


def test_many_cliffs_share_a_sentence() -> None:
    results = [timed(layer(c), 2.0 if c % 2 else 1.0) for c in range(32, 44)]
    *told, rest = cliffs(*results)
    assert len(told) == 3
    assert rest.sentence.endswith("of the next smaller value in some cases: 39, 41 and 43")
    assert len(rest.cases) == 6
    assert not set(rest.cases) & {case for finding in told for case in finding.cases}


@pytest.mark.slow
@settings(max_examples=30, deadline=None, derandomize=True)
@given(at=st.integers(33, 47), size=st.floats(1.8, 10.0), seed=st.integers(0, 1000))
def test_a_planted_cliff_is_found_at_its_value_alone(at: int, size: float, seed: int) -> None:
    results = [timed(layer(c), size if c == at else 1.0, process=0.01, seed=seed) for c in range(32, 48)]
    [found] = cliffs(*results)
    assert set(found.cases) == {layer(at - 1).id, layer(at).id}
    assert found.size == pytest.approx(size, rel=0.04)
