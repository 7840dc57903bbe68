"""Small layers of every kind for tests of a worker: what is asked for, and what becomes of it."""

from __future__ import annotations

from dataclasses import replace

import torch

from convbench.model.problem import PaddingMode, PaddingWord, Problem
from convbench.worker.layer import PRODUCES, Layer
from convbench.worker.spec import Spec
from convbench.worker.verify.verdict import Outcome, verify

CPU = torch.device("cpu")
DIRECTIONS = tuple(PRODUCES)
GRADIENTS = ("backward", "train_step")
PLAIN = Problem(in_channels=6, out_channels=8, kernel_size=(3, 3), input_size=(9, 11), padding=(1, 1), batch_size=3)


def spec(problem: Problem, direction: str = "forward", module: str = "torch.nn.Conv2d", **settings: object) -> Spec:
    execution = {"dtype": "float32", "memory_format": "contiguous", "device": "cpu", "seed": 42, **settings}
    return Spec(
        operator=problem.operator.name,
        in_channels=problem.in_channels,
        out_channels=problem.out_channels,
        kernel_size=problem.kernel_size,
        stride=problem.stride,
        padding=str(problem.padding) if isinstance(problem.padding, PaddingWord) else problem.padding,
        dilation=problem.dilation,
        groups=problem.groups,
        bias=problem.bias,
        padding_mode=str(problem.padding_mode),
        pads=problem.pads,
        input_shape=problem.input_shape,
        weight_shape=problem.weight_shape,
        output_shape=problem.output_shape,
        batch_size=problem.batch_size,
        direction=direction,
        module=module,
        pads_itself=problem.module_output_size is not None,
        **execution,
    )


def run(problem: Problem, direction: str = "forward", module: str = "torch.nn.Conv2d", **settings: object) -> Outcome:
    module = module if "." in module else f"planted:{module}"
    return verify(Layer(spec(problem, direction, module, **settings), CPU))


HONEST = {
    "plain": PLAIN,
    "no bias": replace(PLAIN, bias=False),
    "unbatched": replace(PLAIN, batch_size=None),
    "stride": replace(PLAIN, stride=(2, 3), padding=(2, 0)),
    "dilation": replace(PLAIN, dilation=(2, 3), padding=(2, 3)),
    "same": replace(PLAIN, kernel_size=(4, 3), padding=PaddingWord.SAME),
    "valid": replace(PLAIN, padding=PaddingWord.VALID),
    "groups": replace(PLAIN, groups=2),
    "depthwise": replace(PLAIN, out_channels=12, groups=6),
    "1x1": replace(PLAIN, kernel_size=(1, 1), padding=(0, 0)),
    "one of all": replace(PLAIN, in_channels=1, out_channels=1, batch_size=1),
    "kernel as large as the input": replace(PLAIN, kernel_size=(9, 11), padding=(0, 0)),
    "many images": replace(PLAIN, batch_size=150, in_channels=2, out_channels=4),
    "large": Problem(in_channels=130, out_channels=96, kernel_size=(3, 3), input_size=(20, 20), batch_size=2),
    **{f"{mode} padding": replace(PLAIN, padding=(2, 3), padding_mode=mode) for mode in PaddingMode},
    "replicate far": replace(PLAIN, padding=(16, 17), padding_mode=PaddingMode.REPLICATE, kernel_size=(7, 7)),
    "reflect, same": replace(PLAIN, padding=PaddingWord.SAME, kernel_size=(4, 4), padding_mode=PaddingMode.REFLECT),
}
DTYPES = ("float32", "bfloat16", "float16", "float64")
DEEP = Problem(in_channels=256, out_channels=5, kernel_size=(3, 3), input_size=(7, 8), padding=(1, 1), batch_size=2)
PRECISION = Problem(in_channels=16, out_channels=16, kernel_size=(3, 3), input_size=(20, 20), batch_size=4)
