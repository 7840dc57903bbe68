"""User text in markdown that a person reads on GitHub or GitLab: it stays text, on one line, and calls nobody."""

from __future__ import annotations

import re

#: What markdown takes for emphasis, code, links, the end of a table's cell.
_MARKS = re.compile(r"[\\`*\[\]|~]|(?<!\w)_|_(?!\w)")
#: What calls a person or a team, or links to an issue, a merge request or a snippet.
_CALLS = re.compile(r"@|[#!$](?=\d)")
#: A zero-width space keeps the two apart. An HTML entity would not: mentions are sought in the text that results.
_APART = "\N{ZERO WIDTH SPACE}"


def escaped(text: str, *, most: int | None = None) -> str:
    """`text` on one line of a paragraph or a table's cell; no tags, no emphasis, nobody mentioned.

    What is over `most` characters is left out, which an ellipsis says.
    """
    text = " ".join(text.split())
    if most is not None and len(text) > most:
        text = text[: most - 1].rstrip() + "…"
    text = _CALLS.sub(rf"\g<0>{_APART}", _MARKS.sub(r"\\\g<0>", text))
    return text.replace("&", "&amp;").replace("<", "&lt;")
