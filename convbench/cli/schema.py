"""The verb that prints the JSON Schema of sweeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from convbench.cli.output import show_bytes
from convbench.store.files import write_bytes


def schema(
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write to this file instead.")
    ] = None,
) -> None:
    """Print the JSON Schema of sweeps, for editors.

    A sweep names the file in its first line: # yaml-language-server: $schema=sweep.schema.json. An editor with a YAML
    language server then completes settings, explains them and marks wrong values.
    """
    content = schema_file()
    if output is None:
        show_bytes(content)
    else:
        write_bytes(output, content)


def schema_file() -> bytes:
    """The content of the file."""
    from convbench.sweep.schema import schema as schema_of_sweeps

    return (json.dumps(schema_of_sweeps(), indent=1) + "\n").encode()
