"""What changed between two runs: a judgment per case, groups of changes, one verdict for all. Pure.

The procedure compares each case over equal numbers of processes and blocks (measure/alike.py):

- F is the leading time of a side (model/lead.py): its floor, or its median on a device. Its interval is that of
  judgment.py.
- s is the common shift: the ratio by which half of all cases moved together (common_shift.py).
- r is the move of the case's reference layers (reference_shift.py), where both runs have them and the same torch.

A case is flagged where |ln(F_new / F_base / s)| exceeds ln(1 + threshold), and where its interval excludes both 1 and
s. It needs `FEWEST_PROCESSES` processes a side. Otherwise it is inconclusive if it moved as far, or if a change of
`MOST_UNSEEN` thresholds would not have been seen. It is inconclusive too where r in place of s gives another verdict.
bench/same_code.py counts how often this errs (docs/decisions.md).
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
from convbench.analysis.comparison.comparability import differences, probes
from convbench.analysis.comparison.judgment import MOST_UNSEEN, Comparison, Judgment, Verdict, side_of, verdict_of_all
from convbench.analysis.comparison.matching import by_path
from convbench.analysis.comparison.reference_shift import ReferenceShift, reference_shift
from convbench.errors import NotComparableError
from convbench.measure import estimate
from convbench.measure.alike import ProcessTimes, process_times
from convbench.measure.references import levels
from convbench.measure.significance import p_values, q_values, ratios
from convbench.model.case import Case
from convbench.model.instances import instances
from convbench.model.references import same_speed
from convbench.model.result import Result, Run, Status
from convbench.model.threshold import FEWEST_PROCESSES, Thresholds

Floats = estimate.Floats

#: In a run that is long enough, a process has a quiet block with this probability. Then the median process nearly
#: always has one.
QUIET_CHANCE = 0.75


def compare(
    base: Run, new: Run, thresholds: Thresholds | None = None, *, controls: Collection[Case] | None = None
) -> Comparison:
    """What changed from `base` to `new`. `thresholds` are the new sweep's, or the defaults.

    Where the other cases were chosen because they moved, the common shift is estimated from the `controls` alone.
    Runs on different environments are compared too: see `Comparison.comparable`. Raises NotComparableError where the
    runs have no case in common, and no label either by which networks are matched.
    """
    found = _side_by_side(base, new)
    if not any(first is not _ABSENT and second is not _ABSENT for _, first, second in found) and not by_path(
        [case for case, first, _ in found if first is not _ABSENT],
        [case for case, _, second in found if second is not _ABSENT],
    ):
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
        estimate.table(first for first, _ in pairs.values()),
        estimate.table(second for _, second in pairs.values()),
    )
    l2_bytes = smaller(base.environment.l2_bytes, new.environment.l2_bytes)
    threshold_of = (thresholds or Thresholds()).of
    limits = [threshold_of(second.case, l2_bytes) for _, second in pairs.values()]
    precision = max(base.measure.precision, new.measure.precision)
    in_shift = np.ones(len(pairs), dtype=bool)
    if controls is not None:
        in_shift[:] = [second.case in controls for _, second in pairs.values()]
    others = "all cases" if controls is None else "the controls"
    times = process_times(*tables)
    referred = None
    if controls is None and _have_equal_references(base, new):
        cases = [second.case for _, second in pairs.values()]
        # Over the blocks that the times are over, and the same figure of them.
        sides = [
            levels(table, cases, run.processes, l2_bytes, quantile=0.0, used=used)
            for table, run, used in zip(tables, (base, new), times.used, strict=True)
        ]
        referred = reference_shift(*sides)
    # The probe of another processor or torch is another piece of work, and controls show the machine better.
    has_probes = referred is None and controls is None and same_speed(base.environment) == same_speed(new.environment)
    probed = probes([second.case for _, second in pairs.values()], *tables) if has_probes else ()
    figures = _figures(
        times,
        np.array(limits, dtype=np.float64),
        precision=precision,
        in_shift=in_shift,
        others=others,
        referred=referred,
        probed=str(probed[0]) if probed else "",
    )
    judgments |= zip(pairs, _judge(list(pairs.values()), figures), strict=True)
    whole = tuple(judgments[place] for place in range(len(found)))
    return Comparison(
        base=side_of(base),
        new=side_of(new),
        judgments=whole,
        differences=differences(base, new, list(pairs.values()), probed),
        groups=groups_of(whole),
        verdict=verdict_of_all(whole, len(pairs) + awaited, is_machine=bool(figures.machine)),
        moved=figures.common.moved,
        machine=figures.machine,
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
    threshold: Floats
    q: Floats
    processes: estimate.Integers
    blocks: estimate.Integers
    times: ProcessTimes
    common: CommonShift
    others: str  # the cases that the common shift is estimated from, in words
    referred: ReferenceShift | None
    probed: str  # the probe that differs, in words

    @property
    def machine(self) -> str:
        """What moved too far for one machine, in words; "" where nothing did."""
        if self.referred is not None and self.referred.is_machine:
            apart = units.percent(self.referred.disagreement)
            return f"the moves of the reference layers differ by up to {apart} from their middle"
        if self.common.is_machine:
            return f"half of {self.others} moved by about {units.percent(self.common.moved)}"
        return self.probed

    def signs(self, shift: float | Floats) -> tuple[Floats, Floats]:
        """How each case moved beside `shift`: 1 slower, -1 faster, 0 within the threshold; and where that is certain.

        The second is 0 where the interval holds the shift.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            own = np.log(self.ratio / shift)
            signs: Floats = np.sign(own) * (np.abs(own) > np.log1p(self.threshold) * (1 + ROUNDING))
            excludes = np.where(signs > 0, self.low > shift, self.high < shift)
        return signs, np.where(excludes, signs, 0)

    @property
    def flags(self) -> Floats:
        """The direction of each case that changed, 0 of others: certain without the common shift and as measured."""
        _, certain = self.signs(self.common.ratio)
        excludes = np.where(certain > 0, self.low > 1, self.high < 1)
        return np.where(excludes & (self.processes >= FEWEST_PROCESSES), certain, 0)

    @property
    def unseen(self) -> Floats:
        """The largest change either way whose interval would have held no change or the common shift, as a ratio."""
        shift = max(self.common.ratio, 1 / self.common.ratio)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.maximum(self.ratio / self.low, self.high / self.ratio) * shift

    def noise(self, signs: Floats) -> Floats:
        """The same; where the case is flagged, in its direction alone."""
        with np.errstate(divide="ignore", invalid="ignore"):
            flagged = np.where(signs > 0, self.ratio / self.low, self.high / self.ratio)
        return np.where(signs == 0, self.unseen, flagged)

    @property
    def is_sensitive(self) -> NDArray[np.bool_]:
        """Whether each case's interval is narrow enough to call it unchanged."""
        with np.errstate(divide="ignore", invalid="ignore"):
            narrow = np.log(self.unseen) <= MOST_UNSEEN * np.log1p(self.threshold) * (1 + ROUNDING)
        return narrow & (self.processes >= FEWEST_PROCESSES)

    @property
    def longer(self) -> float:
        """How many times as many blocks per process are needed to judge half of the cases."""
        return _longer(self.times, self.is_sensitive)


def _figures(
    times: ProcessTimes,
    threshold: Floats,
    *,
    precision: float,
    in_shift: NDArray[np.bool_],
    others: str,
    referred: ReferenceShift | None,
    probed: str,
) -> _Figures:
    found = ratios(times, precision=precision)
    common = common_shift(found.ratio[in_shift])
    processes = np.where(times.processes > 1, times.processes, 0)  # one alone has no rank
    return _Figures(
        base_s=times.base_s,
        new_s=times.new_s,
        ratio=found.ratio,
        low=found.low,
        high=found.high,
        threshold=threshold,
        q=q_values(p_values(times.base, times.new / common.ratio, processes, 1 + threshold)),
        processes=times.processes,
        blocks=times.blocks,
        times=times,
        common=common,
        others=others,
        referred=referred,
        probed=probed,
    )


def _longer(times: ProcessTimes, is_sensitive: NDArray[np.bool_]) -> float:
    """How many times as many blocks per process are needed to judge half of the cases.

    If each block is quiet with probability q, a process of r blocks has a quiet one with probability 1 - (1 - q)^r.
    This is set to `QUIET_CHANCE`. Neighbouring blocks are not independent, so the result is a lower limit.
    """
    if not len(is_sensitive):
        return 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        wanted = np.log(1 - QUIET_CHANCE) / np.log1p(-np.minimum(times.near, 1 - 1e-9))
        factor = np.fmax(wanted * times.processes / times.blocks, 1.0)
    needed = np.where(is_sensitive, 1.0, factor)
    return float(np.sort(needed)[(len(needed) - 1) // 2])


def _judge(pairs: Sequence[tuple[Result, Result]], figures: _Figures) -> list[Judgment]:
    """The judgment of every pair, with causes for those that changed."""
    (signs, _), flags = figures.signs(figures.common.ratio), figures.flags
    as_measured, _ = figures.signs(1.0)
    plain = figures.is_sensitive & np.isfinite(figures.ratio) & (signs == 0) & (as_measured == 0)
    if figures.machine:
        plain[:] = False
    ruled = [(Verdict.UNCHANGED, "")] * len(pairs)
    for place in np.flatnonzero(~plain).tolist():
        ruled[place] = _rule(figures, place, moved=bool(signs[place]), flag=int(flags[place]))
    _agree(figures, ruled)
    changed = [i for i, (verdict, _) in enumerate(ruled) if verdict in (Verdict.REGRESSED, Verdict.IMPROVED)]
    causes = dict(zip(changed, causes_of([pairs[i] for i in changed]), strict=True))
    names = ("base_s", "new_s", "ratio", "low", "high", "threshold", "q", "processes", "blocks")
    final = np.array([_SIGNS.get(verdict, 0) for verdict, _ in ruled], dtype=np.float64)
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
        noise=figures.noise(final).tolist(),
        **{name: getattr(figures, name).tolist() for name in names},
    )


#: The verdicts of cases that can be judged, as the sign of their move.
_SIGNS = {Verdict.REGRESSED: 1, Verdict.UNCHANGED: 0, Verdict.IMPROVED: -1}


def _agree(figures: _Figures, ruled: list[tuple[Verdict, str]]) -> None:
    """Make cases inconclusive whose references give another verdict than the common shift."""
    referred = figures.referred
    if referred is None:
        return
    verdicts = np.array([_SIGNS.get(verdict, np.nan) for verdict, _ in ruled])
    _, certain = figures.signs(referred.ratio)
    differs = np.isfinite(verdicts) & np.isfinite(referred.ratio) & (verdicts != certain)
    for place in np.flatnonzero(differs).tolist():
        own = units.change(float(figures.ratio[place] / referred.ratio[place]))
        reason = f"{own} without the move of its reference layers, which gives another verdict: use ab"
        ruled[place] = (Verdict.INCONCLUSIVE, reason)


def _rule(figures: _Figures, place: int, *, moved: bool, flag: int) -> tuple[Verdict, str]:
    """The verdict of a case that is not simply unchanged, and the reason.

    It `moved` beyond its threshold without the common shift; `flag` is the direction where that is certain.
    """
    ratio, processes = float(figures.ratio[place]), int(figures.processes[place])
    if not (math.isfinite(ratio) and ratio > 0):
        return Verdict.NOT_JUDGED, "no time to compare"
    if figures.machine:
        return Verdict.INCONCLUSIVE, f"{figures.machine}, as on another machine: use ab"
    if processes < FEWEST_PROCESSES:
        on = units.plural(processes, "process", "processes")
        return Verdict.INCONCLUSIVE, f"measured in {on} of each run, a judgment needs {FEWEST_PROCESSES}: use ab"
    common = figures.common
    shared = f"the common shift of {figures.others}, {units.change(common.ratio)}"
    own = f"{units.change(ratio / common.ratio)} without {shared}"
    if flag:
        is_explained = is_reported(common.ratio) or abs(math.log(ratio)) <= math.log1p(figures.threshold[place])
        return (Verdict.REGRESSED if flag > 0 else Verdict.IMPROVED), own if is_explained else ""
    if moved:
        held = "0 %" if figures.low[place] <= 1 <= figures.high[place] else "the common shift"
        return Verdict.INCONCLUSIVE, f"its interval contains {held}: use ab"
    if not figures.is_sensitive[place]:
        unseen = units.apart(float(figures.unseen[place]) - 1)
        return Verdict.INCONCLUSIVE, f"a change of up to {unseen} would not be seen: use ab"
    return Verdict.UNCHANGED, own
