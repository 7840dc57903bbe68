"""Blocks whose device had lowered its clock: their share, what they cost, and what else the device's library says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import synthetic

from convbench.analysis.comparison.comparison import compare
from convbench.analysis.findings.findings import findings
from convbench.analysis.table.columns import Rows, columns
from convbench.model.case import Case
from convbench.model.result import NAN, Block, DeviceState, ProcessFacts, Run

CASE = synthetic.layer(16, device="cuda:0")
FAST, SLOW = 1e-3, 1.15e-3


def _run(throttled: Callable[[Block], float], *states: DeviceState, case: Case = CASE) -> Run:
    """A case whose throttled blocks take 15 % longer."""
    made = []
    for block in synthetic.device_blocks([FAST] * 5, start=0.9e-3):
        flag = throttled(block)
        slow = SLOW if flag == 1 else FAST
        made.append(replace(block, throttled=flag, median_s=slow, q3_s=slow, p95_s=slow, mean_s=slow))
    facts = ProcessFacts(process_index=0, seconds=1.0, device_states=states)
    results = (synthetic.result(case, made=tuple(made)),)
    return replace(synthetic.empty_run(), results=results, processes=(facts,))


def _told(run: Run, word: str) -> list[str]:
    return [each.sentence for each in findings(run) if word in each.sentence]


STATE = DeviceState(device="cuda:0", sm_hz=1.2e9, most_sm_hz=1.98e9, slowdowns=("power limit",))


def test_a_finding_says_what_lowered_clocks_cost() -> None:
    run = _run(lambda block: float(block.round_index == 4), STATE)
    assert columns(run)["throttled_share"] == [0.2]
    assert Rows(run).throttled.cost == pytest.approx([0.15])
    assert _told(run, "lowered its clock") == [
        "the device lowered its clock (power limit) in 20 % of the blocks of 1 case: these blocks took +15.0 % in the "
        f"median of 1 case beside the case's other blocks; {CASE.label}"
    ]


def test_where_all_blocks_are_alike_the_clock_is_told() -> None:
    run = _run(lambda block: 1.0, STATE)
    assert np.isnan(Rows(run).throttled.cost).all()
    assert _told(run, "lowered its clock") == [
        "the device lowered its clock (power limit) in 100 % of the blocks of 1 case: no case has other blocks to "
        f"compare them with, and the SM clock was 1.20 GHz of 1.98 GHz; {CASE.label}"
    ]
    [found] = [each for each in findings(run) if "lowered its clock" in each.sentence]
    assert found.cases == (CASE.id,) and found.weight.name == "NOISE", "it concerns most of the run"


@pytest.mark.parametrize(("flag", "share"), [(0.0, 0.0), (NAN, None)])
def test_nothing_is_told_where_no_clock_was_lowered_or_none_is_known(flag: float, share: float | None) -> None:
    run = _run(lambda block: flag)
    assert columns(run)["throttled_share"] == [share]
    assert _told(run, "lowered its clock") == []


def test_other_processes_on_the_device_are_told() -> None:
    states = [replace(STATE, other_processes=others) for others in (0, 2)]
    assert _told(_run(lambda block: 0.0, *states), "on cuda:0") == [
        "2 other processes were on cuda:0 during the run, and could use it at the same time"
    ]
    assert _told(_run(lambda block: 0.0, states[0]), "on cuda:0") == []


def test_another_clock_is_a_difference_of_two_runs() -> None:
    base = _run(lambda block: 0.0, replace(STATE, sm_hz=1.98e9))
    assert [str(one) for one in compare(base, _run(lambda block: 0.0, STATE)).differences] == [
        "SM clock of cuda:0 1.98 GHz -> 1.20 GHz"
    ]
    assert compare(base, base).differences == ()
