"""Tokens: shown once, stored as a hash, refused when revoked or expired; the list of writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from convbench.errors import TokenNotFoundError
from convbench.model.token import Scope, Token
from convbench.store import Store, tokens
from convbench.store.tokens import Tokens

NOW, LATER, LAST = "2026-11-30T12:00:00+00:00", "2026-12-30T12:00:00+00:00", "2027-12-30T12:00:00+00:00"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
def stored(path: Path) -> Iterator[Tokens]:
    with Store.create(str(path)) as store:
        yield Tokens(store)


def test_a_token_is_found_by_its_text_alone_and_the_database_does_not_hold_it(stored: Tokens, path: Path) -> None:
    made, text = stored.create("ci", [Scope.SUBMIT, Scope.READ], NOW, LATER)
    assert text.startswith(f"cvb_{made.prefix}_") and len(text) > 50
    assert stored.find(text, NOW) == made == stored.list()[0]
    for other in (text[:-1], f"{text}x", text.upper(), made.prefix, "", "cvb_", "\0", "ä"):
        assert stored.find(other, NOW) is None
    secret = text.split("_", 2)[2].encode()
    files = [each.read_bytes() for each in path.parent.iterdir()]
    assert any(made.prefix.encode() in content for content in files)
    assert not any(secret in content for content in files)


def test_a_token_ends_when_it_expires_or_is_revoked(stored: Tokens) -> None:
    _, first = stored.create("a", [Scope.READ], NOW, LATER)
    made, second = stored.create("b", [Scope.READ], NOW, None)
    assert stored.find(first, NOW) and not stored.find(first, LATER)
    assert stored.any_valid(LATER)
    assert stored.revoke(made.prefix, LATER).revoked_at == LATER
    assert stored.find(second, NOW) is None and not stored.any_valid(LATER) and stored.any_valid(NOW)
    assert stored.revoke(made.prefix, LAST).revoked_at == LATER, "once is enough"
    with pytest.raises(TokenNotFoundError, match="there is no token"):
        stored.revoke("unknown", NOW)


def test_the_widest_scope_contains_the_others_and_no_other_does() -> None:
    def token(*scopes: Scope) -> Token:
        return Token(name="x", prefix="x", scopes=frozenset(scopes), created_at=NOW)

    assert all(token(Scope.ADMIN).allows(scope) for scope in Scope)
    assert [scope for scope in Scope if token(Scope.SUBMIT).allows(scope)] == [Scope.SUBMIT]


def test_writes_are_listed_newest_first_and_the_oldest_ones_go(stored: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "MOST_WRITES", 5)
    for number in range(8):
        stored.note_write(at=NOW, who="ci", address="::1", action="POST /jobs", target=f"j{number}", status=201)
    assert [write.target for write in stored.writes()] == ["j7", "j6", "j5", "j4", "j3"]
    assert [write.target for write in stored.writes(before=stored.writes()[1].key, most=2)] == ["j5", "j4"]
