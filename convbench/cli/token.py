"""The verbs that create, list and revoke tokens of the service."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from convbench.cli.options import Database, database_of
from convbench.cli.output import say, show
from convbench.cli.terminal import columns
from convbench.units import line

token = typer.Typer(help="Create, list and revoke tokens of the service.", rich_markup_mode=None, no_args_is_help=True)

_SCOPES = "read, submit, report (upload runs) or admin (all); repeat it for several. [default: read]"


@token.command("create")
def token_create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who or what uses it: ci, anna.")],
    scope: Annotated[
        list[str] | None, typer.Option("--scope", metavar="SCOPE", help=_SCOPES, show_default=False)
    ] = None,
    days: Annotated[int, typer.Option("--days", metavar="DAYS", help="Days until it expires.")] = 365,
    db: Database = None,
) -> None:
    """Create a token and print it. It cannot be shown again.

    As soon as there is a token, this machine's user needs one to write as well.
    """
    from convbench.actions import tokens
    from convbench.store import Store

    with Store.create(database_of(db)) as store:
        made, text = tokens.create(store, name, scope or ["read"], days=days)
        tokens.note_by_command(store, "token create", made.prefix)
    say(f"token {line(made.name)} with {', '.join(sorted(made.scopes))}; keep it, it is not shown again")
    show(text)


@token.command("list")
def token_list(db: Database = None) -> None:
    """List the tokens without their secret parts, the newest first."""
    from convbench.report.text.tokens import tokens_text
    from convbench.store import Store
    from convbench.store.tokens import Tokens

    with Store.change(database_of(db)) as store:
        show(tokens_text(Tokens(store).list(), columns(sys.stdout)))


@token.command("revoke")
def token_revoke(
    prefix: Annotated[str, typer.Argument(metavar="PREFIX", help="What `convbench token list` shows of it.")],
    db: Database = None,
) -> None:
    """Revoke a token. The service refuses it from now on."""
    from convbench.actions import tokens
    from convbench.actions.jobs import now
    from convbench.store import Store
    from convbench.store.tokens import BEGINNING, Tokens

    with Store.change(database_of(db)) as store:
        gone = Tokens(store).revoke(prefix.removeprefix(BEGINNING), now())
        tokens.note_by_command(store, "token revoke", gone.prefix)
    show(f"token {line(gone.name)} ({gone.prefix}) is revoked")
