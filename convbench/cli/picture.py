"""The verb that saves one picture of a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convbench.cli.options import Database, RunRef, database_of
from convbench.cli.output import show
from convbench.store.files import check_writable, write_bytes
from convbench.units import line


def picture(
    run: RunRef = "latest",
    of: Annotated[
        str,
        typer.Option(
            "--of",
            metavar="PICTURE",
            help="ratio, network, explore, heat, sides, roofline, ranking or noise.",
        ),
    ] = "ratio",
    setting: Annotated[
        str | None, typer.Option("--setting", metavar="SETTING", help="The setting that the picture shows: dtype, ...")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="An .svg or .png file. [default: reports/<report>-<picture>.svg]", show_default=False
        ),
    ] = None,
    db: Database = None,
) -> None:
    """Save one picture of a run's report.

    A headless browser draws it: a Chromium or Chrome of yours, or the one of `playwright install chromium`. Needs
    `pip install 'convbench[picture]'`.
    """
    from convbench.actions import pages, pictures, read

    pictures.check_picture(of, setting)
    form = pictures.format_of(output) if output is not None else pictures.FORMATS[0]
    if output is not None:
        check_writable(output)
    loaded = read.load(run, db=database_of(db)).run
    report = pages.report_path(loaded)
    path = output or report.with_name(f"{report.stem}-{of}.{form}")
    write_bytes(path, pictures.picture(loaded, of, setting=setting, form=form))
    show(line(str(path)))
