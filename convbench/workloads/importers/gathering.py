"""A reader's findings -> a workload, with memory for what differs alone: a log may hold one line a million times."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from convbench import units
from convbench.model.case import Case
from convbench.workloads.importers.layers import Found, Layer, Steps
from convbench.workloads.workload import Refused, Workload

#: How many places are kept of what was refused for one reason.
MOST_PLACES = 10
#: How many different reasons are kept; later ones are one reason.
MOST_REASONS = 200
OTHER_REASONS = "another reason"
#: How many layers the description of a sweep names.
MOST_NAMED = 5


@dataclass(slots=True)
class _Total:
    """How often a layer occurs, and its time; None where the file has none."""

    count: int = 0
    seconds: float | None = None

    def add(self, one: Layer) -> None:
        self.count += one.count
        if one.seconds is not None:
            self.seconds = (self.seconds or 0.0) + one.seconds


@dataclass(slots=True)
class _Refusals:
    """What was refused for one reason: the first places, and how often it occurs behind them."""

    first: list[Refused] = field(default_factory=list)
    later: int = 0

    def add(self, one: Refused) -> None:
        if len(self.first) < MOST_PLACES:
            self.first.append(one)
        else:
            self.later += one.count


def workload(found: Iterable[Found], *, name: str, source: str, subject: str) -> Workload:
    """The workload of a reader's findings. `subject` is what says the times: `the log`."""
    totals: dict[tuple[Case, str | None], _Total] = {}
    refused: dict[str, _Refusals] = {}
    notes: list[str] = []
    steps = 1
    for each in found:
        if isinstance(each, Layer):
            key = (each.case, each.case.given_label)
            total = totals.get(key)  # one look-up: to hash a case takes as long as to read a line
            if total is None:
                total = totals[key] = _Total()
            total.add(each)
        elif isinstance(each, Refused):
            reason = each.reason if each.reason in refused or len(refused) < MOST_REASONS else OTHER_REASONS
            refused.setdefault(reason, _Refusals()).add(replace(each, reason=reason))
        elif isinstance(each, Steps):
            steps = each.count
        elif each.text not in notes:
            notes.append(each.text)
    if steps > 1:
        divides = all(total.count % steps == 0 for total in totals.values())
        notes.append(_about_steps(steps, divides=divides))
        steps = steps if divides else 1
    timed = _timed(totals)
    return Workload(
        name=name,
        source=source,
        cases=tuple(
            replace(case, given_label=label, count=total.count // steps) for (case, label), total in totals.items()
        ),
        refused=tuple(one for reason, some in refused.items() for one in _flat(reason, some)),
        notes=tuple(notes),
        said=tuple((case, said(subject, calls, seconds)) for case, (calls, seconds) in timed.items()),
        description=_description(subject, timed),
    )


def _timed(totals: dict[tuple[Case, str | None], _Total]) -> dict[Case, tuple[int, float]]:
    """(calls, seconds) of each case whose times the file has."""
    timed: dict[Case, tuple[int, float]] = {}
    for (case, _), total in totals.items():
        if total.seconds is not None:
            calls, seconds = timed.get(case, (0, 0.0))
            timed[case] = (calls + total.count, seconds + total.seconds)
    return timed


def _flat(reason: str, some: _Refusals) -> list[Refused]:
    later = Refused(place=f"behind {some.first[-1].place}", reason=reason, count=some.later)
    return [*some.first, *([later] if some.later else [])]


def said(subject: str, calls: int, seconds: float) -> str:
    """`the log says 12.3 ms each, 53 calls`."""
    return f"{subject} says {units.seconds(seconds / calls)} each, {units.plural(calls, 'call')}"


def _about_steps(steps: int, *, divides: bool) -> str:
    held = f"the file holds {units.count(steps)} steps"
    return f"{held}; counts are those of one step" if divides else f"{held} that differ; counts are those of all steps"


def _description(subject: str, timed: dict[Case, tuple[int, float]]) -> str:
    """What the file says of the times, for the report: the sum, and the layers that take the most."""
    total = sum(seconds for _, seconds in timed.values())
    if not total:
        return ""
    number = sum(calls for calls, _ in timed.values())
    most = sorted(timed, key=lambda case: -timed[case][1])[:MOST_NAMED]
    named = "; ".join(
        f"{units.percent(timed[case][1] / total)} {replace(case, given_label=None).label}" for case in most
    )
    whole = f"{units.seconds(total)} in {units.plural(number, 'call')} of convolutions"
    return f"{subject[0].upper()}{subject[1:]} says {whole}. The most costly: {named}."
