"""The workflow that `convbench ci init` writes: templates with a few places, filled in here. Pure.

The templates are what a user reads afterwards, so that every step in them says why it is there.
"""

from __future__ import annotations

import json
import shlex
import string
import textwrap
from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from pathlib import Path

_TEMPLATES = Path(__file__).parent / "templates"


class Service(StrEnum):
    """Whose CI the workflow is for."""

    GITHUB = "github"
    GITLAB = "gitlab"


#: Where each looks for a workflow, or is told to look, from the root of the repository.
PLACES: dict[Service, str] = {
    Service.GITHUB: ".github/workflows/convbench.yml",
    Service.GITLAB: ".gitlab-ci-convbench.yml",
}
#: How far the shell's functions and the steps of the history stand to the right in each template.
_INDENTS: dict[Service, tuple[int, int]] = {Service.GITHUB: (4, 10), Service.GITLAB: (6, 6)}


class _Template(string.Template):
    """Places are written `@@{name}`: neither YAML, the shell, nor a CI's own expressions write anything so."""

    delimiter = "@@"


def workflow(service: Service, *, configs: Sequence[str], install: str, output: str, version: str) -> str:
    """The workflow's text, with the command that writes it again in its head.

    `configs` are the sweeps' paths from the root of the repository, `install` is what pip is given for convbench,
    `output` the workflow's own path.
    """
    command = ["convbench", "ci", "init", f"--{service}"]
    command += [word for config in configs for word in ("--config", config)]
    command += ["--install", install]
    if output != PLACES[service]:
        command += ["--output", output]
    functions, history = _INDENTS[service]
    return _Template(_read(f"{service}.yml")).substitute(
        command=shlex.join(command),
        version=version,
        configs=f"[{', '.join(map(_quoted, configs))}]",
        install=_quoted(install),
        output=output,
        functions=textwrap.indent(_read("functions.sh"), " " * functions),
        history=textwrap.indent(_read("history.sh"), " " * history).rstrip("\n"),
    )


def _quoted(text: str) -> str:
    """A text as YAML reads it back, whatever is in it: YAML takes JSON's strings."""
    return json.dumps(text)


@cache
def _read(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")
