"""The group of verbs: finds the verb that a user means, lists verbs by purpose, and keeps secrets out of errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperGroup

from convbench.model.nearest import nearest
from convbench.units import LONGEST_TEXT, line, without_credentials

#: The error that typer raises for every invalid argument; typer does not export this class.
_UsageError: type[Any] = typer.BadParameter.__mro__[1]
#: What other tools call a verb.
SYNONYMS = {
    "bench": "run",
    "benchmark": "run",
    "measure": "run",
    "list": "runs",
    "ls": "runs",
    "show": "report",
    "open": "report",
    "plot": "picture",
    "diff": "compare",
    "doctor": "check",
    "clean": "prune",
    "server": "serve",
}
#: The headings of the help, in its order; a verb's `rich_help_panel` is one of them.
PURPOSES = ("Measure", "Read", "Compare", "Serve", "Understand one layer", "Automate", "Help")
#: Endings of sweeps: `convbench sweep.yaml` runs it.
SWEEPS = (".yaml", ".yml")


class Verbs(TyperGroup):
    """The verbs. Typer's error for an invalid argument repeats the argument, which may hold a secret."""

    def make_context(self, *arguments: Any, **named: Any) -> Any:
        """Read the command line up to the verb."""
        with _plain_usage_errors():
            return super().make_context(*arguments, **named)

    def invoke(self, ctx: Any) -> Any:
        """Read the verb's arguments and run it."""
        with _plain_usage_errors():
            return super().invoke(ctx)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The verb that the first argument names: itself, a synonym, or `run` for a sweep's path."""
        first, *rest = args
        if first not in self.commands:
            args = ["run", *args] if first.endswith(SWEEPS) else [SYNONYMS.get(first, first), *rest]
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the verbs under the headings of their purposes."""
        shown: dict[str, Any] = {name: command for name, command in self.commands.items() if not command.hidden}
        limit = formatter.width - 6 - max(map(len, shown))
        for purpose in PURPOSES:
            of = {name: command for name, command in shown.items() if command.rich_help_panel == purpose}
            with formatter.section(purpose):
                formatter.write_dl([(name, command.get_short_help_str(limit)) for name, command in of.items()])


@contextmanager
def _plain_usage_errors() -> Iterator[None]:
    """Escape control characters and hide passwords of URLs in typer's error messages."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, _UsageError) or _is_help(error):
            raise
        error.message = line(without_credentials(error.message), most=LONGEST_TEXT)
        if getattr(error, "option_name", None) and error.ctx is not None:
            error.possibilities = _meant(error.option_name, error.ctx.command)
        raise


def _meant(option: str, command: Any) -> list[str]:
    """The option of a verb that an unknown one was meant to be, if there is one."""
    options = {name[2:].replace("-", "_"): name for one in command.params for name in one.opts if name[:2] == "--"}
    near = nearest(option.lstrip("-").replace("-", "_"), tuple(options))
    return [] if near is None else [options[near]]


def _is_help(error: Any) -> bool:
    """Whether an error is the help, which is the answer to a command without a verb."""
    return error.ctx is not None and error.message == error.ctx.get_help()
