"""Sizes as labels, Python and YAML write them, wherever a size is read."""

from __future__ import annotations

import pytest

from convbench import sweep as sweeps
from convbench.errors import RequestError, SweepError
from convbench.model.case import Case
from convbench.sweep import Sweep
from convbench.sweep.parse import parse

LAYER = {"in_channels": "4", "out_channels": "4", "kernel_size": "3", "input_size": "16"}


def sweep(text: str) -> Sweep:
    return parse(text, "f.yaml")


def layer(kernel: str) -> str:
    """A sweep over some kernels, written in YAML."""
    return f"axes: {{in_channels: 4, out_channels: 4, input_size: 16}}\ncases:\n  - {{kernel_size: {kernel}}}"


def mistakes(text: str) -> str:
    with pytest.raises(SweepError) as caught:
        sweep(text)
    return str(caught.value)


def of_option(name: str, written: str) -> Case:
    return sweeps.case_of({**LAYER, name: written})


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("3x3", (3, 3)),
        ("1x7", (1, 7)),
        ("3X5", (3, 5)),
        ("3 \N{MULTIPLICATION SIGN} 5", (3, 5)),
        ("3,5", (3, 5)),
        ("3, 5", (3, 5)),
        ("(3,5)", (3, 5)),
        ("( 3 , 5, )", (3, 5)),
        ("[3, 5]", (3, 5)),
        ("3", (3, 3)),
    ],
)
def test_a_size_is_read_as_people_write_it(written: str, size: tuple[int, int]) -> None:
    assert of_option("kernel_size", written).problem.kernel_size == size
    quoted = f'"{written}"'
    if written != "3":  # a number in quotes is text
        assert sweeps.cases(sweep(layer(quoted))).cases[0].problem.kernel_size == size
        axis = f"axes: {{in_channels: 4, out_channels: 4, input_size: 16, kernel_size: [{quoted}, 2]}}"
        assert sweep(axis).axes[-1].values == (size, (2, 2))


def test_plain_text_is_read_in_every_setting_with_a_size() -> None:
    text = """
axes:
  in_channels: 4
  out_channels: 4
  kernel_size: [3x3, 1x7]
  input_size: (16,18)
  stride: 1x2
  dilation: 2,1
  padding: [1x0, same]
exclude: [{kernel_size: 1x7, padding: same}]
compare: {thresholds: [{kernel_size: 3x3, threshold: 0.2}]}
"""
    read = sweep(text)
    axes = {axis.name: axis.values for axis in read.axes}
    assert axes["kernel_size"] == ((3, 3), (1, 7))
    assert axes["input_size"] == ((16, 18),)
    assert (axes["stride"], axes["dilation"]) == (((1, 2),), ((2, 1),))
    assert axes["padding"] == ((1, 0), "same")
    assert read.exclude == ((("kernel_size", (1, 7)), ("padding", "same")),)
    assert read.compare.specials[0].settings == (("kernel_size", (3, 3)),)


def test_a_padding_without_rows_is_no_hexadecimal_number() -> None:
    """`0x1` is how labels write [0, 1], and how YAML writes 1."""
    assert of_option("padding", "0x1").problem.padding == (0, 1)
    assert of_option("padding", "0x10").problem.padding == (0, 10)
    assert of_option("padding", "0xA").problem.padding == (10, 10)
    assert of_option("groups", "0x2").problem.groups == 2
    label = Case(problem=of_option("padding", "0x1").problem).label
    assert " p0x1 " in label


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        ("3x", "expected an integer of at least 1, got '3x'"),
        ("3x3x3", "expected [height, width], got a list of 3"),
        ("3x0", "kernel_size[1]: expected an integer of at least 1, got 0"),
        ("-1x3", "kernel_size[0]: expected an integer of at least 1, got -1"),
        ("03x3", "expected an integer of at least 1, got '03x3'"),
        ("1x9999999999", "kernel_size[1]: expected an integer of at most 2147483647"),
    ],
)
def test_what_is_no_size_is_reported(kernel: str, message: str) -> None:
    assert message in mistakes(layer(kernel))


def test_parentheses_are_read_between_braces_and_brackets_too() -> None:
    """YAML itself divides them at their comma."""
    text = (
        "axes: {in_channels: 4, out_channels: 4, kernel_size: [(3,3), 1, ( 1, 7 )], input_size: (16, 3), stride: (2,3)}"
    )
    axes = {axis.name: axis.values for axis in sweep(text).axes}
    assert axes["kernel_size"] == ((3, 3), (1, 1), (1, 7))
    assert (axes["input_size"], axes["stride"]) == (((16, 3),), ((2, 3),))
    listed = sweep(layer("(1,7)")).listed
    assert listed[0].given == (("kernel_size", (1, 7)),)
    wrong = mistakes("axes: {kernel_size: [(3, 3, 3), '(3', 3)]}")
    assert 'write [3, 3] or "(3,3)": YAML divides (3,3) at the comma here' in wrong
    assert "f.yaml:1: axes.kernel_size[0]: expected an integer of at least 1, got '(3'" in wrong


@pytest.mark.parametrize(
    "written", ["[1, 2, 1, 2]", "1,2,1,2", "1x2x1x2", "(1, 2, 1, 2)", "[[1, 2], [1, 2]]", "((1,2),(1,2))"]
)
def test_four_numbers_of_padding_have_an_answer_of_their_own(written: str) -> None:
    with pytest.raises(RequestError) as caught:
        of_option("padding", written)
    assert caught.value.message == (
        "--padding: torch.nn.Conv2d pads both sides of a dimension alike: expected [height, width], got 4 numbers"
    )
    assert caught.value.hint is not None
    assert "torch.nn.ZeroPad2d((left, right, top, bottom))" in caught.value.hint
    assert "--module-output-size" in caught.value.hint
    with pytest.raises(RequestError, match="got a list of 4"):
        of_option("stride", "1,2,1,2")
