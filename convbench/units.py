"""Formats numbers with their units, and makes text from outside safe for a terminal."""

from __future__ import annotations

import math
import re

_TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
_BYTES = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
_SI = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def digits(value: float, significant: int = 3) -> str:
    """`value` with `significant` digits and separated thousands, never in exponent form between 1e-4 and 1e15."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(value)
    decimals = max(0, significant - 1 - math.floor(math.log10(abs(value))))
    if decimals > significant + 4:
        return f"{value:.{significant - 1}e}"
    return f"{value:,.{decimals}f}"


def seconds(value: float | None) -> str:
    """A time per iteration in seconds as text: `4.31 ms`, `870 ns`; a dash where there is none."""
    if value is None or math.isnan(value):
        return "-"
    for unit, name in _TIMES:
        if abs(value) >= unit * 0.9995:
            return f"{digits(value / unit)} {name}"
    return f"{digits(value / 1e-9)} ns"


def duration(value: float) -> str:
    """A duration in seconds as text: `3 s`, `2 min 5 s`, `1 h 20 min`."""
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
    """A number of bytes as text: `1.5 MiB`."""
    if value is None:
        return "-"
    for unit, name in _BYTES:
        if value >= unit:
            return f"{digits(value / unit)} {name}"
    return f"{value:.0f} B"


def time_unit(value: float) -> tuple[float, str]:
    """(units in a second, name) of the unit that fits a time in seconds: 4e-3 -> (1000.0, "ms")."""
    for unit, name in _TIMES:
        if abs(value) >= unit * 0.9995:
            return 1 / unit, name
    return 1e9, "ns"


def number(value: float | None, *, significant: int | None = None, decimals: int = 0) -> str:
    """A number for a column that names its unit: separated thousands, `significant` digits or `decimals`.

    The report's `formatNumber` in report/pages/static/format.js writes the same text.
    """
    if value is None or math.isnan(value):
        return ""
    if significant is not None:
        exponent = math.floor(math.log10(abs(value))) if value else significant - 1
        decimals = min(8, max(0, significant - 1 - exponent))
    return f"{value:,.{decimals}f}"


def count(value: int) -> str:
    """An integer with separated thousands: `100,000`."""
    return f"{value:,}"


def plural(value: int, noun: str, nouns: str | None = None) -> str:
    """`1 case`, `2 cases`."""
    return f"{count(value)} {noun if value == 1 else nouns or noun + 's'}"


def si(value: float | None, unit: str) -> str:
    """A number with an SI prefix and its unit: `1.85 GFLOP`."""
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
    """A factor as a change, from twice on as a factor: 1.412 -> `+41.2 %`, 0.9 -> `-10.0 %`, 6.2 -> `6.20x`."""
    if math.isnan(factor):
        return "-"
    return ratio(factor) if factor >= 1.9995 else f"{factor - 1:+.1%}".replace("%", " %")


def ratio(value: float) -> str:
    """A factor: `1.31x`."""
    return f"{digits(value)}x"


def apart(spread: float, decimals: int = 1) -> str:
    """How far two times are apart, as a ratio minus 1: `12.3 %`, and `358x` where percent would be hard to read."""
    return ratio(1 + spread) if spread >= 1 else percent(spread, decimals)


def pair(values: tuple[int, ...] | str) -> str:
    """A tuple as `3x3`; a word as it is."""
    return values if isinstance(values, str) else "x".join(str(value) for value in values)


def plain(value: float) -> str:
    """A number for other programs: `0.004312`. It has seven digits, which is the precision of float32."""
    return f"{value:.7g}"


#: Characters that a terminal interprets instead of printing. They are control characters except the line feed, lone
#: surrogates, line and paragraph separators, bidirectional controls (Unicode's UAX 9), annotations and tags.
_UNSAFE = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\U000e0000-\U000e007f\ud800-\udfff]"
)
_UNSAFE_OR_BREAK = re.compile(rf"{_UNSAFE.pattern}|\n")
#: User and password in a URL: `scheme://user:password@host`. A password may contain `@`, but no blank.
_CREDENTIALS = re.compile(r"(?<=://)[^\s'\"`<>]*@")
#: Maximum characters of one value in a message; torch's longest messages have a few hundred.
LONGEST_TEXT = 2000


def safe(text: str) -> str:
    r"""Text of several lines: line feeds stay, other characters that a terminal interprets become escapes: `\x1b`."""
    return text if text.isascii() and text.replace("\n", "").isprintable() else _UNSAFE.sub(_escaped, text)


def line(text: str, *, most: int | None = None) -> str:
    """A value on one line: line breaks and tabs become escapes too. Text after `most` characters is left out."""
    if most is not None and len(text) > most:
        text = f"{text[:most]}... ({len(text):,} characters)"
    return text if text.isascii() and text.isprintable() else _UNSAFE_OR_BREAK.sub(_escaped, text)


def flat(text: str) -> str:
    """A value on one line, with each run of white space replaced by one blank."""
    return line(" ".join(text.split()))


def without_credentials(text: str) -> str:
    """The text with `***` in place of user and password in every URL."""
    return _CREDENTIALS.sub("***@", text) if "@" in text else text


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
