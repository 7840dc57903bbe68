"""Small random numbers from a seed."""

from __future__ import annotations

import torch
from torch import Tensor

#: Numbers drawn at a time, a multiple of 8.
_DRAWN = 1 << 23


class Draw:
    """Random small integers, eight from each random 64-bit number, which is fast enough for millions."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed % 2**63)

    def bits(self, count: int, mask: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """`count` integers in 0..mask (2**k - 1, at most 127) in this dtype."""
        found = torch.empty(count, dtype=dtype)
        for part in torch.split(found, _DRAWN):
            words = torch.empty(-(-len(part) // 8), dtype=torch.int64).random_(generator=self.generator)
            part.copy_(words.view(torch.uint8)[: len(part)].bitwise_and_(mask))
        return found

    def keep(self, like: Tensor, share: float) -> Tensor:
        """A mask in the shape of `like` that is true for about this share of the elements."""
        return torch.rand(like.shape, generator=self.generator) < share

    def odd(self, count: int, largest: int) -> Tensor:
        """Random odd numbers of either sign, float64. None is zero, so that a single wrong element changes the sum."""
        sizes = torch.randint((largest + 1) // 2, (count,), generator=self.generator) * 2 + 1
        signs = torch.randint(2, (count,), generator=self.generator) * 2 - 1
        return (sizes * signs).to(torch.float64)
