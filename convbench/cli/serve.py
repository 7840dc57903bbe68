"""The verb that starts the service."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from convbench.cli.options import Database, database_of, split_command
from convbench.cli.output import flush, show
from convbench.errors import RequestError

#: The module of the service. It stands beside this room and needs the extra `serve`, so its name is looked up here.
_SERVICE = "convbench.web"


def serve(
    host: Annotated[
        str, typer.Option("--host", metavar="HOST", help="The address to listen on; another one needs a token.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="PORT", min=0, max=65535, help="The port; 0 takes a free one.")
    ] = 8321,
    root_path: Annotated[
        str, typer.Option("--root-path", metavar="PATH", help="Where a proxy serves it: /bench.")
    ] = "",
    public_read: Annotated[
        bool, typer.Option("--public-read", help="Let everybody who reaches it read without a token.")
    ] = False,
    trust_modules: Annotated[
        bool,
        typer.Option("--trust-modules", help="Measure sweeps with modules and variables of their authors: their code."),
    ] = False,
    keep: Annotated[
        int | None, typer.Option("--keep", metavar="N", min=0, help="Delete old runs beyond the newest N, every hour.")
    ] = None,
    older: Annotated[
        str | None,
        typer.Option("--older", metavar="AGE", help="Delete only what began before this age: 36h, 90d or 8w."),
    ] = None,
    checkout: Annotated[
        list[str] | None,
        typer.Option("--checkout", metavar="NAME=PATH", help="A folder in a checkout: find commits there, with ab."),
    ] = None,
    build: Annotated[
        list[str] | None,
        typer.Option("--build", metavar="NAME=COMMAND", help="Run this in each commit of that checkout first."),
    ] = None,
    python: Annotated[
        list[str] | None,
        typer.Option("--python", metavar="NAME=PATH", help="The interpreter that --build makes: mine=env/bin/python."),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option("--ray", metavar="ADDRESS", help="Measure jobs on the hosts of this cluster, as fleet run does."),
    ] = None,
    insecure_ray: Annotated[
        bool, typer.Option("--insecure-ray", help="Use that cluster even if Ray asks for no token.")
    ] = False,
    public_url: Annotated[
        str | None,
        typer.Option("--public-url", metavar="URL", help="Where readers reach it; links in notifications begin so."),
    ] = None,
    allow_webhook_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-webhook-host",
            metavar="NAME",
            help="Let notifications go to this host although its address is private; may be repeated.",
        ),
    ] = None,
    db: Database = None,
) -> None:
    """Serve the stored runs in a browser, and measure sweeps that are submitted there.

    It serves this machine alone unless --host says otherwise. Stop it with Ctrl-C: what it measures is kept, and goes
    on when it comes back. With --keep or --older, it deletes old runs as `convbench prune` does. With --ray, jobs may
    use other hosts. With --checkout and --trust-modules, it finds the commit since which a layer is slower.
    Needs the extra `serve`.
    """
    from convbench.actions.remove import age

    checkouts = _checkouts(checkout or (), trust_modules=trust_modules)
    builds = _of_checkouts("--build", build or (), dict(checkouts))
    for text in dict(builds).values():
        split_command(text)
    try:
        settings = importlib.import_module(f"{_SERVICE}.settings")
        server = importlib.import_module(f"{_SERVICE}.server")
    except ImportError as error:
        raise RequestError(
            f"`convbench serve` needs the Python package {error.name!r}", hint="pip install 'convbench[serve]'"
        ) from error

    def started(address: str) -> None:
        show(f"convbench serves {address} until Ctrl-C")
        flush()

    server.serve(
        settings.Settings(
            db=database_of(db),
            host=host,
            port=port,
            root_path=_checked_root(root_path),
            public_read=public_read,
            trust_modules=trust_modules,
            keep=keep,
            older=None if older is None else age(older),
            checkouts=checkouts,
            builds=builds,
            pythons=_of_checkouts("--python", python or (), dict(checkouts)),
            ray=_checked_ray(ray, insecure=insecure_ray),
            insecure_ray=insecure_ray,
            public_url=_checked_url(public_url),
            webhook_hosts=tuple(allow_webhook_host or ()),
        ),
        started=started,
    )


def _checkouts(given: Sequence[str], *, trust_modules: bool) -> tuple[tuple[str, Path], ...]:
    """The checkouts by name; RequestError for what is none, and where the service must not run their code."""
    from convbench.engine.git_commits import top_of

    if given and not trust_modules:
        raise RequestError("--checkout runs code of the checkout", hint="give --trust-modules if that is right")
    found: dict[str, Path] = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not (name and equals and path) or name in found:
            raise RequestError(f"--checkout {text}: expected NAME=PATH, each name once", hint="--checkout layers=src")
        if not Path(path).is_dir():
            raise RequestError(f"--checkout {text}: no such folder")
        top_of(Path(path))
        found[name] = Path(path).resolve()
    return tuple(found.items())


def _of_checkouts(option: str, given: Sequence[str], checkouts: Mapping[str, Path]) -> tuple[tuple[str, str], ...]:
    """What an option says of each checkout by name; RequestError for another name, and for one that is given twice."""
    found: dict[str, str] = {}
    for text in given:
        name, _, value = text.partition("=")
        if name not in checkouts or not value.strip() or name in found:
            raise RequestError(
                f"{option} {text}: expected the name of a --checkout, `=` and what is for it, each name once"
            )
        found[name] = value
    return tuple(found.items())


def _checked_ray(address: str | None, *, insecure: bool) -> str | None:
    """The address of the cluster; RequestError for none, without Ray, and where everybody may use the cluster."""
    from convbench.fleet.ray import missing, refuse_open, refuse_unknown

    if address is None:
        if insecure:
            raise RequestError("--insecure-ray is for a cluster", hint="name it with --ray")
        return None
    if importlib.util.find_spec("ray") is None:
        raise missing()
    refuse_unknown(address)
    try:
        refuse_open(address, insecure=insecure)
    except RequestError as error:
        raise RequestError(
            error.message,
            hint="start Ray with RAY_AUTH_MODE=token on every host and set it here; --insecure-ray insists",
        ) from None
    return address


def _checked_root(path: str) -> str:
    """The path without a slash at its end; RequestError for one that does not begin with a slash."""
    if path and (not path.startswith("/") or any(character in path for character in "?#\"'<> ")):
        raise RequestError(f"--root-path {path}: expected a path like /bench")
    return path.rstrip("/")


def _checked_url(url: str | None) -> str | None:
    """The URL without a slash at its end; RequestError for one that is not of http or https."""
    if url is not None and not (url.startswith(("http://", "https://")) and url.isprintable() and " " not in url):
        raise RequestError(f"--public-url {url}: expected a URL like https://bench.example.org")
    return None if url is None else url.rstrip("/")
