"""What the jobs of a CI share: where their results lie, what fails them, and how the service gets the summary."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from convbench.cli.exits import FailOn
from convbench.cli.outcome import STEP_SUMMARY

#: Where the jobs leave their results, and what the files are called.
RESULTS = Path("convbench-out")
SUMMARY, JUNIT, PAGE, COMMENT = (
    RESULTS / name for name in ("summary.md", "junit.xml", "comparison.html", "comment.md")
)
#: Noise fails no job: a busy runner is nobody's fault. The summary reports it.
FAIL_ON = ",".join(reason for reason in FailOn if reason is not FailOn.NOISE)
FailOnList = Annotated[
    str, typer.Option("--fail-on", metavar="LIST", help="As for compare. [default: all but noise]", show_default=False)
]
Work = Annotated[
    Path | None,
    typer.Option(
        "--work",
        metavar="DIR",
        envvar="CONVBENCH_WORK",
        help="A folder for environments, kept afterwards. [default: a temporary one]",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]


def temporary() -> Path:
    """A folder for what a job makes; it does not exist yet."""
    return Path(os.environ.get("RUNNER_TEMP") or tempfile.gettempdir()).absolute() / f"convbench-ci-{os.getpid()}"


def forget_results() -> None:
    """Remove what an earlier command left, so that nothing old is published."""
    for path in (SUMMARY, JUNIT, PAGE, COMMENT):
        path.unlink(missing_ok=True)


def append_to_job_summary() -> None:
    """Append the summary to the file that GitHub shows on the job's page."""
    named = os.environ.get(STEP_SUMMARY)
    if not named:
        return
    text = (
        SUMMARY.read_text(encoding="utf-8") if SUMMARY.exists() else "convbench could not compare; the log says why.\n"
    )
    with suppress(OSError), Path(named).open("a", encoding="utf-8") as file:
        file.write(text)
