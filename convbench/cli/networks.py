"""The verb that lists networks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from convbench.cli.output import show
from convbench.cli.terminal import columns


def networks(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="FOLDER", help="The folder. [default: configs/networks]", show_default=False),
    ] = None,
) -> None:
    """List the networks in a folder of sweeps.

    Prints how many convolutions each has, how many of them differ, their work in one forward pass, and their
    parameters.
    """
    from convbench.actions import networks as listing
    from convbench.report.text.networks import networks_text

    found = listing.networks(folder or listing.FOLDER)
    rows = [(one.name, one.layers, one.distinct, one.flops, one.parameters, str(one.path)) for one in found]
    show(networks_text(rows, columns(sys.stdout)))
