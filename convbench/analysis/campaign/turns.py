"""Where the ordering of two values of a setting turns round from one machine to another. Pure.

Each machine compares its own cases, within its own run. Only these ratios are held beside each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from convbench.analysis.findings.contrasts import Contrast, Measure
from convbench.analysis.findings.findings import Examined
from convbench.analysis.findings.layers import MOST
from convbench.measure.estimate import Floats, Integers
from convbench.model.case import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class Across:
    """Two values of a setting on every machine, for all matched pairs of any machine.

    `base` and `other` are the values. `pairs` are the two cases of each pair. `ratio` is the time of other over base.
    `noise` is what may be noise in it, as a ratio minus 1. Both are NaN on a machine without the pair. `verdict` is 1
    where the other value is faster by more than noise, -1 where it is slower, else 0. All are (pairs, machines).
    """

    axis: str
    base: object
    other: object
    pairs: tuple[tuple[Case, Case], ...]
    ratio: Floats
    noise: Floats
    verdict: Integers

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def turned(self) -> Integers:
        """The pairs in which the other value is faster on a machine and slower on another one."""
        return np.flatnonzero((self.verdict > 0).any(axis=1) & (self.verdict < 0).any(axis=1))

    @property
    def wins(self) -> tuple[int, ...]:
        """The machines on which the other value wins in most of the pairs that turn round."""
        return tuple(np.flatnonzero(self._share(1) > MOST).tolist())

    @property
    def loses(self) -> tuple[int, ...]:
        """The machines on which it loses in most of them."""
        return tuple(np.flatnonzero(self._share(-1) > MOST).tolist())

    def _share(self, verdict: int) -> Floats:
        """The share of the pairs that turn round with this verdict, for each machine."""
        share: Floats = np.mean(self.verdict[self.turned] == verdict, axis=0)
        return share

    def middle(self, machine: int) -> float:
        """The median of how many times faster the other value is on a machine, over the pairs that turn round."""
        return float(np.exp(-np.nanmedian(np.log(self.ratio[self.turned, machine]))))

    @property
    def shared(self) -> int:
        """The number of pairs that two machines or more have."""
        return int((np.isfinite(self.ratio).sum(axis=1) > 1).sum())

    def counts(self, machine: int) -> tuple[int, int, int]:
        """On a machine, in how many pairs the other value is faster, slower, and neither."""
        verdict = self.verdict[:, machine]
        faster, slower = int((verdict > 0).sum()), int((verdict < 0).sum())
        return faster, slower, int(np.isfinite(self.ratio[:, machine]).sum()) - faster - slower


def across(seen: Sequence[Examined]) -> tuple[Across, ...]:
    """Every comparison of two values that do the same work, by two machines or more; most turned pairs first."""
    sides = [_by_values(one) for one in seen]
    keys = dict.fromkeys(key for side in sides for key in side)
    shared = [key for key in keys if len(sides) < 2 or sum(key in side for side in sides) > 1]
    found = [_across(key, [side.get(key) for side in sides], seen) for key in shared]
    return tuple(sorted(found, key=lambda one: -len(one.turned)))


def turns(found: Sequence[Across]) -> tuple[Across, ...]:
    """Those that turn round in some pair."""
    return tuple(one for one in found if len(one.turned))


_Values = tuple[str, object, object]


def _by_values(seen: Examined) -> dict[_Values, Contrast]:
    return {
        (each.axis, each.base, each.other): each
        for each in seen.contrasts
        if each.measure is Measure.TIME and len(each)
    }


def _across(key: _Values, contrasts: Sequence[Contrast | None], seen: Sequence[Examined]) -> Across:
    """One comparison on all machines; None stands for a machine that did not make it."""
    pairs: dict[tuple[Case, Case], int] = {}
    columns = []
    for contrast, one in zip(contrasts, seen, strict=True):
        cases = one.rows.cases
        rows = np.zeros((2, 0), dtype=int) if contrast is None else np.stack([contrast.base_rows, contrast.other_rows])
        own = [(cases[base], cases[other]) for base, other in rows.T.tolist()]
        columns.append(np.array([pairs.setdefault(pair, len(pairs)) for pair in own], dtype=np.int64))
    ratio, noise = (np.full((len(pairs), len(seen)), np.nan) for _ in range(2))
    verdict = np.zeros((len(pairs), len(seen)), dtype=np.int64)
    for machine, (contrast, at) in enumerate(zip(contrasts, columns, strict=True)):
        if contrast is not None:
            ratio[at, machine], noise[at, machine] = contrast.ratio, contrast.noise
            verdict[at, machine] = contrast.verdict
    axis, base, other = key
    return Across(axis=axis, base=base, other=other, pairs=tuple(pairs), ratio=ratio, noise=noise, verdict=verdict)
