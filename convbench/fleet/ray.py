"""Ray as the engine of fleets: finds hosts, starts a shard on one, and carries its lines. Only this module knows Ray.

What runs on hosts is host.py, which every host has by its own installation of convbench. An actor is bound to its host,
is never started again by Ray, and none of its calls is repeated by Ray. It has the name of the host's device, so that
two campaigns of one cluster cannot hold the same one.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import re
import signal
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from convbench.errors import RequestError
from convbench.fleet import host as on_host
from convbench.fleet import messages
from convbench.fleet.engine import Event, FleetLostError, Lost, Over, Said
from convbench.fleet.messages import Hello, HostDevice, Order
from convbench.model.campaign import MachineKey
from convbench.units import line
from convbench.version import __version__

T = TypeVar("T")

EXTRA = "pip install 'convbench[fleet]'"
#: The namespace of the actors' names.
NAMESPACE = "convbench"
#: The label by which a host says its name, where several nodes of Ray are on one machine or host names are not unique.
HOST_LABEL = "convbench-host"
#: How long hosts may take to say what they are, seconds.
HELLO_S = 60.0
#: How long Ray's head may be silent before it counts as lost, seconds. A head that starts again takes some seconds.
HEAD_S = 30.0
#: How long shards may still be heard after the head was lost, seconds. Ray ends this process after 60 s without a head.
LAST_WORDS_S = 15.0
#: How long the list of hosts is used before Ray is asked again, seconds.
HOSTS_S = 2.0
#: How long a host may wait for a line of its shard before it answers that there is none, seconds.
LINES_S = 5.0
#: How long an actor that cannot be reached may stay so before it counts as lost, seconds.
UNREACHABLE_S = 60.0
#: How often a client asks a head that cannot start a server for it in time.
CLIENT_ATTEMPTS = 3
#: After this time without the processors or devices that a shard asks Ray for, the user gets a message, seconds.
PENDING_S = 15.0
#: The smallest memory for objects that Ray accepts is 75 MiB; what shards send is taken from it at once.
OBJECT_STORE_BYTES = 100 * 2**20
#: Folders and files of the current folder that no module needs on a host.
EXCLUDED = ("/.git", "/reports", "/.venv", "/venv", "/node_modules", "**/__pycache__")


def missing() -> RequestError:
    """The error that Ray is not installed."""
    return RequestError("a fleet needs the Python package 'ray'", hint=EXTRA)


# ---- which clusters may be used

#: An address beside `auto` and `local`: a host and a port, of Ray's client or of its head.
_ADDRESS = re.compile(r"(ray://)?([^\s/@]*@)?([^\s/@:\[\]]+|\[[0-9a-fA-F:.]+\]):\d{1,5}")


def refuse_unknown(address: str) -> None:
    """Raise RequestError for what is no address of a cluster."""
    if address in ("auto", "local") or _ADDRESS.fullmatch(address):
        return
    raise RequestError(
        f"address {line(shown(address))!r}: expected ray://HOST:PORT, HOST:PORT, auto or local",
        hint="Ray's client listens at port 10001, its head at port 6379",
    )


def refuse_open(address: str, *, insecure: bool) -> None:
    """Raise RequestError for an address beyond this host where no token of Ray is in use, unless `insecure`."""
    if insecure or is_here(address) or has_token(os.environ):
        return
    raise RequestError(
        f"{line(shown(address))} is beyond this host, and Ray asks for no token: who reaches its ports can run any code"
        " there (CVE-2023-48022, CVE-2025-62593)",
        hint="start Ray with RAY_AUTH_MODE=token on every host and set it here too; --insecure insists",
    )


def is_here(address: str) -> bool:
    """Whether an address is of this host. `auto` and `local` are."""
    if address in ("auto", "local"):
        return True
    host = address.rpartition("://")[2].rpartition("@")[2]
    host = host.rpartition(":")[0].strip("[]") if ":" in host else host
    if host == "localhost":
        return True
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return False
    return found.is_loopback or _is_own(found)


def _is_own(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether this host has the address: it can be bound."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((str(address), 0))
        return True
    return False


def has_token(environ: Mapping[str, str]) -> bool:
    """Whether Ray uses a token here: the mode is set, and there is a token where Ray looks for it."""
    if environ.get("RAY_AUTH_MODE", "").lower() not in ("token", "k8s"):
        return False
    named = environ.get("RAY_AUTH_TOKEN_PATH")
    default = Path(environ.get("HOME", "/nonexistent")) / ".ray" / "auth_token"
    return bool(environ.get("RAY_AUTH_TOKEN")) or Path(named or default).is_file()


def shown(address: str) -> str:
    """An address without what could be a password in it."""
    scheme, separator, rest = address.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


# ---- the engine


@dataclass(slots=True, kw_only=True)
class _Started:
    """One start of a shard: its actor, the answer that is awaited, and the number of lines that were received."""

    at: HostDevice
    actor: Any
    awaited: Any
    received: int = 0
    has_begun: bool = False
    began: float = field(default_factory=time.monotonic)
    unreachable_since: float | None = None
    is_said: bool = False


class RayFleet:
    """A cluster of Ray. `message` receives lines for the user. Raises RequestError where there is none to use."""

    def __init__(
        self,
        address: str,
        *,
        insecure: bool = False,
        modules: Path | None = None,
        message: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Connect to the cluster at `address`: `auto` (the one of this host), `local` (start one here), or a URL.

        `modules` is the folder whose Python modules hosts need; Ray copies it to them.
        """
        refuse_unknown(address)
        refuse_open(address, insecure=insecure)
        self._message = message
        self._ray = _connected(address, modules)
        self._began_here = address == "local"
        self._known: dict[str, tuple[HostDevice, ...]] = {}
        self._asked: dict[str, Any] = {}
        self._bad: set[str] = set()
        self._hosts: tuple[HostDevice, ...] = ()
        self._asked_at = float("-inf")
        self._started: dict[int, _Started] = {}
        self._tickets = 0
        self._lost_at: float | None = None
        try:
            self._refuse_open_hosts(address, insecure)
        except BaseException:
            self._ray.shutdown()
            raise

    def _refuse_open_hosts(self, address: str, insecure: bool) -> None:
        """The cluster of this host may have hosts elsewhere, and then it is open beyond this host too."""
        for node in self._nodes():
            if address != "local" and not is_here(f"{node['NodeManagerAddress']}:0"):
                refuse_open(f"{node['NodeManagerAddress']}:0", insecure=insecure)

    # ---- hosts

    def hosts(self) -> tuple[HostDevice, ...]:
        """The devices of all hosts that are there; a host that has just come is asked what it is first."""
        now = time.monotonic()
        if now - self._asked_at < HOSTS_S:
            return self._hosts
        first = not self._known
        nodes = {node["NodeID"]: node for node in self._nodes() if node["Alive"]}
        for node_id in nodes.keys() - self._known.keys() - self._asked.keys() - self._bad:
            self._asked[node_id] = self._hello(node_id)
        end = now + (HELLO_S if first else 0.0)
        while self._asked:
            ready, _ = self._ray.wait(list(self._asked.values()), timeout=max(0.0, min(1.0, end - time.monotonic())))
            for node_id in [each for each, asked in self._asked.items() if asked in ready]:
                self._answered(node_id, nodes.get(node_id), self._asked.pop(node_id))
            if not ready and time.monotonic() >= end:
                break
        self._hosts = tuple(host for node_id in sorted(nodes) for host in self._known.get(node_id, ()))
        self._asked_at = time.monotonic()
        return self._hosts

    def _nodes(self) -> list[dict[str, Any]]:
        """What Ray's head says of its nodes. A head that was lost is not asked again."""
        if self._lost_at is not None:
            raise _lost_head("")
        try:
            return _within(HEAD_S, self._ray.nodes)
        except FleetLostError:
            self._lost_at = time.monotonic()
            raise

    def _hello(self, node_id: str) -> Any:
        task = self._ray.remote(on_host.hello)
        return task.options(num_cpus=0, max_retries=0, scheduling_strategy=_only(node_id)).remote()

    def _answered(self, node_id: str, node: Mapping[str, Any] | None, answer: Any) -> None:
        """Keep what a host says; a host that cannot measure gets one message."""
        if node is None:
            return
        name = str(node["Labels"].get(HOST_LABEL) or node["NodeManagerHostname"])
        try:
            hello = messages.hello_of(self._ray.get(answer))
        except (self._ray.exceptions.RayError, RequestError, ValueError) as error:
            self._bad.add(node_id)
            said = str(error)
            lacks = "No module named 'convbench" in said
            reason = "it has no convbench, or an older one" if lacks else said.strip().splitlines()[-1][:300]
            self._message(f"host {name} is not used: {reason}")
            return
        if hello.version != __version__:
            self._bad.add(node_id)
            self._message(f"host {name} is not used: it has convbench {hello.version}, here is {__version__}")
            return
        self._known[node_id] = devices_of(hello, node_id, name, node)

    # ---- shards

    def start(self, at: HostDevice, order: Order) -> int | None:
        """Start a shard on its host; a message says where it waits for processors that other work of Ray holds."""
        on_processor = at.device == "cpu"
        runner = self._ray.remote(on_host.Runner)
        try:
            with _head():
                actor = runner.options(
                    name=f"{at.host} {at.device}",
                    namespace=NAMESPACE,
                    num_cpus=at.cpus if on_processor else 0,
                    num_gpus=0 if on_processor else min(1.0, at.gpus),
                    max_restarts=0,
                    max_task_retries=0,
                    max_concurrency=4,  # `stop` is obeyed while `lines` waits
                    scheduling_strategy=_only(at.node),
                ).remote()
                awaited = actor.start.remote(messages.order_text(order))
        except ValueError:  # the name is taken; Ray's client learns that when it calls the actor
            return None
        self._tickets += 1
        self._started[self._tickets] = _Started(at=at, actor=actor, awaited=awaited)
        return self._tickets

    def events(self, timeout_s: float) -> list[Event]:
        """What shards have said since the last call, and which are over or lost."""
        if not self._started:
            time.sleep(timeout_s)
            return []
        self._say_pending()
        refs = {started.awaited: ticket for ticket, started in self._started.items() if started.awaited is not None}
        if not refs:
            time.sleep(timeout_s)
            return []
        with _head():
            ready, _ = self._ray.wait(list(refs), num_returns=len(refs), timeout=0)
            if not ready:
                ready, _ = self._ray.wait(list(refs), num_returns=1, timeout=timeout_s)
        if not ready and (self._lost_at is None or time.monotonic() - self._lost_at > LAST_WORDS_S):
            self.hosts()  # raises where the head is gone, which `wait` does not show
        return [event for ref in ready for event in self._received(refs[ref])]

    def _received(self, ticket: int) -> list[Event]:
        started = self._started[ticket]
        exceptions = self._ray.exceptions
        try:
            with _head():
                answer = self._ray.get(started.awaited)
        except exceptions.ActorUnavailableError as error:
            return self._unreachable(ticket, started, error)
        except exceptions.RayError as error:
            started.awaited = None
            return [Lost(ticket=ticket, reason=self._reason(started, error))]
        started.unreachable_since, started.has_begun = None, True
        found = json.loads(answer)
        lines = tuple(found["lines"])
        started.received += len(lines)
        said: list[Event] = [Said(ticket=ticket, lines=lines)] if lines else []
        if found["code"] is not None:
            started.awaited = None
            return [*said, Over(ticket=ticket, code=found["code"], tail=found["tail"])]
        started.awaited = started.actor.lines.remote(started.received, LINES_S)
        return said

    def _unreachable(self, ticket: int, started: _Started, error: Exception) -> list[Event]:
        """Ask again for the same lines: an actor that only the network hid still has them."""
        now = time.monotonic()
        started.unreachable_since = started.unreachable_since or now
        if not started.has_begun or now - started.unreachable_since > UNREACHABLE_S:
            started.awaited = None
            return [Lost(ticket=ticket, reason=self._reason(started, error))]
        time.sleep(1.0)
        started.awaited = started.actor.lines.remote(started.received, LINES_S)
        return []

    def _reason(self, started: _Started, error: Exception) -> str:
        """What became of the actor, in a line."""
        self._asked_at = float("-inf")
        with suppress(FleetLostError):  # the actor has ended in any case
            if started.at.node not in {node["NodeID"] for node in self._nodes() if node["Alive"]}:
                return f"host {started.at.host} left the cluster"
        return f"what runs it on host {started.at.host} ended ({error.__class__.__name__})"

    def _say_pending(self) -> None:
        now = time.monotonic()
        for started in self._started.values():
            if not started.has_begun and not started.is_said and now - started.began > PENDING_S:
                started.is_said = True
                what = "processors" if started.at.device == "cpu" else "devices"
                self._message(f"host {started.at.host}: the shard waits for {what} that other work of Ray holds")

    def stop(self, ticket: int) -> None:
        """Interrupt a shard; one whose actor has not begun is given up."""
        started = self._started.get(ticket)
        if started is None:
            return
        if started.has_begun or started.awaited is not None:
            # `start` runs before `stop` in the actor, or it never runs: then nothing is there to be stopped.
            with _head():
                started.actor.stop.remote()

    def release(self, ticket: int, *, forget: bool) -> None:
        """Let go of a shard's actor; with `forget` the host first removes the folder of the shard."""
        started = self._started.pop(ticket, None)
        if started is None:
            return
        with suppress(self._ray.exceptions.RayError, ConnectionError):
            if forget:
                self._ray.get(started.actor.forget.remote(), timeout=10.0)
        with suppress(self._ray.exceptions.RayError, ConnectionError, ValueError):
            self._ray.kill(started.actor)

    def close(self) -> None:
        """Stop what still runs and disconnect; a cluster that was started here ends."""
        for ticket in list(self._started):
            with suppress(self._ray.exceptions.RayError, FleetLostError):
                self.stop(ticket)
            self.release(ticket, forget=False)
        self._ray.shutdown()


def devices_of(hello: Hello, node_id: str, name: str, node: Mapping[str, Any]) -> tuple[HostDevice, ...]:
    """The devices of a host: its processor, and the devices that it names by their UUIDs."""
    common: dict[str, Any] = {
        "node": node_id,
        "host": name,
        "boot": hello.boot,
        "version": hello.version,
        "labels": tuple(sorted((str(key), str(value)) for key, value in node["Labels"].items())),
        "cpus": float(node["Resources"].get("CPU", 0.0)),
        "gpus": float(node["Resources"].get("GPU", 0.0)),
    }
    key = MachineKey(cpu=hello.cpu, architecture=hello.architecture, cores=hello.cores)
    processor = HostDevice(machine=key, device="cpu", **common)
    others = [
        HostDevice(
            machine=MachineKey(cpu=hello.cpu, architecture=hello.architecture, cores=hello.cores, devices=(kind,)),
            device=uuid,
            **common,
        )
        for uuid, kind in hello.devices
    ]
    return (processor, *others)


def _only(node_id: str) -> Any:
    """Ray's strategy that binds to a host: when that is gone, the call fails."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node_id=node_id, soft=False)


def _connected(address: str, modules: Path | None) -> Any:
    """Ray, connected to the cluster. Raises RequestError."""
    try:
        import ray
    except ImportError:
        raise missing() from None
    options: dict[str, Any] = {"namespace": NAMESPACE, "log_to_driver": False, "logging_level": logging.ERROR}
    if modules is not None:
        options["runtime_env"] = {"working_dir": str(modules), "excludes": list(EXCLUDED)}
    if address == "local":
        options |= {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
        options["_system_config"] = {"worker_niceness": 0}  # as an ordinary run here has
    at_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters follows as an error
            _begin(ray, address, options)
    except ImportError as error:  # a client's address needs packages that plain Ray lacks
        raise RequestError(f"{shown(address)} needs the Python package {error.name!r}", hint=EXTRA) from None
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, OSError, ray.exceptions.RayError) as error:
        said = str(error).strip().splitlines()
        if isinstance(error, ray.exceptions.RuntimeEnvSetupError):
            raise RequestError(
                f"the current folder cannot be sent to hosts: {line(said[-1].partition('. ')[0], most=300)}",
                hint="begin in the folder of your modules, or name what hosts do not need in a file .rayignore",
            ) from None
        hint = "`ray start --head` starts one, `--address local` one for this host alone"
        if address not in ("auto", "local"):  # Ray names no reason where the tokens differ
            hint += "; a cluster with a token answers only who has the same one"
        raise RequestError(
            f"cannot use the cluster of Ray at {shown(address)}: {said[0][:300] if said else error.__class__.__name__}",
            hint=hint,
        ) from None
    finally:
        with suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGTERM, at_sigterm)  # Ray has set its own, which would exit without a word
    return ray


@contextmanager
def _head() -> Iterator[None]:
    """Turn the error that Ray's client is cut off into a FleetLostError."""
    try:
        yield
    except ConnectionError as error:
        raise _lost_head(str(error)) from None


def _lost_head(reason: str) -> FleetLostError:
    said = reason.strip().splitlines()
    return FleetLostError(
        f"the head of Ray's cluster is lost{': ' if said else ''}{said[0][:300] if said else ''}",
        hint="shards end by themselves; when it is back, `convbench fleet resume ID` goes on",
    )


def _begin(ray: Any, address: str, options: Mapping[str, Any]) -> None:
    """Connect. The head of a busy host may take longer to start a client's server than Ray waits: then try again."""
    attempts = CLIENT_ATTEMPTS if address.startswith("ray://") else 1
    for attempt in range(1, attempts + 1):
        try:
            ray.init(address=address, **options)
            return
        except ConnectionError as error:
            if attempt == attempts or "Initialization failure" not in str(error):
                raise
            with suppress(Exception):  # what is left of the attempt, in whatever state it is
                ray.shutdown()


def _within(seconds: float, asked: Callable[[], T]) -> T:
    """What a call returns within these seconds. Raises FleetLostError where it does not: Ray itself waits for ever."""
    found: list[T] = []
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            found.append(asked())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    if found:
        return found[0]
    raise _lost_head(str(errors[0]) if errors else f"no answer within {seconds:g} s")
