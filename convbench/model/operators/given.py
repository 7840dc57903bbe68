"""The settings of a problem, in the names of torch's layers. The formulas are in conv.py."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

#: Words for numbers that follow from other settings (model/following.py): `padding: half`, `groups: depthwise`, and
#: `out_channels: in_channels`.
HALF = "half"
DEPTHWISE = "depthwise"
TIED = "in_channels"


class PaddingMode(StrEnum):
    """How the padding is filled, torch's `padding_mode`."""

    ZEROS = "zeros"
    REFLECT = "reflect"
    REPLICATE = "replicate"
    CIRCULAR = "circular"


class PaddingWord(StrEnum):
    """Paddings that are kept as words, because torch runs other code for them than for the same numbers."""

    SAME = "same"
    VALID = "valid"


class PerDimension(tuple[int, ...]):
    """A default for each spatial dimension."""

    __slots__ = ()


ONE_EACH, ZERO_EACH = PerDimension([1]), PerDimension([0])


def default_for(rank: int, default: object) -> object:
    """The default for a problem with `rank` spatial dimensions."""
    return default * rank if isinstance(default, PerDimension) else default


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemSettings:
    """The settings of one layer. Sizes are in elements; `batch_size` None is one image without a batch dimension.

    `module_output_size` is the output's size of a module that pads by itself; None where the formula says it.
    """

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
    module_output_size: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        # Not a loop over names: for 100,000 layers a loop would take a tenth of the time of planning.
        if self.stride is ONE_EACH:
            object.__setattr__(self, "stride", (1,) * self.rank)
        if self.padding is ZERO_EACH:
            object.__setattr__(self, "padding", (0,) * self.rank)
        if self.dilation is ONE_EACH:
            object.__setattr__(self, "dilation", (1,) * self.rank)

    @property
    def images(self) -> int:
        """The number of images: one without a batch dimension."""
        return 1 if self.batch_size is None else self.batch_size

    @property
    def rank(self) -> int:
        """The number of spatial dimensions of the layer."""
        return len(self.kernel_size)
