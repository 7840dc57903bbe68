"""Converts a run's objects to JSON and back. Files and databases are read only through this module.

A dataclass becomes a JSON object with its fields. Tuples become lists, enumeration members their text, and packed bytes
base64. A number that JSON does not have becomes `"nan"`, `"inf"` or `"-inf"`. Callers name the file in messages.
"""

from __future__ import annotations

import base64
import json
import math
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, is_dataclass, replace
from enum import StrEnum
from itertools import chain
from typing import NoReturn

from convbench.errors import RequestError
from convbench.model.bounds import wrong_blocks
from convbench.model.campaign import Campaign, MachineKey, Shard
from convbench.model.case import Case
from convbench.model.instances import instances
from convbench.model.problem import Problem
from convbench.model.reading import OLD_NAMES, Json, UnexpectedError, entries, reader, readers
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
from convbench.model.values import expected, shortened, visible
from convbench.model.variables import recorded

#: The first two entries of an exported run. The version rises when a reader of the old format cannot read the new one.
#: A new field with a default does not raise it.
#:   1  the first release; before it, on 2026-11-28, entries got new names (reading.OLD_NAMES)
FORMAT = "convbench run"
FORMAT_VERSION = 1


def to_json(value: object, *, defaults: bool = True) -> Json:
    """A value as dicts, lists, texts and numbers for `json.dumps(..., allow_nan=False)`.

    Without `defaults`, fields that have their default value are left out; readers fill them in. A case always contains
    its id. A run contains the format's name and version and the columns of its packed blocks.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, tuple | list):
        return [to_json(item, defaults=defaults) for item in value]
    if not is_dataclass(value):
        raise TypeError(f"{value.__class__.__name__} has no JSON")
    document: dict[str, Json] = dict(_preamble(value))
    for entry in entries(value.__class__, value.rank if isinstance(value, Problem) else 0):
        held = entry.value(value)
        if defaults or entry.default is MISSING or held != entry.default:
            document[entry.name] = to_json(held, defaults=defaults)
    return document


def _preamble(value: object) -> Mapping[str, Json]:
    """Computed entries, written for other programs; a case's id is compared with the case when read."""
    if isinstance(value, Case):
        return {"id": value.id}
    if isinstance(value, Run):
        return {"format": FORMAT, "format_version": FORMAT_VERSION, "block_layouts": _layouts()}
    return {}


def _layouts() -> dict[str, Json]:
    return {str(version): list(columns) for version, columns in BLOCK_LAYOUTS.items()}


# Text


def parsed(text: str) -> Json:
    """The value of a JSON text; ValueError where the text is not JSON, for example where it contains NaN."""
    try:
        document: Json = _DECODER.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return document


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")


_DECODER = json.JSONDecoder(parse_constant=_refuse)


def stored(text: object) -> Json:
    """The value of a JSON text in a database; ValueError where the text is not JSON.

    An older convbench stored some texts unchanged from the worker. Here NUL and unpaired surrogates are escaped.
    """
    if not isinstance(text, str):
        raise ValueError(f"expected JSON, got {shortened(text)}")
    document = parsed(text)
    return _visible(document) if "\\u0000" in text or "\\ud" in text else document


def _visible(document: Json) -> Json:
    if isinstance(document, dict):
        return {name: _visible(value) for name, value in document.items()}
    if isinstance(document, list):
        return [_visible(value) for value in document]
    return visible(document) if isinstance(document, str) else document


# Parts of a run

problem_from_json = reader(Problem)
case_from_json = reader(Case)
check_from_json = reader(Check)
_environment_from_json = reader(Environment)
process_facts_from_json = reader(ProcessFacts)
baseline_from_json = reader(Baseline)
git_from_json = reader(Git)
machine_key_from_json = reader(MachineKey)
shard_from_json = reader(Shard)
campaign_from_json = reader(Campaign)
text_from_json: Callable[[Json], str] = reader(str)


def checks_from_json(documents: Sequence[typing.Any]) -> list[Check]:
    """`check_from_json` of each document, computed column by column because a run may have 100,000 cases."""
    columns: dict[str, list[object]] = {}
    try:
        for entry in entries(Check):
            name, default, read = entry.name, entry.default, readers(Check)[entry.name]
            columns[name] = [
                read(document[name]) if default is MISSING or name in document else default for document in documents
            ]
        whole = all(document.keys() <= columns.keys() for document in documents)
    except (AttributeError, KeyError, TypeError, UnexpectedError):
        whole = False
    if not whole:
        return [check_from_json(document) for document in documents]  # names the place of the first error
    return instances(Check, len(documents), **columns)


def environment_from_json(document: Json) -> Environment:
    """An environment, with only the variables that are stored today; RequestError where the document is invalid."""
    return _of_today(_environment_from_json(document))


def _of_today(environment: Environment) -> Environment:
    return replace(environment, variables=recorded(environment.variables))


# A run


def check_contents(run: Run) -> None:
    """Raise RequestError, which names the place, where a run with valid fields is invalid as a whole.

    Each case and process may occur once. Blocks must be values that a sweep can measure.
    """
    try:
        _judge_contents(run)
    except UnexpectedError as unexpected:
        raise unexpected.as_request_error() from None


def _judge_contents(run: Run) -> None:
    cases = [*(result.case for result in run.results), *run.unmeasured]
    if len(set(cases)) < len(cases):
        first = {case: index for index, case in reversed([*enumerate(cases)])}
        at = next(index for index, case in enumerate(cases) if first[case] < index)
        beyond = at - len(run.results)
        place = ("results", at, "case") if beyond < 0 else ("unmeasured", beyond)
        raise UnexpectedError(f"case {cases[at].id} occurs twice", place)
    processes = [facts.process_index for facts in run.processes]
    for at, index in enumerate(processes):
        if index in processes[:at]:
            raise UnexpectedError(f"process {index} occurs twice", ("processes", at))
    _judge_blocks(run.results)


def _judge_blocks(results: Sequence[Result]) -> None:
    """Check the blocks of all results at once, which takes a hundredth of the time of one after the other."""
    for name in PACKED:
        held = [getattr(result, name) for result in results]
        wrong = wrong_blocks([*chain.from_iterable(held)])
        if wrong is not None:
            places = [(index, name, at) for index, parts in enumerate(held) for at in range(len(parts))]
            raise UnexpectedError(wrong[1], ("results", *places[wrong[0]]))


_run_from_json = reader(Run)


def run_from_json(document: Json) -> Run:
    """A whole run as `to_json` wrote it; RequestError where it is not a run or has another format version."""
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise RequestError("not a run that convbench exported", hint="`convbench export RUN --format json` writes one")
    version = document.get("format_version")
    if version != FORMAT_VERSION:
        raise RequestError(
            f"the run has format version {version!r}, this convbench reads version {FORMAT_VERSION}",
            hint="a newer convbench may read it",
        )
    _check_layouts(document.get("block_layouts", {}))
    run = run_head_from_json(document)
    check_contents(run)
    return run


def _check_layouts(theirs: Json) -> None:
    """Raise RequestError where a layout of blocks has other columns than here."""
    if not isinstance(theirs, dict):
        raise RequestError(expected("an object of block layouts", theirs))
    for version, ours in _layouts().items():
        columns = theirs.get(version, ours)
        if isinstance(columns, list):
            columns = [OLD_NAMES.get(name, name) if isinstance(name, str) else name for name in columns]
        if columns != ours:
            raise RequestError(f"its block layout {version} has other columns than convbench's")


def run_head_from_json(document: Json) -> Run:
    """A run without its contents, or with contents that `check_contents` has not checked yet.

    It has only those environment variables that are stored today. Its source may still hold the values of secrets.
    """
    run = _run_from_json(document)
    return replace(run, environment=_of_today(run.environment))
