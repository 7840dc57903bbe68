"""The verb that explains a layer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from convbench.cli.options import Database, database_of
from convbench.cli.output import flush, say, show
from convbench.errors import ExitCode, RequestError
from convbench.store.files import write_bytes
from convbench.units import line

if TYPE_CHECKING:
    from convbench.model.case import Case


def _setting(help_text: str) -> typer.models.OptionInfo:
    """An option of `explain`; its value is written as in YAML."""
    option: typer.models.OptionInfo = typer.Option(metavar="VALUE", help=help_text, rich_help_panel=None)
    return option


def explain(
    case: Annotated[str | None, typer.Argument(metavar="CASE", help="The id of a stored case.")] = None,
    in_channels: Annotated[str | None, _setting("Channels of the input.")] = None,
    out_channels: Annotated[str | None, _setting("An integer, or in_channels.")] = None,
    kernel_size: Annotated[str | None, _setting("An integer, or two: 3x5.")] = None,
    input_size: Annotated[str | None, _setting("An integer, or two: 3x5.")] = None,
    stride: Annotated[str | None, _setting("An integer, or two: 3x5.")] = None,
    padding: Annotated[str | None, _setting("An integer, two: 1x2, same, valid or half.")] = None,
    dilation: Annotated[str | None, _setting("An integer, or two: 3x5.")] = None,
    groups: Annotated[str | None, _setting("An integer, or depthwise.")] = None,
    bias: Annotated[str | None, _setting("true or false.")] = None,
    padding_mode: Annotated[str | None, _setting("zeros, reflect, replicate or circular.")] = None,
    batch_size: Annotated[str | None, _setting("Images per batch; null is one unbatched image, 0 none.")] = None,
    module_output_size: Annotated[str | None, _setting("Output size of a module that pads by itself: 9x9.")] = None,
    dtype: Annotated[str | None, _setting("float16, bfloat16, float32 or float64.")] = None,
    memory_format: Annotated[str | None, _setting("contiguous or channels_last.")] = None,
    direction: Annotated[str | None, _setting("forward, backward, grad_input, grad_weight or train_step.")] = None,
    device: Annotated[str | None, _setting("cpu, cuda, cuda:1, ... or accelerator.")] = None,
    threads: Annotated[str | None, _setting("An integer; null is torch's default.")] = None,
    module: Annotated[str | None, _setting("package.module:Class; by default torch's layer.")] = None,
    allocator: Annotated[str | None, _setting("steady or system.")] = None,
    cache: Annotated[str | None, _setting("hot or cold.")] = None,
    data: Annotated[str | None, _setting("normal, zeros or denormal.")] = None,
    autocast: Annotated[str | None, _setting("none, bfloat16 or float16.")] = None,
    fp32_precision: Annotated[str | None, _setting("default, ieee, tf32 or bf16.")] = None,
    deterministic: Annotated[str | None, _setting("true or false.")] = None,
    cudnn_benchmark: Annotated[str | None, _setting("true or false.")] = None,
    env: Annotated[str | None, _setting("Environment variables of the worker: {NAME: value, ...}.")] = None,
    weights: Annotated[str | None, _setting("normal, given, zeros or denormal.")] = None,
    input_format: Annotated[str | None, _setting("same, contiguous, channels_last or strided.")] = None,
    execution: Annotated[str | None, _setting("eager, compiled or graph.")] = None,
    compile_mode: Annotated[str | None, _setting("default, max-autotune or max-autotune-no-cudagraphs.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The page. [default: reports/explain-<case id>.html]", show_default=False),
    ] = None,
    db: Database = None,
) -> None:
    """Explain one layer's shapes, parameters and operations.

    Give the id of a stored case, or the settings of a layer. Values are written as in YAML. Prints the explanation to
    standard output. Also writes an interactive page and prints its path to standard error.
    """
    from convbench import sweep as sweeps
    from convbench.model.case import SETTINGS
    from convbench.report.text.explain import explain as explained

    arguments = locals()
    options = {name: arguments[name] for name in SETTINGS if arguments.get(name) is not None}
    if case is None:
        chosen = sweeps.case_of(options)
    elif options:
        raise RequestError("got a case id and settings of a layer", hint="give one or the other")
    else:
        from convbench.store import Store

        with Store.open(database_of(db)) as store:
            chosen = store.find_case(case)
    show(str(explained(chosen)))
    flush()
    _write_explanation(chosen, output)
    raise typer.Exit(ExitCode.WRONG_REQUEST if chosen.refusal() else ExitCode.DONE)


def _write_explanation(case: Case, output: Path | None) -> None:
    """Write the page of `explain`. Failing to write the default page is not an error; `output` must be written."""
    from convbench.actions import pages
    from convbench.report.pages import explain as explain_page

    path = output or pages.REPORTS / explain_page.file_name(case)
    try:
        write_bytes(path, explain_page.render(case).encode())
    except RequestError as error:
        if output is not None:
            raise
        say(f"could not write the interactive page: {error.message}")
    else:
        say(f"interactive page: {line(str(path))}")
