"""Traces of torch's profiler: one that torch writes here, and events written by hand."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from imports import layer, read
from other_programs import EVENT, trace

from convbench.errors import RequestError
from convbench.model.case import Case, InputFormat, MemoryFormat
from convbench.model.problem import Direction

SCRIPT = """
import sys
import torch
from torch.profiler import ProfilerActivity, profile, schedule
first, second = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1), torch.nn.Conv2d(8, 8, (1, 3), groups=2, bias=False)
net = torch.nn.Sequential(first, second).to(memory_format=torch.channels_last)
x = torch.randn(2, 3, 32, 30).to(memory_format=torch.channels_last)
settings = dict(record_shapes=sys.argv[2] == "shapes", schedule=schedule(wait=0, warmup=1, active=2, repeat=1))
ready = lambda recorded: recorded.export_chrome_trace(sys.argv[1])
with profile(activities=[ProfilerActivity.CPU], on_trace_ready=ready, **settings) as recorded:
    for _ in range(3):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = net(x)
        y.float().sum().backward()
        recorded.step()
"""


def recorded(path: Path, shapes: str = "shapes") -> bytes:
    subprocess.run([sys.executable, "-c", SCRIPT, str(path), shapes], check=True, capture_output=True)
    return path.read_bytes()


@pytest.mark.slow
def test_a_trace_of_torch_is_read_step_by_step(tmp_path: Path) -> None:
    content = recorded(tmp_path / "trace.json")
    first = Case(
        problem=layer((3, 8), 3, (32, 30), stride=2, padding=1, batch_size=2),
        dtype="bfloat16",
        memory_format=MemoryFormat.CHANNELS_LAST,
    )
    second = replace(first, problem=layer((8, 8), (1, 3), (16, 15), groups=2, bias=False, batch_size=2))
    made = read(content)
    assert {(case, case.count) for case in made.cases} == {
        (first, 1),
        (replace(first, direction=Direction.GRAD_WEIGHT), 1),
        (second, 1),
        (replace(second, direction=Direction.BACKWARD), 1),
    }, "autocast calls aten::conv2d twice, and the first layer needs no gradient of its input"
    assert "the file holds 2 steps; counts are those of one step" in made.notes
    assert len(made.said) == 4
    assert all(text.endswith("each, 2 calls") for _, text in made.said)
    assert read(gzip.compress(content)).cases == made.cases


@pytest.mark.slow
def test_a_trace_without_shapes_says_how_to_record_one(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="record_shapes=True"):
        read(recorded(tmp_path / "trace.json", "none"))


CASE = Case(problem=layer((4, 6), 3, (9, 8), stride=(1, 2), padding=1, batch_size=2))


def changed(**columns: list[object]) -> dict[str, Any]:
    """The event with other entries of its arguments, which are named with `_` for a blank."""
    arguments = EVENT["args"] | {name.replace("_", " "): value for name, value in columns.items()}
    return EVENT | {"args": {name: value for name, value in arguments.items() if value is not None}}


def test_an_event_is_a_layer_with_its_time() -> None:
    other = {"ph": "X", "name": "aten::conv2d", "args": EVENT["args"]}
    made = read(trace(other, EVENT, {"ph": "M", "name": "process_name"}, EVENT, traceName="x"))
    assert made.cases == (CASE,)
    assert made.said == ((CASE, "the trace says 1.50 ms each, 2 calls"),)
    assert read(json.dumps([EVENT])).cases == (CASE,), "a trace may be the list alone"


def test_times_of_calls_that_launch_kernels_are_left_out() -> None:
    made = read(trace(EVENT, {"ph": "X", "cat": "kernel", "name": "implicit_gemm", "dur": 9}))
    assert (made.cases, made.said, made.description) == ((CASE,), (), "")
    assert any("launch kernels alone" in note for note in made.notes)


@pytest.mark.parametrize("name", ["mkldnn::_convolution_pointwise", "aten::cudnn_convolution_add_relu"])
def test_a_call_that_a_compiler_fused_is_refused(name: str) -> None:
    made = read(trace(EVENT, EVENT | {"name": name}))
    assert made.reasons == {"it is fused with other work by a compiler, and its event has not all of its sizes": 1}


def test_steps_that_differ_are_not_divided() -> None:
    steps = [{"ph": "X", "name": f"ProfilerStep#{at}"} for at in (5, 6)]
    made = read(trace(*steps, EVENT, EVENT, EVENT))
    assert made.cases[0].count == 3
    assert "the file holds 2 steps that differ; counts are those of all steps" in made.notes


LAST = [288, 1, 32, 4]
WEIGHT_LAST = [36, 1, 12, 4]


@pytest.mark.parametrize(
    ("strides", "formats"),
    [
        ([LAST, WEIGHT_LAST], (MemoryFormat.CHANNELS_LAST, InputFormat.SAME)),
        ([[288, 72, 8, 1], WEIGHT_LAST], (MemoryFormat.CHANNELS_LAST, InputFormat.CONTIGUOUS)),
        ([LAST, [36, 9, 3, 1]], (MemoryFormat.CONTIGUOUS, InputFormat.CHANNELS_LAST)),
    ],
)
def test_strides_say_the_memory_format(strides: list[list[int]], formats: tuple[MemoryFormat, InputFormat]) -> None:
    event = changed(Input_Strides=[*strides, [1], [], [], [], [], [], []])
    [case] = read(trace(event)).cases
    assert (case.memory_format, case.input_format) == formats


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (changed(Input_Dims=None), "the trace has no shapes"),
        (changed(Concrete_Inputs=None), "the trace has no Concrete Inputs"),
        (
            changed(Input_Strides=[[1, 1, 1, 1], [36, 9, 3, 1], [1], [], [], [], [], [], []]),
            "one of its tensors is a view",
        ),
        (changed(Input_type=["int"] * 9), "its dtype int is not one"),
        (changed(Input_Dims=[[2, 4, 9, 8]]), "it is incomplete"),
        (changed(Concrete_Inputs=["", "", "", "[1, 2", "[1]", "[1, 1]", "False", "[0, 0]", "1"]), "it is incomplete"),
        (changed(Concrete_Inputs=["", "", "", "[1, 2]", "[1]", "[1, 1]", "True", "[0, 0]", "1"]), "it is transposed"),
        (
            changed(Concrete_Inputs=["", "", "", "[1, 2]", "[1]", "[1, 1]", "False", "[0, 0]", "2"]),
            "its input has not the",
        ),
    ],
)
def test_an_event_that_is_no_layer_is_refused_with_its_place(event: dict[str, Any], reason: str) -> None:
    [refused] = read(trace(EVENT, event)).refused
    assert (refused.place, refused.reason[: len(reason)]) == ("event 1", reason)


WHOLE = trace(*[EVENT] * 50)


@pytest.mark.parametrize("content", [WHOLE[: len(WHOLE) // 2], WHOLE[:-1], WHOLE.replace("},", "}; ", 1), WHOLE + "]"])
def test_a_trace_that_is_cut_or_no_json_is_one_error(content: str) -> None:
    with pytest.raises(RequestError, match="no complete trace"):
        read(content)
