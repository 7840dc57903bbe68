"""What an unknown word was meant to be: a misspelt name, a part of a name, or a name in other programs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

#: Number of characters of a word that are compared with known words; the rest is ignored.
_MOST_COMPARED = 200
#: A misspelt word has one wrong character for so many of its characters, at most.
_CHARACTERS_A_MISTAKE = 3
#: The fewest characters with which the beginning of a name stands for it.
_FEWEST_OF_BEGINNING = 4
#: Names in other programs, which are not similar to convbench's names; without what is no letter or digit.
_MEANT = {
    "fp16": "float16",
    "bf16": "bfloat16",
    "fp32": "float32",
    "fp64": "float64",
    "half": "float16",
    "double": "float64",
    "nchw": "contiguous",
    "nhwc": "channels_last",
    "gpu": "cuda",
    "rocm": "cuda",
    "inference": "forward",
    "training": "train_step",
    **dict.fromkeys(("output", "outputs", "out", "outs", "filters", "cout", "outputchannels"), "out_channels"),
    **dict.fromkeys(("inputs", "in", "ins", "cin", "inputchannels"), "in_channels"),
    **dict.fromkeys(("image", "imagesize", "resolution"), "input_size"),
    "outputsize": "module_output_size",
    "inchannels": "depthwise",  # as a number of groups
    "environment": "env",
    "variables": "env",
}


def did_you_mean(word: str, words: Sequence[str]) -> str | None:
    """`did you mean kernel_size?`, None where no known word is certain enough."""
    near = nearest(word, words)
    return None if near is None else f"did you mean {near}?"


def nearest(word: str, words: Sequence[str]) -> str | None:
    """The known word that is meant: by another program's name, by a part of the name, or misspelt."""
    lower = word[:_MOST_COMPARED].lower()
    meant = _MEANT.get(re.sub("[^a-z0-9]", "", lower))
    if meant in words:
        return meant
    return _misspelt(lower, words) or _by_a_part(lower, words)


def _misspelt(word: str, words: Sequence[str]) -> str | None:
    """The known word with the fewest differences, where these are few."""
    allowed = len(word) // _CHARACTERS_A_MISTAKE
    near = [(found, known) for known in words if (found := differences(word, known.lower(), allowed)) <= allowed]
    return min(near, key=lambda each: each[0])[1] if near else None


def _by_a_part(word: str, words: Sequence[str]) -> str | None:
    """The only known word of which this is a part (`batch`, `alloc`), or that is a part of this one (`num_threads`)."""
    whole = set(_parts(word))
    contained = [known for known in words if known.lower() in whole]
    containing = [known for known in words if word in _parts(known.lower()) or _begins(word, known.lower())]
    return next((found[0] for found in (contained, containing) if len(found) == 1), None)


def _parts(word: str) -> Iterator[str]:
    """The words between underscores, in singular and plural."""
    for part in re.split("[^a-z0-9]+", word):
        yield from (part, part.removesuffix("s"), f"{part}s") if part else ()


def _begins(word: str, known: str) -> bool:
    return len(word) >= _FEWEST_OF_BEGINNING and known.startswith(word)


def differences(one: str, other: str, most: int) -> int:
    """How many characters to insert, remove, replace or swap with their neighbour; over `most`, any number over it."""
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        following = [i]
        for j, wanted in enumerate(other, 1):
            cost = min(row[j] + 1, following[j - 1] + 1, row[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                cost = min(cost, before[j - 2] + 1)
            following.append(cost)
        before, row = row, following
    return row[-1]
