"""The verb that measures a pull request."""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convbench.cli.ab import ab
from convbench.cli.ci_results import (
    COMMENT,
    FAIL_ON,
    JUNIT,
    PAGE,
    RESULTS,
    SUMMARY,
    DryRun,
    FailOnList,
    Work,
    append_to_job_summary,
    forget_results,
    temporary,
)
from convbench.cli.options import Config
from convbench.cli.output import say, show
from convbench.errors import RequestError
from convbench.units import plural

if TYPE_CHECKING:
    from convbench.actions.pull_request import PullRequest

#: Variables of a job that the code which it measures does not need.
_SECRETS = ("CONVBENCH_DB", "CONVBENCH_TOKEN", "GH_TOKEN", "GITHUB_TOKEN")


def pull_request(
    config: Config,
    target: Annotated[
        str,
        typer.Option("--target", metavar="COMMIT", help="The branch or commit that the branch is to be merged into."),
    ] = "main",
    pairs: Annotated[int | None, typer.Option("--pairs", metavar="N", help="As for ab.")] = None,
    fail_on: FailOnList = FAIL_ON,
    work: Work = None,
    dry_run: DryRun = False,
) -> None:
    """Measure a branch against the commit where it began.

    The base is checked out beside the current checkout. Each side gets the packages of its own lock file, in one
    environment if they are the same. Then `convbench ab` measures both. Page, summary, JUnit XML and comment go to
    convbench-out/. The summary also goes to the job's page, and on GitLab to a note.
    """
    from convbench.actions import measure
    from convbench.actions import pull_request as requests

    _, cases = measure.planned(config)  # a mistake in it is reported before environments are built
    folder = work.absolute() if work else temporary()
    plan = requests.planned(target, work=folder, head=Path.cwd())
    if dry_run:
        _show_plan(config, len(cases.cases), plan)
        return
    variables = _without_secrets()
    forget_results()
    try:
        with requests.made(plan, work=folder, keep=work is not None):
            ab(
                config,
                a_python=str(plan.base.python),
                b_python=str(plan.head.python),
                a_path=list(plan.base.path),
                b_path=list(plan.head.path),
                pairs=pairs,
                summary=SUMMARY,
                junit=JUNIT,
                fail_on=fail_on,
                output=PAGE,
            )
    finally:
        _publish(config, variables)


def _show_plan(config: Path, cases: int, plan: PullRequest) -> None:
    from convbench.report.ci.texts import plan_text

    one = f"one for both sides, from {plan.base.lock}"
    environments = one if plan.why_two is None else f"one for each side: {plan.why_two}"
    about = [f"base: commit {plan.base_commit}", f"head: {plan.head.checkout}", f"environments: {environments}"]
    sides: list[str] = []
    for name, side in (("a", plan.base), ("b", plan.head)):
        sides += [f"--{name}-python", str(side.python)]
        sides += [word for folder in side.path for word in (f"--{name}-path", str(folder))]
    about += [f"sweep: {config}, {plural(cases, 'case')}"]
    measured = shlex.join(["convbench", "ab", str(config), *sides])
    show(plan_text(about, plan.commands, [f"then: {measured}", f"results: {RESULTS}/"]))


def _without_secrets() -> dict[str, str]:
    """Take the job's secrets out of the environment of what it starts; returns the variables as they were."""
    before = dict(os.environ)
    for name in _SECRETS:
        os.environ.pop(name, None)
    return before


def _publish(config: Path, variables: dict[str, str]) -> None:
    """Give the summary to the service, also where the comparison failed; an error here is only a message."""
    from convbench.actions.notes import note
    from convbench.report.ci.texts import comment_text

    append_to_job_summary()
    if not SUMMARY.exists():
        return
    text = comment_text(str(config), SUMMARY.read_text(encoding="utf-8"))
    with suppress(OSError):
        COMMENT.write_text(text, encoding="utf-8")
    try:
        note(text, variables)
    except RequestError as error:
        say(f"{error.message}; {error.hint}" if error.hint else error.message)
