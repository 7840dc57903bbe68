"""What changed between two runs: a judgment per case, the changes that belong together, one verdict for all. Pure.

The procedure, case by case, over equal numbers of passes and blocks (measure/alike.py): F is the floor of a side, u the
larger side's median pass floor over its lowest, s what half of all cases moved by together (common_shift.py). A case is
accused where |ln(F_new / F_base / s)| exceeds both ln u and ln(1 + threshold). With a u that would nearly hide a change of
the threshold's size it is inconclusive otherwise, and always with one over `MOST_NOISE`. It stood up in simulation on real
runs of a shared 2-vCPU machine, and was bettered where runs of several such machines showed how (docs/decisions.md).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import Enum, StrEnum
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from convbench import units
from convbench.analysis.common_shift import ROUNDING, CommonShift, common_shift, is_worth_telling
from convbench.analysis.comparability import Difference, differences
from convbench.analysis.grouping import shared
from convbench.case import Case
from convbench.errors import NotComparableError
from convbench.measure import estimate
from convbench.measure.alike import PassFloors, pass_floors
from convbench.measure.significance import p_values, q_values
from convbench.measure.threshold import Thresholds
from convbench.nouns import nouns
from convbench.result import Result, Run, Status

Floats = estimate.Floats

#: The largest u that can be judged: a machine that moves the passes of one run by more moves runs by as much.
MOST_NOISE = 1.09
#: The share of the threshold's logarithm that u may have where a case is called unchanged: 1.04 at 5 %.
MOST_UNSEEN = 0.8
#: The fewest passes that tell a change from noise: what a process got goes with it (measurement.md, fact 4).
FEWEST_PASSES = 2
#: How many page faults per iteration more or fewer are a cause, at least, and how many times as many.
PAGE_FAULTS, PAGE_FAULTS_RATIO = 1.0, 2.0
#: A pass is to be quiet with this chance in a run that is long enough: then the median pass is, nearly always.
QUIET_CHANCE = 0.75


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
        """What the case moved by beyond what half of all cases did, new over base."""
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
    `is_machine` says that it is too much for a clock, `shift` is what each case was expected to move by, new over base: 1
    where the cases do not tell. `longer` is how many times the blocks per pass a run
    would have to take for half of the cases to be judged, as far as the share of quiet blocks tells; 1 where they were.
    `notes` are what the reader must know besides: `base not measured again`. Where a control moved, which nobody had
    suspected, the confirmation is `discredited` and nothing is accused.
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


def compare(
    base: Run, new: Run, thresholds: Thresholds | None = None, *, innocent: Collection[Case] | None = None
) -> Comparison:
    """What changed from `base` to `new`; `thresholds` are the new sweep's, the defaults where there are none.

    Where other cases were chosen for having moved, only the `innocent` tell what all moved by together.
    Runs on different environments are compared all the same: see `Comparison.comparable`. Raises NotComparableError
    where the runs have no case in common.
    """
    found = _side_by_side(base, new)
    common = [(first, second) for _, first, second in found if first is not _ABSENT and second is not _ABSENT]
    if not common:
        raise NotComparableError(
            f"{base.id} and {new.id} have no case in common", hint="compare runs of the same sweep, or of parts of it"
        )
    judgments: dict[int, Judgment] = {}
    pairs: dict[int, tuple[Result, Result]] = {}
    for place, (case, first, second) in enumerate(found):
        if isinstance(first, Result) and isinstance(second, Result) and _was_timed(first) and _was_timed(second):
            pairs[place] = first, second
            continue
        reason = obstacle(case, second, new, "NEW", "BASE") or obstacle(case, first, base, "BASE", "NEW")
        judgments[place] = Judgment(
            case=case,
            verdict=Verdict.NOT_JUDGED,
            base_status=_status(first),
            new_status=_status(second),
            reason=reason or "",
        )
    tables = (
        estimate.table(first.blocks for first, _ in pairs.values()),
        estimate.table(second.blocks for _, second in pairs.values()),
    )
    l2_bytes = smaller(base.environment.l2_bytes, new.environment.l2_bytes)
    threshold_of = (thresholds or Thresholds()).of
    limits = [threshold_of(second.case, l2_bytes) for _, second in pairs.values()]
    precision = max(base.measure.precision, new.measure.precision)
    tells = np.array([innocent is None or second.case in innocent for _, second in pairs.values()], dtype=bool)
    figures = _figures(pass_floors(*tables), np.array(limits, dtype=np.float64), precision, tells)
    judgments |= zip(pairs, _judge(list(pairs.values()), figures), strict=True)
    whole = tuple(judgments[place] for place in range(len(found)))
    awaited = sum(Status.SKIPPED not in (_status(first), _status(second)) for first, second in common)
    return Comparison(
        base=side_of(base),
        new=side_of(new),
        judgments=whole,
        differences=differences(base, new, list(pairs.values()), tables),
        groups=groups_of(whole),
        verdict=verdict_of_all(whole, awaited, is_machine=figures.common.is_machine),
        moved=figures.common.moved,
        is_machine=figures.common.is_machine,
        longer=figures.longer,
        shift=figures.common.ratio,
    )


def side_of(run: Run) -> Side:
    """Which run stands on a side."""
    return Side(id=run.id, name=run.name, started_at=run.started_at)


class _Absence(Enum):
    """That a run does not have a case at all."""

    ABSENT = "absent"


_ABSENT = _Absence.ABSENT
#: What a run has of a case; None where no pass has reached it yet.
_Had = Result | None | _Absence


def _status(had: _Had) -> Status | None:
    return had.status if isinstance(had, Result) else None


def _side_by_side(base: Run, new: Run) -> list[tuple[Case, _Had, _Had]]:
    """What both runs have of every case of either, in the order of `new`, those of `base` alone last."""
    before, after = _had(base), _had(new)
    if len(before) == len(after) and all(first[0] is second[0] for first, second in zip(before, after, strict=True)):
        # Runs of one sweep out of one database: nothing needs to be looked up.
        return [(case, first, second) for (_, first), (case, second) in zip(before, after, strict=True)]
    first_of, second_of = dict(before), dict(after)
    return [
        *((case, first_of.get(case, _ABSENT), second) for case, second in second_of.items()),
        *((case, first, _ABSENT) for case, first in first_of.items() if case not in second_of),
    ]


def _had(run: Run) -> list[tuple[Case, Result | None]]:
    """The result of every case of a run, None for those that no pass has reached."""
    return [*((result.case, result) for result in run.results), *((case, None) for case in run.unmeasured)]


def smaller(first: int | None, second: int | None) -> int | None:
    """The smaller of both, None where one is not known."""
    return None if first is None or second is None else min(first, second)


def _was_timed(result: Result) -> bool:
    return result.status is Status.PASSED and bool(result.blocks)


def obstacle(case: Case, had: _Had, run: Run, name: str, other: str) -> str | None:
    """Why a case cannot be compared for all that one side has of it; None where that side measured it."""
    if had is _ABSENT:
        refused = next((each.reason for each in run.rejections if each.label == case.label), None)
        return f"only in {other}" + (f": torch would refuse it in {name}: {refused}" if refused else "")
    if not isinstance(had, Result):
        return f"not reached yet in {name}"
    if had.status is not Status.PASSED:
        status = had.status.value.replace("_", " ")
        return f"{status} in {name}" + (f": {had.reason}" if had.reason else "")
    return None if had.blocks else f"not timed in {name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Figures:
    """The numbers of the cases that both sides measured, one element each."""

    base_s: Floats
    new_s: Floats
    ratio: Floats
    low: Floats
    high: Floats
    noise: Floats
    threshold: Floats
    q: Floats
    passes: estimate.Integers
    blocks: estimate.Integers
    longer: float
    common: CommonShift

    @property
    def own(self) -> Floats:
        """|ln(F_new / F_base / s)| of each case."""
        return _moved(self.ratio / self.common.ratio)

    @property
    def limit(self) -> Floats:
        """The largest of these that accuses nobody. A change that is exactly the noise is within it, both ways."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.maximum(np.log1p(self.threshold), np.log(self.noise)) * (1 + ROUNDING)

    @property
    def telling(self) -> NDArray[np.bool_]:
        """Whose noise would let a change of the threshold's size be seen."""
        return self.noise <= _most_noise(self.threshold)


def _moved(ratio: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        moved: Floats = np.abs(np.log(ratio))
    return moved


def _most_noise(threshold: Floats) -> Floats:
    """The largest u with which a case can be called unchanged."""
    return np.minimum(MOST_NOISE, np.exp(MOST_UNSEEN * np.log1p(threshold)))


def _figures(floors: PassFloors, threshold: Floats, precision: float, tells: NDArray[np.bool_]) -> _Figures:
    base_low, base_high, base_u = _extremes(floors.base)
    new_low, new_high, new_u = _extremes(floors.new)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = new_low / base_low
        low, high = new_low / base_high / (1 + precision), new_high / base_low * (1 + precision)
    common = common_shift(ratio[tells])
    passes = np.where(floors.passes >= FEWEST_PASSES, floors.passes, 0)
    noise = np.fmax(base_u, new_u)
    return _Figures(
        base_s=base_low,
        new_s=new_low,
        ratio=ratio,
        low=low,
        high=high,
        noise=noise,
        threshold=threshold,
        q=q_values(p_values(floors.base, floors.new / common.ratio, passes, 1 + threshold)),
        passes=floors.passes,
        blocks=floors.blocks,
        longer=_longer(floors, noise, threshold),
        common=common,
    )


def _extremes(floors: Floats) -> tuple[Floats, Floats, Floats]:
    """The lowest and the highest pass floor of each case, and u, the median over the lowest; NaN without any pass."""
    ordered = np.sort(floors, axis=1)  # NaN last
    passes = np.isfinite(ordered).sum(axis=1)
    if not ordered.shape[1]:
        nothing = np.full(len(floors), np.nan)
        return nothing, nothing, nothing
    rows, last = np.arange(len(ordered)), np.maximum(passes - 1, 0)
    lowest, highest = ordered[:, 0], ordered[rows, last]
    median = (ordered[rows, last // 2] + ordered[rows, (last + 1) // 2]) / 2
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return lowest, highest, median / lowest


def _longer(floors: PassFloors, noise: Floats, threshold: Floats) -> float:
    """How many times the blocks per pass would let half of the cases be judged.

    If each block is quiet with the chance q, a pass of r blocks has a quiet one with the chance 1 - (1 - q)^r; that is
    to be `QUIET_CHANCE`. Blocks of one spell are quiet or not together, so that this is the least one must expect.
    """
    if not len(noise):
        return 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        wanted = np.log(1 - QUIET_CHANCE) / np.log1p(-np.minimum(floors.near, 1 - 1e-9))
        factor = np.fmax(wanted * floors.passes / floors.blocks, 1.0)
    needed = np.where(noise <= _most_noise(threshold), 1.0, factor)
    return float(np.sort(needed)[(len(needed) - 1) // 2])


def _judge(pairs: Sequence[tuple[Result, Result]], figures: _Figures) -> list[Judgment]:
    """The judgment of every pair, causes for those that changed."""
    own, limit, telling = figures.own, figures.limit, figures.telling
    plain = telling & (figures.passes >= FEWEST_PASSES) & (np.maximum(own, _moved(figures.ratio)) <= limit)
    ruled = [(Verdict.UNCHANGED, "")] * len(pairs)
    for place in np.flatnonzero(~plain).tolist():
        ruled[place] = _rule(figures, place, beyond=bool(own[place] > limit[place]), telling=bool(telling[place]))
    changed = [i for i, (verdict, _) in enumerate(ruled) if verdict in (Verdict.REGRESSED, Verdict.IMPROVED)]
    causes = dict(zip(changed, causes_of([pairs[i] for i in changed]), strict=True))
    names = ("base_s", "new_s", "ratio", "low", "high", "noise", "threshold", "q", "passes", "blocks")
    return nouns(
        Judgment,
        len(pairs),
        case=[after.case for _, after in pairs],
        verdict=[verdict for verdict, _ in ruled],
        reason=[reason for _, reason in ruled],
        base_status=repeat(Status.PASSED, len(pairs)),
        new_status=repeat(Status.PASSED, len(pairs)),
        causes=[causes.get(i, ()) for i in range(len(pairs))],
        shift=repeat(figures.common.ratio, len(pairs)),
        **{name: getattr(figures, name).tolist() for name in names},
    )


def _rule(figures: _Figures, place: int, *, beyond: bool, telling: bool) -> tuple[Verdict, str]:
    """What becomes of a case that is not simply unchanged, and why."""
    ratio, noise = float(figures.ratio[place]), float(figures.noise[place])
    if not (math.isfinite(ratio) and ratio > 0):
        return Verdict.NOT_JUDGED, "no time to compare"
    if figures.passes[place] < FEWEST_PASSES:
        return Verdict.INCONCLUSIVE, "one pass on a side does not tell a change from noise: measure more passes"
    if noise > MOST_NOISE or not (beyond or telling):
        apart = units.percent(noise - 1)
        return Verdict.INCONCLUSIVE, f"use ab: half of a side's passes are {apart} or more over its floor"
    common = figures.common
    if common.is_machine:
        moved = units.percent(common.moved)
        return Verdict.INCONCLUSIVE, f"use ab: half of all cases moved by about {moved}, as on another machine"
    own = f"{units.change(ratio / common.ratio)} beyond the {units.change(common.ratio)} that half of all cases moved"
    if not beyond:
        return Verdict.UNCHANGED, own
    told = is_worth_telling(common.ratio) or _moved(figures.ratio[place]) <= figures.limit[place]
    return (Verdict.REGRESSED if ratio > common.ratio else Verdict.IMPROVED), own if told else ""


def causes_of(pairs: Sequence[tuple[Result, Result]]) -> list[tuple[Difference, ...]]:
    """What else differs between both sides of some cases: what ran, and how often the kernel had to hand out pages."""
    before, after = (
        estimate.estimate(estimate.table(pair[side].blocks for pair in pairs)).page_faults.tolist() for side in (0, 1)
    )
    found = []
    for (base, new), faults, more in zip(pairs, before, after, strict=True):
        causes = []
        if base.implementation and new.implementation and base.implementation != new.implementation:
            causes.append(_difference_of_words(base.implementation, new.implementation))
        if abs(more - faults) >= PAGE_FAULTS and max(more, faults) >= PAGE_FAULTS_RATIO * min(more, faults):
            texts = [units.number(value, significant=3) for value in (faults, more)]
            causes.append(Difference(what="page faults", base=texts[0], new=texts[1]))
        found.append(tuple(causes))
    return found


def _difference_of_words(base: str, new: str) -> Difference:
    """`implementation brg_conv_fwd:avx512_core -> ref:any` of `Mkldnn ...` on both sides: words that both have go."""
    sides = [text.split() for text in (base, new)]
    own = [[word for word in side if word not in other] for side, other in (sides, sides[::-1])]
    texts = [" ".join(words or side) for words, side in zip(own, sides, strict=True)]
    return Difference(what="implementation", base=texts[0], new=texts[1])


def groups_of(judgments: Sequence[Judgment]) -> tuple[Group, ...]:
    """The changes that belong together, regressions first."""
    places = [i for i, judgment in enumerate(judgments) if judgment.verdict in JUDGED]
    cases = [judgments[i].case for i in places]
    seen = np.array([judgments[i].smallest_seen for i in places], dtype=np.float64)
    found = []
    for verdict in (Verdict.REGRESSED, Verdict.IMPROVED):
        changed: NDArray[np.bool_] = np.array([judgments[i].verdict is verdict for i in places], dtype=bool)
        if not changed.any():
            continue
        size = float(np.median([_size(judgments[places[i]].own_ratio) for i in np.flatnonzero(changed).tolist()]))
        able = np.log1p(seen) < size
        for group in shared(cases, changed, able & ~changed):
            members = [places[i] for i in group.changed.tolist()]
            found.append(
                Group(
                    name=group.name,
                    verdict=verdict,
                    changed=tuple(members),
                    cases=group.cases,
                    ratio=float(np.median([judgments[i].ratio for i in members])),
                    causes=_common([judgments[i] for i in members]),
                )
            )
    return tuple(found)


def _size(ratio: float) -> float:
    return abs(math.log(ratio))


def _common(members: Sequence[Judgment]) -> tuple[Difference, ...]:
    """Of each kind of cause the one that most of some cases have, with their number."""
    seen = Counter(cause for judgment in members for cause in judgment.causes)
    most: dict[str, Difference] = {}
    for cause, cases in seen.most_common():
        if cause.what not in most and cases * 2 > len(members):
            most[cause.what] = replace(cause, cases=cases)
    return tuple(most.values())


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
