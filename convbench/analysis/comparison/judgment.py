"""The data of a comparison: the judgment of each case, the verdict of all, and groups of changes. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from convbench.analysis.comparison.comparability import Difference
from convbench.analysis.comparison.sums import NetworkChange
from convbench.model.case import Case
from convbench.model.result import Run, Status


class Verdict(StrEnum):
    """The verdict of a case, and of all cases."""

    REGRESSED = "regressed"  # slower by more than noise and threshold
    IMPROVED = "improved"  # faster by more than noise and threshold
    UNCHANGED = "unchanged"
    INCONCLUSIVE = "inconclusive"  # too noisy to judge
    NOT_JUDGED = "not judged"  # nothing to compare: missing, failed or not measured on a side


class How(StrEnum):
    """Where the numbers of a comparison come from."""

    STORED = "stored runs"  # two runs, measured at different times
    CONFIRMED = "stored runs, suspects measured again"
    SIDE_BY_SIDE = "side by side"  # both in the same minutes, in fresh pairs of processes


#: A case is called unchanged if a change of this many thresholds, as logarithms, would have been seen.
MOST_UNSEEN = 2.0
#: The verdict of all is unchanged or improved if at least this share of the cases with times could be judged.
FEWEST_JUDGED = 0.75
#: Verdicts that say whether a case changed.
JUDGED = frozenset({Verdict.REGRESSED, Verdict.IMPROVED, Verdict.UNCHANGED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgment:
    """What became of one case. Times are seconds per iteration, over equal numbers of processes and blocks.

    `ratio` is new over base, and `low` to `high` is its interval. `low` is the lowest time of a process of new over
    the highest of base that counts. `high` is the highest of new that counts over the lowest of base. Which times count
    follows from their number (measure/significance.py): noise alone moves an interval beyond no change in at most 5 %.
    The runs' precision widens the interval on both sides, as it does for what a run repeats within.

    - `noise` is the smallest change whose interval would have excluded no change and the common shift, as a ratio.
    - `shift` is the common shift of all cases, new over base: `ratio` over `shift` is judged. Where the new side alone
      was measured again, it is the common shift of the controls.
    - `threshold` is a ratio minus 1, and `q` the Benjamini-Hochberg q-value against it.
    - Numbers are NaN where there is nothing to compare.
    - `causes` are other differences between both sides of this case.
    - A status is None where the side does not have the case, or has not reached it.

    Side by side, `processes` counts pairs, and `median_ratio` is the median of the pairs' ratios. `confirmed` cases
    were measured again after a screen, and the screen's numbers are left out.
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
    processes: int = 0
    blocks: int = 0
    causes: tuple[Difference, ...] = ()

    @property
    def own_ratio(self) -> float:
        """The case's move without the common shift, new over base."""
        return self.ratio / self.shift

    @property
    def smallest_seen(self) -> float:
        """The smallest change that would have been seen in this case, as a ratio minus 1."""
        return max(self.threshold, self.noise - 1)

    @property
    def looks_changed(self) -> bool:
        """Whether the case could not be judged although its move is beyond its interval and twice its threshold."""
        if self.verdict is not Verdict.INCONCLUSIVE or not self.ratio > 0:
            return False
        is_beyond = self.low > min(1.0, self.shift) or self.high < max(1.0, self.shift)
        return is_beyond and abs(math.log(self.own_ratio)) > MOST_UNSEEN * math.log1p(self.threshold)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Cases that changed alike and share settings.

    `changed` are positions among the judgments. `cases` counts the judged cases with the settings. `ratio` is the
    median of the changed cases. A cause has the number of changed cases that show it.
    """

    name: str
    verdict: Verdict
    changed: tuple[int, ...]
    cases: int
    ratio: float
    causes: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunName:
    """The run on a side of a comparison."""

    id: str
    name: str
    started_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two runs compared.

    - `judgments` has every case of either run, in the order of the new one, those of the base alone last.
    - `moved` is the move of the shortest half of the measured cases, as a ratio minus 1; 0 where there are none.
    - `machine` says what moved too far for one machine: the cases, the reference layers, or a probe. It is "" where
      nothing did.
    - `shift` is the expected move of each case, new over base; 1 where it cannot be estimated.
    - `longer` is how many times as many blocks per process are needed to judge half of the cases; 1 where half are
      judged. It is computed from the share of quiet blocks.
    - `notes` are further facts for the reader: `base not measured again`.
    - `network` is what changed between two networks as wholes, None where a side is none (networks.py).
    - Where a control moved, the comparison is `discredited` and nothing is flagged.
    """

    base: RunName
    new: RunName
    judgments: tuple[Judgment, ...]
    differences: tuple[Difference, ...]
    groups: tuple[Group, ...]
    verdict: Verdict
    moved: float
    longer: float
    machine: str = ""
    shift: float = 1.0
    how: How = How.STORED
    notes: tuple[str, ...] = ()
    discredited: bool = False
    network: NetworkChange | None = None

    @property
    def is_machine(self) -> bool:
        """Whether something moved too far for one machine: then nothing is judged."""
        return bool(self.machine)

    @property
    def comparable(self) -> bool:
        """Whether no difference decides: then ratios mean changes of the code."""
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
        """The smallest changes that would have been seen in half of the judged cases and in all, NaN without any."""
        seen = [judgment.smallest_seen for judgment in self.judgments if judgment.verdict in JUDGED]
        return (float(np.median(seen)), max(seen)) if seen else (math.nan, math.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison:
    """A comparison and the two runs it is about."""

    comparison: Comparison
    base: Run
    new: Run


def side_of(run: Run) -> RunName:
    """The run on a side of a comparison."""
    return RunName(id=run.id, name=run.name, started_at=run.started_at)


def verdict_of_all(judgments: Sequence[Judgment], awaited: int, *, is_machine: bool = False) -> Verdict:
    """The verdict of all cases: regressed if any case is, else inconclusive if too few could be judged.

    One case that looks changed and could not be judged is too much. `awaited` counts the cases that both runs have and
    neither skipped.
    """
    counts = Counter(judgment.verdict for judgment in judgments)
    judged = sum(counts[verdict] for verdict in JUDGED)
    if counts[Verdict.REGRESSED]:
        return Verdict.REGRESSED
    if not awaited:
        return Verdict.NOT_JUDGED
    too_few = 2 * judged < awaited or judged < FEWEST_JUDGED * (judged + counts[Verdict.INCONCLUSIVE])
    if is_machine or too_few or any(judgment.looks_changed for judgment in judgments):
        return Verdict.INCONCLUSIVE
    return Verdict.IMPROVED if counts[Verdict.IMPROVED] else Verdict.UNCHANGED
