"""Many instances made at once are those that the constructor makes."""

from __future__ import annotations

import dataclasses

import pytest

from convbench.model.instances import instances
from convbench.model.result import Check, Rejection

SHAPES = [(1, 2), None, (3,)]


def test_they_are_what_the_constructor_makes() -> None:
    made = instances(
        Check, 3, output_shape=SHAPES, max_error=[0.5, None, 0.0], elements=iter((1, 2, 3)), method=["exact"] * 3
    )
    assert made == [
        Check(output_shape=shape, max_error=error, elements=elements, method="exact")
        for shape, error, elements in zip(SHAPES, (0.5, None, 0.0), (1, 2, 3), strict=True)
    ]
    assert hash(made[0]) == hash(Check(output_shape=(1, 2), max_error=0.5, elements=1, method="exact"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        made[0].elements = 2


def test_none_of_nothing() -> None:
    assert instances(Rejection, 0, label=[], reason=[]) == []


def test_columns_must_be_those_of_the_fields_and_as_long() -> None:
    with pytest.raises(TypeError, match="needs a column 'reason'"):
        instances(Rejection, 1, label=["a"])
    with pytest.raises(TypeError, match="no field colour"):
        instances(Rejection, 1, label=["a"], reason=["b"], colour=["c"])
    for reasons in ([], ["b", "c"]):
        with pytest.raises(ValueError, match="zip"):
            instances(Rejection, 1, label=["a"], reason=reasons)
