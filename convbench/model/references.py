"""Reference layers: fixed convolutions whose times show how fast the machine runs at a moment.

A worker times them in every round, beside the cases. What slows all layers of a machine alike slows the references as
well, and the ratio of a case to its references stays. Layers in the caches and layers beyond L2 share different parts
of the machine, so each kind has references of its own.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from enum import StrEnum
from functools import cache
from typing import TypeAlias

from convbench.model.campaign import machine_key
from convbench.model.case import Case
from convbench.model.problem import Problem
from convbench.model.result import Environment

#: The version of the set. Versions are never compared with each other, so a change of a layer needs a new one.
VERSION = 1
#: The device and the number of threads that references were timed with, None for torch's default.
ReferenceKey: TypeAlias = "tuple[str, int | None]"


def same_speed(environment: Environment) -> Hashable:
    """What must be equal for the references to show the machine alone: another torch has other kernels for them too."""
    return machine_key(environment), environment.device_software, environment.torch, environment.onednn


class ReferenceKind(StrEnum):
    """The part of a machine that a layer shares with others."""

    CACHES = "in the caches"  # operands and result fit into one core's second-level cache
    MEMORY = "beyond L2"
    DEVICE = "on the device"  # an accelerator, which shares neither


def _layer(batch: int, channels: int, filters: int, kernel: int, stride: int, padding: int, size: int) -> Problem:
    return Problem(
        batch_size=batch,
        in_channels=channels,
        out_channels=filters,
        kernel_size=(kernel, kernel),
        stride=(stride, stride),
        padding=(padding, padding),
        input_size=(size, size),
    )


#: The layers by kind. On a CPU five small ones, which take 0.02 to 0.3 ms, and three that reach memory, 1 to 3 ms.
#: bench/estimators.py compares sets. Those of accelerators were never measured on one.
REFERENCES: Mapping[ReferenceKind, tuple[Problem, ...]] = {
    ReferenceKind.CACHES: (
        _layer(2, 32, 32, 3, 1, 1, 28),
        _layer(1, 64, 64, 3, 1, 1, 14),
        _layer(4, 16, 32, 3, 2, 1, 32),
        _layer(1, 96, 64, 1, 1, 0, 14),
        _layer(2, 24, 24, 5, 1, 2, 20),
    ),
    ReferenceKind.MEMORY: (
        _layer(1, 256, 256, 3, 1, 1, 14),
        _layer(2, 128, 128, 3, 1, 1, 28),
        _layer(4, 128, 64, 1, 1, 0, 56),
    ),
    ReferenceKind.DEVICE: (
        _layer(32, 128, 128, 3, 1, 1, 28),
        _layer(32, 256, 256, 3, 1, 1, 14),
        _layer(64, 128, 64, 1, 1, 0, 56),
    ),
}


@cache
def references(device: str) -> tuple[tuple[ReferenceKind, Case], ...]:
    """The references of a device, each with its kind: float32, forward, in the order of `ReferenceBlocks.rows`."""
    kinds = (ReferenceKind.CACHES, ReferenceKind.MEMORY) if device == "cpu" else (ReferenceKind.DEVICE,)
    return tuple((kind, Case(problem=problem, device=device)) for kind in kinds for problem in REFERENCES[kind])


def kind_of(case: Case, l2_bytes: int | None) -> ReferenceKind:
    """The references that a case is related to; on a CPU with unknown caches those beyond L2."""
    if case.device != "cpu":
        return ReferenceKind.DEVICE
    return ReferenceKind.CACHES if case.fits(l2_bytes) else ReferenceKind.MEMORY
