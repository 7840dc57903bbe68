"""Cases: ids that stay for ever, equality, labels, what is counted."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from strategies import cases

from convbench.model.case import (
    DTYPES,
    SETTINGS,
    Allocator,
    Autocast,
    Cache,
    Case,
    CompileMode,
    Data,
    Execution,
    Fp32Precision,
    InputFormat,
    MemoryFormat,
    Weights,
    WorkerSettings,
    setting,
)
from convbench.model.problem import Direction, PaddingMode, PaddingWord, Problem

PLAIN = Problem(in_channels=3, out_channels=10, kernel_size=(3, 3), input_size=(64, 64))
UNBATCHED = replace(PLAIN, padding=(1, 1), batch_size=None, bias=False)
RARE = {
    "stride": (2, 1),
    "padding": PaddingWord.VALID,
    "dilation": (1, 2),
    "groups": 3,
    "padding_mode": PaddingMode.REFLECT,
}


@pytest.mark.parametrize(
    ("case", "identity", "label"),
    [
        (Case(problem=PLAIN), "y5nzcfuchxjx", "n1 c3 64x64 -> k10 3x3 s1 p0 forward float32 contiguous cpu"),
        (
            Case(problem=replace(PLAIN, padding=PaddingWord.SAME)),
            "6urfcoeo2ug5",
            "n1 c3 64x64 -> k10 3x3 s1 psame forward float32 contiguous cpu",
        ),
        (
            Case(problem=UNBATCHED, direction=Direction.BACKWARD, dtype="bfloat16", threads=1),
            "s5hdp6pozdsw",
            "unbatched c3 64x64 -> k10 3x3 s1 p1 no-bias backward bfloat16 contiguous cpu t1",
        ),
        (
            Case(
                problem=PLAIN,
                allocator=Allocator.SYSTEM,
                memory_format=MemoryFormat.CHANNELS_LAST,
                device="cuda:1",
                module="a.b:C",
            ),
            "4tw2w2vqvtkq",
            "n1 c3 64x64 -> k10 3x3 s1 p0 forward float32 channels_last cuda:1 system-allocator a.b:C",
        ),
        (
            Case(problem=replace(PLAIN, **RARE), given_label="stem"),
            "qhz7z526yn6a",
            "stem: n1 c3 64x64 -> k10 3x3 s2x1 pvalid d1x2 g3 reflect forward float32 contiguous cpu",
        ),
    ],
)
def test_ids_and_labels_stay_what_they_are(case: Case, identity: str, label: str) -> None:
    """An id that changes orphans every stored result: these are literals on purpose."""
    assert case.id == identity
    assert case.label == label


def test_writing_a_default_out_changes_nothing() -> None:
    spelt = Case(
        problem=Problem(
            in_channels=3,
            out_channels=10,
            kernel_size=(3, 3),
            input_size=(64, 64),
            stride=(1, 1),
            padding=(0, 0),
            dilation=(1, 1),
            groups=1,
            bias=True,
            padding_mode=PaddingMode.ZEROS,
            batch_size=1,
        ),
        direction=Direction.FORWARD,
        dtype="float32",
        memory_format=MemoryFormat.CONTIGUOUS,
        device="cpu",
        threads=None,
        module="torch.nn.Conv2d",
        allocator=Allocator.STEADY,
    )
    assert spelt == Case(problem=PLAIN)
    assert spelt.id == "y5nzcfuchxjx"


@given(cases)
def test_label_and_count_describe_and_do_not_identify(case: Case) -> None:
    other = replace(case, given_label="another", count=case.count + 1)
    assert other == case
    assert hash(other) == hash(case)
    assert other.id == case.id
    assert other.label == f"another: {replace(case, given_label=None).label}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("in_channels", 6),
        ("out_channels", 11),
        ("kernel_size", (3, 1)),
        ("input_size", (64, 63)),
        ("stride", (1, 2)),
        ("padding", (0, 1)),
        ("dilation", (2, 1)),
        ("groups", 2),
        ("bias", False),
        ("padding_mode", PaddingMode.CIRCULAR),
        ("batch_size", None),
        ("module_output_size", (9, 11)),
        ("direction", Direction.TRAIN_STEP),
        ("dtype", "float64"),
        ("memory_format", MemoryFormat.CHANNELS_LAST),
        ("device", "cuda"),
        ("threads", 1),
        ("module", "a.b:C"),
        ("allocator", Allocator.SYSTEM),
        ("cache", Cache.COLD),
        ("data", Data.DENORMAL),
        ("autocast", Autocast.BFLOAT16),
        ("fp32_precision", Fp32Precision.TF32),
        ("deterministic", True),
        ("cudnn_benchmark", True),
        ("env", (("ONEDNN_MAX_CPU_ISA", "AVX2"),)),
        ("weights", Weights.GIVEN),
        ("input_format", InputFormat.STRIDED),
        ("execution", Execution.COMPILED),
        ("compile_mode", CompileMode.MAX_AUTOTUNE),
    ],
)
def test_every_setting_is_part_of_the_id(name: str, value: object) -> None:
    case = Case(problem=PLAIN)
    in_problem = hasattr(PLAIN, name)
    other = replace(case, problem=replace(PLAIN, **{name: value})) if in_problem else replace(case, **{name: value})
    assert setting(other, name) == value
    assert other != case
    assert other.id != case.id
    assert other.label != case.label


def test_the_settings_tested_above_are_all() -> None:
    marks = test_every_setting_is_part_of_the_id.pytestmark
    assert {name for name, _ in marks[0].args[1]} == set(SETTINGS)


def test_words_and_the_numbers_they_stand_for_are_different_cases() -> None:
    """torch runs other code for them."""
    words = {Case(problem=replace(PLAIN, padding=p)).id for p in (PaddingWord.SAME, PaddingWord.VALID, (0, 0), (1, 1))}
    assert len(words) == 4


def test_flops_and_bytes_follow_direction_and_dtype() -> None:
    forward = Case(problem=PLAIN)
    assert forward.flops == 2 * 10 * 62 * 62 * 3 * 3 * 3
    assert forward.bytes == 4 * (3 * 64 * 64 + 10 * 3 * 3 * 3 + 10 + 10 * 62 * 62)
    assert replace(forward, direction=Direction.BACKWARD).flops == 2 * forward.flops
    assert replace(forward, direction=Direction.TRAIN_STEP).flops == 3 * forward.flops
    assert {replace(forward, dtype=dtype).bytes / forward.bytes for dtype in DTYPES} == {0.5, 1, 2}


def test_threads_and_allocator_belong_to_the_process() -> None:
    case = Case(problem=PLAIN, threads=2, allocator=Allocator.SYSTEM, dtype="float64")
    assert case.worker == WorkerSettings(threads=2, allocator=Allocator.SYSTEM)


def test_an_unbatched_image_has_no_channels_last() -> None:
    case = Case(problem=UNBATCHED, memory_format=MemoryFormat.CHANNELS_LAST)
    reason = "channels_last needs a batch: an unbatched image has 3 dimensions, the format 4"
    assert case.refusal() == reason
    assert replace(case, memory_format=MemoryFormat.CONTIGUOUS).refusal() is None
    assert replace(case, problem=replace(UNBATCHED, batch_size=1)).refusal() is None
    wrong = replace(case, problem=replace(UNBATCHED, groups=2))
    assert wrong.refusal() == "in_channels (3) must be divisible by groups (2)"


def test_settings_of_execution_stand_in_the_label_where_they_are_not_usual() -> None:
    case = Case(
        problem=PLAIN,
        cache=Cache.COLD,
        data=Data.ZEROS,
        autocast=Autocast.FLOAT16,
        fp32_precision=Fp32Precision.IEEE,
        deterministic=True,
        cudnn_benchmark=True,
        env=(("A", "1"), ("B", "two words; and more")),
    )
    assert case.label.removeprefix(Case(problem=PLAIN).label) == (
        " cold-cache zeros-data autocast-float16 fp32-ieee deterministic cudnn-benchmark A=1 B='two words; and more'"
    )


def test_what_is_process_state_gets_a_worker_of_its_own() -> None:
    plain = Case(problem=PLAIN)
    for name, value, own in [
        ("fp32_precision", Fp32Precision.TF32, True),
        ("deterministic", True, True),
        ("cudnn_benchmark", True, True),
        ("env", (("A", "1"),), True),
        ("module", "a.b:C", True),
        ("cache", Cache.COLD, False),
        ("data", Data.ZEROS, False),
        ("autocast", Autocast.BFLOAT16, False),
    ]:
        assert (replace(plain, **{name: value}).worker != plain.worker) == own, name


def test_autocast_decides_what_is_computed_in() -> None:
    case = Case(problem=PLAIN, dtype="float32")
    assert case.compute_dtype == "float32"
    assert replace(case, autocast=Autocast.BFLOAT16).compute_dtype == "bfloat16"


def test_bytes_count_what_autocast_makes_narrower() -> None:
    case = Case(problem=PLAIN)
    output = 10 * 62 * 62
    assert replace(case, autocast=Autocast.BFLOAT16).bytes == case.bytes - 2 * output
    train = replace(case, direction=Direction.TRAIN_STEP)
    assert replace(train, autocast=Autocast.FLOAT16).bytes == train.bytes - 2 * 2 * output


def test_other_weights_and_another_input_stand_at_the_end_of_a_label() -> None:
    case = Case(problem=PLAIN, weights=Weights.GIVEN, input_format=InputFormat.STRIDED)
    assert case.label == f"{Case(problem=PLAIN).label} given-weights strided-input"
    assert Case(problem=PLAIN, weights=Weights.NORMAL, input_format=InputFormat.SAME).id == Case(problem=PLAIN).id


def test_execution_is_written_at_the_end_of_a_label_and_eager_changes_no_id() -> None:
    case = Case(problem=PLAIN, execution=Execution.COMPILED, compile_mode=CompileMode.MAX_AUTOTUNE)
    assert case.label == f"{Case(problem=PLAIN).label} compiled max-autotune"
    eager = Case(problem=PLAIN, execution=Execution.EAGER, compile_mode=CompileMode.DEFAULT)
    assert eager.id == Case(problem=PLAIN).id
    assert case.refusal() is None
    assert case.worker != eager.worker


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"execution": Execution.GRAPH, "cache": Cache.COLD}, "graph replays the same addresses"),
        ({"execution": Execution.GRAPH, "compile_mode": CompileMode.MAX_AUTOTUNE}, "captures graphs by itself"),
        ({"compile_mode": CompileMode.MAX_AUTOTUNE}, "eager compiles nothing"),
    ],
)
def test_executions_that_do_not_fit_other_settings_are_refused(settings: dict[str, object], reason: str) -> None:
    assert reason in (Case(problem=PLAIN, **settings).refusal() or "")


def test_only_an_eager_backward_has_its_kernel_timed_beside_it() -> None:
    case = Case(problem=PLAIN, direction=Direction.BACKWARD)
    assert case.is_one_backward_kernel
    assert not replace(case, execution=Execution.COMPILED).is_one_backward_kernel
