"""What people read: numbers with their units, and text of others made safe for a terminal."""

from __future__ import annotations

import math
import re

_TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
_BYTES = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
_SI = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def digits(value: float, significant: int = 3) -> str:
    """`value` with so many significant digits, thousands separated, never in exponent form between 1e-4 and 1e15."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    decimals = max(0, significant - 1 - math.floor(math.log10(abs(value))))
    if decimals > significant + 4:
        return f"{value:.{significant - 1}e}"
    return f"{value:,.{decimals}f}"


def seconds(value: float | None) -> str:
    """A time per iteration: `4.31 ms`, `870 ns`; a dash where there is none."""
    if value is None or math.isnan(value):
        return "-"
    for unit, name in _TIMES:
        if abs(value) >= unit * 0.9995:
            return f"{digits(value / unit)} {name}"
    return f"{digits(value / 1e-9)} ns"


def duration(value: float) -> str:
    """How long something takes, for people: `3 s`, `2 min 5 s`, `1 h 20 min`."""
    whole = round(value)
    if whole < 1:
        return "under 1 s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(value / 60)
    return f"{minutes // 60:,} h {minutes % 60} min"


def size(value: float | None) -> str:
    """A number of bytes: `1.5 MiB`."""
    if value is None:
        return "-"
    for unit, name in _BYTES:
        if value >= unit:
            return f"{digits(value / unit)} {name}"
    return f"{value:.0f} B"


def time_unit(value: float) -> tuple[float, str]:
    """(units in a second, name) of the unit that suits a time: 4e-3 -> (1000.0, "ms")."""
    for unit, name in _TIMES:
        if abs(value) >= unit * 0.9995:
            return 1 / unit, name
    return 1e9, "ns"


def number(value: float | None, *, significant: int | None = None, decimals: int = 0) -> str:
    """A number for a column that names its unit: thousands separated, so many significant digits or decimals.

    The report's `formatNumber` in report/pages/static/format.js writes the same text.
    """
    if value is None or math.isnan(value):
        return ""
    if significant is not None:
        exponent = math.floor(math.log10(abs(value))) if value else significant - 1
        decimals = min(8, max(0, significant - 1 - exponent))
    return f"{value:,.{decimals}f}"


def count(value: int) -> str:
    """An integer with thousands separated: `100,000`."""
    return f"{value:,}"


def plural(value: int, noun: str, nouns: str | None = None) -> str:
    """`1 case`, `2 cases`."""
    return f"{count(value)} {noun if value == 1 else nouns or noun + 's'}"


def si(value: float | None, unit: str) -> str:
    """A large number with its SI prefix: `1.85 GFLOP`."""
    if value is None or math.isnan(value):
        return "-"
    for factor, prefix in _SI:
        if abs(value) >= factor:
            return f"{digits(value / factor)} {prefix}{unit}"
    return f"{digits(value)} {unit}"


def percent(ratio: float | None, decimals: int = 1) -> str:
    """A ratio as percent: 0.123 -> `12.3 %`."""
    if ratio is None or math.isnan(ratio):
        return "-"
    return f"{ratio * 100:,.{decimals}f} %"


def change(factor: float) -> str:
    """A factor as what it adds or takes: 1.412 -> `+41.2 %`, 0.9 -> `-10.0 %`, 6.2 -> `+520 %`, 104 -> `+10,300 %`."""
    if math.isnan(factor):
        return "-"
    return f"{factor - 1:+,.{1 if abs(factor - 1) < 0.9995 else 0}%}".replace("%", " %")


def ratio(value: float) -> str:
    """A factor: `1.31x`."""
    return f"{digits(value)}x"


def pair(values: tuple[int, ...] | str) -> str:
    """`3x3`, also when equal; words stay as they are."""
    return values if isinstance(values, str) else "x".join(str(value) for value in values)


def plain(value: float) -> str:
    """A number for other programs, `0.004312`: seven digits, which is what float32 holds."""
    return f"{value:.7g}"


#: What a terminal obeys instead of showing it: control characters but the line feed, halves of surrogate pairs, line
#: and paragraph separators, marks that change the direction of writing (Unicode's UAX 9), annotations and tags.
_OBEYED = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\U000e0000-\U000e007f\ud800-\udfff]"
)
_OBEYED_OR_BREAK = re.compile(rf"{_OBEYED.pattern}|\n")
#: Names and passwords in a URL: `scheme://user:password@host`. A password may hold an `@`, never a blank.
_CREDENTIALS = re.compile(r"(?<=://)[^\s'\"`<>]*@")
#: Characters of one value in a message at most; torch's longest reasons have a few hundred.
LONGEST_TEXT = 2000


def safe(text: str) -> str:
    r"""Text of several lines: line feeds stay, whatever else a terminal would obey is shown as an escape: `\x1b`."""
    return text if text.isascii() and text.replace("\n", "").isprintable() else _OBEYED.sub(_escaped, text)


def line(text: str, *, most: int | None = None) -> str:
    """A value on one line, line breaks and tabs shown as escapes too; what is over `most` characters is left out."""
    if most is not None and len(text) > most:
        text = f"{text[:most]}... ({len(text):,} characters)"
    return text if text.isascii() and text.isprintable() else _OBEYED_OR_BREAK.sub(_escaped, text)


def flat(text: str) -> str:
    """A value on one line, each stretch of white space as one blank."""
    return line(" ".join(text.split()))


def without_credentials(text: str) -> str:
    """The text with `***` for the user and the password of every URL in it."""
    return _CREDENTIALS.sub("***@", text) if "@" in text else text


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
