"""The page of a comparison, which every verb that compares writes in addition to its output."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convbench.cli.output import say
from convbench.errors import RequestError
from convbench.store.files import check_writable
from convbench.units import LONGEST_TEXT, line

if TYPE_CHECKING:
    from convbench.analysis.comparison.judgment import RunComparison

PageFile = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE",
        help="The page to write. [default: reports/compare-<base>-<new>.html]",
        show_default=False,
    ),
]
WithoutPage = Annotated[bool, typer.Option("--no-page", help="Do not write a page.")]

#: Maximum cases of a page without `-o`: more take seconds to write, and browsers are slow with the file.
MOST_CASES = 20_000


def check_page(output: Path | None, *, no_page: bool) -> None:
    """Raise RequestError for `-o` together with `--no-page`, or where the file cannot be written."""
    if output is not None and no_page:
        raise RequestError("got -o and --no-page", hint="give one or the other")
    if output is not None:
        check_writable(output)


def check_default_page() -> None:
    """Raise RequestError where the default page cannot be written, before minutes are spent on measuring."""
    from convbench.actions import pages

    try:
        pages.check_writable()
    except RequestError as error:
        raise RequestError(error.lines, hint="-o FILE writes the page elsewhere, --no-page measures without") from None


def write_page(compared: RunComparison, output: Path | None, *, no_page: bool) -> None:
    """Write the page and print its path. An error is raised only for a page requested with `-o`, else printed."""
    from convbench import units
    from convbench.actions import pages

    if no_page:
        return
    cases = len(compared.comparison.judgments)
    if output is None and cases > MOST_CASES:
        say(f"no page written for {units.plural(cases, 'case')}; request one with -o FILE")
        return
    try:
        path = pages.write_comparison(compared, output)
    except Exception as error:
        if output is not None:
            raise
        say(f"could not write the page: {line(str(error), most=LONGEST_TEXT)}")
    else:
        say(f"page: {line(str(path))}")
