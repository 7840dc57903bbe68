"""Bounds of one value in addition to its type: an integer, a number or a text within limits."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

#: The largest integer that a database stores.
MOST_STORED = 2**63 - 1
#: The largest count of a sweep or a block, which float32 and float64 hold: occurrences of a layer, iterations.
MOST_COUNTED = 2**53
#: Larger than any measured seconds, bytes per second or ratio, and within float32.
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
    """A finite number from `low` to `high`; where `unknown` is set, NaN is a value that was not measured."""

    low: float = 0.0
    high: float = MOST_MEASURED
    above: bool = False  # `low` itself is not allowed
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
    """A text that `fits` accepts, without NUL and without unpaired surrogates."""

    what: str = "text without NUL and without halves of surrogate pairs"
    fits: Callable[[str], object] | None = None

    def holds(self, value: str) -> bool:
        """Whether the text is one."""
        if "\0" in value or not (value.isascii() or _HALVES.search(value) is None):
            return False
        return self.fits is None or bool(self.fits(value))


Bound = Whole | Number | Words
#: The bounds of a type's values where a field has no bound.
OF_TYPES: dict[type, Bound] = {int: Whole(), float: Number(), str: Words()}

_HALVES = re.compile("[\ud800-\udfff]")


def visible(text: str) -> str:
    """The text as it is stored and written: NUL and unpaired surrogates, which C code may print, are escaped."""
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
