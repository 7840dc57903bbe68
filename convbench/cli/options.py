"""The command itself and what several verbs share: options, and what comes before and after reading a database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from convbench.cli.output import say, show
from convbench.model.operators import DEFAULT_OPERATOR
from convbench.units import LONGEST_TEXT, line, without_credentials

if TYPE_CHECKING:
    from convbench.model.result import Run


#: What typer raises for every wrong argument; it does not hand out the class by its name.
_UsageError: type[Any] = typer.BadParameter.__mro__[1]


class _Verbs(TyperGroup):
    """The verbs. What typer says of a wrong argument repeats it, and with it whatever it holds."""

    def make_context(self, *arguments: Any, **named: Any) -> Any:
        """Read the command line up to the verb."""
        with _plain_usage_errors():
            return super().make_context(*arguments, **named)

    def invoke(self, ctx: Any) -> Any:
        """Read the verb's arguments and do what they say."""
        with _plain_usage_errors():
            return super().invoke(ctx)


@contextmanager
def _plain_usage_errors() -> Iterator[None]:
    """No argument in typer's errors steers the terminal, begins a line, or tells the password in a URL."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, _UsageError):
            raise
        error.message = line(without_credentials(error.message), most=LONGEST_TEXT)
        raise


app = typer.Typer(
    cls=_Verbs,
    help=f"How fast is a convolution layer? Measures {DEFAULT_OPERATOR.name} sweeps, checks every layer, "
    "writes a report.",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

_DB_HELP = "The database: a path or an SQLAlchemy URL. [default: reports/convbench.db]"
Database = Annotated[str | None, typer.Option("--db", envvar="CONVBENCH_DB", metavar="DB", help=_DB_HELP)]
STORED_HELP = "latest, a run id or a unique prefix of one, or a baseline's name."
RUN_HELP = "latest, a run id or a unique prefix of one, a baseline's name, or a JSON export."
RunRef = Annotated[str, typer.Argument(metavar="RUN", help=RUN_HELP)]
AcrossEnvironments = Annotated[
    bool, typer.Option("--across-environments", help="Compare runs of different machines or versions all the same.")
]
Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="A sweep: a YAML file, see configs/.")]


class _State:
    """`--db` as it stands before the verb."""

    db: str | None = None


def database_of(db: str | None) -> str | None:
    """The database that a verb was given, or the command before it."""
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
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    _State.db = db


def write_index(run: Run, db: str | None, findings: Sequence[str] | None = None) -> None:
    """Write the page of all runs. The report is written by then: whatever goes wrong here costs a line, no more."""
    from convbench.actions import pages

    try:
        pages.write_index(db=db, run=run, findings=findings)
    except Exception as error:
        say(f"no page of all runs: {line(str(error), most=LONGEST_TEXT)}")


def send_what_waits(db: str | None) -> None:
    """Send what an earlier run left on this disk because the database's server was away."""
    from convbench.store import send_waiting

    send_waiting(db, told=say)
