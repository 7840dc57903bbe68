"""Logs of operators with their inputs, and the parser of their values."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imports import layer, read
from other_programs import OPERATOR_INPUTS, operator_log

from convbench.model.case import Case, MemoryFormat
from convbench.model.problem import Direction
from convbench.workloads.importers.literals import NotALiteralError, Tensor, parse

BACKWARD = (
    "cnt: 2, ((T([8, 32, 14, 15], f16, stride=(6720, 1, 480, 32)), T([8, 64, 28, 30], f16,"
    " stride=(53760, 1, 1920, 64)), T([32, 16, 3, 3], f16, stride=(144, 1, 48, 16)), [0], [2, 2], [1, 1],"
    " [1, 1], False, [0, 0], 4, [True, True, False]), {})"
)
PROBLEM = layer((64, 32), 3, (28, 30), stride=2, padding=1, groups=4, bias=False, batch_size=8)
CASE = Case(problem=PROBLEM, dtype="float16")


def test_calls_are_layers_with_their_counts() -> None:
    made = read(operator_log(OPERATOR_INPUTS, "Operator: aten.convolution_backward.default", BACKWARD))
    assert [(case, case.count) for case in made.cases] == [
        (CASE, 3),
        (replace(CASE, direction=Direction.BACKWARD, memory_format=MemoryFormat.CHANNELS_LAST), 2),
    ]
    assert not made.refused


@pytest.mark.parametrize(
    ("mask", "direction", "bias"),
    [
        ("[False, True, True]", Direction.GRAD_WEIGHT, True),
        ("[True, False, False]", Direction.GRAD_INPUT, False),
        ("[True, True, True]", Direction.BACKWARD, True),
    ],
)
def test_a_mask_says_what_a_backward_computes(mask: str, direction: Direction, bias: bool) -> None:
    text = operator_log(BACKWARD.replace("[True, True, False]", mask), operator="aten.convolution_backward.default")
    [case] = read(text).cases
    assert (case.direction, case.problem.bias) == (direction, bias)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (OPERATOR_INPUTS.replace("False", "True"), "it is transposed"),
        (
            OPERATOR_INPUTS.replace("[8, 64, 28, 30]", "[8, 64, 28]").replace("3, 3]", "3]"),
            "it has 1 spatial dimension",
        ),
        (OPERATOR_INPUTS.replace("f16), T", "f16, stride=(1, 2, 3, 4)), T"), "one of its tensors is a view"),
        (OPERATOR_INPUTS.replace("f16", "i8"), "its dtype i8 is not one"),
        (OPERATOR_INPUTS[:-30], "its arguments cannot be read"),
        (OPERATOR_INPUTS.replace("cnt: 3, ", ""), "expected `cnt: N"),
        (OPERATOR_INPUTS.replace("None", "__import__('os').system('false')"), "its arguments cannot be read"),
        (OPERATOR_INPUTS.replace(", 4)", ")"), "it is incomplete"),
    ],
)
def test_a_call_that_is_no_layer_is_refused_with_its_line(line: str, reason: str) -> None:
    made = read(operator_log(OPERATOR_INPUTS, line))
    [refused] = made.refused
    assert (refused.place, refused.reason[: len(reason)]) == ("line 5", reason)
    assert made.cases == (CASE,)


def test_another_operator_of_convolutions_is_refused() -> None:
    made = read(operator_log(OPERATOR_INPUTS, "Operator: aten._slow_conv2d_forward.default", OPERATOR_INPUTS))
    assert made.reasons == {"it is of another operator than aten.convolution.default and its backward": 1}


def test_values_of_every_kind() -> None:
    assert parse("(T([2, 3], f16), [1, -2.5e3], {'a': None, 'b': ()}, \"x\", device(type='cpu'), -7,)") == (
        Tensor(shape=(2, 3), dtype="f16"),
        [1, -2500.0],
        {"a": None, "b": ()},
        "x",
        "device",
        -7,
    )


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text("abc _", max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple),
    max_leaves=12,
)


@given(values)
def test_values_come_back_from_the_text_of_python(value: object) -> None:
    assert parse(repr(value)) == value


@given(st.text("T()[]{},=: 1.'aN-", max_size=30))
def test_any_text_is_a_value_or_refused(text: str) -> None:
    try:
        parse(text)
    except NotALiteralError:
        return
    assert text.count("(") == text.count(")") or "'" in text


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(NotALiteralError, match="deep"):
        parse("[" * 10_000)
