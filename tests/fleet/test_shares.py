"""Which hosts measure a campaign, and how they share its cases out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fake_fleet import KEY, OTHER_KEY, host
from hypothesis import given
from hypothesis import strategies as st

from convbench.errors import RequestError
from convbench.fleet.shares import (
    FEWEST_CONTROLS,
    Wanted,
    chosen,
    controls_of,
    device_kind,
    shared_out,
    whole_sweep,
)
from convbench.model.campaign import DeviceKind, How
from convbench.model.case import Case
from convbench.model.problem import Problem

GPU_KEY = replace(KEY, devices=(DeviceKind(model="H200"),))


def layer(in_channels: int = 1, device: str = "cpu") -> Case:
    problem = Problem(in_channels=in_channels, out_channels=4, kernel_size=(1, 1), input_size=(8, 8))
    return Case(problem=problem, device=device)


def some_cases(count: int) -> list[Case]:
    return [layer(in_channels=channels) for channels in range(1, count + 1)]


@given(seconds=st.lists(st.floats(1e-3, 10.0), min_size=FEWEST_CONTROLS + 1, max_size=60), hosts=st.integers(1, 8))
def test_every_case_is_a_control_or_in_one_shard_and_shards_take_about_equally_long(
    seconds: list[float], hosts: int
) -> None:
    cases = some_cases(len(seconds))
    forecast = dict(zip([case.id for case in cases], seconds, strict=True))
    shards, controls = shared_out(cases, forecast, [host(f"h{number}") for number in range(hosts)])
    dealt = [case_id for shard in shards for case_id in shard.case_ids]
    assert sorted([*dealt, *controls]) == sorted(case.id for case in cases)
    assert len(controls) >= FEWEST_CONTROLS
    assert all(shard.case_ids for shard in shards)
    spent = [sum(forecast[case_id] for case_id in shard.case_ids) for shard in shards]
    longest = max(forecast[case_id] for case_id in dealt)
    assert max(spent) - min(spent) <= longest + 1e-9, "the last case dealt is the difference at most"


def test_controls_are_short_and_long() -> None:
    cases = some_cases(60)
    forecast = {case.id: float(number) for number, case in enumerate(cases)}
    assert [forecast[case_id] for case_id in controls_of(cases, forecast)] == [5, 15, 25, 35, 45, 55]
    assert len(controls_of(some_cases(500), {case.id: 1.0 for case in some_cases(500)})) == 10


def test_sweep_of_controls_alone_is_not_shared() -> None:
    cases = some_cases(6)
    with pytest.raises(RequestError, match="the sweep has 6 cases, and every host measures 6"):
        shared_out(cases, {case.id: 1.0 for case in cases}, [host("a"), host("b")])


def test_one_host_of_each_key_or_all() -> None:
    there = [host("b"), host("a"), host("x", OTHER_KEY), host("a", GPU_KEY, device="GPU-1")]

    def names(**wanted: object) -> list[str]:
        return [str(at) for at in chosen(there, Wanted(how=How.EACH, **wanted))]

    assert names() == ["a", "x"]
    assert names(every_host=True) == ["a", "b", "x"]
    assert names(avoided=frozenset("a")) == ["b", "x"], "a host that is slower than its history is passed over"
    assert names(avoided=frozenset("ab")) == ["a", "x"], "unless there is no other"
    assert names(device="cuda") == ["a GPU-1"]
    assert [shard.position for shard in whole_sweep(there)] == [0, 1, 2, 3]


def test_hosts_of_several_keys_do_not_share_a_sweep() -> None:
    with pytest.raises(RequestError, match="needs hosts of one machine key, found 2"):
        chosen([host("a"), host("x", OTHER_KEY)], Wanted(how=How.SPLIT))
    assert len(chosen([host("a"), host("b")], Wanted(how=How.SPLIT))) == 2


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Wanted(how=How.EACH, where=(("zone", "1"),)), "no host has the label zone=1"),
        (Wanted(how=How.EACH, device="cuda"), "no host has a device of kind cuda that is known"),
    ],
)
def test_no_host_is_an_error_that_says_why(wanted: Wanted, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        chosen([host("a")], wanted)


def test_no_host_at_all_is_an_error() -> None:
    with pytest.raises(RequestError, match="no host can measure"):
        chosen([], Wanted(how=How.EACH))


def test_kind_of_device_is_that_of_the_cases() -> None:
    cpu, cuda, second, metal = (layer(device=device) for device in ("cpu", "cuda", "cuda:1", "mps"))
    assert device_kind([cpu], None) == device_kind([cpu], "cpu") == "cpu"
    assert device_kind([cpu, cuda], None) == "cuda"
    for cases, asked, message in (
        ([cpu], "cuda", "the cases of the sweep run on cpu"),
        ([cuda, metal], None, "cases on cuda and mps"),
        ([second], None, "cases on cuda:1: a shard sees one device alone"),
    ):
        with pytest.raises(RequestError, match=message):
            device_kind(cases, asked)
