"""The operators of workers are those of the model."""

from __future__ import annotations

from convbench.model import operators as model
from convbench.worker import operators


def test_workers_know_the_operators_that_are_offered_by_their_classes() -> None:
    assert operators.OPERATORS.keys() == model.OPERATORS.keys()
    assert all(f"torch.nn.{operator.layer.__name__}" == name for name, operator in operators.OPERATORS.items())
