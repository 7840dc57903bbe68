"""The verb that prints the help of another verb."""

from __future__ import annotations

from typing import Annotated

import typer

from convbench.cli.completion import begun
from convbench.cli.options import app


def verbs(incomplete: str) -> list[str]:
    """The verbs that begin so."""
    names = [*(one.name for one in app.registered_commands), *(one.name for one in app.registered_groups)]
    return begun(incomplete, sorted(filter(None, names)))


def help_(
    verb: Annotated[
        list[str] | None,
        typer.Argument(metavar="VERB", help="A verb: run, baseline set.", autocompletion=verbs),
    ] = None,
) -> None:
    """Print the help of a verb, as --help does."""
    app([*(verb or []), "--help"], prog_name="convbench")
