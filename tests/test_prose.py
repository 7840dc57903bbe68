"""What people read is plain: a sentence has 25 words at most.

Held are README.md, CHANGELOG.md, docs/, the comments of configs/, the docstrings of bench/ and every help text. A full
stop, a question mark or an exclamation mark ends a sentence; a colon or a semicolon does not. Code blocks are no
sentences, and a table is one text a cell. Code counts as one word, and so does a list of it: `a`, `b` and `c`.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from convbench.cli.options import app

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
BENCHES = sorted((ROOT / "bench").glob("*.py"))

MOST_WORDS = 25

#: The mark of a list item or a heading at the beginning of a line.
_MARK = re.compile(r"^ *(?:[-*]|\d+\.|#+) +")


def paragraphs(text: str) -> Iterator[str]:
    """The paragraphs, headings, list items and cells of tables of a Markdown text, each on one line; no code blocks."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    lines: list[str] = []
    for line in [*text.splitlines(), ""]:
        is_code, is_row = line.startswith("    ") and not lines, line.startswith("|")
        if lines and (is_row or not line.strip() or _MARK.match(line)):
            yield " ".join(lines)
            lines = []
        if is_row:
            yield from line.strip("| ").split(" | ")
        elif line.startswith("#"):
            yield _MARK.sub("", line)
        elif line.strip() and not is_code:
            lines.append(_MARK.sub("", line).strip())


def sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph, with CODE for code, and of links and pictures the text alone."""
    text = re.sub(r"`[^`]+`", "CODE", paragraph)
    text = re.sub(r"CODE(?:(?:,| and| or|, and|, or) CODE)+", "CODE", text)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return [part for part in re.split(r"(?<=[.!?])[)*\"]*\s+", text) if part]


def words(sentence: str) -> int:
    """The number of tokens with a letter or a digit in them."""
    return len(re.findall(r"\S*\w\S*", sentence))


def too_long(prose: Iterable[str]) -> list[str]:
    """The sentences of more than `MOST_WORDS`, each after its number of words."""
    found = [(words(sentence), sentence) for paragraph in prose for sentence in sentences(paragraph)]
    return [f"{count}: {sentence}" for count, sentence in found if count > MOST_WORDS]


def comments(path: Path) -> Iterator[str]:
    """The comments of a YAML file: of whole lines as Markdown, and those behind something."""
    lines = path.read_text(encoding="utf-8").splitlines()
    yield from paragraphs("\n".join(re.sub(r"^ *# ?|^[^#]*$|^ *[^ #].*", "", line) for line in lines))
    yield from (line.partition("  # ")[2] for line in lines if not line.lstrip().startswith("#"))


def docstrings(path: Path) -> Iterator[str]:
    """The docstrings of a module, its classes and its functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield from paragraphs(ast.get_docstring(node) or "")


def helps(command: Any) -> Iterator[tuple[str, str]]:
    """(command, text) of all that --help says of a command and of those below it."""
    yield command.name, inspect.cleandoc(command.help or "")
    yield from ((command.name, parameter.help) for parameter in command.params if getattr(parameter, "help", None))
    for below in getattr(command, "commands", {}).values():
        yield from helps(below)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_has_short_sentences(path: Path) -> None:
    assert not too_long(paragraphs(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_the_comments_of_a_sweep_are_short_sentences(path: Path) -> None:
    assert not too_long(comments(path))


@pytest.mark.parametrize("path", BENCHES, ids=lambda path: path.name)
def test_the_docstrings_of_a_bench_are_short_sentences(path: Path) -> None:
    assert not too_long(docstrings(path))


def test_help_is_short_sentences() -> None:
    texts = list(helps(typer.main.get_command(app)))
    assert len(texts) > 100, "each verb and each option has a help text"
    assert not [(name, long) for name, text in texts for long in too_long(paragraphs(text))]


def test_what_is_a_paragraph() -> None:
    text = "# A head\nThe first\nof two.\n\n| a | b |\n\n    code\n\n```\ncode\n```\n1. one 0.5. Two\n- three\n"
    assert list(paragraphs(text)) == ["A head", "The first of two.", "a", "b", "one 0.5. Two", "three"]


def test_what_is_a_sentence() -> None:
    assert sentences("One: two; three. Is `a b`, `c` or `d` 0.5 % [of it](x.md)? Yes.") == [
        "One: two; three.",
        "Is CODE 0.5 % of it?",
        "Yes.",
    ]
    assert [words("One: two; three."), words("Is CODE 0.5 % of it?")] == [3, 5]
    assert too_long([f"{'word ' * 25}end.", f"{'word ' * 24}end."]) == [f"26: {'word ' * 25}end."]
