"""What is recorded of a model's convolutions, and that the model stays as it was."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any

import captured_models as models
import pytest
import torch
from torch import nn

from convbench.worker.capture import building, process
from convbench.worker.capture.problems import CaptureError, building_failed
from convbench.worker.capture.running import captured

FILE = models.__file__


def found(answer: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(path, answer["records"][number]) for number, path in answer["found"]]


def run(model: nn.Module, *inputs: Any, **options: Any) -> list[tuple[str, dict[str, Any]]]:
    return found(captured(model, inputs or (torch.zeros(models.IMAGES),), {}, **options))


def answered(name: str, **rest: Any) -> dict[str, Any]:
    request = {
        "model": f"{FILE}:{name}",
        "arguments": {},
        "inputs": [[None, list(models.IMAGES), "float32"]],
        "inputs_from": None,
        "train": False,
        "autocast": None,
        "channels_last": False,
        "real": False,
    }
    return process.answer({**request, **rest})


def test_a_forward_pass_has_the_path_and_the_arguments_of_each_convolution() -> None:
    answer = captured(models.Plain(), (torch.zeros(models.IMAGES),), {})
    assert [path for path, _ in found(answer)] == ["stem", "blocks.0", "blocks.1"]
    assert len(answer["records"]) == 2, "equal ones are sent once"
    assert answer["parameters"] == sum(each.numel() for each in models.Plain().parameters())
    stem = found(answer)[0][1]
    expected = {
        "input_shape": (2, 3, 16, 16), "weight_shape": (8, 3, 3, 3), "output_shape": (2, 8, 8, 8), "stride": (2, 2),
        "padding": (1, 1), "groups": 1, "bias": False, "dtype": "float32", "mask": None, "transposed": False,
    }  # fmt: skip
    assert {name: stem[name] for name in expected} == expected


@pytest.mark.parametrize("real", [False, True])
def test_a_training_step_has_the_masks_of_the_gradients(real: bool) -> None:
    backward = [(path, each["mask"]) for path, each in run(models.Plain(), train=True, real=real) if each["mask"]]
    assert backward == [
        ("blocks.1", (True, True, True)),
        ("blocks.0", (True, True, True)),
        ("stem", (False, True, False)),
    ]
    assert [each["bias"] for _, each in run(models.Plain(), train=True, real=real)] == [False, *[True] * 4, False]
    frozen = [(path, each["mask"]) for path, each in run(models.Frozen(), train=True, real=real) if each["mask"]]
    assert frozen[0] == ("blocks.1", (True, False, False))


def test_functional_convolutions_and_shared_modules_are_named() -> None:
    paths = ["#1", "#2", "shared", "shared"]
    assert [path for path, _ in run(models.Functional())] == paths
    trained = [path for path, each in run(models.Functional(), train=True) if each["mask"]]
    assert trained == paths[::-1]


def test_autocast_and_channels_last_are_seen_at_the_kernel() -> None:
    wide = torch.zeros(2, 3, 16, 16)
    for path, each in run(models.Plain(), wide, autocast="bfloat16", channels_last=True, train=True):
        assert each["dtype"] == "bfloat16"
        assert each["input_strides"][1] == 1, path


@pytest.mark.parametrize("model", [models.Padded, models.Inference])
def test_an_input_that_is_padded_before_names_the_operator(model: type[nn.Module]) -> None:
    seen = [(path, each["padded"], each["padding"], each["input_shape"][2]) for path, each in run(model())]
    expected = [
        ("reflect", "reflection_pad2d", (0, 0), 18),
        ("same", "constant_pad_nd", (1, 1), 17),
        ("odd", None, (1, 1), 16),
        ("none", None, (0, 0), 16),
        ("around", "pad with mode circular", (0, 0), 16),
    ]
    assert seen == expected
    cast = run(model(), autocast="bfloat16")
    assert [each["padded"] for _, each in cast] == [name for _, name, *_ in expected]


@pytest.mark.parametrize("autocast", [None, "bfloat16"])
def test_checkpointed_layers_are_counted_as_often_as_they_are_computed(autocast: str | None) -> None:
    seen = [
        (path, each["again"], each["mask"] is None)
        for path, each in run(models.Checkpointed(), train=True, autocast=autocast)
    ]
    assert seen == [
        ("first", False, True),
        ("second.0", False, True),
        ("second.0", True, True),
        ("second.0", False, False),
        ("first", False, False),
    ]
    other = run(models.Checkpointed(use_reentrant=False), train=True, autocast=autocast)
    assert [path for path, each in other if each["mask"]] == ["second.0", "first"]


def test_one_image_without_a_batch() -> None:
    both = run(models.Padded(), torch.zeros(3, 16, 16))
    assert {each["unbatched"] for _, each in both} == {True}
    assert {each["input_shape"][0] for _, each in both} == {1}


@pytest.mark.parametrize("options", [{}, {"train": True}, {"train": True, "real": True}, {"channels_last": True}])
def test_a_model_in_hand_stays_as_it_was(options: dict[str, Any]) -> None:
    model = models.Caching().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    parameters, flat = list(model.parameters()), list(model.lstm._flat_weights)
    assert len(run(model, **options)) == (2 if options.get("train") else 1)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(now is then for now, then in zip(model.parameters(), parameters, strict=True))
    assert all(now is then for now, then in zip(model.lstm._flat_weights, flat, strict=True))
    assert (model.training, model.calls, model.kept, hasattr(model, "added")) == (True, [], None, False)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model._forward_hooks and not model.layer._forward_pre_hooks


def test_a_compiled_model_is_run_eagerly() -> None:
    compiled = torch.compile(models.Plain(), backend="eager")
    assert [path for path, _ in run(compiled)] == ["stem", "blocks.0", "blocks.1"]


def test_a_script_is_captured() -> None:
    with pytest.deprecated_call():
        inner = torch.jit.script(nn.Conv2d(3, 4, 3))
    assert [path for path, _ in run(nn.Sequential(inner, nn.Conv2d(4, 4, 3)))] == ["", "1"]
    with pytest.deprecated_call():
        scripted = torch.jit.trace(models.Plain().eval(), torch.zeros(models.IMAGES))
    assert [(path, each["weight_shape"]) for path, each in run(scripted)] == [
        ("#1", (8, 3, 3, 3)), ("#2", (8, 4, 1, 3)), ("#3", (8, 4, 1, 3)),
    ]  # fmt: skip


def test_images_under_vmap_are_a_batch() -> None:
    class Mapped(models.Padded):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.vmap(super().forward)(x)

    mapped = run(Mapped())
    assert {(each["unbatched"], each["input_shape"][0]) for _, each in mapped} == {(True, models.IMAGES[0])}


@pytest.mark.parametrize(
    ("model", "inputs", "options", "reason", "hint"),
    [
        (
            models.Branching,
            (2, 3, 16, 16),
            {},
            "decides on numbers that it computes, in Branching at captured",
            "--real",
        ),
        (models.Plain, (2, 4, 16, 16), {}, "failed in stem at captured_models.py", "forward takes x"),
        (models.Functional, (2, 3, 2, 2), {}, "Kernel size can't be greater than actual input size", "forward takes"),
        (models.Frozen, (2, 3, 16, 16), {"train": True}, None, None),
        (models.Plain, (1, 3, 2, 2), {"train": True}, "more than 1 value per channel", "a batch of at least 2"),
        (
            models.Inference,
            (2, 3, 16, 16),
            {"train": True},
            "no output depends on a parameter",
            "the forward pass alone",
        ),
    ],
)
def test_what_keeps_a_model_from_running(
    model: type[nn.Module], inputs: tuple[int, ...], options: dict[str, Any], reason: str | None, hint: str | None
) -> None:
    if reason is None:
        assert run(model(), torch.zeros(inputs), **options)
        return
    with pytest.raises(CaptureError) as raised:
        run(model(), torch.zeros(inputs), **options)
    assert reason in raised.value.reason
    assert hint is not None and hint in str(raised.value.hint)


def test_an_operator_of_unknown_shape_is_named() -> None:
    library = torch.library.Library("convbench_test", "FRAGMENT")
    library.define("unknown(Tensor x) -> Tensor")
    library.impl("unknown", lambda x: x.clone(), "CPU")

    class Custom(models.Plain):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(torch.ops.convbench_test.unknown(x))

    with pytest.raises(CaptureError, match=r"convbench_test.unknown") as raised:
        run(Custom())
    assert "register_fake" in str(raised.value.hint)
    assert len(run(Custom(), real=True)) == 3


def test_a_custom_operator_without_a_fake_is_named() -> None:
    @torch.library.custom_op("convbench_test::no_fake", mutates_args=())
    def no_fake(x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    class Custom(models.Plain):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(no_fake(x))

    with pytest.raises(
        CaptureError, match=r"operator returns is not known, in Custom at .*convbench_test::no_fake"
    ) as raised:
        run(Custom())
    assert "register_fake" in str(raised.value.hint) and "--real" in str(raised.value.hint)
    assert len(run(Custom(), real=True)) == 3


def test_a_model_that_reads_the_memory_of_a_tensor_runs_on_real_ones() -> None:
    class ThroughNumpy(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(x.numpy().copy())

    class Model(models.Plain):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(ThroughNumpy.apply(x))

    with pytest.raises(CaptureError, match="reads the memory of a tensor") as raised:
        run(Model())
    assert "--real" in str(raised.value.hint)
    assert len(run(Model(), real=True)) == 3


def test_a_model_that_decides_on_numbers_runs_on_real_ones() -> None:
    assert [path for path, _ in run(models.Branching(), real=True)] == ["layer"]


# By name


def test_a_model_is_built_without_weights() -> None:
    answer = answered("Large")
    assert (answer["for_real"], answer["parameters"]) == (None, 10_000_000_112)


def test_a_model_that_needs_its_weights_is_built_with_them() -> None:
    answer = answered("Reading")
    assert "item" in answer["for_real"]
    assert [path for path, _ in found(answer)] == ["layer"]
    viewing = answered("Viewing")
    assert "meta" in viewing["for_real"]
    assert [path for path, _ in found(viewing)] == ["layer"]


@pytest.mark.parametrize("name", ["Plain", "plain", "in_hand"])
def test_a_class_a_function_and_a_module_are_models(name: str) -> None:
    answer = answered(name, arguments={} if name == "in_hand" else {"width": 8})
    assert [path for path, _ in found(answer)] == ["stem", "blocks.0", "blocks.1"]


def test_inputs_by_name_and_by_a_function() -> None:
    named = [["x", [2, 3, 8, 8], "float32"], ["ids", [2], "int64"]]
    by_shape = answered("Named", inputs=named)
    assert by_shape == answered("Named", inputs=[], inputs_from=f"{FILE}:batch")


def test_a_file_that_has_the_model_and_its_inputs_runs_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    path = tmp_path / "runs_once.py"
    content = """
        import pathlib, torch
        pathlib.Path(__file__ + ".ran").touch(exist_ok=False)
        Net, batch = torch.nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 8, 8)
    """
    path.write_text(textwrap.dedent(content), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    answer = answered("", model="runs_once.py:Net", inputs=[], inputs_from=f"{path}:batch")
    assert [path for path, _ in found(answer)] == [""]


def test_a_class_with_a_configuration_gets_one_of_the_arguments() -> None:
    class Configuration:
        def __init__(self, width: int = 4) -> None:
            self.width = width

    class Configured(models.Plain):
        config_class = Configuration

        def __init__(self, config: Configuration) -> None:
            super().__init__(config.width)

    assert building.model(Configured, {"width": 6}).stem.out_channels == 6
    failed = building_failed(ValueError("no"), Configured)
    assert failed.hint == "--arg NAME=VALUE gives the arguments of Configuration: width=4"


@pytest.mark.parametrize(
    ("name", "rest", "reason", "hint"),
    [
        ("Absent", {}, f"{FILE} has no Absent", "it has Branching, Caching"),
        ("Brunching", {}, f"{FILE} has no Brunching", "did you mean Branching?"),
        ("Plain", {"inputs": [[None, [2**31 - 1] * 4, "float32"]]}, "the inputs cannot be made", "give smaller sizes"),
        ("fails", {}, "building it failed at captured_models.py", "call it in Python"),
        ("compiles", {}, "CUDA_HOME environment variable is not set", "its kernels need a graphics processor"),
        ("lacks", {}, "No module named 'no_such_package'", "install what provides no_such_package"),
        ("number", {}, "is of type int; expected a module", None),
        ("pair", {}, "returned an object of type tuple; expected a torch.nn.Module", "returns the module alone"),
        ("in_hand", {"arguments": {"width": 3}}, "is a module already", "give it none"),
        ("Plain", {"arguments": {"depth": 3}}, "unexpected keyword argument 'depth'", "its arguments: width=8"),
        ("Plain", {"inputs_from": f"{FILE}:absent"}, "has no absent", None),
        ("Plain", {"inputs_from": f"{FILE}:plain"}, "plain failed", "called without arguments"),
    ],
)
def test_what_cannot_be_built(name: str, rest: dict[str, Any], reason: str, hint: str | None) -> None:
    with pytest.raises(CaptureError) as raised:
        answered(name, **rest)
    assert reason in raised.value.reason
    assert hint is None or hint in str(raised.value.hint)


def test_a_graphics_processor_is_not_needed() -> None:
    class Elsewhere(models.Plain):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise AssertionError("Torch not compiled with CUDA enabled")

    for attempt in (lambda: run(Elsewhere()), lambda: building.inputs([], f"{FILE}:on_gpu")):
        with pytest.raises(CaptureError, match="CUDA") as raised:
            attempt()
        assert raised.value.hint == "a capture runs on the processor: build the model without a device of its own"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("import no_such_module\n", "cannot import {path} at broken.py:1: ModuleNotFoundError: No module named"),
        ("x = = 1\n", "SyntaxError"),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3"),
    ],
)
def test_what_cannot_be_imported(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, content: str, reason: str) -> None:
    path = tmp_path / "broken.py"
    path.write_text(content, encoding="utf-8")
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(CaptureError) as raised:
        building.found(f"{path}:Net")
    assert reason.format(path=path) in raised.value.reason
    assert raised.value.hint and ("install what provides no_such_module" in raised.value.hint) == (
        "import no" in content
    )


def test_what_is_not_there_is_looked_for_under_similar_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name, content in (("nets.py", ""), ("empty.py", " \n"), ("plain.py", "import os\n")):
        (tmp_path / name).write_text(content, encoding="utf-8")

    def refused(name: str) -> tuple[str, str]:
        with pytest.raises(CaptureError) as raised:
            building.found(name)
        return raised.value.reason, str(raised.value.hint)

    absent = tmp_path / "net.py"
    assert refused(f"{absent}:Net") == (f"{absent}: no such file", "did you mean nets.py?")
    assert refused(f"{tmp_path}/zzz.py:Net")[1] == f"this folder is {Path.cwd()}"
    assert refused(f"{tmp_path}/empty.py:Net")[0] == f"{tmp_path}/empty.py is empty"
    assert refused(f"{tmp_path}/plain.py:Net") == (
        f"{tmp_path}/plain.py has no Net", "it defines no class and no function"
    )  # fmt: skip
    assert refused("no_such_package:Net") == (
        "no module is called no_such_package", "install it in this environment, or name a file: path/to/net.py:Net"
    )  # fmt: skip
    assert refused("captured_model:Net")[1] == "did you mean captured_models?"
    assert refused("torch.no_such_part:Net")[0] == "no module is called torch.no_such_part"
    assert refused("torch.nn:Conv2dd") == ("torch.nn has no Conv2dd", "did you mean Conv2d, Conv3d or Conv1d?")
    (tmp_path / "others.py").write_text("from os.path import join\n", encoding="utf-8")
    assert "none of its 1 names is similar: python -c 'import others;" in refused(f"{tmp_path}/others.py:Net")[1]
