"""Commands of MIOpenDriver, as MIOPEN_ENABLE_LOGGING_CMD=1 prints one for each call of a convolution.

Options and their defaults: MIOpen's driver/conv_driver.hpp. Kernel, padding, stride and dilation are height first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from convbench import units
from convbench.model.case import Case, MemoryFormat
from convbench.model.problem import Direction
from convbench.workloads.importers.layers import (
    INCOMPLETE,
    TRANSPOSED,
    Found,
    Layer,
    NotTakenError,
    dtype_of,
    problem,
)
from convbench.workloads.importers.source import Source
from convbench.workloads.workload import Refused

EXAMPLE = "MIOpenDriver convbfp16 -n 32 -c 64 -H 56 -W 56 -k 64 -y 3 -x 3 -p 1 -q 1 -F 1"
SUBJECT = "the log"
#: Options that say what is computed: long name, letter, and MIOpen's default.
OPTIONS: tuple[tuple[str, str, str], ...] = (
    ("batchsize", "n", "100"),
    ("in_channels", "c", "3"),
    ("in_h", "H", "32"),
    ("in_w", "W", "32"),
    ("out_channels", "k", "32"),
    ("fil_h", "y", "3"),
    ("fil_w", "x", "3"),
    ("conv_stride_h", "u", "1"),
    ("conv_stride_w", "v", "1"),
    ("pad_h", "p", "0"),
    ("pad_w", "q", "0"),
    ("dilation_h", "l", "1"),
    ("dilation_w", "j", "1"),
    ("group_count", "g", "1"),
    ("bias", "b", "0"),
    ("forw", "F", "0"),
    ("mode", "m", "conv"),
    ("pad_mode", "z", "default"),
    ("spatial_dim", "_", "2"),
    ("in_layout", "I", "NCHW"),
    ("fil_layout", "f", "NCHW"),
    ("out_layout", "O", "NCHW"),
)
#: Options that say how the driver runs, and those of a third dimension: long name and letter.
SILENT: tuple[tuple[str, str], ...] = (
    ("in_d", "!"),
    ("fil_d", "@"),
    ("conv_stride_d", "#"),
    ("pad_d", "$"),
    ("dilation_d", "^"),
    ("trans_output_pad_d", "%"),
    ("trans_output_pad_h", "Y"),
    ("trans_output_pad_w", "X"),
    ("pad_val", "r"),
    ("iter", "i"),
    ("verify", "V"),
    ("time", "t"),
    ("wall", "w"),
    ("search", "s"),
    ("printconv", "P"),
    ("dump_output", "o"),
    ("in_data", "d"),
    ("weights", "e"),
    ("in_bias", "a"),
    ("dout_data", "D"),
    ("solution", "S"),
    ("verification_cache", "C"),
    ("gpualloc", "G"),
    ("tolerance", "T"),
)
_LONG: Mapping[str, str] = {letter: name for name, letter in reversed(SILENT)} | {row[1]: row[0] for row in OPTIONS}
_KNOWN = set(_LONG.values()) | {name for name, _ in SILENT}
#: The driver's words for a convolution -> dtypes.
WORDS: Mapping[str, str] = {"conv": "float32", "convfp16": "float16", "convbfp16": "bfloat16"}
#: What `-F` adds up.
FORWARD, BACKWARD_DATA, BACKWARD_WEIGHTS = 1, 2, 4

#: Words of a shell that end a command: `> log`, `2>&1`, `| tee log`, `\`.
_SHELL = re.compile(r"\d?[<>]|[|&;]|\\$")
_COMMAND = re.compile(r"MIOpenDriver(?:\.exe)?[\"']?\s+(\w+)(.*)")


def detects(source: Source) -> bool:
    """Whether the head has such a command."""
    return _COMMAND.search(source.text) is not None


def read(source: Source, sizes: Mapping[str, int]) -> Iterator[Found]:
    """The layers of each command of a convolution: one for each direction."""
    for number, line in source.lines():
        command = _COMMAND.search(line) if "MIOpenDriver" in line else None
        if command is None or not command[1].startswith("conv"):
            continue
        try:
            yield from _layers(command[1], command[2])
        except NotTakenError as error:
            yield Refused(place=f"line {number}", reason=str(error))


def _layers(word: str, rest: str) -> Iterator[Layer]:
    if word not in WORDS:
        dtype_of(word.removeprefix("conv"))
    option = {name: default for name, _, default in OPTIONS} | _given(rest)
    if option["mode"].startswith("trans"):
        raise NotTakenError(TRANSPOSED)
    if option["spatial_dim"] != "2":
        raise NotTakenError(f"it has {_number(option['spatial_dim'])} spatial dimensions: convbench measures 2")
    if option["pad_mode"] not in ("default", "valid", "conv"):
        raise NotTakenError("its padding is in MIOpen's mode same, which may differ between two sides")

    def pair(*names: str) -> list[int]:
        return [_number(option[name]) for name in names]

    made = problem(
        in_channels=_number(option["in_channels"]),
        out_channels=_number(option["out_channels"]),
        kernel_size=pair("fil_h", "fil_w"),
        input_size=pair("in_h", "in_w"),
        stride=pair("conv_stride_h", "conv_stride_w"),
        padding=[0, 0] if option["pad_mode"] == "valid" else pair("pad_h", "pad_w"),
        dilation=pair("dilation_h", "dilation_w"),
        groups=_number(option["group_count"]),
        bias=option["bias"] == "1",
        batch_size=_number(option["batchsize"]),
    )
    layout = _format(option["in_layout"], option["fil_layout"], option["out_layout"])
    for direction in _directions(_number(option["forw"])):
        yield Layer(case=Case(problem=made, direction=direction, dtype=WORDS[word], memory_format=layout))


def _given(rest: str) -> dict[str, str]:
    """The options of a command by their long names. Raises NotTakenError where one is unknown or has no value."""
    given: dict[str, str] = {}
    words = iter(rest.split())
    for word in words:
        if _SHELL.match(word):
            break
        if not word.startswith("-"):
            raise NotTakenError("its command has a word that is no option")
        name, equals, value = word.lstrip("-").partition("=")
        known = name if name in _KNOWN else _LONG.get(name)
        if known is None:
            raise NotTakenError(f"its option {units.line(word, most=40)} is not known")
        value = value if equals else next(words, "")
        if not value:
            raise NotTakenError(INCOMPLETE)
        given[known] = value
    return given


def _number(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise NotTakenError("one of its options is no number")
    return int(text)


def _format(*layouts: str) -> MemoryFormat:
    if set(layouts) == {"NHWC"}:
        return MemoryFormat.CHANNELS_LAST
    if set(layouts) == {"NCHW"}:
        return MemoryFormat.CONTIGUOUS
    raise NotTakenError("its tensors have different layouts, or one that torch does not have")


def _directions(flag: int) -> Iterator[Direction]:
    if flag > FORWARD + BACKWARD_DATA + BACKWARD_WEIGHTS:
        raise NotTakenError("its option -F is not known")
    flag = flag or FORWARD + BACKWARD_DATA + BACKWARD_WEIGHTS
    for bit, direction in (
        (FORWARD, Direction.FORWARD),
        (BACKWARD_DATA, Direction.GRAD_INPUT),
        (BACKWARD_WEIGHTS, Direction.GRAD_WEIGHT),
    ):
        if flag & bit:
            yield direction
