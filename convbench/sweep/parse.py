"""YAML text -> Sweep: validates a sweep file and reports all mistakes at once. No value is coerced."""

from __future__ import annotations

import io
import math
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import product
from pathlib import Path

from convbench import units
from convbench.errors import RequestError, SweepError
from convbench.model.bounds import (
    LONGEST_BUDGET_S,
    LONGEST_TIME_S,
    LONGEST_TIMEOUT_S,
    MOST_LABELS,
    MOST_PROCESSES,
    MOST_ROUNDS,
    VARIABLE,
)
from convbench.model.case import Env
from convbench.model.lookup import Entry, name_sets
from convbench.model.nearest import did_you_mean
from convbench.model.operators import DEFAULT_OPERATOR
from convbench.model.operators.given import HALF
from convbench.model.result import Measure, Run
from convbench.model.settings import REQUIRED, SETTINGS, TABLE, Allocator, Kind
from convbench.model.threshold import BEYOND_L2, Special, Thresholds
from convbench.model.variables import HIDDEN, Variables, hidden, is_secret
from convbench.sweep import sizes
from convbench.sweep.document import (
    UNPRINTABLE,
    Mistakes,
    Node,
    Secret,
    below,
    clipped,
    compose,
    plain,
    without_secrets,
)

#: Maximum size of a sweep file, bytes: 1,000,000 cases of four settings fit.
MOST_BYTES = 100 * 2**20
#: Maximum number of points of a sweep; more are probably a mistake, and would fill the memory.
MOST_POINTS = 1_000_000
#: The largest seed that every random generator accepts.
MOST_SEED = 2**32 - 1
#: Maximum lengths in characters. A name is used in file names and headings.
LONGEST_NAME = 200
LONGEST_DESCRIPTION = 100_000
LONGEST_VARIABLE = 4096
#: Maximum number of environment variables in an `env`.
MOST_VARIABLES = 100
#: Maximum characters of the environment variables of all points together: every label contains its own. The `labels` of
#: all points together have the same maximum: each point is stored with its own.
MOST_CHARACTERS = 200_000_000
#: Maximum of points times different sets of settings in the entries of a list: each point looks up each set.
MOST_LOOKUPS = 20 * MOST_POINTS

#: A setting's value. Numbers are normalized (3 -> (3, 3)), words stay as written: `half`, `depthwise`.
Value = int | bool | str | None | tuple[int, ...] | Env
Values = tuple[tuple[str, Value], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A setting and the values it takes."""

    name: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """An entry of `cases`: the settings it names, multiplied by the axes it does not name.

    `labels` are those of all equal layers, `label` the one that is shown.
    """

    given: Values = ()
    label: str | None = None
    labels: tuple[str, ...] = ()
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Convolutions of a network that are none of the sweep's cases, and the reason.

    `work` is their share of the work of the whole network, from 0 to 1; None where it is unknown.
    """

    count: int
    reason: str
    work: float | None = None

    def __str__(self) -> str:
        """`23 convolutions with 45 % of the work: a budget of 25 s is too short for them`."""
        work = "" if self.work is None else f" with {units.percent(self.work)} of the work"
        return f"{units.plural(self.count, 'convolution')}{work}: {units.flat(self.reason)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """The content of a sweep file. `source` is its text. A file without `cases` has one entry without settings.

    An exclusion is one combination of the values that an entry of `exclude` lists. `exclude_places` are the index of
    that entry and its line.

    `secrets` are the variables under `env` that hold secrets, as (name, value). Only this field holds their values:
    `source` and cases hide them, so a case does not depend on them.
    """

    path: str
    source: str
    name: str
    description: str
    seed: int
    measure: Measure
    compare: Thresholds
    allocator: Allocator
    axes: tuple[Axis, ...]
    listed: tuple[Listed, ...]
    exclude: tuple[Values, ...]
    exclude_places: tuple[tuple[int, int], ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    secrets: Variables = field(default=(), repr=False)


#: The path that means standard input.
STANDARD_INPUT = "-"


def load(path: Path) -> Sweep:
    """The sweep in a file, `-` for standard input; RequestError for an unreadable one, SweepError for mistakes."""
    try:
        with nullcontext(sys.stdin.buffer) if str(path) == STANDARD_INPUT else path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)  # /dev/zero has no end
        if len(data) > MOST_BYTES:
            raise RequestError(f"{path}: expected at most {units.size(MOST_BYTES)}, got more", hint="give a sweep file")
        text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig").read()
    except UnicodeDecodeError as error:
        hint = "save the file as UTF-8"
        raise RequestError(f"{path}: expected text in UTF-8, got other bytes at {error.start}", hint=hint) from None
    except FileNotFoundError:
        raise RequestError(f"{path}: no such file", hint=_neighbours(path)) from None
    except IsADirectoryError:
        hint = f"give a file in it, for example {path / 'sweep.yaml'}"
        raise RequestError(f"{path}: expected a sweep file, got a folder", hint=hint) from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise RequestError(f"{path}: cannot be read: {reason.lower()}") from None
    return parse(text, str(path))


def _neighbours(path: Path) -> str | None:
    try:
        names = sorted(other.name for other in path.parent.iterdir() if other.suffix in (".yaml", ".yml"))
    except (OSError, ValueError):
        return None
    close = get_close_matches(path.name, names, n=1)
    return f"did you mean {path.parent / close[0]}?" if close else None


# The values of settings


#: The allowed values of every axis.
KINDS: dict[str, Kind] = {name: row.kind for name, row in TABLE.items()}


def read_value(kind: Kind, node: Node, where: str, mistakes: Mistakes) -> Value:
    """One value; None after a mistake, which is added to `mistakes`."""
    node = sizes.listed(node) if kind.spatial else node
    value = node.value
    if isinstance(value, list) and kind.spatial:
        return _sides(kind, node, where, mistakes)
    if isinstance(value, dict) and kind.variables:
        return _variables(value, where, mistakes)
    if isinstance(value, str) and kind.variables and is_secret(value, value):
        mistakes.add(node.line, where, f"expected {kind.name}, got {HIDDEN}", "write {NAME: value}")
        return None
    if isinstance(value, bool) and kind.truth:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and kind.least is not None:
        if kind.least <= value <= kind.most:
            return (value,) * DEFAULT_OPERATOR.rank if kind.spatial else value
        if value > kind.most:
            mistakes.expected(f"an integer of at most {kind.most}", node, where)
            return None
    problem = None
    if isinstance(value, str):
        for word in kind.words:
            if value == word:
                return word
        if kind.text and len(value) > LONGEST_NAME:
            problem = f"use at most {LONGEST_NAME} characters"
        elif kind.text:
            problem = kind.text(value)
        if kind.text and problem is None:
            return value
    if value is None and kind.null:
        return None
    mistakes.expected(kind.name, node, where, problem or _hint(kind, node))
    return None


def _sides(kind: Kind, node: Node, where: str, mistakes: Mistakes) -> tuple[int, ...]:
    """A number for each dimension."""
    assert isinstance(node.value, list)
    wrong = sizes.wrong_length(node, pads=kind is KINDS["padding"])
    if wrong:
        mistakes.add(node.line, where, *wrong)
        return ()
    side = Kind(least=kind.least)
    read = [read_value(side, inner, f"{where}[{index}]", mistakes) for index, inner in enumerate(node.value)]
    return tuple(number for number in read if isinstance(number, int))


def _variables(found: dict[str, tuple[int, Node]], where: str, mistakes: Mistakes) -> Env:
    """Environment variables of a worker, sorted by name."""
    if len(found) > MOST_VARIABLES:
        line = next(iter(found.values()))[0]
        mistakes.add(line, where, f"expected at most {MOST_VARIABLES} variables, got {units.count(len(found))}")
        return ()
    for name, (line, _) in found.items():
        if not VARIABLE.fullmatch(name):
            got = HIDDEN if is_secret(name) else clipped(name)
            mistakes.add(line, where, f"expected a variable's name, got {got}")
    read = []
    for name, (_, inner) in found.items():
        if is_secret(name) and not isinstance(inner.value, str):
            mistakes.add(inner.line, below(where, name), "expected text", "put it in quotes")
        else:
            value = _text(inner, below(where, name), mistakes, longest=LONGEST_VARIABLE, lines=False)
            read.append((name, value))
            mistakes.secrets |= is_secret(name, value)
    return hidden(sorted(read))


_TIES = "one setting alone can be tied to another: out_channels: in_channels"
_TRUTHS = {"yes": "true", "on": "true", "no": "false", "off": "false"}


def _hint(kind: Kind, node: Node) -> str | None:
    """A hint at the probably intended value."""
    value = node.value
    if isinstance(value, list) and value:
        return sizes.LISTS
    if not isinstance(value, str):
        return None
    if kind.spatial and sizes.is_split(value):
        return sizes.SPLIT
    if kind.truth and value.lower() in _TRUTHS:
        return f"did you mean {_TRUTHS[value.lower()]}?"
    if node.quoted and value and not isinstance(plain(value), str):
        return "remove the quotes"
    if kind.least is not None and re.fullmatch("0[0-9]+", value):
        return "remove the leading zero"
    return did_you_mean(value, kind.words) or (_TIES if value in SETTINGS and kind.least is not None else None)


#: Keys of ratios, where users may have given a percentage.
_RATIOS = ("precision", "threshold", "beyond_l2")


def _number(node: Node, where: str, low: float, high: float, mistakes: Mistakes) -> float:
    value = node.value
    if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
        return float(value)
    hint = "1 % is 0.01" if where.endswith(_RATIOS) and isinstance(value, int | float) else None
    mistakes.expected(f"a number from {low:g} to {high:g}", node, where, hint or _hint(Kind(), node))
    return low


def _text(node: Node, where: str, mistakes: Mistakes, *, longest: int, lines: bool = True) -> str:
    """Free text of 1 to `longest` characters without control characters; `lines` allows line breaks."""
    value = node.value
    if not isinstance(value, str):
        mistakes.expected("text", node, where, "put it in quotes" if isinstance(value, int | float) else None)
        return ""
    if not lines and len(value.splitlines()) > 1:
        mistakes.expected("one line of text", node, where)
    elif not 1 <= len(value.strip()) <= len(value) <= longest:
        got = f"got {units.count(len(value))}" if value.strip() else "got none"
        mistakes.add(node.line, where, f"expected 1 to {units.count(longest)} characters, {got}")
    elif control := _CONTROL.search(value):  # double-quoted YAML can contain any character
        got = f"got U+{ord(control[0]):04X}"
        mistakes.add(node.line, where, f"control characters are not allowed, {got}")
    return value


_CONTROL = re.compile(f"{UNPRINTABLE.pattern}|[\r\x85]")


# The keys of a file

_TOP = ("name", "description", "seed", "axes", "cases", "exclude", "left_out", "measure", "compare")
_LEFT_OUT = ("count", "work", "reason")
_LISTED_ONLY = ("label", "labels", "count")

#: The numbers under `measure` and their bounds: counts, seconds and ratios.
COUNTS = {"processes": (1, MOST_PROCESSES), "rounds": (1, MOST_ROUNDS)}
NUMBERS = {
    "precision": (1e-4, 0.5),
    "max_time": (1e-3, LONGEST_TIME_S),
    "timeout": (0.1, LONGEST_TIMEOUT_S),
    "budget": (1.0, LONGEST_BUDGET_S),
}
MEASURE = (*COUNTS, *NUMBERS, "samples", "allocator")
#: The name of `processes` before 2026-11-28; older files and stored sweeps use it.
_OLD_PROCESSES = "passes"
_COMPARE = ("threshold", "beyond_l2", "thresholds")
#: The bounds of a threshold, ratios minus 1. No floor repeats better than the lower; a value from 1 on is a percentage.
THRESHOLD = (0.005, 0.99)

#: The right place of each key, for hints at misplaced keys.
_PLACES = {
    **dict.fromkeys(SETTINGS, "under axes"),
    **dict.fromkeys(MEASURE[:-1], "under measure"),
    _OLD_PROCESSES: "under measure, as processes",
    **dict.fromkeys(_COMPARE, "under compare"),
    **dict.fromkeys(_LISTED_ONLY, "in an entry of cases"),
    **dict.fromkeys(_TOP, "at the top level"),
}


def parse(text: str, path: str) -> Sweep:
    """The sweep in `text`; raises SweepError with all mistakes, which name the file `path`."""
    mistakes = Mistakes(path)
    root = compose(text, mistakes)
    if root.value is None:
        mistakes.add(root.line, "", "expected a sweep, got an empty file", "`convbench init` writes one to begin with")
        raise mistakes.error()
    top = _mapping(root, "", _TOP, mistakes, "a mapping with axes or cases")

    def described(key: str, default: str, longest: int) -> str:
        return _text(top[key], key, mistakes, longest=longest) if key in top else default

    name = described("name", Path(path).stem.encode("utf-8", "replace").decode(), LONGEST_NAME)
    description = described("description", "", LONGEST_DESCRIPTION)
    seed = read_value(Kind(least=0, most=MOST_SEED), top["seed"], "seed", mistakes) if "seed" in top else 0
    axes = _axes(top["axes"], mistakes) if "axes" in top else ()
    listed = _listed(top["cases"], mistakes) if "cases" in top else (Listed(),)
    taken = Taken(axes, listed)
    exclude = _exclude(top["exclude"], taken, mistakes) if "exclude" in top else ()
    left_out = _left_out(top["left_out"], mistakes) if "left_out" in top else ()
    measure, allocator = _measure(top["measure"], mistakes) if "measure" in top else (Measure(), Allocator.STEADY)
    compare = _compare(top["compare"], taken, mistakes) if "compare" in top else Thresholds()
    if isinstance(root.value, dict):
        _require(root, top.get("axes"), top.get("cases"), mistakes)
        points = _limit(axes, listed, top.get("axes") or root, mistakes)
        if "exclude" in top:
            _limit_sets([given for given, _ in exclude], points, top["exclude"], "exclude", mistakes)
        if "compare" in top:
            wanted = [special.settings for special in compare.specials]
            _limit_sets(wanted, points, top["compare"], "compare.thresholds", mistakes)
    source, secrets = without_secrets(text) if mistakes.secrets and not mistakes.found else (text, [])
    for name, line in _ambiguous(secrets):
        hint = "use one value: convbench does not store secrets, so cases cannot differ in them"
        mistakes.add(line, "", f"expected one value of {name} in the whole file, got another one", hint)
    if mistakes.found:
        raise mistakes.error()
    return Sweep(
        path=path,
        source=source,
        secrets=tuple(sorted({secret.name: secret.value for secret in secrets}.items())),
        name=name,
        description=description,
        seed=seed if isinstance(seed, int) else 0,
        measure=measure,
        compare=compare,
        allocator=allocator,
        axes=axes,
        listed=listed,
        exclude=tuple(given for given, _ in exclude),
        exclude_places=tuple(place for _, place in exclude),
        left_out=left_out,
    )


def _ambiguous(secrets: Sequence[Secret]) -> Iterator[tuple[str, int]]:
    """(name, line) of every secret whose value differs from an earlier one."""
    seen: dict[str, str] = {}
    for secret in secrets:
        if seen.setdefault(secret.name, secret.value) != secret.value:
            yield secret.name, secret.line


def _mapping(node: Node, where: str, keys: tuple[str, ...], mistakes: Mistakes, what: str) -> dict[str, Node]:
    """The values of the known keys; `what` describes the expected value in a mistake."""
    if not isinstance(node.value, dict):
        mistakes.expected(what, node, where)
        return {}
    for key, (line, _) in node.value.items():
        if key not in keys:
            place = _PLACES.get(key)
            hint = f"it belongs {place}" if place else did_you_mean(key, keys) or f"known keys: {', '.join(keys)}"
            mistakes.add(line, where, f"unknown key {clipped(key)}", hint)
    return {key: inner for key, (_, inner) in node.value.items() if key in keys}


def _axes(node: Node, mistakes: Mistakes) -> tuple[Axis, ...]:
    found = _mapping(node, "axes", SETTINGS, mistakes, "a mapping from settings to lists of values")
    if node.value == {}:
        mistakes.expected("at least one axis", node, "axes")
    return tuple(Axis(name=name, values=_axis(name, inner, mistakes)) for name, inner in found.items())


def _axis(name: str, node: Node, mistakes: Mistakes) -> tuple[Value, ...]:
    """The values of an axis: a list, a range, or one value without brackets."""
    where, kind = f"axes.{name}", KINDS[name]
    if isinstance(node.value, list):
        if not node.value:
            mistakes.expected("at least one value", node, where)
        return tuple(read_value(kind, inner, f"{where}[{index}]", mistakes) for index, inner in enumerate(node.value))
    if isinstance(node.value, dict) and kind.least is not None:
        return _range(kind, node, where, mistakes)
    return (read_value(kind, node, where, mistakes),)


def _range(kind: Kind, node: Node, where: str, mistakes: Mistakes) -> tuple[Value, ...]:
    """The values of {from, to, times} (16, 32, 64) or {from, to, step}; includes `to` only if a step reaches it."""
    before = len(mistakes.found)
    assert kind.least is not None
    found = _mapping(node, where, ("from", "to", "times", "step"), mistakes, "a range")
    by_factor = "times" in found
    leasts = {"from": max(kind.least, int(by_factor)), "to": kind.least, "times": 2, "step": 1}
    read = {key: read_value(Kind(least=leasts[key]), inner, f"{where}.{key}", mistakes) for key, inner in found.items()}
    numbers = {key: value for key, value in read.items() if isinstance(value, int)}
    if len(mistakes.found) == before and set(found) not in ({"from", "to", "times"}, {"from", "to", "step"}):
        got = " and ".join(found) or "nothing"
        mistakes.add(node.line, where, f"expected from, to and either times or step, got {got}")
    if len(mistakes.found) > before:
        return ()
    first, last = numbers["from"], numbers["to"]
    if last < first:
        mistakes.expected(f"an integer of at least {first}", found["to"], f"{where}.to")
    values: Sequence[int]
    if by_factor:
        values = [value for n in range(32) if (value := first * numbers["times"] ** n) <= last]
    else:
        values = range(first, last + 1, numbers["step"])
    if len(values) > MOST_POINTS:
        mistakes.add(node.line, where, _too_many(len(values)))
        return ()
    return tuple((value,) * DEFAULT_OPERATOR.rank for value in values) if kind.spatial else tuple(values)


def _entries(node: Node, where: str, mistakes: Mistakes) -> list[Node]:
    if isinstance(node.value, list):
        return node.value
    mistakes.expected(
        "a list of mappings", node, where, "put a dash before it" if isinstance(node.value, dict) else None
    )
    return []


def _given(found: dict[str, Node], where: str, mistakes: Mistakes) -> Values:
    """The settings that an entry of `cases` names."""
    settings = ((name, inner) for name, inner in found.items() if name in KINDS)
    return tuple((name, read_value(KINDS[name], inner, f"{where}.{name}", mistakes)) for name, inner in settings)


def _listed(node: Node, mistakes: Mistakes) -> tuple[Listed, ...]:
    if node.value == []:
        mistakes.expected("at least one case", node, "cases")
    listed = []
    for index, entry in enumerate(_entries(node, "cases", mistakes)):
        where = f"cases[{index}]"
        found = _mapping(entry, where, (*SETTINGS, *_LISTED_ONLY), mistakes, "a mapping of settings")
        label, count = found.get("label"), found.get("count")
        times = read_value(Kind(least=1), count, f"{where}.count", mistakes) if count else 1
        labels = _labels(found["labels"], f"{where}.labels", mistakes) if "labels" in found else ()
        listed.append(
            Listed(
                given=_given(found, where, mistakes),
                label=_label(label, f"{where}.label", mistakes) if label else next(iter(labels), None),
                labels=labels,
                count=times if isinstance(times, int) else 1,
            )
        )
    return tuple(listed)


def _labels(node: Node, where: str, mistakes: Mistakes) -> tuple[str, ...]:
    """The different labels of equal layers, in their order."""
    found = node.value
    if not isinstance(found, list) or not found:
        mistakes.expected("a list of labels", node, where)
        return ()
    if len(found) > MOST_LABELS:
        most = f"expected at most {units.count(MOST_LABELS)} labels, got {units.count(len(found))}"
        mistakes.add(node.line, where, most, "leave some out: count says how often the layer occurs")
        return ()
    return tuple(dict.fromkeys(_label(each, f"{where}[{at}]", mistakes) for at, each in enumerate(found)))


def _label(node: Node, where: str, mistakes: Mistakes) -> str:
    return _text(node, where, mistakes, longest=LONGEST_NAME, lines=False)


class Taken:
    """The values that the settings of a sweep take, under `axes` and in the entries of `cases`."""

    def __init__(self, axes: Sequence[Axis], listed: Sequence[Listed]) -> None:
        self._values: dict[str, set[Value]] = {axis.name: set(axis.values) for axis in axes}
        for entry in listed:
            for name, value in entry.given:
                self._values.setdefault(name, set()).add(value)

    def is_size(self, name: str, node: Node) -> bool:
        """Whether a list is one size and not a list of values: two numbers are a size where the sweep has that size.

        The padding `half` may give any size.
        """
        sides = [inner.value for inner in node.value] if isinstance(node.value, list) else []
        if len(sides) != DEFAULT_OPERATOR.rank or not all(type(side) is int for side in sides):
            return False
        taken = self._values.get(name, set())
        return HALF in taken or tuple(sides) in taken


def _alternatives(found: dict[str, Node], where: str, taken: Taken, mistakes: Mistakes) -> list[Values]:
    """The combinations of values that an entry of `exclude` or `thresholds` matches; a setting may have a list."""
    names = [name for name in found if name in KINDS]
    every = [_values(name, found[name], f"{where}.{name}", taken, mistakes) for name in names]
    if math.prod(map(len, every)) > MOST_POINTS:
        line = min(found[name].line for name in names)
        mistakes.add(line, where, f"expected at most {units.count(MOST_POINTS)} combinations of values")
        return []
    return [tuple(zip(names, values, strict=True)) for values in product(*every)]


def _values(name: str, node: Node, where: str, taken: Taken, mistakes: Mistakes) -> list[Value]:
    """The values of a list, or one value."""
    kind, value = KINDS[name], node.value
    if not isinstance(value, list) or (kind.spatial and taken.is_size(name, node)):
        return [read_value(kind, node, where, mistakes)]
    if not value:
        mistakes.expected("at least one value", node, where)
    return [read_value(kind, inner, f"{where}[{index}]", mistakes) for index, inner in enumerate(value)]


def _exclude(node: Node, taken: Taken, mistakes: Mistakes) -> list[tuple[Values, tuple[int, int]]]:
    """Each combination of values with the index of its entry and its line."""
    exclude = []
    for index, entry in enumerate(_entries(node, "exclude", mistakes)):
        where = f"exclude[{index}]"
        if entry.value == {}:
            mistakes.expected("at least one setting", entry, where, "an empty entry would exclude every point")
        found = _mapping(entry, where, SETTINGS, mistakes, "a mapping of settings")
        exclude += [(given, (index, entry.line)) for given in _alternatives(found, where, taken, mistakes)]
        if len(exclude) > MOST_POINTS:
            mistakes.add(
                entry.line, where, f"expected at most {units.count(MOST_POINTS)} combinations of values in all"
            )
            break
    return exclude


def _left_out(node: Node, mistakes: Mistakes) -> tuple[LeftOut, ...]:
    """The entries of `left_out`, each with a reason."""
    read = []
    for index, entry in enumerate(_entries(node, "left_out", mistakes)):
        where = f"left_out[{index}]"
        found = _mapping(entry, where, _LEFT_OUT, mistakes, "a mapping of count, work and reason")
        if isinstance(entry.value, dict) and "reason" not in entry.value:
            mistakes.add(entry.line, where, "missing reason")
        count = read_value(Kind(least=1), found["count"], f"{where}.count", mistakes) if "count" in found else 1
        read.append(
            LeftOut(
                count=count if isinstance(count, int) else 1,
                reason=_text(found["reason"], f"{where}.reason", mistakes, longest=LONGEST_DESCRIPTION)
                if "reason" in found
                else "",
                work=_number(found["work"], f"{where}.work", 0.0, 1.0, mistakes) if "work" in found else None,
            )
        )
    return tuple(read)


def _measure(node: Node, mistakes: Mistakes) -> tuple[Measure, Allocator]:
    given = node.value if isinstance(node.value, dict) else {}
    older = (_OLD_PROCESSES,) if _OLD_PROCESSES in given else ()
    found = _mapping(node, "measure", (*MEASURE, *older), mistakes, f"a mapping of {', '.join(MEASURE)}")
    if older and "processes" in given:
        line = max(given[name][0] for name in ("processes", *older))
        mistakes.add(line, "measure", f"expected processes or {_OLD_PROCESSES}, got both", "give processes only")
    default = Measure()

    def count(name: str, written: str) -> int:
        least, most = COUNTS[name]
        value = read_value(Kind(least=least, most=most), found[written], f"measure.{written}", mistakes)
        return value if isinstance(value, int) else least

    def number(name: str) -> float:
        return _number(found[name], f"measure.{name}", *NUMBERS[name], mistakes)

    allocator: Value = Allocator.STEADY
    if "allocator" in found:
        allocator = read_value(KINDS["allocator"], found["allocator"], "measure.allocator", mistakes)
    measure = Measure(
        precision=number("precision") if "precision" in found else default.precision,
        processes=next((count("processes", n) for n in ("processes", *older) if n in found), default.processes),
        rounds=count("rounds", "rounds") if "rounds" in found else default.rounds,
        max_time=number("max_time") if "max_time" in found else default.max_time,
        timeout=number("timeout") if "timeout" in found else default.timeout,
        budget=number("budget") if "budget" in found else default.budget,
        samples=_truth(found["samples"], "measure.samples", mistakes) if "samples" in found else default.samples,
    )
    return measure, allocator if isinstance(allocator, Allocator) else Allocator.STEADY


def _truth(node: Node, where: str, mistakes: Mistakes) -> bool:
    return read_value(Kind(truth=True), node, where, mistakes) is True


def _compare(node: Node, taken: Taken, mistakes: Mistakes) -> Thresholds:
    found = _mapping(node, "compare", _COMPARE, mistakes, f"a mapping of {', '.join(_COMPARE)}")

    def number(name: str, default: float) -> float:
        return _number(found[name], f"compare.{name}", *THRESHOLD, mistakes) if name in found else default

    threshold = number("threshold", Thresholds().threshold)
    entries = _entries(found["thresholds"], "compare.thresholds", mistakes) if "thresholds" in found else []
    return Thresholds(
        threshold=threshold,
        beyond_l2=number(
            "beyond_l2", max(BEYOND_L2, threshold)
        ),  # by default no less than for what stays in the caches
        specials=tuple(
            special
            for index, entry in enumerate(entries)
            for special in _specials(entry, f"compare.thresholds[{index}]", taken, mistakes)
        ),
    )


def _specials(entry: Node, where: str, taken: Taken, mistakes: Mistakes) -> list[Special]:
    found = _mapping(entry, where, (*SETTINGS, "threshold"), mistakes, "a mapping of settings and a threshold")
    if isinstance(entry.value, dict) and "threshold" not in entry.value:
        mistakes.add(entry.line, where, "missing threshold")
    elif isinstance(entry.value, dict) and len(entry.value) == 1:
        hint = "set the threshold of all cases with compare.threshold"
        mistakes.add(entry.line, where, "expected at least one setting beside the threshold", hint)
    own = _number(found["threshold"], f"{where}.threshold", *THRESHOLD, mistakes) if "threshold" in found else 0.0
    return [Special(settings=given, threshold=own) for given in _alternatives(found, where, taken, mistakes)]


def _require(root: Node, axes: Node | None, cases_: Node | None, mistakes: Mistakes) -> None:
    """Check that the axes or each entry of `cases` give every setting that has no default."""
    named = axes.value if axes and isinstance(axes.value, dict) else {}
    lacking = [name for name in REQUIRED if name not in named]
    if cases_ is not None:
        for index, entry in enumerate(cases_.value if isinstance(cases_.value, list) else ()):
            missing = [name for name in lacking if isinstance(entry.value, dict) and name not in entry.value]
            if missing:
                hint = "add it here or under axes"
                mistakes.add(entry.line, f"cases[{index}]", f"missing {', '.join(missing)}", hint)
    elif axes is None:
        mistakes.add(root.line, "", "expected axes or cases, got neither")
    elif named and lacking:
        mistakes.add(axes.line, "axes", f"missing {', '.join(lacking)}")


def _limit(axes: Sequence[Axis], listed: Sequence[Listed], node: Node, mistakes: Mistakes) -> int:
    """Count the points before creating them, and check the number and the length of their labels."""
    points = characters = 0
    for entry in listed:
        named = dict(entry.given)
        own = math.prod(len(axis.values) for axis in axes if axis.name not in named)
        points += own
        characters += own * sum(map(len, entry.labels))
    hint = "remove values, or split the sweep into several files"
    if points > MOST_POINTS:
        mistakes.add(node.line, "axes", _too_many(points), hint)
        return points
    written = [value for axis in axes if axis.name == "env" for value in axis.values]
    written += [value for entry in listed for name, value in entry.given if name == "env"]
    longest = max((len(str(value)) for value in written), default=0)
    if points * longest > MOST_CHARACTERS:
        most = f"expected at most {units.count(MOST_CHARACTERS)} characters of env over all points"
        mistakes.add(node.line, "axes", f"{most}, got {units.count(points * longest)}", hint)
    if characters > MOST_CHARACTERS:
        most = f"expected at most {units.count(MOST_CHARACTERS)} characters of labels over all points"
        mistakes.add(node.line, "axes", f"{most}, got {units.count(characters)}", hint)
    return points


def _limit_sets(entries: Iterable[Entry], points: int, node: Node, where: str, mistakes: Mistakes) -> None:
    """Check the number of lookups over all points."""
    sets = name_sets(entries)
    if points * sets > MOST_LOOKUPS:
        most = f"expected at most {MOST_LOOKUPS // points} different sets of settings for {units.count(points)} points"
        hint = "use the same settings in more entries, or split the sweep into several files"
        mistakes.add(node.line, where, f"{most}, got {units.count(sets)}", hint)


def _too_many(points: int) -> str:
    return f"expected at most {units.count(MOST_POINTS)} points, got {units.count(points)}"


def of_run(run: Run) -> Sweep | None:
    """The sweep of a stored run; None where another version of convbench wrote it and this one cannot read it."""
    try:
        return parse(run.source, f"the sweep of run {run.id}")
    except SweepError:
        return None


def thresholds(run: Run) -> Thresholds:
    """The thresholds of a change in a run's sweep.

    Raises RequestError for an unreadable sweep, which another version of convbench may have stored.
    """
    try:
        return parse(run.source, f"the sweep of run {run.id}").compare
    except SweepError as error:
        if "compare" not in run.source:  # it sets no threshold
            return Thresholds()
        mistakes = "; ".join(each.strip() for each in error.lines)
        raise RequestError(f"cannot read the thresholds of a change: {mistakes}") from None
