"""The verb that writes a CI workflow."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from convbench.cli.output import say, show
from convbench.errors import RequestError
from convbench.model.threshold import FEWEST_PROCESSES
from convbench.store.files import write_bytes
from convbench.units import line

ci = typer.Typer(help="Set up a CI that checks layer speed.", rich_markup_mode=None, no_args_is_help=True)

#: Characters allowed in a sweep's path: the workflow uses it in cache keys and comment markers.
_PATH = re.compile(r"[\w./+=-]+")


@ci.command("init")
def ci_init(
    github: Annotated[bool, typer.Option("--github", help="Write a workflow for GitHub Actions.")] = False,
    gitlab: Annotated[bool, typer.Option("--gitlab", help="Write a file for GitLab CI/CD to include.")] = False,
    config: Annotated[
        list[str] | None,
        typer.Option(
            "--config", metavar="CONFIG", help="A sweep to measure; may be repeated. [default: configs/sweep.yaml]"
        ),
    ] = None,
    install: Annotated[
        str | None,
        typer.Option(
            "--install", metavar="WHAT", help="The pip requirement for convbench. [default: as installed here]"
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="The file to write. [default: where the CI expects it]"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write a CI workflow that checks layer speed.

    For each pull request, CI measures its commit and its base commit side by side. Each side is built from its own lock
    file. Every night CI compares the branch with its baseline. Run this at the root of the repository.
    """
    from convbench.report.ci.workflow import PLACES, Service, workflow
    from convbench.version import __version__

    if github == gitlab:
        raise RequestError("expected exactly one of --github and --gitlab", hint="give the CI that the workflow is for")
    service = Service.GITHUB if github else Service.GITLAB
    path = Path(PLACES[service]) if output is None else output
    configs = [_checked(each) for each in config or ["configs/sweep.yaml"]]
    if path.exists() and not force:
        raise RequestError(f"{path} exists already", hint="--force overwrites it, -o FILE writes another file")
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
        say("note: this folder is not the root of a git repository; CI reads the workflow from there")
    if service is Service.GITLAB:
        say(f"note: add this line to .gitlab-ci.yml: include: [{{local: {line(path.as_posix())}}}]")


def _checked(config: str) -> str:
    """A sweep's path from the root of the repository; raises RequestError for an invalid sweep or path."""
    from convbench import sweep

    path = Path(config)
    if path.is_absolute() or ".." in path.parts or not _PATH.fullmatch(config):
        raise RequestError(
            f"--config {config!r}: expected a path below the root of the repository, with letters, digits and ._/+=-",
            hint="move or rename the sweep file",
        )
    processes = sweep.load(path).measure.processes  # reports mistakes now instead of in the first pull request
    if processes < FEWEST_PROCESSES:
        raise RequestError(
            f"{config}: measure.processes is {processes}, and a change needs {FEWEST_PROCESSES}",
            hint=f"measure: {{processes: {FEWEST_PROCESSES}}} or more, or another sweep",
        )
    return path.as_posix()


def installed_from() -> str:
    """The pip requirement of this installation (PEP 610); raises RequestError where other machines cannot use it."""
    import json
    from importlib.metadata import distribution

    installed = distribution("convbench")
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    url, vcs = origin.get("url"), origin.get("vcs_info")
    if url is None:
        return f"convbench=={installed.version}"
    if url == Path.cwd().as_uri():
        return "."
    if url.startswith("file:"):
        raise RequestError(
            "this convbench was installed from a folder or file of this machine, which CI cannot read",
            hint="give --install a requirement that CI can install: a name with a version, or git+https://...",
        )
    return f"{vcs['vcs']}+{url}@{vcs['commit_id']}" if vcs else str(url)
