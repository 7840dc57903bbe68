"""One table row per setting: its values, default and words, how it is compared, and how it is sent to workers.

YAML, ids, labels, columns, findings, pages and the messages to workers are made from these rows. To add a setting, add
its row, its field in `Case` (or `Problem`), and its implementation in worker/. Some other places must name a setting;
tests/model/test_settings.py checks that they agree with the rows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from convbench.model.nearest import did_you_mean
from convbench.model.operators import DEFAULT_OPERATOR
from convbench.model.operators.given import (
    DEPTHWISE,
    HALF,
    ONE_EACH,
    TIED,
    ZERO_EACH,
    PaddingMode,
    PaddingWord,
)
from convbench.model.problem import Direction

#: torch's class, which runs a case that names no other.
TORCH_MODULE = DEFAULT_OPERATOR.name

#: The largest number of a layer: many kernels index with 32 bits.
MOST_INTEGER = 2**31 - 1


# Enumerations


class MemoryFormat(StrEnum):
    """The order of a tensor's elements in memory."""

    CONTIGUOUS = "contiguous"
    CHANNELS_LAST = "channels_last"


class Allocator(StrEnum):
    """Whether the C library's malloc keeps freed memory (`steady`) or has the system's defaults (`system`)."""

    STEADY = "steady"
    SYSTEM = "system"


class Cache(StrEnum):
    """Whether an iteration reads its operands from the caches (`hot`) or from memory (`cold`)."""

    HOT = "hot"
    COLD = "cold"


class Data(StrEnum):
    """What the input and the upstream gradient hold while a layer is timed."""

    NORMAL = "normal"
    ZEROS = "zeros"
    DENORMAL = "denormal"


class Weights(StrEnum):
    """What weight and bias hold while a layer is timed; `given` is what the module's constructor put there."""

    NORMAL = "normal"
    GIVEN = "given"
    ZEROS = "zeros"
    DENORMAL = "denormal"


class InputFormat(StrEnum):
    """How the input lies in memory; `same` is the memory format, `strided` a window of a tensor twice as wide."""

    SAME = "same"
    CONTIGUOUS = "contiguous"
    CHANNELS_LAST = "channels_last"
    STRIDED = "strided"


class Autocast(StrEnum):
    """The dtype in which the layer computes inside `torch.autocast`."""

    NONE = "none"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class Fp32Precision(StrEnum):
    """How torch may compute float32 convolutions; `default` does not change its setting."""

    DEFAULT = "default"
    IEEE = "ieee"
    TF32 = "tf32"
    BF16 = "bf16"


class Execution(StrEnum):
    """How torch runs the layer: call by call, compiled by `torch.compile`, or as one CUDA graph that is replayed."""

    EAGER = "eager"
    COMPILED = "compiled"
    GRAPH = "graph"


class CompileMode(StrEnum):
    """The `mode` of `torch.compile`, by torch's names."""

    DEFAULT = "default"
    MAX_AUTOTUNE = "max-autotune"
    MAX_AUTOTUNE_NO_CUDAGRAPHS = "max-autotune-no-cudagraphs"


#: The dtypes of layers -> bytes per element.
DTYPES: dict[str, int] = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}

#: torch's device types; `accelerator` is whatever `torch.accelerator` finds.
DEVICES: dict[str, str] = {
    "cpu": "the processor",
    "accelerator": "the accelerator that torch finds, if any",
    "cuda": "NVIDIA and AMD graphics processors",
    "xpu": "Intel graphics processors",
    "mps": "Apple graphics processors",
    "mtia": "Meta's accelerator",
    "hpu": "Intel Gaudi",
    "privateuseone": "a third-party backend",
}


# Kinds of values


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """The values that a setting may have."""

    least: int | None = None  # integers from here to `most`; None: no integers
    most: int = MOST_INTEGER
    spatial: bool = False  # or a list of integers, one for each spatial dimension
    words: tuple[str, ...] = ()
    truth: bool = False
    null: bool = False
    variables: bool = False  # a mapping from environment variables to their values
    text: Callable[[str], str | None] | None = None  # what is wrong with free text; None where it is valid
    like: str = ""  # a description of valid free text
    pattern: str = ""  # the same as an expression that editors know, for letters of all scripts

    @property
    def name(self) -> str:
        """`an integer of at least 0, same, valid or half`."""
        names = [] if self.least is None else [f"an integer of at least {self.least}"]
        names += [str(word) for word in self.words]
        names += ["true", "false"] if self.truth else []
        names += [self.like] if self.like else []
        names += ["a mapping of environment variables"] if self.variables else []
        names += ["null"] if self.null else []
        return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


_DEVICE = re.compile(r"([a-z]+)(?::(0|[1-9][0-9]{0,2}))?")
_LAST_DEVICE = 127  # torch keeps the index in 8 bits
_WITHOUT_INDEX = ("cpu", "accelerator")
_INDEXED = "|".join(name for name in DEVICES if name not in _WITHOUT_INDEX)
_DEVICE_PATTERN = f"^({'|'.join(_WITHOUT_INDEX)}|({_INDEXED})(:([0-9]|[1-9][0-9]|1[01][0-9]|12[0-7]))?)$"


def device_problem(text: str) -> str | None:
    """What is wrong with a device's name, None where it is valid."""
    match = _DEVICE.fullmatch(text)
    if match is None or match[1] not in DEVICES:
        known = f"known are {', '.join(DEVICES)}, with an index if wanted: cuda:1"
        return known if text.partition(":")[0] in DEVICES else did_you_mean(text, tuple(DEVICES)) or known
    if match[2] is None:
        return None
    if match[1] in _WITHOUT_INDEX:
        return f"{match[1]} takes no index"
    return None if int(match[2]) <= _LAST_DEVICE else f"torch counts devices to {_LAST_DEVICE}"


def module_problem(text: str) -> str | None:
    """What is wrong with the name of a layer's class, None where it is valid."""
    if text == TORCH_MODULE:
        return None
    path, colon, attribute = text.partition(":")
    words = [*path.split("."), *attribute.split(".")]
    if colon and all(word.isidentifier() for word in words):
        return None
    dotted = path.split(".")
    if colon or not all(word.isidentifier() for word in dotted):
        return _ELSEWHERE_MODULE
    if dotted[-1].lower() == TORCH_MODULE.rpartition(".")[2].lower() and dotted[0] in (*_TORCHS, dotted[-1]):
        return f"did you mean {TORCH_MODULE}?"
    if len(dotted) == 1:
        return _ELSEWHERE_MODULE
    if dotted[0] in _TORCHS:
        return f"of torch's modules only {TORCH_MODULE} takes its arguments; one of your own is package.module:Class"
    return f"did you mean {'.'.join(dotted[:-1])}:{dotted[-1]}?"


_NAME_PATTERN = "[A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*"
_NAMES_PATTERN = rf"{_NAME_PATTERN}(\.{_NAME_PATTERN})*"
_MODULE_PATTERN = f"^({re.escape(TORCH_MODULE)}|{_NAMES_PATTERN}:{_NAMES_PATTERN})$"
_ELSEWHERE_MODULE = f"the part before the colon is imported, the class after it takes {TORCH_MODULE}'s arguments"
#: Names under which torch and its parts are usually imported.
_TORCHS = ("torch", "nn", "F")


# The rows


class Sent(StrEnum):
    """How a worker gets the value of a setting."""

    LAYER = "layer"  # with each layer: a field of worker/spec.py's Spec
    SHAPES = "shapes"  # with each layer, by the shapes of its tensors
    PROCESS = "process"  # once, before the first layer: a field of worker/settings.py's Settings
    VARIABLES = "variables"  # by the environment variables of its process (engine/local.py)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The description of a setting.

    `label` is the form of a value in a case's label, with {} for the value. The default is left out unless the setting
    is `labelled`. `place` moves it before (below 0) or after (above 0) the settings at place 0, which have the table's
    order. `short` writes equal numbers of all dimensions as one. `absent` is the word for a case without a value.

    A setting that changes the `work` is compared by time per FLOP. A setting of the `execution` leaves the work the
    same and is compared by time. A direction is neither, and is compared by its share of the work.

    Other values are compared with the value `usual`, or with the smallest where `usual` is None or was not measured.
    `phrase` is the form of a value in a sentence. A `choice` may be chosen for a given layer: it does not change what
    the layer computes.

    A setting of the `process` needs a separate worker for each value; `sent` is how that worker gets it.
    """

    kind: Kind
    heading: str
    about: str
    default: object = None
    required: bool = False  # has no default
    label: str
    labelled: bool = False
    place: int = 0
    short: bool = False
    absent: str = ""
    work: bool = False
    execution: bool = False
    usual: object = None
    phrase: str = ""
    choice: bool = False
    process: bool = False
    sent: Sent = Sent.LAYER

    @property
    def is_clear_alone(self) -> bool:
        """Whether a value is written without the setting's name: `bfloat16`, not `dtype=bfloat16`."""
        return self.phrase == "{}"


_SIZE, _SPATIAL, _TRUTH = Kind(least=1), Kind(least=1, spatial=True), Kind(truth=True)
_SIDES = " x ".join(DEFAULT_OPERATOR.dimensions)

# Formatted by hand to fit on one screen.
# fmt: off
#: The settings of a problem (model/problem.py), in the order of its fields.
OF_PROBLEM: dict[str, Setting] = {
    "in_channels": Setting(kind=_SIZE, required=True, work=True, label="c{}", labelled=True, place=-4,
        heading="in channels", about="channels of the input"),
    "out_channels": Setting(kind=Kind(least=1, words=(TIED,)), required=True, work=True, label="-> k{}", labelled=True,
        place=-2, heading="out channels", about="channels of the output"),
    "kernel_size": Setting(kind=_SPATIAL, required=True, work=True, label="{}", labelled=True, place=-1,
        heading="kernel size", about=f"{_SIDES} of the kernel"),
    "input_size": Setting(kind=_SPATIAL, required=True, work=True, label="{}", labelled=True, place=-3,
        sent=Sent.SHAPES, heading="input size", about=f"{_SIDES} of the input"),
    "stride": Setting(kind=_SPATIAL, default=ONE_EACH, work=True, label="s{}", labelled=True, short=True,
        heading="stride", about=f"step of the kernel, {_SIDES}"),
    "padding": Setting(kind=Kind(least=0, spatial=True, words=(*PaddingWord, HALF)), default=ZERO_EACH, work=True,
        label="p{}", labelled=True, short=True,
        heading="padding", about=f"elements added on each side, {_SIDES}, or same or valid"),
    "dilation": Setting(kind=_SPATIAL, default=ONE_EACH, work=True, label="d{}", short=True,
        heading="dilation", about=f"distance between the kernel's taps, {_SIDES}"),
    "groups": Setting(kind=Kind(least=1, words=(DEPTHWISE,)), default=1, work=True, label="g{}",
        heading="groups", about="groups of channels that do not mix"),
    "bias": Setting(kind=_TRUTH, default=True, execution=True, usual=True, phrase="bias={}", label="no-bias",
        heading="bias", about="whether a bias is added"),
    "padding_mode": Setting(kind=Kind(words=tuple(PaddingMode)), default=PaddingMode.ZEROS, execution=True,
        usual=PaddingMode.ZEROS, phrase="padding_mode={}", label="{}",
        heading="padding mode", about="what the padding is filled with"),
    "batch_size": Setting(kind=Kind(least=0, null=True), default=1, work=True, label="n{}", labelled=True, place=-5,
        absent="unbatched", heading="batch size",
        about="images at once, 0 for an empty batch; no value for one unbatched image"),
    "module_output_size": Setting(kind=Kind(least=1, spatial=True, null=True), default=None, work=True, label="out{}",
        sent=Sent.SHAPES, heading="module's output size",
        about=f"{_SIDES} of the output of a module that pads by itself; empty where torch's formula says it"),
}
#: The settings of a case that do not belong to its problem (model/case.py), in the order of its fields.
OF_CASE: dict[str, Setting] = {
    "direction": Setting(kind=Kind(words=tuple(Direction)), default=Direction.FORWARD, usual=Direction.FORWARD,
        phrase="{}", label="{}", labelled=True, heading="direction", about="what is timed"),
    "dtype": Setting(kind=Kind(words=tuple(DTYPES)), default="float32", execution=True, usual="float32", choice=True,
        phrase="{}", label="{}", labelled=True, heading="dtype", about="type of every tensor"),
    "memory_format": Setting(kind=Kind(words=tuple(MemoryFormat)), default=MemoryFormat.CONTIGUOUS, execution=True,
        usual=MemoryFormat.CONTIGUOUS, choice=True, phrase="{}", label="{}", labelled=True,
        heading="memory format", about="how tensors lie in memory"),
    "device": Setting(kind=Kind(text=device_problem, like="a device", pattern=_DEVICE_PATTERN), default="cpu",
        execution=True, usual="cpu", choice=True, phrase="{}", label="{}", labelled=True,
        heading="device", about="where it runs"),
    "threads": Setting(kind=Kind(least=1, null=True), default=None, execution=True, usual=1, choice=True,
        phrase="threads={}", label="t{}", process=True, sent=Sent.PROCESS,
        heading="threads", about="threads that torch used"),
    "module": Setting(kind=Kind(text=module_problem, like=f"{TORCH_MODULE} or package.module:Class",
        pattern=_MODULE_PATTERN), default=TORCH_MODULE, execution=True, usual=TORCH_MODULE, choice=True, phrase="{}",
        label="{}", place=1, process=True, heading="module", about="the layer's class"),
    "allocator": Setting(kind=Kind(words=tuple(Allocator)), default=Allocator.STEADY, execution=True,
        usual=Allocator.STEADY, choice=True, phrase="the {} allocator", label="{}-allocator",
        process=True, sent=Sent.VARIABLES, heading="allocator", about="whether malloc keeps freed memory"),
    "cache": Setting(kind=Kind(words=tuple(Cache)), default=Cache.HOT, execution=True, usual=Cache.HOT,
        phrase="a {} cache", label="{}-cache",
        heading="cache", about="whether operands are in the caches or in memory"),
    "data": Setting(kind=Kind(words=tuple(Data)), default=Data.NORMAL, execution=True, usual=Data.NORMAL,
        phrase="data={}", label="{}-data", heading="data", about="what input and upstream gradient hold"),
    "autocast": Setting(kind=Kind(words=tuple(Autocast)), default=Autocast.NONE, execution=True, usual=Autocast.NONE,
        choice=True, phrase="autocast={}", label="autocast-{}",
        heading="autocast", about="the dtype that torch.autocast computes in"),
    "fp32_precision": Setting(kind=Kind(words=tuple(Fp32Precision)), default=Fp32Precision.DEFAULT, execution=True,
        usual=Fp32Precision.DEFAULT, choice=True, phrase="fp32_precision={}", label="fp32-{}",
        process=True, sent=Sent.PROCESS, heading="float32 precision", about="torch's setting for computing float32"),
    "deterministic": Setting(kind=_TRUTH, default=False, execution=True, usual=False, phrase="deterministic={}",
        label="deterministic", process=True, sent=Sent.PROCESS,
        heading="deterministic", about="deterministic algorithms only"),
    "cudnn_benchmark": Setting(kind=_TRUTH, default=False, execution=True, usual=False, choice=True,
        phrase="cudnn_benchmark={}", label="cudnn-benchmark", process=True, sent=Sent.PROCESS,
        heading="cudnn.benchmark", about="cuDNN tries its algorithms first"),
    "env": Setting(kind=Kind(variables=True), default=(), execution=True, choice=True, phrase="env {}", label="{}",
        process=True, sent=Sent.VARIABLES, heading="variables", about="environment variables of the worker"),
    "weights": Setting(kind=Kind(words=tuple(Weights)), default=Weights.NORMAL, execution=True, usual=Weights.NORMAL,
        phrase="weights={}", label="{}-weights", heading="weights", about="what weight and bias hold"),
    "input_format": Setting(kind=Kind(words=tuple(InputFormat)), default=InputFormat.SAME, execution=True,
        usual=InputFormat.SAME, choice=True, phrase="input_format={}", label="{}-input",
        heading="input format", about="how the input lies in memory, where not as memory_format says"),
    "execution": Setting(kind=Kind(words=tuple(Execution)), default=Execution.EAGER, execution=True,
        usual=Execution.EAGER, choice=True, phrase="{}", label="{}", process=True,
        heading="execution", about="run eagerly, compiled by torch.compile, or replayed as a CUDA graph"),
    "compile_mode": Setting(kind=Kind(words=tuple(CompileMode)), default=CompileMode.DEFAULT, execution=True,
        usual=CompileMode.DEFAULT, choice=True, phrase="compile_mode={}", label="{}",
        heading="compile mode", about="the mode of torch.compile"),
}
# fmt: on
#: Every setting by its name in YAML.
TABLE: Mapping[str, Setting] = {**OF_PROBLEM, **OF_CASE}

PROBLEM_SETTINGS = tuple(OF_PROBLEM)
CASE_SETTINGS = tuple(OF_CASE)
SETTINGS = tuple(TABLE)
#: The settings that have no default.
REQUIRED = tuple(name for name, row in TABLE.items() if row.required)
#: The settings that need a separate worker for each value.
PROCESS_SETTINGS = tuple(name for name, row in TABLE.items() if row.process)


def sent(how: Sent) -> tuple[str, ...]:
    """The settings that a worker gets in this way."""
    return tuple(name for name, row in TABLE.items() if row.sent is how)
