"""What all pages share: the templates, and the text of times and sentences. It does not load pandas."""

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
    """`24 November 2026, 03:30 UTC`; the text itself if it is not a time."""
    try:
        at = datetime.fromisoformat(moment)
    except ValueError:
        return moment
    return f"{at.day} {at:%B %Y}, {at:%H:%M} UTC"


def begun(sentence: str) -> str:
    """The sentence with a capital; names as in sweeps (`in_channels=3`, `bfloat16`) stay as they are."""
    return sentence[:1].upper() + sentence[1:] if sentence.partition(" ")[0].isalpha() else sentence
