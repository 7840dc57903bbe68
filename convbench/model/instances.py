"""Many instances of a dataclass at once, from columns."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import MISSING, fields
from itertools import repeat, starmap
from typing import Any, TypeVar

T = TypeVar("T")


def instances(kind: type[T], count: int, /, **columns: Iterable[object]) -> list[T]:
    """`count` instances of a frozen, slotted dataclass without `__post_init__`, from a column of values for each field.

    A field without a column gets its default. Raises TypeError where it has no default, or where a column belongs to no
    field, and ValueError where a column has another length. Use it only for hundreds of thousands of instances: the
    constructor of a frozen dataclass sets each field by name. For 16 fields it takes 1.7 us, and this function 0.4 us.
    """
    made: list[Any] = [*map(object.__new__, repeat(kind, count))]
    described: Any = kind
    for field in fields(described):
        values = columns.pop(field.name, None)
        if values is None:
            if field.default is MISSING:
                raise TypeError(f"{kind.__name__} needs a column {field.name!r}")
            values = repeat(field.default, count)
        deque(starmap(getattr(kind, field.name).__set__, zip(made, values, strict=True)), maxlen=0)
    if columns:
        raise TypeError(f"{kind.__name__} has no field {', '.join(columns)}")
    return made
