"""YAML's merge key `<<`, in every mapping of a sweep."""

from __future__ import annotations

import pytest
import yaml

from convbench.errors import SweepError
from convbench.model.result import Measure
from convbench.sweep import Sweep, cases
from convbench.sweep.document import Mistakes, Node, compose
from convbench.sweep.parse import parse as parse_text

BASES = """
first: &first {a: 1, b: 2, c: 3}
second: &second
  b: 20
  d: 40
"""


def parse(text: str) -> Sweep:
    return parse_text(text, "f.yaml")


def plain(node: Node) -> object:
    """The values of a tree without lines."""
    if isinstance(node.value, dict):
        return {key: plain(inner) for key, (_, inner) in node.value.items()}
    return [plain(inner) for inner in node.value] if isinstance(node.value, list) else node.value


@pytest.mark.parametrize(
    "mapping",
    [
        "{<<: *first}",
        "{<<: *first, b: 5}",
        "{b: 5, <<: *first}",
        "{<<: [*first, *second]}",
        "{<<: [*second, *first], e: 6}",
        "{<<: []}",
        "{<<: {a: 1, <<: *second}}",
        "{'<<': 7}",
        "[{<<: *first, a: 9}, {x: {<<: *second}}]",
    ],
)
def test_a_merge_is_what_yaml_says(mapping: str) -> None:
    text = f"{BASES}here: {mapping}"
    if mapping == "{'<<': 7}":
        expected: object = {"<<": 7}  # in quotes it is text; PyYAML's loader does not ask for quotes
    else:
        expected = yaml.safe_load(text)["here"]
    mistakes = Mistakes("f.yaml")
    found = plain(compose(text, mistakes))
    assert isinstance(found, dict)
    assert found["here"] == expected
    if isinstance(expected, dict) and "[" not in mapping:  # the order of several is PyYAML's own
        assert list(found["here"]) == list(expected)
    assert not mistakes.found


def test_every_mapping_of_a_sweep_takes_one() -> None:
    sweep = parse("""
axes: &axes
  in_channels: [2, 4]
  out_channels: &range {from: 2, to: 8, times: 2}
  input_size: {<<: *range, from: 4}
cases:
  - &one {kernel_size: 3, env: &env {A: x, B: y}, label: one}
  - {<<: *one, kernel_size: 1, env: {<<: *env, B: z}}
exclude:
  - &left_out {kernel_size: 1, in_channels: 2}
  - {<<: *left_out, in_channels: 4, out_channels: 8}
measure: {<<: {rounds: 3, processes: 2}, rounds: 4}
compare:
  thresholds: [&small {dtype: bfloat16, threshold: 0.1}, {<<: *small, dtype: float16}]
""")
    assert {axis.name: axis.values for axis in sweep.axes}["input_size"] == ((4, 4), (8, 8))
    assert sweep.measure == Measure(rounds=4, processes=2)
    first, second = sweep.listed
    assert (first.label, second.label) == ("one", "one")
    assert dict(second.given) == {"kernel_size": (1, 1), "env": (("A", "x"), ("B", "z"))}
    assert sweep.exclude[1] == (("kernel_size", (1, 1)), ("in_channels", 4), ("out_channels", 8))
    assert [special.threshold for special in sweep.compare.specials] == [0.1, 0.1]
    assert len(cases(sweep).cases) > 0


def said(text: str) -> list[str]:
    with pytest.raises(SweepError) as caught:
        parse(text)
    return str(caught.value).splitlines()


def test_mistakes_name_the_line_on_which_the_value_stands() -> None:
    text = """axes: {in_channels: 1, out_channels: 1, input_size: 8}
cases:
  - &base
    kernel_size: three
    stride: 2
  - <<: *base
    dilation: two
"""
    wrong = "expected an integer of at least 1, got"
    assert said(text) == [
        f"f.yaml:4: cases[0].kernel_size: {wrong} 'three'",
        f"f.yaml:4: cases[1].kernel_size: {wrong} 'three'",
        f"f.yaml:7: cases[1].dilation: {wrong} 'two'",
    ]


def test_what_cannot_be_merged_is_reported() -> None:
    text = "axes: {in_channels: 1, out_channels: 1, input_size: 8, kernel_size: &k 3}\ncases: [{<<: *k}]"
    assert said(text) == ["f.yaml:2: cases[0].<<: expected a mapping or a list of mappings, got 3"]
    text = "axes: {in_channels: 1, out_channels: 1, input_size: 8, kernel_size: 3}\nmeasure:\n  <<: {}\n  <<: {}"
    assert said(text) == ["f.yaml:4: measure: duplicate key '<<', first on line 3"]


def test_secrets_of_a_merged_mapping_are_not_stored() -> None:
    text = """axes: {in_channels: 1, out_channels: 1, input_size: 8, kernel_size: 3}
cases:
  - {env: &env {MY_TOKEN: hidden-word}}
  - {env: {<<: *env, A: x}}
"""
    sweep = parse(text)
    assert "hidden-word" not in sweep.source
    assert dict(sweep.secrets) == {"MY_TOKEN": "hidden-word"}
    assert cases(parse(sweep.source)).cases == cases(sweep).cases
