from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import synthetic

from convbench.analysis.findings.findings import findings
from convbench.analysis.table import metrics
from convbench.analysis.table.columns import columns
from convbench.model.case import Case
from convbench.model.problem import Problem
from convbench.model.result import LAYOUT, ProcessFacts, Roof, RoofKind, pack_blocks, unpack_blocks


def limits(cases: list[Case], processes: list[ProcessFacts]) -> metrics.Limits:
    return metrics.limits(cases, [case.flops for case in cases], [case.bytes for case in cases], processes)


def compute(rate: float, dtype: str = "float32", **more: object) -> Roof:
    return Roof(kind=RoofKind.COMPUTE, rate=rate, dtype=dtype, **{"device": "cpu", "threads": 1, "source": "a", **more})


def copy(rate: float, footprint: int) -> Roof:
    return Roof(kind=RoofKind.BANDWIDTH, rate=rate, footprint_bytes=footprint, device="cpu", threads=1, source="copy")


def facts(*roofs: Roof, process_index: int = 0) -> ProcessFacts:
    return ProcessFacts(process_index=process_index, seconds=1.0, roofs=roofs)


def case(channels: int = 64, kernel: int = 3, **more: object) -> Case:
    problem = Problem(
        in_channels=channels, out_channels=channels, kernel_size=(kernel, kernel), input_size=(32, 32), bias=False
    )
    return Case(problem=problem, **{"threads": 1, **more})


def test_the_longer_of_compute_and_memory_is_attainable() -> None:
    heavy, light = case(64), case(64, kernel=1)
    processes = [facts(compute(1e11), copy(1e8, 2**10), copy(1e8, 2**30))]
    found = limits([heavy, light], processes)
    assert found.bound == ["memory", "memory"], "a slow memory limits both"
    assert found.attainable_s.tolist() == pytest.approx([heavy.bytes / 1e8, light.bytes / 1e8])
    found = limits([heavy, light], [facts(compute(1e9), copy(1e11, 2**10), copy(1e11, 2**30))])
    assert found.bound == ["compute", "compute"]
    assert found.attainable_s.tolist() == pytest.approx([heavy.flops / 1e9, light.flops / 1e9])


def test_the_highest_roof_of_all_processes_counts() -> None:
    processes = [facts(compute(1e9), copy(1e12, 1)), facts(compute(4e9), copy(1e12, 1), process_index=1)]
    assert limits([case()], processes).attainable_s[0] == pytest.approx(case().flops / 4e9)


def test_bandwidth_is_interpolated_at_the_cases_own_footprint() -> None:
    one = case()
    below, above = 2 ** math.floor(math.log2(one.bytes)), 2 ** math.ceil(math.log2(one.bytes))
    processes = [facts(compute(1e18), copy(2e10, below), copy(1e10, above))]
    share = math.log2(one.bytes) - math.log2(below)
    rate = 2e10 + (1e10 - 2e10) * share
    assert limits([one], processes).attainable_s[0] == pytest.approx(one.bytes / rate)


def test_a_case_without_a_roof_of_its_own_has_no_limit() -> None:
    processes = [facts(compute(1e9), copy(1e9, 2**20))]
    found = limits([case(dtype="bfloat16"), case(threads=2), case(device="cuda")], processes)
    assert np.isnan(found.attainable_s).all()
    assert found.bound == [None] * 3
    assert np.isnan(limits([case()], []).attainable_s).all()


def test_over_the_roof_names_its_reason_and_under_it_there_is_none() -> None:
    assert metrics.over_roof(0.99, "compute", "A") is None
    assert metrics.over_roof(math.nan, None, None) is None
    assert "cache" in str(metrics.over_roof(1.1, "memory", None))
    assert "kernel" in str(metrics.over_roof(1.1, "compute", "Mkldnn jit:avx512_core"))
    assert "fewer multiplications" in str(metrics.over_roof(1.1, "compute", "Cudnn cudnn::winograd_nonfused"))


def test_columns_and_finding_follow_from_the_roofs_of_a_run() -> None:
    run = synthetic.run(12, hostile=False, troubles=False)
    dtypes = {(result.case.device, result.case.threads, result.case.dtype) for result in run.results}
    roofs = [compute(1e15, dtype, device=device, threads=threads) for device, threads, dtype in dtypes]
    roofs += [
        replace(copy(1e15, 2**20), device=device, threads=threads) for device, threads in {key[:2] for key in dtypes}
    ]
    table = columns(replace(run, processes=(facts(*roofs),)))
    for attainable, efficiency, floor in zip(table["attainable_s"], table["efficiency"], table["floor_s"], strict=True):
        assert isinstance(attainable, float)
        assert isinstance(floor, float)
        assert efficiency == pytest.approx(attainable / floor)
    assert set(columns(run)["efficiency"]) == {None}
    told = [finding.sentence for finding in findings(replace(run, processes=(facts(*roofs),)))]
    assert any("12 of 12 cases reach less than 25 % of what this machine can do" in sentence for sentence in told)
    assert not any("what this machine can do" in finding.sentence for finding in findings(run))
    unnamed = replace(run, results=tuple(synthetic.with_facts(result, implementation=None) for result in run.results))
    told = [finding.sentence for finding in findings(replace(unnamed, processes=(facts(*roofs),)))]
    assert any("with an unknown kernel" in sentence for sentence in told)


def test_images_per_second_count_the_batch() -> None:
    run = synthetic.run(6, hostile=False, troubles=False)
    table = columns(run)
    for result, rate, floor in zip(run.results, table["images_per_second"], table["floor_s"], strict=True):
        assert isinstance(floor, float)
        assert rate == pytest.approx((result.case.problem.batch_size or 1) / floor)


def test_a_case_that_takes_longer_to_launch_than_to_run_is_bound_by_that() -> None:
    run = synthetic.run(2, hostile=False, troubles=False)
    first, second = run.results
    late = [replace(block, host_s=2 * block.minimum_s) for _, packed in first.blocks for block in unpack_blocks(packed)]
    run = replace(run, results=(replace(first, blocks=((LAYOUT, pack_blocks(late)),)), second))
    assert columns(run)["bound"] == ["launch", None]
