"""`convbench import`: what it writes and says, standard input, and files that it refuses."""

from __future__ import annotations

import gzip
import io
import sys
from pathlib import Path

import pytest
from commands import Command
from imports import layer

from convbench.model.case import Case
from convbench.sweep.expand import cases
from convbench.sweep.parse import parse

LIST = """\
--dir=FWD_D
mb1ic4ih8oc4oh8kh3ph1n"stem*2"
mb1ic4ih8oc4oh8kh3ph1n"again"
mb1ic4ih8oc4oh9kh2ph0
mb1ic4ih8oc4
"""


@pytest.fixture
def shapes(command: Command, tmp_path: Path) -> Path:
    path = tmp_path / "shapes"
    path.write_text(LIST, encoding="utf-8")
    return path


def test_a_sweep_goes_to_standard_output_and_counts_to_standard_error(command: Command, shapes: Path) -> None:
    said = command("import", "shapes")
    assert said.code == 0
    assert said.err == (
        "read 5, distinct 1, refused 2\n"
        "  1: its padding differs between two sides of a dimension: torch.nn.Conv2d pads both alike (first: line 4)\n"
        "  1: it is incomplete (first: line 5)\n"
    )
    [case] = cases(parse(said.out, "standard output")).cases
    assert case == Case(problem=layer((4, 4), 3, 8, padding=1, bias=False))
    assert (case.given_label, case.count) == ("stem", 3)
    assert said.out.startswith("# from shapes (benchdnn)\n# read 5, distinct 1, left out 2\n")
    assert "\nname: shapes\n" in said.out


def test_a_file_is_written_and_the_next_command_named(command: Command, shapes: Path) -> None:
    said = command("import", "shapes", "-o", "my sweep.yaml", "--name", "of mine", "--format", "benchdnn")
    assert (said.code, said.out) == (0, "")
    assert said.err.endswith("next: convbench plan 'my sweep.yaml'\n")
    assert "\nname: of mine\n" in Path("my sweep.yaml").read_text(encoding="utf-8")
    assert command("plan", "my sweep.yaml").out.startswith("of mine: 1 case\n")


def test_standard_input_is_read(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(LIST.encode()))))
    said = command("import", "-")
    assert said.code == 0
    assert "\nname: imported\n" in said.out


def test_batch_files_are_found_beside_the_one_that_names_them(command: Command, tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "all").write_text("--batch=some\n--batch=none\n--batch=.\n", encoding="utf-8")
    (tmp_path / "lists" / "some").write_text(LIST, encoding="utf-8")
    said = command("import", "lists/all")
    assert said.code == 0
    assert said.err.startswith("read 7, distinct 1, refused 4\n")
    assert "1: cannot read lists/none: No such file or directory (first: line 2)\n" in said.err
    assert "1: cannot read lists: Is a directory (first: line 3)\n" in said.err


def test_what_a_log_said_is_in_the_sweep(command: Command, tmp_path: Path) -> None:
    tensors = "src_f32::blocked:abcd:f0 wei_f32::blocked:abcd:f0 bia_undef::undef::f0 dst_f32::blocked:abcd:f0"
    line = f"dnnl_verbose,exec,cpu,convolution,jit,{{}},{tensors},,alg:direct,mb1_ic4oc4_ih8oh8kh3sh1dh0ph1,{{}}\n"
    text = line.format("forward_training", "0.25") * 3 + line.format("backward_data", "0.5") * 3
    (tmp_path / "run.log").write_text(text, encoding="utf-8")
    said = command("import", "run.log")
    sweep = parse(said.out, "standard output")
    assert sweep.name == "run"
    assert sweep.description == (
        "The log says 2.25 ms in 6 calls of convolutions. The most costly: "
        "66.7 % n1 c4 8x8 -> k4 3x3 s1 p1 no-bias grad_input float32 contiguous cpu; "
        "33.3 % n1 c4 8x8 -> k4 3x3 s1 p1 no-bias forward float32 contiguous cpu."
    )
    assert "  # forward: the log says 250 us each, 3 calls\n" in said.out
    assert "  # grad_input: the log says 500 us each, 3 calls\n" in said.out
    assert [case.count for case in cases(sweep).cases] == [3, 3]


BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "bad is empty"),
    "binary": (bytes(range(256)), "bad is binary, and no ONNX file"),
    "UTF-16": (LIST.encode("utf-16"), "hint: the file is binary, or text in UTF-16: save it as UTF-8"),
    "a cut archive": (gzip.compress(LIST.encode())[:-12], "cannot read bad: its compressed data end in the middle"),
    "a cut trace": (b'{"traceEvents": [{"ph": "X", "name": "aten::conv', "bad is no complete trace"),
    "a cut model": (b"\x08\x07\x12\x00\x3a\xff\x10", "bad is no complete ONNX file"),
    "a pickle": (b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00K\x01\x85\x94.", "bad is binary, and no ONNX file"),
    "another text": (b"hello\n", "bad is in no format that convbench finds"),
    "another version": (b"onednn_verbose,v7,exec,cpu,convolution,x,0\n", "its dialect v7 is not known"),
    "nothing to measure": (b"mb1ic4ih8oc4kh9\n", "bad has no convolution that can be measured (benchdnn)"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_file_is_one_error_and_nothing_is_written(command: Command, tmp_path: Path, what: str) -> None:
    content, expected = BAD[what]
    (tmp_path / "bad").write_bytes(content)
    said = command("import", "bad", "-o", "sweep.yaml")
    assert (said.code, said.out) == (2, "")
    assert expected in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["bad"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["absent"], "cannot read absent: No such file or directory"),
        (["."], "cannot read .: Is a directory"),
        (["shapes", "--format", "onnxx"], "hint: did you mean onnx?"),
        (["shapes", "--format", "onnx"], "shapes is no complete ONNX file"),
        (["shapes", "--size", "batch"], "--size batch: expected NAME=N"),
        (["shapes", "--size", "batch=0"], "--size batch=0: expected NAME=N, with N of at least 1"),
        (["shapes", "--size", "batch=1"], "--size is for ONNX files, and shapes is in the format benchdnn"),
        (["shapes", "-o", "shapes/x.yaml"], "cannot write shapes/x.yaml"),
    ],
)
def test_a_wrong_request_says_what_to_do(command: Command, shapes: Path, arguments: list[str], expected: str) -> None:
    said = command("import", *arguments)
    assert (said.code, said.out) == (2, "")
    assert expected in said.err
