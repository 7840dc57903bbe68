"""Files of other programs for the tests of their readers: lines written by hand, and what is read of them."""

from __future__ import annotations

import io
from collections.abc import Callable

from convbench.model.case import Case
from convbench.model.problem import Problem
from convbench.workloads.importers import imported
from convbench.workloads.importers.source import Source
from convbench.workloads.workload import Workload


def source(content: str | bytes, *, name: str = "given", beside: Callable[[str], Source] | None = None) -> Source:
    """A file of this content."""
    return Source(name, io.BytesIO(content.encode() if isinstance(content, str) else content), beside)


def read(content: str | bytes, form: str | None = None, **sizes: int) -> Workload:
    """What is read of a file of this content, in a format that is found where `form` does not name it."""
    return imported(source(content), name="given", form=form, sizes=sizes)


def only(content: str | bytes, form: str | None = None) -> Case:
    """The one case of a file."""
    made = read(content, form)
    assert not made.refused
    [case] = made.cases
    return case


def layer(
    channels: tuple[int, int], kernel: int | tuple[int, int], size: int | tuple[int, int], **rest: object
) -> Problem:
    """A problem, with one number for equal sizes of both dimensions."""
    spatial = {"kernel_size": kernel, "input_size": size} | rest
    sizes = ("kernel_size", "input_size", "stride", "padding", "dilation")
    given = {
        name: (value, value) if name in sizes and isinstance(value, int) else value for name, value in spatial.items()
    }
    return Problem(in_channels=channels[0], out_channels=channels[1], **given)  # type: ignore[arg-type]  # built by name
