"""A case as a line of benchdnn, and back."""

from __future__ import annotations

from dataclasses import replace

import pytest
import strategies
from hypothesis import given
from imports import layer, only, read

from convbench.model.case import Case, MemoryFormat
from convbench.model.problem import Direction, PaddingMode, PaddingWord
from convbench.workloads.benchdnn_lines import line_of

CASE = Case(
    problem=layer((4, 8), (3, 1), (9, 8), stride=2, padding=(1, 0), dilation=(2, 1), groups=2, batch_size=3),
    dtype="bfloat16",
    memory_format=MemoryFormat.CHANNELS_LAST,
    given_label='layer1.0 "a&b*2"',
    count=4,
)


def test_a_line_has_options_sizes_label_and_count() -> None:
    assert line_of(CASE) == (
        "--reset --dir=FWD_B --dt=bf16 --stag=axb --dtag=axb "
        'g2mb3_ic4oc8_ih9oh4kh3sh2dh1ph1_iw8ow4kw1sw2dw0pw0n"layer1.0__a_b_2_*4"'
    )


@given(strategies.cases)
def test_a_case_comes_back_from_its_line(case: Case) -> None:
    """What benchdnn has words for: sizes, direction, dtype, layout, label and count."""
    problem = replace(
        case.problem, padding_mode=PaddingMode.ZEROS, module_output_size=None, batch_size=case.problem.batch_size or 1
    )
    if isinstance(problem.padding, PaddingWord):
        problem = replace(problem, padding=(0, 0))
    direction = Direction.FORWARD if case.direction is Direction.TRAIN_STEP else case.direction
    if direction is Direction.GRAD_INPUT:
        problem = replace(problem, bias=False)  # it is not read
    sayable = Case(
        problem=problem,
        direction=direction,
        dtype=case.dtype,
        memory_format=case.memory_format,
        given_label=case.given_label,
        count=case.count % 10**9 or 1,
    )
    if direction is Direction.BACKWARD:
        found = read(line_of(sayable)).cases
        assert [each.direction for each in found] == [Direction.GRAD_INPUT, Direction.GRAD_WEIGHT]
        assert found[1] == replace(sayable, direction=Direction.GRAD_WEIGHT)
    else:
        back = only(line_of(sayable))
        assert (back, back.count) == (sayable, sayable.count)


@pytest.mark.parametrize("changes", [{"problem": replace(CASE.problem, batch_size=None)}, {"module": "mine:Conv"}])
def test_what_benchdnn_does_not_run_has_no_line(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"no words|of your own"):
        line_of(replace(CASE, **changes))  # type: ignore[arg-type]  # built by name
