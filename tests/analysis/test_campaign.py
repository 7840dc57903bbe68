"""Campaigns: names of machines, the best machine with its noise, orderings that turn round, networks and costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import campaigns
import numpy as np
import pytest
import synthetic
from campaigns import ARM, EPYC, XEON

from convbench.analysis.campaign.costs import images_per_dollar, parsed_prices, prices_of
from convbench.analysis.campaign.findings import CampaignKind, campaign_findings
from convbench.analysis.campaign.members import members, names_of
from convbench.analysis.campaign.turns import turns
from convbench.analysis.campaign.view import CampaignView, view
from convbench.errors import RequestError
from convbench.model.campaign import DeviceKind, MachineKey
from convbench.model.result import Environment, Run, Status

KEY = MachineKey(cpu="AMD EPYC 7B13", architecture="x86_64", cores=2)


def viewed(runs: Sequence[tuple[Run, Sequence[str]]], **about: object) -> CampaignView:
    return view(runs, name="made up", id="c20261124-033000-k7q2", **about)


@pytest.fixture(scope="module")
def three() -> CampaignView:
    return viewed(campaigns.runs(48), prices={"epyc-1": 0.5, "xeon-1": 3.0, "arm-1": 1.0})


def sentences(of: CampaignView, kind: CampaignKind) -> list[str]:
    return [one.sentence for one in campaign_findings(of) if one.kind is kind]


# Names


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        ([KEY], ["AMD EPYC 7B13"]),
        ([replace(KEY, cpu=XEON.cpu)], ["Intel Xeon Platinum 8481C"]),
        ([replace(KEY, cpu="AMD EPYC 9654 96-Core Processor")], ["AMD EPYC 9654"]),
        ([replace(KEY, cpu="")], ["unknown processor"]),
        ([replace(KEY, devices=(DeviceKind(model="NVIDIA H200"),))], ["NVIDIA H200"]),
        ([KEY, replace(KEY, cores=1)], ["AMD EPYC 7B13, 2 cores", "AMD EPYC 7B13, 1 core"]),
        (
            [KEY, replace(KEY, architecture="aarch64")],
            ["AMD EPYC 7B13, x86_64, 2 cores", "AMD EPYC 7B13, aarch64, 2 cores"],
        ),
        ([KEY, KEY], ["AMD EPYC 7B13 (host-0)", "AMD EPYC 7B13 (host-1)"]),
    ],
)
def test_a_machine_has_the_shortest_name_that_differs(keys: list[MachineKey], names: list[str]) -> None:
    assert names_of(keys, [(f"host-{at}",) for at in range(len(keys))]) == names


def test_members_are_in_one_order_whatever_the_order_of_the_runs() -> None:
    runs = campaigns.runs(4)
    assert members(runs) == members(runs[::-1])
    assert [member.name for member in members(runs)] == ["AMD EPYC 7B13", "Intel Xeon Platinum 8481C", "Neoverse-V2"]


# The best machine


def test_the_best_machine_of_each_case_is_the_one_that_needs_the_least(three: CampaignView) -> None:
    machines: list[Environment] = [member.run.environment for member in three.members]
    expected = [int(np.argmin([campaigns.floor_s(case, machine) for machine in machines])) for case in three.cases]
    assert three.ranking.best.tolist() == expected
    assert three.ranking.alone.all()
    for row, case in enumerate(three.cases):
        times = sorted(campaigns.floor_s(case, machine) for machine in machines)
        assert three.ranking.lead[row] == pytest.approx(times[1] / times[0], rel=0.02)
        assert three.ranking.ratio[row, expected[row]] == 1
        assert (three.ranking.low[row] <= three.ranking.ratio[row]).all()
        assert (three.ranking.high[row] >= three.ranking.ratio[row]).all()


def test_the_sentence_says_in_how_many_cases_and_by_how_much(three: CampaignView) -> None:
    wins = [int((three.ranking.best == at).sum()) for at in range(3)]
    found = sentences(three, CampaignKind.BEST)
    assert found[0].startswith(
        f"Intel Xeon Platinum 8481C is the fastest of 3 machines in {wins[1]} of 48 cases: the next one takes 1.25x "
    )
    assert len(found) == sum(win > 0 for win in wins)


def test_equal_machines_are_within_noise() -> None:
    other = replace(EPYC, hostname="epyc-2", cores=4)
    cases = synthetic.cases(24)
    same = viewed([(campaigns.run(each, cases, process=0.02), (each.hostname,)) for each in (EPYC, other)])
    assert same.ranking.alike.all()
    assert not same.ranking.alone.any()
    assert sentences(same, CampaignKind.BEST) == ["noise hides which machine is the fastest in 24 of 24 cases"]


def test_a_difference_of_two_processes_needs_more_than_their_spread() -> None:
    """With two processes 8 % apart is within noise; with five it is not."""
    cases = synthetic.cases(8)
    for processes, alone in ((2, False), (5, True)):
        runs = [
            campaigns.run(each, cases, factor=factor, process=0.001, processes=processes)
            for each, factor in ((EPYC, 1.0), (replace(EPYC, cores=4), 1.08))
        ]
        assert viewed([(run, ("a",)) for run in runs]).ranking.alone.all() == alone


def test_a_machine_with_a_wrong_or_missing_result_is_never_the_best() -> None:
    runs = campaigns.runs(8)
    broken = [result.case for result in runs[1][0].results]  # all that the fastest machine has
    runs[1] = (campaigns.run(XEON, broken, broken=broken[:3]), ("xeon-1",))
    runs[2] = (replace(runs[2][0], results=runs[2][0].results[1:]), ("arm-1",))
    seen = viewed(runs)
    assert (seen.ranking.best[:3] != 1).all() and not seen.ranking.ranked[:3, 1].any()
    assert math.isnan(seen.time_s[list(seen.cases).index(broken[0]), 2])
    assert sentences(seen, CampaignKind.TROUBLE) == [
        "3 cases without a right result on Intel Xeon Platinum 8481C: 3 crashed",
        "Neoverse-V2 did not measure 1 case",
    ]
    assert " of 5 cases" in sentences(seen, CampaignKind.BEST)[0], "cases that all machines have"


def test_one_machine_is_shown_and_called_the_best_of_nothing() -> None:
    alone = viewed(campaigns.runs(8)[:1])
    assert sentences(alone, CampaignKind.BEST) == []
    assert np.isnan(alone.ranking.lead).all() and not alone.ranking.alone.any()


# Orderings


def test_an_ordering_that_turns_round_says_where_and_in_how_many_layers(three: CampaignView) -> None:
    dtype, memory = sorted(turns(three.across), key=lambda one: one.axis)
    assert (dtype.base, dtype.other, memory.base, memory.other) == (
        "float32",
        "bfloat16",
        "contiguous",
        "channels_last",
    )
    assert dtype.wins == (1,) and 0 in dtype.loses
    assert memory.wins[0] == 0 and memory.loses == (1,)
    assert len(memory.turned) == len(memory) == memory.shared
    found = sentences(three, CampaignKind.TURN)
    assert any(
        one.startswith("channels_last wins over contiguous on AMD EPYC 7B13 (1.2")
        and "and loses on Intel Xeon Platinum 8481C (0.6" in one
        and one.endswith(f"in {len(memory)} of {len(memory)} matched layers")
        for one in found
    )


def test_the_rows_of_a_turn_are_both_cases_of_each_pair(three: CampaignView) -> None:
    for one in campaign_findings(three):
        if one.kind is CampaignKind.TURN:
            assert one.values is not None
            across = next(each for each in three.across if (each.axis, each.base, each.other) == one.values)
            expected = {three.cases.index(case) for at in across.turned for case in across.pairs[at]}
            assert set(one.rows) == expected


def test_machines_that_agree_have_no_turn() -> None:
    cases = synthetic.cases(48)
    agree = viewed([(campaigns.run(each, cases), (each.hostname,)) for each in (EPYC, replace(EPYC, cores=4))])
    assert agree.across and not turns(agree.across)
    assert sentences(agree, CampaignKind.TURN) == []


def test_a_pair_that_one_machine_lacks_is_compared_on_the_others() -> None:
    runs = campaigns.runs(24)
    kept = tuple(result for result in runs[2][0].results if result.case.dtype == "float32")
    runs[2] = (replace(runs[2][0], results=kept), ("arm-1",))
    dtype = next(one for one in viewed(runs).across if one.axis == "dtype")
    assert dtype.counts(2) == (0, 0, 0) and np.isnan(dtype.ratio[:, 2]).all()
    assert dtype.shared == len(dtype) > 0
    assert sum(dtype.counts(0)) == len(dtype)


# Networks


def test_a_network_has_a_sum_for_each_machine() -> None:
    made = viewed(campaigns.layers(EPYC, XEON))
    forward, step = made.networks
    for at, environment in enumerate((EPYC, XEON)):
        own = [campaigns.floor_s(case, environment) * case.count for case in made.cases]
        assert forward.seconds[at] == pytest.approx(sum(own[::2]), rel=0.02)
        assert step.seconds[at] == pytest.approx(sum(own), rel=0.02)
    assert forward.best == step.best == 1 and forward.images == 1
    found = sentences(made, CampaignKind.NETWORK)
    assert found[0].startswith("one forward takes ") and "on Intel Xeon Platinum 8481C, the least" in found[0]
    assert "AMD EPYC 7B13 takes 1.25x as long" in found[0]


def test_a_network_within_noise_says_so() -> None:
    layers = [result.case for result in campaigns.layers(EPYC)[0][0].results]
    other = replace(EPYC, cores=4)
    for process, factor, alike in ((0.05, 1.02, True), (0.001, 1.1, False)):
        runs = [
            (campaigns.run(each, layers, name="net", factor=much, process=process), (str(each.cores),))
            for each, much in ((EPYC, 1.0), (other, factor))
        ]
        made = viewed(runs)
        assert [each.is_alike(0, 1) for each in made.networks] == [alike, alike]
        assert ("within noise" in sentences(made, CampaignKind.NETWORK)[0]) == alike


def test_a_sentence_names_few_of_many_machines() -> None:
    machines = [replace(EPYC, hostname=f"h{cores}", cores=cores) for cores in (1, 2, 3, 4, 5, 6)]
    seen = viewed(campaigns.layers(*machines))
    assert sentences(seen, CampaignKind.NETWORK)[0].endswith("; 2 more machines")
    assert sentences(seen, CampaignKind.NETWORK)[0].count(" as long ") == 3


def test_a_network_that_lacks_a_layer_is_not_the_best() -> None:
    (epyc, _), (xeon, _) = campaigns.layers(EPYC, XEON)
    lost = [xeon.results[0].case]
    broken = campaigns.run(XEON, [result.case for result in xeon.results], name="net", broken=lost)
    forward = viewed([(epyc, ("a",)), (broken, ("b",))]).networks[0]
    assert forward.lacks[0] == "" and "layer0" in forward.lacks[1] and forward.best is None


# Costs


def test_prices_of_hosts_keys_and_names() -> None:
    found = members(campaigns.runs(2))
    epyc, xeon, arm = found
    prices = parsed_prices(["epyc-1=0.5", f"{xeon.key.id}=2", "Neoverse-V2 = 1.25"])
    assert prices_of(found, prices) == (0.5, 2.0, 1.25)
    assert prices_of(found, {epyc.key.id: 9.0, "epyc-1": 0.5})[0] == 0.5, "a host's own price comes first"
    assert math.isnan(prices_of(found, {"epyc-1": 0.5})[2]) and arm.name == "Neoverse-V2"


@pytest.mark.parametrize("text", ["epyc-1", "=1", "epyc-1=", "epyc-1=dear", "epyc-1=0", "epyc-1=-1", "epyc-1=nan"])
def test_what_is_no_price_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="the price of an hour above 0"):
        parsed_prices([text])


def test_a_price_for_nobody_or_twice_is_refused() -> None:
    with pytest.raises(RequestError, match="given twice"):
        parsed_prices(["a=1", "a=2"])
    with pytest.raises(RequestError, match="is called 'epyc-2'") as refused:
        prices_of(members(campaigns.runs(2)), {"epyc-2": 1.0})
    assert refused.value.hint == "did you mean epyc-1?"


def test_hosts_that_shared_cases_have_one_price() -> None:
    run = campaigns.runs(2)[0][0]
    found = members([(run, ("a", "b"))])
    assert prices_of(found, {"a": 1.0, "b": 1.0}) == prices_of(found, {found[0].key.id: 1.0}) == (1.0,)
    for prices in ({"a": 1.0, "b": 2.0}, {"a": 1.0}):
        with pytest.raises(RequestError, match="at different prices"):
            prices_of(found, prices)


def test_images_for_a_dollar(three: CampaignView) -> None:
    assert images_per_dollar(8, 1e-3, 1.2) == pytest.approx(8 / 1e-3 * 3600 / 1.2)
    assert math.isnan(images_per_dollar(8, math.nan, 1.0)) and math.isnan(images_per_dollar(8, 1.0, math.nan))
    for row, case in enumerate(three.cases[:6]):
        expected = case.problem.images / three.time_s[row] * 3600 / np.array(three.prices)
        assert three.images_per_dollar[row] == pytest.approx(expected)
    ranked = three.by_cost
    assert ranked is not None
    assert ranked.best.tolist() == three.images_per_dollar.argmax(axis=1).tolist()
    count = int((ranked.best == 0).sum())
    assert sentences(three, CampaignKind.COST)[0].startswith(
        f"a dollar pays for the most images on AMD EPYC 7B13 in {count} of 48 cases, "
    )


def test_without_a_price_for_every_machine_no_cost_is_compared() -> None:
    some = viewed(campaigns.runs(4), prices={"epyc-1": 1.0})
    assert some.by_cost is None and sentences(some, CampaignKind.COST) == []
    assert np.isfinite(some.images_per_dollar[:, 0]).all() and np.isnan(some.images_per_dollar[:, 1:]).all()


def test_a_dollar_of_a_network() -> None:
    made = viewed(campaigns.layers(EPYC, XEON), prices={"epyc-1": 1.0, "xeon-1": 10.0})
    assert sentences(made, CampaignKind.COST)[0].startswith("of one forward, a dollar pays for ")
    assert " images on AMD EPYC 7B13, " in sentences(made, CampaignKind.COST)[0]


# What else differs


def test_other_software_is_told() -> None:
    runs = campaigns.runs(4)
    newer = replace(XEON, torch="2.14.0")
    runs[1] = (replace(runs[1][0], environment=newer), ("xeon-1",))
    seen = viewed(runs)
    assert seen.software == [("torch", ("2.13.0+cpu", "2.14.0", "2.13.0+cpu"))]
    assert sentences(seen, CampaignKind.TROUBLE) == [
        "the machines differ in torch too: 2.13.0+cpu on AMD EPYC 7B13 and Neoverse-V2; "
        "2.14.0 on Intel Xeon Platinum 8481C"
    ]


def test_nothing_is_a_mean_over_machines(three: CampaignView) -> None:
    """A machine that is ten times as slow changes no figure of the others."""
    slow = campaigns.run(ARM, synthetic.cases(48), factor=10.0)
    other = viewed([*campaigns.runs(48)[:2], (slow, ("arm-1",))])
    assert np.array_equal(other.time_s[:, :2], three.time_s[:, :2])
    assert np.array_equal(other.ranking.ratio[:, :2], three.ranking.ratio[:, :2])
    assert {Status.PASSED} == {result.status for side in other.results for result in side if result}
