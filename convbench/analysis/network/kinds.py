"""The kinds of layers that a network's time is divided by."""

from __future__ import annotations

from collections.abc import Callable

from convbench.model.problem import Problem

#: A kernel of more than this on any side is called large.
LARGE = 3


def _sides(problem: Problem) -> set[int]:
    return set(problem.kernel_size)


def _is_strided(problem: Problem) -> bool:
    return max(problem.stride) > 1


#: Each kind and the layers that are of it. The first row that fits a layer counts, so that shares add up.
KINDS: dict[str, Callable[[Problem], bool]] = {
    "depthwise": lambda problem: 1 < problem.groups == problem.in_channels,
    "grouped": lambda problem: problem.groups > 1,
    "dilated": lambda problem: max(problem.dilation) > 1 and max(problem.kernel_size) > 1,
    "patches (kernel = stride)": lambda problem: problem.kernel_size == problem.stride and _is_strided(problem),
    "large kernel": lambda problem: max(problem.kernel_size) > LARGE,
    "3x3 strided": lambda problem: _sides(problem) == {3} and _is_strided(problem),
    "3x3": lambda problem: _sides(problem) == {3},
    "1x1 strided": lambda problem: _sides(problem) == {1} and _is_strided(problem),
    "1x1": lambda problem: _sides(problem) == {1},
    "other kernel": lambda problem: True,
}


def kind_of(problem: Problem) -> str:
    """The kind of a layer."""
    return next(name for name, fits in KINDS.items() if fits(problem))
