"""What a case costs beside its blocks: preparing, checking, comparing, verifying and releasing.

    python bench/case_cost.py [LAYERS] [--dtype float32] [--markdown]        default: 200

The layers are distinct ones of the sizes that networks have, drawn with a fixed seed. A first worker prepares each one
with its check, takes a block of the length that `run` takes, and verifies it. A second worker prepares each one again
and compares its results with the check's. Both take the layers in groups, as a run does. The last column is the share
of one block. In the last row it is that of all blocks of a run of five processes of five.
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections import defaultdict
from contextlib import closing
from time import perf_counter

from table import show_table

from convbench import units
from convbench.engine.client import Timing
from convbench.engine.local import LocalEngine
from convbench.engine.pool import WorkerPool
from convbench.measure.schedule import COHORT_SIZE, block_seconds
from convbench.model.case import Case
from convbench.model.problem import Direction, Problem
from convbench.model.result import Measure, Status

DEADLINE_S = 600.0
CHANNELS = (3, 16, 24, 32, 40, 64, 80, 96, 112, 128, 160, 192, 256, 320, 384, 512)
SIDES = (7, 14, 28, 56)
#: FLOPs of the largest layer, so that one call is a few milliseconds.
MOST_FLOPS = 2e8


def layers(count: int) -> list[Problem]:
    """Distinct layers: 1x1 and 3x3, some depthwise."""
    drawn = random.Random(1)
    found: dict[Problem, None] = {}
    while len(found) < count:
        channels, kernel, side = drawn.choice(CHANNELS), drawn.choice((1, 1, 3, 3, 5)), drawn.choice(SIDES)
        depthwise = kernel > 1 and drawn.random() < 0.3
        problem = Problem(
            in_channels=channels,
            out_channels=channels if depthwise else drawn.choice(CHANNELS[1:]),
            kernel_size=(kernel, kernel),
            input_size=(side, side),
            padding=(kernel // 2, kernel // 2),
            stride=(drawn.choice((1, 1, 2)),) * 2,
            groups=channels if depthwise else 1,
            bias=False,
            batch_size=1,
        )
        if problem.flops(Direction.FORWARD) <= MOST_FLOPS:
            found[problem] = None
    return list(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("layers", nargs="?", type=int, default=200)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    cases = [Case(problem=problem, dtype=options.dtype, threads=1) for problem in layers(options.layers)]
    spent: defaultdict[str, list[float]] = defaultdict(list)
    digests: dict[int, str | None] = {}
    for first in (True, False):
        with closing(LocalEngine()) as engine:
            pool = WorkerPool(engine)
            for start in range(0, len(cases), COHORT_SIZE):
                group = range(start, min(start + COHORT_SIZE, len(cases)))
                take(pool, cases, group, spent, digests, first=first)
            pool.close()
    per = {name: statistics.fmean(times) for name, times in spent.items()}
    block = per.pop("block")
    rows = [(name, *figures(times), f"{per[name] / block:.2f}") for name, times in spent.items() if name in per]
    rows.insert(0, ("block", *figures(spent["block"]), "1"))
    later = per["prepare again"] + per["release"]
    measure = Measure()
    once = per["prepare and check"] + per["verify"] + per["release"] + (measure.processes - 1) * later
    blocks = measure.processes * measure.rounds * block
    rows.append(("in a run of five processes", units.seconds(once), "", "", f"{once / blocks:.2f}"))
    show_table(("of a case", "mean", "median", "longest", "of the blocks"), rows, markdown=options.markdown)


def take(
    pool: WorkerPool,
    cases: list[Case],
    group: range,
    spent: defaultdict[str, list[float]],
    digests: dict[int, str | None],
    *,
    first: bool,
) -> None:
    """Prepare a group, take a block of each case, and release them."""
    client = pool.client(cases[0].worker)
    for key in group:
        begin = perf_counter()
        ready = client.prepare(
            key, cases[key], check=first, seed=0, deadline_s=DEADLINE_S, digest=digests.get(key), again=not first
        )
        spent["prepare and check" if first else "prepare again"].append(perf_counter() - begin)
        assert ready.status is Status.PASSED, ready.reason
        digests.setdefault(key, ready.digest)
    for key in group if first else ():
        begin = perf_counter()
        assert isinstance(client.block(key, block_seconds(Measure()), deadline_s=DEADLINE_S), Timing)
        spent["block"].append(perf_counter() - begin)
    for key in group if first else ():
        begin = perf_counter()
        assert client.verify(key, deadline_s=DEADLINE_S) is None
        spent["verify"].append(perf_counter() - begin)
    begin = perf_counter()
    pool.release(deadline_s=DEADLINE_S)
    spent["release"] += [(perf_counter() - begin) / len(group)] * len(group)


def figures(times: list[float]) -> tuple[str, str, str]:
    return units.seconds(statistics.fmean(times)), units.seconds(statistics.median(times)), units.seconds(max(times))


if __name__ == "__main__":
    main()
