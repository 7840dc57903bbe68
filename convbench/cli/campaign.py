"""The verb that shows the machines of a campaign side by side."""

from __future__ import annotations

import sys
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from convbench import units
from convbench.cli.completion import campaigns
from convbench.cli.options import Database, database_of, send_waiting_results, write_index
from convbench.cli.output import say, show
from convbench.cli.page import MOST_CASES, WithoutPage, check_page
from convbench.cli.terminal import columns
from convbench.store.files import check_writable
from convbench.units import line

_CAMPAIGN_HELP = "A sweep's name or file, or a campaign's id or its beginning."
_PRICE_HELP = "What an hour of a host or a machine key costs, for images per dollar; repeat it for each."


def campaign(
    campaign: Annotated[str, typer.Argument(metavar="CAMPAIGN", help=_CAMPAIGN_HELP, autocompletion=campaigns)],
    price: Annotated[list[str] | None, typer.Option("--price", metavar="HOST=PRICE", help=_PRICE_HELP)] = None,
    all_hosts: Annotated[
        bool,
        typer.Option("--all-hosts", help="Show the sweep's newest run of each host, not of each machine key."),
    ] = False,
    opened: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="The page to write. [default: reports/campaign-<name>.html]", show_default=False
        ),
    ] = None,
    no_page: WithoutPage = False,
    db: Database = None,
) -> None:
    """Show which machine is best for which layer.

    A sweep's name means its newest finished run on every machine. Prints each machine's time of the layers, where the
    ordering of settings turns round, and what images cost. Also writes a page with roofs and pictures, and prints its
    path.
    """
    from convbench.actions import campaigns as reading
    from convbench.actions import pages
    from convbench.analysis.campaign.findings import campaign_findings
    from convbench.report.text.campaign import campaign_text

    check_page(output, no_page=no_page)
    if output is not None:
        check_writable(output)
    elif not no_page:
        pages.check_writable()
    database = database_of(db)
    send_waiting_results(database)
    view = reading.campaign(campaign, db=database, prices=price or (), all_hosts=all_hosts)
    found = campaign_findings(view)
    show(campaign_text(view, found, columns(sys.stdout)))
    if no_page:
        return
    if output is None and len(view.cases) > MOST_CASES:
        say(f"no page written for {units.plural(len(view.cases), 'case')}; request one with -o FILE")
        return
    path = reading.write_campaign(view, output, found=found)
    if output is None:
        write_index(None, database)
    show(line(str(path)))
    if opened and not webbrowser.open(path.resolve().as_uri()):
        say("could not open a browser")
