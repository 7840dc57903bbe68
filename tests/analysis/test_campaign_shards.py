"""Which runs make a campaign, runs of hosts that shared the cases, and two campaigns machine by machine."""

from __future__ import annotations

import math
from dataclasses import replace

import campaigns
import pytest
import synthetic
from campaigns import EPYC, XEON
from hypothesis import given
from hypothesis import strategies as st

from convbench import units
from convbench.analysis.campaign.comparing import paired
from convbench.analysis.campaign.findings import CampaignKind, campaign_findings
from convbench.analysis.campaign.gathering import Gathered, newest, of_campaign, of_newest
from convbench.analysis.campaign.known import MOST_READ, known_machines, to_read
from convbench.analysis.campaign.shards import MOST_SPREAD, merged
from convbench.analysis.campaign.view import view
from convbench.analysis.findings.findings import examined
from convbench.analysis.table.columns import columns
from convbench.model.campaign import CampaignState, How, MachineKey, MachineRun, ShardState
from convbench.model.result import ProcessFacts, Run, RunState, Status
from convbench.model.serial import check_contents

KEYS = [MachineKey(cpu=cpu, architecture="x86_64", cores=2) for cpu in ("A", "B")]


def by_id(runs: list[Run]) -> dict[str, Run]:
    return {run.id: run for run in runs}


# Hosts that shared the cases


def test_the_runs_of_two_hosts_read_as_one() -> None:
    runs, controls = campaigns.shared(24)
    whole, split = merged([(run.environment.hostname, run) for run in runs], controls, id="c1-0")
    check_contents(whole)
    assert len(whole.results) == 24 and whole.state is RunState.FINISHED
    assert {result.case for result in whole.results} == set(synthetic.cases(24))
    hosts = dict(zip(columns(whole)["case_id"], columns(whole)["host"], strict=True))
    for run in runs:
        for result in run.results:
            if result.case.id not in controls:
                assert hosts[result.case.id] == run.environment.hostname
    assert {hosts[control] for control in controls} == {"epyc-1"}
    assert whole.environment.hostname == "epyc-1, epyc-2"
    assert [facts.process_index for facts in whole.processes] == [0, 1, 2, 3, 4]
    assert examined(whole).findings, "the usual report reads it"
    assert split.is_one and len(split.controls) == 6


@given(factor=st.sampled_from([1.0, 1.05, 1.2, 0.8]))
def test_how_far_hosts_lie_apart_is_what_their_controls_say(factor: float) -> None:
    runs, controls = campaigns.shared(14, factor=factor, process=0.001)
    _, split = merged([(run.environment.hostname, run) for run in runs], controls, id="c1-0")
    assert split.apart == pytest.approx(max(factor, 1 / factor) - 1, abs=0.01)
    assert split.is_one == (factor == 1.0)
    assert split.moved[1] / split.moved[0] == pytest.approx(factor, rel=0.01)


def test_beyond_the_controls_spread_it_is_not_one_run_and_says_so() -> None:
    runs, controls = campaigns.shared(24, factor=1.2)
    campaign = campaigns.conducted(runs, how=How.SPLIT, controls=controls)
    found = of_campaign(campaign, by_id(runs))
    seen = view(found.runs, name=found.name, id=found.id, splits=found.splits)
    first = campaign_findings(seen)[0]
    assert first.kind is CampaignKind.HOSTS
    apart = units.apart(found.splits[0].apart)
    assert first.sentence.startswith(f"6 control cases: the hosts epyc-1, epyc-2 lie {apart} apart, beyond the cases' ")
    assert first.sentence.endswith("This is not one run: times of different hosts are not comparable")


def test_a_wider_spread_of_the_controls_allows_more() -> None:
    runs, controls = campaigns.shared(24, factor=1.05, process=0.1)
    _, split = merged([(run.environment.hostname, run) for run in runs], controls, id="c1-0")
    assert split.is_one and split.spread > split.apart
    assert "within the cases' spread" in str(split)


def test_a_spread_that_is_too_wide_proves_nothing() -> None:
    runs, controls = campaigns.shared(24, factor=1.05, process=0.8)
    _, split = merged([(run.environment.hostname, run) for run in runs], controls, id="c1-0")
    assert split.spread > MOST_SPREAD and not split.is_one
    assert "too noisy to say whether they are one machine" in str(split)


def test_without_a_common_control_nothing_says_that_hosts_are_one_machine() -> None:
    runs, controls = campaigns.shared(12)
    for ids in ((), controls[:0]):
        _, split = merged([(run.environment.hostname, run) for run in runs], ids, id="c1-0")
        assert not split.is_one and math.isnan(split.apart)
        assert "no control case has a time on every host of epyc-1, epyc-2" in str(split)


def test_a_control_that_failed_on_a_host_is_no_control() -> None:
    runs, controls = campaigns.shared(12)
    broken = replace(runs[1].results[0], status=Status.CRASHED, reason="signal 11", blocks=())
    runs[1] = replace(runs[1], results=(broken, *runs[1].results[1:]))
    _, split = merged([(run.environment.hostname, run) for run in runs], controls, id="c1-0")
    assert [control.case.id for control in split.controls] == list(controls[1:])


def test_references_of_several_hosts_are_left_out() -> None:
    runs, controls = campaigns.shared(12)
    referred = [synthetic.referred(run) for run in runs]
    whole, _ = merged([(run.environment.hostname, run) for run in referred], controls, id="c1-0")
    assert all(not facts.references for facts in whole.processes)
    assert not any(value for value in columns(whole)["normalized_s"])


# Which runs


def test_a_campaign_of_each_machine_has_a_member_for_each_shard() -> None:
    runs = [run for run, _ in campaigns.runs(4)]
    found = of_campaign(campaigns.conducted(runs), by_id(runs))
    assert found.runs == tuple((run, (run.environment.hostname,)) for run in runs)
    assert found.splits == found.notes == ()


def test_a_shard_that_moved_reads_as_one_run_whose_newest_results_stay() -> None:
    cases = synthetic.cases(8)
    lost = replace(campaigns.run(EPYC, cases[:5], id="20261124-033000-lost"), state=RunState.INTERRUPTED)
    moved = campaigns.run(replace(EPYC, hostname="epyc-2"), cases[4:], factor=1.1, id="20261124-053000-move")
    campaign = campaigns.conducted([moved])
    shard = replace(campaign.shards[0], run_ids=(lost.id, moved.id), note="moved from epyc-1, which was lost")
    found = of_campaign(replace(campaign, shards=(shard,)), by_id([lost, moved]))
    ((whole, hosts),) = found.runs
    assert hosts == ("epyc-2", "epyc-1")
    assert {result.case: result.host for result in whole.results} == {
        case: "epyc-1" if case in cases[:4] else "epyc-2" for case in cases
    }
    assert found.notes == ("of the shard of AMD EPYC 7B13 (epyc-2): moved from epyc-1, which was lost",)


def test_an_unfinished_campaign_says_what_it_lacks() -> None:
    runs = [run for run, _ in campaigns.runs(4)][:2]
    campaign = campaigns.conducted(runs)
    failed = replace(campaign.shards[0], state=ShardState.FAILED, note="no torch there")
    waiting = replace(campaign.shards[1], state=ShardState.WAITING, run_ids=(), host=None)
    campaign = replace(campaign, state=CampaignState.INTERRUPTED, shards=(failed, waiting))
    found = of_campaign(campaign, by_id(runs))
    assert [run.id for run, _ in found.runs] == [runs[0].id]
    assert found.notes == (
        f"the campaign is interrupted: `convbench fleet status {campaign.id}` lists its shards",
        "the shard of AMD EPYC 7B13 (epyc-1) failed",
        "of the shard of AMD EPYC 7B13 (epyc-1): no torch there",
        "the shard of Intel Xeon Platinum 8481C has no run yet",
    )


def machine_run(number: int, key: MachineKey, host: str, state: RunState = RunState.FINISHED) -> MachineRun:
    return MachineRun(
        run_id=f"2026112{number}-033000-ab12",
        name="sweep",
        state=state,
        started_at=f"2026-11-2{number}T03:30:00+00:00",
        finished_at=None,
        host=host,
        machine=key,
    )


def test_the_newest_finished_run_of_each_machine_or_host_counts() -> None:
    runs = [
        machine_run(6, KEYS[0], "a1", RunState.RUNNING),
        machine_run(5, KEYS[1], "b1"),
        machine_run(4, KEYS[0], "a2"),
        machine_run(3, KEYS[0], "a1"),
        machine_run(2, KEYS[0], "a2"),
    ]
    assert [run.started_at[8:10] for run in newest(runs)] == ["25", "24"]
    assert [run.started_at[8:10] for run in newest(runs, all_hosts=True)] == ["25", "24", "23"]


# The machines that are known


def test_a_known_machine_has_its_hosts_runs_best_roofs_and_noise() -> None:
    runs = [
        machine_run(6, KEYS[0], "a1", RunState.INTERRUPTED),
        machine_run(5, KEYS[0], "a2"),
        machine_run(4, KEYS[1], "b"),
    ]
    roofs = campaigns.roofs(EPYC)
    better = replace(roofs[0], rate=2 * roofs[0].rate)
    facts = synthetic.referred(campaigns.run(EPYC, synthetic.cases(2))).processes
    noisy = {
        runs[1].run_id: tuple(replace(one, roofs=roofs) for one in facts),
        runs[2].run_id: (ProcessFacts(process_index=0, seconds=1.0, roofs=(better,)),),
    }
    first, second = known_machines(runs, noisy)
    assert (first.name, first.hosts, first.runs, first.last) == ("A", ("a1", "a2"), 2, runs[0])
    assert max(first.roofs.compute.values()) == 1.6e11 and first.noise == 0
    assert max(second.roofs.compute.values()) == better.rate and math.isnan(second.noise)


def test_noise_is_the_median_of_the_references_over_their_fastest() -> None:
    made = campaigns.run(EPYC, synthetic.cases(2))
    run = machine_run(5, KEYS[0], "a")
    slow, fast = synthetic.referred(made, dict.fromkeys(synthetic.ReferenceKind, 1.5)), synthetic.referred(made)
    facts = (*slow.processes[:3], *fast.processes[3:])
    (found,) = known_machines([run], {run.run_id: facts})
    assert found.noise == pytest.approx(0.5, rel=1e-6), "three of five processes were half as fast again"


def test_few_runs_of_a_machine_are_read() -> None:
    runs = [machine_run(at % 9, KEYS[0], "a") for at in range(3 * MOST_READ)]
    assert [len(some) for some in to_read(runs).values()] == [MOST_READ]


# Two campaigns


def gathered(runs: list[Run]) -> Gathered:
    return of_newest(runs)


def test_machines_are_paired_by_their_keys() -> None:
    cases = synthetic.cases(4)
    base = [campaigns.run(each, cases, id=f"base-{at}") for at, each in enumerate((EPYC, XEON))]
    new = [
        campaigns.run(replace(EPYC, hostname="other"), cases, id="new-0"),
        campaigns.run(campaigns.ARM, cases, id="new-1"),
    ]
    found = paired(gathered(base), gathered(new))
    assert [(pair.name, pair.base.id, pair.new.id, pair.refusal) for pair in found.pairs] == [
        ("AMD EPYC 7B13", "base-0", "new-0", "")
    ]
    assert found.only_base == ("Intel Xeon Platinum 8481C",) and found.only_new == ("Neoverse-V2",)


def test_of_one_key_hosts_are_paired_with_themselves() -> None:
    cases = synthetic.cases(2)
    hosts = [replace(EPYC, hostname=name) for name in ("a", "b")]
    base = [campaigns.run(host, cases, id=f"base-{host.hostname}") for host in hosts]
    new = [campaigns.run(host, cases, id=f"new-{host.hostname}") for host in hosts[::-1]]
    found = paired(gathered(base), gathered(new))
    assert sorted((pair.base.id, pair.new.id) for pair in found.pairs) == [("base-a", "new-a"), ("base-b", "new-b")]


def test_hosts_that_are_not_one_machine_are_refused() -> None:
    runs, controls = campaigns.shared(24, factor=1.3)
    campaign = campaigns.conducted(runs, how=How.SPLIT, controls=controls)
    apart = of_campaign(campaign, by_id(runs))
    (pair,) = paired(apart, gathered([campaigns.run(EPYC, synthetic.cases(24))])).pairs
    assert pair.refusal.startswith(f"{campaign.id}: 6 control cases") and "not one run" in pair.refusal
