"""What was measured: blocks, checks, visits, results, the environment and the run that holds them.

Workers return blocks; everything shown is computed from stored blocks when they are read. Blocks are kept packed,
because 25 blocks of 100,000 cases are 2.5 million records. As float32 they parse in less than 1 s, as JSON in 30 s.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from itertools import groupby
from operator import itemgetter
from typing import Any, get_type_hints

from convbench import units
from convbench.model.case import Case, Fp32Precision
from convbench.model.fact import fact, facts_of, inlined
from convbench.model.settings import MOST_INTEGER
from convbench.model.values import MOST_COUNTED, Number, Whole

NAN = float("nan")


class Status(StrEnum):
    """How a case ended; every status except `passed` has a reason."""

    PASSED = "passed"
    FAILED = "failed"
    IMPRECISE = "imprecise"  # correct, but less precise than requested
    SKIPPED = "skipped"
    OUT_OF_MEMORY = "out_of_memory"
    TIMED_OUT = "timed_out"
    CRASHED = "crashed"
    ERROR = "error"


#: Statuses of cases that were timed and whose result is not what was requested, the worse first: exit code 1.
WRONG = (Status.FAILED, Status.IMPRECISE)
#: Statuses of cases that were planned and could not be measured: exit code 3.
UNMEASURED = frozenset({Status.OUT_OF_MEMORY, Status.TIMED_OUT, Status.CRASHED, Status.ERROR})


class StopReason(StrEnum):
    """Why no more blocks of a case were taken."""

    SETTLED = "settled"  # its blocks agree within the requested precision
    ROUNDS = "rounds"  # every planned process and round is done
    TIME = "time"  # an iteration is longer than a block: max_time was used up in fewer rounds
    STATUS = "status"  # it ended early: see its status
    INTERRUPTED = "interrupted"  # the user stopped the run
    UNFINISHED = "unfinished"  # the run has not ended, or its budget was spent


_ABOVE_0 = Number(above=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockFacts:
    """What a worker measures in one block: consecutive samples of one case after untimed warm-up.

    Times are per iteration. `host_s` is NaN unless the device works asynchronously. A new fact is a float with
    `default=NAN` and `bound=Number(unknown=True)`, because blocks of older layouts lack it.
    """

    iterations: int = field(metadata=fact(bound=Whole(low=1, high=MOST_COUNTED)))
    samples: int = field(metadata=fact(bound=Whole(low=1, high=MOST_COUNTED)))
    minimum_s: float = field(metadata=fact(unit="s", bound=_ABOVE_0))
    q1_s: float = field(metadata=fact(unit="s", bound=_ABOVE_0))
    median_s: float = field(metadata=fact(unit="s", bound=_ABOVE_0))
    q3_s: float = field(metadata=fact(unit="s", bound=_ABOVE_0))
    p95_s: float = field(
        metadata=fact("p95", "95th percentile of the median block's samples", unit="s", bound=_ABOVE_0)
    )
    mean_s: float = field(metadata=fact(unit="s", bound=_ABOVE_0))
    host_s: float = field(
        metadata=fact(
            "host", "time the host spent launching, in the median block", unit="s", bound=Number(unknown=True)
        )
    )
    compute_probe_s: float = field(metadata=fact(unit="s"))
    page_faults: float = field(metadata=fact("page faults", "minor page faults per iteration of the median block"))

    @property
    def facts(self) -> dict[str, Any]:
        """The facts by name."""
        return {name: getattr(self, name) for name in BLOCK_FACTS}


#: Times of a block, in ascending order.
QUANTILES = ("minimum_s", "q1_s", "median_s", "q3_s", "p95_s")
BLOCK_FACTS = facts_of(BlockFacts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block(BlockFacts):
    """The facts of a block, and its place in the run.

    `start_s` counts from the start of the run. `memory_probe_s` was measured in the same round, or is NaN. `clock_hz`
    is the clock of the device's multiprocessors after the block: by a kernel that counts its cycles, else by the
    device's library (engine/nvidia.py). By the library, `throttled` is 1 where it had been lowered for heat or power,
    else 0. Both are NaN where they are unknown.
    """

    process_index: int
    round_index: int
    order: int
    start_s: float
    memory_probe_s: float
    clock_hz: float = field(default=NAN, metadata=fact(bound=Number(unknown=True), since=2))
    throttled: float = field(default=NAN, metadata=fact(bound=Number(high=1.0, unknown=True), since=2))


#: The columns of a packed block, float32, little endian, in this order. All versions stay readable.
#:   1  the first release
#:   2  clock_hz, throttled
#: Each fact of a block with `since` defines a newer version.
_FIRST_LAYOUT = (
    *("process_index", "round_index", "order", "start_s", "iterations", "samples"),
    *("minimum_s", "q1_s", "median_s", "q3_s", "p95_s", "mean_s", "host_s"),
    *("compute_probe_s", "memory_probe_s", "page_faults"),
)
_NEWER = dict(sorted(((name, row.since) for name, row in facts_of(Block).items() if row.since > 1), key=itemgetter(1)))
LAYOUT = max([1, *_NEWER.values()])
BLOCK_LAYOUTS: dict[int, tuple[str, ...]] = {
    layout: (*_FIRST_LAYOUT, *(name for name, since in _NEWER.items() if since <= layout))
    for layout in range(1, LAYOUT + 1)
}
_INTEGERS = frozenset(name for name, kind in get_type_hints(Block).items() if kind is int)


def pack_blocks(blocks: Iterable[Block]) -> bytes:
    """Blocks as consecutive rows of the newest layout."""
    columns = BLOCK_LAYOUTS[LAYOUT]
    row = struct.Struct(f"<{len(columns)}f")
    return b"".join(row.pack(*(getattr(block, name) for name in columns)) for block in blocks)


def unpack_blocks(packed: bytes, layout: int = LAYOUT) -> tuple[Block, ...]:
    """The blocks of `packed`; raises ValueError for an unknown layout or an incomplete row."""
    if layout not in BLOCK_LAYOUTS:
        raise ValueError(f"unknown block layout {layout}, this convbench knows {sorted(BLOCK_LAYOUTS)}")
    columns = BLOCK_LAYOUTS[layout]
    row = struct.Struct(f"<{len(columns)}f")
    if len(packed) % row.size:
        raise ValueError(f"{len(packed)} bytes are no whole number of blocks of {row.size} bytes")
    return tuple(
        Block(**{name: _read(name, value) for name, value in zip(columns, values, strict=True)})
        for values in row.iter_unpack(packed)
    )


def _read(name: str, value: float) -> Any:
    """A value of a block; an unknown one is the object NAN, so that equal blocks are equal."""
    return int(value) if name in _INTEGERS else value if value == value else NAN


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What the check before timing found.

    `max_error` is the largest |y - reference| / (sum|x||w| + |b|), in units of the roundoff of the dtype. For float32
    it is that of the precision that torch used (TF32, bf16). It is taken over the compared elements of the random data
    that is timed. The divisor is at least the dtype's smallest normal number. `elements` is the number of elements that
    were compared individually. `method` is how results were compared: `exact` (integers, equal to the last bit),
    `rounded` or `normwise`. `reason` is None where the result is correct.
    """

    output_shape: tuple[int, ...] | None = field(
        metadata=fact("output shape", "shape of the forward output that torch returned")
    )
    max_error: float | None = field(
        metadata=fact(
            "max error",
            "largest error over its bound sum|x||w| + |b|, in units of the roundoff of the precision used",
            bound=Number(high=math.inf, unknown=True),
        )
    )
    elements: int
    method: str = field(metadata=fact("check", "how the result was checked: exact, rounded or normwise"))
    reason: str | None = None


CHECK_FACTS = facts_of(Check)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFacts:
    """What a worker finds about a case in addition to its blocks, usually in the first process only; None is unknown.

    A new fact has a default. The column of `threads` is the setting's column.
    """

    check: Check | None
    implementation: str | None = field(metadata=fact("implementation", "torch's backend and oneDNN's kernel"))
    threads: int | None = field(metadata=fact(bound=Whole(low=1, high=MOST_INTEGER)))
    timer: str | None = field(metadata=fact("timer", "the clock that timed it"))
    note: str | None = field(metadata=fact("note", "facts about how this was measured"))
    precision: str | None = field(
        default=None,
        metadata=fact("precision used", "precision that torch used on this device", column="resolved_precision"),
    )
    reorder_share: float | None = field(
        default=None,
        metadata=fact("reorders", "share of the kernels' time that changes layouts", bound=Number(high=1.0)),
    )
    first_call_s: float | None = field(
        default=None, metadata=fact("first call", "the first iteration in a process", unit="s")
    )
    peak_bytes: int | None = field(
        default=None,
        metadata=fact("peak memory", "memory of an iteration besides its operands and results", unit="B"),
    )
    kernels: str | None = field(
        default=None,
        metadata=fact("kernels", "full names of an accelerator's kernels, the longest time first", since=4),
    )


#: The facts of a case that are single values, unlike `check`.
CASE_FACTS = facts_of(CaseFacts)
NO_FACTS = CaseFacts(check=None, implementation=None, threads=None, timer=None, note=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One process of one case: the unit that is stored. Facts that are found once are in the first process's visit.

    `system_blocks` are a few more blocks, taken with the system's allocator. `kernel_blocks` time the kernels that the
    direction calls, without autograd. Both are packed like `blocks`. `samples` are those of `blocks`, where they are
    kept (samples.py). A visit that is not `complete` holds the blocks taken so far; a resumed run takes the others.
    """

    case_id: str
    process_index: int
    status: Status
    reason: str | None = None
    facts: CaseFacts = field(default=NO_FACTS, metadata=inlined(CaseFacts))
    blocks: bytes = b""
    system_blocks: bytes = b""
    kernel_blocks: bytes = b""
    layout: int = LAYOUT
    samples: bytes = b""
    stop_reason: StopReason = StopReason.UNFINISHED
    complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """All visits of one case combined; the fields are those of a Visit.

    `host` is known where several hosts shared the cases of one run (analysis/campaign/shards.py).
    """

    case: Case
    status: Status
    reason: str | None
    facts: CaseFacts = field(metadata=inlined(CaseFacts))
    stop_reason: StopReason
    blocks: tuple[tuple[int, bytes], ...]  # (layout, packed), in the order of processes, see `joined`
    system_blocks: tuple[tuple[int, bytes], ...] = ()
    kernel_blocks: tuple[tuple[int, bytes], ...] = ()
    host: str | None = None


def joined(parts: Sequence[tuple[int, bytes]]) -> tuple[tuple[int, bytes], ...]:
    """Packed blocks, as (layout, packed), with neighbours of the same layout joined into one object."""
    return tuple(
        (layout, packed)
        for layout, some in groupby(parts, key=itemgetter(0))
        if (packed := b"".join([part for _, part in some]))
    )


def joined_notes(*notes: str | None) -> str | None:
    """Notes in one line, each once; None where there are none."""
    words = [word for note in notes if note for word in note.split("; ")]
    return "; ".join(dict.fromkeys(words)) or None


def merge(case: Case, visits: Iterable[Visit]) -> Result | None:
    """The result of a case, or None where it has no visits.

    The first visit that did not pass decides the status, but a wrong result comes before an imprecise one. The blocks
    and the notes of all visits are kept.
    """
    ordered = sorted(visits, key=lambda visit: visit.process_index)
    if not ordered:
        return None
    decisive = next((visit for visit in ordered if visit.status is not Status.PASSED), ordered[0])
    if decisive.status is Status.IMPRECISE:
        decisive = next((visit for visit in ordered if visit.status is Status.FAILED), decisive)
    last = ordered[-1]

    def first(name: str) -> Any:
        return next((value for visit in ordered if (value := getattr(visit.facts, name)) is not None), None)

    def packed(name: str) -> Any:
        return joined([(visit.layout, getattr(visit, name)) for visit in ordered])

    reason = decisive.reason
    if reason and decisive.status is not Status.PASSED and decisive.process_index > 0:
        reason = f"in process {decisive.process_index + 1}: {reason}"
    facts = {each.name: first(each.name) for each in fields(CaseFacts)}
    facts["note"] = joined_notes(*(visit.facts.note for visit in ordered))
    return Result(
        case=case,
        status=decisive.status,
        reason=reason,
        stop_reason=StopReason.STATUS if decisive.status in UNMEASURED else last.stop_reason,
        facts=CaseFacts(**facts),
        **{name: packed(name) for name in PACKED},
    )


#: The fields of a Visit that hold packed blocks.
PACKED = ("blocks", "system_blocks", "kernel_blocks")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A point of the sweep that torch would refuse, found before any worker started."""

    label: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """How to measure, as under `measure:` in YAML. Times are in seconds; `budget` is for the whole sweep.

    `samples` is whether raw samples are kept.
    """

    precision: float = 0.01
    processes: int = 5
    rounds: int = 5
    max_time: float = 0.5
    timeout: float = 60.0
    budget: float | None = None
    samples: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device that cases were measured on, by the name that they have for it, e.g. `cuda:1`."""

    name: str
    model: str
    memory_bytes: int | None = None
    uuid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The machine and the software that a run was measured on. Numbers are None where the system reports none.

    `accelerator`, `devices` and the software below the devices are known where a case runs on a device. The software
    is (name, version): cuDNN, CUDA, driver, ROCm, MIOpen.
    """

    hostname: str
    system: str
    machine: str
    cpu: str
    cores: int
    memory_bytes: int | None
    l2_bytes: int | None
    l3_bytes: int | None
    python: str
    torch: str
    onednn: str | None
    libc: str
    accelerator: str | None
    cpu_capability: str | None
    allocator: str
    variables: tuple[tuple[str, str], ...] = ()  # environment variables that change what torch does
    executable: str | None = None  # the interpreter of the workers
    devices: tuple[Device, ...] = ()
    device_software: tuple[tuple[str, str], ...] = ()


class RoofKind(StrEnum):
    """The quantity that a roof limits."""

    COMPUTE = "compute"  # FLOP/s
    BANDWIDTH = "bandwidth"  # bytes/s, read and written


@dataclass(frozen=True, slots=True, kw_only=True)
class Roof:
    """The highest rate measured in one process, on one device with one number of threads.

    `rate` is in FLOP/s or bytes/s; `precision` is torch's setting for float32. A compute roof has a dtype, a bandwidth
    roof the number of bytes that its copy reads and writes. `source` is the computation that reached the rate.
    """

    kind: RoofKind
    device: str
    threads: int | None
    rate: float
    source: str
    dtype: str | None = None
    footprint_bytes: int | None = None
    precision: Fp32Precision = Fp32Precision.DEFAULT


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceBlocks:
    """What the reference layers took in one process, in the worker of one device and number of threads.

    `rows` holds a row per round of each cohort: float32, little endian. A row begins with its start in seconds since
    the run's start. Then follows the leading time (lead.py), in seconds per iteration, of each of the `layers`
    references of this version. Each was timed in a block of `block_s` seconds. `record_s` are the lowest times known
    when the run began, from the machine's earlier runs. It is empty in a first run.
    """

    version: int
    device: str
    threads: int | None
    layers: int
    block_s: float
    rows: bytes
    record_s: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceState:
    """The state of a device during a process of a run; None where it is unknown.

    Clocks are medians over blocks or rounds: `sm_hz` of the multiprocessors, which can reach `most_sm_hz`, and
    `memory_hz`. Power and temperature are the highest read. `slowdowns` are the reasons for which the clock was
    lowered. `other_processes` counts compute processes that are not of the run.
    """

    device: str
    sm_hz: float | None = None
    most_sm_hz: float | None = None
    memory_hz: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    temperature_c: float | None = None
    slowdowns: tuple[str, ...] = ()
    other_processes: int | None = None

    def __str__(self) -> str:
        """`SM clock 1.2 GHz of 1.98 GHz, memory clock 2.6 GHz, 412 W of 700 W, 61 °C, lowered by: heat`, as known."""
        limit = "" if self.power_limit_w is None else f" of {self.power_limit_w:.0f} W"
        most = "" if self.most_sm_hz is None else f" of {units.si(self.most_sm_hz, 'Hz')}"
        parts = [
            None if self.sm_hz is None else f"SM clock {units.si(self.sm_hz, 'Hz')}{most}",
            None if self.memory_hz is None else f"memory clock {units.si(self.memory_hz, 'Hz')}",
            None if self.power_w is None else f"{self.power_w:.0f} W{limit}",
            None if self.temperature_c is None else f"{self.temperature_c:.0f} °C",
            f"clock lowered by: {', '.join(self.slowdowns)}" if self.slowdowns else None,
            units.plural(self.other_processes, "other process", "other processes") if self.other_processes else None,
        ]
        return ", ".join(filter(None, parts)) or "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessFacts:
    """What is known about one process in addition to its visits: its seconds after its workers had started, and the
    machine's state during them.

    `roofs` were measured before the first block. `stolen` is the share of processor time that other guests used.
    `throttled` is how often cores or the control group were slowed down. `load` (the load average) and `frequency_hz`
    (the mean over cores) are read at the end. `twin_ratio` is the compute probe's time with all threads divided by its
    time with one, as the median over rounds. It is known where a worker has at least as many threads as the machine has
    cores. Values are None where the system does not report them. `references` has an
    element for each device and number of threads.
    """

    process_index: int
    seconds: float
    roofs: tuple[Roof, ...] = ()
    load: float | None = None
    stolen: float | None = None
    frequency_hz: float | None = None
    throttled: int | None = None
    twin_ratio: float | None = None
    references: tuple[ReferenceBlocks, ...] = ()
    device_states: tuple[DeviceState, ...] = ()


class RunState(StrEnum):
    """The state of a run."""

    RUNNING = "running"
    FINISHED = "finished"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Git:
    """The commit of the user's project that was checked out where a run was started.

    `branch` is None where it is unknown: a detached checkout outside CI. `dirty` is whether files that git tracks
    differed from the commit.
    """

    commit: str
    branch: str | None = None
    dirty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A name for a stored run. `set_at` is ISO 8601 in UTC."""

    name: str
    run_id: str
    set_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Everything about one run: the request, the environment and the results. Times are ISO 8601 in UTC."""

    id: str
    name: str
    description: str
    source: str  # the sweep file's text
    seed: int
    measure: Measure
    version: str  # convbench's
    started_at: str
    finished_at: str | None
    state: RunState
    environment: Environment
    results: tuple[Result, ...] = ()
    rejections: tuple[Rejection, ...] = ()
    unmeasured: tuple[Case, ...] = ()  # cases without any visit yet
    processes: tuple[ProcessFacts, ...] = ()
    git: Git | None = None  # None where it was started outside a git checkout


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One stored run as a line of a list. `statuses` counts the cases with visits by status."""

    id: str
    name: str
    state: RunState
    started_at: str
    finished_at: str | None
    host: str
    cpu: str
    torch: str
    cases: int
    statuses: Mapping[Status, int]
    git: Git | None = None

    @property
    def measured(self) -> int:
        """Cases that were timed: passed, failed and imprecise."""
        return self.statuses.get(Status.PASSED, 0) + self.failed + self.imprecise

    @property
    def failed(self) -> int:
        """Cases with a wrong result."""
        return self.statuses.get(Status.FAILED, 0)

    @property
    def imprecise(self) -> int:
        """Cases with less precision than requested."""
        return self.statuses.get(Status.IMPRECISE, 0)
