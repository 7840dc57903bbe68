"""Chooses the exit code: the first in a fixed order that applies. `--fail-on` selects what is considered."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import TYPE_CHECKING

from convbench.errors import ExitCode, RequestError
from convbench.model.nearest import did_you_mean

if TYPE_CHECKING:
    from convbench.analysis.comparison.judgment import Comparison
    from convbench.model.result import Run, Status


class FailOn(StrEnum):
    """Reasons for an exit code other than 0, as `--fail-on` names them: statuses, and two verdicts."""

    REGRESSION = "regression"
    FAILED = "failed"
    IMPRECISE = "imprecise"
    CRASHED = "crashed"
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    ERROR = "error"
    NOISE = "noise"


#: The default: every reason counts.
EVERYTHING = frozenset(FailOn)
#: The word of `--fail-on` for no reason at all.
_NOTHING = "none"


def parsed_fail_on(text: str | None) -> frozenset[FailOn]:
    """The reasons in a comma-separated list; all where `text` is None. Raises RequestError for an unknown word."""
    if text is None:
        return EVERYTHING
    words = [word.strip().lower().replace("-", "_") for word in text.split(",")]
    if words == [_NOTHING]:
        return frozenset()
    known = [*FailOn, _NOTHING]
    for word in words:
        if word not in EVERYTHING:
            hint = None if word == _NOTHING else did_you_mean(word, known)
            wrong = f"{_NOTHING} excludes other words" if word == _NOTHING else f"unknown word {word!r}"
            raise RequestError(f"--fail-on: {wrong}, expected some of {', '.join(known)}", hint=hint)
    return frozenset(FailOn(word) for word in words)


def of_run(run: Run, counted: Collection[FailOn] = EVERYTHING) -> ExitCode:
    """The exit code for a measured run."""
    return _of_statuses({result.status for result in run.results}, counted)


def of_comparison(comparison: Comparison, counted: Collection[FailOn] = EVERYTHING) -> ExitCode:
    """The exit code for a comparison of two runs."""
    from convbench.analysis.comparison.judgment import Verdict

    if comparison.verdict is Verdict.REGRESSED and FailOn.REGRESSION in counted:
        return ExitCode.FAILED_OR_REGRESSED
    code = _of_statuses({judgment.new_status for judgment in comparison.judgments}, counted)
    if code is not ExitCode.DONE:
        return code
    noisy = comparison.verdict is Verdict.INCONCLUSIVE and FailOn.NOISE in counted
    return ExitCode.TOO_NOISY if noisy else ExitCode.DONE


#: The exit codes of machines that are judged on their own, the worst first.
_WORST = (
    ExitCode.FAILED_OR_REGRESSED,
    ExitCode.NOT_COMPARABLE,
    ExitCode.NOT_MEASURED,
    ExitCode.TOO_NOISY,
    ExitCode.DONE,
)


def worst(codes: Collection[ExitCode]) -> ExitCode:
    """The worst of some exit codes of comparisons; DONE where there are none."""
    return next((code for code in _WORST if code in codes), ExitCode.DONE)


def _of_statuses(statuses: Collection[Status | None], counted: Collection[FailOn]) -> ExitCode:
    from convbench.model.result import UNMEASURED, WRONG

    counting = {status for status in statuses if status is not None and status.value in counted}
    if not counting.isdisjoint(WRONG):
        return ExitCode.FAILED_OR_REGRESSED
    return ExitCode.NOT_MEASURED if counting & UNMEASURED else ExitCode.DONE
