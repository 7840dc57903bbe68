"""YAML text -> a tree of values with their line numbers. What a sweep may contain is in parse.py.

The text is read as YAML's events. A YAML loader would convert `yes`, `010` or `1:30` to other values, drop all but the
last of duplicate keys, and follow tags.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import yaml

from convbench import units
from convbench.errors import Mistake, SweepError
from convbench.model.result import Run
from convbench.model.variables import HIDDEN, is_secret

#: Maximum number of values in a file with aliases expanded: 1,000,000 cases of four settings fit.
MOST_VALUES = 10_000_000
#: Each LONG_TEXT characters of a text count as one more value, so that aliases of long texts are limited too.
LONG_TEXT = 100
#: The maximum nesting; a sweep has five levels (one number of a list of sizes in an axis).
DEEPEST = 10
#: Maximum number of mistakes reported for a file; reading stops at the next one.
MOST_MISTAKES = 50
#: Text in messages is cut after this number of characters.
LONGEST_SHOWN = 60

Scalar = str | int | float | bool | None
#: The contents of a mapping: (line of the key, value) by key.
Pairs = dict[str, "tuple[int, Node]"]
#: YAML's merge key: it gives a mapping the keys and values of other mappings that it does not name itself.
MERGE_KEY = "<<"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A value and the line on which it starts. A mapping holds (line of the key, value). `size` counts its values.

    `written` is the text of a hexadecimal number, which may also be a size: `0x3`.
    """

    line: int
    value: Scalar | list[Node] | Pairs
    quoted: bool = False
    size: int = 1
    written: str = ""

    def __str__(self) -> str:
        """The value as text for `expected ..., got ...`."""
        value = self.value
        if isinstance(value, dict):
            return "a mapping" if value else "an empty mapping"
        if isinstance(value, list):
            return f"a list of {len(value)}" if value else "an empty list"
        if value is None:
            return "nothing"
        if isinstance(value, bool):
            return "true" if value else "false"
        return clipped(value) if isinstance(value, str) else str(value)


@dataclass(slots=True)
class Mistakes:
    """Collects the mistakes of one file, up to `MOST_MISTAKES`, so that one error reports all of them."""

    path: str
    found: list[Mistake] = field(default_factory=list)
    secrets: bool = False  # whether the file holds secrets, whose values are not stored

    def add(self, line: int, where: str, message: str, hint: str | None = None) -> None:
        """Add a mistake; `where` is the path inside the file: `axes.kernel_size[2]`.

        Raises SweepError where there are `MOST_MISTAKES` already.
        """
        if len(self.found) == MOST_MISTAKES:
            raise self.error(f"these are the first {MOST_MISTAKES} mistakes; correct them to see the others")
        self.found.append(Mistake(path=self.path, line=line, where=where, message=message, hint=hint))

    def expected(self, what: str, node: Node, where: str, hint: str | None = None) -> None:
        """Add the mistake that a value is not as expected."""
        self.add(node.line, where, f"expected {what}, got {node}", hint)

    def error(self, hint: str | None = None) -> SweepError:
        """All mistakes, in the order of their lines."""
        return SweepError(tuple(sorted(self.found, key=lambda mistake: mistake.line)), hint=hint)


def clipped(text: str) -> str:
    """Text in quotes, on one line, cut to `LONGEST_SHOWN` characters."""
    return repr(_short(text))


def below(where: str, key: str) -> str:
    """The path of the value of `key`."""
    return f"{where}.{_short(key)}" if where else _short(key)


def _shown(text: str, where: str) -> str:
    """The text at a place in the file, or `HIDDEN` if the place is for a secret."""
    return HIDDEN if is_secret(where.rpartition(".")[2], text) else text


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


#: All characters that are not printable in YAML (YAML 1.2, 5.1): control characters, surrogates, noncharacters.
UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # as YAML defines it
_TAG_DIRECTIVE = re.compile("(?:^|[\n\r\x85\u2028\u2029])%TAG")
_NO_TAGS = "remove it: values are read as they are written"

#: YAML 1.2's core schema, except that numbers with a leading zero, `.inf` and `.nan` stay text: the meaning of 010
#: depends on YAML's version. Numbers longer than _LONGEST_NUMBER characters stay text too.
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_BASED_INTEGER = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_LONGEST_NUMBER = 100
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


def plain(text: str) -> Scalar:
    """The value of text without quotes."""
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > _LONGEST_NUMBER:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _BASED_INTEGER.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text


def compose(text: str, mistakes: Mistakes) -> Node:
    """The single document in `text`; empty text is null. Raises SweepError for invalid YAML, or several documents.

    Tags and duplicate keys are added to `mistakes`, and reading continues.
    """
    unprintable = UNPRINTABLE.search(text)
    if unprintable:
        line = 1 + len(_LINE_BREAK.findall(text, 0, unprintable.start()))
        mistakes.add(line, "", f"control characters are not allowed, got U+{ord(unprintable[0]):04X}")
        raise mistakes.error()
    tag = _TAG_DIRECTIVE.search(text)
    if tag:  # the parser compares each with all others, which is slow
        mistakes.add(
            1 + len(_LINE_BREAK.findall(text, 0, tag.end())), "", "YAML tags are not allowed, got %TAG", _NO_TAGS
        )
        raise mistakes.error()
    try:
        root = _Composer(text, mistakes).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        context = f" {error.context}" if error.context else ""
        at_tab = mark and text[mark.index : mark.index + 1] == "\t"
        hint = "indent with spaces, not with tabs" if at_tab else None
        mistakes.add(mark.line + 1 if mark else 1, "", f"not valid YAML: {error.problem}{context}", hint)
        raise mistakes.error() from None
    except yaml.YAMLError as error:
        mistakes.add(1, "", f"not valid YAML: {error}")
        raise mistakes.error() from None
    return root or Node(line=1, value=None)


class _Composer:
    """Builds the tree from YAML's events."""

    def __init__(self, text: str, mistakes: Mistakes) -> None:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # without libyaml: ten times slower
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=loader)
        self._mistakes = mistakes
        self._anchors: dict[str | None, Node | None] = {}  # None: not yet complete
        self._values = 0

    def document(self) -> Node | None:
        """The root of the only document, None in an empty file."""
        root = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent) and root is not None:
                raise self._fatal(event, "", "expected one document, got a second one", "one sweep per file")
            if isinstance(event, yaml.NodeEvent):
                root = self._node(event, "", 0)
        return root

    def _fatal(self, event: yaml.Event, where: str, message: str, hint: str | None = None) -> SweepError:
        self._mistakes.add(_line(event), where, message, hint)
        return self._mistakes.error()

    def _node(self, event: yaml.Event, where: str, depth: int) -> Node:
        if depth > DEEPEST:
            raise self._fatal(event, where, f"nested more than {DEEPEST} deep")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, where)
        assert isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent)
        if event.anchor:
            self._anchors[event.anchor] = None
        if event.tag is not None:
            tag = _shown(clipped(event.tag), where)
            self._mistakes.add(_line(event), where, f"YAML tags are not allowed, got {tag}", _NO_TAGS)
        node = self._content(event, where, depth)
        if event.anchor:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, event: yaml.AliasEvent, where: str) -> Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            problem = (
                "refers to a value that contains it" if event.anchor in self._anchors else "has no anchor above it"
            )
            raise self._fatal(event, where, f"the alias {_shown(f'*{_short(event.anchor or str())}', where)} {problem}")
        self._count(node.size, event, where)
        return node

    def _count(self, values: int, event: yaml.Event, where: str) -> None:
        self._values += values
        if self._values > MOST_VALUES:
            raise self._fatal(event, where, f"the file expands to more than {units.count(MOST_VALUES)} values")

    def _content(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, where: str, depth: int) -> Node:
        before = self._values
        if isinstance(event, yaml.ScalarEvent):
            size = 1 + len(event.value) // LONG_TEXT
            self._count(size, event, where)
            quoted = bool(event.style)
            value = event.value if quoted else plain(event.value)
            written = event.value if isinstance(value, int) and event.value.startswith("0x") else ""
            return Node(line=_line(event), value=value, quoted=quoted, size=size, written=written)
        self._count(1, event, where)
        held: list[Node] | Pairs
        if isinstance(event, yaml.SequenceStartEvent):
            held = []
            while not isinstance(item := next(self._events), yaml.SequenceEndEvent):
                node = self._node(item, f"{where}[{len(held)}]", depth + 1)
                whole = _rejoined(held[-1], node) if held else None
                held[-1:] = [whole] if whole else [*held[-1:], node]
        else:
            own: Pairs = {}
            merged: Pairs = {}
            while not isinstance(key := next(self._events), yaml.MappingEndEvent):
                self._pair(key, merged if _is_merge(key) else own, where, depth)
            held = self._inherited(merged, where) | own
        return Node(line=_line(event), value=held, size=self._values - before)

    def _inherited(self, merged: Pairs, where: str) -> Pairs:
        """What `<<` gives to a mapping; where several mappings have a key, the first one's value."""
        inherited: Pairs = {}
        for line, node in merged.values():
            for each in node.value if isinstance(node.value, list) else [node]:
                if not isinstance(each.value, dict):
                    message = f"expected a mapping or a list of mappings, got {each}"
                    self._mistakes.add(line, below(where, MERGE_KEY), message)
                    continue
                inherited |= {key: pair for key, pair in each.value.items() if key not in inherited}
        return inherited

    def _pair(self, event: yaml.Event, mapping: Pairs, where: str, depth: int) -> None:
        """Read the value of the key that `event` starts into `mapping`."""
        node = self._node(event, where, depth + 1)
        key = event.value if isinstance(event, yaml.ScalarEvent) else str(node)
        value = self._node(next(self._events), below(where, key), depth + 1)
        last = next(reversed(mapping), None)
        if last is not None and value.value is None and (whole := _rejoined(mapping[last][1], node)):
            mapping[last] = (mapping[last][0], whole)
        elif not isinstance(event, yaml.ScalarEvent):
            self._mistakes.expected("text as key", node, where)
        elif key in mapping:
            first = mapping[key][0]
            self._mistakes.add(_line(event), where, f"duplicate key {clipped(key)}, first on line {first}")
        else:
            mapping[key] = (_line(event), value)


_OPENED, _CLOSED = re.compile(r"\(\s*[-+]?[0-9]+"), re.compile(r"[-+]?[0-9]+\s*\)")


def _rejoined(first: Node, second: Node) -> Node | None:
    """`(3,3)` from `(3` and `3)`, into which YAML divides it between braces or brackets; None for other values."""
    one, other = first.value, second.value
    if first.quoted or second.quoted or not isinstance(one, str) or not isinstance(other, str):
        return None
    is_size = _OPENED.fullmatch(one) and _CLOSED.fullmatch(other)
    return replace(first, value=f"{one},{other}") if is_size else None


def _is_merge(event: yaml.Event) -> bool:
    """Whether a key is a merge key; in quotes it is text."""
    return isinstance(event, yaml.ScalarEvent) and event.value == MERGE_KEY and not event.style


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """An environment variable whose value is not stored."""

    name: str
    value: str = field(repr=False)
    line: int


#: A scalar: its text, its first character and its end in the file, and its line.
_Span = tuple[str, int, int, int]


def without_secrets(text: str) -> tuple[str, list[Secret]]:
    """The YAML text with `HIDDEN` in place of every secret, and the secrets.

    A text that is not valid YAML is replaced as a whole.
    """
    try:
        found = sorted(_secrets(text), key=lambda each: each[1][1:])
    except yaml.YAMLError:
        return f"# {HIDDEN}: it is no YAML, and may hold secrets\n", []
    left, at = [], 0
    for _, (_, begin, end, _) in found:
        if begin < at:
            continue  # an alias: its value is replaced already
        old = text[begin:end]
        anchor = re.match(r"&\S+\s", old)
        left += [text[at:begin], anchor[0] if anchor else "", f"'{HIDDEN}'", "\n" if old.endswith("\n") else ""]
        at = end
    secrets = [Secret(name=name, value=value, line=line) for name, (value, _, _, line) in found if value != HIDDEN]
    return "".join([*left, text[at:]]), secrets


def _secrets(text: str) -> Iterator[tuple[str, _Span]]:
    """The name of every secret, and the place of its value."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    anchors: dict[str | None, _Span] = {}
    outer: list[list[str | None] | None] = []  # for each open mapping the key of the next value; None for a list
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.CollectionEndEvent):
            outer.pop()
        if not isinstance(event, yaml.NodeEvent):
            continue
        place: _Span | None = None
        if isinstance(event, yaml.ScalarEvent) and event.start_mark and event.end_mark:
            place = (event.value, event.start_mark.index, event.end_mark.index, _line(event))
            anchors[event.anchor] = place
        elif isinstance(event, yaml.AliasEvent):
            place = anchors.get(event.anchor)
        inside = outer[-1] if outer else None
        if inside:
            name = inside.pop()
            if name is not None and place is not None and is_secret(name, place[0]):
                yield name, place
        elif inside is not None:
            inside.append(place[0] if place else None)
        if isinstance(event, yaml.CollectionStartEvent):
            outer.append([] if isinstance(event, yaml.MappingStartEvent) else None)


def of_today(run: Run) -> Run:
    """The run with secrets removed from its source, which older versions stored."""
    return replace(run, source=without_secrets(run.source)[0])
