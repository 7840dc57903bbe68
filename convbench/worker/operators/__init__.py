"""Operators: how a worker builds and calls them, and the reference for their results; one file each.

They correspond to model/operators/. To add one, add its file and its line in `OPERATORS`.
"""

from __future__ import annotations

from collections.abc import Mapping

from .conv import Convolution
from .conv2d import CONV2D

#: The operators by the names of their classes in torch, which requests use.
OPERATORS: Mapping[str, Convolution] = {"torch.nn.Conv2d": CONV2D}
#: The operator with which roofs are measured.
DEFAULT_OPERATOR = CONV2D
