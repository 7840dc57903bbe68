"""What a user asks to capture: a model, what it is built with and called with, and how it runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from convbench.errors import RequestError
from convbench.model.nearest import did_you_mean

#: The dtypes of inputs, by torch's names.
INPUT_DTYPES = (
    *("float32", "float16", "bfloat16", "float64"),
    *("int64", "int32", "int16", "int8", "uint8", "bool", "complex64"),
)
#: What an input looks like, for messages.
INPUT_FORM = "[NAME=]SHAPE[:DTYPE], for example 8x3x224x224 or ids=1x77:int64"
#: Maximum number of dimensions of an input, and of elements along one.
MOST_DIMENSIONS, MOST_ELEMENTS = 16, 2**31 - 1

_INPUT = re.compile(r"(?:(?P<name>[^\W\d]\w*)=)?(?P<shape>\d+(?:x\d+)*)(?::(?P<dtype>\w+))?")
_MODEL = re.compile(r"(?P<place>.+):(?P<name>[^\W\d]\w*(?:\.[^\W\d]\w*)*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One argument of the model: a tensor of zeros. `name` None is the next argument without a name."""

    name: str | None
    shape: tuple[int, ...]
    dtype: str = "float32"

    def __str__(self) -> str:
        """As it is written: `ids=1x77:int64`."""
        name = "" if self.name is None else f"{self.name}="
        dtype = "" if self.dtype == "float32" else f":{self.dtype}"
        return f"{name}{'x'.join(map(str, self.shape))}{dtype}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A model to capture. `model` and `inputs_from` are `package.module:name` or `file.py:name`.

    `arguments` are those of what builds the model, as (name, value as YAML). `autocast` is a dtype. With `real` the
    model runs on real numbers.
    """

    model: str
    inputs: tuple[Input, ...] = ()
    inputs_from: str | None = None
    arguments: tuple[tuple[str, str], ...] = ()
    train: bool = False
    autocast: str | None = None
    channels_last: bool = False
    real: bool = False

    @property
    def name(self) -> str:
        """The model's own name: `resnet50` of `zoo.models:resnet50`."""
        return self.model.rpartition(":")[2]

    @property
    def command(self) -> str:
        """The command that captures it."""
        words = ["convbench", "capture", self.model]
        words += [word for each in self.inputs for word in ("--input", str(each))]
        words += ["--inputs", self.inputs_from] if self.inputs_from else []
        words += [word for name, value in self.arguments for word in ("--arg", f"{name}={value}")]
        words += ["--train"] if self.train else []
        words += ["--autocast", self.autocast] if self.autocast else []
        words += ["--channels-last"] if self.channels_last else []
        return shlex.join([*words, *(["--real"] if self.real else [])])

    def message(self) -> dict[str, Any]:
        """The request to the process that captures."""
        return {
            "model": self.model,
            "arguments": {name: yaml.safe_load(value) for name, value in self.arguments},
            "inputs": [[each.name, list(each.shape), each.dtype] for each in self.inputs],
            "inputs_from": self.inputs_from,
            "train": self.train,
            "autocast": self.autocast,
            "channels_last": self.channels_last,
            "real": self.real,
        }


def request_of(
    model: str,
    *,
    inputs: Sequence[str] = (),
    inputs_from: str | None = None,
    arguments: Iterable[str] = (),
    train: bool = False,
    autocast: str | None = None,
    channels_last: bool = False,
    real: bool = False,
) -> Request:
    """The request that the options of a command make; raises RequestError."""
    _check_name(model, "the model")
    if inputs_from is not None:
        _check_name(inputs_from, "--inputs")
    if inputs and inputs_from is not None:
        raise RequestError("got --input and --inputs", hint="give one or the other")
    if not inputs and inputs_from is None:
        raise RequestError("missing --input", hint="give the shape of what the model is called with: 8x3x224x224")
    given = [_argument(text) for text in arguments]
    for name in {name for name, _ in given}:
        if sum(name == other for other, _ in given) > 1:
            raise RequestError(f"got --arg {name} twice")
    return Request(
        model=model,
        inputs=tuple(map(input_of, inputs)),
        inputs_from=inputs_from,
        arguments=tuple(given),
        train=train,
        autocast=autocast,
        channels_last=channels_last,
        real=real,
    )


def input_of(text: str) -> Input:
    """The input that `name=1x77:int64` describes; raises RequestError."""
    match = _INPUT.fullmatch(text)
    if match is None:
        hint = "write an x between sizes" if re.fullmatch(r"[\d, *]+", text) else None
        raise RequestError(f"--input {text}: expected {INPUT_FORM}", hint=hint)
    dtype = match["dtype"] or "float32"
    if dtype not in INPUT_DTYPES:
        hint = did_you_mean(dtype, INPUT_DTYPES) or f"known dtypes: {', '.join(INPUT_DTYPES)}"
        raise RequestError(f"--input {text}: unknown dtype {dtype}", hint=hint)
    sizes = match["shape"].split("x")
    if len(sizes) > MOST_DIMENSIONS or any(len(size) > 10 or int(size) > MOST_ELEMENTS for size in sizes):
        raise RequestError(f"--input {text}: expected at most {MOST_DIMENSIONS} sizes up to {MOST_ELEMENTS:,}")
    return Input(name=match["name"], shape=tuple(map(int, sizes)), dtype=dtype)


def _check_name(text: str, what: str) -> None:
    if _MODEL.fullmatch(text) is None:
        place, dot, name = text.rpartition(".")
        hint = f"did you mean {place}:{name}?" if dot and name.isidentifier() and name != "py" else None
        expected = "expected package.module:name or file.py:name"
        raise RequestError(
            f"{what} {text}: {expected}", hint=hint or "the name after the colon is a model or makes one"
        )


def _argument(text: str) -> tuple[str, str]:
    """(name, value as YAML) of `depth=50`."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise RequestError(f"--arg {text}: expected NAME=VALUE, for example depth=50")
    try:
        read = yaml.safe_load(value)
    except yaml.YAMLError:
        raise RequestError(f"--arg {text}: the value is not YAML", hint="put text in quotes") from None
    if not _is_plain(read):
        raise RequestError(f"--arg {text}: expected numbers, text, truths, lists or mappings", hint="quote a date")
    return name, value


def _is_plain(value: object) -> bool:
    """Whether JSON can hold a value."""
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(inner) for key, inner in value.items())
    return value is None or isinstance(value, bool | int | float | str)
