"""Which estimator, how many processes and rounds repeat best, from the stored blocks of many runs of one sweep.

    python bench/estimators.py DATABASE [NAME]        NAME of the sweep, default: that of the newest run

First run the sweep many times into one database (`convbench run --fresh --db DATABASE ...`). Use the smallest
`precision` (0.0001), so that no case settles and every run has all its processes and rounds. For each case the script
prints the 95th percentile of |ln(a/b)| over all pairs of runs. Runs with reference layers are related to them as well,
by the mean and by the median.

For the stop rule the script prints how many processes it would have taken. It also prints by how much the floor then
lies over that of all blocks.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from repeatability import p95_of_pairs

from convbench.measure.estimate import Floats
from convbench.measure.references import leading_times
from convbench.measure.schedule import is_settled
from convbench.model.case import Case
from convbench.model.lead import Lead
from convbench.model.references import ReferenceKind, kind_of, references
from convbench.model.result import Block, Run, RunState, unpack_blocks
from convbench.store import Store

Blocks = Sequence[Block]
Estimator = Callable[[Blocks], float]


def process_floors(blocks: Blocks) -> list[float]:
    """The lowest block minimum of each process, ascending."""
    floors: dict[int, float] = {}
    for block in blocks:
        floors[block.process_index] = min(block.minimum_s, floors.get(block.process_index, block.minimum_s))
    return sorted(floors.values())


def mean_of_lowest(blocks: Blocks, count: int) -> float:
    """The mean of the lowest block minima, of all where there are fewer."""
    return statistics.fmean(sorted(block.minimum_s for block in blocks)[:count])


def quantile(blocks: Blocks, share: float) -> float:
    """A quantile of the block minima."""
    return float(np.quantile([block.minimum_s for block in blocks], share))


ESTIMATORS: dict[str, Estimator] = {
    "overall minimum": lambda blocks: process_floors(blocks)[0],
    "10 % quantile of minima": lambda blocks: quantile(blocks, 0.1),
    "lower quartile of minima": lambda blocks: quantile(blocks, 0.25),
    "median of process floors": lambda blocks: statistics.median(process_floors(blocks)),
    "second-lowest process floor": lambda blocks: process_floors(blocks)[:2][-1],
    "mean of 3 lowest minima": lambda blocks: mean_of_lowest(blocks, 3),
    "mean of 5 lowest minima": lambda blocks: mean_of_lowest(blocks, 5),
    "minimum of block medians": lambda blocks: min(block.median_s for block in blocks),
    "median of block medians": lambda blocks: statistics.median(block.median_s for block in blocks),
}


def first(blocks: Blocks, processes: int, rounds: int) -> list[Block]:
    """The blocks of the first processes and of the first rounds of each: what a shorter run would have had."""
    return [block for block in blocks if block.process_index < processes and block.round_index < rounds]


def table(
    cases: dict[str, list[Blocks]], choices: dict[str, Callable[[Blocks], float]]
) -> list[tuple[str, list[float]]]:
    """p95 of |ln(a/b)| of each choice, one number for each case."""
    return [
        (name, [p95_of_pairs([choice(b) for b in runs]) for runs in cases.values()]) for name, choice in choices.items()
    ]


def show(title: str, cases: dict[str, list[Blocks]], choices: dict[str, Callable[[Blocks], float]]) -> None:
    show_rows(title, dict(table(cases, choices)))


def show_rows(title: str, rows: dict[str, list[float]]) -> None:
    """The figures of each case in columns, and the largest."""
    width = len(next(iter(rows.values())))
    print(f"\n{title:28}" + "".join(f"{f'case {i + 1}':>9}" for i in range(width)) + f"{'worst':>9}")
    for name, numbers in rows.items():
        print(f"{name:28}" + "".join(f"{number:9.4f}" for number in [*numbers, max(numbers)]))


def main() -> None:
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    with Store.open(sys.argv[1]) as store:
        finished = [run for run in store.runs() if run.state is RunState.FINISHED]
        name = sys.argv[2] if len(sys.argv) > 2 else finished[0].name if finished else ""
        runs = [store.load(run.id) for run in finished if run.name == name]
    cases: defaultdict[str, list[Blocks]] = defaultdict(list)
    for run in runs:
        for result in run.results:
            blocks = [block for layout, packed in result.blocks for block in unpack_blocks(packed, layout)]
            if blocks:
                cases[result.case.label].append(blocks)
    complete = {label: found for label, found in cases.items() if len(found) == len(runs)}
    if len(runs) < 2 or not complete:
        raise SystemExit(f"{len(runs)} finished runs of {name!r}: two or more with a case in common are needed")
    print(f"{len(runs)} runs of {name}, 95th percentile of |ln(a/b)| over pairs of runs")
    for position, (label, found) in enumerate(complete.items(), start=1):
        counts = sorted({len(blocks) for blocks in found})
        print(f"case {position}: {label}, {counts[0]} to {counts[-1]} blocks a run")
    show("estimator", complete, ESTIMATORS)
    if all(facts.references for run in runs for facts in run.processes):
        show_related(runs, list(complete))
    floor = ESTIMATORS["overall minimum"]
    processes = 1 + max(b.process_index for found in complete.values() for blocks in found for b in blocks)
    rounds = 1 + max(b.round_index for found in complete.values() for blocks in found for b in blocks)
    show(
        "minimum of the first processes",
        complete,
        {f"{n} x {rounds} rounds": _floor_of(floor, n, rounds) for n in range(1, processes + 1)},
    )
    show(
        "minimum of the first rounds",
        complete,
        {f"{processes} x {n} rounds": _floor_of(floor, processes, n) for n in range(1, rounds + 1)},
    )
    show_stop_rule(complete)


def show_related(runs: Sequence[Run], labels: Sequence[str]) -> None:
    """The same figure for times over those of the reference layers, by quantiles of both."""
    every = [{result.case.label: result for result in run.results} for run in runs]
    choices: dict[str, list[float]] = {}
    for share in (0.0, 0.1, 0.25):
        for name, kinds, middle in (
            ("mean of its kind", None, np.mean),
            ("median of its kind", None, np.median),
            ("mean of all", list(ReferenceKind), np.mean),
        ):
            row = []
            for label in labels:
                logs = []
                for run, found in zip(runs, every, strict=True):
                    case = found[label].case
                    levels = reference_levels(run, case, share, kinds or [kind_of(case, run.environment.l2_bytes)])
                    blocks = [
                        block for layout, packed in found[label].blocks for block in unpack_blocks(packed, layout)
                    ]
                    logs.append(math.log(quantile(blocks, share)) - levels)
                middles = np.array([middle(level) for level in centred(logs)])
                row.append(p95_of_pairs(np.exp(middles).tolist()))
            choices[f"{share:.0%} over {name}"] = row
    show_rows("related to the references", choices)


def centred(logs: Sequence[Floats]) -> Floats:
    """Each reference's column without its median over the runs, so that a median of references is of moves."""
    found = np.array(logs)
    return found - np.median(found, axis=0)


def reference_levels(run: Run, case: Case, share: float, kinds: Sequence[ReferenceKind]) -> Floats:
    """The logarithm of this quantile of the times of each reference of these kinds, over the whole run."""
    rows = [
        leading_times(one)[1]
        for facts in run.processes
        for one in facts.references
        if (one.device, one.threads) == (case.device, case.threads)
    ]
    columns = [column for column, (kind, _) in enumerate(references(case.device)) if kind in kinds]
    return np.log(np.quantile(np.concatenate(rows)[:, columns], share, axis=0))


def until_settled(blocks: Blocks, precision: float) -> Blocks:
    """The blocks of the processes that a case gets until it is settled."""
    processes = sorted({block.process_index for block in blocks})
    for last in processes:
        taken = [block for block in blocks if block.process_index <= last]
        if is_settled([(block.process_index, block.minimum_s) for block in taken], precision, Lead.FLOOR):
            return taken
    return blocks


def show_stop_rule(cases: dict[str, list[Blocks]]) -> None:
    """Mean processes taken, and the 95th percentile and largest of the floor's excess over that of all blocks."""
    floor = ESTIMATORS["overall minimum"]
    print(f"\n{'stopped when settled':28}" + "".join(f"{f'case {i + 1}':>20}" for i in range(len(cases))))
    for precision in (0.003, 0.01, 0.03):
        cells = []
        for runs in cases.values():
            taken = [until_settled(blocks, precision) for blocks in runs]
            processes = statistics.fmean(len({block.process_index for block in blocks}) for blocks in taken)
            excess = sorted(floor(part) / floor(blocks) - 1 for part, blocks in zip(taken, runs, strict=True))
            cells.append(f"{processes:4.1f} {excess[int(0.95 * (len(excess) - 1))]:6.2%} {excess[-1]:6.2%}")
        print(f"{f'precision {precision}':28}" + "".join(f"{cell:>20}" for cell in cells))


def _floor_of(estimator: Estimator, processes: int, rounds: int) -> Estimator:
    return lambda blocks: estimator(first(blocks, processes, rounds))


if __name__ == "__main__":
    main()
