"""The JSON Schema of sweeps: it holds values to the same kinds as the parser, and the shipped sweeps name it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from commands import Command

from convbench.cli.schema import schema_file
from convbench.errors import SweepError
from convbench.model.settings import SETTINGS, TABLE
from convbench.sweep.document import Mistakes, Node, compose
from convbench.sweep.parse import parse
from convbench.sweep.schema import FILE, schema

ROOT = Path(__file__).parent.parent.parent
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
CHECK = jsonschema.Draft7Validator(schema())
REQUIRED = {"in_channels": "4", "out_channels": "8", "kernel_size": "3", "input_size": "16"}


def plain(node: Node) -> Any:
    """The values of a document, as an editor's YAML 1.2 reads them."""
    if isinstance(node.value, dict):
        return {key: plain(inner) for key, (_, inner) in node.value.items()}
    return [plain(inner) for inner in node.value] if isinstance(node.value, list) else node.value


def taken_by_schema(text: str) -> bool:
    return bool(CHECK.is_valid(plain(compose(text, Mistakes("f.yaml")))))


def taken_by_parser(text: str) -> bool:
    try:
        parse(text, "f.yaml")
    except SweepError:
        return False
    return True


def test_it_is_a_schema() -> None:
    jsonschema.Draft7Validator.check_schema(schema())
    assert not taken_by_schema("{}")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_a_shipped_sweep_is_valid_and_names_the_schema_beside_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert list(CHECK.iter_errors(plain(compose(text, Mistakes(path.name))))) == []
    assert text.splitlines()[0] == f"# yaml-language-server: $schema={FILE}"
    assert (path.parent / FILE).read_bytes() == schema_file(), f"renew it: convbench schema -o configs/{FILE}"


#: Values of all kinds, right for some settings and wrong for others.
VALUES = (
    *("0", "1", "3", "-1", "2147483648", "1.5", "3x3", "1,7", "(3, 3)", "3x3x3", "0x3x3", "-3x3", "true", "false"),
    *(
        "null",
        "same",
        "half",
        "depthwise",
        "in_channels",
        "zeros",
        "float32",
        "none",
        "channels_last",
        "backward",
        "hot",
    ),
    *("steady", "eager", "max-autotune", "tf32", "cpu", "cpu:0", "cuda:1", "cuda:128", "gpu"),
    *("torch.nn.Conv2d", "torch.nn.Conv1d", "a.b:C"),
    *("a:B.C", "a b:C", ":C", "1a:C", "ä.b:Ü", "'3'", "''", "[]", "[1]", "[1, 7]", "[1, 2, 3]", "[[1, 7]]", "[[1]]"),
    *("[same, 1]", "[null]", "[true, 1]", "[[]]", "{}", "{A: b}", "{A: 1}", "{1A: b}", "{A: ''}", "[{A: b}, {}]"),
    *("{from: 1, to: 4, times: 2}", "{from: 1, to: 4, step: 2}", "{from: 1, to: 4}", "{from: 1, to: 4, times: 1}"),
    *("{from: -1, to: 4, step: 1}", "{from: 1, to: 4, step: 2, times: 2}", "{from: a, to: 4, step: 2}"),
)


def documents(name: str, value: str) -> dict[str, str]:
    """A sweep with a value at each place that a setting may have."""
    lines = "\n  ".join(f"{other}: {usual}" for other, usual in REQUIRED.items() if other != name)
    others = f"axes:\n  {lines}\n"
    required = f"  {name}: {REQUIRED[name]}\n" if name in REQUIRED else ""
    return {
        "axes": f"{others}  {name}: {value}\n",
        "cases": f"{others}cases:\n  - {name}: {value}\n",
        "exclude": f"{others}{required}exclude:\n  - {name}: {value}\n",
        "compare": f"{others}{required}compare:\n  thresholds:\n    - threshold: 0.1\n      {name}: {value}\n",
    }


@pytest.mark.parametrize("name", SETTINGS)
def test_what_the_parser_refuses_by_kind_is_refused_and_nothing_else(name: str) -> None:
    seen = set()
    for value in VALUES:
        for place, text in documents(name, value).items():
            right = taken_by_parser(text)
            assert taken_by_schema(text) == right, (place, value, right)
            seen.add(right)
    assert seen == {True, False}


@pytest.mark.parametrize(
    "line",
    [
        "seed: 7",
        "seed: -1",
        "seed: 4294967296",
        "name: x",
        "name: 5",
        "name: ''",
        "description: [x]",
        "axis: {}",
        "exclude: []",
        "exclude: [{}]",
        "exclude: {}",
        "exclude: [{kernel: 3}]",
        "cases: []",
        "cases: [{}]",
        "cases: [{label: a, count: 2}]",
        "cases: [{count: 0}]",
        "cases: [{label: 3}]",
        "measure: {}",
        "measure: {processes: 5, precision: 0.01, samples: true, allocator: system, budget: 300}",
        "measure: {processes: 0}",
        "measure: {processes: 1.5}",
        "measure: {precision: 1}",
        "measure: {samples: 1}",
        "measure: {allocator: jemalloc}",
        "measure: {process: 5}",
        "measure: [5]",
        "compare: {}",
        "compare: {threshold: 0.05, beyond_l2: 0.2, thresholds: []}",
        "compare: {threshold: 5}",
        "compare: {thresholds: [{threshold: 0.1}]}",
        "compare: {thresholds: [{dtype: bfloat16}]}",
    ],
)
def test_the_other_keys_of_a_file(line: str) -> None:
    required = ", ".join(f"{name}: {value}" for name, value in REQUIRED.items())
    text = f"axes: {{{required}}}\n{line}\n"
    assert taken_by_schema(text) == taken_by_parser(text)


@pytest.mark.parametrize("name", REQUIRED)
def test_what_has_no_default_is_required_where_no_cases_give_it(name: str) -> None:
    axes = ", ".join(f"{other}: {value}" for other, value in REQUIRED.items() if other != name)
    alone = f"axes: {{{axes}}}\n"
    assert not taken_by_schema(alone) and not taken_by_parser(alone)
    given = f"{alone}cases: [{{{name}: {REQUIRED[name]}}}]\n"
    assert taken_by_schema(given) and taken_by_parser(given)


def test_every_setting_is_explained_to_editors() -> None:
    axes = schema()["properties"]["axes"]["properties"]
    assert {name: axis["description"] for name, axis in axes.items()} == {n: row.about for n, row in TABLE.items()}
    assert axes["stride"]["default"] == 1 and axes["dtype"]["default"] == "float32"
    assert "default" not in axes["kernel_size"]


def test_the_verb_prints_it_or_writes_it(command: Command) -> None:
    said = command("schema")
    assert (said.code, json.loads(said.out)) == (0, schema())
    assert command("schema", "-o", "here.json").code == 0
    assert Path("here.json").read_text(encoding="utf-8") == said.out
