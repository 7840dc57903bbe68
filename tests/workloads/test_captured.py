"""Records of a model's convolutions as cases, and what is said of those that no case can be."""

from __future__ import annotations

from typing import Any

import pytest

from convbench.errors import RequestError
from convbench.model.case import Case, InputFormat, MemoryFormat
from convbench.model.problem import Direction, Problem
from convbench.workloads.captured import Convolution, workload
from convbench.workloads.workload import Workload


def contiguous(shape: tuple[int, ...]) -> list[int]:
    strides = [1]
    for size in shape[:0:-1]:
        strides.insert(0, strides[0] * size)
    return strides


def channels_last(shape: tuple[int, ...]) -> list[int]:
    n, c, *spatial = shape
    _, *inner = contiguous((n, *spatial, c))
    return [contiguous((n, *spatial, c))[0], 1, *inner[:-1]]


def record(
    x: tuple[int, ...], w: tuple[int, ...], y: tuple[int, ...], lies: Any = contiguous, **rest: Any
) -> dict[str, Any]:
    rank = len(w) - 2
    return {
        "input_shape": list(x), "input_strides": lies(x), "weight_shape": list(w), "weight_strides": lies(w),
        "output_shape": list(y), "output_strides": lies(y), "stride": [1] * rank, "padding": [0] * rank,
        "dilation": [1] * rank, "output_padding": [0] * rank, "transposed": False, "groups": 1, "bias": True,
        "dtype": "float32", "mask": None, "padded": None, "again": False, "unbatched": False, **rest,
    }  # fmt: skip


#: One of 2 * 2*8*6*6 * 4*3*3 = 41,472 FLOPs.
LAYER = ((2, 4, 8, 8), (8, 4, 3, 3), (2, 8, 6, 6))


def made(*records: dict[str, Any], paths: list[str] | None = None, **rest: Any) -> Workload:
    answer = {
        "records": records, "found": [[at, path] for at, path in enumerate(paths or ["layer"] * len(records))],
        "others": [], "model": "Net", "parameters": 1234567, "for_real": None, **rest,
    }  # fmt: skip
    return workload(answer, name="net", source="a test")


def noted(found: Workload) -> str:
    return "\n".join(found.notes)


def test_a_record_is_a_case() -> None:
    [case] = made(record(*LAYER, stride=[2, 1], padding=[1, 0], dilation=[1, 2], bias=False, dtype="bfloat16")).cases
    assert case == Case(
        problem=Problem(
            in_channels=4, out_channels=8, kernel_size=(3, 3), input_size=(8, 8), stride=(2, 1), padding=(1, 0),
            dilation=(1, 2), bias=False, batch_size=2,
        ),
        dtype="bfloat16",
        threads=1,
    )  # fmt: skip
    assert (case.given_label, case.count) == ("layer", 1)
    [grouped] = made(record((2, 4, 8, 8), (8, 1, 3, 3), (2, 8, 6, 6), groups=4)).cases
    assert (grouped.problem.in_channels, grouped.problem.groups) == (4, 4)


@pytest.mark.parametrize(
    ("mask", "direction"),
    [
        ([True, True, True], Direction.BACKWARD),
        ([False, True, True], Direction.GRAD_WEIGHT),
        ([True, False, False], Direction.GRAD_INPUT),
    ],
)
def test_a_mask_is_a_direction(mask: list[bool], direction: Direction) -> None:
    assert made(record(*LAYER, mask=mask)).cases[0].direction is direction


def test_labels_are_paths_and_the_class_for_the_model_itself() -> None:
    found = made(*[record(*LAYER)] * 4, paths=["", "#2", "a.b#1", "x" * 300])
    assert [case.given_label for case in found.cases] == ["Net", "Net#2", "a.b#1", f"...{'x' * 197}"]


def test_a_module_that_is_called_on_several_sizes_has_a_label_for_each() -> None:
    small = record((2, 4, 6, 6), (8, 4, 3, 3), (2, 8, 4, 4))
    both = [{**each, "mask": mask} for mask in (None, [True, True, True]) for each in (record(*LAYER), small)]
    found = made(*both, record(*LAYER), paths=["head.0"] * 4 + ["one"])
    assert [(case.given_label, case.problem.input_size, str(case.direction)) for case in found.cases] == [
        ("head.0#1", (8, 8), "forward"),
        ("head.0#2", (6, 6), "forward"),
        ("head.0#1", (8, 8), "backward"),
        ("head.0#2", (6, 6), "backward"),
        ("one", (8, 8), "forward"),
    ]


CONTIGUOUS, LAST = MemoryFormat.CONTIGUOUS, MemoryFormat.CHANNELS_LAST
ONE = ((2, 1, 8, 8), (8, 1, 1, 1), (2, 8, 8, 8))


@pytest.mark.parametrize(
    ("each", "expected", "of_input"),
    [
        (record(*LAYER), CONTIGUOUS, InputFormat.SAME),
        (record(*LAYER, lies=channels_last), LAST, InputFormat.SAME),
        (record(*LAYER, lies=channels_last, mask=[True, True, True]), LAST, InputFormat.SAME),
        # A contiguous image meets weights in channels_last: torch converts it.
        (record(*LAYER, lies=channels_last, input_strides=contiguous(LAYER[0])), LAST, InputFormat.CONTIGUOUS),
        # An input in channels_last meets contiguous weights: torch converts them.
        (
            record(*LAYER, lies=channels_last, weight_strides=contiguous(LAYER[1])),
            CONTIGUOUS,
            InputFormat.CHANNELS_LAST,
        ),
        # A 1x1 kernel: the input shows it.
        (record((2, 4, 8, 8), (8, 4, 1, 1), (2, 8, 8, 8), lies=channels_last), LAST, InputFormat.SAME),
        # One channel, and a 1x1 kernel: the output shows it.
        (record(*ONE, lies=channels_last), LAST, InputFormat.SAME),
        (record(*ONE), CONTIGUOUS, InputFormat.SAME),
        # Nothing shows it.
        (record((2, 1, 8, 8), (1, 1, 1, 1), (2, 1, 8, 8), lies=channels_last), CONTIGUOUS, InputFormat.SAME),
    ],
)
def test_the_memory_format_is_told_by_strides(
    each: dict[str, Any], expected: MemoryFormat, of_input: InputFormat
) -> None:
    [case] = made(each).cases
    assert (case.memory_format, case.input_format) == (expected, of_input)


def test_where_strides_fit_both_formats_the_request_decides() -> None:
    answer = {
        "records": [record((2, 1, 8, 8), (1, 1, 1, 1), (2, 1, 8, 8))],
        "found": [[0, "layer"]], "others": [], "model": "Net", "parameters": 1,
    }  # fmt: skip
    [case] = workload(answer, name="net", source="a test", channels_last=True).cases
    assert case.memory_format is LAST


def test_what_no_case_can_be_is_refused_with_its_share_of_the_work() -> None:
    line = record((2, 4, 8), (8, 4, 3), (2, 8, 6))  # 2 * 2*8*6 * 4*3 = 2304
    up = record((2, 4, 6, 6), (4, 8, 2, 2), (2, 8, 12, 12), transposed=True)  # 2 * 2*4*6*6 * 8*2*2 = 18,432
    found = made(
        record(*LAYER),
        line,
        line,
        up,
        record(*LAYER, dtype="complex64"),
        record(*LAYER, mask=[False, False, True]),
        record((2, 4, 2, 2), (8, 4, 3, 3), (2, 8, 0, 0)),
        paths=["a", "b", "c", "d", "e", "f", "g"],
    )
    total = 41472 * 2 + 2304 * 2 + 18432
    assert (found.read, found.distinct) == (7, 1)
    assert [each.place for each in found.refused if each.is_backward] == ["f"]
    shares = {each.place: (each.reason, each.work) for each in found.refused}
    assert shares == {
        **dict.fromkeys(("b", "c"), ("Conv1d, which convbench does not measure", pytest.approx(2304 / total))),
        "d": ("ConvTranspose2d, which convbench does not measure", pytest.approx(18432 / total)),
        "e": (
            "computed in complex64, which is not one of float16, bfloat16, float32, float64",
            pytest.approx(41472 / total),
        ),
        "f": ("a backward that computes the gradient of the bias alone", 0.0),
        "g": ("the kernel (3x3) is larger than the padded input (2x2)", 0.0),
    }
    assert [each.place for each in found.refused] == ["b", "c", "d", "e", "f", "g"]


ALONE = ((1, 4, 8, 8), (8, 4, 3, 3), (1, 8, 6, 6))


def test_notes_say_what_a_case_does_not() -> None:
    found = made(
        record(*ALONE, padded="reflection_pad2d", unbatched=True),
        record(*LAYER, again=True),
        record(*LAYER, mask=[True, True, False]),
        record(*LAYER, input_strides=[512, 64, 8, 2]),
        record(*LAYER, unbatched=True),
        paths=["a", "b", "c", "d", "e"],
        for_real="RuntimeError: no numbers",
        others=["torchvision::deform"],
    )
    for part in (
        "Net: 1,234,567 parameters. Its convolutions compute 228 kFLOP in one training step, with taps on padding.",
        "Built with its weights, because building it without them failed: RuntimeError: no numbers",
        "1 input was padded before the convolution, by reflection_pad2d: a. Its case has the padded input.",
        "One image without a batch went to a. Its case has a batch of 1.",
        "torch.vmap made one call of several in e. Its case has all of their images as batch.",
        "The input is a view of another tensor in d. Its case has a dense input.",
        "1 forward was computed again in the backward pass, as activation checkpointing does: b. Its count includes",
        "The bias is frozen in c. Its case has the gradient of the bias too.",
        "Operators that were not read: torchvision::deform.",
    ):
        assert part in noted(found)
    plain = made(*[record(*LAYER)] * 5, paths=list("abcde"))
    assert (
        noted(plain)
        == "Net: 1,234,567 parameters. Its convolutions compute 207 kFLOP in one forward pass, with taps on padding."
    )
    padded = made(*[record(*LAYER, padded="constant_pad_nd")] * 5, paths=list("abcde"))
    assert (
        "5 inputs were padded before the convolution, by constant_pad_nd: a, b, c and 2 more. Their cases have"
        in noted(padded)
    )


def test_equal_layers_of_different_padding_are_each_named() -> None:
    ways = ("reflection_pad2d", "pad with mode circular", None)
    found = made(*(record(*LAYER, padded=way) for way in ways), paths=["a", "b", "c"])
    assert found.distinct == 1
    assert "by reflection_pad2d: a. Its case" in noted(found)
    assert "by pad with mode circular: b. Its case" in noted(found)


def test_a_model_without_convolutions_is_an_error() -> None:
    with pytest.raises(RequestError, match="net ran and computed no convolution; not read: quantized::conv"):
        made(others=["quantized::conv"])


def test_work_counts_all_taps_once_for_each_gradient() -> None:
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in record(*LAYER).items()}
    assert Convolution(**fields).flops == 41472
    assert Convolution(**{**fields, "mask": (True, True, True)}).flops == 2 * 41472
