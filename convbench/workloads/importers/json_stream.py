"""The entries of a long list in JSON, one at a time. As one value, a trace of 1 GB would need many times its size."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Any

from convbench import units

#: The longest entry, characters.
LONGEST_ENTRY = 2**26
_OF_NUMBERS = "+-.0123456789eE"
_BLANK = " \t\r\n"


class NotJsonError(ValueError):
    """The text is no JSON, or ends in the middle."""


def entries(pieces: Iterator[bytes], key: str) -> Iterator[Any]:
    """The entries of the list under `key` of the document's object, or of a document that is a list.

    Raises NotJsonError, also at the end, for a document that is cut.
    """
    text = _Text(pieces)
    if text.mark("[{") == "[":
        yield from text.items()
    elif not text.follows("}"):
        while True:
            name = text.value()
            text.mark(":")
            if name == key and text.follows("["):
                yield from text.items()
            else:
                text.value()
            if text.mark(",}") == "}":
                break
    if text.character():
        raise NotJsonError("something stands behind the document")


class _Text:
    """The part of the text that is not read yet."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
        self._text = ""
        self._at = 0
        self._decode: json.JSONDecoder = json.JSONDecoder()

    def _more(self) -> bool:
        """Read as much again as is left, so that a long entry is not tried for each piece."""
        wanted = len(self._text) - self._at
        fresh: list[str] = []
        while sum(map(len, fresh)) <= wanted and (piece := next(self._pieces, b"")):
            fresh.append(self._decoder.decode(piece))
        self._text, self._at = self._text[self._at :] + "".join(fresh), 0
        return bool(fresh)

    def character(self) -> str:
        """The next character that is not blank, which stays; empty at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in _BLANK:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def follows(self, mark: str) -> bool:
        """Whether the next character is this one, which is then read."""
        if self.character() != mark:
            return False
        self._at += 1
        return True

    def mark(self, expected: str) -> str:
        """The next character, which must be one of these."""
        found = self.character()
        if not found:
            raise NotJsonError("it ends in the middle")
        if found not in expected:
            raise NotJsonError(f"expected one of {' '.join(expected)}, got {found!r}")
        self._at += 1
        return found

    def items(self) -> Iterator[Any]:
        """The entries of a list whose bracket was read."""
        if self.follows("]"):
            return
        while True:
            yield self.value()
            if self.mark(",]") == "]":
                return

    def value(self) -> Any:
        """The next value."""
        self.character()
        while True:
            try:
                value, end = self._decode.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                problem = error.msg
            except (RecursionError, ValueError):  # ValueError: a number of thousands of digits
                raise NotJsonError("it is nested too deep, or has too long a number") from None
            else:
                # The rest of a number may be in the next piece.
                if end < len(self._text) and self._text[end] not in _OF_NUMBERS:
                    self._at = end
                    return value
                problem = "it ends in the middle"
            if len(self._text) - self._at > LONGEST_ENTRY:
                raise NotJsonError(f"an entry has more than {units.count(LONGEST_ENTRY)} characters, or {problem}")
            if not self._more():
                raise NotJsonError("it ends in the middle" if problem.startswith(("Unterm", "Expecting")) else problem)
