"""The verb that writes a first sweep."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from convbench.cli.output import ask, say, show
from convbench.cli.schema import schema_file
from convbench.errors import RequestError
from convbench.store.files import check_writable, write_bytes
from convbench.units import line

#: The sweep that nobody was asked about: settings -> values as in YAML, and what it compares.
LAYER = {"in_channels": "[3, 64]", "out_channels": "64", "kernel_size": "3", "input_size": "56", "batch_size": "1"}
COMPARED = "dtype"

Answer = TypeVar("Answer")


def init(
    output: Annotated[Path, typer.Argument(metavar="FILE", help="The sweep to write.")] = Path("sweep.yaml"),
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Ask nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write a commented sweep, to be changed and run.

    On a terminal, it asks three questions first: the layer, its input, and what to compare. Beside the sweep it writes
    sweep.schema.json, by which editors complete and check sweeps.
    """
    if output.exists() and not force:
        raise RequestError(f"{output} exists already", hint="--force overwrites it; or name another file")
    check_writable(output)
    asks = not yes and sys.stdin.isatty() and sys.stderr.isatty()
    write_sweep(output, *(_asked() if asks else ()))
    show(line(str(output)))
    say(f"next: convbench run {line(str(output))}")


def write_sweep(path: Path, given: Mapping[str, str] = LAYER, compared: str = COMPARED) -> None:
    """Write a sweep of these settings, and the schema beside it."""
    from convbench.report.text.starter import sweep_text
    from convbench.sweep.schema import FILE

    text = sweep_text(path=str(path), name=path.stem, schema=FILE, given=given, compared=compared)
    write_bytes(path, text.encode())
    write_bytes(path.with_name(FILE), schema_file())


def _asked() -> tuple[dict[str, str], str]:
    """The layer and what to compare, as a user on a terminal answers."""
    from convbench import sweep
    from convbench.model.nearest import did_you_mean
    from convbench.report.text.starter import COMPARED as CHOICES
    from convbench.report.text.starter import NOTHING

    def settings(answer: str, names: tuple[str, ...], others: dict[str, str]) -> dict[str, str]:
        values = answer.split()
        if len(values) != len(names):
            raise RequestError(f"expected {len(names)} values with a space between them, got {len(values)}")
        given = dict(zip(names, values, strict=True))
        refusal = sweep.case_of(given | others).problem.refusal()
        if refusal is not None:
            raise RequestError(refusal)
        return given

    def choice(answer: str) -> str:
        known = [*CHOICES, NOTHING]
        if answer not in known:
            raise RequestError(f"expected one of {', '.join(known)}, got {answer!r}", hint=did_you_mean(answer, known))
        return answer

    shape, size = ("in_channels", "out_channels", "kernel_size"), ("input_size", "batch_size")
    layer = _ask(
        "The layer: channels in, channels out, kernel size",
        "3 64 3",
        lambda x: settings(x, shape, {"input_size": "9999"}),
    )
    image = _ask("Its input: size, images in a batch", "56 1", lambda x: settings(x, size, layer))
    compared = _ask(f"Compare {', '.join(CHOICES)}, or {NOTHING}", COMPARED, choice)
    return layer | image, compared


def _ask(question: str, default: str, read: Callable[[str], Answer]) -> Answer:
    """The answer to a question, which is asked again until `read` takes it."""
    while True:
        answer = ask(f"{question} [{default}]:")
        if answer is None:
            raise RequestError("no answer", hint="--yes asks nothing")
        try:
            return read(answer.strip() or default)
        except RequestError as error:
            say(f"{error.message}; {error.hint}" if error.hint else error.message)
