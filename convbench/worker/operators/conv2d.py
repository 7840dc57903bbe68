"""torch.nn.Conv2d."""

from __future__ import annotations

import torch

from .conv import Convolution

CONV2D = Convolution(layer=torch.nn.Conv2d, rank=2, channels_last=torch.channels_last)
