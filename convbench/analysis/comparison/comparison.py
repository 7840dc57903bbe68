"""What changed between two runs: a judgment per case, groups of changes, one verdict for all. Pure.

The procedure compares each case over equal numbers of processes and blocks (measure/alike.py):

- F is the floor of a side.
- u is the noise: the median process floor over the lowest, of the side where this is larger.
- s is the common shift: the ratio by which half of all cases moved together (common_shift.py).

- r is the move of the case's reference layers (reference_shift.py), where both runs have them and the same torch.

A case is flagged where |ln(F_new / F_base / s)| exceeds both ln u and ln(1 + threshold). Otherwise it is inconclusive
if u would nearly hide a change of the threshold's size. With u over `MOST_NOISE` it is always inconclusive. It is
inconclusive too where r in place of s gives another verdict. The
procedure was simulated on real runs of shared machines with 2 vCPUs, and corrected by the results (docs/decisions.md).
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
from convbench.analysis.comparison.common_shift import ROUNDING, CommonShift, common_shift, is_reported
from convbench.analysis.comparison.comparability import differences
from convbench.analysis.comparison.judgment import Comparison, Judgment, Verdict, side_of, verdict_of_all
from convbench.analysis.comparison.reference_shift import ReferenceShift, reference_shift
from convbench.errors import NotComparableError
from convbench.measure import estimate
from convbench.measure.alike import ProcessFloors, process_floors
from convbench.measure.references import levels
from convbench.measure.significance import p_values, q_values
from convbench.model.case import Case
from convbench.model.instances import instances
from convbench.model.references import same_speed
from convbench.model.result import Result, Run, Status
from convbench.model.threshold import Thresholds

Floats = estimate.Floats

#: The largest u that can be judged: on a machine whose processes differ by more, runs differ as much.
MOST_NOISE = 1.09
#: A case is called unchanged if ln u is at most this share of ln(1 + threshold): u is at most 1.04 at 5 %.
MOST_UNSEEN = 0.8
#: The fewest processes that separate a change from noise: part of the noise stays the same within a process
#: (docs/measurement.md).
FEWEST_PROCESSES = 2
#: In a run that is long enough, a process has a quiet block with this probability. Then the median process nearly
#: always has one.
QUIET_CHANCE = 0.75


def compare(
    base: Run, new: Run, thresholds: Thresholds | None = None, *, controls: Collection[Case] | None = None
) -> Comparison:
    """What changed from `base` to `new`. `thresholds` are the new sweep's, or the defaults.

    Where the other cases were chosen because they moved, the common shift is estimated from the `controls` alone.
    Runs on different environments are compared too: see `Comparison.comparable`. Raises NotComparableError where the
    runs have no case in common.
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
    in_shift = np.ones(len(pairs), dtype=bool)
    if controls is not None:
        in_shift[:] = [second.case in controls for _, second in pairs.values()]
    others = "all cases" if controls is None else "the controls"
    floors = process_floors(*tables)
    referred = None
    if controls is None and _have_equal_references(base, new):
        cases = [second.case for _, second in pairs.values()]
        # Minima over the blocks that the floors are over.
        sides = [
            levels(table, cases, run.processes, l2_bytes, quantile=0.0, used=used)
            for table, run, used in zip(tables, (base, new), floors.used, strict=True)
        ]
        referred = reference_shift(*sides)
    figures = _figures(floors, np.array(limits, dtype=np.float64), precision, in_shift, others, referred)
    judgments |= zip(pairs, _judge(list(pairs.values()), figures), strict=True)
    whole = tuple(judgments[place] for place in range(len(found)))
    return Comparison(
        base=side_of(base),
        new=side_of(new),
        judgments=whole,
        differences=differences(base, new, list(pairs.values()), tables if referred is None else None),
        groups=groups_of(whole),
        verdict=verdict_of_all(whole, len(pairs) + awaited, is_machine=figures.is_machine),
        moved=referred.disagreement if referred and referred.is_machine else figures.common.moved,
        is_machine=figures.is_machine,
        by_references=referred is not None and referred.is_machine,
        longer=figures.longer,
        shift=figures.common.ratio,
    )


def _have_equal_references(base: Run, new: Run) -> bool:
    """Whether the reference layers of both runs took as long on one machine: equal software and lengths of blocks."""
    lengths = [{one.block_s for facts in run.processes for one in facts.references} for run in (base, new)]
    return lengths[0] == lengths[1] and same_speed(base.environment) == same_speed(new.environment)


class _Absence(Enum):
    """A run does not have a case."""

    ABSENT = "absent"


_ABSENT = _Absence.ABSENT
#: The result of a case in a run; None where no process has reached it yet.
_Had = Result | None | _Absence


def _status(had: _Had) -> Status | None:
    return had.status if isinstance(had, Result) else None


def _side_by_side(base: Run, new: Run) -> list[tuple[Case, _Had, _Had]]:
    """Every case of either run with the results of both: in the order of `new`, those of `base` alone last."""
    before, after = _had(base), _had(new)
    if len(before) == len(after) and all(first[0] is second[0] for first, second in zip(before, after, strict=True)):
        # Runs of one sweep from one database have the same cases in the same order.
        return [(case, first, second) for (_, first), (case, second) in zip(before, after, strict=True)]
    first_of, second_of = dict(before), dict(after)
    return [
        *((case, first_of.get(case, _ABSENT), second) for case, second in second_of.items()),
        *((case, first, _ABSENT) for case, first in first_of.items() if case not in second_of),
    ]


def _had(run: Run) -> list[tuple[Case, Result | None]]:
    """The result of every case of a run, None for those that no process has reached."""
    return [*((result.case, result) for result in run.results), *((case, None) for case in run.unmeasured)]


def smaller(first: int | None, second: int | None) -> int | None:
    """The smaller of both, None where one is not known."""
    return None if first is None or second is None else min(first, second)


def _was_timed(result: Result) -> bool:
    return result.status is Status.PASSED and bool(result.blocks)


def obstacle(case: Case, had: _Had, run: Run, name: str, other: str) -> str | None:
    """Why a side's result cannot be compared; None where that side measured the case."""
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
    processes: estimate.Integers
    blocks: estimate.Integers
    longer: float
    common: CommonShift
    others: str  # the cases that the common shift is estimated from, in words
    referred: ReferenceShift | None

    @property
    def is_machine(self) -> bool:
        """Whether the cases or the references moved too far for one machine."""
        return self.common.is_machine or (self.referred is not None and self.referred.is_machine)

    @property
    def as_on_another(self) -> str:
        """What moved too far for one machine, in words."""
        if self.referred is not None and self.referred.is_machine:
            apart = units.percent(self.referred.disagreement)
            return f"the moves of the reference layers differ by up to {apart} from their middle"
        return f"half of {self.others} moved by about {units.percent(self.common.moved)}"

    @property
    def own(self) -> Floats:
        """|ln(F_new / F_base / s)| of each case."""
        return _moved(self.ratio / self.common.ratio)

    @property
    def limit(self) -> Floats:
        """The largest value of `own` that flags no case. A change that equals the noise is within it, both ways."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.maximum(np.log1p(self.threshold), np.log(self.noise)) * (1 + ROUNDING)

    @property
    def reference_signs(self) -> Floats:
        """1 for each case that is slower by its references, -1 for a faster one, else 0; NaN without references."""
        if self.referred is None:
            return np.full(len(self.ratio), np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            own = np.log(self.ratio / self.referred.ratio)
        signs: Floats = np.where(np.isnan(own), np.nan, np.sign(own) * (np.abs(own) > self.limit))
        return signs

    @property
    def is_sensitive(self) -> NDArray[np.bool_]:
        """Whether the noise of each case is low enough to see a change of the threshold's size."""
        return self.noise <= _most_noise(self.threshold)


def _moved(ratio: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        moved: Floats = np.abs(np.log(ratio))
    return moved


def _most_noise(threshold: Floats) -> Floats:
    """The largest u with which a case can be called unchanged."""
    return np.minimum(MOST_NOISE, np.exp(MOST_UNSEEN * np.log1p(threshold)))


def _figures(
    floors: ProcessFloors,
    threshold: Floats,
    precision: float,
    in_shift: NDArray[np.bool_],
    others: str,
    referred: ReferenceShift | None,
) -> _Figures:
    base_low, base_high, base_u = _extremes(floors.base)
    new_low, new_high, new_u = _extremes(floors.new)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = new_low / base_low
        low, high = new_low / base_high / (1 + precision), new_high / base_low * (1 + precision)
    common = common_shift(ratio[in_shift])
    processes = np.where(floors.processes >= FEWEST_PROCESSES, floors.processes, 0)
    noise = np.fmax(base_u, new_u)
    return _Figures(
        base_s=base_low,
        new_s=new_low,
        ratio=ratio,
        low=low,
        high=high,
        noise=noise,
        threshold=threshold,
        q=q_values(p_values(floors.base, floors.new / common.ratio, processes, 1 + threshold)),
        processes=floors.processes,
        blocks=floors.blocks,
        longer=_longer(floors, noise, threshold),
        common=common,
        others=others,
        referred=referred,
    )


def _extremes(floors: Floats) -> tuple[Floats, Floats, Floats]:
    """The lowest and the highest process floor of each case, and u, the median over the lowest; NaN without any."""
    ordered = np.sort(floors, axis=1)  # NaN last
    processes = np.isfinite(ordered).sum(axis=1)
    if not ordered.shape[1]:
        nothing = np.full(len(floors), np.nan)
        return nothing, nothing, nothing
    rows, last = np.arange(len(ordered)), np.maximum(processes - 1, 0)
    lowest, highest = ordered[:, 0], ordered[rows, last]
    median = (ordered[rows, last // 2] + ordered[rows, (last + 1) // 2]) / 2
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return lowest, highest, median / lowest


def _longer(floors: ProcessFloors, noise: Floats, threshold: Floats) -> float:
    """How many times as many blocks per process are needed to judge half of the cases.

    If each block is quiet with probability q, a process of r blocks has a quiet one with probability 1 - (1 - q)^r.
    This is set to `QUIET_CHANCE`. Neighbouring blocks are not independent, so the result is a lower limit.
    """
    if not len(noise):
        return 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        wanted = np.log(1 - QUIET_CHANCE) / np.log1p(-np.minimum(floors.near, 1 - 1e-9))
        factor = np.fmax(wanted * floors.processes / floors.blocks, 1.0)
    needed = np.where(noise <= _most_noise(threshold), 1.0, factor)
    return float(np.sort(needed)[(len(needed) - 1) // 2])


def _judge(pairs: Sequence[tuple[Result, Result]], figures: _Figures) -> list[Judgment]:
    """The judgment of every pair, with causes for those that changed."""
    is_sensitive = figures.is_sensitive
    beyond, moved = figures.own > figures.limit, _moved(figures.ratio) > figures.limit
    plain = is_sensitive & (figures.processes >= FEWEST_PROCESSES) & ~beyond & ~moved & np.isfinite(figures.ratio)
    if figures.referred is not None and figures.referred.is_machine:
        plain[:] = False
    ruled = [(Verdict.UNCHANGED, "")] * len(pairs)
    for place in np.flatnonzero(~plain).tolist():
        flags = {"beyond": beyond[place], "moved": moved[place], "is_sensitive": is_sensitive[place]}
        ruled[place] = _rule(figures, place, **{name: bool(flag) for name, flag in flags.items()})
    _agree(figures, ruled)
    changed = [i for i, (verdict, _) in enumerate(ruled) if verdict in (Verdict.REGRESSED, Verdict.IMPROVED)]
    causes = dict(zip(changed, causes_of([pairs[i] for i in changed]), strict=True))
    names = ("base_s", "new_s", "ratio", "low", "high", "noise", "threshold", "q", "processes", "blocks")
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


#: The verdicts of cases that can be judged, as the sign of their move.
_SIGNS = {Verdict.REGRESSED: 1, Verdict.UNCHANGED: 0, Verdict.IMPROVED: -1}


def _agree(figures: _Figures, ruled: list[tuple[Verdict, str]]) -> None:
    """Make cases inconclusive whose references give another verdict than the common shift."""
    referred = figures.referred
    if referred is None:
        return
    signs = np.array([_SIGNS.get(verdict, np.nan) for verdict, _ in ruled])
    other = figures.reference_signs
    for place in np.flatnonzero(np.isfinite(signs) & np.isfinite(other) & (signs != other)).tolist():
        own = units.change(float(figures.ratio[place] / referred.ratio[place]))
        reason = f"{own} without the move of its reference layers, which gives another verdict: use ab"
        ruled[place] = (Verdict.INCONCLUSIVE, reason)


def _rule(figures: _Figures, place: int, *, beyond: bool, moved: bool, is_sensitive: bool) -> tuple[Verdict, str]:
    """The verdict of a case that is not simply unchanged, and the reason.

    It moved `beyond` threshold and noise without the common shift; it `moved` so as measured.
    """
    ratio, noise = float(figures.ratio[place]), float(figures.noise[place])
    if not (math.isfinite(ratio) and ratio > 0):
        return Verdict.NOT_JUDGED, "no time to compare"
    if figures.processes[place] < FEWEST_PROCESSES:
        return Verdict.INCONCLUSIVE, "one process on a side cannot separate a change from noise: measure more processes"
    if noise > MOST_NOISE or not (beyond or is_sensitive):
        apart = units.percent(noise - 1)
        return Verdict.INCONCLUSIVE, f"half of a side's processes are {apart} or more over its floor: use ab"
    common = figures.common
    if figures.is_machine:
        return Verdict.INCONCLUSIVE, f"{figures.as_on_another}, as on another machine: use ab"
    shared = f"the common shift of {figures.others}, {units.change(common.ratio)}"
    own = f"{units.change(ratio / common.ratio)} without {shared}"
    if not beyond:
        return Verdict.UNCHANGED, own
    is_explained = is_reported(common.ratio) or not moved
    return (Verdict.REGRESSED if ratio > common.ratio else Verdict.IMPROVED), own if is_explained else ""
