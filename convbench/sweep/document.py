"""YAML text -> a tree of values that know their lines. Of sweeps it knows nothing.

The text is read as YAML's events, not by a YAML loader: a loader would turn `yes`, `010` or `1:30` into something that
nobody wrote, keep the last of duplicate keys and follow tags.
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

#: Values a file may expand to, aliases counted like what they stand for: 1,000,000 cases of four settings fit.
MOST_VALUES = 10_000_000
#: Characters that count as one more value, so that an alias of a long text counts like what it stands for.
LONG_TEXT = 100
#: The deepest nesting read; a sweep has five levels (a side of a pair in an axis).
DEEPEST = 10
#: Mistakes told of one file; reading stops at the next one.
MOST_MISTAKES = 50
#: Text in messages is cut after so many characters.
LONGEST_SHOWN = 60

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A value with the line it starts on; a mapping holds (line of the key, value). `size` counts the values in it."""

    line: int
    value: Scalar | list[Node] | dict[str, tuple[int, Node]]
    quoted: bool = False
    size: int = 1

    def __str__(self) -> str:
        """What it is, for `expected ..., got ...`."""
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
    """Collects the mistakes of one file, so that all of them are told at once, up to `MOST_MISTAKES`."""

    path: str
    found: list[Mistake] = field(default_factory=list)
    secrets: bool = False  # whether the file holds values that are not stored

    def add(self, line: int, where: str, message: str, hint: str | None = None) -> None:
        """Note a mistake; `where` is the path inside the file: `axes.kernel_size[2]`.

        Raises SweepError at one too many.
        """
        if len(self.found) == MOST_MISTAKES:
            raise self.error(f"these are the first {MOST_MISTAKES} mistakes, there are more")
        self.found.append(Mistake(path=self.path, line=line, where=where, message=message, hint=hint))

    def expected(self, what: str, node: Node, where: str, hint: str | None = None) -> None:
        """Note that a value is not what was expected."""
        self.add(node.line, where, f"expected {what}, got {node}", hint)

    def error(self, hint: str | None = None) -> SweepError:
        """All mistakes, in the order of their lines."""
        return SweepError(tuple(sorted(self.found, key=lambda mistake: mistake.line)), hint=hint)


def clipped(text: str) -> str:
    """Text in quotes, on one line, of a length one can read."""
    return repr(_short(text))


def below(where: str, key: str) -> str:
    """The path of the value of `key`."""
    return f"{where}.{_short(key)}" if where else _short(key)


def _shown(text: str, where: str) -> str:
    """Text that stands at a place, unless a secret belongs there."""
    return HIDDEN if is_secret(where.rpartition(".")[2], text) else text


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


#: All but YAML's printable characters (YAML 1.2, 5.1): control characters, surrogates, noncharacters.
UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # what YAML counts as one
_TAG_DIRECTIVE = re.compile("(?:^|[\n\r\x85\u2028\u2029])%TAG")
_NO_TAGS = "take it out: values are read as they are written"

#: YAML 1.2's core schema, but numbers with a leading zero, `.inf` and `.nan` are left as text: what 010 means depends
#: on YAML's version. Longer numbers are text as well.
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
    """What text without quotes stands for."""
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
    """The only document in `text`, empty text being null; raises SweepError where it is not YAML, or more than one.

    Tags and duplicate keys go into `mistakes` and reading goes on.
    """
    unprintable = UNPRINTABLE.search(text)
    if unprintable:
        line = 1 + len(_LINE_BREAK.findall(text, 0, unprintable.start()))
        mistakes.add(line, "", f"control characters are not allowed, got U+{ord(unprintable[0]):04X}")
        raise mistakes.error()
    tag = _TAG_DIRECTIVE.search(text)
    if tag:  # the parser holds each against all others
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
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # without libyaml: the same, ten times slower
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=loader)
        self._mistakes = mistakes
        self._anchors: dict[str | None, Node | None] = {}  # None: begun and not ended
        self._values = 0

    def document(self) -> Node | None:
        """The root of the only document, None in an empty file."""
        root = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent) and root is not None:
                raise self._dead_end(event, "", "expected one document, got a second one", "one sweep per file")
            if isinstance(event, yaml.NodeEvent):
                root = self._node(event, "", 0)
        return root

    def _dead_end(self, event: yaml.Event, where: str, message: str, hint: str | None = None) -> SweepError:
        self._mistakes.add(_line(event), where, message, hint)
        return self._mistakes.error()

    def _node(self, event: yaml.Event, where: str, depth: int) -> Node:
        if depth > DEEPEST:
            raise self._dead_end(event, where, f"nested more than {DEEPEST} deep")
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
            problem = "is inside what it stands for" if event.anchor in self._anchors else "stands for nothing above it"
            raise self._dead_end(
                event, where, f"the alias {_shown(f'*{_short(event.anchor or str())}', where)} {problem}"
            )
        self._count(node.size, event, where)
        return node

    def _count(self, values: int, event: yaml.Event, where: str) -> None:
        self._values += values
        if self._values > MOST_VALUES:
            raise self._dead_end(event, where, f"the file expands to more than {units.count(MOST_VALUES)} values")

    def _content(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, where: str, depth: int) -> Node:
        before = self._values
        if isinstance(event, yaml.ScalarEvent):
            size = 1 + len(event.value) // LONG_TEXT
            self._count(size, event, where)
            quoted = bool(event.style)
            value = event.value if quoted else plain(event.value)
            return Node(line=_line(event), value=value, quoted=quoted, size=size)
        self._count(1, event, where)
        held: list[Node] | dict[str, tuple[int, Node]]
        if isinstance(event, yaml.SequenceStartEvent):
            held = []
            while not isinstance(item := next(self._events), yaml.SequenceEndEvent):
                held.append(self._node(item, f"{where}[{len(held)}]", depth + 1))
        else:
            held = {}
            while not isinstance(key := next(self._events), yaml.MappingEndEvent):
                self._pair(key, held, where, depth)
        return Node(line=_line(event), value=held, size=self._values - before)

    def _pair(self, event: yaml.Event, mapping: dict[str, tuple[int, Node]], where: str, depth: int) -> None:
        """Read the value of the key that `event` starts into `mapping`."""
        node = self._node(event, where, depth + 1)
        key = event.value if isinstance(event, yaml.ScalarEvent) else str(node)
        value = self._node(next(self._events), below(where, key), depth + 1)
        if not isinstance(event, yaml.ScalarEvent):
            self._mistakes.expected("a word as key", node, where)
        elif key in mapping:
            first = mapping[key][0]
            self._mistakes.add(_line(event), where, f"duplicate key {clipped(key)}, first on line {first}")
        else:
            mapping[key] = (_line(event), value)


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A variable whose value is not stored."""

    name: str
    value: str = field(repr=False)
    line: int


#: A scalar: its text, where it begins and ends in the file, and its line.
_Span = tuple[str, int, int, int]


def without_secrets(text: str) -> tuple[str, list[Secret]]:
    """The YAML text with `HIDDEN` for the value of every key that is a secret's, and what these values were.

    A text that is no YAML is not returned at all.
    """
    try:
        found = sorted(_secrets(text), key=lambda each: each[1][1:])
    except yaml.YAMLError:
        return f"# {HIDDEN}: it is no YAML, and may hold secrets\n", []
    left, at = [], 0
    for _, (_, begin, end, _) in found:
        if begin < at:
            continue  # an alias stands for what is replaced already
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
    outer: list[list[str | None] | None] = []  # of each open mapping the key whose value comes; None for a list
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
    """A run whose source holds no values of secrets, which older versions stored."""
    return replace(run, source=without_secrets(run.source)[0])
