"""What findings are computed from: the table of cases, matched pairs, and the settings that some pairs share.

The table is sorted by work, then by label. So no sentence depends on the order in which cases were measured. A sentence
that names one case of many names the smallest, which is the easiest to examine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from convbench.analysis.findings.finding import listed, setting_text, value_text
from convbench.analysis.findings.pairs import (
    Comparer,
    Floats,
    Integers,
    Mask,
    Matched,
    MatchedPairs,
    RoundTimes,
    matched,
    unknown_of_one,
    with_least_noise,
)
from convbench.analysis.findings.written import Written
from convbench.analysis.table.columns import Rows
from convbench.model.following import FOLLOWING
from convbench.model.lead import leading_word
from convbench.model.result import Run, Status
from convbench.model.settings import SETTINGS, TABLE

#: The columns of the frame that findings read, beside the settings.
_READ = (
    "case_id",
    "label",
    "name",
    "status",
    "reason",
    "time_s",
    "typical_s",
    "spread",
    "support",
    "first_call_s",
    "processes",
    "flops",
    "tflops",
    "max_error",
    "resolved_precision",
    "implementation",
    "efficiency",
    "allocator_penalty",
    "bound",
    "host_s",
    "system_page_faults",
    "noise",
    "throttled_share",
    "note",
    "count",
)

#: Values of a setting that a sentence names at most; more do not explain an effect.
MOST_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A run as findings read it. `table` has a row per case; `pairs` has the ranked cases in the same order."""

    run: Run
    written: Written
    rows: Rows
    table: pd.DataFrame
    pairs: Matched
    comparer: Comparer
    order: Integers  # the row of each case of `table` among `rows`
    ids: np.ndarray  # of the ranked cases
    places: Integers  # of the ranked cases in `table`
    waiting: Mask  # the cases of `table` whose threads waited for cores: no comparison has them
    #: The pairs of each setting and base that were asked for before.
    known: dict[tuple[str, object, bool], list[tuple[object, MatchedPairs]]] = field(default_factory=dict)

    @cached_property
    def bound(self) -> Floats:
        """How much of each case's time may be noise, as a ratio minus 1: see `with_least_noise`, `unknown_of_one`."""
        spread, probe = (self.table[name].to_numpy(dtype=float) for name in ("spread", "noise"))
        processes = self.table["processes"].to_numpy(dtype=np.int64, na_value=0)
        return unknown_of_one(with_least_noise(spread, processes, probe), processes)

    @cached_property
    def lead(self) -> str:
        """The word for the leading times of all cases."""
        return leading_word(self.table["device"])

    def of_status(self, *statuses: Status) -> pd.DataFrame:
        """The cases with one of these statuses."""
        return self.table[self.table["status"].isin([status.value for status in statuses]).to_numpy(dtype=bool)]

    def base(self, axis: str) -> object:
        """The value that the others are compared with: the usual one, or the smallest where the usual was not swept."""
        values, usual = self.pairs.values[axis], TABLE[axis].usual
        if TABLE[axis].work:
            values = self._with_work(axis) or values
        return usual if usual is not None and usual in values else min(values, key=_by_size)

    def _with_work(self, axis: str) -> list[object]:
        """The values of a setting with which a case does work: an empty batch has no time per FLOP."""
        does = self.pairs.table["flops"].to_numpy(dtype=float, na_value=math.inf) > 0
        codes = np.unique(self.pairs.codes[axis].to_numpy()[does])
        return [self.pairs.values[axis][code] for code in codes]

    def against(self, axis: str, base: object, *, per_flop: bool = False) -> list[tuple[object, MatchedPairs]]:
        """The pairs of every other value of a setting with `base`, the smallest value first."""
        key = axis, base, per_flop
        if key not in self.known:
            found = self.comparer.against(axis, base, per_flop=per_flop)
            self.known[key] = sorted(found, key=lambda other: _by_size(other[0]))
        return self.known[key]

    def sides(self, axis: str, pairs: MatchedPairs) -> tuple[object, object]:
        """The two values of a setting that some pairs compare, the base first."""
        values, codes = self.pairs.values[axis], self.pairs.codes[axis].to_numpy()
        return values[codes[pairs.base[0]]], values[codes[pairs.other[0]]]

    def cases(self, pairs: MatchedPairs, some: Mask) -> tuple[str, ...]:
        """The ids of both sides of some pairs."""
        positions = np.stack([pairs.base[some], pairs.other[some]], axis=1).ravel()
        return tuple(dict.fromkeys(self.ids[np.unique(positions)].tolist()))

    def label(self, position: int) -> str:
        """The label of a ranked case."""
        return str(self.pairs.table["label"].iloc[position])

    def ran(self, positions: np.ndarray) -> np.ndarray:
        """The implementations of some ranked cases; "" where none is known."""
        ran: np.ndarray = self.pairs.table["implementation"].iloc[positions].fillna("").to_numpy(dtype=object)
        return ran

    def followers(self, axis: str, pairs: MatchedPairs) -> str:
        """`; out_channels and groups follow`: settings that follow the axis as written, and differ in some pairs."""
        names = [
            name
            for name, values in self._following.items()
            if name != axis and (values[pairs.base] != values[pairs.other]).any()
        ]
        return f"; {listed(names)} {'follows' if len(names) == 1 else 'follow'}" if names else ""

    @cached_property
    def _following(self) -> dict[str, np.ndarray]:
        """The columns of the settings that may follow others; made once, because lists of layers have many values."""
        return {name: self.pairs.table[name].to_numpy() for name in FOLLOWING}

    def place(self, axis: str, pairs: MatchedPairs, some: Mask) -> str:
        """The setting that some of the pairs share: `at in_channels=3`, `unbatched`; "" where there is none.

        The first choice is a setting whose values these pairs have and no other pair has. Of several it is the one
        with the fewest values. The second choice is a value that all of them share though others have it too: `all at
        in_channels=3`.
        """
        if some.all() or not some.any():
            return ""
        disjoint: list[tuple[int, str]] = []
        shared: list[str] = []
        for name in self.pairs.swept():
            if name == axis:
                continue
            values, codes = self.pairs.values[name], self.pairs.codes[name].to_numpy()[pairs.base]
            inside = np.unique(codes[some])
            if len(inside) > MOST_NAMED:
                continue
            ordered = sorted((values[code] for code in inside), key=_by_size)
            words = listed([setting_text(name, ordered[0]), *map(value_text, ordered[1:])], "or")
            words = words if TABLE[name].absent and ordered[0] is None else f"at {words}"
            if not np.isin(codes[~some], inside).any():
                disjoint.append((len(inside), words))
            elif len(inside) == 1 and int(some.sum()) > 1 and (codes != inside[0]).any():
                shared.append(words)
        if disjoint:
            return min(disjoint, key=lambda found: found[0])[1]
        return f"all {shared[0]}" if shared else ""


def evidence(run: Run, table: pd.DataFrame, rows: Rows) -> Evidence:
    """The evidence of a run, from its frame and its rows."""
    # The work of a layer that is too large to run may exceed 64 bits; then its column is empty.
    work = table["flops"].to_numpy(dtype=float, na_value=math.inf)
    order = np.lexsort((table["case_id"].to_numpy(dtype=str), table["label"].to_numpy(dtype=str), work))
    ordered = table[list(dict.fromkeys((*_READ, *SETTINGS)))].iloc[order].reset_index(drop=True)
    waiting = _waiting(run, ordered)
    sound = np.flatnonzero(~waiting)
    how = Written(run=run)
    pairs = matched(ordered.iloc[sound], how.as_written([rows.cases[place] for place in order[sound]]))
    comparer = Comparer(pairs=pairs, rounds=RoundTimes(rows.blocks), rows=order[sound[pairs.positions]])
    return Evidence(
        run=run,
        written=how,
        rows=rows,
        table=ordered,
        pairs=pairs,
        comparer=comparer,
        order=order,
        ids=pairs.table["case_id"].to_numpy(dtype=object),
        places=sound[pairs.positions],
        waiting=waiting,
    )


def _waiting(run: Run, table: pd.DataFrame) -> Mask:
    """Cases on the CPU whose threads waited for cores in every process: their times then grow a hundredfold.

    Where only some processes waited, the spread shows it.
    """
    ratios = [facts.twin_ratio for facts in run.processes if facts.twin_ratio is not None]
    if not ratios or min(ratios) <= 1:
        return np.zeros(len(table), dtype=bool)
    waiting: Mask = (table["threads"] >= max(run.environment.cores, 2)).fillna(False).to_numpy(dtype=bool)
    return waiting & (table["device"] == "cpu").to_numpy(dtype=bool)


def number(value: Any) -> float:
    """A value as a number, NaN where it is not one: 3 -> 3, "3x3" -> 3, "1x7" -> NaN."""
    if isinstance(value, str):
        sides = value.split("x")
        return float(sides[0]) if len(set(sides)) == 1 and sides[0].isdecimal() else math.nan
    if value is None or isinstance(value, bool | np.bool_):
        return math.nan
    return float(value)


def _by_size(value: object) -> tuple[int, float, str]:
    """Absent first, numbers and pairs by size, then words."""
    if value is None:
        return 0, 0.0, ""
    sides = str(value).split("x")
    if all(side.isdecimal() for side in sides):
        return 1, float(math.prod(int(side) for side in sides)), str(value)
    return 2, 0.0, str(value)


def in_order(values: Sequence[object]) -> list[object]:
    """Values of a setting, the smallest first."""
    return sorted(values, key=_by_size)
