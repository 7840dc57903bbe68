"""Operators: what a worker builds, calls and holds results against, a file each, as in model/operators/.

To add one: its file, and its line in `OPERATORS`.
"""

from __future__ import annotations

from collections.abc import Mapping

from .conv import Convolution
from .conv2d import CONV2D

#: The operators by the names of their classes in torch, which a request gives.
OPERATORS: Mapping[str, Convolution] = {"torch.nn.Conv2d": CONV2D}
#: What a machine's best is measured with.
DEFAULT_OPERATOR = CONV2D
