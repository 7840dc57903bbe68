"""Contrasts: every pair of two values of a setting, as the findings judge them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import synthetic
from synthetic import layer

from convbench import sweep as sweeps
from convbench.analysis.findings.contrasts import Contrast, Measure
from convbench.analysis.findings.findings import Examined, FindingKind, examined, with_details
from convbench.model.case import Case
from convbench.model.problem import Direction
from convbench.model.result import LAYOUT, Result, Status, pack_blocks


def timed(case: Case, floor_s: float, slowest: float = 1.0) -> Result:
    """A case that takes so long; its second process takes `slowest` times as long."""
    blocks = synthetic.blocks(floor_s, noise=0.0)
    made = [replace(b, minimum_s=floor_s * (slowest if b.process_index == 1 else 1)) for b in blocks]
    return replace(synthetic.result(case, made=blocks), blocks=((LAYOUT, pack_blocks(made)),))


def seen(*results: Result) -> Examined:
    return examined(replace(synthetic.empty_run(), results=results))


def of_axis(found: Examined, axis: str) -> dict[tuple[object, object], Contrast]:
    return {(each.base, each.other): each for each in found.contrasts if each.axis == axis}


def test_a_contrast_has_every_pair_with_ratio_noise_and_verdict() -> None:
    sides = {8: (2e-3, 1e-3, 1.0), 9: (1e-3, 2e-3, 1.0), 10: (1e-3, 1.2e-3, 1.5), 11: (1e-3, 1.01e-3, 1.0)}
    results = []
    for channels, (base, other, slowest) in sides.items():
        results += [timed(layer(channels), base), timed(layer(channels, dtype="bfloat16"), other, slowest)]
    lonely = timed(layer(12), 1e-3)
    wrong = replace(timed(layer(12, dtype="bfloat16"), 1e-3), status=Status.FAILED, reason="wrong")
    found = seen(*results, lonely, wrong)
    [(values, pairs)] = of_axis(found, "dtype").items()
    assert values == ("float32", "bfloat16") and pairs.measure is Measure.TIME
    ids = found.table["case_id"].to_numpy()
    by_channels = {ids[row]: place for place, row in enumerate(pairs.base_rows)}
    order = [by_channels[layer(channels).id] for channels in sides]
    assert [ids[row] for row in pairs.other_rows[order]] == [layer(c, dtype="bfloat16").id for c in sides]
    assert pairs.ratio[order] == pytest.approx([0.5, 2.0, 1.2, 1.01], rel=1e-5)
    assert pairs.noise[order] == pytest.approx([0, 0, 0.5, 0], abs=1e-5)
    assert pairs.verdict[order].tolist() == [1, -1, 0, 0]
    assert pairs.effect == pytest.approx(abs(np.median(np.log([0.5, 2.0, 1.2, 1.01]))), rel=1e-5)


def test_every_finding_on_two_values_has_its_pairs() -> None:
    took = {1: 4e-3, 2: 2e-3, 4: 3e-3}
    results = [timed(layer(c, threads=t), s) for c in (16, 32) for t, s in took.items()]
    found = seen(*(synthetic.with_facts(result, threads=result.case.threads) for result in results))
    assert set(of_axis(found, "threads")) == {(1, 2), (1, 4), (2, 4)}, "too many threads are judged against fewer"
    proven = [each for each in with_details(found.findings) if each.values]
    assert {FindingKind.BEST, FindingKind.THREADS} <= {each.kind for each in proven}
    for finding in proven:
        pairs = of_axis(found, str(finding.axis))[finding.values]
        if finding.paired:
            rows = np.concatenate([pairs.base_rows, pairs.other_rows])
            assert set(finding.cases) <= set(found.table["case_id"].iloc[rows])


def test_what_changes_the_work_is_compared_per_flop_and_a_direction_by_how_long_it_takes() -> None:
    results = [
        timed(layer(channels, direction=direction), seconds * (3 if direction is Direction.BACKWARD else 1))
        for channels, seconds in ((16, 1e-3), (32, 1e-3))
        for direction in (Direction.FORWARD, Direction.BACKWARD)
    ]
    found = seen(*results)
    channels = of_axis(found, "in_channels")[16, 32]
    assert channels.measure is Measure.PER_FLOP and channels.ratio == pytest.approx([0.5, 0.5], rel=1e-5)
    assert channels.effect == pytest.approx(0, abs=1e-6), "the time is the same"
    direction = of_axis(found, "direction")["forward", "backward"]
    assert direction.measure is Measure.LONGER and direction.ratio == pytest.approx([3, 3], rel=1e-5)


def test_half_padding_is_one_value() -> None:
    text = """
axes:
  in_channels: 16
  out_channels: 16
  kernel_size: [1, 3, 5]
  padding: half
  input_size: 28
"""
    cases = sweeps.cases(sweeps.parse.parse(text, "sweep.yaml")).cases
    made = replace(synthetic.empty_run(), results=tuple(timed(case, 1e-3) for case in cases), source=text)
    found = examined(made)
    assert set(of_axis(found, "kernel_size")) == {("1x1", "3x3"), ("1x1", "5x5")}
    assert of_axis(found, "padding") == {}
