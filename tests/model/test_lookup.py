"""Entries that are looked up: the same answer as trying each, at the cost of their sets of names alone."""

from __future__ import annotations

from collections.abc import Hashable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convbench.model.lookup import Entry, Lookup, name_sets

NAMES = ("a", "b", "c")
values = st.integers(0, 2)
entries = st.dictionaries(st.sampled_from(NAMES), values).map(lambda wanted: tuple(wanted.items()))


@given(st.lists(entries, max_size=12), st.fixed_dictionaries(dict.fromkeys(NAMES, values)), entries)
def test_an_entry_is_found_where_it_holds(some: list[Entry], point: dict[str, Hashable], other: Entry) -> None:
    words = dict(other)
    holding = [n for n, entry in enumerate(some) if all(v in (point[name], words.get(name)) for name, v in entry)]
    last = {frozenset(some[number]): number for number in holding}  # of equal entries
    assert sorted(Lookup(some).numbers(point, words)) == sorted(last.values())


def test_the_order_of_names_does_not_matter() -> None:
    assert Lookup([(("b", 1), ("a", 2)), (("a", 2), ("b", 1))]).numbers({"a": 2, "b": 1}) == [1]
    assert name_sets([(("b", 1), ("a", 2)), (("a", 3), ("b", 4)), (("a", 1),), ()]) == 3


class Read(dict[str, Hashable]):
    """A point that counts how often its values are read."""

    reads = 0

    def __getitem__(self, name: str) -> Hashable:
        self.reads += 1
        return super().__getitem__(name)


@pytest.mark.parametrize("many", [10, 10_000])
def test_a_look_up_reads_each_set_of_names_once(many: int) -> None:
    lookup = Lookup([*((("a", number), ("b", 1)) for number in range(many)), (("c", 5),)])
    point = Read(a=7, b=1, c=5)
    assert lookup.numbers(point) == [7, many]
    assert point.reads == 3
