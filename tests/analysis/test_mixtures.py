"""The best option of each layer of a chain: borders are paid, and no other choice is better."""

from __future__ import annotations

import math
from itertools import pairwise, product

import pytest
import synthetic
from hypothesis import given
from hypothesis import strategies as st

from convbench.analysis.findings.mixtures import MIXED, copy_s, is_change, lowest, mixture
from convbench.analysis.network.parts import Part
from convbench.analysis.table.metrics import Copies
from convbench.model.case import Case, InputFormat, MemoryFormat
from convbench.model.result import ProcessFacts, Roof, RoofKind

CONTIGUOUS, CHANNELS_LAST = MemoryFormat

#: A copy of any size runs at 1 GB/s, read and written together.
ROOF = Roof(kind=RoofKind.BANDWIDTH, rate=1e9, device="cpu", threads=1, source="copy", footprint_bytes=2**20)
COPIES = Copies([ProcessFacts(process_index=0, seconds=1.0, roofs=(ROOF,))])
UNKNOWN = Copies([])


def layer(memory_format: MemoryFormat, in_channels: int = 16, **given: object) -> Case:
    return synthetic.layer(in_channels, memory_format=memory_format, threads=1, **given)


ROWS = st.integers(1, 3).flatmap(
    lambda options: st.lists(st.lists(st.integers(0, 9), min_size=options, max_size=options), min_size=1, max_size=5)
)


@given(ROWS, st.integers(0, 9))
def test_no_other_choice_takes_less(rows: list[list[int]], step: int) -> None:
    def total(chosen: tuple[int, ...]) -> int:
        return sum(row[at] for row, at in zip(rows, chosen, strict=True)) + step * sum(
            before != after for before, after in pairwise(chosen)
        )

    chosen = lowest([[float(each) for each in row] for row in rows], lambda _, before, own: step * (before != own))
    assert total(chosen) == min(map(total, product(range(len(rows[0])), repeat=len(rows))))


def test_a_layer_that_may_not_be_chosen_is_not() -> None:
    assert lowest([[1.0, math.inf], [2.0, 0.5], [1.0, math.inf]], lambda *_: 0.0) == (0, 1, 0)
    assert lowest([], lambda *_: 0.0) == ()


def test_a_change_costs_a_copy_of_the_tensor_between() -> None:
    before, after = layer(CONTIGUOUS), layer(CHANNELS_LAST)
    moved = 16 * 28 * 28 * (4 + 4)
    assert is_change(before, after) and copy_s(before, after, COPIES) == pytest.approx(moved / 1e9)
    half = layer(CONTIGUOUS, dtype="bfloat16")
    assert is_change(before, half) and copy_s(before, half, COPIES) == pytest.approx(16 * 28 * 28 * (4 + 2) / 1e9)
    assert not is_change(before, before)
    assert math.isnan(copy_s(before, after, UNKNOWN))


def test_one_channel_or_one_pixel_lies_alike_in_both_layouts() -> None:
    assert not is_change(layer(CONTIGUOUS), layer(CHANNELS_LAST, 1))
    pixel = layer(CHANNELS_LAST, input_size=(1, 1), kernel_size=(1, 1))
    assert not is_change(layer(CONTIGUOUS), pixel)


def test_a_layer_that_takes_the_other_layout_itself_needs_no_copy() -> None:
    taking = layer(CHANNELS_LAST, input_format=InputFormat.CONTIGUOUS)
    assert not is_change(layer(CONTIGUOUS), taking)
    assert is_change(layer(CHANNELS_LAST), taking)


OPTIONS = [[layer(CONTIGUOUS), layer(CHANNELS_LAST)]] * 3
#: One copy of the tensor between two of these layers, seconds.
COPY = 16 * 28 * 28 * 8 / 1e9


def test_a_mixture_that_loses_after_its_copies_is_not_chosen() -> None:
    close = [[1e-3, 2e-3], [1e-3 + 1.9 * COPY, 1e-3], [1e-3, 2e-3]]
    found = mixture(OPTIONS, close, [1, 1, 1], Part.FORWARD, COPIES)
    assert (found.chosen, found.changes, found.copies_s) == ((0, 0, 0), 0, 0.0)
    far = [[1e-3, 2e-3], [1e-3 + 2.5 * COPY, 1e-3], [1e-3, 2e-3]]
    found = mixture(OPTIONS, far, [1, 1, 1], Part.FORWARD, COPIES)
    assert (found.chosen, found.changes) == ((0, 1, 0), 2)
    assert found.copies_s == pytest.approx(2 * COPY)
    assert found.seconds == pytest.approx(3e-3 + 2 * COPY)
    assert mixture(OPTIONS, far, [1, 1, 1], Part.STEP, COPIES).chosen == (0, 0, 0), "a gradient is copied back"


def test_a_border_is_paid_as_often_as_its_layers_occur() -> None:
    far = [[1.0, 2.0], [2.0, 1.0], [1.0, 2.0]]
    found = mixture(OPTIONS, far, [1, 4, 3], Part.STEP, COPIES)
    assert found.changes == 2 * (4 + 4)
    assert found.copies_s == pytest.approx(16 * COPY)


def test_changes_without_a_known_rate_are_not_counted() -> None:
    found = mixture(OPTIONS, [[1.0, 2.0], [2.0, 1.0], [1.0, 2.0]], [1, 1, 1], Part.FORWARD, UNKNOWN)
    assert (found.chosen, found.changes, found.seconds) == ((0, 1, 0), 2, 3.0)
    assert math.isnan(found.copies_s)


def test_what_holds_for_a_process_is_not_mixed() -> None:
    assert {"dtype", "memory_format"} <= set(MIXED)
    assert not {"device", "allocator", "env", "bias", "cache"} & set(MIXED)
