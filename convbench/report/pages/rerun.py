"""A case as YAML for measuring it again: `convbench run` gives it the same case id. Pure."""

from __future__ import annotations

import json
from dataclasses import fields

from convbench.model.case import Case, setting
from convbench.model.operators.given import default_for
from convbench.model.result import Measure
from convbench.model.settings import SETTINGS, TABLE


def case_mapping(case: Case) -> str:
    """One entry of `cases:` on one line: the settings that are not default, the label and the count."""
    settings = {name: setting(case, name) for name in SETTINGS}
    rank = case.problem.rank
    entries = {name: _value(name, value) for name, value in settings.items() if _is_written(name, value, rank)}
    if case.given_label is not None:
        entries["label"] = _text(case.given_label)
    if case.count != 1:
        entries["count"] = str(case.count)
    return "{" + ", ".join(f"{name}: {value}" for name, value in entries.items()) + "}"


def measure_mapping(measure: Measure) -> str:
    """The `measure:` of a run on one line; without the budget, which was for the whole sweep."""
    names = [f.name for f in fields(Measure) if f.name not in ("budget", "samples")]
    return "{" + ", ".join(f"{name}: {getattr(measure, name)}" for name in names) + "}"


def _is_written(name: str, value: object, rank: int) -> bool:
    return TABLE[name].required or value != default_for(rank, TABLE[name].default)


def _value(name: str, value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if TABLE[name].kind.variables and isinstance(value, tuple):
        return "{" + ", ".join(f"{_text(str(key))}: {_text(str(text))}" for key, text in value) + "}"
    if isinstance(value, tuple):
        return str(value[0]) if len(set(value)) == 1 else f"[{', '.join(str(side) for side in value)}]"
    return _text(str(value)) if TABLE[name].kind.text else str(value)


def _text(text: str) -> str:
    """A YAML text in quotes: a JSON string without escaped surrogate pairs."""
    return json.dumps(text, ensure_ascii=False)
