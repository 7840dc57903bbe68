"""Finds which of many entries match a point: by hashed look-up, without trying each entry."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping

#: An entry: the values that it requires, by name, each name once.
Entry = tuple[tuple[str, Hashable], ...]
_NONE: Mapping[str, Hashable] = {}


class Lookup:
    """Entries that each require some values. An entry matches a point that has them all; one that requires none matches
    every point.

    A look-up takes one step for each different set of names among the entries, whatever the number of entries.
    """

    __slots__ = ("_numbers",)

    def __init__(self, entries: Iterable[Entry]) -> None:
        #: Sorted names -> values -> the number of the last entry with these.
        self._numbers: dict[tuple[str, ...], dict[tuple[Hashable, ...], int]] = {}
        for number, entry in enumerate(entries):
            wanted = dict(sorted(entry))
            self._numbers.setdefault(tuple(wanted), {})[tuple(wanted.values())] = number

    def numbers(self, point: Mapping[str, Hashable], words: Mapping[str, Hashable] = _NONE) -> list[int]:
        """The numbers of the entries that match a point with a value for every name; of equal entries the last.

        `words` are alternative values of the point by name: an entry may require either value.
        """
        forms = [point]
        for name, word in words.items():
            forms += [{**form, name: word} for form in forms]
        return [
            numbers[values]
            for names, numbers in self._numbers.items()
            for values in {tuple(map(form.__getitem__, names)) for form in forms}
            if values in numbers
        ]


def name_sets(entries: Iterable[Entry]) -> int:
    """How many different sets of names the entries have."""
    return len({frozenset(name for name, _ in entry) for entry in entries})
