"""What a worker is asked to build and to time: the JSON of a request, typed."""

from __future__ import annotations

from typing import Any, NamedTuple

#: Every integer of so many bits is exact in a dtype.
SIGNIFICANT_BITS = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}


class Spec(NamedTuple):
    """What to build. Every size comes from the conductor's own formulas, so that the check holds torch against them.

    `operator` names the layer in torch whose arguments the module takes, and whose results it must give. `pads` are
    (before, after) for each spatial dimension, `padding` is what the constructor is given. Shapes are those of torch's
    layer: batch, channels and spatial dimensions, without the batch where `batch_size` is None.
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

    @property
    def is_torchs(self) -> bool:
        """Whether the module is torch's own: one of the user's is `package.module:Class`."""
        return ":" not in self.module

    @property
    def compute_dtype(self) -> str:
        """The dtype that the kernels compute in, and the output's."""
        return self.dtype if self.autocast == "none" else self.autocast

    @property
    def coarsest_dtype(self) -> str:
        """Of the dtypes that numbers of this layer pass through the one that holds the fewest integers."""
        return min(self.dtype, self.compute_dtype, key=SIGNIFICANT_BITS.__getitem__)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Spec:
        """The spec of a request: JSON's lists become tuples."""
        return cls(**{name: _tuples(value) for name, value in fields.items()})


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
