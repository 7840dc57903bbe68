"""Random problems, also as the page's scripts have them."""

from __future__ import annotations

import json
import random

from convbench.model.problem import PaddingMode, PaddingWord, Problem


def as_json(problem: Problem) -> dict[str, object]:
    """The problem as the page's scripts have it."""
    fields = Problem.__dataclass_fields__
    return json.loads(json.dumps({name: getattr(problem, name) for name in fields}))


def some(seed: int, number: int) -> list[Problem]:
    """Random problems: small ones of every kind, a part of them refused, and some large ones."""
    draw = random.Random(seed)

    def pair(low: int, high: int) -> tuple[int, int]:
        return draw.randint(low, high), draw.randint(low, high)

    found = []
    for index in range(number):
        large = index % 7 == 0
        groups = draw.choice([1, 1, 1, 2, 3, 4])
        found.append(
            Problem(
                in_channels=draw.randint(1, 2048) if large else groups * draw.randint(1, 3) + (index % 11 == 0),
                out_channels=draw.randint(1, 2048) if large else groups * draw.randint(1, 3) + (index % 13 == 0),
                kernel_size=pair(1, 13 if large else 5),
                input_size=pair(1, 1024 if large else 14),
                stride=(1, 1) if index % 3 == 0 else pair(1, 5),
                padding=draw.choice([(0, 0), pair(0, 3), pair(0, 9), PaddingWord.SAME, PaddingWord.VALID]),
                dilation=(1, 1) if index % 2 else pair(1, 4),
                groups=groups,
                bias=draw.random() < 0.5,
                padding_mode=draw.choice(list(PaddingMode)),
                batch_size=draw.choice([None, 1, 2, 512]),
            )
        )
    return found
