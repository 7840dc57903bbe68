"""What one value may be beyond its type: a whole number, a number or a text within limits."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

#: The largest number that a database keeps as an integer.
MOST_STORED = 2**63 - 1
#: Up to here float32 and float64 count what a sweep or a block may count: occurrences of a layer, iterations.
MOST_COUNTED = 2**53
#: No seconds, bytes per second or ratios that anybody measures are more, and float32 holds it.
MOST_MEASURED = 1e30


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """An integer from `low` to `high`."""

    low: int = 0
    high: int = MOST_STORED

    @property
    def what(self) -> str:
        """`an integer from 1 to 100`."""
        return f"an integer of at least {self.low}" + (f" and at most {self.high}" if self.high < MOST_STORED else "")

    def holds(self, value: float) -> bool:
        """Whether the value is one."""
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number from `low` to `high`, which is finite; where `unknown`, NaN stands for what was not measured."""

    low: float = 0.0
    high: float = MOST_MEASURED
    above: bool = False  # `low` itself is none
    unknown: bool = False

    @property
    def what(self) -> str:
        """`a finite number of at least 0`."""
        kind = "a finite number" if math.isfinite(self.high) else "a number"
        least = f"{kind} {'above' if self.above else 'of at least'} {self.low:g}"
        most = f" and at most {self.high:g}" if math.isfinite(self.high) else ""
        return f"{least}{most}{' or nan' if self.unknown else ''}"

    def holds(self, value: float) -> bool:
        """Whether the value is one."""
        if self.low <= value <= self.high:
            return not (self.above and value == self.low)
        return self.unknown and value != value


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A text that `fits`; no text has NUL or halves of surrogate pairs."""

    what: str = "text without NUL and without halves of surrogate pairs"
    fits: Callable[[str], object] | None = None

    def holds(self, value: str) -> bool:
        """Whether the text is one."""
        if "\0" in value or not (value.isascii() or _HALVES.search(value) is None):
            return False
        return self.fits is None or bool(self.fits(value))


Bound = Whole | Number | Words
#: What a value of a type may be where nothing else is said.
OF_TYPES: dict[type, Bound] = {int: Whole(), float: Number(), str: Words()}

_HALVES = re.compile("[\ud800-\udfff]")


def visible(text: str) -> str:
    """The text as it is stored and written: NUL and halves of surrogate pairs, which C code may print, made visible."""
    if "\0" not in text and (text.isascii() or _HALVES.search(text) is None):
        return text
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def expected(what: str, value: object) -> str:
    """`expected an integer, got 'a'`."""
    return f"expected {what}, got {shortened(value)}"


def shortened(value: object) -> str:
    """A value as a message shows it, 60 characters at most."""
    text = repr(value) if not isinstance(value, str | bytes) else repr(value[:60])
    return text if len(text) <= 60 else f"{text[:57]}..."
