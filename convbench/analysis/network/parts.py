"""What one forward and one training step of a network are made of: how often each measured direction counts."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from convbench.model.problem import Direction


class Part(StrEnum):
    """What a network does as a whole."""

    FORWARD = "forward"
    STEP = "training step"


def whole(counts: Mapping[Direction, int]) -> dict[Direction, int]:
    """How often each direction of a layer counts in the whole time, without counting work twice.

    `counts` are the occurrences of the layer's cases by direction. A train_step that was measured as one counts alone.
    Else each occurrence has its forward, and a backward where there is one. The occurrences that have no backward, such
    as a network's first layer, take the measured ones of grad_input and grad_weight.
    """
    if Direction.TRAIN_STEP in counts:
        return {Direction.TRAIN_STEP: counts[Direction.TRAIN_STEP]}
    forward = counts.get(Direction.FORWARD, 0)
    most = forward or max(counts.values(), default=0)
    backward = min(most, counts.get(Direction.BACKWARD, 0))
    found = {Direction.FORWARD: forward, Direction.BACKWARD: backward}
    found |= {each: min(most - backward, counts.get(each, 0)) for each in (Direction.GRAD_INPUT, Direction.GRAD_WEIGHT)}
    return {direction: often for direction, often in found.items() if often}


def often(part: Part, counts: Mapping[Direction, int]) -> dict[Direction, int]:
    """How often each direction of a layer counts in a part; empty where the layer has no forward to begin it with."""
    if part is Part.STEP:
        found = whole(counts)
        return found if {Direction.FORWARD, Direction.TRAIN_STEP} & found.keys() else {}
    forward = counts.get(Direction.FORWARD, 0)
    return {Direction.FORWARD: forward} if forward else {}


def is_trained(counts: Mapping[Direction, int]) -> bool:
    """Whether a layer's cases are more than its forward."""
    return any(direction is not Direction.FORWARD for direction in often(Part.STEP, counts))
