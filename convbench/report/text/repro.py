"""Writes a case as a short script that needs only torch, to run in a profiler or to paste into a bug report.

The script does the same as worker/ does with the case, and contains only what this case needs.
tests/report/test_repro.py compares the two. This module has no input or output.
"""

from __future__ import annotations

import keyword
import math
import re
import shlex
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import replace

from convbench.model.case import (
    TORCH_MODULE,
    Autocast,
    Cache,
    Case,
    CompileMode,
    Data,
    Execution,
    Fp32Precision,
    InputFormat,
    MemoryFormat,
    Weights,
)
from convbench.model.problem import Direction, PaddingMode, Problem
from convbench.model.variables import HIDDEN

#: The script's file name in its instructions.
NAME = "repro.py"
#: How long it runs by default, seconds. It is longer than the import of torch, so that a profile shows the loop.
SECONDS = 5
#: Maximum width of a comment, columns.
_WIDTH = 100

#: Minimum duration of a sample, seconds. On a CPU only the clock's resolution requires it (worker/timer.py). On an
#: accelerator a sample ends with a wait for the device, whose time must be negligible.
_CPU_SAMPLE = "1e-5"
_DEVICE_SAMPLE = "5e-3"

#: Devices whose module in torch has `synchronize` and `Event`; other devices are used through `torch.accelerator`.
_OWN_MODULE = ("cuda", "xpu", "mps")
#: The backend that computes float32 convolutions on a device. Its precision is set there since torch 2.9.
_BACKENDS = {"cpu": "mkldnn", "cuda": "cudnn", "accelerator": "cudnn"}

#: Formats of the input in which its memory format is that of the layer.
_AS_THE_LAYER = (InputFormat.SAME, InputFormat.STRIDED)
#: Whether a direction computes (grad_input, grad_weight).
_WANTED = {Direction.GRAD_INPUT: (True, False), Direction.GRAD_WEIGHT: (False, True)}


def repro(case: Case, variables: Mapping[str, str] | None = None) -> str:
    """The script of one case as text that ends in a newline.

    `variables` are the environment variables that a worker gets for it. The script's head sets them in a command,
    because malloc reads its variables before Python starts. The script also runs without them.
    """
    script = _Script(case)
    paragraphs = [
        _head(case, variables or {}),
        script.settings(),
        script.operands(),
        script.step(),
        *([script.capture()] if case.execution is Execution.GRAPH else []),
        script.timing(),
        script.loop(),
    ]
    body = "\n\n".join("\n".join(lines) for lines in paragraphs[1:])
    text = "\n".join([*paragraphs[0], *script.imports(body), "", body, ""])
    return re.sub(r"\n{4,}", "\n\n\n", text)  # two blank lines around functions


class _Script:
    """The paragraphs of the script after its head, each a list of lines."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._p = case.problem
        self._of_torch = case.module == TORCH_MODULE
        kind = case.device.partition(":")[0]
        self._on_cpu = kind == "cpu"
        self._backend = f"torch.{kind}" if kind in _OWN_MODULE else "torch.accelerator"
        self._compiles, self._captures = (case.execution is kind for kind in (Execution.COMPILED, Execution.GRAPH))
        self._is_eager = case.execution is Execution.EAGER
        one = replace(case, direction=Direction.BACKWARD, execution=Execution.EAGER).is_one_backward_kernel
        repeated = (*_WANTED, Direction.BACKWARD) if self._captures else _WANTED
        self._kernel_alone = case.direction in repeated and one and not self._compiles
        self._forward = "forward" if self._compiles else "layer"
        self._copies = self._on_cpu and case.cache is Cache.COLD
        self._flushes = not self._on_cpu and case.cache is Cache.COLD
        self._grad = case.direction is not Direction.FORWARD

    def imports(self, body: str) -> list[str]:
        """The imports that `body` needs: of the standard library, torch, and the user's module."""
        names = ("copy", "importlib", "itertools", "os", "pathlib", "statistics", "sys", "time")
        lines = [f"import {name}" for name in names if f"{name}." in body]
        lines += ["", "import torch"]
        if not self._of_torch and self._importable:
            path, _, attribute = self._case.module.partition(":")
            lines += ["", f"from {path} import {attribute.partition('.')[0]}"]
        return lines

    def settings(self) -> list[str]:
        """The settings of the whole process, as in worker/settings.py, and the seed."""
        case, lines = self._case, []
        if case.threads is not None:
            lines.append(f"torch.set_num_threads({case.threads})")
        lines += self._precision()
        if case.deterministic:
            if not self._on_cpu:
                lines.append('os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what torch asks for')
            lines.append("torch.use_deterministic_algorithms(True)")
        if case.cudnn_benchmark:
            lines.append("torch.backends.cudnn.benchmark = True")
        return [*lines, "torch.manual_seed(0)"]

    def _precision(self) -> list[str]:
        wanted, name = self._case.fp32_precision, _BACKENDS.get(self._case.device.partition(":")[0])
        if wanted is Fp32Precision.DEFAULT or name is None:
            return []
        lines = [f'torch.backends.{name}.conv.fp32_precision = "{wanted.value}"']
        if wanted is Fp32Precision.BF16 or (name == "mkldnn" and wanted is Fp32Precision.TF32):
            return lines  # an older torch does not support it
        lines = [f'if hasattr(torch.backends.{name}, "conv"):  # torch 2.9 or newer', f"    {lines[0]}"]
        if name == "cudnn":
            lines += ["else:", f"    torch.backends.cudnn.allow_tf32 = {wanted is Fp32Precision.TF32}"]
        return lines

    def operands(self) -> list[str]:
        """The layer, its input, and the other operands of its direction."""
        case = self._case
        channels_last = case.memory_format is MemoryFormat.CHANNELS_LAST
        lines = self._device()
        lines += self._layer()
        if channels_last:
            lines.append("layer = layer.to(memory_format=torch.channels_last)")
        lines += self._weights()
        lines += self._compiled() if self._compiles else []
        lines += self._input()
        if self._grad:
            lines += self._graph()
        return lines

    def _compiled(self) -> list[str]:
        """Lines that compile the layer, as in worker/compiled.py."""
        case = self._case
        _, of_weight = _WANTED.get(case.direction, (True, True))
        lines = []
        if case.direction in (*_WANTED, Direction.BACKWARD):
            lines = ["torch._functorch.config.donated_buffer = False  # backward runs again on the same graph"]
        if not (self._grad and of_weight):
            lines.append("layer.requires_grad_(False)")
        mode = [] if case.compile_mode is CompileMode.DEFAULT else [f'mode="{case.compile_mode.value}"']
        arguments = _call(["layer", "fullgraph=True", "dynamic=False", *mode])
        return [*lines, f"forward = torch.compile({arguments})"]

    def _weights(self) -> list[str]:
        """Lines that set weight and bias; none for those of the module."""
        set_to = None if self._case.weights is Weights.GIVEN else self._set_to
        lines = [set_to.format("layer.weight")] if set_to else []
        if not self._of_torch:
            lines.append('bias = getattr(layer, "bias", None)')
            lines += ["if isinstance(bias, torch.Tensor):", f"    {set_to.format('bias')}"] if set_to else []
        elif self._p.bias and set_to:
            lines.append(set_to.format("layer.bias"))
        return lines

    @property
    def _set_to(self) -> str:
        """The line that sets a tensor, with {} in its place."""
        fan_in = math.prod(self._p.weight_shape[1:])
        if self._case.weights is Weights.ZEROS:
            return "torch.nn.init.zeros_({})"
        if self._case.weights is Weights.DENORMAL:
            return "torch.nn.init.normal_({0}).data.sign_().mul_(torch.finfo({0}.dtype).tiny / 2)"
        return f"torch.nn.init.normal_({{}}, std={fan_in}**-0.5)"

    def _input(self) -> list[str]:
        """The input in its format."""
        case = self._case
        make = "zeros" if case.data is Data.ZEROS else "randn"
        asked = case.memory_format if case.input_format in _AS_THE_LAYER else case.input_format
        layout = "memory_format=torch.channels_last" if asked == "channels_last" else ""
        lines = [f"x = torch.{make}({_call([*map(str, self._p.input_shape), *self._kind])})"]
        if case.input_format is InputFormat.STRIDED:
            *front, width = map(str, self._p.input_shape)
            shape = _call([*front, str(2 * int(width))])
            lines.append(f"wide = torch.empty({_call([f'({shape})', *self._kind, *[layout] * bool(layout)])})")
            lines.append(f"x = wide[..., :{width}].copy_(x)  # rows with gaps between them")
        elif layout:
            lines[-1] += f".contiguous({layout})"
        return lines + self._denormal("x")

    def _device(self) -> list[str]:
        if self._case.device == "accelerator":
            return ["device = torch.accelerator.current_accelerator()"]
        current = (
            ["torch.cuda.set_device(device)"] if self._case.device.startswith("cuda:") and not self._is_eager else []
        )
        return [] if self._on_cpu else [f'device = torch.device("{self._case.device}")', *current]

    @property
    def _kind(self) -> list[str]:
        """The arguments for dtype and device."""
        dtype = [f"dtype=torch.{self._case.dtype}"] if self._case.dtype != "float32" else []
        return dtype if self._on_cpu else [*dtype, "device=device"]

    def _layer(self) -> list[str]:
        channels = [str(self._p.in_channels), str(self._p.out_channels)]
        if self._of_torch:
            return [f"layer = {self._p.operator.name}({_call([*channels, *_arguments(self._p), *self._kind])})"]
        path, _, attribute = self._case.module.partition(":")
        lines = []
        if not self._importable:
            parts = [f", {part!r})" for part in attribute.split(".")]
            lines = [f"found = {'getattr(' * len(parts)}importlib.import_module({path!r}){''.join(parts)}"]
            attribute = "found"
        # A user's constructor may have other defaults than torch's, so all arguments are written.
        arguments = _call([*channels, *_arguments(self._p, every=True)])
        lines += [f"layer = {attribute}(", f"    {arguments},", ")"]
        return lines + ([f"layer = layer.to({_call(self._kind)})"] if self._kind else [])

    @property
    def _importable(self) -> bool:
        """Whether the user's module can be named in an import statement."""
        path, _, attribute = self._case.module.partition(":")
        words = [*path.split("."), *attribute.split(".")]
        return all(word.isidentifier() and not keyword.iskeyword(word) for word in words)

    def _denormal(self, name: str) -> list[str]:
        if self._case.data is not Data.DENORMAL:
            return []
        return [f"{name} *= torch.finfo({name}.dtype).tiny / 4  # below the least normal number"]

    def _graph(self) -> list[str]:
        """The part that is not timed, of every direction except forward."""
        like = f"torch.{'zeros' if self._case.data is Data.ZEROS else 'randn'}_like"
        if self._kernel_alone:
            lines = [f"g = {like}(layer(x))", *self._denormal("g"), "weight = layer.weight.detach()"]
            lines.append("backward = torch.ops.aten.convolution_backward.default")
            if self._p.batch_size is None:
                lines.append("x, g = x.unsqueeze(0), g.unsqueeze(0)")
            return lines
        if self._captures:
            lines = ["x.requires_grad_()", "with torch.no_grad():", *_indented(self._autocast(f"g = {like}(layer(x))"))]
            return [*lines, *self._denormal("g"), *self._leaves("x")]
        lines = [] if self._compiles and self._case.direction is Direction.GRAD_WEIGHT else ["x.requires_grad_()"]
        lines += [*self._autocast(f"y = {self._forward}(x)"), f"g = {like}(y)", *self._denormal("g")]
        return lines + self._leaves("x")

    def _leaves(self, x: str) -> list[str]:
        """The tensors whose gradients are computed, and which a train step clears."""
        of_input, of_weight = _WANTED.get(self._case.direction, (True, True))
        bias = ["bias"] if not self._of_torch else ["layer.bias"] if self._p.bias else []
        names = [x] * of_input + ["layer.weight", *bias] * of_weight
        if not self._of_torch and of_weight:
            return [f"leaves = [leaf for leaf in ({', '.join(names)}) if isinstance(leaf, torch.Tensor)]"]
        return [f"leaves = [{', '.join(names)}]"]

    def _autocast(self, line: str) -> list[str]:
        return [line] if self._case.autocast is Autocast.NONE else [f"with {self._cast}:", f"    {line}"]

    @property
    def _cast(self) -> str:
        kind = "device.type" if not self._on_cpu else '"cpu"'
        return f"torch.autocast({kind}, dtype=torch.{self._case.autocast.value}, cache_enabled=False)"

    def step(self) -> list[str]:
        """The function of one iteration, with copies of the operands where they must be read from memory."""
        copies, taken = self._rotation() if self._copies else ([], [])
        return [*copies, "", "", "def step():", *_indented([*taken, *self._body()])]

    def capture(self) -> list[str]:
        """The step as a CUDA graph, as in worker/graphs.py."""
        modes = "".join(f", {mode}" for mode in self._modes)
        return [
            "",
            "stream = torch.cuda.Stream()",
            "stream.wait_stream(torch.cuda.current_stream())",
            f"with torch.cuda.stream(stream){modes}:",
            "    for _ in range(3):",
            "        step()",
            "torch.cuda.current_stream().wait_stream(stream)",
            "graph = torch.cuda.CUDAGraph()",
            f"with torch.cuda.graph(graph, stream=stream){modes}:",
            "    results = step()",
        ]

    @property
    def _modes(self) -> list[str]:
        """The modes of torch in which iterations run."""
        if self._grad:
            return []
        return ["torch.no_grad()", *[self._cast] * (self._case.autocast is not Autocast.NONE)]

    def _body(self) -> list[str]:
        """One iteration, as in worker/layer.py."""
        direction = self._case.direction
        if direction is Direction.FORWARD:
            return [f"return {self._forward}(x)"]
        if direction is Direction.TRAIN_STEP:
            return [
                *self._autocast(f"y = {self._forward}(x)"),
                "y.backward(g)",
                "for leaf in leaves:",
                "    leaf.grad = None",
            ]
        if not self._kernel_alone:
            return ["return torch.autograd.grad(y, leaves, g, retain_graph=True)"]
        p = self._p
        of_input, of_weight = _WANTED.get(direction, (True, True))
        pads = [before for before, _ in p.pads]
        bias_sizes = [p.out_channels] if p.bias else None
        geometry = f"{bias_sizes}, {list(p.stride)}, {pads}, {list(p.dilation)}, False, {[0] * len(pads)}, {p.groups}"
        mask = [of_input, of_weight, of_weight and p.bias]
        return [
            "# biases, stride, padding, dilation, transposed, output padding, groups; gradients of x, weight, bias",
            f"return backward(g, x, weight, {geometry}, {mask})",
        ]

    def _rotation(self) -> tuple[list[str], list[str]]:
        """(code that makes copies, code of an iteration that uses the next one), as in worker/cold.py."""
        tensors = "x, g, *layer.parameters()" if self._grad else "x, *layer.parameters()"
        lines = [
            "# Copies of the operands, taken in turn, go twice past the last-level cache.",
            'sizes = pathlib.Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")',
            "cache = min(max([int(file.read_text().strip()[:-1]) << 10 for file in sizes] or [2**26]), 2**28)",
            f"own = sum(tensor.numel() * tensor.element_size() for tensor in ({tensors}))",
            "count = max(2, min(8192, 1 + 2 * cache // (own + 5000)))",
        ]
        direction = self._case.direction
        if self._kernel_alone:
            lines.append("turn = itertools.cycle([copy.deepcopy((x, weight, g)) for _ in range(count)])")
            return lines, ["x, weight, g = next(turn)"]
        hand_over = "layer._parameters.update(parameters)"
        if direction is Direction.FORWARD:
            lines.append("turn = itertools.cycle([copy.deepcopy((x, layer._parameters)) for _ in range(count)])")
            return lines, ["x, parameters = next(turn)", hand_over]
        begin = self._autocast(f"y = {self._forward}(x)") if direction is not Direction.TRAIN_STEP else []
        taken = "x, g, leaves, parameters" if direction is Direction.TRAIN_STEP else "y, g, leaves"
        own_bias = (
            [] if self._of_torch or direction is Direction.GRAD_INPUT else ['bias = getattr(layer, "bias", None)']
        )
        copied = [hand_over, *begin, *own_bias, *self._leaves("x"), f"return {taken}"]
        lines += ["", "", "def copied(x, g, parameters):", *_indented(copied), "", ""]
        lines.append(
            "turn = itertools.cycle([copied(*copy.deepcopy((x, g, layer._parameters))) for _ in range(count)])"
        )
        return lines, [f"{taken} = next(turn)", *([hand_over] if direction is Direction.TRAIN_STEP else [])]

    def timing(self) -> list[str]:
        """The function that times a sample, in seconds per iteration."""
        if self._flushes:
            return self._events()
        synchronize = [] if self._on_cpu else [self._synchronize]
        return [
            "",
            "def timed(count):",
            "    begin = time.perf_counter()",
            "    for _ in range(count):",
            "        graph.replay()" if self._captures else "        step()",
            *_indented(synchronize),
            "    return (time.perf_counter() - begin) / count",
            "",
        ]

    def _events(self) -> list[str]:
        own = self._backend != "torch.accelerator"
        event = f"{self._backend}.Event(enable_timing=True)" if own else "torch.Event(device, enable_timing=True)"
        stream = "" if self._backend == "torch.mps" else f"{self._backend}.current_stream(device)"
        lines = ["cache = 2**28  # bytes, where it is unknown"]
        if self._backend in ("torch.cuda", "torch.xpu"):
            known = 'getattr(properties, "L2_cache_size", 0)'
            is_cuda = self._backend == "torch.cuda"
            known = f"torch.version.hip is None and {known} or 2**28" if is_cuda else f"max(2**28, {known})"
            lines = [f"properties = {self._backend}.get_device_properties(device)", f"cache = {known}  # bytes"]
        events = [
            f"first, second = {event}, {event}",
            f"first.record({stream})",
            "step()",
            f"second.record({stream})",
            self._synchronize,
            "return first.elapsed_time(second) * 1e-3",
        ]
        clock = [
            self._synchronize,
            "begin = time.perf_counter()",
            "step()",
            self._synchronize,
            "return time.perf_counter() - begin",
        ]
        flush = ["filler.zero_()", "filler.sum()"]
        head = ["", "# Overwritten and read before each iteration: twice the last-level cache.", *lines]
        head.append("filler = torch.empty(2 * cache // 4, device=device)")
        if own:
            return [*head, "", "", "def timed():", *_indented([*flush, *events]), ""]
        asked = [f"event = {event}", f"event.record({stream})", self._synchronize, "event.elapsed_time(event)"]
        return [
            *[*head, "", "", "def has_events():", "    try:", *_indented(_indented(asked))],
            *["    except RuntimeError:", "        return False  # of this backend", "    return True", "", ""],
            *["def timed_by_events():", *_indented([*flush, *events]), "", ""],
            *["def timed_by_clock():", *_indented([*flush, *clock]), "", ""],
            "timed = timed_by_events if has_events() else timed_by_clock",
            "",
        ]

    @property
    def _synchronize(self) -> str:
        return f"{self._backend}.synchronize({'' if self._backend == 'torch.mps' else 'device'})"

    def loop(self) -> list[str]:
        """The loop that warms up, takes samples for some seconds, and prints the minimum and the median."""
        sample = _CPU_SAMPLE if self._on_cpu else _DEVICE_SAMPLE
        if self._flushes:
            call, number = "timed()", "len(times)"
            lines = ["for _ in range(3):", "    timed()  # warm-up"]
        else:
            call, number = "timed(count)", "len(times) * count"
            lines = ["timed(3)  # warm-up", f"count = 1 + int({sample} / timed(3))  # iterations of a sample"]
        lines += [
            "times, end = [], time.perf_counter() + seconds",
            "while not times or time.perf_counter() < end:",
            f"    times.append({call})",
        ]
        if self._modes:
            lines = [f"with {', '.join(self._modes)}:", *_indented(lines)]
        return [
            f"seconds = float(sys.argv[1]) if len(sys.argv) > 1 else {SECONDS}",
            *lines,
            "low, middle = min(times) * 1e6, statistics.median(times) * 1e6",
            f'print(f"per iteration: min {{low:,.2f}} us, median {{middle:,.2f}} us, of {{{number}:,}}")',
        ]


def _head(case: Case, variables: Mapping[str, str]) -> list[str]:
    """Comments that describe the script and how to run it."""
    lines = textwrap.wrap(_printable(case.label), _WIDTH - 2, break_on_hyphens=False)
    lines += [f"Case {case.id} of convbench, as a script that needs nothing but torch. To run it:", ""]
    words = [f"{name}={_quoted(value)}" for name, value in variables.items()]
    if case.module != TORCH_MODULE:
        words.append('PYTHONPATH=.:"$PYTHONPATH"')
    if words:
        lines.append(f"  export {' '.join(words)}")
    lines += [f"  python {NAME} [SECONDS]", f"  perf record -g -- python {NAME}", ""]
    secrets = [name for name, value in case.env if value == HIDDEN]
    if secrets:
        lines += [f"It was measured with {', '.join(secrets)} set to what is not stored.", ""]
    if words:
        lines += ["The first line makes the process as it was measured; the script runs without it, too.", ""]
    return [f"# {line}".rstrip() for line in lines[:-1]] + [""]


def _arguments(p: Problem, *, every: bool = False) -> Iterable[str]:
    """The layer's arguments after its channels; without `every`, only those that are not torch's default."""
    padding = f'"{p.padding.value}"' if isinstance(p.padding, str) else str(p.padding)
    words = {
        "kernel_size": (str(p.kernel_size), ""),
        "stride": (str(p.stride), str((1,) * p.rank)),
        "padding": (padding, str((0,) * p.rank)),
        "dilation": (str(p.dilation), str((1,) * p.rank)),
        "groups": (str(p.groups), "1"),
        "bias": (str(p.bias), "True"),
        "padding_mode": (f'"{p.padding_mode.value}"', f'"{PaddingMode.ZEROS.value}"'),
    }
    return (f"{name}={text}" for name, (text, default) in words.items() if every or text != default)


def _call(arguments: Iterable[str]) -> str:
    return ", ".join(arguments)


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" if line else "" for line in lines]


def _printable(text: str) -> str:
    """The text on one line: a label may contain any character, and must stay inside its comment."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _quoted(value: str) -> str:
    """The value quoted for a shell, on one line."""
    if value.isprintable():
        return shlex.quote(value)
    escaped = "".join(f"\\x{byte:02x}" for byte in value.encode("utf-8", "surrogateescape"))
    return f"$'{escaped}'"
