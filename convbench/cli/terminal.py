"""What a stream is: a terminal with so many columns, in colours or not. Colours verdicts and statuses."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from typing import TextIO

_RED, _GREEN, _YELLOW = "31", "32", "33"
#: The colour of a verdict or a status, as a number of ECMA-48's "select graphic rendition".
COLOURS: Mapping[str, str] = {
    **dict.fromkeys(("regressed", "failed", "crashed", "timed out", "out of memory", "error"), _RED),
    **dict.fromkeys(("improved", "passed"), _GREEN),
    **dict.fromkeys(("inconclusive", "imprecise"), _YELLOW),
}
#: Such a word where it begins a line, is the whole cell of a table or follows its head; and a step of a history.
_WORDS = "|".join(COLOURS)
_VERDICT = re.compile(rf"(?m)^(?:{_WORDS})\b|(?:(?<=  )|(?<=check ))(?:{_WORDS})(?=  |,|$)|^step ([-+])\S+ %")
_STEPS = {"+": _RED, "-": _GREEN}


def columns(stream: TextIO) -> int | None:
    """The width of the terminal, None for a pipe or a file."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def has_colours(stream: TextIO) -> bool:
    """Whether text may be coloured: a terminal, unless NO_COLOR is set (no-color.org) or it knows no colours."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def painted(text: str, stream: TextIO) -> str:
    """The text with its verdicts and statuses in colours, where the stream may have them."""
    if not has_colours(stream):
        return text
    return _VERDICT.sub(_in_colour, text)


def _in_colour(found: re.Match[str]) -> str:
    colour = _STEPS[found[1]] if found[1] else COLOURS[found[0]]
    return f"\x1b[{colour}m{found[0]}\x1b[0m"
