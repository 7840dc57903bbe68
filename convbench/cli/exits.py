"""Which exit code of the contract applies: the first that does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convbench.errors import ExitCode

if TYPE_CHECKING:
    from convbench.analysis.comparison import Comparison
    from convbench.result import Run


def of_run(run: Run) -> ExitCode:
    """The first exit code of the contract that applies to a measured run."""
    from convbench.result import UNMEASURED, Status

    statuses = {result.status for result in run.results}
    if Status.FAILED in statuses:
        return ExitCode.FAILED_OR_REGRESSED
    return ExitCode.NOT_MEASURED if statuses & UNMEASURED else ExitCode.DONE


def of_comparison(comparison: Comparison) -> ExitCode:
    """The first exit code of the contract that applies to two runs that were compared."""
    from convbench.analysis.comparison import Verdict
    from convbench.result import UNMEASURED, Status

    statuses = {judgment.new_status for judgment in comparison.judgments}
    if Status.FAILED in statuses or comparison.verdict is Verdict.REGRESSED:
        return ExitCode.FAILED_OR_REGRESSED
    if statuses & UNMEASURED:
        return ExitCode.NOT_MEASURED
    return ExitCode.TOO_NOISY if comparison.verdict is Verdict.INCONCLUSIVE else ExitCode.DONE
