"""What convolutions count, against a loop; what they are called."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from convbench.model import operators
from convbench.model.operators import DEFAULT_OPERATOR, OPERATORS
from convbench.model.operators.conv import real_taps


@given(
    *(st.integers(1, 12) for _ in range(2)),
    st.integers(1, 8),
    *(st.integers(1, 5) for _ in range(2)),
    st.integers(0, 9),
)
def test_real_taps_are_those_that_a_loop_counts(
    size: int, out: int, kernel: int, stride: int, dilation: int, before: int
) -> None:
    read = (0 <= at * stride + tap * dilation - before < size for at in range(out) for tap in range(kernel))
    assert real_taps(size, out, kernel, stride, dilation, before) == sum(read)


def test_operators_are_found_by_their_names_and_ranks() -> None:
    assert [operator.name for operator in OPERATORS.values()] == [*OPERATORS]
    assert OPERATORS[DEFAULT_OPERATOR.name] is operators.of_rank(2) is DEFAULT_OPERATOR
    assert DEFAULT_OPERATOR.list_form == "[height, width]", "as users write it"
    assert operators.of_rank(3).rank == 3
