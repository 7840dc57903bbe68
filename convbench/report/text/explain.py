"""The explanation of one layer as plain text, computed from the case alone. It measures nothing."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from convbench import units
from convbench.model.case import (
    DTYPES,
    PROBLEM_SETTINGS,
    TORCH_MODULE,
    Cache,
    Case,
    CompileMode,
    InputFormat,
    MemoryFormat,
    canonical,
    setting,
)
from convbench.model.problem import PRODUCTS, Direction, PaddingMode, PaddingWord, Problem

WIDTH = 100  # columns of the text, so that it fits a terminal and a page of print
_INDENT = "  "
_ROWS = {"height": ("row", "above", "below"), "width": ("column", "to the left", "to the right")}
_FORMULA = "out = floor((in + before + after - dilation * (kernel - 1) - 1) / stride) + 1"

#: The contents of the padding in each mode.
_FILLING = {
    PaddingMode.ZEROS: "zeros",
    PaddingMode.REFLECT: "the input mirrored at its edge (the edge itself is not repeated)",
    PaddingMode.REPLICATE: "copies of the edge",
    PaddingMode.CIRCULAR: "the input's opposite side, as if it were wound on a drum",
}

#: One iteration of each direction in words.
_BODIES = {
    Direction.FORWARD: "layer(x) alone, without autograd's records",
    Direction.BACKWARD: "the gradients of input, weight and bias, through autograd",
    Direction.GRAD_INPUT: "the gradient of the input alone",
    Direction.GRAD_WEIGHT: "the gradients of weight and bias alone",
    Direction.TRAIN_STEP: "forward, then backward, then the gradients thrown away",
}

#: How often each direction does the multiply-adds of forward, in words.
_TIMES = {
    Direction.FORWARD: "once",
    Direction.BACKWARD: "twice: once for the input's gradient, once for the weight's",
    Direction.GRAD_INPUT: "once: the gradient of every output goes back through the same taps",
    Direction.GRAD_WEIGHT: "once: every product of a tap's input and its output's gradient",
    Direction.TRAIN_STEP: "three times: forward, the input's gradient, the weight's gradient",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of an explanation with a title; its lines are ready to be printed."""

    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The explanation of one layer; `refused` is whether torch would refuse it."""

    title: str
    summary: str
    sections: tuple[Section, ...]
    refused: bool

    def __str__(self) -> str:
        """Plain text of at most `WIDTH` columns that ends in a newline."""
        parts = [_fill(self.title, ""), _fill(self.summary)]
        parts += ["\n".join((section.title, *section.lines)) for section in self.sections]
        return "\n\n".join(parts) + "\n"


def explain(case: Case) -> Explanation:
    """The explanation of one layer: shapes, padding, groups, parameters, FLOPs and bytes, or why torch refuses it."""
    title = f"{constructor_text(case)}, {case.direction.value} in {case.dtype}"
    refusal = case.refusal()
    if refusal is not None:
        sections = [Section(title="What would work", lines=tuple(_ways_out(case)))]
        if any(size < 1 for size in case.problem.output_size):
            sections.insert(0, Section(title="Output size", lines=tuple(_output_size(case.problem))))
        return Explanation(
            title=title, summary=f"torch refuses this layer: {refusal}.", sections=tuple(sections), refused=True
        )
    p = case.problem
    sections = [
        Section(title="Output size", lines=tuple(_output_size(p))),
        Section(title="Padding", lines=tuple(_padding(p))),
        Section(title="Shapes", lines=tuple(_shapes(case))),
    ]
    if p.groups > 1:
        sections.append(Section(title="Groups", lines=tuple(_groups(p))))
    sections += [
        Section(title="Parameters", lines=tuple(_parameters(p))),
        Section(title=f"Work, {case.direction.value}", lines=tuple(_work(case))),
        Section(title="Memory", lines=tuple(_memory(case))),
        Section(title="In convbench", lines=(_fill(f"case {case.id}"), _fill(case.label))),
    ]
    return Explanation(title=title, summary=summary_text(case), sections=tuple(sections), refused=False)


#: Maximum number of rows of the input, and of copies of them on the margin, that are checked one by one: takes 0.3 s.
MOST_ROWS = 2_000_000


def unread(size: int, problem: Problem, axis: int) -> tuple[int, ...] | None:
    """The rows (columns) of an input of `size` that no tap reads along spatial dimension `axis`, counted from 0.

    A row with a copy on the padding, as in circular padding, is also read where a tap reads the copy. None where more
    than `MOST_ROWS` would have to be checked.
    """
    (before, after), mode = problem.pads[axis], problem.padding_mode
    copies = mode in (PaddingMode.REFLECT, PaddingMode.CIRCULAR)  # of other rows than those at the edge
    ahead, behind = (before, after) if copies else (0, 0)
    runs = _runs(problem, axis)
    first = next(iter(runs))
    left = before + size - first.stop
    if first.step == 1 and runs.number == 1 and (left <= 0 or (left <= MOST_ROWS and mode is PaddingMode.ZEROS)):
        return tuple(range(max(0, size - max(0, left)), size))
    if size + ahead + behind > MOST_ROWS:
        return None
    touched = _touched(runs, range(before - ahead, before + size + behind))
    seen = touched[ahead : ahead + size]
    for place in (*range(ahead), *range(ahead + size, len(touched))):
        source = _source(place - ahead, size, mode)
        if touched[place] and 0 <= source < size:  # torch refuses a reflection that is wider than the input
            seen[source] = 1
    if mode is PaddingMode.REPLICATE:  # the first tap starts at the first place; the last tap ends at `last`
        last = (problem.output_size[axis] - 1) * problem.stride[axis] + problem.dilated_kernel_size[axis] - 1
        seen[0] |= before > 0
        seen[-1] |= last >= before + size
    return tuple(row for row, read in enumerate(seen) if not read)


def _touched(runs: _Runs, window: range) -> bytearray:
    """For each place of a window of the padded input: 1 where a run contains it, else 0."""
    touched = bytearray(len(window))
    for run in runs:
        skipped = max(0, -((run.start - window.start) // run.step))  # ceil((window.start - run.start) / run.step)
        inside = range(run.start + skipped * run.step, min(run.stop, window.stop), run.step)
        if inside:
            first, last = inside[0] - window.start, inside[-1] - window.start
            touched[first : last + 1 : run.step] = b"\1" * len(inside)
    return touched


def _runs(problem: Problem, axis: int) -> _Runs:
    """The places of the padded input that taps read."""
    taps, dilation = problem.kernel_size[axis], problem.dilation[axis]
    outputs, stride = problem.output_size[axis], problem.stride[axis]
    by_tap = _Runs(firsts=taps, apart=dilation, others=outputs, step=stride)
    by_output = _Runs(firsts=outputs, apart=stride, others=taps, step=dilation)
    return by_tap if by_tap.number <= by_output.number else by_output


@dataclass(frozen=True, slots=True, kw_only=True)
class _Runs:
    """The places first * `apart` + other * `step`, first from 0 to `firsts` - 1, other from 0 to `others` - 1, as runs.

    Where the places of one first continue with those of a later one, both are one run. So there are always few runs:
    the outputs and taps of a layer have at most 65,536, with the better choice of firsts and others.
    """

    firsts: int
    apart: int
    others: int
    step: int

    @property
    def _period(self) -> int | None:
        """The distance of firsts whose places form one run; None where there are gaps."""
        shared = math.gcd(self.apart, self.step)
        return self.step // shared if self.apart // shared <= self.others else None

    @property
    def number(self) -> int:
        """The number of runs."""
        period = self._period
        return self.firsts if period is None else min(period, self.firsts)

    def __iter__(self) -> Iterator[range]:
        """The runs."""
        period = self._period
        for first in range(self.number):
            rounds = 0 if period is None else (self.firsts - 1 - first) // period
            start, extent = first * self.apart, rounds * self.apart * (period or 0) + (self.others - 1) * self.step
            yield range(start, start + extent + 1, self.step)


def _source(position: int, size: int, mode: PaddingMode) -> int:
    """The row whose copy is at a position before (negative) or after an input of `size` rows."""
    if mode is PaddingMode.REPLICATE:
        return 0 if position < 0 else size - 1
    if mode is PaddingMode.CIRCULAR:
        return position % size
    return -position if position < 0 else 2 * (size - 1) - position


def ways_out(case: Case) -> tuple[dict[str, object], ...]:
    """The smallest changes of settings with which torch accepts a refused case, the smallest effect first.

    Each is {setting: value}; single changes where one is enough, else the fewest combined. Empty for a case that torch
    runs.
    """
    if case.refusal() is None:
        return ()
    candidates = list(_candidates(case))
    for together in range(1, len(candidates) + 1):
        found = []
        for combination in combinations(candidates, together):
            names = [name for name, _ in combination]
            if len(set(names)) == together and changed(case, dict(combination)).refusal() is None:
                found.append(dict(combination))
        if found:
            return tuple(found)
    return ()


def changed(case: Case, settings: Mapping[str, Any]) -> Case:
    """The case with some settings (of the problem or of its execution) replaced."""
    problem = {name: value for name, value in settings.items() if name in PROBLEM_SETTINGS}
    rest = {name: value for name, value in settings.items() if name not in PROBLEM_SETTINGS}
    return replace(case, problem=replace(case.problem, **problem), **rest)


def _candidates(case: Case) -> Iterator[tuple[str, object]]:
    """Changes of one setting that each remove one kind of refusal, without those that change nothing."""
    p = case.problem
    shared = math.gcd(p.in_channels, p.out_channels)
    low = [d for d in range(1, math.isqrt(shared) + 1) if shared % d == 0]
    divisors = [*low, *(shared // d for d in low)]
    half = tuple(d * (k - 1) // 2 for d, k in zip(p.dilation, p.kernel_size, strict=True))
    sides = tuple(zip(p.input_size, p.pads, p.dilated_kernel_size, p.kernel_size, p.dilation, strict=True))
    limit = {PaddingMode.REFLECT: -1, PaddingMode.CIRCULAR: 0}.get(p.padding_mode)
    proposals: list[tuple[str, object]] = [
        ("batch_size", 1),
        ("module_output_size", None),
        ("memory_format", MemoryFormat.CONTIGUOUS),
        ("input_format", InputFormat.SAME),
        ("cache", Cache.HOT),
        ("compile_mode", CompileMode.DEFAULT),
        ("groups", min(divisors, key=lambda d: (abs(d - p.groups), d))),
        ("in_channels", _nearest_multiple(p.in_channels, p.groups)),
        ("out_channels", _nearest_multiple(p.out_channels, p.groups)),
        ("stride", tuple(1 for _ in p.stride)),
        ("padding", half),
    ]
    if limit is not None and not isinstance(p.padding, PaddingWord):
        proposals.append(("padding", tuple(min(max(pad), size + limit) for size, pad, *_ in sides)))
    proposals += [
        ("padding", tuple(max(*pad, -(-(extent - size) // 2)) for size, pad, extent, *_ in sides)),
        ("dilation", tuple(min(d, max(1, (size + sum(pad) - 1) // max(1, k - 1))) for size, pad, _, k, d in sides)),
        ("kernel_size", tuple(min(k, (size + sum(pad) - 1) // d + 1) for size, pad, _, k, d in sides)),
        (
            "input_size",
            tuple(max(size, extent - sum(pad), max(pad) - (limit or 0) if limit is not None else 0, 1)
                  for size, pad, extent, *_ in sides),
        ),
        ("padding_mode", PaddingMode.ZEROS),
    ]  # fmt: skip
    seen = set()
    for name, value in proposals:
        if value != setting(case, name) and (name, value) not in seen:
            seen.add((name, value))
            yield name, value


def _nearest_multiple(value: int, of: int) -> int:
    return max(of, (value + of // 2) // of * of)


def _ways_out(case: Case) -> Iterator[str]:
    for way in ways_out(case)[:6]:
        better = changed(case, way)
        words = " and ".join(
            f"{name} {value_text(value)} instead of {value_text(setting(case, name))}" for name, value in way.items()
        )
        shapes = f"{shape_text(better.problem.input_shape)} -> {shape_text(better.problem.output_shape)}"
        yield _fill(f"{words}:  {shapes}", hang="    ")


def value_text(value: object) -> str:
    """A setting as written in a sweep: `3`, `[1, 7]`, `same`, `null`."""
    if not isinstance(value, tuple):
        return canonical(value)
    return str(value[0]) if len(set(value)) == 1 else f"[{', '.join(str(side) for side in value)}]"


def constructor_text(case: Case) -> str:
    """The constructor call with all arguments that are not default, and its input."""
    p = case.problem
    words = [str(p.in_channels), str(p.out_channels), f"kernel_size={_argument(p.kernel_size)}"]
    if any(s != 1 for s in p.stride):
        words.append(f"stride={_argument(p.stride)}")
    if isinstance(p.padding, PaddingWord):
        words.append(f"padding='{p.padding.value}'")
    elif any(p.padding):
        words.append(f"padding={_argument(p.padding)}")
    if any(d != 1 for d in p.dilation):
        words.append(f"dilation={_argument(p.dilation)}")
    words += [f"groups={p.groups}"] if p.groups != 1 else []
    words += [] if p.bias else ["bias=False"]
    words += [f"padding_mode='{p.padding_mode.value}'"] if p.padding_mode is not PaddingMode.ZEROS else []
    name = p.operator.name.rpartition(".")[2] if case.module == TORCH_MODULE else case.module
    images = "one unbatched image" if p.batch_size is None else units.plural(p.batch_size, "image")
    return f"{name}({', '.join(words)}) on {images} of {units.pair((p.in_channels, *p.input_size))}"


def summary_text(case: Case) -> str:
    """What the layer does, in one sentence."""
    p = case.problem
    window = units.pair(p.kernel_size)
    spread = f" spread over {units.pair(p.dilated_kernel_size)}" if p.dilated_kernel_size != p.kernel_size else ""
    channels = p.in_channels // p.groups
    sees = "the only channel" if p.in_channels == 1 else f"all {units.count(channels)} channels"
    if p.groups > 1:
        sees = "one channel of its own" if channels == 1 else f"{units.count(channels)} channels of its group"
    step = "one by one" if set(p.stride) == {1} else f"in steps of {_short(p.stride)}"
    image = units.pair(p.input_size)
    each = "" if p.batch_size in (None, 1) else " for each image"
    slides = "is laid once on" if math.prod(p.output_size) == 1 else f"slides {step} over"
    subject = "One filter" if p.out_channels == 1 else f"Each of {units.count(p.out_channels)} filters"
    maps = units.plural(p.out_channels, "map")
    return (
        f"{subject} {slides} a {image} image, sees {sees} through a {window} window{spread}, and writes one number "
        f"per stop: {maps} of {units.pair(p.output_size)}{each}."
    )


def _output_size(p: Problem) -> Iterator[str]:
    if p.module_output_size is not None:
        yield _fill(f"{units.pair(p.module_output_size)}, as declared: the module pads by itself.")
        return
    yield _fill(_FORMULA)
    yield ""
    axes = {name: axis for axis, name in enumerate(p.operator.dimensions)}
    formulas = {name: formula_text(p, axis) for name, axis in axes.items()}
    notes = {name: axis_notes(p, axis) for name, axis in axes.items()}
    alike = len(set(formulas.values())) == 1
    if alike:
        yield _fill(f"height and width   {formulas[p.operator.dimensions[0]]}", hang=" " * 21)
    else:
        for name, text in formulas.items():
            yield _fill(f"{name:<9}{text}", hang=" " * 11)
    if any(notes.values()):
        yield ""
    if alike and p.input_size[0] == p.input_size[-1]:  # the notes for rows and columns are the same
        yield from (_fill(f"Height (and width): {note}") for note in notes[p.operator.dimensions[0]])
    else:
        yield from (_fill(f"{name.capitalize()}: {note}") for name in axes for note in notes[name])


def formula_text(p: Problem, axis: int) -> str:
    """The formula of the output's size along one spatial dimension, with all numbers."""
    size, kernel, stride, dilation = p.input_size[axis], p.kernel_size[axis], p.stride[axis], p.dilation[axis]
    before, after = p.pads[axis]
    steps = _steps(p, axis)
    return (
        f"floor(({size} + {before} + {after} - {dilation} * ({kernel} - 1) - 1) / {stride}) + 1 "
        f"= floor({steps} / {stride}) + 1 = {steps // stride} + 1 = {p.output_size[axis]}"
    )


def _steps(p: Problem, axis: int) -> int:
    """The number of rows by which the window can move along one spatial dimension."""
    return p.input_size[axis] + sum(p.pads[axis]) - p.dilated_kernel_size[axis]


def axis_notes(p: Problem, axis: int) -> list[str]:
    """Notes for readers about one spatial dimension: a kernel that does not fit, and rows that are never read."""
    row = _ROWS[p.operator.dimensions[axis]][0]
    if p.output_size[axis] < 1:
        return [f"less than one {row} of output, for the kernel does not fit into the padded input."]
    notes = []
    left = _steps(p, axis) % p.stride[axis]
    if left:
        last = f"the last {row}" if left == 1 else f"the last {left} {row}s"
        notes.append(
            f"{_steps(p, axis)} is no multiple of the stride {p.stride[axis]}, so flooring leaves {last} of the padded "
            "input over."
        )
    rows = unread(p.input_size[axis], p, axis)
    if rows is None:
        most = units.count(MOST_ROWS)
        notes.append(f"which {row}s are never read is only computed for inputs of at most {most} {row}s.")
    elif rows:
        notes.append(
            f"{units.count(len(rows))} of {units.plural(p.input_size[axis], row)} of the input "
            f"{'is' if len(rows) == 1 else 'are'} never read: {places_text(rows)} (counted from 0)."
        )
    elif left:
        notes.append(f"what is left over is padding; every {row} of the input is read.")
    return notes


def places_text(rows: tuple[int, ...]) -> str:
    """`63`, `60 to 63`, `1, 3, 5, ..., 63`."""
    if len(rows) > 2 and rows[-1] - rows[0] == len(rows) - 1:
        return f"{rows[0]} to {rows[-1]}"
    if len(rows) <= 5:
        return ", ".join(str(row) for row in rows)
    return f"{rows[0]}, {rows[1]}, {rows[2]}, ..., {rows[-1]}"


def _padding(p: Problem) -> Iterator[str]:
    word = f"padding='{p.padding.value}'" if isinstance(p.padding, PaddingWord) else f"padding={_argument(p.padding)}"
    if p.module_output_size is not None:
        yield _fill(f"{word} is an argument of the module, which pads by itself: the check before timing finds how.")
        return
    if not any(before or after for before, after in p.pads):
        same = " (a 1x1 kernel needs none)" if p.padding is PaddingWord.SAME else ""
        yield _fill(f"{word}: none{same}. The window never leaves the input.")
        return
    yield _fill(f"{word}: the margin is filled with {_FILLING[p.padding_mode]}.")
    for name, (before, after), dilation, kernel in zip(
        p.operator.dimensions, p.pads, p.dilation, p.kernel_size, strict=True
    ):
        row, ahead, behind = _ROWS[name]
        if p.padding is PaddingWord.SAME:
            total = before + after
            yield _fill(
                f"{name}: 'same' adds dilation * (kernel - 1) = {dilation} * ({kernel} - 1) = "
                f"{units.plural(total, row)}: {before} {ahead}, {after} {behind}."
            )
            if before != after:
                yield _fill(
                    f"The dilated kernel's size is even, so the margin is not: the odd {row} goes {behind}.",
                    hang="  ",
                )
        else:
            yield _fill(f"{name}: {units.plural(before, row)} {ahead} and as many {behind}.")


def _shapes(case: Case) -> Iterator[str]:
    p = case.problem
    batch = "" if p.batch_size is None else "images, "
    channels = "in channels" if p.groups == 1 else "in channels / groups"
    rows = [
        ("input", shape_text(p.input_shape), f"{batch}in channels, height, width"),
        ("weight", shape_text(p.weight_shape), f"out channels, {channels}, kernel height, kernel width"),
        ("bias", shape_text(p.bias_shape or ()), "one number for each out channel") if p.bias else ("bias", "none", ""),
        ("output", shape_text(p.output_shape), f"{batch}out channels, height, width"),
    ]
    width = max(len(shape) for _, shape, _ in rows)
    for name, shape, meaning in rows:
        yield _fill(f"{name:<8}{shape:<{width}}  {meaning}".rstrip())
    if case.direction is not Direction.FORWARD:
        yield _fill("Each gradient has the shape of what it is the gradient of.")


def _groups(p: Problem) -> Iterator[str]:
    fan_in, fan_out = p.in_channels // p.groups, p.out_channels // p.groups
    if fan_in == 1:
        filters = "one filter" if fan_out == 1 else f"{fan_out} filters"
        kind = f"groups={p.groups}, as many as there are in channels, so this is a depthwise convolution"
        yield _fill(f"{kind}: each channel has {filters} of its own and never meets another channel.")
    else:
        yield _fill(
            f"groups={p.groups}: the {p.in_channels} in channels fall into {p.groups} groups of {fan_in}, the "
            f"{p.out_channels} out channels into {p.groups} groups of {fan_out}. A filter sees only its own group: out "
            f"channels 0 to {fan_out - 1} see in channels 0 to {fan_in - 1}, and so on."
        )
    yield _fill(f"That is 1/{p.groups} of the weights and of the work of the same layer without groups.")


def _parameters(p: Problem) -> Iterator[str]:
    weights = math.prod(p.weight_shape)
    yield _fill(f"weights  {_product(p.weight_shape)} = {units.count(weights)}")
    yield _fill(f"biases   {units.count(p.out_channels)}" if p.bias else "biases   none")
    yield _fill(f"together {units.count(p.parameters)}")


def _work(case: Case) -> Iterator[str]:
    p = case.problem
    yield _fill(f"One iteration is {_BODIES[case.direction]}.")
    outputs = math.prod(p.output_shape)
    window = (p.in_channels // p.groups, *p.kernel_size)
    taps = outputs * math.prod(window)
    yield _fill(f"outputs        {_product(p.output_shape)} = {units.count(outputs)}")
    yield _fill(f"taps of each   {_product(window)} = {units.count(math.prod(window))}  (channels x kernel)")
    yield _fill(f"multiply-adds  {units.count(outputs)} x {units.count(math.prod(window))} = {units.count(taps)}")
    lost = taps - p.multiply_adds
    if p.images == 0:
        yield _fill("The batch is empty, so there is nothing to compute.")
    elif p.module_output_size is not None:
        yield _fill("The module pads by itself, and its taps on padding are not known: every tap counts.")
    elif lost:
        yield _fill(
            f"on zeros       {units.count(lost)} ({units.percent(lost / taps)}) of these taps fall on padding, are no "
            f"work, and are not counted: {units.count(p.multiply_adds)} remain",
            hang=" " * 15,
        )
    elif any(before or after for before, after in p.pads):
        real = p.padding_mode is not PaddingMode.ZEROS
        yield _fill(f"{'The margin holds real numbers' if real else 'No tap falls on the margin'}: every tap counts.")
    times = PRODUCTS[case.direction]
    factor = "" if times == 1 else f"{times} x "
    yield _fill(
        f"FLOPs          {factor}2 x {units.count(p.multiply_adds)} = {units.count(case.flops)} "
        f"({units.si(case.flops, 'FLOP')})",
        hang=" " * 15,
    )
    if case.direction is not Direction.FORWARD:
        yield _fill(f"The forward's multiply-adds are done {_TIMES[case.direction]}.")
    yield _fill("A multiply-add is 2 FLOPs; the bias is not counted.")


def operands(case: Case) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(read, written): the tensors one iteration reads and writes at least once, by their names in `_elements`."""
    bias = ("bias",) if case.problem.bias else ()
    forward = (("input", "weight", *bias), ("output",))
    backward = (("output's gradient", "input", "weight"), ("input's gradient", "weight's gradient"))
    gradient = ("bias's gradient",) if case.problem.bias else ()
    return {
        Direction.FORWARD: forward,
        Direction.BACKWARD: (backward[0], backward[1] + gradient),
        Direction.GRAD_INPUT: (("output's gradient", "weight"), ("input's gradient",)),
        Direction.GRAD_WEIGHT: (("output's gradient", "input"), ("weight's gradient", *gradient)),
        Direction.TRAIN_STEP: (forward[0] + backward[0], forward[1] + backward[1] + gradient),
    }[case.direction]


def _elements(p: Problem, name: str) -> int:
    shapes = {"input": p.input_shape, "weight": p.weight_shape, "bias": p.bias_shape or (), "output": p.output_shape}
    return math.prod(shapes[name.removesuffix("'s gradient")])


def _memory(case: Case) -> Iterator[str]:
    p, item = case.problem, DTYPES[case.dtype]
    read, written = operands(case)
    for verb, names in (("read", read), ("written", written)):
        yield _fill(
            f"{verb:<9}" + ", ".join(f"{name} {units.count(_elements(p, name))}" for name in names), hang=" " * 9
        )
    elements = sum(_elements(p, name) for name in (*read, *written))
    yield _fill(
        f"bytes    {units.count(elements)} elements x {item} bytes ({case.dtype}) = {units.count(case.bytes)} "
        f"({units.size(case.bytes)})",
        hang=" " * 9,
    )
    yield _fill(
        f"FLOPs per byte: {units.digits(case.flops / case.bytes)}. These are the least bytes a kernel can move: every "
        "operand read once, every result written once."
    )


def _product(factors: tuple[int, ...]) -> str:
    return " x ".join(units.count(factor) for factor in factors)


def _argument(values: tuple[int, ...]) -> str:
    """A constructor's argument in Python: `5`, or `(1, 7)` where the sides differ."""
    return str(values[0]) if len(set(values)) == 1 else shape_text(values)


def _short(values: tuple[int, ...]) -> str:
    return str(values[0]) if len(set(values)) == 1 else units.pair(values)


def shape_text(values: tuple[int, ...]) -> str:
    """`(3, 64, 64)`."""
    return f"({', '.join(str(value) for value in values)})"


def _fill(text: str, indent: str = _INDENT, *, hang: str = "") -> str:
    """One paragraph, indented and wrapped to `WIDTH`; repeated spaces that align columns are kept."""
    wrapper = textwrap.TextWrapper(
        width=WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + hang,
        break_on_hyphens=False,
        replace_whitespace=True,
        drop_whitespace=True,
    )
    return wrapper.fill(text)
