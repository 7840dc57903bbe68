"""MIOpen: commands of its driver, and its find-db."""

from __future__ import annotations

from dataclasses import replace

import pytest
from imports import layer, only, read
from other_programs import FIND_DB, FIND_DB_REST, MIOPEN_DRIVER

from convbench.model.case import Case, MemoryFormat
from convbench.model.problem import Direction

PROBLEM = layer((64, 128), (3, 5), (56, 40), stride=(2, 1), padding=(1, 2), groups=2, bias=False, batch_size=32)
CASE = Case(problem=PROBLEM, dtype="bfloat16", memory_format=MemoryFormat.CHANNELS_LAST)


def test_a_command_is_a_layer() -> None:
    assert only(MIOPEN_DRIVER) == CASE


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("convbfp16", "convfp16", replace(CASE, dtype="float16")),
        ("-n 32", "--batchsize 16", replace(CASE, problem=replace(PROBLEM, batch_size=16))),
        ("--in_layout NHWC", "-in_layout=NHWC", CASE),
        ("-m conv", "-b 1 -m conv", replace(CASE, problem=replace(PROBLEM, bias=True))),
        ("-l 1", "-l 2", replace(CASE, problem=replace(PROBLEM, dilation=(2, 1)))),
        ("-t 1", "-t 1 > log 2>&1", CASE),
        ("-F 1", "-F 2", replace(CASE, direction=Direction.GRAD_INPUT)),
        ("-F 1", "-F 4", replace(CASE, direction=Direction.GRAD_WEIGHT)),
    ],
)
def test_options_of_a_command(old: str, new: str, changed: Case) -> None:
    assert only(MIOPEN_DRIVER.replace(old, new)) == changed


def test_the_drivers_own_defaults() -> None:
    made = read("./bin/MIOpenDriver conv\nMIOpenDriver bnorm -n 2\n")
    assert [case.direction for case in made.cases] == [Direction.FORWARD, Direction.GRAD_INPUT, Direction.GRAD_WEIGHT]
    assert made.cases[0] == Case(problem=layer((3, 32), 3, 32, bias=False, batch_size=100))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("-m conv", "-m trans", "it is transposed"),
        ("-m conv", "--spatial_dim 3", "it has 3 spatial dimensions"),
        ("convbfp16", "convint8", "its dtype int8 is not one"),
        ("-m conv", "--mystery 3", "its option --mystery is not known"),
        ("-n 32", "-n many", "one of its options is no number"),
        ("-t 1", "-t", "it is incomplete"),
        ("-t 1", "loose", "its command has a word that is no option"),
        ("-m conv", "-z same", "its padding is in MIOpen's mode same"),
        ("-F 1", "-F 9", "its option -F is not known"),
        ("--fil_layout NHWC", "--fil_layout NCHW", "its tensors have different layouts"),
        ("-g 2", "-g 3", "torch would refuse it"),
    ],
)
def test_a_command_that_is_no_layer_is_refused_with_its_line(old: str, new: str, reason: str) -> None:
    made = read(f"{MIOPEN_DRIVER}\n{MIOPEN_DRIVER.replace(old, new)}\n")
    [refused] = made.refused
    assert refused.place == "line 2"
    assert refused.reason.startswith(reason)


PLAIN = replace(CASE, problem=replace(PROBLEM, groups=1), dtype="float16", memory_format=MemoryFormat.CONTIGUOUS)


def test_a_line_of_the_find_db_is_a_layer_with_the_time_of_its_fastest_solver() -> None:
    made = read(FIND_DB)
    assert made.cases == (PLAIN,)
    assert [text for _, text in made.said] == ["the find-db says 125 us each, 1 call"]


@pytest.mark.parametrize(("word", "direction"), [("B", Direction.GRAD_INPUT), ("W", Direction.GRAD_WEIGHT)])
def test_lines_of_backward_begin_with_the_outputs_sizes(word: str, direction: Direction) -> None:
    assert only(f"128-28-40-3x5-64-56-40-{FIND_DB_REST}-{word}=ConvHip:0.25,0,algo") == replace(
        PLAIN, direction=direction
    )
    swapped = read(f"{FIND_DB}\n64-56-40-3x5-128-28-40-{FIND_DB_REST}-{word}=ConvHip:0.25,0,algo")
    assert [refused.place for refused in swapped.refused] == ["line 2"], (
        "sizes that are not swapped give no such output"
    )


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("-F=", "-F_g2=", replace(PLAIN, problem=replace(PLAIN.problem, groups=2))),
        ("NCHW", "NHWC", replace(PLAIN, memory_format=MemoryFormat.CHANNELS_LAST)),
        ("NCHW", "NHWC-NHWC-NHWC", replace(PLAIN, memory_format=MemoryFormat.CHANNELS_LAST)),
        ("FP16", "BF16", replace(PLAIN, dtype="bfloat16")),
        ("FP16", "FP32FP32FP32", replace(PLAIN, dtype="float32")),
    ],
)
def test_forms_of_a_key(old: str, new: str, changed: Case) -> None:
    assert only(FIND_DB.replace(old, new)) == changed


def test_old_files_name_the_algorithm_before_the_solver() -> None:
    made = read(
        FIND_DB.partition("=")[0] + "=FwdAlgoDirect:ConvOcl,0.75,0,FwdAlgoDirect,<unused>;gemm:gemm,0.5,9,rocBlas"
    )
    assert [text for _, text in made.said] == ["the find-db says 500 us each, 1 call"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("8-9-9-9-3x3x3-8-7-7-7-32-0x0x0-1x1x1-1x1x1-0-NCDHW-FP16-F=a:1,0,b", "it has 3 spatial dimensions"),
        (FIND_DB.replace("FP16", "INT8"), "its dtype INT8 is not one"),
        (FIND_DB.replace("NCHW", "NHWC-NCHW-NHWC"), "its tensors have different layouts"),
        (FIND_DB.replace("-F=", "-X="), "its key is no problem of a convolution"),
        (FIND_DB.partition("=")[0], "it is incomplete"),
        *(
            (f"{FIND_DB.partition('=')[0]}={solvers}", "one of its solvers has no time above 0")
            for solvers in (
                "algo:ConvB:0.041,0",
                "ConvB:0,0,algo",
                "ConvB,0.5",
                "ConvB:-1,2",
                "ConvB:1e999",
                "a:b:1,2;c:3",
            )
        ),
        (FIND_DB.replace("28-40", "29-40"), "its padding differs between two sides"),
    ],
)
def test_a_line_that_is_no_layer_is_refused(line: str, reason: str) -> None:
    made = read(f"{FIND_DB}\n{line}\n")
    [refused] = made.refused
    assert (refused.place, refused.reason[: len(reason)]) == ("line 2", reason)
