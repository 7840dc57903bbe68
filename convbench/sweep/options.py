"""Settings as options of the command line, with values written as in YAML: one case, or the text of a sweep."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from operator import attrgetter
from typing import Any

import yaml

from convbench.errors import Mistake, RequestError, SweepError
from convbench.model.case import Case, canonical
from convbench.model.settings import REQUIRED, SETTINGS, TABLE
from convbench.sweep import sizes
from convbench.sweep.document import Mistakes, Node, compose
from convbench.sweep.expand import case_at
from convbench.sweep.parse import KINDS, LONGEST_NAME, Sweep, Value, parse, read_value

#: The hints at a list of values, where an option may be repeated and where not.
REPEAT = "for several values, repeat the option"
ONE_VALUE = "the option takes one value"
#: `out_channels: in_channels`, as hints at sweeps write settings.
_IN_SWEEP = re.compile(rf"\b({'|'.join(SETTINGS)}): ")


def case_of(options: Mapping[str, str]) -> Case:
    """The case of settings by name.

    Raises RequestError with all mistakes: `--kernel-size: expected an integer of at least 1, got 'three'`. A case that
    torch would refuse is no mistake here; see Case.refusal.
    """
    read = _read({name: [text] for name, text in options.items()}, several=ONE_VALUE)
    return case_at({name: values[0] for name, (_, values) in read.items()})


def sweep_of(options: Mapping[str, Sequence[str]], measure: Mapping[str, float]) -> Sweep:
    """The sweep whose axes are the settings in `options`, each with its values, and which is measured by `measure`.

    The layer gives it its name: `time c3 224x224 -> k64 3x3`. Raises RequestError with all mistakes.
    """
    read = _read(options)
    words = [
        TABLE[name].label.format("/".join(map(canonical, read[name][1])))
        for name in sorted(REQUIRED, key=lambda name: TABLE[name].place)
    ]
    axes = {name: [_plain(node) for node in nodes] for name, (nodes, _) in read.items()}
    content = {"name": " ".join(["time", *words])[:LONGEST_NAME], "axes": axes, "measure": dict(measure)}
    return parse(yaml.safe_dump(content, sort_keys=False, default_flow_style=None, allow_unicode=True), "the options")


def values_of(options: Mapping[str, Sequence[str]]) -> dict[str, list[Any]]:
    """The values of settings, each as a sweep has it; raises RequestError with all mistakes. None is required."""
    return {name: [_plain(node) for node in nodes] for name, (nodes, _) in _read(options, required=()).items()}


def _read(
    options: Mapping[str, Sequence[str]], required: Collection[str] = REQUIRED, several: str = REPEAT
) -> dict[str, tuple[list[Node], list[Value]]]:
    """The values of each setting, as YAML's nodes and as read; raises RequestError with all mistakes.

    `several` is the hint at a list of values.
    """
    read: dict[str, tuple[list[Node], list[Value]]] = {}
    found: list[Mistake] = []
    for name, texts in options.items():
        mistakes = Mistakes(path=_option(name))
        with suppress(SweepError):
            nodes = [compose(text, mistakes) for text in texts]
            read[name] = nodes, [read_value(KINDS[name], node, "", mistakes) for node in nodes]
        found += mistakes.found
    wrong = [f"{_place(mistake)}: {mistake.message}" for mistake in found]
    lacking = [_option(name) for name in required if name not in options]
    wrong += [f"missing {', '.join(lacking)}"] if lacking else []
    if wrong:
        hint = next(filter(None, map(attrgetter("hint"), found)), None)
        raise RequestError(wrong, hint=several if hint == sizes.LISTS else _with_options(hint))
    return read


def _with_options(hint: str | None) -> str | None:
    """A hint in the words of the command line: `--out-channels in_channels`."""
    return hint and _IN_SWEEP.sub(lambda match: f"{_option(match[1])} ", hint)


def _plain(node: Node) -> Any:
    """A node as YAML's library takes it; a secret is still in it, which the parser of sweeps hides."""
    if isinstance(node.value, list):
        return [_plain(inner) for inner in node.value]
    if isinstance(node.value, dict):
        return {key: _plain(inner) for key, (_, inner) in node.value.items()}
    return node.written or node.value


def _place(mistake: Mistake) -> str:
    """The option and the place in its value: `--env.A`, `--padding[1]`."""
    dot = "" if mistake.where[:1] in ("", "[") else "."
    return f"{mistake.path}{dot}{mistake.where}"


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
