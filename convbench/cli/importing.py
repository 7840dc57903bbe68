"""The verb that makes a sweep of another program's file."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convbench.cli.output import say, show_bytes
from convbench.errors import RequestError
from convbench.store.files import check_writable, write_bytes
from convbench.units import line

if TYPE_CHECKING:
    from convbench.workloads.workload import Workload

#: What stands for standard input.
STANDARD_INPUT = Path("-")


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to read; - is standard input.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the sweep to this file instead of standard output.")
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="FORMAT", help="The format, if it is not found: benchdnn, onednn-verbose, ..."
        ),
    ] = None,
    size: Annotated[
        list[str] | None,
        typer.Option("--size", metavar="NAME=N", help="A number for a size that an ONNX file names: batch=1."),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="The name of the sweep. [default: the file's]")] = None,
) -> None:
    """Make a sweep of the convolutions in a model, log or list.

    Reads ONNX files, traces of torch.profiler, logs of oneDNN and MIOpen, benchdnn's batch files, and more. Standard
    error gets how many layers were read, how many differ, and why others were refused.
    """
    from convbench.actions.importing import imported
    from convbench.workloads.importers import summary
    from convbench.workloads.writing import sweep_text

    if output is not None:
        check_writable(output)
    sizes = dict(map(_size, size or []))
    made: Workload = imported(sys.stdin.buffer if file == STANDARD_INPUT else file, name=name, form=form, sizes=sizes)
    content = sweep_text(made).encode()
    for text in (*summary(made), *made.notes):
        say(line(text))
    if output is None:
        show_bytes(content)
    else:
        write_bytes(output, content)
        say(f"next: convbench plan {line(shlex.quote(str(output)))}")


def _size(text: str) -> tuple[str, int]:
    """`batch=1`."""
    name, _, number = text.rpartition("=")
    if not name or not re.fullmatch(r"[1-9][0-9]{0,9}", number):
        raise RequestError(
            f"--size {line(text, most=60)}: expected NAME=N, with N of at least 1", hint="--size batch=1"
        )
    return name, int(number)
