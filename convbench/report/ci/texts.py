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


def incomparable_text(baseline: str, reason: str, *, replaced: bool) -> str:
    """What a night's summary says where the baseline cannot be compared. `replaced`: by this run."""
    then = (
        "This run is the new baseline."
        if replaced
        else "The baseline stays, since not every case of this run is right."
    )
    return f"Not comparable with {baseline}: {reason}. {then}"
