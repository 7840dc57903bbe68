"""The verbs that measure a sweep on the hosts of a cluster, go on with that, and say how it stands."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convbench.cli.completion import stored_campaigns
from convbench.cli.interrupt import sigterm_as_interrupt
from convbench.cli.options import Config, Database, database_of
from convbench.cli.output import flush, say, show
from convbench.cli.terminal import columns
from convbench.errors import ExitCode, RequestError

if TYPE_CHECKING:
    from rich.live import Live

    from convbench.fleet.campaign import FleetListener, ShardProgress
    from convbench.model.campaign import Campaign

fleet = typer.Typer(help="Measure a sweep on the hosts of a Ray cluster.", rich_markup_mode=None, no_args_is_help=True)

#: Time between two plain lines of one shard, and between two drawings on a terminal, seconds.
LINE_S = 15.0
REDRAW_S = 0.5

_ADDRESS_HELP = "ray://HOST:10001, HOST:6379, auto (the cluster of this host) or local (start one here)."
Address = Annotated[str, typer.Option("--address", metavar="ADDRESS", envvar="CONVBENCH_FLEET", help=_ADDRESS_HELP)]
Patience = Annotated[
    float, typer.Option("--patience", metavar="S", min=0, help="Seconds to wait for a lost host before moving on.")
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Use a cluster beyond this host even if Ray asks for no token.")
]
CampaignRef = Annotated[
    str | None,
    typer.Argument(
        metavar="ID",
        help="latest, or a campaign's id or a unique prefix of it.",
        show_default=False,
        autocompletion=stored_campaigns,
    ),
]


def run(
    config: Config,
    address: Address = "auto",
    each: Annotated[
        bool, typer.Option("--each", help="Each machine key measures the whole sweep, on one host. [default]")
    ] = False,
    split: Annotated[bool, typer.Option("--split", help="The hosts of one machine key share the cases out.")] = False,
    all_hosts: Annotated[
        bool, typer.Option("--all-hosts", help="Use every host, also one that is slower than its own history.")
    ] = False,
    where: Annotated[
        list[str] | None, typer.Option("--where", metavar="KEY=VALUE", help="Use hosts with this label of Ray alone.")
    ] = None,
    devices: Annotated[
        str | None, typer.Option("--devices", metavar="KIND", help="Use hosts with such devices: cuda, cpu.")
    ] = None,
    patience: Patience = 600.0,
    insecure: Insecure = False,
    job: Annotated[
        Path | None, typer.Option("--job", hidden=True)
    ] = None,  # the folder of a job of the service (actions/job_folder.py)
    db: Database = None,
) -> None:
    """Measure a sweep on the hosts of a Ray cluster, and store it as a campaign.

    Each host measures by an ordinary run of its own. What it has measured is sent here as soon as it is stored, or goes
    to the server of --db. Ctrl-C interrupts all hosts and keeps what was measured. Prints the campaign's id.
    """
    from convbench.actions import fleets
    from convbench.actions.job_folder import JobFolder
    from convbench.model.campaign import How

    if each and split:
        raise RequestError("got --each and --split", hint="give one or the other")
    labels = [_label(text) for text in where or ()]
    _conducted(
        lambda listener, begun: fleets.run(
            config,
            address=address,
            how=How.SPLIT if split else How.EACH,
            every_host=all_hosts,
            where=labels,
            devices=devices,
            patience_s=patience,
            insecure=insecure,
            db=database_of(db),
            listener=listener,
            begun=begun,
            beginning=JobFolder(job).write_begun if job else lambda campaign_id: None,
        )
    )


def resume(
    campaign: CampaignRef = "latest",
    address: Address = "auto",
    patience: Patience = 600.0,
    insecure: Insecure = False,
    db: Database = None,
) -> None:
    """Go on with an interrupted campaign.

    A shard goes on where it was. Where its host is gone or was restarted, its unfinished cases begin afresh, and the
    campaign's note says so. A campaign that another process conducts is refused.
    """
    from convbench.actions import fleets

    _conducted(
        lambda listener, begun: fleets.resume(
            campaign or "latest",
            address=address,
            patience_s=patience,
            insecure=insecure,
            db=database_of(db),
            listener=listener,
            begun=begun,
        )
    )


def status(
    campaign: CampaignRef = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    db: Database = None,
) -> None:
    """List the campaigns, newest first; with ID, the shards of one campaign."""
    from convbench.actions import fleets
    from convbench.model.serial import to_json
    from convbench.report.text.fleets import campaign_text, campaigns_text

    found = fleets.campaigns(campaign, db=database_of(db))
    if as_json:
        show(json.dumps(to_json(found if campaign is None else found[0]), indent=2))
    elif campaign is None:
        show(campaigns_text(found, columns(sys.stdout)))
    else:
        show(campaign_text(found[0], columns(sys.stdout)))


def _label(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not (key and separator):
        raise RequestError(f"--where {text}: expected KEY=VALUE", hint="like: --where ray.io/accelerator-type=H100")
    return key, value


def _conducted(conduct: Callable[[FleetListener, Callable[[Campaign], None]], Campaign]) -> None:
    """Conduct a campaign with its progress on standard error; prints its id and exits with its code."""
    from convbench.fleet.campaign import FleetListener
    from convbench.model.campaign import CampaignState
    from convbench.report.text.fleets import campaign_text, shards_of

    shown = ShardLines()
    ids: list[str] = []

    def begun(campaign: Campaign) -> None:
        ids.append(campaign.id)
        say(campaign_text(campaign, columns(sys.stderr)))

    try:
        # Ray prints errors of its processes to standard output; what follows from them is a message of ours.
        with sigterm_as_interrupt(), redirect_stdout(StringIO()):
            found = conduct(FleetListener(message=shown.message, progressed=shown.progressed), begun)
    except KeyboardInterrupt:
        if not ids:
            raise
        found = None
    finally:
        shown.close()
    if found is None:
        say(f"interrupted: results are kept; `convbench fleet resume {ids[0]}` goes on")
        show(ids[0])
        flush()
        raise typer.Exit(ExitCode.INTERRUPTED)
    say(f"campaign {found.id}: {shards_of(found.shards)}; `convbench campaign {found.id}` shows its machines")
    if found.state is not CampaignState.FINISHED:
        say(f"not all was measured: `convbench fleet status {found.id}` says why, `convbench fleet resume` goes on")
    show(found.id)
    flush()
    raise typer.Exit(ExitCode.DONE if found.state is CampaignState.FINISHED else ExitCode.NOT_MEASURED)


class ShardLines:
    """One line of progress a shard: redrawn on a terminal, plain lines from time to time elsewhere."""

    def __init__(self) -> None:
        self._live: Live | None = None
        self._terminal = sys.stderr.isatty()
        self._drawn = 0.0
        self._said: dict[int, tuple[float, str]] = {}

    def progressed(self, shards: Sequence[ShardProgress]) -> None:
        """Draw the lines, or print those that have changed and were not printed a moment ago."""
        now = time.monotonic()
        if self._terminal:
            if now - self._drawn >= REDRAW_S:
                self._drawn = now
                self._draw("\n".join(map(str, shards)))
            return
        for each in shards:
            at, text = self._said.get(each.shard.position, (float("-inf"), ""))
            if each.text != text and (now - at >= LINE_S or text == "" or each.is_over):
                self._said[each.shard.position] = now, each.text
                say(str(each))

    def message(self, text: str) -> None:
        """Print a line, above the lines of progress."""
        self.close()
        say(text)

    def close(self) -> None:
        """Remove the lines of progress."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _draw(self, text: str) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        drawn = Text(text, no_wrap=True, overflow="ellipsis")
        if self._live is None:
            self._live = Live(drawn, console=Console(stderr=True), auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(drawn, refresh=True)
