"""The verb `import`: a file of another program as a workload. Opens files; formats are in workloads/importers/."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from convbench.errors import RequestError
from convbench.workloads import importers
from convbench.workloads.importers.source import Source
from convbench.workloads.workload import Workload

#: The name of a workload that comes through a pipe.
UNNAMED = "imported"


def imported(
    path: Path | BinaryIO,
    *,
    name: str | None = None,
    form: str | None = None,
    sizes: Mapping[str, int] | None = None,
) -> Workload:
    """The convolutions of a file, or of a stream of bytes such as standard input.

    `name` is the workload's, by default the file's without its ending. `form` is the format, by default the one that
    is found. `sizes` are numbers for the symbols of an ONNX file. Raises RequestError.
    """
    with _source(path) as source:
        return importers.imported(source, name=name or _name(path), form=form, sizes=sizes)


def _name(path: Path | BinaryIO) -> str:
    """`verbose` for `logs/verbose.log.gz`."""
    return (path.name.split(".")[0] or path.name) if isinstance(path, Path) else UNNAMED


@contextmanager
def _source(path: Path | BinaryIO) -> Iterator[Source]:
    """The source of a path or a stream. Files that it opens are closed at the end."""
    with ExitStack() as opened:

        def of(file: Path, shown: str) -> Source:
            def beside(other: str) -> Source:
                return of(file.parent / other, other)

            return Source(shown, opened.enter_context(_open(file)), beside, identity=str(file.resolve()))

        if isinstance(path, Path):
            yield of(path, str(path))
        else:
            yield Source("standard input", path, lambda other: of(Path(other), other))


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise RequestError(f"cannot read {path}: {error.strerror}") from None
    with file:
        yield file
