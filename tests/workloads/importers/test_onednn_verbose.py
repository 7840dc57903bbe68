"""Logs of oneDNN: each dialect by a line written by hand, and those that torch prints here."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest
from imports import layer, only, read, source
from other_programs import DIALECTS, SIZES, Repeated

from convbench.errors import RequestError
from convbench.model.case import Case, Fp32Precision
from convbench.model.problem import Direction
from convbench.workloads.importers import detected, imported
from convbench.workloads.importers.source import Source

PROBLEM = layer((3, 8), 3, 32, stride=2, padding=1, batch_size=2)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_says_the_same(dialect: str) -> None:
    made = read(f"step 1: loss 0.5\n{DIALECTS[dialect]}\n")
    assert made.cases == (Case(problem=PROBLEM),)
    assert (made.read, made.refused) == (1, ())
    assert made.said == ((Case(problem=PROBLEM), "the log says 62.5 us each, 1 call"),)


def test_a_template_names_the_fields_of_the_lines_behind_it() -> None:
    fields = (
        "timestamp,operation,engine,primitive,implementation,prop_kind,memory_descriptors,attributes,new,auxiliary,"
        "problem_desc,exec_time"
    )
    with_new = DIALECTS["v1 with times"].replace(",,alg", ",,something,alg")
    graph = "onednn_verbose,v1,graph,info,template:operation,engine,partition_id"
    made = read(f"onednn_verbose,v1,primitive,info,template:{fields}\n{graph}\n{with_new}\n")
    assert made.cases == (Case(problem=PROBLEM),)


def test_calls_are_counted_and_their_times_added() -> None:
    create = DIALECTS["v1"].replace(",exec,", ",create:cache_miss,")
    bound = DIALECTS["v1"].replace("forward_training", "backward_weights").replace("0.0625", "2.5e-1")
    made = read("\n".join([create, *[DIALECTS["v1"]] * 3, bound]))
    assert [(case.direction, case.count) for case in made.cases] == [
        (Direction.FORWARD, 3),
        (Direction.GRAD_WEIGHT, 1),
    ]
    assert [text for _, text in made.said] == ["the log says 62.5 us each, 3 calls", "the log says 250 us each, 1 call"]
    assert made.description.startswith("The log says 438 us in 4 calls of convolutions. The most costly: 57.1 % n2 c3")


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("forward_training", "forward_inference", {}),
        ("forward_training", "backward_data", {"direction": Direction.GRAD_INPUT}),
        ("bia:f32:a:blocked:a:f0", "bia:undef::undef:::", {"problem": replace(PROBLEM, bias=False)}),
        (":f32:", ":bf16:", {"dtype": "bfloat16"}),
        (",,alg", ",attr-fpmath:bf16,alg", {"fp32_precision": Fp32Precision.BF16}),
        (",,alg", ",attr-scratchpad:user attr-post-ops:eltwise_relu,alg", {}),
        ("mb2_ic3oc8", "g1mb2_ic3oc8", {}),
    ],
)
def test_what_a_line_says_beside_its_sizes(old: str, new: str, changes: dict[str, object]) -> None:
    assert only(DIALECTS["v1"].replace(old, new)) == Case(**({"problem": PROBLEM} | changes))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (DIALECTS["v1"].replace("v1", "v2"), "its dialect v2 is not known: known are v0 and v1"),
        (DIALECTS["v1"][:-40], "it is incomplete"),
        (DIALECTS["v1"].rpartition(",")[0] + ",", "it is incomplete"),
        (DIALECTS["v1"].replace("forward_training", "sideways"), "its propagation kind is not known"),
        (DIALECTS["v1"].replace("src:f32", "src:u8"), "its dtype u8 is not one"),
        (DIALECTS["v1"].replace("src:f32:", ""), "it is incomplete"),
        (DIALECTS["v1"].replace(",,alg", ",attr-post-ops:dw:k3s1p1,alg"), "it is fused with a depthwise"),
        (DIALECTS["v1"].replace("convolution,", "deconvolution,"), "it is transposed"),
        (DIALECTS["v1"].replace("ow16", "ow17"), "its padding differs between two sides"),
        (f"mkldnn_verbose,exec,convolution,jit,forward,fsrc:nchw,alg,{SIZES},0.1", "it is of oneDNN before 1.0"),
    ],
)
def test_a_line_that_is_no_layer_is_refused_with_its_number(line: str, reason: str) -> None:
    made = read(f"{DIALECTS['3.1']}\nother output\n{line}\n")
    [refused] = made.refused
    assert refused.place == "line 3"
    assert refused.reason.startswith(reason)


def test_a_log_of_created_primitives_alone_says_what_to_do() -> None:
    with pytest.raises(RequestError, match="ONEDNN_VERBOSE=1 prints those"):
        read(DIALECTS["v1"].replace(",exec,", ",create:cache_miss,"))


def test_a_long_log_is_read_piece_by_piece() -> None:
    stream = Repeated(DIALECTS["v1"].encode() + b"\n", 20_000)
    made = imported(Source("long.log", stream), name="long")  # type: ignore[arg-type]  # reads as a file does
    assert [case.count for case in made.cases] == [20_000]
    assert stream.largest <= 2**20, "no piece is larger than the head"


SCRIPT = """
import torch
layer = torch.nn.Conv2d(16, 32, 3, stride=2, padding=1)
other = torch.nn.Conv2d(32, 32, (1, 3), bias=False, dilation=2, groups=4)
for _ in range(2):
    other(layer(torch.randn(2, 16, 64, 60)))
layer(torch.randn(2, 16, 64, 60)).sum().backward()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "variables", [{"ONEDNN_VERBOSE": "1"}, {"ONEDNN_VERBOSE": "2", "ONEDNN_VERBOSE_TIMESTAMP": "1"}]
)
def test_what_torch_prints_is_read(variables: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=os.environ | variables, capture_output=True, text=True, check=True
    )
    made = read(done.stdout)
    first = layer((16, 32), 3, (64, 60), stride=2, padding=1, batch_size=2)
    second = layer((32, 32), (1, 3), (32, 30), dilation=2, groups=4, bias=False, batch_size=2)
    assert {(case, case.count) for case in made.cases} == {
        (Case(problem=first), 3),
        (Case(problem=first, direction=Direction.GRAD_WEIGHT), 1),
        (Case(problem=second), 2),
    }
    assert not made.refused
    assert len(made.said) == 3


def test_a_log_is_found_behind_other_output() -> None:
    assert detected(source("step\n" * 10_000 + DIALECTS["1.6"])) == "onednn-verbose"
