"""Values as Python writes them, read without evaluating anything: numbers, words, texts, lists, tuples, and tensors.

`T([128, 3, 224, 224], f16, stride=(150528, 1, 672, 3))` is a tensor, as operator-input logs write it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

Value: TypeAlias = "int | float | bool | str | list[Value] | tuple[Value, ...] | dict[str, Value] | Tensor | None"

#: The deepest nesting; a log has four levels.
DEEPEST = 20
_TOKEN = re.compile(
    r"\s*(?:(?P<number>-?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)|(?P<word>[A-Za-z_][\w.:]*)"
    r"|(?P<text>'[^'\\]*'|\"[^\"\\]*\")|(?P<mark>[][(){},=:]))"
)
_WORDS: dict[str, Value] = {"None": None, "True": True, "False": False}
_CLOSING = {"[": "]", "(": ")", "{": "}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A tensor by its shape, the name of its dtype in the file, and its strides in elements; None where not given."""

    shape: tuple[int, ...]
    dtype: str
    strides: tuple[int, ...] | None = None


class NotALiteralError(ValueError):
    """The text is no value of this kind, or ends in the middle of one."""


def parse(text: str) -> Value:
    """The value that is the whole text. Raises NotALiteralError."""
    reading = _Reading(text)
    value = reading.value(0)
    if text[reading.at :].strip():
        raise NotALiteralError("something stands behind the value")
    return value


class _Reading:
    """A place in the text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.at = 0

    def _next(self) -> tuple[str, str]:
        found = _TOKEN.match(self._text, self.at)
        if found is None or found.lastgroup is None:
            raise NotALiteralError("no value stands here")
        self.at = found.end()
        return found.lastgroup, found[found.lastgroup]

    def _follows(self, mark: str) -> bool:
        """Whether the next token is this mark, which is then read."""
        found = _TOKEN.match(self._text, self.at)
        if found is None or found["mark"] != mark:
            return False
        self.at = found.end()
        return True

    def value(self, depth: int) -> Value:
        if depth > DEEPEST:
            raise NotALiteralError(f"it is nested more than {DEEPEST} deep")
        kind, token = self._next()
        if kind == "number":
            return int(token) if re.fullmatch(r"-?\d{1,18}", token) else float(token)
        if kind == "text":
            return token[1:-1]
        if kind == "word":
            return self._call(token, depth) if self._follows("(") else _WORDS.get(token, token)
        if token not in _CLOSING:
            raise NotALiteralError("a value is missing")
        positional, named = self._items(_CLOSING[token], depth, colons=token == "{")
        if token == "{":
            return named
        return positional if token == "[" else tuple(positional)

    def _call(self, name: str, depth: int) -> Value:
        positional, named = self._items(")", depth)
        if name != "T":
            return name
        if len(positional) != 2 or not isinstance(positional[1], str):
            raise NotALiteralError("a tensor needs a shape and a dtype")
        strides = named.get("stride")
        given = None if strides is None else whole(strides)
        return Tensor(shape=whole(positional[0]), dtype=positional[1], strides=given)

    def _items(self, closing: str, depth: int, *, colons: bool = False) -> tuple[list[Value], dict[str, Value]]:
        """The values up to a mark, and those with a name before `=` or `:`."""
        positional: list[Value] = []
        named: dict[str, Value] = {}
        while not self._follows(closing):
            value = self.value(depth + 1)
            if self._follows(":" if colons else "="):
                named[str(value)] = self.value(depth + 1)
            else:
                positional.append(value)
            if not self._follows(","):
                if not self._follows(closing):
                    raise NotALiteralError("a comma or the end of the list is missing")
                break
        return positional, named


def whole(value: object) -> tuple[int, ...]:
    """A list of integers. Raises NotALiteralError for another value."""
    if not isinstance(value, list | tuple) or not all(type(each) is int for each in value):
        raise NotALiteralError("expected a list of integers")
    return tuple(value)
