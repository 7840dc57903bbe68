"""How fast runs are written to and read from the database, and in how much memory.

    python bench/store_speed.py [CASES]        10,000 by default; 5 visits of 5 blocks each

Each figure is of a fresh process. `load` counts from the interpreter's start, imports included.
"""

from __future__ import annotations

import itertools
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from convbench import units

PROCESSES, ROUNDS = 5, 5
STEPS = ("digest", "begin", "append", "load", "visits", "runs")


def made_up_cases(count: int) -> list:
    from convbench.model.case import Case
    from convbench.model.problem import Direction, PaddingWord, Problem

    points = itertools.product(
        range(1, count // 480 + 2), (16, 64, 65, 128, 256, 512), (1, 3, 5, 7), (1, 2), ((1, 1), PaddingWord.VALID)
    )
    return [
        Case(
            problem=Problem(
                in_channels=channels,
                out_channels=out,
                kernel_size=(kernel, kernel),
                input_size=(64, 64),
                stride=(stride, stride),
                padding=padding,
            ),
            direction=direction,
            threads=1,
        )
        for channels, out, kernel, stride, padding in points
        for direction in Direction
    ][:count]


def step(name: str, path: str, count: int) -> float:
    """Do one step and return its seconds."""
    start = time.perf_counter()
    from convbench import store
    from convbench.model import result

    if name in ("load", "visits", "runs"):
        with store.Store.open(path) as opened:
            if name == "load":
                assert len(opened.load("latest").results) == count
            elif name == "visits":
                assert len(opened.visits(opened.runs()[0].id)) == count
            else:
                opened.runs()
        return time.perf_counter() - start
    cases = made_up_cases(count)
    block = result.Block(**dict.fromkeys(result.BLOCK_LAYOUTS[result.LAYOUT], 1))
    packed = result.pack_blocks([block] * ROUNDS)
    checks = [
        result.Check(output_shape=(1, 64, 62, 62), max_error=0.5 + index / count, elements=2048, method="exact")
        for index in range(count)
    ]
    environment = result.Environment(
        hostname="vm",
        system="Linux 6.1",
        machine="x86_64",
        cpu="AMD EPYC",
        cores=2,
        memory_bytes=24 << 30,
        l2_bytes=1 << 20,
        l3_bytes=32 << 20,
        python="3.11.2",
        torch="2.13.0",
        onednn="3.9",
        libc="glibc 2.36",
        accelerator=None,
        cpu_capability="AVX512",
        allocator="steady",
    )
    now = datetime.now(UTC)
    run = result.Run(
        id=store.new_run_id(now),
        name="speed",
        description="",
        source="",
        seed=42,
        measure=result.Measure(),
        version="0",
        started_at=now.isoformat(),
        finished_at=None,
        state=result.RunState.RUNNING,
        environment=environment,
    )
    start = time.perf_counter()
    digest = store.digest(cases, run.measure, seed=run.seed)
    if name == "digest":
        return time.perf_counter() - start
    with store.Store.create(path) as opened:
        start = time.perf_counter()
        opened.begin(run, cases, [], store.Writer.of_this_process(), digest=digest)
        if name == "begin":
            return time.perf_counter() - start
        ids = [case.id for case in cases]
        positions = {case_id: position for position, case_id in enumerate(ids)}
        start = time.perf_counter()
        for process_index in range(PROCESSES):
            for cohort in _batched(ids, 32):
                opened.append(
                    run.id,
                    [
                        result.Visit(
                            case_id=case_id,
                            process_index=process_index,
                            status=result.Status.PASSED,
                            facts=result.CaseFacts(
                                check=checks[positions[case_id]] if process_index == 0 else None,
                                implementation="Mkldnn brg_conv_fwd:avx512_core" if process_index == 0 else None,
                                threads=1,
                                timer="perf_counter_ns",
                                note=None,
                            ),
                            blocks=packed,
                            stop_reason=result.StopReason.ROUNDS,
                        )
                        for case_id in cohort
                    ],
                )
        taken = time.perf_counter() - start
        opened.finish(run.id, result.RunState.FINISHED, now.isoformat())
    return taken


def _batched(items: list, size: int) -> list:
    return [items[first : first + size] for first in range(0, len(items), size)]


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in STEPS:
            path = Path(folder) / ("scratch.db" if name in ("digest", "begin") else "speed.db")
            start = time.perf_counter()
            told = subprocess.run(
                [sys.executable, __file__, "--step", name, str(path), str(count)],
                check=True,
                capture_output=True,
                text=True,
            ).stdout.split()
            whole = time.perf_counter() - start
            print(
                f"{name:8} {units.plural(count, 'case')}: {units.seconds(float(told[0]))}, process "
                f"{units.seconds(whole)}, at most {units.size(int(told[1]))} of memory"
            )
            if name == "append":
                commits = PROCESSES * -(-count // 32)
                each = units.seconds(float(told[0]) / commits)
                print(f"         {each} a cohort; file {units.size(path.stat().st_size)}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        seconds = step(sys.argv[2], sys.argv[3], int(sys.argv[4]))
        print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
