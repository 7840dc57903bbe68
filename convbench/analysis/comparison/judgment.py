"""What a comparison is made of: what became of each case and of all, and the changes that belong together. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from convbench.analysis.comparison.comparability import Difference
from convbench.model.case import Case
from convbench.model.result import Run, Status


class Verdict(StrEnum):
    """What became of a case, and of all."""

    REGRESSED = "regressed"  # slower by more than noise and threshold
    IMPROVED = "improved"  # faster by more than noise and threshold
    UNCHANGED = "unchanged"
    INCONCLUSIVE = "inconclusive"  # too noisy to tell
    NOT_JUDGED = "not judged"  # nothing to compare: missing, failed or not measured on a side


class How(StrEnum):
    """Where the numbers of a comparison come from."""

    STORED = "stored runs"  # two runs, each measured in its own time
    CONFIRMED = "stored runs, suspects measured again"
    SIDE_BY_SIDE = "side by side"  # both in the same minutes, in fresh pairs of processes


#: Verdicts that say whether a case changed.
JUDGED = frozenset({Verdict.REGRESSED, Verdict.IMPROVED, Verdict.UNCHANGED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgment:
    """What became of one case. Times are seconds per iteration, over equal numbers of passes and blocks.

    `ratio` is new over base, `low` to `high` its interval: from the lowest pass floor of new over the highest of base
    to the highest of new over the lowest of base, wider by the precision that the runs were measured with, as what a
    run repeats within (docs/decisions.md). Of n passes a side from one distribution, whatever it is, all of one side
    lie beyond all of the other in 2 of (2n choose n) comparisons, 0.8 % at 5 passes; but an hour differs from the
    next. Of 1,344 comparisons of a case with itself, between 7 runs of 64 cases in busy and quiet hours, the interval
    held 1 in 95.2 % (98.7 % within the caches, 87.4 % beyond), without the precision in 85.3 %. A bootstrap over so
    few passes would be too narrow: resampling never undercuts the lowest of a sample.

    `noise` is u, `shift` what half of all cases moved by together, new over base: `ratio` over it is what is judged.
    Where the new side alone was measured again it is what half of the controls moved by.
    `threshold` is a ratio minus 1, `q` the Benjamini-Hochberg q-value against the threshold. Numbers are NaN
    where there is nothing to compare. `causes` are what else differs between both sides of this case. A status is None
    where the side does not have the case, or has not reached it.

    Side by side a pass is an epoch, `noise` half of the interval as a factor, `median_ratio` the median of the epochs'
    own ratios, and `confirmed` says that the case was measured again after a screen, whose numbers then count no more.
    """

    case: Case
    verdict: Verdict
    base_status: Status | None
    new_status: Status | None
    reason: str = ""
    ratio: float = math.nan
    low: float = math.nan
    high: float = math.nan
    base_s: float = math.nan
    new_s: float = math.nan
    noise: float = math.nan
    shift: float = 1.0
    threshold: float = math.nan
    q: float = math.nan
    median_ratio: float = math.nan
    confirmed: bool = False
    passes: int = 0
    blocks: int = 0
    causes: tuple[Difference, ...] = ()

    @property
    def own_ratio(self) -> float:
        """What the case moved by beyond what the others did together, new over base."""
        return self.ratio / self.shift

    @property
    def smallest_seen(self) -> float:
        """The smallest change that would have been seen in this case, as a ratio minus 1."""
        return max(self.threshold, self.noise - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Cases that changed alike and share settings: `changed` are positions among the judgments, `cases` counts those
    judged that have the settings, `ratio` is the median of the changed ones. A cause says in how many of them it is.
    """

    name: str
    verdict: Verdict
    changed: tuple[int, ...]
    cases: int
    ratio: float
    causes: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Which run stands on a side."""

    id: str
    name: str
    started_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two runs compared.

    `judgments` has every case of either run, in the order of the new one, those of the base alone last. `moved` is
    by how much the half of the measured cases moved that moved most alike, as a ratio minus 1; 0 where there are none.
    `is_machine` says that it is too much for one machine, `shift` is what each case was expected to move by, new over
    base, 1 where the cases do not tell. `longer` is how many times the blocks per pass a run would have to take for
    half of the cases to be judged, as far as the share of quiet blocks tells; 1 where they were.
    `notes` are what the reader must know besides: `base not measured again`. Where a control moved, which nobody had
    suspected, the confirmation is `discredited` and nothing is flagged.
    """

    base: Side
    new: Side
    judgments: tuple[Judgment, ...]
    differences: tuple[Difference, ...]
    groups: tuple[Group, ...]
    verdict: Verdict
    moved: float
    is_machine: bool
    longer: float
    shift: float = 1.0
    how: How = How.STORED
    notes: tuple[str, ...] = ()
    discredited: bool = False

    @property
    def comparable(self) -> bool:
        """Whether nothing differs that makes ratios mean something else than a change of the code."""
        return not any(difference.decides for difference in self.differences)

    @property
    def counts(self) -> Counter[Verdict]:
        """How many cases have which verdict."""
        return Counter(judgment.verdict for judgment in self.judgments)

    @property
    def judged(self) -> int:
        """How many cases could be judged."""
        return sum(judgment.verdict in JUDGED for judgment in self.judgments)

    @property
    def smallest_seen(self) -> tuple[float, float]:
        """The smallest changes that would have been seen in half of the judged cases, and in all; NaN without any."""
        seen = [judgment.smallest_seen for judgment in self.judgments if judgment.verdict in JUDGED]
        return (float(np.median(seen)), max(seen)) if seen else (math.nan, math.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A comparison and the two runs it is about."""

    comparison: Comparison
    base: Run
    new: Run


def side_of(run: Run) -> Side:
    """Which run stands on a side."""
    return Side(id=run.id, name=run.name, started_at=run.started_at)


def verdict_of_all(judgments: Sequence[Judgment], awaited: int, *, is_machine: bool) -> Verdict:
    """The verdict of all: a regression outweighs the rest, then comes whether enough could be judged.

    `awaited` counts the cases that both runs have and neither skipped: those of one run alone have nothing to be
    compared with, and skipped ones change nothing.
    """
    counts = Counter(judgment.verdict for judgment in judgments)
    if counts[Verdict.REGRESSED]:
        return Verdict.REGRESSED
    if not awaited:
        return Verdict.NOT_JUDGED
    if is_machine or 2 * sum(counts[verdict] for verdict in JUDGED) < awaited:
        return Verdict.INCONCLUSIVE
    return Verdict.IMPROVED if counts[Verdict.IMPROVED] else Verdict.UNCHANGED
