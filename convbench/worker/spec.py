"""The layer of a request with types: what a worker builds and times."""

from __future__ import annotations

from typing import Any, NamedTuple

#: Integers with this number of bits are exact in a dtype.
SIGNIFICANT_BITS = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}


class Spec(NamedTuple):
    """What to build. Sizes come from the conductor's formulas, so that the check compares torch's sizes with them.

    `operator` names the layer in torch whose arguments the module takes, and whose results it must give. `pads` are
    (before, after) for each spatial dimension; `padding` is the constructor's argument. Shapes are those of torch's
    layer: batch, channels and spatial dimensions, without the batch where `batch_size` is None. The output's shape is
    declared where `pads_itself` is set; the check then finds the pads (verify/placement.py).
    """

    operator: str
    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...] | str
    dilation: tuple[int, ...]
    groups: int
    bias: bool
    padding_mode: str
    pads: tuple[tuple[int, int], ...]
    input_shape: tuple[int, ...]
    weight_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    batch_size: int | None
    direction: str
    dtype: str
    memory_format: str
    device: str
    module: str
    seed: int
    cache: str = "hot"
    data: str = "normal"
    autocast: str = "none"
    pads_itself: bool = False
    weights: str = "normal"
    input_format: str = "same"
    execution: str = "eager"
    compile_mode: str = "default"

    @property
    def is_torchs(self) -> bool:
        """Whether the module is torch's; a module of the user is `package.module:Class`."""
        return ":" not in self.module

    @property
    def is_empty(self) -> bool:
        """Whether the batch has no image."""
        return self.batch_size == 0

    @property
    def input_order(self) -> str:
        """The memory format of the input; one with gaps has the layer's."""
        return self.memory_format if self.input_format in ("same", "strided") else self.input_format

    @property
    def times_checked_data(self) -> bool:
        """Whether the case is timed on the normal numbers on which it was checked."""
        return self.data == "normal" and self.weights == "normal"

    @property
    def has_one_backward_kernel(self) -> bool:
        """Whether backward is one call of aten's kernel: torch's module, equal zero padding on both sides, no casts."""
        symmetric = all(before == after for before, after in self.pads)
        return self.is_torchs and self.padding_mode == "zeros" and symmetric and self.autocast == "none"

    @property
    def compute_dtype(self) -> str:
        """The dtype that the kernels compute in, which is also the output's."""
        return self.dtype if self.autocast == "none" else self.autocast

    @property
    def coarsest_dtype(self) -> str:
        """The dtype with the fewest significant bits among those of this layer."""
        return min(self.dtype, self.compute_dtype, key=SIGNIFICANT_BITS.__getitem__)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Spec:
        """The spec of a request, with tuples instead of JSON's lists."""
        return cls(**{name: _tuples(value) for name, value in fields.items()})


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
