"""The command, the options that several verbs share, and steps before and after reading a database."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convbench.cli.completion import stored_runs, sweeps
from convbench.cli.output import say, show
from convbench.cli.verbs import Verbs
from convbench.errors import RequestError
from convbench.units import LONGEST_TEXT, line

if TYPE_CHECKING:
    from convbench.model.result import Run


app = typer.Typer(
    cls=Verbs,
    help="Measure the speed of PyTorch's convolution layers, check their results, and write a report.",
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

_DB_HELP = "The database: a path or an SQLAlchemy URL. [default: reports/convbench.db]"
Database = Annotated[str | None, typer.Option("--db", envvar="CONVBENCH_DB", metavar="DB", help=_DB_HELP)]
STORED_HELP = "latest, a run id or a unique prefix of one, or a baseline's name."
RUN_HELP = "latest, a run id or a unique prefix of one, a baseline's name, or a JSON export."
RunRef = Annotated[str, typer.Argument(metavar="RUN", help=RUN_HELP, autocompletion=stored_runs)]
AcrossEnvironments = Annotated[
    bool, typer.Option("--across-environments", help="Compare even if machines or versions differ.")
]
_CONFIG_HELP = "The sweep, a YAML file; `convbench init` writes one."
Config = Annotated[Path, typer.Argument(metavar="CONFIG", help=_CONFIG_HELP, autocompletion=sweeps)]

OptionalConfig = Annotated[
    Path | None, typer.Argument(metavar="CONFIG", help=_CONFIG_HELP, autocompletion=sweeps, show_default=False)
]


class _State:
    """The value of `--db` given before the verb."""

    db: str | None = None


def database_of(db: str | None) -> str | None:
    """The database given after the verb, else the one given before it."""
    return db if db is not None else _State.db


def _show_version(value: bool) -> None:
    if value:
        from convbench.version import __version__

        show(f"convbench {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    db: Database = None,
    version: Annotated[
        bool, typer.Option("-V", "--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    _State.db = db


def split_command(command: str) -> tuple[str, ...]:
    """The words of what --build gives; RequestError where quotes do not match."""
    try:
        return tuple(shlex.split(command))
    except ValueError as error:
        raise RequestError(f"--build {command}: {error}") from None


def write_index(run: Run | None, db: str | None, findings: Sequence[str] | None = None) -> None:
    """Write the page of all runs. The report exists already, so any error is printed and not raised."""
    from convbench.actions import pages

    try:
        pages.write_index(db=db, run=run, findings=findings)
    except Exception as error:
        say(f"could not write the page of all runs: {line(str(error), most=LONGEST_TEXT)}")


def send_waiting_results(db: str | None) -> None:
    """Send results that an earlier run kept on this disk because the database's server did not answer."""
    from convbench.store import send_waiting

    send_waiting(db, message=say)
