"""User text for markdown on GitHub or GitLab: it stays text on one line and mentions nobody."""

from __future__ import annotations

import re

#: Marks of emphasis, code, links and table cells in markdown.
_MARKS = re.compile(r"[\\`*\[\]|~]|(?<!\w)_|_(?!\w)")
#: Marks that mention a person or a team, or link to an issue, a merge request or a snippet.
_CALLS = re.compile(r"@|[#!$](?=\d)")
#: A zero-width space after the mark prevents that. An HTML entity would not: it is decoded before mentions are found.
_APART = "\N{ZERO WIDTH SPACE}"


def escaped(text: str, *, most: int | None = None) -> str:
    """`text` on one line of a paragraph or a table's cell; no tags, no emphasis, nobody mentioned.

    A text over `most` characters ends in an ellipsis.
    """
    text = " ".join(text.split())
    if most is not None and len(text) > most:
        text = text[: most - 1].rstrip() + "…"
    text = _CALLS.sub(rf"\g<0>{_APART}", _MARKS.sub(r"\\\g<0>", text))
    return text.replace("&", "&amp;").replace("<", "&lt;")
