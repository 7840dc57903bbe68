"""torch.nn.Conv2d: a convolution over the rows and columns of an image."""

from __future__ import annotations

from convbench.model.operators.conv import Convolution

CONV2D = Convolution(name="torch.nn.Conv2d", dimensions=("height", "width"))
