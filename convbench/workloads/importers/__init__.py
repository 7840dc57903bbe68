"""Files of other programs -> a workload, one module a format. To add one, add its file and its line in `FORMATS`.

Each module has `detects`, `read`, an `EXAMPLE` line, and the `SUBJECT` of what it says about times.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from convbench import units
from convbench.errors import RequestError
from convbench.model.nearest import did_you_mean
from convbench.workloads.importers import (
    benchdnn,
    csv_export,
    deepbench,
    miopen_driver,
    miopen_find_db,
    onednn_verbose,
    onnx_model,
    operator_inputs,
    profiler,
)
from convbench.workloads.importers.gathering import workload
from convbench.workloads.importers.layers import Found, label_of
from convbench.workloads.importers.source import NOT_TEXT, Source
from convbench.workloads.workload import Workload


class Format(Protocol):
    """The module of a format."""

    EXAMPLE: str
    SUBJECT: str

    def detects(self, source: Source) -> bool:
        """Whether the file looks like this format, by its head."""

    def read(self, source: Source, sizes: Mapping[str, int]) -> Iterator[Found]:
        """What is in the file, in its order; RequestError where it cannot be read at all."""


#: The formats by their names for `--format`, in the order in which they are tried.
FORMATS: Mapping[str, Format] = {
    "onnx": onnx_model,
    "trace": profiler,
    "csv": csv_export,
    "onednn-verbose": onednn_verbose,
    "miopen-driver": miopen_driver,
    "miopen-find-db": miopen_find_db,
    "operator-inputs": operator_inputs,
    "deepbench": deepbench,
    "benchdnn": benchdnn,
}
#: The only format whose files may leave sizes open.
WITH_SIZES = "onnx"


def imported(source: Source, *, name: str, form: str | None = None, sizes: Mapping[str, int] | None = None) -> Workload:
    """The convolutions of a file as a workload called `name`; `form` is the name of its format, found where None.

    `sizes` are numbers for the symbols of an ONNX file. Raises RequestError for a file in no known format, for one
    that cannot be read, and for one without a convolution that convbench measures.
    """
    if form is None:
        form = detected(source)
    elif form not in FORMATS:
        known = f"known are {', '.join(FORMATS)}"
        raise RequestError(f"unknown format {form!r}", hint=did_you_mean(form, tuple(FORMATS)) or known)
    elif source.is_binary and form != WITH_SIZES:
        raise RequestError(f"{source.name} is not in the format {form}: it is no text", hint=NOT_TEXT)
    if sizes and form != WITH_SIZES:
        raise RequestError(f"--size is for ONNX files, and {source.name} is in the format {form}")
    reader = FORMATS[form]
    made = workload(
        reader.read(source, sizes or {}),
        name=label_of(name) or form,
        source=f"from {source.name} ({form})",
        subject=reader.SUBJECT,
    )
    if not made.cases:
        raise RequestError([f"{source.name} has no convolution that can be measured ({form})", *summary(made)[1:]])
    return made


def detected(source: Source) -> str:
    """The name of the format that the head of a file shows. Raises RequestError where it is none."""
    for name, form in FORMATS.items():
        if form.detects(source):
            return name
    if source.is_binary:
        raise RequestError(f"{source.name} is binary, and no ONNX file", hint=NOT_TEXT)
    hint = f"--format NAME names it: {', '.join(FORMATS)}"
    raise RequestError(f"{source.name} is in no format that convbench finds", hint=hint)


def summary(made: Workload) -> list[str]:
    """The counts of a workload, and each reason to refuse with how often and where first."""
    refused = sum(each.count for each in made.refused)
    counts = f"read {units.count(made.read)}, distinct {units.count(made.distinct)}, refused {units.count(refused)}"
    first = {each.reason: each.place for each in reversed(made.refused)}
    reasons = [f"  {units.count(n)}: {reason} (first: {first[reason]})" for reason, n in made.reasons.items()]
    return [counts, *reasons]
