"""One thing to measure: a problem and how it is executed. model/settings.py describes each setting."""

from __future__ import annotations

import base64
import hashlib
import math
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any

from convbench import units
from convbench.model.operators import OPERATORS
from convbench.model.operators.given import default_for
from convbench.model.problem import Direction, PaddingMode, Problem
from convbench.model.settings import (
    CASE_SETTINGS,
    DEVICES,
    DTYPES,
    PROBLEM_SETTINGS,
    REQUIRED,
    SETTINGS,
    TABLE,
    TORCH_MODULE,
    Allocator,
    Autocast,
    Cache,
    CompileMode,
    Data,
    Execution,
    Fp32Precision,
    InputFormat,
    MemoryFormat,
    Setting,
    Weights,
)
from convbench.model.variables import Variables

#: Includes the enumerations of the settings, for modules that use cases.
__all__ = [
    "CASE_SETTINGS",
    "DEVICES",
    "DTYPES",
    "PROBLEM_SETTINGS",
    "REQUIRED",
    "SETTINGS",
    "TORCH_MODULE",
    "Allocator",
    "Autocast",
    "Cache",
    "Case",
    "CompileMode",
    "Data",
    "Env",
    "Execution",
    "Fp32Precision",
    "InputFormat",
    "MemoryFormat",
    "Weights",
    "WorkerSettings",
    "canonical",
    "setting",
]

#: Environment variables as (name, value), sorted by name; `variables.HIDDEN` replaces a secret's value.
Env = Variables


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """Settings that apply to a whole process: cases that differ in one of them need separate workers.

    `module` is one: the user's code may change settings of the whole process (its threads, its default device).
    `execution` is one: torch's compiler loads much code, which a process of eager layers does not have.
    """

    threads: int | None = None
    allocator: Allocator = Allocator.STEADY
    fp32_precision: Fp32Precision = Fp32Precision.DEFAULT
    deterministic: bool = False
    cudnn_benchmark: bool = False
    env: Env = ()
    module: str = TORCH_MODULE
    execution: Execution = Execution.EAGER

    @property
    def special_settings(self) -> tuple[bool, ...]:
        """Settings that may make a process slower, or keep it from starting; the smallest tuple where none is set."""
        return (
            self.module not in OPERATORS,
            bool(self.env),
            self.deterministic,
            self.execution is not Execution.EAGER,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A problem with its direction and execution settings.

    `threads` None is torch's default. `count` is how often the layer occurs in a network. `labels` are those of all
    equal layers where there are several, such as their module paths; `given_label` is the one that is shown. These
    three describe the case but do not identify it: equality and the id ignore them.
    """

    problem: Problem
    direction: Direction = Direction.FORWARD
    dtype: str = "float32"
    memory_format: MemoryFormat = MemoryFormat.CONTIGUOUS
    device: str = "cpu"
    threads: int | None = None
    module: str = TORCH_MODULE
    allocator: Allocator = Allocator.STEADY
    cache: Cache = Cache.HOT
    data: Data = Data.NORMAL
    autocast: Autocast = Autocast.NONE
    fp32_precision: Fp32Precision = Fp32Precision.DEFAULT
    deterministic: bool = False
    cudnn_benchmark: bool = False
    env: Env = ()
    weights: Weights = Weights.NORMAL
    input_format: InputFormat = InputFormat.SAME
    execution: Execution = Execution.EAGER
    compile_mode: CompileMode = CompileMode.DEFAULT
    given_label: str | None = field(default=None, compare=False)
    count: int = field(default=1, compare=False)
    labels: tuple[str, ...] = field(default=(), compare=False)

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
            execution=self.execution,
        )

    @property
    def compute_dtype(self) -> str:
        """The dtype that the kernels compute in."""
        return self.dtype if self.autocast is Autocast.NONE else self.autocast.value

    def fits(self, l2_bytes: int | None) -> bool:
        """Whether what the case touches stays in a second-level cache of this size; false where that is unknown."""
        return self.cache is Cache.HOT and l2_bytes is not None and self.bytes <= l2_bytes

    @property
    def is_one_backward_kernel(self) -> bool:
        """Whether this is a backward that calls only one kernel of torch, which can be timed alone."""
        return (
            self.direction is Direction.BACKWARD
            and self.execution is Execution.EAGER
            and self.module in OPERATORS
            and self.autocast is Autocast.NONE
            and self.problem.padding_mode is PaddingMode.ZEROS
            and all(before == after for before, after in self.problem.pads)
        )

    @property
    def id(self) -> str:
        """A short stable hash of the resolved settings that are not default (12 base32 digits, 60 bits).

        A new setting does not change the ids of old cases, because its default is left out.
        """
        digest = hashlib.sha256(_identity(self).encode("utf-8", "surrogatepass")).digest()
        return base64.b32encode(digest)[:12].decode().lower()

    @property
    def label(self) -> str:
        """A text for people: `n8 c64 56x56 -> k64 3x3 s1 p1 forward float32 contiguous cpu`."""
        words = [
            write(value)
            for value, (default, always, write) in zip(_LABELLED(self), _words(self.problem.rank), strict=True)
            if always or value != default
        ]
        text = " ".join(words)
        return f"{self.given_label}: {text}" if self.given_label else text

    @property
    def flops(self) -> int:
        """Floating-point operations of one iteration."""
        return self.problem.flops(self.direction)

    @property
    def bytes(self) -> int:
        """Bytes of one iteration: every operand read once, every result written once, each in its dtype.

        With autocast the output and the upstream gradient have the compute dtype.
        """
        moved = self.problem.elements_moved(self.direction) * DTYPES[self.dtype]
        if self.autocast is Autocast.NONE:
            return moved
        outputs = math.prod(self.problem.output_shape) * (2 if self.direction is Direction.TRAIN_STEP else 1)
        return moved + outputs * (DTYPES[self.compute_dtype] - DTYPES[self.dtype])

    def refusal(self) -> str | None:
        """Why torch would refuse this case; None where torch would run it."""
        return self.problem.refusal() or self.unsuitable()

    def unsuitable(self) -> str | None:
        """Why the settings do not fit the problem, which is valid; None where they fit."""
        if self.problem.module_output_size is not None and self.module in OPERATORS:
            return f"module_output_size is for a module of your own: {self.module} does not pad by itself"
        if self.execution is Execution.GRAPH and self.cache is Cache.COLD:
            return "execution: graph replays the same addresses, so cache: cold has no graph to replay on its copies"
        if self.compile_mode is not CompileMode.DEFAULT and self.execution is not Execution.COMPILED:
            own = self.execution is Execution.GRAPH and self.compile_mode is CompileMode.MAX_AUTOTUNE
            why = f"{self.compile_mode} captures graphs by itself" if own else f"{self.execution} compiles nothing"
            return f"compile_mode is for execution: compiled; {why}"
        if "channels_last" not in (self.memory_format, self.input_format):
            return None
        return self.problem.operator.channels_last_refusal(self.problem)


@cache
def _defaults(rank: int) -> dict[str, object]:
    """The default of each setting, for a problem with `rank` spatial dimensions."""
    return {name: default_for(rank, row.default) for name, row in TABLE.items()}


def setting(case: Case, name: str) -> object:
    """The resolved value of the setting `name` of a case."""
    return getattr(case.problem if name in PROBLEM_SETTINGS else case, name)


def _identity(case: Case) -> str:
    """Every setting that is not its default as `name=value`, sorted. A new setting does not change the old texts."""
    rest = [(name, getattr(case, name)) for name in CASE_SETTINGS]
    words = [f"{name}={canonical(value)}" for name, value in rest if value != TABLE[name].default]
    return ";".join(sorted((*_problem_words(case.problem), *words)))


@lru_cache(maxsize=65536)
def _problem_words(problem: Problem) -> tuple[str, ...]:
    values = [(name, getattr(problem, name)) for name in PROBLEM_SETTINGS]
    defaults = _defaults(problem.rank)
    return tuple(f"{name}={canonical(value)}" for name, value in values if name in REQUIRED or value != defaults[name])


def canonical(value: object) -> str:
    """One text per value, for ids and exports: `3x3`, `true`, `null`, `A=1 B='x y'`; words and numbers unchanged."""
    if isinstance(value, tuple) and all(isinstance(item, tuple) for item in value):
        return " ".join(f"{name}={shlex.quote(text)}" for name, text in value)
    if isinstance(value, tuple):
        return units.pair(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value)


def _word(row: Setting) -> Callable[[Any], str]:
    """A function that writes a value of a setting as a word of a label. 100,000 labels contain a million words."""
    before, braces, after = row.label.partition("{}")

    def text(value: str) -> str:
        return before + value + after

    @lru_cache(maxsize=4096)
    def number(value: Any) -> str:
        if value is None:
            return row.absent
        short = row.short and isinstance(value, tuple) and len(set(value)) == 1
        return f"{before}{value[0] if short else canonical(value)}{after}"

    if not braces:
        return lambda value: before
    if row.kind.variables:
        return canonical
    return number if row.kind.least is not None else text


#: The settings in the order of labels, and the getter of their values.
_ORDER = sorted(TABLE, key=lambda name: TABLE[name].place)
_LABELLED = attrgetter(*(f"problem.{name}" if name in PROBLEM_SETTINGS else name for name in _ORDER))


@cache
def _words(rank: int) -> tuple[tuple[object, bool, Callable[[Any], str]], ...]:
    """For each setting in label order: its default, whether it is always shown, and its writer."""
    return tuple((_defaults(rank)[name], TABLE[name].labelled, _word(TABLE[name])) for name in _ORDER)
