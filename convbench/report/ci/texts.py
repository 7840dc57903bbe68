"""What the verbs of a CI print and leave behind: plans of `--dry-run`, comments and job summaries. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import groupby

from convbench.engine.commands import Command


def plan_text(about: Sequence[str], commands: Sequence[Command], closing: Sequence[str]) -> str:
    """The facts, the commands by their folder, and what follows them."""
    lines = list(about)
    for folder, here in groupby(commands, key=lambda command: command.folder):
        lines += [f"in {shlex.quote(str(folder))}:", *(f"  {command}" for command in here)]
    return "\n".join([*lines, *closing])


def marker(config: str) -> str:
    """The first line of a comment, which services do not show and by which a later push finds it."""
    return f"<!-- convbench {config} -->"


def comment_text(config: str, summary: str) -> str:
    """The comment on a pull request."""
    return f"{marker(config)}\n{summary}"


def replaced_text(baseline: str, reason: str) -> str:
    """What a night's summary says where the run replaces a baseline that cannot be compared."""
    return f"Not comparable with {baseline}: {reason}. This run is the new baseline."
