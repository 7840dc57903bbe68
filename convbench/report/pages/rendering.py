"""What every page is written with: its templates, and the words for moments and sentences. Loads no pandas."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from pathlib import Path

import jinja2

_TEMPLATES = Path(__file__).parent / "templates"


@cache
def templates() -> jinja2.Environment:
    """The pages' templates; all text is escaped."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def when(moment: str) -> str:
    """`24 November 2026, 03:30 UTC`; the text itself where it is no time."""
    try:
        at = datetime.fromisoformat(moment)
    except ValueError:
        return moment
    return f"{at.day} {at:%B %Y}, {at:%H:%M} UTC"


def begun(sentence: str) -> str:
    """The sentence with a capital; names as they are written in sweeps (`in_channels=3`, `bfloat16`) keep theirs."""
    return sentence[:1].upper() + sentence[1:] if sentence.partition(" ")[0].isalpha() else sentence
