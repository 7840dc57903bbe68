"""How a run's sweep writes its settings: words as written, and axes that multiply the layers of `cases`."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from convbench.analysis.findings.pairs import AsWritten, Mask
from convbench.model.case import Case, setting
from convbench.model.following import FOLLOWING, words
from convbench.model.lookup import Lookup
from convbench.model.operators import DEFAULT_OPERATOR
from convbench.model.operators.given import default_for
from convbench.model.result import Run
from convbench.model.settings import OF_PROBLEM, PROBLEM_SETTINGS, TABLE
from convbench.sweep import LeftOut, Sweep, of_run


@dataclass(frozen=True, kw_only=True)
class Written:
    """The run's sweep as its file says it. Without a readable file, words follow from the cases alone."""

    run: Run

    @cached_property
    def sweep(self) -> Sweep | None:
        """The sweep in the file, which is read when it is first needed."""
        return of_run(self.run)

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """The convolutions of the network that are no cases."""
        # Most files have none, and reading a long one takes a second.
        return self.sweep.left_out if "left_out:" in self.run.source and self.sweep is not None else ()

    @cached_property
    def crossed(self) -> tuple[str, ...]:
        """The settings of problems that `axes` multiply layers of `cases` by: each value is a network of its own."""
        if self.sweep is None:
            return ()
        named = [{name for name, _ in entry.given} for entry in self.sweep.listed]
        several = {axis.name for axis in self.sweep.axes if len(set(axis.values)) > 1}
        return tuple(name for name in PROBLEM_SETTINGS if name in several and any(name not in given for given in named))

    def fixed(self, case: Case) -> frozenset[str]:
        """The crossed settings that the case's own entry of `cases` names."""
        if not self._entries:
            return frozenset()
        found = self._naming.numbers({name: setting(case, name) for name in TABLE}, words(case.problem))
        return frozenset(name for number in found for name, _ in self._entries[number] if name in self.crossed)

    def named(self, case: Case) -> frozenset[str]:
        """All settings that the case's own entry of `cases` names; none without a readable file."""
        if self.sweep is None:
            return frozenset()
        found = self._every.numbers({name: setting(case, name) for name in TABLE}, words(case.problem))
        return frozenset(name for number in found for name, _ in self.sweep.listed[number].given)

    @cached_property
    def _every(self) -> Lookup:
        return Lookup([entry.given for entry in self.sweep.listed] if self.sweep else [])

    @cached_property
    def _entries(self) -> list[tuple[tuple[str, Hashable], ...]]:
        listed = self.sweep.listed if self.sweep else ()
        return [entry.given for entry in listed if any(name in self.crossed for name, _ in entry.given)]

    @cached_property
    def _naming(self) -> Lookup:
        return Lookup(self._entries)

    @cached_property
    def values(self) -> dict[str, set[Hashable]]:
        """Every value in the file of the settings that have such words, numbers and words as written."""
        return {name: self._values(name) for name in FOLLOWING}

    def _values(self, name: str) -> set[Hashable]:
        if self.sweep is None:
            return set()
        listed = [dict(entry.given) for entry in self.sweep.listed]
        found: set[Hashable] = {given[name] for given in listed if name in given}
        if any(name not in given for given in listed):
            own = [axis.values for axis in self.sweep.axes if axis.name == name]
            found.update(own[0] if own else (default_for(DEFAULT_OPERATOR.rank, OF_PROBLEM[name].default),))
        return found

    def ways(self, case: Case, name: str) -> list[object]:
        """A setting of a case as the file writes it: its word, its number, or both."""
        number = setting(case, name)
        if name not in self.crossed or name not in FOLLOWING:
            return [number]
        has_word = name in words(case.problem) and FOLLOWING[name][0] in self.values[name]
        has_number = not has_word or number in self.values[name]
        return [*([number] if has_number else []), *([FOLLOWING[name][0]] if has_word else [])]

    def as_written(self, cases: Sequence[Case]) -> dict[str, AsWritten]:
        """For each setting that the file writes as a word: which of the cases have the word, and which the number.

        A case may have both, where the file writes the same value in both ways. Where all cases have what a word stands
        for, and the numbers differ, they are read as if the file had the word.
        """
        varied = [name for name in FOLLOWING if len({setting(case, name) for case in cases}) > 1]
        if not varied:
            return {}
        has = [words(case.problem) for case in cases]
        found = {}
        for name in varied:
            word = FOLLOWING[name][0]
            follows = np.array([name in each for each in has])
            if follows.all():
                found[name] = AsWritten(word=word, by_word=follows, by_number=np.zeros(len(cases), dtype=bool))
            elif word in self.values[name]:
                found[name] = AsWritten(word=word, by_word=follows, by_number=self._numbered(name, cases, follows))
        return found

    def _numbered(self, name: str, cases: Sequence[Case], follows: Mask) -> Mask:
        """Which cases have a value that the file writes as a number; all that have no word."""
        numbers = self.values[name]
        return np.array([setting(case, name) in numbers for case in cases]) | ~follows
