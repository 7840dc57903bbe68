"""What changed between two runs: a judgment per case, the changes that belong together, one verdict for all. Pure.

The procedure, case by case, over equal numbers of passes and blocks (measure/alike.py): F is the floor of a side, u the
larger side's median pass floor over its lowest, s what half of all cases moved by together (common_shift.py). A case is
flagged where |ln(F_new / F_base / s)| exceeds both ln u and ln(1 + threshold). With a u that would nearly hide a change
of the threshold's size it is inconclusive otherwise, and always with one over `MOST_NOISE`. The procedure stood up in
simulation on real runs of a shared 2-vCPU machine, and was bettered where runs of several such machines showed how
(docs/decisions.md).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from convbench import units
from convbench.analysis.comparison.changes import causes_of, groups_of
from convbench.analysis.comparison.common_shift import ROUNDING, CommonShift, common_shift, is_worth_telling
from convbench.analysis.comparison.comparability import differences
from convbench.analysis.comparison.judgment import Comparison, Judgment, Verdict, side_of, verdict_of_all
from convbench.errors import NotComparableError
from convbench.measure import estimate
from convbench.measure.alike import PassFloors, pass_floors
from convbench.measure.significance import p_values, q_values
from convbench.model.case import Case
from convbench.model.instances import instances
from convbench.model.result import Result, Run, Status
from convbench.model.threshold import Thresholds

Floats = estimate.Floats

#: The largest u that can be judged: a machine that moves the passes of one run by more moves runs by as much.
MOST_NOISE = 1.09
#: The share of the threshold's logarithm that u may have where a case is called unchanged: 1.04 at 5 %.
MOST_UNSEEN = 0.8
#: The fewest passes that tell a change from noise: what a process got goes with it (measurement.md, fact 4).
FEWEST_PASSES = 2
#: A pass is to be quiet with this chance in a run that is long enough: then the median pass is, nearly always.
QUIET_CHANCE = 0.75


def compare(
    base: Run, new: Run, thresholds: Thresholds | None = None, *, controls: Collection[Case] | None = None
) -> Comparison:
    """What changed from `base` to `new`; `thresholds` are the new sweep's, the defaults where there are none.

    Where other cases were chosen for having moved, only the `controls` tell what all moved by together.
    Runs on different environments are compared all the same: see `Comparison.comparable`. Raises NotComparableError
    where the runs have no case in common.
    """
    found = _side_by_side(base, new)
    if not any(first is not _ABSENT and second is not _ABSENT for _, first, second in found):
        raise NotComparableError(
            f"{base.id} and {new.id} have no case in common", hint="compare runs of the same sweep, or of parts of it"
        )
    judgments: dict[int, Judgment] = {}
    pairs: dict[int, tuple[Result, Result]] = {}
    awaited = 0
    for place, (case, first, second) in enumerate(found):
        if isinstance(first, Result) and isinstance(second, Result) and _was_timed(first) and _was_timed(second):
            pairs[place] = first, second
            continue
        if _ABSENT not in (first, second) and Status.SKIPPED not in (_status(first), _status(second)):
            awaited += 1
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
    tells = np.ones(len(pairs), dtype=bool)
    if controls is not None:
        tells[:] = [second.case in controls for _, second in pairs.values()]
    others = "all cases" if controls is None else "the controls"
    figures = _figures(pass_floors(*tables), np.array(limits, dtype=np.float64), precision, tells, others)
    judgments |= zip(pairs, _judge(list(pairs.values()), figures), strict=True)
    whole = tuple(judgments[place] for place in range(len(found)))
    return Comparison(
        base=side_of(base),
        new=side_of(new),
        judgments=whole,
        differences=differences(base, new, list(pairs.values()), tables),
        groups=groups_of(whole),
        verdict=verdict_of_all(whole, len(pairs) + awaited, is_machine=figures.common.is_machine),
        moved=figures.common.moved,
        is_machine=figures.common.is_machine,
        longer=figures.longer,
        shift=figures.common.ratio,
    )


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
    others: str  # whose moves tell what is common, in words

    @property
    def own(self) -> Floats:
        """|ln(F_new / F_base / s)| of each case."""
        return _moved(self.ratio / self.common.ratio)

    @property
    def limit(self) -> Floats:
        """The largest of these that flags nobody. A change that is exactly the noise is within it, both ways."""
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


def _figures(
    floors: PassFloors, threshold: Floats, precision: float, tells: NDArray[np.bool_], others: str
) -> _Figures:
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
        others=others,
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
    telling = figures.telling
    beyond, moved = figures.own > figures.limit, _moved(figures.ratio) > figures.limit
    plain = telling & (figures.passes >= FEWEST_PASSES) & ~beyond & ~moved & np.isfinite(figures.ratio)
    ruled = [(Verdict.UNCHANGED, "")] * len(pairs)
    for place in np.flatnonzero(~plain).tolist():
        flags = {"beyond": beyond[place], "moved": moved[place], "telling": telling[place]}
        ruled[place] = _rule(figures, place, **{name: bool(flag) for name, flag in flags.items()})
    changed = [i for i, (verdict, _) in enumerate(ruled) if verdict in (Verdict.REGRESSED, Verdict.IMPROVED)]
    causes = dict(zip(changed, causes_of([pairs[i] for i in changed]), strict=True))
    names = ("base_s", "new_s", "ratio", "low", "high", "noise", "threshold", "q", "passes", "blocks")
    return instances(
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


def _rule(figures: _Figures, place: int, *, beyond: bool, moved: bool, telling: bool) -> tuple[Verdict, str]:
    """What becomes of a case that is not simply unchanged, and why.

    Whether it moved `beyond` threshold and noise, apart from what all moved by; whether the plain ratio `moved` so.
    """
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
        together = units.percent(common.moved)
        half = f"half of {figures.others} moved by about {together}"
        return Verdict.INCONCLUSIVE, f"use ab: {half}, as on another machine"
    shared = f"the {units.change(common.ratio)} that half of {figures.others} moved"
    own = f"{units.change(ratio / common.ratio)} beyond {shared}"
    if not beyond:
        return Verdict.UNCHANGED, own
    told = is_worth_telling(common.ratio) or not moved
    return (Verdict.REGRESSED if ratio > common.ratio else Verdict.IMPROVED), own if told else ""
