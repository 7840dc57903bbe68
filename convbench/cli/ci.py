"""The verb that sets up a CI."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from convbench.cli.options import app
from convbench.cli.output import say, show
from convbench.errors import RequestError
from convbench.store.files import write_bytes
from convbench.units import line

ci = typer.Typer(help="Have a CI guard the speed of layers.", rich_markup_mode=None, no_args_is_help=True)
app.add_typer(ci, name="ci")

#: What a sweep's path may hold: it becomes the key of a cache and the mark of a comment.
_PATH = re.compile(r"[\w./+=-]+")


@ci.command("init")
def ci_init(
    github: Annotated[bool, typer.Option("--github", help="A workflow for GitHub Actions.")] = False,
    gitlab: Annotated[bool, typer.Option("--gitlab", help="A file for GitLab CI/CD to include.")] = False,
    config: Annotated[
        list[str] | None,
        typer.Option(
            "--config", metavar="CONFIG", help="A sweep to measure; may be repeated. [default: configs/quick.yaml]"
        ),
    ] = None,
    install: Annotated[
        str | None,
        typer.Option("--install", metavar="WHAT", help="What pip installs convbench from. [default: as it was here]"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Where to write it. [default: where it is looked for]"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Write a workflow that guards the speed of layers.

    Pull requests are measured side by side with the commit they began at, each side built from its own lock file;
    every night the branch is compared with its baseline. To be run at the root of the repository.
    """
    from convbench.report.ci.workflow import PLACES, Service, workflow
    from convbench.version import __version__

    if github == gitlab:
        raise RequestError("which CI?", hint="--github or --gitlab")
    service = Service.GITHUB if github else Service.GITLAB
    path = Path(PLACES[service]) if output is None else output
    configs = [_checked(each) for each in config or ["configs/quick.yaml"]]
    if path.exists() and not force:
        raise RequestError(f"{path} is there already", hint="--force writes over it, -o FILE writes another")
    text = workflow(
        service,
        configs=list(dict.fromkeys(configs)),
        install=installed_from() if install is None else install,
        output=path.as_posix(),
        version=__version__,
    )
    write_bytes(path, text.encode())
    show(line(str(path)))
    if not Path(".git").exists():
        say("note: this is not the root of a git repository, where CI looks for such a file")
    if service is Service.GITLAB:
        say(f"note: .gitlab-ci.yml has to say: include: [{{local: {line(path.as_posix())}}}]")


def _checked(config: str) -> str:
    """A sweep's path from the root of the repository; RequestError where that holds no sweep, or CI cannot name it."""
    from convbench import sweep

    path = Path(config)
    if path.is_absolute() or ".." in path.parts or not _PATH.fullmatch(config):
        raise RequestError(
            f"--config {config!r}: expected a path below the root of the repository, of letters, digits and . _ / + = -"
        )
    sweep.load(path)  # a mistake in it is better told here than by the first pull request
    return path.as_posix()


def installed_from() -> str:
    """What pip was given for this convbench, as far as another machine can be given the same (PEP 610)."""
    import json
    from importlib.metadata import distribution

    told = distribution("convbench")
    origin = json.loads(told.read_text("direct_url.json") or "{}")
    url, vcs = origin.get("url"), origin.get("vcs_info")
    if url is None:
        return f"convbench=={told.version}"
    if url == Path.cwd().as_uri():
        return "."
    if url.startswith("file:"):
        raise RequestError(
            "this convbench was installed from this machine, which the CI cannot",
            hint="--install says what pip is given there: a name with a version, or git+https://...",
        )
    return f"{vcs['vcs']}+{url}@{vcs['commit_id']}" if vcs else str(url)
