"""User text in markdown: on one line, without tags or emphasis, and nobody is called by it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convbench.report.text.markdown import escaped

APART = "\N{ZERO WIDTH SPACE}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n8 c64 56x56 -> k64 3x3 s1 p1", "n8 c64 56x56 -> k64 3x3 s1 p1"),
        ("channels_last stays, _this_ too", "channels_last stays, \\_this\\_ too"),
        ("a | b\nc\td", "a \\| b c d"),
        ("`code` *bold* ~gone~ [link](x)", "\\`code\\` \\*bold\\* \\~gone\\~ \\[link\\](x)"),
        ("<b>&amp;</b>", "&lt;b>&amp;amp;&lt;/b>"),
        ("@team/all, #12, !3 and $4", f"@{APART}team/all, #{APART}12, !{APART}3 and ${APART}4"),
        ("&#64;team", f"&amp;#{APART}64;team"),
        ("# no heading", "# no heading"),
        ("back\\slash\\|", "back\\\\slash\\\\\\|"),
    ],
)
def test_text_stays_text(text: str, expected: str) -> None:
    assert escaped(text) == expected


def test_what_is_too_long_ends_in_an_ellipsis() -> None:
    assert escaped("a" * 300, most=10) == "a" * 9 + "…"
    assert escaped("a" * 10, most=10) == "a" * 10
    assert escaped("|" * 300, most=3) == "\\|\\|…"  # never cut between a mark and what escapes it


@given(st.text())
def test_any_text_is_one_line_of_one_cell(text: str) -> None:
    made = escaped(text)
    assert len(made.splitlines()) <= 1
    assert not re.search(r"<|@(?!\u200b)|#\d", made)
    assert "|" not in made.replace("\\\\", "").replace("\\|", "")
