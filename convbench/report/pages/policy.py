"""Safe scripts and data in a page: content security policy, hashes of scripts, JSON in HTML. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable

from markupsafe import Markup


def policy(hashes: Iterable[str]) -> str:
    """The content security policy: scripts of these hashes, inline styles, and no requests."""
    scripts = " ".join(f"'{value}'" for value in hashes)
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
        "connect-src 'none'; base-uri 'none'; form-action 'none'"
    )


def style_policy(style: str, script: str) -> str:
    """The content security policy of a page with this style sheet and a script of this hash, and no requests."""
    sources = f"style-src '{script_hash(style)}'; script-src '{script}'"
    return f"default-src 'none'; {sources}; base-uri 'none'; form-action 'none'"


def script_hash(text: str) -> str:
    """The hash that allows a script or a style sheet of this text."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def json_text(data: object) -> Markup:
    """JSON that cannot end its script element, whatever the user's text is."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return Markup(text.replace("<", "\\u003c"))
