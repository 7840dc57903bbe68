"""Text for a terminal: the only place that prints. No text of others steers the terminal or begins a line of its own.

Labels, names, versions, reasons and exceptions come from users, their code and runs of colleagues.
"""

from __future__ import annotations

import re
import sys
from contextlib import suppress

#: What a terminal obeys instead of showing it: control characters but the line feed, halves of surrogate pairs, line
#: and paragraph separators, marks that change the direction of writing (Unicode's UAX 9), annotations and tags.
_OBEYED = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\U000e0000-\U000e007f\ud800-\udfff]"
)
_OBEYED_OR_BREAK = re.compile(rf"{_OBEYED.pattern}|\n")
#: Names and passwords in a URL: `scheme://user:password@host`. A password may hold an `@`, never a blank.
_CREDENTIALS = re.compile(r"(?<=://)[^\s'\"`<>]*@")
#: Characters of one value in a message at most; torch's longest reasons have a few hundred.
LONGEST = 2000


class OutputError(Exception):
    """Standard output cannot be written; `gone` where its reader has ended, as `head` does."""

    def __init__(self, reason: str, *, gone: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.gone = gone


def safe(text: str) -> str:
    r"""Text of several lines: line feeds stay, whatever else a terminal would obey is shown as an escape: `\x1b`."""
    return text if text.isascii() and text.replace("\n", "").isprintable() else _OBEYED.sub(_escaped, text)


def line(text: str, *, most: int | None = None) -> str:
    """A value on one line, line breaks and tabs shown as escapes too; what is over `most` characters is left out."""
    if most is not None and len(text) > most:
        text = f"{text[:most]}... ({len(text):,} characters)"
    return text if text.isascii() and text.isprintable() else _OBEYED_OR_BREAK.sub(_escaped, text)


def flat(text: str) -> str:
    """A value on one line, each stretch of white space as one blank."""
    return line(" ".join(text.split()))


def without_credentials(text: str) -> str:
    """The text with `***` for the user and the password of every URL in it."""
    return _CREDENTIALS.sub("***@", text) if "@" in text else text


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


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
