"""The verb that finds the commit since which a sweep's cases take another time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convbench.cli.interrupt import sigterm_as_interrupt
from convbench.cli.options import Config, split_command
from convbench.cli.output import flush, say, show
from convbench.errors import ExitCode, RequestError
from convbench.store.files import check_writable

if TYPE_CHECKING:
    from convbench.model.bisection import Bisection


def bisect(
    good: Annotated[str, typer.Argument(metavar="GOOD", help="The older commit: a hash, a branch or a tag.")],
    bad: Annotated[str, typer.Argument(metavar="BAD", help="The newer commit.")],
    config: Config,
    checkout: Annotated[
        Path, typer.Option("--checkout", metavar="DIR", help="The folder in a checkout to import modules from.")
    ] = Path(),
    case: Annotated[
        list[str] | None, typer.Option("--case", metavar="ID", help="Only the case with this id; may be repeated.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", metavar="RATIO", help="Smallest change that counts: 0.01 is 1 %. [default: 0.025]"),
    ] = None,
    pairs: Annotated[
        int | None,
        typer.Option("--pairs", metavar="N", help="Pairs that confirm a change, as for ab. [default: 12]"),
    ] = None,
    build: Annotated[
        str | None,
        typer.Option("--build", metavar="COMMAND", help="Run this at the top of each commit's files first."),
    ] = None,
    python: Annotated[
        str | None,
        typer.Option("--python", metavar="PATH", help="The interpreter that --build makes: env/bin/python."),
    ] = None,
    steps: Annotated[
        Path | None,
        typer.Option("--steps", metavar="FILE", help="Keep what is decided in this file, and go on from it."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Find the commit since which a sweep's cases take another time.

    Measures commits of a checkout side by side, as ab does: first BAD with GOOD, then the middle of what is left. The
    case with the clearest change decides. Each commit gets a worktree in a temporary folder. A commit that cannot be
    built or imported is left out. Exits with 2 where GOOD or BAD cannot be measured, with 5 where noise hides the
    difference.
    """
    from convbench import sweep as sweeps
    from convbench.actions import bisecting
    from convbench.cli.progress import RunProgress
    from convbench.model.serial import to_json
    from convbench.report.text.bisection import answer_text, step_text

    if threshold is not None and not 0 < threshold < 1:
        raise RequestError(f"--threshold {threshold:g}: expected a ratio above 0 and under 1, for example 0.025")
    if not checkout.is_dir():
        raise RequestError(f"--checkout {checkout}: no such folder")
    if steps is not None:
        check_writable(steps)
    project = bisecting.Project(folder=checkout.resolve(), build=split_command(build or ""), python=python)
    shown = RunProgress()
    with sigterm_as_interrupt():
        try:
            found = bisecting.bisect(
                sweeps.load(config),
                good,
                bad,
                project=project,
                case_ids=case or (),
                threshold=threshold,
                pairs=pairs,
                kept=steps,
                listener=shown.listener(),
                after_step=lambda step: say(step_text(step)),
            )
        except KeyboardInterrupt:
            shown.close()
            say("interrupted: " + (f"{steps} has what is decided" if steps else "nothing is kept without --steps"))
            raise
        finally:
            shown.close()
    show(json.dumps(to_json(found), indent=2) if as_json else answer_text(found))
    flush()
    raise typer.Exit(_code(found))


def _code(found: Bisection) -> ExitCode:
    return ExitCode.DONE if found.last.moved is not None else ExitCode.TOO_NOISY
