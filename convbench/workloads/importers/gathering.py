"""A reader's findings -> a workload, with memory for what differs alone: a log may hold one line a million times."""

from __future__ import annotations

from collections import Counter
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
class _Refusals:
    """What was refused for one reason: the first places, and how often it occurs elsewhere."""

    first: list[Refused] = field(default_factory=list)
    more: Counter[str] = field(default_factory=Counter)

    def add(self, one: Refused) -> None:
        if len(self.first) < MOST_PLACES:
            self.first.append(one)
        else:
            self.more["later"] += one.count


def workload(found: Iterable[Found], *, name: str, source: str, subject: str) -> Workload:
    """The workload of a reader's findings. `subject` is what says the times: `the log`."""
    counts: Counter[tuple[Case, str | None]] = Counter()
    calls: Counter[Case] = Counter()
    seconds: dict[Case, float] = {}
    refused: dict[str, _Refusals] = {}
    notes: list[str] = []
    steps = 1
    for each in found:
        if isinstance(each, Layer):
            counts[each.case, each.case.given_label] += each.count
            calls[each.case] += each.count
            if each.seconds is not None:
                seconds[each.case] = seconds.get(each.case, 0.0) + each.seconds
        elif isinstance(each, Refused):
            reason = each.reason if each.reason in refused or len(refused) < MOST_REASONS else OTHER_REASONS
            refused.setdefault(reason, _Refusals()).add(replace(each, reason=reason))
        elif isinstance(each, Steps):
            steps = each.count
        elif each.text not in notes:
            notes.append(each.text)
    if steps > 1:
        divides = all(count % steps == 0 for count in counts.values())
        notes.append(_about_steps(steps, divides=divides))
        steps = steps if divides else 1
    return Workload(
        name=name,
        source=source,
        cases=tuple(replace(case, given_label=label, count=n // steps) for (case, label), n in counts.items()),
        refused=tuple(one for reason, some in refused.items() for one in _flat(reason, some)),
        notes=tuple(notes),
        said=tuple((case, said(subject, calls[case], time)) for case, time in seconds.items()),
        description=_description(subject, calls, seconds),
    )


def _flat(reason: str, some: _Refusals) -> list[Refused]:
    return [*some.first, *(Refused(place=place, reason=reason, count=count) for place, count in some.more.items())]


def said(subject: str, calls: int, seconds: float) -> str:
    """`the log says 12.3 ms each, 53 calls`."""
    return f"{subject} says {units.seconds(seconds / calls)} each, {units.plural(calls, 'call')}"


def _about_steps(steps: int, *, divides: bool) -> str:
    held = f"the file holds {units.count(steps)} steps"
    return f"{held}; counts are those of one step" if divides else f"{held} that differ; counts are those of all steps"


def _description(subject: str, calls: Counter[Case], seconds: dict[Case, float]) -> str:
    """What the file says of the times, for the report: the sum, and the layers that take the most."""
    total = sum(seconds.values())
    if not total:
        return ""
    number = sum(calls[case] for case in seconds)
    most = sorted(seconds, key=lambda case: -seconds[case])[:MOST_NAMED]
    named = "; ".join(
        f"{units.percent(seconds[case] / total)} {replace(case, given_label=None).label}" for case in most
    )
    whole = f"{units.seconds(total)} in {units.plural(number, 'call')} of convolutions"
    return f"{subject[0].upper()}{subject[1:]} says {whole}. The most costly: {named}."
