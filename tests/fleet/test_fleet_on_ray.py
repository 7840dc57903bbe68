"""Campaigns on a real cluster of Ray: three nodes on this machine, told apart by a label, of which some are killed.

Their shards take turns, because all of them hold the one processor. What is killed costs what was in flight alone.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
from missing import linux
from postgres import Server

from convbench.fleet.ray import HOST_LABEL
from convbench.model.campaign import Campaign, CampaignState
from convbench.model.result import Run, RunState, Status, unpack_blocks
from convbench.store import Store

pytestmark = [
    linux,
    pytest.mark.slow,
    # Ray leaves the logs of the client's server open in the process that starts a head.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

#: Eight of the plainest layers: six controls, and one case for each of two hosts.
SWEEP = """
name: plain
axes: {in_channels: [1, 2], out_channels: [1, 2, 3, 4], kernel_size: 1, input_size: 8, threads: 1, allocator: system}
measure: {processes: 2, rounds: 2, max_time: 0.02}
"""
#: A token as Ray would ask for; nobody may see it, nor keep it.
TOKEN = secrets.token_hex(32)
#: How long anything may take before a test gives up, seconds.
PATIENCE_S = 120.0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Hosts:
    """The nodes of a cluster by the names that their labels give them."""

    cluster: Any
    nodes: dict[str, Any] = field(default_factory=dict)
    client_port: int = field(default_factory=_free_port)

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def join(self, name: str, **labels: str) -> None:
        options = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "labels": {HOST_LABEL: name, **labels}}
        if not self.nodes:  # the first one is the head
            options |= {"ray_client_server_port": self.client_port, "include_dashboard": False}
        self.nodes[name] = self.cluster.add_node(**options)

    def kill(self, name: str) -> None:
        """Kill a node's raylet as `kill -9` does, and all that Ray runs below it."""
        self.cluster.remove_node(self.nodes.pop(name), allow_graceful=False)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where hosts keep their shards; a variable with it marks all processes of these tests."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def hosts(state: Path) -> Iterator[Hosts]:
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_STATE_HOME", str(state))
        patched.setenv("RAY_AUTH_MODE", "disabled")
        patched.setenv("RAY_AUTH_TOKEN", TOKEN)
        cluster = Cluster(initialize_head=False, connect=False)
        made = Hosts(cluster)
        try:
            for name in ("a", "b", "c"):
                made.join(name, group="one" if name == "a" else "two")
            yield made
        finally:
            cluster.shutdown()


@dataclass
class Caller:
    """A process of `convbench fleet`, and the database that it writes."""

    folder: Path
    address: str
    db: str = "runs.db"
    sweep: str = SWEEP

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        (self.folder / "plain.yaml").write_text(self.sweep)
        command = [sys.executable, "-m", "convbench", "fleet", *arguments, "--address", self.address, "--db", self.db]
        return subprocess.Popen(
            command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    def finished(self, process: subprocess.Popen[str]) -> str:
        """What it said, after it has ended with success."""
        out, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, err
        assert TOKEN not in out + err
        assert re.fullmatch(r"c\d{8}-\d{6}-\w{4}\n", out)
        return err

    def store(self) -> Store:
        return Store.open(str(self.folder / self.db) if "://" not in self.db else self.db)

    def campaign(self) -> Campaign:
        with self.store() as store:
            return store.campaign()

    def runs(self) -> list[Run]:
        """All runs of the campaign's shards, with their results."""
        with self.store() as store:
            return [store.load(run_id) for shard in store.campaign().shards for run_id in shard.run_ids]

    def run_of(self, host: str) -> Run | None:
        """The newest run of a host's shard so far."""
        with suppress(Exception), self.store() as store:  # there may be no database yet
            for shard in store.campaign().shards:
                if shard.host == host and shard.run_ids:
                    return store.load(shard.run_ids[-1])
        return None

    def wait(self, what: Callable[[], object], process: subprocess.Popen[str]) -> None:
        """Wait until `what` is true, while the process runs."""
        end = time.monotonic() + PATIENCE_S
        while not what():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end, "nothing happens"
            time.sleep(0.1)


@pytest.fixture
def caller(hosts: Hosts, tmp_path: Path, state: Path) -> Iterator[Caller]:
    yield Caller(folder=tmp_path, address=hosts.address)
    assert shards_left(state) == [], "no process of a shard is left"
    kept = [path for folder in (tmp_path, state) for path in folder.rglob("*") if path.is_file()]
    assert [path for path in kept if TOKEN.encode() in path.read_bytes()] == [], "Ray's token is not stored"


def shards_left(state: Path) -> list[str]:
    """The processes of shards and their workers on this machine that still run, after some seconds of grace."""
    end = time.monotonic() + 60
    while True:
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                line = " ".join(process.cmdline())
                ours = "actions.shard" in line or "worker/start.py" in line
                if ours and process.environ().get("XDG_STATE_HOME") == str(state):
                    found.append(line)
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.2)


def blocks_of(run: Run) -> set[tuple[str, int, int, float]]:
    """(case, process, round, start in seconds) of each block of a run."""
    return {
        (result.case.id, block.process_index, block.round_index, block.start_s)
        for result in run.results
        for layout, packed in result.blocks
        for block in unpack_blocks(packed, layout)
    }


def assert_nothing_twice(run: Run) -> None:
    """No round of a case in a process was measured twice."""
    places = [(case, process, index) for case, process, index, _ in blocks_of(run)]
    assert len(places) == len(set(places))


def assert_in_turns(runs: list[Run]) -> None:
    """No two runs have timed at one moment: their blocks, by the clock of the machine, do not overlap."""
    spans = []
    for number, run in enumerate(runs):
        began = datetime.fromisoformat(run.started_at).timestamp()
        for result in run.results:
            for layout, packed in result.blocks:
                for block in unpack_blocks(packed, layout):
                    start = began + block.start_s
                    spans.append((start, start + block.iterations * block.mean_s, number))
    spans.sort()
    for (_, end, one), (start, _, other) in pairwise(spans):
        # A block's start is stored as a float32, which has steps of 8 us after 100 s.
        assert one == other or end <= start + 1e-4


def test_killed_nodes_cost_what_was_in_flight_and_go_on_when_they_are_back(caller: Caller, hosts: Hosts) -> None:
    """One node is killed in the second process, the other one while it sends."""
    # After the first blocks of the other node there are three processes left: it has not ended before it is killed.
    caller.sweep = SWEEP.replace("processes: 2", "processes: 4")
    process = caller.start("run", "plain.yaml", "--split", "--where", "group=two")
    caller.wait(lambda: any(caller.run_of(name) for name in ("b", "c")), process)
    first = "b" if caller.run_of("b") else "c"
    other = "c" if first == "b" else "b"

    def in_second_process() -> bool:
        run = caller.run_of(first)
        return run is not None and any(process_index == 1 for _, process_index, _, _ in blocks_of(run))

    caller.wait(in_second_process, process)
    before = {first: caller.run_of(first)}
    hosts.kill(first)
    caller.wait(lambda: (run := caller.run_of(other)) is not None and blocks_of(run), process)
    before[other] = caller.run_of(other)
    hosts.kill(other)
    for name in (first, other):
        hosts.join(name, group="two")
    said = caller.finished(process)
    campaign = caller.campaign()
    assert campaign.state is CampaignState.FINISHED
    assert len(campaign.controls) == 6
    assert "6 control cases: the hosts b, c lie" in " ".join(said.split())
    for shard in campaign.shards:
        assert shard.host is not None
        assert f"on {shard.host} ended early" in said
        assert (len(shard.run_ids), shard.note) == (1, None)
        run, earlier = caller.run_of(shard.host), before[shard.host]
        assert run is not None
        assert earlier is not None
        assert blocks_of(earlier) <= blocks_of(run), "0 stored visits lost"
        assert {result.case.id for result in run.results} == {*campaign.controls, *shard.case_ids}
        assert run.state is RunState.FINISHED
        assert_nothing_twice(run)
    assert_in_turns(caller.runs())


def test_killed_caller_ends_its_shards_and_is_resumed_as_is_one_that_was_interrupted(
    caller: Caller, hosts: Hosts, state: Path
) -> None:
    caller.sweep = SWEEP.replace("processes: 2", "processes: 6")
    process = caller.start("run", "plain.yaml", "--where", "group=one")
    caller.wait(lambda: (run := caller.run_of("a")) is not None and blocks_of(run), process)
    refused = caller.start("resume")
    assert "is conducted by another process" in refused.communicate(timeout=PATIENCE_S)[1]
    assert refused.returncode == 2
    process.kill()
    process.communicate()
    assert shards_left(state) == []
    assert caller.campaign().state is CampaignState.INTERRUPTED
    killed = caller.run_of("a")
    assert killed is not None

    process = caller.start("resume", "latest")
    caller.wait(lambda: len(blocks_of(caller.run_of("a") or killed)) > len(blocks_of(killed)), process)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert f"interrupted: results are kept; `convbench fleet resume {out.strip()}` goes on" in err
    assert shards_left(state) == []
    interrupted = caller.run_of("a")
    assert interrupted is not None
    assert interrupted.state is RunState.INTERRUPTED

    caller.finished(caller.start("resume", "latest"))
    run, campaign = caller.run_of("a"), caller.campaign()
    assert run is not None
    assert blocks_of(killed) <= blocks_of(interrupted) <= blocks_of(run), "0 stored visits lost"
    assert_nothing_twice(run)
    assert (campaign.shards[0].run_ids, run.state, len(run.results)) == ((run.id,), RunState.FINISHED, 8)
    assert (campaign.state, campaign.shards[0].note) == (CampaignState.FINISHED, None)
    of_ray = {"OMP_NUM_THREADS", "LD_PRELOAD", "CUDA_VISIBLE_DEVICES"}
    assert not of_ray & dict(run.environment.variables).keys(), "what Ray sets does not reach workers"
    assert {result.facts.threads for result in run.results} == {1}
    assert not list((state / "convbench" / "fleet").glob(campaign.id)), "hosts keep nothing that has arrived"


@pytest.mark.postgres
def test_hosts_write_to_a_server_themselves_and_modules_come_along(
    caller: Caller, hosts: Hosts, state: Path, postgres: Server
) -> None:
    """Through Ray's client, as from a machine that is no node."""
    caller.db = postgres.new_database()
    caller.address = f"ray://127.0.0.1:{hosts.client_port}"
    (caller.folder / "mine.py").write_text("import torch\n\n\nclass Mine(torch.nn.Conv2d):\n    pass\n")
    caller.sweep = SWEEP.replace("threads: 1", "threads: 1, module: mine:Mine").replace("[1, 2, 3, 4]", "[1]")
    said = caller.finished(caller.start("run", "plain.yaml", "--where", "group=one"))
    (run,) = caller.runs()
    assert (run.state, {result.case.module for result in run.results}) == (RunState.FINISHED, {"mine:Mine"})
    assert {result.status for result in run.results} == {Status.PASSED}
    assert caller.campaign().state is CampaignState.FINISHED
    assert postgres.password not in said
    assert not list((state / "convbench" / "fleet").glob(caller.campaign().id))
