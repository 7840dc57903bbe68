"""The workflow that `convbench ci init` writes, made from templates. Pure.

Users read and change the result. What its commands do, `convbench ci pull-request` and `convbench ci nightly` say.
"""

from __future__ import annotations

import json
import shlex
import string
from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from pathlib import Path

from convbench.report.ci.texts import marker

_TEMPLATES = Path(__file__).parent / "templates"


class Service(StrEnum):
    """The CI service that the workflow is for."""

    GITHUB = "github"
    GITLAB = "gitlab"


#: The usual path of the workflow, from the root of the repository.
PLACES: dict[Service, str] = {
    Service.GITHUB: ".github/workflows/convbench.yml",
    Service.GITLAB: ".gitlab-ci-convbench.yml",
}
#: pip's variable for a further index.
_INDEX = "PIP_EXTRA_INDEX_URL"


class _Template(string.Template):
    """Placeholders are `@@{name}`, which means nothing in YAML, the shell and the CI's own expressions."""

    delimiter = "@@"


#: The secret of the CI with the token of the service. On GitLab, CONVBENCH_TOKEN is that of the notes.
PUSH_TOKEN = "CONVBENCH_SERVICE_TOKEN"
#: The line that sends a night's run, also where it became slower.
_PUSHES: dict[Service, str] = {
    Service.GITHUB: (
        '\n      - {if: always(), run: convbench push latest --to "@@{address}", '
        'env: {CONVBENCH_TOKEN: "${{ secrets.@@{secret} }}"}}'
    ),
    Service.GITLAB: (
        """\n  after_script: ['CONVBENCH_TOKEN="$@@{secret}" convbench push latest --to "@@{address}"']"""
    ),
}


def workflow(
    service: Service,
    *,
    configs: Sequence[str],
    install: str,
    output: str,
    version: str,
    index: str | None = None,
    push: str | None = None,
) -> str:
    """The workflow's text. Its first lines contain the command that writes it again.

    `configs` are the sweeps' paths from the root of the repository. `install` is pip's argument for convbench, and
    `index` a further index for pip. `push` is the address of a service that gets each night's run. `output` is the
    workflow's own path.
    """
    command = ["convbench", "ci", "init", f"--{service}"]
    command += [word for config in configs for word in ("--config", config)]
    command += ["--install", install]
    command += [] if index is None else ["--extra-index", index]
    command += [] if push is None else ["--push", push]
    if output != PLACES[service]:
        command += ["--output", output]
    return _Template(_read(f"{service}.yml")).substitute(
        command=shlex.join(command),
        version=version,
        configs=f"[{', '.join(map(_quoted, configs))}]",
        markers=_quoted("\n".join(map(marker, configs))),
        install=_quoted(install),
        index=f"# {_INDEX}: ..." if index is None else f"{_INDEX}: {_quoted(index)}",
        output=output,
        push="" if push is None else _Template(_PUSHES[service]).substitute(address=push, secret=PUSH_TOKEN),
    )


def _quoted(text: str) -> str:
    """Any text as a YAML string: YAML reads JSON's strings."""
    return json.dumps(text, ensure_ascii=False)


@cache
def _read(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")
