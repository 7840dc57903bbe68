"""The verb that writes a script which runs one case."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convbench.cli.options import Database, database_of
from convbench.cli.output import show_bytes
from convbench.store.files import check_writable, write_bytes


def repro(
    case: Annotated[str, typer.Argument(metavar="CASE", help="A case id or a unique prefix of one.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write to this file instead of standard output.")
    ] = None,
    db: Database = None,
) -> None:
    """Write a short script that runs one case and needs torch only.

    Run it under perf or another profiler, or paste it into a bug report.
    """
    from convbench.actions import measure
    from convbench.report.text.repro import repro as script_of
    from convbench.store import Store

    if output is not None:
        check_writable(output)
    with Store.open(database_of(db)) as store:
        chosen = store.find_case(case)
    content = script_of(chosen, measure.variables_of(chosen)).encode()
    if output is not None:
        write_bytes(output, content)
    else:
        show_bytes(content)
