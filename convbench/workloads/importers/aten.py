"""Calls of torch's operators `aten::convolution` and `aten::convolution_backward` -> cases, by their arguments."""

from __future__ import annotations

from collections.abc import Sequence

from convbench.model.case import Case, InputFormat, MemoryFormat
from convbench.model.problem import Direction
from convbench.workloads import strides
from convbench.workloads.importers.layers import INCOMPLETE, TRANSPOSED, UNEQUAL_PADS, NotTakenError, dtype_of, problem
from convbench.workloads.importers.literals import NotALiteralError, Tensor, Value, whole

#: (gradient of the input, of the weight) that a backward computes -> the direction.
MASKS = {
    (True, True): Direction.BACKWARD,
    (True, False): Direction.GRAD_INPUT,
    (False, True): Direction.GRAD_WEIGHT,
}
#: How many arguments each operator has.
FORWARD_ARGUMENTS, BACKWARD_ARGUMENTS = 9, 11


def forward(arguments: Sequence[Value]) -> Case:
    """The case of input, weight, bias, stride, padding, dilation, transposed, output padding and groups.

    Raises NotTakenError where no case can say it.
    """
    if len(arguments) != FORWARD_ARGUMENTS:
        raise NotTakenError(INCOMPLETE)
    x, weight = _tensor(arguments[0]), _tensor(arguments[1])
    return _case(x, weight, arguments[3:], bias=arguments[2] is not None, direction=Direction.FORWARD)


def backward(arguments: Sequence[Value]) -> Case:
    """The case of gradient, input, weight, sizes of the bias, the arguments from stride on, and the mask of results.

    Raises NotTakenError where no case can say it.
    """
    if len(arguments) != BACKWARD_ARGUMENTS:
        raise NotTakenError(INCOMPLETE)
    gradient, x, weight = (_tensor(each) for each in arguments[:3])
    mask = arguments[-1]
    if not isinstance(mask, list | tuple) or len(mask) != 3 or not all(isinstance(each, bool) for each in mask):
        raise NotTakenError(INCOMPLETE)
    direction = MASKS.get((mask[0] is True, mask[1] is True))
    if direction is None:
        raise NotTakenError("it computes the gradient of the bias alone")
    made = _case(x, weight, arguments[4:-1], bias=mask[2] is True, direction=direction)
    if gradient.shape != made.problem.output_shape:
        raise NotTakenError(UNEQUAL_PADS)
    return made


def _tensor(value: Value) -> Tensor:
    if not isinstance(value, Tensor):
        raise NotTakenError(INCOMPLETE)
    return value


def _case(x: Tensor, weight: Tensor, geometry: Sequence[Value], *, bias: bool, direction: Direction) -> Case:
    stride, padding, dilation, transposed, _, groups = geometry
    if transposed is True:
        raise NotTakenError(TRANSPOSED)
    rank = len(weight.shape) - 2
    if rank < 1 or len(x.shape) != rank + 2 or not isinstance(groups, int):
        raise NotTakenError(INCOMPLETE)
    if weight.shape[1] * groups != x.shape[1]:
        raise NotTakenError("its input has not the channels that its weight needs")
    memory_format, input_format = _formats(x, weight)
    return Case(
        problem=problem(
            in_channels=x.shape[1],
            out_channels=weight.shape[0],
            kernel_size=weight.shape[2:],
            input_size=x.shape[2:],
            stride=_each(stride, rank),
            padding=_each(padding, rank),
            dilation=_each(dilation, rank),
            groups=groups,
            bias=bias,
            batch_size=x.shape[0],
        ),
        direction=direction,
        dtype=dtype_of(x.dtype, weight.dtype),
        memory_format=memory_format,
        input_format=input_format,
    )


def _each(value: Value, rank: int) -> tuple[int, ...]:
    """A number for each dimension; torch takes one for all."""
    try:
        numbers = whole(value)
    except NotALiteralError:
        raise NotTakenError(INCOMPLETE) from None
    return numbers * rank if len(numbers) == 1 else numbers


def _formats(x: Tensor, weight: Tensor) -> tuple[MemoryFormat, InputFormat]:
    """The layer's memory format, and the input's where it is another one."""
    return strides.formats(_format(x), _format(weight))


def _format(tensor: Tensor) -> MemoryFormat | None:
    """The format that the strides say; None where both formats have these strides. Raises NotTakenError for a view."""
    if tensor.strides is None:
        return MemoryFormat.CONTIGUOUS if min(tensor.shape, default=0) > 0 else None
    if len(tensor.strides) != len(tensor.shape):
        raise NotTakenError(INCOMPLETE)
    fitting = strides.fitting_formats(tensor.shape, tensor.strides)
    if not fitting:
        raise NotTakenError("one of its tensors is a view that lies in none of torch's memory formats")
    return fitting[0] if len(fitting) == 1 else None
