"""A run of a model has the usual choices, and within its budget the layers that cost most."""

from __future__ import annotations

from dataclasses import replace

import pytest

from convbench import sweep as sweeps
from convbench.actions import capturing, timing
from convbench.errors import RequestError
from convbench.model.case import Case
from convbench.model.problem import Direction, Problem
from convbench.workloads.request import Request
from convbench.workloads.workload import Refused, Workload

REQUEST = Request(model="net.py:Net", inputs_from="net.py:batch")


#: What to do where no layer is left.
OTHER = "name a model that has a torch.nn.Conv2d, or calls its function"


def layer(channels: int, *, count: int = 1, dtype: str = "float32", size: int = 14) -> Case:
    problem = Problem(in_channels=channels, out_channels=channels, kernel_size=(3, 3), input_size=(size, size))
    return Case(problem=problem, dtype=dtype, threads=1, count=count, given_label=f"c{channels}")


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[Case]:
    """The cases of the model that is captured."""
    cases: list[Case] = []

    def captured(request: Request) -> capturing.CapturedModel:
        assert request is REQUEST
        return capturing.CapturedModel(name="net", source="a test", cases=tuple(cases))

    monkeypatch.setattr(capturing, "captured", captured)
    return cases


def test_each_layer_is_measured_with_each_choice(found: list[Case]) -> None:
    found += [layer(8), layer(8), layer(16, dtype="float16")]
    sweep, plan = capturing.planned(REQUEST)
    assert (sweep.path, sweep.name, sweep.measure.budget) == ("net.py:Net", "net", 150.0)
    seen = {(case.problem.in_channels, case.dtype, str(case.memory_format), case.count) for case in plan.cases}
    assert seen == {
        (channels, dtype, lies, count)
        for channels, count in ((8, 2), (16, 1))
        for dtype in ("float32", "bfloat16", "float16")
        for lies in ("contiguous", "channels_last")
    }


def test_a_short_budget_measures_the_layers_that_cost_most(found: list[Case]) -> None:
    # A rare large layer, and a small one that occurs so often that it costs more than those between them.
    found += [*[layer(channels) for channels in range(8, 208)], layer(7, count=100_000)]
    every = capturing.planned(REQUEST, budget_s=2000.0)[1]
    assert len(every.cases) == 201 * 4
    sweep, plan = capturing.planned(REQUEST, budget_s=60.0)
    labels = list(dict.fromkeys(case.given_label for case in plan.cases))
    kept = [case.given_label for case in found if case.given_label in labels]
    assert 5 < len(kept) < 100
    assert kept == [f"c{channels}" for channels in range(208 - len(kept) + 1, 208)] + ["c7"]
    [left_out] = sweep.left_out
    assert left_out.count == 201 - len(kept)
    assert left_out.reason.startswith(
        "a budget of 1 min 0 s is too short for layers that cost so little (c8, c9, c10 and"
    )
    dropped = sum(case.flops for case in found if case.given_label not in labels)
    assert left_out.work == pytest.approx(dropped / sum(case.flops * case.count for case in found), abs=1e-4)
    assert f"left out {left_out}" in sweeps.notes(sweep, plan)
    with pytest.raises(RequestError, match=r"a budget of 1.*s is too short for a single layer of net.py:Net") as caught:
        capturing.planned(REQUEST, budget_s=1.0)
    assert caught.value.hint == "give more seconds with --budget"


def test_a_layer_of_a_training_step_that_is_too_cheap_is_left_out_once(found: list[Case]) -> None:
    found += [
        replace(layer(channels), direction=direction)
        for channels in (7, *range(100, 160))
        for direction in (Direction.FORWARD, Direction.BACKWARD)
    ]
    sweep, plan = capturing.planned(REQUEST, budget_s=60.0)
    kept = {case.given_label for case in plan.cases}
    [left_out] = sweep.left_out
    assert left_out.count == 61 - len(kept)


def test_a_model_without_a_layer_to_measure_says_why_and_not_that_the_budget_is_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nothing = capturing.CapturedModel(
        name="net", source="a test", cases=(), refused=(Refused(place="a", reason="Conv1d", count=2),)
    )
    monkeypatch.setattr(capturing, "captured", lambda request: nothing)
    with pytest.raises(RequestError, match=r"^net has no convolution that convbench can measure$") as caught:
        capturing.planned(REQUEST)
    assert caught.value.hint == f"2 Conv1d\n        {OTHER}"


def test_settings_of_time_replace_those_of_the_model(found: list[Case]) -> None:
    found += [layer(8, dtype="float16"), layer(16, dtype="float16")]
    options = {"dtype": ["float32", "bfloat16"], "threads": ["2"], "batch_size": ["4"]}
    cases = timing.planned_model(REQUEST, options)[1].cases
    assert {(case.dtype, case.threads, case.problem.batch_size, case.direction) for case in cases} == {
        (dtype, 2, 4, Direction.FORWARD) for dtype in ("float32", "bfloat16")
    }
    assert len(cases) == 4
    assert {case.dtype for case in timing.planned_model(REQUEST, {})[1].cases} == {"float16"}
    with pytest.raises(RequestError, match="got --kernel-size, --stride and --model"):
        timing.planned_model(REQUEST, {"kernel_size": ["3"], "stride": ["2"], "dtype": ["float32"]})
    with pytest.raises(RequestError, match="--dtype: expected float16"):
        timing.planned_model(REQUEST, {"dtype": ["fp32"]})


def test_a_model_of_which_nothing_is_left_says_why() -> None:
    refused = Refused(place="up", reason="transposed, which it is not", count=2)
    with pytest.raises(RequestError) as raised:
        capturing.sweep_of(Workload(name="net", source="a test", cases=(), refused=(refused,)))
    assert raised.value.message == "net has no convolution that convbench can measure"
    assert raised.value.hint == f"2 transposed, which it is not\n        {OTHER}"
