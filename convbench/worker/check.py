"""Decides whether a layer is right, on the very callable and tensors that are timed. docs/checks.md explains how.

The reference itself stands in reference.py; here stand the integers, the bounds that make them exact, and the verdict.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from . import reference
from .integers import PRODUCES, Data, Draw, exact_limit, geometry, integers
from .layer import SIGNIFICANT_BITS, Layer, Spec

#: Half the distance from 1 to the next larger number: the unit of `Outcome.max_error`.
ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
#: ||y - ref|| / ||ref|| allowed to Winograd and FFT kernels. The large tiles, F(4x4) and F(6x6), lose two to three
#: digits of float32; in float16 and bfloat16 the transformed tiles are rounded once more.
NORMWISE = {"float64": 1e-12, "float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}

#: ||y - ref|| / ||ref|| on the random data that is timed, beyond which a layer is wrong although it is right on
#: integers (it keeps an old result, say, or drops small numbers). float32 and float64 allow for operands and results
#: rounded to bfloat16 (seen: 7.5e-3), float16 for sums kept in float16. Honest bfloat16 was seen at 5.3e-3.
ON_TIMED_DATA = {"float64": 0.012, "float32": 0.012, "float16": 0.03, "bfloat16": 0.015}

#: The same distance, beyond which a layer that is right has less precision than was asked for: by dtype, or by what
#: torch resolved the precision of float32 to. Honest kernels were seen at 2.5e-14 (float64), 1.2e-5 (float32) and
#: 1.0e-3 (TF32, operands cut off); the next coarser format gives 5e-8, 2.6e-4 (TF32) and 2.1e-3 (bfloat16). What is
#: missing here cannot be told from something coarser, or is the coarsest.
PRECISE = {"float64": 1e-11, "float32": 1e-4, "tf32": 1.5e-3}
#: The sums of magnitudes up to which integers are exact even in bfloat16: a layer that is exact on these and inexact on
#: larger ones has less precision than its dtype.
COARSEST_EXACT = 1 << SIGNIFICANT_BITS["bfloat16"]
#: Rounding touches every element: half of them are at least this share of the root mean square off (normally
#: distributed errors: 0.67). A mistake in some elements leaves most of them alone.
EVERYWHERE = 0.05
#: What gives a distance of at most so much, in words; bfloat16 gives more.
COARSER = ((1e-4, "float32"), (1.5e-3, "TF32 or float16"))

#: Turns of thinned weights at most: a filter of 4,000 weights alone in its layer needs 32 in bfloat16.
MOST_TURNS = 32
_LARGEST_WEIGHT = 2**13 - 1  # of the checksum: 4096 odd numbers of each sign
_GATHERED = 2**17  # numbers read for the elements that are compared one by one
_GRADIENT_PRODUCTS = 2e7  # multiply-adds for the elements of grad_weight that are compared one by one
_POISONED_TWICE_BYTES = 2**23
_SPOILED_CALLS = 2  # of a layer that reuses its memory: it may compute at every second call alone


class Outcome(NamedTuple):
    """What the check found; `reason` is None where all is right.

    `max_error` is the largest error over a sample of the data that is timed, in units of the dtype's roundoff
    (`_relative`); None where the layer could not be compared. `elements` were compared one by one. `results` are those
    of the layer's own data, empty where something is wrong. `imprecise` says why a layer that is right has less
    precision than was asked for, `note` what is unusual about it and no mistake; None where nothing is.
    """

    output_shape: tuple[int, ...] | None
    max_error: float | None
    elements: int
    method: str
    reason: str | None
    results: dict[str, Tensor]
    imprecise: str | None = None
    note: str | None = None


class Compared(NamedTuple):
    """Elements compared one by one: their indices (n, dimensions), what was found and what it should be, float64."""

    indices: Tensor
    found: Tensor
    expected: Tensor


def check(layer: Layer, *, implementation: str | None = None, precision: str | None = None) -> Outcome:
    """Check shapes and values of everything that `layer.step` produces; the layer's random data is put back.

    `implementation` names the kernel: those that are not exact on integers (Winograd, FFT) are judged normwise.
    `precision` is what torch resolved the precision of float32 to (`ieee`, `tf32`, `bf16`): float32 may be as coarse.
    Raises what the step raises.
    """
    name = (implementation or "").lower()
    method = "normwise" if "winograd" in name or "fft" in name else "exact"
    spec = layer.spec
    built = _built(layer)
    shape = None if built is None else tuple(built.shape)
    misbuilt = _misbuilt(layer)
    if misbuilt:
        return Outcome(shape, None, 0, method, misbuilt, {})

    random = {key: tensor.detach().clone() for key, tensor in layer.operands.tensors().items()}
    exact = _on_integers(layer, method, exact_limit(spec))
    may_be_coarse = method == "exact" and spec.coarsest_dtype in PRECISE
    is_coarse = bool(exact.reasons and may_be_coarse and not _on_integers(layer, method, COARSEST_EXACT).reasons)
    with torch.no_grad():
        _fill(layer, random)
    wrong = Outcome(exact.shape or shape, None, exact.elements, method, "; ".join(exact.reasons), {}, note=exact.note)
    if exact.reasons and not is_coarse:
        return wrong
    # Copies: the layer may hand out the same memory at its next call.
    results = {name: tensor.detach().clone() for name, tensor in layer.results().items()}
    found = _accuracy(layer, results, random)
    imprecise = _imprecise(spec, found, precision)
    if is_coarse and (found.reasons or imprecise is None or not found.everywhere):
        return wrong
    if found.reasons:
        return wrong._replace(reason="; ".join(found.reasons))
    told = None if imprecise is None else "; ".join([imprecise, *exact.reasons])
    return wrong._replace(max_error=found.max_error, reason=None, results=results, imprecise=told)


class OnIntegers(NamedTuple):
    """What the layer did on integers: the shape of its output, elements compared, what is wrong, what is unusual."""

    shape: tuple[int, ...] | None
    elements: int
    reasons: list[str]
    note: str | None


def _on_integers(layer: Layer, method: str, limit: int) -> OnIntegers:
    """Judge the layer on integers whose sums are at most `limit`, in all turns; they stay in its operands."""
    data = _fill_integers(layer, 0, limit)
    _poison(layer)
    first = layer.results()
    shape = tuple(first["output"].shape) if "output" in first else None
    compared, reasons = _judge(layer.spec, first, data, method)
    note: str | None = None
    if not reasons:
        reasons, reused = _changed(layer, first, data, method)
        note = f"returns the same buffer for {' and '.join(reused)} at every call" if reused else None
    del first
    for turn in range(1, min(data.turns, MOST_TURNS)):
        if not reasons:
            data = _fill_integers(layer, turn, limit)
            count, reasons = _judge(layer.spec, layer.results(), data, method)
            compared += count
    return OnIntegers(shape, compared, reasons, note)


def _fill_integers(layer: Layer, turn: int, limit: int) -> Data:
    """Put the integers of a turn into the layer's operands."""
    data = integers(layer.spec, turn, limit)
    with torch.no_grad():
        _fill(layer, {"x": data.x, "weight": data.weight, "bias": data.bias, "g": data.g})
    return data


def still_right(layer: Layer, before: dict[str, Tensor]) -> str | None:
    """What is wrong where the layer no longer gives the results it gave `before` it was timed; None if all is well.

    The input is negated (the upstream gradient, where gradients are all there is), which negates what is linear in it;
    the operands are put back.
    """
    operands, spec = layer.operands, layer.spec
    turned = operands.x if "output" in PRODUCES[spec.direction] else operands.g
    assert turned is not None
    turned.data.neg_()
    layer.rebuild()
    after = layer.results()
    turned.data.neg_()
    layer.rebuild()
    for name, was in before.items():
        expected = -was
        if name == "output" and operands.bias is not None:
            expected = expected + 2 * operands.bias.detach().to(was.dtype).view(-1, *(1 for _ in spec.kernel_size))
        elif turned is operands.x and name in ("grad_input", "grad_bias"):
            expected = was
        found = after.get(name)
        if found is None or found.shape != was.shape:
            return f"{name} was right before it was timed and has another shape afterwards"
        wide = _wide(expected)
        # 2b - y may cancel: what is left of its rounding is held against y itself.
        norm = max(float(torch.linalg.vector_norm(tensor)) for tensor in (wide, _wide(was)))
        least = _least_scale(spec) * math.sqrt(was.numel())
        distance = float(torch.linalg.vector_norm(_wide(found) - wide)) / max(norm, least)
        if not distance <= ON_TIMED_DATA[spec.coarsest_dtype]:
            return f"{name} was right before it was timed and is {distance:.2g} of its norm away from that afterwards"
    return None


# --- the layer ------------------------------------------------------------------------------------------------------


def _built(layer: Layer) -> Tensor | None:
    """What forward gave when the layer was built, or what has its shape; None where nothing has."""
    return layer.operands.g if layer.operands.y is None else layer.operands.y


def _misbuilt(layer: Layer) -> str | None:
    """What is wrong with the layer before anything runs: shapes, dtypes and devices of its tensors."""
    spec = layer.spec
    if spec.bias != (layer.operands.bias is not None):
        return "bias is missing" if spec.bias else "bias is there, should be none"
    expected = {"weight": spec.weight_shape, "bias": (spec.out_channels,), "x": spec.input_shape}
    named = {**layer.operands.tensors(), "output": _built(layer)}
    expected["output"] = spec.output_shape
    for name, shape in expected.items():
        tensor = named.get(name)
        if tensor is not None:
            wrong = _unlike(name, tensor, shape, spec)
            if wrong:
                return wrong
    return None


def _unlike(name: str, tensor: Tensor, shape: tuple[int, ...], spec: Spec) -> str | None:
    dtype = str(tensor.dtype).replace("torch.", "")
    expected = spec.compute_dtype if name == "output" else spec.dtype
    if tuple(tensor.shape) != tuple(shape):
        return f"{name} has shape {_shape(tensor.shape)}, should be {_shape(shape)}"
    if dtype != expected:
        return f"{name} has dtype {dtype}, should be {expected}"
    if spec.device.partition(":")[0] not in (tensor.device.type, "accelerator"):
        return f"{name} is on {tensor.device.type}, should be on {spec.device}"
    return None


def _fill(layer: Layer, values: dict[str, Tensor | None] | dict[str, Tensor]) -> None:
    """Copy values into the layer's own tensors, whatever their memory format, and build its graph anew.

    Through `data`, which leaves the tensors' versions alone: a layer that keeps its last result by them is found out.
    """
    for name, tensor in layer.operands.tensors().items():
        value = values[name]
        assert value is not None
        tensor.data.copy_(value.view(tensor.shape) if value.shape != tensor.shape else value)
    for leaf in (layer.operands.x, *layer.module.parameters()):
        leaf.grad = None
    layer.rebuild()


def _poison(layer: Layer) -> None:
    """Leave NaN in freed memory of each result's size, for the allocator to hand out: what is not written shows."""
    spec = layer.spec
    shapes = _shapes(spec)
    for name in PRODUCES[spec.direction]:
        size = math.prod(shapes[name])
        x = layer.operands.x
        dtype = getattr(torch, spec.compute_dtype) if name == "output" else x.dtype
        copies = 2 if size * x.element_size() <= _POISONED_TWICE_BYTES else 1
        held = [torch.full((size,), math.nan, dtype=dtype, device=x.device) for _ in range(copies)]
        del held


def _shapes(spec: Spec) -> dict[str, tuple[int, ...]]:
    return {
        "output": spec.output_shape,
        "grad_input": spec.input_shape,
        "grad_weight": spec.weight_shape,
        "grad_bias": (spec.out_channels,),
    }


# --- the verdict ----------------------------------------------------------------------------------------------------


def _judge(spec: Spec, results: dict[str, Tensor], data: Data, method: str) -> tuple[int, list[str]]:
    """How many elements were compared, and what is wrong with each result."""
    shapes = _shapes(spec)
    compared, reasons = 0, []
    for name in PRODUCES[spec.direction]:
        if name == "grad_bias" and not spec.bias:
            continue
        if name not in results:
            reasons.append(f"{name} is missing, the step did not produce it")
            continue
        wrong = _unlike(name, results[name], shapes[name], spec)
        if wrong is None:
            count, wrong = _judge_values(spec, name, results[name], data, method)
            compared += count
        if wrong:
            reasons.append(wrong)
    return compared, reasons


def _judge_values(spec: Spec, name: str, tensor: Tensor, data: Data, method: str) -> tuple[int, str | None]:
    result = _batched(spec, name, tensor)
    draw = Draw(spec.seed + 1)
    unbatched = name in ("output", "grad_input") and spec.batch_size is None

    def tell(compared: Compared) -> str | None:
        return _difference(name, compared, spec.coarsest_dtype, unbatched)

    if name == "grad_bias":
        assert data.g is not None
        expected = reference.grad_bias(data.g)
        compared = Compared(torch.arange(len(expected)).unsqueeze(1), result.to(torch.float64), expected)
        return len(expected), _far(name, compared, spec) if method == "normwise" else tell(compared)

    part = _GradWeight(data) if name == "grad_weight" else _Correlated(data, name)
    work = torch.float32 if part.bound <= 2**24 else torch.float64
    compared = part.sample(result, draw, work)
    reason = _far(name, compared, spec) if method == "normwise" else tell(compared)
    if reason is None and method == "exact":
        fraction = _first_fraction(result)
        if fraction is not None:
            reason = tell(part.behind(result, fraction, work))
    if reason is None:
        first, second = part.weights(draw)
        difference = (reference.combine(result, first, second) - part.checksum(first, second)).abs()
        allowed = 0.0
        if method == "normwise":
            spread = float(compared.expected.square().mean().sqrt())
            allowed = 8 * NORMWISE[spec.coarsest_dtype] * spread * float(first.norm() * second.norm())
        flagged = (~(difference <= allowed)).nonzero()
        if len(flagged):
            reason = _locate(name, part, result, flagged, work, unbatched, spec, method)
    return len(compared.found), reason


def _locate(
    name: str,
    part: _Correlated | _GradWeight,
    result: Tensor,
    flagged: Tensor,
    work: torch.dtype,
    unbatched: bool,
    spec: Spec,
    method: str,
) -> str:
    """Name an element behind the checksums that differ."""
    where = f"behind {_index(flagged[0].tolist())} of its last dimensions"
    if method == "exact":
        behind = [part.behind(result, torch.cat([torch.zeros(2, dtype=torch.int64), at]), work) for at in flagged[:8]]
        joined = Compared(*(torch.cat(columns) for columns in zip(*behind)))
        reason = _difference(name, joined, spec.coarsest_dtype, unbatched)
        if reason is not None:
            return reason
    return f"{name} does not add up {where} ({len(flagged)} checksums differ)"


class _Correlated:
    """The output, or the gradient of the input."""

    def __init__(self, data: Data, name: str) -> None:
        self.of = _correlation(data, name)
        weight = self.of.weight.abs()
        largest = 2 if name == "output" else data.shape.meetings
        over = (1, *range(3, weight.dim()))
        self.bound = float(weight.sum(over).max()) * largest + (0 if self.of.bias is None else 4)
        self.images, self.groups, self.results = self.of.source.shape[0], weight.shape[0], weight.shape[2]

    def weights(self, draw: Draw) -> tuple[Tensor, Tensor]:
        channels = self.groups * self.results
        largest = _largest(self.images * channels * self.bound)
        return _odd(draw, self.images, largest), _odd(draw, channels, largest)

    def checksum(self, first: Tensor, second: Tensor) -> Tensor:
        return reference.checksum(self.of, first, second)

    def sample(self, result: Tensor, draw: Draw, work: torch.dtype) -> Compared:
        places = _places(self.of, draw, _GATHERED)
        return self._compare(result, places, work)

    def behind(self, result: Tensor, index: Tensor, work: torch.dtype) -> Compared:
        """Every image and channel at the position of `index` (image, channel, *position)."""
        position = tuple(at.expand(self.images) for at in index[2:])
        return self._compare(
            result, reference.Places(torch.arange(self.images), position, torch.arange(self.results)), work
        )

    def _compare(self, result: Tensor, places: reference.Places, work: torch.dtype) -> Compared:
        expected = reference.elements(self.of, places, work)
        return _compared(result, places, expected)


class _GradWeight:
    """The gradient of the weight."""

    def __init__(self, data: Data) -> None:
        assert data.g is not None
        self.x, self.g, self.shape, self.groups = data.x, data.g, data.shape, data.groups
        self.outputs, self.inputs = self.g.shape[1], self.x.shape[1] // self.groups
        self.bound = 2 * self.g.numel() / self.outputs

    def weights(self, draw: Draw) -> tuple[Tensor, Tensor]:
        largest = _largest(self.outputs * self.inputs * self.bound)
        return _odd(draw, self.outputs, largest), _odd(draw, self.inputs, largest)

    def checksum(self, first: Tensor, second: Tensor) -> Tensor:
        return reference.grad_weight_checksum(self.x, self.g, self.shape, self.groups, first, second)

    def sample(self, result: Tensor, draw: Draw, work: torch.dtype) -> Compared:
        """Every output channel at some pairs of input channel and tap: all of them, where they are few."""
        pairs = _pairs(draw, self.inputs, self.shape.kernel, int(_GRADIENT_PRODUCTS / self.g.numel()))
        parts = [self._compare(result, tap, torch.tensor([channel]), work) for channel, tap in pairs]
        return Compared(*(torch.cat(columns) for columns in zip(*parts)))

    def behind(self, result: Tensor, index: Tensor, work: torch.dtype) -> Compared:
        """Every pair of channels at the tap of `index` (output channel, input channel, *tap)."""
        return self._compare(result, tuple(index[2:].tolist()), torch.arange(self.inputs), work)

    def _compare(self, result: Tensor, tap: tuple[int, ...], channels: Tensor, work: torch.dtype) -> Compared:
        expected = reference.grad_weight_elements(self.x, self.g, self.shape, self.groups, tap, channels, work)
        found = _tap(result, tap)[:, channels]
        at = torch.cartesian_prod(torch.arange(self.outputs), channels)
        index = torch.cat([at, torch.tensor(tap).expand(len(at), -1)], dim=1)
        return Compared(index, found.flatten().to(torch.float64), expected.flatten().to(torch.float64))


def _tap(weight: Tensor, tap: tuple[int, ...]) -> Tensor:
    """The filters' values at one tap, (C_out, C_in / groups)."""
    for at in tap:
        weight = weight.select(2, at)
    return weight


def _correlation(data: Data, name: str) -> reference.Correlation:
    if name == "output":
        return reference.output(data.x, data.weight, data.bias, data.shape, data.groups)
    assert data.g is not None
    return reference.grad_input(data.g, data.weight, data.shape, data.groups)


def _places(of: reference.Correlation, draw: Draw, gathered: int) -> reference.Places:
    """Corners, borders and random points of all images in turn, with as many channels as the budget allows."""
    images, channels, results = of.source.shape[0], of.source.shape[1], of.weight.shape[2]
    size = of.size
    axes = len(size)
    per_place = channels * math.prod(of.weight.shape[3:]) * math.prod(table.shape[0] for table in of.taps)
    count = max(6 * 2**axes, min(512, gathered // per_place))
    generator = draw.generator
    position = [torch.randint(extent, (count,), generator=generator) for extent in size]
    for corner in range(2**axes):
        for axis in range(axes):
            position[axis][corner] = (size[axis] - 1) * (corner >> axis & 1)
    for border in range(2 * axes):
        position[border // 2][2**axes + border :: 8 * axes] = (size[border // 2] - 1) * (border % 2)
    image = (torch.arange(count) + torch.randint(images, (1,), generator=generator)).remainder(images)
    chosen = max(1, min(results, 2 * gathered // per_place))
    some = torch.arange(results)
    if chosen < results:
        some = torch.randperm(results, generator=generator)[:chosen].sort().values
    return reference.Places(image, tuple(position), some)


def _pairs(draw: Draw, channels: int, kernel: tuple[int, ...], wanted: int) -> list[tuple[int, tuple[int, ...]]]:
    """Pairs of (input channel, tap) spread over all: at least the first and the last, at most 16."""
    total = channels * math.prod(kernel)
    count = min(total, max(2, min(16, wanted)))
    inner = torch.randperm(total, generator=draw.generator)[:count].tolist()
    chosen = sorted({0, total - 1, *inner[: count - 2]})
    found = []
    for flat in chosen:
        tap = []
        for side in reversed(kernel):
            flat, at = divmod(flat, side)
            tap.append(at)
        found.append((flat, tuple(reversed(tap))))
    return found


def _compared(result: Tensor, places: reference.Places, expected: Tensor) -> Compared:
    """The elements of `result` (N, C, ...) at these places beside what is expected, (M, groups, T)."""
    many, groups, chosen = expected.shape
    channels = (torch.arange(groups).unsqueeze(1) * (result.shape[1] // groups) + places.channels).flatten()
    at = [part.unsqueeze(1) for part in (places.image, *places.position)]
    found = result[(at[0], channels, *at[1:])]
    columns = [at[0].expand(many, groups * chosen), channels.expand(many, -1)]
    columns += [part.expand(many, groups * chosen) for part in at[1:]]
    index = torch.stack(columns, dim=2).flatten(0, 1)
    return Compared(index, found.flatten().to(torch.float64), expected.flatten().to(torch.float64))


def _difference(name: str, compared: Compared, dtype: str, unbatched: bool) -> str | None:
    """The first element, in the order of indices, that is not what it should be, rounded once to the dtype."""
    expected = compared.expected.to(getattr(torch, dtype)).to(torch.float64)
    differs = (~(compared.found == expected)).nonzero().flatten()
    if not len(differs):
        return None
    rows = compared.indices[differs].tolist()
    first = min(range(len(rows)), key=rows.__getitem__)
    at = int(differs[first])
    index = rows[first][1:] if unbatched else rows[first]
    found, right = float(compared.found[at]), float(expected[at])
    count, of = len({tuple(row) for row in rows}), len(compared.found)
    zero = ", all that was compared is zero" if not bool(compared.found.any()) else ""
    value = f"{name}{_index(index)} is {_number(found)}, should be {_number(right)}"
    return f"{value} ({count} of {of} compared elements differ{zero})"


def _far(name: str, compared: Compared, spec: Spec) -> str | None:
    """Why a result that need not be exact is too far from the reference, normwise; NaN is."""
    allowed = NORMWISE[spec.coarsest_dtype]
    norm = float(compared.expected.norm())
    distance = float((compared.found - compared.expected).norm()) / (norm or 1.0)
    if distance <= allowed:
        return None
    return f"{name} is {distance:.2g} of its norm away from the reference, {allowed:.2g} is allowed"


def _first_fraction(result: Tensor) -> Tensor | None:
    """The index of the first element that is no integer (NaN among them), or None."""
    wide = _wide(result)
    rounded = wide.round()
    if torch.equal(rounded, wide):
        return None
    return (rounded != wide).nonzero()[0]


def _changed(layer: Layer, first: dict[str, Tensor], data: Data, method: str) -> tuple[list[str], list[str]]:
    """What differs in a second call on the same numbers, and which results come in the same memory again.

    What was handed out in such memory is gone, so it must be right as it stands. Then it is overwritten with NaN before
    further calls: a layer that hands it out again without computing anything shows.
    """
    spec = layer.spec
    _poison(layer)
    again = layer.results()
    reasons, reused = [], []
    for name, before in first.items():
        after = again.get(name)
        if after is None or after.shape != before.shape:
            reasons.append(f"{name} has another shape or is missing in the next call")
        elif after.data_ptr() == before.data_ptr():
            reused.append(name)
        elif method == "exact" and not torch.equal(before, after):
            at = (~(before == after)).nonzero()[0]
            was, now = (_number(float(tensor[tuple(at)])) for tensor in (before, after))
            reasons.append(f"{name}{_index(at.tolist())} was {was} and is {now} in the next call")
    reasons += _next_call(spec, reused, again, data, method)
    for _ in range(_SPOILED_CALLS if reused else 0):
        if not reasons:
            for name in reused:
                if _may_be_overwritten(again[name], layer):
                    again[name].data.fill_(math.nan)
            again = layer.results()
            reasons = _next_call(spec, reused, again, data, method)
    return reasons, reused


def _next_call(spec: Spec, names: list[str], results: dict[str, Tensor], data: Data, method: str) -> list[str]:
    """What is wrong with these results, which came in a further call."""
    wrong = [_judge_values(spec, name, results[name], data, method)[1] for name in names]
    return [f"{reason}, in the next call" for reason in wrong if reason]


def _may_be_overwritten(tensor: Tensor, layer: Layer) -> bool:
    """Not where elements share memory, nor in an operand's memory: a gradient may be the upstream gradient itself."""
    if any(step == 0 and size > 1 for step, size in zip(tensor.stride(), tensor.shape)):
        return False
    begins = tensor.data_ptr()
    for operand in layer.operands.tensors().values():
        at = operand.data_ptr()
        if at <= begins < at + operand.numel() * operand.element_size():
            return False
    return True


class Accuracy(NamedTuple):
    """How exact the layer is on the data that is timed; `max_error` is in units of roundoff.

    `distance` is that of the result `farthest` from its reference, whose elements are off `everywhere` or here and
    there. `reasons` say what is so far off, or not finite, that the layer is wrong.
    """

    max_error: float
    distance: float
    farthest: str
    everywhere: bool
    reasons: list[str]


def _accuracy(layer: Layer, results: dict[str, Tensor], random: dict[str, Tensor]) -> Accuracy:
    """The largest error on the data that is timed; what is not finite there is wrong."""
    spec = layer.spec
    cpu = {name: _batched(spec, name, tensor) for name, tensor in random.items()}
    bias, g = cpu.get("bias"), cpu.get("g")
    data = Data(cpu["x"], cpu["weight"], bias, g, geometry(spec), spec.groups)
    draw = Draw(spec.seed + 2)
    largest, distance, farthest, everywhere, reasons = 0.0, 0.0, "", True, []
    for name in PRODUCES[spec.direction]:
        if name not in results:
            continue
        result = _batched(spec, name, results[name])
        low, high = (float(value) for value in torch.aminmax(_wide(result)))
        if not (math.isfinite(low) and math.isfinite(high)):
            at = (~torch.isfinite(results[name])).nonzero()[0]
            reasons.append(f"{name}{_index(at.tolist())} is {float(results[name][tuple(at)])} on the timed data")
            continue
        errors = _errors(name, result, data, draw, _least_scale(spec))
        off = max(error.distance for error in errors)
        allowed = ON_TIMED_DATA[spec.coarsest_dtype]
        if not off <= allowed:
            reasons.append(
                f"{name} is right on integers but wrong on the timed data: {off:.2g} of its norm away from "
                f"the reference, {allowed:.2g} is allowed"
            )
        largest = max(largest, *(error.largest for error in errors))
        if off > distance:
            distance, farthest, everywhere = off, name, _everywhere(errors)
    return Accuracy(largest / ROUNDOFF[spec.coarsest_dtype], distance, farthest, everywhere, reasons)


def _imprecise(spec: Spec, found: Accuracy, precision: str | None) -> str | None:
    """Why the layer has less precision than was asked for; None where it has as much.

    An accelerator that does not tell how it computes float32 may use TF32.
    """
    asked = spec.coarsest_dtype
    if asked == "float32":
        untold = "ieee" if spec.device.startswith("cpu") else "tf32"
        asked = {"ieee": "float32"}.get(precision or untold, precision or untold)
    allowed = PRECISE.get(asked)
    if allowed is None or found.distance <= allowed:
        return None
    gives = next((coarser for most, coarser in COARSER if found.distance <= most), "bfloat16")
    return (
        f"less precision than {asked}: {found.farthest} is {found.distance:.2g} of its norm away from the reference, "
        f"{allowed:.2g} is allowed; {gives} gives about so much (max_error is {found.max_error:,.0f} units of roundoff)"
    )


def _least_scale(spec: Spec) -> float:
    """The scale below which errors are no longer relative: the smallest normal number of what numbers pass through.

    Below it a dtype's numbers lie as far apart as just above it. An honest rounding errs by half of that, which is
    roundoff times the smallest normal number (Higham, "Accuracy and Stability of Numerical Algorithms", chapter 2, the
    model with gradual underflow). The unit of an error is so max(scale * roundoff, smallest subnormal number / 2).
    """
    unit = ROUNDOFF[spec.coarsest_dtype]
    dtypes = (spec.dtype, spec.compute_dtype)
    return max(torch.finfo(getattr(torch, dtype)).tiny * (ROUNDOFF[dtype] / unit) for dtype in dtypes)


class Errors(NamedTuple):
    """How far a sample is from the reference: the largest |y - ref| / sum of magnitudes, and ||y - ref|| / ||ref||.

    `each` is |y - ref| of every element where anything is summed at all, against the usual |ref|.
    """

    largest: float
    distance: float
    each: Tensor


def _errors(name: str, result: Tensor, data: Data, draw: Draw, least: float) -> list[Errors]:
    """The errors of each part of a sample; `least` is the smallest scale that errors are relative to."""
    if name == "grad_bias":
        assert data.g is not None
        value, scale = reference.grad_bias(data.g), reference.grad_bias(data.g.abs())
        return [_relative(result.to(torch.float64), value, scale, data.g.numel() // len(value), least)]
    if name == "grad_weight":
        assert data.g is not None
        found = []
        per_group = data.g.shape[1] // data.groups
        points = data.g.numel() // data.g.shape[1]
        groups = torch.randperm(data.groups, generator=draw.generator)[: max(1, _GATHERED // points)]
        outputs = torch.randperm(per_group, generator=draw.generator)[: max(1, 4 // len(groups))]
        g = torch.unflatten(data.g, 1, (data.groups, -1))[:, groups][:, :, outputs].flatten(1, 2)
        x = torch.unflatten(data.x, 1, (data.groups, -1))[:, groups].flatten(1, 2)
        rows = torch.unflatten(result, 0, (data.groups, -1))[groups][:, outputs].flatten(0, 1)
        inputs = data.x.shape[1] // data.groups
        for channel, tap in _pairs(draw, inputs, data.shape.kernel, 4)[:4]:
            # One channel at a time: a copy of all of x in float64 would cost more than the comparison.
            plane = torch.unflatten(x, 1, (len(groups), -1))[:, :, channel]
            at = (data.shape, len(groups), tap, torch.zeros(1, dtype=torch.int64), torch.float64)
            value = reference.grad_weight_elements(plane, g, *at)
            scale = reference.grad_weight_elements(plane.abs(), g.abs(), *at)
            column = _tap(rows, tap)[:, channel].to(torch.float64)
            found.append(_relative(column, value[:, 0], scale[:, 0], points, least))
        return found
    of = _correlation(data, name)
    places = _places(of, draw, _GATHERED // 2)
    read = reference.patches(of.source, of.taps, places).to(torch.float64)
    value = reference.products(read, of.weight, places)
    if all(table.shape[0] == 1 for table in of.taps):
        read = read.abs_()
    else:  # numbers that meet in one tap are added up, and can cancel: magnitudes must be taken before
        read = reference.patches(of.source.abs(), of.taps, places).to(torch.float64)
    scale = reference.products(read, of.weight.abs(), places)
    if of.bias is not None:
        added = torch.unflatten(of.bias.to(torch.float64), 0, (data.groups, -1))[:, places.channels]
        value, scale = value + added, scale + added.abs()
    summed = of.weight[0, :, 0].numel()
    found_there = _compared(result, places, value).found
    return [_relative(found_there, value.flatten(), scale.flatten(), summed, least)]


def _relative(found: Tensor, value: Tensor, scale: Tensor, terms: int, least: float) -> Errors:
    """How far `found` is from `value`, sums of so many terms whose magnitudes add up to `scale`.

    A scale counts as `least` at least, the smallest normal number: dividing by less would tell the dtype's own
    rounding as an error. Random terms cancel to about scale / sqrt(terms); few sums may by chance cancel further,
    against which no kernel should be held.
    """
    off = (found - value).abs()
    usual = max(float(value.norm()), float(scale.norm()) / math.sqrt(terms), least * math.sqrt(len(value)))
    return Errors(
        largest=float((off / scale.clamp(min=least)).max()),
        distance=float(off.norm()) / usual,
        each=off[scale > 0] * (math.sqrt(len(off)) / usual),
    )


def _everywhere(errors: list[Errors]) -> bool:
    """Whether most elements are off by about as much as all are in the root mean square."""
    each = torch.cat([error.each for error in errors])
    return len(each) > 0 and float(each.median()) >= EVERYWHERE * float(each.square().mean().sqrt())


# --- small things ---------------------------------------------------------------------------------------------------


def _batched(spec: Spec, name: str, tensor: Tensor) -> Tensor:
    """A CPU copy, with a batch dimension where it is an image or a batch of them."""
    tensor = tensor.detach().to("cpu")
    return tensor.unsqueeze(0) if spec.batch_size is None and name in ("x", "g", "output", "grad_input") else tensor


def _wide(tensor: Tensor) -> Tensor:
    """The tensor in a type in which older torch too can do everything on the CPU; exact."""
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.to(torch.float32)


def _largest(total: float) -> int:
    """The largest weight of a checksum so that `total`, the sum of all magnitudes, stays exact in float64."""
    return max(1, min(_LARGEST_WEIGHT, math.isqrt(int(2**53 // max(1, total)))))


def _odd(draw: Draw, count: int, largest: int) -> Tensor:
    """Random odd numbers of either sign: none is zero, so no single wrong element can hide."""
    sizes = torch.randint((largest + 1) // 2, (count,), generator=draw.generator) * 2 + 1
    signs = torch.randint(2, (count,), generator=draw.generator) * 2 - 1
    return (sizes * signs).to(torch.float64)


def _shape(shape: tuple[int, ...] | torch.Size) -> str:
    return "x".join(str(size) for size in shape)


def _index(index: list[int]) -> str:
    return "[" + ", ".join(str(at) for at in index) + "]"


def _number(value: float) -> str:
    return f"{value:.9g}"
