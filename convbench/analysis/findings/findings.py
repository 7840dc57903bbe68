"""The findings on a run as plain sentences, the most important first. Pure: from results to sentences.

A new finding is one function and one line in `findings`. Findings about times compare matched pairs over equal numbers
of blocks. The difference exceeds the spread of both sides (pairs.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from convbench.analysis.findings import best, cliffs, compiling, effects, launches, limits, network, trouble
from convbench.analysis.findings.answering import answering
from convbench.analysis.findings.answers import Answers, answers
from convbench.analysis.findings.contrasts import Contrast, contrasts
from convbench.analysis.findings.evidence import Evidence, evidence
from convbench.analysis.findings.finding import Finding, FindingKind, Weight, with_details
from convbench.analysis.findings.layers import Way, networks
from convbench.analysis.findings.trouble import NOISY_RATIO, Trust, noise_sentence, trust
from convbench.analysis.table.columns import Rows
from convbench.analysis.table.frame import frame
from convbench.model.result import Run

__all__ = [
    "NOISY_RATIO",
    "Examined",
    "Finding",
    "FindingKind",
    "Trust",
    "Weight",
    "examined",
    "findings",
    "news",
    "noise_sentence",
    "trust",
    "with_details",
]


@dataclass(frozen=True, kw_only=True, eq=False)
class Examined:
    """The rows, the frame and the findings of a run, computed once for all reports on it."""

    rows: Rows
    table: pd.DataFrame
    evidence: Evidence
    networks: tuple[list[Way], ...]
    answers: tuple[Answers, ...]
    findings: tuple[Finding, ...]

    @property
    def sentences(self) -> list[str]:
        """The findings' sentences, the most important first, each before those of its details."""
        return [finding.sentence for finding in with_details(self.findings)]

    @property
    def news(self) -> list[str]:
        """The sentences for a list of many runs: see `news`."""
        return news(self.findings)

    @cached_property
    def contrasts(self) -> tuple[Contrast, ...]:
        """The pairs that prove the findings."""
        return contrasts(self.evidence, with_details(self.findings))


def examined(run: Run) -> Examined:
    """The rows, the frame and the findings of a run."""
    rows = Rows(run)
    table = frame(run, rows=rows)
    known = evidence(run, table, rows)
    ways = networks(known)
    found = answers(known, ways)
    return Examined(
        rows=rows,
        table=table,
        evidence=known,
        networks=tuple(ways),
        answers=found,
        findings=tuple(_found(known, ways, found)),
    )


#: Findings that every run has.
_USUAL = (FindingKind.RIGHT, FindingKind.RATE)


def news(found: Sequence[Finding]) -> list[str]:
    """The sentences of the findings without their details, and without what every run says of itself."""
    return [finding.sentence for finding in found if finding.kind not in _USUAL]


def findings(run: Run, table: pd.DataFrame | None = None, *, rows: Rows | None = None) -> list[Finding]:
    """All findings, the most important first. The order of the cases does not change them.

    `table` is the run's frame and `rows` its rows, where the caller has them.
    """
    rows = Rows(run) if rows is None else rows
    known = evidence(run, frame(run, rows=rows) if table is None else table, rows)
    ways = networks(known)
    return _found(known, ways, answers(known, ways))


def _found(known: Evidence, ways: Sequence[list[Way]], answered: Sequence[Answers]) -> list[Finding]:
    steps = cliffs.cliffs(known)
    found = [
        *trouble.wrong(known),
        *trouble.inaccurate(known),
        *trouble.unmeasured(known),
        *answering(answered),
        *network.network(ways),
        *best.best(known, effects.execution(known), {axis for each in answered for axis in each.axes}),
        *compiling.paid_for_itself(known),
        *effects.too_many_threads(known),
        *limits.allocator(known),
        *launches.launch_bound(known),
        *steps,
        *limits.far_from_roof(known),
        *effects.directions(known),
        *(finding for finding in effects.work(known) if not any(_covers(step, finding) for step in steps)),
        *effects.other_code(known),
        *trouble.noise(known),
        *trouble.notes(known),
    ]
    return sorted(found, key=lambda finding: (finding.weight, -finding.importance))


def _covers(step: Finding, finding: Finding) -> bool:
    """Whether a cliff already reports what a finding reports of the same cases."""
    return step.axis == finding.axis and set(finding.cases) <= set(step.cases)
