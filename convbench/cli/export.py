"""The verb that exports a run to other formats."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convbench.cli.options import Database, RunRef, database_of
from convbench.cli.output import show_bytes
from convbench.errors import RequestError
from convbench.store.files import check_writable, write_bytes


def export(
    run: RunRef = "latest",
    form: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="csv, json, parquet, markdown, junit or benchdnn.")
    ] = "csv",
    samples: Annotated[
        bool, typer.Option("--samples", help="Export the raw samples that measure.samples kept, as CSV.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write to this file instead of standard output.")
    ] = None,
    db: Database = None,
) -> None:
    """Export a run: CSV, JSON, Parquet, Markdown, JUnit, benchdnn.

    RUN may also name a campaign. Its CSV has the rows of every machine, and columns that name the machine.
    """
    if samples and form != "csv":
        raise RequestError(f"got --samples and --format {form}", hint="samples are exported as csv")
    if output is not None:
        check_writable(output)
    content = _content(run, form, database_of(db), samples=samples)
    if output is not None:
        write_bytes(output, content)
    else:
        show_bytes(content)


def _content(run: str, form: str, db: str | None, *, samples: bool) -> bytes:
    from convbench.actions import campaigns, naming

    is_campaign = naming.names_campaign(run, db=db)
    if not is_campaign or (campaigns.is_id(run) and not samples and form != "csv"):
        return _samples(run, db) if samples else _run(run, form, db)
    if samples or form != "csv":
        got = "--samples" if samples else f"--format {form}"
        hint = "a campaign is exported as csv; name one of its runs"
        raise RequestError(f"{run} is a campaign, got {got}", hint=hint)
    from convbench.report.export import campaign_to_csv

    return campaign_to_csv(campaigns.members_of(run, db=db))


def _run(run: str, form: str, db: str | None) -> bytes:
    from convbench.actions import read
    from convbench.report.export import export as exported

    return exported(read.load(run, db=db).run, form)


def _samples(run: str, db: str | None) -> bytes:
    from convbench.actions import read
    from convbench.report.samples import samples_csv

    return samples_csv(*read.samples(run, db=db))
