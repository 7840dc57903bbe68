"""The commented sweep that `convbench init` writes. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from convbench.model.operators.given import PerDimension
from convbench.model.settings import REQUIRED, TABLE, Setting
from convbench.units import line

#: What a sweep may compare -> the values of that setting, as in YAML.
COMPARED: Mapping[str, str] = {
    "dtype": "[float32, bfloat16]",
    "memory_format": "[contiguous, channels_last]",
    "cache": "[hot, cold]",
    "kernel_size": "[1, 3, 5]",
    "batch_size": "[1, 8]",
}
#: The word for a sweep that compares nothing.
NOTHING = "nothing"
#: The column of comments behind settings.
_COLUMN = 40

_TEXT = """\
# yaml-language-server: $schema={schema}

# A sweep measures the product of all lists below: each value of an axis with each value of the others.
#
#     convbench plan {path}      shows what would be measured
#     convbench run {path}       measures, and writes a report to reports/
name: {name}

axes:
  # Every sweep gives these four. A single value needs no brackets.
{required}

  # How the layers run. One thread repeats better than as many as the machine has cores.
{chosen}

  # All other settings with their defaults. Give those that you vary.
{others}

# Points to leave out, for example:
# exclude:
#   - {{in_channels: 3, dtype: bfloat16}}

# Five fresh processes take five blocks of each case, and at most `max_time` seconds in all.
measure: {{processes: 5, rounds: 5, max_time: 0.5}}
"""


def sweep_text(*, path: str, schema: str, name: str, given: Mapping[str, str], compared: str = NOTHING) -> str:
    """The text of a sweep at `path`, whose editor finds the JSON Schema in the file `schema` beside it.

    `given` are values of settings as in YAML. The settings without a default must be among them. `compared` is a key of
    COMPARED, whose values it then takes.
    """
    values = {**given, "padding": "half", "direction": "[forward, backward]", "threads": "1"}
    values |= {compared: COMPARED[compared]} if compared in COMPARED else {}
    chosen = {setting: value for setting, value in values.items() if setting not in REQUIRED}
    return _TEXT.format(
        schema=schema,
        path=line(path),
        name=json.dumps(name),
        required="\n".join(_line(setting, values[setting]) for setting in REQUIRED),
        chosen="\n".join(_line(setting, value) for setting, value in chosen.items()),
        others="\n".join(_line(name, _default(row), "# ") for name, row in TABLE.items() if name not in values),
    )


def _line(setting: str, value: str, mark: str = "") -> str:
    return f"{f'  {mark}{setting}: {value}':<{_COLUMN}} # {TABLE[setting].about}"


def _default(row: Setting) -> str:
    """The default as in YAML."""
    default = row.default[0] if isinstance(row.default, PerDimension) else row.default
    words = {None: "null", True: "true", False: "false", (): "{}"}
    return words[default] if isinstance(default, bool | tuple | None) else str(default)
