"""How often `compare` errs on runs of the same code, and how often it finds a planted change.

    python bench/same_code.py --runs 9 --db same_code.db [--noise]     measures until there are so many, then counts
    python bench/same_code.py --runs 9 --db same_code.db --threads default

Runs of configs/sweep.yaml, shortened to 0.2 s a case over five processes, follow one another. Every pair of them is
compared, as `convbench compare` does. A change is planted afterwards: all times of a drawn third of the cases of the
newer run are multiplied. The same pairs are counted once more without reference layers, as older runs are compared.
"""

from __future__ import annotations

import argparse
import itertools
import random
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from noise import noise
from table import show_table

from convbench.analysis.comparison.comparison import compare
from convbench.analysis.comparison.judgment import Comparison, Verdict
from convbench.model.case import Case
from convbench.model.result import LAYOUT, QUANTILES, Result, Run, RunState, pack_blocks, unpack_blocks
from convbench.model.threshold import THRESHOLD, Thresholds
from convbench.store import Store

CONFIG = Path(__file__).parent.parent / "configs" / "sweep.yaml"
#: One threshold for all layers, in the caches and beyond.
THRESHOLDS = Thresholds(beyond_l2=THRESHOLD)
#: Changes that are planted, as ratios.
PLANTED = (1.10, 1.05)


def measure(database: Path, runs: int, threads: str) -> None:
    """Measure until the database holds so many finished runs."""
    with tempfile.TemporaryDirectory() as folder:
        text = CONFIG.read_text(encoding="utf-8")
        text = re.sub(r"(?m)^  threads: 1\b", f"  threads: {'null' if threads == 'default' else threads}", text)
        text = re.sub(r"(?m)^measure: .*$", "measure: {processes: 5, max_time: 0.2}", text)
        (Path(folder) / "sweep.yaml").write_text(text, encoding="utf-8")
        while len(finished(database)) < runs:
            command = [sys.executable, "-m", "convbench", "--db", str(database), "run", "--fresh", "sweep.yaml"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{command} ended with {done.returncode}:\n{done.stderr}")
            print(f"{len(finished(database))} of {runs} runs", file=sys.stderr, flush=True)


def finished(database: Path) -> list[str]:
    """The ids of the finished runs, oldest first."""
    if not database.exists():
        return []
    with Store.open(str(database)) as store:
        return [run.id for run in reversed(store.runs()) if run.state is RunState.FINISHED]


def planted(run: Run, slower: set[Case], factor: float) -> Run:
    """The run with all times of these cases multiplied."""

    def changed(result: Result) -> Result:
        blocks = [block for layout, packed in result.blocks for block in unpack_blocks(packed, layout)]
        times = (*QUANTILES, "mean_s")
        slowed = [replace(block, **{name: getattr(block, name) * factor for name in times}) for block in blocks]
        return replace(result, blocks=((LAYOUT, pack_blocks(slowed)),))

    return replace(run, results=tuple(changed(each) if each.case in slower else each for each in run.results))


def without_references(run: Run) -> Run:
    """The run as an older convbench would have stored it."""
    return replace(run, processes=tuple(replace(facts, references=()) for facts in run.processes))


def count(pairs: list[tuple[Run, Run]], change: Callable[[Run], Run]) -> dict[str, str]:
    """What `compare` says of the pairs: same code, and with planted changes."""

    def told(base: Run, new: Run) -> Comparison:
        return compare(change(base), change(new), THRESHOLDS)

    same = [told(*pair) for pair in pairs]
    verdicts = Counter(verdict for found in same for verdict in found.counts.elements())
    wrong = Verdict.REGRESSED, Verdict.IMPROVED
    lines = {
        "pairs": str(len(pairs)),
        "pairs refused": str(sum(not found.comparable for found in same)),
        "pairs called another machine": str(sum(found.is_machine for found in same)),
        "pairs with a flagged case": str(sum(any(found.counts[each] for each in wrong) for found in same)),
        "cases flagged": f"{sum(verdicts[each] for each in wrong)} of {sum(verdicts.values())}",
        "cases inconclusive": f"{verdicts[Verdict.INCONCLUSIVE]} of {sum(verdicts.values())}",
    }
    for factor in PLANTED:
        found = total = blamed = 0
        for number, (base, new) in enumerate(pairs):
            cases = [result.case for result in new.results if result.blocks]
            slower = set(random.Random(number).sample(cases, len(cases) // 3))
            for judgment in told(base, planted(new, slower, factor)).judgments:
                found += judgment.case in slower and judgment.verdict is Verdict.REGRESSED
                blamed += judgment.case not in slower and judgment.verdict in wrong
            total += len(slower)
        lines[f"{factor - 1:.0%} slower, found"] = f"{found} of {total} ({found / total:.1%})"
        lines[f"{factor - 1:.0%} slower, others flagged"] = str(blamed)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--db", type=Path, default=Path(tempfile.gettempdir()) / "same_code.db")
    parser.add_argument("--threads", default="1", help="a number, or default")
    parser.add_argument("--noise", action="store_true", help="spells of work on another core while it runs")
    given = parser.parse_args()
    with noise() if given.noise else nullcontext():
        measure(given.db.resolve(), given.runs, given.threads)
    with Store.open(str(given.db)) as store:
        runs = [store.load(run_id) for run_id in finished(given.db)[-given.runs :]]
    pairs = list(itertools.combinations(runs, 2))
    related, plain = count(pairs, lambda run: run), count(pairs, without_references)
    rows = [(name, related[name], plain[name]) for name in related]
    show_table(("what", "with references", "without"), rows, markdown=False)


if __name__ == "__main__":
    main()
