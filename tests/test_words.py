"""Words that do not come back: some of this project alone, and two that mean other things to who trains networks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
#: What people read, and names in code.
TEXTS = sorted(
    path.relative_to(ROOT)
    for pattern in ("README.md", "docs/*.md", "configs/*.yaml", "convbench/**/*")
    for path in ROOT.glob(pattern)
    if path.suffix in (".css", ".html", ".j2", ".js", ".md", ".py", ".yaml", ".yml") and ".min." not in path.name
)
#: Of a run's processes `pass`, of an ab's pairs `epoch`; the others were words of this project alone.
WORDS = {
    *("accusation", "accusations", "accuse", "accused", "accuses", "buries", "canaries", "canary", "epoch", "epochs"),
    *("guilty", "innocent", "lane", "lanes", "misfit", "misfits", "objection", "objections", "oddness", "pass"),
    *("passes", "weather"),
}
#: Where `pass` is the field's word, or means that something is right or goes through.
PHRASES = (
    "forward pass",
    "pass_fds=",
    "backward pass",
    "did not pass",
    "cannot pass",
    "would pass",
    "must pass",
    "A case passes",
    "where it is a pass,",
    "what is not a pass.",
    "numbers pass through",
    "passes over arrays",
    "pass the same readers",
)
#: What else may stand there, by file: names in files and databases that were written before 2026-11-28; nginx.
EXCEPTIONS = {
    "convbench/cli/ab.py": ("epochs", '"--epochs"', "--epochs"),
    "convbench/model/reading.py": ('"compute_canary_s"', '"memory_canary_s"', '"pass_index"', '"passes"'),
    "convbench/model/variables.py": ("|PASS|",),
    "convbench/store/identity.py": ('"passes"', "`passes`"),
    "convbench/store/schema.py": ("called a pass", '"passes"', '"pass_index"'),
    "convbench/sweep/parse.py": ('"passes"',),
    "docs/decisions.md": (
        "canary (probe), lane (worker client, pool), accused (flagged), objection and misfit (refusal, unsuitable), "
        "pass (process), epoch (pair)",
        "`measure.passes`",
        "`ab --epochs`",
    ),
    "docs/service.md": ("proxy_pass",),
}


def text_of(path: Path) -> str:
    """The text on one line, without Python's statement `pass`."""
    text = (ROOT / path).read_text(encoding="utf-8")
    return " ".join(re.sub(r"^\s*pass( *#.*)?$", "", text, flags=re.MULTILINE).split())


def words_of(text: str) -> set[str]:
    """The words of a text, with the parts of its names: `pass_index` and `passIndex` are two words."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", text)}


@pytest.mark.parametrize("path", TEXTS, ids=str)
def test_no_word_comes_back(path: Path) -> None:
    text = text_of(path)
    for allowed in (*EXCEPTIONS.get(path.as_posix(), ()), *PHRASES):
        text = text.replace(allowed, "")
    assert sorted(words_of(text) & WORDS) == []


def test_every_exception_is_needed() -> None:
    texts = {path.as_posix(): text_of(path) for path in TEXTS}
    unused = [(path, allowed) for path, some in EXCEPTIONS.items() for allowed in some if allowed not in texts[path]]
    assert unused == []


@pytest.mark.parametrize("text", ["pass_index", "notePass", "PassFacts", "FEWEST_PASSES", "an epoch's", "--epochs"])
def test_words_are_found_in_names_too(text: str) -> None:
    assert words_of(text) & WORDS
