"""The page of a comparison, which every verb that compares writes beside what it prints."""

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
        help="The page. [default: reports/compare-<base>-<new>.html]",
        show_default=False,
    ),
]
WithoutPage = Annotated[bool, typer.Option("--no-page", help="Write no page.")]

#: Cases of a page that nobody asked for: more take seconds, and a file that browsers are slow with.
MOST_CASES = 20_000


def check_page(output: Path | None, *, no_page: bool) -> None:
    """Raise RequestError where a page in a file and none are both asked for, or where the file cannot be written."""
    if output is not None and no_page:
        raise RequestError("-o names a page, and --no-page wants none: give one of them")
    if output is not None:
        check_writable(output)


def write_page(compared: RunComparison, output: Path | None, *, no_page: bool) -> None:
    """Write the page and say where, last of all. One that nobody asked for by name costs a line where it fails."""
    from convbench import units
    from convbench.actions import pages

    if no_page:
        return
    cases = len(compared.comparison.judgments)
    if output is None and cases > MOST_CASES:
        say(f"no page of {units.plural(cases, 'case')} unless it is asked for: -o FILE")
        return
    try:
        path = pages.write_comparison(compared, output)
    except Exception as error:
        if output is not None:
            raise
        say(f"no page of this: {line(str(error), most=LONGEST_TEXT)}")
    else:
        say(f"the same as a page: {line(str(path))}")
