"""What comparing later calls costs, as share of a run's block time, and how often it finds a layer that errs.

    python bench/repeated_calls.py [--markdown] [--turns 5]

A worker in this process prepares each layer as a later process of a run does. `compare` is the time before and after a
block without its calls. Those before replace a part of the warm-up, and the one after is the last timed call. `again`
is the time of comparing with the first process's check. The least of all turns counts. The last columns tell how often
a run finds a layer that is wrong in one call of ten. They count the blocks of five processes, and those of four, where
a case settles.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter
from typing import Any

import torch
from table import show_table

from convbench.engine.client import spec
from convbench.measure import schedule
from convbench.model.case import Case
from convbench.model.problem import Direction, Problem
from convbench.model.result import Measure
from convbench.worker import timer
from convbench.worker.layer import Layer
from convbench.worker.spec import Spec
from convbench.worker.timer import Warm
from convbench.worker.verify.repeated import Repeats, wrong_again
from convbench.worker.verify.verdict import verify

ROUNDS = 5
BLOCK_S = 0.02
WRONG = 0.1
RIGHT = 1 - WRONG
#: Calls of the first process's check: two on integers, one on the timed data, one at the end.
OF_CHECK = 4

SMALL = Problem(in_channels=3, out_channels=10, kernel_size=(3, 3), input_size=(64, 64))
POINTWISE = Problem(in_channels=128, out_channels=128, kernel_size=(1, 1), input_size=(28, 28))
MIDDLE = Problem(in_channels=64, out_channels=64, kernel_size=(3, 3), input_size=(28, 28), padding=(1, 1), batch_size=8)
CASES = [
    *(Case(problem=problem, direction=direction) for problem in (SMALL, POINTWISE, MIDDLE) for direction in Direction),
    Case(problem=replace(MIDDLE, batch_size=64)),
    Case(problem=replace(MIDDLE, batch_size=64), direction=Direction.BACKWARD),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    heads = ("layer", "iteration", "calls a block", "compare", "again", "share", "found, all blocks", "found, settled")
    show_table(heads, [_row(case, options.turns) for case in CASES], markdown=options.markdown)


def _row(case: Case, turns: int) -> list[str]:
    asked: dict[str, Any] = dict(spec(case, 1))
    layer = Layer(Spec.from_json(asked), torch.device("cpu"))
    digest = verify(layer).digest
    assert digest is not None
    again_s = min(_seconds(lambda: wrong_again(layer, digest))[0] for _ in range(turns))
    looks = [look for _ in range(turns) for look in _looks(layer)]
    compare_s = min(look_s - warm.seconds for look_s, warm in looks) + min(_after(layer) for _ in range(turns))
    iteration_s = min(warm.fastest_s for _, warm in looks)
    calls = sum(warm.iterations for _, warm in looks) / len(looks)
    measure = Measure()
    blocks = schedule.blocks_in_run(iteration_s, measure)
    extra_s = blocks * compare_s + again_s * _comparing(iteration_s, measure.processes)
    return [
        case.label,
        f"{iteration_s * 1e3:.3f} ms",
        f"{calls:.1f}",
        f"{compare_s * 1e3:.3f} ms",
        f"{again_s * 1e3:.2f} ms",
        f"{extra_s / (blocks * max(BLOCK_S, iteration_s)):.1%}",
        f"{_found(calls, iteration_s, measure.processes):.2%}",
        f"{_found(calls, iteration_s, schedule.SETTLED_PROCESSES):.2%}",
    ]


def _looks(layer: Layer) -> list[tuple[float, Warm]]:
    """Seconds and calls before each block of a process."""
    repeats = Repeats(layer, is_exact=True, first={})
    return [_seconds(lambda: repeats.look(None)) for _ in range(ROUNDS)][1:]


def _after(layer: Layer) -> float:
    """Seconds of comparing the last timed call of a block with the first call."""
    repeats = Repeats(layer, is_exact=True, first={})
    repeats.look(None)
    results = layer.results()
    return _seconds(lambda: repeats.look_after(results))[0]


def _seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    begin = perf_counter()
    found = work()
    return perf_counter() - begin, found


def _comparing(iteration_s: float, processes: int) -> int:
    """How many of the processes compare a call on integers with the first process's check."""
    is_cheap = schedule.COMPARED_ITERATIONS * iteration_s <= schedule.COMPARED_SHARE * BLOCK_S
    return processes - 1 if is_cheap else min(1, processes - 1)


def _found(calls: float, iteration_s: float, processes: int) -> float:
    """The probability that this many processes find a layer whose calls are wrong independently of each other.

    A process misses it where all of its calls are right, or all wrong. The first process has the check besides. A block
    compares `calls` before it, and its last timed call where each call is a sample.
    """
    measure = Measure()
    blocks = schedule.blocks_in_run(iteration_s, measure)
    of_block = calls + (iteration_s >= timer.SHORTEST_SAMPLE_S)
    missed = RIGHT ** (OF_CHECK + _comparing(iteration_s, processes))
    for process_index in range(processes):
        compared = of_block * schedule.blocks_in_process(blocks, process_index, measure.processes)
        missed *= RIGHT**compared + (WRONG**compared if process_index and compared else 0.0)
    return 1 - missed


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
