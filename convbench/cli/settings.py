"""Options for the settings of a layer, one for each row of the table of settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from inspect import Parameter
from typing import Annotated, Any, get_type_hints

import typer

from convbench.cli.completion import words
from convbench.model.settings import TABLE, Kind, Setting

#: The longest sentence of a help text, in words.
LONGEST_SENTENCE = 25


def with_settings(verb: Callable[..., None], *, repeated: bool = False) -> Callable[..., None]:
    """The verb with an option for each setting in place of its parameter `settings`, which gets the texts given.

    With `repeated` an option may be given several times, and the texts are lists.
    """
    kind: Any = list[str] | None if repeated else str | None
    hints = get_type_hints(verb, include_extras=True)
    parameters = []
    for parameter in inspect.signature(verb).parameters.values():
        if parameter.name != "settings":
            parameters.append(parameter.replace(kind=Parameter.KEYWORD_ONLY, annotation=hints[parameter.name]))
            continue
        for name, row in TABLE.items():
            option = typer.Option(
                f"--{name.replace('_', '-')}",
                metavar="VALUE",
                help=_help(row),
                show_default=False,
                autocompletion=_completion(row.kind),
            )
            parameters.append(Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option]))

    @wraps(verb)
    def run(**arguments: Any) -> None:
        given = {name: value for name in TABLE if (value := arguments.pop(name))}
        verb(settings=given, **arguments)

    # typer reads the options from the signature, which functions have no type for.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads it
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _completion(kind: Kind) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return words(kind, incomplete)

    return complete


def _help(row: Setting) -> str:
    """`Type of every tensor: float16, bfloat16, float32 or float64.`"""
    first, *others = row.about.split(" ")
    about = " ".join([first.capitalize() if first.islower() else first, *others])
    values = _values(row.kind, row.default)
    if len(f"{about} {values}".split()) > LONGEST_SENTENCE:
        return f"{about}. {values[0].upper()}{values[1:]}."
    return f"{about}: {values}."


def _values(kind: Kind, default: object) -> str:
    if kind.variables:
        return "{NAME: value, ...}"
    if kind.text and str(default) not in kind.name:
        return f"{kind.name}, such as {default}"
    integer = f"an integer of at least {kind.least}"
    return kind.name.replace(integer, f"{integer} (or two: 3x5)") if kind.spatial else kind.name
