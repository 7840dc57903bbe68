"""Words of a sweep for values that follow from other settings of the same problem, and what they stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from convbench.model.operators.conv import half_padding
from convbench.model.operators.given import DEPTHWISE, HALF, TIED
from convbench.model.problem import Problem

#: Each setting with such a word -> the word, and its value by the problem's other settings.
FOLLOWING: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], object]]] = {
    "out_channels": (TIED, lambda of: of["in_channels"]),
    "padding": (HALF, lambda of: half_padding(of["kernel_size"], of.get("dilation"))),
    "groups": (DEPTHWISE, lambda of: of["in_channels"]),
}
_READ = ("in_channels", "kernel_size", "dilation")


def resolved(written: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a problem with values in place of these words; `same` and `valid` stay words."""
    found = dict(written)
    for name, (word, value) in FOLLOWING.items():
        if written.get(name) == word:
            found[name] = value(written)
    return found


def words(problem: Problem) -> dict[str, str]:
    """The words that stand for the problem's values, by setting."""
    read = {name: getattr(problem, name) for name in _READ}
    return {name: word for name, (word, value) in FOLLOWING.items() if getattr(problem, name) == value(read)}
