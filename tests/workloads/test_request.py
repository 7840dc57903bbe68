"""What a user asks to capture, as options say it."""

from __future__ import annotations

import pytest

from convbench.errors import RequestError
from convbench.workloads.request import Input, Request, input_of, request_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8x3x224x224", Input(name=None, shape=(8, 3, 224, 224))),
        ("7", Input(name=None, shape=(7,))),
        ("ids=1x77:int64", Input(name="ids", shape=(1, 77), dtype="int64")),
        ("0x3:bool", Input(name=None, shape=(0, 3), dtype="bool")),
    ],
)
def test_an_input(text: str, expected: Input) -> None:
    assert input_of(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    ("text", "error", "hint"),
    [
        ("8,3,224,224", "--input 8,3,224,224: expected [NAME=]SHAPE", "an x between sizes"),
        ("8x3xHxW", "expected [NAME=]SHAPE", None),
        ("1a=3", "expected [NAME=]SHAPE", None),
        ("3x-1", "expected [NAME=]SHAPE", None),
        ("3x3:floot32", "unknown dtype floot32", "float32"),
        ("x".join(["2"] * 17), "at most 16 sizes", None),
        ("99999999999", "at most 16 sizes", None),
    ],
)
def test_what_is_not_an_input(text: str, error: str, hint: str | None) -> None:
    with pytest.raises(RequestError) as raised:
        input_of(text)
    assert error in raised.value.message
    assert hint is None or hint in str(raised.value.hint)


@pytest.mark.parametrize(
    ("model", "options", "error", "hint"),
    [
        ("zoo.resnet50", {}, "the model zoo.resnet50: expected package.module:name", "did you mean zoo:resnet50?"),
        ("net.py", {}, "the model net.py", "after the colon"),
        ("net.py:2x", {}, "the model net.py:2x", None),
        ("a:b", {}, "missing --input", "8x3x224x224"),
        ("a:b", {"inputs": ["3"], "inputs_from": "a:c"}, "got --input and --inputs", None),
        ("a:b", {"inputs_from": "batch"}, "--inputs batch: expected", None),
        ("a:b", {"inputs": ["3"], "arguments": ["depth"]}, "--arg depth: expected NAME=VALUE", None),
        ("a:b", {"inputs": ["3"], "arguments": ["x=[1"]}, "--arg x=[1: the value is not YAML", "quotes"),
        ("a:b", {"inputs": ["3"], "arguments": ["x=2020-01-01"]}, "expected numbers, text", "date"),
        ("a:b", {"inputs": ["3"], "arguments": ["x={1: 2}"]}, "expected numbers, text", None),
        ("a:b", {"inputs": ["3"], "arguments": ["x=1", "x=2"]}, "got --arg x twice", None),
    ],
)
def test_what_cannot_be_asked(model: str, options: dict[str, object], error: str, hint: str | None) -> None:
    with pytest.raises(RequestError) as raised:
        request_of(model, **options)  # type: ignore[arg-type]  # each option has its own type
    assert error in raised.value.message
    assert hint is None or hint in str(raised.value.hint)


def test_a_request_is_a_message_and_a_command() -> None:
    asked = request_of(
        "zoo/net.py:make.big",
        inputs=["x=1x3x8x8", "2:int64"],
        arguments=["depth=50", "sizes=[1, 2]", "name='a b'"],
        train=True,
        autocast="bfloat16",
        channels_last=True,
        real=True,
    )
    assert asked.name == "make.big"
    assert asked.message()["arguments"] == {"depth": 50, "sizes": [1, 2], "name": "a b"}
    assert asked.message()["inputs"] == [["x", [1, 3, 8, 8], "float32"], [None, [2], "int64"]]
    assert asked.command == (
        "convbench capture zoo/net.py:make.big --input x=1x3x8x8 --input 2:int64 --arg depth=50 --arg 'sizes=[1, 2]'"
        """ --arg 'name='"'"'a b'"'"'' --train --autocast bfloat16 --channels-last --real"""
    )
    assert Request(model="a:b", inputs_from="c:d").command == "convbench capture a:b --inputs c:d"
