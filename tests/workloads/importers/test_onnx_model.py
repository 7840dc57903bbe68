"""ONNX files: the networks in onnx's own package, and small graphs made here."""

from __future__ import annotations

import sys
from pathlib import Path

import onnx
import pytest
from imports import layer, read
from onnx import TensorProto, helper

from convbench.errors import RequestError
from convbench.model.case import Case
from convbench.model.operators.given import PaddingWord

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
#: How many convolutions each network has, and how many differ.
NETWORKS = {
    "bvlc_alexnet": (5, 5),
    "densenet121": (121, 67),
    "inception_v1": (57, 49),
    "inception_v2": (69, 38),
    "resnet50": (53, 23),
    "shufflenet": (49, 14),
    "squeezenet": (26, 18),
    "vgg19": (16, 9),
    "zfnet512": (5, 4),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_onnx_without_weights(name: str) -> None:
    content = (LIGHT / f"light_{name}.onnx").read_bytes()
    made = read(content)
    counts = sum(node.op_type == "Conv" for node in onnx.load_model_from_string(content).graph.node)
    assert (made.read, made.distinct, made.refused) == (*NETWORKS[name], ())
    assert made.read == counts
    assert len({case.given_label for case in made.cases}) == counts


def node(
    kind: str = "Conv", inputs: str = "x w", name: str = "conv", output: str = "y", **given: object
) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], name=name, **given)


def value(name: str, *shape: int | str | None, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def model(
    *nodes: onnx.NodeProto, inputs: list[onnx.ValueInfoProto] | None = None, weight: tuple[int, ...] = (6, 4, 3, 3)
) -> bytes:
    """A graph whose weight `w` has values; `x` is 2x4x9x8 unless `inputs` says otherwise."""
    size = 1
    for each in weight:
        size *= each
    tensor = helper.make_tensor("w", TensorProto.FLOAT, weight, [0.0] * size)
    graph = helper.make_graph(list(nodes), "g", inputs or [value("x", 2, 4, 9, 8)], [value("y", *[None] * 4)], [tensor])
    made = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)], ir_version=8
    )
    return bytes(made.SerializeToString())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {}),
        (
            {"strides": [1, 2], "pads": [1, 2, 1, 2], "dilations": [2, 1]},
            {"stride": (1, 2), "padding": (1, 2), "dilation": (2, 1)},
        ),
        ({"auto_pad": "VALID"}, {}),
        ({"auto_pad": "SAME_UPPER"}, {"padding": PaddingWord.SAME}),
        ({"auto_pad": "SAME_LOWER"}, {"padding": (1, 1)}),
        ({"auto_pad": "SAME_UPPER", "strides": [2, 1]}, {"padding": (1, 1), "stride": (2, 1)}),
        ({"auto_pad": "NOTSET", "pads": [1, 0, 1, 0], "kernel_shape": [3, 3]}, {"padding": (1, 0)}),
    ],
)
def test_attributes_and_their_defaults(given: dict[str, object], expected: dict[str, object]) -> None:
    [case] = read(model(node(**given))).cases
    assert case == Case(problem=layer((4, 6), 3, (9, 8), bias=False, batch_size=2, **expected))
    assert case.given_label == "conv"


def test_groups_bias_dtype_and_weights_among_the_inputs() -> None:
    half = TensorProto.FLOAT16
    shapes = [value("x", 2, 4, 9, 8, kind=half), value("v", 8, 2, 3, 3, kind=half), value("b", 8, kind=half)]
    [case] = read(model(node(inputs="x v b", group=2, name=""), inputs=shapes)).cases
    problem = layer((4, 8), 3, (9, 8), groups=2, batch_size=2)
    assert (case, case.given_label) == (Case(problem=problem, dtype="float16"), "y")


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (node(pads=[0, 0, 1, 1]), "its padding differs between two sides"),
        (node(auto_pad="SAME_UPPER", strides=[1, 2]), "its padding differs between two sides"),
        (node("ConvTranspose"), "it is transposed"),
        (node("QLinearConv", domain="com.microsoft"), "its dtype is an integer"),
        (node("FusedConv", domain="com.microsoft"), "its operator FusedConv is not Conv"),
        (node(group=2), "its input has not the channels that its weight needs"),
    ],
)
def test_a_node_that_is_no_layer_is_refused_by_its_name(other: onnx.NodeProto, reason: str) -> None:
    other.name, other.output[0] = "odd", "z"
    [refused] = read(model(node(), other)).refused
    assert (refused.place, refused.reason[: len(reason)]) == ("node odd", reason)


def test_a_convolution_in_a_branch_is_refused() -> None:
    branch = helper.make_graph([node(name="inner", output="b")], "branch", [], [value("b", *[None] * 4)])
    choice = helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch)
    inputs = [value("x", 2, 4, 9, 8), value("c", kind=TensorProto.BOOL)]
    made = read(model(node(), choice, inputs=inputs))
    assert made.reasons == {"it is in a branch or a loop: how often it runs is not known": 2}


def test_symbols_get_numbers_by_their_names() -> None:
    content = model(node(pads=[1] * 4), inputs=[value("x", "batch", 4, None, 8)])
    with pytest.raises(RequestError) as error:
        read(content)
    assert error.value.message == "given has sizes that are symbols: batch, x.2"
    assert error.value.hint == "give each a number: --size batch=1 --size x.2=1"
    [case] = read(content, **{"batch": 3, "x.2": 9}).cases
    assert case == Case(problem=layer((4, 6), 3, (9, 8), padding=1, bias=False, batch_size=3))
    with pytest.raises(RequestError, match="--size bach: no size of given has this name"):
        read(content, bach=3)
    with pytest.raises(RequestError, match=r"symbols: batch$"):
        read(content, **{"x.2": 9})


WHOLE = model(node())


def test_a_file_is_found_by_its_first_fields_though_no_byte_in_it_is_zero() -> None:
    graph = helper.make_graph(
        [node(pads=[1, 1, 1, 1])], "g", [value("x", 2, 4, 9, 8), value("w", 6, 4, 3, 3)], [value("y", 2, 6, 9, 8)]
    )
    content = helper.make_model(graph, ir_version=8).SerializeToString()
    assert b"\0" not in content
    assert read(content).read == 1
    with pytest.raises(RequestError, match="in no format that convbench finds"):
        read(b"\x08\x08\x08 10/10 - loss: 0.3\n")


@pytest.mark.parametrize("content", [WHOLE[:-20], WHOLE[: len(WHOLE) // 2], b"\x08\x07\x00" + bytes(99)])
def test_a_file_that_is_cut_is_one_error(content: bytes) -> None:
    with pytest.raises(RequestError, match="given is no complete ONNX file"):
        read(content, "onnx")


def test_a_newer_version_is_one_error() -> None:
    made = onnx.load_model_from_string(WHOLE)
    made.opset_import[0].version = 9999
    with pytest.raises(RequestError, match="of version 9999 of ONNX's operators"):
        read(made.SerializeToString())


def test_without_the_package_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(RequestError) as error:
        read(WHOLE)
    assert error.value.hint == "pip install 'convbench[onnx]'"
