"""The CSV that `convbench export` writes: the settings of each case, whose id is then the same."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace

from convbench.errors import RequestError
from convbench.model.case import Case
from convbench.model.operators import DEFAULT_OPERATOR
from convbench.model.reading import Json
from convbench.model.serial import case_from_json
from convbench.model.settings import CASE_SETTINGS, PROBLEM_SETTINGS, TABLE
from convbench.workloads.importers.layers import Found, Layer, NotTakenError, label_of
from convbench.workloads.importers.source import Source
from convbench.workloads.workload import Refused

EXAMPLE = "case_id,label,status,reason,direction,batch_size,in_channels,out_channels,..."
SUBJECT = "the export"
#: Columns that every such file has.
NEEDED = ("case_id", "label", "direction", "in_channels", "out_channels", "stride", "padding", "dtype", "count")
#: Digits of the largest number.
LONGEST_NUMBER = 15
#: Before a text that begins so, an export writes an apostrophe (report/export.py).
FORMULA = ("=", "+", "-", "@", "\t", "\n")
#: Settings that have a column for each dimension.
_DIVIDED = {"kernel_size": "kernel", "input_size": "input"}


def detects(source: Source) -> bool:
    """Whether the first line has the first columns of an export."""
    return source.text.startswith("case_id,label,")


def read(source: Source, sizes: Mapping[str, int]) -> Iterator[Found]:
    """The case of each row. Raises RequestError where the columns are those of another file."""
    rows = csv.reader(line + "\n" for _, line in source.lines())
    try:
        heads = next(rows)
        if missing := [name for name in NEEDED if name not in heads]:
            raise RequestError(f"{source.name} is no export of convbench: it has no column {missing[0]}")
        for row in rows:
            try:
                if len(row) != len(heads):
                    raise NotTakenError(f"it has another number of cells than the {len(heads)} columns")
                yield _layer(dict(zip(heads, row, strict=True)))
            except NotTakenError as error:
                yield Refused(place=f"line {rows.line_num}", reason=str(error))
    except csv.Error as error:
        raise RequestError(f"{source.name}:{rows.line_num}: {error}") from None


def _layer(cells: Mapping[str, str]) -> Layer:
    document: dict[str, Json] = {name: _value(name, cells) for name in CASE_SETTINGS if name in cells}
    problem: dict[str, Json] = {name: _value(name, cells) for name in PROBLEM_SETTINGS if _is_there(name, cells)}
    if not (count := _integer(cells["count"])):
        raise NotTakenError("its count is 0")
    try:
        made = case_from_json({**document, "problem": problem})
    except RequestError as error:
        raise NotTakenError(error.message) from None
    # The column has the threads that torch used, also where the case left them to torch.
    case = next((each for each in (made, replace(made, threads=None)) if each.id == cells["case_id"]), None)
    if case is None:
        raise NotTakenError("its case_id is not that of its settings: it was changed, or has settings without a column")
    return Layer(case=replace(case, given_label=_label(cells["label"], case)), count=count)


def _is_there(name: str, cells: Mapping[str, str]) -> bool:
    return name in cells or name in _DIVIDED


def _value(name: str, cells: Mapping[str, str]) -> Json:
    """The value of a setting as in JSON; an empty cell is no value."""
    if name in _DIVIDED:
        return [_integer(cells.get(f"{_DIVIDED[name]}_{axis}", "")) for axis in DEFAULT_OPERATOR.dimensions]
    text, kind = cells[name], TABLE[name].kind
    if kind.variables:
        return [list(word.partition("=")[::2]) for word in _shell_words(text)]
    if not text:
        return None
    if kind.truth:
        return {"true": True, "false": False}.get(text, text)
    if kind.spatial and text[:1].isdecimal():
        return [_integer(side) for side in text.split("x")]
    return _integer(text) if kind.least is not None and not kind.spatial else text


def _shell_words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        raise NotTakenError("its environment variables are no NAME=VALUE") from None


def _integer(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > LONGEST_NUMBER:
        raise NotTakenError("one of its cells is no whole number")
    return int(text)


def _label(text: str, case: Case) -> str | None:
    """The label that the sweep gave, which stands before the case in words."""
    text = text[1:] if text[:1] == "'" and text[1:2] in FORMULA else text
    given = text.removesuffix(case.label).removesuffix(": ")
    return label_of(given) if given != text else None
