"""DeepBench's lists, whose widths come first."""

from __future__ import annotations

from imports import layer, read

from convbench.model.case import Case

LINES = """\
    std::make_tuple(700, 161, 1, 4, 32, 20, 5, 0, 8, 2, 1),
    //std::make_tuple(7, 7, 512, 1, 512, 3, 3, 1, 1, 1, 1), it is in a comment
    std::make_tuple(7, 7, 2048, 8, 512, 1, 1, 3, 3, 2, 2), std::make_tuple(7, 7, 512, 8, 512, 9, 9, 0, 0, 1, 1)
    std::make_tuple(7, 7, 512, 1, 512, 3, 3, 1, 1, 1),
    std::make_tuple(7, 7, 512, 1,"""


def test_tuples_are_layers_and_comments_are_not() -> None:
    made = read(LINES)
    assert made.cases == (
        Case(problem=layer((1, 32), (5, 20), (161, 700), stride=(1, 2), padding=(8, 0), bias=False, batch_size=4)),
        Case(problem=layer((2048, 512), 1, 7, stride=2, padding=3, bias=False, batch_size=8)),
    )
    assert [(refused.place, refused.reason) for refused in made.refused] == [
        ("line 3", "torch would refuse it: the kernel (9x9) is larger than the padded input (7x7)"),
        ("line 4", "expected 11 numbers"),
        ("line 5", "expected 11 numbers"),
    ]
