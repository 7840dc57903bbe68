"""Prose in the code is plain: a sentence has 25 words at most, and words of literature do not come back.

Held are docstrings, comments, texts in quotes and templates of the rooms in `ROOMS`. The rule:

- A full stop, a question mark or an exclamation mark ends a sentence; a colon and a semicolon do not.
- A blank line, a list item and a tag of a block end a paragraph. Comments of whole lines, one after the other, are one
  text.
- A word has a letter or a digit. Code in backticks is one word, and so is a place that is filled in.
"""

from __future__ import annotations

import ast
import html
import io
import itertools
import re
import tokenize
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "convbench"
ROOMS = (
    *(
        "actions",
        "analysis",
        "cli",
        "conduct",
        "engine",
        "fleet",
        "measure",
        "model",
        "report",
        "store",
        "sweep",
        "web",
        "worker",
    ),
    "workloads",
)
MOST_WORDS = 25
#: Words of literature, in prose and in names; plain words say the same.
LITERARY = re.compile(
    r"tell|telling|tells|told|untold|spoken|surely|dearer|cheaper|whoever|all the same|held against|quiet hour|bad hour"
)
#: Ends of lines that keep such a word: the key of a file that older versions of convbench wrote.
ALLOWED = {
    "report/pages/trends.py": (
        '"told": [[step.run_id, step.ratio, step.sentence] for step in one.steps],',
        '("machine", "cases", "earlier", "dots", "told")]',
    ),
}
#: Tags inside a sentence; every other tag ends one.
INLINE = {"a", "abbr", "b", "br", "code", "em", "i", "kbd", "label", "q", "span", "strong", "sub", "sup", "var"}

Text = tuple[int, str]  # a line's number, and a text that begins there


def sentences(text: str) -> list[str]:
    """The sentences of a text, with CODE for what is in backticks."""
    text = re.sub(r"`[^`\n]*`|`[^`]*`", "CODE", text)
    paragraphs = re.split(r"\n\s*\n|\n\s*(?=[-*] )", text)
    return [part for each in paragraphs for part in re.split(r"(?<=[.!?])[)\"*']*\s+", " ".join(each.split())) if part]


def words(sentence: str) -> int:
    return len(re.findall(r"\S*\w\S*", sentence))


def literary(line: str) -> bool:
    """Whether a line has such a word, also as a part of a name: `_told`, `tellStep`."""
    parts = re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", line).lower()
    return re.search(rf"\b(?:{LITERARY.pattern})\b", parts) is not None


def python(source: str) -> Iterator[Text]:
    """Comments, and all texts in quotes, docstrings among them; X for a value in an f-string."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "X" for part in node.values]
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = [token for token in tokens if token.type == tokenize.COMMENT]
    behind = [token for token in comments if token.line[: token.start[1]].strip()]
    yield from joined((t.start[0], t.string.lstrip("#: ")) for t in comments if t not in behind)
    yield from ((t.start[0], t.string.lstrip("# ")) for t in behind)


def joined(lines: Iterable[Text]) -> Iterator[Text]:
    """Texts of neighbouring lines as one."""
    for _, group in itertools.groupby(enumerate(lines), key=lambda item: item[1][0] - item[0]):
        some = [line for _, line in group]
        yield some[0][0], "\n".join(text for _, text in some)


def script(source: str) -> Iterator[Text]:
    """Comments and texts of JavaScript and CSS; X for a value in a template."""
    at = line_of(source)
    for match in re.finditer(r"/\*+(.*?)\*/", source, flags=re.DOTALL):
        yield at(match), re.sub(r"\n\s*\*", "\n", match[1])
    yield from joined((at(match), match[1]) for match in re.finditer(r"^ *// ?(.*)", source, flags=re.MULTILINE))
    yield from ((at(match), match[1]) for match in re.finditer(r"(?<=[^ :\"`] )// ?(.*)", source))
    for match in re.finditer(r"(?:(?:\"[^\"\n]*\"|`[^`]*`)(?:\s*\+\s*)?)+", source):
        yield at(match), re.sub(r"\$\{[^}]*\}", "X", re.sub(r"[\"`]\s*\+\s*[\"`]|[\"`]", "", match[0]))


def template(source: str) -> Iterator[Text]:
    """The text between tags of blocks; X for what is filled in."""
    source = re.sub(r"\{#.*?#\}|\{%.*?%\}", lambda match: "\n" * match[0].count("\n"), source, flags=re.DOTALL)
    source = re.sub(r"\{\{.*?\}\}", "X", source, flags=re.DOTALL)
    source = re.sub(r"</?(\w+)[^>]*>", lambda tag: "" if tag[1] in INLINE else "\0" + "\n" * tag[0].count("\n"), source)
    number = 1
    for text in source.split("\0"):
        yield number, html.unescape(text)
        number += text.count("\n")


def workflow(source: str) -> Iterator[Text]:
    """The comments of YAML and shell, those behind something too."""
    found = [(number, re.search(r"(?:^|\s)#(?: (.*)|$)", line)) for number, line in enumerate(source.splitlines(), 1)]
    yield from joined((number, match[1] or "") for number, match in found if match)


def line_of(source: str) -> Callable[[re.Match[str]], int]:
    return lambda match: source.count("\n", 0, match.start()) + 1


READERS = {
    ".py": python,
    ".js": script,
    ".css": script,
    ".j2": template,
    ".yml": workflow,
    ".sh": workflow,
}
FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for room in ROOMS
    for path in (ROOT / room).rglob("*")
    if path.suffix in READERS and ".min." not in path.name
)


def texts(name: str) -> list[Text]:
    path = ROOT / name
    return list(READERS[path.suffix](path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", FILES)
def test_a_sentence_has_few_words(name: str) -> None:
    found = [(line, words(each), each) for line, text in texts(name) for each in sentences(text)]
    assert [f"{line}: {count} words: {each}" for line, count, each in found if count > MOST_WORDS] == []


@pytest.mark.parametrize("name", FILES)
def test_no_word_of_literature_comes_back(name: str) -> None:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    found = [f"{number}: {line.strip()}" for number, line in enumerate(lines, 1) if literary(line)]
    assert [line for line in found if not line.endswith(ALLOWED.get(name, "no such line"))] == []


def test_what_is_allowed_is_there() -> None:
    assert set(FILES) >= set(ALLOWED)
    assert all(line in (ROOT / name).read_text(encoding="utf-8") for name, lines in ALLOWED.items() for line in lines)


def test_what_is_a_sentence() -> None:
    assert sentences("One: two; three 0.5 %. `a b. c` is code? (Yes.) No\n- item\n\nlast") == [
        "One: two; three 0.5 %.",
        "CODE is code?",
        "(Yes.",
        "No",
        "- item",
        "last",
    ]
    assert [words("One: two; three 0.5 %."), words("- a -> b")] == [4, 2]


@pytest.mark.parametrize("text", ["_told", "ToldSteps", "tellStep", "LARGEST_TOLD", "it is told", "all the same"])
def test_literary_words_are_found_in_names_too(text: str) -> None:
    assert literary(text) and not literary("untellable intellect and sideways")


def test_python_is_read() -> None:
    source = '"""One."""\n#: Two\n#: lines.\nx = f"a {x} b"  # behind\n# last\n'
    comments = [(2, "Two\nlines."), (5, "last"), (4, "behind")]
    assert list(python(source)) == [(1, "One."), (4, "a X b"), (4, "a "), (4, " b"), *comments]


def test_scripts_are_read() -> None:
    source = '/** One\n * two. */\nx = `a ${b} ` +\n  "c"; // three\n// four\n'
    assert list(script(source)) == [(1, " One\n two. "), (5, "four"), (4, "three"), (3, "a X c")]


def test_templates_are_read() -> None:
    assert [text for _, text in template("<p>a {{ b }}\n<em>c</em></p>{% if d %}<li>e&amp;") if text] == [
        "a X\nc",
        "e&",
    ]


def test_workflows_are_read() -> None:
    assert list(workflow("# One\n# two\na: b # three\n#\nc#d: ${x#y}\n")) == [(1, "One\ntwo\nthree\n")]
