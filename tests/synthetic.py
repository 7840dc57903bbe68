"""Made-up runs for tests of tables, reports and exports: any number of cases, seeded, hostile names, every status."""

from __future__ import annotations

import itertools
import random
import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from zlib import crc32

from convbench.model.case import Case, MemoryFormat
from convbench.model.problem import Direction, PaddingWord, Problem
from convbench.model.references import VERSION, ReferenceKind, references
from convbench.model.result import (
    LAYOUT,
    NAN,
    Block,
    CaseFacts,
    Check,
    Environment,
    Measure,
    ProcessFacts,
    ReferenceBlocks,
    Rejection,
    Result,
    Run,
    RunState,
    Status,
    StopReason,
    pack_blocks,
    unpack_blocks,
)

HOSTILE = (
    "<script>alert('label')</script>",
    '"quoted", with a comma',
    "two\nlines | and a pipe",
    "emoji 🧮 and ümlaut",
    "=cmd|' /C calc'!A0",
    "</script><img src=x onerror=alert(1)>",
    "control \x08 character",
    "  spaces  ",
)
#: One case in this many ends otherwise than passed, in turn.
TROUBLE_EVERY = 12
TROUBLES: tuple[tuple[Status, str], ...] = (
    (Status.FAILED, "output[0, 1, 2, 3] is 4.5, should be 5; <b>wrong</b> in 17 of 4096 elements"),
    (Status.SKIPPED, "no cuda device here"),
    (Status.CRASHED, "the worker ended by signal 11"),
    (Status.TIMED_OUT, "no answer within 60 s"),
    (Status.OUT_OF_MEMORY, "in process 2: cannot allocate 17 GiB"),
    (Status.ERROR, "RuntimeError: expected a\nweight | of 4 dimensions"),
)


def cases(count: int) -> list[Case]:
    """So many different cases over channels, kernel, stride, padding, batch, dtype, format and direction."""
    settings = itertools.product(
        (3, 16, 64, 128, *range(200, 200 + max(0, count // 200))),
        (1, 3, 5),
        (1, 2),
        (PaddingWord.VALID, 1),
        (None, 1, 8),
        ("float32", "bfloat16"),
        tuple(MemoryFormat),
        (Direction.FORWARD, Direction.BACKWARD),
    )
    points = (
        Case(
            problem=Problem(
                in_channels=channels,
                out_channels=32,
                kernel_size=(kernel, kernel),
                stride=(stride, stride),
                padding=padding if isinstance(padding, PaddingWord) else (padding, padding),
                input_size=(28, 28),
                batch_size=batch,
            ),
            dtype=dtype,
            memory_format=memory_format,
            direction=direction,
            threads=1,
        )
        for channels, kernel, stride, padding, batch, dtype, memory_format, direction in settings
        if not (batch is None and memory_format is MemoryFormat.CHANNELS_LAST)
    )
    return list(itertools.islice(points, count))


def layer(in_channels: int = 16, **given: object) -> Case:
    """A layer of one size with these other fields of its problem and of the case."""
    problem = Problem(in_channels=in_channels, out_channels=32, kernel_size=(3, 3), input_size=(28, 28))
    on_problem = {name: given.pop(name) for name in list(given) if hasattr(problem, name)}
    return Case(problem=replace(problem, **on_problem), **given)


def floor_s(case: Case) -> float:
    """What the made-up machine needs for a case: 50 GFLOP/s, bfloat16 1.8 times as fast, but not at 3 channels."""
    rate = 50e9
    if case.dtype == "bfloat16":
        rate *= 0.8 if case.problem.in_channels == 3 else 1.8
    if case.memory_format is MemoryFormat.CHANNELS_LAST:
        rate *= 1.3
    return 2e-6 + case.flops / rate


def blocks(
    floor: float, *, processes: int = 5, rounds: int = 5, noise: float = 0.3, seed: int | str = 0
) -> tuple[Block, ...]:
    """Blocks of one case: noise only adds time, in half of the blocks none at all."""
    chance = random.Random(f"blocks {seed}")
    made = []
    for process_index, round_index in itertools.product(range(processes), range(rounds)):
        quiet = chance.random() < 0.5
        slower = 1 + chance.random() * 0.005 + (0 if quiet else chance.expovariate(1 / noise) if noise else 0)
        low = floor * slower
        made.append(
            Block(
                process_index=process_index,
                round_index=round_index,
                order=round_index,
                start_s=20.0 * process_index + round_index,
                iterations=100,
                samples=100,
                minimum_s=low,
                q1_s=low * 1.01,
                median_s=low * 1.02,
                q3_s=low * 1.04,
                p95_s=low * 1.2,
                mean_s=low * 1.03,
                host_s=NAN,
                compute_probe_s=324e-6 * slower,
                memory_probe_s=5.5e-3 * slower if round_index == 0 else NAN,
                page_faults=float(chance.choice((0, 0, 0, 12))),
            )
        )
    return tuple(made)


def noisy_blocks(
    floor: float, *, processes: int = 5, rounds: int = 5, process: float = 0.01, noise: float = 0.3, seed: int | str = 0
) -> tuple[Block, ...]:
    """Blocks with the noise of `blocks` and one that a whole process shares, with the standard deviation `process`."""
    chance = random.Random(f"processes {seed}")
    shares = [1 + abs(chance.gauss(0, process)) for _ in range(processes)]
    times = ("minimum_s", "q1_s", "median_s", "q3_s", "p95_s", "mean_s")
    made = blocks(floor, processes=processes, rounds=rounds, noise=noise, seed=seed)
    return tuple(replace(b, **{name: getattr(b, name) * shares[b.process_index] for name in times}) for b in made)


def device_blocks(
    steady: Sequence[float], *, start: float, rounds: int = 5, chance: random.Random | None = None
) -> tuple[Block, ...]:
    """Blocks of a device whose median is the `steady` one of its process, and whose first samples take `start`.

    With `chance` medians differ by 0.1 %.
    """
    made = blocks(1.0, processes=len(steady), rounds=rounds, noise=0.0)
    found = []
    for block in made:
        level = steady[block.process_index] * (1 + (chance.gauss(0, 0.001) if chance else 0.0))
        found.append(
            replace(
                block,
                minimum_s=start,
                q1_s=level,
                median_s=level,
                q3_s=level,
                p95_s=level * 1.01,
                mean_s=level,
                compute_probe_s=NAN,
                memory_probe_s=NAN,
                page_faults=0.0,
            )
        )
    return tuple(found)


def result(
    case: Case,
    *,
    status: Status = Status.PASSED,
    reason: str | None = None,
    made: tuple[Block, ...] | None = None,
    stop_reason: StopReason = StopReason.ROUNDS,
    seed: int | str = 0,
) -> Result:
    """What came of one case; without `made`, plausible blocks of as many processes as its status allows."""
    timed = status in (Status.PASSED, Status.FAILED)
    if made is None:
        # Noise repeats with the case, so that whole runs cost little to make up.
        made = blocks(floor_s(case), seed=f"{seed} {crc32(case.id.encode()) % 50}") if timed else ()
    by_process = [pack_blocks(group) for _, group in itertools.groupby(made, key=lambda block: block.process_index)]
    check = Check(
        output_shape=case.problem.output_shape,
        max_error=0.7,
        elements=4096,
        method="exact",
        reason=reason if status is Status.FAILED else None,
    )
    return Result(
        case=case,
        status=status,
        reason=reason,
        facts=CaseFacts(
            check=check if timed else None,
            implementation="Mkldnn jit:avx512_core" if case.problem.in_channels > 3 else "Slow2d",
            threads=1 if timed else None,
            timer="perf_counter_ns" if timed else None,
            note=None,
        ),
        stop_reason=stop_reason if timed else StopReason.STATUS,
        blocks=tuple((LAYOUT, packed) for packed in by_process),
    )


def blocks_of(result: Result) -> list[Block]:
    """All blocks that a result was made of."""
    return [block for layout, packed in result.blocks for block in unpack_blocks(packed, layout)]


def with_facts(made: Result, **facts: object) -> Result:
    """The result with other facts."""
    return replace(made, facts=replace(made.facts, **facts))


def environment() -> Environment:
    """A small Linux machine."""
    return Environment(
        hostname="laptop <b>of Zoë</b>",
        system="Linux 6.1",
        machine="x86_64",
        cpu="AMD EPYC 7B13",
        cores=2,
        memory_bytes=8 * 2**30,
        l2_bytes=2**20,
        l3_bytes=32 * 2**20,
        python="3.11.2",
        torch="2.13.0+cpu",
        onednn="3.12.0",
        libc="glibc 2.36",
        accelerator=None,
        cpu_capability="AVX512",
        allocator="steady",
        variables=(("OMP_NUM_THREADS", "1"),),
    )


def empty_run() -> Run:
    """A run without any case."""
    return Run(
        id="20261124t033000-ab12",
        name="made up <script>alert('name')</script>",
        description="Not measured: 'made up' for tests & \"nothing\" else.\nSecond line.",
        source="name: made up\naxes:\n  in_channels: [3, 16]\n",
        seed=42,
        measure=Measure(),
        version="0.1.0",
        started_at="2026-11-24T03:30:00Z",
        finished_at="2026-11-24T03:33:20Z",
        state=RunState.FINISHED,
        environment=environment(),
    )


def run(
    count: int = 48,
    *,
    seed: int = 0,
    hostile: bool = True,
    troubles: bool = True,
    rejections: int = 3,
    unmeasured: int = 0,
) -> Run:
    """A whole run of `count` cases, the last `unmeasured` of them not reached yet.

    With `troubles` some cases end in every other way than passed; one in seven is settled early.
    """
    points = cases(count)
    if hostile:
        points = [
            replace(case, given_label=HOSTILE[i // 5 % len(HOSTILE)]) if i % 5 == 0 else case
            for i, case in enumerate(points)
        ]
    reached, waiting = points[: len(points) - unmeasured], points[len(points) - unmeasured :]
    results = []
    for i, case in enumerate(reached):
        status, reason = Status.PASSED, None
        if troubles and i % TROUBLE_EVERY == TROUBLE_EVERY - 1:
            status, reason = TROUBLES[i // TROUBLE_EVERY % len(TROUBLES)]
        stop = StopReason.SETTLED if i % 7 == 3 else StopReason.ROUNDS
        results.append(result(case, status=status, reason=reason, stop_reason=stop, seed=seed))
    return replace(
        empty_run(),
        seed=seed,
        results=tuple(results),
        rejections=tuple(
            Rejection(
                label=f"n1 c{3 + i} 4x4 -> k8 7x7 s1 p0 <i>forward</i>",
                reason="the kernel (7x7) is larger than the padded input (4x4)",
            )
            for i in range(rejections)
        ),
        unmeasured=tuple(waiting),
        state=RunState.INTERRUPTED if unmeasured else RunState.FINISHED,
    )


def referred(
    made: Run,
    factors: Mapping[ReferenceKind, float] | None = None,
    *,
    record_s: Sequence[float] = (),
    odd: Mapping[int, float] | None = None,
    rounds: int = 5,
) -> Run:
    """The run with reference layers in every round, each 1 ms times its number, and slower by a factor of its kind.

    `odd` holds further factors by the number of the reference, from 0.
    """
    keys = dict.fromkeys((result.case.device, result.case.threads) for result in made.results)
    facts = []
    for process_index in range(made.measure.processes):
        found = []
        for device, threads in keys:
            layers = references(device)
            times = [
                1e-3 * (1 + at) * (factors or {}).get(kind, 1.0) * (odd or {}).get(at, 1.0)
                for at, (kind, _) in enumerate(layers)
            ]
            rows = [struct.pack(f"<{1 + len(times)}f", 20.0 * process_index + at, *times) for at in range(rounds)]
            found.append(
                ReferenceBlocks(
                    version=VERSION,
                    device=device,
                    threads=threads,
                    layers=len(times),
                    block_s=0.02,
                    rows=b"".join(rows),
                    record_s=tuple(record_s),
                )
            )
        facts.append(ProcessFacts(process_index=process_index, seconds=1.0, references=tuple(found)))
    return replace(made, processes=tuple(facts))
