"""Suggestions for unknown words: sensible or none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convbench import sweep as sweeps
from convbench.errors import SweepError
from convbench.model.nearest import did_you_mean, differences, nearest
from convbench.model.settings import DTYPES, SETTINGS
from convbench.sweep.parse import parse


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("outputs", "out_channels"),
        ("output", "out_channels"),
        ("output_channels", "out_channels"),
        ("out_channel", "out_channels"),
        ("inputs", "in_channels"),
        ("Input-Channels", "in_channels"),
        ("output_size", "module_output_size"),
        ("image_size", "input_size"),
        ("kernel", "kernel_size"),
        ("kernel_sise", "kernel_size"),
        ("kernelsize", "kernel_size"),
        ("batch", "batch_size"),
        ("batches", None),
        ("group", "groups"),
        ("groops", "groups"),
        ("n_groups", "groups"),
        ("num_threads", "threads"),
        ("paddings", "padding"),
        ("dtpye", "dtype"),
        ("alloc", "allocator"),
        ("precision", "fp32_precision"),
        ("environment", "env"),
        ("rounds", None),
        ("cases", None),
        ("size", None),
        ("channels", None),
        ("time", None),
        ("zzz", None),
        ("", None),
        ("_", None),
    ],
)
def test_a_setting_is_suggested_where_it_is_meant(word: str, meant: str | None) -> None:
    assert nearest(word, SETTINGS) == meant
    assert did_you_mean(word, SETTINGS) == (None if meant is None else f"did you mean {meant}?")


@pytest.mark.parametrize(
    ("word", "meant"), [("flaot16", "float16"), ("bf16", "bfloat16"), ("float", None), ("int8", None)]
)
def test_a_value_is_suggested_where_it_is_meant(word: str, meant: str | None) -> None:
    assert nearest(word, tuple(DTYPES)) == meant


def test_outputs_are_no_groups() -> None:
    """The words have four letters in common, in one order."""
    with pytest.raises(SweepError) as caught:
        sweeps.cases(parse("axes: {in_channels: 3, outputs: 16, kernel_size: 3, input_size: 8}", "f.yaml"))
    assert str(caught.value).splitlines() == [
        "f.yaml:1: axes: unknown key 'outputs'",
        "  hint: did you mean out_channels?",
        "f.yaml:1: axes: missing out_channels",
    ]


def plainly(one: str, other: str) -> int:
    """The differences by their definition: optimal string alignment."""
    if not one or not other:
        return len(one) + len(other)
    found = min(
        plainly(one[:-1], other) + 1,
        plainly(one, other[:-1]) + 1,
        plainly(one[:-1], other[:-1]) + (one[-1] != other[-1]),
    )
    if one[-2:] == other[-2:][::-1] and len(one) > 1 and len(other) > 1:
        found = min(found, plainly(one[:-2], other[:-2]) + 1)
    return found


words = st.text("abc", max_size=5)


@given(words, words)
def test_differences_are_counted(one: str, other: str) -> None:
    assert differences(one, other, 10) == plainly(one, other)


@given(st.sampled_from(SETTINGS), st.integers(0, 30), st.sampled_from("xyz"))
def test_a_wrong_letter_of_a_setting_is_forgiven(name: str, at: int, letter: str) -> None:
    wrong = name[: at % len(name)] + letter + name[at % len(name) + 1 :]
    assert nearest(wrong, SETTINGS) == name
