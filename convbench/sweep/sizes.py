"""Sizes written as text: `3x3` as in labels, `3,3` and `(3, 3)` as in Python."""

from __future__ import annotations

import re
from dataclasses import replace

from convbench.model.operators import DEFAULT_OPERATOR
from convbench.sweep.document import Node, plain

_NUMBER = r"[-+]?(?:0|[1-9][0-9]*)"
_NUMBERS = rf"{_NUMBER}(?:\s*[,xX\N{{MULTIPLICATION SIGN}}]\s*{_NUMBER})+,?"
_SIZE = re.compile(rf"\(\s*{_NUMBERS}\s*\)|\[\s*{_NUMBERS}\s*\]|{_NUMBERS}")
#: Pairs in parentheses, one pair for each dimension, as some programs write pads.
_PAIRS = re.compile(rf"[(\[]\s*(?:[(\[]\s*{_NUMBERS}\s*[)\]]\s*,?\s*)+[)\]]")
_LONGEST_SIZE = 100

#: The hint at a list of another number of numbers.
LISTS = "lists of values belong under axes"
#: The hint at a size that YAML has split at its comma.
SPLIT = 'write [3, 3] or "(3,3)": YAML divides (3,3) at the comma here'
#: The hint at padding that differs between the two sides of a dimension.
ONE_SIDED = (
    "write a class of your own that pads with torch.nn.ZeroPad2d((left, right, top, bottom)) before its convolution; "
    f"give it as module: package.module:Class, with module_output_size: {DEFAULT_OPERATOR.list_form}"
)


def listed(node: Node) -> Node:
    """A size written as text as a list of numbers; another value unchanged."""
    text = node.written or node.value
    if (
        not isinstance(text, str)
        or len(text) > _LONGEST_SIZE
        or not (_SIZE.fullmatch(text.strip()) or _PAIRS.fullmatch(text.strip()))
    ):
        return node
    sides = [Node(line=node.line, value=plain(number)) for number in re.findall(_NUMBER, text)]
    return replace(node, value=[*sides])


def wrong_length(node: Node, *, pads: bool) -> tuple[str, str] | None:
    """What is wrong with a list that does not have a number for each dimension, and a hint.

    `pads` is whether the list is a padding, which some programs write with four numbers.
    """
    rank, form = DEFAULT_OPERATOR.rank, DEFAULT_OPERATOR.list_form
    assert isinstance(node.value, list)
    if len(node.value) == rank and not any(isinstance(inner.value, list) for inner in node.value):
        return None
    if pads and numbers(node) == 2 * rank:
        alike = f"{DEFAULT_OPERATOR.name} pads both sides of a dimension alike"
        return f"{alike}: expected {form}, got {2 * rank} numbers", ONE_SIDED
    return f"expected {form}, got {node}", LISTS


def numbers(node: Node) -> int:
    """How many values a list holds, with those of the lists in it."""
    return sum(map(numbers, node.value)) if isinstance(node.value, list) else 1


def is_split(text: str) -> bool:
    """Whether a text is a part of a size in parentheses."""
    return re.fullmatch(rf"\(\s*{_NUMBER}|{_NUMBER}\s*\)", text) is not None
