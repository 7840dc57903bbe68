"""The verb that measures two environments side by side."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convbench.cli.interrupt import sigterm_as_interrupt
from convbench.cli.options import Config
from convbench.cli.outcome import FailOnList, JunitFile, Outcome, SummaryFile
from convbench.cli.output import flush, say, show
from convbench.cli.page import PageFile, WithoutPage, check_default_page, check_page, write_page
from convbench.cli.terminal import columns
from convbench.errors import RequestError

if TYPE_CHECKING:
    from convbench.engine.local import Setup


def _side(name: str, what: str, metavar: str) -> typer.models.OptionInfo:
    """An option of one side."""
    option: typer.models.OptionInfo = typer.Option(
        f"--{name.lower()}-{what}", metavar=metavar, help=f"Side {name}: {_HELP[what]}.", show_default=False
    )
    return option


_HELP = {
    "python": "the Python interpreter; it needs torch only",
    "path": "a folder from which to import your modules, instead of the current folder; may be repeated",
    "env": "an environment variable to set; may be repeated",
    "threads": "number of torch threads, instead of the sweep's",
}


def ab(
    config: Config,
    a_python: Annotated[str | None, _side("A", "python", "EXE")] = None,
    b_python: Annotated[str | None, _side("B", "python", "EXE")] = None,
    a_path: Annotated[list[Path] | None, _side("A", "path", "DIR")] = None,
    b_path: Annotated[list[Path] | None, _side("B", "path", "DIR")] = None,
    a_env: Annotated[list[str] | None, _side("A", "env", "NAME=VALUE")] = None,
    b_env: Annotated[list[str] | None, _side("B", "env", "NAME=VALUE")] = None,
    a_threads: Annotated[int | None, _side("A", "threads", "N")] = None,
    b_threads: Annotated[int | None, _side("B", "threads", "N")] = None,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", metavar="RATIO", help="Smallest change to report: 0.01 is 1 %. [default: 0.025]"),
    ] = None,
    pairs: Annotated[
        int | None,
        typer.Option(
            "--pairs",
            metavar="N",
            help="Pairs that confirm a suspected change; undecided cases get as many again. [default: 12]",
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", hidden=True)] = None,  # the older name of --pairs
    summary: SummaryFile = None,
    junit: JunitFile = None,
    fail_on: FailOnList = None,
    output: PageFile = None,
    no_page: WithoutPage = False,
) -> None:
    """Measure two environments side by side and compare them.

    A is the base, B the candidate. Without options a side runs in convbench's own environment. Each pair starts fresh
    processes for both sides, and their blocks alternate, so that noise affects both sides. Output and exit codes are
    those of compare.
    """
    from convbench.actions import measure
    from convbench.cli.progress import RunProgress
    from convbench.report.text.compare import compare_text

    if pairs is not None and epochs is not None:
        raise RequestError("expected --pairs or --epochs, got both", hint="give --pairs only: both mean the same")
    outcome = Outcome.asked(summary, junit, fail_on)
    check_page(output, no_page=no_page)
    if output is None and not no_page:
        check_default_page()
    sides = (_setup("a", a_python, a_path, a_env, a_threads), _setup("b", b_python, b_path, b_env, b_threads))
    shown = RunProgress()
    with sigterm_as_interrupt():
        try:
            found = measure.ab(
                config, *sides, threshold=threshold, pairs=epochs if pairs is None else pairs, listener=shown.listener()
            )
        except KeyboardInterrupt:
            shown.close()
            say("an interrupted ab is not stored; the next ab measures everything again")
            raise
        finally:
            shown.close()
    show(compare_text(found.comparison, columns(sys.stdout)))
    code = outcome.of_comparison(found.comparison)
    try:
        flush()
    finally:  # a closed standard output must not prevent the page
        write_page(found, output, no_page=no_page)
    raise typer.Exit(code)


def _setup(side: str, python: str | None, path: list[Path] | None, env: list[str] | None, threads: int | None) -> Setup:
    """The setup of a side from its options; raises RequestError for invalid ones."""
    from convbench.engine.local import Setup

    for folder in path or ():
        if not folder.is_dir():
            raise RequestError(f"--{side}-path {folder}: no such folder", hint="give an existing folder")
    if threads is not None and threads < 1:
        raise RequestError(f"--{side}-threads {threads}: expected at least 1")
    variables = []
    for text in env or ():
        name, equals, value = text.partition("=")
        if not (name and equals) or "\0" in text:
            got = "a null character" if "\0" in text else "nothing before the =" if equals else "no ="
            raise RequestError(f"--{side}-env: expected NAME=VALUE, got {got}")  # the text may be a secret
        variables.append((name, value))
    executable = sys.executable
    if python is not None:
        found = shutil.which(python)
        if found is None:
            inside = Path(python) / "bin" / "python"
            raise RequestError(
                f"--{side}-python {python}: no such program, or it is not executable",
                hint=f"give the interpreter: {inside if inside.exists() else 'a path, or a name on PATH'}",
            )
        executable = str(Path(found).absolute())
    return Setup(
        python=executable,
        path=tuple(str(folder.absolute()) for folder in path or ()),
        variables=tuple(sorted(dict(variables).items())),
        threads=threads,
    )
