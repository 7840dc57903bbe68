"""Text for a terminal: nothing that it obeys is in it, and what a person wrote stays."""

from __future__ import annotations

import io
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convbench import errors, units
from convbench.cli import output
from convbench.worker.serve import LONGEST_REASON, classify

#: Every class of what a terminal obeys, by Unicode's own words.
BIDIRECTIONAL = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def is_obeyed(char: str) -> bool:
    return (
        unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")
        or unicodedata.bidirectional(char) in BIDIRECTIONAL
        or char in "\u200e\u200f\u061c"
    )


def test_every_character_that_a_terminal_obeys_is_shown_as_an_escape() -> None:
    for code in range(0x110000):
        char = chr(code)
        if char != "\n" and is_obeyed(char):
            assert units.safe(f"ä{char}") == f"ä{char.encode('unicode_escape').decode()}", hex(code)


@given(st.text(st.characters()))
def test_any_text_is_safe_and_a_line_is_one(text: str) -> None:
    assert not [char for char in units.safe(text) if is_obeyed(char) and char != "\n"]
    assert not [char for char in units.line(text) + units.flat(text) if is_obeyed(char)]
    assert units.safe(units.safe(text)) == units.safe(text)


@pytest.mark.parametrize("text", ["größer 卷积 🧮 👩‍💻", "c:\\x1b", "a  b", "ש ע", "é", "می‌خواهم"])
def test_what_people_write_stays(text: str) -> None:
    assert units.safe(text) == units.line(text) == text


def test_a_value_is_cut_where_that_is_asked_for() -> None:
    assert units.line("a" * 10_000_000, most=5) == "aaaaa... (10,000,000 characters)"
    assert units.flat(" a\n\tb  c ") == "a b c"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("at postgresql://joe:pa@ss@host/x now", "at postgresql://***@host/x now"),
        ("Got unexpected extra argument (mysql://a:b@c)", "Got unexpected extra argument (mysql://***@c)"),
        ("mail joe@example.com", "mail joe@example.com"),
        ("https://example.com/a", "https://example.com/a"),
    ],
)
def test_a_password_in_a_url_is_not_shown(text: str, told: str) -> None:
    assert units.without_credentials(text) == told


def test_an_error_is_as_many_lines_as_were_given_and_each_is_short() -> None:
    error = errors.RequestError("a\nb\x1b", hint=["c\nd", "e"])
    assert (error.message, error.hint, str(error)) == ("a\\nb\\x1b", "c\\nd\n        e", "a\\nb\\x1b")
    assert len(errors.WorkerDiedError("x" * 10_000_000).message) < 3000
    mistake = errors.Mistake(path="a\nb", line=3, message="m\x1b", hint="h")
    assert errors.SweepError((mistake,)).message == "a\\nb:3: m\\x1b\n  hint: h"


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("x" * 10_000_000),
        RuntimeError(("line\n") * 2_000_000),
        ValueError("\n" * 10_000_000 + "late"),
        MemoryError("out of memory " + "x" * 10_000_000),
        type("N" * 10_000_000, (Exception,), {})("x"),
        UnspeakableError(),
    ],
    ids=["one line", "lines", "blank", "memory", "name", "unspeakable"],
)
def test_an_endless_exception_is_cut_where_it_is_caught(error: Exception) -> None:
    status, reason = classify(error)
    assert status == ("out_of_memory" if isinstance(error, MemoryError) else "error")
    assert len(reason) < 2 * LONGEST_REASON + 100
    assert "\n" not in reason


def test_what_is_printed_is_safe(capsys: pytest.CaptureFixture[str]) -> None:
    output.show("a\x1b[31m\nb")
    output.say("c\u202ed\r")
    assert capsys.readouterr() == ("a\\x1b[31m\nb\n", "c\\u202ed\\r\n")


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def test_data_goes_to_a_pipe_as_it_is_and_to_a_terminal_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, told in ((io.TextIOWrapper, b"a\x1b\xff\n"), (Terminal, rb"a\x1b\xff" + b"\n")):
        raw = io.BytesIO()
        stream = kind(raw, encoding="utf-8")
        monkeypatch.setattr("sys.stdout", stream)
        output.show_bytes(b"a\x1b\xff\n")
        output.flush()
        assert raw.getvalue() == told


def test_the_command_prints_through_this_alone() -> None:
    from test_architecture import MODULES, PACKAGE

    printing = re.compile(r"(?<![\w.])print\(|sys\.std(out|err)\.(buffer|write)|\becho\(|traceback\.print")
    for path in MODULES:
        if path.parts[1] != "worker" and path.name not in ("output.py", "repro.py"):
            assert not printing.search((PACKAGE.parent / path).read_text(encoding="utf-8")), path
