"""Large layers: the check works in parts, takes no more memory than was told, and says where that does not suffice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from layers import CPU, DIRECTIONS, HONEST, PLAIN, run, spec
from missing import linux

from convbench.engine.client import spec as asked
from convbench.measure import schedule
from convbench.model.case import Case
from convbench.model.problem import Direction, Problem
from convbench.worker import serve
from convbench.worker.layer import Layer
from convbench.worker.operators import reference
from convbench.worker.settings import Settings
from convbench.worker.verify import draw, parts
from convbench.worker.verify.draw import Draw
from convbench.worker.verify.integers import integers
from convbench.worker.verify.verdict import verify

TESTS = Path(__file__).parent.parent.parent
#: A layer of 67 MB, most of it weights.
LARGE = Problem(in_channels=5792, out_channels=5792, kernel_size=(1, 1), input_size=(1, 1))


@pytest.fixture
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if these layers were large."""
    monkeypatch.setattr(parts, "PART", 64)
    monkeypatch.setattr(draw, "_DRAWN", 64)
    monkeypatch.setattr(reference, "_FILTERS", 64)
    monkeypatch.setattr(reference, "_CHUNK", 64)


@pytest.mark.usefixtures("_small_parts")
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("name", ["plain", "unbatched", "groups", "depthwise", "same", "large"])
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_right_layers_pass_in_small_parts(name: str, direction: str) -> None:
    for dtype in ("float32", "bfloat16"):
        outcome = verify(Layer(spec(HONEST[name], direction, dtype=dtype), CPU))
        assert outcome.reason is None, dtype


@pytest.mark.usefixtures("_small_parts")
@pytest.mark.parametrize(
    ("module", "direction", "words"),
    [
        ("SlightlyWrong", "forward", "output[2, 7, 4, 3] is"),
        ("WrongLastTile", "train_step", "output[2, 6, "),
        ("OneNan", "forward", "is nan, should be"),
        ("OneTapWrong", "backward", "grad_weight["),
        ("OneInputGradientWrong", "backward", "grad_input["),
    ],
)
def test_wrong_layers_are_found_in_small_parts_by_the_same_words(module: str, direction: str, words: str) -> None:
    assert words in str(run(PLAIN, direction, module).reason)


def test_numbers_do_not_depend_on_the_size_of_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Draw(7).bits(1000, 7)
    monkeypatch.setattr(draw, "_DRAWN", 64)
    assert torch.equal(Draw(7).bits(1000, 7), whole)
    assert torch.equal(Draw(7).bits(1000, 7, torch.int8).float(), whole)
    assert set(whole.tolist()) == set(range(8))


def test_pieces_cover_a_tensor_once_and_know_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART", 10)
    for shape in ((1, 3, 7, 5), (4, 2, 3), (1, 1, 1, 23), (6,)):
        tensor = torch.arange(float(torch.Size(shape).numel())).view(shape)
        seen = torch.zeros(shape)
        for begin, part in parts.pieces(tensor):
            assert part.numel() <= 10
            assert float(part.flatten()[0]) == float(tensor[tuple(begin)])
            place = tuple(slice(at, at + size) for at, size in zip(begin, part.shape, strict=True))
            assert torch.equal(part, tensor[place])
            seen[place] += 1
        assert torch.equal(seen, torch.ones(shape))


def test_integers_take_a_byte_each() -> None:
    data = integers(spec(PLAIN, "train_step"))
    assert data.g is not None
    assert {tensor.dtype for tensor in (data.x, data.weight, data.g)} == {torch.int8}
    case = Case(problem=PLAIN, dtype="bfloat16")
    elements = sum(torch.Size(shape).numel() for shape in (PLAIN.input_shape, PLAIN.weight_shape, PLAIN.output_shape))
    assert schedule.check_bytes(case) == (elements + PLAIN.out_channels) * 3
    assert schedule.check_bytes(replace(case, dtype="float64")) == (elements + PLAIN.out_channels) * 9


#: Checks a layer; the highest memory of the process that the layer and its check took, as a multiple of what was told.
SCRIPT = """
import json, sys
import torch
from convbench.worker.layer import Layer
from convbench.worker.spec import Spec
from convbench.worker.verify.verdict import verify

def highest():
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024

torch.set_num_threads(1)
asked = json.loads(sys.argv[1])
small = {**asked, "in_channels": 64, "out_channels": 64, "input_shape": [1, 64, 1, 1], "weight_shape": [64, 64, 1, 1],
         "output_shape": [1, 64, 1, 1]}
verify(Layer(Spec.from_json(small), torch.device("cpu")))
before = highest()
layer = Layer(Spec.from_json(asked), torch.device("cpu"))
outcome = verify(layer)
print(json.dumps([outcome.reason, highest() - before]))
"""


@linux
@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_the_check_of_a_large_layer_takes_the_memory_that_plan_tells(dtype: str) -> None:
    case = Case(problem=LARGE, dtype=dtype)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(asked(case, 1))],
        # With glibc's growing threshold freed parts may stay in the heap, which took 74 MiB more in one run of ten.
        env={**os.environ, "PYTHONPATH": str(TESTS.parent), "MALLOC_MMAP_THRESHOLD_": str(2**20)},
        capture_output=True,
        text=True,
        check=True,
    )
    reason, taken = json.loads(done.stdout)
    assert reason is None
    in_parts = 3 * 8 * parts.PART  # working copies of a part
    assert taken <= schedule.memory_bytes(case) + schedule.check_bytes(case) + in_parts


def test_a_check_that_runs_out_of_memory_is_told_from_a_layer_that_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def verified(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8649000000 bytes")

    worker = serve.Worker()
    assert worker.answer({"op": "describe", **Settings(threads=1)._asdict()})["status"] == "passed"
    request = {"op": "prepare", "key": 1, "spec": asked(Case(problem=PLAIN, direction=Direction.FORWARD), 0)}
    monkeypatch.setattr(serve, "verify", verified)
    answer = worker.answer({**request, "check": True})
    assert answer["status"] == "out_of_memory"
    assert answer["reason"].startswith("not the layer, which ran, but its check, which needs about ")
    assert " GiB beside the layer: DefaultCPUAllocator" in answer["reason"]
    monkeypatch.setattr(serve, "verify", lambda *_, **__: 1 / 0)
    assert worker.answer({**request, "check": True})["reason"] == "ZeroDivisionError: division by zero"
