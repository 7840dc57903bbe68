"""What all pages share: the templates, and the text of times and sentences. It does not load pandas."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from convbench import units

#: The end of a shortened text.
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
_TEMPLATES = Path(__file__).parent / "templates"


@cache
def templates() -> jinja2.Environment:
    """The pages' templates; all text is escaped."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["unbroken"] = unbroken
    return made


def unbroken(text: str) -> Markup:
    """The text as HTML in which no line breaks within an arrow `->`, as element() in static/dom.js has it."""
    return Markup('<span class="arrow">-&gt;</span>').join(escape(part) for part in text.split("->"))


def render(template: str, **context: object) -> str:
    """The page that the template makes of these names. Halves of surrogate pairs become question marks."""
    page = templates().get_template(template).render(context)
    return page.encode("utf-8", "replace").decode("utf-8")


def shortened(text: str, most: int) -> str:
    """The text on one line, with `most` characters at most; `ELLIPSIS` replaces the rest."""
    whole = " ".join(text.split())
    return whole if len(whole) <= most else f"{whole[: most - 1].rstrip()}{ELLIPSIS}"


def left_out(total: int, shown: int, noun: str) -> str:
    """`and 3 more cases` under a list that shows some of all; "" under one that shows all."""
    return f"and {units.plural(total - shown, f'more {noun}')}" if total > shown else ""


def when(moment: str) -> str:
    """`24 November 2026, 03:30 UTC`; the text itself if it is not a time."""
    try:
        at = datetime.fromisoformat(moment)
    except ValueError:
        return moment
    return f"{at.day} {at:%B %Y}, {at:%H:%M} UTC"


def begun(sentence: str) -> str:
    """The sentence with a capital; names as in sweeps (`in_channels=3`, `bfloat16`) stay as they are."""
    return sentence[:1].upper() + sentence[1:] if sentence.partition(" ")[0].isalpha() else sentence
