"""The differences of two environments measured side by side: suspected cases, flagged cases, intervals. Pure.

A pair is two fresh processes, one of each environment, whose blocks alternate (conduct/pairs.py). Two ratios are
compared with the threshold: that of the times over all pairs, and the median of the pairs' ratios. A case is flagged
where both exceed it and their interval excludes 1. Simulated with 12 pairs, 2.5 % and no interval, false alarms were
4e-5 per case and side. A planted change of 5 % was found in 90-100 %.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from convbench import units
from convbench.analysis.comparison.changes import causes_of, groups_of
from convbench.analysis.comparison.comparability import Difference, differences
from convbench.analysis.comparison.confirmation import FLAGGED, SIDE_BY_SIDE, discredited
from convbench.analysis.comparison.judgment import Comparison, How, Judgment, Verdict, side_of, verdict_of_all
from convbench.measure import estimate
from convbench.measure.alike import ProcessTimes, process_times
from convbench.measure.estimate import Floats, Integers
from convbench.model.lead import lead_of
from convbench.model.result import Result, Run, Status
from convbench.model.threshold import FEWEST_PROCESSES

#: A change that counts, as a ratio minus 1.
THRESHOLD = SIDE_BY_SIDE
#: Pairs of the screen and of the confirmation, and how many times as many for layers larger than the L2 cache.
SCREEN, CONFIRMATION, MORE_BEYOND_L2 = 4, 12, 4 / 3
#: A case is suspected from this share of the threshold on: four pairs measure a ratio to about 1 %. A wrong suspicion
#: costs time but causes no false alarm.
SUSPECTED = 0.6
#: Resamples for an interval, and the share of them that it contains.
RESAMPLES, HELD = 2000, 0.95
#: The fewest pairs that are judged.
FEWEST_PAIRS = FEWEST_PROCESSES
#: Cases resampled at once. They take this times resamples times pairs times 8 bytes of memory.
_AT_ONCE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratios:
    """The ratios of each case, new over base, one element a case. NaN where there is no pair.

    - `pooled` is the ratio of the leading times over all pairs.
    - `median` is the median of the pairs' ratios; of two in the middle it is the geometric mean.
    - `low` to `high` is an interval that holds both in 95 of 100 bootstrap resamples of the pairs. It is widened for
      few pairs by `widening` (Efron, "Bootstrap methods: another look at the jackknife", 1979).
    - `noise` is the larger distance of `pooled` from an end of that interval, as a factor.
    """

    pooled: Floats
    median: Floats
    low: Floats
    high: Floats
    base_s: Floats
    new_s: Floats
    noise: Floats
    pairs: Integers
    blocks: Integers

    def beyond(self, threshold: float | Floats) -> tuple[Integers, Integers]:
        """The direction of each case, by leading times and by median pair: -1, 0 or 1. Within the threshold it is 0.

        A threshold is a ratio minus 1: one for all, or one element a case.
        """
        limit = np.log1p(threshold)

        def direction(ratio: Floats) -> Integers:
            with np.errstate(divide="ignore", invalid="ignore"):
                moved = np.log(ratio)
            return (moved > limit).astype(np.int64) - (moved < -limit)

        return direction(self.pooled), direction(self.median)


def ratios(base: Sequence[Result], new: Sequence[Result]) -> Ratios:
    """The ratios of cases that both sides measured, in the same order. Processes of equal number are a pair."""
    times = process_times(*map(estimate.table, (base, new)))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        pooled = times.new_s / times.base_s
        median = np.exp(estimate.median_along(np.log(times.new / times.base)))
        low, high = _intervals(times)
        noise = np.fmax(1.0, np.maximum(pooled / low, high / pooled))
    return Ratios(
        pooled=pooled,
        median=median,
        low=low,
        high=high,
        base_s=times.base_s,
        new_s=times.new_s,
        noise=noise,
        pairs=times.processes,
        blocks=times.blocks,
    )


def _intervals(times: ProcessTimes) -> tuple[Floats, Floats]:
    """The interval of each case, from resamples of its pairs. The seed is fixed: the same blocks give the same result.

    It is computed from logarithms: with the sides swapped the interval is the inverse.
    """
    base, new = np.log(times.base), np.log(times.new)
    cases = len(times.base)
    low, high = np.full(cases, np.nan), np.full(cases, np.nan)
    generator = np.random.default_rng(0)
    tail = (1 - HELD) / 2 * 100
    for count in np.unique(times.processes[times.processes > 0]).tolist():
        drawn = generator.integers(count, size=(RESAMPLES, count))
        some = np.flatnonzero(times.processes == count)
        for start in range(0, len(some), _AT_ONCE):
            part = some[start : start + _AT_ONCE]
            before, after = base[part][:, drawn], new[part][:, drawn]  # (cases, resamples, pairs)
            own = [estimate.leading_along(side, times.by_median[part]) for side in (before, after)]
            both = np.stack([own[1] - own[0], np.median(after - before, axis=2)])
            low[part] = np.percentile(both.min(axis=0), tail, axis=1)
            high[part] = np.percentile(both.max(axis=0), 100 - tail, axis=1)
            middle, half = (low[part] + high[part]) / 2, (high[part] - low[part]) / 2 * widening(count)
            low[part], high[part] = middle - half, middle + half
    return np.exp(low), np.exp(high)


def widening(pairs: int) -> float:
    """The factor by which a bootstrap interval over so few pairs is too narrow: 1.9 for 4 pairs, 1.2 for 12.

    Resamples stay within the sample, and their spread is too small by sqrt((n - 1) / n). Two factors correct this:
    Student's t with n - 1 degrees of freedom over z, and the root. See Hesterberg, "What Teachers Should Know About the
    Bootstrap", 2015. For a single pair the factor is 1, as it has no spread.
    """
    if pairs == 1:
        return 1.0
    z, freedom = NormalDist().inv_cdf((1 + HELD) / 2), pairs - 1
    # Abramowitz and Stegun, "Handbook of Mathematical Functions" (1964), 26.7.5: t in powers of 1 / freedom.
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    student = math.fsum(term / freedom**power for power, term in enumerate(terms))
    return student / z * math.sqrt(pairs / (pairs - 1))


def suspects(base: Run, new: Run, threshold: float = THRESHOLD) -> list[int]:
    """The positions of the cases that a screen suspects, among those that passed on both sides."""
    places = _measured(base.results, new.results)
    found = ratios([base.results[i] for i in places], [new.results[i] for i in places])
    by_time, by_median = found.beyond(threshold * SUSPECTED)
    return [place for place, one, other in zip(places, by_time, by_median, strict=True) if one or other]


def undecided(base: Sequence[Result], new: Sequence[Result], thresholds: Sequence[float]) -> list[int]:
    """The positions of the results that need more pairs for a decision.

    There leading times and median pair disagree, or both flag the case although the interval contains 1.
    """
    places = _measured(base, new)
    found = ratios([base[i] for i in places], [new[i] for i in places])
    by_time, by_median = found.beyond(np.array([thresholds[i] for i in places], dtype=np.float64))
    unsure = (by_time != 0) & (found.low <= 1) & (found.high >= 1)
    return [places[at] for at in np.flatnonzero((by_time != by_median) | unsure).tolist()]


def controls(base: Run, new: Run, suspected: Collection[int], *, seed: int) -> list[int]:
    """As many unchanged cases as there are suspects, or all unchanged cases if there are fewer, drawn at random."""
    unchanged = sorted(set(_measured(base.results, new.results)) - set(suspected))
    return sorted(random.Random(seed).sample(unchanged, min(len(suspected), len(unchanged))))


def _measured(base: Sequence[Result], new: Sequence[Result]) -> list[int]:
    """Positions of the cases that passed on both sides and have blocks."""
    pairs = enumerate(zip(base, new, strict=True))
    return [i for i, pair in pairs if all(r.status is Status.PASSED and r.blocks for r in pair)]


def compare(
    base: Run,
    new: Run,
    *,
    names: tuple[str, str],
    confirmed: Collection[int],
    control: Collection[int] = (),
    threshold: float | Sequence[float] = THRESHOLD,
) -> Comparison:
    """The comparison of two environments, from the pairs in their results.

    - `names` are the names of the sides.
    - `confirmed` are the positions of the cases that were measured again. Their results hold these pairs alone. The
      other cases were not suspected.
    - `threshold` is one for all, or one a case.
    - Where a case in `control` would be flagged, nothing is flagged: whatever moved the control may move any case.
    """
    places = _measured(base.results, new.results)
    limits = np.broadcast_to(np.asarray(threshold, dtype=np.float64), len(base.results))
    found = ratios([base.results[i] for i in places], [new.results[i] for i in places])
    ways = zip(*(directions.tolist() for directions in found.beyond(limits[places])), strict=True)
    again = frozenset(confirmed)
    judged = {
        place: _judgment(new.results[place], found, at, float(limits[place]), moved, confirmed=place in again)
        for at, (place, moved) in enumerate(zip(places, ways, strict=True))
    }
    changed = [place for place in places if judged[place].verdict in FLAGGED]
    causes = causes_of([(base.results[place], new.results[place]) for place in changed])
    for place, cause in zip(changed, causes, strict=True):
        judged[place] = replace(judged[place], causes=cause)
    judgments = tuple(
        judged.get(place) or _not_judged(first, second, names)
        for place, (first, second) in enumerate(zip(base.results, new.results, strict=True))
    )
    awaited = sum(Status.SKIPPED not in pair for pair in ((j.base_status, j.new_status) for j in judgments))
    moved = [judgments[place] for place in sorted(control) if judgments[place].verdict in FLAGGED]
    comparison = Comparison(
        base=side_of(base),
        new=side_of(new),
        judgments=judgments,
        differences=_differences(base, new, places),
        groups=groups_of(judgments),
        verdict=verdict_of_all(judgments, awaited),
        moved=_typically_moved(found.pooled),
        longer=_longer(found, [place in again for place in places], limits[places]),
        how=How.SIDE_BY_SIDE,
        notes=("no case was left as a control",) if confirmed and not control else (),
    )
    return discredited(comparison, moved) if moved else comparison


def _typically_moved(pooled: Floats) -> float:
    """By how much the median case moved either way, as a ratio minus 1."""
    known = pooled[np.isfinite(pooled) & (pooled > 0)]
    return float(np.expm1(np.median(np.abs(np.log(known))))) if len(known) else 0.0


def _judgment(
    result: Result, found: Ratios, at: int, threshold: float, moved: tuple[int, int], *, confirmed: bool
) -> Judgment:
    """The judgment of one case that both sides measured; `moved` is its direction, by times and by median pair."""
    by_time, by_median = moved
    pooled, median = float(found.pooled[at]), float(found.median[at])
    verdict, reason = Verdict.UNCHANGED, ""
    if not (math.isfinite(pooled) and pooled > 0):
        verdict, reason = Verdict.NOT_JUDGED, "no time to compare"
    elif found.pairs[at] < FEWEST_PAIRS:
        verdict, reason = Verdict.INCONCLUSIVE, "too few pairs to separate a change from noise"
    elif confirmed and by_time and by_time == by_median and found.low[at] <= 1 <= found.high[at]:
        verdict = Verdict.INCONCLUSIVE
        reason = f"both moved by about {units.change(pooled)}, but their interval contains 0 %: measure again"
    elif confirmed and by_time and by_time == by_median:
        verdict = Verdict.REGRESSED if by_time > 0 else Verdict.IMPROVED
    elif confirmed and (by_time or by_median):
        verdict = Verdict.INCONCLUSIVE
        what = f"the {lead_of(result.case.device)}s moved by {units.change(pooled)}"
        reason = f"{what}, the median pair by {units.change(median)}: measure again"
    return Judgment(
        case=result.case,
        verdict=verdict,
        base_status=Status.PASSED,
        new_status=Status.PASSED,
        reason=reason,
        ratio=pooled,
        median_ratio=median,
        low=float(found.low[at]),
        high=float(found.high[at]),
        base_s=float(found.base_s[at]),
        new_s=float(found.new_s[at]),
        noise=_noise(found, at, verdict),
        threshold=threshold,
        confirmed=confirmed,
        processes=int(found.pairs[at]),
        blocks=int(found.blocks[at]),
    )


def _noise(found: Ratios, at: int, verdict: Verdict) -> float:
    """The smallest change that the interval would have excluded from no change; a flagged case has one direction."""
    if verdict is Verdict.REGRESSED:
        return float(found.pooled[at] / found.low[at])
    if verdict is Verdict.IMPROVED:
        return float(found.high[at] / found.pooled[at])
    return float(found.noise[at])


def _not_judged(base: Result, new: Result, names: tuple[str, str]) -> Judgment:
    """The judgment of a case that one side could not measure, or whose result is wrong on a side."""
    reasons = [
        f"{result.status.replace('_', ' ')} in {name}" + (f": {result.reason}" if result.reason else "")
        for name, result in zip(names, (base, new), strict=True)
        if result.status is not Status.PASSED
    ]
    return Judgment(
        case=new.case,
        verdict=Verdict.NOT_JUDGED,
        base_status=base.status,
        new_status=new.status,
        reason="; ".join(reasons) or "not timed",
    )


def _differences(base: Run, new: Run, places: Sequence[int]) -> tuple[Difference, ...]:
    """The differences of the environments. None of them decides, because their effect is what is measured here."""
    pairs = [(base.results[place], new.results[place]) for place in places]
    return tuple(replace(one, decides=False) for one in differences(base, new, pairs))


def _longer(found: Ratios, confirmed: Sequence[bool], threshold: Floats) -> float:
    """How many times as many pairs narrow the median confirmed case's interval to the threshold, at least 1.

    The width of an interval falls with the square root of the pairs.
    """
    some = np.array(confirmed, dtype=bool)
    if not some.any():
        return 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        half = np.log(found.high[some] / found.low[some]) / 2 / np.log1p(threshold[some])
    known = half[np.isfinite(half)]
    return max(1.0, float(np.median(known)) ** 2) if len(known) else 1.0
