"""`convbench capture`: a model becomes a sweep, and what cannot be captured is one message."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import captured_models
import pytest
from commands import Command
from processes import environment

import convbench
from convbench import sweep as sweeps
from convbench.actions import measure
from convbench.errors import RequestError

FILE = captured_models.__file__
IMAGES = "2x3x16x16"


@pytest.mark.slow
def test_a_model_becomes_a_sweep_that_can_be_planned(command: Command, tmp_path: Path) -> None:
    said = command("capture", f"{FILE}:plain", "--arg", "width=6", "--input", IMAGES, "--train", "-o", "net.yaml")
    assert (said.code, said.out) == (0, "")
    assert said.err == "6 convolutions forward and backward, 4 distinct, 0 left out\nnext: convbench run net.yaml\n"
    text = (tmp_path / "net.yaml").read_text(encoding="utf-8")
    head = " ".join(text[: text.index("name: ")].replace("\n#  ", "").split())
    assert f"convbench capture {FILE}:plain --input {IMAGES} --arg width=6 --train" in head
    assert "building" not in said.err, "what the model prints is not the command's"
    found = [
        (str(case.direction), case.given_label, case.count)
        for case in sweeps.cases(sweeps.load(Path("net.yaml"))).cases
    ]
    assert sorted(found) == [
        ("backward", "blocks.0", 2),
        ("forward", "blocks.0", 2),
        ("forward", "stem", 1),
        ("grad_weight", "stem", 1),
    ]


@pytest.mark.slow
def test_what_is_left_out_is_said_and_a_model_may_lie_in_the_current_folder(command: Command, tmp_path: Path) -> None:
    (tmp_path / "kinds.py").write_text(Path(FILE).read_text(encoding="utf-8"), encoding="utf-8")
    said = command("capture", "kinds:Kinds", "--input", "1x1x8x8")
    assert said.code == 0
    assert said.err.splitlines()[0] == "4 convolutions, 1 distinct, 3 left out"
    assert "left out 1: ConvTranspose2d, which convbench does not measure" in said.err
    assert said.out.count("label: ") == 1
    assert "Conv3d, which convbench does not measure (" in said.out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["no_such_package:Net", "--input", "3"], "no module is called no_such_package"),
        ([f"{FILE}:Branching", "--input", IMAGES], "decides on numbers that it computes"),
        ([f"{FILE}:Linear", "--input", IMAGES], "Linear ran and computed no convolution"),
        (["ends:Net", "--input", "3"], "the process that ran ends:Net ended: the worker ended with exit code 7"),
        (["lines:Net", "--input", "1x1x8"], "Net has no convolution that convbench can measure\n  hint: 1 Conv1d,"),
    ],
)
def test_what_cannot_be_captured_is_a_wrong_request(
    command: Command, tmp_path: Path, arguments: list[str], error: str
) -> None:
    (tmp_path / "ends.py").write_text("import os\nos._exit(7)\n", encoding="utf-8")
    (tmp_path / "lines.py").write_text("import torch\nNet = torch.nn.Conv1d(1, 1, 3)\n", encoding="utf-8")
    said = command("capture", *arguments, "-o", "net.yaml")
    assert (said.code, said.out) == (2, "")
    assert error in said.err
    assert said.err.count("error: ") == 1
    assert "  hint: " in said.err
    assert not (tmp_path / "net.yaml").exists()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["net.py:Net"], "missing --input"),
        (["net.Net", "--input", "3"], "did you mean net:Net?"),
        (["net.py:Net", "--input", "3", "--autocast", "int8"], "--autocast int8: expected bfloat16 or float16"),
        (["net.py:Net", "--input", "3", "-o", "/proc/x/y.yaml"], "cannot write /proc/x/y.yaml"),
    ],
)
def test_wrong_options_are_found_before_anything_is_imported(
    command: Command, arguments: list[str], error: str
) -> None:
    said = command("capture", *arguments)
    assert (said.code, said.out) == (2, "")
    assert error in said.err


def test_a_model_in_hand(tmp_path: Path) -> None:
    import torch

    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = convbench.capture(captured_models.Plain(), torch.zeros(2, 3, 16, 16), train=True, name="mine")
    assert (found.name, found.read, {case.dtype for case in found.cases}) == ("mine", 6, {"bfloat16"})
    path = found.write(tmp_path / "mine.yaml")
    assert sweeps.cases(sweeps.load(path)).cases
    assert path.read_text(encoding="utf-8") == found.sweep()
    ids = torch.zeros(2, dtype=torch.int64)
    assert convbench.capture(captured_models.Named(), torch.zeros(2, 3, 8, 8), ids=ids).read == 1
    with pytest.raises(RequestError, match=r"expected a torch\.nn\.Module, got a int"):
        convbench.capture(3)
    with pytest.raises(RequestError, match="failed in stem"):
        convbench.capture(captured_models.Plain(), torch.zeros(2, 4, 16, 16))


@pytest.mark.slow
def test_a_model_of_forty_gigabytes_needs_little_memory(tmp_path: Path) -> None:
    code = (
        "import resource, subprocess, sys;"
        "subprocess.run([sys.executable, '-m', 'convbench', *sys.argv[1:]], check=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "capture", f"{FILE}:Large", "--input", "1x3x16x16", "-o", os.devnull],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(done.stdout.split()[-1]) < 700 * 1024, "KiB"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["run"], "missing CONFIG"),
        (["run", "a.yaml", "--model", "net.py:Net", "--input", "3"], "got CONFIG and --model"),
        (["run", "a.yaml", "--input", "3"], "--input is for a model"),
        (["run", "a.yaml", "--train"], "--train is for a model"),
        (["run", "a.yaml", "--budget", "9"], "--budget is for a model"),
        (["run", "--model", "net.py:Net", "--input", "3", "--budget", "0"], "--budget 0: expected 1 to"),
        (["time", "3", "4", "--model", "net.py:Net", "--input", "3"], "got channels and --model"),
        (["time", "3", "4", "--arg", "a=3"], "--arg is for a model"),
        (
            ["time", "--model", "a:b", "--input", "3", "--autocast", "bfloat16", "--autocast", "none"],
            "--autocast twice",
        ),
    ],
)
def test_wrong_options_of_a_model(command: Command, arguments: list[str], error: str) -> None:
    said = command(*arguments)
    assert (said.code, said.out) == (2, "")
    assert error in said.err
    assert not Path("reports").exists()


@pytest.mark.slow
def test_a_model_is_measured_in_one_go(command: Command, tmp_path: Path) -> None:
    said = command("run", "--quiet", "--model", f"{FILE}:Plain", "--input", IMAGES, "--budget", "22")
    assert said.code == 0, said.err
    assert (tmp_path / said.out.strip()).is_file()
    run = convbench.load("latest").run
    assert f"convbench capture {FILE}:Plain --input {IMAGES}" in " ".join(run.source.replace("\n#  ", "").split())
    seen = {(result.case.given_label, result.case.dtype, str(result.case.memory_format)) for result in run.results}
    assert len(seen) == len(run.results) == 8


@pytest.mark.slow
def test_the_convolutions_of_a_model_are_timed(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_planned(sweep: sweeps.Sweep, plan: sweeps.Plan, **rest: object) -> None:
        seen = [(case.given_label, case.dtype, str(case.autocast), case.count) for case in plan.cases]
        raise RequestError(f"{sweep.name}: {sweep.measure.rounds} rounds of {seen}")

    monkeypatch.setattr(measure, "run_planned", run_planned)
    said = command("time", "--model", f"{FILE}:Plain", "--input", IMAGES, "--autocast", "bfloat16")
    assert "Plain: 3 rounds of [('stem', 'bfloat16', 'none', 1), ('blocks.0', 'bfloat16', 'none', 2)]" in said.err
