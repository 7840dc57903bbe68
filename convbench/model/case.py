"""One thing to measure: a problem and how it is executed. Closed sets of execution settings and their facts stand here.

To add an execution setting: a field with a default, a line in `SETTINGS`, and its meaning in worker/.
"""

from __future__ import annotations

import base64
import hashlib
import math
import shlex
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import lru_cache

from convbench import units
from convbench.model.problem import Direction, PaddingMode, PaddingWord, Problem
from convbench.model.variables import Variables

TORCH_CONV2D = "torch.nn.Conv2d"


class MemoryFormat(StrEnum):
    """How a tensor's elements lie in memory."""

    CONTIGUOUS = "contiguous"
    CHANNELS_LAST = "channels_last"


class Allocator(StrEnum):
    """Whether the C library's malloc keeps freed memory (`steady`) or works as users get it (`system`)."""

    STEADY = "steady"
    SYSTEM = "system"


class Cache(StrEnum):
    """Whether an iteration finds its operands in the caches (`hot`) or in memory (`cold`)."""

    HOT = "hot"
    COLD = "cold"


class Data(StrEnum):
    """What the input and the upstream gradient hold while a layer is timed; weights stay normal."""

    NORMAL = "normal"
    ZEROS = "zeros"
    DENORMAL = "denormal"


class Autocast(StrEnum):
    """The dtype that `torch.autocast` has the layer compute in."""

    NONE = "none"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class Fp32Precision(StrEnum):
    """How torch may compute float32 convolutions; `default` leaves its setting alone."""

    DEFAULT = "default"
    IEEE = "ieee"
    TF32 = "tf32"
    BF16 = "bf16"


#: Environment variables as (name, value), sorted by name; in place of a secret's value stands `variables.HIDDEN`.
Env = Variables

#: Bytes per element of the dtypes a layer can have.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """Settings that belong to a whole process: cases that differ in one need workers of their own.

    `module` is one: the user's code may change what the whole process does (its threads, its default device).
    """

    threads: int | None = None
    allocator: Allocator = Allocator.STEADY
    fp32_precision: Fp32Precision = Fp32Precision.DEFAULT
    deterministic: bool = False
    cudnn_benchmark: bool = False
    env: Env = ()
    module: str = TORCH_CONV2D

    @property
    def oddness(self) -> tuple[bool, ...]:
        """What may keep a process from starting, or from what the machine can do; smallest where nothing does."""
        return (self.module != TORCH_CONV2D, bool(self.env), self.deterministic)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A problem with its direction and execution settings.

    `threads` None is torch's default. `given_label` and `count` (how often the layer occurs in a network) describe the
    case but are no part of what it is: they enter neither equality nor the id.
    """

    problem: Problem
    direction: Direction = Direction.FORWARD
    dtype: str = "float32"
    memory_format: MemoryFormat = MemoryFormat.CONTIGUOUS
    device: str = "cpu"
    threads: int | None = None
    module: str = TORCH_CONV2D
    allocator: Allocator = Allocator.STEADY
    cache: Cache = Cache.HOT
    data: Data = Data.NORMAL
    autocast: Autocast = Autocast.NONE
    fp32_precision: Fp32Precision = Fp32Precision.DEFAULT
    deterministic: bool = False
    cudnn_benchmark: bool = False
    env: Env = ()
    given_label: str | None = field(default=None, compare=False)
    count: int = field(default=1, compare=False)

    @property
    def worker(self) -> WorkerSettings:
        """The process this case must run in."""
        return WorkerSettings(
            threads=self.threads,
            allocator=self.allocator,
            fp32_precision=self.fp32_precision,
            deterministic=self.deterministic,
            cudnn_benchmark=self.cudnn_benchmark,
            env=self.env,
            module=self.module,
        )

    @property
    def compute_dtype(self) -> str:
        """The dtype that the kernels compute in."""
        return self.dtype if self.autocast is Autocast.NONE else self.autocast.value

    @property
    def is_one_backward_kernel(self) -> bool:
        """Whether this is a backward that comes down to one call of torch's kernel, which can be timed alone."""
        return (
            self.direction is Direction.BACKWARD
            and self.module == TORCH_CONV2D
            and self.autocast is Autocast.NONE
            and self.problem.padding_mode is PaddingMode.ZEROS
            and all(before == after for before, after in self.problem.pads)
        )

    @property
    def id(self) -> str:
        """A short stable hash of the resolved settings that are not default (12 base32 digits, 60 bits).

        A new axis leaves the ids of old cases alone, because its default is left out.
        """
        digest = hashlib.sha256(_identity(self).encode("utf-8", "surrogatepass")).digest()
        return base64.b32encode(digest)[:12].decode().lower()

    @property
    def label(self) -> str:
        """Text a person reads: `n8 c64 56x56 -> k64 3x3 s1 p1 forward float32 contiguous cpu`."""
        p = self.problem
        words = [
            "unbatched" if p.batch_size is None else f"n{p.batch_size}",
            f"c{p.in_channels}",
            units.pair(p.input_size),
            "->",
            f"k{p.out_channels}",
            units.pair(p.kernel_size),
            f"s{_short(p.stride)}",
            f"p{_short(p.padding)}",
        ]
        words += [f"d{_short(p.dilation)}"] if any(d != 1 for d in p.dilation) else []
        words += [f"g{p.groups}"] if p.groups != 1 else []
        words += [] if p.bias else ["no-bias"]
        words += [p.padding_mode.value] if p.padding_mode is not PaddingMode.ZEROS else []
        words += [self.direction.value, self.dtype, self.memory_format.value, self.device]
        words += [f"t{self.threads}"] if self.threads is not None else []
        words += [f"{self.allocator.value}-allocator"] if self.allocator is not Allocator.STEADY else []
        words += [f"{self.cache.value}-cache"] if self.cache is not Cache.HOT else []
        words += [f"{self.data.value}-data"] if self.data is not Data.NORMAL else []
        words += [f"autocast-{self.autocast.value}"] if self.autocast is not Autocast.NONE else []
        words += [f"fp32-{self.fp32_precision.value}"] if self.fp32_precision is not Fp32Precision.DEFAULT else []
        words += ["deterministic"] if self.deterministic else []
        words += ["cudnn-benchmark"] if self.cudnn_benchmark else []
        words += [canonical(self.env)] if self.env else []
        words += [self.module] if self.module != TORCH_CONV2D else []
        text = " ".join(words)
        return f"{self.given_label}: {text}" if self.given_label else text

    @property
    def flops(self) -> int:
        """Floating-point operations of one iteration."""
        return self.problem.flops(self.direction)

    @property
    def bytes(self) -> int:
        """Bytes of one iteration: every operand read once, every result written once, each in its own dtype.

        Under autocast the output, and the upstream gradient, have the dtype that is computed in.
        """
        moved = self.problem.elements_moved(self.direction) * DTYPES[self.dtype]
        if self.autocast is Autocast.NONE:
            return moved
        outputs = math.prod(self.problem.output_shape) * (2 if self.direction is Direction.TRAIN_STEP else 1)
        return moved + outputs * (DTYPES[self.compute_dtype] - DTYPES[self.dtype])

    def objection(self) -> str | None:
        """Why torch would refuse this case, in plain words; None where it would run it."""
        return self.problem.objection() or self.misfit()

    def misfit(self) -> str | None:
        """Why the settings do not fit a problem that is sound in itself; None where they do."""
        if self.memory_format is MemoryFormat.CHANNELS_LAST and self.problem.batch_size is None:
            return "channels_last needs a batch: an unbatched image has three dimensions, the format four"
        return None


#: Every setting of a case by its name in YAML, with its default (None in the four that must be given).
PROBLEM_SETTINGS = tuple(f.name for f in fields(Problem))
CASE_SETTINGS = tuple(f.name for f in fields(Case) if f.compare and f.name != "problem")
SETTINGS: tuple[str, ...] = PROBLEM_SETTINGS + CASE_SETTINGS
REQUIRED = ("in_channels", "out_channels", "kernel_size", "input_size")
_DEFAULTS: dict[str, object] = {f.name: f.default for f in (*fields(Problem), *fields(Case)) if f.name in SETTINGS}


def setting(case: Case, name: str) -> object:
    """The resolved value of the setting `name` of a case."""
    return getattr(case.problem if name in PROBLEM_SETTINGS else case, name)


def _identity(case: Case) -> str:
    """Every setting that is not its default as `name=value`, sorted, so that a new axis leaves old texts alone."""
    rest = [(name, getattr(case, name)) for name in CASE_SETTINGS]
    words = [f"{name}={canonical(value)}" for name, value in rest if value != _DEFAULTS[name]]
    return ";".join(sorted((*_problem_words(case.problem), *words)))


@lru_cache(maxsize=65536)
def _problem_words(problem: Problem) -> tuple[str, ...]:
    values = [(name, getattr(problem, name)) for name in PROBLEM_SETTINGS]
    return tuple(f"{name}={canonical(value)}" for name, value in values if name in REQUIRED or value != _DEFAULTS[name])


def canonical(value: object) -> str:
    """One text per value, for ids and exports: `3x3`, `true`, `null`, `A=1 B='x y'`; words and numbers as written."""
    if isinstance(value, tuple) and all(isinstance(item, tuple) for item in value):
        return " ".join(f"{name}={shlex.quote(text)}" for name, text in value)
    if isinstance(value, tuple):
        return units.pair(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value)


def _short(value: tuple[int, ...] | PaddingWord) -> str:
    if isinstance(value, tuple) and len(set(value)) == 1:
        return str(value[0])
    return units.pair(value)
