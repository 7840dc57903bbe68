"""Whether further processes for cases that have not settled help more than the same time for cases drawn at random.

    python bench/patience.py DATABASE        compares the runs of the newest sweep there

Take the runs with `processes: 8` and a `precision` of 0.0001. The first five processes of each are what a run measures.
Then cases get the run's later processes, one visit after the other, until these are a fifth of the others. `unsettled`
visits the cases whose two lowest processes differ by more than 1 %, related to the reference layers of each process.
`at random` spends as many visits on cases drawn at random, `nothing` none. A row has the 95th percentile of |ln(a/b)|
over all pairs of runs, for the median case and for the worst tenth.
"""

from __future__ import annotations

import itertools
import random
import sys
from collections.abc import Iterator

import numpy as np
from table import show_table

from convbench.measure import estimate
from convbench.measure.estimate import Floats
from convbench.measure.references import levels
from convbench.model.result import Run, RunState
from convbench.store import Store

#: The processes that a run has, the share of their visits that later ones may take, and the precision of a case.
FIRST, PATIENCE, PRECISION = 5, 0.2, 0.01


def process_floors(run: Run) -> tuple[Floats, Floats]:
    """Logarithms of the process floors, (cases, processes): as measured, and related to the process's references."""
    table = estimate.table(run.results)
    process, minimum = table.integers("process_index"), np.log(table.column("minimum_s"))
    cases = [result.case for result in run.results]
    plain = np.full((len(cases), len(run.processes)), np.nan)
    np.fmin.at(plain, (table.cases, process), minimum)
    related = plain.copy()
    for number in range(plain.shape[1]):
        used = process == number
        found = levels(table, cases, run.processes, run.environment.l2_bytes, quantile=0.1, used=used)
        related[:, number] -= np.array([*(logs.mean() for logs in found.logs), np.nan])[found.group]
    return plain, related


def is_settled(related: Floats, seen: int) -> bool:
    """Whether the two lowest of the first `seen` processes agree."""
    low = np.sort(related[:seen])[:2]
    return bool(low[1] - low[0] <= np.log1p(PRECISION))


def unsettled(related: Floats, seen: list[int], chance: random.Random) -> Iterator[int]:
    """The case to visit next: unsettled ones in turn, while there is one with a process left."""
    while open_ := [i for i, n in enumerate(seen) if n < related.shape[1] and not is_settled(related[i], n)]:
        yield from open_


def at_random(related: Floats, seen: list[int], chance: random.Random) -> Iterator[int]:
    """The case to visit next, drawn among those with a process left."""
    while open_ := [i for i, n in enumerate(seen) if n < related.shape[1]]:
        yield chance.choice(open_)


def visits(related: Floats, seed: int) -> dict[str, list[int]]:
    """How many processes each case gets by each rule; both later rules take equally many."""
    found = {"nothing": [FIRST] * len(related)}
    left = round(PATIENCE * FIRST * len(related))
    for rule in (unsettled, at_random):
        seen = [FIRST] * len(related)
        for case in itertools.islice(rule(related, seen, random.Random(seed)), left):
            seen[case] += seen[case] < related.shape[1]
        left = sum(seen) - FIRST * len(seen)
        found[rule.__name__.replace("_", " ")] = seen
    return found


def p95(floors: Floats) -> Floats:
    """The 95th percentile of |a - b| of each case over all pairs of runs; `floors` is (runs, cases)."""
    apart = [np.abs(a - b) for a, b in itertools.combinations(floors, 2)]
    return np.percentile(apart, 95, axis=0)


def main() -> None:
    with Store.open(sys.argv[1]) as store:
        finished = [run for run in store.runs() if run.state is RunState.FINISHED]
        runs = [store.load(run.id) for run in finished if run.name == finished[0].name]
    sides = [process_floors(run) for run in runs]
    rows = []
    for what, which in (("as measured", 0), ("related", 1)):
        by_rule: dict[str, list[Floats]] = {}
        for seed, floors in enumerate(sides):
            for rule, seen in visits(floors[1], seed).items():
                lowest = [np.min(row[:count]) for row, count in zip(floors[which], seen, strict=True)]
                by_rule.setdefault(rule, []).append(np.array(lowest))
        for rule, lowest in by_rule.items():
            repeats = p95(np.array(lowest))
            rows.append((what, rule, f"{np.median(repeats):.4f}", f"{np.quantile(repeats, 0.9):.4f}"))
    extra = [sum(visits(floors[1], seed)["unsettled"]) - FIRST * len(floors[1]) for seed, floors in enumerate(sides)]
    print(f"{len(runs)} runs of {len(sides[0][0])} cases; {np.mean(extra):.0f} further visits a run\n")
    show_table(("floor", "further visits", "median case", "worst tenth"), rows, markdown=False)


if __name__ == "__main__":
    main()
