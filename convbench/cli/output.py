"""The only module that prints. It escapes control characters, and colours verdicts on a terminal."""

from __future__ import annotations

import sys
from contextlib import suppress

from convbench.cli.terminal import painted
from convbench.units import safe


class OutputError(Exception):
    """Standard output cannot be written. `is_closed` where the reader has closed the pipe, as `head` does."""

    def __init__(self, reason: str, *, is_closed: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_closed = is_closed


def show(text: str) -> None:
    """Print a text and a line feed to standard output; raises OutputError where that fails."""
    try:
        print(painted(safe(text), sys.stdout))
    except OSError as error:
        raise _output_error(error) from error


def show_bytes(content: bytes) -> None:
    """Write bytes to standard output unchanged; a terminal gets them as `safe` text. Raises OutputError."""
    try:
        if sys.stdout.isatty():
            print(safe(content.decode("utf-8", errors="backslashreplace")), end="", flush=True)
        else:
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()
    except OSError as error:
        raise _output_error(error) from error


def flush() -> None:
    """Flush standard output; raises OutputError where that fails."""
    try:
        sys.stdout.flush()
    except OSError as error:
        raise _output_error(error) from error


def say(text: str) -> None:
    """Print a text and a line feed to standard error; errors are ignored."""
    with suppress(OSError):
        print(painted(safe(text), sys.stderr), file=sys.stderr, flush=True)


def ask(question: str) -> str | None:
    """The line that a user types behind a question on standard error; None at the end of standard input."""
    with suppress(OSError):
        print(safe(question), end=" ", file=sys.stderr, flush=True)
    try:
        return input()
    except EOFError:
        return None


def _output_error(error: OSError) -> OutputError:
    return OutputError(error.strerror or str(error), is_closed=isinstance(error, BrokenPipeError))
