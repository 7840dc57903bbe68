"""The memory formats that strides show, by one rule for captured models and for the files of other programs."""

from __future__ import annotations

from collections.abc import Sequence

from convbench.model.case import InputFormat, MemoryFormat


def formats(
    of_input: MemoryFormat | None,
    of_weight: MemoryFormat | None,
    of_output: MemoryFormat | None = None,
    otherwise: MemoryFormat = MemoryFormat.CONTIGUOUS,
) -> tuple[MemoryFormat, InputFormat]:
    """The layer's memory format, and the input's where it is another one.

    The weight shows the layer's, because a module keeps it. Where the weight fits both formats, as with a kernel of one
    element, the input shows it, then the output; `otherwise` holds where nothing does.
    """
    memory_format = of_weight or of_input or of_output or otherwise
    same = of_input is None or of_input is memory_format
    return memory_format, InputFormat.SAME if same else InputFormat(of_input or "")


def only_format(shape: Sequence[int], strides: Sequence[int]) -> MemoryFormat | None:
    """The only memory format that the strides fit; None where they fit both, or none."""
    fitting = fitting_formats(shape, strides)
    return fitting[0] if len(fitting) == 1 else None


def fitting_formats(shape: Sequence[int], strides: Sequence[int]) -> list[MemoryFormat]:
    """The memory formats in which the elements lie densely; shapes have the batch first and then the channels."""
    batch, channels, *sides = range(len(shape))
    orders = {
        MemoryFormat.CONTIGUOUS: [batch, channels, *sides],
        MemoryFormat.CHANNELS_LAST: [batch, *sides, channels],
    }
    return [name for name, order in orders.items() if _lies(shape, strides, order)]


def _lies(shape: Sequence[int], strides: Sequence[int], order: Sequence[int]) -> bool:
    """Whether the elements lie densely in this order; the stride of a dimension with one element means nothing."""
    step = 1
    for dimension in reversed(order):
        if shape[dimension] != 1 and strides[dimension] != step:
            return False
        step *= shape[dimension]
    return True
