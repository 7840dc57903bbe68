"""The machines of stored runs, on each backend: read without cases and blocks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import campaigns
import pytest
import synthetic
from campaigns import EPYC, XEON
from postgres import Server

from convbench.model.campaign import DeviceKind, machine_key
from convbench.model.result import Run, RunState
from convbench.store import Store


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgres")
        return server.new_database()
    return str(tmp_path / "runs.db")


@pytest.fixture
def runs(url: str) -> list[Run]:
    cases = synthetic.cases(2)
    made = [
        campaigns.run(EPYC, cases, id="20261124-033000-aaaa"),
        campaigns.run(XEON, cases, id="20261125-033000-bbbb", started_at="2026-11-25T03:30:00+00:00"),
        campaigns.on_gpu(campaigns.run(EPYC, cases, id="20261126-033000-cccc", name="other"), watts=700.0),
    ]
    made[2] = replace(made[2], started_at="2026-11-26T03:30:00+00:00", state=RunState.INTERRUPTED)
    campaigns.stored(made, url)
    return made


def test_runs_come_with_their_machines_the_newest_first(url: str, runs: list[Run]) -> None:
    with Store.open(url) as store:
        found = store.machine_runs()
        named = store.machine_runs(name="three-machines")
    assert [one.run_id for one in found] == [run.id for run in reversed(runs)]
    assert [one.machine for one in found] == [machine_key(run.environment, run.processes) for run in reversed(runs)]
    assert found[0].machine.devices == (DeviceKind(model="NVIDIA H200", memory_gib=150, power_limit_w=700),)
    assert (found[0].state, found[0].host, found[0].name) == (RunState.INTERRUPTED, "epyc-1", "other")
    assert named == found[1:]


def test_processes_of_some_runs(url: str, runs: list[Run]) -> None:
    with Store.open(url) as store:
        found = store.processes([runs[0].id, runs[2].id, "20260101-000000-zzzz"])
    assert found == {run.id: run.processes for run in (runs[0], runs[2])}


def test_the_power_limit_is_a_part_of_a_machine_in_a_history(url: str, runs: list[Run]) -> None:
    with Store.open(url) as store:
        past = {run.id: run for run in store.past(case_id=runs[0].results[0].case.id)}
    states = [facts.device_states for facts in past[runs[2].id].processes]
    assert states == [facts.device_states for facts in runs[2].processes]
    assert all(not facts.roofs for facts in past[runs[2].id].processes), "nothing else of the processes is read"
    assert past[runs[0].id].processes == ()
