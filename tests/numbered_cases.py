"""Cases that differ by a number."""

from __future__ import annotations

from convbench.model.case import Case
from convbench.model.problem import Problem


def case(name: int, **settings: object) -> Case:
    """A case that the fake engine knows by its in_channels."""
    problem = Problem(in_channels=name, out_channels=1, kernel_size=(1, 1), input_size=(4, 4))
    return Case(problem=problem, **settings)
