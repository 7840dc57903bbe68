"""Texts as they were agreed, in golden/."""

from __future__ import annotations

from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"


def golden(name: str, text: str) -> None:
    """Fails where the text is not the file's."""
    path = GOLDEN / name
    assert path.exists(), f"no {path.name}; what it would hold:\n{text}"
    assert text == path.read_text(encoding="utf-8")
