"""The JSON Schema of sweeps, by which editors complete and check them. It is made from the table of settings.

It holds each value to its kind. What it cannot say, parse.py does: mistakes across settings, limits of the whole file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convbench.model.bounds import MOST_LABELS, VARIABLE
from convbench.model.operators import DEFAULT_OPERATOR
from convbench.model.operators.given import PerDimension
from convbench.model.settings import REQUIRED, TABLE, Kind, Setting
from convbench.sweep import parse

#: The usual name of the file, beside the sweeps that name it.
FILE = "sweep.schema.json"

Schema = dict[str, Any]

_ABOUT_MEASURE = {
    "processes": "fresh worker processes that visit every case",
    "rounds": "blocks of a case in each process",
    "precision": "a case whose times agree within this ratio is finished early: 0.01 is 1 %",
    "max_time": "time of a case's blocks in all, in seconds",
    "timeout": "time after which a worker that does not answer is ended, in seconds",
    "budget": "time of the whole run, in seconds",
    "samples": "whether each timed sample is kept for an export",
    "allocator": "the allocator of cases whose axes name none",
}
_ABOUT_COMPARE = {
    "threshold": "smallest change to report, a ratio: 0.03 is 3 %",
    "beyond_l2": "the same for layers that do not fit in the second-level cache",
}


def schema() -> Schema:
    """The schema of a sweep file (JSON Schema, draft 7, which editors know best)."""
    axes = {name: _described(row, [*_single(row.kind), _list(_value(name)), *_ranges(row.kind)])
            for name, row in TABLE.items()}  # fmt: skip
    entry = {name: _described(row, [_value(name)]) for name, row in TABLE.items()}
    label = _text(parse.LONGEST_NAME) | {"description": "the layer's name in the report"}
    labels = _list(_text(parse.LONGEST_NAME)) | {
        "maxItems": MOST_LABELS,
        "description": "the names of all equal layers, which count says",
    }
    count = _integer(Kind(least=1)) | {"description": "how often the layer occurs in its network"}
    any_of = {name: {"anyOf": [_value(name), _list(_value(name))]} for name in TABLE}
    top = {
        "name": _text(parse.LONGEST_NAME) | {"description": "the sweep's name; by default the file's"},
        "description": _text(parse.LONGEST_DESCRIPTION) | {"description": "text for the report"},
        "seed": _integer(Kind(least=0, most=parse.MOST_SEED)) | {"default": 0},
        "axes": _mapping(axes, least=1) | {"description": "settings and their values; a sweep measures the product"},
        "cases": _list(_mapping({**entry, "label": label, "labels": labels, "count": count}))
        | {"description": "layers, one an entry"},
        "exclude": _list(_mapping(any_of, least=1), least=0) | {"description": "points to leave out"},
        "left_out": _list(_left_out(), least=0) | {"description": "convolutions of the network that are no cases"},
        "measure": _measure() | {"description": "how to measure"},
        "compare": _compare(any_of) | {"description": "what counts as a change"},
    }
    without_cases = {"required": ["axes"], "properties": {"axes": {"required": list(REQUIRED)}}}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "a sweep of convbench",
        **_mapping(top),
        "if": {"not": {"required": ["cases"]}},
        "then": without_cases,
        "definitions": {name: {"anyOf": _forms(row.kind)} for name, row in TABLE.items()},
    }


def _left_out() -> Schema:
    """An entry of `left_out`."""
    about = {
        "count": _integer(Kind(least=1)) | {"description": "how many they are", "default": 1},
        "work": _number(0.0, 1.0) | {"description": "their share of the network's work, 0.1 is 10 %"},
        "reason": _text(parse.LONGEST_DESCRIPTION) | {"description": "why they are no cases"},
    }
    return {**_mapping(about), "required": ["reason"]}


def _described(row: Setting, forms: list[Schema]) -> Schema:
    default = row.default[0] if isinstance(row.default, PerDimension) else row.default
    has_default = not row.required and not row.kind.variables
    return {"description": row.about, **({"default": default} if has_default else {}), "anyOf": forms}


def _value(name: str) -> Schema:
    """One value of a setting."""
    return {"$ref": f"#/definitions/{name}"}


def _single(kind: Kind) -> list[Schema]:
    """The forms of an axis with one value and no brackets: a list is a list of values there, never one size."""
    return [form for form in _forms(kind) if form.get("type") != "array"]


def _forms(kind: Kind) -> list[Schema]:
    """The forms that a value of this kind may have."""
    forms: list[Schema] = []
    if kind.least is not None:
        forms.append(_integer(kind))
    if kind.spatial:
        rank = DEFAULT_OPERATOR.rank
        forms.append({"type": "array", "items": _integer(kind), "minItems": rank, "maxItems": rank})
        number = "[1-9][0-9]{0,8}" if kind.least else "(0|[1-9][0-9]{0,8})"
        numbers = rf"{number}(\s*[,xX\u00d7]\s*{number}){{{rank - 1}}},?"
        forms.append({"type": "string", "pattern": rf"^\s*({numbers}|\(\s*{numbers}\s*\)|\[\s*{numbers}\s*\])\s*$"})
    if kind.words:
        forms.append({"enum": [str(word) for word in kind.words]})
    if kind.truth:
        forms.append({"type": "boolean"})
    if kind.variables:
        value = _text(parse.LONGEST_VARIABLE)
        names = {"pattern": f"^{VARIABLE.pattern}$"}
        most = parse.MOST_VARIABLES
        forms.append({"type": "object", "propertyNames": names, "additionalProperties": value, "maxProperties": most})
    if kind.text is not None:
        forms.append({"type": "string", "pattern": kind.pattern, "maxLength": parse.LONGEST_NAME})
    if kind.null:
        forms.append({"type": "null"})
    return forms


def _ranges(kind: Kind) -> list[Schema]:
    """Ranges by factors and by steps, for integers."""
    if kind.least is None:
        return []
    to = _integer(kind)
    factors = {"from": _integer(Kind(least=max(1, kind.least))), "to": to, "times": _integer(Kind(least=2))}
    steps = {"from": to, "to": to, "step": _integer(Kind(least=1))}
    return [_mapping(each) | {"required": list(each)} for each in (factors, steps)]


def _measure() -> Schema:
    counts = {name: _integer(Kind(least=low, most=high)) for name, (low, high) in parse.COUNTS.items()}
    numbers = {name: _number(*bounds) for name, bounds in parse.NUMBERS.items()}
    kinds = {"samples": {"type": "boolean"}, "allocator": _value("allocator")}
    named = {**counts, **numbers, **kinds}
    return _mapping({name: {"description": _ABOUT_MEASURE[name], "allOf": [named[name]]} for name in parse.MEASURE})


def _compare(any_of: Mapping[str, Schema]) -> Schema:
    number = _number(*parse.THRESHOLD)
    special = _mapping({**any_of, "threshold": number}, least=2) | {"required": ["threshold"]}
    plain = {name: number | {"description": about} for name, about in _ABOUT_COMPARE.items()}
    return _mapping({**plain, "thresholds": _list(special, least=0)})


def _mapping(properties: Mapping[str, Schema], least: int = 0) -> Schema:
    return {
        "type": "object",
        "properties": dict(properties),
        "additionalProperties": False,
        **({"minProperties": least} if least else {}),
    }


def _list(items: Schema, least: int = 1) -> Schema:
    return {"type": "array", "items": items, "minItems": least}


def _integer(kind: Kind) -> Schema:
    return {"type": "integer", "minimum": kind.least, "maximum": kind.most}


def _number(low: float, high: float) -> Schema:
    return {"type": "number", "minimum": low, "maximum": high}


def _text(longest: int) -> Schema:
    return {"type": "string", "pattern": r"\S", "maxLength": longest}
