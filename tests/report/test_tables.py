"""Tables and sentences on a narrow terminal: nothing is lost, no line is too long, no figure loses its unit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convbench.report.text.tables import LEAST_ROOM, folded, table

CELL = st.text(st.sampled_from("abc 1"), max_size=12).map(str.strip)
ROWS = st.integers(2, 5).flatmap(
    lambda columns: st.lists(st.lists(CELL, min_size=columns, max_size=columns).map(tuple), min_size=2, max_size=5)
)
RUNS = [
    ("run", "started (UTC)", "cases", "name"),
    ("20261129-155110-rzdv", "2026-11-29 15:51", "4", "a sweep with a name that is long"),
    ("20261129-155110-rzdw", "2026-11-29 15:52", "12", "b"),
]


@given(ROWS, st.integers(16, 80))
def test_no_line_is_longer_than_the_terminal_and_no_word_is_lost(rows: list[tuple[str, ...]], columns: int) -> None:
    text = table(rows, columns)
    assert all(len(line) <= columns or len(line.split()) == 1 for line in text.splitlines())
    told = text.replace(",", " ").split()
    for row in rows[1:]:
        assert all(told.count(word) >= 1 for cell in row for word in cell.split())


def test_a_table_that_fits_is_a_line_a_row() -> None:
    assert table(RUNS, 100) == table(RUNS)
    assert table(RUNS).splitlines()[2] == "20261129-155110-rzdw  2026-11-29 15:52  12     b"


def test_the_last_column_is_wrapped_where_it_has_room() -> None:
    before = len("20261129-155110-rzdw  2026-11-29 15:52  cases  ")
    lines = table(RUNS, before + LEAST_ROOM).splitlines()
    assert lines[1].endswith("a sweep with a")
    assert lines[2] == " " * before + "name that is"
    assert lines[3] == " " * before + "long"


def test_a_narrower_table_has_lines_for_each_row() -> None:
    assert table(RUNS, 40).splitlines() == [
        "20261129-155110-rzdv",
        "  started (UTC) 2026-11-29 15:51,",
        "  cases 4,",
        "  name a sweep with a name that is long",
        "20261129-155110-rzdw",
        "  started (UTC) 2026-11-29 15:52,",
        "  cases 12, name b",
    ]


@pytest.mark.parametrize("columns", range(20, 70))
def test_no_line_breaks_between_a_figure_and_its_unit(columns: int) -> None:
    figures = ["+40.0 %", "(+35.9 %", "1.00 ms", "1.40 us", "109 GFLOP/s", "12 s", "145 MiB", "3 %:"]
    text = "lost  +40.0 % (+35.9 % to +44.2 %) 1.00 ms -> 1.40 us at 109 GFLOP/s in 12 s with 145 MiB over 3 %: why"
    lines = folded(text, columns).splitlines()
    assert all(len(line) <= columns for line in lines)
    assert " ".join(" ".join(lines).split()) == " ".join(text.split())
    for figure in figures:
        assert any(figure in line for line in lines), figure


def test_sentences_that_fit_and_pipes_stay() -> None:
    assert folded("a  b\n\nc", 10) == "a  b\n\nc"
    assert folded("word " * 40, None) == "word " * 40
