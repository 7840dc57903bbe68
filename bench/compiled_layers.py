"""Whether every layer of configs/ is right when torch.compile compiles it, and what compiling takes and gains.

    python bench/compiled_layers.py [--markdown] [--seconds 0.05] [--only quick] [--dtype bfloat16]
                                    [--direction backward]

One worker compiles each distinct layer in float32 and bfloat16, forward and backward. A second one runs it eagerly. The
check of both is a run's. A block of each follows, in turn. Their floors say how many times as fast the compiled layer
is, on a quiet machine. A case that is not `passed` is listed with its reason, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections import defaultdict
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from table import show_table

from convbench import sweep, units
from convbench.engine.client import Timing
from convbench.engine.local import LocalEngine
from convbench.engine.pool import WorkerPool
from convbench.model.case import Case, Execution
from convbench.model.problem import Direction, Problem
from convbench.model.result import Status

CONFIGS = Path(__file__).parent.parent / "configs"
DEADLINE_S = 900.0
DTYPES = ("float32", "bfloat16")
DIRECTIONS = (Direction.FORWARD, Direction.BACKWARD)
HEADS = ("dtype", "direction", "layers", "passed", "first call: median", "longest", "times as fast: median", "range")
TURNS = 2


def layers(only: str) -> list[Problem]:
    """The distinct layers of the sweeps, the ones with least work first."""
    paths = sorted(path for path in CONFIGS.glob("*.yaml") if only in path.stem)
    found = {case.problem: None for path in paths for case in sweep.cases(sweep.load(path)).cases}
    return sorted(found, key=lambda problem: problem.flops(Direction.BACKWARD))


def measured(pool: WorkerPool, case: Case, seconds: float) -> tuple[str | None, float, float]:
    """(why it has not passed, seconds of the first call, seconds per iteration) of an eager and a compiled case."""
    both = [case, replace(case, execution=Execution.COMPILED)]
    first = 0.0
    for each in both:
        ready = pool.client(each.worker).prepare(1, each, check=True, seed=0, deadline_s=DEADLINE_S)
        if ready.status is not Status.PASSED:
            return f"{each.label}: {ready.status}: {ready.reason}", 0.0, 0.0
        first = ready.facts.first_call_s or 0.0
    floors: defaultdict[Execution, list[float]] = defaultdict(list)
    for _ in range(TURNS):
        for each in both:
            timing = pool.client(each.worker).block(1, seconds, deadline_s=DEADLINE_S)
            if not isinstance(timing, Timing) or timing.wrong:
                return f"{each.label}: {timing}", 0.0, 0.0
            floors[each.execution].append(timing.minimum_s)
    for each in both:
        wrong = pool.client(each.worker).verify(1, deadline_s=DEADLINE_S)
        if wrong:
            return f"{each.label}: {wrong.reason}", 0.0, 0.0
    pool.release(deadline_s=DEADLINE_S)
    return None, first, min(floors[Execution.EAGER]) / min(floors[Execution.COMPILED])


def main() -> int:
    """Print a row for each dtype and direction, then the cases that did not pass."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--seconds", type=float, default=0.05, help="of a block")
    parser.add_argument("--only", default="", help="part of a sweep's name")
    parser.add_argument("--dtype", choices=DTYPES, action="append", help="repeat for several [default: both]")
    parser.add_argument("--direction", choices=DIRECTIONS, type=Direction, action="append", help="likewise")
    options = parser.parse_args()
    rows, wrong = [], []
    for dtype in options.dtype or DTYPES:
        for direction in options.direction or DIRECTIONS:
            firsts, gains, count = [], [], 0
            with closing(LocalEngine()) as engine:
                pool = WorkerPool(engine)
                for problem in layers(options.only):
                    case = Case(problem=problem, direction=direction, dtype=dtype, threads=1)
                    reason, first, gain = measured(pool, case, options.seconds)
                    count += 1
                    if reason is not None:
                        wrong.append(reason)
                        continue
                    firsts.append(first)
                    gains.append(gain)
                pool.close()
            times = [units.seconds(pick(firsts)) for pick in (statistics.median, max)] if firsts else ["", ""]
            ratios = [units.ratio(pick(gains)) for pick in (statistics.median, min, max)] if gains else [""] * 3
            cells = (dtype, str(direction), str(count), str(len(firsts)))
            rows.append((*cells, *times, ratios[0], f"{ratios[1]} to {ratios[2]}"))
            print(*rows[-1], file=sys.stderr, flush=True)
    show_table(HEADS, rows, markdown=options.markdown)
    print("\n".join(wrong) or "every case passed")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
