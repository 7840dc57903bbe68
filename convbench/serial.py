"""Nouns to JSON and back, typed and strict. The exported JSON file and the database both write what stands here.

A noun becomes an object with its fields; tuples become lists, words their text, packed bytes base64, and a number that
JSON does not know `"nan"`, `"inf"` or `"-inf"`. Readers take exactly what is written: a missing, unknown or mistyped
entry is a RequestError that names its place. Which file it was is for the caller to say.
"""

from __future__ import annotations

import base64
import binascii
import functools
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from enum import StrEnum
from typing import TypeAlias, TypeVar

from convbench.case import DTYPES, Case
from convbench.errors import RequestError
from convbench.nouns import nouns
from convbench.problem import Problem
from convbench.result import (
    BLOCK_LAYOUTS,
    PACKED,
    Block,
    Check,
    Environment,
    Measure,
    PassFacts,
    Rejection,
    Result,
    Run,
    Visit,
)
from convbench.variables import HIDDEN, Variables, hidden, may_hold_secrets, telling

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
Noun = TypeVar("Noun")

#: The first two entries of an exported run. The version rises when a reader of the old one could not read the new one;
#: a new field with a default is no such change.
#:   1  the first release
FORMAT = "convbench run"
FORMAT_VERSION = 1

_NON_FINITE: dict[str, float] = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def to_json(noun: object, *, defaults: bool = True) -> Json:
    """A noun as plain dicts, lists, texts and numbers that `json.dumps(..., allow_nan=False)` takes.

    Without `defaults`, fields that have their default value are left out; readers fill them in. A case always bears its
    id, and a run the format's name and version and the columns of its packed blocks.
    """
    if noun is None or isinstance(noun, bool | int):
        return noun
    if isinstance(noun, StrEnum):
        return noun.value
    if isinstance(noun, str):
        return noun
    if isinstance(noun, float):
        return noun if math.isfinite(noun) else str(noun)
    if isinstance(noun, bytes):
        return base64.b64encode(noun).decode("ascii")
    if isinstance(noun, tuple | list):
        return [to_json(item, defaults=defaults) for item in noun]
    if not is_dataclass(noun):
        raise TypeError(f"{noun.__class__.__name__} is no noun")
    document: dict[str, Json] = dict(_preamble(noun))
    for name, default in _defaults(noun.__class__):
        value = getattr(noun, name)
        if defaults or default is MISSING or value != default:
            document[name] = to_json(value, defaults=defaults)
    return document


def _preamble(noun: object) -> Mapping[str, Json]:
    """Entries that are computed: written for other readers, held against the noun when read back."""
    if isinstance(noun, Case):
        return {"id": noun.id}
    if isinstance(noun, Run):
        return {"format": FORMAT, "format_version": FORMAT_VERSION, "block_layouts": _layouts()}
    return {}


def _layouts() -> Json:
    return {str(version): list(columns) for version, columns in BLOCK_LAYOUTS.items()}


@functools.cache
def _defaults(noun: typing.Any) -> tuple[tuple[str, object], ...]:
    """(field, default) of a noun; MISSING where the field must be given."""
    return tuple((field.name, field.default) for field in fields(noun))


class _UnexpectedError(Exception):
    """A value that its type does not allow; `place` grows from the inside out."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.place: list[str | int] = []


def _found(expected: str, value: object) -> _UnexpectedError:
    text = repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "..."
    return _UnexpectedError(f"expected {expected}, got {text}")


def _integer(value: Json) -> int:
    if type(value) is not int:
        raise _found("an integer", value)
    return value


def _number(value: Json) -> float:
    if type(value) is float:
        return value
    if type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise _found("a number", value) from None
    if isinstance(value, str) and value in _NON_FINITE:
        return _NON_FINITE[value]
    raise _found("a number", value)


def _boolean(value: Json) -> bool:
    if type(value) is not bool:
        raise _found("true or false", value)
    return value


def _text(value: Json) -> str:
    if not isinstance(value, str):
        raise _found("a text", value)
    return value


def _bytes(value: Json) -> bytes:
    try:
        return base64.b64decode(_text(value), validate=True)
    except (binascii.Error, ValueError) as error:
        raise _found("base64", value) from error


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
def _reader(kind: typing.Any) -> _Reader:
    """What reads a value of the annotated type `kind`; made once per type."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in _PLAIN:
        return _PLAIN[kind]
    if origin is tuple and arguments[-1] is Ellipsis:
        return _sequence(_reader(arguments[0]))
    if origin is tuple:
        return _row(tuple(_reader(argument) for argument in arguments))
    if origin in (types.UnionType, typing.Union):
        return _either(arguments)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return _word(kind)
    if isinstance(kind, type) and is_dataclass(kind):
        return _object(kind)
    raise TypeError(f"no reader for {kind}")


def _sequence(item: _Reader) -> _Reader:
    def read(value: Json) -> tuple[object, ...]:
        if type(value) is not list:
            raise _found("a list", value)
        try:
            return tuple([item(entry) for entry in value])
        except _UnexpectedError:
            return tuple(_at(index, item, entry) for index, entry in enumerate(value))

    return read


def _row(items: tuple[_Reader, ...]) -> _Reader:
    def read(value: Json) -> tuple[object, ...]:
        if type(value) is not list or len(value) != len(items):
            raise _found(f"a list of {len(items)}", value)
        return tuple(_at(i, item, entry) for i, (item, entry) in enumerate(zip(items, value, strict=True)))

    return read


def _at(place: str | int, read: _Reader, value: Json) -> object:
    try:
        return read(value)
    except _UnexpectedError as unexpected:
        unexpected.place.append(place)
        raise


def _either(kinds: tuple[typing.Any, ...]) -> _Reader:
    """A union whose members differ in how JSON writes them: null, a list, or something else."""
    lists = [_reader(kind) for kind in kinds if typing.get_origin(kind) is tuple]
    others = [_reader(kind) for kind in kinds if typing.get_origin(kind) is not tuple and kind is not type(None)]
    nullable = type(None) in kinds

    def read(value: Json) -> object:
        if value is None and nullable:
            return None
        readers = lists if lists and (type(value) is list or not others) else others
        return readers[0](value)

    if len(lists) > 1 or len(others) > 1:
        raise TypeError(f"JSON cannot tell {kinds} apart")
    return read


def _word(words: type[StrEnum]) -> _Reader:
    known = {word.value: word for word in words}

    def read(value: Json) -> StrEnum:
        if not isinstance(value, str) or value not in known:
            raise _found("one of " + ", ".join(known), value)
        return known[value]

    return read


_pairs = _sequence(_row((_text, _text)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """What a noun must hold beyond its types; `allowed` are computed entries that its object may bear."""

    judge: Callable[[typing.Any, dict[str, Json]], None]
    allowed: frozenset[str] = frozenset()


def _object(noun: typing.Any) -> _Reader:
    hints = typing.get_type_hints(noun)
    readers = {name: _reader(hints[name]) for name, _ in _defaults(noun)}
    required = frozenset(name for name, default in _defaults(noun) if default is MISSING)
    rule = _RULES.get(noun)
    allowed = rule.allowed if rule else frozenset()

    def told(value: dict[str, Json]) -> dict[str, object]:
        """The entries that are fields; what cannot be read tells its place."""
        given = {}
        for name, entry in value.items():
            if name in readers:
                given[name] = _at(name, readers[name], entry)
            elif name not in allowed:
                raise _UnexpectedError(f"unknown entry {name!r}")
        return given

    def read(value: Json) -> object:
        if type(value) is not dict:
            raise _found("an object", value)
        try:
            given = {name: readers[name](entry) for name, entry in value.items()}
        except (KeyError, _UnexpectedError):
            given = told(value)
        if not required <= given.keys():
            missing = [name for name in readers if name in required - given.keys()]
            raise _UnexpectedError(f"lacks {', '.join(missing)}")
        made = noun(**given)
        if rule is not None:
            rule.judge(made, value)
        return made

    return read


def _judge_problem(problem: Problem, document: dict[str, Json]) -> None:
    dimensions = len(problem.kernel_size)
    pads = problem.padding if isinstance(problem.padding, tuple) else (0,) * dimensions
    for name in ("kernel_size", "input_size", "stride", "dilation"):
        sides = getattr(problem, name)
        if not sides or len(sides) != dimensions or min(sides) < 1:
            raise _found(f"{name} of {dimensions} integers of at least 1", list(sides))
    if len(pads) != dimensions or min(pads) < 0:
        raise _found(f"padding of {dimensions} integers of at least 0", list(pads))
    batch = 1 if problem.batch_size is None else problem.batch_size
    if min(problem.in_channels, problem.out_channels, problem.groups, batch) < 1:
        raise _UnexpectedError("channels, groups and batch_size must be at least 1")


def _judge_case(case: Case, document: dict[str, Json]) -> None:
    if case.dtype not in DTYPES:
        raise _found("a dtype of " + ", ".join(DTYPES), case.dtype)
    whole = HIDDEN not in dict(case.env).values()  # else the id may be older, and made of a secret's value
    if whole and "id" in document and document["id"] != case.id:
        raise _UnexpectedError(f"the settings make the id {case.id!r}, but it says {document['id']!r}")


def _judge_blocks(layout: int, packed: bytes) -> None:
    if layout not in BLOCK_LAYOUTS:
        raise _found(f"a block layout of {sorted(BLOCK_LAYOUTS)}", layout)
    if len(packed) % (4 * len(BLOCK_LAYOUTS[layout])):
        raise _UnexpectedError(f"{len(packed)} bytes are no whole number of blocks")


def _judge_visit(visit: Visit, document: dict[str, Json]) -> None:
    for name in PACKED:
        _judge_blocks(visit.layout, getattr(visit, name))


def _judge_result(result: Result, document: dict[str, Json]) -> None:
    for name in PACKED:
        for layout, packed in getattr(result, name):
            _judge_blocks(layout, packed)


def _judge_run(run: Run, document: dict[str, Json]) -> None:
    theirs, ours = document.get("block_layouts", {}), _layouts()
    if not isinstance(theirs, dict) or not isinstance(ours, dict):
        raise _found("an object of block layouts", theirs)
    for version in theirs.keys() & ours.keys():
        if theirs[version] != ours[version]:
            raise _UnexpectedError(f"its block layout {version} has other columns than convbench's")


_RULES: dict[type, _Rule] = {
    Problem: _Rule(judge=_judge_problem),
    Case: _Rule(judge=_judge_case, allowed=frozenset({"id"})),
    Visit: _Rule(judge=_judge_visit),
    Result: _Rule(judge=_judge_result),
    Run: _Rule(judge=_judge_run, allowed=frozenset({"format", "format_version", "block_layouts"})),
}


def _from_json(noun: type[Noun]) -> Callable[[Json], Noun]:
    """The public reader of a noun. RequestError tells the place: `environment.cores: expected an integer, got 'a'`."""
    kind: typing.Any = noun

    def read(document: Json) -> Noun:
        try:
            made: Noun = _reader(kind)(document)
        except _UnexpectedError as unexpected:
            place = _place(unexpected.place)
            raise RequestError(f"{place}: {unexpected.message}" if place else unexpected.message) from None
        return made

    return read


def checks_from_json(documents: Sequence[typing.Any]) -> list[Check]:
    """What `check_from_json` makes of each document: column by column, for as many as a run has cases."""
    columns: dict[str, list[object]] = {}
    try:
        for name, default in _defaults(Check):
            read = _reader(typing.get_type_hints(Check)[name])
            columns[name] = [
                read(document[name]) if default is MISSING or name in document else default for document in documents
            ]
        whole = all(document.keys() <= columns.keys() for document in documents)
    except (AttributeError, KeyError, TypeError, _UnexpectedError):
        whole = False
    if not whole:
        return [check_from_json(document) for document in documents]  # the first that is wrong tells its place
    return nouns(Check, len(documents), **columns)


def _place(inside_out: list[str | int]) -> str:
    """`results[3].case.problem.stride`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in reversed(inside_out)).lstrip(".")


problem_from_json = _from_json(Problem)
case_from_json = _from_json(Case)
block_from_json = _from_json(Block)
check_from_json = _from_json(Check)
visit_from_json = _from_json(Visit)
result_from_json = _from_json(Result)
rejection_from_json = _from_json(Rejection)
measure_from_json = _from_json(Measure)
_environment_from_json = _from_json(Environment)
pass_facts_from_json = _from_json(PassFacts)
_run_from_json = _from_json(Run)


def environment_from_json(document: Json) -> Environment:
    """An environment with those of its variables alone that are stored today; RequestError where it is none."""
    return _of_today(_environment_from_json(document))


def _of_today(environment: Environment) -> Environment:
    return replace(environment, variables=telling(environment.variables))


def source_of_today(source: str) -> str:
    """A stored sweep's text without the values of secrets, which older versions stored."""
    if not may_hold_secrets(source):
        return source
    from convbench.document import without_secrets  # and YAML with it, which few runs need

    return without_secrets(source)[0]


def run_from_json(document: Json) -> Run:
    """A whole run as `to_json` wrote it; RequestError where it is none, or one of another format version."""
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise RequestError("not a run that convbench exported", hint="`convbench export RUN --format json` writes one")
    version = document.get("format_version")
    if version != FORMAT_VERSION:
        raise RequestError(
            f"the run has format version {version!r}, this convbench reads version {FORMAT_VERSION}",
            hint="a newer convbench may read it",
        )
    run = _run_from_json(document)
    return replace(run, environment=_of_today(run.environment), source=source_of_today(run.source))
