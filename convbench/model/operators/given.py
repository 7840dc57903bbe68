"""What an operator is given: the settings of a problem, in the names of torch's layers. Formulas stand in conv.py."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

#: Words for numbers that follow from the rest of a layer: `padding: half` and `groups: depthwise`, as many as channels.
HALF = "half"
DEPTHWISE = "depthwise"


class PaddingMode(StrEnum):
    """What lies around the input, torch's `padding_mode`."""

    ZEROS = "zeros"
    REFLECT = "reflect"
    REPLICATE = "replicate"
    CIRCULAR = "circular"


class PaddingWord(StrEnum):
    """Paddings that stay words: torch runs other code for them than for the same numbers."""

    SAME = "same"
    VALID = "valid"


class PerDimension(tuple[int, ...]):
    """A default that holds for each spatial dimension."""

    __slots__ = ()


ONE_EACH, ZERO_EACH = PerDimension([1]), PerDimension([0])


def default_for(rank: int, default: object) -> object:
    """The default of a problem with so many spatial dimensions."""
    return default * rank if isinstance(default, PerDimension) else default


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemSettings:
    """The settings of one layer. Sizes are in elements; `batch_size` None is one image without a batch dimension."""

    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...]
    input_size: tuple[int, ...]
    stride: tuple[int, ...] = ONE_EACH
    padding: tuple[int, ...] | PaddingWord = ZERO_EACH
    dilation: tuple[int, ...] = ONE_EACH
    groups: int = 1
    bias: bool = True
    padding_mode: PaddingMode = PaddingMode.ZEROS
    batch_size: int | None = 1

    def __post_init__(self) -> None:
        # Not a loop over names: of 100,000 layers it would take a tenth of what planning takes.
        if self.stride is ONE_EACH:
            object.__setattr__(self, "stride", (1,) * self.rank)
        if self.padding is ZERO_EACH:
            object.__setattr__(self, "padding", (0,) * self.rank)
        if self.dilation is ONE_EACH:
            object.__setattr__(self, "dilation", (1,) * self.rank)

    @property
    def rank(self) -> int:
        """How many spatial dimensions the layer has."""
        return len(self.kernel_size)
