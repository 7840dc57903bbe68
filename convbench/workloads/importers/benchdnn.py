"""Batch files and command lines of oneDNN's benchdnn: options, descriptors, and other batch files.

An option holds for all later descriptors until `--reset`, and a list of its values multiplies them. Grammar:
oneDNN's tests/benchdnn/doc and tests/benchdnn/utils/parser.cpp.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product

from convbench import units
from convbench.errors import RequestError
from convbench.model.case import Case, MemoryFormat
from convbench.model.problem import Direction
from convbench.workloads.importers import descriptor
from convbench.workloads.importers.layers import Found, Layer, Note, NotTakenError, dtype_of, label_of
from convbench.workloads.importers.source import Source
from convbench.workloads.workload import Refused

EXAMPLE = 'mb8_ic256ih56oc512oh28kh1sh2ph0n"res3a_branch1*2"'
SUBJECT = "the file"
#: benchdnn's directions -> ours, and whether a bias takes part.
DIRECTIONS: Mapping[str, tuple[Direction, bool]] = {
    "FWD_B": (Direction.FORWARD, True),
    "FWD_D": (Direction.FORWARD, False),
    "FWD_I": (Direction.FORWARD, False),
    "BWD_D": (Direction.GRAD_INPUT, False),
    "BWD_W": (Direction.GRAD_WEIGHT, False),
    "BWD_WB": (Direction.GRAD_WEIGHT, True),
}
#: Options that change what a descriptor means -> benchdnn's defaults.
DEFAULTS: Mapping[str, str] = {"dir": "FWD_B", "dt": "f32", "bia-dt": "", "mb": "0", "stag": "any", "dtag": "any"}
#: Options with other names for one of `DEFAULTS`.
OTHER_NAMES: Mapping[str, str] = {"cfg": "dt", "bia_dt": "bia-dt"}
#: Options that say how benchdnn runs, and not what.
SILENT = {
    *("alg", "allow-enum-tags-only", "attr-scratchpad", "canonical", "cold-cache", "conv", "ctx-exe", "ctx-init"),
    *("engine", "fast-ref", "fix-times-per-prb", "match", "max-ms-per-prb", "mem-check", "memory-kind", "mode"),
    *("mode-modifier", "perf-template", "repeats-per-prb", "skip-impl", "start", "stream-kind", "verbose", "v"),
    *("attr-deterministic", "impl", "wtag"),
}
#: Drivers of benchdnn for other primitives.
DRIVERS = {
    *("binary", "bnorm", "brgemm", "concat", "deconv", "eltwise", "gnorm", "graph", "ip", "lnorm", "lrn", "matmul"),
    *("pool", "prelu", "reduction", "reorder", "resampling", "rnn", "self", "shuffle", "softmax", "sum", "zeropad"),
}
_CHANNELS_LAST = {"axb", "acdb", "nhwc"}
_CONTIGUOUS = {"any", "abx", "abcd", "nchw", "undef"}
#: How deep batch files may name each other, and how many there may be.
DEEPEST = 20
MOST_FILES = 10_000

_FIRST = re.compile(r"^\s*(--[a-z]|(g\d+)?_?(mb\d+)?_?ic\d+)")
_COUNT = re.compile(r"\*(\d{1,9})$")


@dataclass(slots=True)
class _State:
    """The options in force, and what was seen so far."""

    options: dict[str, str] = field(default_factory=lambda: dict(DEFAULTS))
    driver: str = "conv"
    ignored: dict[str, None] = field(default_factory=dict)
    files: int = 0


def detects(source: Source) -> bool:
    """Whether the first line with content is an option or a descriptor."""
    lines = (line for line in source.text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    return _FIRST.match(next(lines, "")) is not None


def read(source: Source, sizes: Mapping[str, int]) -> Iterator[Found]:
    """The convolutions of a batch file and of those that it names."""
    state = _State()
    yield from _file(source, state, ())
    if state.ignored:
        yield Note(f"options of benchdnn that no layer has were left out: {', '.join(state.ignored)}")


def _file(source: Source, state: _State, above: tuple[str, ...]) -> Iterator[Found]:
    state.files += 1
    if state.files > MOST_FILES:
        raise RequestError(f"{source.name}: batch files name more than {units.count(MOST_FILES)} others")
    for number, line in _joined(source):
        place = f"{source.name}:{number}" if above else f"line {number}"
        for word in _words(line):
            try:
                yield from _word(word, place, source, state, above)
            except NotTakenError as error:
                yield Refused(place=place, reason=str(error))


def _joined(source: Source) -> Iterator[tuple[int, str]]:
    r"""The lines, those that end in `\` with the next one."""
    begun, first = "", 0
    for number, line in source.lines():
        first = first or number
        if line.rstrip().endswith("\\") and not line.lstrip().startswith("#"):
            begun += line.rstrip().removesuffix("\\").strip()
            continue
        yield first, begun + (line.lstrip() if begun else line)
        begun, first = "", 0
    if begun:
        yield first, begun


def _words(line: str) -> Iterator[str]:
    """The words of a line up to a comment. A name in quotes may hold blanks."""
    for word in re.findall(r'(?:[^\s"]|"[^"]*"?)+', line):
        if word.startswith("#"):
            return
        yield word


def _word(word: str, place: str, source: Source, state: _State, above: tuple[str, ...]) -> Iterator[Found]:
    if not word.startswith("--"):
        yield from _descriptor(word, place, state)
        return
    name, _, value = word[2:].partition("=")
    name = OTHER_NAMES.get(name, name)
    if name == "reset":
        state.options = dict(DEFAULTS)
    elif name == "batch":
        yield from _batch(value, place, source, state, above)
    elif name in DEFAULTS:
        state.options[name] = value
    elif name == "conv" or name in DRIVERS:
        state.driver = name
    elif name not in SILENT:
        state.ignored[f"--{units.line(name, most=40)}"] = None


def _batch(name: str, place: str, source: Source, state: _State, above: tuple[str, ...]) -> Iterator[Found]:
    """Another batch file. What it sets stays in force behind it, as in benchdnn."""
    shown = f"--batch={units.line(name, most=100)}"
    if len(above) >= DEEPEST:
        raise NotTakenError(f"{shown} is more than {DEEPEST} batch files deep")
    try:
        opened = source.beside(name)
    except RequestError as error:
        yield Refused(place=place, reason=error.message)
        return
    over = (*above, source.identity)
    if opened.identity in over:
        raise NotTakenError(f"{shown} leads back to itself")
    yield from _file(opened, state, over)


def _descriptor(text: str, place: str, state: _State) -> Iterator[Found]:
    """The layers of a descriptor: one for each combination of options that differ for torch.

    A combination that no layer has does not keep the others out.
    """
    if state.driver != "conv":
        raise NotTakenError(f"it is for benchdnn's driver {state.driver}, which measures no convolutions")
    sizes = {name: value.split(",") for name, value in state.options.items()}
    found: dict[Found, None] = {}
    for combination in product(*sizes.values()):
        try:
            case, count = _case(text, dict(zip(sizes, combination, strict=True)))
        except NotTakenError as error:
            found[Refused(place=place, reason=str(error))] = None
        else:
            found[Layer(case=case, count=count)] = None
    yield from found


def _case(text: str, option: Mapping[str, str]) -> tuple[Case, int]:
    if option["dir"].upper() not in DIRECTIONS:
        raise NotTakenError(f"benchdnn has no direction {units.line(option['dir'], most=20)}")
    direction, bias = DIRECTIONS[option["dir"].upper()]
    if not option["mb"].isascii() or not option["mb"].isdecimal():
        raise NotTakenError("its option --mb is no number")
    bias = bias or option["bia-dt"] not in ("", "undef")
    problem, name = descriptor.read(text, bias=bias, batch_size=int(option["mb"]) or None)
    label, count = _named(name)
    return Case(
        problem=problem,
        direction=direction,
        dtype=dtype_of(*_dtypes(option["dt"])),
        memory_format=_format(option["stag"], option["dtag"]),
        given_label=label,
    ), count


def _dtypes(text: str) -> list[str]:
    """`f32`, `bf16:bf16:bf16`, or `bf16bf16bf16` as older versions wrote."""
    parts = text.split(":") if ":" in text else re.findall(r"[a-z]+\d+(?:_[a-z0-9]+)?", text)
    return parts if "".join(parts) == text.replace(":", "") else [text]


def _format(source: str, destination: str) -> MemoryFormat:
    """The layout of both tensors; `any` is oneDNN's choice, and follows the other one."""
    found = set()
    for tag in (source.lower(), destination.lower()):
        if tag not in _CHANNELS_LAST | _CONTIGUOUS:
            raise NotTakenError(f"its layout {units.line(tag, most=20)} is none of torch's")
        if tag not in ("any", "undef"):
            found.add(MemoryFormat.CHANNELS_LAST if tag in _CHANNELS_LAST else MemoryFormat.CONTIGUOUS)
    if len(found) > 1:
        raise NotTakenError("its input and its output have different layouts")
    return found.pop() if found else MemoryFormat.CONTIGUOUS


def _named(name: str | None) -> tuple[str | None, int]:
    """The label and the count of `"res2a*4"`. Raises NotTakenError for quotes that are not closed.

    oneDNN's lists from frameworks join the names of one problem in several networks: `"a*2&b"` occurs 3 times.
    """
    if not name:
        return None, 1
    if name.startswith('"') != name.endswith('"') or name == '"':
        raise NotTakenError("its name has one quotation mark")
    parts = name.strip('"').split("&")
    counts = [max(1, int(found[1])) if (found := _COUNT.search(part)) else 1 for part in parts]
    return label_of("&".join(_COUNT.sub("", part) for part in parts)), sum(counts)
