"""Reads JSON into dataclasses by the types of their fields. An error names its place in the JSON.

Readers refuse entries that are missing, unknown, of the wrong type or out of bounds (model/bounds.py).
"""

from __future__ import annotations

import base64
import binascii
import functools
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from enum import StrEnum
from operator import attrgetter
from typing import TypeAlias, TypeVar

from convbench.errors import RequestError
from convbench.model.bounds import COMPUTED, WRONG, bound
from convbench.model.operators.given import default_for
from convbench.model.values import Bound, Whole, expected, shortened
from convbench.model.variables import Variables, hidden

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
T = TypeVar("T")

#: Names of entries and of columns of blocks in exports and databases before 2026-11-28 -> their names today.
OLD_NAMES = {
    "compute_canary_s": "compute_probe_s",
    "memory_canary_s": "memory_probe_s",
    "pass_index": "process_index",
    "passes": "processes",
}


class UnexpectedError(Exception):
    """A value that its type does not allow. `place` is its path in the JSON, innermost part first."""

    def __init__(self, message: str, place: Sequence[str | int] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.place = [*reversed(place)]

    def as_request_error(self, *outside: str | int) -> RequestError:
        """The error for people, with its path, which begins with `outside`: `results[3].case.problem.stride: ...`."""
        parts = [*outside, *reversed(self.place)]
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).lstrip(".")
        return RequestError(f"{place}: {self.message}" if place else self.message)


def _unexpected(what: str, value: object) -> UnexpectedError:
    return UnexpectedError(expected(what, value))


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of the JSON of a dataclass: a field, or a field of an inlined dataclass (model/fact.py).

    `default` is MISSING where the entry is required; `of` is the dataclass of the field.
    """

    name: str
    default: object
    of: type
    value: Callable[[typing.Any], object]


@functools.cache
def entries(of: typing.Any, rank: int = 0) -> tuple[Entry, ...]:
    """The entries of a dataclass in the order in which they are written; a problem's have the defaults of its rank.

    Required entries come first; optional entries of inlined fields come last.
    """
    found: list[tuple[int, Entry]] = []
    for field in fields(of):
        inlined: type | None = field.metadata.get("inlined")
        inner: tuple[Field[typing.Any], ...] = fields(inlined) if inlined else (field,)
        for part in inner:
            path = f"{field.name}.{part.name}" if inlined else part.name
            default = default_for(rank, part.default)
            entry = Entry(name=part.name, default=default, of=inlined or of, value=attrgetter(path))
            found.append((0 if part.default is MISSING else 2 if inlined else 1, entry))
    return tuple(entry for _, entry in sorted(found, key=lambda each: each[0]))


def _integer(value: Json) -> int:
    if type(value) is not int:
        raise _unexpected("an integer", value)
    return value


def _number(value: Json) -> float:
    if type(value) is float:
        return value
    if type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise _unexpected("a number", value) from None
    if isinstance(value, str) and value in ("nan", "inf", "-inf"):
        return float(value)
    raise _unexpected("a number", value)


def _boolean(value: Json) -> bool:
    if type(value) is not bool:
        raise _unexpected("true or false", value)
    return value


def _text(value: Json) -> str:
    if not isinstance(value, str):
        raise _unexpected("a text", value)
    return value


def _bytes(value: Json) -> bytes:
    try:
        return base64.b64decode(_text(value), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _unexpected("base64", value) from error


def _variables(value: Json) -> Variables:
    """Environment variables without the values of secrets, which older versions stored."""
    return hidden(_pairs(value))


_Reader: TypeAlias = Callable[[Json], typing.Any]
_PLAIN: dict[object, _Reader] = {
    int: _integer,
    float: _number,
    bool: _boolean,
    str: _text,
    bytes: _bytes,
    Variables: _variables,
}


@functools.cache
def _reader(kind: typing.Any, of: type, name: str) -> _Reader:
    """The reader of a value of the annotated type `kind` for the field `name` of the dataclass `of`."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in _PLAIN:
        row = bound(of, name, kind)
        return _PLAIN[kind] if row is None else _bounded(_PLAIN[kind], row)
    if origin is tuple and arguments[-1] is Ellipsis:
        return _sequence(_reader(arguments[0], of, name))
    if origin is tuple:
        return _row(tuple(_reader(argument, of, name) for argument in arguments))
    if origin in (types.UnionType, typing.Union):
        return _either(arguments, of, name)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return _word(kind)
    if isinstance(kind, type) and is_dataclass(kind):
        return _object(kind)
    raise TypeError(f"no reader for {kind}")


def _bounded(plain: _Reader, row: Bound) -> _Reader:
    holds: Callable[[typing.Any], bool] = row.holds
    if isinstance(row, Whole):
        return _whole(row)

    def read(value: Json) -> object:
        made = plain(value)
        if not holds(made):
            raise _unexpected(row.what, value)
        return made

    return read


def _whole(row: Whole) -> _Reader:
    low, high = row.low, row.high

    def read(value: Json) -> int:
        if type(value) is int and low <= value <= high:  # checked first: a run of 100,000 cases has a million integers
            return value
        _integer(value)
        raise _unexpected(row.what, value)

    return read


def _sequence(item: _Reader) -> _Reader:
    def read(value: Json) -> tuple[object, ...]:
        if type(value) is not list:
            raise _unexpected("a list", value)
        try:
            return tuple([item(entry) for entry in value])
        except UnexpectedError:
            return tuple(_at(index, item, entry) for index, entry in enumerate(value))

    return read


def _row(items: tuple[_Reader, ...]) -> _Reader:
    def read(value: Json) -> tuple[object, ...]:
        if type(value) is not list or len(value) != len(items):
            raise _unexpected(f"a list of {len(items)}", value)
        return tuple(_at(i, item, entry) for i, (item, entry) in enumerate(zip(items, value, strict=True)))

    return read


def _at(place: str | int, read: _Reader, value: Json) -> object:
    try:
        return read(value)
    except UnexpectedError as unexpected:
        unexpected.place.append(place)
        raise


def _either(kinds: tuple[typing.Any, ...], of: type, name: str) -> _Reader:
    """The reader of a union whose members have different JSON types: null, a list, or another type."""
    lists = [_reader(kind, of, name) for kind in kinds if typing.get_origin(kind) is tuple]
    others = [
        _reader(kind, of, name) for kind in kinds if typing.get_origin(kind) is not tuple and kind is not type(None)
    ]
    nullable = type(None) in kinds

    def read(value: Json) -> object:
        if value is None and nullable:
            return None
        readers = lists if lists and (type(value) is list or not others) else others
        return readers[0](value)

    if len(lists) > 1 or len(others) > 1:
        raise TypeError(f"JSON does not distinguish {kinds}")
    return read


def _word(words: type[StrEnum]) -> _Reader:
    known = {word.value: word for word in words}

    def read(value: Json) -> StrEnum:
        if not isinstance(value, str) or value not in known:
            raise _unexpected("one of " + ", ".join(known), value)
        return known[value]

    return read


_pairs = _sequence(_row((_text, _text)))


@functools.cache
def readers(of: typing.Any) -> dict[str, _Reader]:
    """The reader of each entry of a dataclass."""
    hints = {each: typing.get_type_hints(each) for each in {entry.of for entry in entries(of)}}
    return {entry.name: _reader(hints[entry.of][entry.name], entry.of, entry.name) for entry in entries(of)}


def _object(of: typing.Any) -> _Reader:
    reading = readers(of)
    required = frozenset(entry.name for entry in entries(of) if entry.default is MISSING)
    inside = [(field.name, field.metadata["inlined"]) for field in fields(of) if "inlined" in field.metadata]
    parts = [(name, kind, [entry.name for entry in entries(kind)]) for name, kind in inside]
    find_wrong = WRONG.get(of)
    computed = COMPUTED.get(of, frozenset())

    def known(value: dict[str, Json]) -> dict[str, object]:
        """The known entries. An error names the place of the entry that cannot be read."""
        given: dict[str, object] = {}
        for name, entry in value.items():
            now = OLD_NAMES.get(name, name)
            if now in given:
                raise UnexpectedError(f"{now} is given under two names")
            if now in reading:
                given[now] = _at(name, reading[now], entry)
            elif name not in computed:
                raise UnexpectedError(f"unknown entry {shortened(name)}")
        return given

    def read(value: Json) -> object:
        if type(value) is not dict:
            raise _unexpected("an object", value)
        try:
            given = {name: reading[name](entry) for name, entry in value.items()}
        except (KeyError, UnexpectedError):
            given = known(value)
        if not required <= given.keys():
            missing = [name for name in reading if name in required - given.keys()]
            raise UnexpectedError(f"lacks {', '.join(missing)}")
        for name, kind, its_names in parts:
            given[name] = kind(**{part: given.pop(part) for part in its_names if part in given})
        made = of(**given)
        wrong = find_wrong and find_wrong(made, value)
        if wrong:
            raise UnexpectedError(wrong)
        return made

    return read


def reader(of: type[T]) -> Callable[[Json], T]:
    """The public reader of a type. RequestError names the place: `environment.cores: expected an integer, got 'a'`."""
    kind: typing.Any = of

    def read(document: Json) -> T:
        try:
            made: T = _reader(kind, kind, "")(document)
        except UnexpectedError as unexpected:
            raise unexpected.as_request_error() from None
        return made

    return read


def check_columns(of: type, columns: Mapping[str, Sequence[typing.Any]], place: str) -> None:
    """Raise RequestError where a column has a value that this entry of the dataclass may not have.

    The error names `place[row].entry`. For many rows at once: equal values are checked once.
    """
    for name, values in columns.items():
        read = readers(of)[name]
        one_type = len({*map(type, values)} - {type(None)}) <= 1  # else a set would keep only one of 1 and 1.0
        try:
            for value in set(values) if one_type else values:
                read(value)
        except UnexpectedError:
            for row, value in enumerate(values):
                try:
                    read(value)
                except UnexpectedError as unexpected:
                    raise unexpected.as_request_error(place, row, name) from None
