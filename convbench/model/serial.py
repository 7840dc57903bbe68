"""Nouns to JSON and back, typed and strict: the one door for what comes from an exported file or a database.

A noun becomes an object with its fields; tuples become lists, words their text, packed bytes base64, and a number that
JSON does not know `"nan"`, `"inf"` or `"-inf"`. Readers take exactly what is written: an entry that is missing,
unknown, mistyped or out of its bounds (model/bounds.py) is a RequestError that names its place. Which file it was is
for the caller to say.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from enum import StrEnum
from itertools import chain
from typing import NoReturn, TypeAlias, TypeVar

from convbench.errors import RequestError
from convbench.model.bounds import VARIABLE, Bound, Whole, bound, visible, wrong_blocks
from convbench.model.case import Case
from convbench.model.nouns import nouns
from convbench.model.operators import DEFAULT_OPERATOR, OPERATORS
from convbench.model.operators.given import default_for
from convbench.model.problem import Problem
from convbench.model.result import (
    BLOCK_LAYOUTS,
    PACKED,
    Baseline,
    Check,
    Environment,
    Git,
    ProcessFacts,
    Result,
    Run,
)
from convbench.model.variables import HIDDEN, Variables, hidden, recorded

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
        return visible(noun)
    if isinstance(noun, float):
        return noun if math.isfinite(noun) else str(noun)
    if isinstance(noun, bytes):
        return base64.b64encode(noun).decode("ascii")
    if isinstance(noun, tuple | list):
        return [to_json(item, defaults=defaults) for item in noun]
    if not is_dataclass(noun):
        raise TypeError(f"{noun.__class__.__name__} is no noun")
    document: dict[str, Json] = dict(_preamble(noun))
    rank = noun.rank if isinstance(noun, Problem) else 0
    for name, default in _defaults(noun.__class__, rank):
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
def _defaults(noun: typing.Any, rank: int = 0) -> tuple[tuple[str, object], ...]:
    """(field, default) of a noun, a problem's of so many dimensions; MISSING where the field must be given."""
    return tuple((field.name, default_for(rank, field.default)) for field in fields(noun))


class _UnexpectedError(Exception):
    """A value that its type does not allow; `place` grows from the inside out."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.place: list[str | int] = []


def _found(expected: str, value: object) -> _UnexpectedError:
    return _UnexpectedError(f"expected {expected}, got {_short(value)}")


def _short(value: object) -> str:
    text = repr(value) if not isinstance(value, str | bytes) else repr(value[:60])
    return text if len(text) <= 60 else f"{text[:57]}..."


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
def _reader(kind: typing.Any, of: tuple[type, str] | None = None) -> _Reader:
    """What reads a value of the annotated type `kind`, which a noun has as the field `of`; made once per field."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in _PLAIN:
        noun, name = of or (kind, "")
        row = bound(noun, name, kind)
        return _PLAIN[kind] if row is None else _bounded(_PLAIN[kind], row)
    if origin is tuple and arguments[-1] is Ellipsis:
        return _sequence(_reader(arguments[0], of))
    if origin is tuple:
        return _row(tuple(_reader(argument, of) for argument in arguments))
    if origin in (types.UnionType, typing.Union):
        return _either(arguments, of)
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
            raise _found(row.what, value)
        return made

    return read


def _whole(row: Whole) -> _Reader:
    low, high = row.low, row.high

    def read(value: Json) -> int:
        if type(value) is int and low <= value <= high:  # a run of 100,000 cases holds a million of them
            return value
        _integer(value)
        raise _found(row.what, value)

    return read


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


def _either(kinds: tuple[typing.Any, ...], of: tuple[type, str] | None) -> _Reader:
    """A union whose members differ in how JSON writes them: null, a list, or something else."""
    lists = [_reader(kind, of) for kind in kinds if typing.get_origin(kind) is tuple]
    others = [_reader(kind, of) for kind in kinds if typing.get_origin(kind) is not tuple and kind is not type(None)]
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


@functools.cache
def _readers(noun: typing.Any) -> dict[str, _Reader]:
    """What reads each field of a noun."""
    hints = typing.get_type_hints(noun)
    return {name: _reader(hints[name], (noun, name)) for name, _ in _defaults(noun)}


def _object(noun: typing.Any) -> _Reader:
    readers = _readers(noun)
    required = frozenset(name for name, default in _defaults(noun) if default is MISSING)
    rule = _RULES.get(noun)
    allowed = rule.allowed if rule else frozenset()

    def told(value: dict[str, Json]) -> dict[str, object]:
        """The entries that are fields; what cannot be read tells its place."""
        given: dict[str, object] = {}
        for name, entry in value.items():
            now = _OLD_NAMES.get(name, name)
            if now in given:
                raise _UnexpectedError(f"{now} stands there under two names")
            if now in readers:
                given[now] = _at(name, readers[now], entry)
            elif name not in allowed:
                raise _UnexpectedError(f"unknown entry {_short(name)}")
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
    offered = problem.operator.name in OPERATORS
    dimensions = problem.rank if offered else DEFAULT_OPERATOR.rank
    pads = problem.padding if isinstance(problem.padding, tuple) else (0,) * dimensions
    for name in ("kernel_size", "input_size", "stride", "dilation"):
        if len(getattr(problem, name)) != dimensions:
            raise _found(f"{name} of {dimensions} integers of at least 1", list(getattr(problem, name)))
    if len(pads) != dimensions:
        raise _found(f"padding of {dimensions} integers of at least 0", list(pads))
    refusal = problem.refusal()
    if refusal is not None:
        raise _UnexpectedError(f"torch would refuse it, and convbench never measured it: {refusal}")


def _judge_case(case: Case, document: dict[str, Json]) -> None:
    unsuitable = case.unsuitable()
    if unsuitable is not None:
        raise _UnexpectedError(f"torch would refuse it, and convbench never measured it: {unsuitable}")
    names = [name for name, _ in case.env]
    if names != sorted(set(names)) or not all(map(VARIABLE.fullmatch, names)):
        raise _found("names of environment variables, sorted, each once", names)
    whole = HIDDEN not in dict(case.env).values()  # else the id may be older, and made of a secret's value
    if whole and "id" in document and document["id"] != case.id:
        raise _UnexpectedError(f"the settings make the id {case.id!r}, but it says {_short(document['id'])}")


#: What entries and columns of blocks were called in exports and databases before 2026-11-28.
_OLD_NAMES = {
    "compute_canary_s": "compute_probe_s",
    "memory_canary_s": "memory_probe_s",
    "pass_index": "process_index",
    "passes": "processes",
}


def _judge_run(run: Run, document: dict[str, Json]) -> None:
    theirs, ours = document.get("block_layouts", {}), _layouts()
    if not isinstance(theirs, dict) or not isinstance(ours, dict):
        raise _found("an object of block layouts", theirs)
    for version in theirs.keys() & ours.keys():
        told = theirs[version]
        if isinstance(told, list):
            told = [_OLD_NAMES.get(name, name) if isinstance(name, str) else name for name in told]
        if told != ours[version]:
            raise _UnexpectedError(f"its block layout {version} has other columns than convbench's")


_RULES: dict[type, _Rule] = {
    Problem: _Rule(judge=_judge_problem),
    Case: _Rule(judge=_judge_case, allowed=frozenset({"id"})),
    Run: _Rule(judge=_judge_run, allowed=frozenset({"format", "format_version", "block_layouts"})),
}


def _judge_blocks(results: Sequence[Result], *outside: str) -> None:
    """Blocks of many results at once, for that costs a hundredth of one after the other."""
    for name in PACKED:
        held = [getattr(result, name) for result in results]
        wrong = wrong_blocks([*chain.from_iterable(held)])
        if wrong is not None:
            places = [(index, name, at) for index, parts in enumerate(held) for at in range(len(parts))]
            raise _unexpected((*outside, *places[wrong[0]]), wrong[1])


def _judge_contents(run: Run) -> None:
    """What can only be judged of a whole run: blocks, and that each case and each process stands there once."""
    cases = [*(result.case for result in run.results), *run.unmeasured]
    if len(set(cases)) < len(cases):
        first = {case: index for index, case in reversed([*enumerate(cases)])}
        at = next(index for index, case in enumerate(cases) if first[case] < index)
        beyond = at - len(run.results)
        place = ("results", at, "case") if beyond < 0 else ("unmeasured", beyond)
        raise _unexpected(place, f"case {cases[at].id} stands there a second time")
    processes = [facts.process_index for facts in run.processes]
    for at, index in enumerate(processes):
        if index in processes[:at]:
            raise _unexpected(("processes", at), f"process {index} stands there a second time")
    _judge_blocks(run.results, "results")


def _unexpected(place: Sequence[str | int], message: str) -> _UnexpectedError:
    unexpected = _UnexpectedError(message)
    unexpected.place.extend(reversed(place))
    return unexpected


def check_contents(run: Run) -> None:
    """Raise RequestError, which names the place, where a run whose fields are sound is not sound as a whole.

    Its cases and processes stand there once each, and its blocks are some that a sweep could have.
    """
    try:
        _judge_contents(run)
    except _UnexpectedError as unexpected:
        raise _told(unexpected) from None


def _told(unexpected: _UnexpectedError, *outside: str | int) -> RequestError:
    """What is unexpected with its place, which begins `outside`."""
    place = _place([*unexpected.place, *reversed(outside)])
    return RequestError(f"{place}: {unexpected.message}" if place else unexpected.message)


def reader(noun: type[Noun], judge: Callable[[Noun], None] | None = None) -> Callable[[Json], Noun]:
    """The public reader of a noun. RequestError tells the place: `environment.cores: expected an integer, got 'a'`."""
    kind: typing.Any = noun

    def read(document: Json) -> Noun:
        try:
            made: Noun = _reader(kind)(document)
            if judge is not None:
                judge(made)
        except _UnexpectedError as unexpected:
            raise _told(unexpected) from None
        return made

    return read


def check_columns(noun: type, columns: Mapping[str, Sequence[typing.Any]], place: str) -> None:
    """Raise RequestError where a value of a column could not be that field of the noun; `place[row].field` is named.

    For many rows at once: values that stand there more than once are looked at once.
    """
    for name, values in columns.items():
        read = _readers(noun)[name]
        one_type = len({*map(type, values)} - {type(None)}) <= 1  # else 1 and 1.0 would count as one value
        try:
            for value in set(values) if one_type else values:
                read(value)
        except _UnexpectedError:
            for row, value in enumerate(values):
                try:
                    read(value)
                except _UnexpectedError as unexpected:
                    raise _told(unexpected, place, row, name) from None


def parsed(text: str) -> Json:
    """The value of a JSON text; ValueError where it is none, with what JSON does not know as NaN among that."""
    try:
        document: Json = _DECODER.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return document


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def stored(text: object) -> Json:
    """The value of a JSON text in a database; ValueError where it is none.

    An older convbench stored some texts as the worker told them: NUL and halves of surrogates are made visible here.
    """
    if not isinstance(text, str):
        raise ValueError(f"expected JSON, got {_short(text)}")
    document = parsed(text)
    return _visible(document) if "\\u0000" in text or "\\ud" in text else document


def _visible(document: Json) -> Json:
    if isinstance(document, dict):
        return {name: _visible(value) for name, value in document.items()}
    if isinstance(document, list):
        return [_visible(value) for value in document]
    return visible(document) if isinstance(document, str) else document


def checks_from_json(documents: Sequence[typing.Any]) -> list[Check]:
    """What `check_from_json` makes of each document: column by column, for as many as a run has cases."""
    columns: dict[str, list[object]] = {}
    try:
        for name, default in _defaults(Check):
            read = _readers(Check)[name]
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


problem_from_json = reader(Problem)
case_from_json = reader(Case)
check_from_json = reader(Check)
_environment_from_json = reader(Environment)
process_facts_from_json = reader(ProcessFacts)
baseline_from_json = reader(Baseline)
git_from_json = reader(Git)
text_from_json: Callable[[Json], str] = reader(str)
_run_head_from_json = reader(Run)
_run_from_json = reader(Run, _judge_contents)


def environment_from_json(document: Json) -> Environment:
    """An environment with those of its variables alone that are stored today; RequestError where it is none."""
    return _of_today(_environment_from_json(document))


def _of_today(environment: Environment) -> Environment:
    return replace(environment, variables=recorded(environment.variables))


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
    return _run_of_today(_run_from_json(document))


def run_head_from_json(document: Json) -> Run:
    """A run without its contents, or with them before `check_contents`."""
    return _run_of_today(_run_head_from_json(document))


def _run_of_today(run: Run) -> Run:
    """A run with those variables alone that are stored today; its source may hold the values of secrets still."""
    return replace(run, environment=_of_today(run.environment))
