"""The verb that writes a case as a script."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convbench.cli.options import Database, app, database_of
from convbench.cli.output import show_bytes
from convbench.store.files import write_bytes


@app.command()
def repro(
    case: Annotated[str, typer.Argument(metavar="CASE", help="The id of a stored case, or its beginning.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="A file instead of standard output.")] = None,
    db: Database = None,
) -> None:
    """Write one case as a short script that needs torch alone.

    To run under perf or another profiler, or to paste into a bug report.
    """
    from convbench.actions import measure
    from convbench.report.text.repro import repro as script_of
    from convbench.store import Store

    with Store.open(database_of(db)) as store:
        chosen = store.find_case(case)
    content = script_of(chosen, measure.variables_of(chosen)).encode()
    if output is not None:
        write_bytes(output, content)
    else:
        show_bytes(content)
