"""Layers as CUDA graphs, on a fake of them: captured once, checked as they are timed, and refused where they cannot be.

No GPU confirms the fake: tests/worker/test_gpu.py has the same cases for one.
"""

from __future__ import annotations

from dataclasses import replace

import fake_graphs
import planted
import pytest
import torch
from layers import CPU, DIRECTIONS, HONEST, PLAIN, spec

from convbench.worker import graphs
from convbench.worker.layer import Layer
from convbench.worker.serve import Worker
from convbench.worker.verify.verdict import verify


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The fake in the place of torch's graphs, which a CPU then has."""
    monkeypatch.setattr(graphs, "refusal", lambda spec, device: None)
    return fake_graphs.install(monkeypatch)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("problem", [PLAIN, HONEST["unbatched"], HONEST["no bias"], HONEST["groups"]])
def test_every_direction_is_captured_and_its_replays_are_right(
    streams: list[str], problem: object, direction: str
) -> None:
    layer = Layer(spec(problem, direction, execution="graph"), CPU)
    outcome = verify(layer)
    assert outcome.reason is None, outcome.reason
    assert outcome.digest == verify(Layer(spec(problem, direction), CPU)).digest
    assert streams == [
        "1 waits for 0",
        "runs on 1",
        "runs on 0",
        "0 waits for 1",
        "captures on 1",
        "captured",
    ]


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_worker_times_replays_and_checks_them_before_and_after(streams: list[str], direction: str) -> None:
    worker = Worker()
    asked = spec(PLAIN, direction, execution="graph", weights="given")._asdict()
    prepared = worker.answer({"op": "prepare", "key": 1, "check": True, "repeats": True, "spec": asked})
    assert (prepared["status"], prepared["reason"]) == ("passed", None)
    assert prepared["first_call_s"] > 0
    layer = worker._prepared[1].layer
    graph = layer.step.__self__
    before = graph.replays
    timing = worker.answer({"op": "block", "key": 1, "seconds": 0.002})
    assert timing["status"] == "passed"
    assert graph.replays - before >= timing["iterations"], "what is timed is the graph"
    assert worker.answer({"op": "verify", "key": 1}) == {"status": "passed", "reason": None}
    assert worker.answer({"op": "peak_memory", "key": 1})["peak_bytes"] is None


def test_three_calls_warm_up_on_the_stream_of_the_capture(streams: list[str]) -> None:
    calls: list[int] = []
    layer = Layer(spec(PLAIN), CPU)

    def step() -> torch.Tensor:
        calls.append(len(streams))
        return layer.step()

    with layer.mode():
        graphs.Captured(step, layer.named)
    assert calls == [2, 2, 2, 5], "three after `runs on 1`, and the one that is captured"


def test_results_are_copies_and_what_a_replay_leaves_unwritten_is_nan(streams: list[str]) -> None:
    layer = Layer(spec(PLAIN, execution="graph"), CPU)
    first = layer.results()["output"]
    kept = first.clone()
    layer.operands.x.data.neg_()
    second = layer.results()["output"]
    assert torch.equal(first, kept), "a later replay does not change earlier results"
    assert not torch.equal(first, second)
    layer.step.__self__.ran.clear()  # a graph that computes nothing
    assert layer.results()["output"].isnan().all()


@pytest.mark.parametrize("name", ["PadOffByOne", "SlightlyWrong", "ForgottenBias"])
def test_a_wrong_layer_is_wrong_as_a_graph(streams: list[str], name: str) -> None:
    assert hasattr(planted, name)
    problem = replace(PLAIN, bias=True)
    assert verify(Layer(spec(problem, module=f"planted:{name}", execution="graph"), CPU)).reason


def test_a_graph_is_refused_where_there_are_none() -> None:
    cuda = torch.device("cuda")
    own = spec(PLAIN, "backward", "planted:Honest", execution="graph")
    assert "torch does not have on cpu" in (graphs.refusal(spec(PLAIN, execution="graph"), CPU) or "")
    assert "one kernel call" in (graphs.refusal(own, cuda) or "")
    assert graphs.refusal(own._replace(direction="train_step"), cuda) is None
    assert graphs.refusal(spec(PLAIN, "backward", execution="graph"), cuda) is None
    asked = spec(PLAIN, execution="graph")._asdict()
    answer = Worker().answer({"op": "prepare", "key": 1, "check": True, "spec": asked})
    assert answer["status"] == "skipped"
    assert "CUDA graphs" in answer["reason"]
