"""Commands of other programs: git, pip and what installs a lock file. Their output goes to standard error."""

from __future__ import annotations

import os
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from convbench.errors import RequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command with its folder and the environment variables that it needs. `output` is a file for what it prints."""

    words: tuple[str, ...]
    folder: Path
    variables: tuple[tuple[str, str], ...] = ()
    output: Path | None = None

    def __str__(self) -> str:
        """The command as one types it in its folder."""
        named = [f"{name}={shlex.quote(value)}" for name, value in self.variables]
        into = [] if self.output is None else [">", shlex.quote(str(self.output))]
        return " ".join([*named, shlex.join(self.words), *into])

    def run(self) -> int:
        """Run it and return its exit code; RequestError where there is no such program."""
        try:
            with (self.output or Path(os.devnull)).open("wb") as file:
                done = subprocess.run(
                    self.words,
                    cwd=self.folder,
                    env={**os.environ, **dict(self.variables)},
                    stdin=subprocess.DEVNULL,
                    stdout=2 if self.output is None else file,
                    check=False,
                )
        except OSError as error:
            raise RequestError(f"{self.words[0]}: {error.strerror}") from None
        return done.returncode

    def done(self) -> None:
        """Run it; RequestError where it fails."""
        code = self.run()
        if code:
            raise RequestError(f"`{self}` ended with exit code {code}", hint="its own messages above say why")


def answer(words: tuple[str, ...], folder: Path) -> str | None:
    """What a command prints, None where it fails."""
    try:
        done = subprocess.run(words, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError:
        return None
    return None if done.returncode else done.stdout.decode(errors="backslashreplace")
