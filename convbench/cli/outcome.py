"""Output for CI: a summary in Markdown, JUnit XML, and the exit code.

All verbs that measure or compare share these options.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convbench.cli import exits
from convbench.errors import ExitCode
from convbench.store.files import check_writable, write_bytes

if TYPE_CHECKING:
    from convbench.analysis.campaign.comparing import CampaignComparison
    from convbench.analysis.comparison.judgment import Comparison
    from convbench.model.result import Run

SummaryFile = Annotated[
    Path | None,
    typer.Option("--summary", metavar="FILE", help="Write a Markdown summary of at most 60,000 characters."),
]
JunitFile = Annotated[
    Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML with one test per case.")
]
_FAIL_ON_HELP = "Reasons for an exit code other than 0, separated by commas: {}; or none. [default: all]"
FailOnList = Annotated[
    str | None, typer.Option("--fail-on", metavar="LIST", help=_FAIL_ON_HELP.format(", ".join(exits.FailOn)))
]

#: GitHub's variable for the file that a step's summary is appended to.
STEP_SUMMARY = "GITHUB_STEP_SUMMARY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The requested CI output. It is validated before measuring, so that a typo does not waste a measurement."""

    summary: Path | None
    junit: Path | None
    counted: frozenset[exits.FailOn]

    @classmethod
    def asked(cls, summary: Path | None, junit: Path | None, fail_on: str | None) -> Outcome:
        """The options of a verb; raises RequestError for an unknown word of `--fail-on`, or a path it cannot write."""
        for path in (summary, junit):
            if path is not None:
                check_writable(path)
        return cls(summary=summary, junit=junit, counted=exits.parsed_fail_on(fail_on))

    def of_comparison(self, comparison: Comparison) -> ExitCode:
        """Write the requested files and return the exit code. Raises RequestError where a file cannot be written."""
        if self.summary is not None:
            from convbench.report.text.summary import comparison_summary

            _write(self.summary, comparison_summary(comparison))
        if self.junit is not None:
            from convbench.report.export import comparison_to_junit

            write_bytes(self.junit, comparison_to_junit(comparison))
        return exits.of_comparison(comparison, self.counted)

    def of_campaigns(self, found: CampaignComparison) -> ExitCode:
        """The same for two campaigns: the worst exit code of all machines, and files with a part for each."""
        compared = [(one.name, one.compared.comparison) for one in found.machines if one.compared is not None]
        if self.summary is not None:
            from convbench.report.text.campaign_comparison import campaign_summary

            _write(self.summary, campaign_summary(found))
        if self.junit is not None:
            from convbench.report.export import comparisons_to_junit

            write_bytes(self.junit, comparisons_to_junit(compared))
        codes = [exits.of_comparison(comparison, self.counted) for _, comparison in compared]
        return exits.worst([*codes, *(ExitCode.NOT_COMPARABLE for one in found.machines if one.compared is None)])

    def of_run(self, run: Run, findings: Sequence[str] = ()) -> ExitCode:
        """The same for a single run; `findings` are its sentences, the most important first."""
        if self.summary is not None:
            from convbench.report.text.summary import run_summary

            _write(self.summary, run_summary(run, findings))
        if self.junit is not None:
            from convbench.report.export import to_junit

            write_bytes(self.junit, to_junit(run))
        return exits.of_run(run, self.counted)


def _write(path: Path, text: str) -> None:
    """Write a file, replacing an old one. GitHub's file for step summaries is appended to: a step may write several."""
    named = os.environ.get(STEP_SUMMARY)
    before = b""
    if named and path.is_file() and Path(named).is_file() and path.samefile(named):
        before = path.read_bytes()
    write_bytes(path, before + text.encode("utf-8", errors="backslashreplace"))
