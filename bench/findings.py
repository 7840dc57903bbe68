"""How often findings are wrong: effects, cliffs, the best setting, the allocator's cost, on blocks with known times.

    python bench/findings.py [RUNS]
    python bench/findings.py --db runs.db ID [ID ...]

Each row is RUNS (100) runs of so many processes with five blocks each. No time here was measured: the noise is drawn.
A quiet machine slows half of the blocks by 30 % in the mean, and a busy one 85 % of them by 60 %. A loaded one slows
all of them by 100 %. Each process adds a share of its own to each case, with a standard deviation of 1 %, 8 % or 30 %.
`any` counts runs with a finding where nothing differs. `found` counts runs in which the planted difference is found,
`wrong` those with a wrong one. The rules are used as they are, and with one process as enough (`fewest` 1).

With --db, the runs of one sweep in a database are cut to their first 2, 3, 4 and 5 processes. A cliff of a cut run is
false if the lowest floors of all runs together show less than 80 % of the least cliff.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import synthetic
from synthetic import blocks_of, layer

from convbench.actions import read
from convbench.analysis.findings import cliffs, pairs
from convbench.analysis.findings.findings import Finding, FindingKind, findings, with_details
from convbench.measure import estimate
from convbench.model.case import Case
from convbench.model.result import LAYOUT, Block, Result, Run, pack_blocks

ROUNDS = 5
#: The share of blocks that a machine slows, their mean slowdown, and the deviation of a process's own share.
MACHINES = {"quiet": (0.5, 0.3, 0.01), "busy": (0.85, 0.6, 0.08), "loaded": (1.0, 1.0, 0.3)}
PLANTED_CLIFF = 1.9
PLANTED_GAIN = 1.3
PLANTED_EFFECT = 1.5
PLANTED_COST = 0.5


def blocks(chance: np.random.Generator, floor_s: float, machine: str, processes: int) -> list[Block]:
    """Blocks of one case; noise only adds time."""
    share, mean, deviation = MACHINES[machine]
    own = 1 + np.abs(chance.normal(0, deviation, processes))
    slow = 1 + np.where(chance.random((processes, ROUNDS)) < share, chance.exponential(mean, (processes, ROUNDS)), 0)
    probe = 1 + np.where(chance.random((processes, ROUNDS)) < share, chance.exponential(mean, (processes, ROUNDS)), 0)
    template = synthetic.blocks(floor_s, processes=processes, rounds=ROUNDS, noise=0.0)
    return [
        replace(
            block,
            minimum_s=floor_s * own[block.process_index] * slow[block.process_index, block.round_index],
            compute_probe_s=324e-6 * probe[block.process_index, block.round_index],
        )
        for block in template
    ]


def measured(made: list[tuple[Case, float]], machine: str, processes: int, seed: int) -> Run:
    """A run of cases with these floors, seconds."""
    results = []
    for case, floor_s in made:
        chance = np.random.default_rng([seed, crc32(case.id.encode())])
        taken = tuple(blocks(chance, floor_s, machine, processes))
        results.append(synthetic.with_facts(synthetic.result(case, made=taken), threads=case.threads or 1))
    return replace(synthetic.empty_run(), results=tuple(results))


def of_kind(run: Run, kind: FindingKind) -> list[Finding]:
    return [finding for finding in with_details(findings(run)) if finding.kind is kind]


@contextmanager
def fewest(processes: int) -> Iterator[None]:
    """So many processes count as enough."""
    before = pairs.FEWEST_PROCESSES
    pairs.FEWEST_PROCESSES = processes
    try:
        yield
    finally:
        pairs.FEWEST_PROCESSES = before


def with_cliff(machine: str, processes: int, seed: int, planted: bool) -> str:
    """Sixteen neighbouring sizes: `found`, `wrong` or nothing."""
    at = layer(40).id
    cases = [layer(c) for c in range(32, 48)]
    times = [(case, case.flops / 50e9 * (PLANTED_CLIFF if planted and case.id == at else 1)) for case in cases]
    return outcome(
        [finding.cases for finding in of_kind(measured(times, machine, processes, seed), FindingKind.CLIFF)], at
    )


def outcome(found: list[tuple[str, ...]], at: str) -> str:
    if any(at not in cases for cases in found):
        return "wrong"
    return "found" if found else ""


def with_best(machine: str, processes: int, seed: int, planted: bool) -> str:
    """Six layers with four numbers of threads: which setting is named as the best of any layer."""
    times = [
        (layer(c, threads=threads), 1e-3 / (PLANTED_GAIN if planted and threads == 2 else 1))
        for c in range(32, 38)
        for threads in (1, 2, 3, 4)
    ]
    found = of_kind(measured(times, machine, processes, seed), FindingKind.BEST)
    if not found:
        return ""
    named = [part for part in ("threads=3", "threads=4") if part in found[0].sentence]
    return "wrong" if named or not planted else "found"


def with_allocator(machine: str, processes: int, seed: int, planted: bool) -> str:
    """Sixteen layers with 200 page faults a call, of which at most 20 % of the time may come; one costs 50 %."""
    run = measured([(layer(c), 1e-3) for c in range(32, 48)], machine, processes, seed)
    at = layer(40).id
    made = tuple(beside(result, machine, seed, at if planted else "") for result in run.results)
    return outcome([finding.cases for finding in of_kind(replace(run, results=made), FindingKind.ALLOCATOR)], at)


def beside(result: Result, machine: str, seed: int, at: str) -> Result:
    """The result with three blocks of the system's allocator."""
    is_dear = result.case.id == at
    chance = np.random.default_rng([seed, crc32(result.case.id.encode()), 1])
    taken = blocks(chance, 1e-3 * (1 + PLANTED_COST * is_dear), machine, 1)[:3]
    system = [replace(block, page_faults=1800.0 if is_dear else 200.0) for block in taken]
    return replace(result, system_blocks=((LAYOUT, pack_blocks(system)),))


def with_effect(machine: str, processes: int, seed: int, planted: bool) -> str:
    """One layer with two dtypes, the least from which an effect is reported."""
    times = [
        (layer(32, dtype=dtype), 1e-3 / (PLANTED_EFFECT if planted and dtype == "bfloat16" else 1))
        for dtype in ("float32", "bfloat16")
    ]
    found = of_kind(measured(times, machine, processes, seed), FindingKind.EFFECT)
    if not found:
        return ""
    return "found" if planted and "faster" in found[0].sentence else "wrong"


#: Each finding's trial, the numbers of processes, and what counts as enough of them.
TRIALS: dict[str, tuple[Callable[[str, int, int, bool], str], tuple[int, ...], tuple[int, ...]]] = {
    "effect": (with_effect, (1, 2, 3, 5), (4,)),
    "allocator": (with_allocator, (5,), (4,)),
    "cliff": (with_cliff, (2, 3, 4, 5), (1, 4)),
    "best": (with_best, (2, 3, 4, 5), (1, 4)),
}


def simulated(runs: int) -> None:
    print("finding    machine  processes  fewest    any     found     wrong")
    for name, (trial, all_processes, all_fewest) in TRIALS.items():
        for machine, processes, least in itertools.product(MACHINES, all_processes, all_fewest):
            with fewest(least):
                honest = sum(bool(trial(machine, processes, seed, False)) for seed in range(runs))
                seen = Counter(trial(machine, processes, seed, True) for seed in range(runs))
            print(
                f"{name:9}  {machine:7}  {processes:9}  {least:6}  {honest / runs:6.1%}  "
                f"{seen['found'] / runs:6.1%}  {seen['wrong'] / runs:6.1%}",
                flush=True,
            )


def stored(db: str, ids: list[str]) -> None:
    """False cliffs in stored runs of one sweep, cut to their first processes."""
    all_runs = [read.load(run_id, db=db).run for run_id in ids]
    floors: dict[str, float] = {}
    for run in all_runs:
        figures = estimate.estimate(estimate.table(run.results))
        for result, floor_s in zip(run.results, figures.floor_s.tolist(), strict=True):
            per_flop = floor_s / result.case.flops
            floors[result.case.id] = min(floors.get(result.case.id, per_flop), per_flop)
    for processes in (2, 3, 4, 5):
        for least in (1, 4):
            with fewest(least):
                told = [step for run in all_runs for step in steps_of(cut(run, processes))]
            false = sum(ratio(step, floors) < 0.8 * cliffs.CLIFF_RATIO for step in told)
            print(f"{processes} processes, fewest {least}: {false} of {len(told)} cliffs are false")


def cut(run: Run, processes: int) -> Run:
    """The run as if it had been stopped after so many processes."""
    made = tuple(
        replace(result, blocks=((LAYOUT, pack_blocks(b for b in blocks_of(result) if b.process_index < processes)),))
        for result in run.results
    )
    return replace(run, results=made)


def steps_of(run: Run) -> list[tuple[str, ...]]:
    return [finding.cases for finding in of_kind(run, FindingKind.CLIFF)]


def ratio(cases: tuple[str, ...], floors: dict[str, float]) -> float:
    """The largest ratio of time per FLOP among the cases of a cliff, by the lowest floors of all runs."""
    found = [floors[case] for case in cases]
    return max(found) / min(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", default=["100"])
    parser.add_argument("--db")
    given = parser.parse_args()
    if given.db:
        stored(given.db, given.runs)
    else:
        simulated(int(given.runs[0]))


if __name__ == "__main__":
    main()
