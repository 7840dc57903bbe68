"""Ray as the engine of fleets, without Ray or with a made-up one: hosts that cannot measure, actors out of reach."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_fleet import host as host_of

from convbench.errors import RequestError
from convbench.fleet import host, messages, ray
from convbench.fleet.engine import FleetLostError, Lost, Over, Said
from convbench.fleet.messages import Order
from convbench.fleet.ray import RayFleet

ORDER = Order(campaign="c1", position=0, source="", path="")
NODE = {
    "NodeID": "n1",
    "Alive": True,
    "NodeManagerAddress": "127.0.0.1",
    "NodeManagerHostname": "a",
    "Labels": {},
    "Resources": {"CPU": 2.0},
}


class RayError(Exception):
    pass


class ActorUnavailableError(RayError):
    pass


class FakeRay:
    """What RayFleet uses of Ray: every call of a task or an actor is answered by the next of `answers`."""

    exceptions = SimpleNamespace(RayError=RayError, ActorUnavailableError=ActorUnavailableError)

    def __init__(self) -> None:
        self.there = [dict(NODE)]
        self.answers: list[object] = []
        self.asked: list[tuple[str, tuple[object, ...]]] = []
        self.killed = 0
        self.name_is_taken = False

    def nodes(self) -> list[dict[str, Any]]:
        return self.there

    def remote(self, of: object) -> Any:
        def made(*_: object) -> Any:
            if of is host.hello:
                return self._ref("hello")
            if self.name_is_taken:
                raise ValueError("the name is taken")
            return _Actor(self)

        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=made))

    def _ref(self, name: str, *arguments: object) -> int:
        self.asked.append((name, arguments))
        return len(self.asked)

    def wait(self, refs: list[int], **_: object) -> tuple[list[int], list[int]]:
        return (refs, []) if self.answers else ([], refs)

    def get(self, ref: int, **_: object) -> object:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def kill(self, actor: object) -> None:
        self.killed += 1

    def shutdown(self) -> None:
        pass


class _Actor:
    def __init__(self, of: FakeRay) -> None:
        self._of = of

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=lambda *arguments: self._of._ref(name, *arguments))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    made = FakeRay()
    monkeypatch.setattr(ray, "_connected", lambda address, modules: made)
    monkeypatch.setattr(ray, "_only", lambda node_id: node_id)
    monkeypatch.setattr(ray.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(ray, "HELLO_S", 0.0)
    return made


def lines(*said: str, code: int | None = None) -> str:
    return json.dumps({"lines": said, "code": code, "tail": ""})


def test_without_ray_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RequestError, match="a fleet needs the Python package 'ray'") as found:
        RayFleet("local")
    assert found.value.hint == "pip install 'convbench[fleet]'"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: text.replace('"version": "', '"version": "9.'), "it has convbench 9."),
        (lambda text: '{"version": 3}', "version: expected a text, got 3"),
        (lambda text: RayError("x\nModuleNotFoundError: No module named 'convbench.fleet'"), "it has no convbench"),
    ],
)
def test_host_that_cannot_measure_is_not_used_and_named_once(
    fake: FakeRay, change: Callable[[str], object], reason: str
) -> None:
    said: list[str] = []
    fleet = RayFleet("auto", message=said.append)
    fake.answers.append(change(host.hello()))
    assert fleet.hosts() == ()
    fleet._asked_at = float("-inf")
    assert fleet.hosts() == ()
    assert len(said) == 1
    assert said[0].startswith(f"host a is not used: {reason}")


def test_host_is_asked_once_and_has_its_label_as_name(fake: FakeRay) -> None:
    fake.there[0]["Labels"] = {ray.HOST_LABEL: "rack-2"}
    fleet = RayFleet("auto")
    fake.answers.append(host.hello())
    (processor, *_) = fleet.hosts()
    assert (processor.host, processor.device, processor.cpus) == ("rack-2", "cpu", 2.0)
    fleet._asked_at = float("-inf")
    fleet.hosts()
    assert [name for name, _ in fake.asked] == ["hello"]


def test_cluster_of_this_host_with_hosts_elsewhere_needs_a_token(
    fake: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    fake.there[0]["NodeManagerAddress"] = "10.255.255.1"
    with pytest.raises(RequestError, match="asks for no token"):
        RayFleet("auto")
    RayFleet("auto", insecure=True)


def test_lines_count_as_received_when_the_next_are_asked_for(fake: FakeRay) -> None:
    fleet = RayFleet("auto")
    ticket = fleet.start(host_of("a"), ORDER)
    assert ticket == 1
    fake.answers.append(lines("one", "two"))
    assert fleet.events(0.0) == [Said(ticket=1, lines=("one", "two"))]
    fake.answers.append(lines("three", code=0))
    assert fleet.events(0.0) == [Said(ticket=1, lines=("three",)), Over(ticket=1, code=0)]
    assert [arguments for name, arguments in fake.asked if name == "lines"] == [(2, ray.LINES_S)]
    fake.answers.append(None)
    fleet.release(1, forget=True)
    assert (fake.asked[-1][0], fake.killed) == ("forget", 1)


def test_actor_that_the_network_hides_is_asked_again_for_the_same_lines(
    fake: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = RayFleet("auto")
    fleet.start(host_of("a"), ORDER)
    fake.answers.append(lines("one"))
    fleet.events(0.0)
    fake.answers.append(ActorUnavailableError("no route"))
    assert fleet.events(0.0) == []
    fake.answers.append(lines("two"))
    assert fleet.events(0.0) == [Said(ticket=1, lines=("two",))]
    received = [arguments[0] for name, arguments in fake.asked if name == "lines"]
    assert received == [1, 1, 2]
    monkeypatch.setattr(ray, "UNREACHABLE_S", -1.0)
    fake.answers.append(ActorUnavailableError("no route"))
    assert fleet.events(0.0) == [
        Lost(ticket=1, reason="host a left the cluster")  # its node has another id in this cluster
    ]


def test_dead_actor_is_lost_with_what_became_of_it(fake: FakeRay) -> None:
    fleet = RayFleet("auto")
    fleet.start(host_of("a", node="n1"), ORDER)
    fake.answers.append(RayError("killed"))
    assert fleet.events(0.0) == [Lost(ticket=1, reason="what runs it on host a ended (RayError)")]


def test_folder_that_is_too_large_for_hosts_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    class RuntimeEnvSetupError(RayError):
        pass

    def init(**_: object) -> None:
        size = "Failed to upload working_dir: Package size (572.21MiB) exceeds the maximum size of 512.00MiB"
        raise RuntimeEnvSetupError(f"Failed to set up runtime environment.\n{size}. To exclude large files, add them")

    exceptions = SimpleNamespace(RayError=RayError, RuntimeEnvSetupError=RuntimeEnvSetupError)
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init, exceptions=exceptions))
    with pytest.raises(RequestError, match=r"the current folder cannot be sent .*512\.00MiB$") as found:
        RayFleet("local", modules=Path())
    assert ".rayignore" in (found.value.hint or "")


def test_device_of_another_campaign_is_not_started(fake: FakeRay) -> None:
    fake.name_is_taken = True
    assert RayFleet("auto").start(host_of("a"), ORDER) is None


def test_head_that_is_cut_off_ends_in_a_sentence(fake: FakeRay, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = RayFleet("auto")
    fleet.start(host_of("a"), ORDER)
    fake.answers.append(ConnectionError("the channel is closed"))
    with pytest.raises(FleetLostError, match="the head of Ray's cluster is lost: the channel is closed"):
        fleet.events(0.0)
    monkeypatch.setattr(ray, "HEAD_S", 0.05)
    monkeypatch.setattr(fake, "nodes", lambda: ray.threading.Event().wait(5))
    fleet._asked_at = float("-inf")
    with pytest.raises(FleetLostError, match=r"no answer within 0\.05 s"):
        fleet.hosts()


def test_shards_are_heard_for_a_while_without_a_head_which_is_asked_once(
    fake: FakeRay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray ends the process after 60 s without a head: it must not be waited for again and again."""
    fleet = RayFleet("auto")
    fleet.start(host_of("a", node="n1"), ORDER)
    monkeypatch.setattr(ray, "HEAD_S", 0.05)
    asked: list[float] = []
    monkeypatch.setattr(fake, "nodes", lambda: asked.append(0.0) or ray.threading.Event().wait(5))
    with pytest.raises(FleetLostError):
        fleet.hosts()
    fleet.stop(1)
    assert fleet.events(0.0) == []
    fake.answers.append(lines("the last", code=130))
    assert fleet.events(0.0) == [Said(ticket=1, lines=("the last",)), Over(ticket=1, code=130)]
    fleet.release(1, forget=False)
    fleet.start(host_of("a", node="n1"), ORDER)
    fake.answers.append(RayError("killed"))
    assert fleet.events(0.0) == [Lost(ticket=2, reason="what runs it on host a ended (RayError)")]
    fleet.start(host_of("a", node="n1"), ORDER)
    monkeypatch.setattr(ray, "LAST_WORDS_S", -1.0)
    with pytest.raises(FleetLostError):
        fleet.events(0.0)
    assert len(asked) == 1


def test_client_that_is_cut_off_lets_go_without_another_error(fake: FakeRay, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = RayFleet("auto")
    fleet.start(host_of("a"), ORDER)

    def cut(*_: object) -> None:
        raise ConnectionError("the channel is closed")

    monkeypatch.setattr(fake, "_ref", cut)
    monkeypatch.setattr(fake, "kill", cut)
    with pytest.raises(FleetLostError, match="the channel is closed"):
        fleet.stop(1)
    fleet.close()
    assert fleet.events(0.0) == []


def test_work_of_ray_that_holds_the_processors_is_named_once(fake: FakeRay, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    fleet = RayFleet("auto", message=said.append)
    fleet.start(host_of("a"), ORDER)
    monkeypatch.setattr(ray, "PENDING_S", -1.0)
    monkeypatch.setattr(fleet, "hosts", lambda: ())
    fleet.events(0.0)
    fleet.events(0.0)
    assert said == ["host a: the shard waits for processors that other work of Ray holds"]


def test_messages_are_read_as_they_were_written() -> None:
    order = Order(campaign="c1", position=3, source="name: ä\n", path="p", case_ids=("a" * 12,), db="postgresql://x")
    assert messages.order_of(messages.order_text(order)) == order
    with pytest.raises(RequestError):
        messages.order_of('{"campaign": 1}')


@pytest.mark.parametrize(
    ("address", "failures", "attempts"), [("ray://head:1", 2, 3), ("ray://head:1", 3, 3), ("auto", 1, 1)]
)
def test_head_that_starts_no_server_in_time_is_asked_again(address: str, failures: int, attempts: int) -> None:
    asked: list[str] = []

    class Busy:
        def init(self, *, address: str) -> None:
            asked.append(address)
            if len(asked) <= failures:
                raise ConnectionAbortedError("Initialization failure from server: too late")

        def shutdown(self) -> None:
            pass

    with pytest.raises(ConnectionAbortedError) if failures >= attempts else nullcontext():
        ray._begin(Busy(), address, {})
    assert asked == [address] * attempts
