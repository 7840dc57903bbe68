"""`exclude` and `thresholds` take lists of values; an entry of `exclude` that matches nothing is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import Command
from hypothesis import given, settings
from hypothesis import strategies as st

from convbench import sweep as sweeps
from convbench.errors import SweepError
from convbench.model.threshold import Special
from convbench.sweep import Plan, Sweep
from convbench.sweep.parse import parse as parse_text

REQUIRED = "in_channels: 4, out_channels: 8, input_size: 16"


def parse(text: str) -> Sweep:
    return parse_text(text, "f.yaml")


def plan(text: str) -> Plan:
    return sweeps.cases(parse(text))


def kernels(text: str) -> list[tuple[object, ...]]:
    """(kernel, stride) of what is left of the kernels 1, 3, 5 and 1x3 with strides 1 and 2."""
    axes = f"axes: {{{REQUIRED}, kernel_size: [1, 3, 5], stride: [1, 2]}}\n"
    return [(case.problem.kernel_size[0], case.problem.stride[0]) for case in plan(axes + text).cases]


def test_a_list_is_any_of_its_values() -> None:
    assert kernels("exclude: [{kernel_size: [1, 3], stride: 2}]") == [(1, 1), (3, 1), (5, 1), (5, 2)]
    assert kernels("exclude: [{kernel_size: [1, 3, 5], stride: [2]}]") == [(1, 1), (3, 1), (5, 1)]
    assert kernels("exclude: [{kernel_size: [1x1, [3, 3]], stride: [1, 2]}]") == [(5, 1), (5, 2)]


def test_a_list_of_two_numbers_is_a_size_where_the_sweep_has_that_size() -> None:
    """As it was before lists: `[1, 3]` stood for the size alone."""
    axes = f"axes: {{{REQUIRED}, kernel_size: [1, 3, [1, 3]]}}\n"
    left = [case.problem.kernel_size for case in plan(axes + "exclude: [{kernel_size: [1, 3]}]").cases]
    assert left == [(1, 1), (3, 3)]
    both = [case.problem.kernel_size for case in plan(axes + "exclude: [{kernel_size: [1x1, 3x3]}]").cases]
    assert both == [(1, 3)]
    listed = f"axes: {{{REQUIRED}}}\ncases: [{{kernel_size: 1}}, {{kernel_size: [1, 3]}}]\n"
    left = [case.problem.kernel_size for case in plan(listed + "exclude: [{kernel_size: [1, 3]}]").cases]
    assert left == [(1, 1)]
    half = f"axes: {{{REQUIRED}, kernel_size: [1, [1, 3]], padding: [0, half, 1]}}\n"
    pads = [case.problem.padding for case in plan(half + "exclude: [{padding: [0, 1]}]").cases]
    assert pads == [(0, 0), (1, 1), (0, 0), (1, 1)], "half may be the size"


def test_settings_of_every_kind_take_lists() -> None:
    axes = f"""
axes:
  {{{REQUIRED}, kernel_size: 3, dtype: [float32, bfloat16, float16], batch_size: [1, 2, null], bias: [true, false],
   groups: [1, 2, depthwise], env: [{{}}, {{A: x}}, {{A: y}}]}}
"""
    every = plan(axes).points
    assert plan(axes + "exclude: [{dtype: [bfloat16, float16]}]").excluded == every * 2 / 3
    assert plan(axes + "exclude: [{batch_size: [2, null], bias: [false]}]").excluded == every * 2 / 3 / 2
    assert plan(axes + "exclude: [{groups: [1, depthwise]}]").excluded == every * 2 / 3
    assert plan(axes + "exclude: [{env: [{A: x}, {A: y}], dtype: [float32]}]").excluded == every * 2 / 3 / 3


numbers = st.lists(st.integers(1, 5), min_size=1, max_size=4)


@settings(max_examples=50, deadline=None)
@given(numbers, numbers, numbers, numbers)
def test_lists_exclude_what_their_combinations_exclude(
    ins: list[int], outs: list[int], left_in: list[int], left_out: list[int]
) -> None:
    axes = f"axes: {{in_channels: {ins}, out_channels: {outs}, kernel_size: 1, input_size: 4}}\n"
    planned = plan(f"{axes}exclude: [{{in_channels: {left_in}, out_channels: {left_out}}}]")
    matching = [i in left_in and o in left_out for i in ins for o in outs]
    assert planned.excluded == sum(matching)
    combinations = [f"{{in_channels: {i}, out_channels: {o}}}" for i in left_in for o in left_out]
    assert plan(f"{axes}exclude: [{', '.join(combinations)}]").cases == planned.cases


def test_thresholds_take_lists() -> None:
    axes = f"axes: {{{REQUIRED}, kernel_size: [1, 3]}}\n"
    text = f"{axes}compare: {{thresholds: [{{dtype: [bfloat16, float16], kernel_size: [1, 3], threshold: 0.1}}]}}"
    assert parse(text).compare.specials == tuple(
        Special(settings=(("dtype", dtype), ("kernel_size", (side, side))), threshold=0.1)
        for dtype in ("bfloat16", "float16")
        for side in (1, 3)
    )


def test_mistakes_in_a_list_have_their_place() -> None:
    with pytest.raises(SweepError) as caught:
        parse(f"axes: {{{REQUIRED}, kernel_size: 1}}\nexclude:\n- {{dtype: [float32, flaot16], stride: []}}")
    assert str(caught.value).splitlines() == [
        "f.yaml:3: exclude[0].dtype[1]: expected float16, bfloat16, float32 or float64, got 'flaot16'",
        "  hint: did you mean float16?",
        "f.yaml:3: exclude[0].stride: expected at least one value, got an empty list",
    ]


def test_too_many_combinations_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convbench.sweep.parse.MOST_POINTS", 8)
    text = f"axes: {{{REQUIRED}, kernel_size: 1}}\nexclude: [{{in_channels: [1, 2, 3], out_channels: [1, 2, 3]}}]"
    with pytest.raises(SweepError, match="expected at most 8 combinations of values"):
        parse(text)


IDLE = f"""
axes: {{{REQUIRED}, kernel_size: [1, 3], direction: [forward, backward]}}
exclude:
  - {{kernel_size: [3, 7], direction: backward}}
  - {{kernel_size: 5}}
  - {{kernel_size: 3, direction: train_step}}
  - {{kernel_size: 3, direction: backward}}
measure: {{processes: 1, rounds: 1, max_time: 0.01}}
"""
NOTES = ["f.yaml:5: exclude[1] matches no point", "f.yaml:6: exclude[2] matches no point"]


def test_an_entry_that_matches_no_point_is_told() -> None:
    assert sweeps.notes(parse(IDLE), plan(IDLE)) == NOTES, "an entry that others make needless is not one"


def test_many_idle_entries_are_counted() -> None:
    entries = "".join(f"  - {{kernel_size: {number}}}\n" for number in range(2, 20))
    text = f"axes: {{{REQUIRED}, kernel_size: 1}}\nexclude:\n{entries}"
    told = sweeps.notes(parse(text), plan(text))
    assert (len(told), told[-1]) == (11, "8 more entries of exclude match no point")


def test_plan_says_so(command: Command, tmp_path: Path) -> None:
    Path("f.yaml").write_text(IDLE)
    said = command("plan", "f.yaml").out
    notes = "".join(f"note: {note}\n" for note in NOTES)
    assert f"\n\n{notes}" in said, "first: another one is about the threads of this machine"


@pytest.mark.slow
def test_run_says_so(command: Command, tmp_path: Path) -> None:
    Path("f.yaml").write_text(IDLE)
    said = command("run", "f.yaml")
    assert all(f"note: {note}\n" in said.err for note in NOTES), said.err
