"""What oneDNN is asked to compute by a model is what it is asked by the model's cases, in its own words."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import captured_models
import pytest
import torch
from processes import environment

import convbench
from convbench.engine.client import spec
from convbench.model.problem import Direction
from convbench.workloads.workload import folded

#: Runs the model of captured_models, or layers as a worker builds them, so that oneDNN prints its problems.
RUN = """
import json, sys, torch
what = json.loads(sys.stdin.readline())
torch.set_num_threads(1)
if "model" in what:
    import captured_models
    model, x = getattr(captured_models, what["model"])(), torch.randn(what["shape"])
    if what["channels_last"]:
        model, x = model.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    model.train(what["train"])
    with torch.set_grad_enabled(what["train"]):
        y = model(x)
    if what["train"]:
        y.backward(torch.ones_like(y))
else:
    from convbench.worker.layer import Layer
    from convbench.worker.spec import Spec
    for fields in what["layers"]:
        Layer(Spec.from_json(fields), torch.device("cpu")).run()
"""
#: primitive,exec,cpu,convolution,IMPLEMENTATION,KIND,SRC WEI DST,ATTRIBUTES,ALGORITHM,PROBLEM,TIME
LINE = re.compile(
    r"onednn_verbose,.*exec,cpu,convolution,[^,]*,(?P<kind>\w+),(?P<tensors>[^,]*),.*,(?P<problem>(?:g\d+)?mb[^,]+),"
)


def problems(what: dict[str, Any]) -> list[tuple[str, ...]]:
    """(kind, dtypes, problem) of each convolution that oneDNN computes, sorted."""
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input=json.dumps(what),
        env={**environment(), "ONEDNN_VERBOSE": "1"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = set()
    for match in filter(None, map(LINE.match, done.stdout.splitlines())):
        dtypes = "".join(re.findall(r"(?:src|wei|dst)[:_]\w+", match["tensors"]))
        kind = "forward" if match["kind"].startswith("forward") else match["kind"]  # training, or inference
        found.add((kind, dtypes, match["problem"]))
    return sorted(found)


@pytest.mark.slow
@pytest.mark.parametrize(("train", "channels_last"), [(False, True), (True, False)])
def test_ten_layers_ask_for_the_same_problems(train: bool, channels_last: bool) -> None:
    shape = (2, 3, 64, 64)
    model = captured_models.Ten()
    x = torch.zeros(shape)
    if channels_last:
        model, x = model.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    cases = folded(convbench.capture(model, x, train=train).cases)
    assert len({case.problem for case in cases}) == 10
    asked = {"model": "Ten", "shape": shape, "train": train, "channels_last": channels_last}
    by_model = problems(asked)
    assert len(by_model) == (10 if not train else 29), "forward of ten, both gradients of nine, one of the first"
    assert by_model == problems({"layers": [spec(case, seed=0) for case in cases]})
    assert {case.direction for case in cases} == (
        {Direction.FORWARD, Direction.BACKWARD, Direction.GRAD_WEIGHT} if train else {Direction.FORWARD}
    )
