"""What changed between two networks, or in one: the sums over all layers, and layers of other shapes. Pure.

Equal cases have a judgment each (comparison.py). The sums take the times and intervals of these judgments, over equal
numbers of blocks. All other cases have their own times, and the noise of these.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from convbench.analysis.comparison.judgment import Comparison, Verdict
from convbench.analysis.comparison.matching import by_path, without_part
from convbench.analysis.comparison.sums import BY_PATH, Alone, NetworkChange, Recounted, Reshaped, Sum
from convbench.analysis.findings.answering import left_out_text
from convbench.analysis.findings.answers import known, usual_of
from convbench.analysis.findings.evidence import evidence
from convbench.analysis.findings.layers import Way, networks, setting_name
from convbench.analysis.findings.network import missing_text
from convbench.analysis.network.parts import Part, often
from convbench.analysis.table.columns import Rows
from convbench.analysis.table.frame import frame
from convbench.model.case import Case, setting
from convbench.model.result import Run

#: How far two numbers of FLOPs of the same layers lie apart at most. Shares count taps on padding, and are rounded.
SAME_WORK, ROUNDED = 0.02, 1e-4


def with_networks(comparison: Comparison, base: Run, new: Run) -> Comparison:
    """The comparison with what changed between the networks of both runs; unchanged where either is none.

    Cases that are matched by path keep their verdict, that nothing is judged, and their reason says it.
    """
    if not (_has_layers(base) and _has_layers(new)):
        return comparison
    judged = [judgment for judgment in comparison.judgments if math.isfinite(judgment.ratio)]
    before = _Side(base, {one.case.id: _Time(one.base_s, one.base_s, one.base_s) for one in judged})
    after = _Side(new, {one.case.id: _Time(one.new_s, one.base_s * one.low, one.base_s * one.high) for one in judged})
    if not (before.ways and after.ways):
        return comparison
    pairs = by_path([*before.cases.values()], [*after.cases.values()])
    equal = before.cases.keys() & after.cases.keys()
    matched = {case for pair in pairs for case in pair if case.id not in equal}
    judgments = tuple(
        replace(judgment, reason=BY_PATH)
        if judgment.verdict is Verdict.NOT_JUDGED and judgment.case in matched
        else judgment
        for judgment in comparison.judgments
    )
    found = NetworkChange(
        sums=tuple(_sums(before, after)),
        reshaped=tuple(
            Reshaped(base=first, new=second, base_s=before.times[first.id].s, new_s=after.times[second.id].s)
            for first, second in pairs
        ),
        recounted=tuple(_recounted(before, after, pairs)),
        only_base=before.alone(after, [first for first, _ in pairs]),
        only_new=after.alone(before, [second for _, second in pairs]),
    )
    return replace(comparison, judgments=judgments, network=found)


def _has_layers(run: Run) -> bool:
    """Whether a run may be of a network, found without its table: some cases have labels or occur several times."""
    return any(case.given_label or case.count > 1 for case in _cases(run))


def _cases(run: Run) -> list[Case]:
    return [*(result.case for result in run.results), *run.unmeasured]


class _Time(NamedTuple):
    """The seconds of one iteration, and between which they may lie."""

    s: float
    low: float
    high: float


class _Side:
    """The cases, times and ways of one run; `judged` are the times of cases that both runs have, by id."""

    def __init__(self, run: Run, judged: Mapping[str, _Time]) -> None:
        rows = Rows(run)
        known = evidence(run, frame(run, rows=rows), rows)
        self.cases = {case.id: case for case in rows.cases}
        noise = dict(zip(known.table["case_id"], known.bound.tolist(), strict=True))
        self.times = {
            name: judged.get(name, _Time(s, s / (1 + noise[name]), s * (1 + noise[name])))
            for name, s in zip(self.cases, rows.estimates.time_s.tolist(), strict=True)
        }
        ways = [way for found in networks(known) for way in found]
        self.ways = sorted(ways, key=lambda way: min(layer.place for layer in way.layers))
        self._crossed = known.written.crossed
        self._left_out = known.written.left_out
        self._work = sum(case.flops * case.count for case in self.cases.values()) / max(1, len(self.ways))
        self._fixed: dict[str, set[object]] = {}
        for layer in (layer for way in self.ways for layer in way.layers):
            for direction in layer.time_s:
                layer.time_s[direction] = self.times[layer.ids[direction]].s

    def values(self, way: Way) -> dict[str, object]:
        """The settings of a way by name, those that make the network among them."""
        return dict(zip(self._crossed, way.network, strict=True)) | way.settings

    def fixed(self, axis: str) -> set[object]:
        """The values of a setting that was not swept."""
        if axis not in self._fixed:
            self._fixed[axis] = {setting(case, axis) for case in self.cases.values()}
        return self._fixed[axis]

    def span(self, way: Way, part: Part) -> tuple[float, float]:
        """Between which seconds the part of a way may lie, without the layers that have no time."""
        timed = [
            (self.times[layer.ids[each]], count)
            for layer in way.layers
            if math.isfinite(layer.of(part))
            for each, count in often(part, layer.counts).items()
        ]
        return sum(time.low * count for time, count in timed), sum(time.high * count for time, count in timed)

    def lacks(self, way: Way) -> str:
        """What a sum leaves out: layers without a time, and convolutions of the network that are no cases."""
        return "; ".join(filter(None, [missing_text(way.layers), left_out_text(self._left_out)]))

    def leaves_out_as(self, other: _Side) -> bool:
        """Whether both networks leave out the same convolutions: as many, for the same reasons, with the same work.

        A change elsewhere in a network changes the share of the work that they are, and not their work.
        """
        if self._left_out == other._left_out:
            return True
        mine, theirs = ([(each.count, each.reason) for each in side._left_out] for side in (self, other))
        if mine != theirs:
            return False
        least = ROUNDED * max(self._work, other._work)
        works = zip(self._left_out_work(), other._left_out_work(), strict=True)
        return all(math.isclose(*pair, rel_tol=SAME_WORK, abs_tol=least) for pair in works)

    def _left_out_work(self) -> list[float]:
        """The FLOPs of what one way leaves out, for each reason; NaN where a share is unknown."""
        shares = [math.nan if each.work is None else each.work for each in self._left_out]
        measured = 1.0 - sum(shares)
        return [share / measured * self._work if measured > 0 else math.nan for share in shares]

    def alone(self, other: _Side, matched: Sequence[Case]) -> tuple[Alone, ...]:
        """The cases that the other side lacks, without the parts that are matched; those that take most first."""
        parts = _by_case(matched)
        found = [
            Alone(case=left, seconds=self.times[name].s * left.count)
            for name, case in self.cases.items()
            if name not in other.cases and (left := without_part(case, parts.get(case, []))) is not None
        ]
        return tuple(sorted(found, key=lambda each: -each.seconds if math.isfinite(each.seconds) else math.inf))


def _recounted(before: _Side, after: _Side, pairs: Sequence[tuple[Case, Case]]) -> Iterator[Recounted]:
    """The equal cases whose number changed by more than what is matched by path."""
    gone, come = (_by_case(side) for side in zip(*pairs, strict=True)) if pairs else ({}, {})
    for name, case in after.cases.items():
        if name in before.cases:
            was = before.cases[name].count
            explained = sum(part.count for part in come.get(case, [])) - sum(part.count for part in gone.get(case, []))
            if case.count != was + explained:
                yield Recounted(case=case, before=was, after=case.count)


def _by_case(parts: Iterable[Case]) -> dict[Case, list[Case]]:
    """The parts of each case."""
    found: dict[Case, list[Case]] = {}
    for part in parts:
        found.setdefault(part, []).append(part)
    return found


def _sums(before: _Side, after: _Side) -> list[Sum]:
    """The sums of every part of the ways with equal settings; where there are none, of those with the usual ones."""
    pairs = [(first, second) for first in before.ways for second in after.ways if _agree(before, first, after, second)]
    pairs = pairs or [(usual_of(before.ways), usual_of(after.ways))]
    found = []
    for first, second in pairs:
        named = {**before.values(first), **after.values(second)}
        name = " ".join(setting_name(axis, value) for axis, value in named.items()) if len(pairs) > 1 else ""
        for part in Part:
            sums = [_seconds(way, part) for way in (first, second)]
            if all(map(math.isfinite, sums)):
                lacks = [side.lacks(way) for side, way in ((before, first), (after, second))]
                (shortest, longest), (soonest, latest) = before.span(first, part), after.span(second, part)
                found.append(
                    Sum(
                        part=part,
                        name=name,
                        base_s=sums[0],
                        new_s=sums[1],
                        low=soonest / longest,
                        high=latest / shortest,
                        base_lacks=lacks[0],
                        new_lacks=lacks[1],
                        lack_alike=missing_text(first.layers) == missing_text(second.layers)
                        and before.leaves_out_as(after),
                    )
                )
    return found


def _seconds(way: Way, part: Part) -> float:
    """The time of a part without the layers that have none; NaN where it was not measured."""
    measured = any(often(part, layer.counts) for layer in way.layers) and (part is Part.FORWARD or way.is_trained)
    return (known(way, part) or math.nan) if measured else math.nan


def _agree(before: _Side, first: Way, after: _Side, second: Way) -> bool:
    """Whether two ways have the same settings, of those that either run swept."""
    sides = before.values(first), after.values(second)
    return all(_value(sides[0], before, axis) & _value(sides[1], after, axis) for axis in {**sides[0], **sides[1]})


def _value(values: Mapping[str, object], side: _Side, axis: str) -> set[object]:
    return {values[axis]} if axis in values else side.fixed(axis)
