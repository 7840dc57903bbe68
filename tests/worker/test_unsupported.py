"""What a device or torch does not support is skipped; and what torch 2.6 lacks is not needed."""

from __future__ import annotations

import types
from dataclasses import replace

import pytest
import torch
from layers import CPU, PLAIN

from convbench.engine.client import spec as asked_spec
from convbench.model.case import Autocast, Case
from convbench.worker.serve import Worker, classify
from convbench.worker.settings import Settings, _autocasts
from convbench.worker.spec import Spec


def asked(case: Case) -> Spec:
    return Spec.from_json(dict(asked_spec(case, 1)))


def test_autocast_to_a_dtype_that_a_device_lacks_is_unsuitable(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch warns and computes in the layer's dtype, which the check would call wrong."""
    assert _autocasts("cpu", torch.bfloat16) and _autocasts("cpu", torch.float16)
    assert not _autocasts("cpu", torch.float64)
    assert not _autocasts("privateuseone", torch.float16), "no backend of this name is there"
    case = Case(problem=PLAIN, autocast=Autocast.FLOAT16)
    assert Settings().unsuitable(asked(case), CPU) is None
    monkeypatch.setattr("convbench.worker.settings._autocasts", lambda device, dtype: dtype is torch.bfloat16)
    assert Settings().unsuitable(asked(case), CPU) == "torch has no autocast to float16 on cpu"
    assert Settings().unsuitable(asked(replace(case, autocast=Autocast.BFLOAT16)), CPU) is None


def test_ieee_is_unsuitable_where_torch_does_not_say_its_precision() -> None:
    reason = Settings(fp32_precision="ieee").unsuitable(asked(Case(problem=PLAIN)), torch.device("mps"))
    assert reason == "torch cannot compute float32 convolutions as ieee on mps"


def test_what_has_no_deterministic_implementation_is_skipped() -> None:
    """The words are torch's own: `index_add_cuda_` is one of the functions that raise them."""
    torch.use_deterministic_algorithms(True)
    try:
        with pytest.raises(RuntimeError) as raised:
            torch._C._alert_not_deterministic("grad_cuda") if hasattr(
                torch._C, "_alert_not_deterministic"
            ) else torch.empty(2).put_(torch.tensor([0]), torch.tensor([1.0]), accumulate=False)
    finally:
        torch.use_deterministic_algorithms(False)
    status, reason = classify(raised.value)
    assert status == "skipped"
    assert "does not have a deterministic implementation" in reason
    assert classify(raised.value, torchs=False)[0] == "error", "a module of the user's own"


#: Names of torch that came after 2.6, the oldest that convbench runs with, by their module.
NEWER = {
    torch: ("AcceleratorError",),
    torch.accelerator: (
        "empty_cache",
        "empty_host_cache",
        "get_device_capability",
        "get_memory_info",
        "max_memory_allocated",
        "max_memory_reserved",
        "memory_allocated",
        "memory_reserved",
        "memory_stats",
        "reset_accumulated_memory_stats",
        "reset_peak_memory_stats",
        "current_device_index",
        "set_device_index",
        "device_index",
    ),
    torch.backends.cudnn: ("conv", "rnn"),
    torch.backends.mkldnn: ("conv", "matmul", "rnn"),
}


def test_nothing_fails_for_want_of_a_name_that_torch_2_6_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    absent: list[tuple[types.ModuleType, str]] = []
    for module, names in NEWER.items():
        for name in names:
            # A backend's module is an object of a class of its own, which wraps the module of the file.
            for owner in (type(module), getattr(module, "m", module)):
                if name in vars(owner):
                    monkeypatch.delattr(owner, name)
                    absent.append((module, name))
    assert absent and not any(hasattr(module, name) for module, name in absent)
    worker = Worker()
    assert worker.answer({"op": "describe", "threads": 1})["status"] == "passed"
    spec = dict(asked_spec(Case(problem=PLAIN, direction="backward"), 1))
    requests = (
        {"op": "prepare", "key": 1, "check": True, "repeats": True, "spec": spec},
        {"op": "block", "key": 1, "seconds": 1e-4},
        {"op": "peak_memory", "key": 1},
        {"op": "verify", "key": 1},
        {"op": "devices", "names": ["accelerator"]},
        {"op": "release"},
    )
    for request in requests:
        answer = worker.answer(request)
        assert answer["status"] == "passed", (request["op"], answer)
