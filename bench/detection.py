"""Whether `run --against`, `compare` and `ab` find a slower layer and leave an unchanged one alone.

    python bench/detection.py --out study.jsonl                    all parts, their trials mixed over the time
    python bench/detection.py --out study.jsonl --parts ab=6 --minutes 20
    python bench/detection.py --summarise study.jsonl [--markdown]

Forty layers run a `module:` of the study: float32, forward, one thread, in the caches and beyond the second level. The
module is a torch.nn.Conv2d that can spin after its own forward. It waits a share of the floor that the first run found.
That is a known number of seconds, whatever the machine does later, so noise neither hides nor increases it. In an
honest run the module waits nothing. In each trial another third of the layers waits, drawn by the trial's number.

    same        honest runs one after another, each against the one before (`run --against`): what is flagged
    planted     a run in which a third is 10 % slower, compared with the newest honest one (`compare`): what is found
    ab          honest against a third that is 5 % slower (`ab`): what is found
    identical   honest against honest, all cases measured as suspects are: how many intervals hold 1.0

The script continues a file that exists. Beside it lies a folder with the runs and the layers' module. The module is
under git, because a base's module must be so to be measured again. Bounds are of the exact binomial (Clopper and
Pearson, 1934), one-sided at 95 %. They take cases for independent, which those of one pair of runs are not. The script
therefore counts flagged pairs too.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from detection_statistics import SLOWER, THRESHOLD, TRIALS, Row, drawn, order, show

from convbench import sweep as sweeps
from convbench.actions import measure, read
from convbench.analysis.comparison import side_by_side
from convbench.analysis.comparison.comparison import compare
from convbench.analysis.comparison.judgment import Comparison, Judgment, RunComparison
from convbench.conduct.ab import Side, confirm
from convbench.conduct.listening import Listener
from convbench.engine.git_state import checkout
from convbench.engine.local import LocalEngine, Setup
from convbench.errors import NotComparableError
from convbench.measure import estimate
from convbench.measure.alike import process_times
from convbench.model.case import Case
from convbench.model.result import Result, Run, unpack_blocks
from convbench.model.threshold import Thresholds
from convbench.worker import host

SWEEP = """\
name: detection
axes:
  module: "waiting:Conv2d"
  threads: 1
  padding: half
  kernel_size: [3, 5]
  input_size: [14, 28]
cases:
  - {in_channels: 16, out_channels: 32}
  - {in_channels: 16, out_channels: 64}
  - {in_channels: 32, out_channels: 16}
  - {in_channels: 32, out_channels: 32}
  - {in_channels: 32, out_channels: 64}
  - {in_channels: 64, out_channels: 32}
  - {in_channels: 64, out_channels: 64}
  - {in_channels: 64, out_channels: 64, kernel_size: 1, input_size: 56}
  - {in_channels: 64, out_channels: 64, kernel_size: 3, input_size: 56}
  - {in_channels: 64, out_channels: 256, kernel_size: 1, input_size: 56}
  - {in_channels: 256, out_channels: 64, kernel_size: 1, input_size: 56}
  - {in_channels: 128, out_channels: 128, kernel_size: 1, input_size: 56}
  - {in_channels: 128, out_channels: 128, kernel_size: 3, input_size: 28, batch_size: 4}
  - {in_channels: 256, out_channels: 256, kernel_size: 1, input_size: 28}
  - {in_channels: 256, out_channels: 256, kernel_size: 1, input_size: 28, batch_size: 4}
  - {in_channels: 16, out_channels: 16, kernel_size: 3, input_size: 112, batch_size: 2}
  - {in_channels: 32, out_channels: 32, kernel_size: 3, input_size: 112}
  - {in_channels: 3, out_channels: 64, kernel_size: 7, stride: 2, input_size: 224}
  - {in_channels: 64, out_channels: 64, groups: 64, kernel_size: 3, input_size: 112}
"""
VARIABLE = "DETECTION_WAITS"
MODULE = f"""\
import json
import os
import time

import torch

WAITS_S = json.loads(os.environ.get("{VARIABLE}", "{{}}"))


class Conv2d(torch.nn.Conv2d):
    wait_s = None

    def forward(self, x):
        y = super().forward(x)
        if self.wait_s is None:
            self.wait_s = WAITS_S.get(f"{{tuple(x.shape)}} {{tuple(self.weight.shape)}}", 0.0)
        if self.wait_s:
            until = time.perf_counter() + self.wait_s
            while time.perf_counter() < until:
                pass
        return y
"""


def place(folder: Path) -> Path:
    """The folder of the study with its module under git and its sweep, whose path is returned."""
    sweep = folder / "sweep.yaml"
    if not (folder / ".git").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "waiting.py").write_text(MODULE, encoding="utf-8")
        sweep.write_text(SWEEP, encoding="utf-8")
        git = ["git", "-C", str(folder), "-c", "user.name=detection", "-c", "user.email=detection@localhost"]
        subprocess.run([*git, "init", "-q"], check=True)
        subprocess.run([*git, "add", "waiting.py", "sweep.yaml"], check=True)
        subprocess.run([*git, "commit", "-q", "-m", "The layers of the study"], check=True)
    return sweep


def key(case: Case) -> str:
    """The text by which the module recognizes a case."""
    return f"{case.problem.input_shape} {case.problem.weight_shape}"


class Study:
    """Takes trials; a trial is a row of the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = rows_of(path)
        folder = path.with_suffix(".d")
        self.sweep = place(folder)
        self.db = str(folder / "study.db")
        os.chdir(folder)
        self.plan = measure.planned(self.sweep)
        self.l2_bytes = host.cache_sizes().get(2, 0)
        keys = [key(case) for case in self.plan[1].cases]
        assert len(set(keys)) == len(keys), "the module could not tell these cases apart"

    def take(self, part: str, trial: int) -> None:
        """Take one trial and write its row."""
        own = checkout(Path(__file__).parent)
        row: Row = {"part": part, "trial": trial, "at": time.time(), "load": os.getloadavg()}
        row |= {"same": self.same, "planted": self.planted, "ab": self.ab, "identical": self.identical}[part](trial)
        row |= {"wall_s": time.time() - row["at"], "load_after": os.getloadavg(), "commit": own.commit if own else None}
        self.rows.append(row)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def newest(self) -> Row | None:
        """The newest honest run."""
        return next((row for row in reversed(self.rows) if row["part"] == "same"), None)

    def floors(self) -> dict[str, float]:
        """The floors of the first honest run, by label, in seconds; takes that run if there is none."""
        if self.newest() is None:
            self.take("same", 0)
        return dict(next(row["floors"] for row in self.rows if row["part"] == "same"))

    def same(self, trial: int) -> Row:
        newest = self.newest()
        run = measure.run(self.sweep, db=self.db, fresh=True).run
        row: Row = {"run": run.id, "floors": {result.case.label: floor(result) for result in run.results}}
        if newest is None:
            return row
        base = read.load(newest["run"], db=self.db).run
        before = compare(base, run, sweeps.thresholds(run))
        row |= {"base": base.id, "refused": None, "before": self.told(before), "at_5": self.told(at_5(base, run))}
        try:
            after = measure.against(sweeps.load(self.sweep), base, run).comparison
        except NotComparableError as error:
            return row | {"refused": error.message}
        return row | {"after": self.told(after)}

    def planted(self, trial: int) -> Row:
        waits, chosen = self.waits("planted", trial)
        newest = self.newest()
        assert newest is not None, "an honest run comes first"
        with variable(json.dumps(waits)):
            run = measure.run(self.sweep, db=self.db, fresh=True).run
        base = read.load(newest["run"], db=self.db).run
        found = compare(base, run, sweeps.thresholds(run))
        return {
            "run": run.id,
            "base": base.id,
            "default": self.told(found, chosen),
            "at_5": self.told(at_5(base, run), chosen),
        }

    def ab(self, trial: int) -> Row:
        waits, chosen = self.waits("ab", trial)
        found = measure.ab(self.sweep, Setup(), Setup(variables=((VARIABLE, json.dumps(waits)),)))
        return {"found": self.told(found.comparison, chosen), "floors": pair_floors(found)}

    def identical(self, trial: int) -> Row:
        sweep, plan = self.plan
        a, b = (Side(name=name, setup=Setup(), engine=LocalEngine()) for name in "AB")
        found = confirm(replace(sweep, seed=trial), plan.cases, (a, b), control=(), listener=Listener())
        screens = []
        for first in range(0, side_by_side.CONFIRMATION, side_by_side.SCREEN):
            pairs = slice(first, first + side_by_side.SCREEN)
            few = side_by_side.ratios(*(only(run, pairs) for run in (found.base, found.new)))
            screens.append({"low": few.low.tolist(), "high": few.high.tolist()})
        return {"found": self.told(found.comparison), "screens": screens, "floors": pair_floors(found)}

    def waits(self, part: str, trial: int) -> tuple[dict[str, float], set[int]]:
        """The waits of a trial, in seconds by the module's key, and the positions of the cases that wait."""
        cases = self.plan[1].cases
        chosen = drawn(part, trial, len(cases))
        floors = self.floors()
        return {key(cases[i]): SLOWER[part] * floors[cases[i].label] for i in sorted(chosen)}, chosen

    def told(self, comparison: Comparison, chosen: Iterable[int] = ()) -> Row:
        """A comparison as a row holds it; `chosen` are the positions of the planted cases."""
        planted = {self.plan[1].cases[i].label for i in chosen}
        return {
            "verdict": comparison.verdict,
            "comparable": comparison.comparable,
            "is_machine": comparison.is_machine,
            "discredited": comparison.discredited,
            "moved": comparison.moved,
            "shift": comparison.shift,
            "notes": comparison.notes,
            "cases": [self.judged(judgment, judgment.case.label in planted) for judgment in comparison.judgments],
        }

    def judged(self, judgment: Judgment, planted: bool) -> Row:
        fields = ("verdict", "reason", "ratio", "median_ratio", "low", "high", "noise", "confirmed")
        about = {"case": judgment.case.label, "beyond": judgment.case.bytes > self.l2_bytes, "planted": planted}
        return about | {name: getattr(judgment, name) for name in fields}


@contextmanager
def variable(value: str) -> Iterator[None]:
    """The variable that workers started meanwhile inherit."""
    os.environ[VARIABLE] = value
    try:
        yield
    finally:
        del os.environ[VARIABLE]


def floor(result: Result) -> float:
    """The lowest block minimum, seconds."""
    return min(block.minimum_s for layout, packed in result.blocks for block in unpack_blocks(packed, layout))


def at_5(base: Run, new: Run) -> Comparison:
    """The comparison with one threshold for all, 5 %."""
    return compare(base, new, Thresholds(threshold=THRESHOLD, beyond_l2=THRESHOLD))


def only(run: Run, pairs: slice) -> list[Result]:
    """The results with the blocks of some pairs."""
    return [replace(result, blocks=result.blocks[pairs]) for result in run.results]


def pair_floors(found: RunComparison) -> list[list[list[float | None]]]:
    """The floors of each case's pairs on either side: what any other rule would have to go by."""
    both = process_times(*(estimate.table(run.results) for run in (found.base, found.new)))
    return [
        [[None if value != value else float(f"{value:.6g}") for value in row] for row in side.tolist()]
        for side in (both.base, both.new)
    ]


def rows_of(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="*", default=list(TRIALS), metavar="PART[=TRIALS]")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no trial later than this")
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "detection.jsonl")
    parser.add_argument("--summarise", type=Path)
    parser.add_argument("--markdown", action="store_true")
    given = parser.parse_args()
    if given.summarise is not None:
        show(rows_of(given.summarise), markdown=given.markdown)
        return
    chosen = dict(part.partition("=")[::2] for part in given.parts)
    if not TRIALS.keys() >= chosen.keys():
        parser.error(f"--parts: expected some of {', '.join(TRIALS)}")
    trials = {part: int(count) if count else TRIALS[part] for part, count in chosen.items()}
    print(f"results go to {given.out}", flush=True)
    until = time.monotonic() + 60 * given.minutes
    study = Study(given.out.resolve())
    have = Counter((row["part"], row["trial"]) for row in study.rows)
    for part, trial in order(trials):
        if (part, trial) in have or (part == "same" and trial == 0 and study.newest()):
            continue
        if time.monotonic() > until:
            print("the time is over: run the command again to continue", flush=True)
            break
        study.take(part, trial)
        print(f"{time.strftime('%H:%M:%S')} {part} {trial}: {study.rows[-1]['wall_s']:.0f} s", flush=True)
    show(study.rows, markdown=given.markdown)


if __name__ == "__main__":
    main()
