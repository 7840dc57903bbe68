"""How a measured fact is declared: as a field in model/result.py with the metadata that `fact` makes.

The answers of workers, the tables of databases, the blocks' layouts and the columns of exports follow from such fields.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from convbench.model.values import OF_TYPES, Bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """The metadata of a fact's field; `kind` is its type where the fact is known.

    `heading` and `about` describe the column of exports to people; a fact without a heading has no column. The column
    has the name `column`, by default the name of the fact. `bound` limits the fact's values further than its type.
    `since` is the first layout of packed blocks that has the fact. For a fact of a case it is the first version of the
    database's schema.
    """

    kind: type = object
    heading: str = ""
    about: str = ""
    unit: str = ""
    column: str = ""
    bound: Bound | None = None
    since: int = 1


def fact(
    heading: str = "", about: str = "", *, unit: str = "", column: str = "", bound: Bound | None = None, since: int = 1
) -> Mapping[str, Fact]:
    """The metadata of a field that is a fact."""
    return {"fact": Fact(heading=heading, about=about, unit=unit, column=column, bound=bound, since=since)}


def facts_of(of: type) -> dict[str, Fact]:
    """The facts among the fields of a dataclass, by name, in the order of the fields."""
    hints = typing.get_type_hints(of)
    described: typing.Any = of
    found: dict[str, Fact] = {}
    for field in fields(described):
        if "fact" in field.metadata:
            kind = _plain_type(hints[field.name])
            row: Fact = field.metadata["fact"]
            found[field.name] = replace(row, kind=kind, bound=row.bound or OF_TYPES.get(kind))
    return found


def _plain_type(hint: typing.Any) -> type:
    """The type without None: `float` for `float | None`."""
    if isinstance(hint, types.UnionType):
        hint = next(kind for kind in typing.get_args(hint) if kind is not types.NoneType)
    found: type = typing.get_origin(hint) or hint
    return found


def inlined(of: type) -> Mapping[str, type]:
    """Metadata of a field whose inner fields are written in its place, in JSON and as columns of a database."""
    return {"inlined": of}
