"""The convolutions of a network or of a list of shapes: each one a case, or refused with a reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from convbench.model.case import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """What a workload contains that no case can describe.

    `place` is `line 12` of a file or the path of a module. Equal kinds have one `reason`, so that they can be counted.
    `work` is its share of the work of the whole workload, from 0 to 1; None where that is unknown. `is_backward` is
    whether it is the backward pass of a convolution.
    """

    place: str
    reason: str
    count: int = 1
    work: float | None = None
    is_backward: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What was read from one network or one file, in the order in which it was found.

    `source` says in one line where it comes from. `cases` are as they were found, and equal ones may occur again. Each
    has its count and its label, which is the path of the module or the name in the file. `notes` are what a reader of
    the sweep should know beside the reasons of `refused`. `said` is what the source says about single cases, such as
    times, and `description` what it says about all of them.
    """

    name: str
    source: str
    cases: tuple[Case, ...]
    refused: tuple[Refused, ...] = ()
    notes: tuple[str, ...] = ()
    said: tuple[tuple[Case, str], ...] = ()
    description: str = ""

    @property
    def read(self) -> int:
        """How many convolutions were found: those that became cases, and those that were refused."""
        return sum(case.count for case in self.cases) + sum(each.count for each in self.refused)

    @property
    def distinct(self) -> int:
        """How many different cases there are."""
        return len(set(self.cases))

    @property
    def reasons(self) -> dict[str, int]:
        """How often each reason to refuse occurs, the most frequent first."""
        found: Counter[str] = Counter()
        for each in self.refused:
            found[each.reason] += each.count
        return dict(found.most_common())


def folded(cases: Iterable[Case]) -> dict[Case, list[str]]:
    """The distinct cases in order, with the labels of all their occurrences; each has the first label and the sum.

    Where there are several labels, the case has them too.
    """
    labels: dict[Case, dict[str, None]] = {}
    counts: Counter[Case] = Counter()
    for case in cases:
        found = labels.setdefault(case, {})
        named = case.labels or ((case.given_label,) if case.given_label else ())
        found.update(dict.fromkeys(named))
        counts[case] += case.count
    return {
        replace(
            case,
            given_label=next(iter(found), None),
            labels=tuple(found) if len(found) > 1 else (),
            count=counts[case],
        ): list(found)
        for case, found in labels.items()
    }
