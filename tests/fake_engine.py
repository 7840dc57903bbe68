"""An engine whose workers are scripts: exact, instant, and able to die when told to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from convbench.engine.client import Json, Message, WorkerClient
from convbench.errors import WorkerDiedError, WorkerError, WorkerStartError, WorkerTimedOutError
from convbench.model.case import WorkerSettings
from convbench.model.variables import Variables

CHECKED: Mapping[str, Json] = {
    "output_shape": [1, 1, 1, 1],
    "max_error": 0.5,
    "elements": 10,
    "method": "exact",
    "reason": None,
}
#: The checksum of every layer's results on integers.
DIGEST = "0123abcd"
#: What fake workers say of their machine, and how it is.
HOST: Mapping[str, Json] = {
    "hostname": "somewhere",
    "system": "Linux 6.1",
    "machine": "x86_64",
    "cpu": "AMD EPYC 7B13",
    "cores": 2,
    "libc": "musl 1.2.5",
    "memory_bytes": 2**36,
    "available_bytes": 2**35,
    "l2_bytes": 2**20,
    "l3_bytes": 2**25,
    "governor": None,
    "boost": None,
}
#: One whose malloc can be asked to keep freed memory.
GLIBC: Mapping[str, Json] = {"libc": "glibc 2.36"}
STATE: Mapping[str, Json] = {"ticks": None, "throttled": None, "load": None, "frequency_hz": None}


class Answering:
    """A transport whose worker always answers the same."""

    def __init__(self, answer: dict[str, Json]) -> None:
        self._answer = answer

    def request(self, message: Message, *, deadline_s: float) -> dict[str, Json]:
        return self._answer

    def wait_until_up(self, *, deadline_s: float) -> None:
        pass

    def is_alive(self) -> bool:
        return True

    def close(self) -> None:
        pass


@dataclass
class Script:
    """What workers do: seconds per iteration and misdeeds, by the layer's in_channels, which tests use as a name."""

    iteration_s: dict[int, float] = field(default_factory=dict)
    drift: float = 0.0  # each process is slower by this ratio
    segfault_in_block: set[int] = field(default_factory=set)
    hang_in_prepare: set[int] = field(default_factory=set)
    killed_in_block: set[int] = field(default_factory=set)
    out_of_memory_among_others: set[int] = field(default_factory=set)
    out_of_memory: set[int] = field(default_factory=set)
    nonsense_in_block: set[int] = field(default_factory=set)
    raises: set[int] = field(default_factory=set)
    wrong: set[int] = field(default_factory=set)
    imprecise: set[int] = field(default_factory=set)
    wrong_afterwards: set[int] = field(default_factory=set)
    wrong_again: set[int] = field(default_factory=set)  # in a later process, on integers
    wrong_in_block: set[int] = field(default_factory=set)
    varies_in_block: set[int] = field(default_factory=set)
    without_digest: set[int] = field(default_factory=set)
    clock_hz: float | None = None  # of a device that counts its cycles
    interrupt_after_blocks: int | None = None
    unsteady_first: int = 0
    dies_at_roofs: bool = False
    twin_ratio: float = 0.6
    dies_at_start: set[int] = field(default_factory=set)  # numbers of workers
    slow_first_block_s: float | None = None
    killed_while_waiting_after: int | None = None  # blocks
    always_ends_while_waiting: bool = False
    killed_in_find_module: set[str] = field(default_factory=set)
    host: Mapping[str, Json] = field(default_factory=dict)  # what differs from HOST
    states: list[Mapping[str, Json]] = field(default_factory=list)  # one a time it is asked; then STATE
    devices: bool | None = None  # whether devices are there; False: the worker dies of the question
    no_references: set[str] = field(default_factory=set)  # devices
    reference_factor: Callable[[int], float] = lambda worker: 1.0  # on the times of references, by number of the worker
    implementation: Callable[[int], str] = lambda worker: "Slow2d"  # by number of the worker
    factor: Callable[[int, int], float] = lambda name, worker: 1.0  # on the time, by layer and number of the worker


class FakeEngine:
    """Counts workers and keeps the log of everything they were asked."""

    def close(self) -> None:
        """It keeps nothing beside its workers."""

    def __init__(self, script: Script | None = None, *, secrets: Variables = ()) -> None:
        self.script = script or Script()
        self.secrets = secrets
        self.log: list[tuple[str, int]] = []
        self.workers = 0
        self.closed = 0
        self.deaths = 0
        self.blocks = 0
        self.falls = 0
        self.most_alive = 0
        self.late = 0  # requests to workers that are gone
        self.now = 0.0  # seconds that blocks and timeouts took
        self.transports: list[FakeTransport] = []

    def warm_up(self, settings: WorkerSettings) -> None:
        """Nothing takes time in it."""

    def start(self, settings: WorkerSettings) -> WorkerClient:
        self.workers += 1
        self.transports.append(FakeTransport(self, self.workers))
        self.most_alive = max(self.most_alive, sum(not transport.dead for transport in self.transports))
        return WorkerClient(self.transports[-1], settings)

    def fall_back(self) -> bool:
        self.falls += 1
        return self.falls <= 1

    def asked(self, op: str) -> list[int]:
        """The layers (by in_channels) that workers were asked to do this with, in order."""
        return [name for what, name in self.log if what == op]


class FakeTransport:
    """One scripted worker."""

    def __init__(self, engine: FakeEngine, number: int) -> None:
        self._engine = engine
        self._number = number
        self._layers: dict[int, int] = {}
        self.dead = False
        self._up = False
        self.dies_next = False  # at its next request

    def wait_until_up(self, *, deadline_s: float) -> None:
        if self._up:
            return
        if self._number in self._engine.script.dies_at_start:
            self._die(WorkerStartError("the worker did not start: it was ended by SIGKILL", signal=9))
        if self.dead:
            raise WorkerStartError("the worker did not start: it was ended")
        self._up = True

    def is_alive(self) -> bool:
        script, engine = self._engine.script, self._engine
        if not self.dead and (script.always_ends_while_waiting or script.killed_while_waiting_after == engine.blocks):
            script.killed_while_waiting_after = None
            self.dead = True
            engine.deaths += 1
        return not self.dead

    def close(self) -> None:
        if not self.dead:
            self._engine.closed += 1
        self.dead = True

    def request(self, message: Message, *, deadline_s: float) -> Mapping[str, Json]:
        if self.dead:
            self._engine.late += 1
            raise WorkerDiedError("the worker has ended")
        if self.dies_next:
            self._die(WorkerDiedError("the worker was ended by SIGKILL", signal=9))
        op = str(message["op"])
        answer: Mapping[str, Json] = getattr(self, f"_{op}")(message)
        return answer

    def _die(self, error: WorkerError) -> None:
        self.dead = True
        self._engine.deaths += 1
        raise error

    def _describe(self, message: Message) -> Mapping[str, Json]:
        steady = self._number > self._engine.script.unsteady_first
        return {
            "status": "passed",
            "torch": "2.13.0",
            "python": "3.11.7",
            "onednn": None,
            "cpu_capability": None,
            "threads": message["threads"] or 2,
            "keeps_memory": steady,
            "host": {**HOST, **self._engine.script.host},
        }

    def _devices(self, message: Message) -> Mapping[str, Json]:
        names, there = message["names"], self._engine.script.devices
        assert isinstance(names, list)
        self._engine.log.append(("devices", self._number))
        if there is False:
            self._die(WorkerDiedError("the worker was ended by SIGSEGV", signal=11))
        found: list[Json] = [
            {"name": name, "model": "H100", "memory_bytes": 80 * 2**30, "uuid": "0000-1111"} for name in names
        ]
        if not there:
            return {"status": "passed", "accelerator": None, "devices": [], "software": [], "free_bytes": []}
        software: list[Json] = [["cuDNN", "9.10.2"]]
        free = [[each["name"], 2**36] for each in found]
        return {
            "status": "passed",
            "accelerator": "cuda: H100 x2",
            "devices": found,
            "software": software,
            "free_bytes": free,
        }

    def _host_state(self, message: Message) -> Mapping[str, Json]:
        states = self._engine.script.states
        return {"status": "passed", **STATE, **(states.pop(0) if states else {})}

    def _find_module(self, message: Message) -> Mapping[str, Json]:
        if message["module"] == "absent:Conv":
            return {"status": "error", "reason": "ModuleNotFoundError: No module named 'absent'"}
        self._engine.log.append(("find_module", self._number))
        if message["module"] in self._engine.script.killed_in_find_module:
            self._die(WorkerDiedError("the worker was ended by SIGKILL", signal=9))
        if message["module"] == "breaks:Conv":
            self._die(WorkerDiedError("the worker was ended by SIGSEGV", signal=11))
        return {"status": "passed"}

    def _prepare(self, message: Message) -> Mapping[str, Json]:
        spec, script = message["spec"], self._engine.script
        assert isinstance(spec, Mapping)
        name, key = spec["in_channels"], message["key"]
        assert isinstance(name, int)
        assert isinstance(key, int)
        self._engine.log.append(("check" if message["check"] else "prepare", name))
        if name in script.hang_in_prepare:
            self._engine.now += 60.0
            self._die(WorkerTimedOutError("no answer within 60 s"))
        if name in script.raises:
            return {"status": "error", "reason": "ValueError: no"}
        if name in script.out_of_memory or (name in script.out_of_memory_among_others and self._layers):
            return {"status": "out_of_memory", "reason": "can't allocate memory"}
        self._layers[key] = name
        answer = {"status": "passed", "reason": None, "note": None, "timer": "perf_counter", "threads": 1}
        answer["digest"] = message["digest"]
        if message["check"]:
            answer["digest"] = None if name in script.without_digest | script.wrong else DIGEST
            wrong = "output[0, 0, 0, 0] is 7, should be 9" if name in script.wrong else None
            answer |= {"implementation": script.implementation(self._number), "check": {**CHECKED, "reason": wrong}}
            answer |= {"status": "failed", "reason": wrong} if wrong else {}
            if name in script.imprecise:
                answer |= {"status": "imprecise", "reason": "less precision than float32"}
        elif message["again"]:
            assert message["digest"] == DIGEST
            self._engine.log.append(("again", name))
        if message["again"] and name in script.wrong_again:
            answer |= {"status": "failed", "reason": "output[0] is 7, should be 9"}
        return answer

    def _block(self, message: Message) -> Mapping[str, Json]:
        engine, key, seconds = self._engine, message["key"], message["seconds"]
        assert isinstance(key, int)
        assert isinstance(seconds, float)
        if engine.script.interrupt_after_blocks == engine.blocks:
            raise KeyboardInterrupt
        engine.blocks += 1
        name = self._layers[key]
        engine.log.append(("block", name))
        if name in engine.script.segfault_in_block:
            self._die(WorkerDiedError("the worker was ended by SIGSEGV", signal=11))
        if name in engine.script.killed_in_block:
            self._die(WorkerDiedError("the worker was ended by SIGKILL", signal=9))
        if name in engine.script.nonsense_in_block:
            return {"status": "passed", "iterations": "many"}
        time_s = engine.script.iteration_s.get(name, 1e-3) * (1 + engine.script.drift) ** (self._number - 1)
        time_s *= engine.script.factor(name, self._number)
        if engine.blocks == 1 and engine.script.slow_first_block_s:
            time_s = engine.script.slow_first_block_s
        iterations = max(1, round(seconds / time_s))
        engine.now += time_s * iterations
        quantiles = ("minimum_s", "q1_s", "median_s", "q3_s", "p95_s", "mean_s")
        return {
            "status": "passed",
            **dict.fromkeys(quantiles, time_s),
            "iterations": iterations,
            "samples": iterations,
            "host_s": float("nan"),
            "page_faults": 0.0,
            "compute_probe_s": 3e-4,
            "busy_s": time_s * iterations,
            "clock_hz": engine.script.clock_hz,
            **({"each_s": [time_s + number * 1e-9 for number in range(iterations)]} if message.get("samples") else {}),
            "wrong": "output changed" if name in engine.script.wrong_in_block else None,
            "note": "calls differ" if name in engine.script.varies_in_block else None,
        }

    def _memory_probe(self, message: Message) -> Mapping[str, Json]:
        self._engine.log.append(("memory_probe", 0))
        return {"status": "passed", "memory_probe_s": 6e-3}

    def _references(self, message: Message) -> Mapping[str, Json]:
        specs, script = message["specs"], self._engine.script
        assert isinstance(specs, list)
        self._engine.log.append(("references", self._number))
        if message["device"] in script.no_references:
            return {"status": "error", "reason": "RuntimeError: no"}
        time_s = 1e-4 * script.reference_factor(self._number)
        times = [time_s * (1 + at) for at in range(len(specs))]
        return {"status": "passed", "minima_s": times, "medians_s": [2 * each for each in times], "busy_s": 0.01}

    def _compute_probe(self, message: Message) -> Mapping[str, Json]:
        return {"status": "passed", "compute_probe_s": 3e-4}

    def _twin(self, message: Message) -> Mapping[str, Json]:
        self._engine.log.append(("twin", 0))
        return {"status": "passed", "twin_ratio": self._engine.script.twin_ratio}

    def _verify(self, message: Message) -> Mapping[str, Json]:
        key = message["key"]
        assert isinstance(key, int)
        name = self._layers[key]
        self._engine.log.append(("verify", name))
        if name in self._engine.script.wrong_afterwards:
            return {"status": "failed", "reason": "output was right before it was timed"}
        return {"status": "passed", "reason": None}

    def _peak_memory(self, message: Message) -> Mapping[str, Json]:
        key = message["key"]
        assert isinstance(key, int)
        self._engine.log.append(("peak_memory", self._layers[key]))
        return {"status": "passed", "peak_bytes": 4096}

    def _roofs(self, message: Message) -> Mapping[str, Json]:
        dtypes = message["dtypes"]
        assert isinstance(dtypes, list)
        if self._engine.script.dies_at_roofs:
            self._die(WorkerDiedError("the worker was ended by SIGSEGV", signal=11))
        if message["device"] == "accelerator":
            return {"status": "skipped", "reason": "torch finds no accelerator on this machine"}
        common: dict[str, Json] = {"source": "fake", "dtype": None, "footprint_bytes": None}
        compute: list[Json] = [{**common, "kind": "compute", "rate": 1e11, "dtype": dtype} for dtype in dtypes]
        return {
            "status": "passed",
            "roofs": [*compute, {**common, "kind": "bandwidth", "rate": 1e10, "footprint_bytes": 65536}],
        }

    def _release(self, message: Message) -> Mapping[str, Json]:
        self._layers.clear()
        return {"status": "passed"}
