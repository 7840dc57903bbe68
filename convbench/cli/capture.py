"""The verb that captures a model's convolutions as a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from convbench.cli.model_options import (
    ArgumentOption,
    AutocastOption,
    ChannelsLastOption,
    InputOption,
    InputsOption,
    ModelOptions,
    RealOption,
    TrainOption,
)
from convbench.cli.output import say, show_bytes
from convbench.store.files import check_writable, write_bytes
from convbench.units import count, flat, line, plural


def capture(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="package.module:Model or file.py:Net.")],
    inputs: InputOption = None,
    inputs_from: InputsOption = None,
    arguments: ArgumentOption = None,
    train: TrainOption = False,
    autocast: AutocastOption = None,
    channels_last: ChannelsLastOption = False,
    real: RealOption = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write the sweep to this file.")
    ] = None,
) -> None:
    """Write the convolutions of a model as a sweep.

    The model is a module, or a class or function that makes one. It runs once in a process of its own, without weights
    and without numbers, so it needs little memory. Equal layers become one case with their count. The head of the sweep
    says what was left out, and why.
    """
    from convbench.actions import capturing

    options = ModelOptions(
        inputs=inputs,
        inputs_from=inputs_from,
        arguments=arguments,
        train=train,
        autocast=autocast,
        channels_last=channels_last,
        real=real,
    )
    request = options.request(model)
    assert request is not None
    if output is not None:
        check_writable(output)
    found = capturing.captured(request)
    content = capturing.sweep_of(found).encode()
    if output is None:
        show_bytes(content)
    else:
        write_bytes(output, content)
    refused = sum(each.count for each in found.refused)
    both = " forward and backward" if train else ""
    say(f"{plural(found.read, 'convolution')}{both}, {count(found.distinct)} distinct, {count(refused)} left out")
    for reason, times in found.reasons.items():
        say(f"left out {count(times)}: {flat(reason)}")
    if output is not None:
        say(f"next: convbench run {line(str(output))}")
