"""The table of formats: each is found by its example, in the guide, and never fails on text that was changed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from imports import read, source
from other_programs import DIALECTS, EVENT, FIND_DB, MIOPEN_DRIVER, OPERATOR_INPUTS, operator_log, trace

from convbench.errors import RequestError
from convbench.sweep.expand import cases
from convbench.sweep.parse import parse
from convbench.workloads.importers import FORMATS, detected, summary
from convbench.workloads.writing import sweep_text

GUIDE = Path(__file__).parent.parent.parent.parent / "docs" / "import.md"
#: A file of each format that is text.
FILES = {
    "trace": trace(EVENT),
    "onednn-verbose": "\n".join(DIALECTS.values()),
    "miopen-driver": MIOPEN_DRIVER,
    "miopen-find-db": FIND_DB,
    "operator-inputs": operator_log(OPERATOR_INPUTS),
    "deepbench": "std::make_tuple(700, 161, 1, 4, 32, 20, 5, 0, 0, 2, 2),",
    "benchdnn": '--dir=FWD_D,BWD_W --dt=bf16\ng4mb8ic256ih56oc512oh28kh1sh2ph0n"a*3"\n',
}


@pytest.mark.parametrize("form", FILES)
def test_a_file_is_found_to_be_what_it_is(form: str) -> None:
    assert detected(source(FILES[form])) == form
    assert read(FILES[form]).cases == read(FILES[form], form).cases != ()


@pytest.mark.parametrize("form", ["benchdnn", "deepbench", "miopen-driver", "miopen-find-db"])
def test_the_example_of_a_format_can_be_read(form: str) -> None:
    assert read(FORMATS[form].EXAMPLE).source == f"from given ({form})"


def test_the_guide_shows_every_format_with_its_example() -> None:
    rows = [line for line in GUIDE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    shown = {row.split("`")[1]: row for row in rows}
    assert list(shown) == list(FORMATS)
    assert [form for form, module in FORMATS.items() if module.EXAMPLE.replace("|", "\\|") not in shown[form]] == []


def test_a_file_in_no_format_lists_those_that_there_are() -> None:
    with pytest.raises(RequestError, match="given is in no format that convbench finds") as error:
        read("hello\n")
    assert all(form in (error.value.hint or "") for form in FORMATS)


def test_a_format_that_is_misspelt() -> None:
    with pytest.raises(RequestError, match="unknown format 'bench-dnn'") as error:
        read("mb1ic4ih8oc4kh3", "bench-dnn")
    assert error.value.hint == "did you mean benchdnn?"


def test_sizes_are_for_onnx_alone() -> None:
    with pytest.raises(RequestError, match="--size is for ONNX files"):
        read("mb1ic4ih8oc4kh3", batch=2)


def test_a_file_without_a_layer_says_why() -> None:
    with pytest.raises(RequestError) as error:
        read("mb1ic4ih8oc4kh9\n" * 3)
    assert error.value.lines == (
        "given has no convolution that can be measured (benchdnn)",
        "  3: torch would refuse it: the kernel (9x9) is larger than the padded input (8x8) (first: line 1)",
    )


def test_a_summary_counts_and_gives_each_reason_with_its_first_place() -> None:
    made = read("mb1ic4ih8oc4kh3\nmb1ic4ih8oc4kh3\nmb1ic4ih8oc4kh9\nmb1ic4ih8oc4\nmb1ic4ih8oc4\n")
    assert summary(made) == [
        "read 5, distinct 1, refused 3",
        "  2: it is incomplete (first: line 4)",
        "  1: torch would refuse it: the kernel (9x9) is larger than the padded input (8x8) (first: line 3)",
    ]


@st.composite
def changed(draw: st.DrawFn) -> tuple[str, str]:
    """A format, and a file of it in which some characters were replaced, added or removed."""
    form = draw(st.sampled_from(sorted(FILES)))
    text = FILES[form]
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        text = (
            text[:at]
            + draw(st.text("09-,:x_=()[]{}\"'\n kT*#\x00\udcff", max_size=3))
            + text[at + draw(st.integers(0, 9)) :]
        )
    return form, text


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(changed())
def test_a_changed_file_is_read_or_refused_and_its_sweep_is_valid(file: tuple[str, str]) -> None:
    form, text = file
    try:
        made = read(text.encode("utf-8", "surrogateescape"), form)
    except RequestError as error:
        assert not re.search(r"Traceback|object at 0x", error.message)
        return
    found = cases(parse(sweep_text(made), "imported.yaml"))
    assert not found.rejections
    assert set(found.cases) == set(made.cases)
