"""The text of a sweep that measures a workload, for people to read and change."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import yaml

from convbench import units
from convbench.model.bounds import MOST_LABELS
from convbench.model.case import Case, setting
from convbench.model.operators.given import default_for
from convbench.model.problem import Direction
from convbench.model.settings import PROBLEM_SETTINGS, REQUIRED, SETTINGS, TABLE
from convbench.workloads.workload import Refused, Workload, folded

#: The width of comments, characters.
WIDTH = 100
#: How many places a reason to refuse names.
MOST_PLACES = 3


def sweep_text(
    workload: Workload,
    *,
    measure: Mapping[str, Any] | None = None,
    axes: Mapping[str, Sequence[Any]] | None = None,
) -> str:
    """The workload as a sweep: equal cases once, with their count; settings that all have in common under `axes`.

    Several directions of one layer are an axis where most layers have the same ones. `measure` is the section of that
    name. `axes` are values of settings, as YAML has them, that every case takes in place of its own. ValueError where
    there is no case.
    """
    chosen = dict(axes or {})
    cases = folded(_without(case, chosen) for case in workload.cases)
    if not cases:
        raise ValueError("a sweep needs a case")
    layers = _by_layer(cases)
    directions = Counter(tuple(directions) for directions, _ in layers.values()).most_common(1)[0][0]
    common = _common(list(cases))
    written = {name: [value] if isinstance(value, list) else value for name, value in common.items()}
    if "direction" not in chosen:
        written["direction"] = [str(each) for each in directions] if len(directions) > 1 else str(directions[0])
    written |= {name: values[0] if len(values) == 1 else list(values) for name, values in chosen.items()}
    lines = [*_head(workload), f"name: {_flow(units.line(workload.name))}"]
    lines += [f"description: {_flow(units.line(workload.description))}"] if workload.description else []
    lines.append("")
    if measure:
        lines += [f"measure: {_flow(dict(measure))}", ""]
    lines += ["# These settings apply to every layer below.", "axes:"]
    lines += [f"  {name}: {_flow(value)}" for name, value in written.items()]
    if workload.refused:
        twice = any(each.is_backward for each in workload.refused)
        once = " A layer counts once for its forward and its backward." if twice else ""
        lines += ["", f"# What no case measures.{once}", "left_out:"]
        lines += [f"  - {_flow(entry)}" for entry in _left_out(workload)]
    lines += ["", "cases:"]
    said = {(_undirected(case), case.direction): text for case, text in workload.said}
    for case, (found, labels) in layers.items():
        for each in found:
            text = said.get((_undirected(case), each))
            lines += _comment(f"{each}: {text}" if len(found) > 1 else text, "  # ") if text else []
        if len(labels) > MOST_LABELS:
            more = f"{units.count(len(labels) - MOST_LABELS)} more layers are equal to this one"
            lines += _comment(f"{more}; a sweep names {units.count(MOST_LABELS)} at most", "  # ")
        row = _row(case, common)
        for direction in [None] if tuple(found) == directions else found:
            own = {} if direction is None else {"direction": str(direction)}
            lines += _entry({**row, **own, "count": case.count}, labels[:MOST_LABELS])
    return "\n".join(lines) + "\n"


def _entry(row: Mapping[str, Any], labels: Sequence[str]) -> Iterator[str]:
    """An entry of `cases`: its settings on one line, then the labels of equal layers where there are several."""
    written = f"  - {_flow(dict(row))}"
    if len(labels) < 2:
        yield written
        return
    yield f"{written.removesuffix('}')},"
    line = "     labels: ["
    for at, label in enumerate(labels):
        word = _flow(label) + ("]}" if at == len(labels) - 1 else ",")
        if at and len(line) + 1 + len(word) > WIDTH:
            yield line
            line = "       "
        line += word if line.endswith("[") else f" {word}"
    yield line


def _without(case: Case, names: Collection[str]) -> Case:
    """The case with the defaults of these settings, which its sweep names elsewhere.

    Where that names memory formats, the input has the layer's: a format of its own was said of one of them.
    """
    names = {*names, "input_format"} if "memory_format" in names else names
    defaults: dict[str, Any] = {name: default_for(case.problem.rank, TABLE[name].default) for name in names}
    problem = {name: value for name, value in defaults.items() if name in PROBLEM_SETTINGS}
    rest = {name: value for name, value in defaults.items() if name not in PROBLEM_SETTINGS}
    return replace(case, problem=replace(case.problem, **problem), **rest)


def _by_layer(cases: Mapping[Case, list[str]]) -> dict[Case, tuple[list[Direction], list[str]]]:
    """The cases that differ in direction alone as one, with these directions; counts and labels must be equal."""
    layers: dict[tuple[Case, int, frozenset[str]], tuple[Case, list[Direction], list[str]]] = {}
    for case, labels in cases.items():
        key = (_undirected(case), case.count, frozenset(labels))
        _, directions, _ = layers.setdefault(key, (case, [], labels))
        directions.append(case.direction)
    return {case: (directions, labels) for case, directions, labels in layers.values()}


def _undirected(case: Case) -> Case:
    """The case by its layer alone."""
    return replace(case, direction=Direction.FORWARD)


def _common(cases: list[Case]) -> dict[str, Any]:
    """The settings, directions aside, that all cases give the same value, which is not the default."""
    values = {name: {setting(case, name) for case in cases} for name in SETTINGS if name != "direction"}
    rank = cases[0].problem.rank
    return {
        name: _plain(value)
        for name, found in values.items()
        if len(found) == 1 and name not in REQUIRED
        for value in found
        if value != default_for(rank, TABLE[name].default)
    }


def _row(case: Case, common: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of `cases`: the settings that are neither common nor default."""
    row: dict[str, Any] = {"label": case.given_label} if case.given_label else {}
    for name in SETTINGS:
        value = setting(case, name)
        if name in common or name == "direction" or value == default_for(case.problem.rank, TABLE[name].default):
            continue
        row[name] = _plain(value)
    return row


def _plain(value: object) -> Any:
    """A value as a sweep writes it: `3` for equal numbers of all dimensions, `[1, 3]` for others."""
    if isinstance(value, tuple) and value and all(isinstance(each, tuple) for each in value):
        return dict(value)
    if isinstance(value, tuple):
        return value[0] if len(set(value)) == 1 else list(value)
    return str(value) if isinstance(value, str) else value


def _flow(value: Any) -> str:
    """A value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def _head(workload: Workload) -> list[str]:
    """Comments: what the list comes from, how much of it became cases, and what a reader should know."""
    left_out = sum(each.count for each in workload.refused)
    counts = f"read {units.count(workload.read)}, distinct {units.count(workload.distinct)}"
    paragraphs = [workload.source, f"{counts}, left out {units.count(left_out)}", *workload.notes]
    return [line for text in paragraphs for line in _comment(text, "# ")] + [""]


def _left_out(workload: Workload) -> Iterator[dict[str, Any]]:
    """An entry for each reason: how many convolutions it leaves out, their share of the work, and where they are.

    A convolution counts once for its forward and its backward pass, as in the sums of a network.
    """
    for reason in workload.reasons:
        refused = [each for each in workload.refused if each.reason == reason]
        counted = [each for each in refused if not each.is_backward] or refused
        known = [each.work for each in refused if each.work is not None]
        entry: dict[str, Any] = {"count": sum(each.count for each in counted)}
        if len(known) == len(refused):
            entry["work"] = round(sum(known), 4)
        yield {**entry, "reason": units.line(f"{reason} ({_places(counted)})")}


def _places(refused: Sequence[Refused]) -> str:
    counts: Counter[str] = Counter()
    for each in refused:
        counts[each.place] += each.count
    rest = sum(list(counts.values())[MOST_PLACES:])
    return ", ".join(list(counts)[:MOST_PLACES]) + (f" and {units.count(rest)} more" if rest else "")


def _comment(text: str, mark: str) -> Iterator[str]:
    """A text as comment lines; what it holds cannot end the comment."""
    rest = " " * (len(mark) - 2) + "#   "
    wrapped = textwrap.wrap(units.line(text), WIDTH, break_on_hyphens=False) or [""]
    yield from (f"{mark if at == 0 else rest}{line}" for at, line in enumerate(wrapped))
