"""The verbs of a CI, and the one that writes its workflow."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convbench.cli.output import say, show
from convbench.errors import RequestError
from convbench.store.files import check_writable, write_bytes
from convbench.units import line

ci = typer.Typer(help="Check layer speed in a CI.", rich_markup_mode=None, no_args_is_help=True)


def init(
    github: Annotated[bool, typer.Option("--github", help="Write a workflow for GitHub Actions.")] = False,
    gitlab: Annotated[bool, typer.Option("--gitlab", help="Write a file for GitLab CI/CD to include.")] = False,
    config: Annotated[
        list[str] | None,
        typer.Option(
            "--config", metavar="CONFIG", help="A sweep to measure; may be repeated. [default: those found here]"
        ),
    ] = None,
    install: Annotated[
        str | None,
        typer.Option(
            "--install", metavar="WHAT", help="The pip requirement for convbench. [default: as installed here]"
        ),
    ] = None,
    extra_index: Annotated[
        str | None,
        typer.Option("--extra-index", metavar="URL", help="A further index for pip: that of torch's CPU builds."),
    ] = None,
    push: Annotated[
        str | None,
        typer.Option("--push", metavar="URL", help="Send each night's run to the service at this address."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="The file to write. [default: where the CI expects it]"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write a CI workflow that checks layer speed.

    Each pull request runs `convbench ci pull-request`, and each night `convbench ci nightly`. Without options, the
    repository says which CI it uses and which sweeps it has. Run this at its root.
    """
    from convbench.actions import ci_setup
    from convbench.actions.locks import LOCKS
    from convbench.cli.init import write_sweep
    from convbench.report.ci.workflow import PLACES, PUSH_TOKEN, Service, workflow
    from convbench.version import __version__

    here = Path()
    if github and gitlab:
        raise RequestError("got --github and --gitlab", hint="give the CI that the workflow is for")
    service = Service.GITHUB if github else Service.GITLAB if gitlab else ci_setup.service_of(here)
    path = Path(PLACES[service]) if output is None else output
    configs, notes = ([ci_setup.checked(each, here) for each in config], []) if config else ci_setup.sweeps_in(here)
    wanted, more = (install, ()) if install is not None else ci_setup.installed_from(here)
    text = workflow(
        service,
        configs=list(dict.fromkeys(configs)) or [ci_setup.FIRST_SWEEP],
        install=ci_setup.without_password("--install", wanted),
        index=None if extra_index is None else ci_setup.without_password("--extra-index", extra_index),
        push=None if push is None else ci_setup.service_address(push),
        output=path.as_posix(),
        version=__version__,
    ).encode()
    if path.exists() and path.read_bytes() != text and not force:
        raise RequestError(f"{path} exists already", hint="--force overwrites it, -o FILE writes another file")
    check_writable(path)
    if not configs:
        write_sweep(Path(ci_setup.FIRST_SWEEP))
        say(f"note: this repository has no sweep; {ci_setup.FIRST_SWEEP} is one to begin with")
    write_bytes(path, text)
    show(line(str(path)))
    for note in (*notes, *more):
        say(f"note: {note}")
    if not Path(".git").exists():
        say("note: this folder is not the root of a git repository; CI reads the workflow from there")
    if not any(Path(lock).is_file() for lock in LOCKS):
        say(f"note: a job needs a lock file, one of {', '.join(LOCKS)}; `pip freeze > requirements.txt` makes one")
    if push is not None:
        say(
            f"note: the CI needs the secret {PUSH_TOKEN}, a token; `convbench token create ci --scope report` makes one"
        )
    if service is Service.GITLAB:
        say(f"note: add this line to .gitlab-ci.yml: include: [{{local: {line(path.as_posix())}}}]")
