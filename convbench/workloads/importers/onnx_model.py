"""ONNX files: each node `Conv` with the sizes that shape inference finds. Needs the package onnx, and no weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from convbench import units
from convbench.errors import RequestError
from convbench.model.case import Case
from convbench.model.operators.given import PaddingWord
from convbench.workloads.importers.layers import (
    TRANSPOSED,
    UNEQUAL_PADS,
    Found,
    Layer,
    NotTakenError,
    dtype_of,
    label_of,
    problem,
)
from convbench.workloads.importers.source import Source
from convbench.workloads.workload import Refused

if TYPE_CHECKING:
    import onnx

EXAMPLE = "model.onnx, a binary file"
SUBJECT = "the file"
#: Values of a tensor that are kept: shape inference reads short ones, such as the shape for a Reshape.
MOST_VALUES = 1024
#: Operators with Conv in their name that are no convolution of floating-point numbers.
OTHERS: Mapping[str, str] = {
    "ConvTranspose": TRANSPOSED,
    "ConvInteger": "its dtype is an integer",
    "QLinearConv": "its dtype is an integer",
}
_IN_BRANCH = "it is in a branch or a loop: how often it runs is not known"
#: The bytes with which the second field of a model begins: producer, domain, version, text, graph or operators.
_NEXT_FIELDS = b"\x12\x1a\x22\x28\x32\x3a\x42"
#: A shape: a number for each dimension, None where it is not known.
_Shape = tuple[int | None, ...]


def detects(source: Source) -> bool:
    """Whether the first field of the file is the version of ONNX's format, and the next another field of a model."""
    head = source.head
    return len(head) > 2 and head[0] == 0x08 and head[1] < 32 and head[2] in _NEXT_FIELDS


def read(source: Source, sizes: Mapping[str, int]) -> Iterator[Found]:
    """Each convolution of the graph. `sizes` are numbers for sizes that are symbols, by their names.

    Raises RequestError where onnx is missing, where it cannot read the file, and where a symbol has no number.
    """
    model = _loaded(source)
    unknown = _with_sizes(model.graph, sizes, source.name)
    model = _inferred(model, source.name)
    initial = {each.name for each in model.graph.initializer}
    tensors = _tensors(model.graph)
    lacking = False
    for node, nested in _nodes(model.graph, nested=False):
        if "Conv" not in node.op_type:
            continue
        place = f"node {units.line(node.name or (node.output[0] if node.output else ''), most=100)}"
        try:
            yield _layer(node, tensors, nested=nested)
        except _UnknownSizeError as error:
            lacking = True
            yield Refused(place=place, reason=str(error))
        except NotTakenError as error:
            yield Refused(place=place, reason=str(error))
    if lacking and (symbols := [name for name in unknown if name.rpartition(".")[0] not in initial]):
        flags = " ".join(f"--size {units.line(name, most=60)}=1" for name in symbols[:4])
        message = f"{source.name} has sizes that are symbols: {', '.join(map(units.line, symbols[:10]))}"
        raise RequestError(message, hint=f"give each a number: {flags}")


class _UnknownSizeError(NotTakenError):
    """Shape inference finds no number for a size."""


def _loaded(source: Source) -> onnx.ModelProto:
    try:
        import onnx
    except ImportError:
        raise RequestError("ONNX files need the package onnx", hint="pip install 'convbench[onnx]'") from None
    from google.protobuf.message import DecodeError

    content = source.read_all()
    try:
        model = onnx.load_model_from_string(content)
    except DecodeError:
        hint = "the file was cut or is of another kind: export it again"
        raise RequestError(f"{source.name} is no complete ONNX file", hint=hint) from None
    if not model.graph.node:
        raise RequestError(f"{source.name} has no graph", hint="export the model again")
    _check_version(model, source.name)
    for tensor in model.graph.initializer:
        if _elements(tensor.dims) > MOST_VALUES:
            for field in ("raw_data", "float_data", "double_data", "int32_data", "external_data"):
                tensor.ClearField(field)
            tensor.data_location = onnx.TensorProto.DEFAULT
    return model


def _check_version(model: onnx.ModelProto, name: str) -> None:
    """Raise RequestError for operators of a version that the installed onnx does not know: they may mean otherwise."""
    import onnx

    known = onnx.defs.onnx_opset_version()
    version = max((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), default=known)
    if version > known:
        message = f"{name} is of version {version} of ONNX's operators, and onnx {onnx.__version__} knows {known}"
        raise RequestError(message, hint="pip install -U onnx, or export the model for an older version")


def _elements(dims: Sequence[int]) -> int:
    number = 1
    for each in dims:
        number *= each
    return number


def _inferred(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The model with the shapes of its tensors, and its functions in the places of their calls."""
    import onnx
    from onnx import inliner, shape_inference

    try:
        if model.functions:
            model = inliner.inline_local_functions(model)
        return shape_inference.infer_shapes(model, data_prop=True)
    except (onnx.checker.ValidationError, shape_inference.InferenceError, RuntimeError, ValueError) as error:
        why = units.flat(str(error))[:200]
        hint = "its version may be newer: pip install -U onnx; or export the model for an older one"
        raise RequestError(f"onnx {onnx.__version__} cannot find the shapes of {name}: {why}", hint=hint) from None


def _with_sizes(graph: onnx.GraphProto, sizes: Mapping[str, int], name: str) -> list[str]:
    """Put the numbers into the shapes of the inputs; returns the names of sizes that are still symbols.

    A size without a name is called by its input and its place: `data.0`. Raises RequestError for a name that no size
    has.
    """
    known: dict[str, None] = {}
    unknown: dict[str, None] = {}
    for each in graph.input:
        for at, dimension in enumerate(each.type.tensor_type.shape.dim):
            if dimension.HasField("dim_value") and dimension.dim_value > 0:
                continue
            symbol = dimension.dim_param or f"{each.name}.{at}"
            known[symbol] = None
            if symbol in sizes:
                dimension.dim_value = sizes[symbol]
            else:
                unknown[symbol] = None
    for each in (*graph.value_info, *graph.output):
        for dimension in each.type.tensor_type.shape.dim:
            if dimension.dim_param in sizes:
                dimension.dim_value = sizes[dimension.dim_param]
    wrong = [size for size in sizes if size not in known]
    if wrong:
        others = f"its symbols are {', '.join(map(units.line, known))}" if known else "all its sizes are numbers"
        raise RequestError(f"--size {wrong[0]}: no size of {name} has this name", hint=others)
    return list(unknown)


def _tensors(graph: onnx.GraphProto) -> dict[str, tuple[int, _Shape]]:
    """The type of elements and the shape of each tensor by its name, also of those in branches."""
    found: dict[str, tuple[int, _Shape]] = {}
    for each in (*graph.input, *graph.value_info, *graph.output):
        kind = each.type.tensor_type
        if kind.HasField("shape"):
            dims = tuple(d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)
            found[each.name] = (kind.elem_type, dims)
    for tensor in graph.initializer:
        found[tensor.name] = (tensor.data_type, tuple(tensor.dims))
    return found


def _nodes(graph: onnx.GraphProto, *, nested: bool) -> Iterator[tuple[onnx.NodeProto, bool]]:
    """Each node, and whether it is in a branch or a loop."""
    for node in graph.node:
        yield node, nested
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner, nested=True)


def _layer(node: onnx.NodeProto, tensors: Mapping[str, tuple[int, _Shape]], *, nested: bool) -> Layer:
    if node.op_type != "Conv" or node.domain not in ("", "ai.onnx"):
        raise NotTakenError(OTHERS.get(node.op_type, f"its operator {units.line(node.op_type, most=40)} is not Conv"))
    if nested:
        raise NotTakenError(_IN_BRANCH)
    if len(node.input) < 2:
        raise NotTakenError("it has no weight")
    kind, x = _tensor(node.input[0], tensors)
    of_weight, weight = _tensor(node.input[1], tensors)
    rank = len(weight) - 2
    if rank < 1 or len(x) != rank + 2:
        raise NotTakenError("its input and its weight have different numbers of dimensions")
    given = {each.name: each for each in node.attribute}

    def numbers(name: str, default: int, times: int = 1) -> list[int]:
        return list(given[name].ints) if name in given else [default] * (rank * times)

    stride, dilation = numbers("strides", 1), numbers("dilations", 1)
    groups = given["group"].i if "group" in given else 1
    if weight[1] * groups != x[1]:
        raise NotTakenError("its input has not the channels that its weight needs")
    auto = given["auto_pad"].s.decode(errors="replace") if "auto_pad" in given else "NOTSET"
    padding = (
        _explicit(numbers("pads", 0, 2), rank)
        if auto == "NOTSET"
        else _automatic(auto, x[2:], weight[2:], stride, dilation)
    )
    made = problem(
        in_channels=x[1],
        out_channels=weight[0],
        kernel_size=weight[2:],
        input_size=x[2:],
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=len(node.input) > 2 and bool(node.input[2]),
        batch_size=x[0],
    )
    label = label_of(node.name or node.output[0])
    return Layer(case=Case(problem=made, dtype=dtype_of(_name(kind), _name(of_weight)), given_label=label))


def _name(kind: int) -> str:
    import onnx

    return onnx.TensorProto.DataType.Name(kind) if kind in onnx.TensorProto.DataType.values() else str(kind)


def _tensor(name: str, tensors: Mapping[str, tuple[int, _Shape]]) -> tuple[int, tuple[int, ...]]:
    kind, shape = tensors.get(name, (0, (None,)))
    if any(size is None for size in shape):
        raise _UnknownSizeError("shape inference finds no size for its input or its weight")
    return kind, tuple(size or 0 for size in shape)


def _explicit(pads: list[int], rank: int) -> list[int]:
    """The padding of `pads`, which are those before all dimensions, and then those behind."""
    if len(pads) != 2 * rank or pads[:rank] != pads[rank:]:
        raise NotTakenError(UNEQUAL_PADS)
    return pads[:rank]


def _automatic(
    word: str, size: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> list[int] | PaddingWord:
    """The padding that a word stands for (ONNX's operator Conv). At stride 1, SAME_UPPER is torch's `same`."""
    if word == "VALID":
        return [0] * len(size)
    if word not in ("SAME_UPPER", "SAME_LOWER"):
        raise NotTakenError("its auto_pad is not known")
    if word == "SAME_UPPER" and set(stride) == {1}:
        return PaddingWord.SAME
    totals = [
        max((-(-i // s) - 1) * s + (k - 1) * d + 1 - i, 0)
        for i, k, s, d in zip(size, kernel, stride, dilation, strict=True)
    ]
    if any(total % 2 for total in totals):
        raise NotTakenError(UNEQUAL_PADS)
    return [total // 2 for total in totals]
