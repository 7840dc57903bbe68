"""What runs on a host: a shard's environment and process, what a host says of itself, and which clusters are open."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import fake_nvml
import pytest
from missing import linux

from convbench.errors import RequestError
from convbench.fleet import host, messages
from convbench.fleet.leftovers import remove_old
from convbench.fleet.messages import Order
from convbench.fleet.ray import devices_of, has_token, is_here, refuse_open
from convbench.model.campaign import DeviceKind
from convbench.store.writer import boot_id
from convbench.version import __version__

SWEEP = """
name: small
axes: {in_channels: [1, 2], out_channels: 4, kernel_size: 1, input_size: 8, threads: 1}
measure: {processes: 2, rounds: 2, max_time: 0.02}
"""
TOKEN = "hush-token-of-ray"
ORDER = Order(campaign="c1", position=0, source=SWEEP, path="small.yaml")


def test_shard_has_the_environment_in_which_ray_was_started_on_its_host() -> None:
    of_ray = {"HOME": "/home/joe", "OMP_NUM_THREADS": "1", "RAY_AUTH_TOKEN": "hush", "SPT_NOENV": "1"}
    started = b"HOME=/home/joe\0OMP_PROC_BIND=close\0RAY_AUTH_TOKEN=hush\0RAY_AUTH_MODE=token\0"
    assert host.environment(ORDER, of_ray, started) == {"HOME": "/home/joe", "OMP_PROC_BIND": "close"}
    assert host.environment(ORDER, of_ray, None) == {"HOME": "/home/joe"}, "the threads that Ray has set do not stay"


def test_shard_does_not_use_the_allocator_of_ray() -> None:
    """With it, floors by a fleet were 8 % lower than by hand, and up to 24 % (bench/fleet.py)."""
    rays = b"LD_PRELOAD=/env/site-packages/ray/core/libjemalloc.so"
    assert host.environment(ORDER, {}, rays) == {}
    assert host.environment(ORDER, {}, rays + b":/usr/lib/mine.so") == {"LD_PRELOAD": "/usr/lib/mine.so"}


@linux
def test_shard_has_the_priority_of_what_started_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_RAYLET_PID", str(os.getpid()))
    killed_first = Path("/proc/self/oom_score_adj").read_text().strip()
    assert host.engine_priority() == [str(os.getpriority(os.PRIO_PROCESS, 0)), killed_first]
    monkeypatch.setenv("RAY_RAYLET_PID", "0x")
    assert host.engine_priority() == []


def test_shard_sees_its_device_alone_and_modules_that_came_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    order = messages.order_of(
        messages.order_text(Order(campaign="c1", position=0, source="", path="", device="GPU-1", with_modules=True))
    )
    assert host.environment(order, {}, b"PYTHONPATH=/lib\0CUDA_VISIBLE_DEVICES=3\0") == {
        "CUDA_VISIBLE_DEVICES": "GPU-1",
        "PYTHONPATH": f"{tmp_path}{os.pathsep}/lib",
    }


def test_folder_of_a_shard_is_its_own_below_the_users_state() -> None:
    assert host.folder(ORDER, {"HOME": "/home/joe"}) == Path("/home/joe/.local/state/convbench/fleet/c1/0")
    assert host.folder(ORDER, {"XDG_STATE_HOME": "/state"}) == Path("/state/convbench/fleet/c1/0")


def test_line_that_a_killed_shard_had_not_finished_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = tmp_path / "cut_off.py"
    shard.write_text('import os; os.write(1, b\'{1}\\n{2}\\n{"event": "vis\'); os.kill(os.getpid(), 9)')
    monkeypatch.setattr(host, "SHARD", shard.stem)
    monkeypatch.setattr(host, "environment", lambda *_: {"PYTHONPATH": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)})
    runner = host.Runner()
    runner.start(messages.order_text(ORDER))
    said: list[str] = []
    while (answer := json.loads(runner.lines(len(said), 10.0)))["code"] is None or answer["lines"]:
        assert answer == json.loads(runner.lines(len(said), 0.0)), "an answer that was lost is given again"
        said += answer["lines"]
    assert (said, answer["code"]) == (["{1}", "{2}"], -9)
    runner.forget()
    assert not (tmp_path / "convbench" / "fleet" / "c1").exists()


@linux
def test_what_campaigns_left_on_a_host_is_removed_after_a_time(tmp_path: Path) -> None:
    now = 1e9
    for name, days in (("c1", 31), ("c2", 29), ("c3", 31)):
        file = tmp_path / name / "0" / "run.db"
        file.parent.mkdir(parents=True)
        file.touch()
        for path in (file, file.parent, tmp_path / name):
            os.utime(path, (now, now - days * 86400))
    os.utime(tmp_path / "c1" / "0" / "run.db", (now, now - 40 * 86400))
    with subprocess.Popen([sys.executable, "-c", "input()"], cwd=tmp_path / "c3" / "0", stdin=subprocess.PIPE) as shard:
        remove_old(tmp_path, now)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["c2", "c3"], "a shard still works in c3"
        shard.communicate(b"\n")
    remove_old(tmp_path, now)
    assert [path.name for path in tmp_path.iterdir()] == ["c2"]
    remove_old(tmp_path / "none", now)


def test_host_says_what_it_is_with_its_devices_by_uuid(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_nvml.install(monkeypatch, fake_nvml.FakeCard(uuid="GPU-1"), fake_nvml.FakeCard(uuid="GPU-2"))
    hello = messages.hello_of(host.hello())
    kind = DeviceKind(model="NVIDIA H200", memory_gib=140, power_limit_w=700)
    assert (hello.version, hello.boot, hello.devices) == (__version__, boot_id(), (("GPU-1", kind), ("GPU-2", kind)))
    node = {"Labels": {"zone": "1"}, "Resources": {"CPU": 4.0, "GPU": 2.0}}
    found = devices_of(hello, "n1", "a", node)
    assert [(at.place, len(at.machine.devices), at.cpus, at.gpus) for at in found] == [
        (("a", "cpu"), 0, 4.0, 2.0),
        (("a", "GPU-1"), 1, 4.0, 2.0),
        (("a", "GPU-2"), 1, 4.0, 2.0),
    ]
    assert found[1].machine == found[2].machine


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("auto", True),
        ("local", True),
        ("ray://127.0.0.1:10001", True),
        ("localhost:6379", True),
        ("ray://[::1]:10001", True),
        ("ray://10.255.255.1:10001", False),
        ("head.example.org:6379", False),
        ("ray://head", False),
    ],
)
def test_cluster_beyond_this_host_needs_a_token_or_insistence(
    address: str, here: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert is_here(address) is here
    refuse_open(address, insecure=True)
    if here:
        refuse_open(address, insecure=False)
        return
    with pytest.raises(RequestError, match=r"asks for no token.*CVE-2023-48022, CVE-2025-62593") as found:
        refuse_open(address, insecure=False)
    assert "--insecure insists" in (found.value.hint or "")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "hush")
    refuse_open(address, insecure=False)


def test_token_counts_where_ray_would_find_it(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    assert not has_token({**home, "RAY_AUTH_TOKEN": "hush"}), "the mode decides"
    assert not has_token({**home, "RAY_AUTH_MODE": "token"})
    assert has_token({**home, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "hush"})
    file = tmp_path / ".ray" / "auth_token"
    file.parent.mkdir()
    file.write_text("hush")
    assert has_token({**home, "RAY_AUTH_MODE": "token"})
    assert not has_token({**home, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(tmp_path / "none")})


def test_address_is_refused_without_what_may_be_a_password() -> None:
    with pytest.raises(RequestError) as found:
        refuse_open("ray://joe:hush@10.255.255.1:10001", insecure=False)
    assert "hush" not in str(found.value)


def shard_process(folder: Path, order: Order) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", host.SHARD],
        cwd=folder,
        env=host.environment(order, {**os.environ, "RAY_AUTH_TOKEN": TOKEN}, None),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdin
    process.stdin.write(messages.order_text(order).encode() + b"\n")
    process.stdin.flush()
    return process


def heard(process: subprocess.Popen[bytes], event: str | None = None) -> list[dict[str, object]]:
    """The lines until one of this event, or all."""
    assert process.stdout
    found = []
    for line in process.stdout:
        assert TOKEN.encode() not in line
        found.append(json.loads(line))
        if found[-1]["event"] == event:
            break
    return found


@linux
@pytest.mark.slow
def test_shard_ends_with_its_caller_keeps_what_it_has_and_goes_on_later(tmp_path: Path) -> None:
    with shard_process(tmp_path, ORDER) as process:
        begun = heard(process, messages.PROCESS)
        assert process.stdin
        process.stdin.close()
        rest = heard(process)
        assert process.wait(60) == 130
    assert rest[-1]["event"] == messages.ENDED
    assert rest[-1]["state"] == "interrupted"
    run_id = next(line["run_id"] for line in begun if line["event"] == messages.BEGUN)
    assert not _processes_of(process.pid)

    order = Order(campaign="c1", position=0, source=SWEEP, path="small.yaml", fresh=False)
    with shard_process(tmp_path, order) as again:
        lines = heard(again)
        assert again.wait(60) == 0
    at = [line["event"] for line in lines].index(messages.BEGUN)
    assert lines[at] == {"event": messages.BEGUN, "run_id": run_id, "resumed": True, "kept": 2}
    told_again = [line for line in lines[:at] if line["event"] in (messages.VISITS, messages.PROCESS)]
    assert len(told_again) >= 3, "what may not have arrived is told once more"
    assert lines[-1]["state"] == "finished"

    with shard_process(tmp_path, order) as once_more:
        said = heard(once_more)
        assert once_more.wait(60) == 0
    assert [line["event"] for line in said[-2:]] == [messages.BEGUN, messages.ENDED]
    assert said[-1] == lines[-1], "an end that did not arrive is told again, and nothing is measured"
    assert [line["event"] for line in said].count(messages.VISITS) == 2
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]


def _processes_of(session: int) -> list[str]:
    """What still runs in a session, some moments after it should have ended."""
    end = time.monotonic() + 60
    while True:
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            if int(fields[3]) == session and fields[0] != "Z":
                found.append(path.parent.name)
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.1)
