"""The convolutions that a process found in a model (worker/capture/), as a workload."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from convbench import units
from convbench.errors import RequestError
from convbench.model.case import DTYPES, Case, InputFormat, MemoryFormat
from convbench.model.operators import DEFAULT_OPERATOR
from convbench.model.problem import Direction, Problem
from convbench.workloads import strides
from convbench.workloads.workload import Refused, Workload

#: Maximum characters of a label in a sweep.
LONGEST_LABEL = 200
#: How many modules a note names.
MOST_NAMED = 3
#: The number of threads of captured cases, as `convbench time` and the shipped sweeps have it.
THREADS = 1

_Ints = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """One convolution as torch computed it, with the arguments of `aten::convolution`.

    Shapes have the batch first and then the channels. `mask` says which gradients a backward computes: of input, weight
    and bias; None is a forward. `padded` is the operator that padded the input before, if any. `again` is a forward in
    the backward pass. `unbatched` is whether the module got one image without a batch.
    """

    input_shape: _Ints
    input_strides: _Ints
    weight_shape: _Ints
    weight_strides: _Ints
    output_shape: _Ints
    output_strides: _Ints
    stride: _Ints
    padding: _Ints
    dilation: _Ints
    output_padding: _Ints
    transposed: bool
    groups: int
    bias: bool
    dtype: str
    mask: tuple[bool, ...] | None = None
    padded: str | None = None
    again: bool = False
    unbatched: bool = False

    @property
    def rank(self) -> int:
        """The number of spatial dimensions."""
        return len(self.weight_shape) - 2

    @cached_property
    def flops(self) -> int:
        """Floating-point operations with all taps, those on padding too: one formula for all kinds."""
        places = self.input_shape if self.transposed else self.output_shape
        products = 1 if self.mask is None else sum(self.mask[:2])
        return 2 * products * math.prod(places) * math.prod(self.weight_shape[1:])

    @property
    def direction(self) -> Direction | None:
        """What is computed; None where a backward computes the gradient of the bias alone."""
        if self.mask is None:
            return Direction.FORWARD
        return {
            (True, True): Direction.BACKWARD,
            (True, False): Direction.GRAD_INPUT,
            (False, True): Direction.GRAD_WEIGHT,
        }.get((self.mask[0], self.mask[1]))

    @property
    def lacks_bias_gradient(self) -> bool:
        """Whether a backward leaves out the gradient of the bias that it has: the bias is frozen."""
        return self.mask is not None and self.bias and not self.mask[2]

    def formats(self, otherwise: MemoryFormat) -> tuple[MemoryFormat, InputFormat]:
        """The layer's memory format and its input's, by the strides; `otherwise` where they fit both formats."""
        return strides.formats(
            strides.only_format(self.input_shape, self.input_strides),
            strides.only_format(self.weight_shape, self.weight_strides),
            strides.only_format(self.output_shape, self.output_strides),
            otherwise,
        )

    @property
    def is_view(self) -> bool:
        """Whether the input is a view whose elements lie in neither format."""
        return not strides.fitting_formats(self.input_shape, self.input_strides)

    @property
    def geometry(self) -> tuple[object, ...]:
        """What is the same for all calls of one layer on inputs of one size, forward and backward."""
        kernel = (self.weight_shape, self.stride, self.padding, self.dilation, self.output_padding, self.groups)
        return self.input_shape, self.transposed, *kernel


def convolutions(answer: Mapping[str, Any]) -> list[tuple[str, Convolution]]:
    """(path of the module, convolution) in the order of an answer of worker/capture/; `` is the model itself."""
    names = Convolution.__dataclass_fields__
    records = [
        Convolution(**{name: _frozen(value) for name, value in record.items() if name in names})
        for record in answer["records"]
    ]
    return [(path, records[number]) for number, path in answer["found"]]


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def workload(answer: Mapping[str, Any], *, name: str, source: str, channels_last: bool = False) -> Workload:
    """The workload of an answer of worker/capture/. `channels_last` decides where strides fit both formats.

    Raises RequestError where the model computed no convolution.
    """
    found = _labelled(convolutions(answer), str(answer["model"]))
    if not found:
        also = f"; not read: {', '.join(answer['others'])}" if answer["others"] else ""
        hint = "give a model, or inputs, that lead through one"
        raise RequestError(f"{name} ran and computed no convolution{also}", hint=hint)
    otherwise = MemoryFormat.CHANNELS_LAST if channels_last else MemoryFormat.CONTIGUOUS
    total = sum(each.flops for _, each in found)
    cases: list[Case] = []
    refused: list[Refused] = []
    for label, each in found:
        case = _case(label, each, otherwise)
        if isinstance(case, Case):
            cases.append(case)
        else:
            work = each.flops / total if total else 0.0
            refused.append(Refused(place=label, reason=case, work=work, is_backward=each.mask is not None))
    return Workload(
        name=name, source=source, cases=tuple(cases), refused=tuple(refused), notes=_notes(answer, found, total)
    )


def _labelled(found: Sequence[tuple[str, Convolution]], model: str) -> list[tuple[str, Convolution]]:
    """Each convolution with its label. A module that is called on inputs of several sizes has a number for each."""
    calls: dict[str, dict[tuple[object, ...], int]] = {}
    for path, each in found:
        sizes = calls.setdefault(path, {})
        sizes.setdefault(each.geometry, len(sizes) + 1)
    return [
        (_label(f"{path}#{calls[path][each.geometry]}" if len(calls[path]) > 1 else path, model), each)
        for path, each in found
    ]


def _label(path: str, model: str) -> str:
    """The path of the module as a label: the model's class for the model itself."""
    label = units.line(f"{model}{path}" if not path or path.startswith("#") else path)
    return label if len(label) <= LONGEST_LABEL else f"...{label[3 - LONGEST_LABEL :]}"


def _case(label: str, each: Convolution, otherwise: MemoryFormat) -> Case | str:
    """The case, or why there is none."""
    if each.transposed or each.rank != DEFAULT_OPERATOR.rank:
        return f"Conv{'Transpose' if each.transposed else ''}{each.rank}d, which convbench does not measure"
    if each.dtype not in DTYPES:
        return f"computed in {each.dtype}, which is not one of {', '.join(DTYPES)}"
    if each.direction is None:
        return "a backward that computes the gradient of the bias alone"
    batch, channels, *size = each.input_shape
    problem = Problem(
        in_channels=channels,
        out_channels=each.weight_shape[0],
        kernel_size=each.weight_shape[2:],
        input_size=tuple(size),
        stride=each.stride,
        padding=each.padding,
        dilation=each.dilation,
        groups=each.groups,
        bias=each.bias,
        batch_size=batch,
    )
    memory_format, input_format = each.formats(otherwise)
    case = Case(
        problem=problem,
        direction=each.direction,
        dtype=each.dtype,
        memory_format=memory_format,
        input_format=input_format,
        threads=THREADS,
        given_label=label,
    )
    return case.refusal() or case


def _notes(answer: Mapping[str, Any], found: Sequence[tuple[str, Convolution]], total: int) -> tuple[str, ...]:
    """What a reader of the cases should know."""
    trained = any(each.mask is not None for _, each in found)
    notes = [
        f"{answer['model']}: {units.count(int(answer['parameters']))} parameters. Its convolutions compute"
        f" {units.si(total, 'FLOP')} in one {'training step' if trained else 'forward pass'}, with taps on padding."
    ]
    if answer.get("for_real"):
        notes.append(f"Built with its weights, because building it without them failed: {answer['for_real']}")
    for operator in dict.fromkeys(each.padded for _, each in found if each.padded):
        padded = [label for label, each in found if each.padded == operator]
        notes.append(
            f"{units.plural(len(padded), 'input was', 'inputs were')} padded before the convolution, by {operator}:"
            f" {_named(padded)}. {_theirs(padded)} the padded input."
        )
    unbatched = [label for label, each in found if each.unbatched and each.input_shape[0] == 1]
    if unbatched:
        notes.append(f"One image without a batch went to {_named(unbatched)}. {_theirs(unbatched)} a batch of 1.")
    mapped = [label for label, each in found if each.unbatched and each.input_shape[0] != 1]
    if mapped:
        notes.append(
            f"torch.vmap made one call of several in {_named(mapped)}. {_theirs(mapped)} all of their images as batch."
        )
    views = [label for label, each in found if each.rank == DEFAULT_OPERATOR.rank and each.is_view]
    if views:
        notes.append(f"The input is a view of another tensor in {_named(views)}. {_theirs(views)} a dense input.")
    again = [label for label, each in found if each.again]
    if again:
        whose = "Its count includes" if len(set(again)) == 1 else "Their counts include"
        notes.append(
            f"{units.plural(len(again), 'forward was', 'forwards were')} computed again in the backward pass, as"
            f" activation checkpointing does: {_named(again)}. {whose} this."
        )
    frozen = [label for label, each in found if each.lacks_bias_gradient]
    if frozen:
        notes.append(f"The bias is frozen in {_named(frozen)}. {_theirs(frozen)} the gradient of the bias too.")
    if answer["others"]:
        notes.append(f"Operators that were not read: {', '.join(answer['others'])}.")
    return tuple(notes)


def _theirs(labels: Iterable[str]) -> str:
    return "Its case has" if len(set(labels)) == 1 else "Their cases have"


def _named(labels: Iterable[str]) -> str:
    different = list(dict.fromkeys(labels))
    more = f" and {units.count(len(different) - MOST_NAMED)} more" if len(different) > MOST_NAMED else ""
    return ", ".join(different[:MOST_NAMED]) + more
