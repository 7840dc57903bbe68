"""What `convbench token list` prints."""

from __future__ import annotations

from collections.abc import Sequence

from convbench.model.token import Token
from convbench.report.text.runs import minute
from convbench.report.text.tables import table


def tokens_text(tokens: Sequence[Token], columns: int | None = None) -> str:
    """One line a token, as they are given."""
    if not tokens:
        return "no token is stored; `convbench token create NAME` makes one"
    rows = [("prefix", "name", "scopes", "created (UTC)", "ends (UTC)")]
    rows += [
        (token.prefix, token.name, ", ".join(sorted(token.scopes)), minute(token.created_at), _end(token))
        for token in tokens
    ]
    return table(rows, columns)


def _end(token: Token) -> str:
    if token.revoked_at is not None:
        return f"revoked {minute(token.revoked_at)}"
    return "never" if token.expires_at is None else minute(token.expires_at)
