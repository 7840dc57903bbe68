"""What lets a page carry scripts and data safely: its content security policy, scripts' hashes, JSON in HTML. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable

from markupsafe import Markup


def policy(hashes: Iterable[str]) -> str:
    """The content security policy: scripts of these hashes, styles of the page itself, and nothing from anywhere."""
    scripts = " ".join(f"'{value}'" for value in hashes)
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
        "connect-src 'none'; base-uri 'none'; form-action 'none'"
    )


def style_policy(style: str) -> str:
    """The content security policy of a page without scripts: this one style sheet, and nothing else from anywhere."""
    return f"default-src 'none'; style-src '{script_hash(style)}'; base-uri 'none'; form-action 'none'"


def script_hash(text: str) -> str:
    """The hash that lets a script of this text run, or a style sheet apply."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def json_text(data: object) -> Markup:
    """JSON that cannot end its script element, whatever the user's text says."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return Markup(text.replace("<", "\\u003c"))
