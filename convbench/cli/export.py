"""The verb that exports a run to other formats."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convbench.cli.options import Database, RunRef, database_of
from convbench.cli.output import show_bytes
from convbench.store.files import check_writable, write_bytes


def export(
    run: RunRef = "latest",
    form: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="csv, json, parquet, markdown or junit.")
    ] = "csv",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write to this file instead of standard output.")
    ] = None,
    db: Database = None,
) -> None:
    """Export a run as CSV, JSON, Parquet, Markdown or JUnit XML."""
    from convbench.actions import read
    from convbench.report.export import export as exported

    if output is not None:
        check_writable(output)
    content = exported(read.load(run, db=database_of(db)).run, form)
    if output is not None:
        write_bytes(output, content)
    else:
        show_bytes(content)
