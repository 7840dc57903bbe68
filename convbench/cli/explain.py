"""The verb that explains a layer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convbench.cli.options import Database, database_of
from convbench.cli.output import flush, say, show
from convbench.cli.terminal import columns
from convbench.errors import ExitCode, RequestError
from convbench.store.files import write_bytes
from convbench.units import line

if TYPE_CHECKING:
    from convbench.model.case import Case


def explain(
    settings: dict[str, str],
    case: Annotated[str | None, typer.Argument(metavar="CASE", help="The id of a stored case.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The page. [default: reports/explain-<case id>.html]", show_default=False),
    ] = None,
    db: Database = None,
) -> None:
    """Explain one layer's shapes, parameters and operations.

    Give the id of a stored case, or the settings of a layer. Values are written as in YAML. Prints the explanation to
    standard output. Also writes an interactive page and prints its path to standard error.
    """
    from convbench import sweep as sweeps
    from convbench.report.text.explain import explain as explained
    from convbench.report.text.tables import folded

    if case is None:
        chosen = sweeps.case_of(settings)
    elif settings:
        raise RequestError("got a case id and settings of a layer", hint="give one or the other")
    else:
        from convbench.store import Store

        with Store.open(database_of(db)) as store:
            chosen = store.find_case(case)
    show(folded(str(explained(chosen)), columns(sys.stdout)))
    flush()
    _write_explanation(chosen, output)
    raise typer.Exit(ExitCode.WRONG_REQUEST if chosen.refusal() else ExitCode.DONE)


def _write_explanation(case: Case, output: Path | None) -> None:
    """Write the page of `explain`. Failing to write the default page is not an error; `output` must be written."""
    from convbench.actions import pages
    from convbench.report.pages import explain as explain_page

    path = output or pages.REPORTS / explain_page.file_name(case)
    try:
        write_bytes(path, explain_page.render(case).encode())
    except RequestError as error:
        if output is not None:
            raise
        say(f"could not write the interactive page: {error.message}")
    else:
        say(f"interactive page: {line(str(path))}")
