"""Prints: the only place that does. No text of others steers the terminal or begins a line of its own."""

from __future__ import annotations

import sys
from contextlib import suppress

from convbench.units import safe


class OutputError(Exception):
    """Standard output cannot be written; `gone` where its reader has ended, as `head` does."""

    def __init__(self, reason: str, *, gone: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.gone = gone


def show(text: str) -> None:
    """A text and a line feed to standard output; raises OutputError where that cannot be written."""
    try:
        print(safe(text))
    except OSError as error:
        raise _output_error(error) from error


def show_bytes(content: bytes) -> None:
    """What other programs read, to standard output as it is; a terminal gets it as `safe` text. Raises OutputError."""
    try:
        if sys.stdout.isatty():
            print(safe(content.decode("utf-8", errors="backslashreplace")), end="", flush=True)
        else:
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()
    except OSError as error:
        raise _output_error(error) from error


def flush() -> None:
    """Write what standard output still holds; raises OutputError."""
    try:
        sys.stdout.flush()
    except OSError as error:
        raise _output_error(error) from error


def say(text: str) -> None:
    """A text and a line feed to standard error; where nobody can be told there, nothing."""
    with suppress(OSError):
        print(safe(text), file=sys.stderr, flush=True)


def _output_error(error: OSError) -> OutputError:
    return OutputError(error.strerror or str(error), gone=isinstance(error, BrokenPipeError))
