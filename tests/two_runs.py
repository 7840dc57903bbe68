"""Two made-up runs and their comparison, for tests of the pages that show one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import synthetic

from convbench.analysis.comparison import side_by_side
from convbench.analysis.comparison.comparability import Difference
from convbench.analysis.comparison.comparison import compare
from convbench.analysis.comparison.judgment import RunComparison
from convbench.model.case import Case, MemoryFormat
from convbench.model.result import BLOCK_LAYOUTS, LAYOUT, Git, Result, Run, Status

NEW = "20261125-033000-cd34"
SLOWER, FASTER = 1.41, 0.86


def factor(case: Case) -> float:
    """How many times as long a case takes in the new run."""
    if case.dtype != "bfloat16":
        return 1.0
    if case.problem.batch_size is None:
        return FASTER
    return SLOWER if case.problem.batch_size == 8 and case.memory_format is MemoryFormat.CHANNELS_LAST else 1.0


def runs(count: int = 62, *, hostile: bool = True, troubles: bool = True, processes: int = 5) -> tuple[Run, Run]:
    """A base and a new run of the same cases: some slower with another implementation, some faster, a few noisy.

    The last case of each is missing in the other. With `troubles` some end otherwise than passed in both.
    """
    base = synthetic.run(count, hostile=hostile, troubles=troubles)

    def timed(result: Result, side: str, place: int) -> Result:
        if not result.blocks:
            return result
        is_new = side == "new"
        process = 0.4 if place % 17 == 5 else 0.003
        floor = synthetic.floor_s(result.case) * (factor(result.case) if is_new else 1.0)
        blocks = synthetic.noisy_blocks(floor, processes=processes, process=process, noise=0.1, seed=f"{side} {place}")
        made = replace(result, blocks=synthetic.result(result.case, made=blocks).blocks)
        return synthetic.with_facts(made, implementation="ref:any") if is_new and factor(result.case) > 1 else made

    sides = {
        side: tuple(timed(result, side, place) for place, result in enumerate(base.results)) for side in ("base", "new")
    }
    git = Git(commit="0123456789abcdef0123", branch="main <i>", dirty=False)
    return (
        replace(base, id="20261124-033000-ab12", results=sides["base"][1:], git=git),
        replace(
            base,
            id=NEW,
            started_at="2026-11-25T03:30:00Z",
            results=sides["new"][:-1],
            environment=replace(base.environment, hostname="elsewhere & far"),
            git=replace(git, commit="fedcba9876543210", dirty=True),
        ),
    )


def stored(count: int = 62, **about: bool) -> RunComparison:
    """Two stored runs compared."""
    base, new = runs(count, **about)
    return RunComparison(comparison=compare(base, new), base=base, new=new)


def aside(count: int = 24) -> RunComparison:
    """Two sides of an `ab`: the same cases on both, a process for each pair, some cases measured again."""
    base, new = runs(count, hostile=False, troubles=False, processes=12)
    base = replace(base, id="20261125-033000-a", results=base.results[:-1])
    new = replace(new, id="20261125-033000-b", results=new.results[1:])
    crashed = replace(new.results[0], status=Status.CRASHED, reason="signal 11", blocks=())
    new = replace(new, results=(crashed, *new.results[1:]))
    again = [place for place, result in enumerate(base.results) if factor(result.case) != 1]
    comparison = side_by_side.compare(base, new, names=("A", "B"), confirmed=again)
    differing = (*comparison.differences, Difference(what="module path", base="here", new="there"))
    return RunComparison(comparison=replace(comparison, differences=differing), base=base, new=new)


def many(count: int) -> RunComparison:
    """As many cases as asked for, no two of which have the same noise, so that little can be packed away."""
    cases = synthetic.cases(count)
    one = np.frombuffer(synthetic.result(cases[0]).blocks[0][1], dtype="<f4").reshape(-1, len(BLOCK_LAYOUTS[LAYOUT]))
    whole = np.tile(one, (5, 1))
    names = BLOCK_LAYOUTS[LAYOUT]
    times = [names.index(name) for name in ("minimum_s", "median_s", "start_s")]
    whole[:, names.index("process_index")] = np.repeat(np.arange(5), len(one))
    chance = np.random.default_rng(1)
    sides = []
    for side in ("base", "new"):
        noise = 1 + np.abs(chance.normal(0, 0.05, (count, len(whole), len(times)))) * chance.integers(0, 2)
        noise += np.abs(chance.normal(0, 0.003, noise.shape))
        results = []
        for place, case in enumerate(cases):
            rows = whole.copy()
            rows[:, times] *= noise[place] * (factor(case) if side == "new" else 1.0)
            packed = rows.reshape(5, -1)
            made = synthetic.result(case, made=())
            results.append(replace(made, blocks=tuple((LAYOUT, part.tobytes()) for part in packed)))
        sides.append(replace(synthetic.empty_run(), results=tuple(results)))
    base, new = sides[0], replace(sides[1], id=NEW)
    return RunComparison(comparison=compare(base, new), base=base, new=new)


def moved_together(factor: float, count: int = 12) -> RunComparison:
    """Two runs whose cases all take `factor` times as long the second time, the first of them a third longer still."""
    base = synthetic.run(count, hostile=False, troubles=False)
    factors = [factor * 4 / 3, *[factor] * (count - 1)]
    results = tuple(
        synthetic.result(result.case, made=synthetic.blocks(synthetic.floor_s(result.case) * each, seed=place))
        for place, (result, each) in enumerate(zip(base.results, factors, strict=True))
    )
    new = replace(base, id=NEW, results=results)
    return RunComparison(comparison=compare(base, new), base=base, new=new)
